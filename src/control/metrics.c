/* SPDX-License-Identifier: Apache-2.0 */
#include "control/metrics.h"

#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

/* Whom the numbers of an id belong to. */
enum family { FAMILY_ENTRYPOINT = 0, FAMILY_ROUTER, FAMILY_SERVICE, FAMILY_OPEN, FAMILIES };

static const char *const family_names[] = {"entrypoint", "router", "service"};

struct owner {
    uint64_t id;
    enum family family;
    struct span name, more; /* more: a router's service */
};

/* A cell of all workers together. */
struct row {
    const struct owner *owner;
    struct series_cell cell;
};

struct rows {
    struct row *items;
    uint32_t count, room;
};

/* ---- gathering ------------------------------------------------------------------------------ */

static int compare_owners(const void *left, const void *right)
{
    const struct owner *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

/* All that the present configuration has, by id; a router stands there once for an entry point. */
static struct owner *owners_of(const struct snapshot *s, uint32_t *ret_count)
{
    struct owner *list = mem_zalloc(
        (2 * s->entrypoint_count + s->router_count + s->service_count + 1) * sizeof *list);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->entrypoint_count; i++) {
        const struct snap_entrypoint *e = &s->entrypoints[i];
        list[n++] = (struct owner){.id = e->series, FAMILY_ENTRYPOINT, .name = e->name};
        list[n++] = (struct owner){.id = e->open_series, FAMILY_OPEN, .name = e->name};
    }
    for (uint32_t i = 0; i < s->router_count; i++) {
        const struct snap_router *r = &s->routers[i];
        list[n++] = (struct owner){
            .id = r->series, FAMILY_ROUTER, .name = r->name, .more = s->services[r->service].name};
    }
    for (uint32_t i = 0; i < s->service_count; i++)
        list[n++] = (struct owner){
            .id = s->services[i].series, FAMILY_SERVICE, .name = s->services[i].name};
    qsort(list, n, sizeof *list, compare_owners);
    *ret_count = n;
    return list;
}

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->owner->family != b->owner->family)
        return a->owner->family < b->owner->family ? -1 : 1;
    if (a->owner->id != b->owner->id)
        return a->owner->id < b->owner->id ? -1 : 1;
    return (a->cell.labels > b->cell.labels) - (a->cell.labels < b->cell.labels);
}

static void add_cell(struct series_cell *to, const struct series_cell *from)
{
    to->in_bytes += from->in_bytes;
    to->out_bytes += from->out_bytes;
    to->sum_ns += from->sum_ns;
    for (uint32_t i = 0; i <= SERIES_BOUNDS_MAX; i++)
        to->buckets[i] += from->buckets[i];
}

static void gather_table(const struct series_table *t, const struct owner *owners, uint32_t count,
                         struct rows *rows)
{
    for (uint32_t i = 0; i < SERIES_CELLS; i++) {
        struct series_cell cell;
        if (!series_read(t, i, &cell))
            continue;
        struct owner key = {.id = cell.id};
        const struct owner *owner = bsearch(&key, owners, count, sizeof *owners, compare_owners);
        if (!owner)
            continue;
        if (rows->count == rows->room) {
            rows->room = rows->room ? 2 * rows->room : 256;
            rows->items = mem_grow(rows->items, rows->room * sizeof *rows->items);
        }
        rows->items[rows->count++] = (struct row){owner, cell};
    }
}

/* Sorted; one row for each id and labels. */
static void gather(const struct report *report, const struct owner *owners, uint32_t count,
                   struct rows *rows)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < report_workers(report); i++)
        gather_table(report_series(report, i), owners, count, rows);
    if (rows->count == 0)
        return;
    qsort(rows->items, rows->count, sizeof *rows->items, compare_rows);
    for (uint32_t i = 1; i < rows->count; i++) {
        if (compare_rows(&rows->items[kept], &rows->items[i]) == 0)
            add_cell(&rows->items[kept].cell, &rows->items[i].cell);
        else
            rows->items[++kept] = rows->items[i];
    }
    rows->count = kept + 1;
}

/* ---- text ----------------------------------------------------------------------------------- */

