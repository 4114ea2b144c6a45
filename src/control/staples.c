/* SPDX-License-Identifier: Apache-2.0 */
#include "control/staples.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/must.h"
#include "base/rand.h"
#include "control/acme/http_client.h"
#include "crypto/ocsp.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_S        3600 /* at the latest: the wall clock may be set meanwhile */
#define CLOCK_SLACK_S 60   /* a smaller step back changes nothing */
#define PRUNE_S       21600
#define ENDED_S       86400 /* certificates that have ended are looked at so rarely */
#define CHANCES       16
#define OK_HTTP       200
#define UNTIL_BYTES   8 /* in front of a stored answer */

_Static_assert(OCSP_RESPONSE_MAX + 64 <= PUBLISH_STAPLE_MAX, "what is shown may be too long");

struct staple_record {
    struct list node;         /* in staples.all */
    struct list due;          /* in its host's `due` while it waits for its turn */
    struct staple_host *host; /* that `call` goes to */
    struct staples *owner;
    struct publish_candidate *cert;
    struct loop_timer timer;
    struct loop_timer first; /* while another certificate is served until this one has an answer */
    struct http_call *call;
    int64_t due_s;         /* wall seconds */
    int64_t planned_s;     /* when `timer` was set */
    int64_t this_update_s; /* of the newest answer that counts */
    uint32_t failures;     /* in a row */
    bool wanted;
};

/* Where questions go to, while there are some. */
struct staple_host {
    struct list node; /* in staples.hosts: whose turn is next comes first */
    struct list due;
    struct span name; /* "http://host:port" */
    uint32_t calls;
    bool silent; /* did not answer the last question */
};

struct staples {
    struct staples_options o;
    struct http_client *http;
    struct list all, hosts;
    struct loop_timer prune;
    uint32_t calls;
};

/* ---- times ---------------------------------------------------------------------------------- */

int64_t staples_due_s(int64_t this_update_s, int64_t until_s, int64_t now_s, uint32_t by_chance)
{
    int64_t wait_s = this_update_s + (until_s - this_update_s) / 2 - now_s;
    int64_t least_s = (until_s - now_s) / 4;
    wait_s = wait_s > least_s ? wait_s : least_s;
    wait_s -= wait_s / 8 * by_chance / CHANCES;
    return now_s + (wait_s > STAPLES_WAIT_MIN_S ? wait_s : STAPLES_WAIT_MIN_S);
}

uint32_t staples_backoff_s(uint32_t failures)
{
    uint32_t wait_s = STAPLES_BACKOFF_S;
    for (uint32_t i = 1; i < failures && wait_s < STAPLES_BACKOFF_MAX_S; i++)
        wait_s *= 2;
    return wait_s < STAPLES_BACKOFF_MAX_S ? wait_s : STAPLES_BACKOFF_MAX_S;
}

static const char *label(const struct staple_record *r)
{
    return r->cert->leaf.name_count ? r->cert->leaf.names[0] : r->cert->leaf.subject;
}

/* When something has to be done next: ask, or take back what is over. */
static void plan(struct staple_record *r)
{
    int64_t now_s = clock_wall_s(), next_s = r->due_s;
    if (r->cert->staple.len && r->cert->staple_until_s < next_s)
        next_s = r->cert->staple_until_s;
    uint64_t wait_s = next_s > now_s ? (uint64_t)(next_s - now_s) : 0;
    r->planned_s = now_s;
    loop_timer_set(r->owner->o.loop, &r->timer,
                   clock_now_ns() + (wait_s < LOOK_S ? wait_s : LOOK_S) * NS_PER_S);
}

/* ---- what the workers show ------------------------------------------------------------------ */

static void show(struct staple_record *r, struct span response, int64_t until_s)
{
    struct buf out = {0};
    publish_state_staple(r->cert, response, until_s, &out);
    r->owner->o.send(r->owner->o.arg, buf_span(&out));
    buf_free(&out);
}

