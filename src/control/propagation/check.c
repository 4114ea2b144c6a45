/* SPDX-License-Identifier: Apache-2.0 */
/* propagation_check(): asks every address of every name server of a zone until all of them have
 * every value, several times in a row. */
#include "control/propagation/task.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NAMES_MAX       13
#define SERVERS_MAX     32
#define VALUES_MAX      100
#define REPORTED_MAX    3  /* servers that a reason names */
#define ROUNDS_PER_LIST 10 /* failed rounds after which the name servers are looked up again */

enum check_step {
    CHECK_NAMES = 0, /* NS of the zone */
    CHECK_ADDRESSES, /* A and AAAA of each */
    CHECK_VALUES,    /* TXT at each address */
};

/* One open question about one name server. */
struct check_question {
    struct check *check;
    struct ask *ask;
    uint32_t index; /* of the name, or of the server */
};

struct check_server {
    struct net_addr addr;
    uint32_t name; /* index of its name */
    bool has_all;
    char text[200]; /* what it answered */
};

struct check {
    struct propagation task; /* first */
    struct net_addr resolvers[TASK_RESOLVERS_MAX];
    uint32_t resolver_count;
    uint16_t port;
    uint32_t successes;
    uint64_t deadline_ns, interval_ns;
    char fqdn[DNSMSG_NAME_BYTES], zone[DNSMSG_NAME_BYTES];
    char *values[VALUES_MAX];
    uint32_t value_count;
    char names[NAMES_MAX][256];
    uint32_t name_count;
    struct check_server servers[SERVERS_MAX];
    uint32_t server_count;
    struct check_question questions[SERVERS_MAX];
    uint32_t open; /* questions without an answer */
    enum check_step step;
    uint32_t in_a_row, failed_rounds, timeout_s;
    struct loop_timer turn; /* next step or round */
    void (*progress)(void *arg, const char *text);
    propagation_done *done;
    void *arg;
    char reason[512], told[512];
};

static_assert(2 * NAMES_MAX <= SERVERS_MAX, "an A and an AAAA question for every name fit");

static void destroy(struct propagation *p)
{
    struct check *c = (struct check *)p;
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        ask_cancel(c->questions[i].ask);
    loop_timer_cancel(p->loop, &c->turn);
    for (uint32_t i = 0; i < c->value_count; i++)
        free(c->values[i]);
    free(c);
}

static void finish(struct check *c, bool ok)
{
    char text[640];
    if (ok)
        snprintf(text, sizeof text, "all %u name server addresses of %.200s have the value%s",
                 c->server_count, c->zone, c->value_count == 1 ? "" : "s");
    else
        snprintf(text, sizeof text, "%s", c->reason);
    struct propagation_answer answer = {.ok = ok, .text = text};
    c->done(c->arg, &answer);
    destroy(&c->task);
}

/* A round is over without success: tells why, and tries again after the interval. */
static void try_later(struct check *c)
{
    c->in_a_row = 0;
    if (++c->failed_rounds % ROUNDS_PER_LIST == 0)
        c->step = CHECK_NAMES;
    uint64_t at = clock_now_ns() + c->interval_ns;
    if (at >= c->deadline_ns) {
        char last[sizeof c->reason];
        memcpy(last, c->reason, sizeof last);
        snprintf(c->reason, sizeof c->reason, "not visible within %u s: %.450s", c->timeout_s,
                 last);
        finish(c, false);
        return;
    }
    loop_timer_set(c->task.loop, &c->turn, at);
    if (c->progress && strcmp(c->reason, c->told) != 0) {
        memcpy(c->told, c->reason, sizeof c->told);
        c->progress(c->arg, c->told);
    }
}

static void next_step(struct check *c, enum check_step step)
{
    c->step = step;
    loop_timer_set(c->task.loop, &c->turn, loop_now_ns(c->task.loop));
}

/* --- name servers
 * ----------------------------------------------------------------------------------- */

