/* SPDX-License-Identifier: Apache-2.0 */
/* config/build.h - makes the checked structs of config.h out of a judged tree: fills in defaults,
 * resolves references, reads certificate files.
 * Thread: the loader's.   Owns: nothing (results live in the configuration's arena).
 * Never: trusts a node that was reported as bad: it counts as absent. */
#pragma once

#include "config/options.h"
#include "config/tree.h"

/* A node that may be absent, with what the option table says of it. */
struct place {
    const struct node *node; /* NULL: not written, or bad */
    const struct schema *schema;
};

/* Names with their index, for look-ups. */
struct names {
    struct name {
        const char *text;
        uint32_t index;
    } * sorted;
    uint32_t count;
};

struct build {
    struct arena *arena; /* the configuration's */
    struct config *config;
    struct config_problems *problems;
    struct place root;
    const struct config *running; /* its processes stay as they are; NULL = none runs */
    struct config_known *known;   /* of earlier readings; NULL = nothing is */
    struct config_where top;      /* for what has no place of its own */
    struct place *entry_places;   /* one per entry point */
    struct names tcp_service_names, tcp_middleware_names;
    struct names entry_names, resolver_names, service_names, tls_names, middleware_names;
    const char *last_file, *last_copy;
    uint32_t system_roots; /* index into roots, UINT32_MAX = there are none */
    bool system_roots_read;
    bool without_pairs; /* no certificate with its key is read: their buffers stay empty */
};

/* The parts, in the order in which they need one another. */
void build_processes(struct build *b);
void build_entrypoints(struct build *b);
void build_resolvers(struct build *b);
void build_tls(struct build *b);
void build_transports(struct build *b);
void build_services(struct build *b);
void build_middlewares(struct build *b);
/* Members of services, once their names are known. */
void build_balance(struct build *b);
void build_routers(struct build *b);
/* Behind the services and middlewares of [http], in the same lists; there is room. */
void build_tcp_services(struct build *b);
void build_tcp_middlewares(struct build *b);
void build_access(struct build *b);
/* ferrule's own services, for build_services() and build_routers(): appends those that are asked
 * for; reports those that are members of others; fills in the HTTP routers to them, beside those
 * there are, and returns how many; what is told of requests to them when a router does not say. */
#define BUILD_INTERNALS 2
void build_internal_services(struct build *b);
void build_internal_members(struct build *b);
uint32_t build_internal_routers(struct build *b, const struct config_router *routers,
                                uint32_t router_count, struct config_router ret[BUILD_INTERNALS]);
void build_internal_observe(struct build *b, struct config_router *router);
void build_tls_hosts(struct build *b);
void build_cover(struct build *b);

/* Down a dotted path that the option table has. */
struct place build_at(struct place from, const char *path);
/* The child under a name of the user's. */
struct place build_child(struct place table, const struct node *child);
/* Next good child; start with NULL. */
const struct node *build_next(struct place table, const struct node *child);
uint32_t build_count(struct place table);

/* Values with the table's default when they are not written. Texts and lists are copies in the
 * configuration's arena; a text without literal default is NULL. */
bool build_bool(struct place from, const char *path);
int64_t build_int(struct place from, const char *path);
uint64_t build_ms(struct place from, const char *path);
const char *build_text(struct build *b, struct place from, const char *path);
const char **build_list(struct build *b, struct place from, const char *path, uint32_t *ret_count);
/* As build_text for a path of a file, made absolute. */
const char *build_path(struct build *b, struct place from, const char *path);
/* An absolute path: relative ones start at `directory`, and that at the working directory. */
char *build_absolute(struct arena *arena, const char *directory, const char *path);
/* The folder of the file in which a node is written; "." on the command line. */
const char *build_directory(struct arena *arena, const struct node *node);
/* A place for the configuration (file name copied). */
struct config_where build_where(struct build *b, struct config_where where);
/* Reports a required option that is neither written nor bad; true when it is there and good. */
bool build_required(struct build *b, struct place table, const char *path);
/* Reads a whole file of at most `max` bytes. */
struct result build_read(const char *path, size_t max, struct buf *out, struct why *why);
/* The same of a regular file alone: never waits for somebody who writes to a pipe. ERR_FORMAT. */
struct result build_read_regular(const char *path, size_t max, struct buf *out, struct why *why);

/* certFile and keyFile of a table, PEM or the path of a file with it. False when something is wrong
 * (reported). The caller frees both buffers, the key by wiping it. */
bool build_pair(struct build *b, struct place p, struct config_certificate *ret);
/* A server that speaks TLS uses this transport: without roots of its own it gets the system's. */
void build_need_roots(struct build *b, uint32_t transport);

void build_names(struct build *b, struct names *names, uint32_t count,
                 const char *(*name_of)(const struct config *config, uint32_t index));
/* UINT32_MAX when there is none. */
uint32_t build_find(const struct names *names, const char *name);
/* As build_find for the name that a node holds ("x@file" is x); reports what is missing with the
 * nearest name. `kind` for the message: "service". */
uint32_t build_refer(struct build *b, const struct names *names, const struct node *node,
                     const char *text, const char *kind);

/* The middlewares that a list names, chains expanded, each good one as often as it is named.
 * Reports names that there are not, and more than CONFIG_MIDDLEWARES_MAX. */
struct config_middleware_list build_middleware_list(struct build *b, const struct names *names,
                                                    struct place list);
/* The families of middlewares, each in a file of its own; p is the table of the type. */
void build_middlewares_path(struct build *b, struct place p, struct config_middleware *m);
void build_middlewares_headers(struct build *b, struct place p, struct config_middleware *m);
void build_middlewares_limit(struct build *b, struct place p, struct config_middleware *m);
void build_middlewares_auth(struct build *b, struct place p, struct config_middleware *m);
/* Reports what cannot stand in a header field's name or value; true when both are good. */
bool build_field_is_good(struct build *b, const struct node *n, const char *name,
                         const char *value);
/* Sets the kind of a service. */
void build_balance_kind(struct build *b, struct place p, struct config_service *s);
/* Strategy, cookie and health checks of a service with servers. */
void build_balance_servers(struct build *b, struct place balancer, struct config_service *s);

/* A name as certificates have it: in lower case without a final dot, an address without brackets
 * and in its shortest form. */
const char *build_certificate_name(struct build *b, const char *name);
/* "main" and "sans" of one table, lower case, without duplicates. */
void build_domain(struct build *b, struct place table, struct config_domain *ret);
/* "main" and "sans" of each element, lower case, without duplicates. */
struct config_domain *build_domains(struct build *b, struct place list, uint32_t *ret_count);
