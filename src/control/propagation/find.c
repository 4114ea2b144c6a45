/* SPDX-License-Identifier: Apache-2.0 */
/* propagation_find(): follows CNAMEs from the challenge name, then walks up to the zone of where
 * they end. Where the resolvers must not hear of the challenge name yet, the other way round: walks
 * up from the name above it, and asks the zone's own servers about the name. */
#include "control/propagation/servers.h"
#include "control/propagation/task.h"

#include "base/must.h"
#include "base/rand.h"

#include <stdio.h>
#include <stdlib.h>

#define HOPS_MAX 8

#define CUTS_MAX  8
#define QUIET_MAX 3 /* servers that a quiet question is tried at */

enum find_step {
    FIND_CNAME = 0, /* is the name an alias? */
    FIND_SIBLING,   /* is a name beside it the same alias? then it is a wildcard's */
    FIND_ZONE,      /* SOA of the name and of its parents */
    FIND_SERVERS,   /* quietly: who is authoritative for the zone above? */
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
    bool quiet;    /* the resolvers are not asked about `name` itself */
    uint16_t port; /* of authoritative servers */
    struct servers *search;
    struct net_addr servers[QUIET_MAX]; /* of `zone`, when quiet */
    uint32_t server_count;
    uint32_t cuts; /* delegations followed below one name */
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
    servers_cancel(f->search);
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

/* Begins with a name: what is asked first depends on who may hear of it. */
static void begin_name(struct find *f)
{
    f->zone = dnsmsg_name_parent(f->name);
    f->quiet = f->quiet && f->zone;
    f->step = f->quiet ? FIND_ZONE : FIND_CNAME;
    f->cuts = 0;
}

/* The zone's own servers are of no help: the resolvers have to be asked after all. */
static void end_quiet(struct find *f, const char *text)
{
    snprintf(
        f->text, sizeof f->text,
        "the resolvers are asked about %.150s before it exists, which they may remember: %.250s",
        f->name, text);
    f->quiet = false;
    begin_name(f);
}

/* The tail of `name` that is this zone; NULL when it is none, or none below the zone of before. */
static const char *find_tail(const struct find *f, const char *zone)
{
    const char *tail = f->name;
    while (tail && tail != f->zone && !dnsmsg_name_eq(tail, zone))
        tail = dnsmsg_name_parent(tail);
    return tail && dnsmsg_name_eq(tail, zone) ? tail : NULL;
}

/* An authoritative server knows no alias. Its answer names the zone, or who holds it. Returns false
 * when the search has ended. */
static bool take_no_alias(struct find *f, struct dnsmsg m)
{
    bool refers = !dnsmsg_is_authoritative(&m) && f->cuts < CUTS_MAX;
    const char *below = NULL;
    struct dnsmsg_record r;
    while (dnsmsg_next(&m, &r)) {
        bool tells = r.type == DNSMSG_SOA || (r.type == DNSMSG_NS && refers);
        const char *tail = r.section == DNSMSG_AUTHORITY && tells ? find_tail(f, r.name) : NULL;
        below = tail ? tail : below;
    }
    if (below && below != f->zone && refers) {
        f->zone = below;
        f->cuts++;
        f->step = FIND_SERVERS;
        return true;
    }
    f->zone = below ? below : f->zone;
    finish(f, true);
    return false;
}

/* Returns false when the search has ended. */
static bool take_cname(struct find *f, const struct dnsmsg *m)
{
    unsigned rcode = dnsmsg_rcode(m);
    if (f->quiet && rcode != DNSMSG_NOERROR && rcode != DNSMSG_NXDOMAIN) {
        end_quiet(f, dnsmsg_rcode_text(rcode));
        return true;
    }
    if (rcode != DNSMSG_NOERROR || !find_cname(*m, f->name, f->target)) {
        if (f->quiet)
            return take_no_alias(f, *m);
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
 * challenge. Returns false when the search has ended. */
static bool take_sibling(struct find *f, const struct dnsmsg *m, const char *sibling)
{
    char other[DNSMSG_NAME_BYTES];
    if (find_cname(*m, sibling, other) && dnsmsg_name_eq(other, f->target)) {
        snprintf(f->text, sizeof f->text,
                 "the CNAME %.200s -> %.200s comes from a wildcard and is not followed", f->name,
                 f->target);
        if (f->quiet) {
            finish(f, true);
            return false;
        }
        begin_zone(f);
        return true;
    }
    memcpy(f->name, f->target, sizeof f->name);
    f->hops++;
    snprintf(f->text, sizeof f->text, "%.200s is an alias: the value goes to %.200s", f->asked,
             f->name);
    begin_name(f);
    return true;
}

/* Returns false when the walk has ended. */
static bool take_soa(struct find *f, const struct ask_answer *answer)
{
    const struct dnsmsg *m = &answer->message;
    unsigned rcode = dnsmsg_rcode(m);
    char server[NET_ADDR_TEXT_MAX];
    if (rcode == DNSMSG_NOERROR && find_soa(*m, f->zone)) {
        f->step = FIND_SERVERS;
        if (f->quiet)
            return true;
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

static void take_servers(void *arg, const struct servers_list *list, const char *text)
{
    struct find *f = arg;
    f->search = NULL;
    f->server_count = 0;
    for (uint32_t i = 0; list && i < list->count && f->server_count < QUIET_MAX; i++)
        f->servers[f->server_count++] = list->items[i].addr;
    if (list)
        f->step = FIND_CNAME;
    else
        end_quiet(f, text);
    next_question(f);
}

static void take_silence(struct find *f, const char *text)
{
    if (f->quiet && f->step != FIND_ZONE) {
        end_quiet(f, text);
        next_question(f);
        return;
    }
    snprintf(f->text, sizeof f->text, "the zone of %.200s cannot be found: resolver %.200s",
             f->name, text);
    finish(f, false);
}

/* The sibling's name is made when it is asked for and comes back in the answer's question. */
static void take_answer(void *arg, const struct ask_answer *answer)
{
    struct find *f = arg;
    char sibling[DNSMSG_NAME_BYTES];
    size_t end;
    bool goes_on = true;
    f->ask = NULL;
    if (!answer->ok) {
        take_silence(f, answer->text);
        return;
    }
    switch (f->step) {
    case FIND_CNAME:
        goes_on = take_cname(f, &answer->message);
        break;
    case FIND_SIBLING:
        if (!dnsmsg_name(&answer->message, 12, sibling, &end))
            sibling[0] = 0;
        goes_on = take_sibling(f, &answer->message, sibling);
        break;
    case FIND_ZONE:
        goes_on = take_soa(f, answer);
        break;
    case FIND_SERVERS:
        never();
    }
    if (goes_on)
        next_question(f);
}

/* About the name itself, and what stands beside it: quietly, where that is wanted. */
static void ask(struct find *f, const char *name, uint16_t type)
{
    bool quietly = f->quiet && f->step != FIND_ZONE;
    f->ask = ask_start(f->task.loop, quietly ? f->servers : f->resolvers,
                       quietly ? f->server_count : f->resolver_count, !quietly, name, type,
                       take_answer, f);
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
    case FIND_SERVERS:
        f->search = servers_find(f->task.loop, f->resolvers, f->resolver_count, f->zone, f->port,
                                 take_servers, f);
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
        f->quiet = options && options->ask_resolvers;
        f->port = options && options->port ? options->port : 53;
        begin_name(f);
        next_question(f);
    } else {
        snprintf(f->text, sizeof f->text, "%s", why.text);
        loop_timer_set(loop, &f->turn, loop_now_ns(loop));
    }
    return &f->task;
}
