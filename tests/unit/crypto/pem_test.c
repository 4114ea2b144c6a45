/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/pem.c"

#include "unit.h"

static void walks_over_blocks(void **state)
{
    struct span text = SPAN_LITERAL("a comment\r\n-----BEGIN A-----\r\nAQID\r\n-----END A-----\r\n"
                                    "# more\n-----BEGIN B C-----\nBA==\n-----END B C-----");
    struct pem_block b;
    assert_true(result_is_ok(pem_next(&text, &b)));
    assert_true(span_eq(b.label, SPAN_LITERAL("A")));
    assert_true(span_eq(buf_span(&b.der), SPAN_LITERAL("\1\2\3")));
    buf_free(&b.der);
    assert_true(result_is_ok(pem_next(&text, &b)));
    assert_true(span_eq(b.label, SPAN_LITERAL("B C")));
    assert_true(span_eq(buf_span(&b.der), SPAN_LITERAL("\4")));
    buf_free(&b.der);
    assert_int_equal(pem_next(&text, &b).code, ERR_NOT_FOUND);
    text = (struct span){NULL, 0};
    assert_int_equal(pem_next(&text, &b).code, ERR_NOT_FOUND);
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "-----BEGIN A-----\nAQID\n",
        "-----BEGIN A-----\nAQID\n-----END B-----\n",
        "-----BEGIN A-----\nA!ID\n-----END A-----\n",
        "-----BEGIN A",
        "-----BEGIN A-----\nAQID\n-----END A",
        "-----BEGIN A\n-----\nAQID\n-----END A\n-----",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct span text = span_str(bad[i]);
        struct pem_block b;
        assert_int_equal(pem_next(&text, &b).code, ERR_FORMAT);
    }
}

static void knows_encrypted_blocks(void **state)
{
    struct span text =
        SPAN_LITERAL("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                     "DEK-Info: AES-128-CBC,00\n\nAQID\n-----END RSA PRIVATE KEY-----\n");
    struct pem_block b;
    assert_true(result_is_ok(pem_next(&text, &b)));
    assert_true(b.encrypted);
    assert_int_equal(b.der.len, 0);
}

static void writes_what_it_reads(void **state)
{
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (size_t n = 0; n < sizeof bytes; n++) {
        struct buf text = {0};
        struct pem_block b;
        pem_put(&text, "X", span_of(bytes, n));
        struct span in = buf_span(&text);
        assert_true(result_is_ok(pem_next(&in, &b)));
        assert_true(span_eq(buf_span(&b.der), span_of(bytes, n)));
        buf_free(&b.der);
        buf_free(&text);
    }
}

UNIT_TESTS(cmocka_unit_test(walks_over_blocks), cmocka_unit_test(refuses),
           cmocka_unit_test(knows_encrypted_blocks), cmocka_unit_test(writes_what_it_reads))
