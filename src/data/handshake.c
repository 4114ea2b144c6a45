/* SPDX-License-Identifier: Apache-2.0 */
#include "data/handshake.h"

#include "base/clock.h"
#include "data/challenge.h"
#include "data/cold_wait.h"
#include "data/tcp.h"
#include "data/tls/session.h"

/* RFC 8446 section 6: a fatal alert record, sent before any keys exist. */
enum alert {
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_DECODE_ERROR = 50,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_UNRECOGNIZED_NAME = 112,
    ALERT_NO_APPLICATION_PROTOCOL = 120,
};

static void refuse(struct worker *w, struct conn *conn, enum alert alert)
{
    uint8_t record[7] = {21, 3, 1, 0, 2, 2, (uint8_t)alert};
    report_add(w->report, REPORT_HANDSHAKES_FAILED, 1);
    if (wire_push_copy(w, &conn->wire, span_of(record, sizeof record)))
        conn_handshake_failed(w, conn);
    else
        conn_close_begin(w, conn);
}

/* A CA proves a name (RFC 8737): it gets the certificate made for that, under none of the options
 * that the name has. */
static bool open_challenge(struct worker *w, struct conn *conn, const struct hello *hello,
                           const struct table_cert *cert)
{
    struct tls_policy *policy = challenge_policy(w);
    struct result r = policy ? session_open(policy, hello, cert, NULL, &conn->secure.tls)
                             : result_fail(ERR_CRYPTO);
    if (!result_is_ok(r))
        refuse(w, conn, r.code == ERR_PEER_TLS ? ALERT_HANDSHAKE_FAILURE : ALERT_INTERNAL_ERROR);
    return result_is_ok(r);
}

/* Without memory for it the client sees none, as when there is none. */
static void show_staple(struct conn *conn, const struct hello *hello, const struct table_cert *cert)
{
    if (!hello->wants_staple)
        return;
    struct span response = table_staple(cert, clock_wall_s());
    if (response.len)
        (void)!result_is_ok(session_staple(conn->secure.tls, response));
}

/* What a connection's handshake is made with. */
struct choice {
    const struct snap_router *router; /* the TCP router that has the connection, or NULL */
    uint32_t tls;                     /* index in snapshot.tls */
    struct tls_policy *policy;
    const struct table_cert *cert;
};

/* Certificate and policy for the hello. False: it is refused, or waits. */
static bool choose(struct worker *w, struct conn *conn, const struct hello *hello,
                   struct choice *ret)
{
    char ip[NET_ADDR_TEXT_MAX] = "";
    struct net_addr local;
    struct span name = span_of(hello->name, hello->name_len), cold = {NULL, 0};
    if (hello->alpn_acme) { /* of no name of ours: no other certificate may answer it */
        report_add(w->report, REPORT_CHALLENGES_UNKNOWN, 1);
        refuse(w, conn, ALERT_NO_APPLICATION_PROTOCOL);
        return false;
    }
    if (name.len == 0 && result_is_ok(ring_address(w->ring, conn->wire.fd, false, &local)))
        net_addr_print_ip(&local, ip);
    uint32_t entrypoint = w->listeners[conn->listener].entrypoint_index;
    ret->tls = ret->router ? ret->router->tls : snapshot_tls(w->snapshot, entrypoint, name);
    ret->policy = policy_get(&w->policies, w->snapshot, ret->tls);
    bool is_default = false, ecdsa = hello->ecdsa, rsa = hello->rsa;
    if (ret->policy)
        tls_policy_narrow(ret->policy, hello, &ecdsa, &rsa);
    ret->cert = table_select(w->reader, name, span_str(ip), ecdsa, rsa, &is_default, &cold);
    if (cold.len && cold_wait_begin(w, conn, cold))
        return false;
    if (cold.len)
        ret->cert = table_select(w->reader, name, span_str(ip), ecdsa, rsa, &is_default, NULL);
    if (is_default) {
        report_add(w->report, REPORT_DEFAULT_CERT, 1);
        if (w->snapshot->tls[ret->tls].sni_strict) {
            refuse(w, conn, ALERT_UNRECOGNIZED_NAME);
            return false;
        }
    }
    return true;
}

/* Opens the session. */
static bool open_session(struct worker *w, struct conn *conn, const struct hello *hello,
                         const struct choice *c)
{
    if (c->router && !tcp_open(w, conn, c->router, span_of(hello->name, hello->name_len))) {
        conn_close_begin(w, conn);
        return false;
    }
    struct result r = c->cert && c->policy
                          ? session_open(c->policy, hello, c->cert, reader_ticket_keys(w->reader),
                                         &conn->secure.tls)
                          : result_fail(ERR_CRYPTO);
    if (!result_is_ok(r)) {
        refuse(w, conn, r.code == ERR_PEER_TLS ? ALERT_HANDSHAKE_FAILURE : ALERT_INTERNAL_ERROR);
        return false;
    }
    show_staple(conn, hello, c->cert);
    conn->policy_tag = w->policies.entries[c->tls].tag;
    return true;
}

