/* SPDX-License-Identifier: Apache-2.0 */
/* Nobody is asked, and what is said in answer is up to the tests. */
#define http_client_start start_call
#define http_call_cancel  cancel_call

#include "control/staples.c"

#include "crypto/ocsp_vectors.h"
#include "unit.h"

#include <unistd.h>

#define DAY 86400

static char asked[64][64]; /* URLs */
static uint32_t asked_count;

struct http_call *start_call(struct http_client *client, const struct http_request *request,
                             http_done *done, void *arg)
{
    snprintf(asked[asked_count++ % 64], sizeof asked[0], "%s", request->url);
    return (struct http_call *)arg;
}

void cancel_call(struct http_call *call)
{
}

static int64_t wall_s; /* what the clock says; time passes only so */

int clock_gettime(clockid_t id, struct timespec *t)
{
    t->tv_sec = id == CLOCK_REALTIME ? wall_s : 1000;
    t->tv_nsec = 0;
    return 0;
}

static const int64_t now = 1800000000;

static void test_asks_at_half_time(void **state)
{
    assert_int_equal(staples_due_s(now, now + 4 * DAY, now, 0), now + 2 * DAY);
    int64_t early = staples_due_s(now, now + 4 * DAY, now, CHANCES - 1);
    assert_in_range(early, now + 2 * DAY - DAY / 4, now + 2 * DAY - DAY / 8);
    /* Made long ago: a quarter of what is left. */
    assert_int_equal(staples_due_s(now - 7 * DAY, now + DAY, now, 0), now + DAY / 4);
    assert_int_equal(staples_due_s(now - DAY, now + 8, now, 0), now + STAPLES_WAIT_MIN_S);
    /* Of a clock that is ahead. */
    assert_int_equal(staples_due_s(now + 100, now + 300, now, 0), now + 200);
}

static void test_backs_off(void **state)
{
    assert_int_equal(staples_backoff_s(1), STAPLES_BACKOFF_S);
    assert_int_equal(staples_backoff_s(2), 2 * STAPLES_BACKOFF_S);
    assert_int_equal(staples_backoff_s(3), 4 * STAPLES_BACKOFF_S);
    assert_int_equal(staples_backoff_s(8), STAPLES_BACKOFF_MAX_S);
    assert_int_equal(staples_backoff_s(UINT32_MAX), STAPLES_BACKOFF_MAX_S);
}

/* ---- one certificate, and what its responder says ---------------------------------------------
 */

static struct {
    char directory[64];
    struct loop *loop;
    struct state *state;
    struct publish_state *certificates;
    struct staples *staples;
    struct staple_record *record;
    struct config config;
    uint32_t sent, revoked, ready;
} t;

static void count_sent(void *arg, struct span messages)
{
    t.sent++;
}

static void take_ready(void *arg, struct publish_candidate *cert)
{
    t.ready++;
    publish_state_release(t.certificates, cert);
}

static void count_revoked(void *arg, const struct publish_candidate *cert)
{
    t.revoked++;
}

static void open_staples(void)
{
    struct why why = {""};
    struct buf chain = {0};
    const struct publish_candidate *c;
    assert_true(result_is_ok(loop_create(&t.loop, &why)));
    assert_true(result_is_ok(state_open(t.directory, &t.state, &why)));
    t.certificates = publish_state_create(false);
    t.config = (struct config){.ocsp.on = true};
    struct staples_options o = {.loop = t.loop,
                                .state = t.state,
                                .certificates = t.certificates,
                                .config = &t.config,
                                .send = count_sent,
                                .ready = take_ready,
                                .revoked = count_revoked};
    assert_true(result_is_ok(staples_create(&o, &t.staples, &why)));
    buf_put_be(&chain, leaf_der.len, 3);
    buf_put_span(&chain, leaf_der);
    buf_put_be(&chain, ca_der.len, 3);
    buf_put_span(&chain, ca_der);
    assert_true(
        result_is_ok(publish_state_put(t.certificates, PUBLISH_SOURCE_PROVIDED, "x", "file:x",
                                       buf_span(&chain), SPAN_LITERAL("key"), &c, &why)));
    buf_free(&chain);
    t.record = c->watcher;
    assert_non_null(t.record);
}

static void close_staples(void)
{
    staples_destroy(t.staples);
    publish_state_destroy(t.certificates);
    state_close(t.state);
    loop_destroy(t.loop);
}

