/* SPDX-License-Identifier: Apache-2.0 */
/* Orders from the schedule to the store in a faked world (world.h), with deaths at every boundary.
 */
#include "control/scheduler.c"

#include "scheduler_lives.h"
#include "unit.h"

static int set_up(void **state)
{
    if (!w)
        w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(w, 0, sizeof *w);
    w->life_s = 90 * 86400;
    config.router_count = 1;
    return 0;
}

static void assert_clean(int certificates)
{
    assert_int_equal(w->stored, certificates);
    assert_int_equal(w->issued, certificates);
    assert_int_equal(txt_count(), 0);
    assert_int_equal(journal_count(), 0);
}

static struct ledger_entry read_ledger(void)
{
    struct ledger_entry e = {0};
    for (int i = 0; i < 16; i++)
        if (w->records[i].used && w->records[i].table == STATE_LEDGER)
            assert_true(
                result_is_ok(ledger_decode(span_of(w->records[i].value, w->records[i].len), &e)));
    return e;
}

static void test_obtains(void **state)
{
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
    assert_int_equal(w->published, 1);
    assert_true(w->now_ns < 20 * NS_PER_S);
}

/* At once; those that are revoked soon after they were obtained ever more rarely. */
static void test_revoked_is_replaced(void **state)
{
    static const uint64_t wait_s[] = {0, 60, 600, 3600};
    assert_false(life(DAY_NS, 1));
    w->now_ns += 20 * DAY_NS;
    for (int i = 0; i < 4; i++) {
        uint64_t before = w->now_ns;
        revoked = true;
        assert_false(life(before + DAY_NS, 2 + i));
        revoked = false;
        assert_clean(2 + i);
        assert_in_range((w->now_ns - before) / NS_PER_S + 20, wait_s[i], wait_s[i] + 60);
    }
}

/* A CA that refuses must-staple is asked once more without, in the same order; also when it refused
 * another one's while this request was on its way. */
static void test_must_staple_refused(void **state)
{
    config_resolver.must_staple = true;
    for (int others = 0; others < 2; others++) {
        set_up(NULL);
        w->refuses_staple = true;
        w->others_hear = others;
        assert_false(life(DAY_NS, 1));
        assert_clean(1);
        assert_int_equal(w->order_count, 1);
    }
    config_resolver.must_staple = false;
}

/* At whatever moment the configuration changes: one order, one certificate, nothing left over. */
static void test_reload_at_every_moment(void **state)
{
    for (int turns = 0; turns < 60; turns++) {
        set_up(NULL);
        run_with_reload(turns, false);
        assert_clean(1);
        assert_int_equal(w->order_count, 1);
    }
}

static void test_names_that_leave_are_not_ordered_again(void **state)
{
    for (int turns = 0; turns < 60; turns++) {
        set_up(NULL);
        run_with_reload(turns, true);
        assert_true(w->order_count <= 1);
        assert_int_equal(txt_count(), 0);
        assert_int_equal(journal_count(), 0);
    }
}

/* The heart of it: death before and after every single effect. */
static void test_death_at_every_boundary(void **state)
{
    int last = 0;
    for (int at = 1;; at++) {
        set_up(NULL);
        w->crash_at = at;
        bool died = life(DAY_NS, 1);
        w->crash_at = 0;
        if (!died) {
            last = at;
            break;
        }
        assert_false(life(2 * DAY_NS, 1));
        if (w->issued != 1 || txt_count() || !w->stored || journal_count())
            print_message("died at boundary %d\n", at);
        assert_int_equal(w->issued, 1);
        assert_int_equal(txt_count(), 0);
        assert_int_equal(journal_count(), 0);
        assert_true(w->stored >= 1);
        assert_true(w->order_count <= 2);
    }
    assert_true(last > 60);
}

/* ... and twice, at boundaries that follow from the number of the round. */
static void test_two_deaths(void **state)
{
    for (int round = 0; round < 60; round++) {
        set_up(NULL);
        w->crash_at = 10 + round * 7 % 80;
        life(DAY_NS, 1);
        w->crash_at = 1 + round * 13 % 70;
        life(DAY_NS, 1);
        w->crash_at = 0;
        assert_false(life(3 * DAY_NS, 1));
        if (w->issued != 1 || txt_count())
            print_message("round %d\n", round);
        assert_int_equal(w->issued, 1);
        assert_int_equal(txt_count(), 0);
        assert_int_equal(journal_count(), 0);
    }
}

