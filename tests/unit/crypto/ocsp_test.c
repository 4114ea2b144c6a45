/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/ocsp.c"

#include "crypto/ocsp_vectors.h"
#include "unit.h"

#define DAY_S 86400

static struct ocsp_subject subject;
static struct why why;

static int set_up(void **state)
{
    subject = (struct ocsp_subject){leaf_der, ca_der};
    return 0;
}

static enum err_code read_at(struct span response, int64_t now_s, struct ocsp_answer *ret)
{
    why.text[0] = 0;
    return ocsp_response_read(response, &subject, now_s, ret, &why).code;
}

static enum err_code read_now(struct span response, struct ocsp_answer *ret)
{
    return read_at(response, OCSP_MADE_S + 60, ret);
}

static void asks_as_openssl_does(void **state)
{
    struct buf request = {0};
    assert_true(result_is_ok(ocsp_request_make(&subject, &request, &why)));
    assert_true(span_eq(buf_span(&request), request_der));
    subject.issuer = stranger_der;
    assert_int_equal(ocsp_request_make(&subject, &request, &why).code, ERR_MISMATCH);
    subject.issuer = span_first(ca_der, ca_der.len - 1);
    assert_int_equal(ocsp_request_make(&subject, &request, &why).code, ERR_FORMAT);
    buf_free(&request);
}

static void takes_good_answers(void **state)
{
    const struct span all[] = {good_response, delegated_response, delegated_by_key_response};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ocsp_answer a;
        assert_int_equal(read_now(all[i], &a), ERR_NONE);
        assert_int_equal(a.status, OCSP_GOOD);
        assert_in_range(a.this_update_s, OCSP_MADE_S, OCSP_MADE_S + 60);
        assert_int_equal(a.until_s, a.this_update_s + 7 * DAY_S);
    }
}

static void tells_what_is_not_good(void **state)
{
    struct ocsp_answer a;
    assert_int_equal(read_now(revoked_response, &a), ERR_NONE);
    assert_int_equal(a.status, OCSP_REVOKED);
    assert_int_equal(a.revoked_s, 1577836800);
    assert_int_equal(a.reason, 1);
    assert_int_equal(read_now(unknown_response, &a), ERR_NONE);
    assert_int_equal(a.status, OCSP_UNKNOWN);
    assert_int_equal(read_now(try_later_response, &a), ERR_REMOTE);
    assert_non_null(strstr(why.text, "try later"));
}

static void refuses_signatures(void **state)
{
    const struct span all[] = {sha1_response, no_purpose_response, false_delegated_response,
                               strange_response, no_certs_response};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ocsp_answer a;
        assert_int_equal(read_now(all[i], &a), ERR_MISMATCH);
        assert_non_null(strstr(why.text, "not signed by"));
    }
}

static void has_its_time(void **state)
{
    struct ocsp_answer a, b;
    assert_int_equal(read_now(good_response, &a), ERR_NONE);
    assert_int_equal(read_at(good_response, a.until_s - 1, &b), ERR_NONE);
    assert_int_equal(read_at(good_response, a.until_s, &b), ERR_TIMEOUT);
    assert_non_null(strstr(why.text, "stale"));
    assert_int_equal(read_at(good_response, a.this_update_s - OCSP_CLOCK_SKEW_S, &b), ERR_NONE);
    assert_int_equal(read_at(good_response, a.this_update_s - OCSP_CLOCK_SKEW_S - 1, &b),
                     ERR_TIMEOUT);
    assert_int_equal(read_now(no_next_response, &a), ERR_NONE);
    assert_int_equal(a.until_s, a.this_update_s + OCSP_NO_NEXT_S);
    assert_int_equal(read_at(no_next_response, a.until_s, &b), ERR_TIMEOUT);
}

static void is_about_one_certificate(void **state)
{
    struct ocsp_answer a;
    subject.leaf = other_der;
    assert_int_equal(read_now(good_response, &a), ERR_MISMATCH);
    assert_non_null(strstr(why.text, "another certificate"));
}