/* Whose the connection is. True: a handshake follows; for *ret, unless that is NULL. */
static bool route(struct worker *w, struct conn *conn, const struct hello *hello,
                  const struct snap_router **ret)
{
    struct span name = span_of(hello->name, hello->name_len);
    *ret = tcp_route(w, conn, hello);
    if (*ret && (*ret)->passthrough) {
        conn_tcp_begin(w, conn, *ret, name);
        return false;
    }
    if (!*ret && !conn_entrypoint(w, conn)->tls) {
        refuse(w, conn, ALERT_UNRECOGNIZED_NAME);
        return false;
    }
    return true;
}

void handshake_hello(struct worker *w, struct conn *conn)
{
    struct block_queue *in = &conn->wire.received;
    must(conn->phase == CONN_PHASE_HELLO && in->first);
    if (!conn_entrypoint(w, conn)) {
        conn_close_begin(w, conn);
        return;
    }
    struct hello hello;
    struct result r = hello_parse(block_span(in->first), &hello);
    /* What is not complete is put together in a block of our own: a slow client must not keep a
     * buffer of the kernel's. */
    while (r.code == ERR_AGAIN && (in->first->next || block_is_lent(in->first))) {
        bool more = in->first->next;
        r = block_queue_gather(&w->blocks, in, BLOCK_RECORD_BYTES);
        if (result_is_ok(r))
            r = more ? hello_parse(block_span(in->first), &hello) : result_fail(ERR_AGAIN);
    }
    if (r.code == ERR_AGAIN) {
        if (conn->wire.eof) {
            report_add(w->report, REPORT_HELLO_BAD, 1);
            conn_close_begin(w, conn);
        }
        return;
    }
    if (r.code == ERR_PEER_PROTOCOL && conn_entrypoint(w, conn)->tcp.count) {
        conn_is_plain(w, conn);
        return;
    }
    if (!result_is_ok(r)) {
        report_add(w->report, REPORT_HELLO_BAD, 1);
        if (r.code == ERR_PEER_PROTOCOL) /* not TLS: an alert would mean nothing to it */
            conn_close_begin(w, conn);
        else
            refuse(w, conn, ALERT_DECODE_ERROR);
        return;
    }
    struct choice c = {.router = NULL};
    const struct table_cert *proof = challenge_certificate(w, &hello);
    if (!proof && !(route(w, conn, &hello, &c.router) && choose(w, conn, &hello, &c)))
        return;
    if (hello.records > 1)
        block_queue_take(
            &w->blocks, in,
            (uint32_t)hello_join(in->first->data + in->first->start, block_len(in->first)));
    if (proof ? open_challenge(w, conn, &hello, proof) : open_session(w, conn, &hello, &c))
        conn_handshake_begin(w, conn);
}

static void established(struct worker *w, struct conn *conn)
{
    if (strcmp(session_alpn(conn->secure.tls), "acme-tls/1") == 0) { /* that was all (RFC 8737) */
        report_add(w->report, REPORT_CHALLENGES_TLS, 1);
        (void)conn_shut(w, conn);
        conn_handshake_failed(w, conn);
        return;
    }
    report_add(
        w->report,
        session_resumed(conn->secure.tls) ? REPORT_HANDSHAKES_RESUMED : REPORT_HANDSHAKES_FULL, 1);
    conn_handshake_done(w, conn);
}

bool handshake_turn(struct worker *w, struct conn *conn)
{
    struct block_queue *in = &conn->wire.received;
    bool more = false; /* output that had no room yet */
    while (in->first || more) {
        struct writer flight = writer_of(w->flight, WORKER_FLIGHT_BYTES);
        struct session_io io = {.in = in->first ? block_span(in->first) : (struct span){0},
                                .out = &flight,
                                .keys = reader_ticket_keys(w->reader)};
        size_t before = io.in.len;
        struct result r = session_handshake(conn->secure.tls, &io);
        size_t used = before - io.in.len;
        if (used)
            block_queue_take(&w->blocks, in, (uint32_t)used);
        if (!wire_push_copy(w, &conn->wire, writer_done(&flight))) {
            conn_close_begin(w, conn);
            return false;
        }
        if (result_is_ok(r)) {
            established(w, conn);
            return conn->phase != CONN_PHASE_CLOSING;
        }
        more = r.code == ERR_FULL;
        if (r.code != ERR_AGAIN && !more) {
            report_add(w->report, REPORT_HANDSHAKES_FAILED, 1);
            conn_handshake_failed(w, conn);
            return true;
        }
        if (used == 0 && !more)
            break;
    }
    if (conn->wire.eof) {
        report_add(w->report, REPORT_HANDSHAKES_FAILED, 1);
        conn_close_begin(w, conn);
    }
    return false;
}
