/* SPDX-License-Identifier: Apache-2.0 */
#include "control/order.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "base/rand.h"
#include "control/crash_point.h"
#include "control/order_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RESUMES_AT_ONCE   3 /* deaths in one order without any wait */
#define RESUME_WAIT_S     5 /* then this, doubled each time */
#define RESUME_WAIT_MAX_S 600
#define PROVIDER_GRACE_S  30 /* the host answers by its own deadline */
#define LOCAL_CAP_S       600
#define DISK_CAP_S        10
#define LOST_CAP_S        300
#define LOST_TIMES        2
#define GARBLED_WAIT_S    2 /* before asking again after an answer that is not ACME, doubled */
#define GARBLED_MAX_S     60
#define POLL_MAX_S        5
#define POLL_RETRY_MAX_S  60 /* a longer Retry-After while polling is not waited out */

static const struct step {
    const char *name, *text;
    void (*run)(struct order *o);
    uint32_t deadline_s;
    enum order_step next, on_error;
} steps[ORDER_STEPS] = {
#define ORDER_STEP(step, handler, deadline, next, on_error, text)                                  \
    [ORDER_##step] = {#step, text, handler, deadline, ORDER_##next, ORDER_##on_error},
#include "control/order.def"
#undef ORDER_STEP
};

/* Moves other than next and on_error. */
static const struct jump {
    enum order_step from, to;
} jumps[] = {
    {ORDER_AUTHORIZATIONS, ORDER_READY}, /* everything is valid already */
    {ORDER_RESUME, ORDER_READY},         /* the CA finished validating meanwhile */
    {ORDER_RESUME, ORDER_KEY},           /* ... and waits for the request */
    {ORDER_RESUME, ORDER_POLL},          /* ... and has the request */
    {ORDER_RESUME, ORDER_DOWNLOAD},      /* ... and has the certificate */
    {ORDER_FINALIZE, ORDER_READY},       /* "orderNotReady" */
    {ORDER_FINALIZE, ORDER_POLL},
    {ORDER_POLL, ORDER_FINALIZE}, /* the request never arrived */
    {ORDER_READY, ORDER_DOWNLOAD},
    {ORDER_READY, ORDER_POLL},
    {ORDER_READY, ORDER_CLEANUP},    /* a rehearsal ends here */
    {ORDER_VALIDATE, ORDER_PRESENT}, /* the next value of a name that holds one */
};

const char *order_step_name(enum order_step step)
{
    must(step < ORDER_STEPS);
    return steps[step].name;
}

const char *order_step_text(enum order_step step)
{
    must(step < ORDER_STEPS);
    return steps[step].text;
}

bool order_step_find(const char *name, enum order_step *ret)
{
    for (int i = 0; i < ORDER_STEPS; i++)
        if (!strcmp(steps[i].name, name)) {
            *ret = (enum order_step)i;
            return true;
        }
    return false;
}

static bool is_allowed(enum order_step from, enum order_step to)
{
    if (to == steps[from].next || to == steps[from].on_error)
        return true;
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++)
        if (jumps[i].from == from && jumps[i].to == to)
            return true;
    return false;
}

/* ---- small tools ----------------------------------------------------------------------------- */

const char *order_label(const struct order *o)
{
    return o->record.names[0];
}

enum order_step order_at(const struct order *o)
{
    return (enum order_step)o->record.step;
}

const char *order_progress(const struct order *o)
{
    return o->progress;
}

int64_t order_started_s(const struct order *o)
{
    return o->record.started_s;
}

double order_step_seconds(const struct order *o)
{
    return (double)(clock_now_ns() - o->step_ns) / (double)NS_PER_S;
}

double order_seconds(const struct order *o)
{
    return (double)(clock_now_ns() - o->begun_ns) / (double)NS_PER_S;
}

struct ledger_key order_ledger_key(const struct order *o, struct buf *names)
{
    for (uint32_t i = 0; i < o->record.name_count; i++)
        buf_printf(names, "%s%s", i ? ", " : "", o->record.names[i]);
    return (struct ledger_key){o->ledger_id, o->record.resolver, buf_cstr(names),
                               o->resolver->fingerprint};
}

