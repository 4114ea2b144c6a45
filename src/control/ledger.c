/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ledger.h"

#include "base/clock.h"
#include "base/rand.h"
#include "crypto/digest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CLOCK_SLACK_S 60 /* a smaller step back changes nothing */

struct ledger {
    struct state *state;
};

static const uint32_t backoff_s[] = {60, 600, 3600, 6 * 3600, LEDGER_CAP_S};

uint32_t ledger_backoff_s(uint32_t failures)
{
    size_t steps = sizeof backoff_s / sizeof backoff_s[0];
    if (failures == 0)
        return 0;
    return backoff_s[failures > steps ? steps - 1 : failures - 1];
}

/* ---- stored form ----------------------------------------------------------------------------- */

static void put_times(json_t *root, const char *member, const int64_t *times, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(times[i]));
    json_object_set_new(root, member, list);
}

static void put_text(json_t *root, const char *member, const char *text)
{
    json_t *v = json_string(text);
    json_object_set_new(root, member, v ? v : json_string("(not printable)"));
}

void ledger_encode(const struct ledger_key *key, const struct ledger_entry *e, struct buf *out)
{
    json_t *root = json_object();
    put_text(root, "resolver", key->resolver);
    put_text(root, "names", key->names);
    put_text(root, "fingerprint", e->fingerprint);
    put_text(root, "asked", e->asked);
    json_object_set_new(root, "failures", json_integer(e->failures));
    json_object_set_new(root, "next", json_integer(e->next_s));
    json_object_set_new(root, "retryUntil", json_integer(e->retry_until_s));
    json_object_set_new(root, "failed", json_integer(e->failed_s));
    json_object_set_new(root, "ofCa", json_boolean(e->is_of_ca));
    put_text(root, "text", e->text);
    put_text(root, "type", e->type);
    put_text(root, "class", e->class);
    put_times(root, "orders", e->orders, e->order_count);
    put_times(root, "certs", e->certs, e->cert_count);
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(root);
    if (text)
        buf_put_str(out, text);
    free(text);
}

static void take_times(const json_t *root, const char *member, int64_t *times, uint32_t *count)
{
    const json_t *list = json_object_get(root, member);
    size_t n = json_array_size(list);
    size_t from = n > LEDGER_TIMES_MAX ? n - LEDGER_TIMES_MAX : 0;
    *count = 0;
    for (size_t i = from; i < n; i++)
        times[(*count)++] = json_integer_value(json_array_get(list, i));
}

static void take_text(const json_t *root, const char *member, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(root, member));
    snprintf(out, cap, "%s", text ? text : "");
}

struct result ledger_decode(struct span in, struct ledger_entry *ret)
{
    json_t *root = json_loadb((const char *)in.ptr, in.len, 0, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return result_fail(ERR_FORMAT);
    }
    *ret = (struct ledger_entry){0};
    json_int_t failures = json_integer_value(json_object_get(root, "failures"));
    ret->failures = failures > 0 && failures < 1000000 ? (uint32_t)failures : 0;
    ret->next_s = json_integer_value(json_object_get(root, "next"));
    ret->retry_until_s = json_integer_value(json_object_get(root, "retryUntil"));
    ret->failed_s = json_integer_value(json_object_get(root, "failed"));
    ret->is_of_ca = json_is_true(json_object_get(root, "ofCa"));
    take_text(root, "text", ret->text, sizeof ret->text);
    take_text(root, "type", ret->type, sizeof ret->type);
    take_text(root, "class", ret->class, sizeof ret->class);
    take_text(root, "fingerprint", ret->fingerprint, sizeof ret->fingerprint);
    take_text(root, "asked", ret->asked, sizeof ret->asked);
    take_times(root, "orders", ret->orders, &ret->order_count);
    take_times(root, "certs", ret->certs, &ret->cert_count);
    json_decref(root);
    return result_ok();
}

/* ---- times ----------------------------------------------------------------------------------- */

/* A time in the future is a clock that was set back: it counts, but only as if it were now. True
 * when there was one. The list stays in order. */
static bool forget_old(int64_t *times, uint32_t *count, int64_t now_s)
{
    uint32_t kept = 0, ahead = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (times[i] > now_s)
            ahead++;
        else if (times[i] > now_s - LEDGER_WINDOW_S)
            times[kept++] = times[i];
    }
    for (uint32_t i = 0; i < ahead; i++)
        times[kept++] = now_s;
    *count = kept;
    return ahead > 0;
}

static void add_time(int64_t *times, uint32_t *count, int64_t now_s)
{
    if (*count == LEDGER_TIMES_MAX) {
        memmove(times, times + 1, (LEDGER_TIMES_MAX - 1) * sizeof *times);
        (*count)--;
    }
    times[(*count)++] = now_s;
}

/* ---- entries --------------------------------------------------------------------------------- */

struct ledger *ledger_create(struct state *state)
{
    struct ledger *ledger = mem_zalloc(sizeof *ledger);
    ledger->state = state;
    return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
    free(ledger);
}

static void store_entry(struct ledger *ledger, const struct ledger_key *key,
                        const struct ledger_entry *e)
{
    struct buf text = {0};
    ledger_encode(key, e, &text);
    state_put_soon(ledger->state, STATE_LEDGER, span_str(key->id), buf_span(&text));
    buf_free(&text);
}

