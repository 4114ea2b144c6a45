/* SPDX-License-Identifier: Apache-2.0 */
/* Traefik's acme.json. */
#include "base/log.h"
#include "base/must.h"
#include "control/store/store_impl.h"
#include "control/store/store_json.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_BYTES_MAX (1u << 30)

/* What tells one version of the file from another. */
struct version {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct store_file {
    struct store base;
    char *path; /* real path */
    int lock_fd;
    /* Lent to the writing thread together: */
    struct version version;
    json_t *root; /* the file as it was read, with what we changed */
    bool is_read; /* anew, into these, which were not taken over yet: */
    struct store_accounts read_accounts;
    struct store_certs read_certs;
    /* Never lent: */
    struct store_accounts accounts;
    struct store_certs certs;
    json_t *kept; /* between begin and end: the tree as it was before; else NULL */
};

static struct store_file *file_of(struct store *s)
{
    return (struct store_file *)s;
}

static struct version version_of(const struct stat *st)
{
    return (struct version){st->st_dev, st->st_ino, st->st_size, st->st_mtim};
}

static bool version_eq(const struct version *a, const struct version *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Whose file is it, and who else can read it? Repairs the mode, with a message. */
static struct result check_file(int fd, const char *path, struct stat *st, struct why *why)
{
    if (fstat(fd, st) == -1)
        return why_fail_sys(why, ERR_STORE, errno, "cannot look at %s", path);
    if (!S_ISREG(st->st_mode))
        return why_fail(why, ERR_PERMISSION, "%s is not a regular file", path);
    if (st->st_uid != geteuid())
        return why_fail(why, ERR_PERMISSION,
                        "%s belongs to user %u, but ferrule runs as user %u: give it to that user",
                        path, st->st_uid, geteuid());
    if (st->st_mode & 077) {
        if (fchmod(fd, 0600) == -1)
            return why_fail_sys(why, ERR_PERMISSION, errno,
                                "%s holds private keys and is open to others (mode %03o)", path,
                                st->st_mode & 0777);
        log_warn("%s holds private keys and was open to others (mode %03o): changed to 600", path,
                 st->st_mode & 0777);
    }
    if (st->st_size > STORE_BYTES_MAX)
        return why_fail(why, ERR_TOO_LARGE, "%s is larger than 1 GiB", path);
    return result_ok();
}

static struct result read_all(int fd, const char *path, size_t size, struct buf *out,
                              struct why *why)
{
    size_t left = size;
    while (left) {
        ssize_t n = read(fd, buf_reserve(out, left), left);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return why_fail_sys(why, ERR_STORE, errno, "cannot read %s", path);
        if (n == 0)
            break;
        out->len += (size_t)n;
        left -= (size_t)n;
    }
    return result_ok();
}

/* Parses the text; an empty file is an empty store. */
static struct result parse(struct store_file *s, struct span text, struct why *why)
{
    json_error_t error;
    json_t *root =
        text.len ? json_loadb((const char *)text.ptr, text.len, 0, &error) : json_object();
    if (!root)
        return why_fail(why, ERR_FORMAT,
                        "%s is not valid JSON at line %d, column %d (%s): restore it from a copy, "
                        "or move it away to begin with an empty store",
                        s->path, error.line, error.column, error.text);
    struct store_accounts accounts = {0};
    struct store_certs certs = {0};
    struct result r = store_json_read(root, s->path, &accounts, &certs, why);
    if (!result_is_ok(r)) {
        json_decref(root);
        return r;
    }
    json_decref(s->root);
    store_json_free(&s->read_accounts, &s->read_certs);
    s->root = root;
    s->read_accounts = accounts;
    s->read_certs = certs;
    s->is_read = true;
    return result_ok();
}

/* What was read anew becomes what we lend. */
static void take_over(struct store_file *s)
{
    if (!s->is_read)
        return;
    store_json_free(&s->accounts, &s->certs);
    s->accounts = s->read_accounts;
    s->certs = s->read_certs;
    s->read_accounts = (struct store_accounts){0};
    s->read_certs = (struct store_certs){0};
    s->is_read = false;
}

static struct result write_all(int fd, struct span text)
{
    while (text.len) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return result_fail_sys(ERR_STORE, n ? errno : ENOSPC);
        text = span_skip(text, (size_t)n);
    }
    return fsync(fd) == -1 ? result_fail_sys(ERR_STORE, errno) : result_ok();
}

static void sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd != -1) {
        fsync(fd);
        close(fd);
    }
    free(directory);
}

