/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/identity.c"

#include "crypto/vectors.h"
#include "crypto/x509.h"
#include "unit.h"

#include <stdlib.h>

#define USE_SIGN     "\x03\x02\x07\x80" /* digitalSignature */
#define USE_CERT     "\x03\x02\x02\x04" /* keyCertSign */
#define USE_NOTHING  "\x03\x01\x00"
#define FOR_SERVERS  "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"
#define FOR_CLIENTS  "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02"
#define FOR_ANYTHING "\x30\x06\x06\x04\x55\x1d\x25\x00"
#define FOR_BOTH                                                                                   \
    "\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"

static void extension(struct buf *out, struct span oid, struct span value)
{
    size_t mark = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid);
    der_put(out, DER_BOOLEAN, SPAN_LITERAL("\xff"));
    der_put(out, DER_OCTET_STRING, value);
    der_end(out, mark);
}

/* A certificate with nothing but extensions; empty parts are left out. */
static void certificate(struct buf *out, struct span names, struct span use, struct span purpose)
{
    struct buf san = {0};
    size_t all = der_begin(out, DER_SEQUENCE);
    size_t tbs = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_INTEGER, SPAN_LITERAL("\1"));
    size_t three = der_begin(out, DER_CONSTRUCTED(3));
    size_t list = der_begin(out, DER_SEQUENCE);
    if (names.len) {
        der_put(&san, DER_SEQUENCE, names);
        extension(out, oid_san, buf_span(&san));
    }
    if (use.len)
        extension(out, oid_key_usage, use);
    if (purpose.len)
        extension(out, oid_extended_use, purpose);
    der_end(out, list);
    der_end(out, three);
    der_end(out, tbs);
    der_end(out, all);
    buf_free(&san);
}

static enum identity_fault check(struct span names, const char *host, const char *uri)
{
    struct buf der = {0};
    struct identity wanted = {span_str(host), span_str(uri)};
    certificate(&der, names, (struct span){0}, (struct span){0});
    enum identity_fault fault = identity_check(buf_span(&der), &wanted);
    buf_free(&der);
    return fault;
}

