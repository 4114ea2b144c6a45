/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: x509_parse x509_chain_from_pem x509_chain_to_pem key_from_der key_from_pem base64_get
 * base64url_get */
#include "fuzz.h"

#include "crypto/digest.h"
#include "crypto/key.h"
#include "crypto/x509.h"

static void text_is_clean(const char *text)
{
    for (; *text; text++)
        must((uint8_t)*text >= 0x20 && *text != 0x7f);
}

static void try_certificate(struct span in)
{
    struct x509 x;
    if (!result_is_ok(x509_parse(in, &x, NULL)))
        return;
    must(x.name_count <= X509_NAMES_MAX && x.spki.len > 0);
    text_is_clean(x.subject);
    text_is_clean(x.issuer);
    for (uint32_t i = 0; i < x.name_count; i++)
        must(x509_name_covers(x.names[i], x.names[i]));
    x509_free(&x);
}

static void try_key(struct result r, struct key *key)
{
    struct buf der = {0};
    struct key *again = NULL;
    if (!result_is_ok(r))
        return;
    must(result_is_ok(key_to_der(key, &der)));
    must(result_is_ok(key_from_der(buf_span(&der), &again, NULL)));
    key_free(key);
    key_free(again);
    buf_wipe_free(&der);
}

static void try_chain(struct span in)
{
    struct buf chain = {0}, pem = {0}, again = {0};
    struct x509 leaf;
    if (result_is_ok(x509_chain_from_pem(in, &chain, &leaf, NULL))) {
        x509_free(&leaf);
        must(result_is_ok(x509_chain_to_pem(buf_span(&chain), &pem)));
        must(result_is_ok(x509_chain_from_pem(buf_span(&pem), &again, NULL, NULL)));
        must(span_eq(buf_span(&chain), buf_span(&again)));
    }
    buf_free(&chain);
    buf_free(&pem);
    buf_free(&again);
}

static void try_base64(struct span in)
{
    struct buf raw = {0}, text = {0};
    if (result_is_ok(base64url_get(in, &raw))) {
        base64url_put(&text, buf_span(&raw));
        must(span_eq(buf_span(&text), in)); /* canonical: one text for the bytes */
    }
    raw.len = 0;
    if (result_is_ok(base64_get(in, &raw)))
        must(raw.len <= in.len);
    buf_free(&raw);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    struct key *key = NULL;
    try_certificate(in);
    try_chain(in);
    struct result r = key_from_der(in, &key, NULL);
    try_key(r, key);
    key = NULL;
    r = key_from_pem(in, &key, NULL);
    try_key(r, key);
    try_base64(in);
    return 0;
}
