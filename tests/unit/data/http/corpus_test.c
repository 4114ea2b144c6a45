/* SPDX-License-Identifier: Apache-2.0 */
/* The published corpus against the codec: each file whole, byte by byte, and cut in two at every
 * place must come to what the index says. */
#include "data/http/h1.h"
#include "data/http/rules.h"

#include "unit.h"

#include "base/buf.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define CORPUS   TEST_SOURCE_ROOT "/tests/corpus/http1/"
#define HEAD_MAX 2048u

struct row {
    char file[80], method[8], rule[40], answers[40];
};

static struct row rows[512];
static size_t row_count;

static int read_index(void **state)
{
    char line[300];
    FILE *f = fopen(CORPUS "index.tsv", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        struct row *row = &rows[row_count];
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%79[^\t]\t%7[^\t]\t%39[^\t]\t%39[^\t]\t", row->file,
                                row->method, row->rule, row->answers),
                         4);
        assert_true(++row_count < sizeof rows / sizeof *rows);
    }
    fclose(f);
    return 0;
}

static bool is_request(const struct row *row)
{
    return strncmp(row->file, "requests/", 9) == 0;
}

static enum http_method method_of(const struct row *row)
{
    return strcmp(row->method, "HEAD") == 0 ? HTTP_HEAD : HTTP_GET;
}

/* What came out of one run. */
struct outcome {
    char answers[40];
    const char *rule;
};

static void answer(struct outcome *o, const char *text)
{
    size_t len = strlen(o->answers);
    snprintf(o->answers + len, sizeof o->answers - len, "%s%s", len ? "," : "", text);
}

/* As a client of the proxy would see it. False: nothing more is read. */
static bool take(struct outcome *o, struct h1 *h1, bool request, struct http_event e)
{
    static bool passed, expects;
    static uint16_t status;
    char text[8];
    switch (e.kind) {
    case HTTP_EVENT_HEAD:
        passed = true;
        status = e.head->status;
        snprintf(text, sizeof text, "%u", status);
        if (request && e.head->expect_continue)
            answer(o, "100");
        expects = request && !e.head->keep_alive;
        if (!request)
            answer(o, text);
        return true;
    case HTTP_EVENT_END:
        passed = false;
        if (request)
            answer(o, "200");
        if (request ? expects : status >= 200)
            return false;
        h1_next(h1);
        return true;
    case HTTP_EVENT_BAD:
        o->rule = e.reject->id;
        snprintf(text, sizeof text, "%u", request ? e.reject->status : 502);
        if (strcmp(o->rule, "truncated") != 0 || !request)
            answer(o, !request && passed ? "abort" : text);
        passed = false;
        return false;
    default:
        return true;
    }
}

/* Feeds `in` in steps: `first` bytes, then `step` at a time (0: the rest). Each part lies in memory
 * of its exact size, so that a sanitizer sees a byte too far. */
static struct outcome run(const struct row *row, struct span in, size_t first, size_t step)
{
    static struct http_head head;
    struct outcome o = {.rule = "-"};
    struct h1 h1;
    bool request = is_request(row), more = true;
    size_t done = 0, end = first;
    h1_init(&h1, request ? H1_SERVER : H1_CLIENT, HEAD_MAX, &head);
    h1_expect(&h1, method_of(row));
    for (;;) {
        uint8_t *part = malloc(end - done + 1);
        size_t len = end - done, at = 0, used;
        memcpy(part, in.ptr + done, len);
        struct http_event e = {.kind = HTTP_EVENT_BODY};
        while (more && e.kind != HTTP_EVENT_MORE) {
            e = h1_feed(&h1, span_of(part + at, len - at), &used);
            at += used;
            more = take(&o, &h1, request, e);
        }
        free(part);
        done += at;
        if (!more || end == in.len)
            break;
        end = step && in.len - end > step ? end + step : in.len;
    }
    if (more && strcmp(row->rule, "-") != 0)
        (void)take(&o, &h1, request, h1_feed_eof(&h1));
    if (o.answers[0] == 0)
        strcpy(o.answers, "-");
    return o;
}

static bool check(const struct row *row, struct span in, size_t first, size_t step)
{
    struct outcome o = run(row, in, first, step);
    if (strcmp(o.rule, row->rule) == 0 && strcmp(o.answers, row->answers) == 0)
        return true;
    print_error("%s, first %zu, then %zu: %s %s; the index says %s %s\n", row->file, first, step,
                o.rule, o.answers, row->rule, row->answers);
    return false;
}

static void every_file_comes_to_what_the_index_says(void **state)
{
    static uint8_t bytes[65536];
    unsigned wrong = 0;
    assert_true(row_count > 200);
    for (size_t i = 0; i < row_count; i++) {
        char path[512];
        snprintf(path, sizeof path, CORPUS "%s", rows[i].file);
        FILE *f = fopen(path, "rb");
        if (!f)
            fail_msg("%s is in the index and not there", rows[i].file);
        struct span in = span_of(bytes, fread(bytes, 1, sizeof bytes, f));
        fclose(f);
        assert_true(in.len > 0 && in.len < sizeof bytes);
        bool good = check(&rows[i], in, in.len, 0) && check(&rows[i], in, 0, 1);
        for (size_t cut = 1; cut < in.len && good; cut++)
            good = check(&rows[i], in, cut, 0);
        wrong += !good;
    }
    assert_int_equal(wrong, 0);
}

/* Rules that bytes of HTTP/1 cannot break, and why. */
static const char *const elsewhere[][2] = {
    {"connect_protocol", "it is HTTP/2's"},
    {"connect_body", "it is HTTP/2's"},
    {"tunnel_unknown", "it is HTTP/2's"},
    {"switch_declined", "the exchange knows what was asked for, the codec does not"},
    {"switch_unasked", "the exchange knows what was asked for, the codec does not"},
    {"field_value",
     "the control bytes that HTTP/1 could carry are refused before fields are found"},
};

static void every_rule_has_a_case(void **state)
{
    for (int rule = 0; rule < HTTP_RULE_COUNT; rule++) {
        const char *id = rules_reject((enum http_rule)rule)->id;
        bool found = false;
        for (size_t i = 0; i < row_count; i++)
            found |= strcmp(rows[i].rule, id) == 0;
        for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
            bool excused = strcmp(elsewhere[i][0], id) == 0;
            assert_false(excused && found);
            found |= excused;
        }
        if (!found)
            fail_msg("no file of the corpus breaks %s", id);
    }
}

static void every_file_is_in_the_index(void **state)
{
    static const char *const folders[] = {"requests", "responses"};
    for (size_t d = 0; d < 2; d++) {
        char path[512];
        snprintf(path, sizeof path, CORPUS "%s", folders[d]);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        for (struct dirent *entry; (entry = readdir(dir));) {
            bool found = entry->d_name[0] == '.';
            snprintf(path, sizeof path, "%s/%s", folders[d], entry->d_name);
            for (size_t i = 0; i < row_count; i++)
                found |= strcmp(rows[i].file, path) == 0;
            if (!found)
                fail_msg("%s is not in the index", path);
        }
        closedir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_comes_to_what_the_index_says),
        cmocka_unit_test(every_rule_has_a_case),
        cmocka_unit_test(every_file_is_in_the_index),
    };
    return cmocka_run_group_tests(tests, read_index, NULL);
}
