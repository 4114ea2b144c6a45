/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/policy.h - how one worker speaks TLS under one [tls.options.X]: wolfSSL contexts with
 * versions, suites and groups, without any certificate (those are loaded per connection).
 * Thread: the worker that made it; sessions of other threads never use it.
 * Owns: its contexts. A session holds a reference of its own, so a policy may be destroyed (its
 * snapshot replaced) while its sessions live on.
 * Never: caches sessions, keeps ticket keys. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"
#include "data/tls/hello.h"
#include "data/tls/ticket.h"

/* Protocols that may be chosen by ALPN (RFC 7301). */
enum tls_alpn { TLS_ALPN_NONE = 0, TLS_ALPN_HTTP11 = 1, TLS_ALPN_H2 = 2, TLS_ALPN_ACME = 4 };
#define TLS_ALPN_KINDS 3

#define TLS_GROUPS_MAX 5 /* kinds of key exchange groups */

/* Certificates of a chain in DER, all together; a longer chain is refused. */
#define TLS_CHAIN_MAX 32768

struct tls_policy {
    struct WOLFSSL_CTX *tickets;           /* NULL when the options forbid tickets */
    struct WOLFSSL_CTX *plain;             /* the same without tickets */
    uint8_t binding[TICKET_BINDING_BYTES]; /* digest of the options: a ticket's policy */
    uint32_t alpn;                         /* enum tls_alpn bits that are offered */
    uint8_t alpn_order[TLS_ALPN_KINDS];    /* those of the options, best first; 0 = no more */
    uint16_t max_version;
    bool asks, verifies;            /* client certificates */
    uint8_t groups[TLS_GROUPS_MAX]; /* enum hello_group, best first; 0 = no more */
    bool ecdsa12, rsa12;            /* has suites of TLS 1.2 for such certificates */
    uint8_t chain[TLS_CHAIN_MAX];   /* while a session is made */
};

/* options: from the snapshot, borrowed for the call. Offers those protocols of the options that
 * tls_policy_offer() names, "http/1.1" until then. ERR_CRYPTO, ERR_CONFIG (a suite, group, version
 * or client authority that does not exist). */
struct result tls_policy_create(const struct snap_tls *options, struct tls_policy **ret,
                                struct why *why);
/* NULL is fine. */
void tls_policy_destroy(struct tls_policy *policy);
/* Sets the protocols of later sessions, as far as the options allow them: enum tls_alpn bits. A
 * client that offers only others gets the alert no_application_protocol; one that offers none gets
 * none. */
void tls_policy_offer(struct tls_policy *policy, uint32_t alpn);
/* Which of the offered protocols this client gets: the options' best one. TLS_ALPN_NONE: no ALPN in
 * the hello, or no common protocol. */
enum tls_alpn tls_policy_choose(const struct tls_policy *policy, const struct hello *hello);
/* Narrows *ecdsa and *rsa, what certificates the client can verify, to those for which the policy
 * has a suite: TLS 1.2 binds suites to kinds of keys. */
void tls_policy_narrow(const struct tls_policy *policy, const struct hello *hello, bool *ecdsa,
                       bool *rsa);
/* False: the client and the policy have no key exchange group in common, or none that wolfSSL could
 * be made to choose. *ret_temp_bytes: the size of the curve that it has to choose in TLS 1.2, where
 * it does not look at its own list; 0: it chooses well. */
bool tls_policy_agrees(const struct tls_policy *policy, const struct hello *hello,
                       uint16_t *ret_temp_bytes);
