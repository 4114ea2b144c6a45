/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/services.h"

#include "base/clock.h"
#include "base/secret.h"
#include "control/provider/child_log.h"
#include "control/provider/exchange.h"
#include "control/provider/fetch.h"
#include "control/provider/program.h"
#include "crypto/digest.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CACHE_ENTRIES_MAX 256
#define CACHE_BYTES_MAX   16384

static_assert(FERRULE_SHA1 == (int)DIGEST_SHA1 && FERRULE_SHA512 == (int)DIGEST_SHA512 &&
                  FERRULE_SHA224 == (int)DIGEST_SHA224 && FERRULE_DIGEST_MAX == DIGEST_BYTES_MAX,
              "the ABI's digests are those of crypto/digest.h");

struct cache_entry {
    struct list node;
    struct buf key, value;
    int64_t expires_ns;
};

struct services *services_of(const struct ferrule_host *host)
{
    return (struct services *)host;
}

int32_t services_fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
{
    if (error) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(error->text, sizeof error->text, fmt, ap);
        va_end(ap);
    }
    return status;
}

int services_left_ms(const struct services *s, uint32_t timeout_ms)
{
    int64_t left = (s->deadline_ns - (int64_t)clock_now_ns()) / (int64_t)NS_PER_MS;
    if (left < 0)
        left = 0;
    if (timeout_ms && left > timeout_ms)
        left = timeout_ms;
    return left > INT_MAX ? INT_MAX : (int)left;
}

/* --- log, clocks, options -------------------------------------------------------------------- */

static void host_log(const struct ferrule_host *host, int32_t level, struct ferrule_str text)
{
    if (level < FERRULE_LOG_ERROR || level > FERRULE_LOG_DEBUG)
        level = FERRULE_LOG_INFO;
    child_log((enum log_level)level, "%.*s", (int)(text.len < INT_MAX ? text.len : INT_MAX),
              text.ptr);
}

static int64_t host_now_ns(const struct ferrule_host *host)
{
    return (int64_t)clock_now_ns();
}

static int64_t host_wall_s(const struct ferrule_host *host)
{
    return clock_wall_s();
}