/* A file that is a mount point (one file given to a container) cannot be replaced, so the text goes
 * into it. Whole text beside it, on the disk, makes up for a write that is cut off. */
static struct result write_over(const char *path, struct span text, struct stat *ret_st)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1)
        return result_fail_sys(ERR_STORE, errno);
    struct result r = result_ok();
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)text.len) == -1 && errno != EOPNOTSUPP)
        r = result_fail_sys(ERR_STORE, errno);
    if (result_is_ok(r))
        r = write_all(fd, text);
    if (result_is_ok(r) &&
        (ftruncate(fd, (off_t)text.len) == -1 || fsync(fd) == -1 || fstat(fd, ret_st) == -1))
        r = result_fail_sys(ERR_STORE, errno);
    close(fd);
    return r;
}

static char *beside(const struct store_file *s)
{
    return mem_printf("%s.tmp", s->path);
}

/* The file is damaged: is the text there that was being written over it? */
static struct result load_beside(struct store_file *s, struct result damage, struct why *why)
{
    char *path = beside(s);
    struct stat st;
    struct buf text = {0};
    struct why ignored = {""};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good = fd != -1 && result_is_ok(check_file(fd, path, &st, &ignored)) && st.st_size &&
                result_is_ok(read_all(fd, path, (size_t)st.st_size, &text, &ignored)) &&
                result_is_ok(parse(s, buf_span(&text), &ignored));
    if (good && result_is_ok(write_over(s->path, buf_span(&text), &st))) {
        log_warn("the last write of %s was cut off: it is made good from %s", s->path, path);
        s->version = version_of(&st);
        unlink(path);
        damage = result_ok();
        why->text[0] = 0;
    }
    if (fd != -1)
        close(fd);
    buf_wipe_free(&text);
    free(path);
    return damage;
}

/* Reads the file unless it is the version that we know. */
static struct result load(struct store_file *s, struct why *why)
{
    int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1 && errno == ENOENT) {
        s->version = (struct version){0};
        return s->root ? result_ok() : parse(s, (struct span){0}, why);
    }
    if (fd == -1)
        return why_fail_sys(why, ERR_PERMISSION, errno, "cannot open %s", s->path);
    struct stat st;
    struct buf text = {0};
    struct result r = check_file(fd, s->path, &st, why);
    struct version version = version_of(&st);
    if (result_is_ok(r) && !(s->root && version_eq(&version, &s->version))) {
        r = read_all(fd, s->path, (size_t)st.st_size, &text, why);
        if (result_is_ok(r))
            r = parse(s, buf_span(&text), why);
        if (result_is_ok(r))
            s->version = version;
        else if (r.code == ERR_FORMAT)
            r = load_beside(s, r, why);
    }
    buf_wipe_free(&text);
    close(fd);
    return r;
}

/* Puts `text` in the file's place: whole, or not at all. */
static struct result replace_file(struct store_file *s, struct span text, struct why *why)
{
    char *temporary = beside(s);
    struct stat st;
    struct result r = result_ok();
    bool over = false;
    /* One left from a crash may have another mode or owner. */
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        r = result_fail_sys(ERR_STORE, errno);
    if (result_is_ok(r))
        r = write_all(fd, text);
    if (result_is_ok(r) && (fstat(fd, &st) == -1 || rename(temporary, s->path) == -1))
        r = result_fail_sys(ERR_STORE, errno);
    if (fd != -1)
        close(fd);
    if (!result_is_ok(r) && r.sys == EBUSY) {
        over = true;
        sync_directory_of(s->path);
        r = write_over(s->path, text, &st);
    }
    if (result_is_ok(r)) {
        sync_directory_of(s->path);
        s->version = version_of(&st);
    } else {
        r = why_fail_sys(
            why, ERR_STORE, r.sys, "cannot write %s (%s; ferrule tries again)", s->path,
            over ? "its text stands whole beside it, in a .tmp file" : "what it held is untouched");
    }
    if (over == result_is_ok(r))
        unlink(temporary);
    free(temporary);
    return r;
}

