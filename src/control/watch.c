/* SPDX-License-Identifier: Apache-2.0 */
#include "control/watch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/must.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel */
#define CHANGES                                                                                    \
    (IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_ATTRIB |            \
     IN_DELETE_SELF | IN_MOVE_SELF)
/* Some file systems round the times of files. */
#define TICK_NS (20 * (int64_t)NS_PER_MS)

/* What is watched: a path, and how the file looked that it led to when it was told last. */
struct file {
    char *path;
    uint64_t look; /* 0 = there is none */
    /* When it was traced last: the same, and the time of its last change. */
    uint64_t seen;
    int64_t changed_ns;
};

/* A folder on the way to files. */
struct folder {
    char *name;
    int wd; /* -1 = it cannot be watched */
};

/* An entry of a folder that decides where a path leads: a link, a folder, the file. */
struct point {
    char *name; /* "" = every entry counts */
    int wd;     /* the folder's */
};

struct watch {
    struct watch_options options;
    struct loop_fd inotify;
    struct loop_timer timer;
    uint64_t first_ns; /* of the events that are waited with; 0 = none */
    bool exhausted;    /* the kernel is out of watches: said once */
    struct file *files;
    uint32_t file_count;
    struct point *points; /* sorted by wd and name */
    uint32_t point_count, point_room;
    void *folders;           /* tree of struct folder by name */
    struct folder *last_one; /* most files are in the same as the one before */
    int *wds;                /* sorted, each once */
    uint32_t wd_count;
};

/* ---- how files look ---------------------------------------------------------------------------
 */

static void mix(uint64_t *h, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        *h = (*h ^ (v >> (8 * i) & 0xff)) * 1099511628211u;
}

static uint64_t look_of_stat(const struct stat *st)
{
    uint64_t h = 14695981039346656037u;
    mix(&h, st->st_dev);
    mix(&h, st->st_ino);
    mix(&h, (uint64_t)st->st_size);
    mix(&h, (uint64_t)st->st_mtim.tv_sec * NS_PER_S + (uint64_t)st->st_mtim.tv_nsec);
    mix(&h, (uint64_t)st->st_ctim.tv_sec * NS_PER_S + (uint64_t)st->st_ctim.tv_nsec);
    return h | 1;
}

static int64_t changed_ns(const struct stat *st)
{
    return st->st_ctim.tv_sec * (int64_t)NS_PER_S + st->st_ctim.tv_nsec;
}

/* A folder looks as its entries do, in any order. */
static uint64_t look_of_folder(const char *path, int64_t *newest_ns)
{
    uint64_t sum = 1;
    DIR *d = opendir(path);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) == -1)
            continue;
        uint64_t h = look_of_stat(&st);
        for (const char *c = e->d_name; *c; c++)
            mix(&h, (uint8_t)*c);
        sum += h;
        if (changed_ns(&st) > *newest_ns)
            *newest_ns = changed_ns(&st);
    }
    closedir(d);
    return sum | 1;
}

static void look_at(const char *path, const struct stat *st, struct file *f)
{
    f->changed_ns = changed_ns(st);
    f->seen = S_ISDIR(st->st_mode) ? look_of_folder(path, &f->changed_ns) : look_of_stat(st);
}

/* ---- where paths lead -------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
    const struct folder *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int watch_folder(struct watch *w, const char *folder)
{
    int wd = inotify_add_watch(w->inotify.fd, folder, CHANGES | IN_ONLYDIR);
    if (wd == -1 && (errno == ENOSPC || errno == ENOMEM) && !w->exhausted) {
        w->exhausted = true;
        log_warn(
            "cannot watch %s: %m; raise sysctl fs.inotify.max_user_watches. Until then changed "
            "files are noticed within a minute",
            folder);
    } else if (wd == -1) {
        log_debug("cannot watch %s: %m", folder);
    }
    return wd;
}

/* Its watch. The kernel watches it from now on: what is looked at afterwards does not change
 * unheard. */
