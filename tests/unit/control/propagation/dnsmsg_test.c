/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "control/propagation/dnsmsg.c"

#define HEADER(flags, q, an, au, ad) "\0\1" flags "\0" q "\0" an "\0" au "\0" ad
#define EDGE                         "\4Edge\4test\0"

static struct dnsmsg open_bytes(const void *bytes, size_t len)
{
    struct dnsmsg m;
    assert_int_equal(dnsmsg_open(span_of(bytes, len), &m).code, ERR_NONE);
    return m;
}

static void test_txt_values_are_joined(void **state)
{
    static const char bytes[] =
        HEADER("\x84\0", "\1", "\2", "\0", "\1") EDGE "\0\x10\0\1"
                                                      "\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\6\5value"
                                                      "\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\7\2ab\3cde"
                                                      "\0\0\x29\4\xd0\0\0\0\0\0\0";
    struct dnsmsg m = open_bytes(bytes, sizeof bytes - 1);
    struct dnsmsg_record r;
    struct buf text = {0};
    assert_true(dnsmsg_is_authoritative(&m));
    assert_true(dnsmsg_next(&m, &r));
    assert_string_equal(r.name, "edge.test.");
    assert_true(dnsmsg_txt(&m, &r, &text));
    assert_true(dnsmsg_next(&m, &r));
    assert_int_equal(r.section, DNSMSG_ANSWER);
    assert_true(dnsmsg_txt(&m, &r, &text));
    assert_true(span_eq(buf_span(&text), SPAN_LITERAL("valueabcde")));
    assert_true(dnsmsg_next(&m, &r));
    assert_int_equal(r.section, DNSMSG_ADDITIONAL);
    assert_int_equal(r.type, 41);
    assert_false(dnsmsg_next(&m, &r));
    assert_false(m.bad);
    buf_free(&text);
}

static void test_negative_answer(void **state)
{
    static const char bytes[] = HEADER("\x84\3", "\1", "\0", "\1", "\0") EDGE
        "\0\x10\0\1"
        "\xc0\x0c\0\6\0\1\0\0\0\x3c\0\x18\xc0\x0c\xc0\x0c\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5";
    struct dnsmsg m = open_bytes(bytes, sizeof bytes - 1);
    struct dnsmsg_record r;
    uint32_t ttl_s;
    assert_int_equal(dnsmsg_rcode(&m), DNSMSG_NXDOMAIN);
    assert_true(dnsmsg_next(&m, &r));
    assert_int_equal(r.section, DNSMSG_AUTHORITY);
    assert_true(dnsmsg_negative_ttl(&m, &r, &ttl_s));
    assert_int_equal(ttl_s, 5); /* the minimum, which is less than the record's 60 */
}

static void test_cname(void **state)
{
    static const char bytes[] =
        HEADER("\x84\0", "\1", "\1", "\0", "\0") EDGE "\0\5\0\1"
                                                      "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\6\3w w\xc0\x0c";
    struct dnsmsg m = open_bytes(bytes, sizeof bytes - 1);
    struct dnsmsg_record r;
    char target[DNSMSG_NAME_BYTES];
    assert_true(dnsmsg_next(&m, &r));
    assert_true(dnsmsg_target(&m, &r, target));
    assert_string_equal(target, "w\\032w.edge.test.");
}

static void test_damaged(void **state)
{
    static const char loop[] = HEADER("\x84\0", "\1", "\0", "\0", "\0") "\xc0\x0e\xc0\x0c\0\1\0\1";
    static const char self[] = HEADER("\x84\0", "\1", "\0", "\0", "\0") "\xc0\x0c\0\1\0\1";
    struct dnsmsg m;
    assert_int_equal(dnsmsg_open(span_of(loop, sizeof loop - 1), &m).code, ERR_FORMAT);
    assert_int_equal(dnsmsg_open(span_of(self, sizeof self - 1), &m).code, ERR_FORMAT);
    assert_int_equal(dnsmsg_open(span_of(loop, 11), &m).code, ERR_FORMAT);
    /* A record that ends behind the message. */
    static const char cut[] = HEADER("\x84\0", "\0", "\1", "\0", "\0") "\0\0\1\0\1\0\0\0\0\0\5abc";
    struct dnsmsg_record r;
    m = open_bytes(cut, sizeof cut - 1);
    assert_false(dnsmsg_next(&m, &r));
    assert_true(m.bad);
    /* A string that ends behind its record. */
    static const char text[] =
        HEADER("\x84\0", "\0", "\1", "\0", "\0") "\0\0\x10\0\1\0\0\0\0\0\3\5ab";
    struct buf out = {0};
    m = open_bytes(text, sizeof text - 1);
    assert_true(dnsmsg_next(&m, &r));
    assert_false(dnsmsg_txt(&m, &r, &out));
    buf_free(&out);
}

static void test_text_names(void **state)
{
    char out[DNSMSG_NAME_BYTES];
    assert_true(dnsmsg_name_eq("A.b", "a.B."));
    assert_false(dnsmsg_name_eq("a.b", "aa.b"));
    assert_true(dnsmsg_name_normal("_Acme.Example", out));
    assert_string_equal(out, "_acme.example.");
    assert_false(dnsmsg_name_normal("", out));
    assert_false(dnsmsg_name_normal(".", out));
    assert_string_equal(dnsmsg_name_parent("a.b."), "b.");
    assert_null(dnsmsg_name_parent("b."));
}

UNIT_TESTS(cmocka_unit_test(test_txt_values_are_joined), cmocka_unit_test(test_negative_answer),
           cmocka_unit_test(test_cname), cmocka_unit_test(test_damaged),
           cmocka_unit_test(test_text_names))
