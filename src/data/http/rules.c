/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/rules.h"

#include "base/must.h"

#include <arpa/inet.h>
#include <assert.h>

#define CONNECTION_OPTIONS_MAX 32

static const struct http_reject rejects[HTTP_RULE_COUNT] = {
#define RULE(id, status, text) [HTTP_RULE_##id] = {#id, status, text},
#include "bridge/rules.def"
#undef RULE
};

#define REFUSE(id) (&rejects[HTTP_RULE_##id])

const struct http_reject *rules_reject(enum http_rule rule)
{
    return &rejects[rule];
}

void rules_count(struct report_page *page, const struct http_reject *broken, bool by_upstream)
{
    must(broken >= rejects && broken < rejects + HTTP_RULE_COUNT);
    static_assert(HTTP_RULE_bare_lf == 0, "the first row");
    uint32_t first = by_upstream ? REPORT_UPSTREAM_RULE_bare_lf : REPORT_RULE_bare_lf;
    report_add(page, (enum report_counter)(first + (uint32_t)(broken - rejects)), 1);
    if (by_upstream)
        report_add(page, REPORT_UPSTREAM_BAD, 1);
    else if (broken != REFUSE(truncated))
        report_add(page, REPORT_REQUESTS_BAD, 1);
}

/* --- names ----------------------------------------------------------------------------------- */

/* Compares with a lower-case name of the same length. Letters fold by setting one bit; of the
 * bytes a token may hold no other becomes a letter or '-' by it. '_' counts as '-', because many
 * application servers make no difference. */
static inline bool is_name(const uint8_t *s, const char *lower, size_t len, bool *underscore)
{
    *underscore = false;
    for (size_t i = 0; i < len; i++) {
        if ((s[i] | 0x20) == (uint8_t)lower[i])
            continue;
        if (s[i] != '_' || lower[i] != '-')
            return false;
        *underscore = true;
    }
    return true;
}

#define NAME(text, name)                                                                           \
    if (is_name(s.ptr, text, sizeof(text) - 1, &underscore))                                       \
        return underscore ? -1 : (int)(name);

/* enum http_name, or -1 for a look-alike with an underscore. */
static int find_name(struct span s)
{
    bool underscore;
    switch (s.len) {
    case 2:
        NAME("te", HTTP_NAME_TE)
        break;
    case 4:
        NAME("host", HTTP_NAME_HOST)
        break;
    case 6:
        NAME("expect", HTTP_NAME_EXPECT)
        break;
    case 7:
        NAME("upgrade", HTTP_NAME_UPGRADE)
        NAME("trailer", HTTP_NAME_TRAILER)
        break;
    case 9:
        NAME("x-real-ip", HTTP_NAME_X_REAL_IP)
        break;
    case 10:
        NAME("connection", HTTP_NAME_CONNECTION)
        NAME("keep-alive", HTTP_NAME_KEEP_ALIVE)
        break;
    case 14:
        NAME("content-length", HTTP_NAME_CONTENT_LENGTH)
        break;
    case 15:
        NAME("x-forwarded-for", HTTP_NAME_X_FORWARDED_FOR)
        break;
    case 16:
        NAME("proxy-connection", HTTP_NAME_PROXY_CONNECTION)
        NAME("x-forwarded-host", HTTP_NAME_X_FORWARDED_HOST)
        NAME("x-forwarded-port", HTTP_NAME_X_FORWARDED_PORT)
        break;
    case 17:
        NAME("transfer-encoding", HTTP_NAME_TRANSFER_ENCODING)
        NAME("x-forwarded-proto", HTTP_NAME_X_FORWARDED_PROTO)
        break;
    case 18:
        NAME("x-forwarded-server", HTTP_NAME_X_FORWARDED_SERVER)
        break;
    default:
        break;
    }
    return HTTP_NAME_OTHER;
}

static enum http_method find_method(struct span s)
{
#define METHOD(text, method)                                                                       \
    if (memcmp(s.ptr, text, sizeof(text) - 1) == 0)                                                \
        return method;
    switch (s.len) {
    case 3:
        METHOD("GET", HTTP_GET)
        METHOD("PUT", HTTP_PUT)
        break;
    case 4:
        METHOD("POST", HTTP_POST)
        METHOD("HEAD", HTTP_HEAD)
        break;
    case 5:
        METHOD("PATCH", HTTP_PATCH)
        METHOD("TRACE", HTTP_TRACE)
        break;
    case 6:
        METHOD("DELETE", HTTP_DELETE)
        break;
    case 7:
        METHOD("OPTIONS", HTTP_OPTIONS)
        METHOD("CONNECT", HTTP_CONNECT)
        break;
    default:
        break;
    }
    return HTTP_OTHER;
#undef METHOD
}

