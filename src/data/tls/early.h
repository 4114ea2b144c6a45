/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/early.h - leaves out the early data of clients that hold a 0-RTT ticket of another
 * server of this name (RFC 8446 section 4.2.10). ferrule accepts none, so the records cannot be
 * told from the client's Finished but by trying to decrypt them, which wolfSSL does not do.
 * Thread: the session's.   Owns: one record, and the secret that decrypts the Finished.
 * Never: is made for a hello without early_data; lives longer than the handshake; gives wolfSSL a
 * byte of early data. */
#pragma once

#include "base/result.h"
#include "base/span.h"

/* Wire bytes of early data that are left out; a client that sends more is cut off by wolfSSL's
 * alert. Servers allow 16 KB as a rule. */
#define EARLY_SKIP_MAX (64u * 1024)

struct early;
struct WOLFSSL;

/* Watches the handshake of `ssl`. NULL: no memory. Destroy before ssl is freed. */
struct early *early_create(struct WOLFSSL *ssl);
/* Wipes and frees. NULL is fine. */
void early_destroy(struct early *e);
/* Hands wolfSSL up to `size` of the bytes it should see, taken from the front of *in. 0: needs more
 * input. All of *in is taken before 0 is returned. */
size_t early_receive(struct early *e, struct span *in, void *ret, size_t size);
