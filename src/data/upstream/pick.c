/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/pick.h"

#include "base/must.h"
#include "base/rand.h"
#include "data/worker.h"

#include <math.h>

enum fitness { FIT_NOT = 0, FIT_RESTING = 1, FIT_GOOD = 2 };

static enum fitness fitness_of(struct worker *w, uint32_t server)
{
    const struct server_state *state = reader_server(w->reader, w->snapshot, server);
    const struct pool_server *p = w->pool.servers[server];
    if (!state || state->addr_count == 0 || !state->healthy || p->out_until_ns > w->now_ns)
        return FIT_NOT;
    return p->rest_until_ns > w->now_ns ? FIT_RESTING : FIT_GOOD;
}

/* That of its best server that may be chosen. Recursion is bounded by the levels of services. */
static enum fitness service_fitness(struct worker *w, const struct snap_service *service)
{
    const struct snapshot *s = w->snapshot;
    enum fitness best = FIT_NOT;
    for (uint32_t i = 0; i < service->server_count && best < FIT_GOOD; i++) {
        uint32_t server = service->first_server + i;
        enum fitness fit = s->servers[server].weight ? fitness_of(w, server) : FIT_NOT;
        best = fit > best ? fit : best;
    }
    for (uint32_t i = 0; i < service->member_count && best < FIT_GOOD; i++) {
        const struct snap_member *m = &s->members[service->first_member + i];
        enum fitness fit = m->weight ? service_fitness(w, &s->services[m->service]) : FIT_NOT;
        best = fit > best ? fit : best;
    }
    return best;
}

/* ---- cookies --------------------------------------------------------------------------------- */

static struct span trim(struct span s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* The value of a cookie (RFC 6265 section 4.2); HTTP/2 may spread them over several fields. Empty:
 * there is none. */
static struct span cookie_value(const struct http_head *head, struct span name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        if (!span_eq_nocase(f->name, SPAN_LITERAL("Cookie")))
            continue;
        for (struct span rest = f->value; rest.len;) {
            struct span pair = span_first(rest, span_find(rest, ';'));
            rest = span_skip(rest, pair.len + 1);
            pair = trim(pair);
            size_t equals = span_find(pair, '=');
            if (equals < pair.len && span_eq(span_first(pair, equals), name))
                return span_skip(pair, equals + 1);
        }
    }
    return (struct span){NULL, 0};
}

static void want_cookie(struct pick *p, const struct snap_service *service, struct span value)
{
    if (service->cookie_name.len == 0)
        return;
    for (uint32_t i = 0; i < p->cookie_count; i++) {
        if (p->cookies[i].service == service) {
            p->cookies[i].value = value;
            return;
        }
    }
    must(p->cookie_count < SNAP_SERVICE_LEVELS);
    p->cookies[p->cookie_count++] = (struct pick_cookie){service, value};
}

bool pick_set_cookies(const struct pick *p, struct http_head *response, struct writer *out)
{
    for (uint32_t i = 0; i < p->cookie_count; i++) {
        const struct pick_cookie *c = &p->cookies[i];
        size_t from = out->len;
        writer_span(out, c->service->cookie_name);
        writer_bytes(out, "=", 1);
        writer_span(out, c->value);
        writer_span(out, c->service->cookie_attributes);
        if (out->bad ||
            !http_head_add(response, SPAN_LITERAL("Set-Cookie"), span_skip(writer_done(out), from)))
            return false;
    }
    return true;
}

/* ---- strategies ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull; /* splitmix64's */
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t hash_of(struct span s)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ s.ptr[i]) * 1099511628211ull;
    return h;
}

/* The weighted rendezvous score of a candidate for a client: the highest wins, and when a candidate
 * goes, only its clients move. */
static double hrw_score(uint64_t client_hash, struct span name, uint32_t weight)
{
    double u = ((double)(mix(client_hash ^ hash_of(name)) >> 11) + 0.5) / 9007199254740992.0;
    return (double)weight / -log(u);
}

/* Requests and connections of the server that are busy; good enough to compare by. */
static uint32_t load_of(const struct pool_server *p)
{
    return p->refs - 1 - p->idle_count;
}

