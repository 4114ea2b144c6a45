/* SPDX-License-Identifier: Apache-2.0 */
/* The middleware `headers`. */
#include "data/route/middleware_impl.h"

#define LITERAL SPAN_LITERAL

/* ---- CORS ----------------------------------------------------------------------------------- */

/* Notes whether and how the client's origin is allowed. */
static void judge_origin(const struct step *step, struct span origin)
{
    const struct snap_headers *h = &step->m->headers;
    const struct snapshot *s = step->run->snapshot;
    struct middleware_notes *notes = step->run->notes;
    if (origin.len > MIDDLEWARE_ORIGIN_MAX)
        return;
    for (uint32_t i = 0; i < h->origins.count; i++) {
        struct span item = s->texts[h->origins.first + i].text;
        bool any = span_eq(item, LITERAL("*"));
        if (any && !h->credentials) {
            notes->origin_any |= step->bit;
            return;
        }
        if (origin.len && (any || span_eq(item, origin))) {
            notes->origin_echo |= step->bit;
            return;
        }
    }
    for (uint32_t i = 0; i < h->origin_regexes.count && origin.len; i++) {
        const struct regex *x = set_text_regex(step->run->set, h->origin_regexes.first + i);
        if (x && regex_holds(x, (const char *)origin.ptr, origin.len)) {
            notes->origin_echo |= step->bit;
            return;
        }
    }
}

static void keep_origin(struct middleware_notes *notes, struct span origin)
{
    if (origin.len == 0 || origin.len > MIDDLEWARE_ORIGIN_MAX)
        return;
    memcpy(notes->origin, origin.ptr, origin.len);
    notes->origin_len = (uint16_t)origin.len;
}

static void put_origin(const struct middleware_notes *notes, uint64_t bit, struct http_head *to)
{
    struct span name = LITERAL("Access-Control-Allow-Origin");
    if (notes->origin_any & bit)
        field_set(to, name, LITERAL("*"));
    else if (notes->origin_echo & bit)
        field_set(to, name, span_of(notes->origin, notes->origin_len));
}

static void put_exposed(const struct snap_headers *h, struct http_head *to)
{
    if (h->expose_headers.len && !(h->any_exposed && h->credentials))
        field_set(to, LITERAL("Access-Control-Expose-Headers"), h->expose_headers);
}

/* Whether a list of a Vary field names Origin, or everything (RFC 9110 section 12.5.5). */
static bool varies(struct span list)
{
    while (list.len) {
        struct span item = span_first(list, span_find(list, ','));
        list = span_skip(list, item.len + 1);
        while (item.len && item.ptr[0] == ' ')
            item = span_skip(item, 1);
        while (item.len && item.ptr[item.len - 1] == ' ')
            item.len--;
        if (span_eq_nocase(item, LITERAL("Origin")) || span_eq(item, LITERAL("*")))
            return true;
    }
    return false;
}

static void put_vary(struct http_head *to)
{
    for (uint32_t i = 0; i < to->field_count; i++) {
        const struct http_field *f = &to->fields[i];
        if (!f->drop && span_eq_nocase(f->name, LITERAL("Vary")) && varies(f->value))
            return;
    }
    (void)http_head_add(to, LITERAL("Vary"), LITERAL("Origin"));
}

/* With credentials a star means nothing to a browser: what was asked for is named instead. */
static void put_allowed(const struct snap_headers *h, struct http_head *to, struct span name,
                        struct span list, bool any, struct span asked)
{
    struct span value = any && h->credentials ? asked : list;
    if (value.len)
        field_set(to, name, value);
}

