/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_head.h"

#include "data/http/websocket.h"

/* What stands before the bytes of a gathered field. */
struct lengths {
    uint32_t name, value;
};

static bool make_room(struct blocks *blocks, struct block **at, size_t need)
{
    struct block *old = *at;
    if (old && block_room(old) >= need)
        return true;
    size_t room = need + (old ? block_len(old) : 0);
    struct block *block =
        room > BLOCK_BODY_BYTES ? NULL : block_take(blocks, (uint32_t)room, false);
    if (!block)
        return false;
    if (old) {
        block_append(block, old->data + old->start, block_len(old));
        block_give_back(blocks, old);
    }
    *at = block;
    return true;
}

bool h2_head_gather(struct blocks *blocks, struct block **at, struct span name, struct span value)
{
    struct lengths lengths = {(uint32_t)name.len, (uint32_t)value.len};
    if (!make_room(blocks, at, sizeof lengths + name.len + value.len))
        return false;
    block_append(*at, &lengths, sizeof lengths);
    block_append(*at, name.ptr, lengths.name);
    block_append(*at, value.ptr, lengths.value);
    return true;
}

/* The next gathered field. */
static bool next_field(struct span *rest, struct span *ret_name, struct span *ret_value)
{
    struct lengths lengths;
    if (rest->len < sizeof lengths)
        return false;
    memcpy(&lengths, rest->ptr, sizeof lengths);
    *rest = span_skip(*rest, sizeof lengths);
    *ret_name = span_first(*rest, lengths.name);
    *rest = span_skip(*rest, lengths.name);
    *ret_value = span_first(*rest, lengths.value);
    *rest = span_skip(*rest, lengths.value);
    return true;
}

static bool add_received(struct http_head *head, struct span name, struct span value)
{
    if (head->field_count == HTTP_FIELDS_MAX)
        return false;
    head->fields[head->field_count++] = (struct http_field){.name = name, .value = value};
    return true;
}

static void note_pseudo(struct http_head *head, struct span name, struct span value,
                        struct span *protocol)
{
    if (span_eq(name, SPAN_LITERAL(":method")))
        head->method_text = value;
    else if (span_eq(name, SPAN_LITERAL(":path")))
        head->path = value;
    else if (span_eq(name, SPAN_LITERAL(":authority")))
        head->authority = value;
    else if (span_eq(name, SPAN_LITERAL(":protocol")))
        *protocol = value;
}

/* Several Cookie fields are one, cut for the sake of compression. */
static bool join_cookies(struct blocks *blocks, struct block **at, uint32_t count, uint32_t bytes)
{
    static const struct span cookie = SPAN_LITERAL("cookie");
    struct lengths lengths = {(uint32_t)cookie.len, bytes + 2 * (count - 1)};
    if (!make_room(blocks, at, sizeof lengths + lengths.name + lengths.value))
        return false;
    struct span rest = block_span(*at), name, value;
    block_append(*at, &lengths, sizeof lengths);
    block_append(*at, cookie.ptr, lengths.name);
    while (next_field(&rest, &name, &value)) {
        if (!span_eq(name, cookie))
            continue;
        block_append(*at, value.ptr, (uint32_t)value.len);
        if (--count)
            block_append(*at, "; ", 2);
    }
    return true;
}

/* The origin form, or * for OPTIONS; CONNECT has none. */
static bool is_path(const struct http_head *head)
{
    struct span path = head->path;
    if (path.len == 1 && path.ptr[0] == '*')
        return span_eq(head->method_text, SPAN_LITERAL("OPTIONS"));
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] <= 0x20 || path.ptr[i] >= 0x7f || path.ptr[i] == '#')
            return false;
    return true;
}

/* Extended CONNECT (RFC 8441 section 5) as the request that HTTP/1 has for it. */
static const struct http_reject *read_connect(struct http_head *head, struct span protocol,
                                              bool more)
{
    if (!websocket_is(protocol))
        return rules_reject(HTTP_RULE_connect_protocol);
    head->method_text = SPAN_LITERAL("GET");
    head->body = HTTP_BODY_NONE;
    const struct http_reject *reject = rules_request(head);
    if (reject)
        return reject;
    if (head->body != HTTP_BODY_NONE || !more)
        return rules_reject(HTTP_RULE_connect_body);
    head->fields[head->field_count++] = (struct http_field){.name = SPAN_LITERAL("Connection"),
                                                            .value = SPAN_LITERAL("Upgrade"),
                                                            .known = HTTP_NAME_CONNECTION,
                                                            .drop = true};
    head->fields[head->field_count++] = (struct http_field){.name = SPAN_LITERAL("Upgrade"),
                                                            .value = SPAN_LITERAL("websocket"),
                                                            .known = HTTP_NAME_UPGRADE,
                                                            .drop = true};
    head->upgrade = head->connect = true;
    return NULL;
}

static const struct http_reject *judge(struct http_head *head, struct span protocol, bool more)
{
    const struct http_reject *reject;
    if (protocol.ptr) {
        reject = read_connect(head, protocol, more);
    } else {
        head->body = more ? HTTP_BODY_FRAMES : HTTP_BODY_NONE;
        reject = rules_request(head);
    }
    if (!reject && !is_path(head))
        reject = rules_reject(HTTP_RULE_target);
    head->keep_alive = true;
    return reject;
}

const struct http_reject *h2_head_read(struct blocks *blocks, struct block **at,
                                       struct http_head *head, bool more)
{
    struct span protocol = {0};
    uint32_t cookies = 0, cookie_bytes = 0;
    struct span rest = block_span(*at), name, value;
    while (next_field(&rest, &name, &value)) {
        bool is_cookie = span_eq(name, SPAN_LITERAL("cookie"));
        cookies += is_cookie;
        cookie_bytes += is_cookie ? (uint32_t)value.len : 0;
    }
    size_t before = block_len(*at);
    if (cookies > 1 && !join_cookies(blocks, at, cookies, cookie_bytes))
        return rules_reject(HTTP_RULE_head_too_large);
    memset(head, 0, offsetof(struct http_head, fields));
    head->major = 2;
    head->minor = 1;
    rest = block_span(*at);
    size_t whole = rest.len;
    while (next_field(&rest, &name, &value)) {
        bool received = whole - rest.len <= before;
        if (name.len && name.ptr[0] == ':')
            note_pseudo(head, name, value, &protocol);
        else if ((cookies < 2 || !received || !span_eq(name, SPAN_LITERAL("cookie"))) &&
                 !add_received(head, name, value))
            return rules_reject(HTTP_RULE_too_many_fields);
    }
    return judge(head, protocol, more);
}

const struct http_reject *h2_head_read_trailers(const struct block *at, struct http_head *head)
{
    struct span rest = at ? block_span(at) : (struct span){0}, name, value;
    memset(head, 0, offsetof(struct http_head, fields));
    head->major = 2;
    head->minor = 1;
    while (next_field(&rest, &name, &value))
        if (!add_received(head, name, value))
            return rules_reject(HTTP_RULE_too_many_fields);
    return rules_trailers(head);
}

struct span h2_decimal(uint64_t n, char memory[24])
{
    char *end = memory + 24, *at = end;
    do {
        *--at = (char)('0' + n % 10);
    } while (n /= 10);
    return span_of(at, (size_t)(end - at));
}
