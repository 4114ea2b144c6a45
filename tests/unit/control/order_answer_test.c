/* SPDX-License-Identifier: Apache-2.0 */
/* Orders that prove their names by what the workers answer, in the faked world (world.h), with
 * deaths at every boundary. */
#include "control/order_answer.c"

#include "unit.h"
#include "world_ca.h"

#define DAY_NS (86400 * NS_PER_S)

static const char *names[] = {"a.test", "*.a.test"};
static struct config_domain domain = {names, 1};
static struct config_resolver config_resolver;
static int wanted = 1; /* certificates, after which a life is over */
static struct config_router router = {.tls = true, .domains = &domain, .domain_count = 1};
static struct config config = {.routers = &router,
                               .router_count = 1,
                               .resolvers = &config_resolver,
                               .resolver_count = 1,
                               .duplicate_budget = 5};

static void on_publish(void *arg, const struct store_cert *cert)
{
    w->published++;
}

static bool is_settled(const struct scheduler *s)
{
    return list_is_empty(&queue) && scheduler_running(s) == 0;
}

static struct scheduler *scheduler;
static struct loop_timer person; /* ... says that the TXT values are there */
static uint64_t person_at_ns;

static void person_speaks(struct loop_timer *t)
{
    struct order *o = scheduler_wants(scheduler)->items[0].order;
    const char *fqdn, *value;
    must(o && order_waits_for_person(o));
    must(order_awaited(o, 0, &fqdn, &value) && find_txt(fqdn, span_str(value)) >= 0);
    must(!order_awaited(o, 1, &fqdn, &value));
    must(order_continue(o));
    must(!order_waits_for_person(o) && !order_continue(o));
}

/* One life of the control process. */
static void live(uint64_t limit_ns)
{
    struct resolver resolver = {.config = &config_resolver,
                                .cas = {{.url = "https://ca/dir", .acme = (struct acme *)1}},
                                .ca_count = 1,
                                .store = (struct store *)1};
    if (config_resolver.dns_provider)
        resolver.provider = (struct provider *)1;
    struct resolver_set resolvers = {.items = &resolver, .count = 1};
    start_world();
    memset(w->answers, 0, sizeof w->answers); /* a new process sends all anew */
    order_answer_restore(NULL, &resolvers, NULL);
    struct scheduler_options options = {.config = &config,
                                        .resolvers = &resolvers,
                                        .ledger = ledger_create(NULL),
                                        .publish = on_publish};
    scheduler = scheduler_create(&options);
    if (w->stored)
        scheduler_know_want(scheduler, &scheduler_wants(scheduler)->items[0], w->stored_from_s,
                            w->stored_to_s, 1, "");
    scheduler_start(scheduler);
    loop_timer_init(&person, person_speaks);
    if (person_at_ns)
        loop_timer_set(NULL, &person, clock_now_ns() + person_at_ns);
    while (turn(limit_ns))
        if (w->stored >= wanted && is_settled(scheduler) && !journal_count())
            break;
    ledger_destroy(options.ledger);
    scheduler_destroy(scheduler);
    _exit(0);
}

/* True when it died at its boundary. */
static bool life(uint64_t limit_ns)
{
    int status;
    w->boundary = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0)
        live(limit_ns);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
    return WEXITSTATUS(status) == DIED;
}

/* Allowed: any of "http", "tls" and "dns". */
static void allow(const char *list)
{
    config_resolver = (struct config_resolver){.name = "le",
                                               .ca_server = "https://ca/dir",
                                               .http_challenge_entrypoint = "web",
                                               .certificate_timeout_s = 900,
                                               .key_type = KEY_EC256,
                                               .propagation_authoritative = true,
                                               .propagation_port = 53};
    config_resolver.http_challenge = strstr(list, "http");
    config_resolver.tls_challenge = strstr(list, "tls");
    config_resolver.dns_provider = strstr(list, "dns") ? "fake" : NULL;
}

static int set_up(void **state)
{
    if (!w)
        w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(w, 0, sizeof *w);
    w->life_s = 90 * 86400;
    w->single = true;
    domain.count = 1;
    allow("http");
    return 0;
}

static int answer_count(void)
{
    int n = 0;
    for (int i = 0; i < 16; i++)
        n += w->answers[i].used;
    return n;
}

