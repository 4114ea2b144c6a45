/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/jws.h"

#include "base/secret.h"
#include "crypto/digest.h"

#define HMAC_KEY_MIN 16

void jws_quote(struct buf *out, const char *text)
{
    buf_put_str(out, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            buf_printf(out, "\\u%04x", *p);
        else
            buf_put(out, p, 1);
    }
    buf_put_str(out, "\"");
}

/* Appends the three members; `sign` text is protected "." payload (RFC 7515 section 5.1). */
static void put_signed_parts(struct buf *out, const struct buf *header, struct span payload,
                             struct buf *ret_text)
{
    base64url_put(ret_text, buf_span(header));
    size_t dot = ret_text->len;
    buf_put_str(ret_text, ".");
    base64url_put(ret_text, payload);
    struct span text = buf_span(ret_text);
    buf_printf(out, "{\"protected\":\"%.*s\",\"payload\":\"%.*s\",\"signature\":\"",
               SPAN_FMT(span_first(text, dot)), SPAN_FMT(span_skip(text, dot + 1)));
}

struct result jws_sign(const struct key *key, const char *kid, const char *nonce, const char *url,
                       struct span payload, struct buf *out)
{
    struct buf header = {0}, text = {0}, signature = {0};
    buf_printf(&header, "{\"alg\":\"%s\",", key_jws_alg(key));
    struct result r = result_ok();
    if (kid) {
        buf_put_str(&header, "\"kid\":");
        jws_quote(&header, kid);
    } else {
        buf_put_str(&header, "\"jwk\":");
        r = key_jwk(key, &header);
    }
    if (nonce) {
        buf_put_str(&header, ",\"nonce\":");
        jws_quote(&header, nonce);
    }
    buf_put_str(&header, ",\"url\":");
    jws_quote(&header, url);
    buf_put_str(&header, "}");
    if (result_is_ok(r)) {
        put_signed_parts(out, &header, payload, &text);
        r = key_jws_sign(key, buf_span(&text), &signature);
        base64url_put(out, buf_span(&signature));
        buf_put_str(out, "\"}");
    }
    buf_free(&header);
    buf_free(&text);
    buf_free(&signature);
    return r;
}

struct result jws_bind_external(const struct key *account, const char *kid, const char *hmac,
                                const char *url, struct buf *out, struct why *why)
{
    struct buf secret = {0}, header = {0}, jwk = {0}, text = {0};
    struct span trimmed = span_str(hmac);
    while (trimmed.len && trimmed.ptr[trimmed.len - 1] == '=')
        trimmed.len--;
    struct result r = base64url_get(trimmed, &secret);
    if (!result_is_ok(r) || secret.len < HMAC_KEY_MIN)
        r = why_fail(why, ERR_CONFIG,
                     "eab.hmacEncoded must be the base64url text that the CA gave (at least %d "
                     "bytes when decoded)",
                     HMAC_KEY_MIN);
    else
        r = key_jwk(account, &jwk);
    if (result_is_ok(r)) {
        uint8_t mac[DIGEST_BYTES_MAX];
        buf_put_str(&header, "{\"alg\":\"HS256\",\"kid\":");
        jws_quote(&header, kid);
        buf_put_str(&header, ",\"url\":");
        jws_quote(&header, url);
        buf_put_str(&header, "}");
        put_signed_parts(out, &header, buf_span(&jwk), &text);
        digest_hmac(DIGEST_SHA256, buf_span(&secret), buf_span(&text), mac);
        base64url_put(out, span_of(mac, digest_bytes(DIGEST_SHA256)));
        buf_put_str(out, "\"}");
    }
    buf_wipe_free(&secret);
    buf_free(&header);
    buf_free(&jwk);
    buf_free(&text);
    return r;
}

struct result jws_thumbprint(const struct key *key, struct buf *out)
{
    struct buf jwk = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    struct result r = key_jwk(key, &jwk);
    if (result_is_ok(r)) {
        digest_once(DIGEST_SHA256, buf_span(&jwk), hash);
        base64url_put(out, span_of(hash, digest_bytes(DIGEST_SHA256)));
    }
    buf_free(&jwk);
    return r;
}
