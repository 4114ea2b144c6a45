/* SPDX-License-Identifier: Apache-2.0 */
/* config/middleware.h - [http.middlewares] as checked values.
 * Thread: made in one thread, then read-only.   Owns: nothing (texts live in the arena of its
 * configuration).
 * Never: holds a chain: those are expanded in the lists of routers and entry points. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Of one router, its entry point's and its own, chains expanded. */
#define CONFIG_MIDDLEWARES_MAX 64
/* inFlightReq among them: an exchange remembers what it has to give back. */
#define CONFIG_IN_FLIGHT_MAX 4

/* In the order of enum snap_middleware_kind. */
enum config_middleware_kind {
    CONFIG_MIDDLEWARE_REDIRECT_SCHEME = 1,
    CONFIG_MIDDLEWARE_REDIRECT_REGEX,
    CONFIG_MIDDLEWARE_HEADERS,
    CONFIG_MIDDLEWARE_STRIP_PREFIX,
    CONFIG_MIDDLEWARE_STRIP_PREFIX_REGEX,
    CONFIG_MIDDLEWARE_ADD_PREFIX,
    CONFIG_MIDDLEWARE_REPLACE_PATH,
    CONFIG_MIDDLEWARE_REPLACE_PATH_REGEX,
    CONFIG_MIDDLEWARE_ALLOW_LIST,
    CONFIG_MIDDLEWARE_RATE_LIMIT,
    CONFIG_MIDDLEWARE_IN_FLIGHT,
    CONFIG_MIDDLEWARE_BASIC_AUTH,
    CONFIG_MIDDLEWARE_RETRY,
    CONFIG_MIDDLEWARE_CHAIN, /* never in a list that is used */
};

struct config_texts {
    const char **items;
    uint32_t count;
};

struct config_pair {
    const char *name, *value; /* value "": the field is removed; for users: the hash */
    bool only_tls;            /* set only when the client came by TLS */
};

struct config_pairs {
    struct config_pair *items;
    uint32_t count;
};

/* Which address counts as the client's: of the connection, or an entry of X-Forwarded-For. */
struct config_ip_strategy {
    uint32_t depth;               /* from the right; 0 = not used */
    struct config_texts excluded; /* else the rightmost that is none of these */
    uint8_t ipv6_bits;            /* 0..128 of an IPv6 address count */
};

enum config_source_kind { CONFIG_SOURCE_IP = 1, CONFIG_SOURCE_HOST, CONFIG_SOURCE_HEADER };

struct config_source {
    enum config_source_kind kind;
    const char *header; /* "" unless kind is HEADER */
    struct config_ip_strategy ip;
};

struct config_headers {
    struct config_pairs request, response; /* response: first to last, the last one wins */
    struct config_pairs tls_fields;        /* sslProxyHeaders */
    struct config_texts hosts, host_fields;
    struct config_texts origins, origin_regexes;
    const char *allow_headers, *allow_methods, *expose_headers; /* as one line, "" = none */
    bool any_header, any_method, any_exposed;                   /* the list holds "*" */
    const char *max_age;                                        /* "" = none */
    bool credentials, vary;
    bool cors; /* some CORS option is given: preflight requests are answered */
};

struct config_middleware {
    const char *name;
    enum config_middleware_kind kind;
    struct { /* redirectScheme: scheme, port. redirectRegex, replacePathRegex: regex, replacement */
        const char *scheme, *port; /* port ":8443", or "" for the scheme's default */
        const char *regex, *replacement;
        bool permanent;
    } redirect;
    struct { /* addPrefix, replacePath: text. stripPrefix, stripPrefixRegex: list */
        const char *text;
        struct config_texts list;
        bool force_slash;
    } path;
    struct config_headers headers;
    struct {
        struct config_texts ranges;
        struct config_ip_strategy ip;
        uint16_t status;
    } allow;
    struct { /* rateLimit: all but amount. inFlightReq: amount, source */
        uint64_t average, period_ms, burst, amount;
        struct config_source source;
    } limit;
    struct {
        const char *realm, *header_field; /* "" = none */
        bool remove_header;
        struct config_pairs users; /* by name, without duplicates */
    } auth;
    struct {
        uint32_t attempts, interval_ms;
    } retry;
    struct config_middleware_list {
        uint32_t *items; /* indices */
        uint32_t count;
    } chain; /* as written */
};
