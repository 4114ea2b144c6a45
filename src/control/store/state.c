/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/state.h"

#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAP_BYTES (1ull << 30) /* address space, not disk */

static const char *const table_names[STATE_TABLES] = {"journal", "ledger", "keys", "ari", "ocsp"};

struct state {
    char *directory;
    MDB_env *env;
    MDB_dbi tables[STATE_TABLES];
};

/* What a person can do about an LMDB or system error. */
static const char *remedy_of(int rc)
{
    if (rc == ENOSPC || rc == EDQUOT || rc == MDB_MAP_FULL)
        return "; free space on that file system";
    if (rc == EACCES || rc == EPERM)
        return "; the directory must belong to the user that ferrule runs as";
    if (rc == MDB_CORRUPTED || rc == MDB_INVALID || rc == MDB_PAGE_NOTFOUND)
        return "; the files are damaged: move them away, orders start anew from the store";
    if (rc == EROFS)
        return "; mount the file system read-write or name another directory with [state] "
               "directory";
    return "";
}

static struct result fail(struct why *why, int rc, const char *doing, const char *directory)
{
    struct result r = why_fail(why, ERR_STORE, "%s the state directory %s: %s%s", doing, directory,
                               mdb_strerror(rc), remedy_of(rc));
    r.sys = rc;
    return r;
}

/* Makes the directory with mode 0700 (parents must exist, but for one level), or checks it. */
static struct result check_directory(const char *directory, struct why *why)
{
    struct stat st;
    if (mkdir(directory, 0700) == -1 && errno != EEXIST)
        return why_fail_sys(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMISSION, errno,
                            "cannot make the state directory %s", directory);
    if (stat(directory, &st) == -1)
        return why_fail_sys(why, ERR_PERMISSION, errno, "cannot look at the state directory %s",
                            directory);
    if (!S_ISDIR(st.st_mode))
        return why_fail(why, ERR_PERMISSION, "the state directory %s is not a directory",
                        directory);
    if (st.st_uid != geteuid())
        return why_fail(why, ERR_PERMISSION,
                        "the state directory %s belongs to user %u, but ferrule runs as user %u: "
                        "give it to that user or name another with [state] directory",
                        directory, st.st_uid, geteuid());
    if (!(st.st_mode & 077))
        return result_ok();
    if (chmod(directory, 0700) == -1)
        return why_fail_sys(why, ERR_PERMISSION, errno,
                            "the state directory %s is open to others (mode %03o)", directory,
                            st.st_mode & 0777);
    log_warn("the state directory %s was open to others (mode %03o): changed to 700", directory,
             st.st_mode & 0777);
    return result_ok();
}

struct result state_lock(const char *directory, int *ret_fd, struct why *why)
{
    TRY(check_directory(directory, why));
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        int sys = errno;
        struct result r = why_fail(why, ERR_PERMISSION, "cannot open %s: %s%s", path, strerror(sys),
                                   remedy_of(sys));
        r.sys = sys;
        return r;
    }
    char pid[32] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
        int sys = errno;
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
        close(fd);
        if (sys != EWOULDBLOCK)
            return why_fail_sys(why, ERR_STORE, sys, "cannot lock %s", path);
        return why_fail(why, ERR_BUSY,
                        "the state directory %s is used by another ferrule (process %.*s): stop "
                        "it, or name another directory with [state] directory",
                        directory, n > 0 ? (int)strcspn(pid, "\n") : 1, n > 0 ? pid : "?");
    }
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    /* The number is for people. On a full disk the lock holds without it. */
    if (ftruncate(fd, 0) == -1 || pwrite(fd, pid, (size_t)len, 0) != len)
        log_warn("cannot write %s: %s%s", path, strerror(errno), remedy_of(errno));
    *ret_fd = fd;
    return result_ok();
}

static int open_tables(struct state *s)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return rc;
    for (int i = 0; i < STATE_TABLES && !rc; i++)
        rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &s->tables[i]);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* Without LMDB's own lock file: the directory's lock has one holder, one thread of it comes here,
 * and no read transaction outlives its call. That file is written through a mapping, which a full
 * disk would answer with SIGBUS. */
static int open_env(struct state *s)
{
    int rc = mdb_env_create(&s->env);
    if (!rc)
        rc = mdb_env_set_maxdbs(s->env, STATE_TABLES);
    if (!rc)
        rc = mdb_env_set_mapsize(s->env, STATE_MAP_BYTES);
    if (!rc)
        rc = mdb_env_open(s->env, s->directory, MDB_NOTLS | MDB_NOLOCK, 0600);
    return rc ? rc : open_tables(s);
}

