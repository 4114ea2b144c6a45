/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h1.h"

#include "base/must.h"

#define DECIMAL_MAX 20

/* Digits of n behind `end - return`; the text ends at `end`. */
static size_t put_decimal(uint64_t n, uint8_t *end)
{
    uint8_t *at = end;
    do {
        *--at = (uint8_t)('0' + n % 10);
    } while (n /= 10);
    return (size_t)(end - at);
}

static void write_decimal(struct writer *out, uint64_t n)
{
    uint8_t digits[DECIMAL_MAX];
    size_t len = put_decimal(n, digits + sizeof digits);
    writer_bytes(out, digits + sizeof digits - len, len);
}

#define WRITE_TEXT(out, text) writer_bytes((out), (text), sizeof(text) - 1)

static struct result written(const struct writer *out)
{
    return out->bad ? result_fail(ERR_TOO_LARGE) : result_ok();
}

/* As memcpy(), without a call for what most names and values are: up to 32 bytes. */
static inline uint8_t *put_text(uint8_t *to, struct span s)
{
    const uint8_t *from = s.ptr;
    if (s.len > 32) {
        memcpy(to, from, s.len);
    } else if (s.len >= 16) { /* the second piece may overlap the first */
        memcpy(to, from, 16);
        memcpy(to + s.len - 16, from + s.len - 16, 16);
    } else if (s.len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + s.len - 8, from + s.len - 8, 8);
    } else if (s.len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + s.len - 4, from + s.len - 4, 4);
    } else {
        for (size_t i = 0; i < s.len; i++)
            to[i] = from[i];
    }
    return to + s.len;
}

/* Fields that are not dropped. One check of the room per line, because this is most of a head. */
static void write_fields(const struct http_head *head, struct writer *out)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        if (f->drop)
            continue;
        if (out->bad || f->name.len + f->value.len + 4 > out->cap - out->len) {
            out->bad = true;
            return;
        }
        uint8_t *at = put_text(out->ptr + out->len, f->name);
        *at++ = ':';
        *at++ = ' ';
        at = put_text(at, f->value);
        *at++ = '\r';
        *at++ = '\n';
        out->len = (size_t)(at - out->ptr);
    }
}

static void write_length(struct writer *out, uint64_t n)
{
    WRITE_TEXT(out, "Content-Length: ");
    write_decimal(out, n);
    WRITE_TEXT(out, "\r\n");
}

/* Whether a field that is passed on must be listed in Connection. */
static bool passes(const struct http_head *head, enum http_name known)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (head->fields[i].known == known && !head->fields[i].drop)
            return true;
    return false;
}

struct result h1_write_request(const struct http_head *head, struct span target, struct writer *out)
{
    writer_span(out, head->method_text);
    WRITE_TEXT(out, " ");
    writer_span(out, target);
    WRITE_TEXT(out, " HTTP/1.1\r\nHost: ");
    writer_span(out, head->authority);
    WRITE_TEXT(out, "\r\n");
    write_fields(head, out);
    if (head->body == HTTP_BODY_LENGTH)
        write_length(out, head->content_length);
    else if (head->body == HTTP_BODY_CHUNKED)
        WRITE_TEXT(out, "Transfer-Encoding: chunked\r\n");
    bool te = passes(head, HTTP_NAME_TE);
    if (passes(head, HTTP_NAME_UPGRADE))
        WRITE_TEXT(out, "Connection: upgrade\r\n");
    if (te)
        WRITE_TEXT(out, "Connection: TE\r\n");
    WRITE_TEXT(out, "\r\n");
    return written(out);
}

static void write_status_line(struct writer *out, uint16_t status, struct span reason)
{
    uint8_t digits[DECIMAL_MAX];
    must(status >= 100 && status <= 999);
    put_decimal(status, digits + sizeof digits);
    WRITE_TEXT(out, "HTTP/1.1 ");
    writer_bytes(out, digits + sizeof digits - 3, 3);
    WRITE_TEXT(out, " ");
    writer_span(out, reason);
    WRITE_TEXT(out, "\r\n");
}

