/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/rules.h - what a message must be like to be let in: one table, one place.
 * Thread: the worker's.   Owns: nothing.
 * Never: parses (the codec does) or answers (the exchange does); it judges. */
#pragma once

#include "data/http/message.h"

/* One way to be refused. The table is in data/http/rules.def: RULE(id, status, counter, text). */
struct http_reject {
    const char *id;   /* "cl_and_te" */
    uint16_t status;  /* what the client gets: 400, 408, 413, 414, 431, 501, 505 */
    const char *text; /* for people */
};

enum http_rule {
#define RULE(id, status, text) HTTP_RULE_##id,
#include "data/http/rules.def"
#undef RULE
    HTTP_RULE_COUNT
};

/* Row of a rule; static memory. */
const struct http_reject *rules_reject(enum http_rule rule);

/* Judges a request head that the codec has parsed and fills body, content_length, keep_alive,
 * authority and the `drop` marks (RFC 9112 section 6.3, 7; RFC 9110 section 7.6.1).
 * Returns NULL when it may pass. */
const struct http_reject *rules_request(struct http_head *head);

/* The same for an upstream's response to `request_method` (RFC 9112 section 6.3). */
const struct http_reject *rules_response(struct http_head *head, enum http_method request_method);
