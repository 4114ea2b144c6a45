/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/report.h"

#include "base/buf.h"
#include "base/must.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x66657272756c6531ull

/* First in the memfd; the pages follow at PAGES_AT, the tables of series behind them. */
struct head {
    uint64_t magic;
    uint32_t counters; /* REPORT_COUNT of who made it */
    uint32_t page_bytes;
    uint32_t series_bytes;
    uint32_t workers;
};
#define PAGES_AT           4096
#define SERIES_AT(workers) (PAGES_AT + (size_t)(workers) * sizeof(struct report_page))

struct report {
    uint8_t *map;
    size_t bytes;
    uint32_t workers; /* checked once: the map's own copy can be overwritten by its other users */
};

static size_t bytes_for(uint32_t workers)
{
    return SERIES_AT(workers) + (size_t)workers * sizeof(struct series_table);
}

static struct result fill(int fd, uint32_t workers, struct why *why)
{
    struct head head = {MAGIC, REPORT_COUNT, sizeof(struct report_page),
                        sizeof(struct series_table), workers};
    if (ftruncate(fd, (off_t)bytes_for(workers)) < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "no memory for the counters");
    if (pwrite(fd, &head, sizeof head, 0) != sizeof head)
        return why_fail_sys(why, ERR_SYSTEM, errno, "the counters' head cannot be written");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "the counters' size cannot be sealed");
    return result_ok();
}

struct result report_create(uint32_t workers, int *ret_fd, struct why *why)
{
    must(workers >= 1 && workers <= REPORT_WORKERS_MAX);
    int fd = memfd_create("ferrule-report", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "memfd_create for the counters");
    struct result r = fill(fd, workers, why);
    if (!result_is_ok(r)) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return r;
}

/* Only a sealed size keeps a mapping readable for ever (else: SIGBUS). */
static struct result check(int fd, struct head *ret, struct why *why)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "descriptor %d is not a report", fd);
    bool sealed = (seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW);
    if (!sealed || pread(fd, ret, sizeof *ret, 0) != sizeof *ret || ret->magic != MAGIC)
        return why_fail(why, ERR_FORMAT, "descriptor %d is not a report", fd);
    if (ret->counters != REPORT_COUNT || ret->page_bytes != sizeof(struct report_page) ||
        ret->series_bytes != sizeof(struct series_table))
        return why_fail(why, ERR_VERSION, "the report was made by another build of ferrule");
    if (ret->workers < 1 || ret->workers > REPORT_WORKERS_MAX ||
        (uint64_t)st.st_size != bytes_for(ret->workers))
        return why_fail(why, ERR_FORMAT, "the report on descriptor %d is damaged", fd);
    return result_ok();
}

struct result report_map(int fd, struct report **ret, struct why *why)
{
    struct head head;
    TRY(check(fd, &head, why));
    size_t bytes = bytes_for(head.workers);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return why_fail_sys(why, ERR_SYSTEM, errno, "the counters cannot be mapped");
    struct report *r = mem_alloc(sizeof *r);
    *r = (struct report){map, bytes, head.workers};
    *ret = r;
    return result_ok();
}

void report_unmap(struct report *r)
{
    if (!r)
        return;
    munmap(r->map, r->bytes);
    free(r);
}

uint32_t report_workers(const struct report *r)
{
    return r->workers;
}

struct report_page *report_page(struct report *r, uint32_t worker)
{
    must(worker < r->workers);
    return (struct report_page *)(void *)(r->map + PAGES_AT) + worker;
}

struct series_table *report_series(const struct report *r, uint32_t worker)
{
    must(worker < r->workers);
    return (struct series_table *)(void *)(r->map + SERIES_AT(r->workers)) + worker;
}

void report_start(struct report_page *p)
{
    for (int c = 0; c < REPORT_COUNT; c++)
        if (report_is_gauge((enum report_counter)c))
            __atomic_store_n(&p->values[c], 0, __ATOMIC_RELAXED);
}

uint64_t report_value(const struct report *r, uint32_t worker, enum report_counter counter)
{
    must(counter < REPORT_COUNT && worker < r->workers);
    const struct report_page *pages = (const struct report_page *)(const void *)(r->map + PAGES_AT);
    return __atomic_load_n(&pages[worker].values[counter], __ATOMIC_RELAXED);
}

uint64_t report_sum(const struct report *r, enum report_counter counter)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->workers; i++)
        sum += report_value(r, i, counter);
    return sum;
}

static const struct {
    const char *name, *help;
} counters[REPORT_COUNT] = {
#define COUNTER(name, help) {#name, help},
#include "bridge/report.def"
#undef COUNTER
#define RULE(id, status, text) {"RULE_" #id, "requests refused because " text},
#include "bridge/rules.def"
#undef RULE
#define RULE(id, status, text) {"UPSTREAM_RULE_" #id, "upstreams' responses refused because " text},
#include "bridge/rules.def"
#undef RULE
};

static char names[REPORT_COUNT][48];

static void make_names(void)
{
    for (int c = 0; c < REPORT_COUNT; c++) {
        size_t len = strlen(counters[c].name);
        must(len < sizeof names[c]);
        for (size_t i = 0; i < len; i++)
            names[c][i] = (char)tolower((unsigned char)counters[c].name[i]);
    }
}

const char *report_name(enum report_counter counter)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    must(counter < REPORT_COUNT);
    must(pthread_once(&once, make_names) == 0);
    return names[counter];
}

const char *report_help(enum report_counter counter)
{
    must(counter < REPORT_COUNT);
    return counters[counter].help;
}

bool report_is_gauge(enum report_counter counter)
{
    must(counter < REPORT_COUNT);
    struct span name = span_str(counters[counter].name);
    return name.len > 4 && span_eq(span_skip(name, name.len - 4), SPAN_LITERAL("_NOW"));
}
