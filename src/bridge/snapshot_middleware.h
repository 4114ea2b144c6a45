/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/snapshot_middleware.h - middlewares as workers see them; a part of bridge/snapshot.h.
 * Thread: as bridge/snapshot.h.   Owns: nothing; texts and ranges lie in the snapshot.
 * Never: changes after the snapshot is published. */
#pragma once

#include "base/span.h"

/* Of one router, chains expanded. */
#define SNAP_MIDDLEWARES_MAX 64
#define SNAP_IN_FLIGHT_MAX   4

enum snap_middleware_kind {
    SNAP_MIDDLEWARE_REDIRECT_SCHEME = 1,
    SNAP_MIDDLEWARE_REDIRECT_REGEX,
    SNAP_MIDDLEWARE_HEADERS,
    SNAP_MIDDLEWARE_STRIP_PREFIX,
    SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX,
    SNAP_MIDDLEWARE_ADD_PREFIX,
    SNAP_MIDDLEWARE_REPLACE_PATH,
    SNAP_MIDDLEWARE_REPLACE_PATH_REGEX,
    SNAP_MIDDLEWARE_ALLOW_LIST,
    SNAP_MIDDLEWARE_RATE_LIMIT,
    SNAP_MIDDLEWARE_IN_FLIGHT,
    SNAP_MIDDLEWARE_BASIC_AUTH,
    SNAP_MIDDLEWARE_RETRY,
    SNAP_MIDDLEWARE_KINDS,
};

struct snap_range {
    uint32_t first, count;
};

/* Which address counts as the client's: of the connection, or an entry of X-Forwarded-For. */
struct snap_ip_strategy {
    uint32_t depth;             /* from the right; 0 = not used */
    struct snap_range excluded; /* in snapshot.prefixes: else the rightmost that is in none */
    uint8_t ipv6_bits;          /* 0..128 of an IPv6 address count as a source */
};

enum snap_source_kind { SNAP_SOURCE_IP = 1, SNAP_SOURCE_HOST, SNAP_SOURCE_HEADER };

struct snap_source {
    uint8_t kind;       /* enum snap_source_kind */
    struct span header; /* of kind HEADER */
    struct snap_ip_strategy ip;
};

struct snap_text {
    struct span text;
};

struct snap_pair {
    struct span name, value; /* value empty: the field is removed. Users: name and hash */
    bool only_tls;           /* set only when the client came by TLS */
};

/* Ranges of pairs and texts. */
struct snap_headers {
    struct snap_range request, response, tls_fields;               /* pairs */
    struct snap_range hosts, host_fields, origins, origin_regexes; /* texts */
    struct span allow_headers, allow_methods, expose_headers;      /* one line each */
    struct span max_age;                                           /* digits, or empty */
    bool any_header, any_method, any_exposed;                      /* the list holds "*" */
    bool credentials, vary, cors;
};

struct snap_middleware {
    struct span name;
    uint32_t kind; /* enum snap_middleware_kind */
    struct snap_redirect {
        struct span scheme, port;       /* of REDIRECT_SCHEME; port ":8443" or empty */
        struct span regex, replacement; /* of REDIRECT_REGEX and REPLACE_PATH_REGEX */
        bool permanent;
    } redirect;
    struct snap_path {
        struct span text;       /* of ADD_PREFIX and REPLACE_PATH, ready to be sent */
        struct snap_range list; /* texts, of STRIP_PREFIX and STRIP_PREFIX_REGEX */
        bool force_slash;
    } path;
    struct snap_headers headers;
    struct snap_allow {
        struct snap_range ranges; /* in snapshot.prefixes */
        struct snap_ip_strategy ip;
        uint16_t status;
    } allow;
    struct snap_limit {              /* each worker's share */
        uint64_t average, period_ns; /* requests in a time; average 0 = no limit */
        uint64_t burst, amount;      /* at least 1 each */
        struct snap_source source;
    } limit;
    struct snap_auth {
        struct span realm, header_field; /* header_field empty = none */
        bool remove_header;
        struct snap_range users; /* pairs, ascending by name */
    } auth;
    struct snap_retry {
        uint32_t attempts, interval_ms;
    } retry;
};

/* A place in a router's list. */
struct snap_step {
    uint32_t middleware;
};
