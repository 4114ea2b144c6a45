/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "control/control_impl.h"
#include "control/crash_point.h"
#include "control/snapshot_build.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef FERRULE_VERSION
#define FERRULE_VERSION "0"
#endif

#define SELF                   "/proc/self/exe"
#define LARGE_BYTES            (256 << 10) /* memory that the kernel gives and gets back by itself */
#define HOUSEKEEPING_S         600         /* at the latest; the wall clock may be set meanwhile */
#define SUPERVISOR_MESSAGE_MAX 4096
#define TELL_NS                (10 * NS_PER_MS) /* of telling names in one turn */

/* ---- the bridge -------------------------------------------------------------------------------
 */

static void send_messages(void *arg, struct span messages)
{
    struct control *c = arg;
    bridge_link_send(&c->link, messages);
}

/* Files are their owner's to replace. */
static void take_revoked(void *arg, const struct publish_candidate *cert)
{
    struct control *c = arg;
    if (cert->source == PUBLISH_SOURCE_ACME)
        scheduler_revoked(c->scheduler, cert->origin, (const char *const *)cert->leaf.names,
                          cert->leaf.name_count, cert->leaf.not_before_s);
}

static void bridge_fenced(void *arg, uint64_t number)
{
    struct control *c = arg;
    challenges_fenced(c->challenges, number);
}

void control_send_and_wipe(struct control *c, struct buf *out)
{
    bridge_link_send(&c->link, buf_span(out));
    buf_wipe_free(out);
}

void control_plan_housekeeping(struct control *c)
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
    if (sweep_run(c, now_s))
        publish_state_update(c->certificates, now_s, &out);
    control_send_and_wipe(c, &out);
    reload_collect(c);
    control_plan_housekeeping(c);
}

static void publish_changes(void *arg)
{
    struct control *c = arg;
    struct buf out = {0};
    publish_state_update(c->certificates, clock_wall_s(), &out);
    control_send_and_wipe(c, &out);
    control_plan_housekeeping(c);
}

static void take_ready(void *arg, struct publish_candidate *cert)
{
    certificates_release(arg, cert);
    publish_changes(arg);
}

static void on_new_certificate(void *arg, const struct store_cert *cert)
{
    struct control *c = arg;
    struct why why;
    if (!result_is_ok(certificates_put_acme(c, cert, &why))) {
        log_error("the new certificate of %s cannot be used: %s", cert->main, why.text);
        return;
    }
    publish_changes(c);
}

static struct result put_imported(void *arg, const struct store_cert *cert, struct why *why)
{
    TRY(certificates_put_acme(arg, cert, why));
    publish_changes(arg);
    return result_ok();
}

static void task_done(void *arg, uint64_t task, json_t *answer)
{
    struct control *c = arg;
    admin_task_done(c->admin, task, answer);
}

static void on_store_opened(void *arg, struct store *store)
{
    certificates_load_store(arg, store);
    publish_changes(arg);
    control_tell_new_names(arg);
}

static void bridge_wanted(void *arg, struct span name)
{
    struct control *c = arg;
    struct buf out = {0};
    cold_names_answer(c->cold, name, &out);
    control_send_and_wipe(c, &out);
}

static void answer_name(void *arg, const char *name)
{
    bridge_wanted(arg, span_str(name));
}

/* As many as the link takes and one turn of the loop has time for: the rest when it has room, or in
 * the next turn. */
static void tell_names(void *arg)
{
    struct control *c = arg;
    struct buf out = {0};
    bool more = c->telling;
    uint64_t until_ns = clock_now_ns() + TELL_NS;
    while (more && bridge_link_is_open(&c->link) && !bridge_link_is_crowded(&c->link)) {
        if (clock_now_ns() >= until_ns) {
            loop_timer_set(c->loop, &c->tell_on, clock_now_ns());
            return;
        }
        more = cold_names_step(c->cold, &out);
        control_send_and_wipe(c, &out);
    }
    if (more || !c->telling || !bridge_link_is_open(&c->link))
        return;
    c->telling = false;
    if (c->telling_all) {
        publish_sync_end(&out);
        challenges_sync_end(c->challenges, &out);
        control_send_and_wipe(c, &out);
    }
    c->telling_all = false;
}

static void tell_on(struct loop_timer *t)
{
    tell_names(LIST_ENTRY(t, struct control, tell_on));
}

static void begin_to_tell(struct control *c)
{
    cold_names_begin(c->cold);
    c->telling = true;
    tell_names(c);
}

void control_tell_new_names(struct control *c)
{
    if (cold_names_is_untold(c->cold) && bridge_link_is_open(&c->link))
        begin_to_tell(c);
}

