/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/host.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "base/secret.h"
#include "control/provider/process.h"

#include "ferrule_provider.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_LIMIT_NS    (12 * NS_PER_S) /* the child itself gives up opening after 10 s */
#define DEADLINE_GRACE_NS NS_PER_S /* for a child whose services have just told it the time */
#define IDLE_NS           (60 * NS_PER_S)
#define CLOSE_LIMIT_NS    (2 * NS_PER_S)
#define CRASH_PAUSE_NS    NS_PER_S

enum phase {
    PHASE_IDLE = 0, /* no process */
    PHASE_STARTING, /* HELLO is sent */
    PHASE_READY,    /* open, nothing to do */
    PHASE_BUSY,     /* one call is with the child */
    PHASE_ENDING,   /* closed or killed, not gone yet */
    PHASE_COUNT,
};

static const bool allowed[PHASE_COUNT][PHASE_COUNT] = {
    [PHASE_IDLE] = {[PHASE_STARTING] = true},
    [PHASE_STARTING] = {[PHASE_READY] = true, [PHASE_ENDING] = true, [PHASE_IDLE] = true},
    [PHASE_READY] = {[PHASE_BUSY] = true, [PHASE_ENDING] = true, [PHASE_IDLE] = true},
    [PHASE_BUSY] = {[PHASE_READY] = true, [PHASE_ENDING] = true, [PHASE_IDLE] = true},
    [PHASE_ENDING] = {[PHASE_IDLE] = true},
};

typedef void describe_done(void *arg, const struct provider_info *info,
                           const struct provider_answer *answer);

/* One question to a provider; operation 0 asks for its description. */
struct call {
    struct list node;
    uint64_t id;
    uint8_t operation;
    uint64_t deadline_ns;
    struct buf bytes; /* what the spans of `wire` point into */
    struct wire_call wire;
    provider_done *done;
    describe_done *described;
    void *arg;
};

struct provider {
    struct list node;
    struct provider_host *host;
    char *code, *path;
    struct config_env *env;
    uint32_t env_count;
    enum phase phase;
    struct process process;
    struct loop_timer timer;
    struct list queue;    /* struct call, waiting */
    struct call *running; /* in PHASE_BUSY */
    uint64_t until_ns;    /* of the phase: start limit, idle end, kill after close */
    uint64_t start_at_ns; /* not before, after a crash */
    bool described;
    uint32_t flags; /* enum ferrule_provider_flags */
    struct provider_info info;
};

/* A name that is somebody's from the adding of a value to its removal. */
struct hold {
    struct list node;
    char *code, *fqdn;
    const void *owner;
};

struct provider_host {
    struct loop *loop;
    struct list holds;
    char *executable;
    char **directories;
    uint32_t directory_count;
    struct list providers;
    uint64_t next_id;
};

static void set_phase(struct provider *p, enum phase to)
{
    must(allowed[p->phase][to]);
    p->phase = to;
}

/* Runs provider_turn() from the loop, soon. */
static void kick(struct provider *p)
{
    loop_timer_set(p->host->loop, &p->timer, loop_now_ns(p->host->loop));
}

/* --- answers
 * -------------------------------------------------------------------------------------- */

static void free_call(struct call *c)
{
    buf_wipe_free(&c->bytes);
    free(c);
}

/* Takes the call off its list, tells its owner and frees it. */
static void finish(struct provider *p, struct call *c, const struct provider_answer *answer)
{
    list_remove(&c->node);
    if (p->running == c)
        p->running = NULL;
    if (c->described)
        c->described(c->arg, answer->verdict == PROVIDER_OK ? &p->info : NULL, answer);
    else
        c->done(c->arg, answer);
    free_call(c);
}

static void fail_call(struct provider *p, struct call *c, enum provider_verdict verdict,
                      const char *text)
{
    finish(p, c, &(struct provider_answer){.verdict = verdict, .text = text});
}

