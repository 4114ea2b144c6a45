/* SPDX-License-Identifier: Apache-2.0 */
/* control/propagation/propagation.h - asks DNS, through c-ares, whether TXT values are visible, and
 * where a name's zone and CNAME target are.
 * Thread: control.   Owns: c-ares channels while a question is open.
 * Never: uses c-ares's query cache; asks a recursive server for a TXT value before every
 * authoritative server that may be asked has it (a negative answer would be cached); waits. */
#pragma once

#include "base/net.h"
#include "control/loop.h"

struct propagation;

struct propagation_options {
    const char *const *resolvers; /* "host:port"; none = /etc/resolv.conf */
    uint32_t resolver_count;
    uint16_t port;      /* of authoritative servers, 53 */
    bool skip_servers;  /* do not ask authoritative servers for values */
    bool ask_resolvers; /* ask every resolver for values, after those; skip_servers needs it */
    bool only_dns;      /* propagation_resolve(): not /etc/hosts, which nobody else sees */
    uint32_t successes; /* consecutive, 1..10 */
    uint32_t timeout_s, interval_s;
};

struct propagation_answer {
    bool ok;
    const char *text; /* which server answered what; valid during the callback */
};
typedef void propagation_done(void *arg, const struct propagation_answer *answer);

/* Where a challenge name really lives: CNAME followed once (not when it is a wildcard's), and the
 * zone by SOA walk. fqdn and zone with final dot. When the resolvers are to be asked for values
 * later, they are not asked about the challenge name before (they would remember that it does not
 * exist): the authoritative servers are; only when none of those answers, the resolvers. */
struct propagation_place {
    bool ok;
    const char *fqdn, *zone, *text;
};
typedef void propagation_place_done(void *arg, const struct propagation_place *place);

struct propagation *propagation_find(struct loop *loop, const struct propagation_options *options,
                                     const char *fqdn, propagation_place_done *done, void *arg);
/* Waits until every address of every authoritative server of `zone`, and then every resolver where
 * the options say so, has every value at fqdn, or the time is over. What a resolver keeps is waited
 * for. zone: not needed with skip_servers. progress (may be NULL) is called when the reason for
 * waiting changes. */
struct propagation *propagation_check(struct loop *loop, const struct propagation_options *options,
                                      const char *fqdn, const char *zone, const char *const *values,
                                      uint32_t count, void (*progress)(void *arg, const char *text),
                                      propagation_done *done, void *arg);
/* Of propagation_check(): looks at once, instead of when its next turn comes; after a round without
 * success only. */
void propagation_look_now(struct propagation *p);
/* Do the CAA records that hold for `name` ("*." in front of a wildcard) let the CA issue that goes
 * by one of these identities (RFC 8659)? Borrowed for this call only; at least one. */
enum propagation_caa_verdict {
    PROPAGATION_CAA_ALLOWED = 0,
    PROPAGATION_CAA_FORBIDDEN,
    PROPAGATION_CAA_UNKNOWN, /* no clear answer */
};
typedef void propagation_caa_done(void *arg, enum propagation_caa_verdict verdict,
                                  const char *text);
struct propagation *propagation_caa(struct loop *loop, const struct propagation_options *options,
                                    const char *name, const char *const *identities,
                                    uint32_t identity_count, propagation_caa_done *done, void *arg);
/* Ends it; no callback is called. After `done` the object is gone by itself. */
void propagation_cancel(struct propagation *p);

/* Resolves a host name to addresses (A and AAAA) for upstreams and for the CA's own use. count 0:
 * the host has none, or, with addrs NULL, that is not known. */
typedef void resolve_done(void *arg, const struct net_addr *addrs, uint32_t count,
                          const char *text);
struct propagation *propagation_resolve(struct loop *loop,
                                        const struct propagation_options *options, const char *host,
                                        uint16_t port, resolve_done *done, void *arg);
