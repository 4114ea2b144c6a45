/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/ticket.h"

#include "base/must.h"
#include "base/secret.h"
#include "data/tls/random.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>

/* 96 random bits per ticket: below 2^32 tickets under one key (100,000 a second for 12 hours) the
 * chance of a repeated nonce stays under 2^-32 (NIST SP 800-38D section 8.3). The rest of the
 * fields that wolfSSL's format provides for is zero, and is checked. */
#define NONCE_BYTES 12
#define TAG_BYTES   16

static_assert(sizeof(((struct ticket_key *)0)->name) == TICKET_NAME_BYTES, "name of a ticket key");
static_assert(sizeof(((struct ticket_key *)0)->aes) == 32, "AES-256");

static void make_additional(uint8_t ret[TICKET_NAME_BYTES + TICKET_BINDING_BYTES],
                            const uint8_t *name, const uint8_t *binding)
{
    memcpy(ret, name, TICKET_NAME_BYTES);
    memcpy(ret + TICKET_NAME_BYTES, binding, TICKET_BINDING_BYTES);
}

static bool is_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

static struct result seal_for_nobody(struct ticket_parts *t)
{
    TRY(random_fill(t->name, TICKET_NAME_BYTES));
    TRY(random_fill(t->iv, TICKET_IV_BYTES));
    TRY(random_fill(t->mac, TICKET_MAC_BYTES));
    return random_fill(t->data, t->len);
}

struct result ticket_seal(const struct ticket_keys *keys,
                          const uint8_t binding[TICKET_BINDING_BYTES], struct ticket_parts *t)
{
    uint8_t additional[TICKET_NAME_BYTES + TICKET_BINDING_BYTES];
    Aes aes;

    if (!keys || keys->count == 0)
        return seal_for_nobody(t);
    const struct ticket_key *key = &keys->keys[0];
    memset(t->iv, 0, TICKET_IV_BYTES);
    memset(t->mac, 0, TICKET_MAC_BYTES);
    TRY(random_fill(t->iv, NONCE_BYTES));
    memcpy(t->name, key->name, TICKET_NAME_BYTES);
    make_additional(additional, key->name, binding);
    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return result_fail(ERR_CRYPTO);
    bool good = wc_AesGcmSetKey(&aes, key->aes, sizeof key->aes) == 0 &&
                wc_AesGcmEncrypt(&aes, t->data, t->data, (word32)t->len, t->iv, NONCE_BYTES, t->mac,
                                 TAG_BYTES, additional, sizeof additional) == 0;
    wc_AesFree(&aes);
    secret_wipe(&aes, sizeof aes);
    return good ? result_ok() : result_fail(ERR_CRYPTO);
}

enum ticket_verdict ticket_open(const struct ticket_keys *keys,
                                const uint8_t binding[TICKET_BINDING_BYTES], struct ticket_parts *t)
{
    uint8_t additional[TICKET_NAME_BYTES + TICKET_BINDING_BYTES];
    uint32_t count = keys ? keys->count : 0, i = 0;
    Aes aes;

    must(count <= TICKET_KEY_COUNT);
    while (i < count && memcmp(keys->keys[i].name, t->name, TICKET_NAME_BYTES) != 0)
        i++;
    if (i == count || !is_zero(t->iv + NONCE_BYTES, TICKET_IV_BYTES - NONCE_BYTES) ||
        !is_zero(t->mac + TAG_BYTES, TICKET_MAC_BYTES - TAG_BYTES))
        return TICKET_REJECTED;
    make_additional(additional, t->name, binding);
    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return TICKET_REJECTED;
    const struct ticket_key *key = &keys->keys[i];
    bool good = wc_AesGcmSetKey(&aes, key->aes, sizeof key->aes) == 0 &&
                wc_AesGcmDecrypt(&aes, t->data, t->data, (word32)t->len, t->iv, NONCE_BYTES, t->mac,
                                 TAG_BYTES, additional, sizeof additional) == 0;
    wc_AesFree(&aes);
    secret_wipe(&aes, sizeof aes);
    if (!good)
        return TICKET_REJECTED;
    return i == 0 ? TICKET_OPENED : TICKET_OPENED_OLD;
}
