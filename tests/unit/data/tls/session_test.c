/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/session.c"

#include "pair.h"

#include <malloc.h>
#include <stdlib.h>

/* ---- handshakes ----------------------------------------------------------------------------- */

static void versions_and_keys(void **state)
{
    assert_int_equal(wolfSSL_CTX_GetDevId(policy->tickets, NULL), aead_device());
    assert_int_equal(wolfSSL_CTX_GetDevId(policy->plain, NULL), aead_device());
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (int type = PAIR_P256; type <= PAIR_RSA; type++) {
            struct pair p;
            struct pair_options o = {
                .only = only(tls13), .name = NAME, .alpn = "http/1.1", .trust = &certs[type]};
            pair_open(&p, policy, &certs[type].table, &keys, &o);
            pair_establish(&p);
            assert_string_equal(session_version(p.session), tls13 ? "TLSv1.3" : "TLSv1.2");
            assert_string_equal(session_suite(p.session),
                                tls13              ? "TLS_AES_128_GCM_SHA256"
                                : type == PAIR_RSA ? "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
                                                   : "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
            assert_string_equal(session_alpn(p.session), "http/1.1");
            assert_false(session_resumed(p.session));
            exchange(&p);
            pair_close(&p);
        }
    }
}

static void one_byte_at_a_time(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct pair p;
        struct pair_options o = {.only = only(tls13), .name = NAME, .trust = &certs[0]};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        p.feed_max = 1;
        p.room_max = 7;
        pair_establish(&p);
        exchange(&p);
        pair_close(&p);
    }
}

static void groups(void **state)
{
    static const struct {
        int offered[2], count;
        bool mlkem;
        const char *chosen;
    } cases[] = {
        {{WOLFSSL_X25519MLKEM768}, 1, true, "X25519MLKEM768"},
        {{WOLFSSL_ECC_X25519}, 1, false, "X25519"},
        {{WOLFSSL_ECC_SECP256R1}, 1, false, "SECP256R1"},
        {{WOLFSSL_ECC_SECP384R1}, 1, false, "SECP384R1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair p;
        struct pair_options o = {.only = only(1), .name = NAME};
        int offered[2] = {cases[i].offered[0]};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        assert_int_equal(wolfSSL_set_groups(p.client, offered, cases[i].count), WOLFSSL_SUCCESS);
        assert_int_equal(wolfSSL_UseKeyShare(p.client, (word16)offered[0]), WOLFSSL_SUCCESS);
        pair_establish(&p);
        assert_string_equal(session_group(p.session), cases[i].chosen);
        assert_int_equal(!!(p.hello.groups & HELLO_GROUP_X25519MLKEM768), cases[i].mlkem);
        exchange(&p);
        pair_close(&p);
    }
}

static void hello_retry(void **state)
{
    struct pair p;
    struct pair_options o = {.only = only(1), .name = NAME};
    int offered[] = {WOLFSSL_ECC_SECP521R1, WOLFSSL_ECC_SECP256R1};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    assert_int_equal(wolfSSL_set_groups(p.client, offered, 2), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_UseKeyShare(p.client, WOLFSSL_ECC_SECP521R1), WOLFSSL_SUCCESS);
    pair_establish(&p);
    assert_string_equal(session_group(p.session), "SECP256R1");
    exchange(&p);
    pair_close(&p);
}

static void our_order_of_suites_wins(void **state)
{
    struct pair p;
    struct pair_options o = {.name = NAME,
                             .suites = "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES256-GCM-SHA384:"
                                       "TLS13-AES128-GCM-SHA256"};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    assert_string_equal(session_suite(p.session), "TLS_AES_128_GCM_SHA256");
    pair_close(&p);
    static const char *const others[] = {
        "TLS13-AES256-GCM-SHA384", "TLS13-CHACHA20-POLY1305-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"};
    static const char *const names[] = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
                                        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                                        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"};
    for (int i = 0; i < 4; i++) {
        o = (struct pair_options){.name = NAME, .only = only(i < 2), .suites = others[i]};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        pair_establish(&p);
        assert_string_equal(session_suite(p.session), names[i]);
        exchange(&p);
        pair_close(&p);
    }
}

static void whole_chain_is_sent(void **state)
{
    /* The client verifies against the root only, so both intermediates must have come. */
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct pair p;
        struct pair_options o = {.only = only(tls13), .name = NAME, .trust = &certs[0]};
        struct reader r = reader_of(certs[0].table.chain);
        struct span leaf = reader_bytes(&r, reader_be(&r, 3));
        struct table_cert cut = certs[0].table;
        pair_open(&p, policy, &cut, &keys, &o);
        pair_establish(&p);
        pair_close(&p);

        cut.chain.len = leaf.len + 3;
        pair_open(&p, policy, &cut, &keys, &o);
        pair_handshake(&p);
        assert_int_equal(p.client_error, ASN_NO_SIGNER_E);
        pair_close(&p);
    }
}