void order_say(struct order *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(o->progress, sizeof o->progress, fmt, ap);
    va_end(ap);
    log_info("%s: %s", order_label(o), o->progress);
}

static void pause_fired(struct loop_timer *t)
{
    struct order *o = LIST_ENTRY(t, struct order, pause);
    void (*then)(struct order * o) = o->after_pause;
    o->after_pause = NULL;
    must(then);
    then(o);
}

void order_pause(struct order *o, uint64_t wait_ns, void (*then)(struct order *o))
{
    must(!o->after_pause);
    o->after_pause = then;
    loop_timer_set(o->env.loop, &o->pause, clock_now_ns() + wait_ns);
}

bool order_end_pause(struct order *o, void (*then)(struct order *o))
{
    if (o->after_pause != then)
        return false;
    loop_timer_cancel(o->env.loop, &o->pause);
    o->after_pause = NULL;
    return true;
}

uint64_t order_poll_wait_ns(struct order *o, uint32_t retry_after_s)
{
    uint64_t s = ++o->polls < POLL_MAX_S ? o->polls : POLL_MAX_S;
    if (retry_after_s)
        s = retry_after_s < POLL_RETRY_MAX_S ? retry_after_s : POLL_RETRY_MAX_S;
    /* The first question comes sooner: many CAs are done within half a second. */
    if (o->polls == 1 && !retry_after_s)
        return 300 * NS_PER_MS;
    return s * NS_PER_S + rand_below(NS_PER_S / 4);
}

void order_ask_again(struct order *o, const char *text, void (*then)(struct order *o))
{
    uint64_t wait_s = GARBLED_WAIT_S;
    for (uint32_t i = 0; i < o->tries && wait_s < GARBLED_MAX_S; i++)
        wait_s *= 2;
    wait_s = wait_s < GARBLED_MAX_S ? wait_s : GARBLED_MAX_S;
    o->tries++;
    order_say(o, "%s: asking again in %u s", text, (uint32_t)wait_s);
    order_pause(o, wait_s * NS_PER_S + rand_below(NS_PER_S / 4), then);
}

void order_clear_authz(struct order *o)
{
    for (uint32_t i = 0; i < o->authz_count; i++) {
        free(o->authz[i].url);
        free(o->authz[i].domain);
        free(o->authz[i].challenge_url);
        free(o->authz[i].token);
    }
    free(o->authz);
    o->authz = NULL;
    o->authz_count = 0;
}

/* Whatever the step waits for but a provider's answer, which cannot be called off. */
static void stop_waiting(struct order *o)
{
    loop_timer_cancel(o->env.loop, &o->deadline);
    loop_timer_cancel(o->env.loop, &o->pause);
    o->after_pause = NULL;
    acme_call_cancel(o->call);
    o->call = NULL;
    if (o->dns)
        propagation_cancel(o->dns);
    o->dns = NULL;
    preflight_cancel(o->preflight);
    o->preflight = NULL;
    free(o->challenges);
    o->challenges = NULL;
    challenges_wait_cancel(&o->answered);
    state_wait_cancel(&o->disk);
    store_put_cancel(&o->put);
    order_issue_forget_key(o);
}

static void order_free(struct order *o)
{
    stop_waiting(o);
    if (o->holds)
        provider_release(o->resolver->provider, o);
    order_clear_authz(o);
    order_record_free(&o->record);
    buf_free(&o->chain_pem);
    for (uint32_t i = 0; i < o->alternate_count; i++)
        free(o->alternates[i]);
    free(o);
}

/* ---- moves ----------------------------------------------------------------------------------- */

void order_save(struct order *o)
{
    order_journal_put(o->env.state, &o->record);
}

static void disk_told(struct state_wait *wait, const struct why *failure)
{
    struct order *o = LIST_ENTRY(wait, struct order, disk);
    if (!failure) {
        o->after_disk(o);
        return;
    }
    /* The next thing is not done. Tried again soon. */
    o->disk_failed = true;
    order_fail(o, ACME_CONFIG, "", 0, "the journal cannot be written: %s", failure->text);
}

