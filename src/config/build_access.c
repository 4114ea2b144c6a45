/* SPDX-License-Identifier: Apache-2.0 */
/* [accessLog]. */
#include "config/build.h"
#include "config/problems.h"
#include "config/value.h"

#include <string.h>

static const char *const field_names[] = {
#define ACCESS_FIELD(id, name) name,
#include "base/access_fields.def"
#undef ACCESS_FIELD
};
#define FIELDS ((uint32_t)(sizeof field_names / sizeof *field_names))

static uint8_t mode_of(const char *text)
{
    return strcasecmp(text, "keep") == 0 ? 0 : strcasecmp(text, "drop") == 0 ? 1 : 2;
}

/* A status, or the end of a range. */
static bool take_status(struct span text, uint16_t *ret)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || n > 999)
            return false;
        n = n * 10 + text.ptr[i] - '0';
    }
    *ret = (uint16_t)n;
    return text.len > 0 && n >= 100 && n <= 999;
}

/* "200", "300-302", or several of them with commas between, as Traefik takes them. */
static void build_statuses(struct build *b, struct place log)
{
    struct config_access *a = &b->config->access;
    struct place list = build_at(log, "filters.statusCodes");
    uint32_t room = 0;
    for (const struct node *n = NULL; (n = build_next(list, n));)
        room += (uint32_t)strlen(n->text) / 3 + 1;
    a->statuses = arena_alloc(b->arena, (room + 1) * sizeof *a->statuses);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct span text = span_str(n->text);
        while (text.len) {
            struct span one = span_first(text, span_find(text, ','));
            size_t dash = span_find(one, '-');
            uint16_t first, last;
            bool ok = take_status(span_first(one, dash), &first);
            last = first;
            if (ok && dash < one.len)
                ok = take_status(span_skip(one, dash + 1), &last) && last >= first;
            if (!ok)
                problems_error(b->problems, n->at,
                               "\"%.*s\" is no status and no range of statuses: write \"200\" or "
                               "\"300-302\"",
                               SPAN_FMT(one));
            else if (a->status_count < room)
                a->statuses[a->status_count++] = (typeof(*a->statuses)){first, last};
            text = span_skip(text, one.len < text.len ? one.len + 1 : one.len);
        }
    }
}

static void build_field(struct build *b, const struct node *n)
{
    struct config_access *a = &b->config->access;
    for (uint32_t i = 0; i < FIELDS; i++)
        if (strcasecmp(n->key, field_names[i]) == 0) {
            a->dropped &= ~(1ull << i);
            if (mode_of(n->text) == 1)
                a->dropped |= 1ull << i;
            return;
        }
    const char *near = problems_nearest(n->key, (const char **)field_names, FIELDS);
    problems_error(b->problems, n->key_at, "the access log has no field \"%s\"%s%s%s", n->key,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static void build_fields(struct build *b, struct place log)
{
    struct config_access *a = &b->config->access;
    if (mode_of(build_text(b, log, "fields.defaultMode")) == 1)
        a->dropped = (1ull << FIELDS) - 1;
    struct place names = build_at(log, "fields.names");
    for (const struct node *n = NULL; (n = build_next(names, n));)
        build_field(b, n);
    a->header_mode = mode_of(build_text(b, log, "fields.headers.defaultMode"));
    struct place headers = build_at(log, "fields.headers.names");
    a->headers = arena_alloc(b->arena, (build_count(headers) + 1) * sizeof *a->headers);
    for (const struct node *n = NULL; (n = build_next(headers, n));)
        a->headers[a->header_count++] =
            (typeof(*a->headers)){arena_strdup(b->arena, n->key), mode_of(n->text)};
}

void build_access(struct build *b)
{
    struct config_access *a = &b->config->access;
    struct place log = build_at(b->root, "accessLog");
    if (!log.node)
        return;
    a->on = true;
    a->json = strcasecmp(build_text(b, log, "format"), "json") == 0;
    a->path = build_path(b, log, "filePath");
    a->buffered = build_int(log, "bufferingSize") > 0;
    a->only_retried = build_bool(log, "filters.retryAttempts");
    a->min_ms = build_ms(log, "filters.minDuration");
    build_statuses(b, log);
    build_fields(b, log);
}
