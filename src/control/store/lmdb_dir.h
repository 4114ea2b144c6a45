/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/lmdb_dir.h - a directory that holds one LMDB environment: its mode, owner and lock,
 * opening it, and what a person can do about its errors.
 * Thread: control's main thread; another one may write while the directory is lent.
 * Owns: the environment.
 * Never: lets a second process in (the lock file); reads a page that the file does not have, which
 * would be a SIGBUS. */
#pragma once

#include "base/buf.h"
#include "base/result.h"

#include <lmdb.h>

#define LMDB_DIR_TABLES_MAX 6

/* What tells the directories apart. Constant. */
struct lmdb_dir_kind {
    const char *what;     /* "state directory" */
    const char *option;   /* names another one: "[state] directory" */
    const char *damaged;  /* what to do when the files are damaged */
    uint64_t map_bytes;   /* address space, not disk */
    uint32_t table_count; /* 1..LMDB_DIR_TABLES_MAX */
    struct {
        const char *name;
        unsigned flags; /* of mdb_dbi_open(), MDB_CREATE apart */
    } tables[LMDB_DIR_TABLES_MAX];
};

struct lmdb_dir {
    const struct lmdb_dir_kind *kind;
    char *directory;
    MDB_env *env; /* NULL: given up; lmdb_dir_begin() opens it again */
    MDB_dbi tables[LMDB_DIR_TABLES_MAX];
    bool lent;      /* to another thread, which writes */
    size_t lent_id; /* of the last transaction before */
};

/* Makes the directory (mode 0700) unless it is there, and takes its lock file. ERR_BUSY names the
 * process that has it; ERR_PERMISSION, ERR_NOT_FOUND. close(*ret_fd) gives it back. */
struct result lmdb_dir_lock(const struct lmdb_dir_kind *kind, const char *directory, int *ret_fd,
                            struct why *why);
/* The caller holds the lock. Modes that let others in are repaired, with a line in the log; a file
 * that is shorter than its content is read once from end to end. ERR_PERMISSION, ERR_STORE, each
 * with the remedy in `why`. */
struct result lmdb_dir_open(struct lmdb_dir *ret, const struct lmdb_dir_kind *kind,
                            const char *directory, struct why *why);
/* Zeroed memory is fine. */
void lmdb_dir_close(struct lmdb_dir *d);
/* Begins a transaction; opens the environment again when LMDB has given it up (it does so after a
 * write of its first pages failed; what is on disk is whole). flags: MDB_RDONLY or 0. Returns what
 * LMDB returns. While it is lent: only for reading, of what was there before, and EBUSY when the
 * other thread is about to be done: to be tried again once it is. */
int lmdb_dir_begin(struct lmdb_dir *d, unsigned flags, MDB_txn **ret);
/* From here to lmdb_dir_take_back() another thread writes, by one lmdb_dir_begin_lent(). Returns
 * what LMDB returns; lent in any case. */
int lmdb_dir_lend(struct lmdb_dir *d);
int lmdb_dir_begin_lent(struct lmdb_dir *d, MDB_txn **ret);
void lmdb_dir_take_back(struct lmdb_dir *d);
/* ERR_STORE with LMDB's error `rc` in words and a remedy; `sys` holds rc. doing: "cannot read". */
struct result lmdb_dir_fail(const struct lmdb_dir *d, struct why *why, int rc, const char *doing);