/* What we answer to the hello of a client that asks for an OCSP response. */
static struct buf flight_with(struct span staple)
{
    struct pair p;
    struct pair_options o = {.only = 0x0303, .name = NAME};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    assert_int_equal(wolfSSL_CTX_EnableOCSPStapling(p.client_ctx), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_UseOCSPStapling(p.client, WOLFSSL_CSR_OCSP, 0), WOLFSSL_SUCCESS);
    wolfSSL_connect(p.client);
    assert_true(result_is_ok(hello_parse(buf_span(&p.to_server), &p.hello)));
    assert_true(p.hello.wants_staple);
    assert_true(result_is_ok(session_open(p.policy, &p.hello, p.cert, p.keys, &p.session)));
    if (staple.len)
        assert_true(result_is_ok(session_staple(p.session, staple)));
    while (pair_serve(&p))
        ;
    struct buf flight = p.to_client;
    p.to_client = (struct buf){0};
    pair_close(&p);
    return flight;
}

/* One context for both: the promise of one session is not left to the next. */
static void stapled_to_whom_it_belongs(void **state)
{
    static const struct span staple = SPAN_LITERAL("what the responder says");
    static const struct span status = SPAN_LITERAL("\x01\0\0\x17what the responder says");
    struct buf with = flight_with(staple), without = flight_with(span_of(NULL, 0));
    assert_non_null(memmem(with.ptr, with.len, status.ptr, status.len));
    assert_null(memmem(without.ptr, without.len, staple.ptr, staple.len));
    /* ServerHello: the extension, empty. */
    assert_non_null(memmem(with.ptr, 200, "\0\x05\0\0", 4));
    assert_null(memmem(without.ptr, 120, "\0\x05\0\0", 4));
    buf_free(&with);
    buf_free(&without);
}

static void bad_certificates_fail_at_once(void **state)
{
    struct pair p;
    struct pair_options o = {.name = NAME};
    struct table_cert broken[5];
    for (int i = 0; i < 5; i++)
        broken[i] = certs[0].table;
    broken[0].chain.len--;
    broken[1].chain.len = 0;
    broken[2].key.len = 10;
    broken[3].key = certs[2].table.key;
    broken[4].chain.ptr += 1;
    for (int i = 0; i < 5; i++) {
        pair_open(&p, policy, &broken[i], &keys, &o);
        pair_handshake(&p);
        assert_false(p.server_done);
        assert_true(p.server.code == ERR_CRYPTO || (i == 3 && p.server.code == ERR_PEER_TLS));
        pair_close(&p);
    }
}

/* ---- alerts --------------------------------------------------------------------------------- */

/* The client sees this alert from us. */
static void expect_alert(struct pair *p, int alert)
{
    WOLFSSL_ALERT_HISTORY h;
    pair_handshake(p);
    assert_false(p->server_done);
    assert_int_equal(p->server.code, ERR_PEER_TLS);
    assert_true(session_failure(p->session) != 0);
    assert_int_equal(wolfSSL_get_alert_history(p->client, &h), WOLFSSL_SUCCESS);
    if (h.last_rx.code != alert)
        print_message("server %d client %d\n", session_failure(p->session), p->client_error);
    assert_int_equal(h.last_rx.code, alert);
    /* Nothing can revive it. */
    struct writer out = writer_of(NULL, 0);
    struct session_io io = {.out = &out};
    assert_int_equal(session_handshake(p->session, &io).code, ERR_PEER_TLS);
    assert_int_equal(session_write(p->session, SPAN_LITERAL("x"), &out).code, ERR_PEER_TLS);
    assert_int_equal(session_shutdown(p->session, &out).code, ERR_NONE);
}

