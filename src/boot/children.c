/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's children: started, told, joined to one another, started again. */
#include "base/clock.h"
#include "base/log.h"
#include "boot/child.h"
#include "boot/cmdline.h"
#include "boot/supervisor_impl.h"
#include "boot/upgrade.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTART_FIRST_NS (100 * NS_PER_MS)
#define RESTART_MAX_NS   (5 * NS_PER_S)
#define RESTART_CALM_NS  (10 * NS_PER_S) /* a child that ran this long starts the back-off anew */
#define TELL_MS          2000            /* how long a child may take to make room for a message */
#define FDS_MAX          64              /* in one message; the kernel takes up to 253 */

static const char *const child_names[CHILD_COUNT] = {"data", "control"};

const char *children_name(enum child_kind kind)
{
    return child_names[kind];
}

/* ---- telling -------------------------------------------------------------------------------- */

static bool send_message(int to, struct msghdr *msg)
{
    for (;;) {
        if (sendmsg(to, msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return true;
        struct pollfd p = {.fd = to, .events = POLLOUT};
        if (errno != EAGAIN && errno != EINTR)
            return false;
        if (errno == EAGAIN && poll(&p, 1, TELL_MS) == 0) {
            errno = ETIMEDOUT;
            return false;
        }
    }
}

bool children_tell(const struct child *c, struct span message, const int *fds, uint32_t fd_count)
{
    if (c->fd == -1)
        return false;
    struct iovec iov = {(void *)message.ptr, message.len};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
    }
    if (send_message(c->fd, &msg))
        return true;
    if (errno != EPIPE && errno != ECONNRESET)
        log_warn("cannot tell the child process %d '%c': %s", (int)c->pid, message.ptr[0],
                 strerror(errno));
    return false;
}

bool children_tell_byte(const struct child *c, char what)
{
    return children_tell(c, span_of(&what, 1), NULL, 0);
}

/* Sockets `from` up to `to` of a group; see data/data.h for the form. */
static bool tell_sockets(struct supervisor *s, const struct listener_group *g, uint32_t from,
                         uint32_t to)
{
    struct buf out = {0};
    buf_put_str(&out, "L");
    buf_put_be(&out, g->id, 4);
    buf_put_be(&out, to - from, 4);
    for (uint32_t i = from; i < to; i++)
        buf_put_be(&out, listeners_worker(g, i, s->config->workers), 4);
    buf_put_str(&out, g->entrypoint);
    bool ok = children_tell(&s->children[CHILD_DATA], buf_span(&out), g->fds + from, to - from);
    buf_free(&out);
    return ok;
}

bool children_tell_listeners(struct supervisor *s)
{
    for (uint32_t i = 0; i < s->listeners.count; i++) {
        struct listener_group *g = &s->listeners.groups[i];
        while (g->known < g->count) {
            uint32_t to = g->count - g->known > FDS_MAX ? g->known + FDS_MAX : g->count;
            if (s->children[CHILD_DATA].fd != -1 && !tell_sockets(s, g, g->known, to))
                return false;
            g->known = to; /* no data process: the next one gets them at its start */
        }
    }
    return true;
}

void children_forget_group(void *arg, const struct listener_group *group)
{
    struct supervisor *s = arg;
    struct buf out = {0};
    log_info("entry point \"%s\" does not listen on %s any more", group->entrypoint,
             group->address);
    buf_put_str(&out, "D");
    buf_put_be(&out, group->id, 4);
    children_tell(&s->children[CHILD_DATA], buf_span(&out), NULL, 0);
    buf_free(&out);
}

/* ---- starting ------------------------------------------------------------------------------- */

/* Gives both children a fresh pair of connected sockets. */
static void join(struct supervisor *s)
{
    int pair[2];
    if (s->children[CHILD_DATA].fd == -1 || s->children[CHILD_CONTROL].fd == -1)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == -1) {
        log_error("cannot join data and control: socketpair: %s", strerror(errno));
        return;
    }
    children_tell(&s->children[CHILD_DATA], SPAN_LITERAL("P"), &pair[0], 1);
    children_tell(&s->children[CHILD_CONTROL], SPAN_LITERAL("P"), &pair[1], 1);
    close(pair[0]);
    close(pair[1]);
}

