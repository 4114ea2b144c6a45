/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.h"

struct state {
    uint64_t v[4];
};

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void round_of(struct state *s)
{
    uint64_t *v = s->v;
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void word(struct state *s, uint64_t w)
{
    s->v[3] ^= w;
    round_of(s);
    round_of(s);
    s->v[0] ^= w;
}

/* Whole words, then the rest with zeros behind it. */
static void part(struct state *s, struct span in)
{
    uint64_t w;
    for (; in.len >= 8; in = span_skip(in, 8)) {
        memcpy(&w, in.ptr, 8);
        word(s, w);
    }
    w = 0;
    if (in.len)
        memcpy(&w, in.ptr, in.len);
    word(s, w);
}

uint64_t siphash(const struct siphash_key *key, struct span first, struct span second)
{
    struct state s = {{key->words[0] ^ 0x736f6d6570736575ull, key->words[1] ^ 0x646f72616e646f6dull,
                       key->words[0] ^ 0x6c7967656e657261ull,
                       key->words[1] ^ 0x7465646279746573ull}};
    word(&s, first.len);
    part(&s, first);
    part(&s, second);
    word(&s, second.len);
    s.v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        round_of(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}