static void put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ,name="value" with the comma that is given. */
static void put_label(struct buf *out, const char *comma, const char *name, struct span value)
{
    buf_printf(out, "%s%s=\"", comma, name);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.ptr[i];
        if (c == '\n')
            buf_put_str(out, "\\n");
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_put(out, &c, 1);
    }
    buf_put_str(out, "\"");
}

/* Nanoseconds as seconds, with no more digits than it has. */
static void put_seconds(struct buf *out, uint64_t ns)
{
    char digits[16];
    int len = snprintf(digits, sizeof digits, "%09llu", (unsigned long long)(ns % 1000000000u));
    while (len > 0 && digits[len - 1] == '0')
        len--;
    buf_printf(out, "%llu%s%.*s", (unsigned long long)(ns / 1000000000u), len ? "." : "", len,
               digits);
}

static const char *method_of(const struct row *r)
{
    /* In the order of the workers' numbers. */
    static const char *const names[] = {"EXTENSION_METHOD", "GET",     "HEAD",  "POST",  "PUT",
                                        "DELETE",           "OPTIONS", "PATCH", "TRACE", "CONNECT"};
    uint8_t method = series_method_of(r->cell.labels);
    return names[method < sizeof names / sizeof *names ? method : 0];
}

static void put_labels(struct buf *out, const struct row *r)
{
    static const char *const protocols[] = {"http", "websocket", "sse"};
    enum series_protocol protocol = series_protocol_of(r->cell.labels);
    buf_printf(out, "{code=\"%u\",method=\"%s\",protocol=\"%s\"", series_status_of(r->cell.labels),
               method_of(r), protocols[protocol <= SERIES_EVENTS ? protocol : 0]);
    put_label(out, ",", family_names[r->owner->family], r->owner->name);
    if (r->owner->family == FAMILY_ROUTER)
        put_label(out, ",", "service", r->owner->more);
}

static uint64_t requests_of(const struct row *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i <= SERIES_BOUNDS_MAX; i++)
        sum += r->cell.buckets[i];
    return sum;
}

static void put_histogram(struct buf *out, const char *name, const struct snap_metrics *m,
                          const struct row *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->bound_count; i++) {
        sum += r->cell.buckets[i];
        buf_printf(out, "%s_bucket", name);
        put_labels(out, r);
        buf_put_str(out, ",le=\"");
        put_seconds(out, m->bounds_ns[i]);
        buf_printf(out, "\"} %llu\n", (unsigned long long)sum);
    }
    buf_printf(out, "%s_bucket", name);
    put_labels(out, r);
    buf_printf(out, ",le=\"+Inf\"} %llu\n%s_sum", (unsigned long long)requests_of(r), name);
    put_labels(out, r);
    buf_put_str(out, "} ");
    put_seconds(out, r->cell.sum_ns);
    buf_printf(out, "\n%s_count", name);
    put_labels(out, r);
    buf_printf(out, "} %llu\n", (unsigned long long)requests_of(r));
}

enum what { WHAT_REQUESTS, WHAT_DURATION, WHAT_IN, WHAT_OUT, WHATS };

/* One metric of a family; its rows lie side by side. */
static void put_metric(struct buf *out, const struct snap_metrics *m, const struct row *rows,
                       uint32_t count, enum what what)
{
    static const struct {
        const char *name, *type, *help;
    } all[WHATS] = {
        {"requests_total", "counter", "Requests, by status, method and protocol."},
        {"request_duration_seconds", "histogram", "How long requests took, with their responses."},
        {"requests_bytes_total", "counter", "Bytes of the bodies of requests."},
        {"responses_bytes_total", "counter", "Bytes of the bodies of responses."},
    };
    char name[80];
    snprintf(name, sizeof name, "traefik_%s_%s", family_names[rows->owner->family], all[what].name);
    put_head(out, name, all[what].type, all[what].help);
    for (uint32_t i = 0; i < count; i++) {
        const struct row *r = &rows[i];
        if (series_kind_of(r->cell.labels) != SERIES_REQUESTS)
            continue;
        if (what == WHAT_DURATION) {
            put_histogram(out, name, m, r);
            continue;
        }
        uint64_t value = what == WHAT_REQUESTS ? requests_of(r)
                         : what == WHAT_IN     ? r->cell.in_bytes
                                               : r->cell.out_bytes;
        buf_put_str(out, name);
        put_labels(out, r);
        buf_printf(out, "} %llu\n", (unsigned long long)value);
    }
}

