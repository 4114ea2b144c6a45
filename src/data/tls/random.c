/* SPDX-License-Identifier: Apache-2.0 */
/* Fast key erasure: the key produces one stretch of ChaCha20 key stream, whose first 32 bytes
 * replace the key at once and whose rest is handed out and wiped while it is. A key is used for
 * one stretch only, so the nonce may be constant. */
#include "data/tls/random.h"

#include "base/secret.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/chacha.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#define KEY_BYTES        32
#define POOL_BYTES       992  /* with the key 16 blocks of ChaCha20: about five handshakes */
#define REFILLS_PER_SEED 1024 /* fresh entropy after at most 1 MB of output */

struct generator {
    uint8_t block[KEY_BYTES + POOL_BYTES]; /* the key, then what is not handed out yet */
    uint32_t left;                         /* bytes of the pool's end that are not handed out */
    uint32_t refills;                      /* until the next seed; 0 = not seeded */
    uint32_t forks;                        /* forks_seen when it was seeded */
};

static _Thread_local struct generator generator;
static atomic_uint forks_seen;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_error;

static void on_fork(void)
{
    atomic_fetch_add_explicit(&forks_seen, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    once_error = pthread_atfork(NULL, NULL, on_fork);
}

struct result random_init(void)
{
    pthread_once(&once, watch_forks);
    return once_error ? result_fail_sys(ERR_SYSTEM, once_error) : result_ok();
}

static struct result kernel_bytes(uint8_t *ret, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = getrandom(ret + done, n - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return result_fail_sys(ERR_SYSTEM, errno);
        done += (size_t)got;
    }
    return result_ok();
}

/* Mixes a seed into the key: a weak seed can take nothing away from a good key. */
static struct result generator_seed(struct generator *g, uint32_t forks)
{
    uint8_t seed[KEY_BYTES];

    TRY(kernel_bytes(seed, sizeof seed));
    for (size_t i = 0; i < KEY_BYTES; i++)
        g->block[i] ^= seed[i];
    secret_wipe(seed, sizeof seed);
    g->refills = REFILLS_PER_SEED;
    g->forks = forks;
    g->left = 0;
    return result_ok();
}

static struct result generator_refill(struct generator *g)
{
    static const uint8_t nonce[CHACHA_IV_BYTES];
    ChaCha cipher;

    bool bad = wc_Chacha_SetKey(&cipher, g->block, KEY_BYTES) != 0 ||
               wc_Chacha_SetIV(&cipher, nonce, 0) != 0;
    memset(g->block, 0, sizeof g->block);
    bad = bad || wc_Chacha_Process(&cipher, g->block, g->block, sizeof g->block) != 0;
    secret_wipe(&cipher, sizeof cipher);
    if (bad) {
        g->refills = 0;
        return result_fail(ERR_CRYPTO);
    }
    g->left = POOL_BYTES;
    g->refills--;
    return result_ok();
}

struct result random_fill(void *ret, size_t n)
{
    struct generator *g = &generator;
    uint32_t forks = atomic_load_explicit(&forks_seen, memory_order_relaxed);
    uint8_t *out = ret;

    if (g->forks != forks)
        g->refills = g->left = 0;
    while (n) {
        if (g->left == 0) {
            if (g->refills == 0)
                TRY(generator_seed(g, forks));
            TRY(generator_refill(g));
        }
        size_t part = n < g->left ? n : g->left;
        uint8_t *from = g->block + sizeof g->block - g->left;
        memcpy(out, from, part);
        secret_wipe(from, part);
        g->left -= (uint32_t)part;
        out += part;
        n -= part;
    }
    return result_ok();
}

int ferrule_rand_block(unsigned char *output, unsigned int size)
{
    return result_is_ok(random_fill(output, size)) ? 0 : -1;
}
