/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/aead.h - AES-GCM of long records with the vector instructions of newer processors
 * (VAES). wolfSSL has no code for them: its 16 KB record takes 2.6 times the cycles. Short records
 * stay with wolfSSL, whose sessions hold a key that is made ready. Thread: any after aead_init();
 * each has a prepared key of its own.   Owns: Intel's library. Never: keeps a key from one record
 * to the next. */
#pragma once

/* Shorter ones gain nothing: a key has to be made ready for each. */
#define AEAD_BYTES_MIN 1024

/* Once per process, after wolfSSL_Init() and before threads start. Does nothing where the library
 * or the processor's instructions are missing. */
void aead_init(void);
/* What wolfSSL_CTX_SetDevId() wants, so that a context's sessions use it; INVALID_DEVID where there
 * is nothing to use. */
int aead_device(void);
