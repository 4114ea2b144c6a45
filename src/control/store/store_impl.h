/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/store_impl.h - what a kind of store has to offer to store.c.
 * Thread: control.   Owns: nothing.
 * Never: included from outside control/store. */
#pragma once

#include "control/store/store.h"

/* As the functions of store.h that have these names. */
struct store_ops {
    void (*close)(struct store *s);
    const struct store_account *(*account)(struct store *s, const char *resolver);
    struct result (*put_account)(struct store *s, const char *resolver,
                                 const struct store_account *account, struct why *why);
    const char *(*account_name)(struct store *s, uint32_t index);
    uint32_t (*cert_count)(const struct store *s);
    const struct store_cert *(*cert_at)(struct store *s, uint32_t index, struct why *why);
    struct result (*put_cert)(struct store *s, const struct store_cert *cert, struct why *why);
    struct result (*remove_cert)(struct store *s, const struct store_cert *cert, struct why *why);
    bool (*has_cert)(struct store *s, const struct store_cert *cert);
    struct result (*begin)(struct store *s, struct why *why);
    struct result (*end)(struct store *s, bool keep, struct why *why);
};

/* The first member of every kind. */
struct store {
    const struct store_ops *ops;
};

struct result store_file_open(const char *path, struct store **ret, struct why *why);
struct result store_lmdb_open(const char *path, struct store **ret, struct why *why);

/* Free what the structs own, keys wiped, and zero them. */
void store_free_account(struct store_account *account);
void store_free_cert(struct store_cert *cert);