static void versions_that_do_not_meet(void **state)
{
    struct pair p;
    struct pair_options o = {.name = NAME};
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct tls_policy *one = make_policy(tls13 ? 0x0304 : 0x0303, tls13 ? 0x0304 : 0x0303);
        o.only = only(!tls13);
        pair_open(&p, one, &certs[0].table, &keys, &o);
        if (tls13) {
            expect_alert(&p, wolfssl_alert_protocol_version);
        } else { /* a server of TLS 1.2 answers in TLS 1.2, and the client refuses that */
            pair_handshake(&p);
            assert_int_equal(p.client_error, VERSION_ERROR);
            assert_int_equal(p.server.code, ERR_PEER_TLS);
        }
        pair_close(&p);
        o.only = only(tls13);
        pair_open(&p, one, &certs[0].table, &keys, &o);
        pair_establish(&p);
        exchange(&p);
        pair_close(&p);
        tls_policy_destroy(one);
    }
}

static void protocols_that_do_not_meet(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct pair p;
        struct pair_options o = {.only = only(tls13), .name = NAME, .alpn = "spdy/1"};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        expect_alert(&p, no_application_protocol);
        pair_close(&p);
    }
}

static void suites_that_do_not_meet(void **state)
{
    struct pair p;
    struct pair_options o = {
        .only = only(0), .name = NAME, .suites = "ECDHE-RSA-AES128-GCM-SHA256"};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    expect_alert(&p, handshake_failure);
    pair_close(&p);
}

static void choosing_protocols(void **state)
{
    static const struct {
        uint32_t offer;
        const char *client, *chosen;
    } cases[] = {
        {TLS_ALPN_HTTP11, "h2,http/1.1", "http/1.1"},
        {TLS_ALPN_HTTP11 | TLS_ALPN_H2, "http/1.1,h2", "h2"},
        {TLS_ALPN_HTTP11 | TLS_ALPN_H2, "http/1.1", "http/1.1"},
        {TLS_ALPN_HTTP11, NULL, ""},
        {0, "h2,http/1.1", ""},
    };
    struct tls_policy *own = make_policy(0x0303, 0x0304);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int tls13 = 0; tls13 < 2; tls13++) {
            struct pair p;
            struct pair_options o = {.only = only(tls13), .name = NAME, .alpn = cases[i].client};
            char *seen = NULL;
            word16 n = 0;
            tls_policy_offer(own, cases[i].offer);
            pair_open(&p, own, &certs[0].table, &keys, &o);
            pair_establish(&p);
            assert_string_equal(session_alpn(p.session), cases[i].chosen);
            if (wolfSSL_ALPN_GetProtocol(p.client, &seen, &n) == WOLFSSL_SUCCESS)
                assert_string_equal(seen, cases[i].chosen);
            else
                assert_string_equal("", cases[i].chosen);
            pair_close(&p);
        }
    }
    tls_policy_destroy(own);
}

/* ---- data ----------------------------------------------------------------------------------- */

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 131 + (i >> 8));
}

static void assert_pattern(const struct buf *b, size_t n)
{
    assert_int_equal(b->len, n);
    for (size_t i = 0; i < n; i++)
        if (b->ptr[i] != pattern(i))
            fail_msg("byte %zu differs", i);
}

static void a_megabyte_each_way(void **state)
{
    static uint8_t data[1 << 20];
    static const size_t rooms[] = {70000, 16384, 1000, 1};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (size_t k = 0; k < sizeof rooms / sizeof rooms[0]; k++) {
            size_t size = rooms[k] == 1 ? 20000 : sizeof data;
            struct pair p;
            struct pair_options o = {.only = only(tls13), .name = NAME};
            struct buf got = {0};
            pair_open(&p, policy, &certs[0].table, &keys, &o);
            pair_establish(&p);
            p.feed_max = rooms[k] == 1 ? 3 : 40000;
            assert_int_equal(wolfSSL_write(p.client, data, (int)size), size);
            assert_int_equal(pair_server_read(&p, &got, rooms[k]).code, ERR_AGAIN);
            assert_pattern(&got, size);
            assert_int_equal(session_pending(p.session), 0);
            buf_consume(&got, got.len);
            size_t before = p.to_client.len;
            pair_server_write(&p, span_of(data, size));
            /* full records */
            assert_true(p.to_client.len - before <= size + (size / TLS_RECORD_PLAIN_MAX + 1) * 30);
            assert_int_equal(pair_client_read(&p, &got), WOLFSSL_ERROR_WANT_READ);
            assert_pattern(&got, size);
            buf_free(&got);
            pair_close(&p);
        }
    }
}

