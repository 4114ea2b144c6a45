/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/exchange.h"

#include "base/clock.h"
#include "control/provider/lookup.h"
#include "control/provider/services.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include <ares.h>

#define DNS_HEADER_BYTES    12
#define DNS_PORT            53
#define EXCHANGE_DEFAULT_MS 10000
#define EDNS_PAYLOAD_BYTES  1232

/* One exchange with one address. */
struct exchange {
    int fd;
    bool tcp;
    struct span message;
    int32_t (*counts)(void *arg, struct ferrule_str answer); /* NULL: every answer */
    void *counts_arg;
    int64_t until_ns;
    char name[NET_ADDR_TEXT_MAX];
    struct ferrule_error *error;
    uint8_t reply[2 + FERRULE_DNS_MAX]; /* last: what is before it can be copied alone */
};

static int32_t put(struct ferrule_buf *reply, const void *ptr, size_t len,
                   struct ferrule_error *error)
{
    if (len > reply->bytes_max - reply->data.len)
        return services_fail(error, FERRULE_FAILED, "the reply's buffer is full");
    buf_put(&reply->data, ptr, len);
    return FERRULE_OK;
}

static int left_ms(const struct exchange *x)
{
    int64_t left = x->until_ns - (int64_t)clock_now_ns();
    return left <= 0 ? 0 : (int)((left + (int64_t)NS_PER_MS - 1) / (int64_t)NS_PER_MS);
}

static const char *transport(const struct exchange *x)
{
    return x->tcp ? "TCP" : "UDP";
}

static int32_t fail_system(const struct exchange *x, int sys)
{
    const char *hint = sys == ECONNREFUSED ? " (is a DNS server running there?)" : "";
    return services_fail(x->error, FERRULE_RETRY, "DNS server %s (%s): %s%s", x->name, transport(x),
                         strerror(sys), hint);
}

static int32_t fail_silent(const struct exchange *x)
{
    return services_fail(x->error, FERRULE_TIMEOUT, "DNS server %s (%s) did not answer in time",
                         x->name, transport(x));
}

/* Waits for events; FERRULE_OK when there are some. */
static int32_t wait_for(const struct exchange *x, short events, int most_ms)
{
    struct pollfd p = {x->fd, events, 0};
    int n = poll(&p, 1, most_ms);
    if (n < 0 && errno != EINTR)
        return fail_system(x, errno);
    return n > 0 ? FERRULE_OK : fail_silent(x);
}

static bool answers(const struct exchange *x, const uint8_t *reply, size_t len)
{
    return len >= DNS_HEADER_BYTES && memcmp(reply, x->message.ptr, 2) == 0 && (reply[2] & 0x80);
}

static bool is_wanted(const struct exchange *x, size_t len)
{
    struct ferrule_str answer = {(const char *)x->reply, len};
    return answers(x, x->reply, len) && (!x->counts || x->counts(x->counts_arg, answer));
}