/* Fails what waits now; calls that the owners add while they are told wait for the next start. */
static void fail_queue(struct provider *p, enum provider_verdict verdict, uint32_t retry_after_s,
                       const char *text)
{
    struct list waiting;
    list_init(&waiting);
    struct list *node;
    while ((node = list_pop(&p->queue)))
        list_append(&waiting, node);
    struct provider_answer answer = {verdict, retry_after_s, {NULL, 0}, text};
    while ((node = list_pop(&waiting)))
        finish(p, LIST_ENTRY(node, struct call, node), &answer);
}

/* --- order of calls
 * --------------------------------------------------------------------------------- */

/* Whether two calls of one plug-in must not run at the same time, by the plug-in's flags. */
static bool excludes(uint32_t flags, const struct call *a, const struct call *b)
{
    if (flags & FERRULE_SERIALIZE_ALL)
        return true;
    if ((flags & (FERRULE_SERIALIZE_ZONE | FERRULE_WHOLE_ZONE)) &&
        (!a->wire.zone.len || !b->wire.zone.len || span_eq_nocase(a->wire.zone, b->wire.zone)))
        return true;
    return (flags & (FERRULE_SERIALIZE_RRSET | FERRULE_SINGLE_VALUE)) &&
           span_eq_nocase(a->wire.fqdn, b->wire.fqdn);
}

/* Whether a child with other credentials is doing something that c must wait for. */
static bool must_wait(const struct provider *p, const struct call *c)
{
    const struct list *all = &p->host->providers;
    for (struct list *n = all->next; n != all; n = n->next) {
        const struct provider *q = LIST_ENTRY(n, struct provider, node);
        if (q != p && q->running && strcmp(q->code, p->code) == 0 &&
            excludes(p->flags, c, q->running))
            return true;
    }
    return false;
}

/* A call has ended: others of the same plug-in may have waited for it. */
static void kick_all(struct provider *p)
{
    struct list *all = &p->host->providers;
    for (struct list *n = all->next; n != all; n = n->next) {
        struct provider *q = LIST_ENTRY(n, struct provider, node);
        if (strcmp(q->code, p->code) == 0)
            kick(q);
    }
}

/* --- the child
 * ----------------------------------------------------------------------------------------- */

static void end_child(struct provider *p)
{
    process_kill(&p->process);
    set_phase(p, PHASE_ENDING);
    p->until_ns = loop_now_ns(p->host->loop) + CLOSE_LIMIT_NS;
}

/* Adds a variable that is set and not empty. */
static struct result add_variable(struct wire_list *list, struct span name, const char *value)
{
    if (!value || !value[0])
        return result_ok();
    TRY(wire_list_add(list, name));
    return wire_list_add(list, span_str(value));
}

/* Adds one variable, or with a final "*" all whose names begin so. */
static struct result add_variables(struct wire_list *list, struct span pattern)
{
    if (!pattern.len || pattern.ptr[pattern.len - 1] != '*') {
        char *name = mem_strndup(pattern.ptr, pattern.len);
        struct result r = add_variable(list, pattern, getenv(name));
        free(name);
        return r;
    }
    struct span prefix = span_first(pattern, pattern.len - 1);
    for (char **e = environ; *e; e++) {
        struct span name = span_of(*e, (size_t)(strchrnul(*e, '=') - *e));
        if (span_starts_with(name, prefix) && (*e)[name.len] == '=')
            TRY(add_variable(list, name, *e + name.len + 1));
    }
    return result_ok();
}

static void send_environment(struct provider *p, const struct wire_list *names)
{
    struct wire_message *m = mem_zalloc(sizeof *m);
    m->kind = WIRE_ENVIRON;
    struct result r = result_ok();
    for (uint32_t i = 0; i < names->count && result_is_ok(r); i++)
        r = add_variables(&m->variables, names->items[i]);
    if (result_is_ok(r))
        r = process_send(&p->process, m);
    free(m);
    if (!result_is_ok(r)) {
        end_child(p);
        fail_queue(
            p, PROVIDER_CONFIG, 0,
            "the variables that the plug-in or its programs read are more than 256 or larger "
            "than 64 KiB (name fewer, if the plug-in has an option for that)");
    }
}

