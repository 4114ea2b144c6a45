/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/random.c"

#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#define SAMPLE 64

static void draw(uint8_t *ret)
{
    memset(ret, 0, SAMPLE);
    assert_int_equal(random_fill(ret, SAMPLE).code, ERR_NONE);
}

/* The published key stream of RFC 8439 appendix A.1: the cipher is the one that is meant. */
static void stretches_are_chacha20(void **state)
{
    static const uint8_t block0[] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
                                     0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
    static const uint8_t block0_end[] = {0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d};
    struct generator g = {.refills = 2};
    assert_int_equal(generator_refill(&g).code, ERR_NONE);
    assert_memory_equal(g.block, block0, sizeof block0);
    assert_memory_equal(g.block + 32, block0_end, sizeof block0_end);
    assert_int_equal(g.left, POOL_BYTES);
    assert_int_equal(g.refills, 1);
}

static void never_the_same(void **state)
{
    uint8_t a[SAMPLE], b[SAMPLE];
    draw(a);
    for (int i = 0; i < 10000; i++) {
        draw(b);
        assert_memory_not_equal(a, b, SAMPLE);
    }
}

static void handed_out_bytes_are_wiped(void **state)
{
    uint8_t a[SAMPLE], key[KEY_BYTES];
    static const uint8_t zero[SAMPLE];
    draw(a);
    if (generator.left < SAMPLE)
        draw(a);
    uint8_t *from = generator.block + sizeof generator.block - generator.left;
    draw(a);
    assert_memory_equal(from, zero, SAMPLE);
    memcpy(key, generator.block, sizeof key);
    while (generator.left >= SAMPLE)
        draw(a);
    draw(a);
    assert_memory_not_equal(key, generator.block, sizeof key);
}

static void any_length(void **state)
{
    static uint8_t big[5000];
    int zeros = 0;
    for (size_t n = 0; n < sizeof big; n += 97) {
        memset(big, 0, sizeof big);
        assert_int_equal(random_fill(big, n).code, ERR_NONE);
        for (size_t i = n; i < sizeof big; i++)
            assert_int_equal(big[i], 0);
    }
    assert_int_equal(ferrule_rand_block(big, sizeof big), 0);
    for (size_t i = 0; i < sizeof big; i++)
        zeros += big[i] == 0;
    assert_in_range(zeros, 1, 60); /* 20 on average; outside once in 10^8 runs */
}

static void seeds_again(void **state)
{
    uint8_t a[SAMPLE];
    draw(a);
    generator.refills = 1;
    generator.left = 0;
    draw(a);
    assert_int_equal(generator.refills, 0);
    generator.left = 0;
    draw(a);
    assert_int_equal(generator.refills, REFILLS_PER_SEED - 1);
}

static void *thread_draws(void *ret)
{
    draw(ret);
    return NULL;
}

static void threads_differ(void **state)
{
    uint8_t a[SAMPLE], b[SAMPLE];
    pthread_t t[2];
    assert_int_equal(pthread_create(&t[0], NULL, thread_draws, a), 0);
    assert_int_equal(pthread_create(&t[1], NULL, thread_draws, b), 0);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    assert_memory_not_equal(a, b, SAMPLE);
}

static void forks_differ(void **state)
{
    uint8_t a[SAMPLE], b[SAMPLE];
    int fds[2], status;
    assert_int_equal(random_init().code, ERR_NONE);
    assert_int_equal(random_init().code, ERR_NONE);
    draw(a);
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        draw(a);
        _exit(write(fds[1], a, SAMPLE) == SAMPLE ? 0 : 1);
    }
    assert_true(child > 0);
    draw(a);
    assert_int_equal(read(fds[0], b, SAMPLE), SAMPLE);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_memory_not_equal(a, b, SAMPLE);
    close(fds[0]);
    close(fds[1]);
}

UNIT_TESTS(cmocka_unit_test(stretches_are_chacha20), cmocka_unit_test(never_the_same),
           cmocka_unit_test(handed_out_bytes_are_wiped), cmocka_unit_test(any_length),
           cmocka_unit_test(seeds_again), cmocka_unit_test(threads_differ),
           cmocka_unit_test(forks_differ))