static void take_back(struct staple_record *r)
{
    if (r->cert->staple.len)
        show(r, span_of(NULL, 0), 0);
}

static void show_answer(struct staple_record *r, const struct ocsp_answer *a)
{
    struct buf shown = {0};
    ocsp_answer_put(a, &shown);
    show(r, buf_span(&shown), a->until_s);
    r->this_update_s = a->this_update_s;
    buf_free(&shown);
    if (r->cert->before)
        loop_timer_set(r->owner->o.loop, &r->first, clock_now_ns());
}

static void first_is_over(struct loop_timer *t)
{
    struct staple_record *r = LIST_ENTRY(t, struct staple_record, first);
    if (!r->cert->staple.len)
        log_warn("%s: the new certificate is served without the OCSP answer that it demands "
                 "(must-staple): none came within %u s",
                 label(r), STAPLES_FIRST_S);
    r->owner->o.ready(r->owner->o.arg, r->cert);
}

/* Leaf and issuer out of the chain; false when the issuer is not in it. */
static bool subject_of(const struct publish_candidate *c, struct ocsp_subject *ret)
{
    struct reader in = reader_of(buf_span(&c->chain));
    ret->leaf = reader_bytes(&in, reader_be(&in, 3));
    ret->issuer = reader_bytes(&in, reader_be(&in, 3));
    return !in.bad && ret->issuer.len;
}

/* ---- on disk -------------------------------------------------------------------------------- */

static struct span key_of(const struct staple_record *r)
{
    return span_of(r->cert->leaf.sha256, sizeof r->cert->leaf.sha256);
}

static void keep(struct staple_record *r)
{
    struct buf value = {0};
    buf_put_be(&value, (uint64_t)r->cert->staple_until_s, UNTIL_BYTES);
    buf_put_span(&value, buf_span(&r->cert->staple));
    state_put_soon(r->owner->o.state, STATE_OCSP, key_of(r), buf_span(&value));
    buf_free(&value);
}

static void forget(struct staple_record *r)
{
    state_remove_soon(r->owner->o.state, STATE_OCSP, key_of(r));
}

/* What was kept is judged anew: the disk may hold anything, and time has passed. What is not good
 * now is left: the next answer takes its place, or its end comes. */
static void load(struct staple_record *r, const struct ocsp_subject *subject, int64_t now_s)
{
    struct buf value = {0};
    struct ocsp_answer answer;
    struct why ignored;
    if (result_is_ok(state_get(r->owner->o.state, STATE_OCSP, key_of(r), &value)) &&
        result_is_ok(ocsp_response_read(span_skip(buf_span(&value), UNTIL_BYTES), subject, now_s,
                                        &answer, &ignored)) &&
        answer.status == OCSP_GOOD) {
        show_answer(r, &answer);
        r->due_s = staples_due_s(answer.this_update_s, answer.until_s, now_s,
                                 (uint32_t)rand_below(CHANCES));
    }
    buf_free(&value);
}

static bool is_stale(void *arg, struct span key, struct span value)
{
    const int64_t *now_s = arg;
    struct reader in = reader_of(value);
    return (int64_t)reader_be(&in, UNTIL_BYTES) <= *now_s || in.bad;
}

/* Certificates come and go for years: what was said of those that went must not fill the state. */
static void prune(struct staples *s)
{
    int64_t now_s = clock_wall_s();
    struct why why;
    if (!result_is_ok(state_prune(s->o.state, STATE_OCSP, is_stale, &now_s, &why)))
        log_warn("OCSP answers whose time is over: %s", why.text);
    loop_timer_set(s->o.loop, &s->prune, clock_now_ns() + PRUNE_S * NS_PER_S);
}

static void prune_fired(struct loop_timer *t)
{
    prune(LIST_ENTRY(t, struct staples, prune));
}

/* ---- answers -------------------------------------------------------------------------------- */

