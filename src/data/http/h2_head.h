/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/h2_head.h - header sections of HTTP/2 as heads like any other: gathered field by field
 * while they are decoded, then read in one go.
 * Thread: the worker's.   Owns: nothing; the block is the caller's.
 * Never: decodes (nghttp2 does), judges what the rules judge. */
#pragma once

#include "data/block.h"
#include "data/http/rules.h"

/* Appends a field to the block `*at`, which is made or exchanged for a larger one as needed. False:
 * no block is free or large enough. */
bool h2_head_gather(struct blocks *blocks, struct block **at, struct span name, struct span value);
/* Reads a request (RFC 9113 section 8.3.1) out of what was gathered, judges it by the rules and
 * fills `head`, whose spans point into the block. Cookies are put together again (section 8.2.3),
 * for which `*at` may be exchanged for a larger block.
 *   more   DATA follows
 * Returns NULL when it may pass. */
const struct http_reject *h2_head_read(struct blocks *blocks, struct block **at,
                                       struct http_head *head, bool more);
/* The same for trailers; `at` may be NULL (none). */
const struct http_reject *h2_head_read_trailers(const struct block *at, struct http_head *head);

/* n as text in `memory`. */
struct span h2_decimal(uint64_t n, char memory[24]);
