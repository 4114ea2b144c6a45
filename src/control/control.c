/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "control/admin.h"
#include "control/bridge_link.h"
#include "control/cert_files.h"
#include "control/crash_point.h"
#include "control/snapshot_build.h"
#include "control/ticket_store.h"
#include "control/upstreams.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef FERRULE_VERSION
#define FERRULE_VERSION "0"
#endif

#define SELF            "/proc/self/exe"
#define DEFAULT_KEY     "default"                 /* in STATE_KEYS */
#define DEFAULT_NAME    "ferrule-default.invalid" /* RFC 2606: nobody's */
#define DEFAULT_DAYS    3650
#define DEFAULT_SPARE_S (30 * 86400)
#define HOUSEKEEPING_S  600 /* at the latest; the wall clock may be set meanwhile */

/* All of the control process. */
struct control {
    const struct control_config *args;
    struct config *config;
    struct loop *loop;
    struct loop_fd supervisor;
    struct report *report;
    struct state *state;
    struct ledger *ledger;
    struct provider_host *host;
    struct resolver_set resolvers;
    struct scheduler *scheduler;
    struct publish_state *certificates;
    struct cert_files *cert_files;
    int64_t config_read_ns; /* wall clock when it began to be read */
    struct ticket_store tickets;
    struct snapshot *snapshot;
    struct upstreams *upstreams;
    struct bridge_link link;
    struct admin_view view;
    struct admin *admin;
    struct loop_timer housekeeping;
};

/* ---- certificates -----------------------------------------------------------------------------
 */

/* A slot is what a renewal replaces: the resolver and its set of names. */
static char *slot_of(const struct store_cert *cert)
{
    char id[ORDER_ID_LEN + 1];
    const char **names = mem_alloc((cert->san_count + 1) * sizeof *names);
    names[0] = cert->main;
    for (uint32_t i = 0; i < cert->san_count; i++)
        names[i + 1] = cert->sans[i];
    order_id_make(cert->resolver, "", names, cert->san_count + 1, id);
    free(names);
    return mem_printf("acme:%s", id);
}

static struct result put_acme(struct control *c, const struct store_cert *cert, struct why *why)
{
    struct buf chain = {0}, der = {0};
    struct x509 leaf = {0};
    struct key *key = NULL;
    const struct publish_candidate *added = NULL;
    char *slot = slot_of(cert);
    struct result r = x509_chain_from_pem(buf_span(&cert->chain_pem), &chain, &leaf, why);
    if (result_is_ok(r))
        r = key_from_pem(buf_span(&cert->key_pem), &key, why);
    if (result_is_ok(r))
        r = x509_check_key(&leaf, key, why);
    if (result_is_ok(r))
        r = key_to_der(key, &der);
    if (result_is_ok(r))
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_ACME, cert->resolver, slot,
                              buf_span(&chain), buf_span(&der), &added, why);
    if (result_is_ok(r))
        scheduler_know(c->scheduler, cert, added->leaf.not_before_s, added->leaf.not_after_s,
                       added->id);
    free(slot);
    key_free(key);
    x509_free(&leaf);
    buf_free(&chain);
    buf_wipe_free(&der);
    return r;
}

static void load_store(struct control *c, struct store *store)
{
    for (uint32_t k = 0; k < store_cert_count(store); k++) {
        const struct store_cert *cert = store_cert_at(store, k);
        struct why why;
        if (!result_is_ok(put_acme(c, cert, &why)))
            log_warn("the stored certificate of %s (%s) cannot be used: %s", cert->main,
                     cert->resolver, why.text);
    }
}

/* The self-signed certificate is kept, so that a restart of control changes nothing for clients.
 * Stored as chain length (4 bytes), chain, key. */
