/* SPDX-License-Identifier: Apache-2.0 */
#include "control/order_journal.h"

#include "base/must.h"
#include "base/secret.h"
#include "control/order.h"
#include "crypto/digest.h"

#include <jansson.h>
#include <stdlib.h>

#define VERSION 1

/* ---- identity -------------------------------------------------------------------------------- */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void order_id_make(const char *resolver, const char *ca, const char *const *names, uint32_t count,
                   char ret[ORDER_ID_LEN + 1])
{
    struct buf text = {0}, hex = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    const char **sorted = mem_dup(names, count * sizeof *names);
    qsort(sorted, count, sizeof *sorted, compare_text);
    buf_printf(&text, "%s\n%s\n", resolver, ca);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]))
            buf_printf(&text, "%s\n", sorted[i]);
    digest_once(DIGEST_SHA256, buf_span(&text), hash);
    hex_put(&hex, span_of(hash, ORDER_ID_LEN / 2));
    memcpy(ret, hex.ptr, ORDER_ID_LEN);
    ret[ORDER_ID_LEN] = 0;
    free(sorted);
    buf_free(&text);
    buf_free(&hex);
}

/* ---- challenges ------------------------------------------------------------------------------ */

static const char *const challenge_names[ORDER_CHALLENGES] = {
    [ORDER_CHALLENGE_DNS] = "dns-01",
    [ORDER_CHALLENGE_HTTP] = "http-01",
    [ORDER_CHALLENGE_TLS] = "tls-alpn-01",
};

const char *order_challenge_name(enum order_challenge challenge)
{
    must(challenge < ORDER_CHALLENGES);
    return challenge_names[challenge];
}

bool order_challenge_find(const char *name, enum order_challenge *ret)
{
    for (int i = 0; i < ORDER_CHALLENGES; i++)
        if (!strcmp(challenge_names[i], name)) {
            *ret = (enum order_challenge)i;
            return true;
        }
    return false;
}

/* ---- encode ---------------------------------------------------------------------------------- */

static void put_text(json_t *object, const char *member, const char *text)
{
    if (text)
        json_object_set_new(object, member, json_string(text));
}

static void put_bytes(json_t *object, const char *member, const struct buf *bytes)
{
    struct buf text = {0};
    if (!bytes->len)
        return;
    base64_put(&text, buf_span(bytes));
    json_object_set_new(object, member, json_stringn((const char *)text.ptr, text.len));
    buf_wipe_free(&text);
}

static json_t *txt_to_json(const struct order_txt *t)
{
    json_t *o = json_object();
    if (t->challenge != ORDER_CHALLENGE_DNS)
        put_text(o, "challenge", order_challenge_name((enum order_challenge)t->challenge));
    put_text(o, "domain", t->domain);
    put_text(o, "fqdn", t->fqdn);
    put_text(o, "zone", t->zone);
    put_text(o, "value", t->value);
    put_text(o, "token", t->token);
    put_text(o, "keyAuth", t->key_auth);
    put_bytes(o, "state", &t->state);
    json_object_set_new(o, "phase", json_integer(t->phase));
    json_object_set_new(o, "leftover", json_boolean(t->leftover));
    return o;
}