/* How long a request would take, per weight; a server that was never asked comes first. */
static double time_score(const struct pool_server *p, uint32_t weight)
{
    return ((double)p->answer_ns + 1) * (load_of(p) + 1) / weight;
}

/* Smooth weighted round robin: each gains its weight, the richest pays the sum. Ties go to the
 * first. */
struct turns {
    int64_t total;
    int64_t *best;
    uint32_t winner; /* SNAP_NONE: none yet */
    enum fitness fittest;
    double score;
};

/* Whether a candidate of this fitness takes part; a fitter one than all before throws them out. */
static bool takes_part(struct turns *t, enum fitness fit)
{
    if (fit == FIT_NOT || fit < t->fittest)
        return false;
    if (fit > t->fittest)
        *t = (struct turns){.winner = SNAP_NONE, .fittest = fit};
    return true;
}

static void take_turn(struct turns *t, uint32_t candidate, int64_t *turn, uint32_t weight)
{
    *turn += weight;
    t->total += weight;
    if (t->winner != SNAP_NONE && *turn <= *t->best)
        return;
    t->winner = candidate;
    t->best = turn;
}

static void take_score(struct turns *t, uint32_t candidate, double score)
{
    if (t->winner != SNAP_NONE && score <= t->score)
        return;
    t->winner = candidate;
    t->score = score;
}

static uint32_t finish_turns(struct turns *t)
{
    if (t->best)
        *t->best -= t->total;
    return t->winner;
}

/* The less busy of two at random (per weight), among those that may be used. */
static uint32_t choose_p2c(struct worker *w, const struct snap_service *service, uint32_t except)
{
    struct turns t = {.winner = SNAP_NONE};
    uint32_t two[2] = {SNAP_NONE, SNAP_NONE}, seen = 0;
    for (uint32_t i = 0; i < service->server_count; i++) {
        uint32_t server = service->first_server + i;
        enum fitness fit = fitness_of(w, server), before = t.fittest;
        if (server == except || w->snapshot->servers[server].weight == 0 || !takes_part(&t, fit))
            continue;
        seen = t.fittest == before ? seen + 1 : 1;
        /* A sample of two out of a stream. */
        uint64_t at = seen <= 2 ? seen - 1 : rand_below(seen);
        if (at < 2)
            two[at] = server;
        if (seen == 1)
            two[1] = SNAP_NONE;
    }
    if (two[1] == SNAP_NONE)
        return two[0];
    uint64_t a = load_of(w->pool.servers[two[0]]), b = load_of(w->pool.servers[two[1]]);
    if (a == b)
        return two[rand_below(2)];
    return a < b ? two[0] : two[1];
}

static uint32_t choose_server(struct worker *w, const struct snap_service *service,
                              uint64_t client_hash, uint32_t except)
{
    struct turns t = {.winner = SNAP_NONE};
    if (service->strategy == SNAP_STRATEGY_P2C)
        return choose_p2c(w, service, except);
    for (uint32_t i = 0; i < service->server_count; i++) {
        uint32_t server = service->first_server + i;
        const struct snap_server *s = &w->snapshot->servers[server];
        if (server == except || s->weight == 0 || !takes_part(&t, fitness_of(w, server)))
            continue;
        struct pool_server *p = w->pool.servers[server];
        switch ((enum snap_strategy)service->strategy) {
        case SNAP_STRATEGY_HRW:
            take_score(&t, server, hrw_score(client_hash, s->url, s->weight));
            break;
        case SNAP_STRATEGY_LEAST_TIME:
            take_score(&t, server, 1 / time_score(p, s->weight));
            break;
        default:
            take_turn(&t, server, &p->turn, s->weight);
        }
    }
    return finish_turns(&t);
}

static uint32_t choose_member(struct worker *w, const struct snap_service *service,
                              uint64_t client_hash)
{
    const struct snapshot *s = w->snapshot;
    struct turns t = {.winner = SNAP_NONE};
    for (uint32_t i = 0; i < service->member_count; i++) {
        uint32_t member = service->first_member + i;
        const struct snap_member *m = &s->members[member];
        const struct snap_service *below = &s->services[m->service];
        if (m->weight == 0 || !takes_part(&t, service_fitness(w, below)))
            continue;
        if (service->kind == SNAP_SERVICE_HASHED)
            take_score(&t, member, hrw_score(client_hash, below->name, m->weight));
        else if (service->kind == SNAP_SERVICE_WEIGHTED)
            take_turn(&t, member, &w->pool.member_turns[member], m->weight);
        else if (t.winner == SNAP_NONE) /* failover: the first, as long as it is as fit */
            t.winner = member;
    }
    return finish_turns(&t);
}

