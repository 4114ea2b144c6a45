/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/message.h - one HTTP message as events, the same for every protocol version.
 * Thread: the worker's.   Owns: nothing; all spans are borrowed from whoever made the event.
 * Never: copies, allocates, does I/O. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define HTTP_FIELDS_MAX 128 /* header fields of one message, as received */
#define HTTP_FIELDS_OWN 64  /* those that we may add */
/* Bytes of a path that had to be put together. */
#define HTTP_PATH_MADE_MAX 1024

enum http_method {
    HTTP_OTHER = 0, /* a valid token that we do not know */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_TRACE,
    HTTP_CONNECT,
};

/* Fields that we act upon; found once, while parsing. */
enum http_name {
    HTTP_NAME_OTHER = 0,
    HTTP_NAME_HOST,
    HTTP_NAME_CONNECTION,
    HTTP_NAME_CONTENT_LENGTH,
    HTTP_NAME_TRANSFER_ENCODING,
    HTTP_NAME_UPGRADE,
    HTTP_NAME_KEEP_ALIVE,
    HTTP_NAME_PROXY_CONNECTION,
    HTTP_NAME_TE,
    HTTP_NAME_TRAILER,
    HTTP_NAME_EXPECT,
    HTTP_NAME_X_FORWARDED_FOR,
    HTTP_NAME_X_FORWARDED_PROTO,
    HTTP_NAME_X_FORWARDED_HOST,
    HTTP_NAME_X_FORWARDED_PORT,
    HTTP_NAME_X_FORWARDED_SERVER,
    HTTP_NAME_X_REAL_IP,
};

struct http_field {
    struct span name;  /* as received */
    struct span value; /* without surrounding white space */
    enum http_name known;
    bool drop; /* hop-by-hop or replaced: not passed on */
};

enum http_body {
    HTTP_BODY_NONE = 0,    /* no body follows */
    HTTP_BODY_LENGTH,      /* content_length bytes follow */
    HTTP_BODY_CHUNKED,     /* chunked coding follows; content_length unknown */
    HTTP_BODY_UNTIL_CLOSE, /* responses only */
    HTTP_BODY_FRAMES,      /* in frames that the codec makes (HTTP/2); for writing only */
};

/* Head of a request or response. */
struct http_head {
    bool is_response;
    uint8_t major; /* 1, or 2 for HTTP/2 */
    uint8_t minor; /* HTTP/1.minor as received: 0 or 1; 1 for HTTP/2 */
    /* request */
    enum http_method method;
    struct span method_text;
    struct span authority; /* host[:port] from the target or Host, validated; lower or mixed case;
                              empty only in HTTP/1.0 */
    struct span path;      /* origin form with query ("/a?b"), or "*" */
    /* response */
    uint16_t status;
    struct span reason;
    /* both */
    enum http_body body;
    uint64_t content_length; /* with HTTP_BODY_LENGTH */
    bool keep_alive;         /* the peer allows another message on this transport */
    bool expect_continue;    /* the client waits for 100 before it sends the body */
    bool upgrade;            /* Connection: upgrade with an Upgrade field */
    bool connect;            /* HTTP/2's way to ask for it (RFC 8441): the method reads GET, fields
                                say the same as in HTTP/1 */
    bool has_trailer;        /* a Trailer field announces trailers */
    uint16_t field_count;
    struct http_field fields[HTTP_FIELDS_MAX + HTTP_FIELDS_OWN];
    uint8_t path_made[HTTP_PATH_MADE_MAX]; /* `path` of an absolute-form target without one */
};

/* Adds a field of our own behind the others. Its bytes must live until the head is written; the
 * name is written as it is in HTTP/1 and in lower case in HTTP/2. False: no room. */
static inline bool http_head_add(struct http_head *head, struct span name, struct span value)
{
    if (head->field_count >= HTTP_FIELDS_MAX + HTTP_FIELDS_OWN)
        return false;
    head->fields[head->field_count++] = (struct http_field){.name = name, .value = value};
    return true;
}

/* A response of our own. */
struct http_answer {
    uint16_t status;
    uint16_t field_count;
    const struct http_field *fields; /* but those of framing */
    struct span body;                /* with its Content-Type among the fields */
    bool bare;                       /* no body: without it an empty one is a line that says the
                                        status */
};

enum http_event_kind {
    HTTP_EVENT_MORE = 0, /* nothing complete: more input is needed behind what was not used */
    HTTP_EVENT_HEAD,
    HTTP_EVENT_BODY,
    HTTP_EVENT_TRAILERS,
    HTTP_EVENT_END, /* message complete */
    HTTP_EVENT_BAD, /* the peer broke the protocol; `reject` says how */
};

/* Why a message was refused: the row of the table in data/http/rules.c. */
struct http_reject;

struct http_event {
    enum http_event_kind kind;
    uint32_t stream;                  /* 0 in HTTP/1 */
    const struct http_head *head;     /* HEAD, TRAILERS (fields only); valid until the next feed */
    struct span body;                 /* BODY: points into the input */
    const struct http_reject *reject; /* BAD */
};
