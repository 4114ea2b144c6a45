/* SPDX-License-Identifier: Apache-2.0 */
/* Which challenge proves which name, and the challenges that the workers answer. */
#include "control/order_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define AGAIN_NS       (1 * NS_PER_S) /* while another order proves the same name */
#define DELAY_MARGIN_S 60

/* In this order they are tried, behind the one that a name was proven by last: that which costs
 * least and says soonest what is wrong first. */
static const enum order_challenge preference[] = {ORDER_CHALLENGE_HTTP, ORDER_CHALLENGE_TLS,
                                                  ORDER_CHALLENGE_DNS};
#define PREFERENCES (sizeof preference / sizeof preference[0])

/* ---- choice -----------------------------------------------------------------------------------
 */

static bool is_allowed(const struct config_resolver *c, enum order_challenge challenge)
{
    switch (challenge) {
    case ORDER_CHALLENGE_HTTP:
        return c->http_challenge;
    case ORDER_CHALLENGE_TLS:
        return c->tls_challenge;
    default:
        return c->dns_provider != NULL;
    }
}

bool order_answer_has_choice(const struct order *o)
{
    const struct config_resolver *c = o->resolver->config;
    return (c->dns_provider != NULL) + c->http_challenge + c->tls_challenge > 1;
}

/* RFC 8555 section 8.3, RFC 8737 section 3 and RFC 8738 section 7: wildcards only by DNS, addresses
 * never by it. */
static bool is_able(const struct order *o, enum order_challenge challenge, const char *name)
{
    uint8_t ip[16];
    bool dns = challenge == ORDER_CHALLENGE_DNS;
    if (name[0] == '*')
        return dns && o->resolver->provider;
    if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
        return !dns;
    return !dns || o->resolver->provider;
}

static bool is_offered(const struct document_authorization *offer, enum order_challenge challenge)
{
    for (uint32_t i = 0; i < offer->challenge_count; i++)
        if (!strcmp(offer->challenges[i].type, order_challenge_name(challenge)) &&
            offer->challenges[i].token)
            return true;
    return false;
}

static bool is_possible(const struct order *o, enum order_challenge challenge, const char *name,
                        const struct document_authorization *offer)
{
    return is_allowed(o->resolver->config, challenge) && is_able(o, challenge, name) &&
           !o->record.failed_challenges[challenge] && (!offer || is_offered(offer, challenge));
}

bool order_answer_choose(const struct order *o, const char *name,
                         const struct document_authorization *offer, enum order_challenge *ret)
{
    enum order_challenge last;
    if (order_answer_has_choice(o) &&
        learnt_find_challenge(o->env.state, o->record.resolver, name, clock_wall_s(), &last) &&
        is_possible(o, last, name, offer)) {
        *ret = last;
        return true;
    }
    for (size_t i = 0; i < PREFERENCES; i++) {
        if (!is_possible(o, preference[i], name, offer))
            continue;
        *ret = preference[i];
        return true;
    }
    return false;
}

bool order_challenge_of(struct resolver *resolver, struct state *state, const char *name,
                        enum order_challenge *ret)
{
    struct order o = {.resolver = resolver,
                      .env = {.state = state},
                      .record = {.resolver = (char *)resolver->config->name}};
    return order_answer_choose(&o, name, NULL, ret);
}

const char *order_answer_unprovable(const struct order *o)
{
    enum order_challenge challenge;
    for (uint32_t i = 0; i < o->record.name_count; i++)
        if (!order_answer_choose(o, o->record.names[i], NULL, &challenge))
            return o->record.names[i];
    return NULL;
}

bool order_answer_uses(const struct order *o, enum order_challenge challenge)
{
    enum order_challenge found;
    for (uint32_t i = 0; i < o->record.name_count; i++)
        if (order_answer_choose(o, o->record.names[i], NULL, &found) && found == challenge)
            return true;
    return false;
}