/* Nothing of an answer may change, or be cut off, or be added, without being seen. */
static void sees_every_change(void **state)
{
    struct ocsp_answer a;
    struct buf copy = {0};
    buf_put_span(&copy, bare_response);
    for (size_t i = 0; i < bare_response.len; i++) {
        copy.ptr[i] ^= 1;
        assert_int_not_equal(read_now(buf_span(&copy), &a), ERR_NONE);
        copy.ptr[i] ^= 1;
        assert_int_not_equal(read_now(span_first(buf_span(&copy), i), &a), ERR_NONE);
    }
    assert_int_equal(read_now(buf_span(&copy), &a), ERR_NONE);
    buf_put_str(&copy, "x");
    assert_int_equal(read_now(buf_span(&copy), &a), ERR_FORMAT);
    memset(buf_reserve(&copy, OCSP_RESPONSE_MAX), 0, OCSP_RESPONSE_MAX);
    copy.len += OCSP_RESPONSE_MAX;
    assert_int_equal(read_now(buf_span(&copy), &a), ERR_TOO_LARGE);
    buf_free(&copy);
}

/* The response with more in the part that nobody signs: `more` behind the certificates, and behind
 * the algorithm. */
static void add_unsigned(struct span response, struct span more, struct buf *out)
{
    struct span in = response, inner;
    struct response r;
    assert_true(result_is_ok(read_envelope(in, &inner, &why)));
    assert_true(result_is_ok(read_basic(inner, &r)));
    size_t all = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_ENUMERATED, SPAN_LITERAL("\0"));
    size_t explicit = der_begin(out, DER_CONSTRUCTED(0)), bytes = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid_basic);
    size_t string = der_begin(out, DER_OCTET_STRING), basic = der_begin(out, DER_SEQUENCE);
    buf_put_span(out, r.signed_part);
    size_t algorithm = der_begin(out, DER_SEQUENCE);
    buf_put_span(out, r.algorithm);
    buf_put_span(out, more);
    der_end(out, algorithm);
    der_put_bits(out, r.signature);
    size_t certs = der_begin(out, DER_CONSTRUCTED(0)), list = der_begin(out, DER_SEQUENCE);
    buf_put_span(out, r.certs);
    buf_put_span(out, more);
    der_end(out, list);
    der_end(out, certs);
    der_end(out, basic);
    der_end(out, string);
    buf_put_span(out, more);
    der_end(out, bytes);
    der_end(out, explicit);
    der_end(out, all);
}

/* A response comes over plain HTTP: what somebody on the way puts beside what is signed is not
 * shown to clients, who might refuse the handshake for it. */
static void shows_only_what_is_signed(void **state)
{
    const struct span all[] = {bare_response, delegated_response, delegated_by_key_response};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ocsp_answer a, b, c;
        struct buf shown = {0}, more = {0}, odd = {0};
        assert_int_equal(read_now(all[i], &a), ERR_NONE);
        ocsp_answer_put(&a, &shown);
        assert_true(span_eq(buf_span(&shown), all[i])); /* what openssl made has nothing more */
        add_unsigned(all[i], SPAN_LITERAL("\x04\x0bto be blamed"), &odd);
        assert_int_equal(read_now(buf_span(&odd), &b), ERR_NONE);
        ocsp_answer_put(&b, &more);
        assert_true(span_eq(buf_span(&more), buf_span(&shown)));
        assert_int_equal(read_now(buf_span(&more), &c), ERR_NONE);
        assert_int_equal(c.until_s, a.until_s);
        buf_free(&shown);
        buf_free(&more);
        buf_free(&odd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(asks_as_openssl_does, set_up),
        cmocka_unit_test_setup(takes_good_answers, set_up),
        cmocka_unit_test_setup(tells_what_is_not_good, set_up),
        cmocka_unit_test_setup(refuses_signatures, set_up),
        cmocka_unit_test_setup(has_its_time, set_up),
        cmocka_unit_test_setup(is_about_one_certificate, set_up),
        cmocka_unit_test_setup(sees_every_change, set_up),
        cmocka_unit_test_setup(shows_only_what_is_signed, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