static bool use_stored_default(struct control *c)
{
    struct buf stored = {0};
    const struct publish_candidate *added = NULL;
    struct why why;
    bool good = false;
    if (result_is_ok(state_get(c->state, STATE_KEYS, SPAN_LITERAL(DEFAULT_KEY), &stored))) {
        struct reader r = reader_of(buf_span(&stored));
        struct span chain = reader_bytes(&r, reader_u32(&r));
        struct span key = span_of(r.ptr, r.left);
        good =
            !r.bad &&
            result_is_ok(publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, "self-signed",
                                           "default", chain, key, &added, &why)) &&
            added->leaf.not_after_s > clock_wall_s() + DEFAULT_SPARE_S;
    }
    buf_wipe_free(&stored);
    return good;
}

static struct result make_default(struct control *c, struct why *why)
{
    static const char *const names[] = {DEFAULT_NAME};
    const struct publish_candidate *added;
    struct key *key = NULL;
    struct buf cert = {0}, der = {0}, chain = {0}, stored = {0};
    TRY(key_generate(KEY_EC256, &key, why));
    struct result r = x509_self_signed(key, names, 1, DEFAULT_DAYS, &cert, why);
    if (result_is_ok(r))
        r = key_to_der(key, &der);
    if (result_is_ok(r)) {
        buf_put_be(&chain, cert.len, 3);
        buf_put_span(&chain, buf_span(&cert));
        buf_put_be(&stored, chain.len, 4);
        buf_put_span(&stored, buf_span(&chain));
        buf_put_span(&stored, buf_span(&der));
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, "self-signed", "default",
                              buf_span(&chain), buf_span(&der), &added, why);
        struct why ignored;
        if (!result_is_ok(state_put(c->state, STATE_KEYS, SPAN_LITERAL(DEFAULT_KEY),
                                    buf_span(&stored), &ignored)))
            log_warn("the default certificate cannot be stored: %s", ignored.text);
    }
    key_free(key);
    buf_free(&cert);
    buf_wipe_free(&der);
    buf_free(&chain);
    buf_wipe_free(&stored);
    return r;
}

/* For names without a certificate, unless the configuration brings one for them. */
static struct result load_default(struct control *c, struct why *why)
{
    if (c->config->default_certificate || use_stored_default(c))
        return result_ok();
    return make_default(c, why);
}

/* ---- the bridge -------------------------------------------------------------------------------
 */

static void send_messages(void *arg, struct span messages)
{
    struct control *c = arg;
    bridge_link_send(&c->link, messages);
}

static void send_and_wipe(struct control *c, struct buf *out)
{
    bridge_link_send(&c->link, buf_span(out));
    buf_wipe_free(out);
}

static void plan_housekeeping(struct control *c)
{
    int64_t now_s = clock_wall_s(), next_s = now_s + HOUSEKEEPING_S;
    int64_t change_s = publish_state_change_s(c->certificates);
    int64_t rotate_s = ticket_store_due_s(&c->tickets);
    if (change_s && change_s < next_s)
        next_s = change_s;
    if (rotate_s < next_s)
        next_s = rotate_s;
    uint64_t wait_s = next_s > now_s ? (uint64_t)(next_s - now_s) : 1;
    loop_timer_set(c->loop, &c->housekeeping, clock_now_ns() + wait_s * NS_PER_S);
}

/* Time alone changes which certificate is best and which ticket key seals. */
static void keep_house(struct loop_timer *t)
{
    struct control *c = LIST_ENTRY(t, struct control, housekeeping);
    struct buf out = {0};
    int64_t now_s = clock_wall_s();
    int64_t change_s = publish_state_change_s(c->certificates);
    if (change_s && change_s <= now_s)
        publish_state_reorder(c->certificates, now_s, &out);
    if (ticket_store_rotate(&c->tickets, now_s))
        publish_ticket_keys(&out, &c->tickets.keys);
    send_and_wipe(c, &out);
    plan_housekeeping(c);
}

