/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/store.h - accounts and certificates on disk: Traefik's acme.json.
 * Thread: control.   Owns: the parsed file's content, until store_close().
 * Never: clobbers what another program wrote (re-reads and merges before every write), leaves a
 * torn file (temporary file, fsync, rename, fsync of the directory), accepts a mode other than
 * 0600 or a foreign owner without repairing it or saying so. */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "base/secret.h"

struct store;

/* Of one resolver. It belongs to a CA when the host of registration_uri is the host of that CA's
 * directory URL (Traefik's file has no other mark). */
struct store_account {
    char *email;
    char *registration_uri;  /* account URL, "" before registration */
    struct buf key_der;      /* private key */
    struct buf next_key_der; /* the key that is about to replace it; empty = none */
    uint8_t key_type;        /* enum key_type */
};

struct store_cert {
    char *resolver;
    char *main;  /* main domain */
    char **sans; /* others */
    uint32_t san_count;
    struct buf chain_pem, key_pem;
};

/* Opens or creates `path` (ending in .json). Takes an exclusive lock beside it; ERR_BUSY when
 * another process has it. ERR_PERMISSION, ERR_STORE, ERR_FORMAT name file and remedy. */
struct result store_open(const char *path, struct store **ret, struct why *why);
void store_close(struct store *store);

/* The account of a resolver; NULL when there is none. Borrowed until the next store_ call. */
const struct store_account *store_account(struct store *store, const char *resolver);
struct result store_put_account(struct store *store, const char *resolver,
                                const struct store_account *account, struct why *why);
/* All certificates, in file order. Borrowed until the next store_ call. */
uint32_t store_cert_count(const struct store *store);
const struct store_cert *store_cert_at(const struct store *store, uint32_t index);
/* Replaces the certificate of the same resolver and set of names, or adds it. On disk when it
 * returns ok. */
struct result store_put_cert(struct store *store, const struct store_cert *cert, struct why *why);
struct result store_remove_cert(struct store *store, const char *resolver, const char *main,
                                struct why *why);