static void take_ready(struct provider *p, const struct wire_ready *m)
{
    struct provider_info *i = &p->info;
    *i = (struct provider_info){0};
    memcpy(i->name, m->name.ptr, m->name.len);
    memcpy(i->version, m->version.ptr, m->version.len);
    i->ttl_s = m->ttl_s;
    i->propagation_timeout_s = m->propagation_timeout_s;
    i->polling_interval_s = m->polling_interval_s;
    i->sequence_interval_s = m->sequence_interval_s;
    i->call_timeout_s = m->call_timeout_s;
    i->confirms = m->confirms;
    i->serialize_all = m->flags & FERRULE_SERIALIZE_ALL;
    i->serialize_zone = m->flags & (FERRULE_SERIALIZE_ZONE | FERRULE_WHOLE_ZONE);
    i->serialize_rrset = m->flags & (FERRULE_SERIALIZE_RRSET | FERRULE_SINGLE_VALUE);
    i->single_value = m->flags & FERRULE_SINGLE_VALUE;
    i->by_person = m->flags & FERRULE_BY_PERSON;
    p->flags = m->flags;
    p->described = true;
    set_phase(p, PHASE_READY);
    p->until_ns = loop_now_ns(p->host->loop) + IDLE_NS;
    kick(p);
}

static void take_answer(struct provider *p, const struct wire_answer *m)
{
    char *text = mem_strndup(m->text.ptr, m->text.len);
    struct provider_answer answer = {(enum provider_verdict)m->verdict, m->retry_after_s, m->state,
                                     text};
    if (p->phase == PHASE_STARTING && m->id == 0 && m->verdict != PROVIDER_OK) {
        end_child(p);
        fail_queue(p, answer.verdict, answer.retry_after_s, text);
    } else if (p->phase == PHASE_BUSY && m->id == p->running->id) {
        set_phase(p, PHASE_READY);
        p->until_ns = loop_now_ns(p->host->loop) + IDLE_NS;
        finish(p, p->running, &answer);
        kick_all(p);
    } else {
        log_warn("provider %s: an answer that nothing asked for is ignored", p->code);
    }
    free(text);
}

static void child_message(struct process *process, const struct wire_message *m)
{
    struct provider *p = LIST_ENTRY(process, struct provider, process);
    if (m->kind == WIRE_NAMES && p->phase == PHASE_STARTING)
        send_environment(p, &m->names);
    else if (m->kind == WIRE_READY && p->phase == PHASE_STARTING)
        take_ready(p, &m->ready);
    else if (m->kind == WIRE_ANSWER)
        take_answer(p, &m->answer);
    else
        log_warn("provider %s: a message out of turn is ignored", p->code);
}

static void child_ended(struct process *process, const char *how)
{
    struct provider *p = LIST_ENTRY(process, struct provider, process);
    enum phase was = p->phase;
    struct call *running = p->running;
    set_phase(p, PHASE_IDLE);
    char text[256];
    snprintf(text, sizeof text, "the plug-in %s %s %s", p->path,
             was == PHASE_STARTING ? "crashed while it started: it" : "crashed: it", how);
    if (was != PHASE_ENDING) {
        log_warn("provider %s: %s", p->code, text);
        p->start_at_ns = loop_now_ns(p->host->loop) + CRASH_PAUSE_NS;
    }
    if (was == PHASE_STARTING)
        fail_queue(p, PROVIDER_RETRY, 0, text);
    if (running)
        fail_call(p, running, PROVIDER_RETRY, text);
    kick_all(p);
}

static const struct process_events child_events = {child_message, child_ended};

