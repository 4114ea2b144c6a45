/* SPDX-License-Identifier: Apache-2.0 */
#include "data/verify.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/password.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

/* Requests go first: whoever logs in waits a little longer. */
#define NICE_STEPS 5 /* a third of a worker's share when both want the processor */

static_assert(KNOWN_HASH_MAX >= PASSWORD_HASH_MAX && KNOWN_PASSWORD_MAX >= PASSWORD_MAX,
              "a question holds what can be judged");

struct verdict {
    uint8_t digest[KNOWN_DIGEST_BYTES];
    bool good;
};

/* Two rings with one writer and one reader each. Positions only grow; a verdict has a place because
 * its question had one until the worker took the verdict. */
struct verify_lane {
    struct verify *verify;
    int wake_fd;
    _Atomic uint32_t asked;  /* written by the worker */
    _Atomic uint32_t judged; /* written by the thread */
    uint32_t taken;          /* the worker's: verdicts it has seen */
    struct known_question questions[VERIFY_WAITING];
    struct verdict verdicts[VERIFY_WAITING];
};

struct verify {
    pthread_t thread;
    int event_fd;
    _Atomic bool stop;
    uint32_t worker_count;
    struct verify_lane *lanes;
};

static void tell(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN)
        log_error("cannot write an eventfd: %m");
}

/* Judges the next question of a lane. False: there is none. */
static bool judge_one(struct verify_lane *lane)
{
    uint32_t at = atomic_load_explicit(&lane->judged, memory_order_relaxed);
    if (at == atomic_load_explicit(&lane->asked, memory_order_acquire))
        return false;
    struct known_question *q = &lane->questions[at % VERIFY_WAITING];
    struct verdict *v = &lane->verdicts[at % VERIFY_WAITING];
    bool holds =
        password_holds(span_of(q->hash, q->hash_len), span_of(q->password, q->password_len));
    memcpy(v->digest, q->digest, sizeof v->digest);
    v->good = holds && !q->no_user;
    secret_wipe(q, sizeof *q);
    atomic_store_explicit(&lane->judged, at + 1, memory_order_release);
    tell(lane->wake_fd);
    return true;
}

/* One question of each worker in turn. */
static void *verify_main(void *arg)
{
    struct verify *v = arg;
    uint64_t count;
    (void)pthread_setname_np(pthread_self(), "passwords");
    /* Of this thread alone, on Linux; from what the process was given, or a process that somebody
     * prefers would judge passwords behind everything else on the machine. */
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICE_STEPS);
    while (!v->stop) {
        bool some = false;
        for (uint32_t i = 0; i < v->worker_count && !v->stop; i++)
            some = judge_one(&v->lanes[i]) || some;
        if (!some && read(v->event_fd, &count, sizeof count) < 0 && errno != EINTR)
            break;
    }
    return NULL;
}

struct result verify_create(uint32_t workers, struct verify **ret, struct why *why)
{
    struct verify *v = mem_zalloc(sizeof *v);
    v->worker_count = workers;
    v->lanes = mem_zalloc(workers * sizeof *v->lanes);
    v->event_fd = eventfd(0, EFD_CLOEXEC);
    int r = v->event_fd < 0 ? errno : pthread_create(&v->thread, NULL, verify_main, v);
    if (r != 0) {
        if (v->event_fd >= 0)
            (void)close(v->event_fd);
        free(v->lanes);
        free(v);
        return why_fail_sys(why, ERR_SYSTEM, r, "cannot start the thread that judges passwords");
    }
    *ret = v;
    return result_ok();
}

void verify_destroy(struct verify *v)
{
    if (!v)
        return;
    v->stop = true;
    tell(v->event_fd);
    (void)pthread_join(v->thread, NULL);
    (void)close(v->event_fd);
    secret_wipe(v->lanes, v->worker_count * sizeof *v->lanes);
    free(v->lanes);
    free(v);
}

struct verify_lane *verify_lane(struct verify *v, uint32_t worker, int wake_fd)
{
    struct verify_lane *lane = &v->lanes[worker];
    lane->verify = v;
    lane->wake_fd = wake_fd; /* the thread sees it behind the first question */
    return lane;
}

bool verify_ask(struct verify_lane *lane, const struct known_question *q)
{
    uint32_t at = atomic_load_explicit(&lane->asked, memory_order_relaxed);
    if (at - lane->taken == VERIFY_WAITING)
        return false;
    lane->questions[at % VERIFY_WAITING] = *q;
    atomic_store_explicit(&lane->asked, at + 1, memory_order_release);
    tell(lane->verify->event_fd);
    return true;
}

bool verify_verdict(struct verify_lane *lane, uint8_t ret_digest[KNOWN_DIGEST_BYTES],
                    bool *ret_good)
{
    if (lane->taken == atomic_load_explicit(&lane->judged, memory_order_acquire))
        return false;
    const struct verdict *v = &lane->verdicts[lane->taken % VERIFY_WAITING];
    memcpy(ret_digest, v->digest, sizeof v->digest);
    *ret_good = v->good;
    lane->taken++;
    return true;
}
