/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/h1.h - HTTP/1.1 messages from bytes, and bytes from messages (RFC 9112).
 * Thread: the worker's.   Owns: its parser state.
 * Never: does I/O, allocates, keeps a pointer into the input after the call (the head that an
 * event shows points into the input of that call). */
#pragma once

#include "data/http/message.h"

enum h1_role { H1_SERVER = 0 /* reads requests */, H1_CLIENT = 1 /* reads responses */ };

struct h1 {
    struct http_head *head;
    const struct http_reject *reject; /* after HTTP_EVENT_BAD, else NULL */
    uint64_t left;                    /* bytes of the body or chunk still to come */
    uint32_t head_max;                /* bytes of head allowed */
    uint32_t seen;                    /* bytes of the incomplete head already looked at */
    uint16_t extension_bytes;         /* of chunk extensions in this message */
    uint8_t role;                     /* enum h1_role */
    uint8_t phase;                    /* enum h1_phase, private */
    uint8_t method;                   /* enum http_method of the request that a response answers */
    uint8_t blank_lines;              /* before the request line */
    uint8_t digits;                   /* of the chunk size */
};

/* head: storage for one parsed head, shared by all codecs of a worker (it is only valid during
 * the step in which it was filled). head_max: 1,024..1,048,576. */
void h1_init(struct h1 *h1, enum h1_role role, uint32_t head_max, struct http_head *head);
/* Ready for the next message on the same connection. */
void h1_next(struct h1 *h1);
/* For H1_CLIENT, before each response: the method it answers (HEAD has no body). */
void h1_expect(struct h1 *h1, enum http_method method);

/* Takes the next event out of `in`.
 *   in        contiguous bytes, may be empty: END, for one, needs none
 *   ret_used  bytes taken; the next call goes on behind them
 * HTTP_EVENT_MORE: nothing more without more input. What was not taken is the begin of a head or
 * of a trailer section and must be given again from its first byte with more behind it (the caller
 * keeps it); inside a body everything is taken. Looking again costs only the bytes that are new.
 * Body spans point into `in`. After HTTP_EVENT_END nothing is taken until h1_next(); after
 * HTTP_EVENT_BAD, which a head larger than head_max or a broken rule causes, nothing ever. */
struct http_event h1_feed(struct h1 *h1, struct span in, size_t *ret_used);
/* The transport ended. END for a body that lasts until close, BAD (truncated) inside a message,
 * MORE between messages. */
struct http_event h1_feed_eof(struct h1 *h1);

/* How many bytes of a body with Content-Length are still to come; 0 for every other body. */
uint64_t h1_rest(const struct h1 *h1);
/* So many of them (<= h1_rest()) passed by another way than h1_feed(). */
void h1_passed(struct h1 *h1, uint64_t bytes);

/* Writes a request head for an upstream: method, origin-form target, Host from head->authority, the
 * fields of `head` that are not dropped, framing fields for head->body (HTTP_BODY_LENGTH or
 * _CHUNKED), Connection where a passed field needs it, blank line. ERR_TOO_LARGE when `out` is too
 * small; it is then of no use. */
struct result h1_write_request(const struct http_head *head, struct span target,
                               struct writer *out);
/* Writes a response head for a client: status line, fields not dropped, framing fields for the
 * client's version, and Connection. `body` says how the body is framed towards the client:
 * never HTTP_BODY_CHUNKED for client_minor 0. keep_alive is ignored for 1xx. ERR_TOO_LARGE. */
struct result h1_write_response(const struct http_head *head, uint8_t client_minor,
                                enum http_body body, bool keep_alive, struct writer *out);
/* A complete small response of our own: 400, 404, 408, 502, redirects... with Content-Length. 100
 * and 101 are heads alone. ERR_TOO_LARGE. */
struct result h1_write_answer(const struct http_answer *answer, bool keep_alive, bool is_head,
                              struct writer *out);
/* Bytes of the body that h1_write_answer() makes. */
uint64_t h1_answer_bytes(const struct http_answer *answer, bool is_head);
/* What h1_write_answer() writes has at most so many bytes. */
uint32_t h1_answer_room(const struct http_answer *answer);
/* Chunked coding: the line before `len` bytes (len > 0); behind them the caller writes CRLF.
 * Returns the length of the line. */
#define H1_CHUNK_HEAD_MAX 18
size_t h1_chunk_head(uint64_t len, uint8_t out[H1_CHUNK_HEAD_MAX]);
/* The fields that are not dropped, as lines: the inside of a trailer section. ERR_TOO_LARGE. */
struct result h1_write_fields(const struct http_head *head, struct writer *out);
/* Reason phrase of a status, "" when unknown. */
const char *h1_reason(uint16_t status);
