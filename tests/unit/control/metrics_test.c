/* SPDX-License-Identifier: Apache-2.0 */
#include "control/metrics.c"

#include "unit.h"

#include <unistd.h>

static void assert_text(struct buf *got, const char *wanted)
{
    assert_string_equal(buf_cstr(got), wanted);
    buf_free(got);
}

static void labels_are_escaped(void **state)
{
    struct buf out = {0};
    put_label(&out, ",", "a", span_str("x\"\\\ny"));
    assert_text(&out, ",a=\"x\\\"\\\\\\ny\"");
}

static void seconds_have_no_more_digits_than_needed(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {{0, "0"},           {1, "0.000000001"},
                 {100000000, "0.1"}, {1200000000, "1.2"},
                 {5000000000, "5"},  {86400000000001, "86400.000000001"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        put_seconds(&out, cases[i].ns);
        assert_text(&out, cases[i].text);
    }
}

static void common_names(void **state)
{
    assert_true(span_eq(common_name("C=DE, CN=a.test, O=x"), SPAN_LITERAL("a.test")));
    assert_true(span_eq(common_name("CN=b"), SPAN_LITERAL("b")));
    assert_int_equal(common_name("O=x").len, 0);
}

static void count_one(struct report *r, uint32_t worker, uint64_t id, uint16_t status)
{
    struct series_cell *c = series_find(report_series(r, worker), id,
                                        series_labels(SERIES_REQUESTS, SERIES_HTTP, 1, status));
    series_add(&c->buckets[1], 1);
    series_add(&c->sum_ns, 1500000000);
    series_add(&c->in_bytes, 10);
    series_add(&c->out_bytes, 20);
}

/* Of two workers one number is made; what the configuration does not name is not shown. */
static void workers_add_up(void **state)
{
    struct report *r;
    int fd;
    struct why why;
    assert_true(result_is_ok(report_create(2, &fd, &why)));
    assert_true(result_is_ok(report_map(fd, &r, &why)));
    close(fd);
    count_one(r, 0, 7, 200);
    count_one(r, 1, 7, 200);
    count_one(r, 1, 7, 404);
    count_one(r, 1, 99, 200);
    for (uint32_t worker = 0; worker < 2; worker++) {
        uint64_t modern = series_labels(SERIES_TLS, 1, 0, 0x1301);
        uint64_t older = series_labels(SERIES_TLS, 0, 0, worker ? 0xc02f : 0xfedc);
        series_add(&series_find(report_series(r, worker), 7, modern)->buckets[0], 2);
        series_add(&series_find(report_series(r, worker), 7, older)->buckets[0], 1);
    }
    struct snap_entrypoint ep = {.name = SPAN_LITERAL("web"), .series = 7, .open_series = 8};
    struct snapshot s = {.entrypoints = &ep, .entrypoint_count = 1};
    s.metrics =
        (struct snap_metrics){.on = true, .bound_count = 2, .bounds_ns = {1000000000, 2000000000}};
    struct admin_view view = {.snapshot = &s, .report = r};
    struct buf out = {0};
    put_named(&view, &out);
    const char *text = buf_cstr(&out);
    static const char *const lines[] = {
        "\ntraefik_entrypoint_requests_total{code=\"200\",method=\"GET\",protocol=\"http\","
        "entrypoint=\"web\"} 2\n",
        "\ntraefik_entrypoint_requests_total{code=\"404\",method=\"GET\",protocol=\"http\","
        "entrypoint=\"web\"} 1\n",
        "protocol=\"http\",entrypoint=\"web\",le=\"1\"} 0\n",
        "protocol=\"http\",entrypoint=\"web\",le=\"2\"} 2\n",
        "protocol=\"http\",entrypoint=\"web\",le=\"+Inf\"} 2\n",
        "_sum{code=\"200\",method=\"GET\",protocol=\"http\",entrypoint=\"web\"} 3\n",
        "traefik_entrypoint_requests_bytes_total{code=\"200\",method=\"GET\",protocol=\"http\","
        "entrypoint=\"web\"} 20\n",
        "traefik_entrypoint_responses_bytes_total{code=\"200\",method=\"GET\",protocol=\"http\","
        "entrypoint=\"web\"} 40\n",
        "\ntraefik_entrypoint_requests_tls_total{tls_version=\"1.3\","
        "tls_cipher=\"TLS_AES_128_GCM_SHA256\",entrypoint=\"web\"} 4\n",
        "{tls_version=\"1.2\",tls_cipher=\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\","
        "entrypoint=\"web\"} 1\n",
        "{tls_version=\"1.2\",tls_cipher=\"0xfedc\",entrypoint=\"web\"} 1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("%s is not in %s", lines[i], text);
    buf_free(&out);
    report_unmap(r);
}

static void turns_have_two_clocks(void **state)
{
    struct turns turns = {
        .wall = {.buckets = {[0] = 3, [5] = 1}, .sum_ns = 90000000, .max_ns = 80000000},
        .own = {.buckets = {[0] = 4}, .sum_ns = 2000000, .max_ns = 900000}};
    struct buf out = {0};
    put_turns(&turns, &out);
    static const char *const lines[] = {
        "\nferrule_control_loop_turn_seconds_bucket{clock=\"wall\",le=\"0.05\"} 3\n",
        "\nferrule_control_loop_turn_seconds_bucket{clock=\"wall\",le=\"0.1\"} 4\n",
        "\nferrule_control_loop_turn_seconds_bucket{clock=\"own\",le=\"+Inf\"} 4\n",
        "\nferrule_control_loop_turn_seconds_sum{clock=\"own\"} 0.002\n",
        "\nferrule_control_loop_turn_longest_seconds{clock=\"wall\"} 0.08\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(buf_cstr(&out), lines[i]))
            fail_msg("%s is not in %s", lines[i], buf_cstr(&out));
    buf_free(&out);
}

UNIT_TESTS(cmocka_unit_test(labels_are_escaped), cmocka_unit_test(turns_have_two_clocks),
           cmocka_unit_test(seconds_have_no_more_digits_than_needed),
           cmocka_unit_test(common_names), cmocka_unit_test(workers_add_up))