static struct result say_hello(struct provider *p)
{
    struct wire_message *m = mem_zalloc(sizeof *m);
    m->kind = WIRE_HELLO;
    m->hello.code = span_str(p->code);
    m->hello.path = span_str(p->path);
    m->hello.log_level = LOG_LEVEL_DEBUG; /* what is printed is decided here */
    struct result r = result_ok();
    for (uint32_t i = 0; i < p->env_count && result_is_ok(r); i++) {
        r = wire_list_add(&m->hello.env, span_str(p->env[i].name));
        if (result_is_ok(r))
            r = wire_list_add(&m->hello.env, span_str(p->env[i].value));
    }
    if (result_is_ok(r))
        r = process_send(&p->process, m);
    free(m);
    return r;
}

static void start_child(struct provider *p)
{
    struct why why;
    struct result r = process_start(&p->process, p->host->executable, &why);
    if (!result_is_ok(r)) {
        fail_queue(p, PROVIDER_RETRY, 0, why.text);
        return;
    }
    set_phase(p, PHASE_STARTING);
    p->until_ns = loop_now_ns(p->host->loop) + START_LIMIT_NS;
    if (!result_is_ok(say_hello(p))) {
        end_child(p);
        fail_queue(p, PROVIDER_CONFIG, 0,
                   "dnsChallenge.env is larger than 64 KiB or 256 variables");
    }
}

/* --- turns
 * ------------------------------------------------------------------------------------------------
 */

static void send_call(struct provider *p, struct call *c)
{
    list_remove(&c->node);
    p->running = c;
    set_phase(p, PHASE_BUSY);
    struct wire_message *m = mem_zalloc(sizeof *m);
    m->kind = WIRE_CALL;
    m->call = c->wire;
    struct result r = process_send(&p->process, m);
    free(m);
    if (r.code == ERR_TOO_LARGE) {
        set_phase(p, PHASE_READY);
        fail_call(p, c, PROVIDER_CONFIG, "the name, value or state is too long");
    }
    /* Any other failure means that the child is dying: child_ended() answers. */
}

/* Answers calls whose time is over before their turn came. */
static void expire_queue(struct provider *p, uint64_t now)
{
    struct list *next;
    for (struct list *n = p->queue.next; n != &p->queue; n = next) {
        struct call *c = LIST_ENTRY(n, struct call, node);
        next = n->next;
        if (c->deadline_ns > now)
            continue;
        fail_call(p, c, PROVIDER_RETRY,
                  "the time was over before the provider's other calls were done");
        next = p->queue.next; /* the owner may have changed the queue */
    }
}

static void answer_descriptions(struct provider *p)
{
    struct list *next;
    for (struct list *n = p->queue.next; n != &p->queue; n = next) {
        struct call *c = LIST_ENTRY(n, struct call, node);
        next = n->next;
        if (c->operation)
            continue;
        finish(p, c, &(struct provider_answer){.text = ""});
        next = p->queue.next;
    }
}

static void turn_ready(struct provider *p, uint64_t now)
{
    if (list_is_empty(&p->queue)) {
        if (now >= p->until_ns) {
            process_close(&p->process);
            set_phase(p, PHASE_ENDING);
            p->until_ns = now + CLOSE_LIMIT_NS;
        }
        return;
    }
    for (struct list *n = p->queue.next; n != &p->queue; n = n->next) {
        struct call *c = LIST_ENTRY(n, struct call, node);
        if (!must_wait(p, c)) {
            send_call(p, c);
            return;
        }
    }
}

static void turn_busy(struct provider *p, uint64_t now)
{
    if (now < p->running->deadline_ns + DEADLINE_GRACE_NS)
        return;
    end_child(p);
    fail_call(
        p, p->running, PROVIDER_RETRY,
        "the plug-in did not answer in time and was killed (does the provider's service answer?)");
}

