/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/store.h - accounts and certificates on disk: Traefik's acme.json, or a directory
 * with an LMDB environment.
 * Thread: control's main thread; the disk's helper thread writes what is put soon.
 * Owns: what it lends, until store_close().
 * Never: loses or clobbers what is on disk (a change is there as a whole when it returned ok, or
 * not at all); accepts a mode that lets others in, or a foreign owner, without repairing it or
 * saying so; shares its place with another process. */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "base/secret.h"
#include "control/loop.h"

struct store;

/* Of one resolver. It belongs to a CA when the host of registration_uri is the host of that CA's
 * directory URL (Traefik's file has no other mark). */
struct store_account {
    char *email;
    char *registration_uri;  /* account URL, "" before registration */
    struct buf key_der;      /* private key */
    struct buf next_key_der; /* the key that is about to replace it; empty = none */
    uint8_t key_type;        /* enum key_type */
    bool unreadable;         /* the disk did not give it just now: nothing else here is known */
};

struct store_cert {
    char *resolver;
    char *main;  /* main domain */
    char **sans; /* others */
    uint32_t san_count;
    struct buf chain_pem, key_pem;
};

/* Opens or creates `path`: a file in Traefik's form when it ends in ".json", else a directory.
 * Takes an exclusive lock; ERR_BUSY when another process has it. ERR_CONFIG: the directory holds
 * something else. It, ERR_PERMISSION, ERR_STORE, ERR_FORMAT, ERR_VERSION name path and remedy. */
struct result store_open(const char *path, struct store **ret, struct why *why);
/* What is on its way is written first. NULL is fine. */
void store_close(struct store *store);

/* As it was given to store_open(). */
const char *store_path(const struct store *store);

/* The account of a resolver; NULL when there is none, or it is damaged (the log says so). One that
 * is there but cannot be read is `unreadable`. Borrowed until the next store_ call. */
const struct store_account *store_account(struct store *store, const char *resolver);
/* On disk when it returns ok. */
struct result store_put_account(struct store *store, const char *resolver,
                                const struct store_account *account, struct why *why);
/* Whose account it is, in the store's own order; NULL behind the last. Borrowed as above. */
const char *store_account_name(struct store *store, uint32_t index);
/* All certificates, in the order in which they came. NULL with `why`: this one cannot be read.
 * Borrowed until the next store_ call. */
uint32_t store_cert_count(const struct store *store);
const struct store_cert *store_cert_at(struct store *store, uint32_t index, struct why *why);
/* Replaces the certificate of the same resolver and set of names, or adds it. On disk when it
 * returns ok. ERR_FORMAT: a directory holds only what can be read as a certificate and a key. */
struct result store_put_cert(struct store *store, const struct store_cert *cert, struct why *why);
/* Embedded in its owner; zeroed memory is one that waits for nothing. */
struct store_put {
    struct store_item *item;
    /* failure: why it is not on disk; NULL = it is, and the store lends it. */
    void (*done)(struct store_put *put, const struct why *failure);
};
/* The same without waiting for the disk: certificates that come while one is written are written
 * together, and a large file not more often than its size allows. `done` comes from the loop,
 * always the same one for a store. `cert` is copied. */
void store_put_cert_soon(struct store *store, struct loop *loop, struct store_put *put,
                         const struct store_cert *cert,
                         void (*done)(struct store_put *put, const struct why *failure));
/* `done` is not called any more; the certificate is written all the same. Harmless when it waits
 * for nothing. */
void store_put_cancel(struct store_put *put);
/* Removes the certificate of this resolver and set of names; harmless when there is none. */
struct result store_remove_cert(struct store *store, const struct store_cert *cert,
                                struct why *why);

/* True when there is one of this resolver and set of names. */
bool store_has_cert(struct store *store, const struct store_cert *cert);
/* Changes between begin and end come to the disk together, at the end, which may take as long as
 * one change alone; or (keep false, or a failure) not at all. Not within one another. */
struct result store_begin(struct store *store, struct why *why);
struct result store_end(struct store *store, bool keep, struct why *why);

/* ---- the index: of directories only ---------------------------------------------------------- */

/* What is known of a certificate without reading it. */
struct store_place {
    uint64_t id; /* never used twice in this store */
    int64_t not_before_s, not_after_s;
    bool is_rsa;
};
/* Of a name that has more certificates, the newest count. */
#define STORE_PLACES_MAX 8

/* Can it be asked for names without reading all certificates? */
bool store_has_index(const struct store *store);
/* The certificates of one name, the oldest first. ERR_STORE. */
struct result store_places(struct store *store, struct span name,
                           struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count,
                           struct why *why);
typedef void store_each_name(void *arg, struct span name, const struct store_place *places,
                             uint32_t count);
/* Calls `each` with up to `max` names in their order, from behind *last on (empty: from the first),
 * and leaves the last one there; *ret_end: there are no more. `each` must not call this store. */
struct result store_walk(struct store *store, struct buf *last, uint32_t max, store_each_name *each,
                         void *arg, bool *ret_end, struct why *why);
/* Certificates (DER, each behind a 3-byte length) and key (DER) as they are stored, appended;
 * the caller wipes the key. ERR_NOT_FOUND: not there, or not any more: what was put soon may have
 * taken its place since the place was asked for, so that is to be asked for once more. ERR_FORMAT:
 * damaged; ERR_STORE. */
struct result store_read(struct store *store, uint64_t id, struct buf *ret_chain,
                         struct buf *ret_key, struct why *why);
/* As store_cert_at(), by id. */
const struct store_cert *store_cert_of(struct store *store, uint64_t id, struct why *why);
/* The id of the certificate of the same resolver and set of names. ERR_NOT_FOUND; ERR_STORE: it
 * cannot be told. */
struct result store_find(struct store *store, const struct store_cert *cert, uint64_t *ret_id);

/* What a copy has come to. */
struct store_copied {
    uint32_t accounts, certs;
    uint32_t left_out; /* that cannot be read; the log names them */
};
/* Copies everything into another store, in one piece or not at all: accounts that are there
 * already stay as they are, as do certificates of the same resolver and names. */
struct result store_copy(struct store *from, struct store *to, struct store_copied *ret,
                         struct why *why);
