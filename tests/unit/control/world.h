/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/control/world.h - everything around the scheduler, faked in shared memory: a CA, a
 * zone, the state directory, a store, the clock and the loop. A process that works in it can die at
 * any boundary (before or after every effect) and another one goes on.
 * Thread: the test's; the processes that work in it run one after the other.
 * Owns: the world, for the life of the test.
 * Never: waits: time jumps to the next timer. */
#pragma once

#include "control/acme/acme.h"
#include "control/challenges.h"
#include "control/propagation/propagation.h"
#include "control/provider/host.h"
#include "control/resolver.h"
#include "control/scheduler.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/must.h"
#include "crypto/digest.h"
#include "crypto/key.h"
#include "crypto/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD_START_S 1800000000ll
#define DIED          9

struct world_order {
    bool valid[2], refused[2];
    uint32_t csr_len;
    uint8_t csr[2048];
    int polls; /* after the request */
};

struct world {
    uint64_t now_ns; /* since WORLD_START_S */
    int boundary, crash_at;
    struct {
        bool used;
        int table;
        char key[64];
        uint32_t len;
        uint8_t value[16384];
    } records[16];
    struct {
        bool used;
        char fqdn[64], value[64];
    } txt[32];
    struct {
        bool used, tls;
        char key_auth[64];
    } answers[16]; /* that the workers have: gone with the process that gave them */
    bool single;   /* the CA wants one proof: there is no wildcard */
    struct world_order orders[64];
    int order_count, issued, published, stored;
    int64_t stored_from_s, stored_to_s;
    int64_t life_s;
    /* What is wrong, until when (ns). */
    uint64_t http_bad_ns, tls_bad_ns; /* the CA does not get through to port 80, 443 */
    int http_looks, tls_looks;        /* that the CA took */
    uint64_t ca_down_ns, cleanup_down_ns, present_denied_ns, validation_bad_ns, disk_full_ns;
    uint64_t unconfirmed_ns; /* when not 0: the service confirms values, and not before */
    uint32_t retry_after_s;  /* of newOrder while rate_limited_ns */
    uint64_t rate_limited_ns;
    uint64_t store_full_ns;  /* the store's disk alone */
    uint64_t garbled_ns;     /* a proxy before the CA answers 200 with a page of its own */
    const char *garbled_url; /* ... at URLs that begin so */
    int questions;           /* that the CA got */
    bool quiet_ca_after_finalize;
    bool one_value;                   /* the provider's names hold one */
    bool by_person;                   /* the provider is a person, who says so when asked */
    bool refuses_staple, others_hear; /* must-staple, which another order's answer says first */
    char last_warning[2048];
    char ari_id[64];                /* of the certificate that is known */
    int64_t ari_start_s, ari_end_s; /* the CA's window; 0 = it offers none */
    int ari_asked;
    char replaced[64];    /* by the last order */
    bool refuse_replaces; /* alreadyReplaced */
    int64_t last_order_s;
    /* Several CAs: 1, 2 are to be tried in turn, 3 is for rehearsals. */
    uint32_t ca_count; /* 0 = one */
    bool has_staging;
    uint64_t down_at_ns[4]; /* one of them alone is down until then */
    int orders_at[4];
    int given_up; /* authorizations */
    char last_answer[sizeof(struct why)], planned_ca[64];
    int planned_left;
    int64_t skew_s; /* of the CA's clock */
};

static struct world *w;

/* One effect: the process may die before it and after it. */
static void boundary(void)
{
    if (++w->boundary == w->crash_at)
        _exit(DIED);
}

/* ---- clock, log -------------------------------------------------------------------------------
 */

int clock_gettime(clockid_t id, struct timespec *t)
{
    uint64_t ns = w ? w->now_ns : 0;
    t->tv_sec = (time_t)(ns / NS_PER_S) + (id == CLOCK_REALTIME ? WORLD_START_S : 1000);
    t->tv_nsec = (long)(ns % NS_PER_S);
    return 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char line[2048];
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (level <= LOG_LEVEL_WARN)
        memcpy(w->last_warning, line, sizeof line);
    if (getenv("WORLD_LOG"))
        fprintf(stderr, "%8.1f %s\n", (double)w->now_ns / 1e9, line);
}