static void take_good(struct staple_record *r, const struct ocsp_answer *a, int64_t now_s)
{
    if (r->failures)
        log_info("%s: its OCSP responder answers again", label(r));
    r->failures = 0;
    /* Of several caches one may be behind: an older answer never replaces a newer one, nor one that
     * says revoked. */
    if (a->this_update_s > r->this_update_s || (!r->cert->staple.len && !r->cert->revoked)) {
        show_answer(r, a);
        keep(r);
        r->cert->revoked = false;
    }
    bool has = r->cert->staple.len > 0;
    r->due_s = staples_due_s(has ? r->this_update_s : a->this_update_s,
                             has ? r->cert->staple_until_s : a->until_s, now_s,
                             (uint32_t)rand_below(CHANCES));
}

static void take_revoked(struct staple_record *r, const struct ocsp_answer *a, int64_t now_s)
{
    if (!r->cert->revoked)
        log_error("%s: its certificate %s (%s) is revoked, says its CA%s", label(r),
                  r->cert->leaf.serial, r->cert->origin,
                  r->cert->source == PUBLISH_SOURCE_ACME ? "" : ": get another one");
    r->cert->revoked = true;
    r->failures = 0;
    if (a->this_update_s > r->this_update_s)
        r->this_update_s = a->this_update_s;
    take_back(r);
    forget(r);
    r->due_s = staples_due_s(a->this_update_s, a->until_s, now_s, (uint32_t)rand_below(CHANCES));
    r->owner->o.revoked(r->owner->o.arg, r->cert);
}

static void fail(struct staple_record *r, uint32_t retry_after_s, const char *text)
{
    int64_t now_s = clock_wall_s();
    uint32_t wait_s = staples_backoff_s(++r->failures);
    wait_s += (uint32_t)rand_below(wait_s / 8 + 1);
    /* Nobody has signed it: it must not be what lets an answer run out. */
    retry_after_s = retry_after_s < STAPLES_RETRY_MAX_S ? retry_after_s : STAPLES_RETRY_MAX_S;
    wait_s = wait_s > retry_after_s ? wait_s : retry_after_s;
    r->due_s = now_s + wait_s;
    log_line(r->failures == 1 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
             "%s: no OCSP answer from %s: %s; asked again in %u s%s", label(r),
             r->cert->leaf.ocsp_url, text, wait_s,
             r->cert->staple.len && r->cert->staple_until_s >= r->due_s
                 ? ", until then the one from before is shown"
             : r->cert->before ? "; until then the certificate before is served"
             : r->cert->leaf.must_staple && !r->cert->staple.len
                 ? "; clients that follow must-staple refuse the certificate"
                 : "");
}

static void judge(struct staple_record *r, const struct http_reply *reply)
{
    struct ocsp_subject subject;
    struct ocsp_answer answer;
    struct why why;
    int64_t now_s = clock_wall_s();
    must(subject_of(r->cert, &subject));
    if (!reply->answered) {
        fail(r, 0, reply->text);
    } else if (reply->status != OK_HTTP) {
        snprintf(why.text, sizeof why.text, "status %u", reply->status);
        fail(r, reply->retry_after_s, why.text);
    } else if (!result_is_ok(ocsp_response_read(reply->body, &subject, now_s, &answer, &why))) {
        fail(r, reply->retry_after_s, why.text);
    } else if (answer.status == OCSP_GOOD) {
        take_good(r, &answer, now_s);
    } else if (answer.status == OCSP_REVOKED) {
        take_revoked(r, &answer, now_s);
    } else {
        fail(r, reply->retry_after_s, "the responder does not know the certificate");
    }
}

static void pump(struct staples *s);

static void end_call(struct staple_record *r)
{
    r->call = NULL;
    r->host->calls--;
    r->host = NULL;
    r->owner->calls--;
}

