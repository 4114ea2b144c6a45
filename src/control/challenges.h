/* SPDX-License-Identifier: Apache-2.0 */
/* control/challenges.h - the answers to HTTP-01 and TLS-ALPN-01 challenges that the workers have.
 * Thread: control.   Owns: the answers, with the keys of their certificates (wiped).
 * Never: says that the workers answer before all of them do; has two certificates for one name;
 * writes anything to disk (the orders' journal has what is needed to make an answer again). */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/result.h"

struct challenges;

/* Waits until the workers answer all that was put before. */
struct challenges_wait {
    struct list node;
    uint64_t number;
    void (*done)(struct challenges_wait *wait);
};

/* send: gets messages for the bridge, which may be closed at the time. */
struct challenges *challenges_create(void (*send)(void *arg, struct span messages), void *arg);
/* NULL is fine. */
void challenges_destroy(struct challenges *c);

/* Each gives the workers an answer; the same one again changes nothing. key_auth: the key
 * authorization (RFC 8555 section 8.1), by which the answer is known from then on.
 * ERR_LIMIT: PUBLISH_CHALLENGES_MAX are there: again later. */
struct result challenges_put_http(struct challenges *c, const char *entrypoint, const char *token,
                                  const char *key_auth, struct why *why);
/* Makes a key and a certificate for the identifier, a DNS name or an IP address (RFC 8737, RFC
 * 8738). ERR_LIMIT also: another key authorization of the same name is being answered. */
struct result challenges_put_tls(struct challenges *c, const char *identifier, const char *key_auth,
                                 struct why *why);
/* Nothing happens when they are not there. */
void challenges_drop_http(struct challenges *c, const char *key_auth);
void challenges_drop_tls(struct challenges *c, const char *key_auth);

/* `wait` is the caller's and not in use; done() is called from the loop. While no data process is
 * there, nothing comes. */
void challenges_wait(struct challenges *c, struct challenges_wait *wait,
                     void (*done)(struct challenges_wait *wait));
/* It is not called any more; harmless when nothing was waited for. */
void challenges_wait_cancel(struct challenges_wait *wait);

/* Appends all answers, between publish_sync_begin() and _end(). */
void challenges_sync(const struct challenges *c, struct buf *out);
/* Appends what brings the waiting ones their answer, behind publish_sync_end(). */
void challenges_sync_end(const struct challenges *c, struct buf *out);
/* A fence came back through the bridge. */
void challenges_fenced(struct challenges *c, uint64_t number);

uint32_t challenges_count(const struct challenges *c);

/* The server name with which a CA asks for an identifier: itself, or the reverse mapping of an
 * address (RFC 8738 section 6). */
char *challenges_server_name(const char *identifier);
