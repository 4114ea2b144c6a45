/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/rcu.h"

#include "base/must.h"

#include <urcu/urcu-qsbr.h>

static _Thread_local uint32_t joins;
static _Thread_local bool online;

#ifdef RCU_TSAN
/* Stands for the grace period: released by readers that leave, acquired by who waited. */
static char grace;
#define GRACE_RELEASE() RCU_TSAN_RELEASE(&grace)
#define GRACE_ACQUIRE() RCU_TSAN_ACQUIRE(&grace)
#else
#define GRACE_RELEASE() ((void)0)
#define GRACE_ACQUIRE() ((void)0)
#endif

void rcu_join(void)
{
    if (joins++)
        return;
    urcu_qsbr_register_thread(); /* it is online then */
    urcu_qsbr_thread_offline();
    online = false;
}

void rcu_leave(void)
{
    must(joins > 0);
    if (--joins)
        return;
    GRACE_RELEASE();
    urcu_qsbr_unregister_thread();
    online = false;
}

void rcu_online(void)
{
    must(joins > 0);
    if (!online)
        urcu_qsbr_thread_online();
    online = true;
}

void rcu_offline(void)
{
    must(joins > 0);
    if (!online)
        return;
    online = false;
    GRACE_RELEASE();
    urcu_qsbr_thread_offline();
}

void rcu_quiescent(void)
{
    must(joins > 0);
    if (!online)
        return;
    GRACE_RELEASE();
    urcu_qsbr_quiescent_state();
}

bool rcu_is_online(void)
{
    return online;
}

void rcu_retire(struct rcu_pen *pen, struct rcu_dead *dead, void (*destroy)(struct rcu_dead *))
{
    must(destroy);
    dead->destroy = destroy;
    dead->next = pen->first;
    pen->first = dead;
    pen->count++;
}

void rcu_wait(void)
{
    GRACE_RELEASE(); /* waiting is a quiescent state of this thread, too */
    urcu_qsbr_synchronize_rcu();
    GRACE_ACQUIRE();
}

bool rcu_pen_empty(struct rcu_pen *pen)
{
    struct rcu_dead *dead = pen->first;
    if (!dead)
        return false;
    *pen = (struct rcu_pen){0};
    rcu_wait();
    while (dead) {
        struct rcu_dead *next = dead->next;
        dead->destroy(dead);
        dead = next;
    }
    return true;
}