void control_sync(struct control *c)
{
    struct buf out = {0};
    publish_sync_begin(&out);
    publish_ticket_keys(&out, &c->tickets.keys);
    challenges_sync(c->challenges, &out);
    publish_state_sync(c->certificates, clock_wall_s(), &out);
    publish_snapshot(&out, c->now->snapshot);
    upstreams_sync(c->now->upstreams, &out);
    log_debug("full sync with the data process: %zu bytes", out.len);
    control_send_and_wipe(c, &out);
    c->stores_gone = false;
    c->telling_all = true;
    begin_to_tell(c);
    control_plan_housekeeping(c);
}

static void sync_data(struct control *c, int fd)
{
    bridge_link_open(&c->link, fd);
    control_sync(c);
}

/* ---- the supervisor ---------------------------------------------------------------------------
 */

bool control_tell_supervisor(struct control *c, struct span message)
{
    if (c->supervisor.fd >= 0 &&
        send(c->supervisor.fd, message.ptr, message.len, MSG_NOSIGNAL) >= 0)
        return true;
    log_warn("the supervisor does not hear: %m");
    return false;
}

static void ask_to_stop(void *arg)
{
    control_tell_supervisor(arg, SPAN_LITERAL("S"));
}

static void ask_to_upgrade(void *arg)
{
    control_tell_supervisor(arg, SPAN_LITERAL("U"));
}

static uint64_t ask_to_reload(void *arg)
{
    return reload_request(arg, "asked through the admin socket");
}

static void visit(void *arg, const char *name)
{
    certificates_visit(arg, name);
}

static void leave(void *arg)
{
    certificates_leave(arg);
}

static uint64_t count_cold(void *arg)
{
    const struct control *c = arg;
    return cold_names_count(c->cold);
}

