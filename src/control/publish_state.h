/* SPDX-License-Identifier: Apache-2.0 */
/* control/publish_state.h - which certificate serves which name (DESIGN section 5), and what the
 * workers have been told of it.
 * Thread: control.   Owns: copies of all certificates that may be served, with their keys (wiped).
 * Never: tells the workers anything by itself: it appends messages to a buffer. */
#pragma once

#include "bridge/publish.h"
#include "crypto/x509.h"

struct publish_state;

enum publish_source {
    PUBLISH_SOURCE_PROVIDED = 0,
    PUBLISH_SOURCE_ACME,
    PUBLISH_SOURCE_DEFAULT, /* serves only hellos that nothing else matches */
};

/* One certificate that may be served. */
struct publish_candidate {
    uint64_t id;      /* first 8 bytes of the chain's SHA-256, never 0 */
    char *identifier; /* sorted names: the last tie-breaker */
    char *origin;     /* file, or resolver */
    char *slot;       /* what it replaces: resolver and set of names; the origin of provided ones */
    enum publish_source source;
    struct x509 leaf;
    struct buf chain, key; /* as in struct publish_cert */
    struct buf staple;     /* what an OCSP responder says of it; empty = nothing to show */
    int64_t staple_until_s;
    bool revoked;       /* so says its CA */
    bool is_cold;       /* chain and key are empty: publish_state_put_cold() */
    bool is_unreadable; /* cold, and its files cannot be used */
    void *watcher;      /* of publish_state_watch() */
    /* Not NULL: what it replaces, which is served until publish_state_release(), because clients
     * that follow must-staple refuse this one as long as it has no staple. In no slot. */
    struct publish_candidate *before;
    uint64_t sent;        /* by which walk over the names it was sent last */
    uint64_t staple_sent; /* the same of its staple */
    uint32_t index;       /* in the list */
};

struct publish_state *publish_state_create(bool prefer_acme);
void publish_state_destroy(struct publish_state *ps);

/* Adds a certificate, or replaces the one in the same slot; the same one again changes nothing. One
 * that has to be stapled keeps a good one before it in its place, if somebody watches: see
 * `before`. chain: DER behind 3-byte lengths. Both copied. *ret is borrowed until the slot is
 * replaced. One of PUBLISH_SOURCE_DEFAULT at most. ERR_FORMAT. */
struct result publish_state_put(struct publish_state *ps, enum publish_source source,
                                const char *origin, const char *slot, struct span chain,
                                struct span key, const struct publish_candidate **ret,
                                struct why *why);
/* As publish_state_put() of PUBLISH_SOURCE_PROVIDED for a certificate that stays in its files until
 * a client asks for it: the workers hear of its names alone. id: x509_chain_id(). Takes what is in
 * `leaf`, of which subject, issuer, names, dates and kind are used. It is never stapled. */
void publish_state_put_cold(struct publish_state *ps, const char *origin, const char *slot,
                            uint64_t id, struct x509 *leaf);
/* Clients that ask for it get another one of the name, or none; who has it keeps it. Until it is
 * put again. */
void publish_state_unreadable(struct publish_state *ps, const char *slot);
/* Who reads the files of cold ones. */
enum publish_read {
    PUBLISH_READ_DONE = 0, /* chain and key are those of the candidate */
    PUBLISH_READ_CHANGED,  /* candidates have changed, and the workers were told: choose again */
    PUBLISH_READ_LATER,    /* the files cannot be used now */
};
struct publish_reader {
    /* name: of the table, which a client waits for; NULL: none does. */
    enum publish_read (*read)(void *arg, const struct publish_candidate *candidate,
                              const char *name, struct buf *ret_chain, struct buf *ret_key);
    void *arg;
};
void publish_state_use_reader(struct publish_state *ps, const struct publish_reader *reader);
/* Copies chain and key of a candidate, which is gone afterwards when it has changed. The caller
 * wipes the key. */
