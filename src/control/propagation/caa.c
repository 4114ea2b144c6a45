/* SPDX-License-Identifier: Apache-2.0 */
/* propagation_caa(): do a name's CAA records let a CA issue? (RFC 8659 section 3) */
#include "control/propagation/task.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define CAA_CRITICAL 0x80

struct caa {
    struct propagation task;
    struct ask *ask;
    struct loop_timer turn;
    struct net_addr resolvers[TASK_RESOLVERS_MAX];
    uint32_t resolver_count;
    char name[DNSMSG_NAME_BYTES];
    const char *at; /* in name: whose records are asked for */
    bool wildcard;
    const char **identities; /* copies: what a CA has told is told anew now and then */
    uint32_t identity_count;
    enum propagation_caa_verdict verdict;
    char text[512];
    propagation_caa_done *done;
    void *arg;
};

static void destroy(struct propagation *p)
{
    struct caa *c = (struct caa *)p;
    ask_cancel(c->ask);
    loop_timer_cancel(p->loop, &c->turn);
    for (uint32_t i = 0; i < c->identity_count; i++)
        free((char *)c->identities[i]);
    free(c->identities);
    free(c);
}

static void finish(struct caa *c, enum propagation_caa_verdict verdict)
{
    c->done(c->arg, verdict, c->text);
    destroy(&c->task);
}

/* ---- records -------------------------------------------------------------------------------- */

struct property {
    struct span tag, value;
    bool critical;
};

static bool read_property(const struct dnsmsg *m, const struct dnsmsg_record *r,
                          struct property *ret)
{
    struct reader in = reader_of(span_of(m->bytes.ptr + r->rdata_at, r->rdata_bytes));
    uint32_t flags = (uint32_t)reader_be(&in, 1);
    ret->critical = flags & CAA_CRITICAL;
    ret->tag = reader_bytes(&in, reader_be(&in, 1));
    ret->value = span_of(in.ptr, in.left);
    return !in.bad && ret->tag.len > 0;
}

/* "ca.test; accounturi=..." names the issuer ca.test; ";" names nobody. */
static bool names_us(const struct caa *c, struct span value)
{
    struct span issuer = span_first(value, span_find(value, ';'));
    while (issuer.len && (issuer.ptr[0] == ' ' || issuer.ptr[0] == '\t'))
        issuer = span_skip(issuer, 1);
    while (issuer.len && (issuer.ptr[issuer.len - 1] == ' ' || issuer.ptr[issuer.len - 1] == '\t'))
        issuer.len--;
    for (uint32_t i = 0; i < c->identity_count; i++)
        if (span_eq_nocase(issuer, span_str(c->identities[i])))
            return true;
    return false;
}

/* What one name's records say. */
struct records {
    uint32_t count;
    bool issue, issue_us, wild, wild_us, unknown;
};

static void read_records(const struct caa *c, struct dnsmsg m, struct records *ret)
{
    struct dnsmsg_record r;
    struct property p;
    *ret = (struct records){0};
    while (dnsmsg_next(&m, &r)) {
        if (r.section != DNSMSG_ANSWER || r.type != DNSMSG_CAA || !read_property(&m, &r, &p))
            continue;
        ret->count++;
        if (span_eq_nocase(p.tag, SPAN_LITERAL("issue"))) {
            ret->issue = true;
            ret->issue_us = ret->issue_us || names_us(c, p.value);
        } else if (span_eq_nocase(p.tag, SPAN_LITERAL("issuewild"))) {
            ret->wild = true;
            ret->wild_us = ret->wild_us || names_us(c, p.value);
        } else if (p.critical && !span_eq_nocase(p.tag, SPAN_LITERAL("iodef"))) {
            ret->unknown = true;
        }
    }
}

static bool allows(const struct caa *c, const struct records *r)
{
    if (r->unknown)
        return false;
    if (c->wildcard && r->wild)
        return r->wild_us;
    return !r->issue || r->issue_us;
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void next_question(struct caa *c);

static void take_answer(void *arg, const struct ask_answer *answer)
{
    struct caa *c = arg;
    struct records r;
    c->ask = NULL;
    unsigned rcode = answer->ok ? dnsmsg_rcode(&answer->message) : 0;
    if (!answer->ok) {
        snprintf(c->text, sizeof c->text, "CAA records of %.200s: resolver %.200s", c->at,
                 answer->text);
        finish(c, PROPAGATION_CAA_UNKNOWN);
        return;
    }
    if (rcode != DNSMSG_NOERROR && rcode != DNSMSG_NXDOMAIN) {
        char server[NET_ADDR_TEXT_MAX];
        snprintf(c->text, sizeof c->text, "CAA records of %.200s: %s answers %s", c->at,
                 net_addr_print(&answer->server, server), dnsmsg_rcode_text(rcode));
        finish(c, PROPAGATION_CAA_UNKNOWN);
        return;
    }
    read_records(c, answer->message, &r);
    if (r.count) {
        bool good = allows(c, &r);
        snprintf(c->text, sizeof c->text, "the CAA records of %.200s %s the CA %.100s", c->at,
                 good ? "let" : "do not name", c->identities[0]);
        finish(c, good ? PROPAGATION_CAA_ALLOWED : PROPAGATION_CAA_FORBIDDEN);
        return;
    }
    c->at = dnsmsg_name_parent(c->at);
    if (c->at && strcmp(c->at, ".") != 0)
        next_question(c);
    else
        finish(c, PROPAGATION_CAA_ALLOWED);
}

static void next_question(struct caa *c)
{
    c->ask = ask_start(c->task.loop, c->resolvers, c->resolver_count, true, c->at, DNSMSG_CAA,
                       take_answer, c);
}

static void fail_turn(struct loop_timer *t)
{
    finish(LIST_ENTRY(t, struct caa, turn), PROPAGATION_CAA_UNKNOWN);
}

struct propagation *propagation_caa(struct loop *loop, const struct propagation_options *options,
                                    const char *name, const char *const *identities,
                                    uint32_t identity_count, propagation_caa_done *done, void *arg)
{
    struct caa *c = mem_zalloc(sizeof *c);
    struct why why = {"the name is empty or too long"};
    c->task = (struct propagation){destroy, loop};
    c->wildcard = !strncmp(name, "*.", 2);
    c->identities = mem_zalloc(identity_count * sizeof *c->identities);
    c->identity_count = identity_count;
    for (uint32_t i = 0; i < identity_count; i++)
        c->identities[i] = mem_strdup(identities[i]);
    c->done = done;
    c->arg = arg;
    loop_timer_init(&c->turn, fail_turn);
    if (dnsmsg_name_normal(c->wildcard ? name + 2 : name, c->name) &&
        result_is_ok(task_resolvers(options, c->resolvers, &c->resolver_count, &why))) {
        c->at = c->name;
        next_question(c);
    } else {
        snprintf(c->text, sizeof c->text, "%s", why.text);
        loop_timer_set(loop, &c->turn, loop_now_ns(loop));
    }
    return &c->task;
}