/* A process that always dies at the same place asks the CA for little. */
static void test_crash_loop(void **state)
{
    for (int i = 0; i < 200; i++) {
        w->crash_at = 12 + i % 3;
        w->now_ns += NS_PER_S;
        life(w->now_ns + NS_PER_S, 1);
    }
    assert_true(w->order_count <= 6);
    w->crash_at = 0;
    assert_false(life(w->now_ns + 3 * DAY_NS, 1));
    assert_clean(1);
}

/* ... and is started again ever more rarely, also when no order was placed yet. */
static void test_crash_loop_before_the_order(void **state)
{
    for (int i = 0; i < 300; i++) {
        w->crash_at = 6; /* in ACCOUNT */
        w->now_ns += NS_PER_S;
        life(w->now_ns + NS_PER_S, 1);
    }
    assert_int_equal(w->order_count, 0);
    assert_in_range(w->questions, 4, 12);
    w->crash_at = 0;
    assert_false(life(w->now_ns + 3600 * NS_PER_S, 1));
    assert_clean(1);
}

/* The CA, or what stands before it, answers questions with a page instead of a document. */
static void garbled_at(const char *url)
{
    w->garbled_url = url;
    w->garbled_ns = 100 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
    assert_in_range(w->now_ns / NS_PER_S, 100, 240);
    assert_in_range(w->questions, 10, 40);
}

static void test_garbled_while_polling(void **state)
{
    garbled_at("https://ca/o/");
}

static void test_garbled_download(void **state)
{
    garbled_at("https://ca/cert/");
}

/* For longer than an order waits: it fails, but the next try takes it up. */
static void test_garbled_for_an_hour(void **state)
{
    w->garbled_url = "https://ca/cert/";
    w->garbled_ns = 3600 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
}

/* A request whose fate is unknown is sent again, and counts once. */
static void test_request_counts_once_over_deaths(void **state)
{
    for (int at = 1;; at++) {
        set_up(NULL);
        w->crash_at = at;
        if (!life(DAY_NS, 1))
            break;
        w->crash_at = 0;
        assert_false(life(2 * DAY_NS, 1));
        assert_int_equal(read_ledger().cert_count, 1);
    }
}

/* The new certificate serves while the store's disk is full, and is stored when there is room. */
static void test_store_full(void **state)
{
    w->store_full_ns = 1800 * NS_PER_S;
    assert_false(life(600 * NS_PER_S, 1));
    assert_int_equal(w->published, 1);
    assert_int_equal(w->stored, 0);
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
    assert_in_range(w->now_ns / NS_PER_S, 1800, 3000);
}

static void test_wrong_credentials(void **state)
{
    w->present_denied_ns = 3600 * NS_PER_S;
    assert_false(life(3000 * NS_PER_S, 1));
    struct ledger_entry e = read_ledger();
    assert_non_null(strstr(e.text, "wrong TSIG key"));
    assert_true(e.failures >= 2 && e.failures <= 4);
    assert_int_equal(w->order_count, (int)e.failures);
    assert_int_equal(txt_count(), 0);
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(read_ledger().failures, 0);
}

/* The CA is told when the service has put the values into effect, and not before. */
static void test_service_confirms_late(void **state)
{
    w->unconfirmed_ns = 30 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
    assert_true(w->now_ns >= w->unconfirmed_ns);
}

static void test_service_never_confirms(void **state)
{
    w->unconfirmed_ns = 30 * DAY_NS;
    assert_false(life(300 * NS_PER_S, 1));
    assert_non_null(strstr(read_ledger().text, "not in effect yet"));
    assert_int_equal(txt_count(), 0);
    w->unconfirmed_ns = 1;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
}

static void test_ca_refuses_the_proof(void **state)
{
    w->validation_bad_ns = 30 * DAY_NS;
    assert_false(life(DAY_NS, 1));
    struct ledger_entry e = read_ledger();
    assert_non_null(strstr(e.text, "wrong answer"));
    assert_string_equal(e.type, "urn:ietf:params:acme:error:unauthorized");
    assert_true(w->order_count <= 5); /* 1 min, 10 min, 1 h, 6 h, 24 h */
    assert_int_equal(txt_count(), 0);
    assert_int_equal(w->issued, 0);
}

static void test_rate_limit_is_waited_out(void **state)
{
    w->rate_limited_ns = 40 * 3600 * NS_PER_S;
    w->retry_after_s = 40 * 3600;
    assert_false(life(39 * 3600 * NS_PER_S, 1));
    assert_int_equal(read_ledger().order_count, 1);
    assert_false(life(3 * DAY_NS, 1));
    assert_clean(1);
    assert_in_range(w->now_ns / NS_PER_S, 40 * 3600, 41 * 3600);
}

