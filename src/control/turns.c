/* SPDX-License-Identifier: Apache-2.0 */
#include "control/turns.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LONG_NS (250 * NS_PER_MS)

const uint64_t turns_bounds_ns[TURNS_BOUNDS] = {
    1 * NS_PER_MS,   5 * NS_PER_MS,   10 * NS_PER_MS,  25 * NS_PER_MS,   50 * NS_PER_MS,
    100 * NS_PER_MS, 250 * NS_PER_MS, 500 * NS_PER_MS, 1000 * NS_PER_MS, 2500 * NS_PER_MS};

void turns_init(struct turns *t)
{
    *t = (struct turns){.schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)};
}

void turns_fini(struct turns *t)
{
    if (t->schedstat_fd != -1)
        close(t->schedstat_fd);
    t->schedstat_fd = -1;
}

static uint64_t cpu_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* How long this thread has stood in the queue for a processor, ever: the second number. */
static uint64_t delay_now_ns(const struct turns *t)
{
    char text[80], *end;
    ssize_t n = t->schedstat_fd == -1 ? -1 : pread(t->schedstat_fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    (void)strtoull(text, &end, 10);
    return strtoull(end, NULL, 10);
}

/* How often this thread has waited for something: a disk, a lock, an event. */
static long waits_now(void)
{
    struct rusage usage;
    must(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage.ru_nvcsw;
}

void turns_begin(struct turns *t, uint64_t began_ns)
{
    t->began_ns = began_ns;
    t->cpu_ns = cpu_now_ns();
    t->delay_ns = delay_now_ns(t);
    t->waits = waits_now();
}

static void count(struct turns_histogram *h, uint64_t ns)
{
    uint32_t i = 0;
    while (i < TURNS_BOUNDS && ns > turns_bounds_ns[i])
        i++;
    h->buckets[i]++;
    h->sum_ns += ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

void turns_end(struct turns *t)
{
    uint64_t wall = clock_now_ns() - t->began_ns, cpu = cpu_now_ns() - t->cpu_ns;
    uint64_t delay = delay_now_ns(t) - t->delay_ns;
    uint64_t own = waits_now() == t->waits ? cpu : wall > delay ? wall - delay : 0;
    own = own < wall ? own : wall;
    count(&t->wall, wall);
    count(&t->own, own);
    if (own > LONG_NS)
        log_warn("a turn of control's loop took %llu ms (%llu ms of them computing): what was "
                 "asked meanwhile had to wait",
                 (unsigned long long)(own / NS_PER_MS), (unsigned long long)(cpu / NS_PER_MS));
}

uint64_t turns_count(const struct turns_histogram *h)
{
    return turns_over(h, 0) + h->buckets[0];
}

uint64_t turns_over(const struct turns_histogram *h, uint32_t bound)
{
    uint64_t sum = 0;
    must(bound < TURNS_BOUNDS);
    for (uint32_t i = bound + 1; i <= TURNS_BOUNDS; i++)
        sum += h->buckets[i];
    return sum;
}
