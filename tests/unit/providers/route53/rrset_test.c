/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "route53/rrset.c"

#include "fake_host.h"

#define LIST(sets)                                                                                 \
    "<ListResourceRecordSetsResponse><ResourceRecordSets>" sets "</ResourceRecordSets>"            \
    "</ListResourceRecordSetsResponse>"
#define SET(name, type, values)                                                                    \
    "<ResourceRecordSet><Name>" name "</Name><Type>" type                                          \
    "</Type><TTL>300</TTL><ResourceRecords>" values "</ResourceRecords></ResourceRecordSet>"
#define VALUE(text) "<ResourceRecord><Value>" text "</Value></ResourceRecord>"

static struct rrset set;
static struct ferrule_error error;

static int32_t read_list(const char *body)
{
    return rrset_read(fake_str(body), fake_str("_a.Example.org."), &set, &error);
}

static void expect_change(const char *value, bool remove, const char *expected)
{
    struct ferrule_buf *body = fake_buf_new(&fake_host);
    rrset_put_change(&fake_host, &set, fake_str("_a.example.org."), fake_str(value), 10, remove,
                     body);
    buf_cstr(&body->data);
    char *from = strstr((char *)body->data.ptr, "<Action>"), *to = strstr(from, "<Type>");
    *to = 0;
    assert_string_equal(from, expected);
    fake_buf_free(body);
}

static void test_names(void **state)
{
    assert_true(rrset_names_equal(fake_str("\\052.a\\137b.TEST."), fake_str("*.A_b.test")));
    assert_false(rrset_names_equal(fake_str("xa.test."), fake_str("a.test.")));
    assert_false(rrset_names_equal(fake_str("a.test.x"), fake_str("a.test.")));
    assert_true(rrset_names_equal(fake_str(""), fake_str(".")));
}

static void test_reading(void **state)
{
    assert_int_equal(read_list(LIST(SET("_b.example.org.", "TXT", VALUE("\"x\""))
                                        SET("_a.example.org.", "CAA", VALUE("0 issue")))),
                     FERRULE_OK);
    assert_int_equal(set.count, 0);
    assert_int_equal(
        read_list(LIST(SET("_a.example.org.", "TXT", VALUE("&quot;x&quot;") VALUE("\"y\" \"z\"")))),
        FERRULE_OK);
    assert_int_equal(set.count, 2);
    assert_int_equal(set.ttl_s, 300);
    assert_int_equal(rrset_find(&set, fake_str("x")), 0);
    assert_int_equal(rrset_find(&set, fake_str("y\" \"z")), 1); /* never a value of ours */
    assert_int_equal(rrset_find(&set, fake_str("z")), -1);
    assert_int_equal(read_list(LIST("") "<!-- -->"), FERRULE_OK);
    assert_int_equal(read_list("<ListResourceRecordSetsResponse>"), FERRULE_RETRY);
    assert_int_equal(read_list(LIST(SET("_a.example.org.", "TXT", ""))), FERRULE_RETRY);
}

static void test_routed(void **state)
{
    assert_int_equal(
        read_list(LIST("<ResourceRecordSet><Name>_a.example.org.</Name><Type>TXT</Type>"
                       "<SetIdentifier>w</SetIdentifier></ResourceRecordSet>")),
        FERRULE_OK);
    assert_true(set.routed);
}

static void test_changes(void **state)
{
    assert_int_equal(read_list(LIST("")), FERRULE_OK);
    expect_change("v", false,
                  "<Action>UPSERT</Action><ResourceRecordSet><Name>_a.example.org.</Name>"
                  "<ResourceRecords>" VALUE("&#34;v&#34;") "</ResourceRecords><TTL>10</TTL>");
    assert_int_equal(
        read_list(LIST(SET("_a.example.org.", "TXT", VALUE("\"a &amp; b\"") VALUE("\"v\"")))),
        FERRULE_OK);
    expect_change("w", false,
                  "<Action>UPSERT</Action><ResourceRecordSet><Name>_a.example.org.</Name>"
                  "<ResourceRecords>" VALUE("\"a &amp; b\"") VALUE("\"v\"")
                      VALUE("&#34;w&#34;") "</ResourceRecords><TTL>300</TTL>");
    expect_change("v", true,
                  "<Action>UPSERT</Action><ResourceRecordSet><Name>_a.example.org.</Name>"
                  "<ResourceRecords>" VALUE("\"a &amp; b\"") "</ResourceRecords><TTL>300</TTL>");
    assert_int_equal(read_list(LIST(SET("_a.example.org.", "TXT", VALUE("\"v\"")))), FERRULE_OK);
    expect_change("v", true,
                  "<Action>DELETE</Action><ResourceRecordSet><Name>_a.example.org.</Name>"
                  "<ResourceRecords>" VALUE("\"v\"") "</ResourceRecords><TTL>300</TTL>");
}

UNIT_TESTS(cmocka_unit_test(test_names), cmocka_unit_test(test_reading),
           cmocka_unit_test(test_routed), cmocka_unit_test(test_changes))
