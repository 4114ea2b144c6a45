/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/publisher.c"

#include "bridge/sample.h"
#include "unit.h"

#include <stdio.h>
#include <sys/eventfd.h>

static struct publisher *publisher;
static struct bridge_reader *reader;
static int wake_fd;
static struct buf out;

static int set_up(void **state)
{
    wake_fd = eventfd(0, EFD_NONBLOCK);
    assert_true(result_is_ok(publisher_create(2, 100, &publisher, NULL)));
    reader = reader_join(publisher, 0, wake_fd);
    publisher_reset_stream(publisher);
    return 0;
}

static int tear_down(void **state)
{
    reader_leave(reader);
    publisher_destroy(publisher);
    close(wake_fd);
    buf_free(&out);
    return 0;
}

static struct result feed_all(void)
{
    size_t used;
    struct result r = publisher_feed(publisher, buf_span(&out), &used, NULL);
    if (result_is_ok(r))
        assert_int_equal(used, out.len);
    out.len = 0;
    return r;
}

static void good(void)
{
    assert_true(result_is_ok(feed_all()));
}

static bool woken(void)
{
    uint64_t n;
    return read(wake_fd, &n, sizeof n) == sizeof n;
}

static uint64_t selected(const char *name)
{
    bool is_default;
    reader_online(reader);
    const struct table_cert *c =
        table_select(reader, span_str(name), (struct span){NULL, 0}, true, true, &is_default, NULL);
    uint64_t id = c ? c->id : 0;
    reader_offline(reader);
    return id;
}

static uint64_t version_seen(void)
{
    reader_online(reader);
    const struct snapshot *s = reader_snapshot(reader);
    uint64_t version = s ? s->version : 0;
    reader_offline(reader);
    return version;
}

static void put_snapshot(uint64_t version)
{
    struct snapshot s = sample_snapshot(version);
    publish_snapshot(&out, &s);
}

static void put_server(uint64_t version, uint32_t server, const char *text, bool healthy)
{
    struct net_addr a;
    if (text)
        assert_true(result_is_ok(net_addr_parse(span_str(text), 0, &a)));
    publish_server(&out, version, server, &a, text ? 1 : 0, healthy);
}

static void whole_sync(void **state)
{
    assert_false(publisher_is_ready(publisher));
    assert_int_equal(version_seen(), 0);
    publish_sync_begin(&out);
    put_snapshot(1);
    sample_publish(&out, 1, false);
    publish_name(&out, (struct span){NULL, 0}, 1, 0, PUBLISH_NAME_DEFAULT);
    good();
    assert_false(publisher_is_ready(publisher));
    publish_sync_end(&out);
    good();
    assert_true(publisher_is_ready(publisher));
    assert_true(woken());
    assert_false(woken());
    assert_int_equal(version_seen(), 1);
    assert_int_equal(selected("any.test"), 1);
    sample_publish(&out, 2, false);
    publish_name(&out, span_str("a.test"), 2, 0, 0);
    good();
    assert_false(woken()); /* looked up when it is needed */
    assert_int_equal(selected("a.test"), 2);
    publish_name_remove(&out, span_str("a.test"));
    publish_name_remove(&out, span_str("never.test"));
    good();
    assert_int_equal(selected("a.test"), 1);
}

static void every_cut_is_waited_for(void **state)
{
    publish_sync_begin(&out);
    put_server(1, 2, "192.0.2.1:80", true);
    put_snapshot(1);
    sample_publish(&out, 1, false);
    publish_name(&out, span_str("a.test"), 1, 0, 0);
    publish_sync_end(&out);
    size_t at = 0;
    /* The stream comes in drips; what is not taken is given again. */
    for (size_t have = 0; have <= out.len; have++) {
        size_t used;
        uint8_t *exact = mem_dup(out.ptr + at, have - at);
        assert_true(
            result_is_ok(publisher_feed(publisher, span_of(exact, have - at), &used, NULL)));
        free(exact);
        at += used;
    }
    assert_int_equal(at, out.len);
    assert_true(publisher_is_ready(publisher));
    assert_int_equal(selected("a.test"), 1);
}

