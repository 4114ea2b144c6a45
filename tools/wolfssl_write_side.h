/* SPDX-License-Identifier: Apache-2.0 */
/* wolfssl_write_side.h - the sending half of an established TLS 1.3 connection of wolfSSL, for a
 * caller that seals records itself. wolfSSL has no function that tells a record's number or moves
 * it on; tools/deps compiles wolfssl_write_side.c with wolfSSL's own headers and flags and puts it
 * into libwolfssl.a.
 * Thread: the connection's.   Owns: nothing; what is told is the connection's and changes with the
 * next call for it. Never: sends, or shows anything but AES-GCM. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct WOLFSSL;

struct wolfssl_write_side {
    const uint8_t *key; /* AES, key_bytes long */
    uint32_t key_bytes; /* 16 or 32 */
    const uint8_t *iv;  /* 12 bytes; RFC 8446 section 5.3 makes a nonce of it and the number */
    uint64_t sequence;  /* number of the next record */
};

/* True when the next `records` records with application data may be made by the caller: the version
 * is TLS 1.3 with AES-GCM, records are of full length, nothing waits to be sent before them, and
 * the key is good for so many (RFC 8446 section 5.5: near the limit wolfSSL has to change it, with
 * a KeyUpdate before its next record). */
bool wolfssl_write_side_get(const struct WOLFSSL *ssl, uint32_t records,
                            struct wolfssl_write_side *ret);
/* So many records were made: their numbers are not used again. Only after a get for as many. */
void wolfssl_write_side_advance(struct WOLFSSL *ssl, uint32_t records);
