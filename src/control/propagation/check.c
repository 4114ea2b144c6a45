/* SPDX-License-Identifier: Apache-2.0 */
/* propagation_check(): asks every address of every name server of a zone, then every resolver where
 * that is wanted, until all of them have every value, several times in a row. */
#include "control/propagation/servers.h"
#include "control/propagation/task.h"

#include "base/clock.h"
#include "base/must.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUES_MAX      100
#define REPORTED_MAX    3  /* servers that a reason names */
#define SHOWN_MAX       2  /* values of others that it shows */
#define SHOWN_BYTES     24 /* of each */
#define ROUNDS_PER_LIST 10 /* failed rounds after which the name servers are looked up again */

/* One open question about one server. */
struct check_question {
    struct check *check;
    struct ask *ask;
    uint32_t index; /* of the server */
};

struct check_server {
    struct net_addr addr;
    char name[256]; /* "" = a resolver */
    bool has_all;
    uint32_t keeps_s; /* a resolver: how long it will go on answering the same */
    char text[320];   /* what it answered */
};

struct check {
    struct propagation task; /* first */
    struct net_addr resolvers[TASK_RESOLVERS_MAX];
    uint32_t resolver_count;
    uint16_t port;
    uint32_t successes;
    bool skip_servers, ask_resolvers; /* as in propagation_options */
    bool at_resolvers;                /* the resolvers are being asked */
    bool again;                       /* somebody wants the next look to be at once */
    bool has_servers;                 /* `servers` holds whom to ask */
    uint32_t authoritative;           /* how many servers had all values */
    uint64_t deadline_ns, interval_ns;
    char fqdn[DNSMSG_NAME_BYTES], zone[DNSMSG_NAME_BYTES];
    char *values[VALUES_MAX];
    uint32_t value_count;
    struct servers *search;
    struct check_server servers[SERVERS_MAX];
    uint32_t server_count;
    struct check_question questions[SERVERS_MAX];
    uint32_t open; /* questions without an answer */
    uint32_t in_a_row, failed_rounds, timeout_s;
    struct loop_timer turn; /* next step or round */
    void (*progress)(void *arg, const char *text);
    propagation_done *done;
    void *arg;
    char reason[800], told[800];
};

static_assert(TASK_RESOLVERS_MAX <= SERVERS_MAX, "every resolver can be asked");

static void destroy(struct propagation *p)
{
    struct check *c = (struct check *)p;
    servers_cancel(c->search);
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        ask_cancel(c->questions[i].ask);
    loop_timer_cancel(p->loop, &c->turn);
    for (uint32_t i = 0; i < c->value_count; i++)
        free(c->values[i]);
    free(c);
}

static void describe_success(const struct check *c, char *text, size_t cap)
{
    const char *s = c->value_count == 1 ? "" : "s";
    if (c->skip_servers)
        snprintf(text, cap, "all %u resolvers have the value%s", c->resolver_count, s);
    else if (c->ask_resolvers)
        snprintf(text, cap,
                 "all %u name server addresses of %.200s and all %u resolvers have the value%s",
                 c->authoritative, c->zone, c->resolver_count, s);
    else
        snprintf(text, cap, "all %u name server addresses of %.200s have the value%s",
                 c->authoritative, c->zone, s);
}

static void finish(struct check *c, bool ok)
{
    char text[960];
    if (ok)
        describe_success(c, text, sizeof text);
    else
        snprintf(text, sizeof text, "%s", c->reason);
    struct propagation_answer answer = {.ok = ok, .text = text};
    c->done(c->arg, &answer);
    destroy(&c->task);
}

/* What the resolvers without the value have kept changes the earliest of them first; asking before
 * brings the same. 0: ask as usual. */