static void second_sync_sweeps(void **state)
{
    publish_sync_begin(&out);
    put_snapshot(5);
    for (uint64_t id = 1; id <= 3; id++)
        sample_publish(&out, id, false);
    publish_name(&out, span_str("a.test"), 1, 0, 0);
    publish_name(&out, span_str("b.test"), 2, 0, 0);
    publish_name(&out, span_str("c.test"), 3, 0, 0);
    publish_sync_end(&out);
    good();
    assert_int_equal(publisher_count(publisher).names, 3);

    publisher_reset_stream(publisher); /* control came again: its versions start anew */
    publish_sync_begin(&out);
    put_snapshot(1);
    sample_publish(&out, 1, false);
    sample_publish(&out, 4, false);
    publish_name(&out, span_str("a.test"), 4, 0, 0);
    publish_name(&out, span_str("d.test"), 1, 0, 0);
    good();
    assert_int_equal(selected("b.test"), 2); /* until the end of the sync */
    publish_sync_end(&out);
    good();
    publisher_collect(publisher);
    struct publisher_counts c = publisher_count(publisher);
    assert_int_equal(c.names, 2);
    assert_int_equal(c.certs, 2);
    assert_int_equal(c.version, 1);
    assert_int_equal(selected("a.test"), 4);
    assert_int_equal(selected("d.test"), 1);
    assert_int_equal(selected("b.test"), 0);
}

static void broken_sync_keeps_what_is_there(void **state)
{
    publish_sync_begin(&out);
    sample_publish(&out, 1, false);
    publish_name(&out, span_str("a.test"), 1, 0, 0);
    publish_sync_end(&out);
    publish_sync_begin(&out);
    buf_put_str(&out, "garbage");
    assert_int_equal(feed_all().code, ERR_FORMAT);
    assert_int_equal(selected("a.test"), 1);
    publisher_reset_stream(publisher);
    publish_sync_end(&out); /* without a beginning in this stream */
    assert_int_equal(feed_all().code, ERR_FORMAT);
    assert_int_equal(selected("a.test"), 1);
}

static void versions_grow(void **state)
{
    put_snapshot(2);
    good();
    put_snapshot(2);
    assert_int_equal(feed_all().code, ERR_FORMAT);
    put_snapshot(1);
    assert_int_equal(feed_all().code, ERR_FORMAT);
    put_snapshot(3);
    good();
    assert_int_equal(version_seen(), 3);
}

static void pins_keep_snapshots(void **state)
{
    struct bridge_reader *other = reader_join(publisher, 1, -1);
    put_snapshot(1);
    good();
    reader_online(reader);
    const struct snapshot *old = reader_snapshot(reader);
    reader_pin(reader, old);
    reader_pin(reader, old);
    reader_pin(other, old);
    reader_offline(reader);
    put_snapshot(2);
    put_server(1, 1, "192.0.2.7:80", true); /* still reaches the pinned one */
    good();
    for (int i = 0; i < 4; i++)
        publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).snapshots, 2);
    assert_int_equal(old->version, 1);
    reader_online(reader);
    assert_int_equal(reader_server(reader, old, 1)->addr_count, 1);
    reader_unpin(reader, old);
    reader_pin(reader, old);
    reader_unpin(reader, old);
    reader_offline(reader);
    publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).snapshots, 2);
    reader_unpin(reader, old);
    publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).snapshots, 2); /* the other worker's pin */
    reader_unpin(other, old);
    publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).snapshots, 1);
    assert_int_equal(publisher_count(publisher).dead, 1); /* one more grace period */
    publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).dead, 0);
    reader_leave(other);
}

