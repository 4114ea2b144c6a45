/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: ocsp_response_read ocsp_answer_put ocsp_request_make verify_signature */
#include "fuzz.h"

#include "crypto/ocsp.h"
#include "crypto/ocsp_vectors.h"

/* What is shown to clients says the same, and nothing more. */
static void show(const struct ocsp_subject *ours, const struct ocsp_answer *a)
{
    struct ocsp_answer shown;
    struct buf out = {0}, again = {0};
    struct why why;
    ocsp_answer_put(a, &out);
    must(result_is_ok(ocsp_response_read(buf_span(&out), ours, OCSP_MADE_S + 60, &shown, &why)));
    must(shown.status == a->status && shown.until_s == a->until_s);
    ocsp_answer_put(&shown, &again);
    must(span_eq(buf_span(&out), buf_span(&again)));
    buf_free(&out);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    struct ocsp_subject ours = {leaf_der, ca_der}, leaf = {in, ca_der}, issuer = {leaf_der, in};
    struct ocsp_answer a;
    struct why why;
    if (result_is_ok(ocsp_response_read(in, &ours, OCSP_MADE_S + 60, &a, &why))) {
        must(a.status >= OCSP_GOOD && a.status <= OCSP_UNKNOWN);
        must(a.until_s > OCSP_MADE_S + 60);
        must(a.this_update_s <= OCSP_MADE_S + 60 + OCSP_CLOCK_SKEW_S);
        show(&ours, &a);
    }
    struct buf request = {0};
    (void)!result_is_ok(ocsp_request_make(&leaf, &request, &why));
    (void)!result_is_ok(ocsp_request_make(&issuer, &request, &why));
    buf_free(&request);
    return 0;
}