static void on_reply(void *arg, const struct http_reply *reply)
{
    struct staple_record *r = arg;
    struct staples *s = r->owner;
    r->host->silent = !reply->answered;
    end_call(r);
    judge(r, reply);
    plan(r);
    pump(s);
}

/* ---- asking --------------------------------------------------------------------------------- */

static const char *responder(const struct staple_record *r)
{
    const struct config_ocsp *config = &r->owner->o.config->ocsp;
    for (uint32_t i = 0; i < config->override_count; i++)
        if (!strcmp(config->overrides[i].from, r->cert->leaf.ocsp_url))
            return config->overrides[i].to;
    return r->cert->leaf.ocsp_url;
}

static struct span host_name(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return span_of(url, (size_t)(host - url) + strcspn(host, "/?#"));
}

static struct staple_host *take_host(struct staples *s, const char *url)
{
    struct span name = host_name(url);
    for (struct list *n = s->hosts.next; n != &s->hosts; n = n->next) {
        struct staple_host *h = LIST_ENTRY(n, struct staple_host, node);
        if (span_eq(h->name, name))
            return h;
    }
    struct staple_host *h = mem_zalloc(sizeof *h);
    h->name = span_of(mem_dup(name.ptr, name.len), name.len);
    list_init(&h->node);
    list_init(&h->due);
    list_append(&s->hosts, &h->node);
    return h;
}

static void ask(struct staple_record *r, struct staple_host *host)
{
    struct buf request = {0};
    struct ocsp_subject subject;
    struct why why;
    must(subject_of(r->cert, &subject));
    if (!result_is_ok(ocsp_request_make(&subject, &request, &why))) {
        fail(r, 0, why.text);
        plan(r);
    } else {
        struct http_request http = {.method = HTTP_METHOD_POST,
                                    .url = responder(r),
                                    .body = buf_span(&request),
                                    .content_type = "application/ocsp-request",
                                    .accept = "application/ocsp-response"};
        r->owner->calls++;
        host->calls++;
        r->host = host;
        r->call = http_client_start(r->owner->http, &http, on_reply, r);
    }
    buf_free(&request);
}

static struct staple_host *next_host(struct staples *s)
{
    for (struct list *n = s->hosts.next; n != &s->hosts; n = n->next) {
        struct staple_host *h = LIST_ENTRY(n, struct staple_host, node);
        if (!list_is_empty(&h->due) && h->calls < (h->silent ? 1 : STAPLES_HOST_MAX))
            return h;
    }
    return NULL;
}

static void host_free(struct staple_host *h)
{
    must(list_is_empty(&h->due) && h->calls == 0);
    list_remove(&h->node);
    free((void *)h->name.ptr);
    free(h);
}

static void free_idle_hosts(struct staples *s)
{
    for (struct list *n = s->hosts.next, *next; n != &s->hosts; n = next) {
        struct staple_host *h = LIST_ENTRY(n, struct staple_host, node);
        next = n->next;
        if (list_is_empty(&h->due) && h->calls == 0)
            host_free(h);
    }
}

static void pump(struct staples *s)
{
    struct staple_host *h;
    while (s->calls < STAPLES_CALLS_MAX && (h = next_host(s))) {
        list_remove(&h->node);
        list_append(&s->hosts, &h->node);
        ask(LIST_ENTRY(list_pop(&h->due), struct staple_record, due), h);
    }
    free_idle_hosts(s);
}

static void fired(struct loop_timer *t)
{
    struct staple_record *r = LIST_ENTRY(t, struct staple_record, timer);
    int64_t now_s = clock_wall_s();
    if (r->cert->staple.len && r->cert->staple_until_s <= now_s) {
        log_warn("%s: its OCSP answer is over and there is no newer one: nothing is shown any more",
                 label(r));
        take_back(r);
    }
    if (now_s + CLOCK_SLACK_S < r->planned_s) /* the clock was set back: its times are void */
        r->due_s = now_s;
    if (r->cert->leaf.not_after_s < now_s && r->due_s <= now_s)
        r->due_s = now_s + ENDED_S; /* responders forget such ones */
    if (r->due_s > now_s) {
        plan(r);
        return;
    }
    list_remove(&r->due);
    if (!r->call)
        list_append(&take_host(r->owner, responder(r))->due, &r->due);
    pump(r->owner);
}

