/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets, early data and key updates: what happens in wolfSSL's callbacks. */
#include "data/tls/session_io.c"

#include "pair.h"

/* ---- resumption ----------------------------------------------------------------------------- */

/* A full handshake whose ticket the client keeps. */
static WOLFSSL_SESSION *first_visit(struct tls_policy *with, const struct ticket_keys *k, int tls13,
                                    const char *name, const char *alpn)
{
    struct pair p;
    struct pair_options o = {.only = only(tls13), .name = name, .alpn = alpn};
    pair_open(&p, with, &certs[0].table, k, &o);
    pair_establish(&p);
    exchange(&p); /* the client reads the ticket of TLS 1.3 here */
    assert_false(session_resumed(p.session));
    WOLFSSL_SESSION *s = wolfSSL_get1_session(p.client);
    assert_non_null(s);
    pair_close(&p);
    return s;
}

/* Was the second visit a resumption? Both ends must agree, and data must flow. */
static bool second_visit(struct tls_policy *with, const struct ticket_keys *k, int tls13,
                         const char *name, const char *alpn, WOLFSSL_SESSION *ticket,
                         WOLFSSL_SESSION **ret_next)
{
    struct pair p;
    struct pair_options o = {.only = only(tls13), .name = name, .alpn = alpn, .resume = ticket};
    pair_open(&p, with, &certs[0].table, k, &o);
    pair_establish(&p);
    assert_true(p.hello.has_ticket);
    exchange(&p);
    bool resumed = session_resumed(p.session);
    assert_int_equal(wolfSSL_session_reused(p.client), resumed);
    if (ret_next)
        *ret_next = wolfSSL_get1_session(p.client);
    pair_close(&p);
    return resumed;
}

static void tickets_resume(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        WOLFSSL_SESSION *a = first_visit(policy, &keys, tls13, NAME, "http/1.1"), *b;
        assert_true(second_visit(policy, &keys, tls13, NAME, "http/1.1", a, &b));
        assert_true(second_visit(policy, &keys, tls13, NAME, "http/1.1", b, NULL));
        wolfSSL_SESSION_free(a);
        wolfSSL_SESSION_free(b);
    }
}

static void tickets_are_bound(void **state)
{
    struct snap_tls o = {
        .name = SPAN_LITERAL("other"), .min_version = 0x0303, .max_version = 0x0304};
    struct tls_policy *other, *same = make_policy(0x0303, 0x0304);
    struct why why;
    assert_int_equal(tls_policy_create(&o, &other, &why).code, ERR_NONE);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        WOLFSSL_SESSION *a = first_visit(policy, &keys, tls13, NAME, "http/1.1");
        struct ticket_keys none = {0}, wrong = keys;
        wrong.keys[0].aes[5] ^= 1;
        assert_false(second_visit(policy, &keys, tls13, "b.test", "http/1.1", a, NULL));
        assert_false(second_visit(policy, &keys, tls13, NULL, "http/1.1", a, NULL));
        assert_false(second_visit(policy, &keys, tls13, NAME, NULL, a, NULL));
        assert_false(second_visit(other, &keys, tls13, NAME, "http/1.1", a, NULL));
        assert_false(second_visit(policy, &wrong, tls13, NAME, "http/1.1", a, NULL));
        assert_false(second_visit(policy, &none, tls13, NAME, "http/1.1", a, NULL));
        assert_false(second_visit(policy, NULL, tls13, NAME, "http/1.1", a, NULL));
        assert_true(second_visit(same, &keys, tls13, NAME, "http/1.1", a, NULL));
        wolfSSL_SESSION_free(a);
    }
    tls_policy_destroy(other);
    tls_policy_destroy(same);
}

static void old_keys_open_and_renew(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        WOLFSSL_SESSION *a = first_visit(policy, &keys, tls13, NAME, NULL), *b;
        struct ticket_keys rotated = keys, gone = keys;
        rotated.keys[0] = keys.keys[1];
        rotated.keys[1] = keys.keys[0];
        gone.keys[0] = keys.keys[1];
        gone.count = 1;
        assert_true(second_visit(policy, &rotated, tls13, NAME, NULL, a, &b));
        assert_false(second_visit(policy, &gone, tls13, NAME, NULL, a, NULL));
        assert_true(second_visit(policy, &gone, tls13, NAME, NULL, b, NULL)); /* was renewed */
        wolfSSL_SESSION_free(a);
        wolfSSL_SESSION_free(b);
    }
}

static void options_may_forbid_tickets(void **state)
{
    struct snap_tls o = {.name = SPAN_LITERAL("default"),
                         .min_version = 0x0303,
                         .max_version = 0x0304,
                         .no_tickets = true};
    struct tls_policy *none;
    struct why why;
    assert_int_equal(tls_policy_create(&o, &none, &why).code, ERR_NONE);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        WOLFSSL_SESSION *a = first_visit(policy, &keys, tls13, NAME, NULL);
        assert_false(second_visit(none, &keys, tls13, NAME, NULL, a, NULL));
        wolfSSL_SESSION_free(a);
    }
    tls_policy_destroy(none);
}

