/* SPDX-License-Identifier: Apache-2.0 */
#include <wolfssl/wolfcrypt/libwolfssl_sources.h>

#include <wolfssl/internal.h>

#include "wolfssl_write_side.h"

#define KEY_RECORDS_MAX 0x016A09E6u /* 2^24.5; wolfSSL's own limit */
#define IV_BYTES        12
#define TAG_BYTES       16
#define RECORD_BYTES    16384

/* An established connection that wolfSSL would go on with at once. */
static bool is_idle(const WOLFSSL *ssl)
{
    return (ssl->error == 0 || ssl->error == WC_NO_ERR_TRACE(WANT_READ)) &&
           ssl->options.handShakeState == HANDSHAKE_DONE && !ssl->options.sentNotify &&
           ssl->buffers.outputBuffer.length == 0 && ssl->pendingAlert.code == 0;
}

bool wolfssl_write_side_get(const WOLFSSL *ssl, uint32_t records, struct wolfssl_write_side *ret)
{
    const Aes *aes = ssl->encrypt.aes;
    const Keys *keys = &ssl->keys;

    if (!ssl->options.tls1_3 || ssl->options.dtls ||
        ssl->specs.bulk_cipher_algorithm != wolfssl_aes_gcm ||
        ssl->specs.aead_mac_size != TAG_BYTES || ssl->specs.iv_size != IV_BYTES ||
        !ssl->encrypt.setup || !aes || !is_idle(ssl))
        return false;
    if (wolfSSL_GetMaxFragSize((WOLFSSL *)(uintptr_t)ssl) != RECORD_BYTES ||
        keys->sequence_number_hi != 0 || keys->sequence_number_lo >= KEY_RECORDS_MAX ||
        records >= KEY_RECORDS_MAX - keys->sequence_number_lo)
        return false;
    *ret = (struct wolfssl_write_side){.key = (const uint8_t *)aes->devKey,
                                       .key_bytes = (uint32_t)aes->keylen,
                                       .iv = keys->aead_enc_imp_IV,
                                       .sequence = keys->sequence_number_lo};
    return true;
}

void wolfssl_write_side_advance(WOLFSSL *ssl, uint32_t records)
{
    ssl->keys.sequence_number_lo += records; /* below KEY_RECORDS_MAX */
}