/* ---- the way down ---------------------------------------------------------------------------- */

/* The member that the client's cookie names, when it has a good server; else SNAP_NONE. */
static uint32_t sticky_member(struct worker *w, const struct snap_service *service,
                              const struct http_head *head)
{
    const struct snapshot *s = w->snapshot;
    if (service->cookie_name.len == 0)
        return SNAP_NONE;
    struct span value = cookie_value(head, service->cookie_name);
    for (uint32_t i = 0; value.len && i < service->member_count; i++) {
        const struct snap_member *m = &s->members[service->first_member + i];
        if (span_eq(m->cookie, value) && service_fitness(w, &s->services[m->service]) == FIT_GOOD)
            return service->first_member + i;
    }
    return SNAP_NONE;
}

/* The same for servers. */
static uint32_t sticky_server(struct worker *w, const struct snap_service *service,
                              const struct http_head *head)
{
    if (service->cookie_name.len == 0)
        return SNAP_NONE;
    struct span value = cookie_value(head, service->cookie_name);
    for (uint32_t i = 0; value.len && i < service->server_count; i++) {
        uint32_t server = service->first_server + i;
        if (span_eq(w->snapshot->servers[server].cookie, value) &&
            fitness_of(w, server) == FIT_GOOD)
            return server;
    }
    return SNAP_NONE;
}

/* Only hashing strategies look at the client, and a hash of it costs more than the rest. */
static void note_client(struct pick *p, const struct snap_service *service,
                        const struct pick_request *request)
{
    if (service->kind == SNAP_SERVICE_HASHED || service->strategy == SNAP_STRATEGY_HRW)
        p->client_hash = hash_of(span_of(request->client, 16));
}

bool pick_server(struct worker *w, const struct snap_service *service,
                 const struct pick_request *request, struct pick *ret)
{
    const struct snapshot *s = w->snapshot;
    ret->client_hash = 0;
    ret->cookie_count = 0;
    while (service->kind != SNAP_SERVICE_SERVERS) {
        note_client(ret, service, request);
        uint32_t member = sticky_member(w, service, request->head);
        if (member == SNAP_NONE) {
            member = choose_member(w, service, ret->client_hash);
            if (member == SNAP_NONE)
                return false;
            want_cookie(ret, service, s->members[member].cookie);
        }
        service = &s->services[s->members[member].service];
    }
    ret->service = service;
    note_client(ret, service, request);
    ret->server = sticky_server(w, service, request->head);
    if (ret->server != SNAP_NONE)
        return true;
    ret->server = choose_server(w, service, ret->client_hash, SNAP_NONE);
    if (ret->server == SNAP_NONE)
        return false;
    want_cookie(ret, service, s->servers[ret->server].cookie);
    return true;
}

bool pick_other(struct worker *w, struct pick *p)
{
    uint32_t server = choose_server(w, p->service, p->client_hash, p->server);
    if (server == SNAP_NONE)
        return false;
    p->server = server;
    want_cookie(p, p->service, w->snapshot->servers[server].cookie);
    return true;
}

/* ---- how it went ----------------------------------------------------------------------------- */

void pick_note(struct worker *w, const struct snap_service *service, struct pool_server *server,
               bool good)
{
    uint64_t window_ns = service->passive_window_ms * 1000000ull;
    if (good || service->passive_failures == 0) {
        server->failures = 0;
        return;
    }
    if (server->failures == 0 || w->now_ns - server->failed_ns > window_ns) {
        server->failures = 0;
        server->failed_ns = w->now_ns; /* a window begins */
    }
    if (++server->failures < service->passive_failures)
        return;
    server->failures = 0;
    server->out_until_ns = w->now_ns + window_ns;
}

void pick_note_time(struct pool_server *server, uint64_t ns)
{
    /* Of the latest answers, each weighs an eighth. */
    server->answer_ns = server->answer_ns ? server->answer_ns - server->answer_ns / 8 + ns / 8 : ns;
}
