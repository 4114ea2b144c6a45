/* SPDX-License-Identifier: Apache-2.0 */
/* route53/text.h - small things about text that all parts of the plug-in need.
 * Thread: the plug-in's only one.   Owns: nothing.
 * Never: anything with a network. */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

/* Writes the sentence for people and returns the status. */
int32_t text_fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct ferrule_str text_str(const char *s);
/* The option's value, empty when it is not set. */
struct ferrule_str text_option(const struct ferrule_host *host, const char *name);
/* Copies with a NUL; false when it does not fit. */
bool text_copy(struct ferrule_str from, char *to, size_t cap);
/* Appends to a buffer of the host: a text as it is; escaped for a query or form (RFC 3986); escaped
 * for XML, quotes as lego writes them. */
void text_put(const struct ferrule_host *host, struct ferrule_buf *buf, const char *text);
void text_put_query(const struct ferrule_host *host, struct ferrule_buf *buf,
                    struct ferrule_str text);
void text_put_xml(const struct ferrule_host *host, struct ferrule_buf *buf,
                  struct ferrule_str text);
/* "2026-11-22T17:30:00Z" as seconds since 1970; -1 for anything else. */
int64_t text_time(const char *text);
