/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/middleware_impl.h - the families of middlewares, and what they share.
 * Thread: the worker's.   Owns: nothing.   Never: included outside data/route. */
#pragma once

#include "base/must.h"
#include "base/regex.h"
#include "data/route/middleware.h"

struct middleware_set {
    const struct snapshot *snapshot;
    struct regex **regexes; /* by text of the snapshot, and behind those by middleware; or NULL */
    uint32_t regex_count;
};

/* One step's view: the run, which middleware, and its bit in the notes. */
struct step {
    struct middleware_run *run;
    const struct snap_middleware *m;
    uint64_t bit;
};

/* Families; they return PASS, ANSWER or WAIT. */
enum middleware_verdict middleware_redirect(const struct step *step);
enum middleware_verdict middleware_path(const struct step *step);
enum middleware_verdict middleware_headers(const struct step *step);
enum middleware_verdict middleware_limit(const struct step *step);
enum middleware_verdict middleware_auth(const struct step *step);
void middleware_headers_back(const struct snapshot *s, const struct snap_middleware *m,
                             const struct middleware_notes *notes, uint64_t bit,
                             struct http_head *response);

/* An answer of nothing but a status; fields can be added. */
enum middleware_verdict middleware_answer(struct middleware_run *run, uint16_t status);

/* The first field of that name that is passed on, or NULL. */
const struct http_field *field_find(const struct http_head *head, struct span name);
/* Its value, or nothing. */
struct span field_value(const struct http_head *head, struct span name);
void field_remove(struct http_head *head, struct span name);
/* In place of all of that name. Without room for it nothing is set. */
void field_set(struct http_head *head, struct span name, struct span value);

static inline struct regex *set_text_regex(const struct middleware_set *set, uint32_t text)
{
    return set->regexes[text];
}

static inline struct regex *set_own_regex(const struct middleware_set *set,
                                          const struct snap_middleware *m)
{
    return set->regexes[set->snapshot->text_count + (uint32_t)(m - set->snapshot->middlewares)];
}

/* All matches replaced, as Go's ReplaceAllString does: $1, ${1}, $name, ${name}, $$. False: there
 * is no match (*ret is not set), or no room (run->text is bad then).
 * ret: into run->text. */
bool regex_replaced(struct middleware_run *run, const struct regex *x, struct span text,
                    struct span replacement, struct span *ret);
