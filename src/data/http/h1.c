/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h1.h"

#include "base/must.h"
#include "data/http/rules.h"

/* llhttp names its methods as data/http/message.h does. */
#define HTTP_DELETE  LLHTTP_METHOD_DELETE
#define HTTP_GET     LLHTTP_METHOD_GET
#define HTTP_HEAD    LLHTTP_METHOD_HEAD
#define HTTP_POST    LLHTTP_METHOD_POST
#define HTTP_PUT     LLHTTP_METHOD_PUT
#define HTTP_CONNECT LLHTTP_METHOD_CONNECT
#define HTTP_OPTIONS LLHTTP_METHOD_OPTIONS
#define HTTP_TRACE   LLHTTP_METHOD_TRACE
#define HTTP_PATCH   LLHTTP_METHOD_PATCH
#include <llhttp.h>
#undef HTTP_DELETE
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_CONNECT
#undef HTTP_OPTIONS
#undef HTTP_TRACE
#undef HTTP_PATCH

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BLANK_LINES_MAX     4u
#define EXTENSION_BYTES_MAX 4096u
#define CHUNK_DIGITS_MAX    15u /* leading zeros included: far below any overflow */

enum h1_phase {
    H1_PHASE_HEAD = 0,
    H1_PHASE_LENGTH,    /* `left` bytes of body */
    H1_PHASE_TO_CLOSE,  /* body until the transport ends */
    H1_PHASE_SIZE,      /* digits of a chunk size */
    H1_PHASE_EXTENSION, /* behind them, up to CR */
    H1_PHASE_SIZE_LF,   /* LF of the size line */
    H1_PHASE_CHUNK,     /* `left` bytes of chunk */
    H1_PHASE_CHUNK_CR,  /* behind the chunk */
    H1_PHASE_CHUNK_LF,  /* */
    H1_PHASE_LAST,      /* behind the last size line: trailers or CRLF */
    H1_PHASE_LAST_LF,   /* LF of the empty line */
    H1_PHASE_TRAILERS,  /* trailer section */
    H1_PHASE_END,       /* END is to be told */
    H1_PHASE_DONE,      /* until h1_next() */
    H1_PHASE_BAD,
};

void h1_init(struct h1 *h1, enum h1_role role, uint32_t head_max, struct http_head *head)
{
    must(head_max >= 1024 && head_max <= 1048576);
    *h1 = (struct h1){.head = head, .head_max = head_max, .role = (uint8_t)role};
}

void h1_next(struct h1 *h1)
{
    must(h1->phase == H1_PHASE_DONE);
    uint8_t method = h1->method; /* a final response answers the same request as a 1xx */
    h1_init(h1, h1->role, h1->head_max, h1->head);
    h1->method = method;
}

void h1_expect(struct h1 *h1, enum http_method method)
{
    h1->method = (uint8_t)method;
}

static struct http_event event_of(enum http_event_kind kind)
{
    return (struct http_event){.kind = kind};
}

static struct http_event refuse(struct h1 *h1, enum http_rule rule)
{
    h1->phase = H1_PHASE_BAD;
    h1->reject = rules_reject(rule);
    return (struct http_event){.kind = HTTP_EVENT_BAD, .reject = h1->reject};
}

/* --- finding the end of a head ---------------------------------------------------------------- */

static inline bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

/* Offset of the first control byte at or behind `at`, or in.len. */
static size_t find_control(struct span in, size_t at)
{
#ifdef __SSE2__
    const __m128i highest = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    for (; at + 16 <= in.len; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in.ptr + at));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, highest), v);
        int hits = _mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, del)));
        if (hits)
            return at + (size_t)__builtin_ctz((unsigned)hits);
    }
#endif
    while (at < in.len && !is_control(in.ptr[at]))
        at++;
    return at;
}

enum scan { SCAN_MORE = 0, SCAN_END, SCAN_BAD };

/* Goes on from h1->seen to the blank line that ends a head or trailer section; lines end with CRLF
 * and nothing else, and no other control byte but tab is let through. SCAN_END: *ret_len bytes
 * with the blank line; SCAN_BAD: *ret_rule. */