/* The header of the record at `at`; its whole length. */
static size_t record_at(const struct buf *wire, size_t at)
{
    assert_true(at + 5 <= wire->len);
    assert_int_equal(wire->ptr[at], 0x17);
    size_t n = 5u + (size_t)(wire->ptr[at + 3] << 8 | wire->ptr[at + 4]);
    assert_true(at + n <= wire->len);
    return n;
}

static int sends;

static int count_send(WOLFSSL *ssl, char *buf, int size, void *arg)
{
    sends++;
    return session_io_send(ssl, buf, size, arg);
}

/* wolfSSL's records (short ones, tickets, KeyUpdates) and those sealed without it take turns: the
 * numbers of one go on where the other stopped, also under new keys. */
static void long_writes_between_short_ones(void **state)
{
    static const size_t sizes[] = {100,   1023, 1024, 1025,  50000, 1,    16384,
                                   16385, 70,   2000, 65536, 65537, 1040, 30000};
    static const char *const suites[] = {"TLS13-AES128-GCM-SHA256", "TLS13-AES256-GCM-SHA384",
                                         "TLS13-CHACHA20-POLY1305-SHA256"};
    static uint8_t data[1 << 17];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    for (size_t suite = 0; suite < sizeof suites / sizeof suites[0]; suite++) {
        struct pair p;
        struct pair_options o = {.only = 0x0304, .name = NAME, .suites = suites[suite]};
        struct buf got = {0}, nothing = {0};
        pair_open(&p, policy, &certs[0].table, &keys, &o);
        pair_establish(&p);
        wolfSSL_SSLSetIOSend(p.session->ssl, count_send);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct wolfssl_write_side side;
            bool ours =
                sizes[i] >= AEAD_BYTES_MIN && wolfssl_write_side_get(p.session->ssl, 9, &side);
            assert_int_equal(ours, sizes[i] >= AEAD_BYTES_MIN && suite < 2 &&
                                       aead_device() != INVALID_DEVID);
            if (i % 4 == 3) { /* an answer to it is due: keys change both ways */
                assert_int_equal(wolfSSL_update_keys(p.client), WOLFSSL_SUCCESS);
                assert_int_equal(pair_server_read(&p, &nothing, 100).code, ERR_AGAIN);
            }
            int calls = sends;
            pair_server_write(&p, span_of(data, sizes[i]));
            assert_int_equal(sends == calls, ours); /* by wolfSSL otherwise */
            assert_int_equal(pair_client_read(&p, &got), WOLFSSL_ERROR_WANT_READ);
            assert_pattern(&got, sizes[i]);
            buf_consume(&got, got.len);
        }
        buf_free(&got);
        buf_free(&nothing);
        pair_close(&p);
    }
}

/* RFC 8446 section 5.5: a key seals 2^24.5 records. wolfSSL counts them, and changes it in time. */
static void keys_change_in_time(void **state)
{
    static uint8_t data[3 * TLS_RECORD_PLAIN_MAX];
    const uint32_t most = 23726566;
    struct wolfssl_write_side side;
    struct pair p;
    struct pair_options o = {.only = 0x0304, .name = NAME};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    if (aead_device() == INVALID_DEVID) {
        assert_false(wolfssl_write_side_get(p.session->ssl, 1, &side));
        pair_close(&p);
        print_message("without VAES wolfSSL makes all records\n");
        skip();
    }
    assert_true(wolfssl_write_side_get(p.session->ssl, 1, &side));
    wolfssl_write_side_advance(p.session->ssl, most - 3 - (uint32_t)side.sequence);
    assert_true(wolfssl_write_side_get(p.session->ssl, 2, &side));
    assert_int_equal(side.sequence, most - 3);
    assert_false(wolfssl_write_side_get(p.session->ssl, 3, &side));
    p.to_client.len = 0;
    pair_server_write(&p, span_of(data, sizeof data)); /* wolfSSL's: the last three of this key, */
    size_t at = 0;
    for (int i = 0; i < 3; i++)
        at += record_at(&p.to_client, at);
    at += record_at(&p.to_client, at); /* and a KeyUpdate */
    assert_int_equal(at, p.to_client.len);
    assert_true(wolfssl_write_side_get(p.session->ssl, 100, &side));
    assert_int_equal(side.sequence, 0);
    pair_server_write(&p, span_of(data, sizeof data));
    assert_true(wolfssl_write_side_get(p.session->ssl, 100, &side));
    assert_int_equal(side.sequence, 3);
    pair_close(&p);
}