static void publish_changes(void *arg)
{
    struct control *c = arg;
    struct buf out = {0};
    publish_state_update(c->certificates, clock_wall_s(), &out);
    send_and_wipe(c, &out);
    plan_housekeeping(c);
}

static void on_new_certificate(void *arg, const struct store_cert *cert)
{
    struct control *c = arg;
    struct why why;
    if (!result_is_ok(put_acme(c, cert, &why))) {
        log_error("the new certificate of %s cannot be used: %s", cert->main, why.text);
        return;
    }
    publish_changes(c);
}

static void on_store_opened(void *arg, struct store *store)
{
    struct control *c = arg;
    struct buf out = {0};
    load_store(c, store);
    publish_state_update(c->certificates, clock_wall_s(), &out);
    send_and_wipe(c, &out);
    plan_housekeeping(c);
}

static void sync_data(struct control *c, int fd)
{
    struct buf out = {0};
    bridge_link_open(&c->link, fd);
    publish_sync_begin(&out);
    publish_ticket_keys(&out, &c->tickets.keys);
    publish_state_sync(c->certificates, clock_wall_s(), &out);
    publish_snapshot(&out, c->snapshot);
    upstreams_sync(c->upstreams, &out);
    publish_sync_end(&out);
    log_debug("full sync with the data process: %zu bytes", out.len);
    send_and_wipe(c, &out);
    plan_housekeeping(c);
}

/* ---- the supervisor ---------------------------------------------------------------------------
 */

static void tell_supervisor(struct control *c, char what)
{
    if (send(c->supervisor.fd, &what, 1, MSG_NOSIGNAL) == -1)
        log_warn("the supervisor does not hear: %m");
}

static void ask_to_stop(void *arg)
{
    tell_supervisor(arg, 'S');
}

static ssize_t receive(int fd, char *ret_what, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {ret_what, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.room,
                         .msg_controllen = sizeof control.room};
    *ret_fd = -1;
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
        h->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(h), sizeof *ret_fd);
    return n;
}

static void hear_supervisor(struct loop_fd *w, uint32_t events)
{
    struct control *c = LIST_ENTRY(w, struct control, supervisor);
    char what = 0;
    int fd;
    ssize_t n = receive(w->fd, &what, &fd);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || what == 'T') {
        loop_stop(c->loop);
        return;
    }
    if (what == 'P' && fd != -1)
        sync_data(c, fd);
    else if (fd != -1)
        close(fd);
}

/* ---- start and end ----------------------------------------------------------------------------
 */

static void pin(const struct config *config)
{
    cpu_set_t set;
    if (config->control_cpu == UINT32_MAX)
        return;
    CPU_ZERO(&set);
    CPU_SET(config->control_cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == -1)
        log_warn("[control] cpu: cannot run on CPU %u: %m", config->control_cpu);
}

static struct result load_config(struct control *c)
{
    struct config_problems problems = {0};
    c->config_read_ns = clock_wall_ns();
    struct result r = config_load(c->args->file, c->args->flags, c->args->flag_count, CONFIG_RUN,
                                  &c->config, &problems);
    for (uint32_t i = 0; i < problems.count; i++) {
        struct buf text = {0};
        config_problem_print(&problems.items[i], &text);
        log_line(problems.items[i].warning ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "%s",
                 buf_cstr(&text));
        buf_free(&text);
    }
    config_problems_free(&problems);
    return r;
}