static enum scan scan_section(struct h1 *h1, struct span in, size_t *ret_len,
                              enum http_rule *ret_rule)
{
    size_t at = h1->seen;
    for (;;) {
        at = find_control(in, at);
        if (at == in.len)
            break;
        uint8_t c = in.ptr[at];
        if (c == '\t') {
            at++;
            continue;
        }
        if (c != '\r') {
            *ret_rule = c == '\n' ? HTTP_RULE_bare_lf : HTTP_RULE_control_byte;
            return SCAN_BAD;
        }
        if (at + 1 == in.len)
            break;
        if (in.ptr[at + 1] != '\n') {
            *ret_rule = HTTP_RULE_bare_cr;
            return SCAN_BAD;
        }
        if (at == 0 || in.ptr[at - 1] == '\n') { /* every LF so far ended a line */
            *ret_len = at + 2;
            return SCAN_END;
        }
        at += 2;
    }
    h1->seen = (uint32_t)at;
    return SCAN_MORE;
}

/* --- llhttp ------------------------------------------------------------------------------------
 */

/* One run of llhttp over a whole head. */
struct run {
    llhttp_t parser; /* first: callbacks get its address */
    struct http_head *head;
    struct span url, reason;
    bool too_many;
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    ((struct run *)(void *)parser)->url = span_of(at, len);
    return 0;
}

static int on_status(llhttp_t *parser, const char *at, size_t len)
{
    ((struct run *)(void *)parser)->reason = span_of(at, len);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct run *run = (struct run *)(void *)parser;
    struct http_head *head = run->head;
    if (head->field_count == HTTP_FIELDS_MAX) {
        run->too_many = true;
        return HPE_USER;
    }
    head->fields[head->field_count++] =
        (struct http_field){.name = span_of(at, len), .value = span_of(at + len, 0)};
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http_head *head = ((struct run *)(void *)parser)->head;
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    head->fields[head->field_count - 1].value = span_of(at, len);
    return 0;
}

/* Stops behind the head whatever follows according to llhttp: bodies are read here. */
static int on_headers_complete(llhttp_t *parser)
{
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static bool has_field(const struct http_head *head, struct span name)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, name))
            return true;
    return false;
}

static bool is_token_byte(uint8_t c)
{
    return c > 0x20 && c < 0x7f && !memchr("\"(),/:;<=>?@[\\]{}", c, 17);
}

/* What is wrong with the field line in which llhttp stopped; it may have gone past the byte. */
static enum http_rule field_rule(const struct run *run, struct span in)
{
    const uint8_t *line = (const uint8_t *)llhttp_get_error_pos(&run->parser);
    const uint8_t *end = in.ptr + in.len;
    if (line < in.ptr || line >= end)
        return HTTP_RULE_field_name;
    while (line > in.ptr && line[-1] != '\n')
        line--;
    if (*line == ' ' || *line == '\t')
        return HTTP_RULE_folded_field;
    const uint8_t *at = line;
    while (at < end && is_token_byte(*at))
        at++;
    bool white = at > line && at < end && (*at == ' ' || *at == '\t');
    return white ? HTTP_RULE_space_before_colon : HTTP_RULE_field_name;
}

/* The rule that fits an error of llhttp. */
static enum http_rule llhttp_rule(const struct run *run, llhttp_errno_t error, struct span in)
{
    switch (error) {
    case HPE_INVALID_METHOD:
        return HTTP_RULE_method_unknown;
    case HPE_INVALID_URL:
        return HTTP_RULE_target;
    case HPE_OK: /* the preface of HTTP/2: only there a blank line is not the end */
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        return HTTP_RULE_version;
    case HPE_INVALID_STATUS:
        return HTTP_RULE_status_code;
    case HPE_UNEXPECTED_SPACE:
        return HTTP_RULE_folded_field;
    case HPE_INVALID_HEADER_TOKEN:
        return field_rule(run, in);
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        if (has_field(run->head, SPAN_LITERAL("transfer-encoding")))
            return HTTP_RULE_length_and_coding;
        return error == HPE_INVALID_CONTENT_LENGTH ? HTTP_RULE_length_bad : HTTP_RULE_length_twice;
    case HPE_INVALID_TRANSFER_ENCODING:
        return has_field(run->head, SPAN_LITERAL("content-length")) ? HTTP_RULE_length_and_coding
                                                                    : HTTP_RULE_coding_bad;
    case HPE_USER:
        return run->too_many ? HTTP_RULE_too_many_fields : HTTP_RULE_start_line;
    default:
        return HTTP_RULE_start_line;
    }
}

