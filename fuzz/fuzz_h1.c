/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: h1_feed h1_feed_eof rules_request rules_response rules_trailers h1_write_request
 * h1_write_response
 *
 * Byte 0: role (bit 0), request was HEAD (bit 1), the transport ends behind the bytes (bit 2).
 * Byte 1: how the second run cuts the input. The rest is what the peer sends. */
#include "fuzz.h"

#include "data/http/h1.h"
#include "data/http/rules.h"

#define HEAD_MAX 4096u

/* What a run saw, as a hash that does not depend on how body spans were cut. */
struct digest {
    uint64_t hash;
};

static void add(struct digest *d, const void *ptr, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d->hash = (d->hash ^ ((const uint8_t *)ptr)[i]) * 1099511628211ull;
}

static void add_number(struct digest *d, uint64_t n)
{
    add(d, &n, sizeof n);
}

static void add_span(struct digest *d, struct span s)
{
    add_number(d, s.len);
    add(d, s.ptr, s.len);
}

static bool is_inside(struct span s, struct span in)
{
    return s.len == 0 || (s.ptr >= in.ptr && s.ptr + s.len <= in.ptr + in.len);
}

static void check_fields(struct digest *d, const struct http_head *head, struct span in)
{
    must(head->field_count <= HTTP_FIELDS_MAX);
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        must(f->name.len > 0 && is_inside(f->name, in));
        must(is_inside(f->value, in) || span_eq(f->value, SPAN_LITERAL("trailers")));
        for (size_t n = 0; n < f->value.len; n++)
            must(f->value.ptr[n] == '\t' || (f->value.ptr[n] >= ' ' && f->value.ptr[n] != 127));
        must(f->drop ||
             (f->known != HTTP_NAME_CONNECTION && f->known != HTTP_NAME_TRANSFER_ENCODING));
        add_span(d, f->name);
        add_span(d, f->value);
        add_number(d, f->known * 2 + f->drop);
    }
}

/* Writes the head as a proxy does and reads it back: the framing must be the same. */
static void check_round_trip(const struct http_head *head, enum http_method method)
{
    static uint8_t out[3 * HEAD_MAX];
    static struct http_head again;
    struct h1 h1;
    size_t used;
    struct writer w = writer_of(out, sizeof out);
    if (!head->is_response) {
        if (head->authority.len == 0)
            return; /* HTTP/1.0: the exchange would have to fill it */
        must(result_is_ok(h1_write_request(head, head->path, &w)));
    } else {
        must(result_is_ok(h1_write_response(head, 1, head->body, head->keep_alive, &w)));
    }
    h1_init(&h1, head->is_response ? H1_CLIENT : H1_SERVER, sizeof out, &again);
    h1_expect(&h1, method);
    struct http_event e = h1_feed(&h1, writer_done(&w), &used);
    must(e.kind == HTTP_EVENT_HEAD && used == w.len);
    must(again.body == head->body && again.status == head->status);
    must(again.body != HTTP_BODY_LENGTH || again.content_length == head->content_length);
    must(head->is_response || span_eq(again.authority, head->authority));
    must(head->is_response || span_eq(again.path, head->path));
}

static void check_head(struct digest *d, const struct http_head *head, enum http_method method,
                       struct span in)
{
    check_fields(d, head, in);
    must(head->minor <= 1 && head->major == 1);
    if (head->is_response) {
        must(head->status >= 100 && head->status <= 999 && is_inside(head->reason, in));
        add_number(d, head->status);
        add_span(d, head->reason);
    } else {
        must(is_inside(head->method_text, in) && is_inside(head->authority, in));
        must(head->path.len > 0 && (head->path.ptr[0] == '/' || head->path.ptr[0] == '*'));
        must(head->body != HTTP_BODY_UNTIL_CLOSE);
        must(head->minor == 0 || rules_is_authority(head->authority));
        add_span(d, head->method_text);
        add_span(d, head->authority);
        add_span(d, head->path);
    }
    add_number(d, head->body);
    add_number(d, head->body == HTTP_BODY_LENGTH ? head->content_length : 0);
    add_number(d, head->keep_alive + 2 * head->upgrade + 4 * head->expect_continue +
                      8 * head->has_trailer + 16 * head->minor);
    check_round_trip(head, method);
}

/* One event into the digest. False: the run is over. */
static bool take(struct digest *d, struct h1 *h1, struct http_event e, struct span part)
{
    if (e.kind == HTTP_EVENT_BODY) {
        must(e.body.len > 0 && is_inside(e.body, part));
        add(d, e.body.ptr, e.body.len);
        return true;
    }
    add_number(d, 1000u + e.kind);
    if (e.kind == HTTP_EVENT_HEAD)
        check_head(d, e.head, (enum http_method)h1->method, part);
    else if (e.kind == HTTP_EVENT_TRAILERS)
        check_fields(d, e.head, part);
    else if (e.kind == HTTP_EVENT_END)
        h1_next(h1);
    else if (e.kind == HTTP_EVENT_BAD)
        add(d, e.reject->id, strlen(e.reject->id));
    return e.kind != HTTP_EVENT_BAD;
}

/* Feeds `in` in pieces of 1..step bytes (step 0: whole). */
static struct digest run(uint8_t flags, struct span in, uint32_t step, uint32_t seed)
{
    static struct http_head head;
    struct digest d = {14695981039346656037ull};
    struct h1 h1;
    size_t done = 0, end = step ? 0 : in.len;
    h1_init(&h1, flags & 1 ? H1_CLIENT : H1_SERVER, HEAD_MAX, &head);
    h1_expect(&h1, flags & 2 ? HTTP_HEAD : HTTP_GET);
    for (;;) {
        struct span part = {in.ptr + done, end - done};
        size_t used;
        struct http_event e = h1_feed(&h1, part, &used);
        must(used <= part.len);
        done += used;
        if (e.kind != HTTP_EVENT_MORE) {
            if (!take(&d, &h1, e, part))
                return d;
        } else if (end < in.len) {
            seed = seed * 1664525u + 1013904223u;
            end += 1 + (seed >> 8) % step;
            end = end < in.len ? end : in.len;
        } else {
            break;
        }
    }
    if (flags & 4) {
        struct http_event e = h1_feed_eof(&h1);
        must(e.kind == HTTP_EVENT_MORE || e.kind == HTTP_EVENT_END || e.kind == HTTP_EVENT_BAD);
        add_number(&d, e.kind);
    }
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    if (size < 2)
        return 0;
    struct span settings = fuzz_take(&in, 2);
    uint8_t flags = settings.ptr[0];
    struct digest whole = run(flags, in, 0, 0);
    must(whole.hash == run(flags, in, 1, 0).hash);
    must(whole.hash == run(flags, in, 40, settings.ptr[1]).hash);
    return 0;
}