/* Answers a preflight request (Fetch standard, section 3.2.2). */
static enum middleware_verdict preflight(const struct step *step, struct span method)
{
    const struct snap_headers *h = &step->m->headers;
    struct middleware_run *run = step->run;
    middleware_answer(run, 200);
    struct http_head *to = run->answer;
    run->bare = true;
    if (h->credentials)
        field_set(to, LITERAL("Access-Control-Allow-Credentials"), LITERAL("true"));
    put_allowed(h, to, LITERAL("Access-Control-Allow-Headers"), h->allow_headers, h->any_header,
                field_value(run->head, LITERAL("Access-Control-Request-Headers")));
    put_allowed(h, to, LITERAL("Access-Control-Allow-Methods"), h->allow_methods, h->any_method,
                method);
    put_origin(run->notes, step->bit, to);
    if (h->max_age.len)
        field_set(to, LITERAL("Access-Control-Max-Age"), h->max_age);
    put_exposed(h, to);
    if (h->vary)
        put_vary(to);
    return MIDDLEWARE_ANSWER;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void change_request(const struct step *step)
{
    struct middleware_run *run = step->run;
    struct snap_range pairs = step->m->headers.request;
    for (uint32_t i = 0; i < pairs.count; i++) {
        const struct snap_pair *p = &run->snapshot->pairs[pairs.first + i];
        bool forwarded = span_eq_nocase(p->name, LITERAL("X-Forwarded-For"));
        if (span_eq_nocase(p->name, LITERAL("Host"))) {
            run->head->authority = p->value;
        } else if (p->value.len) {
            field_set(run->head, p->name, p->value);
        } else {
            field_remove(run->head, p->name);
            run->notes->hide_client = run->notes->hide_client || forwarded;
        }
    }
}

static bool host_is_allowed(const struct step *step)
{
    const struct snap_headers *h = &step->m->headers;
    const struct snap_text *texts = step->run->snapshot->texts;
    struct span host = step->run->head->authority;
    for (uint32_t i = 0; i < h->host_fields.count; i++) {
        struct span value = field_value(step->run->head, texts[h->host_fields.first + i].text);
        if (value.len) {
            host = value;
            break;
        }
    }
    for (uint32_t i = 0; i < h->hosts.count; i++)
        if (span_eq_nocase(texts[h->hosts.first + i].text, host))
            return true;
    return h->hosts.count == 0;
}

static bool came_by_tls(const struct step *step)
{
    struct snap_range fields = step->m->headers.tls_fields;
    for (uint32_t i = 0; i < fields.count && !step->run->tls; i++) {
        const struct snap_pair *p = &step->run->snapshot->pairs[fields.first + i];
        if (span_eq(field_value(step->run->head, p->name), p->value))
            return true;
    }
    return step->run->tls;
}

enum middleware_verdict middleware_headers(const struct step *step)
{
    struct middleware_run *run = step->run;
    if (step->m->headers.cors) {
        struct span origin = field_value(run->head, LITERAL("Origin"));
        struct span asked = field_value(run->head, LITERAL("Access-Control-Request-Method"));
        keep_origin(run->notes, origin);
        judge_origin(step, origin);
        if (asked.len && origin.len && run->head->method == HTTP_OPTIONS)
            return preflight(step, asked);
    }
    change_request(step);
    if (!host_is_allowed(step)) {
        middleware_answer(run, 500);
        run->body = LITERAL("Bad Host\n");
        return MIDDLEWARE_ANSWER;
    }
    if (came_by_tls(step))
        run->notes->by_tls |= step->bit;
    return MIDDLEWARE_PASS;
}

/* ---- responses ------------------------------------------------------------------------------ */

void middleware_headers_back(const struct snapshot *s, const struct snap_middleware *m,
                             const struct middleware_notes *notes, uint64_t bit,
                             struct http_head *response)
{
    const struct snap_headers *h = &m->headers;
    for (uint32_t i = 0; i < h->response.count; i++) {
        const struct snap_pair *p = &s->pairs[h->response.first + i];
        if (p->only_tls && !(notes->by_tls & bit))
            continue;
        if (p->value.len)
            field_set(response, p->name, p->value);
        else
            field_remove(response, p->name);
    }
    if (!h->cors)
        return;
    put_origin(notes, bit, response);
    if (h->credentials)
        field_set(response, LITERAL("Access-Control-Allow-Credentials"), LITERAL("true"));
    put_exposed(h, response);
    if (h->vary)
        put_vary(response);
}