static int set_up(void **state)
{
    wall_s = OCSP_MADE_S + 60;
    t.sent = t.ready = 0;
    strncpy(t.directory, "/tmp/ferrule-staples-XXXXXX", sizeof t.directory - 1);
    if (!mkdtemp(t.directory))
        return -1;
    open_staples();
    return 0;
}

static int tear_down(void **state)
{
    char path[96];
    close_staples();
    snprintf(path, sizeof path, "%s/data.mdb", t.directory);
    unlink(path);
    return rmdir(t.directory);
}

static void reply_to_record(struct staple_record *r, struct span response)
{
    struct http_reply reply = {.answered = true, .status = 200, .body = response, .text = ""};
    judge(r, &reply);
    plan(r);
}

static void say(struct span response)
{
    reply_to_record(t.record, response);
}

static bool is_shown(struct span response)
{
    return span_eq(buf_span(&t.record->cert->staple), response);
}

static void test_shows_and_keeps(void **state)
{
    say(bare_response);
    assert_true(is_shown(bare_response));
    close_staples();
    open_staples();
    assert_true(is_shown(bare_response));
    wall_s += 7 * DAY;
    fired(&t.record->timer);
    assert_int_equal(t.record->cert->staple.len, 0);
}

static bool holds(struct span in, struct span part)
{
    return memmem(in.ptr, in.len, part.ptr, part.len) != NULL;
}

/* The issuer's certificate lies in the answer unasked: anybody on the way could have put it there.
 */
static void test_shows_only_what_is_signed(void **state)
{
    say(good_response);
    assert_true(t.record->cert->staple.len > 0);
    assert_true(holds(good_response, ca_der));
    assert_false(holds(buf_span(&t.record->cert->staple), ca_der));
}

/* A cache that is behind says good of a certificate that was revoked since. */
static void test_revoked_stays_revoked(void **state)
{
    say(bare_response);
    say(revoked_response);
    assert_int_equal(t.record->cert->staple.len, 0);
    assert_int_equal(t.revoked, 1);
    uint32_t sent = t.sent;
    say(bare_response);
    assert_int_equal(t.record->cert->staple.len, 0);
    assert_int_equal(t.sent, sent);
    assert_in_range(t.record->due_s, wall_s + DAY, wall_s + 4 * DAY);
    close_staples();
    open_staples();
    assert_int_equal(t.record->cert->staple.len, 0);
}

/* By a clock that is ten years ahead every answer is stale. When it is set right they are good. */
static void test_clock_set_back(void **state)
{
    wall_s += 3650 * DAY;
    say(bare_response);
    assert_int_equal(t.record->cert->staple.len, 0);
    wall_s -= 3650 * DAY;
    fired(&t.record->timer);
    assert_non_null(t.record->call);
    stop_asking(t.record);
    say(bare_response);
    assert_true(is_shown(bare_response));
    wall_s -= 10; /* as clocks are set all the time */
    fired(&t.record->timer);
    assert_null(t.record->call);
}

static void test_restart_by_a_wrong_clock(void **state)
{
    say(bare_response);
    close_staples();
    wall_s -= 3650 * DAY;
    open_staples();
    assert_int_equal(t.record->cert->staple.len, 0);
    close_staples();
    wall_s += 3650 * DAY;
    open_staples();
    assert_true(is_shown(bare_response));
}

static void test_retry_after_has_an_end(void **state)
{
    struct http_reply reply = {.answered = true, .status = 503, .retry_after_s = 8 * DAY};
    judge(t.record, &reply);
    assert_in_range(t.record->due_s, wall_s + STAPLES_RETRY_MAX_S,
                    wall_s + STAPLES_RETRY_MAX_S + 1);
}

static void test_ended_certificates_are_left_alone(void **state)
{
    wall_s = t.record->cert->leaf.not_after_s + 1;
    fired(&t.record->timer);
    assert_null(t.record->call);
    assert_true(t.record->due_s > wall_s);
}

/* Of certificates that are gone nothing stays for ever. */
static void test_stale_ones_are_removed(void **state)
{
    struct buf found = {0};
    struct why why;
    static const uint8_t early[] = {0, 0, 0, 0, 0, 0, 0, 9, 'x'};
    say(bare_response);
    assert_true(result_is_ok(
        state_put(t.state, STATE_OCSP, SPAN_LITERAL("k"), span_of(early, sizeof early), &why)));
    prune_fired(&t.staples->prune);
    assert_int_equal(state_get(t.state, STATE_OCSP, SPAN_LITERAL("k"), &found).code, ERR_NOT_FOUND);
    assert_true(result_is_ok(state_get(t.state, STATE_OCSP, key_of(t.record), &found)));
    buf_free(&found);
}