/* ---- loop: a queue of events and a list of timers -----------------------------------------------
 */

struct event {
    struct list node;
    void (*run)(struct event *e);
    void *subject;
    bool off; /* called off */
};

static struct list queue, timers;

static void later(struct event *e, void (*run)(struct event *e), void *subject)
{
    e->run = run;
    e->subject = subject;
    list_init(&e->node);
    list_append(&queue, &e->node);
}

void loop_timer_init(struct loop_timer *t, void (*fire)(struct loop_timer *t))
{
    timer_init(&t->timer, 0);
    t->fire = fire;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns)
{
    list_remove(&t->timer.node);
    t->timer.at_ns = at_ns;
    list_append(&timers, &t->timer.node);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
    list_remove(&t->timer.node);
    t->timer.at_ns = TIMER_NO_LIMIT;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return clock_now_ns();
}

struct world_work {
    struct event e;
    void (*work)(void *arg), (*done)(void *arg);
    void *arg;
};

static void run_work(struct event *e)
{
    struct world_work *x = e->subject;
    x->work(x->arg);
    boundary();
    x->done(x->arg);
    free(x);
}

void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct world_work *x = mem_zalloc(sizeof *x);
    x->work = work;
    x->done = done;
    x->arg = arg;
    later(&x->e, run_work, x);
}

static struct loop_timer *first_timer(void)
{
    struct loop_timer *first = NULL;
    for (struct list *n = timers.next; n != &timers; n = n->next) {
        struct loop_timer *t = (struct loop_timer *)LIST_ENTRY(n, struct timer, node);
        if (!first || t->timer.at_ns < first->timer.at_ns)
            first = t;
    }
    return first;
}

/* One event or timer; false when there is nothing before the limit. */
static bool turn(uint64_t limit_ns)
{
    struct list *node = list_pop(&queue);
    if (node) {
        struct event *e = LIST_ENTRY(node, struct event, node);
        e->run(e);
        return true;
    }
    struct loop_timer *t = first_timer();
    uint64_t zero_ns = 1000 * NS_PER_S;
    if (!t || t->timer.at_ns > limit_ns + zero_ns)
        return false;
    if (t->timer.at_ns > w->now_ns + zero_ns)
        w->now_ns = t->timer.at_ns - zero_ns;
    loop_timer_cancel(NULL, t);
    t->fire(t);
    return true;
}

/* ---- state directory
 * ----------------------------------------------------------------------------- */

static int find_record(int table, struct span key)
{
    for (int i = 0; i < 16; i++)
        if (w->records[i].used && w->records[i].table == table &&
            span_eq(span_str(w->records[i].key), key))
            return i;
    return -1;
}

/* Put, and not on disk yet: gone with the process. */
static struct pending {
    int table;
    char key[64];
    bool removed;
    uint32_t len;
    uint8_t value[16384];
} pendings[64];
static int pending_count;
static struct list waits; /* struct state_wait, set up with the queue */
static bool commit_is_planned;
static struct event commit_event;

static struct pending *find_pending(int table, struct span key)
{
    for (int i = pending_count; i-- > 0;)
        if (pendings[i].table == table && span_eq(span_str(pendings[i].key), key))
            return &pendings[i];
    return NULL;
}

/* The disk, which takes all or nothing. */
static void write_pending(const struct pending *p)
{
    int i = find_record(p->table, span_str(p->key));
    if (p->removed) {
        if (i >= 0)
            w->records[i].used = false;
        return;
    }
    for (int k = 0; i < 0 && k < 16; k++)
        if (!w->records[k].used)
            i = k;
    must(i >= 0);
    memcpy(w->records[i].key, p->key, sizeof w->records[i].key);
    memcpy(w->records[i].value, p->value, p->len);
    w->records[i].len = p->len;
    w->records[i].table = p->table;
    w->records[i].used = true;
}

static void run_commit(struct event *e)
{
    static const struct why full = {"no space left on device"};
    bool good = w->now_ns >= w->disk_full_ns;
    struct list told, *node;
    commit_is_planned = false;
    list_init(&told);
    while ((node = list_pop(&waits)))
        list_append(&told, node);
    boundary();
    for (int i = 0; i < pending_count && good; i++)
        write_pending(&pendings[i]);
    if (!good)
        log_line(LOG_LEVEL_WARN, "%s", full.text);
    pending_count = 0;
    boundary();
    while ((node = list_pop(&told))) {
        struct state_wait *wait = LIST_ENTRY(node, struct state_wait, node);
        void (*done)(struct state_wait *, const struct why *) = wait->done;
        wait->done = NULL;
        done(wait, good ? NULL : &full);
    }
}

