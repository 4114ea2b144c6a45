/* SPDX-License-Identifier: Apache-2.0 */
/* config/options.h - every option once: what may be written, of which type, with which default.
 * Thread: any.   Owns: nothing; the table is constant, a schema lives in the caller's arena.
 * Never: reads a configuration. */
#pragma once

#include "config/arena.h"

enum option_type {
    OPTION_TABLE = 1, /* has options below it; may be empty, `true` or `false` */
    OPTION_STRING,
    OPTION_BOOL,
    OPTION_INT,      /* range in `allowed` */
    OPTION_DURATION, /* "1m30s", or a number of seconds; range in `allowed` */
    OPTION_ENUM,     /* one of `allowed`, case does not count */
    OPTION_LIST,     /* of strings; each of `allowed` when that is given */
    OPTION_NUMBERS,  /* list of numbers */
    OPTION_PATH,     /* of a file or folder */
    OPTION_PATHS,
    OPTION_URL,       /* schemes in `allowed` */
    OPTION_ADDRESS,   /* IP address and port to listen on */
    OPTION_ADDRESSES, /* one, or a list of them */
    OPTION_SERVERS,   /* list of name or IP address, with or without port */
    OPTION_NETS,      /* list of IP addresses and CIDR ranges */
    OPTION_HOST,      /* a domain name, `*.` in front allowed, or an IP address */
    OPTION_HOSTS,
    OPTION_CPUS,   /* "0,2-5" */
    OPTION_RULE,   /* Traefik's rule language */
    OPTION_CODE,   /* lower-case letters, digits and dashes */
    OPTION_SECRET, /* a string that is never printed */
};

enum option_reload {
    OPTION_RELOAD = 0,  /* taken over by a reload */
    OPTION_RESTART = 1, /* needs a restart */
};

enum option_state {
    OPTION_AVAILABLE = 0,
    OPTION_LATER = 1,   /* known, but its feature is not there yet */
    OPTION_FOREIGN = 2, /* of Traefik, not of ferrule; `doc` says what to do instead */
};

struct option {
    const char *path; /* "entryPoints.<name>.address", "tls.certificates[].certFile" */
    enum option_type type;
    const char *preset;  /* default as text; "" none; in parentheses: not a literal value */
    const char *allowed; /* "1..65535", "a|b|c", "" */
    enum option_reload reload;
    enum option_state state;
    const char *doc; /* one line */
};

extern const struct option option_table[];
extern const uint32_t option_count;

/* The table as a tree of keys. */
struct schema {
    const char *name;            /* "entryPoints"; "<name>" stands for any key */
    bool any;                    /* name is "<...>" */
    bool list;                   /* an array of tables ("[]" in the path) */
    bool later;                  /* nothing below it is available yet */
    const struct option *option; /* NULL: a table without a line of its own */
    struct schema *parent, *next, *first;
};

struct schema *options_schema(struct arena *arena);
/* The option or table under a key (case does not count), NULL when there is none. */
const struct schema *options_child(const struct schema *schema, const char *key);
/* Down a dotted path; every step must exist (programmer error). */
const struct schema *options_at(const struct schema *schema, const char *path);
/* What the value must be, for messages: "a string", "true or false", "1 to 65535". */
void options_expected(const struct option *option, struct buf *out);
/* "2" of "1..2" and so on; false when `allowed` is not a range. Durations in ms. */
bool options_range(const struct option *option, int64_t *ret_low, int64_t *ret_high);
/* Is the text one of "a|b|c"? Returns the spelling of the table, or NULL. Case does not count. */
const char *options_choice(struct arena *arena, const struct option *option, const char *text);