/* --- values ---------------------------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of a host name or IPv4 address. */
static const bool host_bytes[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true,
    ['.'] = true,         ['_'] = true,         ['~'] = true,
};

/* "[::1]" at the begin of text: its length, or 0. */
static size_t ipv6_literal(struct span text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    size_t end = span_find(text, ']');
    if (end == text.len || end - 1 >= sizeof copy)
        return 0;
    memcpy(copy, text.ptr + 1, end - 1);
    copy[end - 1] = 0;
    bool whole = memchr(copy, 0, end - 1) == NULL;
    return whole && inet_pton(AF_INET6, copy, &unused) == 1 ? end + 1 : 0;
}

bool rules_is_authority(struct span text)
{
    size_t at = 0;
    if (text.len == 0 || text.len > 261) /* 255 of a name, colon, five digits */
        return false;
    if (text.ptr[0] == '[')
        at = ipv6_literal(text);
    else
        while (at < text.len && host_bytes[text.ptr[at]])
            at++;
    if (at == 0)
        return false;
    if (at == text.len)
        return true;
    if (text.ptr[at] != ':' || text.len - at > 6)
        return false;
    unsigned port = 0;
    for (at++; at < text.len; at++) {
        if (!is_digit(text.ptr[at]))
            return false;
        port = port * 10 + (text.ptr[at] - '0');
    }
    return port <= 65535;
}

/* The next member of a comma-separated list without white space around it; false at the end. */
static bool next_member(struct span *list, struct span *ret)
{
    while (list->len) {
        size_t comma = span_find(*list, ',');
        struct span member = span_first(*list, comma);
        *list = span_skip(*list, comma + 1);
        while (member.len && (member.ptr[0] == ' ' || member.ptr[0] == '\t'))
            member = span_skip(member, 1);
        while (member.len &&
               (member.ptr[member.len - 1] == ' ' || member.ptr[member.len - 1] == '\t'))
            member.len--;
        if (member.len) {
            *ret = member;
            return true;
        }
    }
    return false;
}

/* What the loop over the fields finds out. */
struct findings {
    const struct http_reject *reject;
    struct span host, coding;
    unsigned hosts, lengths, codings;
    unsigned connections; /* Connection fields */
    bool has_upgrade;
    bool close, keep_alive, upgrade; /* options of Connection */
};

static void note_length(struct http_head *head, struct http_field *field, struct findings *f)
{
    if (f->lengths++)
        f->reject = REFUSE(length_twice);
    uint64_t n = 0;
    for (size_t i = 0; i < field->value.len; i++) {
        uint8_t c = field->value.ptr[i];
        if (!is_digit(c) || n > (UINT64_MAX >> 1) / 10 - 1) {
            f->reject = REFUSE(length_bad);
            return;
        }
        n = n * 10 + (c - '0');
    }
    if (field->value.len == 0)
        f->reject = REFUSE(length_bad);
    head->content_length = n;
}

static void note_te(struct http_head *head, struct http_field *field)
{
    struct span list = field->value, member;
    field->drop = true;
    while (next_member(&list, &member)) {
        if (!span_eq_nocase(member, SPAN_LITERAL("trailers")))
            continue;
        field->value = SPAN_LITERAL("trailers");
        field->drop = head->is_response;
        return;
    }
}

/* One known field. */
static void note_field(struct http_head *head, struct http_field *field, struct findings *f)
{
    switch (field->known) {
    case HTTP_NAME_HOST:
        f->hosts++;
        f->host = field->value;
        field->drop = !head->is_response;
        break;
    case HTTP_NAME_CONNECTION:
        f->connections++;
        field->drop = true;
        break;
    case HTTP_NAME_CONTENT_LENGTH:
        note_length(head, field, f);
        field->drop = true;
        break;
    case HTTP_NAME_TRANSFER_ENCODING:
        f->codings++;
        f->coding = field->value;
        field->drop = true;
        break;
    case HTTP_NAME_UPGRADE:
        f->has_upgrade = true;
        field->drop = true;
        break;
    case HTTP_NAME_KEEP_ALIVE:
    case HTTP_NAME_PROXY_CONNECTION:
        field->drop = true;
        break;
    case HTTP_NAME_TE:
        note_te(head, field);
        break;
    case HTTP_NAME_TRAILER:
        head->has_trailer = true;
        break;
    case HTTP_NAME_EXPECT:
        if (head->is_response)
            break;
        head->expect_continue = true;
        field->drop = true;
        if (!span_eq_nocase(field->value, SPAN_LITERAL("100-continue")))
            f->reject = REFUSE(expectation);
        break;
    default:
        break;
    }
}

