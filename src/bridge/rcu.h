/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/rcu.h - quiescent-state RCU for workers and the publisher (liburcu's QSBR flavour).
 * Thread: each thread for itself; the pen belongs to the publisher.
 * Owns: the registration of threads: this is the only place that makes it.
 * Never: used outside bridge/; starts a thread (no call_rcu); makes a reader write shared memory
 * but its own counter.
 *
 * ThreadSanitizer does not see into liburcu 0.13, so the order that it gives is told to it here:
 * publish -> load of an object, and leaving -> freeing over a grace period. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif

#ifdef RCU_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define RCU_TSAN_ACQUIRE(p) __tsan_acquire((void *)(uintptr_t)(p))
#define RCU_TSAN_RELEASE(p) __tsan_release((void *)(uintptr_t)(p))
#else
#define RCU_TSAN_ACQUIRE(p) ((void)(p))
#define RCU_TSAN_RELEASE(p) ((void)(p))
#endif

/* Makes the calling thread known to RCU, offline. Counts: a thread that joined twice leaves
 * twice. */
void rcu_join(void);
void rcu_leave(void);
/* Online: what is loaded stays valid. Offline and quiescent: everything loaded is given up. Each
 * may be said twice. The thread has joined. */
void rcu_online(void);
void rcu_offline(void);
void rcu_quiescent(void);
bool rcu_is_online(void);

/* A pointer that readers load and the publisher stores. */
#define rcu_load(pp)     __atomic_load_n(pp, __ATOMIC_ACQUIRE)
#define rcu_store(pp, p) __atomic_store_n(pp, p, __ATOMIC_RELEASE)

/* Embedded in what dies by RCU. */
struct rcu_dead {
    struct rcu_dead *next;
    void (*destroy)(struct rcu_dead *dead);
};

/* Objects that nobody can find any more, but somebody may still look at. */
struct rcu_pen {
    struct rcu_dead *first;
    size_t count;
};

/* Puts an object in; it has been unlinked already. Cannot fail. */
void rcu_retire(struct rcu_pen *pen, struct rcu_dead *dead, void (*destroy)(struct rcu_dead *));
/* Waits until every thread that is online has been quiescent once, then destroys what was in the
 * pen before. Nothing to destroy: returns at once, false. The caller gives up what it loaded.
 * Waits as long as the longest present step of a worker; workers that wait for events are offline
 * and do not count. */
bool rcu_pen_empty(struct rcu_pen *pen);
/* A grace period without a pen. */
void rcu_wait(void);
