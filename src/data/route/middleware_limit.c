/* SPDX-License-Identifier: Apache-2.0 */
/* The middlewares `ipAllowList`, `rateLimit` and `inFlightReq`. */
#include "data/route/client_ip.h"
#include "data/route/middleware_impl.h"
#include "data/route/router.h"

#include <stdio.h>

static struct client_ip find_ip(const struct middleware_run *run, const struct snap_ip_strategy *ip)
{
    return client_ip_find(run->snapshot, ip, run->head, run->peer, run->peer_text);
}

static enum middleware_verdict allow(const struct step *step)
{
    const struct snap_allow *a = &step->m->allow;
    struct client_ip ip = find_ip(step->run, &a->ip);
    if (ip.known && client_ip_in(step->run->snapshot, a->ranges, ip.bytes))
        return MIDDLEWARE_PASS;
    return middleware_answer(step->run, a->status);
}

/* Under which key the limit counts this request: who asks, or what for. */
static uint64_t key_of(const struct step *step)
{
    struct middleware_run *run = step->run;
    const struct snap_source *s = &step->m->limit.source;
    char host[ROUTER_HOST_MAX + 1];
    struct client_ip ip;
    struct span source;
    switch ((enum snap_source_kind)s->kind) {
    case SNAP_SOURCE_IP:
        ip = find_ip(run, &s->ip);
        client_ip_mask(ip.bytes, s->ip.ipv6_bits);
        source = ip.known ? span_of(ip.bytes, sizeof ip.bytes) : ip.text;
        break;
    case SNAP_SOURCE_HOST:
        source = router_host(run->head->authority, host);
        break;
    case SNAP_SOURCE_HEADER:
        source = field_value(run->head, s->header);
        break;
    default:
        never();
    }
    uint64_t key = siphash(&run->tables->secret, step->m->name, source);
    return key ? key : 1;
}

/* As Go prints times ("1.5s", "250ms"); whole nanoseconds below a millisecond. */
static int print_wait(char *out, size_t room, uint64_t ns)
{
    if (ns >= 1000000000)
        return snprintf(out, room, "%gs", (double)ns / 1e9);
    if (ns >= 1000000)
        return snprintf(out, room, "%gms", (double)ns / 1e6);
    return snprintf(out, room, "%uns", (unsigned)ns);
}

static void put_text(struct middleware_run *run, struct span name, const char *text, int len)
{
    size_t from = run->text->len;
    writer_bytes(run->text, text, (size_t)len);
    if (!run->text->bad)
        field_set(run->answer, name, span_skip(writer_done(run->text), from));
}

static enum middleware_verdict rate(const struct step *step)
{
    struct middleware_run *run = step->run;
    const struct snap_limit *l = &step->m->limit;
    uint64_t wait_ns;
    char text[32];
    if (l->average == 0 || bucket_take(&run->tables->buckets, key_of(step), l->average,
                                       l->period_ns, l->burst, run->now_ns, &wait_ns))
        return MIDDLEWARE_PASS;
    middleware_answer(run, 429);
    int len = snprintf(text, sizeof text, "%llu",
                       (unsigned long long)(wait_ns / 1000000000 + (wait_ns % 1000000000 != 0)));
    put_text(run, SPAN_LITERAL("Retry-After"), text, len);
    len = print_wait(text, sizeof text, wait_ns);
    put_text(run, SPAN_LITERAL("X-Retry-In"), text, len);
    return MIDDLEWARE_ANSWER;
}

static enum middleware_verdict in_flight(const struct step *step)
{
    struct middleware_notes *notes = step->run->notes;
    uint64_t key = key_of(step);
    must(notes->in_flight_count < SNAP_IN_FLIGHT_MAX);
    if (!result_is_ok(tally_add(&step->run->tables->tally, key, step->m->limit.amount)))
        return middleware_answer(step->run, 429);
    notes->in_flight[notes->in_flight_count++] = key;
    return MIDDLEWARE_PASS;
}

enum middleware_verdict middleware_limit(const struct step *step)
{
    switch ((enum snap_middleware_kind)step->m->kind) {
    case SNAP_MIDDLEWARE_ALLOW_LIST:
        return allow(step);
    case SNAP_MIDDLEWARE_RATE_LIMIT:
        return rate(step);
    case SNAP_MIDDLEWARE_IN_FLIGHT:
        return in_flight(step);
    default:
        never();
    }
}
