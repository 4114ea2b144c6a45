/* SPDX-License-Identifier: Apache-2.0 */
/* propagation_find(): follows CNAMEs from the challenge name, then walks up to the zone of where
 * they end. */
#include "control/propagation/task.h"

#include "base/rand.h"

#include <stdio.h>
#include <stdlib.h>

#define HOPS_MAX 8

enum find_step {
    FIND_CNAME = 0, /* is the name an alias? */
    FIND_SIBLING,   /* is a name beside it the same alias? then it is a wildcard's */
    FIND_ZONE,      /* SOA of the name and of its parents */
};

struct find {
    struct propagation task; /* first */
    struct net_addr resolvers[TASK_RESOLVERS_MAX];
    uint32_t resolver_count;
    char asked[DNSMSG_NAME_BYTES];  /* the challenge name */
    char name[DNSMSG_NAME_BYTES];   /* after the CNAMEs followed so far */
    char target[DNSMSG_NAME_BYTES]; /* of the CNAME at name, not yet trusted */
    const char *zone;               /* a tail of name: who is asked for its SOA */
    enum find_step step;
    uint32_t hops;
    struct ask *ask;
    struct loop_timer turn; /* answers from the loop when there is nothing to ask */
    propagation_place_done *done;
    void *arg;
    char text[512];
};

static void next_question(struct find *f);

static void destroy(struct propagation *p)
{
    struct find *f = (struct find *)p;
    ask_cancel(f->ask);
    loop_timer_cancel(p->loop, &f->turn);
    free(f);
}

static void finish(struct find *f, bool ok)
{
    struct propagation_place place = {.ok = ok, .text = f->text};
    if (ok) {
        place.fqdn = f->name;
        place.zone = f->zone;
    }
    f->done(f->arg, &place);
    destroy(&f->task);
}

/* Finds the CNAME at `name` in the answer section. */
static bool find_cname(struct dnsmsg m, const char *name, char target[DNSMSG_NAME_BYTES])
{
    struct dnsmsg_record r;
    while (dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_ANSWER && r.type == DNSMSG_CNAME && dnsmsg_name_eq(r.name, name))
            return dnsmsg_target(&m, &r, target);
    return false;
}

static bool find_soa(struct dnsmsg m, const char *name)
{
    struct dnsmsg_record r;
    while (dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_ANSWER && r.type == DNSMSG_SOA && dnsmsg_name_eq(r.name, name))
            return true;
    return false;
}

static void begin_zone(struct find *f)
{
    f->step = FIND_ZONE;
    f->zone = f->name;
}

/* Returns false when the search has ended. */
static bool take_cname(struct find *f, const struct dnsmsg *m)
{
    if (dnsmsg_rcode(m) != DNSMSG_NOERROR || !find_cname(*m, f->name, f->target)) {
        begin_zone(f);
        return true;
    }
    f->step = FIND_SIBLING;
    if (f->hops < HOPS_MAX)
        return true;
    snprintf(f->text, sizeof f->text,
             "%.200s leads through more than %d CNAMEs, last %.200s: is there a circle?", f->asked,
             HOPS_MAX, f->name);
    finish(f, false);
    return false;
}

/* A name that nobody made has the same target: the CNAME is a wildcard's and says nothing about the
 * challenge. */
static void take_sibling(struct find *f, const struct dnsmsg *m, const char *sibling)
{
    char other[DNSMSG_NAME_BYTES];
    if (find_cname(*m, sibling, other) && dnsmsg_name_eq(other, f->target)) {
        snprintf(f->text, sizeof f->text,
                 "the CNAME %.200s -> %.200s comes from a wildcard and is not followed", f->name,
                 f->target);
        begin_zone(f);
        return;
    }
    memcpy(f->name, f->target, sizeof f->name);
    f->hops++;
    snprintf(f->text, sizeof f->text, "%.200s is an alias: the value goes to %.200s", f->asked,
             f->name);
    f->step = FIND_CNAME;
}