void order_record_encode(const struct order_record *r, struct buf *out)
{
    json_t *root = json_object();
    json_object_set_new(root, "version", json_integer(VERSION));
    put_text(root, "id", r->id);
    put_text(root, "resolver", r->resolver);
    put_text(root, "ca", r->ca);
    json_t *names = json_array();
    for (uint32_t i = 0; i < r->name_count; i++)
        json_array_append_new(names, json_string(r->names[i]));
    json_object_set_new(root, "names", names);
    put_text(root, "step", order_step_name((enum order_step)r->step));
    json_object_set_new(root, "failed", json_boolean(r->failed));
    json_object_set_new(root, "trial", json_boolean(r->trial));
    json_object_set_new(root, "keep", json_boolean(r->keep));
    json_object_set_new(root, "resumes", json_integer(r->resumes));
    json_object_set_new(root, "started", json_integer(r->started_s));
    json_t *tried = json_object();
    for (int i = 0; i < ORDER_CHALLENGES; i++)
        put_text(tried, challenge_names[i], r->failed_challenges[i]);
    json_object_set_new(root, "failedChallenges", tried);
    put_text(root, "orderUrl", r->order_url);
    put_text(root, "finalizeUrl", r->finalize_url);
    put_text(root, "certificateUrl", r->certificate_url);
    put_text(root, "replaces", r->replaces);
    put_bytes(root, "key", &r->key_der);
    json_t *txts = json_array();
    for (uint32_t i = 0; i < r->txt_count; i++)
        json_array_append_new(txts, txt_to_json(&r->txts[i]));
    json_object_set_new(root, "txt", txts);
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(root);
    if (!text)
        return; /* a text that is not UTF-8: decode refuses the empty record */
    buf_put_str(out, text);
    secret_wipe(text, strlen(text));
    free(text);
}

/* ---- decode ---------------------------------------------------------------------------------- */

static char *take_text(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text ? mem_strdup(text) : NULL;
}

static struct result take_bytes(const json_t *object, const char *member, struct buf *ret)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text ? base64_get(span_str(text), ret) : result_ok();
}

static struct result take_txt(const json_t *o, struct order_record *r)
{
    const char *domain = json_string_value(json_object_get(o, "domain"));
    const char *value = json_string_value(json_object_get(o, "value"));
    const char *name = json_string_value(json_object_get(o, "challenge"));
    enum order_challenge challenge = ORDER_CHALLENGE_DNS;
    json_int_t phase = json_integer_value(json_object_get(o, "phase"));
    if (!domain || !value || phase < 0 || phase > ORDER_TXT_PRESENT ||
        (name && !order_challenge_find(name, &challenge)))
        return result_fail(ERR_FORMAT);
    struct order_txt *t = order_record_add_txt(r, domain, value);
    t->challenge = (uint8_t)challenge;
    t->fqdn = take_text(o, "fqdn");
    t->zone = take_text(o, "zone");
    t->token = take_text(o, "token");
    t->key_auth = take_text(o, "keyAuth");
    t->phase = (uint8_t)phase;
    t->leftover = json_is_true(json_object_get(o, "leftover"));
    return take_bytes(o, "state", &t->state);
}

static struct result take_lists(const json_t *root, struct order_record *r)
{
    const json_t *names = json_object_get(root, "names");
    size_t count = json_array_size(names);
    if (!count || count > ORDER_NAMES_MAX)
        return result_fail(ERR_FORMAT);
    r->names = mem_zalloc(count * sizeof *r->names);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name)
            return result_fail(ERR_FORMAT);
        r->names[r->name_count++] = mem_strdup(name);
    }
    const json_t *txts = json_object_get(root, "txt");
    if (json_array_size(txts) > ORDER_TXTS_MAX)
        return result_fail(ERR_FORMAT);
    for (size_t i = 0; i < json_array_size(txts); i++)
        TRY(take_txt(json_array_get(txts, i), r));
    return take_bytes(root, "key", &r->key_der);
}