static const struct {
    struct span names;
    const char *host;
    bool good;
} name_cases[] = {
    {SPAN_LITERAL("\x82\x06"
                  "a.test"),
     "a.test", true},
    {SPAN_LITERAL("\x82\x06"
                  "A.Test"),
     "a.tEST.", true},
    {SPAN_LITERAL("\x82\x07"
                  "backend"),
     "backend", true},
    {SPAN_LITERAL("\x82\x09"
                  "localhost"),
     "localhost", true},
    {SPAN_LITERAL("\x82\x06"
                  "a.test"),
     "b.test", false},
    {SPAN_LITERAL("\x82\x06"
                  "a.test"),
     "x.a.test", false},
    {SPAN_LITERAL("\x82\x06"
                  "a.test\x82\x06"
                  "b.test"),
     "b.test", true},
    {SPAN_LITERAL("\x82\x08"
                  "*.a.test"),
     "x.a.test", true},
    {SPAN_LITERAL("\x82\x08"
                  "*.a.test"),
     "a.test", false},
    {SPAN_LITERAL("\x82\x08"
                  "*.a.test"),
     ".a.test", false},
    {SPAN_LITERAL("\x82\x08"
                  "*.a.test"),
     "y.x.a.test", false},
    {SPAN_LITERAL("\x82\x09"
                  "w*.a.test"),
     "www.a.test", false},
    {SPAN_LITERAL("\x82\x08"
                  "x.*.test"),
     "x.a.test", false},
    {SPAN_LITERAL("\x82\x01"
                  "*"),
     "a", false},
    {SPAN_LITERAL("\x82\x08"
                  "a.test\0x"),
     "a.test", false},
    {SPAN_LITERAL("\x81\x06"
                  "a.test"),
     "a.test", false}, /* a mail address */
    {SPAN_LITERAL("\x87\x04\x7f\0\0\1"), "127.0.0.1", true},
    {SPAN_LITERAL("\x87\x04\x7f\0\0\1"), "127.0.0.2", false},
    {SPAN_LITERAL("\x82\x09"
                  "127.0.0.1"),
     "127.0.0.1", false}, /* as a name it does not count */
    {SPAN_LITERAL("\x82\x09"
                  "*.0.0.1"),
     "127.0.0.1", false},
    {SPAN_LITERAL("\x87\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), "::1", true},
    {SPAN_LITERAL("\x87\x04\0\0\0\1"), "::1", false},
};

static void names(void **state)
{
    for (size_t i = 0; i < sizeof name_cases / sizeof *name_cases; i++)
        if ((check(name_cases[i].names, name_cases[i].host, "") == IDENTITY_GOOD) !=
            name_cases[i].good)
            fail_msg("case %zu, %s", i, name_cases[i].host);
    assert_int_equal(check((struct span){0}, "a.test", ""), IDENTITY_NAME);
}

static void uris(void **state)
{
    struct span both = SPAN_LITERAL("\x82\x06"
                                    "a.test\x86\x0a"
                                    "spiffe://a");
    assert_int_equal(check(both, "a.test", "spiffe://a"), IDENTITY_GOOD);
    assert_int_equal(check(both, "a.test", "spiffe://b"), IDENTITY_URI);
    assert_int_equal(check(both, "b.test", "spiffe://a"), IDENTITY_NAME);
    assert_int_equal(check(SPAN_LITERAL("\x82\x06"
                                        "a.test"),
                           "a.test", "spiffe://a"),
                     IDENTITY_URI);
}

static void uses(void **state)
{
    static const struct {
        struct span use, purpose;
        enum identity_fault fault;
    } cases[] = {
        {SPAN_LITERAL(USE_SIGN), SPAN_LITERAL(FOR_SERVERS), IDENTITY_GOOD},
        {SPAN_LITERAL(USE_SIGN), SPAN_LITERAL(FOR_BOTH), IDENTITY_GOOD},
        {SPAN_LITERAL(USE_SIGN), SPAN_LITERAL(FOR_ANYTHING), IDENTITY_GOOD},
        {SPAN_LITERAL(USE_SIGN), SPAN_LITERAL(FOR_CLIENTS), IDENTITY_USE},
        {SPAN_LITERAL(USE_CERT), SPAN_LITERAL(FOR_SERVERS), IDENTITY_USE},
        {SPAN_LITERAL(USE_NOTHING), {0}, IDENTITY_USE},
        {SPAN_LITERAL("\x03\x00"), {0}, IDENTITY_UNREADABLE},
        {{0}, SPAN_LITERAL("\x30\x00"), IDENTITY_USE},
        {{0}, SPAN_LITERAL("\x31\x00"), IDENTITY_UNREADABLE},
    };
    struct identity wanted = {SPAN_LITERAL("a.test"), {0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf der = {0};
        certificate(&der,
                    SPAN_LITERAL("\x82\x06"
                                 "a.test"),
                    cases[i].use, cases[i].purpose);
        if (identity_check(buf_span(&der), &wanted) != cases[i].fault)
            fail_msg("case %zu", i);
        buf_free(&der);
    }
}

static void real_certificate_and_damage(void **state)
{
    static const char *const covered[] = {"first.example.test", "www.example.test", "192.0.2.7",
                                          "2001:db8::1", "2001:DB8:0::1"};
    struct buf chain = {0};
    assert_true(result_is_ok(x509_chain_from_pem(span_str(PEM_LEAF), &chain, NULL, NULL)));
    struct span der = span_skip(buf_span(&chain), 3);
    for (size_t i = 0; i < sizeof covered / sizeof *covered; i++) {
        struct identity wanted = {span_str(covered[i]), {0}};
        assert_int_equal(identity_check(der, &wanted), IDENTITY_GOOD);
    }
    struct identity wanted = {SPAN_LITERAL("other.test"), {0}};
    assert_int_equal(identity_check(der, &wanted), IDENTITY_NAME);
    for (size_t i = 0; i < der.len; i++) {
        uint8_t *exact = mem_dup(der.ptr, i); /* its own block: ASan sees a read past it */
        assert_int_equal(identity_check(span_of(exact, i), &wanted), IDENTITY_UNREADABLE);
        free(exact);
        for (int k = 0; k < 8; k++) {
            chain.ptr[3 + i] ^= (uint8_t)(1 << k);
            assert_int_not_equal(identity_check(der, &wanted), IDENTITY_GOOD);
            chain.ptr[3 + i] ^= (uint8_t)(1 << k);
        }
    }
    buf_free(&chain);
}

UNIT_TESTS(cmocka_unit_test(names), cmocka_unit_test(uris), cmocka_unit_test(uses),
           cmocka_unit_test(real_certificate_and_damage))
