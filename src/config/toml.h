/* SPDX-License-Identifier: Apache-2.0 */
/* config/toml.h - reads TOML 1.0 with line and column of every key and value (toml++ inside).
 * Thread: any.   Owns: the document while it is being walked.
 * Never: lets a C++ type or exception out; judges keys. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_kind {
    TOML_TABLE = 1,
    TOML_ARRAY,
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOLEAN,
    TOML_TIME, /* date, time or both */
};

/* Tables deeper than this are refused, however they are written. */
#define TOML_DEPTH_MAX 64

/* One key with its value, or one element of an array. Lines and columns count from 1; texts are
 * borrowed for the call and may hold any byte. */
struct toml_item {
    enum toml_kind kind;
    const char *key; /* NULL in arrays */
    size_t key_len;
    uint32_t key_line, key_column;
    uint32_t line, column;
    uint32_t end_line, end_column;
    const char *text; /* TOML_STRING */
    size_t text_len;
    int64_t integer; /* TOML_INTEGER */
    double real;     /* TOML_FLOAT */
    bool truth;      /* TOML_BOOLEAN */
};

struct toml_error {
    uint32_t line, column;
    char text[256];
};

/* Called for every item, outer ones first, keys of a table in no particular order. `parent` is what
 * it returned for the table or array around the item, or `root`; never NULL. */
typedef void *toml_visit(void *arg, void *parent, const struct toml_item *item);

/* Parses, then visits. False: *ret_error is the first syntax error (nothing was visited). */
bool toml_walk(const char *text, size_t len, toml_visit *visit, void *arg, void *root,
               struct toml_error *ret_error);

#ifdef __cplusplus
}
#endif
