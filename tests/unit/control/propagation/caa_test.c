/* SPDX-License-Identifier: Apache-2.0 */
/* What CAA records mean; the walk to them is in the end-to-end tests. */
#include "control/propagation/caa.c"

#include "unit.h"

static const char *us[] = {"ca.test", "other-name.test"};

/* A message of CAA records, each a tag and a value. */
static void put_message(struct buf *out, const char *const (*properties)[2], uint32_t count,
                        uint8_t flags)
{
    buf_put_be(out, 1, 2);
    buf_put_be(out, 0x8180, 2);
    buf_put_be(out, 0, 2);
    buf_put_be(out, count, 2);
    buf_put_be(out, 0, 4);
    for (uint32_t i = 0; i < count; i++) {
        const char *tag = properties[i][0], *value = properties[i][1];
        buf_put_be(out, 0, 1);
        buf_put_be(out, DNSMSG_CAA, 2);
        buf_put_be(out, 1, 2);
        buf_put_be(out, 60, 4);
        buf_put_be(out, 2 + strlen(tag) + strlen(value), 2);
        buf_put_be(out, flags, 1);
        buf_put_be(out, strlen(tag), 1);
        buf_put_str(out, tag);
        buf_put_str(out, value);
    }
}

static bool judge(const char *const (*properties)[2], uint32_t count, uint8_t flags, bool wildcard)
{
    struct caa c = {.identities = us, .identity_count = 2, .wildcard = wildcard};
    struct buf bytes = {0};
    struct dnsmsg m;
    struct records r;
    put_message(&bytes, properties, count, flags);
    assert_true(result_is_ok(dnsmsg_open(buf_span(&bytes), &m)));
    read_records(&c, m, &r);
    assert_int_equal(r.count, count);
    bool good = allows(&c, &r);
    buf_free(&bytes);
    return good;
}

#define JUDGE(wildcard, flags, ...)                                                                \
    judge((const char *const[][2]){__VA_ARGS__},                                                   \
          sizeof(const char *const[][2]){__VA_ARGS__} / (2 * sizeof(char *)), flags, wildcard)

static void test_issue(void **state)
{
    assert_true(JUDGE(false, 0, {"issue", "ca.test"}));
    assert_true(JUDGE(false, 0, {"ISSUE", " CA.test ; validationmethods=dns-01"}));
    assert_true(JUDGE(false, 0, {"issue", "x.test"}, {"issue", "other-name.test"}));
    assert_false(JUDGE(false, 0, {"issue", "x.test"}));
    assert_false(JUDGE(false, 0, {"issue", ";"}));
    assert_false(JUDGE(false, 0, {"issue", "ca.test.evil"}));
    assert_true(JUDGE(false, 0, {"iodef", "mailto:a@b.test"}));
}

static void test_wildcards(void **state)
{
    assert_false(JUDGE(true, 0, {"issue", "ca.test"}, {"issuewild", ";"}));
    assert_true(JUDGE(false, 0, {"issue", "ca.test"}, {"issuewild", ";"}));
    assert_true(JUDGE(true, 0, {"issue", "x.test"}, {"issuewild", "ca.test"}));
    assert_true(JUDGE(true, 0, {"issue", "ca.test"}));
    assert_true(JUDGE(false, 0, {"issuewild", ";"})); /* says nothing of other names */
}

static void test_critical_properties(void **state)
{
    assert_false(JUDGE(false, 128, {"issue", "ca.test"}, {"future", "x"}));
    assert_true(JUDGE(false, 0, {"issue", "ca.test"}, {"future", "x"}));
}

UNIT_TESTS(cmocka_unit_test(test_issue), cmocka_unit_test(test_wildcards),
           cmocka_unit_test(test_critical_properties))
