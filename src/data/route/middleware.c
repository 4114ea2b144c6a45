/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/middleware.h"

#include "base/buf.h"
#include "base/rand.h"
#include "crypto/digest.h"
#include "data/route/middleware_impl.h"

#include <assert.h>
#include <stdlib.h>

static_assert(SNAP_MIDDLEWARES_MAX <= 64, "the notes hold a bit for each step");

/* ---- state ---------------------------------------------------------------------------------- */

struct result middleware_tables_init(struct middleware_tables *t, uint32_t count)
{
    random_bytes(&t->secret, sizeof t->secret);
    TRY(bucket_table_init(&t->buckets));
    TRY(tally_init(&t->tally, count * SNAP_IN_FLIGHT_MAX));
    return known_init(&t->known);
}

void middleware_tables_fini(struct middleware_tables *t)
{
    bucket_table_fini(&t->buckets);
    tally_fini(&t->tally);
    known_fini(&t->known);
}

static struct regex *compile(struct span pattern)
{
    struct regex_error error;
    return regex_create((const char *)pattern.ptr, pattern.len, &error);
}

static void compile_texts(struct middleware_set *set, struct snap_range texts)
{
    for (uint32_t i = texts.first; i < texts.first + texts.count; i++)
        if (!set->regexes[i])
            set->regexes[i] = compile(set->snapshot->texts[i].text);
}

struct middleware_set *middleware_set_create(const struct snapshot *s)
{
    struct middleware_set *set = mem_zalloc(sizeof *set);
    set->snapshot = s;
    set->regex_count = s->text_count + s->middleware_count;
    set->regexes = mem_zalloc((s->text_count + s->middleware_count + 1) * sizeof *set->regexes);
    for (uint32_t i = 0; i < s->middleware_count; i++) {
        const struct snap_middleware *m = &s->middlewares[i];
        if (m->kind == SNAP_MIDDLEWARE_HEADERS)
            compile_texts(set, m->headers.origin_regexes);
        else if (m->kind == SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX)
            compile_texts(set, m->path.list);
        else if (m->kind == SNAP_MIDDLEWARE_REDIRECT_REGEX ||
                 m->kind == SNAP_MIDDLEWARE_REPLACE_PATH_REGEX)
            set->regexes[s->text_count + i] = compile(m->redirect.regex);
    }
    return set;
}

void middleware_set_destroy(struct middleware_set *set)
{
    if (!set)
        return;
    for (uint32_t i = 0; i < set->regex_count; i++) /* the snapshot may be gone */
        regex_destroy(set->regexes[i]);
    free(set->regexes);
    free(set);
}

/* ---- fields --------------------------------------------------------------------------------- */

const struct http_field *field_find(const struct http_head *head, struct span name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        if (!f->drop && span_eq_nocase(f->name, name))
            return f;
    }
    return NULL;
}

struct span field_value(const struct http_head *head, struct span name)
{
    const struct http_field *f = field_find(head, name);
    return f ? f->value : (struct span){0};
}

void field_remove(struct http_head *head, struct span name)
{
    for (uint32_t i = 0; i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, name))
            head->fields[i].drop = true;
}

void field_set(struct http_head *head, struct span name, struct span value)
{
    field_remove(head, name);
    if (http_head_add(head, name, value) && span_eq_nocase(name, SPAN_LITERAL("X-Forwarded-For")))
        head->fields[head->field_count - 1].known = HTTP_NAME_X_FORWARDED_FOR;
}

/* ---- the way in ----------------------------------------------------------------------------- */

enum middleware_verdict middleware_answer(struct middleware_run *run, uint16_t status)
{
    run->answer->is_response = true;
    run->answer->status = status;
    run->answer->field_count = 0;
    run->body = (struct span){0};
    run->bare = false;
    return MIDDLEWARE_ANSWER;
}

static enum middleware_verdict run_step(const struct step *step)
{
    switch ((enum snap_middleware_kind)step->m->kind) {
    case SNAP_MIDDLEWARE_REDIRECT_SCHEME:
    case SNAP_MIDDLEWARE_REDIRECT_REGEX:
        return middleware_redirect(step);
    case SNAP_MIDDLEWARE_HEADERS:
        return middleware_headers(step);
    case SNAP_MIDDLEWARE_STRIP_PREFIX:
    case SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX:
    case SNAP_MIDDLEWARE_ADD_PREFIX:
    case SNAP_MIDDLEWARE_REPLACE_PATH:
    case SNAP_MIDDLEWARE_REPLACE_PATH_REGEX:
        return middleware_path(step);
    case SNAP_MIDDLEWARE_ALLOW_LIST:
    case SNAP_MIDDLEWARE_RATE_LIMIT:
    case SNAP_MIDDLEWARE_IN_FLIGHT:
        return middleware_limit(step);
    case SNAP_MIDDLEWARE_BASIC_AUTH:
        return middleware_auth(step);
    case SNAP_MIDDLEWARE_RETRY:
        step->run->notes->attempts = (uint8_t)step->m->retry.attempts;
        step->run->notes->retry_ms = step->m->retry.interval_ms;
        return MIDDLEWARE_PASS;
    case SNAP_MIDDLEWARE_KINDS:
        break;
    }
    never();
}

/* A path that was stripped to nothing is the root (RFC 9110 section 4.2.3). */
static enum middleware_verdict finish_path(struct middleware_run *run)
{
    struct http_head *head = run->head;
    if (head->path.len && (head->path.ptr[0] == '/' || head->path.ptr[0] == '*'))
        return MIDDLEWARE_PASS;
    size_t from = run->text->len;
    writer_bytes(run->text, "/", 1);
    writer_span(run->text, head->path);
    if (run->text->bad)
        return middleware_answer(run, 414);
    head->path = span_skip(writer_done(run->text), from);
    return MIDDLEWARE_PASS;
}

enum middleware_verdict middleware_request(struct middleware_run *run, struct snap_range steps,
                                           uint32_t *step)
{
    const struct snapshot *s = run->snapshot;
    run->notes->steps.first = steps.first;
    if (*step == 0)
        run->notes->received = run->head->field_count;
    for (; *step < steps.count; ++*step) {
        const struct snap_middleware *m = &s->middlewares[s->steps[steps.first + *step].middleware];
        run->notes->steps.count = *step;
        enum middleware_verdict v = run_step(&(struct step){run, m, 1ull << *step});
        if (v != MIDDLEWARE_PASS)
            return v;
    }
    run->notes->steps.count = steps.count;
    return finish_path(run);
}

/* ---- the way back --------------------------------------------------------------------------- */

void middleware_response(const struct snapshot *s, const struct middleware_notes *notes,
                         struct http_head *response)
{
    for (uint32_t i = notes->steps.count; i > 0; i--) {
        const struct snap_middleware *m =
            &s->middlewares[s->steps[notes->steps.first + i - 1].middleware];
        if (m->kind == SNAP_MIDDLEWARE_HEADERS)
            middleware_headers_back(s, m, notes, 1ull << (i - 1), response);
    }
}

uint32_t middleware_retry_pause(const struct middleware_notes *notes, uint32_t tries)
{
    uint32_t ms = notes->retry_ms;
    ms += (uint32_t)((uint64_t)ms * (tries - 1) / (notes->attempts - 1u));
    return ms ? ms / 2 + (uint32_t)rand_below(ms + 1ull) : 0;
}

void middleware_end(struct middleware_tables *t, struct middleware_notes *notes)
{
    while (notes->in_flight_count)
        tally_drop(&t->tally, notes->in_flight[--notes->in_flight_count]);
}
