/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/handover.h"

#include "config/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES_MAX (16u << 20)

/* ---- writing -------------------------------------------------------------------------------- */

static void put_config(const struct supervisor *s, struct buf *out)
{
    const struct config *c = s->config;
    buf_printf(out, "state %s\nconnections %u\n", c->state_directory, c->worker_connections);
    for (uint32_t i = 0; i < c->workers; i++)
        buf_printf(out, "cpu %u\n", c->worker_cpus[i]);
    for (uint32_t i = 0; i < c->fixed_count; i++)
        buf_printf(out, "fixed %s\n", c->fixed[i]);
    buf_printf(out, "log %s\ngrace %llu\naccept %llu\ndrain %llu\n", s->plan.log_level,
               (unsigned long long)s->plan.grace_ms, (unsigned long long)s->plan.accept_ms,
               (unsigned long long)s->plan.drain_ms);
}

static void put_listeners(const struct supervisor *s, struct buf *out)
{
    for (uint32_t i = 0; i < s->listeners.count; i++) {
        const struct listener_group *g = &s->listeners.groups[i];
        buf_printf(out, "group %u %d %s %s\n", g->id, g->adopted, g->address, g->entrypoint);
        for (uint32_t k = 0; k < g->count; k++)
            buf_printf(out, "socket %d\n", g->fds[k]);
    }
}

static void put_children(const struct supervisor *s, struct buf *out)
{
    const struct child *data = &s->children[CHILD_DATA], *control = &s->children[CHILD_CONTROL];
    if (data->pid && data->fd != -1)
        buf_printf(out, "data %d %d\n", (int)data->pid, data->fd);
    if (control->pid && control->fd != -1)
        buf_printf(out, "control %d %d\n", (int)control->pid, control->fd);
    for (uint32_t i = 0; i < s->old_count; i++)
        buf_printf(out, "old %d %d %llu\n", (int)s->old[i].pid, s->old[i].fd,
                   (unsigned long long)s->old[i].kill_at_ns);
}