/* --- heads --------------------------------------------------------------------------------------
 */

#define NO_RULE HTTP_RULE_COUNT

/* "/" and the query of a target that has no path of its own. */
static enum http_rule make_path(struct http_head *head, struct span query)
{
    if (query.len == 0) {
        bool asterisk = span_eq(head->method_text, SPAN_LITERAL("OPTIONS"));
        head->path = asterisk ? SPAN_LITERAL("*") : SPAN_LITERAL("/");
        return NO_RULE;
    }
    if (query.len >= sizeof head->path_made)
        return HTTP_RULE_request_line_too_long;
    head->path_made[0] = '/';
    memcpy(head->path_made + 1, query.ptr, query.len);
    head->path = span_of(head->path_made, query.len + 1);
    return NO_RULE;
}

/* Splits the target into authority (absolute form only) and path (RFC 9112 section 3.2). */
static enum http_rule split_target(struct http_head *head, struct span url)
{
    head->authority = span_of(NULL, 0);
    head->path = url;
    if (url.len == 0 || span_find(url, '#') != url.len)
        return HTTP_RULE_target;
    if (url.ptr[0] == '/')
        return NO_RULE;
    if (url.len == 1 && url.ptr[0] == '*')
        return span_eq(head->method_text, SPAN_LITERAL("OPTIONS")) ? NO_RULE : HTTP_RULE_target;
    struct span scheme = span_first(url, span_find(url, ':'));
    struct span rest = span_skip(url, scheme.len);
    if (span_eq(head->method_text, SPAN_LITERAL("CONNECT")))
        return HTTP_RULE_method_connect;
    if (!span_eq_nocase(scheme, SPAN_LITERAL("http")) &&
        !span_eq_nocase(scheme, SPAN_LITERAL("https")))
        return HTTP_RULE_target;
    if (!span_starts_with(rest, SPAN_LITERAL("://")))
        return HTTP_RULE_target;
    rest = span_skip(rest, 3);
    head->authority = span_first(rest, span_find(rest, '/'));
    head->authority.len = span_find(head->authority, '?');
    head->path = span_skip(rest, head->authority.len);
    if (head->authority.len == 0)
        return HTTP_RULE_target;
    return head->path.len && head->path.ptr[0] == '/' ? NO_RULE : make_path(head, head->path);
}

/* "GET /path HTTP/1.1" and nothing else: llhttp takes more spaces and other protocols. */
static enum http_rule request_line(struct http_head *head, struct span in, struct span url)
{
    const uint8_t *end = url.ptr + url.len;
    head->method_text = span_first(in, span_find(in, ' '));
    if (!url.ptr || url.ptr != in.ptr + head->method_text.len + 1)
        return HTTP_RULE_start_line;
    if (in.ptr + in.len - end < 11 || memcmp(end, " HTTP/1.", 8) != 0 || end[9] != '\r' ||
        end[8] < '0' || end[8] > '1')
        return HTTP_RULE_version;
    head->minor = end[8] - '0';
    return split_target(head, url);
}

