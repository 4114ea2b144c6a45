/* SPDX-License-Identifier: Apache-2.0 */
/* base/regex.h - regular expressions in linear time (RE2 inside): the configuration judges them,
 * workers match with them, so the wrapper stands below both.
 * Thread: any; a compiled expression is used by one thread only (RE2 fills a cache of states under
 * a lock: each worker compiles a copy of its own).   Owns: what regex_create() gave. Never: lets a
 * C++ type or exception out; takes more than REGEX_MEMORY_BYTES for one expression. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct regex;

/* Program and cached states together. An expression that needs more is refused when it is made; a
 * text that needs more states is matched more slowly, still in linear time. */
#define REGEX_MEMORY_BYTES (1u << 20)
#define REGEX_GROUPS_MAX   10 /* the whole match and $1..$9 */

/* A part of the text that was matched. ptr NULL: the group took no part. */
struct regex_group {
    const char *ptr;
    size_t len;
};

struct regex_error {
    size_t at; /* byte of the pattern at which the fault is, 0 when nobody knows */
    char text[200];
};

/* Compiles RE2's syntax, which is that of Go and Traefik (no look-around, no back-references).
 * NULL: *ret_error says what is wrong. */
struct regex *regex_create(const char *pattern, size_t len, struct regex_error *ret_error);
/* NULL is fine. */
void regex_destroy(struct regex *x);
/* Whether some part of the text matches; ^ and $ tie it to the ends. */
bool regex_holds(const struct regex *x, const char *text, size_t len);
/* The leftmost match that begins at `from` or later: fills the first `count` groups, [0] is the
 * whole. count: 1..REGEX_GROUPS_MAX; groups that the pattern does not have are NULL. */
bool regex_find(const struct regex *x, const char *text, size_t len, size_t from,
                struct regex_group *ret_groups, uint32_t count);
/* The number of a group (?P<name>...), or -1. */
int regex_group_number(const struct regex *x, const char *name, size_t len);

#ifdef __cplusplus
}
#endif
