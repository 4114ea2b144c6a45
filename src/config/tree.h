/* SPDX-License-Identifier: Apache-2.0 */
/* config/tree.h - the configuration as written: tables, lists and values with their places, from
 * files and the command line alike.
 * Thread: the loader's.   Owns: nothing (nodes live in the loader's arena).
 * Never: knows which keys exist. */
#pragma once

#include "config/arena.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/toml.h"

struct schema;

struct node {
    enum toml_kind kind;
    bool flag;       /* a value from the command line: text of a type that is not yet known */
    bool plain;      /* a string written in one pair of quotes on one line without escapes */
    bool bad;        /* reported; to be ignored from here on */
    const char *key; /* as written; NULL in arrays and for the root */
    struct config_where key_at, at;
    struct node *parent, *next, *first, *last;
    uint32_t count;   /* of children */
    const char *text; /* TOML_STRING */
    size_t text_len;  /* without the NUL; differs from strlen() when the text holds one */
    int64_t integer;  /* TOML_INTEGER; after the check also durations, in ms */
    double real;      /* TOML_FLOAT */
    bool truth;       /* TOML_BOOLEAN */
    const struct schema *schema; /* set by the check */
};

struct node *tree_create(struct arena *arena);
/* Reads TOML into a new tree; children are in the order of the file. A syntax error is reported and
 * NULL returned. `file` must live as long as the arena. */
struct node *tree_from_toml(struct arena *arena, struct span text, const char *file,
                            struct config_problems *problems);
/* The child of a table; keys compare without case. NULL when absent. */
struct node *tree_child(const struct node *table, const char *key);
/* Adds an empty child: `key` NULL in arrays. The caller fills kind and places. */
struct node *tree_add(struct arena *arena, struct node *parent, const char *key);
/* Moves everything of `from` into `into`: tables above `depth` (0 = root) are joined, lists
 * appended, all else that is in both is reported as given twice. */
void tree_merge(struct node *into, struct node *from, uint32_t depth,
                struct config_problems *problems);
/* Takes a node out of its parent. */
void tree_remove(struct node *node);
/* "http.routers.web.rule", "tls.certificates[1].certFile". */
const char *tree_path(struct arena *arena, const struct node *node);