static uint32_t addresses(uint32_t server, bool *ret_healthy)
{
    reader_online(reader);
    const struct server_state *s = reader_server(reader, reader_snapshot(reader), server);
    uint32_t n = s->addr_count;
    *ret_healthy = s->healthy;
    reader_offline(reader);
    return n;
}

static void server_states(void **state)
{
    bool healthy;
    put_server(2, 0, "192.0.2.2:80", true);  /* waits for version 2 */
    put_server(2, 99, "192.0.2.2:80", true); /* no such server there */
    put_snapshot(1);
    good();
    assert_true(woken());
    assert_int_equal(addresses(0, &healthy), 0);
    assert_false(healthy);
    put_server(1, 0, "192.0.2.1:80", true);
    good();
    assert_true(woken());
    assert_int_equal(addresses(0, &healthy), 1);
    assert_true(healthy);
    put_server(1, 0, NULL, false);
    good();
    assert_int_equal(addresses(0, &healthy), 0);
    put_server(1, 3, "192.0.2.1:80", true); /* there are three */
    assert_int_equal(feed_all().code, ERR_FORMAT);
    put_snapshot(2);
    good();
    assert_int_equal(addresses(0, &healthy), 1);
    assert_int_equal(addresses(1, &healthy), 0);
    publisher_collect(publisher);
    publisher_collect(publisher);
    put_server(1, 0, "192.0.2.1:80", true); /* of a snapshot that is gone: no harm */
    good();
    assert_int_equal(publisher->early_count, 0);
    put_server(3, 0, "192.0.2.3:80", true);
    good();
    publisher_reset_stream(publisher); /* the stream that promised version 3 is gone */
    put_snapshot(3);
    good();
    assert_int_equal(addresses(0, &healthy), 0);
}

static void ticket_keys_change(void **state)
{
    struct ticket_keys keys = {.count = 2};
    memset(keys.keys[0].aes, 1, 32);
    memset(keys.keys[1].name, 2, 16);
    keys.keys[1].born_s = -7;
    reader_online(reader);
    assert_int_equal(reader_ticket_keys(reader)->count, 0);
    reader_offline(reader);
    publish_ticket_keys(&out, &keys);
    good();
    reader_online(reader);
    const struct ticket_keys *seen = reader_ticket_keys(reader);
    assert_int_equal(seen->count, 2);
    assert_memory_equal(seen->keys[0].aes, keys.keys[0].aes, 32);
    assert_memory_equal(seen->keys[1].name, keys.keys[1].name, 16);
    assert_int_equal(seen->keys[1].born_s, -7);
    reader_offline(reader);
    keys.count = 0;
    publish_ticket_keys(&out, &keys);
    good();
    publisher_collect(publisher);
    reader_online(reader);
    assert_int_equal(reader_ticket_keys(reader)->count, 0);
    reader_offline(reader);
}

