/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ari.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/rand.h"
#include "crypto/digest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define WANT_ID_MAX  64
#define ID_BYTES_MAX 40 /* of an authority key id, and of a serial number */

bool ari_id_make(const struct x509 *leaf, char ret[ARI_ID_MAX + 1])
{
    struct buf text = {0};
    ret[0] = 0;
    if (!leaf->aki.len || leaf->aki.len > ID_BYTES_MAX || !leaf->serial_der.len ||
        leaf->serial_der.len > ID_BYTES_MAX)
        return false;
    base64url_put(&text, buf_span(&leaf->aki));
    buf_put_str(&text, ".");
    base64url_put(&text, buf_span(&leaf->serial_der));
    snprintf(ret, ARI_ID_MAX + 1, "%s", buf_cstr(&text));
    buf_free(&text);
    return true;
}

/* ---- the time ------------------------------------------------------------------------------- */

/* A window that begins before the certificate has served for a while is cut: a CA whose window
 * never moves on would be asked for certificates without end. */
static int64_t first_time(int64_t not_before_s, int64_t not_after_s)
{
    int64_t young_s = (not_after_s - not_before_s + 1) / 3;
    return not_before_s + (young_s < ARI_YOUNG_MAX_S ? young_s : ARI_YOUNG_MAX_S);
}

int64_t ari_due_s(const struct ari *ari, int64_t not_before_s, int64_t not_after_s,
                  const struct renewal *table)
{
    int64_t first_s = first_time(not_before_s, not_after_s);
    if (!ari->chosen_s)
        return 0;
    if (ari->chosen_s > not_after_s - table->interval_s)
        return table->due_s;
    return ari->chosen_s > first_s ? ari->chosen_s : first_s;
}

struct result ari_take(struct ari *ari, struct span json, uint32_t retry_after_s, int64_t now_s,
                       bool *ret_changed, struct why *why)
{
    struct document_renewal doc;
    int64_t wait_s = retry_after_s ? retry_after_s : ARI_POLL_S;
    wait_s = wait_s < ARI_POLL_MIN_S ? ARI_POLL_MIN_S : wait_s;
    ari->poll_s = now_s + (wait_s > ARI_POLL_MAX_S ? ARI_POLL_MAX_S : wait_s);
    *ret_changed = false;
    TRY(document_renewal_parse(json, &doc, why));
    *ret_changed = doc.start_s != ari->start_s || doc.end_s != ari->end_s;
    snprintf(ari->url, sizeof ari->url, "%s", strlen(doc.url) < sizeof ari->url ? doc.url : "");
    if (!*ret_changed)
        return result_ok();
    ari->start_s = doc.start_s;
    ari->end_s = doc.end_s;
    ari->chosen_s = doc.start_s + (int64_t)rand_below((uint64_t)(doc.end_s - doc.start_s) + 1);
    return result_ok();
}

/* ---- on disk -------------------------------------------------------------------------------- */

static int64_t number(const json_t *o, const char *member)
{
    return json_integer_value(json_object_get(o, member));
}

void ari_load(struct state *state, const char *want_id, const char *ari_id, struct ari *ret)
{
    struct buf text = {0};
    *ret = (struct ari){0};
    snprintf(ret->id, sizeof ret->id, "%s", ari_id);
    json_t *o = result_is_ok(state_get(state, STATE_ARI, span_str(want_id), &text))
                    ? json_loadb((const char *)text.ptr, text.len, 0, NULL)
                    : NULL;
    const char *id = json_string_value(json_object_get(o, "id"));
    const char *url = json_string_value(json_object_get(o, "url"));
    if (id && !strcmp(id, ari_id)) {
        ret->ca = (uint8_t)number(o, "ca");
        ret->start_s = number(o, "start");
        ret->end_s = number(o, "end");
        ret->chosen_s = number(o, "chosen");
        ret->poll_s = number(o, "poll");
        snprintf(ret->url, sizeof ret->url, "%s", url ? url : "");
    }
    json_decref(o);
    buf_free(&text);
}

