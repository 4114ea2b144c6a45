/* SPDX-License-Identifier: Apache-2.0 */
#include "config/skim.c"

#include "unit.h"

#define PAIR "[[tls.certificates]]\ncertFile = \"/c.pem\"\nkeyFile = \"/k.pem\"\n"

/* Expects the text to become this one. */
static void expect(const char *text, const char *skimmed)
{
    struct buf out = {0};
    buf_put_str(&out, "before");
    assert_true(skim_pairs(span_str(text), &out));
    assert_string_equal(buf_cstr(&out) + 6, skimmed);
    buf_free(&out);
}

static void expect_refusal(const char *text)
{
    struct buf out = {0};
    assert_false(skim_pairs(span_str(text), &out));
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void pairs_become_empty_lines(void **state)
{
    expect(PAIR, "\n\n\n");
    expect("a = 1\n" PAIR "\n" PAIR "[x]\nb = 2", "a = 1\n\n\n\n\n\n\n\n[x]\nb = 2");
    expect("  [[tls.certificates]]\t\r\n\tkeyFile=\"k\"\r\n[x]\r\n", "\n\n[x]\r\n");
    expect(PAIR "[[tls.certificates]]", "\n\n\n");
    expect(PAIR "[tls.options.x]\nsniStrict = true\n", "\n\n\n[tls.options.x]\nsniStrict = true\n");
    expect("[tls.options.x]\nkeyFile = 1\n" PAIR, "[tls.options.x]\nkeyFile = 1\n\n\n\n");
}

/* What only a whole parser understands. */
static void anything_else_is_left_alone(void **state)
{
    expect_refusal("");
    expect_refusal("a = 1\n");
    expect_refusal("[[tls.certificate]]\n");
    expect_refusal("a = \"\"\"\n" PAIR "\"\"\"\n");
    expect_refusal("a = '''\n" PAIR "'''\n");
    expect_refusal(PAIR "# a comment\n");
    expect_refusal(PAIR "stores = [\"default\"]\n");
    expect_refusal("[[tls.certificates]]\ncertFile = \"a\\u0041\"\n");
    expect_refusal("[[tls.certificates]]\ncertFile = \"a\" # a comment\n");
    expect_refusal("[[tls.certificates]]\ncertFile = \"a\" keyFile = \"b\"\n");
    expect_refusal("[[tls.certificates]]\ncertFile = 'a'\n");
    expect_refusal("[[tls.certificates]]\ncertFile = \"\n");
    expect_refusal("[[tls.certificates]]\ncertFile = \"a\tb\"\n");
    expect_refusal("[[tls.certificates]]\ncertFile\n");
    expect_refusal("[[tls.certificates]]\ncertFile =\n");
    expect_refusal("[[tls.certificates]]\ncertFiles = \"a\"\n");
    expect_refusal("[[tls.certificates]] # a comment\ncertFile = \"a\"\n");
}

UNIT_TESTS(cmocka_unit_test(pairs_become_empty_lines),
           cmocka_unit_test(anything_else_is_left_alone))
