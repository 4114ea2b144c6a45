/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/report.h - counters from workers to control, in a memfd that both map.
 * Thread: a worker writes its own page; anyone reads.   Owns: the mapping.
 * Never: locks, blocks; a reader may see counters of one moment apart. */
#pragma once

#include "base/result.h"
#include "bridge/series.h"

enum report_counter {
#define COUNTER(name, help) REPORT_##name,
#include "bridge/report.def"
#undef COUNTER
/* Messages refused by each rule: of clients, and of upstreams. */
#define RULE(id, status, text) REPORT_RULE_##id,
#include "bridge/rules.def"
#undef RULE
#define RULE(id, status, text) REPORT_UPSTREAM_RULE_##id,
#include "bridge/rules.def"
#undef RULE
    REPORT_COUNT
};

struct report_page {
    _Alignas(64) uint64_t values[REPORT_COUNT];
};

struct report;

#define REPORT_WORKERS_MAX 256

/* Makes the memfd (supervisor): pages for `workers` (1..REPORT_WORKERS_MAX), its size sealed.
 * Gives the fd, CLOEXEC, in *ret_fd. ERR_SYSTEM. */
struct result report_create(uint32_t workers, int *ret_fd, struct why *why);
/* Maps one that was inherited; the fd may be closed afterwards. ERR_SYSTEM, ERR_FORMAT (not a
 * report), ERR_VERSION (of a build with other counters). */
struct result report_map(int fd, struct report **ret, struct why *why);
/* NULL is fine. */
void report_unmap(struct report *r);
uint32_t report_workers(const struct report *r);
/* A worker's own page; worker < report_workers(). Valid until report_unmap(). */
struct report_page *report_page(struct report *r, uint32_t worker);
/* What the worker counts by name. Valid as long. A table without cells in use
 * costs no memory. */
struct series_table *report_series(const struct report *r, uint32_t worker);
/* Sets the gauges of one page to 0: a worker that starts has none of what its crashed forerunner
 * had open. Counters go on. */
void report_start(struct report_page *p);
/* One worker's. */
uint64_t report_value(const struct report *r, uint32_t worker, enum report_counter counter);
/* Sum over all workers. */
uint64_t report_sum(const struct report *r, enum report_counter counter);
/* "conns_accepted"; static memory. */
const char *report_name(enum report_counter counter);
const char *report_help(enum report_counter counter);
/* Can go down; its name ends in _now. */
bool report_is_gauge(enum report_counter counter);

/* Worker side: a relaxed store, so that readers see whole values. */
static inline void report_add(struct report_page *p, enum report_counter c, uint64_t n)
{
    __atomic_store_n(&p->values[c], p->values[c] + n, __ATOMIC_RELAXED);
}

static inline void report_set(struct report_page *p, enum report_counter c, uint64_t n)
{
    __atomic_store_n(&p->values[c], n, __ATOMIC_RELAXED);
}

static inline void report_sub(struct report_page *p, enum report_counter c, uint64_t n)
{
    __atomic_store_n(&p->values[c], p->values[c] - n, __ATOMIC_RELAXED);
}