/* When something has to happen by time alone. */
static uint64_t next_turn_ns(const struct provider *p)
{
    uint64_t at = TIMER_NO_LIMIT;
    if (p->phase == PHASE_BUSY)
        at = p->running->deadline_ns + DEADLINE_GRACE_NS;
    else if (p->phase == PHASE_IDLE)
        at = list_is_empty(&p->queue) ? TIMER_NO_LIMIT : p->start_at_ns;
    else if (p->phase != PHASE_READY || list_is_empty(&p->queue))
        at = p->until_ns;
    for (struct list *n = p->queue.next; n != &p->queue; n = n->next) {
        uint64_t deadline = LIST_ENTRY(n, struct call, node)->deadline_ns;
        at = deadline < at ? deadline : at;
    }
    return at;
}

static void provider_turn(struct loop_timer *t)
{
    struct provider *p = LIST_ENTRY(t, struct provider, timer);
    uint64_t now = loop_now_ns(p->host->loop);
    expire_queue(p, now);
    if (p->described)
        answer_descriptions(p);
    switch (p->phase) {
    case PHASE_IDLE:
        if (!list_is_empty(&p->queue) && now >= p->start_at_ns)
            start_child(p);
        break;
    case PHASE_STARTING:
        if (now >= p->until_ns) {
            end_child(p);
            fail_queue(p, PROVIDER_RETRY, 0,
                       "the plug-in did not start within 12 s and was killed");
        }
        break;
    case PHASE_READY:
        turn_ready(p, now);
        break;
    case PHASE_BUSY:
        turn_busy(p, now);
        break;
    case PHASE_ENDING:
        if (now >= p->until_ns) {
            process_kill(&p->process);
            p->until_ns = now + CLOSE_LIMIT_NS;
        }
        break;
    case PHASE_COUNT:
        never();
    }
    uint64_t at = next_turn_ns(p);
    if (at != TIMER_NO_LIMIT && !timer_is_set(&p->timer.timer))
        loop_timer_set(p->host->loop, &p->timer, at);
}

/* --- finding plug-ins
 * ---------------------------------------------------------------------------------------- */

static bool code_is_safe(const char *code)
{
    size_t n = strlen(code);
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)code[i]) && !isdigit((unsigned char)code[i]) &&
            !(i && (code[i] == '-' || code[i] == '_')))
            return false;
    return n > 0 && n < 64;
}

/* A file or folder that others could have put there is not loaded. */
static struct result check_owner(const char *path, struct why *why)
{
    struct stat st;
    if (stat(path, &st) == -1)
        return why_fail_sys(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMISSION, errno, "%s",
                            path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return why_fail(why, ERR_PERMISSION,
                        "%s belongs to user %u: a plug-in and its folder must belong to root or to "
                        "ferrule's own user",
                        path, (unsigned)st.st_uid);
    if ((st.st_mode & S_IWOTH) && !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX)))
        return why_fail(why, ERR_PERMISSION, "%s is writable by everybody: chmod o-w it", path);
    return result_ok();
}

static struct result find_plugin(const struct provider_host *host, const char *code, char **ret,
                                 struct why *why)
{
    struct buf looked = {0};
    struct result r = result_fail(ERR_NOT_FOUND);
    for (uint32_t i = 0; i < host->directory_count && r.code == ERR_NOT_FOUND; i++) {
        char *path = mem_printf("%s/%s.so", host->directories[i], code);
        buf_printf(&looked, "%s%s", i ? ", " : "", host->directories[i]);
        r = check_owner(path, why);
        if (result_is_ok(r))
            r = check_owner(host->directories[i], why);
        if (result_is_ok(r))
            *ret = path;
        else
            free(path);
    }
    if (r.code == ERR_NOT_FOUND)
        r = why_fail(
            why, ERR_NOT_FOUND, "there is no DNS provider \"%s\": no %s.so in %s", code, code,
            looked.len ? buf_cstr(&looked) : "any folder ([plugins] directories is empty)");
    buf_free(&looked);
    return r;
}