static int take_folder(struct watch *w, const char *name)
{
    struct folder key = {.name = (char *)name};
    if (w->last_one && strcmp(w->last_one->name, name) == 0)
        return w->last_one->wd;
    struct folder **hit = tfind(&key, &w->folders, by_name);
    if (hit) {
        w->last_one = *hit;
        return w->last_one->wd;
    }
    struct folder *f = mem_alloc(sizeof *f);
    *f = (struct folder){.name = mem_strdup(name), .wd = watch_folder(w, name)};
    must(tsearch(f, &w->folders, by_name));
    w->last_one = f;
    return f->wd;
}

static void note(struct watch *w, const char *folder, const char *name)
{
    if (w->point_count == w->point_room) {
        w->point_room = w->point_room ? 2 * w->point_room : 64;
        w->points = mem_grow(w->points, w->point_room * sizeof *w->points);
    }
    w->points[w->point_count++] = (struct point){mem_strdup(name), take_folder(w, folder)};
}

/* A path that is being followed. */
struct walk {
    char at[PATH_MAX];   /* the folder reached: absolute, without links */
    char rest[PATH_MAX]; /* still to go */
    struct stat st;      /* of what was reached last, when it is known */
    bool known;
};

static bool append(char at[PATH_MAX], const char *name)
{
    size_t len = strlen(at);
    int n = snprintf(at + len, PATH_MAX - len, "%s%s", len > 1 ? "/" : "", name);
    return n > 0 && (size_t)n < PATH_MAX - len;
}

static void ascend(char at[PATH_MAX])
{
    char *slash = strrchr(at, '/');
    slash[slash == at] = '\0';
}

/* Cuts the next name off the way to go. False: arrived. */
static bool next_name(struct walk *k, char ret[NAME_MAX + 1])
{
    const char *p = k->rest + strspn(k->rest, "/");
    size_t len = strcspn(p, "/");
    if (len == 0 || len > NAME_MAX)
        return false;
    memcpy(ret, p, len);
    ret[len] = '\0';
    memmove(k->rest, p + len, strlen(p + len) + 1);
    return true;
}

/* Goes on with a link's target in place of the link. */
static bool follow(struct walk *k, const char *target)
{
    char rest[PATH_MAX];
    int n = snprintf(rest, sizeof rest, "%s%s", target, k->rest);
    if (n < 0 || (size_t)n >= sizeof rest)
        return false;
    memcpy(k->rest, rest, (size_t)n + 1);
    if (target[0] == '/')
        memcpy(k->at, "/", 2);
    return true;
}

static bool is_end(const struct walk *k)
{
    return k->rest[strspn(k->rest, "/")] == '\0';
}

/* Walks as the kernel would and notes every entry on the way. False: it ends before its time. */
static bool walk(struct watch *w, struct walk *k)
{
    char name[NAME_MAX + 1], full[PATH_MAX], target[PATH_MAX];
    for (int links = 0; next_name(k, name);) {
        k->known = false;
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            ascend(k->at);
            continue;
        }
        note(w, k->at, name);
        memcpy(full, k->at, strlen(k->at) + 1);
        if (!append(full, name))
            return false;
        if (is_end(k) && lstat(full, &k->st) == 0 && !S_ISLNK(k->st.st_mode)) {
            k->known = true;
            memcpy(k->at, full, strlen(full) + 1);
            continue;
        }
        ssize_t n = readlink(full, target, sizeof target - 1);
        if (n < 0 && errno != EINVAL) /* EINVAL: no link */
            return false;
        if (n < 0) {
            memcpy(k->at, full, strlen(full) + 1);
            continue;
        }
        target[n] = '\0';
        if (++links > LINKS_MAX || !follow(k, target))
            return false;
    }
    return true;
}

/* Most files lie in the folder of the one before: `last` remembers where its name leads. */
struct last_folder {
    char name[PATH_MAX];
    char at[PATH_MAX];
};