static uint64_t kept_ns(const struct check *c)
{
    uint32_t least_s = UINT32_MAX;
    for (uint32_t i = 0; i < c->server_count; i++)
        if (!c->servers[i].has_all && c->servers[i].keeps_s < least_s)
            least_s = c->servers[i].keeps_s;
    return c->at_resolvers && least_s && least_s != UINT32_MAX ? (least_s + 1) * NS_PER_S : 0;
}

/* A round is over without success: tells why, and tries again after the interval. What a cache
 * keeps is waited for, but the last look is at the end of the time. */
static void try_later(struct check *c)
{
    uint64_t now = clock_now_ns(), at = now + c->interval_ns, kept = now + kept_ns(c);
    c->in_a_row = 0;
    if (++c->failed_rounds % ROUNDS_PER_LIST == 0 && !c->at_resolvers)
        c->has_servers = false;
    if (at >= c->deadline_ns) {
        char last[sizeof c->reason];
        memcpy(last, c->reason, sizeof last);
        snprintf(c->reason, sizeof c->reason, "not visible within %u s: %.740s", c->timeout_s,
                 last);
        finish(c, false);
        return;
    }
    if (kept > at)
        at = kept < c->deadline_ns ? kept : c->deadline_ns;
    if (c->again)
        at = now;
    c->again = false;
    loop_timer_set(c->task.loop, &c->turn, at);
    if (c->progress && strcmp(c->reason, c->told) != 0) {
        memcpy(c->told, c->reason, sizeof c->told);
        c->progress(c->arg, c->told);
    }
}

void propagation_look_now(struct propagation *p)
{
    struct check *c = (struct check *)p;
    must(p->destroy == destroy);
    if (c->open || c->search)
        c->again = true; /* what is asked now may have been asked too early */
    else if (c->in_a_row == 0)
        loop_timer_set(c->task.loop, &c->turn, clock_now_ns());
}

static void go_on(struct check *c, uint64_t wait_ns)
{
    loop_timer_set(c->task.loop, &c->turn, clock_now_ns() + wait_ns);
}

/* --- whom to ask
 * ------------------------------------------------------------------------------------------ */

static void take_servers(void *arg, const struct servers_list *list, const char *text)
{
    struct check *c = arg;
    c->search = NULL;
    if (!list) {
        snprintf(c->reason, sizeof c->reason, "%s", text);
        c->server_count = 0;
        try_later(c);
        return;
    }
    c->server_count = list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        struct check_server *s = &c->servers[i];
        *s = (struct check_server){.addr = list->items[i].addr};
        memcpy(s->name, list->names[list->items[i].name], sizeof s->name);
    }
    c->has_servers = true;
    go_on(c, 0);
}

static void take_resolvers(struct check *c)
{
    c->at_resolvers = c->has_servers = true;
    c->in_a_row = 0;
    c->server_count = c->resolver_count;
    for (uint32_t i = 0; i < c->resolver_count; i++)
        c->servers[i] = (struct check_server){.addr = c->resolvers[i]};
}

/* --- values
 * -------------------------------------------------------------------------------------------- */

/* What an answer holds of the wanted values, and what else stands at the name. */
struct found {
    bool values[VALUES_MAX];
    uint32_t count; /* of the wanted ones */
    uint32_t all;   /* TXT records */
    uint32_t ttl_s; /* the least of them */
    uint32_t shown;
    char others[128]; /* some of the values that are not wanted */
};

static void show_other(struct found *f, struct span value)
{
    size_t n = strlen(f->others);
    if (f->shown++ >= SHOWN_MAX)
        return;
    n += (size_t)snprintf(f->others + n, sizeof f->others - n, "%s\"", n ? ", " : "");
    for (size_t i = 0; i < value.len && i < SHOWN_BYTES; i++)
        f->others[n++] = isprint(value.ptr[i]) ? (char)value.ptr[i] : '?';
    snprintf(f->others + n, sizeof f->others - n, "%s\"", value.len > SHOWN_BYTES ? "..." : "");
}