struct result handover_write(const struct supervisor *s, int *ret_fd, struct why *why)
{
    struct buf out = {0};
    buf_printf(&out,
               "ferrule-handover %d\ngeneration %u\nattempts %u\nlock %d\nreport %d\nexe %d\n",
               HANDOVER_VERSION, s->generation, s->attempts, s->lock_fd, s->report_fd, s->exe_fd);
    put_config(s, &out);
    put_listeners(s, &out);
    put_children(s, &out);
    int fd = memfd_create("ferrule-handover", MFD_CLOEXEC);
    bool ok = fd != -1 && write(fd, out.ptr, out.len) == (ssize_t)out.len;
    int sys = errno;
    buf_free(&out);
    if (ok) {
        *ret_fd = fd;
        return result_ok();
    }
    if (fd != -1)
        close(fd);
    return why_fail_sys(why, ERR_SYSTEM, sys, "cannot keep what the new program needs");
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reading {
    struct supervisor *s;
    struct arena *arena;
    bool bad, check_only;
};

/* The next word, NUL-terminated in place; "" when there is none. */
static char *word(char **rest)
{
    char *w = *rest, *end = strchr(w, ' ');
    *rest = end ? end + 1 : w + strlen(w);
    if (end)
        *end = 0;
    return w;
}

static uint64_t number(struct reading *r, char **rest)
{
    char *end, *w = word(rest);
    uint64_t v = strtoull(w, &end, 10);
    if (!*w || *end)
        r->bad = true;
    return v;
}

/* An open descriptor. */
static int descriptor(struct reading *r, char **rest)
{
    int fd = (int)number(r, rest);
    if (!r->check_only && fcntl(fd, F_GETFD) == -1)
        r->bad = true;
    return fd;
}

static void take_group(struct reading *r, char *rest)
{
    struct listener_set *set = &r->s->listeners;
    struct listener_group g = {.id = (uint32_t)number(r, &rest)};
    g.adopted = number(r, &rest) != 0;
    g.address = mem_strdup(word(&rest));
    g.entrypoint = mem_strdup(rest);
    if (!result_is_ok(net_addr_parse(span_str(g.address), 0, &g.socket)))
        r->bad = true;
    g.bound = g.socket;
    if (g.id > set->next_id)
        set->next_id = g.id;
    set->groups = mem_grow(set->groups, (set->count + 1) * sizeof *set->groups);
    set->groups[set->count++] = g;
}

static void take_socket(struct reading *r, char *rest)
{
    struct listener_set *set = &r->s->listeners;
    if (!set->count) {
        r->bad = true;
        return;
    }
    struct listener_group *g = &set->groups[set->count - 1];
    g->fds = mem_grow(g->fds, (g->count + 1) * sizeof *g->fds);
    g->fds[g->count++] = descriptor(r, &rest);
    /* Bound as it was then, should the kernel have no IPv6. */
    socklen_t len = sizeof g->bound - offsetof(struct net_addr, sa);
    if (getsockname(g->fds[0], &g->bound.sa, &len) == 0)
        g->bound.len = len;
}

static void take_child(struct reading *r, enum child_kind kind, char *rest)
{
    struct child *c = &r->s->children[kind];
    c->pid = (pid_t)number(r, &rest);
    c->fd = descriptor(r, &rest);
    c->was_ready = true;
}

static void take_old(struct reading *r, char *rest)
{
    if (r->s->old_count == OLD_MAX) {
        r->bad = true;
        return;
    }
    struct old_data *o = &r->s->old[r->s->old_count++];
    o->pid = (pid_t)number(r, &rest);
    o->fd = descriptor(r, &rest);
    o->kill_at_ns = number(r, &rest);
}

static bool take_config(struct reading *r, const char *key, char *rest)
{
    struct config *c = r->s->config;
    if (!strcmp(key, "state"))
        c->state_directory = arena_strdup(r->arena, rest);
    else if (!strcmp(key, "connections"))
        c->worker_connections = (uint32_t)number(r, &rest);
    else if (!strcmp(key, "cpu") && c->workers < 256)
        c->worker_cpus[c->workers++] = (uint32_t)number(r, &rest);
    else if (!strcmp(key, "fixed") && c->fixed_count < 256)
        c->fixed[c->fixed_count++] = arena_strdup(r->arena, rest);
    else if (!strcmp(key, "log"))
        r->s->plan.log_level = c->log_level = arena_strdup(r->arena, rest);
    else if (!strcmp(key, "grace"))
        r->s->plan.grace_ms = number(r, &rest);
    else if (!strcmp(key, "accept"))
        r->s->plan.accept_ms = number(r, &rest);
    else if (!strcmp(key, "drain"))
        r->s->plan.drain_ms = number(r, &rest);
    else
        return false;
    return true;
}

static void take_line(struct reading *r, char *line)
{
    struct supervisor *s = r->s;
    char *rest = line, *key = word(&rest);
    if (take_config(r, key, rest))
        return;
    if (!strcmp(key, "generation"))
        s->generation = (uint32_t)number(r, &rest);
    else if (!strcmp(key, "attempts"))
        s->attempts = (uint32_t)number(r, &rest);
    else if (!strcmp(key, "lock"))
        s->lock_fd = descriptor(r, &rest);
    else if (!strcmp(key, "report"))
        s->report_fd = descriptor(r, &rest);
    else if (!strcmp(key, "exe"))
        s->exe_fd = descriptor(r, &rest);
    else if (!strcmp(key, "group"))
        take_group(r, rest);
    else if (!strcmp(key, "socket"))
        take_socket(r, rest);
    else if (!strcmp(key, "data"))
        take_child(r, CHILD_DATA, rest);
    else if (!strcmp(key, "control"))
        take_child(r, CHILD_CONTROL, rest);
    else if (!strcmp(key, "old"))
        take_old(r, rest);
    else
        r->bad = true;
}

static struct result read_text(int fd, char **ret, struct why *why)
{
    struct stat st;
    if (fstat(fd, &st) == -1 || st.st_size <= 0 || st.st_size > BYTES_MAX)
        return why_fail(why, ERR_FORMAT, "what the running ferrule left cannot be read");
    char *text = mem_zalloc((size_t)st.st_size + 1);
    if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
        free(text);
        return why_fail(why, ERR_FORMAT, "what the running ferrule left cannot be read");
    }
    *ret = text;
    return result_ok();
}

struct result handover_read(int fd, struct supervisor *s, bool check_only, struct why *why)
{
    char *text = NULL, version[64];
    struct reading r = {.s = s, .arena = arena_create(), .check_only = check_only};
    s->config = arena_alloc(r.arena, sizeof *s->config);
    s->config->memory = r.arena;
    s->config->worker_cpus = arena_alloc(r.arena, 256 * sizeof(uint32_t));
    s->config->fixed = arena_alloc(r.arena, 256 * sizeof(char *));
    s->plan.log_level = s->config->state_directory = "";
    TRY(read_text(fd, &text, why));
    snprintf(version, sizeof version, "ferrule-handover %d", HANDOVER_VERSION);
    char *rest = text, *line = strsep(&rest, "\n");
    if (strcmp(line, version) != 0) {
        free(text);
        return why_fail(why, ERR_VERSION,
                        "the running ferrule hands over in another form than this one takes: stop "
                        "and start instead");
    }
    while ((line = strsep(&rest, "\n")) && !r.bad)
        if (*line)
            take_line(&r, line);
    free(text);
    if (r.bad || !s->config->workers || s->lock_fd == -1)
        return why_fail(why, ERR_FORMAT, "what the running ferrule left is malformed");
    return result_ok();
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static void keep_one(int fd, bool keep)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void handover_keep(const struct supervisor *s, int fd, bool keep)
{
    keep_one(fd, keep);
    keep_one(s->lock_fd, keep);
    keep_one(s->report_fd, keep);
    keep_one(s->exe_fd, keep);
    for (int i = 0; i < CHILD_COUNT; i++)
        keep_one(s->children[i].fd, keep);
    for (uint32_t i = 0; i < s->old_count; i++)
        keep_one(s->old[i].fd, keep);
    for (uint32_t i = 0; i < s->listeners.count; i++)
        for (uint32_t k = 0; k < s->listeners.groups[i].count; k++)
            keep_one(s->listeners.groups[i].fds[k], keep);
}
