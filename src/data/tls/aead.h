/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/aead.h - AES-GCM of long records with the vector instructions of newer processors
 * (VAES). wolfSSL has no code for them: its 16 KB record takes 2.6 times the cycles. Short records
 * stay with wolfSSL, whose sessions hold a key that is made ready. Thread: any after aead_init();
 * each has a prepared key of its own.   Owns: Intel's library. Never: keeps a key from one call to
 * the next. */
#pragma once

#include "base/span.h"

/* Shorter ones gain nothing: a key has to be made ready for each. */
#define AEAD_BYTES_MIN 1024
#define AEAD_IV_BYTES  12
/* Records for so much plaintext: RFC 8446 section 5.1 lets each have 2^14 bytes. */
#define AEAD_PLAIN_MAX  16384
#define AEAD_RECORDS(n) (((n) + AEAD_PLAIN_MAX - 1) / AEAD_PLAIN_MAX)

/* Once per process, after wolfSSL_Init() and before threads start. Does nothing where the library
 * or the processor's instructions are missing. */
void aead_init(void);
/* What wolfSSL_CTX_SetDevId() wants, so that a context's sessions use it; INVALID_DEVID where there
 * is nothing to use. */
int aead_device(void);

/* The sending half of a TLS 1.3 connection; what it points to is borrowed for a call. */
struct aead_records {
    struct span key;   /* 16 or 32 bytes */
    const uint8_t *iv; /* AEAD_IV_BYTES, of the connection */
    uint64_t sequence; /* number of the first record */
};
/* Seals all of `plain` as records of application data (RFC 8446 section 5.2), each as long as may
 * be, from where it stands into `out`, which has room (TLS_WIRE_ROOM). How many they are is
 * AEAD_RECORDS(plain.len). Only where aead_device() is one. */
void aead_seal_records(const struct aead_records *as, struct span plain, struct writer *out);
