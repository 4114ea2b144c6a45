/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: ocsp_response_read ocsp_request_make verify_signature */
#include "fuzz.h"

#include "crypto/ocsp.h"
#include "crypto/ocsp_vectors.h"

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
    }
    struct buf request = {0};
    (void)!result_is_ok(ocsp_request_make(&leaf, &request, &why));
    (void)!result_is_ok(ocsp_request_make(&issuer, &request, &why));
    buf_free(&request);
    return 0;
}