/* Returns false when the walk has ended. */
static bool take_soa(struct find *f, const struct ask_answer *answer)
{
    const struct dnsmsg *m = &answer->message;
    unsigned rcode = dnsmsg_rcode(m);
    char server[NET_ADDR_TEXT_MAX];
    if (rcode == DNSMSG_NOERROR && find_soa(*m, f->zone)) {
        finish(f, true);
        return false;
    }
    if (rcode != DNSMSG_NOERROR && rcode != DNSMSG_NXDOMAIN) {
        snprintf(
            f->text, sizeof f->text,
            "the zone of %.200s cannot be found: %s answers %s when asked for the SOA of %.200s",
            f->name, net_addr_print(&answer->server, server), dnsmsg_rcode_text(rcode), f->zone);
        finish(f, false);
        return false;
    }
    f->zone = dnsmsg_name_parent(f->zone);
    if (!f->zone) {
        snprintf(f->text, sizeof f->text,
                 "no zone holds %.200s: %s knows no SOA of it or of any parent (is the domain "
                 "registered, and are the resolvers the right ones?)",
                 f->name, net_addr_print(&answer->server, server));
        finish(f, false);
        return false;
    }
    return true;
}

/* The sibling's name is made when it is asked for and comes back in the answer's question. */
static void take_answer(void *arg, const struct ask_answer *answer)
{
    struct find *f = arg;
    f->ask = NULL;
    if (!answer->ok) {
        snprintf(f->text, sizeof f->text, "the zone of %.200s cannot be found: resolver %.200s",
                 f->name, answer->text);
        finish(f, false);
        return;
    }
    char sibling[DNSMSG_NAME_BYTES];
    size_t end;
    switch (f->step) {
    case FIND_CNAME:
        if (!take_cname(f, &answer->message))
            return;
        break;
    case FIND_SIBLING:
        if (!dnsmsg_name(&answer->message, 12, sibling, &end))
            sibling[0] = 0;
        take_sibling(f, &answer->message, sibling);
        break;
    case FIND_ZONE:
        if (!take_soa(f, answer))
            return;
        break;
    }
    next_question(f);
}

static void ask(struct find *f, const char *name, uint16_t type)
{
    f->ask =
        ask_start(f->task.loop, f->resolvers, f->resolver_count, true, name, type, take_answer, f);
}

static void next_question(struct find *f)
{
    char sibling[DNSMSG_NAME_BYTES + 32];
    const char *parent;
    switch (f->step) {
    case FIND_CNAME:
        ask(f, f->name, DNSMSG_CNAME);
        break;
    case FIND_SIBLING:
        parent = dnsmsg_name_parent(f->name);
        snprintf(sibling, sizeof sibling, "_x%08x.%s", (unsigned)rand_u64(), parent ? parent : "");
        ask(f, sibling, DNSMSG_CNAME);
        break;
    case FIND_ZONE:
        ask(f, f->zone, DNSMSG_SOA);
        break;
    }
}

static void fail_turn(struct loop_timer *t)
{
    finish(LIST_ENTRY(t, struct find, turn), false);
}

struct propagation *propagation_find(struct loop *loop, const struct propagation_options *options,
                                     const char *fqdn, propagation_place_done *done, void *arg)
{
    struct find *f = mem_zalloc(sizeof *f);
    f->task = (struct propagation){destroy, loop};
    f->done = done;
    f->arg = arg;
    loop_timer_init(&f->turn, fail_turn);
    struct why why = {"the name is empty or too long"};
    if (dnsmsg_name_normal(fqdn, f->asked) &&
        result_is_ok(task_resolvers(options, f->resolvers, &f->resolver_count, &why))) {
        memcpy(f->name, f->asked, sizeof f->name);
        next_question(f);
    } else {
        snprintf(f->text, sizeof f->text, "%s", why.text);
        loop_timer_set(loop, &f->turn, loop_now_ns(loop));
    }
    return &f->task;
}