void order_on_disk(struct order *o, void (*then)(struct order *o))
{
    o->after_disk = then;
    state_wait(o->env.state, &o->disk, disk_told);
}

static void deadline_passed(struct loop_timer *t)
{
    struct order *o = LIST_ENTRY(t, struct order, deadline);
    if (o->provider_busy) {
        loop_timer_set(o->env.loop, t, clock_now_ns() + PROVIDER_GRACE_S * NS_PER_S);
        return;
    }
    order_fail(o, ACME_NETWORK, "", 0, "gave up %s after %.0f s (last: %s)",
               steps[o->record.step].text, order_step_seconds(o), o->progress);
}

void order_set_deadline(struct order *o, uint32_t seconds)
{
    loop_timer_set(o->env.loop, &o->deadline, clock_now_ns() + seconds * NS_PER_S);
}

static void forget_certificate(struct order *o);

static void run_step(struct order *o)
{
    const struct step *step = &steps[o->record.step];
    crash_point(step->name, "before");
    log_line(o->resolver->config->log_steps ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "%s: step %s: %s",
             order_label(o), step->name, step->text);
    if (step->deadline_s)
        order_set_deadline(o, step->deadline_s);
    step->run(o);
}

/* The only place that changes record.step. */
static void enter(struct order *o, enum order_step step)
{
    o->record.step = step;
    o->index = o->tries = o->polls = 0;
    o->step_ns = clock_now_ns();
    if (step == ORDER_DONE && o->other_challenge) {
        o->other_challenge = false;
        forget_certificate(o);
        enter(o, ORDER_PREPARE);
        return;
    }
    if (step == ORDER_DONE) {
        order_finish(o);
        return;
    }
    order_save(o);
    /* From here on nothing is asked for anew: what the journal says of an earlier step leads to
     * the same certificate. A full disk must keep neither it nor the clean-up back. */
    if (step == ORDER_STORE || step == ORDER_PUBLISH || step == ORDER_CLEANUP ||
        step == ORDER_GIVE_UP)
        run_step(o);
    else
        order_on_disk(o, run_step);
}

void order_goto(struct order *o, enum order_step step)
{
    enum order_step from = (enum order_step)o->record.step;
    must(is_allowed(from, step));
    stop_waiting(o);
    crash_point(steps[from].name, "after");
    enter(o, step);
}

void order_next(struct order *o)
{
    order_goto(o, steps[o->record.step].next);
}

/* The CA may hold or still make the certificate: another order would be a second one. */
static bool may_have_certificate(const struct order *o, enum acme_class class)
{
    enum order_step at = (enum order_step)o->record.step;
    if (!o->record.order_url || !o->record.key_der.len)
        return false;
    if (at == ORDER_STORE || at == ORDER_PUBLISH)
        return true;
    return class == ACME_NETWORK || class == ACME_SERVER || class == ACME_RATE ||
           class == ACME_CONFIG;
}

/* Could another CA do better? Not when our own side failed before the CA was asked to look. */
static bool is_of_ca(const struct order *o, enum acme_class class)
{
    switch ((enum order_step)o->record.step) {
    case ORDER_PREFLIGHT:
        return class == ACME_CAA;
    case ORDER_ACCOUNT:
    case ORDER_NEW_ORDER:
    case ORDER_RESUME:
    case ORDER_AUTHORIZATIONS:
    case ORDER_RESPOND:
    case ORDER_VALIDATE:
    case ORDER_READY:
    case ORDER_FINALIZE:
    case ORDER_POLL:
    case ORDER_DOWNLOAD:
        return !o->disk_failed && !o->record.trial;
    default:
        return false;
    }
}

/* The first times our own death says little about the order; one that dies of it waits longer. */
static bool is_bad_luck(const struct order *o, const struct ledger_key *key)
{
    struct ledger_entry e;
    if (!o->lost)
        return false;
    ledger_read(o->env.ledger, key, clock_wall_s(), &e);
    return e.failures < LOST_TIMES;
}