/* What a Connection option names is for this hop only. The fields that tell of the client are not
 * the client's to remove: they are forward.c's. */
static void drop_named(struct http_head *head, struct span option)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        bool ours =
            field->known >= HTTP_NAME_X_FORWARDED_FOR && field->known <= HTTP_NAME_X_REAL_IP;
        if (!ours && span_eq_nocase(field->name, option))
            field->drop = true;
    }
}

/* Options of all Connection fields: drops the fields that they name. */
static void note_connection(struct http_head *head, struct findings *f)
{
    unsigned options = 0;
    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].known != HTTP_NAME_CONNECTION)
            continue;
        struct span list = head->fields[i].value, option;
        while (next_member(&list, &option)) {
            if (++options > CONNECTION_OPTIONS_MAX) {
                f->reject = REFUSE(connection_options);
                return;
            }
            if (span_eq_nocase(option, SPAN_LITERAL("keep-alive"))) {
                f->keep_alive = true;
                continue;
            }
            if (span_eq_nocase(option, SPAN_LITERAL("close"))) {
                f->close = true;
                continue;
            }
            f->upgrade |= span_eq_nocase(option, SPAN_LITERAL("upgrade"));
            if (span_eq_nocase(option, SPAN_LITERAL("te")))
                continue; /* judged by its value */
            drop_named(head, option);
        }
    }
}

static void note_fields(struct http_head *head, struct findings *f)
{
    head->content_length = 0;
    head->expect_continue = false;
    head->has_trailer = false;
    for (unsigned i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        int known = find_name(field->name);
        field->known = known < 0 ? HTTP_NAME_OTHER : (enum http_name)known;
        field->drop = known < 0;
        if (known > 0)
            note_field(head, field, f);
    }
    if (f->connections)
        note_connection(head, f);
    head->upgrade = f->upgrade && f->has_upgrade;
    head->keep_alive = !f->close && (head->minor > 0 || f->keep_alive);
}

/* --- framing --------------------------------------------------------------------------------- */

/* Transfer-Encoding: chunked, alone, in HTTP/1.1, without Content-Length. */
static const struct http_reject *judge_coding(const struct http_head *head,
                                              const struct findings *f)
{
    if (f->lengths)
        return REFUSE(length_and_coding);
    if (f->codings > 1)
        return REFUSE(coding_twice);
    if (head->minor == 0)
        return REFUSE(coding_in_http10);
    if (span_eq_nocase(f->coding, SPAN_LITERAL("chunked")))
        return NULL;
    struct span list = f->coding, member;
    unsigned members = 0, chunked = 0;
    bool last = false;
    while (next_member(&list, &member)) {
        last = span_eq_nocase(member, SPAN_LITERAL("chunked"));
        chunked += last;
        members++;
    }
    bool bad = members == 0 || chunked > 1 || (chunked == 1 && !last) || chunked == members;
    return bad ? REFUSE(coding_bad) : REFUSE(coding_unknown);
}

/* Host, and whether an absolute-form target (or :authority) has decided already. */
static const struct http_reject *judge_host(struct http_head *head, const struct findings *f)
{
    if (f->hosts > 1)
        return REFUSE(host_twice);
    if (f->hosts == 0 && head->major == 1 && head->minor > 0)
        return REFUSE(host_missing);
    if (f->hosts && !rules_is_authority(f->host))
        return REFUSE(host_bad);
    if (head->authority.len == 0)
        head->authority = f->host;
    else if (!rules_is_authority(head->authority))
        return REFUSE(host_bad);
    if (head->authority.len == 0 && head->major > 1)
        return REFUSE(host_missing);
    if (head->major > 1 && f->hosts && !span_eq_nocase(f->host, head->authority))
        return REFUSE(host_bad); /* RFC 9113 section 8.3.1 */
    return NULL;
}