static void stop_asking(struct staple_record *r)
{
    loop_timer_cancel(r->owner->o.loop, &r->timer);
    list_remove(&r->due);
    if (r->call) {
        http_call_cancel(r->call);
        end_call(r);
    }
}

/* ---- certificates come and go --------------------------------------------------------------- */

static void decide(struct staple_record *r)
{
    struct ocsp_subject subject;
    bool wanted = r->owner->o.config->ocsp.on || r->cert->leaf.must_staple;
    if (wanted == r->wanted)
        return;
    r->wanted = wanted;
    if (!wanted) {
        stop_asking(r);
        take_back(r);
    } else if (!subject_of(r->cert, &subject)) {
        log_warn(
            "%s: no OCSP answer can be asked for: the issuer's certificate is not in the chain",
            label(r));
    } else {
        r->due_s = clock_wall_s();
        load(r, &subject, r->due_s);
        plan(r);
    }
}

static void added(void *arg, struct publish_candidate *candidate)
{
    struct staples *s = arg;
    if (!candidate->leaf.ocsp_url)
        return;
    struct staple_record *r = mem_zalloc(sizeof *r);
    r->owner = s;
    r->cert = candidate;
    candidate->watcher = r;
    list_init(&r->node);
    list_init(&r->due);
    list_append(&s->all, &r->node);
    loop_timer_init(&r->timer, fired);
    loop_timer_init(&r->first, first_is_over);
    decide(r);
    if (!candidate->before || timer_is_set(&r->first.timer))
        return;
    log_info("%s: the new certificate waits for its first OCSP answer (must-staple), up to %u s",
             label(r), STAPLES_FIRST_S);
    loop_timer_set(s->o.loop, &r->first, clock_now_ns() + STAPLES_FIRST_S * NS_PER_S);
}

static void record_free(struct staple_record *r)
{
    stop_asking(r);
    loop_timer_cancel(r->owner->o.loop, &r->first);
    list_remove(&r->node);
    free(r);
}

static void dropped(void *arg, struct publish_candidate *candidate)
{
    struct staples *s = arg;
    if (!candidate->watcher)
        return;
    record_free(candidate->watcher);
    candidate->watcher = NULL;
    pump(s);
}

void staples_use(struct staples *s, const struct config *config)
{
    s->o.config = config;
    for (struct list *n = s->all.next; n != &s->all; n = n->next)
        decide(LIST_ENTRY(n, struct staple_record, node));
    pump(s); /* questions that were called off make room for others */
}

struct result staples_create(const struct staples_options *options, struct staples **ret,
                             struct why *why)
{
    struct staples *s = mem_zalloc(sizeof *s);
    struct http_client_options http = {.timeout_ms = STAPLES_TIMEOUT_MS};
    struct publish_watch watch = {.added = added, .dropped = dropped, .arg = s};
    s->o = *options;
    list_init(&s->all);
    list_init(&s->hosts);
    loop_timer_init(&s->prune, prune_fired);
    struct result r = http_client_create(options->loop, &http, &s->http, why);
    if (!result_is_ok(r)) {
        free(s);
        return r;
    }
    prune(s);
    publish_state_watch(options->certificates, &watch);
    *ret = s;
    return r;
}

void staples_destroy(struct staples *s)
{
    if (!s)
        return;
    loop_timer_cancel(s->o.loop, &s->prune);
    while (!list_is_empty(&s->all))
        record_free(LIST_ENTRY(s->all.next, struct staple_record, node));
    free_idle_hosts(s);
    http_client_destroy(s->http);
    free(s);
}