/* Each is the body of one complete frame. */
static const struct {
    enum wire_type type;
    struct span body;
} bad_bodies[] = {
    {WIRE_SYNC_BEGIN, SPAN_LITERAL("x")},
    {WIRE_SYNC_END, {NULL, 0}},
    {WIRE_SNAPSHOT, {NULL, 0}},
    {WIRE_CERT, {NULL, 0}},
    {WIRE_CERT, SPAN_LITERAL("\0\0\0\0\0\0\0\0"
                             "\0"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\4\0\0\1x"
                             "\0\0\0\1k")}, /* id 0 */
    {WIRE_CERT, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                             "\2"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\4\0\0\1x"
                             "\0\0\0\1k")}, /* bool 2 */
    {WIRE_CERT, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                             "\0"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\4\0\0\2x"
                             "\0\0\0\1k")}, /* chain's length */
    {WIRE_CERT, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                             "\0"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\3\0\0\0"
                             "\0\0\0\1k")}, /* empty certificate */
    {WIRE_CERT, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                             "\0"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\4\0\0\1x"
                             "\0\0\0\0")}, /* no key */
    {WIRE_NAME, SPAN_LITERAL("\0\0\0\0\0\0\0\0"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\0"
                             "\0\0\0\1a")},
    {WIRE_NAME, SPAN_LITERAL("\0\0\0\0\0\0\0\7"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\0"
                             "\0\0\0\1a")},
    {WIRE_NAME, SPAN_LITERAL("\0\0\0\0\0\0\0\7"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\1"
                             "\0\0\0\1a")},
    {WIRE_NAME, SPAN_LITERAL("\0\0\0\0\0\0\0\7"
                             "\0\0\0\0\0\0\0\0"
                             "\0\0\0\0"
                             "\0\0\0\0")},
    {WIRE_NAME_REMOVE, SPAN_LITERAL("\0\0\0\2a")},
    {WIRE_TICKET_KEYS, SPAN_LITERAL("\5")},
    {WIRE_TICKET_KEYS, SPAN_LITERAL("\1short")},
    {WIRE_SERVER, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                               "\0\0\0\0"
                               "\1"
                               "\11")},
    {WIRE_SERVER, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                               "\0\0\0\0"
                               "\1"
                               "\1\7\0\0\1\2\3\4")},
    {WIRE_HTTP_CHALLENGE, SPAN_LITERAL("\0\0\0\1w\0\0\0\0\0\0\0\1x")}, /* no token */
    {WIRE_HTTP_CHALLENGE, SPAN_LITERAL("\0\0\0\1w\0\0\0\1t\0\0\0\0")}, /* no answer */
    {WIRE_HTTP_CHALLENGE, SPAN_LITERAL("\0\0\0\1w\0\0\0\1t\0\0\0\1xx")},
    {WIRE_HTTP_CHALLENGE_REMOVE, SPAN_LITERAL("\0\0\0\2t")},
    {WIRE_TLS_CHALLENGE, SPAN_LITERAL("\0\0\0\1a\0\0\0\3\0\0\1\0\0\0\1k")}, /* cut chain */
    {WIRE_TLS_CHALLENGE, SPAN_LITERAL("\0\0\0\1a\0\0\0\4\0\0\1x\0\0\0\0")}, /* no key */
    {WIRE_TLS_CHALLENGE_REMOVE, SPAN_LITERAL("\0\0\0")},
    {WIRE_FENCE, SPAN_LITERAL("\0\0\0\0\0\0\0\0")},
    {WIRE_FENCE, SPAN_LITERAL("\0\0\0\0\0\0\0\1\0")},
    {WIRE_STAPLE, SPAN_LITERAL("\0\0\0\0\0\0\0\0"
                               "\0\0\0\0\0\0\0\1\0\0\0\1x")}, /* no id */
    {WIRE_STAPLE, SPAN_LITERAL("\0\0\0\0\0\0\0\1"
                               "\0\0\0\0\0\0\0\1\0\0\0\2x")},
};

static void refuses_bad_bodies(void **state)
{
    for (size_t i = 0; i < sizeof bad_bodies / sizeof *bad_bodies; i++) {
        size_t mark = wire_begin(&out, bad_bodies[i].type);
        buf_put_span(&out, bad_bodies[i].body);
        wire_end(&out, mark);
        size_t used = 99;
        struct why why = {""};
        assert_int_equal(publisher_feed(publisher, buf_span(&out), &used, &why).code, ERR_FORMAT);
        assert_int_equal(used, 0);
        assert_true(why.text[0]);
        out.len = 0;
    }
    buf_put_str(&out, "FERB\2");
    assert_int_equal(feed_all().code, ERR_VERSION);
}

static bool answers_token(const char *token, const char *entrypoint, const char *answer)
{
    reader_online(reader);
    const struct http_challenge *c = reader_http_challenge(reader, span_str(token));
    bool good =
        c && span_eq(c->entrypoint, span_str(entrypoint)) && span_eq(c->answer, span_str(answer));
    reader_offline(reader);
    return good;
}