static void take_value(const struct check *c, struct span value, struct found *f)
{
    bool wanted = false;
    for (uint32_t i = 0; i < c->value_count; i++) {
        if (!span_eq(value, span_str(c->values[i])))
            continue;
        f->count += !f->values[i];
        f->values[i] = wanted = true;
    }
    if (!wanted)
        show_other(f, value);
}

static void find_values(const struct check *c, struct dnsmsg m, struct found *ret)
{
    struct dnsmsg_record r;
    *ret = (struct found){.ttl_s = UINT32_MAX};
    while (dnsmsg_next(&m, &r)) {
        struct buf value = {0};
        if (r.section == DNSMSG_ANSWER && r.type == DNSMSG_TXT && dnsmsg_name_eq(r.name, c->fqdn) &&
            dnsmsg_txt(&m, &r, &value)) {
            ret->all++;
            ret->ttl_s = r.ttl_s < ret->ttl_s ? r.ttl_s : ret->ttl_s;
            take_value(c, buf_span(&value), ret);
        }
        buf_free(&value);
    }
}

static bool find_negative_ttl(struct dnsmsg m, uint32_t *ret_s)
{
    struct dnsmsg_record r;
    while (dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_AUTHORITY && r.type == DNSMSG_SOA)
            return dnsmsg_negative_ttl(&m, &r, ret_s);
    return false;
}

/* How long an answer without all values is kept, and a remark about it. */
static void remark(const struct check *c, struct check_server *s, const struct dnsmsg *m,
                   const struct found *f, char *out, size_t cap)
{
    uint32_t negative_s = 0;
    bool negative = f->all == 0 && find_negative_ttl(*m, &negative_s);
    if (c->at_resolvers && !s->has_all) {
        s->keeps_s = f->all ? f->ttl_s : negative_s;
        if (s->keeps_s)
            snprintf(out, cap, "; it keeps that answer for %u s", s->keeps_s);
    } else if (!c->at_resolvers && !dnsmsg_is_authoritative(m)) {
        snprintf(out, cap, ", not authoritative");
    } else if (negative) {
        snprintf(out, cap, "; caches keep that answer for %u s", negative_s);
    }
}

/* What a server has answered, for people. */
static void describe(const struct check *c, struct check_server *s, const struct ask_answer *answer)
{
    char addr[NET_ADDR_TEXT_MAX], who[128], more[64] = "";
    struct found f;
    net_addr_print(&s->addr, addr);
    s->keeps_s = 0;
    if (!answer->ok) {
        snprintf(s->text, sizeof s->text, "%.100s: %.90s", s->name[0] ? s->name : "resolver",
                 answer->text);
        return;
    }
    const struct dnsmsg *m = &answer->message;
    find_values(c, *m, &f);
    s->has_all = dnsmsg_rcode(m) == DNSMSG_NOERROR && f.count == c->value_count;
    remark(c, s, m, &f, more, sizeof more);
    snprintf(who, sizeof who, s->name[0] ? "%.60s (%.46s)" : "%s %.46s",
             s->name[0] ? s->name : "resolver", addr);
    snprintf(s->text, sizeof s->text, "%s: %s, %u of %u value%s among %u TXT%s%s%s%s", who,
             dnsmsg_rcode_text(dnsmsg_rcode(m)), f.count, c->value_count,
             c->value_count == 1 ? "" : "s", f.all, f.shown ? " (others: " : "", f.others,
             f.shown > SHOWN_MAX ? ", ...)"
             : f.shown           ? ")"
                                 : "",
             more);
}

/* Lists the servers that are not ready. Returns how many there are. */
static uint32_t collect_reason(struct check *c)
{
    uint32_t missing = 0;
    size_t n = 0;
    for (uint32_t i = 0; i < c->server_count; i++) {
        if (c->servers[i].has_all)
            continue;
        if (missing++ < REPORTED_MAX && n < sizeof c->reason)
            n += (size_t)snprintf(c->reason + n, sizeof c->reason - n, "%s%.240s", n ? "; " : "",
                                  c->servers[i].text);
    }
    if (missing > REPORTED_MAX && n < sizeof c->reason)
        snprintf(c->reason + n, sizeof c->reason - n, "; and %u more", missing - REPORTED_MAX);
    return missing;
}