/* "HTTP/1.1 200 OK", also without reason. */
static enum http_rule status_line(struct http_head *head, struct span in, struct span reason)
{
    if (in.len < 14 || memcmp(in.ptr, "HTTP/1.", 7) != 0 || in.ptr[7] < '0' || in.ptr[7] > '1')
        return HTTP_RULE_version;
    const uint8_t *s = in.ptr + 8;
    for (int i = 1; i <= 3; i++)
        if (s[i] < '0' || s[i] > '9')
            return HTTP_RULE_status_code;
    if (s[0] != ' ' || (s[4] != ' ' && s[4] != '\r'))
        return HTTP_RULE_start_line;
    head->minor = in.ptr[7] - '0';
    head->status = (uint16_t)((s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0'));
    head->reason = reason;
    return head->status < 100 ? HTTP_RULE_status_code : NO_RULE;
}

/* A whole head, with its blank line, into h1->head. */
static enum http_rule parse_head(struct h1 *h1, struct span in)
{
    struct run run = {.head = h1->head};
    bool request = h1->role == H1_SERVER;
    llhttp_init(&run.parser, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    memset(run.head, 0, offsetof(struct http_head, fields));
    run.head->major = 1;
    run.head->is_response = !request;
    llhttp_errno_t error = llhttp_execute(&run.parser, (const char *)in.ptr, in.len);
    if (error != HPE_PAUSED) {
        enum http_rule rule = llhttp_rule(&run, error, in);
        size_t token = 0;
        while (token < in.len && is_token_byte(in.ptr[token]))
            token++;
        bool is_method = token > 0 && token < in.len && in.ptr[token] == ' ';
        return rule == HTTP_RULE_method_unknown && !is_method ? HTTP_RULE_start_line : rule;
    }
    return request ? request_line(run.head, in, run.url) : status_line(run.head, in, run.reason);
}

static void begin_body(struct h1 *h1)
{
    static const uint8_t phases[] = {
        [HTTP_BODY_NONE] = H1_PHASE_END,
        [HTTP_BODY_LENGTH] = H1_PHASE_LENGTH,
        [HTTP_BODY_CHUNKED] = H1_PHASE_SIZE,
        [HTTP_BODY_UNTIL_CLOSE] = H1_PHASE_TO_CLOSE,
    };
    h1->phase = phases[h1->head->body];
    h1->left = h1->head->content_length;
    h1->seen = 0;
}

/* Room for a head is used up and its end is not there. */
static struct http_event refuse_size(struct h1 *h1, struct span in)
{
    if (h1->role == H1_CLIENT || span_find(in, '\n') < in.len)
        return refuse(h1, HTTP_RULE_head_too_large);
    bool method = span_find(in, ' ') == in.len; /* RFC 9112 section 3 */
    return refuse(h1, method ? HTTP_RULE_method_unknown : HTTP_RULE_request_line_too_long);
}

/* Empty lines before a request line are skipped (RFC 9112 section 2.2). */
static size_t skip_blank_lines(struct h1 *h1, struct span in)
{
    size_t n = 0;
    while (h1->blank_lines < BLANK_LINES_MAX && in.len - n >= 2 && in.ptr[n] == '\r' &&
           in.ptr[n + 1] == '\n') {
        h1->blank_lines++;
        n += 2;
    }
    return n;
}

static struct http_event feed_head(struct h1 *h1, struct span in, size_t *ret_used)
{
    if (h1->role == H1_SERVER && h1->seen == 0) {
        *ret_used = skip_blank_lines(h1, in);
        in = span_skip(in, *ret_used);
    }
    struct span room = span_first(in, h1->head_max);
    size_t len;
    enum http_rule rule;
    switch (scan_section(h1, room, &len, &rule)) {
    case SCAN_MORE:
        return in.len >= h1->head_max ? refuse_size(h1, room) : event_of(HTTP_EVENT_MORE);
    case SCAN_BAD:
        return refuse(h1, rule);
    case SCAN_END:
        break;
    }
    if (len == 2)
        return refuse(h1, h1->role == H1_SERVER ? HTTP_RULE_blank_lines : HTTP_RULE_start_line);
    rule = parse_head(h1, span_first(in, len));
    if (rule != NO_RULE)
        return refuse(h1, rule);
    const struct http_reject *reject = h1->role == H1_SERVER
                                           ? rules_request(h1->head)
                                           : rules_response(h1->head, (enum http_method)h1->method);
    if (reject) {
        h1->phase = H1_PHASE_BAD;
        h1->reject = reject;
        return (struct http_event){.kind = HTTP_EVENT_BAD, .reject = reject};
    }
    begin_body(h1);
    *ret_used += len;
    return (struct http_event){.kind = HTTP_EVENT_HEAD, .head = h1->head};
}

/* --- bodies -------------------------------------------------------------------------------------
 */

/* Bytes of a body or chunk of which h1->left are to come. */
static struct http_event feed_bytes(struct h1 *h1, struct span in, size_t *ret_used)
{
    struct span part = span_first(in, h1->left < in.len ? (size_t)h1->left : in.len);
    *ret_used += part.len;
    h1->left -= part.len;
    return (struct http_event){.kind = HTTP_EVENT_BODY, .body = part};
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the lines around chunks (RFC 9112 section 7.1). False: *ret_rule is broken. */
static bool chunk_line_byte(struct h1 *h1, uint8_t c, enum http_rule *ret_rule)
{
    switch (h1->phase) {
    case H1_PHASE_SIZE: {
        int v = hex_value(c);
        *ret_rule = HTTP_RULE_chunk_size;
        if (v >= 0) {
            h1->left = h1->left << 4 | (unsigned)v;
            return ++h1->digits <= CHUNK_DIGITS_MAX;
        }
        h1->phase = c == '\r' ? H1_PHASE_SIZE_LF : H1_PHASE_EXTENSION;
        return h1->digits > 0 && (c == '\r' || c == ';');
    }
    case H1_PHASE_EXTENSION:
        if (c == '\r') {
            h1->phase = H1_PHASE_SIZE_LF;
            return true;
        }
        *ret_rule = HTTP_RULE_chunk_extensions;
        return ++h1->extension_bytes <= EXTENSION_BYTES_MAX && (!is_control(c) || c == '\t');
    case H1_PHASE_SIZE_LF:
        *ret_rule = HTTP_RULE_chunk_size;
        h1->phase = h1->left ? H1_PHASE_CHUNK : H1_PHASE_LAST;
        return c == '\n';
    case H1_PHASE_CHUNK_CR:
        *ret_rule = HTTP_RULE_chunk_end;
        h1->phase = H1_PHASE_CHUNK_LF;
        return c == '\r';
    case H1_PHASE_CHUNK_LF:
        *ret_rule = HTTP_RULE_chunk_end;
        h1->phase = H1_PHASE_SIZE;
        h1->digits = 0;
        return c == '\n';
    default:
        never();
    }
}

static struct http_event feed_chunks(struct h1 *h1, struct span in, size_t *ret_used)
{
    enum http_rule rule;
    size_t at = 0;
    while (h1->phase != H1_PHASE_CHUNK && h1->phase != H1_PHASE_LAST) {
        *ret_used = at;
        if (at == in.len)
            return event_of(HTTP_EVENT_MORE);
        if (!chunk_line_byte(h1, in.ptr[at++], &rule))
            return refuse(h1, rule);
    }
    *ret_used = at;
    if (h1->phase == H1_PHASE_LAST || at == in.len)
        return event_of(HTTP_EVENT_MORE); /* h1_feed() goes on */
    struct http_event event = feed_bytes(h1, span_skip(in, at), ret_used);
    if (h1->left == 0)
        h1->phase = H1_PHASE_CHUNK_CR;
    return event;
}

/* A trailer section goes through llhttp behind a request line of our own. */
static enum http_rule parse_trailers(struct h1 *h1, struct span in)
{
    static const char line[] = "GET / HTTP/1.1\r\n";
    struct run run = {.head = h1->head};
    llhttp_init(&run.parser, HTTP_REQUEST, &settings);
    memset(run.head, 0, offsetof(struct http_head, fields));
    run.head->major = 1;
    run.head->is_response = h1->role == H1_CLIENT;
    must(llhttp_execute(&run.parser, line, sizeof line - 1) == HPE_OK);
    llhttp_errno_t error = llhttp_execute(&run.parser, (const char *)in.ptr, in.len);
    if (error == HPE_PAUSED)
        return NO_RULE;
    return error == HPE_OK ? HTTP_RULE_field_name : llhttp_rule(&run, error, in);
}

static struct http_event feed_trailers(struct h1 *h1, struct span in, size_t *ret_used)
{
    struct span room = span_first(in, h1->head_max);
    size_t len;
    enum http_rule rule;
    switch (scan_section(h1, room, &len, &rule)) {
    case SCAN_MORE:
        return in.len >= h1->head_max ? refuse(h1, HTTP_RULE_trailers_too_large)
                                      : event_of(HTTP_EVENT_MORE);
    case SCAN_BAD:
        return refuse(h1, rule);
    case SCAN_END:
        break;
    }
    rule = parse_trailers(h1, span_first(in, len));
    if (rule != NO_RULE)
        return refuse(h1, rule);
    const struct http_reject *reject = rules_trailers(h1->head);
    if (reject) {
        h1->phase = H1_PHASE_BAD;
        h1->reject = reject;
        return (struct http_event){.kind = HTTP_EVENT_BAD, .reject = reject};
    }
    h1->phase = H1_PHASE_END;
    *ret_used += len;
    return (struct http_event){.kind = HTTP_EVENT_TRAILERS, .head = h1->head};
}

/* Behind the last chunk: mostly just CRLF, which needs no contiguous input. */
static struct http_event feed_last(struct h1 *h1, struct span in, size_t *ret_used)
{
    if (h1->phase == H1_PHASE_LAST) {
        if (in.len == 0)
            return event_of(HTTP_EVENT_MORE);
        h1->seen = 0;
        h1->phase = in.ptr[0] == '\r' ? H1_PHASE_LAST_LF : H1_PHASE_TRAILERS;
        if (h1->phase == H1_PHASE_TRAILERS)
            return feed_trailers(h1, in, ret_used);
        ++*ret_used;
        in = span_skip(in, 1);
    }
    if (in.len == 0)
        return event_of(HTTP_EVENT_MORE);
    if (in.ptr[0] != '\n')
        return refuse(h1, HTTP_RULE_bare_cr);
    ++*ret_used;
    h1->phase = H1_PHASE_DONE;
    return event_of(HTTP_EVENT_END);
}

uint64_t h1_rest(const struct h1 *h1)
{
    return h1->phase == H1_PHASE_LENGTH ? h1->left : 0;
}

void h1_passed(struct h1 *h1, uint64_t bytes)
{
    must(bytes <= h1_rest(h1));
    h1->left -= bytes;
}

struct http_event h1_feed(struct h1 *h1, struct span in, size_t *ret_used)
{
    struct http_event event;
    *ret_used = 0;
    switch ((enum h1_phase)h1->phase) {
    case H1_PHASE_HEAD:
        return feed_head(h1, in, ret_used);
    case H1_PHASE_LENGTH:
        if (h1->left == 0)
            break;
        if (in.len == 0)
            return event_of(HTTP_EVENT_MORE);
        return feed_bytes(h1, in, ret_used);
    case H1_PHASE_TO_CLOSE:
        *ret_used = in.len;
        return in.len ? (struct http_event){.kind = HTTP_EVENT_BODY, .body = in}
                      : event_of(HTTP_EVENT_MORE);
    case H1_PHASE_SIZE:
    case H1_PHASE_EXTENSION:
    case H1_PHASE_SIZE_LF:
    case H1_PHASE_CHUNK:
    case H1_PHASE_CHUNK_CR:
    case H1_PHASE_CHUNK_LF:
        event = feed_chunks(h1, in, ret_used);
        if (h1->phase != H1_PHASE_LAST)
            return event;
        return feed_last(h1, span_skip(in, *ret_used), ret_used);
    case H1_PHASE_LAST:
    case H1_PHASE_LAST_LF:
        return feed_last(h1, in, ret_used);
    case H1_PHASE_TRAILERS:
        return feed_trailers(h1, in, ret_used);
    case H1_PHASE_END:
        break;
    case H1_PHASE_DONE:
        return event_of(HTTP_EVENT_MORE);
    case H1_PHASE_BAD:
        return (struct http_event){.kind = HTTP_EVENT_BAD, .reject = h1->reject};
    }
    h1->phase = H1_PHASE_DONE;
    return event_of(HTTP_EVENT_END);
}

struct http_event h1_feed_eof(struct h1 *h1)
{
    switch ((enum h1_phase)h1->phase) {
    case H1_PHASE_HEAD:
        return h1->seen ? refuse(h1, HTTP_RULE_truncated) : event_of(HTTP_EVENT_MORE);
    case H1_PHASE_DONE:
        return event_of(HTTP_EVENT_MORE);
    case H1_PHASE_LENGTH:
        if (h1->left > 0)
            return refuse(h1, HTTP_RULE_truncated);
        break;
    case H1_PHASE_TO_CLOSE:
    case H1_PHASE_END:
        break;
    case H1_PHASE_BAD:
        return (struct http_event){.kind = HTTP_EVENT_BAD, .reject = h1->reject};
    default:
        return refuse(h1, HTTP_RULE_truncated);
    }
    h1->phase = H1_PHASE_DONE;
    return event_of(HTTP_EVENT_END);
}