/* A ticket of some other server, of any size, costs a full handshake and nothing else. */
static void foreign_tickets(void **state)
{
    static const word32 sizes[] = {
        40, 100, TICKET_WIRE_MAX - 1, TICKET_WIRE_MAX, TICKET_WIRE_MAX + 1, 300, 1500, 9000};
    static uint8_t junk[9000];
    memset(junk, 7, sizeof junk);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            WOLFSSL_SESSION *a = first_visit(policy, &keys, tls13, NAME, NULL);
            struct pair p;
            struct pair_options o = {.only = only(tls13), .name = NAME, .resume = a};
            pair_open(&p, policy, &certs[0].table, &keys, &o);
            assert_int_equal(wolfSSL_set_SessionTicket(p.client, junk, sizes[i]), WOLFSSL_SUCCESS);
            pair_establish(&p);
            assert_true(p.hello.has_ticket);
            assert_int_equal(p.hello.ticket_len, tls13 ? 0 : sizes[i]);
            assert_false(session_resumed(p.session));
            exchange(&p);
            pair_close(&p);
            wolfSSL_SESSION_free(a);
        }
    }
}

/* Records that look like early data, before and between the client's own, are left out; the rest of
 * the connection is as ever. */
static void early_data_is_left_out(void **state)
{
    static const char *const suites[] = {"TLS13-AES128-GCM-SHA256", "TLS13-AES256-GCM-SHA384",
                                         "TLS13-CHACHA20-POLY1305-SHA256"};
    static uint8_t junk[5 + 3000] = "\x17\x03\x03\x0b\xb8";
    for (int i = 0; i < 6; i++) {
        struct pair p;
        struct pair_options o = {.only = 0x0304, .name = NAME, .suites = suites[i % 3]};
        int offered[] = {WOLFSSL_ECC_SECP521R1, WOLFSSL_ECC_SECP256R1};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        if (i >= 3) { /* with a HelloRetryRequest */
            assert_int_equal(wolfSSL_set_groups(p.client, offered, 2), WOLFSSL_SUCCESS);
            assert_int_equal(wolfSSL_UseKeyShare(p.client, WOLFSSL_ECC_SECP521R1), WOLFSSL_SUCCESS);
        }
        wolfSSL_connect(p.client);
        assert_int_equal(hello_parse(buf_span(&p.to_server), &p.hello).code, ERR_NONE);
        p.hello.has_early_data = true;
        assert_int_equal(session_open(policy, &p.hello, p.cert, &keys, &p.session).code, ERR_NONE);
        buf_put(&p.to_server, junk, sizeof junk);
        buf_put(&p.to_server, "\x17\x03\x03\0\x35", 5); /* as long as a Finished */
        buf_put(&p.to_server, junk, 0x35);
        p.feed_max = i % 2 ? 0 : 11;
        while (pair_serve(&p))
            ;
        assert_int_equal(p.server.code, ERR_AGAIN);
        buf_put(&p.to_server, junk, sizeof junk);
        pair_establish(&p);
        assert_null(p.session->early);
        exchange(&p);
        pair_close(&p);
    }
}

static void early_data_has_an_end(void **state)
{
    static uint8_t junk[5 + 16384] = "\x17\x03\x03\x40\0";
    for (int oversized = 0; oversized < 2; oversized++) {
        struct pair p;
        struct pair_options o = {.only = 0x0304, .name = NAME};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        wolfSSL_connect(p.client);
        assert_int_equal(hello_parse(buf_span(&p.to_server), &p.hello).code, ERR_NONE);
        p.hello.has_early_data = true;
        assert_int_equal(session_open(policy, &p.hello, p.cert, &keys, &p.session).code, ERR_NONE);
        junk[3] = oversized ? 0x50 : 0x40;
        int n = 0;
        while (p.server.code == ERR_NONE || p.server.code == ERR_AGAIN) {
            buf_put(&p.to_server, junk, sizeof junk);
            while (pair_serve(&p))
                ;
            assert_true(n++ < 5);
        }
        assert_int_equal(p.server.code, ERR_PEER_TLS);
        assert_int_equal(n, oversized ? 1 : 4);
        pair_close(&p);
    }
}

static void key_updates(void **state)
{
    struct pair p;
    struct pair_options o = {.only = only(1), .name = NAME};
    struct buf got = {0};
    uint8_t mem[100], tiny[TLS_ANSWER_ROOM - 1], answer[TLS_ANSWER_ROOM];
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(wolfSSL_update_keys(p.client), WOLFSSL_SUCCESS);
        exchange(&p);
    }
    /* Without room for an answer nothing is taken; with it all goes on. */
    p.to_server.len = 0;
    assert_int_equal(wolfSSL_update_keys(p.client), WOLFSSL_SUCCESS);
    wolfSSL_write(p.client, "after", 5);
    struct writer plain = writer_of(mem, sizeof mem), out = writer_of(tiny, sizeof tiny);
    struct session_io io = {buf_span(&p.to_server), &out, NULL};
    assert_int_equal(session_read(p.session, &io, &plain).code, ERR_FULL);
    assert_int_equal(io.in.len, p.to_server.len);
    assert_int_equal(plain.len, 0);
    out = writer_of(answer, sizeof answer);
    assert_int_equal(session_read(p.session, &io, &plain).code, ERR_FULL); /* answer used room */
    buf_put(&p.to_client, out.ptr, out.len);
    out.len = 0;
    assert_int_equal(session_read(p.session, &io, &plain).code, ERR_AGAIN);
    assert_memory_equal(mem, "after", 5);
    p.to_server.len = 0;
    exchange(&p);
    buf_free(&got);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tickets_resume),          cmocka_unit_test(tickets_are_bound),
        cmocka_unit_test(old_keys_open_and_renew), cmocka_unit_test(options_may_forbid_tickets),
        cmocka_unit_test(foreign_tickets),         cmocka_unit_test(early_data_is_left_out),
        cmocka_unit_test(early_data_has_an_end),   cmocka_unit_test(key_updates),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