void ari_save(struct state *state, const char *want_id, const struct ari *ari)
{
    json_t *o =
        json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:s}", "id", ari->id, "ca", ari->ca, "start",
                  (json_int_t)ari->start_s, "end", (json_int_t)ari->end_s, "chosen",
                  (json_int_t)ari->chosen_s, "poll", (json_int_t)ari->poll_s, "url", ari->url);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (text)
        state_put_soon(state, STATE_ARI, span_str(want_id), span_str(text));
    free(text);
}

void ari_forget(struct state *state, const char *want_id)
{
    state_remove_soon(state, STATE_ARI, span_str(want_id));
}

/* ---- asking --------------------------------------------------------------------------------- */

struct ari_poller {
    struct state *state;
    struct list asked;
    uint32_t count;
    void (*told)(void *arg, const char *want_id, const struct ari *ari, bool changed);
    void *arg;
};

struct question {
    struct list node;
    struct ari_poller *poller;
    struct acme_call *call;
    char want_id[WANT_ID_MAX];
    char *label;
    struct ari ari;
};

struct ari_poller *ari_poller_create(struct state *state,
                                     void (*told)(void *arg, const char *want_id,
                                                  const struct ari *ari, bool changed),
                                     void *arg)
{
    struct ari_poller *p = mem_zalloc(sizeof *p);
    p->state = state;
    p->told = told;
    p->arg = arg;
    list_init(&p->asked);
    return p;
}

static void question_free(struct question *q)
{
    list_remove(&q->node);
    q->poller->count--;
    free(q->label);
    free(q);
}

void ari_poller_stop(struct ari_poller *p)
{
    while (!list_is_empty(&p->asked)) {
        struct question *q = LIST_ENTRY(p->asked.next, struct question, node);
        acme_call_cancel(q->call);
        question_free(q);
    }
}

void ari_poller_destroy(struct ari_poller *p)
{
    if (!p)
        return;
    ari_poller_stop(p);
    free(p);
}

static void tell_window(const struct question *q)
{
    char start[32], end[32];
    struct tm tm;
    time_t at = (time_t)q->ari.start_s;
    gmtime_r(&at, &tm);
    strftime(start, sizeof start, "%Y-%m-%d %H:%M:%S", &tm);
    at = (time_t)q->ari.end_s;
    gmtime_r(&at, &tm);
    strftime(end, sizeof end, "%Y-%m-%d %H:%M:%S", &tm);
    log_info("%s: the CA suggests to renew between %s and %s UTC%s%s", q->label, start, end,
             q->ari.url[0] ? ", see " : "", q->ari.url);
}

static void on_answer(void *arg, const struct acme_answer *answer)
{
    struct question *q = arg;
    struct ari_poller *p = q->poller;
    struct why why = {{0}};
    int64_t now_s = clock_wall_s();
    bool changed = false;
    /* Status 0: the CA has no such thing. Whatever is wrong, the time table goes on. */
    if (answer->class == ACME_OK && answer->status) {
        if (!result_is_ok(
                ari_take(&q->ari, answer->body, answer->retry_after_s, now_s, &changed, &why)))
            log_debug("%s: renewal information cannot be used: %s", q->label, why.text);
    } else {
        q->ari.poll_s = now_s + ARI_POLL_S;
        if (answer->class != ACME_OK)
            log_debug("%s: no renewal information: %s", q->label, answer->text);
    }
    if (changed)
        tell_window(q);
    ari_save(p->state, q->want_id, &q->ari);
    p->told(p->arg, q->want_id, &q->ari, changed);
    question_free(q);
}

bool ari_poller_ask(struct ari_poller *p, struct acme *acme, const char *want_id, const char *label,
                    const struct ari *ari)
{
    for (struct list *n = p->asked.next; n != &p->asked; n = n->next)
        if (!strcmp(LIST_ENTRY(n, struct question, node)->want_id, want_id))
            return true;
    if (p->count == ARI_CALLS_MAX)
        return false;
    struct question *q = mem_zalloc(sizeof *q);
    q->poller = p;
    q->ari = *ari;
    q->label = mem_strdup(label);
    snprintf(q->want_id, sizeof q->want_id, "%s", want_id);
    list_init(&q->node);
    list_append(&p->asked, &q->node);
    p->count++;
    q->call = acme_renewal_info(acme, ari->id, on_answer, q);
    return true;
}