static bool proves_name(const char *name, const char *key)
{
    reader_online(reader);
    const struct table_cert *c = reader_tls_challenge(reader, span_str(name));
    bool good = c && span_eq(c->key, span_str(key)) && c->chain.len == 4;
    reader_offline(reader);
    return good;
}

static void put_token(const char *token, const char *answer)
{
    publish_http_challenge(&out, span_str("web"), span_str(token), span_str(answer));
}

static void challenges_come_and_go(void **state)
{
    publish_sync_begin(&out);
    put_token("t1", "t1.a");
    put_token("t2", "t2.a");
    publish_tls_challenge(&out, span_str("a.test"), SPAN_LITERAL("\0\0\1x"), span_str("key"));
    publish_sync_end(&out);
    good();
    assert_true(answers_token("t1", "web", "t1.a") && answers_token("t2", "web", "t2.a"));
    assert_true(proves_name("a.test", "key"));
    assert_false(proves_name("t1", "key") || answers_token("a.test", "web", "key"));
    assert_false(answers_token("t", "web", "t1.a"));
    put_token("t1", "t1.b"); /* replaced */
    put_token("t2", "t2.a"); /* as it is */
    publish_http_challenge_remove(&out, span_str("t3"));
    publish_tls_challenge_remove(&out, span_str("a.test"));
    good();
    assert_true(answers_token("t1", "web", "t1.b") && answers_token("t2", "web", "t2.a"));
    assert_false(proves_name("a.test", "key"));
    publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).challenges, 2);

    publisher_reset_stream(publisher); /* control came again with one of them */
    publish_sync_begin(&out);
    put_token("t2", "t2.a");
    good();
    assert_true(answers_token("t1", "web", "t1.b"));
    publish_sync_end(&out);
    good();
    assert_false(answers_token("t1", "web", "t1.b"));
    assert_true(answers_token("t2", "web", "t2.a"));
    assert_int_equal(publisher_count(publisher).challenges, 1);
}

static void challenges_are_bounded(void **state)
{
    char token[16];
    for (int i = 0; i < PUBLISH_CHALLENGES_MAX; i++) {
        snprintf(token, sizeof token, "t%d", i);
        put_token(token, "x");
    }
    good();
    put_token("t7", "y"); /* replaces */
    good();
    for (int i = 0; i < PUBLISH_CHALLENGES_MAX; i++) {
        snprintf(token, sizeof token, "t%d", i);
        assert_true(answers_token(token, "web", i == 7 ? "y" : "x"));
    }
    put_token("more", "x");
    assert_int_equal(feed_all().code, ERR_FORMAT);
}

/* The names in what the publisher says to control, each with a comma. */
static const char *asked(void)
{
    static char text[1024];
    struct buf said = {0};
    size_t used, done = 0;
    struct publish_heard heard;
    publisher_take_asked(publisher, &said);
    text[0] = 0;
    while (done < said.len) {
        assert_true(result_is_ok(publish_hear(span_skip(buf_span(&said), done), &heard, &used)));
        done += used;
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%.*s,", SPAN_FMT(heard.wanted));
    }
    buf_free(&said);
    return text;
}

static bool ask(const char *name)
{
    reader_online(reader);
    bool good = reader_ask(reader, span_str(name));
    reader_offline(reader);
    return good;
}