static void put_retries(struct buf *out, const struct row *rows, uint32_t count)
{
    put_head(out, "traefik_service_retries_total", "counter", "Requests sent to a server again.");
    for (uint32_t i = 0; i < count; i++) {
        if (series_kind_of(rows[i].cell.labels) != SERIES_RETRIES)
            continue;
        buf_put_str(out, "traefik_service_retries_total{");
        put_label(out, "", "service", rows[i].owner->name);
        buf_printf(out, "} %llu\n", (unsigned long long)rows[i].cell.buckets[0]);
    }
}

static void put_suite(struct buf *out, uint16_t number)
{
    static const struct {
        uint16_t number;
        const char *name;
    } suites[] = {
        {0x1301, "TLS_AES_128_GCM_SHA256"},
        {0x1302, "TLS_AES_256_GCM_SHA384"},
        {0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
        {0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
        {0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
        {0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
        {0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
        {0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
        {0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    };
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        if (suites[i].number == number) {
            buf_put_str(out, suites[i].name);
            return;
        }
    }
    buf_printf(out, "0x%04x", number);
}

static void put_tls(struct buf *out, const struct row *rows, uint32_t count)
{
    const char *family = family_names[rows->owner->family];
    char name[80];
    snprintf(name, sizeof name, "traefik_%s_requests_tls_total", family);
    put_head(out, name, "counter", "Requests over TLS, by version and cipher suite.");
    for (uint32_t i = 0; i < count; i++) {
        uint64_t labels = rows[i].cell.labels;
        if (series_kind_of(labels) != SERIES_TLS)
            continue;
        buf_printf(out, "%s{tls_version=\"%s\",tls_cipher=\"", name,
                   series_protocol_of(labels) ? "1.3" : "1.2");
        put_suite(out, series_status_of(labels));
        put_label(out, "\",", family, rows[i].owner->name);
        if (rows[i].owner->family == FAMILY_ROUTER)
            put_label(out, ",", "service", rows[i].owner->more);
        buf_printf(out, "} %llu\n", (unsigned long long)rows[i].cell.buckets[0]);
    }
}

static void put_open(struct buf *out, const struct row *rows, uint32_t count)
{
    put_head(out, "traefik_open_connections", "gauge", "Connections of clients that are open.");
    for (uint32_t i = 0; i < count; i++) {
        buf_put_str(out, "traefik_open_connections{");
        put_label(out, "", "entrypoint", rows[i].owner->name);
        buf_printf(out, ",protocol=\"TCP\"} %llu\n", (unsigned long long)rows[i].cell.buckets[0]);
    }
}

static void put_named(const struct admin_view *v, struct buf *out)
{
    uint32_t owner_count;
    struct owner *owners = owners_of(v->snapshot, &owner_count);
    struct rows rows = {0};
    gather(v->report, owners, owner_count, &rows);
    for (uint32_t first = 0, end = 0; first < rows.count; first = end) {
        enum family family = rows.items[first].owner->family;
        while (end < rows.count && rows.items[end].owner->family == family)
            end++;
        const struct row *begin = rows.items + first;
        if (family == FAMILY_OPEN) {
            put_open(out, begin, end - first);
            continue;
        }
        for (int what = 0; what < WHATS; what++)
            put_metric(out, &v->snapshot->metrics, begin, end - first, (enum what)what);
        put_tls(out, begin, end - first);
        if (family == FAMILY_SERVICE)
            put_retries(out, begin, end - first);
    }
    free(rows.items);
    free(owners);
}

/* ---- what control knows --------------------------------------------------------------------- */

/* The same URL twice in one service is one series. */
static bool is_again(const struct upstreams *u, uint32_t i, const struct upstreams_server *s)
{
    while (i-- > 0) {
        struct upstreams_server before = upstreams_at(u, i);
        if (before.service != s->service)
            return false;
        if (strcmp(before.url, s->url) == 0)
            return true;
    }
    return false;
}

static void put_servers(const struct admin_view *v, struct buf *out)
{
    put_head(out, "traefik_service_server_up", "gauge", "1: the server gets requests.");
    for (uint32_t i = 0; i < upstreams_count(v->upstreams); i++) {
        struct upstreams_server s = upstreams_at(v->upstreams, i);
        if (strchr(s.service, '@') || is_again(v->upstreams, i, &s))
            continue;
        buf_put_str(out, "traefik_service_server_up{");
        put_label(out, "", "service", span_str(s.service));
        put_label(out, ",", "url", span_str(s.url));
        buf_printf(out, "} %d\n", s.healthy && s.addr_count);
    }
}

/* Of "CN=a.test, O=..."; empty: there is none. */
static struct span common_name(const char *subject)
{
    const char *at = strstr(subject, "CN=");
    struct span s = at ? span_str(at + 3) : (struct span){0};
    return span_first(s, span_find(s, ','));
}

static int compare_leaves(const void *left, const void *right)
{
    const struct x509 *const *a = left, *const *b = right;
    return memcmp((*a)->sha256, (*b)->sha256, sizeof(*a)->sha256);
}

static void put_certificates(const struct admin_view *v, struct buf *out)
{
    uint32_t count = publish_state_count(v->certificates);
    const struct x509 **leaves = mem_zalloc((count + 1) * sizeof *leaves);
    for (uint32_t i = 0; i < count; i++)
        leaves[i] = &publish_state_at(v->certificates, i)->leaf;
    qsort(leaves, count, sizeof *leaves, compare_leaves);
    put_head(out, "traefik_tls_certs_not_after", "gauge", "When certificates end, Unix time.");
    for (uint32_t i = 0; i < count; i++) {
        const struct x509 *x = leaves[i];
        struct buf sans = {0};
        if (i && compare_leaves(&leaves[i - 1], &leaves[i]) == 0)
            continue;
        for (uint32_t k = 0; k < x->name_count; k++)
            buf_printf(&sans, "%s%s", k ? "," : "", x->names[k]);
        buf_put_str(out, "traefik_tls_certs_not_after{");
        put_label(out, "", "cn", common_name(x->subject));
        put_label(out, ",", "sans", buf_span(&sans));
        put_label(out, ",", "serial", span_str(x->serial));
        buf_printf(out, "} %lld\n", (long long)x->not_after_s);
        buf_free(&sans);
    }
    free(leaves);
}

static void put_reloads(const struct admin_view *v, struct buf *out)
{
    put_head(out, "traefik_config_reloads_total", "counter",
             "Configurations taken into use, the first one too.");
    buf_printf(out, "traefik_config_reloads_total %llu\n",
               (unsigned long long)v->last_reload->good_count);
    put_head(out, "traefik_config_last_reload_success", "gauge",
             "When one was taken into use the last time, Unix time.");
    buf_printf(out, "traefik_config_last_reload_success %lld\n", (long long)v->last_reload->good_s);
    put_head(out, "ferrule_build_info", "gauge", "The version that runs.");
    buf_put_str(out, "ferrule_build_info{");
    put_label(out, "", "version", span_str(v->version));
    buf_put_str(out, "} 1\n");
}

/* The two clocks are two series of one histogram. */
static void put_turns(const struct turns *turns, struct buf *out)
{
    const struct {
        const char *clock;
        const struct turns_histogram *h;
    } clocks[] = {{"wall", &turns->wall}, {"own", &turns->own}};
    const char *name = "ferrule_control_loop_turn_seconds";
    put_head(out, name, "histogram",
             "Turns of control's loop; own: without waiting for a processor.");
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        const struct turns_histogram *h = clocks[i].h;
        uint64_t count = turns_count(h);
        for (uint32_t k = 0; k < TURNS_BOUNDS; k++) {
            buf_printf(out, "%s_bucket{clock=\"%s\",le=\"", name, clocks[i].clock);
            put_seconds(out, turns_bounds_ns[k]);
            buf_printf(out, "\"} %llu\n", (unsigned long long)(count - turns_over(h, k)));
        }
        buf_printf(out, "%s_bucket{clock=\"%s\",le=\"+Inf\"} %llu\n%s_sum{clock=\"%s\"} ", name,
                   clocks[i].clock, (unsigned long long)count, name, clocks[i].clock);
        put_seconds(out, h->sum_ns);
        buf_printf(out, "\n%s_count{clock=\"%s\"} %llu\n", name, clocks[i].clock,
                   (unsigned long long)count);
    }
    put_head(out, "ferrule_control_loop_turn_longest_seconds", "gauge", "The longest of them.");
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        buf_printf(out, "ferrule_control_loop_turn_longest_seconds{clock=\"%s\"} ",
                   clocks[i].clock);
        put_seconds(out, clocks[i].h->max_ns);
        buf_put_str(out, "\n");
    }
}

/* ---- ferrule's own -------------------------------------------------------------------------- */

/* Counters that are one metric with a label: the label is the end of their names. */
static const struct group {
    enum report_counter first, last;
    const char *name, *label, *help;
    const char *prefix; /* of the counters' names */
    bool summed;        /* of all workers: there are many */
} groups[] = {
    {REPORT_HANDSHAKES_FULL, REPORT_HANDSHAKES_FAILED, "ferrule_handshakes_total", "kind",
     "TLS handshakes.", "handshakes_", false},
    {REPORT_RESPONSES_2XX, REPORT_RESPONSES_5XX, "ferrule_responses_total", "class", "Responses.",
     "responses_", false},
    {REPORT_H2_RESETS, REPORT_H2_NO_BLOCK, "ferrule_h2_misuse_total", "kind",
     "HTTP/2 connections closed and streams reset for how they were used.", "h2_", false},
    {REPORT_RULE_bare_lf, REPORT_UPSTREAM_RULE_bare_lf - 1, "ferrule_requests_refused_total",
     "rule", "Requests refused by a framing or limit rule.", "rule_", true},
    {REPORT_UPSTREAM_RULE_bare_lf, REPORT_COUNT - 1, "ferrule_upstream_responses_refused_total",
     "rule", "Upstreams' responses refused by a framing or limit rule.", "upstream_rule_", true},
};

static const struct group *group_of(enum report_counter c)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (c >= groups[i].first && c <= groups[i].last)
            return &groups[i];
    return NULL;
}

static void put_grouped(const struct report *report, enum report_counter c, const struct group *g,
                        struct buf *out)
{
    const char *value = report_name(c) + strlen(g->prefix);
    if (c == g->first)
        put_head(out, g->name, "counter", g->help);
    if (g->summed) {
        buf_printf(out, "%s{%s=\"%s\"} %llu\n", g->name, g->label, value,
                   (unsigned long long)report_sum(report, c));
        return;
    }
    for (uint32_t i = 0; i < report_workers(report); i++)
        buf_printf(out, "%s{%s=\"%s\",worker=\"%u\"} %llu\n", g->name, g->label, value, i,
                   (unsigned long long)report_value(report, i, c));
}

/* "conns_now" is the gauge ferrule_conns, "steps" the counter ferrule_steps_total. */
static void put_plain(const struct report *report, enum report_counter c, struct buf *out)
{
    char name[80];
    bool gauge = report_is_gauge(c);
    size_t len = strlen(report_name(c)) - (gauge ? strlen("_now") : 0);
    snprintf(name, sizeof name, "ferrule_%.*s%s", (int)len, report_name(c), gauge ? "" : "_total");
    put_head(out, name, gauge ? "gauge" : "counter", report_help(c));
    for (uint32_t i = 0; i < report_workers(report); i++)
        buf_printf(out, "%s{worker=\"%u\"} %llu\n", name, i,
                   (unsigned long long)report_value(report, i, c));
}

void metrics_print(const struct admin_view *view, struct buf *out)
{
    put_reloads(view, out);
    put_servers(view, out);
    put_certificates(view, out);
    put_turns(view->turns, out);
    if (!view->report)
        return;
    put_named(view, out);
    for (int i = 0; i < REPORT_COUNT; i++) {
        enum report_counter c = (enum report_counter)i;
        const struct group *g = group_of(c);
        if (g)
            put_grouped(view->report, c, g, out);
        else
            put_plain(view->report, c, out);
    }
}