static void others_seal_their_records(void **state)
{
    struct wolfssl_write_side side;
    static const struct pair_options not_ours[] = {
        {.only = 0x0303, .name = NAME},
        {.only = 0x0304, .name = NAME, .suites = "TLS13-CHACHA20-POLY1305-SHA256"},
    };
    for (size_t i = 0; i < sizeof not_ours / sizeof not_ours[0]; i++) {
        struct pair p;
        pair_open(&p, policy, &certs[0].table, &keys, &not_ours[i]);
        pair_establish(&p);
        assert_false(wolfssl_write_side_get(p.session->ssl, 1, &side));
        pair_close(&p);
    }
    struct pair p;
    struct pair_options o = {.only = 0x0304, .name = NAME};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    wolfSSL_connect(p.client);
    pair_serve(&p); /* our flight is out, the client's answer is not here */
    assert_non_null(p.session);
    assert_false(wolfssl_write_side_get(p.session->ssl, 1, &side));
    pair_establish(&p);
    assert_int_equal(wolfssl_write_side_get(p.session->ssl, 1, &side),
                     aead_device() != INVALID_DEVID);
    uint8_t room[TLS_ANSWER_ROOM];
    struct writer out = writer_of(room, sizeof room);
    assert_int_equal(session_shutdown(p.session, &out).code, ERR_NONE);
    assert_false(wolfssl_write_side_get(p.session->ssl, 1, &side));
    pair_close(&p);
}

static void pending_plaintext_is_told(void **state)
{
    struct pair p;
    struct pair_options o = {.name = NAME};
    uint8_t mem[10], answer[TLS_ANSWER_ROOM];
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    wolfSSL_write(p.client, "0123456789abcdef", 16);
    struct writer plain = writer_of(mem, sizeof mem), out = writer_of(answer, sizeof answer);
    struct session_io io = {buf_span(&p.to_server), &out, NULL};
    assert_int_equal(session_read(p.session, &io, &plain).code, ERR_FULL);
    assert_int_equal(io.in.len, 0);                  /* input used up, */
    assert_int_equal(session_pending(p.session), 6); /* plaintext left */
    plain = writer_of(mem, sizeof mem);
    assert_int_equal(session_read(p.session, &io, &plain).code, ERR_AGAIN);
    assert_int_equal(plain.len, 6);
    assert_memory_equal(mem, "abcdef", 6);
    /* Exactly full and nothing left is not ERR_FULL. */
    buf_consume(&p.to_server, p.to_server.len);
    wolfSSL_write(p.client, "0123456789", 10);
    io.in = buf_span(&p.to_server);
    plain = writer_of(mem, sizeof mem);
    assert_int_equal(session_read(p.session, &io, &plain).code, ERR_AGAIN);
    assert_int_equal(plain.len, 10);
    pair_close(&p);
}

/* ---- memory: wolfSSL's allocations counted -------------------------------------------------- */

static size_t outstanding;

static void *counted_take(size_t n)
{
    void *p = malloc(n);
    outstanding += malloc_usable_size(p);
    return p;
}

static void counted_give_back(void *p)
{
    outstanding -= malloc_usable_size(p);
    free(p);
}

static void *counted_grow(void *p, size_t n)
{
    outstanding -= malloc_usable_size(p);
    p = realloc(p, n);
    outstanding += malloc_usable_size(p);
    return p;
}

/* Half a record costs a buffer of its size; a whole one leaves nothing behind, so that an idle
 * session is small. */