/* The CA made the certificate, but goes away before it says so: no second one. */
static void test_ca_down_after_finalize(void **state)
{
    w->quiet_ca_after_finalize = true;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
}

static void test_ca_down_at_start(void **state)
{
    w->ca_down_ns = 1800 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->order_count, 1);
}

static void test_disk_full(void **state)
{
    w->disk_full_ns = 900 * NS_PER_S;
    assert_false(life(800 * NS_PER_S, 1));
    assert_int_equal(w->order_count, 0); /* nothing without the ledger */
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
}

/* The certificate is served, and the values go when the provider is back. */
static void test_cleanup_refused_for_hours(void **state)
{
    w->cleanup_down_ns = 5 * 3600 * NS_PER_S;
    assert_false(life(3600 * NS_PER_S / 2, 2));
    assert_int_equal(w->stored, 1);
    assert_int_equal(w->published, 1);
    assert_int_equal(txt_count(), 2);
    assert_int_equal(journal_count(), 1);
    assert_false(life(8 * 3600 * NS_PER_S, 2));
    assert_clean(1);
}

/* A value that cannot be removed does not stand in the way of the renewal, nor of later ones. */
static void test_renews_beside_leftovers(void **state)
{
    w->cleanup_down_ns = 70 * DAY_NS;
    assert_false(life(62 * DAY_NS, 9));
    assert_int_equal(w->issued, 2);
    assert_int_equal(w->stored, 2);
    assert_int_equal(txt_count(), 4);
    /* ... and a restart orders nothing. */
    assert_false(life(w->now_ns + DAY_NS, 9));
    assert_int_equal(w->order_count, 2);
    assert_false(life(72 * DAY_NS, 9));
    assert_clean(2);
}

/* The CA now makes certificates of six days: one of them replaces one that would end later. */
static void test_shorter_life(void **state)
{
    assert_false(life(59 * DAY_NS, 1));
    w->life_s = 6 * 86400;
    assert_false(life(63 * DAY_NS, 9));
    assert_clean(2);
    assert_false(life(66 * DAY_NS, 9));
    assert_clean(3);
}

/* Names that left the configuration: nothing is ordered, what was begun is removed. */
static void test_names_not_configured_any_more(void **state)
{
    w->crash_at = 1;
    for (int at = 20; txt_count() < 2; at++) {
        set_up(NULL);
        w->crash_at = at;
        assert_true(life(DAY_NS, 1));
    }
    w->crash_at = 0;
    config.router_count = 0;
    assert_false(life(w->now_ns + DAY_NS, 1));
    assert_int_equal(txt_count(), 0);
    assert_int_equal(journal_count(), 0);
    assert_int_equal(w->issued, 0);
}

static void test_renews_in_time(void **state)
{
    assert_false(life(59 * DAY_NS, 3));
    assert_clean(1);
    assert_false(life(62 * DAY_NS, 3));
    assert_clean(2);
    w->life_s = 6 * 86400;
    assert_false(life(62 * DAY_NS + 60 * DAY_NS, 3));
    assert_clean(3);
    assert_false(life(w->now_ns + 3 * DAY_NS + DAY_NS / 2, 9));
    assert_clean(3);
    assert_false(life(w->now_ns + DAY_NS, 9)); /* two days before the end */
    assert_clean(4);
}

/* Certificates of ten days that are lost each time: the local budget stops the sixth. */
static void test_duplicate_budget(void **state)
{
    for (int i = 0; i < 8; i++) {
        assert_false(life(w->now_ns + 3600 * NS_PER_S, w->stored + 1));
        w->stored_to_s = w->stored_from_s; /* useless */
    }
    assert_int_equal(w->issued, 5);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)
/* ---- renewal by the CA's own word (RFC 9773) ---------------------------------------------------
 */

/* A certificate from the start, of 90 days. */
static void have_certificate(void)
{
    w->stored = w->issued = 1;
    w->stored_from_s = WORLD_START_S;
    w->stored_to_s = WORLD_START_S + w->life_s - 1;
    strcpy(w->ari_id, "aki.serial");
}

static void test_the_suggested_window_is_honoured(void **state)
{
    have_certificate();
    w->ari_start_s = WORLD_START_S + 20 * 86400;
    w->ari_end_s = w->ari_start_s + 86400;
    assert_false(life(80 * DAY_NS, 2));
    assert_int_equal(w->stored, 2);
    assert_in_range(w->last_order_s, w->ari_start_s, w->ari_end_s + 60);
    assert_string_equal(w->replaced, "aki.serial");
}