static void assert_clean(int orders)
{
    assert_int_equal(w->stored, 1);
    assert_int_equal(w->issued, 1);
    assert_int_equal(w->order_count, orders);
    assert_int_equal(txt_count(), 0);
    assert_int_equal(answer_count(), 0);
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

static void test_http(void **state)
{
    assert_false(life(DAY_NS));
    assert_clean(1);
    assert_int_equal(w->http_looks, 1);
    assert_true(w->now_ns < 20 * NS_PER_S);
}

static void test_tls(void **state)
{
    allow("tls");
    assert_false(life(DAY_NS));
    assert_clean(1);
    assert_int_equal(w->tls_looks, 1);
}

static void test_delay(void **state)
{
    config_resolver.http_challenge_delay_s = 90;
    assert_false(life(DAY_NS));
    assert_clean(1);
    assert_in_range(w->now_ns / NS_PER_S, 90, 110);
}

/* HTTP-01 is tried first; what it comes to does not hold up the other one. */
static void test_the_next_challenge_is_tried_at_once(void **state)
{
    allow("http tls");
    w->http_bad_ns = DAY_NS;
    assert_false(life(DAY_NS));
    assert_clean(2);
    assert_int_equal(w->http_looks, 1);
    assert_int_equal(w->tls_looks, 1);
    assert_true(w->now_ns < 30 * NS_PER_S);
    assert_int_equal(read_ledger().failures, 0);
}

/* What a name was proven by last is tried first; where it fails, the others are. */
static void test_the_last_challenge_comes_first(void **state)
{
    allow("http tls");
    w->http_bad_ns = DAY_NS;
    assert_false(life(DAY_NS));
    assert_int_equal(w->order_count, 2);
    w->http_bad_ns = 0;
    w->now_ns += 80 * DAY_NS;
    wanted = 2;
    assert_false(life(w->now_ns + DAY_NS));
    assert_int_equal(w->stored, 2);
    assert_int_equal(w->order_count, 3);
    assert_int_equal(w->tls_looks, 2);
    w->tls_bad_ns = w->now_ns + 200 * DAY_NS;
    w->now_ns += 80 * DAY_NS;
    wanted = 3;
    assert_false(life(w->now_ns + DAY_NS));
    wanted = 1;
    assert_int_equal(w->stored, 3);
    assert_int_equal(w->order_count, 5);
    assert_int_equal(w->http_looks, 2);
}

static void test_all_fail_with_every_reason(void **state)
{
    allow("http tls");
    w->http_bad_ns = w->tls_bad_ns = DAY_NS;
    assert_false(life(50 * NS_PER_S));
    struct ledger_entry e = read_ledger();
    assert_non_null(strstr(e.text, "http-01: "));
    assert_non_null(strstr(e.text, "tls-alpn-01: "));
    assert_int_equal(w->order_count, 2);
    assert_int_equal(answer_count(), 0);
    assert_int_equal(journal_count(), 0);
    /* After the back-off all are tried again. */
    w->http_bad_ns = w->tls_bad_ns = w->now_ns;
    assert_false(life(DAY_NS));
    assert_clean(3);
}

/* A wildcard goes by DNS, the name beside it by the first challenge; when that fails, by DNS too.
 */
static void test_mixed(void **state)
{
    w->single = false;
    domain.count = 2;
    allow("http dns");
    assert_false(life(DAY_NS));
    assert_clean(1);
    assert_int_equal(w->http_looks, 1);

    set_up(NULL);
    w->single = false;
    domain.count = 2;
    allow("http dns");
    w->http_bad_ns = DAY_NS;
    assert_false(life(DAY_NS));
    assert_clean(2);
    assert_int_equal(w->http_looks, 1);
}

static void test_wildcard_without_dns_asks_no_ca(void **state)
{
    w->single = false;
    domain.count = 2;
    allow("http tls");
    assert_false(life(50 * NS_PER_S));
    assert_int_equal(w->order_count, 0);
    assert_int_equal(w->questions, 0);
    assert_non_null(strstr(read_ledger().text, "*.a.test"));
}

/* Death before and after every single effect. */
static void die_everywhere(const char *allowed, uint64_t http_bad_ns, int orders)
{
    for (int at = 1;; at++) {
        set_up(NULL);
        allow(allowed);
        w->http_bad_ns = http_bad_ns;
        w->crash_at = at;
        bool died = life(DAY_NS);
        w->crash_at = 0;
        if (!died) {
            assert_true(at > 40);
            return;
        }
        assert_false(life(2 * DAY_NS));
        if (w->issued != 1 || answer_count() || !w->stored || journal_count())
            print_message("died at boundary %d\n", at);
        assert_int_equal(w->issued, 1);
        assert_true(w->stored >= 1);
        assert_int_equal(answer_count(), 0);
        assert_int_equal(journal_count(), 0);
        assert_in_range(w->order_count, 1, orders);
    }
}

static void test_death_at_every_boundary_http(void **state)
{
    die_everywhere("http", 0, 2);
}

static void test_death_at_every_boundary_tls(void **state)
{
    die_everywhere("tls", 0, 2);
}

static void test_death_at_every_boundary_on_the_way_to_another(void **state)
{
    die_everywhere("http tls", 5 * DAY_NS, 4);
}

/* Apex and wildcard at a provider whose names hold one value: one after the other. */
static void test_one_value_at_a_name(void **state)
{
    w->single = false;
    w->one_value = true;
    domain.count = 2;
    allow("dns");
    assert_false(life(DAY_NS));
    assert_clean(1);
    assert_true(w->now_ns < 40 * NS_PER_S);
}

static void test_death_with_one_value_at_a_name(void **state)
{
    for (int at = 1, died = 1; died; at++) {
        set_up(NULL);
        w->single = false;
        w->one_value = true;
        domain.count = 2;
        allow("dns");
        w->crash_at = at;
        died = life(DAY_NS);
        w->crash_at = 0;
        assert_false(life(2 * DAY_NS));
        if (w->issued != 1 || txt_count() || !w->stored || journal_count())
            print_message("died at boundary %d\n", at);
        assert_int_equal(w->issued, 1);
        assert_true(w->stored >= 1);
        assert_int_equal(txt_count(), 0);
        assert_int_equal(journal_count(), 0);
        assert_true(died || at > 60);
    }
}

/* Where nobody is asked for the values, the person's word is all there is. */
static void test_a_person_is_waited_for(void **state)
{
    allow("dns");
    config_resolver.propagation_authoritative = false;
    w->by_person = true;
    person_at_ns = 30 * NS_PER_S;
    assert_false(life(DAY_NS));
    person_at_ns = 0;
    assert_clean(1);
    assert_in_range(w->now_ns, 30 * NS_PER_S, 50 * NS_PER_S);
}

static void test_a_person_says_nothing(void **state)
{
    allow("dns");
    config_resolver.propagation_authoritative = false;
    w->by_person = true;
    assert_false(life(100 * NS_PER_S));
    assert_int_equal(w->stored, 0);
    assert_int_equal(txt_count(), 0);
    assert_non_null(strstr(read_ledger().text, "nobody said within 60 s"));
}

static void test_which_challenge_proves_what(void **state)
{
    struct resolver resolver = {.config = &config_resolver, .provider = (struct provider *)1};
    struct order o = {.resolver = &resolver};
    enum order_challenge found;
    allow("http tls dns");
    assert_true(order_answer_choose(&o, "a.test", NULL, &found));
    assert_int_equal(found, ORDER_CHALLENGE_HTTP);
    assert_true(order_answer_choose(&o, "*.a.test", NULL, &found));
    assert_int_equal(found, ORDER_CHALLENGE_DNS);
    o.record.failed_challenges[ORDER_CHALLENGE_HTTP] = (char *)"no";
    assert_true(order_answer_choose(&o, "192.0.2.1", NULL, &found));
    assert_int_equal(found, ORDER_CHALLENGE_TLS);
    o.record.failed_challenges[ORDER_CHALLENGE_TLS] = (char *)"no";
    assert_false(order_answer_choose(&o, "192.0.2.1", NULL, &found));
    assert_false(order_answer_choose(&o, "2001:db8::1", NULL, &found));
    assert_true(order_answer_choose(&o, "a.test", NULL, &found));
    assert_int_equal(found, ORDER_CHALLENGE_DNS);
    resolver.provider = NULL; /* its plug-in is missing */
    assert_false(order_answer_choose(&o, "a.test", NULL, &found));
    o.record.failed_challenges[ORDER_CHALLENGE_HTTP] = NULL;
    struct document_authorization offer = {
        .challenges = {{.type = "tls-alpn-01", .token = (char *)"t"},
                       {.type = "http-01"}}, /* without a token nothing can be answered */
        .challenge_count = 2};
    assert_false(order_answer_choose(&o, "a.test", &offer, &found));
    o.record.failed_challenges[ORDER_CHALLENGE_TLS] = NULL;
    assert_true(order_answer_choose(&o, "a.test", &offer, &found));
    assert_int_equal(found, ORDER_CHALLENGE_TLS);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)
UNIT_TESTS(TEST(test_http), TEST(test_tls), TEST(test_delay),
           TEST(test_the_next_challenge_is_tried_at_once),
           TEST(test_the_last_challenge_comes_first), TEST(test_all_fail_with_every_reason),
           TEST(test_mixed), TEST(test_wildcard_without_dns_asks_no_ca),
           TEST(test_death_at_every_boundary_http), TEST(test_death_at_every_boundary_tls),
           TEST(test_death_at_every_boundary_on_the_way_to_another), TEST(test_one_value_at_a_name),
           TEST(test_death_with_one_value_at_a_name), TEST(test_a_person_is_waited_for),
           TEST(test_a_person_says_nothing), TEST(test_which_challenge_proves_what))