/* Takes datagrams until one answers, or until most_ms is over. */
static int32_t udp_receive(struct exchange *x, int most_ms, size_t *ret_len)
{
    int64_t until = (int64_t)clock_now_ns() + most_ms * (int64_t)NS_PER_MS;
    for (;;) {
        int64_t left =
            (until - (int64_t)clock_now_ns() + (int64_t)NS_PER_MS - 1) / (int64_t)NS_PER_MS;
        int32_t status = wait_for(x, POLLIN, left > 0 ? (int)left : 0);
        if (status != FERRULE_OK)
            return status;
        ssize_t n = recv(x->fd, x->reply, FERRULE_DNS_MAX, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return fail_system(x, errno);
        if (n > 0 && is_wanted(x, (size_t)n)) {
            *ret_len = (size_t)n;
            return FERRULE_OK;
        }
    }
}

static int32_t udp(struct exchange *x, struct ferrule_buf *reply)
{
    int32_t status = FERRULE_TIMEOUT;
    size_t len = 0;
    for (int try = 0; try < 2 && status == FERRULE_TIMEOUT; try++) {
        if (send(x->fd, x->message.ptr, x->message.len, MSG_NOSIGNAL) < 0)
            return fail_system(x, errno);
        status = udp_receive(x, try ? left_ms(x) : left_ms(x) / 2, &len);
    }
    return status == FERRULE_OK ? put(reply, x->reply, len, x->error) : status;
}

/* RFC 1035 section 4.2.2: two bytes of length, then the message, in one segment if possible. */
static int32_t tcp_send(struct exchange *x)
{
    uint8_t prefix[2] = {(uint8_t)(x->message.len >> 8), (uint8_t)x->message.len};
    size_t sent = 0, total = 2 + x->message.len;
    while (sent < total) {
        struct iovec parts[2];
        int count = 0;
        if (sent < 2)
            parts[count++] = (struct iovec){prefix + sent, 2 - sent};
        struct span rest = span_skip(x->message, sent < 2 ? 0 : sent - 2);
        parts[count++] = (struct iovec){(void *)rest.ptr, rest.len};
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(x->fd, &m, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return fail_system(x, errno);
        int32_t status = wait_for(x, POLLOUT, left_ms(x));
        if (status != FERRULE_OK)
            return status;
    }
    return FERRULE_OK;
}

static int32_t tcp_receive(struct exchange *x, size_t want, uint8_t *to)
{
    for (size_t have = 0; have < want;) {
        ssize_t n = recv(x->fd, to + have, want - have, 0);
        if (n > 0) {
            have += (size_t)n;
            continue;
        }
        if (n == 0)
            return services_fail(x->error, FERRULE_RETRY, "DNS server %s closed the TCP connection",
                                 x->name);
        if (errno != EAGAIN && errno != EINTR)
            return fail_system(x, errno);
        int32_t status = wait_for(x, POLLIN, left_ms(x));
        if (status != FERRULE_OK)
            return status;
    }
    return FERRULE_OK;
}

static int32_t tcp(struct exchange *x, struct ferrule_buf *reply)
{
    int32_t status = tcp_send(x);
    if (status == FERRULE_OK)
        status = tcp_receive(x, 2, x->reply);
    if (status != FERRULE_OK)
        return status;
    size_t len = (size_t)x->reply[0] << 8 | x->reply[1];
    status = tcp_receive(x, len, x->reply + 2);
    if (status != FERRULE_OK)
        return status;
    if (!answers(x, x->reply + 2, len))
        return services_fail(x->error, FERRULE_RETRY,
                             "DNS server %s answered something else over TCP", x->name);
    return put(reply, x->reply + 2, len, x->error);
}

static int32_t connect_to(struct exchange *x, const struct net_addr *addr)
{
    int type = (x->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
    x->fd = socket(addr->sa.sa_family, type, 0);
    if (x->fd == -1)
        return fail_system(x, errno);
    if (connect(x->fd, &addr->sa, addr->len) == 0)
        return FERRULE_OK;
    if (errno != EINPROGRESS)
        return fail_system(x, errno);
    int32_t status = wait_for(x, POLLOUT, left_ms(x));
    int sys = 0;
    socklen_t len = sizeof sys;
    if (status == FERRULE_OK && getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &sys, &len) == 0 && sys)
        return fail_system(x, sys);
    return status;
}

static int32_t with_address(struct exchange *x, const struct net_addr *addr,
                            struct ferrule_buf *reply)
{
    net_addr_print(addr, x->name);
    int32_t status = connect_to(x, addr);
    if (status == FERRULE_OK)
        status = x->tcp ? tcp(x, reply) : udp(x, reply);
    if (x->fd != -1)
        close(x->fd);
    return status;
}

/* Tries the addresses in turn, each with its share of the time that is left. */
static int32_t with_addresses(const struct ferrule_host *host, const struct lookup_addrs *addrs,
                              const struct exchange *what, uint32_t timeout_ms,
                              struct ferrule_buf *reply)
{
    struct exchange *x = mem_zalloc(sizeof *x);
    memcpy(x, what, offsetof(struct exchange, reply));
    const struct services *s = services_of(host);
    int64_t end_ns = (int64_t)clock_now_ns() + services_left_ms(s, timeout_ms) * (int64_t)NS_PER_MS;
    int32_t status = FERRULE_TIMEOUT;
    for (uint32_t i = 0; i < addrs->count; i++) {
        int64_t now = (int64_t)clock_now_ns();
        x->until_ns = now + (end_ns - now) / (addrs->count - i);
        status = with_address(x, &addrs->addrs[i], reply);
        if (status == FERRULE_OK)
            break;
    }
    free(x);
    return status;
}

static int32_t fail_lookup(struct result r, const struct why *why, struct ferrule_error *error)
{
    enum ferrule_status status = r.code == ERR_TIMEOUT  ? FERRULE_TIMEOUT
                                 : r.code == ERR_FORMAT ? FERRULE_CONFIG
                                                        : FERRULE_RETRY;
    return services_fail(error, status, "%s", why->text);
}

int32_t exchange_dns(const struct ferrule_host *host, const struct ferrule_dns_exchange *x,
                     struct ferrule_buf *reply, struct ferrule_error *error)
{
    if (x->message.len < DNS_HEADER_BYTES || x->message.len > FERRULE_DNS_MAX)
        return services_fail(error, FERRULE_FAILED, "a DNS message of %zu bytes cannot be sent",
                             x->message.len);
    struct services *s = services_of(host);
    uint32_t timeout_ms = x->timeout_ms ? x->timeout_ms : EXCHANGE_DEFAULT_MS;
    int64_t until_ns =
        (int64_t)clock_now_ns() + services_left_ms(s, timeout_ms) * (int64_t)NS_PER_MS;
    struct lookup_addrs addrs;
    struct why why;
    struct result r =
        lookup_server(span_of(x->server.ptr, x->server.len), DNS_PORT, until_ns, &addrs, &why);
    if (!result_is_ok(r))
        return fail_lookup(r, &why, error);
    struct exchange what = {.tcp = x->flags & FERRULE_DNS_TCP,
                            .message = span_of(x->message.ptr, x->message.len),
                            .error = error};
    if (FERRULE_HAS(x, counts_arg)) {
        what.counts = x->counts;
        what.counts_arg = x->counts_arg;
    }
    return with_addresses(host, &addrs, &what, timeout_ms, reply);
}

/* Asks over UDP, and again over TCP when the answer is truncated. */
static int32_t query_addresses(const struct ferrule_host *host, const struct ferrule_dns_query *q,
                               const struct lookup_addrs *addrs, struct span message,
                               struct ferrule_buf *reply, struct ferrule_error *error)
{
    uint32_t timeout_ms = q->timeout_ms ? q->timeout_ms : EXCHANGE_DEFAULT_MS;
    struct exchange what = {.tcp = q->flags & FERRULE_DNS_TCP, .message = message, .error = error};
    struct ferrule_buf *answer = host->buf_new(host);
    int32_t status = with_addresses(host, addrs, &what, timeout_ms, answer);
    if (status == FERRULE_OK && !what.tcp && (answer->data.ptr[2] & 0x02)) {
        what.tcp = true;
        host->buf_reset(answer);
        status = with_addresses(host, addrs, &what, timeout_ms, answer);
    }
    if (status == FERRULE_OK)
        status = put(reply, answer->data.ptr, answer->data.len, error);
    host->buf_free(answer);
    return status;
}

int32_t exchange_query(const struct ferrule_host *host, const struct ferrule_dns_query *query,
                       struct ferrule_buf *reply, struct ferrule_error *error)
{
    struct lookup_addrs addrs;
    struct why why;
    struct result r = query->server.len
                          ? lookup_server(span_of(query->server.ptr, query->server.len), DNS_PORT,
                                          services_of(host)->deadline_ns, &addrs, &why)
                          : lookup_resolvers(&addrs, &why);
    if (!result_is_ok(r))
        return fail_lookup(r, &why, error);
    uint16_t id;
    host->random_bytes(host, &id, sizeof id);
    char name[256];
    unsigned char *message = NULL;
    int len = 0;
    snprintf(name, sizeof name, "%.*s", FERRULE_FMT(query->name));
    bool recurse = !(query->flags & FERRULE_DNS_NO_RECURSION);
    int status = ares_create_query(name, 1, (int)query->type, id, recurse, &message, &len,
                                   EDNS_PAYLOAD_BYTES);
    if (status != ARES_SUCCESS)
        return services_fail(error, FERRULE_FAILED, "\"%s\" is no DNS name", name);
    int32_t result =
        query_addresses(host, query, &addrs, span_of(message, (size_t)len), reply, error);
    ares_free_string(message);
    return result;
}