static void test_nothing_suggested_leaves_the_table(void **state)
{
    have_certificate();
    assert_false(life(80 * DAY_NS, 2));
    assert_in_range(w->last_order_s, WORLD_START_S + 60 * 86400, WORLD_START_S + 61 * 86400 + 60);
    assert_true(w->ari_asked > 100);
    assert_string_equal(w->replaced, "");
}

/* A window in the past means: at once. But not again and again for a certificate that was just
 * obtained, whatever the CA says of it. */
static void test_a_window_of_the_past(void **state)
{
    have_certificate();
    w->ari_start_s = WORLD_START_S - 86400;
    w->ari_end_s = WORLD_START_S - 3600;
    assert_false(life(3 * DAY_NS, 9));
    assert_in_range(w->stored - 1, 4, 6);
}

/* Restarts neither ask again nor choose another time. */
static void test_suggestions_survive_restarts(void **state)
{
    have_certificate();
    w->ari_start_s = WORLD_START_S + 20 * 86400;
    w->ari_end_s = w->ari_start_s + 86400;
    assert_false(life(3600 * NS_PER_S, 2));
    int questions = w->ari_asked;
    assert_int_equal(questions, 1);
    assert_false(life(7200 * NS_PER_S, 2));
    assert_int_equal(w->ari_asked, questions);
}

static void test_already_replaced(void **state)
{
    have_certificate();
    w->ari_start_s = WORLD_START_S + 20 * 86400;
    w->ari_end_s = w->ari_start_s + 86400;
    w->refuse_replaces = true;
    assert_false(life(80 * DAY_NS, 2));
    assert_int_equal(w->stored, 2);
    assert_string_equal(w->replaced, "");
    assert_int_equal(w->order_count, 1);
    assert_in_range(w->last_order_s, w->ari_start_s, w->ari_end_s + 60);
    assert_int_equal(txt_count(), 0);
}

/* ---- several CAs -------------------------------------------------------------------------------
 */

static void test_the_next_ca_is_asked(void **state)
{
    w->ca_count = 2;
    w->down_at_ns[1] = 10 * DAY_NS;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->orders_at[1], 0);
    assert_int_equal(w->orders_at[2], 1);
    assert_true(w->now_ns < 60 * NS_PER_S);
}

/* At each death in such an order the same CA is asked again, or the order begun anew. */
static void test_deaths_between_cas(void **state)
{
    for (int at = 1; at < 400; at++) {
        set_up(NULL);
        w->ca_count = 2;
        w->down_at_ns[1] = 10 * DAY_NS;
        w->crash_at = at;
        if (!life(DAY_NS, 1))
            break;
        w->crash_at = 0;
        assert_false(life(3 * DAY_NS, 1));
        assert_int_equal(w->issued, 1);
        assert_int_equal(txt_count() + journal_count(), 0);
        assert_true(w->stored >= 1);
    }
    w->crash_at = 0;
}

/* Another CA would meet the same. */
static void test_our_own_faults_stay_with_the_first_ca(void **state)
{
    w->ca_count = 2;
    w->present_denied_ns = 7200 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_true(w->orders_at[1] > 1);
    assert_int_equal(w->orders_at[2], 0);
}

static void test_both_cas_down(void **state)
{
    w->ca_count = 2;
    w->ca_down_ns = 5 * 3600 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    /* Each has a back-off of its own: no more questions than two CAs alone would get. */
    assert_true(w->questions < 60);
}

static void test_a_rehearsal_after_two_failures(void **state)
{
    w->has_staging = true;
    w->validation_bad_ns = 4 * 3600 * NS_PER_S;
    assert_false(life(2 * DAY_NS, 1));
    assert_clean(1);
    assert_int_equal(w->orders_at[1], 3); /* two that failed, and the good one */
    assert_true(w->orders_at[3] >= 2);    /* failed ones, and one that showed the way */
    assert_true(w->given_up > 0);
}

static void test_deaths_around_a_rehearsal(void **state)
{
    for (int at = 1; at < 2000; at += 7) {
        set_up(NULL);
        w->has_staging = true;
        w->validation_bad_ns = 3600 * NS_PER_S;
        w->crash_at = at;
        if (!life(2 * DAY_NS, 1))
            break;
        w->crash_at = 0;
        assert_false(life(4 * DAY_NS, 1));
        assert_int_equal(w->issued, 1);
        assert_int_equal(txt_count() + journal_count(), 0);
        assert_true(w->stored >= 1);
    }
    w->crash_at = 0;
}