/* False: nothing is found at its end, though the kernel may find something. */
static bool trace(struct watch *w, struct file *f, struct last_folder *last)
{
    struct walk k = {.at = "/"};
    const char *slash = strrchr(f->path, '/');
    size_t folder_len = slash ? (size_t)(slash - f->path) : 0;
    if (strlen(f->path) >= sizeof k.rest || (f->path[0] != '/' && !getcwd(k.at, sizeof k.at)))
        return false;
    if (folder_len && strlen(last->name) == folder_len &&
        memcmp(last->name, f->path, folder_len) == 0) {
        memcpy(k.at, last->at, sizeof k.at);
    } else {
        memcpy(k.rest, f->path, folder_len);
        last->name[0] = '\0';
        if (!walk(w, &k))
            return false;
        memcpy(last->name, f->path, folder_len);
        last->name[folder_len] = '\0';
        memcpy(last->at, k.at, sizeof k.at);
    }
    k.known = false;
    memcpy(k.rest, f->path + folder_len, strlen(f->path + folder_len) + 1);
    if (!walk(w, &k) || (!k.known && stat(k.at, &k.st) == -1))
        return false;
    if (S_ISDIR(k.st.st_mode))
        note(w, k.at, "");
    look_at(k.at, &k.st, f);
    return true;
}

/* ---- the kernel's watches ---------------------------------------------------------------------
 */

static int by_wd(const void *a, const void *b)
{
    const struct point *p = a, *q = b;
    return p->wd != q->wd ? (p->wd > q->wd) - (p->wd < q->wd) : strcmp(p->name, q->name);
}

static void free_folder(void *p)
{
    struct folder *f = p;
    free(f->name);
    free(f);
}

static void drop_points(struct watch *w)
{
    for (uint32_t i = 0; i < w->point_count; i++)
        free(w->points[i].name);
    tdestroy(w->folders, free_folder);
    w->folders = NULL;
    w->last_one = NULL;
    w->point_count = 0;
}

static bool holds(const int *wds, uint32_t count, int wd)
{
    for (uint32_t low = 0, high = count; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        if (wds[mid] == wd)
            return true;
        if (wds[mid] < wd)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

/* Follows all paths anew, has the kernel watch the folders on their ways and no others, and looks
 * at the files: what changes from then on is an event. */
static void retrace(struct watch *w)
{
    struct last_folder *last = mem_zalloc(sizeof *last);
    struct stat st;
    drop_points(w);
    for (uint32_t i = 0; i < w->file_count; i++) {
        w->files[i].seen = 0;
        w->files[i].changed_ns = 0;
        if (!trace(w, &w->files[i], last) && stat(w->files[i].path, &st) == 0)
            look_at(w->files[i].path, &st, &w->files[i]);
    }
    free(last);
    if (w->point_count)
        qsort(w->points, w->point_count, sizeof *w->points, by_wd);
    int *wds = mem_alloc((w->point_count + 1) * sizeof *wds);
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->point_count; i++) {
        int wd = w->points[i].wd;
        if (wd != -1 && (count == 0 || wds[count - 1] != wd))
            wds[count++] = wd;
    }
    for (uint32_t i = 0; i < w->wd_count; i++) {
        if (!holds(wds, count, w->wds[i])) /* fails when the folder itself is gone: as well */
            (void)inotify_rm_watch(w->inotify.fd, w->wds[i]);
    }
    free(w->wds);
    w->wds = wds;
    w->wd_count = count;
}

/* ---- telling ----------------------------------------------------------------------------------
 */

static void set_timer(struct watch *w)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t at_ns = now_ns + w->options.quiet_ms * NS_PER_MS;
    if (!w->first_ns)
        at_ns = now_ns + WATCH_POLL_MS * NS_PER_MS;
    else if (at_ns > w->first_ns + WATCH_LONGEST_MS * NS_PER_MS)
        at_ns = w->first_ns + WATCH_LONGEST_MS * NS_PER_MS;
    if (w->file_count || w->first_ns)
        loop_timer_set(w->options.loop, &w->timer, at_ns);
    else
        loop_timer_cancel(w->options.loop, &w->timer);
}

/* Paths are copied for the call: it may change what is watched. */
static void tell(struct watch *w)
{
    char **paths = mem_alloc((w->file_count + 1) * sizeof *paths);
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->file_count; i++) {
        struct file *f = &w->files[i];
        if (f->seen == f->look)
            continue;
        f->look = f->seen;
        paths[count++] = mem_strdup(f->path);
    }
    if (count)
        w->options.changed(w->options.arg, (const char *const *)paths, count);
    for (uint32_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
}