static struct result save(struct store_file *s, struct why *why)
{
    char *text = json_dumps(s->root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    must(text);
    struct span span = span_str(text);
    struct result r = replace_file(s, span, why);
    secret_wipe(text, span.len);
    free(text);
    return r;
}

static struct result take_lock(struct store_file *s, struct why *why)
{
    char *path = mem_printf("%s.lock", s->path);
    struct result r = result_ok();
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd == -1)
        r = why_fail_sys(why, ERR_PERMISSION, errno, "cannot open %s", path);
    else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == -1)
        r = why_fail(why, ERR_BUSY, "%s is used by another ferrule: give this one its own storage",
                     s->path);
    free(path);
    return r;
}

/* Absolute path with links of its directory and of itself resolved, so that a rename replaces the
 * file and not a link to it. The file itself need not exist. */
static char *real_path(const char *path)
{
    char *whole = realpath(path, NULL);
    if (whole)
        return whole;
    const char *slash = strrchr(path, '/');
    char *directory = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    char *real = realpath(directory, NULL);
    free(directory);
    if (!real)
        return NULL;
    char *joined = mem_printf("%s/%s", real[1] ? real : "", slash ? slash + 1 : path);
    free(real);
    return joined;
}

static void close_file(struct store *store)
{
    struct store_file *s = file_of(store);
    store_json_free(&s->accounts, &s->certs);
    store_json_free(&s->read_accounts, &s->read_certs);
    json_decref(s->root);
    json_decref(s->kept);
    if (s->lock_fd != -1)
        close(s->lock_fd);
    free(s->path);
    free(s);
}

static const struct store_account *get_account(struct store *store, const char *resolver)
{
    const struct store_file *s = file_of(store);
    for (uint32_t i = 0; i < s->accounts.count; i++)
        if (strcmp(s->accounts.items[i].resolver, resolver) == 0)
            return &s->accounts.items[i].account;
    return NULL;
}

static const char *account_name(struct store *store, uint32_t index)
{
    const struct store_file *s = file_of(store);
    return index < s->accounts.count ? s->accounts.items[index].resolver : NULL;
}

static uint32_t cert_count(const struct store *store)
{
    return ((const struct store_file *)store)->certs.count;
}

static const struct store_cert *cert_at(struct store *store, uint32_t index, struct why *why)
{
    const struct store_file *s = file_of(store);
    must(index < s->certs.count);
    return &s->certs.items[index];
}

/* What the tree says becomes what we lend. */
static struct result read_tree(struct store_file *s, struct why *why)
{
    store_json_free(&s->accounts, &s->certs);
    return store_json_read(s->root, s->path, &s->accounts, &s->certs, why);
}

/* Takes in what others wrote, changes the tree by `change` and writes it. On failure the tree is
 * what it was, so memory never runs ahead of disk. */
static struct result write_changed(struct store_file *s,
                                   void (*change)(json_t *root, const void *arg), const void *arg,
                                   struct why *why)
{
    TRY(load(s, why));
    json_t *before = s->root;
    s->root = json_deep_copy(before);
    must(s->root);
    change(s->root, arg);
    struct result r = save(s, why);
    if (!result_is_ok(r)) {
        json_decref(s->root);
        s->root = before;
        return r;
    }
    json_decref(before);
    return r;
}

/* The same; what we lend is brought up to date by the caller. */
static struct result change_and_save(struct store_file *s,
                                     void (*change)(json_t *root, const void *arg), const void *arg,
                                     struct why *why)
{
    if (s->kept) {
        change(s->root, arg);
        return result_ok();
    }
    struct result r = write_changed(s, change, arg, why);
    take_over(s);
    return r;
}

