/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/early.h"

#include "base/must.h"
#include "base/secret.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/kdf.h>

#define HEADER_BYTES     5
#define RECORD_BYTES_MAX (HEADER_BYTES + 16384 + 256) /* RFC 8446 section 5.2 */
#define APPLICATION_DATA 23
#define TAG_BYTES        16
#define NONCE_BYTES      12
#define KEY_BYTES_MAX    32

struct early {
    struct WOLFSSL *ssl;
    uint8_t secret[WC_MAX_DIGEST_SIZE]; /* client_handshake_traffic_secret */
    uint32_t secret_len;                /* 0 = the ServerHello is not made yet */
    bool passing;                       /* the Finished came: nothing is left out any more */
    uint32_t skipped;                   /* wire bytes */
    uint32_t have;                      /* bytes of the record collected */
    uint32_t given;                     /* of these handed out, once it is judged */
    bool judged;                        /* it is complete and wolfSSL gets it */
    uint8_t record[RECORD_BYTES_MAX];
};

/* Where a trial decrypts to; nothing in it is looked at. */
static _Thread_local uint8_t plain[RECORD_BYTES_MAX];

static int on_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int len, void *arg)
{
    struct early *e = arg;
    if (id == CLIENT_HANDSHAKE_TRAFFIC_SECRET && len > 0 && (size_t)len <= sizeof e->secret) {
        memcpy(e->secret, secret, (size_t)len);
        e->secret_len = (uint32_t)len;
    }
    return 0;
}

struct early *early_create(struct WOLFSSL *ssl)
{
    struct early *e = XMALLOC(sizeof *e, NULL, DYNAMIC_TYPE_TMP_BUFFER);
    if (!e)
        return NULL;
    memset(e, 0, offsetof(struct early, record));
    e->ssl = ssl;
    if (wolfSSL_set_tls13_secret_cb(ssl, on_secret, e) != WOLFSSL_SUCCESS) {
        early_destroy(e);
        return NULL;
    }
    return e;
}

void early_destroy(struct early *e)
{
    if (!e)
        return;
    (void)wolfSSL_set_tls13_secret_cb(e->ssl, NULL, NULL);
    secret_wipe(e, sizeof *e);
    XFREE(e, NULL, DYNAMIC_TYPE_TMP_BUFFER);
}

static size_t record_len(const struct early *e)
{
    return HEADER_BYTES + ((size_t)e->record[3] << 8 | e->record[4]);
}

static bool expand(const struct early *e, const char *label, uint8_t *ret, word32 n)
{
    static const byte none[1];
    return wc_Tls13_HKDF_Expand_Label(ret, n, e->secret, e->secret_len, (const byte *)"tls13 ", 6,
                                      (const byte *)label, (word32)strlen(label), none, 0,
                                      e->secret_len == 48 ? WC_SHA384 : WC_SHA256) == 0;
}

static bool gcm_opens(struct early *e, const uint8_t *key, word32 key_len, const uint8_t *nonce)
{
    Aes aes;
    word32 n = (word32)record_len(e) - HEADER_BYTES - TAG_BYTES;
    const uint8_t *body = e->record + HEADER_BYTES;
    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return false;
    bool good = wc_AesGcmSetKey(&aes, key, key_len) == 0 &&
                wc_AesGcmDecrypt(&aes, plain, body, n, nonce, NONCE_BYTES, body + n, TAG_BYTES,
                                 e->record, HEADER_BYTES) == 0;
    wc_AesFree(&aes);
    secret_wipe(&aes, sizeof aes);
    return good;
}

/* Is this the first record under the client's handshake key? Its nonce is the IV, as its sequence
 * number is 0 (RFC 8446 section 5.3). */
static bool is_finished(struct early *e)
{
    uint8_t key[KEY_BYTES_MAX], nonce[NONCE_BYTES];
    size_t n = record_len(e) - HEADER_BYTES;
    int suite = wolfSSL_get_current_cipher_suite(e->ssl) & 0xffff;
    word32 key_len = suite == 0x1301 ? 16 : 32;

    if (e->secret_len == 0 || n <= TAG_BYTES)
        return false;
    bool good = expand(e, "key", key, key_len) && expand(e, "iv", nonce, sizeof nonce);
    if (good && suite == 0x1303) /* TLS_CHACHA20_POLY1305_SHA256 */
        good = wc_ChaCha20Poly1305_Decrypt(key, nonce, e->record, HEADER_BYTES,
                                           e->record + HEADER_BYTES, (word32)(n - TAG_BYTES),
                                           e->record + HEADER_BYTES + n - TAG_BYTES, plain) == 0;
    else if (good)
        good = gcm_opens(e, key, key_len, nonce);
    secret_wipe(key, sizeof key);
    return good;
}

/* A whole record is there, or a header that no record can have: keep it for wolfSSL, or leave it
 * out. */
static void judge(struct early *e)
{
    if (record_len(e) > sizeof e->record) {
        e->passing = true; /* wolfSSL says what is wrong with it */
    } else if (e->record[0] == APPLICATION_DATA) {
        e->passing = is_finished(e);
        if (!e->passing && e->skipped + e->have <= EARLY_SKIP_MAX) {
            e->skipped += e->have;
            e->have = 0;
            return;
        }
    }
    e->judged = true;
    e->given = 0;
}

/* Takes bytes of one record; false when *in is used up before it can be judged. */
static bool collect(struct early *e, struct span *in)
{
    while (e->have < HEADER_BYTES || e->have < record_len(e)) {
        size_t want = e->have < HEADER_BYTES ? HEADER_BYTES : record_len(e);
        if (want > sizeof e->record)
            break;
        if (in->len == 0)
            return false;
        struct span part = span_first(*in, want - e->have);
        memcpy(e->record + e->have, part.ptr, part.len);
        e->have += (uint32_t)part.len;
        *in = span_skip(*in, part.len);
    }
    return true;
}

size_t early_receive(struct early *e, struct span *in, void *ret, size_t size)
{
    while (!e->judged) {
        if (e->passing) {
            struct span part = span_first(*in, size);
            if (part.len)
                memcpy(ret, part.ptr, part.len);
            *in = span_skip(*in, part.len);
            return part.len;
        }
        if (!collect(e, in))
            return 0;
        judge(e);
    }
    size_t part = e->have - e->given < size ? e->have - e->given : size;
    memcpy(ret, e->record + e->given, part);
    e->given += (uint32_t)part;
    if (e->given == e->have) {
        e->judged = false;
        e->have = 0;
    }
    return part;
}
