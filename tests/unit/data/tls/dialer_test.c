/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions to servers, against our own server side. */
#include "data/tls/dialer.c"

#include "pair.h"

/* ---- a dialer and a server, joined by memory ------------------------------------------------ */

struct link {
    struct tls_session *client, *server;
    struct buf to_server, to_client;
    struct result client_state, server_state;
};

static struct snap_roots roots;
static struct snap_transport transport;
static struct snapshot snapshot = {
    .transports = &transport, .transport_count = 1, .roots = &roots, .roots_count = 1};
static struct buf root_certs;
static uint64_t now_ns = 5000000000000ull;

/* Trusts the root of this chain. */
static void trust(const struct pair_cert *cert)
{
    buf_free(&root_certs);
    root_certs = (struct buf){0};
    buf_put_be(&root_certs, 3, 3); /* what cannot be read is passed over */
    buf_put(&root_certs, "bad", 3);
    buf_put_be(&root_certs, (uint64_t)cert->root.der_len, 3);
    buf_put(&root_certs, cert->root.der, (size_t)cert->root.der_len);
    roots.certs = buf_span(&root_certs);
    transport = (struct snap_transport){.id = 7, .roots = 0};
}

static struct tls_dialer *make_dialer(void)
{
    struct tls_dialer *d = NULL;
    struct why why;
    if (!result_is_ok(tls_dialer_create(&snapshot, &transport, &d, &why)))
        fail_msg("%s", why.text);
    assert_int_equal(wolfSSL_CTX_GetDevId(d->ctx, NULL), aead_device());
    return d;
}

static struct result turn(struct tls_session *s, struct buf *in, struct buf *out)
{
    static uint8_t room[TLS_FLIGHT_ROOM];
    struct writer w = writer_of(room, sizeof room);
    struct session_io io = {buf_span(in), &w, &keys};
    struct result r = session_handshake(s, &io);
    buf_consume(in, in->len - io.in.len);
    buf_put(out, w.ptr, w.len);
    return r;
}

/* Runs a handshake to its end. True: both sides are content. */
static bool meet(struct link *l, struct tls_dialer *d, struct tls_policy *with,
                 const struct pair_cert *cert, const char *host, const struct tls_resume *resume)
{
    static const struct tls_resume nothing;
    struct hello hello;
    *l = (struct link){0};
    assert_true(result_is_ok(
        session_dial(d, span_str(host), false, resume ? resume : &nothing, now_ns, &l->client)));
    l->client_state = turn(l->client, &l->to_client, &l->to_server);
    assert_int_equal(l->client_state.code, ERR_AGAIN);
    assert_true(result_is_ok(hello_parse(buf_span(&l->to_server), &hello)));
    assert_true(result_is_ok(session_open(with, &hello, &cert->table, &keys, &l->server)));
    l->server_state = result_fail(ERR_AGAIN);
    for (int i = 0; i < 10; i++) {
        if (l->server_state.code == ERR_AGAIN)
            l->server_state = turn(l->server, &l->to_server, &l->to_client);
        if (l->client_state.code == ERR_AGAIN)
            l->client_state = turn(l->client, &l->to_client, &l->to_server);
    }
    return result_is_ok(l->client_state) && result_is_ok(l->server_state);
}

#define LONG_BYTES 40000

static void send_one_way(struct tls_session *from, struct tls_session *to, const char *text,
                         struct buf *rest)
{
    static uint8_t wire[TLS_WIRE_ROOM(LONG_BYTES)], answer[TLS_ANSWER_ROOM];
    static char plain[LONG_BYTES + 1];
    struct writer out = writer_of(wire, sizeof wire), got = writer_of(plain, sizeof plain);
    struct writer more = writer_of(answer, sizeof answer);
    assert_true(result_is_ok(session_write(from, span_str(text), &out)));
    buf_put(rest, out.ptr, out.len);
    struct session_io io = {buf_span(rest), &more, NULL};
    assert_int_equal(session_read(to, &io, &got).code, ERR_AGAIN);
    assert_true(span_eq(writer_done(&got), span_str(text)));
    buf_consume(rest, rest->len);
}

static void talk(struct link *l)
{
    static char
        text[LONG_BYTES + 1]; /* records that are sealed without wolfSSL, where they can be */
    memset(text, 'x', LONG_BYTES);
    send_one_way(l->client, l->server, "ping", &l->to_server);
    send_one_way(l->server, l->client, "pong", &l->to_client); /* behind the tickets */
    send_one_way(l->client, l->server, text, &l->to_server);
    send_one_way(l->client, l->server, "ping", &l->to_server);
}

static void part(struct link *l)
{
    session_close(l->client);
    session_close(l->server);
    buf_free(&l->to_client);
    buf_free(&l->to_server);
}