static void idle_sessions_keep_no_record(void **state)
{
    static uint8_t data[16000];
    struct pair p;
    struct pair_options o = {.name = NAME};
    struct buf got = {0};
    wolfSSL_Malloc_cb take;
    wolfSSL_Free_cb give_back;
    wolfSSL_Realloc_cb grow;
    wolfSSL_GetAllocators(&take, &give_back, &grow);
    wolfSSL_SetAllocators(counted_take, counted_give_back, counted_grow);
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    exchange(&p);
    size_t idle = outstanding;
    session_close(p.session);
    p.session = NULL;
    assert_in_range(idle - outstanding, 1000, 6000);
    pair_close(&p);

    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    exchange(&p);
    wolfSSL_write(p.client, data, sizeof data);
    struct buf wire = p.to_server;
    p.to_server = (struct buf){0};
    size_t before = outstanding;
    buf_put(&p.to_server, wire.ptr, wire.len / 2);
    assert_int_equal(pair_server_read(&p, &got, 70000).code, ERR_AGAIN);
    assert_int_equal(got.len, 0);
    assert_in_range(outstanding - before, 16000, 17500);
    buf_put(&p.to_server, wire.ptr + wire.len / 2, wire.len - wire.len / 2);
    assert_int_equal(pair_server_read(&p, &got, 70000).code, ERR_AGAIN);
    assert_int_equal(got.len, sizeof data);
    assert_int_equal(outstanding, before);
    buf_free(&wire);
    buf_free(&got);
    pair_close(&p);
    wolfSSL_SetAllocators(take, give_back, grow);
}

static void data_with_the_last_handshake_message(void **state)
{
    struct pair p;
    struct pair_options o = {.only = only(1), .name = NAME};
    struct buf got = {0};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    assert_int_equal(wolfSSL_connect(p.client), WOLFSSL_FATAL_ERROR);
    while (pair_serve(&p))
        ;
    assert_int_equal(wolfSSL_connect(p.client), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_write(p.client, "early", 5), 5);
    while (pair_serve(&p))
        ;
    assert_true(p.server_done);
    assert_true(p.to_server.len > 0);
    assert_int_equal(pair_server_read(&p, &got, 100).code, ERR_AGAIN);
    assert_true(span_eq(buf_span(&got), SPAN_LITERAL("early")));
    buf_free(&got);
    pair_close(&p);
}

static void closing_both_ways(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (int we_first = 0; we_first < 2; we_first++) {
            struct pair p;
            struct pair_options o = {.only = only(tls13), .name = NAME};
            struct buf got = {0};
            uint8_t mem[TLS_ANSWER_ROOM];
            struct writer out = writer_of(mem, sizeof mem), none = writer_of(mem, 5);
            pair_open(&p, policy, &certs[0].table, &keys, &o);
            pair_establish(&p);
            exchange(&p);
            if (we_first) {
                assert_int_equal(session_shutdown(p.session, &none).code, ERR_FULL);
                assert_int_equal(session_shutdown(p.session, &out).code, ERR_NONE);
                buf_put(&p.to_client, out.ptr, out.len);
                assert_int_equal(pair_client_read(&p, &got), WOLFSSL_ERROR_ZERO_RETURN);
                out.len = 0;
                assert_int_equal(session_shutdown(p.session, &out).code, ERR_NONE);
                assert_int_equal(out.len, 0); /* once */
                assert_int_equal(session_write(p.session, SPAN_LITERAL("x"), &out).code,
                                 ERR_PEER_TLS);
            }
            wolfSSL_write(p.client, "last", 4);
            wolfSSL_shutdown(p.client);
            assert_int_equal(pair_server_read(&p, &got, 100).code, ERR_PEER_CLOSED);
            assert_true(span_eq(buf_span(&got), SPAN_LITERAL("last")));
            assert_int_equal(pair_server_read(&p, &got, 100).code, ERR_PEER_CLOSED);
            if (!we_first) { /* half closed: our answer still arrives */
                pair_server_write(&p, SPAN_LITERAL(" words"));
                assert_int_equal(session_shutdown(p.session, &out).code, ERR_NONE);
                buf_put(&p.to_client, out.ptr, out.len);
                pair_client_read(&p, &got);
                assert_true(span_eq(buf_span(&got), SPAN_LITERAL("last words")));
            }
            buf_free(&got);
            pair_close(&p);
        }
    }
}