static void take_names(void *arg, const struct ask_answer *answer)
{
    struct check_question *q = arg;
    struct check *c = q->check;
    q->ask = NULL;
    c->name_count = 0;
    if (!answer->ok) {
        snprintf(c->reason, sizeof c->reason, "the name servers of %.200s: resolver %.200s",
                 c->zone, answer->text);
        try_later(c);
        return;
    }
    struct dnsmsg m = answer->message;
    struct dnsmsg_record r;
    char name[DNSMSG_NAME_BYTES];
    while (c->name_count < NAMES_MAX && dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_ANSWER && r.type == DNSMSG_NS && dnsmsg_name_eq(r.name, c->zone) &&
            dnsmsg_target(&m, &r, name) && strlen(name) < sizeof c->names[0])
            snprintf(c->names[c->name_count++], sizeof c->names[0], "%s", name);
    if (c->name_count) {
        next_step(c, CHECK_ADDRESSES);
        return;
    }
    char server[NET_ADDR_TEXT_MAX];
    snprintf(c->reason, sizeof c->reason,
             "%s answers %s and no NS record when asked for those of %.200s",
             net_addr_print(&answer->server, server), dnsmsg_rcode_text(dnsmsg_rcode(&m)), c->zone);
    try_later(c);
}

/* Whether this machine has a way to the address at all; without IPv6 its addresses are left out. */
static bool has_route(const struct net_addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return false;
    bool good = connect(fd, &addr->sa, addr->len) == 0 ||
                (errno != ENETUNREACH && errno != EADDRNOTAVAIL && errno != EHOSTUNREACH);
    close(fd);
    return good;
}

static void add_server(struct check *c, uint32_t name, const struct dnsmsg *m,
                       const struct dnsmsg_record *r)
{
    struct net_addr a = {0};
    const uint8_t *bytes = m->bytes.ptr + r->rdata_at;
    if (r->type == DNSMSG_A && r->rdata_bytes == 4) {
        a.in.sin_family = AF_INET;
        memcpy(&a.in.sin_addr, bytes, 4);
        a.len = sizeof a.in;
    } else if (r->type == DNSMSG_AAAA && r->rdata_bytes == 16) {
        a.in6.sin6_family = AF_INET6;
        memcpy(&a.in6.sin6_addr, bytes, 16);
        a.len = sizeof a.in6;
    } else {
        return;
    }
    net_addr_set_port(&a, c->port);
    for (uint32_t i = 0; i < c->server_count; i++)
        if (net_addr_eq(&c->servers[i].addr, &a))
            return;
    if (c->server_count < SERVERS_MAX && has_route(&a))
        c->servers[c->server_count++] = (struct check_server){.addr = a, .name = name};
}

static void addresses_are_complete(struct check *c)
{
    if (c->server_count) {
        next_step(c, CHECK_VALUES);
        return;
    }
    snprintf(c->reason, sizeof c->reason,
             "no name server of %.200s has an address that this machine can reach (%.100s%s)",
             c->zone, c->names[0], c->name_count > 1 ? " and others" : "");
    c->step = CHECK_NAMES;
    try_later(c);
}

static void take_address(void *arg, const struct ask_answer *answer)
{
    struct check_question *q = arg;
    struct check *c = q->check;
    q->ask = NULL;
    struct dnsmsg m = answer->message;
    struct dnsmsg_record r;
    /* A CNAME in between is not asked about: the answer section holds its target's addresses. */
    while (answer->ok && dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_ANSWER)
            add_server(c, q->index, &m, &r);
    if (--c->open == 0)
        addresses_are_complete(c);
}

static void ask_addresses(struct check *c)
{
    c->server_count = 0;
    c->open = 2 * c->name_count;
    for (uint32_t i = 0; i < 2 * c->name_count; i++) {
        struct check_question *q = &c->questions[i];
        q->index = i / 2;
        q->ask = ask_start(c->task.loop, c->resolvers, c->resolver_count, true, c->names[i / 2],
                           i % 2 ? DNSMSG_AAAA : DNSMSG_A, take_address, q);
    }
}

/* --- values
 * -------------------------------------------------------------------------------------------- */

/* How many of the wanted values the answer holds, and how many TXT records it holds at all. */
static uint32_t count_values(const struct check *c, struct dnsmsg m, uint32_t *ret_seen)
{
    bool found[VALUES_MAX] = {false};
    uint32_t count = 0;
    struct dnsmsg_record r;
    *ret_seen = 0;
    while (dnsmsg_next(&m, &r)) {
        struct buf value = {0};
        if (r.section == DNSMSG_ANSWER && r.type == DNSMSG_TXT && dnsmsg_name_eq(r.name, c->fqdn) &&
            dnsmsg_txt(&m, &r, &value)) {
            (*ret_seen)++;
            for (uint32_t i = 0; i < c->value_count; i++) {
                bool same = span_eq(buf_span(&value), span_str(c->values[i]));
                count += same && !found[i];
                found[i] |= same;
            }
        }
        buf_free(&value);
    }
    return count;
}