static void cold_names_are_asked_for(void **state)
{
    publish_sync_begin(&out);
    publish_cold_name(&out, span_str("a.test"), 7);
    publish_cold_name(&out, span_str("b.test"), 7);
    publish_sync_end(&out);
    good();
    (void)woken();
    struct reader_answers before = reader_answers(reader), now;
    assert_true(ask("a.test") && ask("b.test") && ask("a.test"));
    assert_string_equal(asked(), "a.test,b.test,");
    assert_string_equal(asked(), "");
    assert_false(woken());
    publish_name_remove(&out, span_str("b.test"));
    good();
    assert_true(woken());
    sample_publish(&out, 2, false);
    publish_warm_name(&out, span_str("a.test"), 2, 0, 7);
    good();
    assert_true(woken());
    now = reader_answers(reader);
    assert_true(now.count != before.count && now.stream == before.stream);
    assert_int_equal(selected("a.test"), 2);
    assert_int_equal(publisher_count(publisher).warm, 1);
    assert_true(ask("b.test")); /* it is over: who asked is to look */
    assert_string_equal(asked(), "");
    assert_true(woken());
}

static void asking_has_bounds(void **state)
{
    publish_cold_name(&out, span_str("a.test"), 7);
    good();
    for (uint32_t i = 0; i < ASKS_MAX; i++)
        assert_true(ask("a.test"));
    assert_false(ask("a.test"));
    publisher_take_asked(publisher, NULL); /* nobody to ask */
    assert_true(ask("a.test"));
    assert_string_equal(asked(), "a.test,");
    publisher_reset_stream(publisher);
    struct reader_answers before = reader_answers(reader);
    publish_sync_begin(&out);
    publish_cold_name(&out, span_str("a.test"), 7);
    publish_sync_end(&out);
    good();
    assert_true(reader_answers(reader).stream != before.stream);
    assert_true(ask("a.test"));
    assert_string_equal(asked(), "a.test,");
}

static void what_control_hears(void **state)
{
    struct publish_heard heard;
    size_t used;
    publish_fence(&out, 77);
    struct span all = buf_span(&out);
    assert_int_equal(publish_hear(span_first(all, all.len - 1), &heard, &used).code, ERR_AGAIN);
    assert_true(result_is_ok(publish_hear(all, &heard, &used)));
    assert_int_equal(used, all.len);
    assert_int_equal(heard.fence, 77);
    out.len = 0;
    publish_sync_begin(&out); /* nothing that data says */
    assert_int_equal(publish_hear(buf_span(&out), &heard, &used).code, ERR_FORMAT);
    out.len = 0;
    wire_end(&out, wire_begin(&out, WIRE_WANTED)); /* nothing that control says */
    assert_int_equal(feed_all().code, ERR_FORMAT);
}

/* A fence is what control may rely on: all before it holds, and it belongs to its stream. */
static void fences(void **state)
{
    assert_int_equal(publisher_fence(publisher), 0);
    put_token("t1", "t1.a");
    publish_fence(&out, 3);
    good();
    assert_int_equal(publisher_fence(publisher), 3);
    publish_fence(&out, 3);
    assert_int_equal(feed_all().code, ERR_FORMAT);
    publisher_reset_stream(publisher);
    assert_int_equal(publisher_fence(publisher), 0);
    publish_fence(&out, 1);
    good();
    assert_int_equal(publisher_fence(publisher), 1);
}

#define PUBLISHER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
UNIT_TESTS(PUBLISHER_TEST(whole_sync), PUBLISHER_TEST(every_cut_is_waited_for),
           PUBLISHER_TEST(second_sync_sweeps), PUBLISHER_TEST(broken_sync_keeps_what_is_there),
           PUBLISHER_TEST(versions_grow), PUBLISHER_TEST(pins_keep_snapshots),
           PUBLISHER_TEST(server_states), PUBLISHER_TEST(ticket_keys_change),
           PUBLISHER_TEST(refuses_bad_bodies), PUBLISHER_TEST(challenges_come_and_go),
           PUBLISHER_TEST(challenges_are_bounded), PUBLISHER_TEST(fences),
           PUBLISHER_TEST(cold_names_are_asked_for), PUBLISHER_TEST(asking_has_bounds),
           PUBLISHER_TEST(what_control_hears))