/* --- interface
 * --------------------------------------------------------------------------------------------------
 */

struct result provider_host_create(struct loop *loop, const char *executable,
                                   const char *const *directories, uint32_t directory_count,
                                   struct provider_host **ret, struct why *why)
{
    if (access(executable, X_OK) != 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "%s cannot be executed", executable);
    struct provider_host *host = mem_zalloc(sizeof *host);
    host->loop = loop;
    host->executable = mem_strdup(executable);
    host->directories = mem_zalloc(directory_count * sizeof *host->directories);
    host->directory_count = directory_count;
    for (uint32_t i = 0; i < directory_count; i++)
        host->directories[i] = mem_strdup(directories[i]);
    list_init(&host->providers);
    list_init(&host->holds);
    *ret = host;
    return result_ok();
}

static void free_provider(struct provider *p)
{
    loop_timer_cancel(p->host->loop, &p->timer);
    process_fini(&p->process);
    if (p->running)
        free_call(p->running);
    struct list *node;
    while ((node = list_pop(&p->queue)))
        free_call(LIST_ENTRY(node, struct call, node));
    for (uint32_t i = 0; i < p->env_count; i++) {
        secret_wipe((void *)p->env[i].value, strlen(p->env[i].value));
        free((void *)p->env[i].name);
        free((void *)p->env[i].value);
    }
    free(p->env);
    free(p->code);
    free(p->path);
    free(p);
}

/* ---- holds: two credentials may be of one account, so the plug-in's code counts ----------------
 */

bool provider_hold(struct provider *p, const char *fqdn, const void *owner)
{
    struct list *all = &p->host->holds;
    for (struct list *n = all->next; n != all; n = n->next) {
        const struct hold *h = LIST_ENTRY(n, struct hold, node);
        if (!strcmp(h->code, p->code) && !strcasecmp(h->fqdn, fqdn))
            return h->owner == owner;
    }
    struct hold *h = mem_zalloc(sizeof *h);
    h->code = mem_strdup(p->code);
    h->fqdn = mem_strdup(fqdn);
    h->owner = owner;
    list_init(&h->node);
    list_append(all, &h->node);
    return true;
}

static void free_hold(struct hold *h)
{
    list_remove(&h->node);
    free(h->code);
    free(h->fqdn);
    free(h);
}

void provider_release(struct provider *p, const void *owner)
{
    struct list *all = &p->host->holds, *next;
    for (struct list *n = all->next; n != all; n = next) {
        struct hold *h = LIST_ENTRY(n, struct hold, node);
        next = n->next;
        if (h->owner == owner)
            free_hold(h);
    }
}

void provider_host_destroy(struct provider_host *host)
{
    struct list *node;
    while (!list_is_empty(&host->holds))
        free_hold(LIST_ENTRY(host->holds.next, struct hold, node));
    while ((node = list_pop(&host->providers)))
        free_provider(LIST_ENTRY(node, struct provider, node));
    for (uint32_t i = 0; i < host->directory_count; i++)
        free(host->directories[i]);
    free(host->directories);
    free(host->executable);
    free(host);
}

static bool is_same(const struct provider *p, const char *code, const struct config_env *env,
                    uint32_t env_count)
{
    if (strcmp(p->code, code) != 0 || p->env_count != env_count)
        return false;
    for (uint32_t i = 0; i < env_count; i++)
        if (strcmp(p->env[i].name, env[i].name) != 0 || strcmp(p->env[i].value, env[i].value) != 0)
            return false;
    return true;
}