static void plan_commit(void)
{
    if (!commit_is_planned)
        later(&commit_event, run_commit, NULL);
    commit_is_planned = true;
}

static void put_soon(enum state_table table, struct span key, const struct span *value)
{
    struct pending *p = find_pending((int)table, key);
    if (!p) {
        must(pending_count < 64);
        p = &pendings[pending_count++];
    }
    *p = (struct pending){.table = (int)table, .removed = !value};
    must(key.len < sizeof p->key && (!value || value->len <= sizeof p->value));
    memcpy(p->key, key.ptr, key.len);
    if (value)
        memcpy(p->value, value->ptr, value->len);
    p->len = value ? (uint32_t)value->len : 0;
    plan_commit();
}

void state_put_soon(struct state *state, enum state_table table, struct span key, struct span value)
{
    put_soon(table, key, &value);
}

void state_remove_soon(struct state *state, enum state_table table, struct span key)
{
    put_soon(table, key, NULL);
}

void state_wait(struct state *state, struct state_wait *wait,
                void (*done)(struct state_wait *wait, const struct why *failure))
{
    wait->done = done;
    list_init(&wait->node);
    list_append(&waits, &wait->node);
    plan_commit();
}

void state_wait_cancel(struct state_wait *wait)
{
    if (wait->done)
        list_remove(&wait->node);
    wait->done = NULL;
}

/* As a process begins: nothing waits. */
static void start_world(void)
{
    list_init(&queue);
    list_init(&timers);
    list_init(&waits);
    pending_count = 0;
    commit_is_planned = false;
}

struct result state_get(struct state *state, enum state_table table, struct span key,
                        struct buf *ret)
{
    const struct pending *p = find_pending((int)table, key);
    int i = find_record((int)table, key);
    if (p ? p->removed : i < 0)
        return result_fail(ERR_NOT_FOUND);
    if (p)
        buf_put(ret, p->value, p->len);
    else
        buf_put(ret, w->records[i].value, w->records[i].len);
    return result_ok();
}

struct result state_each(struct state *state, enum state_table table,
                         void (*each)(void *arg, struct span key, struct span value), void *arg,
                         struct why *why)
{
    for (int i = 0; i < 16; i++)
        if (w->records[i].used && w->records[i].table == (int)table &&
            !find_pending((int)table, span_str(w->records[i].key)))
            each(arg, span_str(w->records[i].key), span_of(w->records[i].value, w->records[i].len));
    for (int i = 0; i < pending_count; i++)
        if (pendings[i].table == (int)table && !pendings[i].removed)
            each(arg, span_str(pendings[i].key), span_of(pendings[i].value, pendings[i].len));
    return result_ok();
}

static int journal_count(void)
{
    int n = 0;
    for (int i = 0; i < 16; i++)
        n += w->records[i].used && w->records[i].table == STATE_JOURNAL;
    return n;
}

/* ---- zone, provider
 * ------------------------------------------------------------------------------- */

static int find_txt(const char *fqdn, struct span value)
{
    for (int i = 0; i < 32; i++)
        if (w->txt[i].used && !strcmp(w->txt[i].fqdn, fqdn) &&
            span_eq(span_str(w->txt[i].value), value))
            return i;
    return -1;
}

static int txt_count(void)
{
    int n = 0;
    for (int i = 0; i < 32; i++)
        n += w->txt[i].used;
    return n;
}

struct world_provider {
    struct event e;
    char fqdn[64], value[64];
    bool remove, had_state;
    provider_done *done;
    void (*described)(void *arg, const struct provider_info *info,
                      const struct provider_answer *answer);
    void *arg;
};

static void run_described(struct event *e)
{
    struct world_provider *p = e->subject;
    struct provider_info info = {.name = "fake",
                                 .propagation_timeout_s = 60,
                                 .polling_interval_s = 2,
                                 .single_value = w->one_value,
                                 .by_person = w->by_person,
                                 .confirms = w->unconfirmed_ns};
    struct provider_answer answer = {.text = ""};
    p->described(p->arg, &info, &answer);
    free(p);
}