/* ---- a certificate that has to be stapled takes another one's place ---------------------------
 */

/* The same leaf with some more behind it is another certificate. */
static struct publish_candidate *renew(uint32_t more)
{
    struct why why;
    struct buf chain = {0};
    const struct publish_candidate *c;
    buf_put_span(&chain, buf_span(&t.record->cert->chain));
    for (uint32_t i = 0; i < more; i++) {
        buf_put_be(&chain, ca_der.len, 3);
        buf_put_span(&chain, ca_der);
    }
    assert_true(
        result_is_ok(publish_state_put(t.certificates, PUBLISH_SOURCE_PROVIDED, "x", "file:x",
                                       buf_span(&chain), SPAN_LITERAL("key"), &c, &why)));
    buf_free(&chain);
    return ((struct staple_record *)c->watcher)->cert;
}

/* The one that is served; there are no others but those in its slot. */
static const struct publish_candidate *served(void)
{
    struct publish_rank rank;
    struct buf ignored = {0};
    assert_int_equal(
        publish_state_explain(t.certificates, t.record->cert->leaf.names[0], wall_s, &rank, 1), 1);
    assert_true(rank.served);
    publish_state_update(t.certificates, wall_s, &ignored);
    buf_free(&ignored);
    return rank.candidate;
}

static void test_the_one_before_stays_until_the_first_answer(void **state)
{
    say(bare_response);
    forget(t.record); /* the leaf is the same, here */
    const struct publish_candidate *old = t.record->cert;
    struct publish_candidate *c = renew(1);
    struct staple_record *r = c->watcher;
    assert_ptr_equal(c->before, old);
    assert_ptr_equal(served(), old);
    assert_true(timer_is_set(&r->first.timer));
    struct publish_candidate *next = renew(2); /* another one before it had an answer */
    r = next->watcher;
    assert_ptr_equal(next->before, old);
    assert_int_equal(publish_state_count(t.certificates), 2);
    reply_to_record(r, bare_response);
    assert_ptr_equal(served(), old); /* until the loop's next turn */
    first_is_over(&r->first);
    t.record = r;
    assert_int_equal(t.ready, 1);
    assert_ptr_equal(served(), next);
    assert_int_equal(publish_state_count(t.certificates), 1);
    assert_true(is_shown(bare_response));
}

static void test_the_one_before_stays_for_a_time(void **state)
{
    say(bare_response);
    forget(t.record); /* the leaf is the same, here */
    struct publish_candidate *c = renew(1);
    struct staple_record *r = c->watcher;
    assert_in_range(r->first.timer.at_ns, clock_now_ns() + STAPLES_FIRST_S * NS_PER_S,
                    clock_now_ns() + (STAPLES_FIRST_S + 1) * NS_PER_S);
    first_is_over(&r->first);
    t.record = r;
    assert_ptr_equal(served(), c);
    assert_int_equal(publish_state_count(t.certificates), 1);
    first_is_over(&r->first); /* changes nothing more */
    assert_ptr_equal(served(), c);
}

/* What clients would refuse as well keeps nothing from its place. */
static void test_the_one_before_is_no_better(void **state)
{
    struct publish_candidate *c = renew(1); /* it had no answer either */
    t.record = c->watcher;
    assert_null(c->before);
    say(bare_response);
    say(revoked_response);
    c = renew(1);
    t.record = c->watcher;
    assert_null(c->before);
    say(bare_response);
    wall_s = c->leaf.not_after_s + 1;
    c = renew(1);
    t.record = c->watcher;
    assert_null(c->before);
    assert_int_equal(publish_state_count(t.certificates), 1);
}

static void test_both_leave_together(void **state)
{
    say(bare_response);
    (void)renew(1);
    assert_int_equal(publish_state_count(t.certificates), 2);
    publish_state_drop(t.certificates, "file:x");
    assert_int_equal(publish_state_count(t.certificates), 0);
    assert_true(list_is_empty(&t.staples->all));
}

/* ---- many certificates, several responders ----------------------------------------------------
 */

