/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/lmdb_dir.h"

#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a person can do about an LMDB or system error. */
static const char *remedy_of(const struct lmdb_dir_kind *kind, int rc)
{
    if (rc == ENOSPC || rc == EDQUOT || rc == MDB_MAP_FULL)
        return "; free space on that file system";
    if (rc == EACCES || rc == EPERM)
        return "; the directory must belong to the user that ferrule runs as";
    if (rc == MDB_CORRUPTED || rc == MDB_INVALID || rc == MDB_PAGE_NOTFOUND)
        return kind->damaged;
    if (rc == EROFS)
        return "; mount the file system read-write or name another directory";
    return "";
}

static struct result fail(const struct lmdb_dir_kind *kind, struct why *why, int rc,
                          const char *doing, const char *directory)
{
    struct result r = why_fail(why, ERR_STORE, "%s the %s %s: %s%s%s%s", doing, kind->what,
                               directory, mdb_strerror(rc), remedy_of(kind, rc),
                               rc == EROFS ? " with " : "", rc == EROFS ? kind->option : "");
    r.sys = rc;
    return r;
}

struct result lmdb_dir_fail(const struct lmdb_dir *d, struct why *why, int rc, const char *doing)
{
    return fail(d->kind, why, rc, doing, d->directory);
}

/* Makes the directory with mode 0700 (parents must exist, but for one level), or checks it. */
static struct result check_directory(const struct lmdb_dir_kind *kind, const char *directory,
                                     struct why *why)
{
    struct stat st;
    if (mkdir(directory, 0700) == -1 && errno != EEXIST)
        return why_fail_sys(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMISSION, errno,
                            "cannot make the %s %s", kind->what, directory);
    if (stat(directory, &st) == -1)
        return why_fail_sys(why, ERR_PERMISSION, errno, "cannot look at the %s %s", kind->what,
                            directory);
    if (!S_ISDIR(st.st_mode))
        return why_fail(why, ERR_PERMISSION, "the %s %s is not a directory", kind->what, directory);
    if (st.st_uid != geteuid())
        return why_fail(why, ERR_PERMISSION,
                        "the %s %s belongs to user %u, but ferrule runs as user %u: give it to "
                        "that user or name another with %s",
                        kind->what, directory, st.st_uid, geteuid(), kind->option);
    if (!(st.st_mode & 077))
        return result_ok();
    if (chmod(directory, 0700) == -1)
        return why_fail_sys(why, ERR_PERMISSION, errno, "the %s %s is open to others (mode %03o)",
                            kind->what, directory, st.st_mode & 0777);
    log_warn("the %s %s was open to others (mode %03o): changed to 700", kind->what, directory,
             st.st_mode & 0777);
    return result_ok();
}

/* The file with the content, if it is there: whose is it, and who else can read it? *ret_empty: it
 * is not there, or nothing is in it. */
static struct result check_file(const struct lmdb_dir_kind *kind, const char *directory,
                                bool *ret_empty, struct why *why)
{
    struct stat st;
    char path[4096];
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    *ret_empty = true;
    if (lstat(path, &st) == -1)
        return errno == ENOENT
                   ? result_ok()
                   : why_fail_sys(why, ERR_PERMISSION, errno, "cannot look at %s", path);
    *ret_empty = st.st_size == 0;
    if (!S_ISREG(st.st_mode))
        return why_fail(why, ERR_PERMISSION, "%s is not a regular file", path);
    if (st.st_uid != geteuid())
        return why_fail(why, ERR_PERMISSION,
                        "%s belongs to user %u, but ferrule runs as user %u: give it to that user "
                        "or name another %s with %s",
                        path, st.st_uid, geteuid(), kind->what, kind->option);
    if (!(st.st_mode & 077))
        return result_ok();
    if (chmod(path, 0600) == -1)
        return why_fail_sys(why, ERR_PERMISSION, errno, "%s is open to others (mode %03o)", path,
                            st.st_mode & 0777);
    log_warn("%s was open to others (mode %03o): changed to 600", path, st.st_mode & 0777);
    return result_ok();
}

struct result lmdb_dir_lock(const struct lmdb_dir_kind *kind, const char *directory, int *ret_fd,
                            struct why *why)
{
    TRY(check_directory(kind, directory, why));
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        int sys = errno;
        struct result r = why_fail(why, ERR_PERMISSION, "cannot open %s: %s%s%s%s", path,
                                   strerror(sys), remedy_of(kind, sys),
                                   sys == EROFS ? " with " : "", sys == EROFS ? kind->option : "");
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
                        "the %s %s is used by another ferrule (process %.*s): stop it, or name "
                        "another directory with %s",
                        kind->what, directory, n > 0 ? (int)strcspn(pid, "\n") : 1,
                        n > 0 ? pid : "?", kind->option);
    }
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    /* The number is for people. On a full disk the lock holds without it. */
    if (ftruncate(fd, 0) == -1 || pwrite(fd, pid, (size_t)len, 0) != len)
        log_warn("cannot write %s: %s%s", path, strerror(errno), remedy_of(kind, errno));
    *ret_fd = fd;
    return result_ok();
}

static int open_tables(struct lmdb_dir *d)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(d->env, NULL, 0, &txn);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < d->kind->table_count && !rc; i++)
        rc = mdb_dbi_open(txn, d->kind->tables[i].name, MDB_CREATE | d->kind->tables[i].flags,
                          &d->tables[i]);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* A file that was cut (a copy that was not finished, a disk that forgot) has pages that only its
 * head knows of. They are given back as zeroes, which LMDB takes for damage where it meets them.
 * The last pages may lack without harm, too: those that are free. */
