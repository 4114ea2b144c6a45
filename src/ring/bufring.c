/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/bufring.h"

#include "base/buf.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Publications until it is judged again how many the kernel needs. */
#define WINDOW 64u

static void *map_pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void bufring_unmap(struct bufring *b)
{
    if (b->ring)
        munmap(b->ring, b->count * sizeof(struct io_uring_buf));
    if (b->mem)
        munmap(b->mem, (size_t)b->count * b->bytes);
    free(b->lent);
    free(b->shelf);
    *b = (struct bufring){0};
}

/* Writes one descriptor behind the `ahead` that are not published yet. resv is left alone: in the
 * first descriptor it is the tail itself. */
static void bufring_write(struct bufring *b, uint16_t index, unsigned ahead)
{
    struct io_uring_buf *d = &b->ring->bufs[(uint16_t)(b->tail + ahead) & (b->count - 1)];
    d->addr = (uint64_t)(uintptr_t)(b->mem + (size_t)index * b->bytes);
    d->len = b->bytes;
    d->bid = (uint16_t)(b->first_id + index);
}

struct result bufring_init(struct bufring *b, struct io_uring *uring, uint16_t group,
                           uint16_t first_id, unsigned count, unsigned bytes, unsigned least)
{
    must(count > 0 && count <= 32768 && (count & (count - 1)) == 0);
    *b = (struct bufring){.count = count,
                          .bytes = bytes,
                          .least = least < count ? least : count,
                          .window = WINDOW,
                          .first_id = first_id,
                          .group = group};
    b->target = b->least;
    b->ring = map_pages(count * sizeof(struct io_uring_buf));
    b->mem = map_pages((size_t)count * bytes);
    b->lent = mem_zalloc(count);
    b->shelf = mem_zalloc(count * sizeof *b->shelf);
    if (!b->ring || !b->mem) {
        bufring_unmap(b);
        return result_fail_sys(ERR_NO_MEMORY, ENOMEM);
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)b->ring, .ring_entries = count, .bgid = group};
    int r = io_uring_register_buf_ring(uring, &reg, 0);
    if (r < 0) {
        bufring_unmap(b);
        return result_fail_sys(ERR_IO_URING, -r);
    }
    while (b->shelved < count) {
        b->shelf[b->shelved] = (uint16_t)(count - 1 - b->shelved);
        b->shelved++;
    }
    bufring_publish(b);
    return result_ok();
}

void bufring_fini(struct bufring *b, struct io_uring *uring)
{
    if (b->count)
        (void)io_uring_unregister_buf_ring(uring, b->group);
    bufring_unmap(b);
}

void bufring_lend(struct bufring *b, uint16_t index)
{
    must(index < b->count && !b->lent[index] && b->offered > 0);
    b->lent[index] = 1;
    b->offered--;
    b->taken++;
}

void bufring_give_back(struct bufring *b, uint16_t index)
{
    must(index < b->count && b->lent[index] && b->shelved < b->count);
    b->lent[index] = 0;
    b->shelf[b->shelved++] = index;
}

/* A little more than was taken at once lately; twice as many when none was left. */
static void bufring_aim(struct bufring *b)
{
    unsigned want = b->target;
    if (b->taken > b->peak)
        b->peak = b->taken;
    b->taken = 0;
    if (b->offered == 0) {
        want *= 2;
    } else if (--b->window == 0) {
        want = b->peak + b->peak / 4;
        b->peak = 0;
        b->window = WINDOW;
    }
    b->target = want < b->least ? b->least : want > b->count ? b->count : want;
}

void bufring_publish(struct bufring *b)
{
    if (!b->count)
        return;
    bufring_aim(b);
    unsigned n = 0;
    while (b->offered < b->target && b->shelved > 0) {
        bufring_write(b, b->shelf[--b->shelved], n++);
        b->offered++;
    }
    if (n == 0)
        return;
    b->tail = (uint16_t)(b->tail + n);
    __atomic_store_n(&b->ring->tail, b->tail, __ATOMIC_RELEASE);
}