void order_answer_list(const struct order *o, struct buf *out)
{
    size_t before = out->len;
    for (size_t i = 0; i < PREFERENCES; i++)
        if (is_allowed(o->resolver->config, preference[i]))
            buf_printf(out, "%s%s", out->len > before ? ", " : "",
                       order_challenge_name(preference[i]));
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static struct result put(struct challenges *challenges, const struct config_resolver *c,
                         const struct order_txt *t, struct why *why)
{
    if (!t->token || !t->key_auth)
        return why_fail(why, ERR_FORMAT, "the journal's record of a challenge is incomplete");
    return t->challenge == ORDER_CHALLENGE_HTTP
               ? challenges_put_http(challenges, c->http_challenge_entrypoint, t->token,
                                     t->key_auth, why)
               : challenges_put_tls(challenges, t->domain, t->key_auth, why);
}

static void delay_over(struct order *o)
{
    order_next(o);
}

static uint64_t delay_of(const struct order *o)
{
    const struct config_resolver *c = o->resolver->config;
    uint64_t delay_s = 0;
    for (uint32_t i = 0; i < o->record.txt_count; i++) {
        const struct order_txt *t = &o->record.txts[i];
        uint64_t own_s = t->leftover                            ? 0
                         : t->challenge == ORDER_CHALLENGE_HTTP ? c->http_challenge_delay_s
                         : t->challenge == ORDER_CHALLENGE_TLS  ? c->tls_challenge_delay_s
                                                                : 0;
        delay_s = own_s > delay_s ? own_s : delay_s;
    }
    return delay_s;
}

static void answered(struct challenges_wait *wait)
{
    struct order *o = LIST_ENTRY(wait, struct order, answered);
    uint64_t delay_s = delay_of(o);
    order_say(o, "every worker answers %u challenge%s (%.1f s)", o->index, o->index == 1 ? "" : "s",
              order_step_seconds(o));
    if (!delay_s) {
        order_next(o);
        return;
    }
    order_say(o, "waiting %llu s (delay)", (unsigned long long)delay_s);
    order_set_deadline(o, (uint32_t)delay_s + DELAY_MARGIN_S);
    order_pause(o, delay_s * NS_PER_S, delay_over);
}

void order_answer_give(struct order *o)
{
    struct why why;
    o->index = 0;
    for (uint32_t i = 0; i < o->record.txt_count; i++) {
        const struct order_txt *t = &o->record.txts[i];
        if (t->leftover || t->challenge == ORDER_CHALLENGE_DNS)
            continue;
        struct result r = put(o->env.challenges, o->resolver->config, t, &why);
        if (r.code == ERR_LIMIT) {
            order_say(o, "%s: waiting", why.text);
            order_pause(o, AGAIN_NS, order_answer_give);
            return;
        }
        if (!result_is_ok(r)) {
            order_fail_challenge(o, (enum order_challenge)t->challenge, ACME_CONFIG, "", 0, "%s",
                                 why.text);
            return;
        }
        o->index++;
    }
    if (o->index)
        challenges_wait(o->env.challenges, &o->answered, answered);
    else
        order_next(o);
}

void order_answer_withdraw(struct order *o, const struct order_txt *t)
{
    if (!t->key_auth || t->challenge == ORDER_CHALLENGE_DNS)
        return;
    if (t->challenge == ORDER_CHALLENGE_HTTP)
        challenges_drop_http(o->env.challenges, t->key_auth);
    else
        challenges_drop_tls(o->env.challenges, t->key_auth);
}

void order_answer_proven(struct order *o, const struct order_authz *a)
{
    for (uint32_t i = 0; i < o->record.txt_count; i++)
        if (!strcmp(o->record.txts[i].domain, a->domain))
            order_answer_withdraw(o, &o->record.txts[i]);
    if (!order_answer_has_choice(o) || o->record.trial)
        return;
    char *name = mem_printf("%s%s", a->wildcard ? "*." : "", a->domain);
    learnt_challenge(o->env.state, o->record.resolver, name, a->challenge, clock_wall_s());
    free(name);
}

/* ---- after a restart --------------------------------------------------------------------------
 */

static void restore_one(struct challenges *challenges, const struct config_resolver *c,
                        const struct order_record *r)
{
    struct why why;
    for (uint32_t i = 0; i < r->txt_count; i++) {
        const struct order_txt *t = &r->txts[i];
        if (t->leftover || !is_allowed(c, (enum order_challenge)t->challenge) ||
            t->challenge == ORDER_CHALLENGE_DNS)
            continue;
        if (!result_is_ok(put(challenges, c, t, &why)))
            log_warn("%s: the challenge of before cannot be answered: %s", r->names[0], why.text);
    }
}

void order_answer_restore(struct challenges *challenges, struct resolver_set *resolvers,
                          struct state *state)
{
    struct buf ids = {0};
    struct why why;
    /* The scheduler says what is wrong with a journal that cannot be read. */
    if (!result_is_ok(order_journal_ids(state, &ids, &why)))
        ids.len = 0;
    for (size_t at = 0; at + ORDER_ID_LEN <= ids.len; at += ORDER_ID_LEN) {
        char id[ORDER_ID_LEN + 1] = {0};
        struct order_record r;
        memcpy(id, ids.ptr + at, ORDER_ID_LEN);
        if (!result_is_ok(order_journal_get(state, id, &r)))
            continue;
        const struct resolver *resolver = resolver_find(resolvers, r.resolver);
        if (resolver && !r.failed)
            restore_one(challenges, resolver->config, &r);
        order_record_free(&r);
    }
    buf_free(&ids);
}