/* The reason of a handshake that fails at the client. */
static void expect_refusal(const struct pair_cert *cert, const char *host, const char *text)
{
    char said[SESSION_EXPLAIN_MAX];
    struct tls_dialer *d = make_dialer();
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct tls_policy *with = make_policy(only(tls13), only(tls13));
        struct link l;
        assert_false(meet(&l, d, with, cert, host, NULL));
        assert_int_equal(l.client_state.code, ERR_PEER_TLS);
        session_explain(l.client, said);
        if (!strstr(said, text))
            fail_msg("\"%s\" instead of \"%s\"", said, text);
        part(&l);
        tls_policy_destroy(with);
    }
    tls_dialer_destroy(d);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void verified_sessions(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (int type = PAIR_P256; type <= PAIR_RSA; type++) {
            trust(&certs[type]);
            struct tls_policy *with = make_policy(only(tls13), only(tls13));
            struct tls_dialer *d = make_dialer();
            struct link l;
            assert_true(meet(&l, d, with, &certs[type], NAME, NULL));
            assert_string_equal(session_version(l.client), tls13 ? "TLSv1.3" : "TLSv1.2");
            assert_int_equal(session_protocol(l.client), TLS_ALPN_HTTP11);
            tls_dialer_destroy(d); /* sessions go on */
            talk(&l);
            part(&l);
            tls_policy_destroy(with);
        }
    }
}

/* What one server sent vouches for no other, and is not kept. */
static void chains_are_forgotten(void **state)
{
    struct pair_cert alone = certs[PAIR_P256];
    struct span chain = alone.table.chain;
    alone.table.chain =
        span_first(chain, 3 + (size_t)(chain.ptr[0] << 16 | chain.ptr[1] << 8 | chain.ptr[2]));
    assert_true(alone.table.chain.len < chain.len);
    trust(&certs[PAIR_P256]);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct tls_policy *with = make_policy(only(tls13), only(tls13));
        struct tls_dialer *d = make_dialer();
        struct link l;
        assert_true(meet(&l, d, with, &certs[PAIR_P256], NAME, NULL));
        part(&l);
        assert_false(meet(&l, d, with, &alone, NAME, NULL));
        part(&l);
        tls_dialer_destroy(d);
        tls_policy_destroy(with);
    }
}

/* An intermediate in place of the root vouches for a leaf that comes alone; a chain is judged from
 * its end, whose root is then missing (docs/differences.md). */
static void intermediates_as_roots(void **state)
{
    struct pair_cert alone = certs[PAIR_P256], anchor = {0};
    struct reader r = reader_of(alone.table.chain);
    struct span leaf = reader_bytes(&r, reader_be(&r, 3));
    struct span middle = reader_bytes(&r, reader_be(&r, 3));
    anchor.root.der_len = (int)middle.len;
    assert_true(middle.len <= sizeof anchor.root.der);
    memcpy(anchor.root.der, middle.ptr, middle.len);
    trust(&anchor);
    struct tls_dialer *d = make_dialer();
    struct link l;
    alone.table.chain = span_first(alone.table.chain, 3 + leaf.len);
    assert_true(meet(&l, d, policy, &alone, NAME, NULL));
    part(&l);
    assert_false(meet(&l, d, policy, &certs[PAIR_P256], NAME, NULL));
    part(&l);
    tls_dialer_destroy(d);
}

static void names_are_checked(void **state)
{
    trust(&certs[0]);
    expect_refusal(&certs[0], "other.a.test", "is for other names");
    expect_refusal(&certs[0], "nobody.invalid", "is for other names");
    expect_refusal(&certs[0], "192.0.2.1", "is for other names");
    expect_refusal(&certs[0], "backend", "is for other names");
    struct tls_dialer *d = make_dialer();
    struct link l;
    assert_true(meet(&l, d, policy, &certs[0], "WWW.A.test.", NULL));
    part(&l);
    tls_dialer_destroy(d);
    transport.server_name = SPAN_LITERAL(NAME);
    d = make_dialer();
    assert_true(meet(&l, d, policy, &certs[0], "192.0.2.1", NULL));
    part(&l);
    tls_dialer_destroy(d);
    transport.server_name = SPAN_LITERAL("else.test");
    expect_refusal(&certs[0], NAME, "is for other names");
    transport.server_name = (struct span){0};
    transport.peer_uri = SPAN_LITERAL("spiffe://a");
    expect_refusal(&certs[0], NAME, "peerCertURI");
}

/* A server that is for the very name with which wolfSSL's own check is made to fail. */
static void the_placeholder_is_no_way_in(void **state)
{
    struct pair_cert nobody, one_label;
    pair_cert_make(&nobody, PAIR_P256, NOBODY, 0);
    trust(&nobody);
    expect_refusal(&nobody, NAME, "is for other names");
    pair_cert_free(&nobody);
    pair_cert_make(&one_label, PAIR_P256, "backend", 0);
    trust(&one_label);
    struct tls_dialer *d = make_dialer();
    struct link l;
    assert_true(meet(&l, d, policy, &one_label, "backend", NULL));
    part(&l);
    tls_dialer_destroy(d);
    pair_cert_free(&one_label);
}

