/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/access_ring.h"

#include <sys/mman.h>

#define MASK (ACCESS_RING_BYTES - 1)

struct result access_ring_init(struct access_ring *r)
{
    void *p = mmap(NULL, ACCESS_RING_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return result_fail(ERR_NO_MEMORY);
    r->head = r->tail = 0;
    r->bytes = p;
    return result_ok();
}

void access_ring_fini(struct access_ring *r)
{
    if (r->bytes)
        munmap(r->bytes, ACCESS_RING_BYTES);
    r->bytes = NULL;
}

bool access_ring_put(struct access_ring *r, struct span line)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (line.len > ACCESS_RING_BYTES - (head - tail))
        return false;
    size_t at = head & MASK, first = ACCESS_RING_BYTES - at;
    if (first > line.len)
        first = line.len;
    memcpy(r->bytes + at, line.ptr, first);
    memcpy(r->bytes, line.ptr + first, line.len - first);
    atomic_store_explicit(&r->head, head + line.len, memory_order_release);
    return true;
}

int access_ring_peek(const struct access_ring *r, struct iovec ret[2])
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t len = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    size_t at = tail & MASK, first = ACCESS_RING_BYTES - at;
    if (len == 0)
        return 0;
    ret[0] = (struct iovec){r->bytes + at, len < first ? len : first};
    ret[1] = (struct iovec){r->bytes, len < first ? 0 : len - first};
    return ret[1].iov_len ? 2 : 1;
}

void access_ring_taken(struct access_ring *r, size_t bytes)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + bytes, memory_order_release);
}
