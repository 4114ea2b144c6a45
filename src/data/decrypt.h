/* SPDX-License-Identifier: Apache-2.0 */
/* data/decrypt.h - what a wire received over TLS becomes a queue of plaintext.
 * Thread: the worker's.   Owns: the plaintext until it is taken; the session and the wire are
 * whoever embeds it. Never: decrypts more than its reader can use soon: what waits stays encrypted,
 * and is not read. */
#pragma once

#include "data/tls/session.h"
#include "data/wire.h"

struct decrypt {
    struct tls_session *tls; /* owned by the embedder; NULL: plain, nothing here is used */
    struct block_queue plain;
    bool pending; /* the session holds plaintext that did not fit */
    bool ended;   /* the peer said close_notify: nothing more comes, and nothing is missing */
};

/* Decrypts until nothing is left or more than `enough` bytes of plaintext wait. After close_notify
 * the wire is at its end. What has to be answered is queued for sending. Without a pool block it
 * stops, and the wire's owner is woken when there is one.
 * ERR_PEER_TLS, ERR_NO_SLOT: the session is broken; an alert may be queued. */
struct result decrypt_fill(struct worker *w, struct decrypt *d, struct wire *wire, uint32_t enough);
/* Something more may come of what was received already. */
static inline bool decrypt_has_more(const struct decrypt *d, const struct wire *wire)
{
    return d->pending || wire->received.first;
}
/* Frees the session and drops the plaintext. */
void decrypt_end(struct worker *w, struct decrypt *d);