static void chains_are_checked(void **state)
{
    struct pair_cert twin; /* its root has the same name, and another key */
    pair_cert_make(&twin, PAIR_P256, NAME, 0);
    trust(&twin);
    expect_refusal(&certs[0], NAME, "signature in its certificate chain");
    pair_cert_free(&twin);
    transport.roots = SNAP_NONE;
    expect_refusal(&certs[1], NAME, "unknown CA");
    transport.insecure = true;
    transport.server_name = SPAN_LITERAL("whatever");
    struct tls_dialer *d = make_dialer();
    struct link l;
    assert_true(meet(&l, d, policy, &certs[0], "192.0.2.1", NULL));
    talk(&l);
    part(&l);
    tls_dialer_destroy(d);
}

static void sessions_are_resumed(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        trust(&certs[0]);
        struct tls_policy *with = make_policy(only(tls13), only(tls13));
        struct tls_dialer *d = make_dialer();
        struct tls_resume keep = {0};
        struct link l, second;
        assert_true(meet(&l, d, with, &certs[0], NAME, NULL));
        talk(&l);
        session_remember(l.client, &keep);
        assert_non_null(keep.session);
        assert_int_equal(keep.verified_ns, now_ns);
        /* two at once, while the first lives on */
        uint64_t begin_ns = now_ns;
        now_ns += 1000;
        assert_true(meet(&second, d, with, &certs[0], NAME, &keep));
        assert_true(session_resumed(second.client) && session_resumed(second.server));
        talk(&second);
        talk(&l);
        session_remember(second.client, &keep);
        assert_int_equal(keep.verified_ns, begin_ns); /* that of the full handshake */
        part(&second);
        part(&l);
        now_ns += RESUME_MAX_NS + 1;
        assert_true(meet(&l, d, with, &certs[0], NAME, &keep));
        assert_false(session_resumed(l.client));
        part(&l);
        now_ns = begin_ns;
        keep.transport_id++;
        assert_true(meet(&l, d, with, &certs[0], NAME, &keep));
        assert_false(session_resumed(l.client));
        part(&l);
        /* a server that knows nothing of it any more is verified anew */
        keep.transport_id--;
        for (uint32_t i = 0; i < keys.count; i++)
            keys.keys[i].name[0] ^= 1;
        now_ns += 5;
        assert_true(meet(&l, d, with, &certs[0], NAME, &keep));
        assert_false(session_resumed(l.client));
        talk(&l);
        session_remember(l.client, &keep);
        part(&l);
        if (tls13) {
            assert_int_equal(keep.verified_ns, now_ns);
            assert_true(meet(&l, d, with, &certs[1], NAME, &keep) && session_resumed(l.client));
            part(&l);
        } else { /* no new ticket in place of the refused one */
            assert_null(keep.session);
        }
        for (uint32_t i = 0; i < keys.count; i++) {
            keys.keys[i].name[0] ^= 1;
        }
        assert_false(meet(&l, d, with, &certs[1], NAME, &keep)); /* of another CA */
        part(&l);
        tls_resume_clear(&keep);
        tls_dialer_destroy(d);
        tls_policy_destroy(with);
    }
}

static void protocols(void **state)
{
    trust(&certs[0]);
    struct tls_dialer *d = make_dialer();
    struct link l;
    tls_dialer_offer(d, TLS_ALPN_H2 | TLS_ALPN_HTTP11);
    assert_true(meet(&l, d, policy, &certs[0], NAME, NULL));
    assert_int_equal(session_protocol(l.client), TLS_ALPN_HTTP11);
    part(&l);
    tls_policy_offer(policy, TLS_ALPN_H2 | TLS_ALPN_HTTP11);
    assert_true(meet(&l, d, policy, &certs[0], NAME, NULL));
    assert_int_equal(session_protocol(l.client), TLS_ALPN_H2);
    part(&l);
    tls_policy_offer(policy, 0);
    assert_true(meet(&l, d, policy, &certs[0], NAME, NULL));
    assert_int_equal(session_protocol(l.client), TLS_ALPN_NONE);
    part(&l);
    tls_policy_offer(policy, TLS_ALPN_HTTP11);
    tls_dialer_destroy(d);
}

static int teardown(void **state)
{
    buf_free(&root_certs);
    return pair_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verified_sessions),
        cmocka_unit_test(chains_are_forgotten),
        cmocka_unit_test(intermediates_as_roots),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(the_placeholder_is_no_way_in),
        cmocka_unit_test(chains_are_checked),
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(protocols),
    };
    return cmocka_run_group_tests(tests, pair_setup, teardown);
}
