/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/store_impl.h - what a kind of store has to offer to store.c.
 * Thread: control.   Owns: nothing.
 * Never: included from outside control/store. */
#pragma once

#include "control/store/store.h"

/* A certificate that was put soon. */
struct store_item {
    struct list node;
    struct store_cert cert;
    struct store_put *put; /* who waits; NULL = nobody any more */
    struct why why;        /* result of `write`; "" = it is on disk */
    uint64_t id, replaced; /* the kind's own */
};

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
    /* The index; all NULL where there is none. */
    struct result (*places)(struct store *s, struct span name,
                            struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count,
                            struct why *why);
    struct result (*walk)(struct store *s, struct buf *last, uint32_t max, store_each_name *each,
                          void *arg, bool *ret_end, struct why *why);
    struct result (*read)(struct store *s, uint64_t id, struct buf *ret_chain, struct buf *ret_key,
                          struct why *why);
    const struct store_cert *(*cert_of)(struct store *s, uint64_t id, struct why *why);
    struct result (*find)(struct store *s, const struct store_cert *cert, uint64_t *ret_id);
    /* For what is put soon. From lend() to take_back() write() runs in another thread, and the
     * functions above that change something are not called. It writes struct store_items. */
    void (*lend)(struct store *s);
    void (*write)(struct store *s, struct list *items);
    void (*take_back)(struct store *s, struct list *items);
};

/* The first member of every kind. */
struct store {
    const struct store_ops *ops;
    char *path;
    struct loop *loop; /* NULL: nothing was put soon yet */
    struct list filling, writing;
    bool lent;
    struct loop_job job;
    struct loop_timer start;
    uint64_t took_ns, rest_until_ns; /* of the last writing */
};

/* The kind's part of store_open(). */
void store_init(struct store *s, const struct store_ops *ops);
/* Waits until the other thread does nothing any more with what was lent. */
void store_settle(struct store *s);

struct result store_file_open(const char *path, struct store **ret, struct why *why);
struct result store_lmdb_open(const char *path, struct store **ret, struct why *why);

struct store_cert store_copy_cert(const struct store_cert *cert);
/* Free what the structs own, keys wiped, and zero them. */
void store_free_account(struct store_account *account);
void store_free_cert(struct store_cert *cert);
