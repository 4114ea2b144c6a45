/* SPDX-License-Identifier: Apache-2.0 */
#include <wolfssl/wolfcrypt/libwolfssl_sources.h>

#include <wolfssl/internal.h>

#include "wolfssl_write_side.h"

/* With one of these a key is kept elsewhere, or something is sent, or keys change, at other times
 * than below: to be read again before it is allowed. */
#if !defined(WOLFSSL_TLS13) || !defined(HAVE_AESGCM) || !defined(WOLF_CRYPTO_CB) ||                \
    defined(WOLF_CRYPTO_CB_SETKEY) || defined(WOLF_CRYPTO_CB_AES_SETKEY) ||                        \
    defined(WOLFSSL_ASYNC_CRYPT) || defined(WOLFSSL_THREADED_CRYPT) ||                             \
    defined(WOLFSSL_RW_THREADED) || defined(HAVE_WRITE_DUP) || defined(HAVE_LIBZ) ||               \
    defined(HAVE_SECURE_RENEGOTIATION) || defined(WOLFSSL_POST_HANDSHAKE_AUTH) ||                  \
    defined(WOLFSSL_EARLY_DATA) || defined(WOLFSSL_QUIC) || defined(ATOMIC_USER) ||                \
    defined(WOLFSSL_TLS13_IGNORE_AEAD_LIMITS)
#error "wolfSSL is built with something that sealing records without it does not expect"
#endif

#define IV_BYTES     12
#define TAG_BYTES    16
#define RECORD_BYTES 16384
#define LIMIT        0x016A09E6u /* 2^24.5, as AEAD_AES_LIMIT, which is no number */

/* An established connection that wolfSSL would go on with at once. */
static bool is_idle(const WOLFSSL *ssl)
{
    return (ssl->error == 0 || ssl->error == WC_NO_ERR_TRACE(WANT_READ)) &&
           ssl->options.handShakeState == HANDSHAKE_DONE && !ssl->options.sentNotify &&
           ssl->buffers.outputBuffer.length == 0 && ssl->pendingAlert.level == alert_none;
}

/* devKey is the key as it was set, and is filled in for sessions that have a device. */
static bool has_key(const WOLFSSL *ssl)
{
    const Aes *aes = ssl->encrypt.aes;
    return ssl->encrypt.setup && aes && aes->devId != INVALID_DEVID && !aes->devCtx &&
           aes->keylen == ssl->specs.key_size &&
           (aes->keylen == AES_128_KEY_SIZE || aes->keylen == AES_256_KEY_SIZE);
}

bool wolfssl_write_side_get(const WOLFSSL *ssl, uint32_t records, struct wolfssl_write_side *ret)
{
    const Keys *keys = &ssl->keys;

    if (!ssl->options.tls1_3 || ssl->options.dtls || !is_idle(ssl) ||
        ssl->specs.bulk_cipher_algorithm != wolfssl_aes_gcm ||
        ssl->specs.aead_mac_size != TAG_BYTES || ssl->specs.iv_size != IV_BYTES || !has_key(ssl) ||
        wolfSSL_GetMaxFragSize((WOLFSSL *)(uintptr_t)ssl) != RECORD_BYTES)
        return false;
    uint64_t sequence = (uint64_t)keys->sequence_number_hi << 32 | keys->sequence_number_lo;
    if (sequence >= LIMIT || records >= LIMIT - sequence)
        return false;
    *ret = (struct wolfssl_write_side){.key = (const uint8_t *)ssl->encrypt.aes->devKey,
                                       .key_bytes = (uint32_t)ssl->encrypt.aes->keylen,
                                       .iv = keys->aead_enc_imp_IV,
                                       .sequence = sequence};
    return true;
}

void wolfssl_write_side_advance(WOLFSSL *ssl, uint32_t records)
{
    ssl->keys.sequence_number_lo += records; /* the high half stays 0 below the limit */
}
