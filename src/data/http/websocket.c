/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/websocket.h"

#include "base/must.h"
#include "crypto/digest.h"
#include "data/tls/random.h"

#define KEY_BYTES    16u
#define DIGEST_BYTES 20u

static const struct span key_name = {(const uint8_t *)"sec-websocket-key", 17};
static const struct span accept_name = {(const uint8_t *)"sec-websocket-accept", 20};

/* RFC 4648 section 4; `ret` has room for all of it. */
static void encode(const uint8_t *in, size_t len, char *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3, ret += 4) {
        size_t n = len - i;
        uint32_t v = (uint32_t)in[i] << 16;
        v |= n > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        v |= n > 2 ? in[i + 2] : 0;
        ret[0] = digits[v >> 18];
        ret[1] = digits[v >> 12 & 63];
        ret[2] = n > 1 ? digits[v >> 6 & 63] : '=';
        ret[3] = n > 2 ? digits[v & 63] : '=';
    }
}

struct result websocket_key(char ret[WEBSOCKET_KEY_LEN])
{
    uint8_t bytes[KEY_BYTES];
    TRY(random_fill(bytes, sizeof bytes));
    encode(bytes, sizeof bytes, ret);
    return result_ok();
}

bool websocket_accept(struct span key, char ret[WEBSOCKET_ACCEPT_LEN])
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[WEBSOCKET_KEY_LEN + sizeof magic - 1], digest[DIGEST_BYTES];
    if (key.len != WEBSOCKET_KEY_LEN)
        return false;
    memcpy(text, key.ptr, WEBSOCKET_KEY_LEN);
    memcpy(text + WEBSOCKET_KEY_LEN, magic, sizeof magic - 1);
    must(digest_bytes(DIGEST_SHA1) == sizeof digest);
    digest_once(DIGEST_SHA1, span_of(text, sizeof text), digest);
    encode(digest, sizeof digest, ret);
    return true;
}

static struct span value_of(const struct http_head *head, struct span name)
{
    for (uint32_t i = 0; i < head->field_count; i++)
        if (!head->fields[i].drop && span_eq_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct span){0};
}

static void drop(struct http_head *head, struct span name)
{
    for (uint32_t i = 0; i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, name))
            head->fields[i].drop = true;
}

struct span websocket_key_of(const struct http_head *head)
{
    return value_of(head, key_name);
}

struct span websocket_accept_of(const struct http_head *head)
{
    return value_of(head, accept_name);
}

void websocket_drop_key(struct http_head *head)
{
    drop(head, key_name);
}

void websocket_drop_accept(struct http_head *head)
{
    drop(head, accept_name);
}