void provider_describe(struct provider *provider,
                       void (*done)(void *arg, const struct provider_info *info,
                                    const struct provider_answer *answer),
                       void *arg)
{
    struct world_provider *p = mem_zalloc(sizeof *p);
    p->described = done;
    p->arg = arg;
    later(&p->e, run_described, p);
}

static void run_provider(struct event *e)
{
    struct world_provider *p = e->subject;
    struct provider_answer answer = {.text = "", .state = SPAN_LITERAL("opaque")};
    int i = find_txt(p->fqdn, span_str(p->value));
    boundary();
    if (p->remove && w->now_ns < w->cleanup_down_ns) {
        answer = (struct provider_answer){.verdict = PROVIDER_RETRY, .text = "the API is down"};
    } else if (!p->remove && w->now_ns < w->present_denied_ns) {
        answer = (struct provider_answer){.verdict = PROVIDER_AUTH, .text = "wrong TSIG key"};
    } else if (p->remove && i >= 0) {
        w->txt[i].used = false;
    } else if (!p->remove && i < 0) {
        for (i = 0; i < 32; i++)
            must(!w->one_value || !w->txt[i].used || strcmp(w->txt[i].fqdn, p->fqdn) != 0);
        for (i = 0; w->txt[i].used; i++)
            must(i < 31);
        w->txt[i].used = true;
        snprintf(w->txt[i].fqdn, sizeof w->txt[i].fqdn, "%s", p->fqdn);
        snprintf(w->txt[i].value, sizeof w->txt[i].value, "%s", p->value);
    }
    boundary();
    p->done(p->arg, &answer);
    free(p);
}

static void ask_provider(const struct provider_txt *txt, bool remove, provider_done *done,
                         void *arg)
{
    struct world_provider *p = mem_zalloc(sizeof *p);
    must(txt->key_auth.len > 0 && txt->domain.len > 0);
    snprintf(p->fqdn, sizeof p->fqdn, "%.*s", SPAN_FMT(txt->fqdn));
    snprintf(p->value, sizeof p->value, "%.*s", SPAN_FMT(txt->value));
    p->remove = remove;
    p->done = done;
    p->arg = arg;
    later(&p->e, run_provider, p);
}

bool provider_hold(struct provider *p, const char *fqdn, const void *owner)
{
    return true;
}

void provider_release(struct provider *p, const void *owner)
{
}

void provider_present(struct provider *provider, const struct provider_txt *txt,
                      uint64_t deadline_ns, provider_done *done, void *arg)
{
    ask_provider(txt, false, done, arg);
}

void provider_cleanup(struct provider *provider, const struct provider_txt *txt, struct span state,
                      uint64_t deadline_ns, provider_done *done, void *arg)
{
    ask_provider(txt, true, done, arg);
}

static void run_confirm(struct event *e)
{
    struct world_provider *p = e->subject;
    struct provider_answer answer = {.text = ""};
    must(p->had_state); /* what the change is known by */
    if (w->now_ns < w->unconfirmed_ns)
        answer = (struct provider_answer){.verdict = PROVIDER_RETRY, .text = "not in effect yet"};
    p->done(p->arg, &answer);
    free(p);
}

void provider_confirm(struct provider *provider, const struct provider_txt *txt, struct span state,
                      uint64_t deadline_ns, provider_done *done, void *arg)
{
    struct world_provider *p = mem_zalloc(sizeof *p);
    p->had_state = state.len > 0;
    p->done = done;
    p->arg = arg;
    later(&p->e, run_confirm, p);
}

/* ---- propagation
 * ---------------------------------------------------------------------------------- */

struct propagation {
    struct event e;
    bool off, visible;
    char *fqdn;
    propagation_place_done *placed;
    propagation_done *checked;
    void *arg;
};

static void run_propagation(struct event *e)
{
    struct propagation *p = e->subject;
    if (!p->off && p->placed) {
        struct propagation_place place = {true, p->fqdn, "test.", ""};
        p->placed(p->arg, &place);
    } else if (!p->off) {
        struct propagation_answer answer = {p->visible, p->visible ? "1 of 1" : "not visible"};
        p->checked(p->arg, &answer);
    }
    free(p->fqdn);
    free(p);
}

