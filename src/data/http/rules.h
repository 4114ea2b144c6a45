/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/rules.h - what a message must be like to be let in: one table, one place.
 * Thread: the worker's.   Owns: nothing.
 * Never: parses (the codec does) or answers (the exchange does); it judges. */
#pragma once

#include "bridge/report.h"
#include "data/http/message.h"

/* One way to be refused. The table is in bridge/rules.def: RULE(id, status, text). */
struct http_reject {
    const char *id;   /* "length_and_coding" */
    uint16_t status;  /* what the client gets; 502 for any fault of an upstream's response */
    const char *text; /* for people */
};

enum http_rule {
#define RULE(id, status, text) HTTP_RULE_##id,
#include "bridge/rules.def"
#undef RULE
    HTTP_RULE_COUNT
};

/* Row of a rule; static memory. */
const struct http_reject *rules_reject(enum http_rule rule);

/* Counts a broken rule, in the counters of clients or in those of upstreams. A client that leaves
 * in the middle of its request is counted under its rule alone: nothing was refused. broken   a row
 * of the table */
void rules_count(struct report_page *page, const struct http_reject *broken, bool by_upstream);

/* Judges a request head that a codec has parsed (method, authority of an absolute-form target or
 * an empty span, path, field names and values) and fills method, authority, body, content_length,
 * keep_alive, expect_continue, upgrade, has_trailer, and of each field `known` and `drop`
 * (RFC 9112 section 6.3, 7; RFC 9110 section 7.6.1). Returns NULL when it may pass.
 * In HTTP/2 `body` says beforehand whether frames with a body follow (HTTP_BODY_FRAMES).
 * Dropped are: Host, Connection and what it lists, Keep-Alive, Proxy-Connection, Upgrade, Expect,
 * Content-Length, Transfer-Encoding (the writer makes those that are needed), TE but for
 * "trailers", and names that only an underscore tells from one of enum http_name. */
const struct http_reject *rules_request(struct http_head *head);

/* The same for an upstream's response to `request_method` (RFC 9112 section 6.3). Content-Length is
 * kept as a field where it describes a body that is not sent (HEAD, 304). */
const struct http_reject *rules_response(struct http_head *head, enum http_method request_method);

/* Judges trailer fields and marks those that may not be passed on (RFC 9110 section 6.5.1). */
const struct http_reject *rules_trailers(struct http_head *head);

/* The protocol that a head (judged before) asks or agrees to switch to; empty when it does not, or
 * when the switch may not be passed on: in HTTP/1.0, with a body (whose bytes one side could take
 * for those of the new protocol), with a list of protocols, and to another version of HTTP or to
 * TLS, which would be ours to speak. Points into the head's field. */
struct span rules_upgrade(const struct http_head *head);

/* Un-drops Upgrade, for an exchange that becomes a tunnel; the writers then add the Connection
 * option that it needs. */
void rules_pass_upgrade(struct http_head *head);

/* Whether the text is host or host:port: letters, digits and "-._~", an IPv4 address, or an IPv6
 * address in brackets (RFC 3986 section 3.2.2, without percent-encoding and sub-delimiters, which
 * no name in DNS has). Port 0..65535 or empty. */
bool rules_is_authority(struct span text);