static bool find_negative_ttl(struct dnsmsg m, uint32_t *ret_s)
{
    struct dnsmsg_record r;
    while (dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_AUTHORITY && r.type == DNSMSG_SOA)
            return dnsmsg_negative_ttl(&m, &r, ret_s);
    return false;
}

/* What a server has answered, for people. */
static void describe(const struct check *c, struct check_server *s, const struct ask_answer *answer)
{
    char addr[NET_ADDR_TEXT_MAX], more[64] = "";
    net_addr_print(&s->addr, addr);
    if (!answer->ok) {
        snprintf(s->text, sizeof s->text, "%.100s: %.90s", c->names[s->name], answer->text);
        return;
    }
    const struct dnsmsg *m = &answer->message;
    uint32_t seen = 0, negative_s = 0;
    uint32_t count = count_values(c, *m, &seen);
    s->has_all = dnsmsg_rcode(m) == DNSMSG_NOERROR && count == c->value_count;
    if (!dnsmsg_is_authoritative(m))
        snprintf(more, sizeof more, ", not authoritative");
    else if (seen == 0 && find_negative_ttl(*m, &negative_s))
        snprintf(more, sizeof more, "; caches keep that answer for %u s", negative_s);
    snprintf(s->text, sizeof s->text, "%.60s (%.46s): %s, %u of %u value%s among %u TXT%s",
             c->names[s->name], addr, dnsmsg_rcode_text(dnsmsg_rcode(m)), count, c->value_count,
             c->value_count == 1 ? "" : "s", seen, more);
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
            n += (size_t)snprintf(c->reason + n, sizeof c->reason - n, "%s%.140s", n ? "; " : "",
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
    if (++c->in_a_row >= c->successes) {
        finish(c, true);
        return;
    }
    loop_timer_set(c->task.loop, &c->turn, clock_now_ns() + c->interval_ns);
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
        q->ask = ask_start(c->task.loop, &c->servers[i].addr, 1, false, c->fqdn, DNSMSG_TXT,
                           take_values, q);
    }
}

/* --- rounds
 * -----------------------------------------------------------------------------------------------
 */

static void take_turn(struct loop_timer *t)
{
    struct check *c = LIST_ENTRY(t, struct check, turn);
    if (c->resolver_count == 0) {
        finish(c, false);
        return;
    }
    switch (c->step) {
    case CHECK_NAMES:
        c->questions[0].ask = ask_start(c->task.loop, c->resolvers, c->resolver_count, true,
                                        c->zone, DNSMSG_NS, take_names, &c->questions[0]);
        break;
    case CHECK_ADDRESSES:
        ask_addresses(c);
        break;
    case CHECK_VALUES:
        ask_values(c);
        break;
    }
}

struct propagation *propagation_check(struct loop *loop, const struct propagation_options *options,
                                      const char *fqdn, const char *zone, const char *const *values,
                                      uint32_t count, void (*progress)(void *arg, const char *text),
                                      propagation_done *done, void *arg)
{
    struct check *c = mem_zalloc(sizeof *c);
    c->task = (struct propagation){destroy, loop};
    c->port = options->port ? options->port : 53;
    c->successes = options->successes ? options->successes : 1;
    c->timeout_s = options->timeout_s;
    c->deadline_ns = clock_now_ns() + options->timeout_s * NS_PER_S;
    c->interval_ns = (options->interval_s ? options->interval_s : 1) * NS_PER_S;
    c->progress = progress;
    c->done = done;
    c->arg = arg;
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        c->questions[i].check = c;
    for (uint32_t i = 0; i < count && i < VALUES_MAX; i++)
        c->values[c->value_count++] = mem_strdup(values[i]);
    loop_timer_init(&c->turn, take_turn);
    struct why why = {"the name or its zone is empty or too long"};
    if (!dnsmsg_name_normal(fqdn, c->fqdn) || !dnsmsg_name_normal(zone, c->zone) ||
        !result_is_ok(task_resolvers(options, c->resolvers, &c->resolver_count, &why))) {
        c->resolver_count = 0;
        snprintf(c->reason, sizeof c->reason, "%s", why.text);
    }
    next_step(c, CHECK_NAMES);
    return &c->task;
}