static int fill_up(struct lmdb_dir *d, bool *ret_short)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat st;
    int fd, rc = mdb_env_info(d->env, &info);
    if (!rc)
        rc = mdb_env_stat(d->env, &pages);
    if (!rc)
        rc = mdb_env_get_fd(d->env, &fd);
    if (rc || fstat(fd, &st) == -1)
        return rc ? rc : errno;
    off_t whole = (off_t)(info.me_last_pgno + 1) * pages.ms_psize;
    *ret_short = st.st_size < whole;
    return *ret_short && ftruncate(fd, whole) == -1 ? errno : 0;
}

/* Reads every record once. */
static int walk(struct lmdb_dir *d)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < d->kind->table_count && !rc; i++) {
        MDB_cursor *cursor;
        MDB_val key, value;
        rc = mdb_cursor_open(txn, d->tables[i], &cursor);
        if (rc)
            break;
        while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        }
        mdb_cursor_close(cursor);
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    mdb_txn_abort(txn);
    return rc;
}

/* LMDB leaves the file with the content open for programs that are started. */
static int close_on_exec(struct lmdb_dir *d)
{
    int fd, rc = mdb_env_get_fd(d->env, &fd);
    if (rc)
        return rc;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 ? errno : 0;
}

/* Without LMDB's own lock file: the directory's lock has one holder, one thread of it comes here,
 * and no read transaction outlives its call. That file is written through a mapping, which a full
 * disk would answer with SIGBUS. */
static int open_env(struct lmdb_dir *d)
{
    bool is_short = false;
    int rc = mdb_env_create(&d->env);
    if (!rc)
        rc = mdb_env_set_maxdbs(d->env, d->kind->table_count);
    if (!rc)
        rc = mdb_env_set_mapsize(d->env, d->kind->map_bytes);
    if (!rc)
        rc = mdb_env_open(d->env, d->directory, MDB_NOTLS | MDB_NOLOCK, 0600);
    if (!rc)
        rc = close_on_exec(d);
    if (!rc)
        rc = fill_up(d, &is_short);
    if (!rc)
        rc = open_tables(d);
    if (!rc && is_short)
        rc = walk(d);
    if (rc && d->env) {
        mdb_env_close(d->env);
        d->env = NULL;
    }
    return rc;
}

/* A head that was begun on a full disk would count as damage ever after. */
static void remove_file(const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    unlink(path);
}

struct result lmdb_dir_open(struct lmdb_dir *ret, const struct lmdb_dir_kind *kind,
                            const char *directory, struct why *why)
{
    bool is_empty;
    must(kind->table_count >= 1 && kind->table_count <= LMDB_DIR_TABLES_MAX);
    TRY(check_directory(kind, directory, why));
    TRY(check_file(kind, directory, &is_empty, why));
    struct lmdb_dir d = {.kind = kind, .directory = mem_strdup(directory)};
    int rc = open_env(&d);
    if (rc && is_empty)
        remove_file(directory);
    if (rc) {
        struct result r = fail(kind, why, rc, "cannot open", directory);
        lmdb_dir_close(&d);
        return r;
    }
    *ret = d;
    return result_ok();
}

void lmdb_dir_close(struct lmdb_dir *d)
{
    if (d->env)
        mdb_env_close(d->env);
    free(d->directory);
    *d = (struct lmdb_dir){0};
}

/* Without locks of LMDB's own a reader may see the head of the newest transaction half written. It
 * stands in another page than that of the one before, whose pages the next one leaves alone: who
 * got that one reads in peace. */
static int begin_beside(const struct lmdb_dir *d, unsigned flags, MDB_txn **ret)
{
    must(flags & MDB_RDONLY);
    int rc = d->env ? mdb_txn_begin(d->env, NULL, flags, ret) : MDB_PANIC;
    if (!rc && mdb_txn_id(*ret) != d->lent_id) {
        mdb_txn_abort(*ret);
        rc = EBUSY;
    }
    return rc == MDB_PANIC ? EBUSY : rc;
}

int lmdb_dir_begin(struct lmdb_dir *d, unsigned flags, MDB_txn **ret)
{
    if (d->lent)
        return begin_beside(d, flags, ret);
    int rc = d->env ? mdb_txn_begin(d->env, NULL, flags, ret) : MDB_PANIC;
    if (rc != MDB_PANIC)
        return rc;
    if (d->env)
        mdb_env_close(d->env);
    d->env = NULL;
    rc = open_env(d);
    return rc ? rc : mdb_txn_begin(d->env, NULL, flags, ret);
}

int lmdb_dir_lend(struct lmdb_dir *d)
{
    MDB_txn *txn;
    must(!d->lent);
    int rc = lmdb_dir_begin(d, MDB_RDONLY, &txn);
    if (!rc) {
        d->lent_id = mdb_txn_id(txn);
        mdb_txn_abort(txn);
    }
    d->lent = true;
    return rc;
}

int lmdb_dir_begin_lent(struct lmdb_dir *d, MDB_txn **ret)
{
    must(d->lent);
    return d->env ? mdb_txn_begin(d->env, NULL, 0, ret) : MDB_PANIC;
}

void lmdb_dir_take_back(struct lmdb_dir *d)
{
    must(d->lent);
    d->lent = false;
}