static struct staple_record *add(uint32_t number, const char *url)
{
    char slot[32];
    struct why why;
    const struct publish_candidate *c;
    snprintf(slot, sizeof slot, "file:%u", number);
    assert_true(result_is_ok(publish_state_put(t.certificates, PUBLISH_SOURCE_PROVIDED, "x", slot,
                                               buf_span(&t.record->cert->chain),
                                               SPAN_LITERAL("key"), &c, &why)));
    struct staple_record *r = c->watcher;
    free(r->cert->leaf.ocsp_url);
    r->cert->leaf.ocsp_url = mem_strdup(url);
    r->due_s = wall_s;
    return r;
}

static void reply_to(struct staple_record *r, bool answered)
{
    struct http_reply reply = {
        .answered = answered, .status = 200, .body = bare_response, .text = ""};
    on_reply(r, &reply);
}

static uint32_t asked_at(const char *host)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < asked_count; i++)
        n += strstr(asked[i], host) != NULL;
    return n;
}

static void test_a_silent_responder_keeps_nobody_waiting(void **state)
{
    struct staple_record *dead[20], *well[20];
    asked_count = 0;
    for (uint32_t i = 0; i < 20; i++) {
        dead[i] = add(i, "http://dead.test/ocsp");
        well[i] = add(100 + i, "http://well.test:8080?x");
    }
    for (uint32_t i = 0; i < 20; i++)
        fired(&dead[i]->timer);
    assert_int_equal(asked_count, STAPLES_HOST_MAX);
    for (uint32_t i = 0; i < 20; i++)
        fired(&well[i]->timer);
    assert_int_equal(asked_at("well.test"), STAPLES_HOST_MAX);
    for (uint32_t i = 0; i < 20; i++)
        reply_to(well[i], true);
    assert_int_equal(asked_at("well.test"), 20);
    assert_int_equal(asked_at("dead.test"), STAPLES_HOST_MAX);
    for (uint32_t i = 0; i < STAPLES_HOST_MAX; i++)
        reply_to(dead[i], false);
    assert_int_equal(asked_at("dead.test"), STAPLES_HOST_MAX + 1); /* one at a time, from now on */
    reply_to(dead[STAPLES_HOST_MAX], true);                        /* ... until it answers */
    assert_int_equal(asked_at("dead.test"), 2 * STAPLES_HOST_MAX + 1);
    assert_int_equal(t.staples->calls, STAPLES_HOST_MAX);
}

/* However many there are, all have their turn. */
static void test_responders_take_turns(void **state)
{
    struct staple_record *records[3 * STAPLES_CALLS_MAX];
    char url[64];
    asked_count = 0;
    for (uint32_t i = 0; i < 3 * STAPLES_CALLS_MAX; i++) {
        snprintf(url, sizeof url, "http://host%u.test/%u", i % (STAPLES_CALLS_MAX + 1), i);
        fired(&(records[i] = add(i, url))->timer);
    }
    assert_int_equal(asked_count, STAPLES_CALLS_MAX);
    for (uint32_t i = 0; i < STAPLES_CALLS_MAX; i++)
        reply_to(records[i], false);
    reply_to(records[STAPLES_CALLS_MAX + 1], false);
    snprintf(url, sizeof url, "//host%u.test/", STAPLES_CALLS_MAX);
    assert_int_equal(asked_at(url), 1);
    assert_int_equal(t.staples->calls, STAPLES_CALLS_MAX);
}

static void test_hosts_go_when_they_are_idle(void **state)
{
    struct staple_record *r = add(1, "http://one.test");
    fired(&r->timer);
    assert_false(list_is_empty(&t.staples->hosts));
    reply_to(r, true);
    assert_true(list_is_empty(&t.staples->hosts));
    r->due_s = wall_s;
    fired(&r->timer);
    publish_state_drop(t.certificates, "file:1");
    assert_true(list_is_empty(&t.staples->hosts));
    assert_int_equal(t.staples->calls, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_at_half_time),
        cmocka_unit_test(test_backs_off),
        CASE(test_shows_and_keeps),
        CASE(test_shows_only_what_is_signed),
        CASE(test_revoked_stays_revoked),
        CASE(test_clock_set_back),
        CASE(test_restart_by_a_wrong_clock),
        CASE(test_retry_after_has_an_end),
        CASE(test_ended_certificates_are_left_alone),
        CASE(test_stale_ones_are_removed),
        CASE(test_the_one_before_stays_until_the_first_answer),
        CASE(test_the_one_before_stays_for_a_time),
        CASE(test_the_one_before_is_no_better),
        CASE(test_both_leave_together),
        CASE(test_a_silent_responder_keeps_nobody_waiting),
        CASE(test_responders_take_turns),
        CASE(test_hosts_go_when_they_are_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