static void values_are_complete(struct check *c)
{
    if (collect_reason(c)) {
        try_later(c);
        return;
    }
    if (++c->in_a_row < c->successes) {
        go_on(c, c->interval_ns);
        return;
    }
    if (!c->at_resolvers)
        c->authoritative = c->server_count;
    if (c->at_resolvers || !c->ask_resolvers) {
        finish(c, true);
        return;
    }
    take_resolvers(c);
    go_on(c, 0);
}

static void take_values(void *arg, const struct ask_answer *answer)
{
    struct check_question *q = arg;
    struct check *c = q->check;
    q->ask = NULL;
    describe(c, &c->servers[q->index], answer);
    if (--c->open == 0)
        values_are_complete(c);
}

static void ask_values(struct check *c)
{
    c->open = c->server_count;
    for (uint32_t i = 0; i < c->server_count; i++) {
        struct check_question *q = &c->questions[i];
        c->servers[i].has_all = false;
        q->index = i;
        q->ask = ask_start(c->task.loop, &c->servers[i].addr, 1, c->at_resolvers, c->fqdn,
                           DNSMSG_TXT, take_values, q);
    }
}

/* --- rounds
 * -----------------------------------------------------------------------------------------------
 */

static void take_turn(struct loop_timer *t)
{
    struct check *c = LIST_ENTRY(t, struct check, turn);
    if (c->resolver_count == 0)
        finish(c, false);
    else if (c->has_servers)
        ask_values(c);
    else
        c->search = servers_find(c->task.loop, c->resolvers, c->resolver_count, c->zone, c->port,
                                 take_servers, c);
}

static void take_options(struct check *c, const struct propagation_options *options)
{
    c->port = options->port ? options->port : 53;
    c->successes = options->successes ? options->successes : 1;
    c->skip_servers = options->skip_servers;
    c->ask_resolvers = options->ask_resolvers;
    c->timeout_s = options->timeout_s;
    c->deadline_ns = clock_now_ns() + options->timeout_s * NS_PER_S;
    c->interval_ns = (options->interval_s ? options->interval_s : 1) * NS_PER_S;
}

struct propagation *propagation_check(struct loop *loop, const struct propagation_options *options,
                                      const char *fqdn, const char *zone, const char *const *values,
                                      uint32_t count, void (*progress)(void *arg, const char *text),
                                      propagation_done *done, void *arg)
{
    struct check *c = mem_zalloc(sizeof *c);
    c->task = (struct propagation){destroy, loop};
    c->progress = progress;
    c->done = done;
    c->arg = arg;
    take_options(c, options);
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        c->questions[i].check = c;
    for (uint32_t i = 0; i < count && i < VALUES_MAX; i++)
        c->values[c->value_count++] = mem_strdup(values[i]);
    loop_timer_init(&c->turn, take_turn);
    struct why why = {"the name or its zone is empty or too long"};
    bool has_zone = c->skip_servers || dnsmsg_name_normal(zone, c->zone);
    if (!dnsmsg_name_normal(fqdn, c->fqdn) || !has_zone ||
        !result_is_ok(task_resolvers(options, c->resolvers, &c->resolver_count, &why))) {
        c->resolver_count = 0;
        snprintf(c->reason, sizeof c->reason, "%s", why.text);
    }
    /* The service may still be at work: a resolver that looks too early remembers that there was
     * nothing. */
    if (c->skip_servers && c->resolver_count)
        take_resolvers(c);
    go_on(c, c->at_resolvers ? c->interval_ns : 0);
    return &c->task;
}