const struct http_reject *rules_request(struct http_head *head)
{
    struct findings f = {0};
    head->method = find_method(head->method_text);
    if (head->method == HTTP_CONNECT)
        return REFUSE(method_connect);
    note_fields(head, &f);
    const struct http_reject *bad = f.codings ? judge_coding(head, &f) : f.reject;
    bad = bad ? bad : f.reject;
    bad = bad ? bad : judge_host(head, &f);
    if (bad)
        return bad;
    bool frames = head->body == HTTP_BODY_FRAMES;
    head->body = f.codings ? HTTP_BODY_CHUNKED : f.lengths ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    if (frames && head->body == HTTP_BODY_NONE)
        head->body = HTTP_BODY_CHUNKED; /* of no known length */
    head->expect_continue &= head->minor > 0 && head->body != HTTP_BODY_NONE;
    return NULL;
}

/* The Content-Length of a body that is not sent is news for the client. */
static void keep_length(struct http_head *head)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (head->fields[i].known == HTTP_NAME_CONTENT_LENGTH)
            head->fields[i].drop = false;
}

const struct http_reject *rules_response(struct http_head *head, enum http_method request_method)
{
    struct findings f = {0};
    note_fields(head, &f);
    const struct http_reject *bad = f.codings ? judge_coding(head, &f) : f.reject;
    bad = bad ? bad : f.reject;
    if (bad)
        return bad;
    bool never_a_body = head->status < 200 || head->status == 204;
    if (never_a_body && (f.codings || head->content_length > 0))
        return REFUSE(body_forbidden);
    if (never_a_body) {
        head->body = HTTP_BODY_NONE;
    } else if (request_method == HTTP_HEAD || head->status == 304) {
        head->body = HTTP_BODY_NONE;
        keep_length(head);
    } else if (f.codings) {
        head->body = HTTP_BODY_CHUNKED;
    } else if (f.lengths) {
        head->body = HTTP_BODY_LENGTH;
    } else {
        head->body = HTTP_BODY_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return NULL;
}

/* --- trailers and tunnels -------------------------------------------------------------------- */

/* Fields that route, authenticate or describe a body come too late in a trailer section. */
static bool is_late(struct span name)
{
    static const struct span late[] = {
        SPAN_LITERAL("authorization"),    SPAN_LITERAL("proxy-authorization"),
        SPAN_LITERAL("www-authenticate"), SPAN_LITERAL("proxy-authenticate"),
        SPAN_LITERAL("cookie"),           SPAN_LITERAL("set-cookie"),
        SPAN_LITERAL("content-encoding"), SPAN_LITERAL("content-type"),
        SPAN_LITERAL("content-range"),    SPAN_LITERAL("cache-control"),
        SPAN_LITERAL("location"),         SPAN_LITERAL("range"),
        SPAN_LITERAL("max-forwards"),     SPAN_LITERAL("vary"),
    };
    for (size_t i = 0; i < sizeof late / sizeof *late; i++)
        if (span_eq_nocase(name, late[i]))
            return true;
    return false;
}

const struct http_reject *rules_trailers(struct http_head *head)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        int known = find_name(field->name);
        field->known = known < 0 ? HTTP_NAME_OTHER : (enum http_name)known;
        field->drop = known != HTTP_NAME_OTHER || is_late(field->name);
        if (known == HTTP_NAME_CONTENT_LENGTH || known == HTTP_NAME_TRANSFER_ENCODING ||
            known == HTTP_NAME_HOST)
            return REFUSE(framing_in_trailers);
    }
    return NULL;
}

static bool is_protocol_byte(uint8_t c)
{
    uint8_t lower = c | 0x20;
    return is_digit(c) || (lower >= 'a' && lower <= 'z') || memchr("-._+/", c, 5);
}

struct span rules_upgrade(const struct http_head *head)
{
    static const struct span ours[] = {SPAN_LITERAL("http"), SPAN_LITERAL("h2"),
                                       SPAN_LITERAL("tls")};
    const struct span none = {0};
    struct span found = none;
    bool body = head->body == HTTP_BODY_CHUNKED || head->content_length > 0;
    if (!head->upgrade || head->minor == 0 || body)
        return none;
    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].known != HTTP_NAME_UPGRADE)
            continue;
        if (found.len)
            return none;
        found = head->fields[i].value;
    }
    for (size_t i = 0; i < found.len; i++)
        if (!is_protocol_byte(found.ptr[i]))
            return none;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (span_eq_nocase(span_first(found, ours[i].len), ours[i]))
            return none;
    return found;
}

void rules_pass_upgrade(struct http_head *head)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (head->fields[i].known == HTTP_NAME_UPGRADE)
            head->fields[i].drop = false;
}