static int32_t host_sleep_until(const struct ferrule_host *host, int64_t at_ns)
{
    if (at_ns > services_of(host)->deadline_ns)
        return FERRULE_TIMEOUT;
    struct timespec at = {at_ns / (int64_t)NS_PER_S, at_ns % (int64_t)NS_PER_S};
    while (at_ns > 0 && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
    return FERRULE_OK;
}

static int32_t host_option(const struct ferrule_host *host, const char *name,
                           struct ferrule_str *ret)
{
    const struct option_value *v = plugin_options_find(services_of(host)->options, name);
    if (!v || !v->set)
        return FERRULE_ABSENT;
    *ret = (struct ferrule_str){(const char *)v->text.ptr, v->text.len};
    return FERRULE_OK;
}

static int32_t host_option_number(const struct ferrule_host *host, const char *name, uint64_t *ret)
{
    const struct option_value *v = plugin_options_find(services_of(host)->options, name);
    if (!v || !v->set)
        return FERRULE_ABSENT;
    *ret = v->number;
    return FERRULE_OK;
}

/* --- digests -----------------------------------------------------------------------------------
 */

static bool digest_is_known(int32_t algorithm)
{
    return algorithm >= FERRULE_SHA1 && algorithm <= FERRULE_SHA512;
}

static int32_t host_digest(const struct ferrule_host *host, int32_t algorithm,
                           struct ferrule_str in, uint8_t *out, size_t *ret_len)
{
    if (!digest_is_known(algorithm))
        return FERRULE_FAILED;
    digest_once((enum digest)algorithm, span_of(in.ptr, in.len), out);
    *ret_len = digest_bytes((enum digest)algorithm);
    return FERRULE_OK;
}

static int32_t host_hmac(const struct ferrule_host *host, int32_t algorithm, struct ferrule_str key,
                         struct ferrule_str in, uint8_t *out, size_t *ret_len)
{
    if (!digest_is_known(algorithm))
        return FERRULE_FAILED;
    digest_hmac((enum digest)algorithm, span_of(key.ptr, key.len), span_of(in.ptr, in.len), out);
    *ret_len = digest_bytes((enum digest)algorithm);
    return FERRULE_OK;
}

static void host_random_bytes(const struct ferrule_host *host, void *out, size_t len)
{
    random_bytes(out, len);
}

/* --- buffers ------------------------------------------------------------------------------------
 */

static struct ferrule_buf *host_buf_new(const struct ferrule_host *host)
{
    struct ferrule_buf *b = mem_zalloc(sizeof *b);
    b->bytes_max = SERVICES_BUF_BYTES_MAX;
    list_append(&services_of(host)->bufs, &b->node);
    return b;
}

static int32_t host_buf_put(struct ferrule_buf *b, const void *ptr, size_t len)
{
    if (len > b->bytes_max - b->data.len)
        return FERRULE_FAILED;
    buf_put(&b->data, ptr, len);
    return FERRULE_OK;
}

static struct ferrule_str host_buf_view(const struct ferrule_buf *b)
{
    return (struct ferrule_str){(const char *)b->data.ptr, b->data.len};
}

static void host_buf_reset(struct ferrule_buf *b)
{
    secret_wipe(b->data.ptr, b->data.len);
    b->data.len = 0;
}

static void host_buf_free(struct ferrule_buf *b)
{
    if (!b)
        return;
    list_remove(&b->node);
    buf_wipe_free(&b->data);
    free(b);
}

/* --- cache ---------------------------------------------------------------------------------------
 */

static void cache_drop(struct services *s, struct cache_entry *e)
{
    list_remove(&e->node);
    s->cache_count--;
    buf_wipe_free(&e->key);
    buf_wipe_free(&e->value);
    free(e);
}

static struct cache_entry *cache_find(struct services *s, struct ferrule_str key)
{
    for (struct list *n = s->cache.next; n != &s->cache; n = n->next) {
        struct cache_entry *e = LIST_ENTRY(n, struct cache_entry, node);
        if (span_eq(buf_span(&e->key), span_of(key.ptr, key.len)))
            return e;
    }
    return NULL;
}

static int32_t host_cache_get(const struct ferrule_host *host, struct ferrule_str key,
                              struct ferrule_buf *value)
{
    struct services *s = services_of(host);
    struct cache_entry *e = cache_find(s, key);
    if (!e)
        return FERRULE_ABSENT;
    if (e->expires_ns <= (int64_t)clock_now_ns()) {
        cache_drop(s, e);
        return FERRULE_ABSENT;
    }
    return host_buf_put(value, e->value.ptr, e->value.len);
}

static int32_t host_cache_put(const struct ferrule_host *host, struct ferrule_str key,
                              struct ferrule_str value, int64_t expires_ns)
{
    struct services *s = services_of(host);
    if (value.len > CACHE_BYTES_MAX || key.len > CACHE_BYTES_MAX)
        return FERRULE_FAILED;
    struct cache_entry *old = cache_find(s, key);
    if (old)
        cache_drop(s, old);
    else if (s->cache_count == CACHE_ENTRIES_MAX)
        cache_drop(s, LIST_ENTRY(s->cache.next, struct cache_entry, node));
    struct cache_entry *e = mem_zalloc(sizeof *e);
    buf_put(&e->key, key.ptr, key.len);
    buf_put(&e->value, value.ptr, value.len);
    e->expires_ns = expires_ns;
    list_append(&s->cache, &e->node);
    s->cache_count++;
    return FERRULE_OK;
}

/* --- life
 * ------------------------------------------------------------------------------------------ */

static const struct ferrule_host host_table = {
    .size = sizeof(struct ferrule_host),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .program = "ferrule/" FERRULE_VERSION,
    .log = host_log,
    .now_ns = host_now_ns,
    .wall_s = host_wall_s,
    .sleep_until = host_sleep_until,
    .option = host_option,
    .option_number = host_option_number,
    .http = fetch_http,
    .http_free = fetch_free,
    .dns_exchange = exchange_dns,
    .dns_query = exchange_query,
    .digest = host_digest,
    .hmac = host_hmac,
    .random_bytes = host_random_bytes,
    .buf_new = host_buf_new,
    .buf_put = host_buf_put,
    .buf_view = host_buf_view,
    .buf_reset = host_buf_reset,
    .buf_free = host_buf_free,
    .cache_get = host_cache_get,
    .cache_put = host_cache_put,
    .spawn = program_spawn,
};

void services_init(struct services *s, const struct plugin_options *options,
                   uint32_t http_timeout_s)
{
    *s = (struct services){.host = host_table, .options = options};
    s->http_timeout_ms = (http_timeout_s ? http_timeout_s : 30) * 1000;
    list_init(&s->bufs);
    list_init(&s->responses);
    list_init(&s->cache);
}

void services_inherit(struct services *s, struct span name, struct span value)
{
    s->inherited = mem_grow(s->inherited, (s->inherited_count + 1) * sizeof *s->inherited);
    s->inherited[s->inherited_count++] = mem_printf("%.*s=%.*s", SPAN_FMT(name), SPAN_FMT(value));
}

void services_begin(struct services *s, int64_t deadline_ns)
{
    s->deadline_ns = deadline_ns;
}

void services_end(struct services *s)
{
    while (!list_is_empty(&s->bufs))
        host_buf_free(LIST_ENTRY(s->bufs.next, struct ferrule_buf, node));
    fetch_free_all(s);
}

void services_fini(struct services *s)
{
    services_end(s);
    fetch_fini();
    while (!list_is_empty(&s->cache))
        cache_drop(s, LIST_ENTRY(s->cache.next, struct cache_entry, node));
    for (uint32_t i = 0; i < s->inherited_count; i++) {
        secret_wipe(s->inherited[i], strlen(s->inherited[i]));
        free(s->inherited[i]);
    }
    free(s->inherited);
    s->inherited = NULL;
    s->inherited_count = 0;
}