struct result h1_write_response(const struct http_head *head, uint8_t client_minor,
                                enum http_body body, bool keep_alive, struct writer *out)
{
    must(body != HTTP_BODY_CHUNKED || client_minor > 0);
    write_status_line(out, head->status, head->reason);
    write_fields(head, out);
    if (body == HTTP_BODY_LENGTH)
        write_length(out, head->content_length);
    else if (body == HTTP_BODY_CHUNKED)
        WRITE_TEXT(out, "Transfer-Encoding: chunked\r\n");
    if (head->status < 200) {
        if (passes(head, HTTP_NAME_UPGRADE))
            WRITE_TEXT(out, "Connection: upgrade\r\n");
    } else if (!keep_alive) {
        WRITE_TEXT(out, "Connection: close\r\n");
    } else if (client_minor == 0) {
        WRITE_TEXT(out, "Connection: keep-alive\r\n");
    }
    WRITE_TEXT(out, "\r\n");
    return written(out);
}

/* Fields of an answer; a line of text where it has no body of its own. */
#define ANSWER_TYPE "Content-Type: text/plain; charset=utf-8\r\n"

uint64_t h1_answer_bytes(const struct http_answer *answer, bool is_head)
{
    uint16_t status = answer->status;
    if (is_head || status < 200 || status == 204 || status == 304)
        return 0;
    if (answer->bare || answer->body.len)
        return answer->body.len;
    return 3 + 1 + strlen(h1_reason(status)) + 1;
}

uint32_t h1_answer_room(const struct http_answer *answer)
{
    size_t room = 256 + answer->body.len;
    for (unsigned i = 0; i < answer->field_count; i++)
        room += answer->fields[i].name.len + answer->fields[i].value.len + 4;
    return room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
}

static void write_answer_fields(const struct http_answer *answer, struct writer *out)
{
    for (unsigned i = 0; i < answer->field_count; i++) {
        const struct http_field *f = &answer->fields[i];
        if (f->drop)
            continue;
        writer_span(out, f->name);
        WRITE_TEXT(out, ": ");
        writer_span(out, f->value);
        WRITE_TEXT(out, "\r\n");
    }
}

struct result h1_write_answer(const struct http_answer *answer, bool keep_alive, bool is_head,
                              struct writer *out)
{
    uint16_t status = answer->status;
    struct span reason = span_str(h1_reason(status));
    bool has_body = status >= 200 && status != 204 && status != 304;
    bool says_status = has_body && !answer->bare && answer->body.len == 0;
    write_status_line(out, status, reason);
    write_answer_fields(answer, out);
    if (says_status)
        WRITE_TEXT(out, ANSWER_TYPE);
    if (has_body)
        write_length(out, says_status ? 3 + 1 + reason.len + 1 : answer->body.len);
    if (!keep_alive && status >= 200)
        WRITE_TEXT(out, "Connection: close\r\n");
    WRITE_TEXT(out, "\r\n");
    if (!has_body || is_head)
        return written(out);
    writer_span(out, answer->body);
    if (says_status) {
        write_decimal(out, status);
        WRITE_TEXT(out, " ");
        writer_span(out, reason);
        WRITE_TEXT(out, "\n");
    }
    return written(out);
}

size_t h1_chunk_head(uint64_t len, uint8_t out[H1_CHUNK_HEAD_MAX])
{
    must(len > 0);
    size_t digits = (size_t)(67 - __builtin_clzll(len)) / 4;
    for (size_t i = digits; i > 0; i--, len >>= 4)
        out[i - 1] = (uint8_t) "0123456789abcdef"[len & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

struct result h1_write_fields(const struct http_head *head, struct writer *out)
{
    write_fields(head, out);
    return written(out);
}

const char *h1_reason(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented" /* allowed: RFC 9110 section 15.6.2 */},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return rows[i].reason;
    return "";
}