/* What the data process inherits, ended by -1. */
static int *data_fds(struct supervisor *s, int channel)
{
    uint32_t count = 3, n = 0;
    for (uint32_t i = 0; i < s->listeners.count; i++)
        count += s->listeners.groups[i].count;
    int *fds = mem_zalloc(count * sizeof *fds);
    fds[n++] = channel;
    fds[n++] = s->report_fd;
    for (uint32_t i = 0; i < s->listeners.count; i++) {
        struct listener_group *g = &s->listeners.groups[i];
        for (uint32_t k = 0; k < g->count; k++)
            fds[n++] = g->fds[k];
        g->known = g->count;
    }
    fds[n] = -1;
    return fds;
}

/* argv and descriptors of a child; see boot/cmdline.h for their form. */
static struct result spawn(struct supervisor *s, enum child_kind kind, int channel, pid_t *ret_pid,
                           struct why *why)
{
    bool is_data = kind == CHILD_DATA;
    struct cmdline_child args = {.parent = getpid(),
                                 .supervisor_fd = channel,
                                 .report_fd = s->report_fd,
                                 .config = s->config,
                                 .plan = &s->plan,
                                 .listeners = is_data ? &s->listeners : NULL,
                                 .args = &s->args};
    int control_fds[] = {channel, s->report_fd, -1};
    char **argv = cmdline_child_argv(is_data ? "data-run" : "control-run", &args);
    int *fds = is_data ? data_fds(s, channel) : NULL;
    struct result r = child_spawn(argv, is_data ? fds : control_fds, is_data, ret_pid, why);
    free(fds);
    cmdline_child_free(argv);
    return r;
}

struct result children_start(struct supervisor *s, enum child_kind kind, struct why *why)
{
    struct child *c = &s->children[kind];
    int pair[2];
    c->restart_at_ns = UINT64_MAX;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
        return why_fail_sys(why, ERR_SYSTEM, errno, "socketpair");
    struct result r = spawn(s, kind, pair[1], &c->pid, why);
    close(pair[1]);
    if (!result_is_ok(r)) {
        close(pair[0]);
        return r;
    }
    c->fd = pair[0];
    c->started_ns = s->now_ns;
    join(s);
    return result_ok();
}

/* ---- ending --------------------------------------------------------------------------------- */

static void describe_end(int status, char text[64])
{
    if (WIFSIGNALED(status))
        snprintf(text, 64, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, 64, "ended with exit code %d", WEXITSTATUS(status));
}

void children_ended(struct supervisor *s, enum child_kind kind, int status)
{
    struct child *c = &s->children[kind];
    char how[64];
    describe_end(status, how);
    c->pid = 0;
    if (c->fd != -1)
        close(c->fd);
    c->fd = -1;
    if (s->stopping) {
        if (status != 0)
            log_warn("the %s process %s while stopping", child_names[kind], how);
        if (status != 0 && s->now_ns < s->kill_at_ns)
            s->exit_code = 1;
        return;
    }
    if (s->upgrade.phase == UPGRADE_PHASE_HANDOVER && s->upgrade.back_exe_fd != -1 &&
        !(kind == CHILD_CONTROL && c->was_ready)) {
        upgrade_child_failed(s, child_names[kind], how);
        return;
    }
    if (WIFEXITED(status) && !c->was_ready &&
        s->upgrade.phase != UPGRADE_PHASE_HANDOVER) { /* it said why; trying again would not help */
        log_error("the %s process %s before it was ready: stopping", child_names[kind], how);
        s->exit_code = 1;
        supervisor_stop(s);
        return;
    }
    bool calm = s->now_ns - c->started_ns >= RESTART_CALM_NS;
    uint64_t wait = calm ? 0 : c->backoff_ns;
    c->backoff_ns = calm || !wait ? RESTART_FIRST_NS : wait * 2;
    if (c->backoff_ns > RESTART_MAX_NS)
        c->backoff_ns = RESTART_MAX_NS;
    c->restart_at_ns = s->now_ns + wait;
    log_error("the %s process %s: starting it again in %llu ms", child_names[kind], how,
              (unsigned long long)(wait / NS_PER_MS));
}
