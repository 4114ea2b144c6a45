/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include "base/must.h"

#include <sys/random.h>

uint64_t rand_u64(void)
{
    static _Thread_local uint64_t state;
    if (!state) {
        must(getrandom(&state, sizeof state, 0) == sizeof state);
        state |= 1;
    }
    /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t rand_below(uint64_t below)
{
    must(below > 0);
    return (uint64_t)((unsigned __int128)rand_u64() * below >> 64);
}
