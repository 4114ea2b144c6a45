/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/data/route/middleware_world.h - runs a router's middlewares, given as configuration,
 * over requests and responses, given as text.
 * Thread: the test's.   Owns: what world_open() makes.   Never: included by product code. */
#pragma once

#include "config/config_file.h"
#include "control/snapshot_build.h"
#include "data/route/middleware.h"

struct world {
    struct config *config;
    struct snapshot *snapshot;
    struct middleware_set *set;
    struct middleware_tables tables;
    struct http_head head, answer;
    char memory[4096];
    struct writer text;
    struct net_addr peer;
    struct middleware_notes notes;
    struct middleware_run run;
    struct snap_range steps;
    uint32_t step;
    uint64_t now_ns;
    struct buf out;
};

/* The router has the middlewares that `list` names, in TOML's form without brackets. */
static inline void world_open(struct world *w, const char *list, const char *toml)
{
    struct buf text = {0};
    memset(w, 0, sizeof *w);
    buf_printf(&text,
               CONFIG_FILE_WEB "[workers]\ncount = 1\n"
                               "[http.routers.r]\nrule = 'PathPrefix(`/`)'\nservice = 's'\n"
                               "entryPoints = ['web']\nmiddlewares = [%s]\n%s",
               list, toml);
    w->config = config_file_load(buf_cstr(&text), NULL, 0, NULL);
    buf_free(&text);
    if (!w->config)
        abort();
    w->snapshot = snapshot_build(w->config, 1);
    if (!result_is_ok(snapshot_check(w->snapshot)) ||
        !result_is_ok(middleware_tables_init(&w->tables, 16)) ||
        !result_is_ok(net_addr_parse(SPAN_LITERAL("192.0.2.7:1234"), 0, &w->peer)))
        abort();
    w->set = middleware_set_create(w->snapshot);
    w->steps = w->snapshot->routers[0].steps;
    w->now_ns = 1000000000000;
}

static inline void world_close(struct world *w)
{
    middleware_end(&w->tables, &w->notes);
    middleware_set_destroy(w->set);
    middleware_tables_fini(&w->tables);
    snapshot_build_free(w->snapshot);
    config_free(w->config);
    buf_free(&w->out);
}

/* "Name: value\n" lines. */
static inline void world_fields(struct http_head *head, struct span lines)
{
    while (lines.len) {
        size_t end = span_find(lines, '\n'), colon = span_find(lines, ':');
        struct span line = span_first(lines, end);
        lines = span_skip(lines, end + 1);
        struct span name = span_first(line, colon), value = span_skip(line, colon + 2);
        if (span_eq(name, SPAN_LITERAL("Host"))) {
            head->authority = value;
            continue;
        }
        (void)http_head_add(head, name, value);
        if (span_eq_nocase(name, SPAN_LITERAL("X-Forwarded-For")))
            head->fields[head->field_count - 1].known = HTTP_NAME_X_FORWARDED_FOR;
    }
}

static inline const char *world_print(struct world *w, const struct http_head *head)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        if (!f->drop)
            buf_printf(&w->out, "%.*s: %.*s\n", SPAN_FMT(f->name), SPAN_FMT(f->value));
    }
    return buf_cstr(&w->out);
}

static inline enum middleware_verdict world_go(struct world *w)
{
    w->text = writer_of(w->memory, sizeof w->memory);
    w->run = (struct middleware_run){.snapshot = w->snapshot,
                                     .set = w->set,
                                     .tables = &w->tables,
                                     .head = &w->head,
                                     .answer = &w->answer,
                                     .peer_text = SPAN_LITERAL("192.0.2.7"),
                                     .peer = &w->peer,
                                     .tls = w->run.tls,
                                     .now_ns = w->now_ns,
                                     .text = &w->text,
                                     .notes = &w->notes};
    return middleware_request(&w->run, w->steps, &w->step);
}

/* "GET /path\nHost: a.test\n..." on plain HTTP, "GETS /path" over TLS. Returns "/path\nfields" for
 * a request that passes, "302\nfields" for an answer (after the way back), "wait". */
static inline const char *world_request(struct world *w, const char *request)
{
    struct span rest = span_str(request), method = span_first(rest, span_find(rest, ' '));
    middleware_end(&w->tables, &w->notes);
    memset(&w->notes, 0, sizeof w->notes);
    memset(&w->head, 0, sizeof w->head);
    w->step = 0;
    w->out.len = 0;
    w->run.tls = method.len && method.ptr[method.len - 1] == 'S' && method.len == 4;
    w->head.method = method.ptr[0] == 'G'   ? HTTP_GET
                     : method.ptr[0] == 'O' ? HTTP_OPTIONS
                                            : HTTP_POST;
    rest = span_skip(rest, method.len + 1);
    w->head.path = span_first(rest, span_find(rest, '\n'));
    rest = span_skip(rest, w->head.path.len + 1);
    w->head.authority = SPAN_LITERAL("a.test");
    world_fields(&w->head, rest);
    switch (world_go(w)) {
    case MIDDLEWARE_PASS:
        buf_printf(&w->out, "%.*s\n", SPAN_FMT(w->head.path));
        if (!span_eq(w->head.authority, SPAN_LITERAL("a.test")))
            buf_printf(&w->out, "Host: %.*s\n", SPAN_FMT(w->head.authority));
        return world_print(w, &w->head);
    case MIDDLEWARE_ANSWER:
        middleware_response(w->snapshot, &w->notes, &w->answer);
        buf_printf(&w->out, "%u\n", w->answer.status);
        return world_print(w, &w->answer);
    case MIDDLEWARE_WAIT:
        return "wait";
    }
    abort();
}

/* A response to the latest request; returns its fields after the way back. */
static inline const char *world_response(struct world *w, const char *fields)
{
    struct http_head response = {.is_response = true, .status = 200};
    world_fields(&response, span_str(fields));
    middleware_response(w->snapshot, &w->notes, &response);
    w->out.len = 0;
    return world_print(w, &response);
}