static void bad_records(void **state)
{
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (int kind = 0; kind < 4; kind++) {
            struct pair p;
            struct pair_options o = {.only = only(tls13), .name = NAME};
            struct buf got = {0};
            pair_open(&p, policy, &certs[0].table, &keys, &o);
            pair_establish(&p);
            wolfSSL_write(p.client, "fine", 4);
            if (kind == 0)
                p.to_server.ptr[p.to_server.len - 1] ^= 1; /* tag */
            else if (kind == 1)
                p.to_server.ptr[8] ^= 1; /* text */
            else if (kind == 2) {
                p.to_server.ptr[3] = 0xff; /* 65 KB */
                p.to_server.ptr[4] = 0xff;
            } else {
                buf_consume(&p.to_server, p.to_server.len);
                buf_put_str(&p.to_server, "GET / HTTP/1.1\r\n\r\n");
            }
            p.to_client.len = 0;
            assert_int_equal(pair_server_read(&p, &got, 100).code, ERR_PEER_TLS);
            assert_int_equal(got.len, 0);
            if (kind < 2)                         /* wolfSSL says nothing about a bad header */
                assert_true(p.to_client.len > 0); /* our alert */
            assert_int_equal(pair_server_read(&p, &got, 100).code, ERR_PEER_TLS);
            assert_true(session_failure(p.session) != 0);
            buf_free(&got);
            pair_close(&p);
        }
    }
}

static void garbage_in_the_handshake(void **state)
{
    struct pair p;
    struct pair_options o = {.only = only(1), .name = NAME};
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    wolfSSL_connect(p.client);
    while (pair_serve(&p))
        ;
    assert_int_equal(p.server.code, ERR_AGAIN);
    buf_put(&p.to_server, "\x17\x03\x03\0\x20garbage garbage garbage garbage.", 37);
    while (pair_serve(&p))
        ;
    assert_int_equal(p.server.code, ERR_PEER_TLS);
    pair_close(&p);
}

static void no_room_takes_nothing(void **state)
{
    struct pair p;
    struct pair_options o = {.name = NAME};
    uint8_t mem[2000];
    struct writer out = writer_of(mem, TLS_WIRE_ROOM(1000) - 1);
    pair_open(&p, policy, &certs[0].table, &keys, &o);
    pair_establish(&p);
    assert_int_equal(session_write(p.session, span_of(mem, 1000), &out).code, ERR_FULL);
    assert_int_equal(out.len, 0);
    out = writer_of(mem, TLS_WIRE_ROOM(0));
    assert_int_equal(session_write(p.session, span_of(mem, 0), &out).code, ERR_NONE);
    assert_int_equal(out.len, 0);
    exchange(&p);
    pair_close(&p);
}

/* A snapshot may be replaced, its policies with it, while sessions live. */
static void sessions_outlive_their_policy(void **state)
{
    struct tls_policy *own = make_policy(0x0303, 0x0304);
    struct pair p;
    struct pair_options o = {.name = NAME};
    pair_open(&p, own, &certs[0].table, &keys, &o);
    assert_int_equal(wolfSSL_connect(p.client), WOLFSSL_FATAL_ERROR);
    while (pair_serve(&p))
        ;
    tls_policy_destroy(own);
    pair_establish(&p);
    exchange(&p);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_and_keys),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(groups),
        cmocka_unit_test(hello_retry),
        cmocka_unit_test(our_order_of_suites_wins),
        cmocka_unit_test(whole_chain_is_sent),
        cmocka_unit_test(stapled_to_whom_it_belongs),
        cmocka_unit_test(bad_certificates_fail_at_once),
        cmocka_unit_test(versions_that_do_not_meet),
        cmocka_unit_test(protocols_that_do_not_meet),
        cmocka_unit_test(suites_that_do_not_meet),
        cmocka_unit_test(choosing_protocols),
        cmocka_unit_test(a_megabyte_each_way),
        cmocka_unit_test(long_writes_between_short_ones),
        cmocka_unit_test(keys_change_in_time),
        cmocka_unit_test(others_seal_their_records),
        cmocka_unit_test(pending_plaintext_is_told),
        cmocka_unit_test(idle_sessions_keep_no_record),
        cmocka_unit_test(data_with_the_last_handshake_message),
        cmocka_unit_test(closing_both_ways),
        cmocka_unit_test(bad_records),
        cmocka_unit_test(garbage_in_the_handshake),
        cmocka_unit_test(no_room_takes_nothing),
        cmocka_unit_test(sessions_outlive_their_policy),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