static void test_pending_authorizations_are_given_up(void **state)
{
    w->validation_bad_ns = 30 * NS_PER_S;
    assert_false(life(DAY_NS, 1));
    assert_clean(1);
    assert_true(w->given_up > 0);
}

/* ---- what a person asks for ---------------------------------------------------------------------
 */

/* One life in which somebody asks for a renewal at its beginning. */
static void renew_once(bool force)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        forced = force;
        asked = true;
        live(w->now_ns + 3600 * NS_PER_S, w->stored + 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_renewal_on_demand(void **state)
{
    have_certificate();
    renew_once(false);
    assert_int_equal(w->stored, 2);
    assert_clean(2);
}

/* The sixth certificate of a week is refused with the reason, but not to who insists. */
static void test_renewal_beyond_the_budget(void **state)
{
    have_certificate();
    for (int i = 0; i < 5; i++)
        renew_once(false);
    assert_int_equal(w->stored, 6);
    renew_once(false);
    assert_int_equal(w->stored, 6);
    assert_non_null(strstr(w->last_answer, "5 of 5 certificates"));
    renew_once(true);
    assert_int_equal(w->stored, 7);
}

static void test_the_plan(void **state)
{
    have_certificate();
    renew_once(false);
    assert_string_equal(w->planned_ca, "https://ca/dir");
    assert_int_equal(w->planned_left, 4);
}

/* ---- checks before an order -------------------------------------------------------------------
 */

static void test_a_wrong_clock(void **state)
{
    w->skew_s = -4000;
    config_resolver.check_clock = CONFIG_CHECK_STOP;
    assert_false(life(3600 * NS_PER_S, 1));
    config_resolver.check_clock = CONFIG_CHECK_WARN;
    assert_int_equal(w->order_count, 0);
    assert_non_null(strstr(w->last_warning, "4000 s ahead of the CA's"));
    assert_false(life(DAY_NS, 1));
    config_resolver.check_clock = CONFIG_CHECK_OFF;
    assert_clean(1);
}

UNIT_TESTS(cmocka_unit_test_setup(test_a_wrong_clock, set_up),
           cmocka_unit_test_setup(test_must_staple_refused, set_up),
           cmocka_unit_test_setup(test_renewal_on_demand, set_up),
           cmocka_unit_test_setup(test_renewal_beyond_the_budget, set_up),
           cmocka_unit_test_setup(test_the_plan, set_up),
           cmocka_unit_test_setup(test_the_next_ca_is_asked, set_up),
           cmocka_unit_test_setup(test_deaths_between_cas, set_up),
           cmocka_unit_test_setup(test_our_own_faults_stay_with_the_first_ca, set_up),
           cmocka_unit_test_setup(test_both_cas_down, set_up),
           cmocka_unit_test_setup(test_a_rehearsal_after_two_failures, set_up),
           cmocka_unit_test_setup(test_deaths_around_a_rehearsal, set_up),
           cmocka_unit_test_setup(test_pending_authorizations_are_given_up, set_up),
           cmocka_unit_test_setup(test_the_suggested_window_is_honoured, set_up),
           cmocka_unit_test_setup(test_nothing_suggested_leaves_the_table, set_up),
           cmocka_unit_test_setup(test_a_window_of_the_past, set_up),
           cmocka_unit_test_setup(test_suggestions_survive_restarts, set_up),
           cmocka_unit_test_setup(test_already_replaced, set_up), TEST(test_obtains),
           TEST(test_revoked_is_replaced), TEST(test_death_at_every_boundary),
           TEST(test_two_deaths), TEST(test_crash_loop), TEST(test_crash_loop_before_the_order),
           TEST(test_garbled_while_polling), TEST(test_garbled_download),
           TEST(test_garbled_for_an_hour), TEST(test_request_counts_once_over_deaths),
           TEST(test_store_full), TEST(test_wrong_credentials), TEST(test_service_confirms_late),
           TEST(test_service_never_confirms), TEST(test_ca_refuses_the_proof),
           TEST(test_rate_limit_is_waited_out), TEST(test_ca_down_after_finalize),
           TEST(test_ca_down_at_start), TEST(test_disk_full), TEST(test_cleanup_refused_for_hours),
           TEST(test_renews_beside_leftovers), TEST(test_shorter_life),
           TEST(test_names_not_configured_any_more), TEST(test_renews_in_time),
           TEST(test_duplicate_budget), TEST(test_reload_at_every_moment),
           TEST(test_names_that_leave_are_not_ordered_again))