static void look_again(struct loop_timer *t)
{
    struct watch *w = LIST_ENTRY(t, struct watch, timer);
    w->first_ns = 0;
    retrace(w);
    set_timer(w);
    tell(w);
}

static bool matters(const struct watch *w, const struct inotify_event *e)
{
    if (e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
        return true;
    if (e->mask & IN_IGNORED)
        return false;
    struct point any = {.wd = e->wd, .name = (char *)""};
    struct point named = {.wd = e->wd, .name = (char *)(e->len ? e->name : "")};
    return w->point_count && (bsearch(&any, w->points, w->point_count, sizeof any, by_wd) ||
                              bsearch(&named, w->points, w->point_count, sizeof named, by_wd));
}

static void hear(struct loop_fd *fd, uint32_t events)
{
    struct watch *w = LIST_ENTRY(fd, struct watch, inotify);
    _Alignas(struct inotify_event) char room[8192];
    bool any = false;
    for (ssize_t n; (n = read(fd->fd, room, sizeof room)) > 0;) {
        const struct inotify_event *e;
        for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof *e + e->len)) {
            e = (const struct inotify_event *)(room + at);
            any = matters(w, e) || any;
        }
    }
    if (!any)
        return;
    if (!w->first_ns)
        w->first_ns = clock_now_ns();
    set_timer(w);
}

struct result watch_create(const struct watch_options *options, struct watch **ret, struct why *why)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd == -1)
        return why_fail_sys(why, ERR_SYSTEM, errno,
                            "files cannot be watched (see sysctl fs.inotify.max_user_instances)");
    struct watch *w = mem_zalloc(sizeof *w);
    w->options = *options;
    w->inotify = (struct loop_fd){.fd = fd, .ready = hear};
    loop_timer_init(&w->timer, look_again);
    loop_watch(options->loop, &w->inotify, EPOLLIN);
    *ret = w;
    return result_ok();
}

static void free_files(struct file *files, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(files[i].path);
    free(files);
}

void watch_destroy(struct watch *w)
{
    if (!w)
        return;
    loop_timer_cancel(w->options.loop, &w->timer);
    loop_watch(w->options.loop, &w->inotify, 0);
    close(w->inotify.fd);
    free_files(w->files, w->file_count);
    drop_points(w);
    free(w->points);
    free(w->wds);
    free(w);
}

static int by_path(const void *a, const void *b)
{
    const struct file *f = a, *g = b;
    return strcmp(f->path, g->path);
}

/* files: sorted. Gives what is left. */
static uint32_t drop_doubles(struct file *files, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept && strcmp(files[kept - 1].path, files[i].path) == 0)
            free(files[i].path);
        else
            files[kept++] = files[i];
    }
    return kept;
}

void watch_files(struct watch *w, const char *const *paths, uint32_t count, int64_t since_ns)
{
    struct file *files = mem_alloc((count + 1) * sizeof *files);
    for (uint32_t i = 0; i < count; i++)
        files[i] = (struct file){.path = mem_strdup(paths[i])};
    qsort(files, count, sizeof *files, by_path);
    count = drop_doubles(files, count);
    struct file *old = w->files;
    uint32_t old_count = w->file_count;
    w->files = files;
    w->file_count = count;
    retrace(w);
    for (uint32_t i = 0; i < count; i++) {
        struct file *f = &files[i];
        const struct file *before =
            old_count ? bsearch(f, old, old_count, sizeof *old, by_path) : NULL;
        f->look = f->seen;
        bool moved = before && before->look != f->look;
        /* Also what was heard already: the caller may hold what it had read before. */
        if (moved || (since_ns && f->changed_ns >= since_ns - TICK_NS && f->look)) {
            f->look = moved ? before->look : f->look + 2; /* any other than it has */
            w->first_ns = clock_now_ns();
        }
    }
    free_files(old, old_count);
    set_timer(w);
}
