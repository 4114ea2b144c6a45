/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/target.h - takes request targets apart: path, query, parameters, percent-encoding.
 * Thread: any.   Owns: nothing; results point into the target or into the caller's memory.
 * Never: allocates, changes what is passed on (the upstream gets the target as it came). */
#pragma once

#include "base/result.h"
#include "base/span.h"

/* Path and query of an origin-form target (RFC 9112 section 3.2.1): up to the first "?", and behind
 * it. "*" is a path. */
struct span target_path(struct span target);
struct span target_query(struct span target);

enum target_form {
    /* RFC 3986 section 6.2.2: may be sent in place of the original. Escapes of letters, digits and
     * "-._~" are undone, others in upper case. */
    TARGET_CLEAN,
    /* What rules are held against: all escapes are undone but those of reserved characters and "%"
     * (sections 2.1, 2.2), so that "%2F" never becomes a separator. */
    TARGET_ROUTE,
};

/* The path in one of its normal forms; in both, dot segments are removed (RFC 3986 section 5.2.4)
 * and several slashes in a row are one. Gives `path` itself when nothing has to be changed, else
 * writes at most path.len bytes. ERR_FORMAT: an escape is malformed, or a dot segment borders on an
 * escaped slash or backslash, which some servers take for a separator ("/a/..%2fb"). ERR_TOO_LARGE:
 * `room` is too small. */
struct result target_normal(struct span path, enum target_form form, void *memory, size_t room,
                            struct span *ret);

/* One parameter of a query, still encoded. */
struct target_param {
    struct span name, value; /* value empty when there is no "=" */
};

/* Takes the next "name=value" between "&". Empty ones, those with a malformed escape, and those
 * with a ";" (which some servers take for a separator) are left out. False: there is none left. */
bool target_next_param(struct span *query, struct target_param *ret);
/* Whether an encoded name or value says `text`; "+" is a space. */
bool target_param_is(struct span encoded, struct span text);
/* An encoded name or value in plain. Gives `encoded` itself when nothing has to be changed, else
 * writes at most encoded.len bytes. ERR_TOO_LARGE. */
struct result target_param_decode(struct span encoded, void *memory, size_t room, struct span *ret);