struct result provider_get(struct provider_host *host, const char *code,
                           const struct config_env *env, uint32_t env_count, struct provider **ret,
                           struct why *why)
{
    for (struct list *n = host->providers.next; n != &host->providers; n = n->next) {
        *ret = LIST_ENTRY(n, struct provider, node);
        if (is_same(*ret, code, env, env_count))
            return result_ok();
    }
    *ret = NULL;
    if (!code_is_safe(code))
        return why_fail(
            why, ERR_NOT_FOUND,
            "\"%.64s\" is no name of a DNS provider (lower-case letters, digits, - and _)", code);
    char *path = NULL;
    TRY(find_plugin(host, code, &path, why));
    struct provider *p = mem_zalloc(sizeof *p);
    p->host = host;
    p->code = mem_strdup(code);
    p->path = path;
    p->env = mem_zalloc(env_count * sizeof *p->env);
    p->env_count = env_count;
    for (uint32_t i = 0; i < env_count; i++)
        p->env[i] = (struct config_env){mem_strdup(env[i].name), mem_strdup(env[i].value)};
    list_init(&p->queue);
    loop_timer_init(&p->timer, provider_turn);
    process_init(&p->process, host->loop, p->code, &child_events);
    list_append(&host->providers, &p->node);
    *ret = p;
    return result_ok();
}

/* Copies a span into the call's own memory; the buffer was reserved, so it does not move. */
static struct span keep(struct call *c, struct span s)
{
    uint8_t *at = c->bytes.ptr + c->bytes.len;
    buf_put_span(&c->bytes, s);
    return span_of(at, s.len);
}

static struct call *new_call(struct provider *p, uint8_t operation, uint64_t deadline_ns, void *arg)
{
    struct call *c = mem_zalloc(sizeof *c);
    c->id = ++p->host->next_id;
    c->operation = operation;
    c->deadline_ns = deadline_ns;
    c->arg = arg;
    list_append(&p->queue, &c->node);
    kick(p);
    return c;
}

static void ask(struct provider *p, enum wire_operation operation, const struct provider_txt *txt,
                struct span state, uint64_t deadline_ns, provider_done *done, void *arg)
{
    struct call *c = new_call(p, (uint8_t)operation, deadline_ns, arg);
    c->done = done;
    (void)buf_reserve(&c->bytes, 1 + txt->fqdn.len + txt->zone.len + txt->value.len +
                                     txt->domain.len + txt->token.len + txt->key_auth.len +
                                     state.len);
    c->wire = (struct wire_call){
        .id = c->id,
        .operation = (uint8_t)operation,
        .deadline_ns = deadline_ns,
        .fqdn = keep(c, txt->fqdn),
        .zone = keep(c, txt->zone),
        .value = keep(c, txt->value),
        .domain = keep(c, txt->domain),
        .token = keep(c, txt->token),
        .key_auth = keep(c, txt->key_auth),
        .state = keep(c, state),
    };
}

void provider_describe(struct provider *p,
                       void (*done)(void *arg, const struct provider_info *info,
                                    const struct provider_answer *answer),
                       void *arg)
{
    struct call *c = new_call(p, 0, loop_now_ns(p->host->loop) + 2 * START_LIMIT_NS, arg);
    c->described = done;
}

void provider_present(struct provider *p, const struct provider_txt *txt, uint64_t deadline_ns,
                      provider_done *done, void *arg)
{
    ask(p, WIRE_PRESENT, txt, span_of(NULL, 0), deadline_ns, done, arg);
}

void provider_cleanup(struct provider *p, const struct provider_txt *txt, struct span state,
                      uint64_t deadline_ns, provider_done *done, void *arg)
{
    ask(p, WIRE_CLEANUP, txt, state, deadline_ns, done, arg);
}

void provider_confirm(struct provider *p, const struct provider_txt *txt, struct span state,
                      uint64_t deadline_ns, provider_done *done, void *arg)
{
    ask(p, WIRE_CONFIRM, txt, state, deadline_ns, done, arg);
}

void provider_probe(struct provider *p, const struct provider_txt *txt, uint64_t deadline_ns,
                    provider_done *done, void *arg)
{
    ask(p, WIRE_PROBE, txt, span_of(NULL, 0), deadline_ns, done, arg);
}