static struct result open_all(struct control *c, struct why *why)
{
    const struct config *config = c->config;
    int64_t now_s = clock_wall_s();
    TRY(state_open(config->state_directory, &c->state, why));
    crash_point_init(config->state_directory);
    c->ledger = ledger_create(c->state);
    ticket_store_open(&c->tickets, c->state, now_s);
    TRY(provider_host_create(c->loop, SELF, config->plugin_directories,
                             config->plugin_directory_count, &c->host, why));
    resolver_set_open(c->loop, config, c->host, on_store_opened, c, &c->resolvers);
    struct scheduler_options options = {.loop = c->loop,
                                        .config = config,
                                        .resolvers = &c->resolvers,
                                        .state = c->state,
                                        .ledger = c->ledger,
                                        .publish = on_new_certificate,
                                        .arg = c};
    c->scheduler = scheduler_create(&options);
    c->certificates = publish_state_create(config->tls_prefer_acme);
    TRY(load_default(c, why));
    struct cert_files_options files = {.loop = c->loop,
                                       .certificates = c->certificates,
                                       .patience_ms = CERT_FILES_PATIENCE_MS,
                                       .changed = publish_changes,
                                       .arg = c};
    c->cert_files = cert_files_create(&files);
    cert_files_set(c->cert_files, config, c->config_read_ns);
    for (uint32_t i = 0; i < c->resolvers.store_count; i++)
        load_store(c, c->resolvers.stores[i]);
    /* Grows over restarts too, so that data never takes an old one for a newer. */
    c->snapshot = snapshot_build(config, (uint64_t)now_s * NS_PER_S);
    c->upstreams = upstreams_create(c->loop, config, c->snapshot, send_messages, c);
    if (c->args->report_fd >= 0)
        TRY(report_map(c->args->report_fd, &c->report, why));
    return result_ok();
}

static void open_admin(struct control *c)
{
    struct why why;
    c->view = (struct admin_view){.version = FERRULE_VERSION,
                                  .config = c->config,
                                  .scheduler = c->scheduler,
                                  .certificates = c->certificates,
                                  .upstreams = c->upstreams,
                                  .report = c->report,
                                  .started_s = clock_wall_s(),
                                  .stop = ask_to_stop,
                                  .arg = c};
    if (!result_is_ok(admin_open(c->loop, c->config->admin_socket, &c->view, &c->admin, &why)))
        log_error("no admin socket: %s", why.text);
}

static void close_all(struct control *c)
{
    admin_close(c->admin);
    if (c->host)
        provider_host_destroy(c->host); /* before the orders that wait for it */
    scheduler_destroy(c->scheduler);
    upstreams_destroy(c->upstreams);
    resolver_set_close(&c->resolvers);
    bridge_link_close(&c->link);
    loop_timer_cancel(c->loop, &c->housekeeping);
    cert_files_destroy(c->cert_files);
    publish_state_destroy(c->certificates);
    snapshot_build_free(c->snapshot);
    ticket_store_close(&c->tickets);
    ledger_destroy(c->ledger);
    if (c->state)
        state_close(c->state);
    if (c->report)
        report_unmap(c->report);
    config_free(c->config);
}

static struct result run(struct control *c)
{
    open_admin(c);
    scheduler_start(c->scheduler);
    upstreams_start(c->upstreams);
    plan_housekeeping(c);
    if (c->supervisor.fd >= 0) {
        loop_watch(c->loop, &c->supervisor, EPOLLIN);
        tell_supervisor(c, 'R');
    }
    return loop_run(c->loop);
}

int control_run(const struct control_config *args)
{
    struct control c = {.args = args,
                        .supervisor = {.fd = args->supervisor_fd, .ready = hear_supervisor}};
    struct why why = {{0}};
    log_init("control", LOG_LEVEL_INFO);
    /* A terminal's Ctrl-C and a service manager's signal reach every process; the supervisor says
     * when to end. */
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        must(sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    if (!result_is_ok(load_config(&c)))
        return 1;
    log_init("control", log_level_parse(c.config->log_level));
    pin(c.config);
    struct result r = loop_create(&c.loop, &why);
    must(result_is_ok(r));
    bridge_link_init(&c.link, c.loop);
    loop_timer_init(&c.housekeeping, keep_house);
    r = open_all(&c, &why);
    if (!result_is_ok(r))
        log_error("%s", why.text);
    else
        r = run(&c);
    close_all(&c);
    loop_destroy(c.loop);
    return result_is_ok(r) ? 0 : 1;
}