static struct result take_record(const json_t *root, struct order_record *r)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    const char *step = json_string_value(json_object_get(root, "step"));
    enum order_step s = 0;
    if (json_integer_value(json_object_get(root, "version")) != VERSION)
        return result_fail(ERR_VERSION);
    if (!id || strlen(id) != ORDER_ID_LEN || !step || !order_step_find(step, &s))
        return result_fail(ERR_FORMAT);
    memcpy(r->id, id, ORDER_ID_LEN);
    r->step = s;
    r->resolver = take_text(root, "resolver");
    r->ca = take_text(root, "ca");
    r->order_url = take_text(root, "orderUrl");
    r->finalize_url = take_text(root, "finalizeUrl");
    r->certificate_url = take_text(root, "certificateUrl");
    r->replaces = take_text(root, "replaces");
    r->failed = json_is_true(json_object_get(root, "failed"));
    r->trial = json_is_true(json_object_get(root, "trial"));
    r->keep = json_is_true(json_object_get(root, "keep"));
    r->resumes = (uint32_t)json_integer_value(json_object_get(root, "resumes"));
    r->started_s = json_integer_value(json_object_get(root, "started"));
    const json_t *tried = json_object_get(root, "failedChallenges");
    for (int i = 0; i < ORDER_CHALLENGES; i++)
        r->failed_challenges[i] = take_text(tried, challenge_names[i]);
    if (!r->resolver || !r->ca)
        return result_fail(ERR_FORMAT);
    return take_lists(root, r);
}

struct result order_record_decode(struct span in, struct order_record *ret)
{
    struct order_record r = {0};
    json_t *root = json_loadb((const char *)in.ptr, in.len, 0, NULL);
    struct result result = json_is_object(root) ? take_record(root, &r) : result_fail(ERR_FORMAT);
    json_decref(root);
    if (result_is_ok(result))
        *ret = r;
    else
        order_record_free(&r);
    return result;
}

/* ---- storage --------------------------------------------------------------------------------- */

void order_journal_put(struct state *state, const struct order_record *record)
{
    struct buf text = {0};
    order_record_encode(record, &text);
    state_put_soon(state, STATE_JOURNAL, span_str(record->id), buf_span(&text));
    buf_wipe_free(&text);
}

struct result order_journal_get(struct state *state, const char *id, struct order_record *ret)
{
    struct buf text = {0};
    struct result r = state_get(state, STATE_JOURNAL, span_str(id), &text);
    if (result_is_ok(r))
        r = order_record_decode(buf_span(&text), ret);
    buf_wipe_free(&text);
    return r;
}

void order_journal_remove(struct state *state, const char *id)
{
    state_remove_soon(state, STATE_JOURNAL, span_str(id));
}

static void collect_id(void *arg, struct span key, struct span value)
{
    if (key.len == ORDER_ID_LEN)
        buf_put_span(arg, key);
}

struct result order_journal_ids(struct state *state, struct buf *ret, struct why *why)
{
    return state_each(state, STATE_JOURNAL, collect_id, ret, why);
}

/* ---- records --------------------------------------------------------------------------------- */

struct order_txt *order_record_add_txt(struct order_record *r, const char *domain,
                                       const char *value)
{
    r->txts = mem_grow(r->txts, (r->txt_count + 1) * sizeof *r->txts);
    struct order_txt *t = &r->txts[r->txt_count++];
    *t = (struct order_txt){.domain = mem_strdup(domain), .value = mem_strdup(value)};
    return t;
}

static void txt_free(struct order_txt *t)
{
    free(t->domain);
    free(t->fqdn);
    free(t->zone);
    free(t->value);
    free(t->token);
    free(t->key_auth);
    buf_wipe_free(&t->state);
}

void order_record_drop_txt(struct order_record *r, uint32_t index)
{
    txt_free(&r->txts[index]);
    memmove(&r->txts[index], &r->txts[index + 1], (r->txt_count - index - 1) * sizeof r->txts[0]);
    r->txt_count--;
}

void order_record_free(struct order_record *r)
{
    free(r->resolver);
    free(r->ca);
    for (uint32_t i = 0; i < r->name_count; i++)
        free(r->names[i]);
    free(r->names);
    for (int i = 0; i < ORDER_CHALLENGES; i++)
        free(r->failed_challenges[i]);
    free(r->order_url);
    free(r->finalize_url);
    free(r->certificate_url);
    free(r->replaces);
    buf_wipe_free(&r->key_der);
    for (uint32_t i = 0; i < r->txt_count; i++)
        txt_free(&r->txts[i]);
    free(r->txts);
    *r = (struct order_record){0};
}