static ssize_t receive(int fd, char message[SUPERVISOR_MESSAGE_MAX], int *ret_fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {message, SUPERVISOR_MESSAGE_MAX};
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

static void take_upgrades(struct control *c, struct span message)
{
    struct reader in = reader_of(message);
    free(c->upgrades.error);
    c->upgrades.generation = reader_u32(&in);
    c->upgrades.attempts = reader_u32(&in);
    c->upgrades.error = mem_strndup(in.ptr, in.bad ? 0 : in.left);
}

static void supervisor_said(struct control *c, struct span message, int fd)
{
    switch (message.ptr[0]) {
    case 'P':
        if (fd != -1)
            sync_data(c, fd);
        return;
    case 'T':
        loop_stop(c->loop);
        break;
    case 'H':
        reload_request(c, "SIGHUP");
        break;
    case 'C':
        cert_admin_enter(c->cert_admin);
        break;
    case 'U':
        take_upgrades(c, span_skip(message, 1));
        break;
    case 'E':
        if (message.len > 1)
            reload_answered(c, message.ptr[1] == 1, span_skip(message, 2));
        break;
    default:
        log_warn("the supervisor said something unknown: '%c'", message.ptr[0]);
    }
    if (fd != -1)
        close(fd);
}

static void hear_supervisor(struct loop_fd *w, uint32_t events)
{
    struct control *c = LIST_ENTRY(w, struct control, supervisor);
    char message[SUPERVISOR_MESSAGE_MAX];
    int fd;
    ssize_t n = receive(w->fd, message, &fd);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        loop_stop(c->loop);
    else
        supervisor_said(c, span_of(message, (size_t)n), fd);
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

void control_log_problems(const struct config_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        struct buf text = {0};
        config_problem_print(&problems->items[i], &text);
        log_line(problems->items[i].warning ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "%s",
                 buf_cstr(&text));
        buf_free(&text);
    }
}

static struct result load_config(struct control *c, struct config **ret)
{
    struct config_problems problems = {0};
    struct result r =
        config_reload(c->args->file, c->args->flags, c->args->flag_count, c->args->fixed,
                      c->args->fixed_count, NULL, &c->reload.known, ret, &problems);
    control_log_problems(&problems);
    config_problems_free(&problems);
    return r;
}

/* Grows over restarts too, so that data never takes an old one for a newer. */
static uint64_t next_version(const struct control *c)
{
    uint64_t version = (uint64_t)clock_wall_s() * NS_PER_S;
    const struct snapshot *last = c->now ? c->now->snapshot : NULL;
    return last && last->version >= version ? last->version + 1 : version;
}

/* Workers reach control's own server by a name that nobody else knows. */
static void scrape_name(struct control *c, struct generation *g)
{
    struct why why;
    for (uint32_t i = 0; i < g->config->service_count; i++) {
        if (g->config->services[i].internal != CONFIG_INTERNAL_METRICS)
            continue;
        struct snap_server *server = &g->snapshot->servers[g->snapshot->services[i].first_server];
        if (!c->scrape && !result_is_ok(scrape_open(c->loop, &c->view, &c->scrape, &why)))
            log_error("nobody can read the metrics: %s", why.text);
        else
            scrape_serve(c->scrape, server);
    }
}

struct generation *control_generation_create(struct control *c, struct config *config)
{
    struct generation *g = mem_zalloc(sizeof *g);
    list_init(&g->node);
    g->config = config;
    resolver_set_open(c->loop, config, c->host, &c->stores, on_store_opened, c, &g->resolvers);
    g->snapshot = snapshot_build(config, next_version(c));
    scrape_name(c, g);
    g->upstreams = upstreams_create(c->loop, config, g->snapshot, send_messages, c);
    return g;
}

void control_generation_destroy(struct generation *g)
{
    upstreams_destroy(g->upstreams);
    resolver_set_close(&g->resolvers);
    snapshot_build_free(g->snapshot);
    config_free(g->config);
    free(g);
}

void control_forget_known(struct control *c)
{
    pair_index_close(c->reload.known.index);
    buf_free(&c->reload.known_bytes);
    c->reload.known = (struct config_known){.made_by = FERRULE_VERSION};
}

static void encode_known(void *arg, struct buf *out)
{
    struct control *c = arg;
    cert_files_known(c->cert_files, FERRULE_VERSION, out);
}

static void known_changed(void *arg)
{
    struct control *c = arg;
    cert_index_changed(c->cert_index);
}

/* There are copies then. Much of what reading them took is free and lies between what is kept. */
void control_use_files(struct control *c, struct config *config)
{
    const struct config_known *known = &c->reload.known;
    cert_files_set(c->cert_files, config, c->reload.began_ns);
    config_forget_certificates(config);
    uint32_t cold = cert_files_cold(c->cert_files);
    if (known->why.text[0])
        log_warn("%s/" CONFIG_INDEX_FILE " is not used: %s; all pairs of files were read",
                 config->state_directory, known->why.text);
    if (cold)
        log_info("%u pairs of files are read when clients ask for them (cache.files is %u); the "
                 "index had %u of them, %u were read now",
                 cold, config->files_keep, known->used, cold - known->used);
    if (cold && (known->used != cold || !known->index || pair_index_count(known->index) != cold))
        cert_index_write(c->cert_index);
    control_forget_known(c);
    malloc_trim(0);
}

static struct result open_all(struct control *c, struct config *config, struct why *why)
{
    int64_t now_s = clock_wall_s();
    TRY(state_open(config->state_directory, &c->state, why));
    state_use_loop(c->state, c->loop);
    crash_point_init(config->state_directory);
    c->ledger = ledger_create(c->state);
    ticket_store_open(&c->tickets, c->state, now_s);
    TRY(provider_host_create(c->loop, SELF, config->plugin_directories,
                             config->plugin_directory_count, &c->host, why));
    c->now = control_generation_create(c, config);
    c->challenges = challenges_create(send_messages, c);
    order_answer_restore(c->challenges, &c->now->resolvers, c->state);
    struct scheduler_options options = {.loop = c->loop,
                                        .config = config,
                                        .resolvers = &c->now->resolvers,
                                        .state = c->state,
                                        .ledger = c->ledger,
                                        .challenges = c->challenges,
                                        .publish = on_new_certificate,
                                        .arg = c};
    c->scheduler = scheduler_create(&options);
    c->certificates = publish_state_create(config->tls_prefer_acme);
    c->cold = cold_names_create(c->certificates, certificates_join, c);
    struct staples_options staples = {.loop = c->loop,
                                      .state = c->state,
                                      .certificates = c->certificates,
                                      .config = config,
                                      .send = send_messages,
                                      .ready = take_ready,
                                      .revoked = take_revoked,
                                      .arg = c};
    TRY(staples_create(&staples, &c->staples, why));
    TRY(certificates_load_default(c, why));
    struct cert_admin_options admin = {.loop = c->loop,
                                       .state = c->state,
                                       .scheduler = c->scheduler,
                                       .certificates = c->certificates,
                                       .put = put_imported,
                                       .done = task_done,
                                       .arg = c};
    c->cert_admin = cert_admin_create(&admin);
    cert_admin_use(c->cert_admin, &c->now->resolvers);
    struct cert_files_options files = {.loop = c->loop,
                                       .certificates = c->certificates,
                                       .patience_ms = CERT_FILES_PATIENCE_MS,
                                       .retry_ms = CERT_FILES_RETRY_MS,
                                       .changed = publish_changes,
                                       .answer = answer_name,
                                       .known_changed = known_changed,
                                       .arg = c};
    c->cert_files = cert_files_create(&files);
    struct cert_index_options index = {.loop = c->loop,
                                       .directory = config->state_directory,
                                       .bytes_max = PAIR_INDEX_BYTES_MAX,
                                       .encode = encode_known,
                                       .arg = c};
    c->cert_index = cert_index_create(&index);
    control_use_files(c, config);
    certificates_load_stores(c, NULL);
    (void)sweep_run(c, now_s); /* data is told of everything later */
    if (c->args->report_fd >= 0)
        TRY(report_map(c->args->report_fd, &c->report, why));
    return result_ok();
}

static void open_admin(struct control *c)
{
    struct why why;
    const struct config *config = c->now->config;
    c->reload.last.good_count = 1;
    c->reload.last.good_s = clock_wall_s();
    c->view = (struct admin_view){.version = FERRULE_VERSION,
                                  .snapshot = c->now->snapshot,
                                  .config = config,
                                  .scheduler = c->scheduler,
                                  .certificates = c->certificates,
                                  .cert_admin = c->cert_admin,
                                  .upstreams = c->now->upstreams,
                                  .report = c->report,
                                  .turns = loop_turns(c->loop),
                                  .last_reload = &c->reload.last,
                                  .started_s = clock_wall_s(),
                                  .stop = ask_to_stop,
                                  .upgrades = &c->upgrades,
                                  .upgrade = ask_to_upgrade,
                                  .reload = ask_to_reload,
                                  .visit = visit,
                                  .leave = leave,
                                  .cold = count_cold,
                                  .arg = c};
    if (!result_is_ok(admin_open(c->loop, config->admin_socket, &c->view, &c->admin, &why)))
        log_error("no admin socket: %s", why.text);
}

static void close_all(struct control *c)
{
    loop_quiet(c->loop);
    admin_close(c->admin);
    cert_admin_destroy(c->cert_admin);
    scrape_close(c->scrape);
    free(c->upgrades.error);
    if (c->host)
        provider_host_destroy(c->host); /* before the orders that wait for it */
    scheduler_destroy(c->scheduler);
    challenges_destroy(c->challenges);
    reload_fini(c);
    if (c->now)
        control_generation_destroy(c->now);
    store_pool_fini(&c->stores);
    bridge_link_close(&c->link);
    loop_timer_cancel(c->loop, &c->housekeeping);
    loop_timer_cancel(c->loop, &c->tell_on);
    cert_index_destroy(c->cert_index);
    cert_files_destroy(c->cert_files);
    staples_destroy(c->staples);
    cold_names_destroy(c->cold);
    buf_free(&c->sweep_at.last);
    publish_state_destroy(c->certificates);
    ticket_store_close(&c->tickets);
    ledger_destroy(c->ledger);
    if (c->state)
        state_close(c->state);
    if (c->report)
        report_unmap(c->report);
}

static struct result run(struct control *c)
{
    open_admin(c);
    scheduler_start(c->scheduler);
    upstreams_start(c->now->upstreams);
    control_plan_housekeeping(c);
    reload_watch(c, c->reload.began_ns);
    if (c->supervisor.fd >= 0) {
        loop_watch(c->loop, &c->supervisor, EPOLLIN);
        reload_start(c);
        control_tell_supervisor(c, SPAN_LITERAL("R"));
    }
    return loop_run(c->loop);
}

int control_run(const struct control_config *args)
{
    struct control c = {.args = args,
                        .supervisor = {.fd = args->supervisor_fd, .ready = hear_supervisor}};
    struct why why = {{0}};
    log_init("control", LOG_LEVEL_INFO);
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    c.reload.began_ns = clock_file_ns();
    control_forget_known(&c);
    /* A terminal's Ctrl-C and a service manager's signal reach every process; the supervisor says
     * when to end. */
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        must(sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    struct config *config = NULL;
    if (!result_is_ok(load_config(&c, &config)))
        return 1;
    log_init("control", log_level_parse(config->log_level));
    pin(config);
    struct result r = loop_create(&c.loop, &why);
    must(result_is_ok(r));
    struct bridge_events events = {
        .fenced = bridge_fenced, .wanted = bridge_wanted, .room = tell_names, .arg = &c};
    bridge_link_init(&c.link, c.loop, &events);
    loop_timer_init(&c.housekeeping, keep_house);
    loop_timer_init(&c.tell_on, tell_on);
    list_init(&c.retired);
    r = open_all(&c, config, &why);
    if (!result_is_ok(r))
        log_error("%s", why.text);
    else
        r = run(&c);
    close_all(&c);
    loop_destroy(c.loop);
    return result_is_ok(r) ? 0 : 1;
}