struct propagation *propagation_find(struct loop *loop, const struct propagation_options *options,
                                     const char *fqdn, propagation_place_done *done, void *arg)
{
    struct propagation *p = mem_zalloc(sizeof *p);
    p->fqdn = mem_strdup(fqdn);
    p->placed = done;
    p->arg = arg;
    later(&p->e, run_propagation, p);
    return p;
}

/* The faked CA has no name in CAA records. */
struct propagation *propagation_caa(struct loop *loop, const struct propagation_options *options,
                                    const char *name, const char *const *identities,
                                    uint32_t identity_count, propagation_caa_done *done, void *arg)
{
    never();
}

/* Nobody is connected to, here. */
struct propagation *propagation_resolve(struct loop *loop,
                                        const struct propagation_options *options, const char *host,
                                        uint16_t port, resolve_done *done, void *arg)
{
    never();
}

void loop_watch(struct loop *loop, struct loop_fd *watch, uint32_t events)
{
    never();
}

struct propagation *propagation_check(struct loop *loop, const struct propagation_options *options,
                                      const char *fqdn, const char *zone, const char *const *values,
                                      uint32_t count, void (*progress)(void *arg, const char *text),
                                      propagation_done *done, void *arg)
{
    struct propagation *p = mem_zalloc(sizeof *p);
    p->visible = count > 0;
    for (uint32_t i = 0; i < count; i++)
        p->visible = p->visible && find_txt(fqdn, span_str(values[i])) >= 0;
    p->checked = done;
    p->arg = arg;
    later(&p->e, run_propagation, p);
    return p;
}

void propagation_cancel(struct propagation *p)
{
    p->off = true;
}

void propagation_look_now(struct propagation *p)
{
    never();
}

/* ---- the workers -------------------------------------------------------------------------------
 */

static int find_answer(bool tls, const char *key_auth)
{
    for (int i = 0; i < 16; i++)
        if (w->answers[i].used && w->answers[i].tls == tls &&
            !strcmp(w->answers[i].key_auth, key_auth))
            return i;
    return -1;
}

static void put_answer(bool tls, const char *key_auth)
{
    int i = find_answer(tls, key_auth);
    boundary();
    if (i >= 0)
        return;
    for (i = 0; w->answers[i].used; i++)
        must(i < 15);
    w->answers[i].used = true;
    w->answers[i].tls = tls;
    snprintf(w->answers[i].key_auth, sizeof w->answers[i].key_auth, "%s", key_auth);
    boundary();
}

static void drop_answer(bool tls, const char *key_auth)
{
    int i = find_answer(tls, key_auth);
    boundary();
    if (i >= 0)
        w->answers[i].used = false;
    boundary();
}

struct result challenges_put_http(struct challenges *c, const char *entrypoint, const char *token,
                                  const char *key_auth, struct why *why)
{
    must(!strcmp(entrypoint, "web") && !strncmp(key_auth, token, strlen(token)));
    put_answer(false, key_auth);
    return result_ok();
}

struct result challenges_put_tls(struct challenges *c, const char *identifier, const char *key_auth,
                                 struct why *why)
{
    must(!strcmp(identifier, "a.test"));
    put_answer(true, key_auth);
    return result_ok();
}

void challenges_drop_http(struct challenges *c, const char *key_auth)
{
    drop_answer(false, key_auth);
}

void challenges_drop_tls(struct challenges *c, const char *key_auth)
{
    drop_answer(true, key_auth);
}

struct world_fence {
    struct event e;
    struct challenges_wait *wait;
};

static void run_fence(struct event *e)
{
    struct world_fence *f = e->subject;
    struct challenges_wait *wait = f->wait;
    free(f);
    boundary();
    if (wait->done)
        wait->done(wait);
}

void challenges_wait(struct challenges *c, struct challenges_wait *wait,
                     void (*done)(struct challenges_wait *wait))
{
    struct world_fence *f = mem_zalloc(sizeof *f);
    f->wait = wait;
    wait->done = done;
    later(&f->e, run_fence, f);
}

void challenges_wait_cancel(struct challenges_wait *wait)
{
    wait->done = NULL;
}