static void write_failure(struct order *o, enum acme_class class, const char *type,
                          uint32_t retry_after_s, const char *text)
{
    struct buf names = {0};
    struct ledger_key key = order_ledger_key(o, &names);
    uint32_t cap_s = o->env.retry_cap_s;
    /* Before the CA was asked for anything a try costs little: a person may be fixing it. The same
     * when the certificate is there and only our disk does not take it. */
    if (o->disk_failed)
        cap_s = DISK_CAP_S;
    else if (is_bad_luck(o, &key))
        cap_s = LOST_CAP_S;
    else if (o->record.step == ORDER_PREPARE || o->record.step == ORDER_PREFLIGHT ||
             o->record.step == ORDER_STORE)
        cap_s = LOCAL_CAP_S;
    struct ledger_failure failure = {class, type, text, retry_after_s, cap_s, is_of_ca(o, class)};
    ledger_failed(o->env.ledger, &key, clock_wall_s(), &failure);
    buf_free(&names);
}

/* Everybody waits a moment when the CA asks for it, or when it counts orders as such. */
static void hold_resolver(struct order *o, enum acme_class class, uint32_t retry_after_s)
{
    enum order_step at = (enum order_step)o->record.step;
    int64_t until = 0;
    if (at == ORDER_ACCOUNT && retry_after_s)
        until = clock_wall_s() + retry_after_s;
    else if (class == ACME_RATE || (class == ACME_SERVER && retry_after_s))
        until = clock_wall_s() + (retry_after_s && retry_after_s < 60 ? retry_after_s : 60);
    if (until > o->ca->hold_until_s)
        o->ca->hold_until_s = until;
}

void order_fail(struct order *o, enum acme_class class, const char *type, uint32_t retry_after_s,
                const char *fmt, ...)
{
    struct why reason, text;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason.text, sizeof reason.text, fmt, ap);
    va_end(ap);
    enum order_step at = (enum order_step)o->record.step;
    must(at != ORDER_CLEANUP && at != ORDER_GIVE_UP && at != ORDER_DONE);
    snprintf(text.text, sizeof text.text, "%s failed: %.440s", steps[at].text, reason.text);
    text.text[0] =
        (char)(text.text[0] >= 'a' && text.text[0] <= 'z' ? text.text[0] - 32 : text.text[0]);
    snprintf(o->progress, sizeof o->progress, "%s", text.text);
    log_warn("%s: %s", order_label(o), text.text);
    stop_waiting(o);
    hold_resolver(o, class, retry_after_s);
    o->record.keep = may_have_certificate(o, class);
    o->record.failed = true;
    write_failure(o, class, type, retry_after_s, text.text);
    enter(o, steps[at].on_error);
}

/* One sentence about all challenges that were tried. */
static void join_reasons(const struct order_record *r, struct buf *out)
{
    uint32_t count = 0;
    for (int i = 0; i < ORDER_CHALLENGES; i++)
        if (r->failed_challenges[i])
            buf_printf(out, "%s%s: %s", count++ ? "; " : "",
                       order_challenge_name((enum order_challenge)i), r->failed_challenges[i]);
}

void order_fail_challenge(struct order *o, enum order_challenge challenge, enum acme_class class,
                          const char *type, uint32_t retry_after_s, const char *fmt, ...)
{
    struct order_record *r = &o->record;
    struct buf all = {0};
    struct why text;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text.text, sizeof text.text, fmt, ap);
    va_end(ap);
    if (!order_answer_has_choice(o)) {
        order_fail(o, class, type, retry_after_s, "%s", text.text);
        return;
    }
    free(r->failed_challenges[challenge]);
    r->failed_challenges[challenge] = mem_strdup(text.text);
    /* A CA that asks for patience, or that is gone, would say the same to another challenge. */
    o->other_challenge = o->mode == ORDER_MODE_OBTAIN && class != ACME_RATE && !retry_after_s &&
                         !order_answer_unprovable(o);
    join_reasons(r, &all);
    if (o->other_challenge)
        order_say(o, "%s failed; another allowed challenge is tried",
                  order_challenge_name(challenge));
    order_fail(o, class, type, retry_after_s, "%s", buf_cstr(&all));
    buf_free(&all);
}

