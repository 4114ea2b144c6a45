/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timer.h"

#include "base/must.h"

#define SLOT_BITS 6

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ns)
{
    for (int level = 0; level < TIMER_LEVELS; level++) {
        w->occupied[level] = 0;
        for (int slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
    w->tick = now_ns / TIMER_TICK_NS;
}

void timer_init(struct timer *t, uint8_t kind)
{
    list_init(&t->node);
    t->at_ns = TIMER_NO_LIMIT;
    t->kind = kind;
}

/* The first tick that ends at or after the deadline: never early. */
static uint64_t due_tick(uint64_t at_ns)
{
    return at_ns / TIMER_TICK_NS + (at_ns % TIMER_TICK_NS != 0);
}

/* `first` is the earliest tick that timer_pop() will still run. */
static void put(struct timer_wheel *w, struct timer *t, uint64_t first)
{
    uint64_t due = due_tick(t->at_ns);
    if (due < first)
        due = first;
    uint64_t ahead = due - w->tick;
    int level = 0;
    while (level < TIMER_LEVELS - 1 && ahead >= 1ull << SLOT_BITS * (level + 1))
        level++;
    uint64_t reach = 1ull << SLOT_BITS * TIMER_LEVELS;
    if (ahead >= reach)
        due = w->tick + reach - 1;
    unsigned slot = (unsigned)(due >> SLOT_BITS * level) & (TIMER_SLOTS - 1);
    list_append(&w->slots[level][slot], &t->node);
    w->occupied[level] |= 1ull << slot;
}

void timer_set(struct timer_wheel *w, struct timer *t, uint64_t at_ns)
{
    list_remove(&t->node);
    t->at_ns = at_ns;
    if (at_ns != TIMER_NO_LIMIT)
        put(w, t, w->tick + 1);
}

void timer_cancel(struct timer *t)
{
    list_remove(&t->node);
    t->at_ns = TIMER_NO_LIMIT;
}

/* Puts the timers of a higher level's current slot again, nearer. */
static void cascade(struct timer_wheel *w, int level)
{
    unsigned slot = (unsigned)(w->tick >> SLOT_BITS * level) & (TIMER_SLOTS - 1);
    struct list moved;
    list_init(&moved);
    struct list *node;
    while ((node = list_pop(&w->slots[level][slot])))
        list_append(&moved, node);
    w->occupied[level] &= ~(1ull << slot);
    while ((node = list_pop(&moved)))
        put(w, LIST_ENTRY(node, struct timer, node), w->tick);
}

static struct timer *take_due(struct timer_wheel *w)
{
    unsigned slot = (unsigned)w->tick & (TIMER_SLOTS - 1);
    struct list *node = list_pop(&w->slots[0][slot]);
    if (!node) {
        w->occupied[0] &= ~(1ull << slot);
        return NULL;
    }
    struct timer *t = LIST_ENTRY(node, struct timer, node);
    t->at_ns = TIMER_NO_LIMIT;
    return t;
}

struct timer *timer_pop(struct timer_wheel *w, uint64_t now_ns)
{
    uint64_t now_tick = now_ns / TIMER_TICK_NS;
    for (;;) {
        struct timer *t = take_due(w);
        if (t)
            return t;
        if (w->tick >= now_tick)
            return NULL;
        uint64_t all = w->occupied[0] | w->occupied[1] | w->occupied[2] | w->occupied[3];
        if (!all) { /* nothing to pass on the way */
            w->tick = now_tick;
            return NULL;
        }
        w->tick++;
        for (int level = 1; level < TIMER_LEVELS; level++) {
            if (w->tick & ((1ull << SLOT_BITS * level) - 1))
                break;
            cascade(w, level);
        }
    }
}

/* Rotates the bitmap so that bit 0 is the slot after `from`, and gives the distance to the first
 * occupied slot, 1..64. */
static unsigned distance(uint64_t bits, unsigned from)
{
    unsigned by = (from + 1) & (TIMER_SLOTS - 1);
    uint64_t turned = by ? bits >> by | bits << (64 - by) : bits;
    return (unsigned)__builtin_ctzll(turned) + 1;
}

uint64_t timer_next_ns(const struct timer_wheel *w)
{
    uint64_t best = TIMER_NO_LIMIT;
    for (int level = 0; level < TIMER_LEVELS; level++) {
        if (!w->occupied[level])
            continue;
        uint64_t unit = w->tick >> SLOT_BITS * level;
        uint64_t next = unit + distance(w->occupied[level], (unsigned)unit & (TIMER_SLOTS - 1));
        uint64_t at = (next << SLOT_BITS * level) * TIMER_TICK_NS;
        if (at < best)
            best = at;
    }
    return best;
}
