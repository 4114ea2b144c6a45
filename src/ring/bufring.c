/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/bufring.h"

#include "base/buf.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

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
    free(b->spare);
    *b = (struct bufring){0};
}

struct result bufring_init(struct bufring *b, struct io_uring *uring, uint16_t group,
                           uint16_t first_id, unsigned count, unsigned shown_max, unsigned bytes)
{
    must(count > 0 && count <= 32768 && (count & (count - 1)) == 0);
    *b = (struct bufring){.count = count, .bytes = bytes, .first_id = first_id, .group = group};
    b->ring = map_pages(count * sizeof(struct io_uring_buf));
    b->mem = map_pages((size_t)count * bytes);
    b->lent = mem_zalloc(count);
    b->spare = mem_zalloc(count * sizeof *b->spare);
    b->shown_max = shown_max && shown_max < count ? shown_max : count;
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
    for (unsigned i = count; i > 0; i--)
        b->spare[b->spare_count++] = (uint16_t)(i - 1);
    b->free = count;
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
    must(index < b->count && !b->lent[index]);
    must(b->shown > 0);
    b->lent[index] = 1;
    b->free--;
    b->shown--;
}

void bufring_give_back(struct bufring *b, uint16_t index)
{
    must(index < b->count && b->lent[index]);
    b->lent[index] = 0;
    b->spare[b->spare_count++] = index;
    b->free++;
}

void bufring_publish(struct bufring *b)
{
    if (b->spare_count == 0 || b->shown == b->shown_max)
        return;
    while (b->spare_count > 0 && b->shown < b->shown_max) {
        uint16_t index = b->spare[--b->spare_count];
        /* resv is left alone: in the first descriptor it is the tail itself. */
        struct io_uring_buf *d = &b->ring->bufs[b->tail & (b->count - 1)];
        d->addr = (uint64_t)(uintptr_t)(b->mem + (size_t)index * b->bytes);
        d->len = b->bytes;
        d->bid = (uint16_t)(b->first_id + index);
        b->tail++;
        b->shown++;
    }
    __atomic_store_n(&b->ring->tail, b->tail, __ATOMIC_RELEASE);
}