void ledger_read(struct ledger *ledger, const struct ledger_key *key, int64_t now_s,
                 struct ledger_entry *ret)
{
    struct buf text = {0};
    *ret = (struct ledger_entry){0};
    if (!result_is_ok(state_get(ledger->state, STATE_LEDGER, span_str(key->id), &text)) ||
        !result_is_ok(ledger_decode(buf_span(&text), ret)))
        *ret = (struct ledger_entry){0};
    buf_free(&text);
    bool ahead = forget_old(ret->orders, &ret->order_count, now_s);
    ahead = forget_old(ret->certs, &ret->cert_count, now_s) || ahead;
    if (ahead) /* on a disk that takes nothing they are met again at the next read */
        store_entry(ledger, key, ret);
    /* What a clock said that has been set back since is not waited out: it might be years. */
    if (ret->failed_s > now_s + CLOCK_SLACK_S)
        ret->retry_until_s = ret->next_s = 0;
    if (strcmp(ret->fingerprint, key->fingerprint) != 0) {
        ret->failures = 0;
        ret->next_s = ret->retry_until_s;
    }
}

struct prune {
    struct ledger *ledger;
    int64_t now_s;
};

static void prune_one(void *arg, struct span key, struct span value)
{
    struct prune *p = arg;
    struct ledger_entry e;
    if (!result_is_ok(ledger_decode(value, &e)))
        return;
    forget_old(e.orders, &e.order_count, p->now_s);
    forget_old(e.certs, &e.cert_count, p->now_s);
    if (e.order_count || e.cert_count || e.next_s > p->now_s ||
        e.failed_s > p->now_s - LEDGER_FORGET_S)
        return;
    state_remove_soon(p->ledger->state, STATE_LEDGER, key);
}

void ledger_prune(struct ledger *ledger, int64_t now_s)
{
    struct prune p = {ledger, now_s};
    struct why ignored;
    (void)!result_is_ok(state_each(ledger->state, STATE_LEDGER, prune_one, &p, &ignored));
}

static void time_text(int64_t at_s, char out[32])
{
    struct tm tm;
    time_t t = (time_t)at_s;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

bool ledger_allows(const struct ledger_entry *e, uint32_t budget, int64_t now_s, int64_t *ret_at_s,
                   struct why *why)
{
    char when[32];
    if (e->next_s > now_s) {
        *ret_at_s = e->next_s;
        time_text(e->next_s, when);
        return result_is_ok(why_fail(why, ERR_LIMIT, "next try at %s, after %u failure%s: %.360s",
                                     when, e->failures, e->failures == 1 ? "" : "s", e->text));
    }
    if (budget && e->cert_count >= budget) {
        *ret_at_s = e->certs[e->cert_count - budget] + LEDGER_WINDOW_S;
        time_text(*ret_at_s, when);
        return result_is_ok(why_fail(
            why, ERR_LIMIT,
            "%u of %u certificates for these names were asked for in the last 168 hours (the "
            "duplicate budget): the next may be at %s",
            e->cert_count, budget, when));
    }
    *ret_at_s = now_s;
    return true;
}

static void write_entry(struct ledger *ledger, const struct ledger_key *key, struct ledger_entry *e)
{
    snprintf(e->fingerprint, sizeof e->fingerprint, "%s", key->fingerprint);
    store_entry(ledger, key, e);
}

void ledger_order_begins(struct ledger *ledger, const struct ledger_key *key, int64_t now_s)
{
    struct ledger_entry e;
    ledger_read(ledger, key, now_s, &e);
    add_time(e.orders, &e.order_count, now_s);
    write_entry(ledger, key, &e);
}

static void name_order(const char *url, char ret[LEDGER_ORDER_LEN + 1])
{
    struct buf hex = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    digest_once(DIGEST_SHA256, span_str(url), hash);
    hex_put(&hex, span_of(hash, LEDGER_ORDER_LEN / 2));
    snprintf(ret, LEDGER_ORDER_LEN + 1, "%s", buf_cstr(&hex));
    buf_free(&hex);
}

void ledger_certificate_asked(struct ledger *ledger, const struct ledger_key *key,
                              const char *order_url, bool counts, int64_t now_s)
{
    struct ledger_entry e;
    char order[LEDGER_ORDER_LEN + 1];
    ledger_read(ledger, key, now_s, &e);
    name_order(order_url, order);
    if (!strcmp(e.asked, order))
        return;
    memcpy(e.asked, order, sizeof order);
    if (counts)
        add_time(e.certs, &e.cert_count, now_s);
    write_entry(ledger, key, &e);
}

void ledger_failed(struct ledger *ledger, const struct ledger_key *key, int64_t now_s,
                   const struct ledger_failure *f)
{
    struct ledger_entry e;
    ledger_read(ledger, key, now_s, &e);
    e.failures++;
    e.failed_s = now_s;
    uint32_t wait = ledger_backoff_s(e.failures);
    uint32_t cap = f->cap_s ? f->cap_s : LEDGER_CAP_S;
    if (wait > cap)
        wait = cap;
    wait += (uint32_t)rand_below(wait / 5 + 1);
    uint32_t retry = f->retry_after_s > LEDGER_RETRY_MAX_S ? LEDGER_RETRY_MAX_S : f->retry_after_s;
    e.retry_until_s = retry ? now_s + retry : 0;
    e.next_s = now_s + (retry > wait ? retry : wait);
    e.is_of_ca = f->is_of_ca;
    snprintf(e.text, sizeof e.text, "%s", f->text);
    snprintf(e.type, sizeof e.type, "%s", f->type);
    snprintf(e.class, sizeof e.class, "%s", problem_class_name(f->class));
    write_entry(ledger, key, &e);
}

void ledger_succeeded(struct ledger *ledger, const struct ledger_key *key, int64_t now_s)
{
    struct ledger_entry e;
    ledger_read(ledger, key, now_s, &e);
    e.failures = 0;
    e.next_s = e.retry_until_s = e.failed_s = 0;
    e.is_of_ca = false;
    e.text[0] = e.type[0] = e.class[0] = 0;
    write_entry(ledger, key, &e);
}