/* After a write of its first pages failed LMDB refuses everything; what is on disk is whole. */
static int open_again(struct state *s)
{
    if (s->env)
        mdb_env_close(s->env);
    s->env = NULL;
    int rc = open_env(s);
    if (rc && s->env)
        mdb_env_close(s->env);
    if (rc)
        s->env = NULL;
    return rc;
}

struct result state_open(const char *directory, struct state **ret, struct why *why)
{
    TRY(check_directory(directory, why));
    struct state *s = mem_zalloc(sizeof *s);
    s->directory = mem_strdup(directory);
    int rc = open_env(s);
    if (rc) {
        struct result r = fail(why, rc, "cannot open", directory);
        state_close(s);
        return r;
    }
    *ret = s;
    return result_ok();
}

void state_close(struct state *s)
{
    if (!s)
        return;
    if (s->env)
        mdb_env_close(s->env);
    free(s->directory);
    free(s);
}

static MDB_val val_of(struct span s)
{
    return (MDB_val){s.len, (void *)s.ptr};
}

/* Begins a transaction; opens the environment again when LMDB has given it up. */
static int begin(struct state *s, unsigned flags, MDB_txn **ret)
{
    int rc = s->env ? mdb_txn_begin(s->env, NULL, flags, ret) : MDB_PANIC;
    if (rc != MDB_PANIC)
        return rc;
    rc = open_again(s);
    return rc ? rc : mdb_txn_begin(s->env, NULL, flags, ret);
}

/* One write transaction: put (value given) or delete (value NULL). */
static struct result write_one(struct state *s, enum state_table table, struct span key,
                               const struct span *value, struct why *why)
{
    must(key.len > 0 && key.len <= 511);
    MDB_txn *txn;
    MDB_val k = val_of(key), v;
    int rc = begin(s, 0, &txn);
    if (rc)
        return fail(why, rc, "cannot write to", s->directory);
    if (value) {
        v = val_of(*value);
        rc = mdb_put(txn, s->tables[table], &k, &v, 0);
    } else {
        rc = mdb_del(txn, s->tables[table], &k, NULL);
        if (rc == MDB_NOTFOUND)
            rc = 0;
    }
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    return rc ? fail(why, rc, "cannot write to", s->directory) : result_ok();
}

struct result state_put(struct state *s, enum state_table table, struct span key, struct span value,
                        struct why *why)
{
    return write_one(s, table, key, &value, why);
}

struct result state_remove(struct state *s, enum state_table table, struct span key,
                           struct why *why)
{
    return write_one(s, table, key, NULL, why);
}

struct result state_get(struct state *s, enum state_table table, struct span key, struct buf *ret)
{
    MDB_txn *txn;
    MDB_val k = val_of(key), v;
    int rc = begin(s, MDB_RDONLY, &txn);
    if (rc)
        return result_fail_sys(ERR_STORE, rc);
    rc = mdb_get(txn, s->tables[table], &k, &v);
    if (!rc)
        buf_put(ret, v.mv_data, v.mv_size);
    mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND)
        return result_fail(ERR_NOT_FOUND);
    return rc ? result_fail_sys(ERR_STORE, rc) : result_ok();
}

/* Copies all records into `out` as (4-byte key length, 4-byte value length, key, value)*. */
static int copy_all(struct state *s, enum state_table table, struct buf *out)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = begin(s, MDB_RDONLY, &txn);
    if (rc)
        return rc;
    rc = mdb_cursor_open(txn, s->tables[table], &cursor);
    if (!rc) {
        while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
            buf_put_be(out, k.mv_size, 4);
            buf_put_be(out, v.mv_size, 4);
            buf_put(out, k.mv_data, k.mv_size);
            buf_put(out, v.mv_data, v.mv_size);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

struct result state_each(struct state *s, enum state_table table,
                         void (*each)(void *arg, struct span key, struct span value), void *arg,
                         struct why *why)
{
    struct buf all = {0};
    int rc = copy_all(s, table, &all);
    struct reader r = reader_of(buf_span(&all));
    while (!rc && r.left) {
        uint32_t key_len = reader_u32(&r), value_len = reader_u32(&r);
        struct span key = reader_bytes(&r, key_len);
        each(arg, key, reader_bytes(&r, value_len));
    }
    buf_wipe_free(&all);
    return rc ? fail(why, rc, "cannot read", s->directory) : result_ok();
}