void order_fail_answer(struct order *o, const struct acme_answer *answer)
{
    order_fail(o, answer->class, answer->type, answer->retry_after_s, "%s", answer->text);
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Counted when it goes on, and not while it waits to: a process that dies meanwhile did not die of
 * this order. */
static void resume_now(struct order *o)
{
    o->record.resumes++;
    enter(o, ORDER_RESUME);
}

static void prepare_now(struct order *o)
{
    o->record.resumes++;
    enter(o, ORDER_PREPARE);
}

/* Goes on with an order that a dead process left behind: the first times at once, then later and
 * later, so that what kills the process does so ever more rarely. */
static void take_up_again(struct order *o, void (*go_on)(struct order *o))
{
    uint32_t n = o->record.resumes + 1;
    o->record.failed = false;
    if (n <= RESUMES_AT_ONCE) {
        go_on(o);
        return;
    }
    uint64_t wait_s = RESUME_WAIT_S;
    for (uint32_t i = RESUMES_AT_ONCE + 1; i < n && wait_s < RESUME_WAIT_MAX_S; i++)
        wait_s *= 2;
    wait_s = wait_s < RESUME_WAIT_MAX_S ? wait_s : RESUME_WAIT_MAX_S;
    order_say(o, "unfinished for the %u. time: resumed in %u s", n, (uint32_t)wait_s);
    order_pause(o, wait_s * NS_PER_S, go_on);
}

static void forget_challenges(struct order_record *r)
{
    for (int i = 0; i < ORDER_CHALLENGES; i++) {
        free(r->failed_challenges[i]);
        r->failed_challenges[i] = NULL;
    }
}

/* The CA of the record; a new order's is the one that the scheduler chose. The ledger counts by
 * CA; a rehearsal by the first one, which it is for. */
static void choose_ca(struct order *o, bool anew)
{
    struct order_record *r = &o->record;
    if (anew) {
        r->trial = o->env.trial;
        free(r->ca);
        r->ca = mem_strdup(r->trial ? o->resolver->staging.url : o->resolver->cas[o->env.ca].url);
    }
    o->ca = resolver_find_ca(o->resolver, r->ca);
    if (!o->ca)
        o->ca = &o->resolver->cas[0];
    order_id_make(r->resolver, r->trial ? o->resolver->cas[0].url : o->ca->url,
                  (const char *const *)r->names, r->name_count, o->ledger_id);
}

static void forget_certificate(struct order *o)
{
    struct order_record *r = &o->record;
    choose_ca(o, true);
    free(r->order_url);
    free(r->finalize_url);
    free(r->certificate_url);
    r->order_url = r->finalize_url = r->certificate_url = NULL;
    buf_wipe_free(&r->key_der);
    for (uint32_t i = 0; i < r->txt_count; i++)
        r->txts[i].leftover = true;
    r->keep = r->failed = false;
    r->resumes = 0;
    r->started_s = clock_wall_s();
}

/* Decides what a journalled order does next; see order.h and DESIGN section 6. */
static void begin(struct order *o)
{
    struct order_record *r = &o->record;
    enum order_step at = (enum order_step)r->step;
    bool over = !r->failed && (at == ORDER_PUBLISH || at == ORDER_CLEANUP || at == ORDER_GIVE_UP ||
                               at == ORDER_DONE);
    bool is_known = !strcmp(o->ca->url, r->ca); /* else its CA is not configured any more */
    if (over && at == ORDER_DONE && o->mode == ORDER_MODE_OBTAIN) {
        /* A value that its provider never removes must not stand in the way of a renewal. */
        forget_challenges(r);
        forget_certificate(o);
        enter(o, ORDER_PREPARE);
    } else if (over || o->mode != ORDER_MODE_OBTAIN) {
        r->failed = r->failed || !over;
        r->keep = r->keep && o->mode != ORDER_MODE_ABANDON;
        enter(o, ORDER_CLEANUP);
    } else if (r->order_url && is_known && (!r->failed || r->keep)) {
        take_up_again(o, resume_now);
    } else if (!r->failed && at == ORDER_NEW_ORDER) {
        o->lost = true;
        order_fail(o, ACME_NETWORK, "", 0,
                   "the process ended before the CA's answer was on disk, so the order counts "
                   "as used");
    } else if (!r->failed && o->journalled) {
        take_up_again(o, prepare_now); /* it died before the order was placed */
    } else {
        forget_challenges(r);
        forget_certificate(o);
        enter(o, ORDER_PREPARE);
    }
}

/* Borrowed texts of the caller's do not last as long as the order. */
static void keep_replaces(struct order *o)
{
    free(o->record.replaces);
    o->record.replaces = o->env.replaces ? mem_strdup(o->env.replaces) : NULL;
    o->env.replaces = NULL;
}

static void take_up(struct order *o, const char *const *names, uint32_t count, const char *id)
{
    struct order_record *r = &o->record;
    const struct config_resolver *c = o->resolver->config;
    struct result result = order_journal_get(o->env.state, id, r);
    o->journalled = result_is_ok(result);
    if (o->journalled) {
        if (!r->order_url)
            keep_replaces(o);
        choose_ca(o, false);
        return;
    }
    if (result.code != ERR_NOT_FOUND)
        log_error("%s: the journal's record of an unfinished order cannot be read (%s); the order "
                  "starts again, and a TXT value may be left",
                  names[0], err_meaning(result.code));
    *r = (struct order_record){.resolver = mem_strdup(c->name),
                               .names = mem_zalloc(count * sizeof *r->names),
                               .name_count = count,
                               .step = ORDER_PREPARE,
                               .started_s = clock_wall_s()};
    memcpy(r->id, id, ORDER_ID_LEN);
    keep_replaces(o);
    for (uint32_t i = 0; i < count; i++)
        r->names[i] = mem_strdup(names[i]);
    choose_ca(o, true);
}

struct order *order_start(const struct order_env *env, struct resolver *resolver,
                          const char *const *names, uint32_t count, const char *id,
                          enum order_mode mode)
{
    must(count > 0 && count <= ORDER_NAMES_MAX && strlen(id) == ORDER_ID_LEN);
    struct order *o = mem_zalloc(sizeof *o);
    o->env = *env;
    o->resolver = resolver;
    o->mode = mode;
    o->step_ns = o->begun_ns = clock_now_ns();
    loop_timer_init(&o->deadline, deadline_passed);
    loop_timer_init(&o->pause, pause_fired);
    take_up(o, names, count, id);
    order_pause(o, 0, begin);
    return o;
}

void order_destroy(struct order *o)
{
    if (o)
        order_free(o);
}

/* ---- end ------------------------------------------------------------------------------------- */

static void write_success(struct order *o)
{
    struct buf names = {0};
    struct ledger_key key = order_ledger_key(o, &names);
    ledger_succeeded(o->env.ledger, &key, clock_wall_s());
    buf_free(&names);
}

void order_finish(struct order *o)
{
    struct order_record *r = &o->record;
    struct order_result result = {.ok = !r->failed && !r->trial,
                                  .rehearsed = !r->failed && r->trial,
                                  .cleanup_only = r->failed && o->mode != ORDER_MODE_OBTAIN,
                                  .leftovers = o->leftovers,
                                  .unfinished = r->failed && r->keep,
                                  .disk = o->disk_failed};
    if (result.ok)
        write_success(o);
    if (o->leftovers || (r->failed && r->keep)) {
        r->failed = r->failed || r->trial; /* of a rehearsal only the values are left */
        r->step = r->failed ? ORDER_CLEANUP : ORDER_DONE; /* done but for the values left */
        order_journal_put(o->env.state, r);
    } else {
        order_journal_remove(o->env.state, r->id);
    }
    void (*finished)(void *arg, const struct order_result *result) = o->env.finished;
    void *arg = o->env.arg;
    order_free(o);
    finished(arg, &result);
}