static struct result begin(struct store *store, struct why *why)
{
    struct store_file *s = file_of(store);
    must(!s->kept);
    TRY(load(s, why));
    take_over(s);
    s->kept = s->root;
    s->root = json_deep_copy(s->kept);
    must(s->root);
    return result_ok();
}

static struct result end(struct store *store, bool keep, struct why *why)
{
    struct store_file *s = file_of(store);
    must(s->kept);
    struct result r = keep ? save(s, why) : result_ok();
    bool is_new = keep && result_is_ok(r);
    json_decref(is_new ? s->kept : s->root);
    if (!is_new)
        s->root = s->kept;
    s->kept = NULL;
    return is_new ? read_tree(s, why) : r;
}

struct account_change {
    const char *resolver;
    const struct store_account *account;
};

static void apply_account(json_t *root, const void *arg)
{
    const struct account_change *c = arg;
    store_json_put_account(root, c->resolver, c->account);
}

static struct result put_account(struct store *s, const char *resolver,
                                 const struct store_account *account, struct why *why)
{
    struct account_change c = {resolver, account};
    TRY(change_and_save(file_of(s), apply_account, &c, why));
    return file_of(s)->kept ? result_ok() : read_tree(file_of(s), why);
}

static void apply_cert(json_t *root, const void *arg)
{
    store_json_put_cert(root, arg);
}

static struct result put_cert(struct store *s, const struct store_cert *cert, struct why *why)
{
    TRY(change_and_save(file_of(s), apply_cert, cert, why));
    if (!file_of(s)->kept)
        store_certs_put(&file_of(s)->certs, store_copy_cert(cert));
    return result_ok();
}

static void lend(struct store *s)
{
    must(!file_of(s)->kept);
}

static void apply_items(json_t *root, const void *arg)
{
    const struct list *items = arg;
    for (const struct list *n = items->next; n != items; n = n->next)
        store_json_put_cert(root, &LIST_ENTRY(n, struct store_item, node)->cert);
}

/* In the writing thread. */
static void write_items(struct store *s, struct list *items)
{
    struct why why = {""};
    if (result_is_ok(write_changed(file_of(s), apply_items, items, &why)))
        return;
    for (struct list *n = items->next; n != items; n = n->next)
        LIST_ENTRY(n, struct store_item, node)->why = why;
}

static void take_back(struct store *store, struct list *items)
{
    struct store_file *s = file_of(store);
    take_over(s);
    for (struct list *n = items->next; n != items; n = n->next) {
        const struct store_item *item = LIST_ENTRY(n, struct store_item, node);
        if (!item->why.text[0])
            store_certs_put(&s->certs, store_copy_cert(&item->cert));
    }
}

static bool has_cert(struct store *s, const struct store_cert *cert)
{
    return store_json_has_cert(file_of(s)->root, cert);
}

static void apply_removal(json_t *root, const void *arg)
{
    store_json_remove_cert(root, arg);
}

static struct result remove_cert(struct store *s, const struct store_cert *cert, struct why *why)
{
    TRY(change_and_save(file_of(s), apply_removal, cert, why));
    return file_of(s)->kept ? result_ok() : read_tree(file_of(s), why);
}

static const struct store_ops file_ops = {
    .close = close_file,
    .account = get_account,
    .put_account = put_account,
    .account_name = account_name,
    .cert_count = cert_count,
    .cert_at = cert_at,
    .put_cert = put_cert,
    .remove_cert = remove_cert,
    .has_cert = has_cert,
    .begin = begin,
    .end = end,
    .lend = lend,
    .write = write_items,
    .take_back = take_back,
};

struct result store_file_open(const char *path, struct store **ret, struct why *why)
{
    struct store_file *s = mem_zalloc(sizeof *s);
    store_init(&s->base, &file_ops);
    s->lock_fd = -1;
    s->path = real_path(path);
    struct result r =
        s->path ? take_lock(s, why)
                : why_fail_sys(why, ERR_NOT_FOUND, errno, "cannot find the directory of %s", path);
    if (result_is_ok(r))
        r = load(s, why);
    if (!result_is_ok(r)) {
        close_file(&s->base);
        return r;
    }
    take_over(s);
    *ret = &s->base;
    return r;
}