enum publish_read publish_state_read(struct publish_state *ps,
                                     const struct publish_candidate *candidate,
                                     struct buf *ret_chain, struct buf *ret_key);
/* A worker asks for a name: appends its certificates when one of them is cold; when that of one
 * kind of key cannot be read now, that of the other kind alone. Nothing: there is no answer yet.
 * The caller wipes `out`. */
void publish_state_answer(struct publish_state *ps, const char *name, int64_t now_s,
                          struct buf *out);
/* Serves a certificate instead of the one before it, whatever is known of it. */
void publish_state_release(struct publish_state *ps, struct publish_candidate *candidate);
/* A person has had it revoked: nothing waits behind it from now on. leaf: DER. */
void publish_state_revoked(struct publish_state *ps, struct span leaf);
/* Who looks after what is shown with certificates: hears of each one that comes, and before it goes
 * (not at the end of all). May keep a pointer in `watcher`. Before the first put. */
struct publish_watch {
    void (*added)(void *arg, struct publish_candidate *candidate);
    void (*dropped)(void *arg, struct publish_candidate *candidate);
    void *arg;
};
void publish_state_watch(struct publish_state *ps, const struct publish_watch *watch);
/* What is shown with a certificate until until_s; an empty response: nothing. Copied, and appended
 * as a message. */
void publish_state_staple(struct publish_candidate *candidate, struct span response,
                          int64_t until_s, struct buf *out);
/* Names that have certificates elsewhere, too: in stores that are not read as a whole. */
struct publish_cold {
    /* Tells another certificate from those before; 0 = there is none of this name. */
    uint64_t (*tag)(void *arg, const char *name);
    /* The name has candidates here: puts those from elsewhere with publish_state_put_name(). */
    void (*join)(void *arg, const char *name);
    void *arg;
};
void publish_state_use_cold(struct publish_state *ps, const struct publish_cold *cold);
/* As publish_state_put() of PUBLISH_SOURCE_ACME, but the certificate serves this one of its names
 * alone, and those that it was put for before. */
struct result publish_state_put_name(struct publish_state *ps, const char *origin, const char *slot,
                                     struct span chain, struct span key, const char *name,
                                     const struct publish_candidate **ret, struct why *why);
/* True when there is a candidate for this very name. */
bool publish_state_serves(struct publish_state *ps, const char *name);
/* The candidate in a slot, or NULL. */
const struct publish_candidate *publish_state_find(struct publish_state *ps, const char *slot);
/* Removes what is in a slot; nothing happens when there is none. */
void publish_state_drop(struct publish_state *ps, const char *slot);
/* Which source wins from now on; publish_state_reorder() tells the workers. */
void publish_state_prefer(struct publish_state *ps, bool acme);
/* Appends everything between publish_sync_begin() and _end(), which the caller adds. */
void publish_state_sync(struct publish_state *ps, int64_t now_s, struct buf *out);
/* Appends what the last puts have changed: certificates first, then names. */
void publish_state_update(struct publish_state *ps, int64_t now_s, struct buf *out);
/* Appends what time alone has changed (a notAfter or notBefore has passed). */
void publish_state_reorder(struct publish_state *ps, int64_t now_s, struct buf *out);
/* When to call publish_state_reorder(), wall seconds; 0 = never. */
int64_t publish_state_change_s(const struct publish_state *ps);
uint32_t publish_state_count(const struct publish_state *ps);
const struct publish_candidate *publish_state_at(const struct publish_state *ps, uint32_t index);

/* Candidates for a name in the order of preference, best first. */
struct publish_rank {
    const struct publish_candidate *candidate;
    bool served;      /* handed to the workers for this name */
    const char *name; /* the table entry that matched: exact or wildcard */
    const char *why;  /* in words; static memory */
};
/* Fills up to max ranks for a hello's server name: those of the exact entry, else of the one-label
 * wildcard, else the default. Returns how many. */
uint32_t publish_state_explain(struct publish_state *ps, const char *sni, int64_t now_s,
                               struct publish_rank *ranks, uint32_t max);
