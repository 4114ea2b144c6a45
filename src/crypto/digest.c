/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/digest.h"

#include "base/must.h"
#include "base/secret.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>

#include <errno.h>
#include <sys/random.h>

static enum wc_HashType hash_type(enum digest algorithm)
{
    switch (algorithm) {
    case DIGEST_SHA1:
        return WC_HASH_TYPE_SHA;
    case DIGEST_SHA224:
        return WC_HASH_TYPE_SHA224;
    case DIGEST_SHA256:
        return WC_HASH_TYPE_SHA256;
    case DIGEST_SHA384:
        return WC_HASH_TYPE_SHA384;
    case DIGEST_SHA512:
        return WC_HASH_TYPE_SHA512;
    }
    never();
}

size_t digest_bytes(enum digest algorithm)
{
    int n = wc_HashGetDigestSize(hash_type(algorithm));
    must(n > 0 && n <= DIGEST_BYTES_MAX);
    return (size_t)n;
}

void digest_once(enum digest algorithm, struct span in, uint8_t *out)
{
    must(in.len <= UINT32_MAX);
    /* wolfCrypt refuses NULL even for no bytes. */
    const uint8_t *ptr = in.ptr ? in.ptr : (const uint8_t *)"";
    must(wc_Hash(hash_type(algorithm), ptr, (word32)in.len, out, (word32)digest_bytes(algorithm)) ==
         0);
}

void digest_hmac(enum digest algorithm, struct span key, struct span in, uint8_t *out)
{
    must(in.len <= UINT32_MAX && key.len <= UINT32_MAX);
    const uint8_t *key_ptr = key.ptr ? key.ptr : (const uint8_t *)"";
    const uint8_t *in_ptr = in.ptr ? in.ptr : (const uint8_t *)"";
    Hmac hmac;
    must(wc_HmacInit(&hmac, NULL, INVALID_DEVID) == 0);
    must(wc_HmacSetKey(&hmac, (int)hash_type(algorithm), key_ptr, (word32)key.len) == 0);
    must(wc_HmacUpdate(&hmac, in_ptr, (word32)in.len) == 0);
    must(wc_HmacFinal(&hmac, out) == 0);
    wc_HmacFree(&hmac);
}

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char std_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_groups(struct buf *out, struct span in, const char *alphabet, bool pad)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.ptr[i] << 16;
        if (n > 1)
            v |= (uint32_t)in.ptr[i + 1] << 8;
        if (n > 2)
            v |= in.ptr[i + 2];
        char quad[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63],
                        alphabet[v & 63]};
        if (pad && n < 3) {
            quad[3] = '=';
            if (n < 2)
                quad[2] = '=';
        }
        buf_put(out, quad, pad ? 4 : n + 1);
    }
}

void base64url_put(struct buf *out, struct span in)
{
    put_groups(out, in, url_alphabet, false);
}

void base64_put(struct buf *out, struct span in)
{
    put_groups(out, in, std_alphabet, true);
}

static int digit(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

/* Collects 6 bits at a time; what is left at the end has to be zero bits (canonical). */
static struct result get_text(struct span text, bool url, struct buf *out)
{
    size_t start = out->len, digits = 0, pads = 0;
    uint32_t acc = 0;
    uint8_t *to = buf_reserve(out, text.len / 4 * 3 + 3);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (!url && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
            continue;
        if (!url && c == '=' && pads < 2) {
            pads++;
            continue;
        }
        int d = digit(c, url);
        if (d < 0 || pads)
            goto bad;
        acc = acc << 6 | (uint32_t)d;
        if (++digits % 4 == 0) {
            *to++ = (uint8_t)(acc >> 16);
            *to++ = (uint8_t)(acc >> 8);
            *to++ = (uint8_t)acc;
            acc = 0;
        }
    }
    size_t rest = digits % 4;
    if (rest == 1 || (pads && rest + pads != 4))
        goto bad;
    if ((rest == 2 && acc & 15) || (rest == 3 && acc & 3))
        goto bad;
    out->len = (size_t)(to - out->ptr);
    if (rest == 2)
        buf_put_be(out, acc >> 4, 1);
    if (rest == 3)
        buf_put_be(out, acc >> 2, 2);
    return result_ok();
bad:
    secret_wipe(out->ptr + start, (size_t)(to - out->ptr) - start);
    return result_fail(ERR_FORMAT);
}

struct result base64url_get(struct span text, struct buf *out)
{
    return get_text(text, true, out);
}

struct result base64_get(struct span text, struct buf *out)
{
    return get_text(text, false, out);
}

void hex_put(struct buf *out, struct span in)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        char pair[2] = {digits[in.ptr[i] >> 4], digits[in.ptr[i] & 15]};
        buf_put(out, pair, 2);
    }
}

void random_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        must(n > 0);
        at += n;
        len -= (size_t)n;
    }
}
