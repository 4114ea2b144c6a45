/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/snapshot.h - the configuration as workers see it: flat, resolved, immutable.
 * Thread: built by control (as values to encode) or by data's publisher (decoded into one
 * arena); read by workers between rcu online and offline.   Owns: its arena.
 * Never: changes after it is published; holds what changes by itself (certificates, challenge
 * answers, server addresses and health travel item by item). */
#pragma once

#include "base/net.h"
#include "base/result.h"
#include "base/span.h"
#include "bridge/series.h"
#include "bridge/snapshot_middleware.h"

#define SNAP_NONE UINT32_MAX

/* Bounds of HTTP/2 on an entry point; the last four within ten seconds. All 0: none is spoken. */
struct snap_h2 {
    uint32_t streams_max, stream_window_bytes, conn_window_bytes, head_frames;
    uint32_t resets, control_frames, empty_frames, glitches;
};

/* An entry point. Listening sockets are found by `name`: the supervisor opened them. */
struct snap_entrypoint {
    struct span name;
    uint32_t redirect_status; /* 0 = none, else 301, 302, 307 or 308 */
    struct span redirect_scheme;
    uint16_t redirect_port;    /* 0 = the scheme's default */
    uint32_t read_timeout_ms;  /* whole request with body; 0 = none */
    uint32_t head_timeout_ms;  /* first byte to end of head */
    uint32_t write_timeout_ms; /* 0 = none */
    uint32_t idle_timeout_ms;
    uint32_t tunnel_timeout_ms; /* how long nothing may pass in a tunnel */
    uint32_t handshake_timeout_ms;
    uint32_t head_max_bytes;
    struct snap_h2 h2;
    uint32_t keep_alive_requests;          /* of one connection; 0 = no limit */
    uint32_t keep_alive_ms;                /* age at which a connection ends; 0 = no limit */
    uint32_t grace_timeout_ms;             /* drain */
    uint32_t accept_grace_ms;              /* from the stop signal to the drain */
    bool forwarded_insecure;               /* X-Forwarded-* of every client are trusted */
    uint32_t trusted_first, trusted_count; /* range in snapshot.prefixes */
    uint32_t first_router, router_count;   /* range in snapshot.routers, best priority first */
    bool internal;                         /* has such a router */
    uint64_t series, open_series; /* ids of its requests, 0 = not counted, and of its connections */
    bool tls;              /* some router of it has TLS: connections start with a ClientHello */
    struct snap_range tcp; /* in snapshot.routers: of TCP connections, best priority first */
    bool tcp_tls;          /* some of those have TLS */
    bool proxy_insecure;   /* every client has to send the PROXY protocol, */
    struct snap_range proxy_trusted; /* or those at these addresses: in snapshot.prefixes */
};

struct snap_prefix {
    uint8_t address[16]; /* IPv6, or IPv4-mapped */
    uint8_t bits;        /* 0..128 */
};

/* A rule in postfix order: operands before operators. */
enum snap_rule_op {
    SNAP_RULE_HOST = 1,    /* text: lower-case host name, no port */
    SNAP_RULE_PATH,        /* text: exact path */
    SNAP_RULE_PATH_PREFIX, /* text: prefix, on bytes */
    SNAP_RULE_AND,
    SNAP_RULE_OR,
    SNAP_RULE_NOT,
    SNAP_RULE_ANY,           /* always true */
    SNAP_RULE_HOST_REGEXP,   /* number: index in snapshot.regexes */
    SNAP_RULE_PATH_REGEXP,   /* number: likewise */
    SNAP_RULE_METHOD,        /* text: upper case */
    SNAP_RULE_HEADER,        /* name: of a field; text: its value */
    SNAP_RULE_HEADER_REGEXP, /* name: of a field; number: index in snapshot.regexes */
    SNAP_RULE_QUERY,         /* name: of a parameter; text: its value */
    SNAP_RULE_QUERY_REGEXP,  /* name: of a parameter; number: index in snapshot.regexes */
    SNAP_RULE_CLIENT_IP,     /* number: index in snapshot.prefixes */
    SNAP_RULE_ALPN,          /* text: a protocol; in TCP rules only */
};

struct snap_rule_node {
    uint32_t op; /* enum snap_rule_op */
    struct span text, name;
    uint32_t number; /* 0 where none is needed */
};

/* A regular expression that is known to be good (base/regex.h); each stands here once. */
struct snap_regex {
    struct span pattern;
};

struct snap_router {
    struct span name;
    uint32_t first_node, node_count; /* range in snapshot.rule_nodes; postfix, depth <= 32 */
    int64_t priority;
    uint32_t service;    /* index in snapshot.services */
    uint32_t tls;        /* index in snapshot.tls, SNAP_NONE = plain connections only */
    uint32_t entrypoint; /* index */
    bool access_log, metrics;
    bool passthrough;        /* TCP: TLS is passed on as it comes; then `tls` is not used */
    bool internal;           /* also where the entry point redirects */
    uint64_t series;         /* id of its requests, 0 = not counted by router */
    struct snap_range steps; /* in snapshot.steps: its middlewares, outermost first */
};

/* CA certificates that vouch for servers. */
struct snap_roots {
    struct span certs; /* DER, each behind a 3-byte length */
};

/* How to speak to servers over TLS ([serversTransport], [http.serversTransports.X]). Its times
 * stand in the services that use it, but those that only HTTP/2 has. */
struct snap_transport {
    struct span name; /* empty: the global one */
    uint64_t id;      /* of what is in it: the same in every snapshot while nothing of it changes */
    bool insecure;    /* certificates are not verified */
    bool no_http2;
    bool no_alpn;            /* of TCP: what is spoken behind TLS is not known */
    struct span server_name; /* to ask for and to expect; empty = the host of the server's URL */
    struct span peer_uri;    /* has to be among the certificate's names; empty = none */
    uint32_t roots;          /* index, SNAP_NONE = none */
    struct span chain, key;  /* shown to servers that ask, as in publish_cert; empty = none */
    uint32_t read_idle_timeout_ms, ping_timeout_ms; /* HTTP/2; 0 = never, no limit */
};

struct snap_server {
    struct span url;  /* as configured, for messages */
    struct span host; /* name or address; control resolves names */
    uint16_t port;
    bool https;         /* TLS to the upstream */
    bool h2c;           /* HTTP/2 without TLS */
    uint32_t weight;    /* 0: chosen by a cookie alone */
    struct span cookie; /* what a sticky cookie calls it */
};

enum snap_service_kind {
    SNAP_SERVICE_SERVERS = 0,
    SNAP_SERVICE_WEIGHTED, /* requests are shared out by weight */
    SNAP_SERVICE_HASHED,   /* clients are, by their address */
    SNAP_SERVICE_FAILOVER, /* two members: the second when the first has no good server */
};

enum snap_strategy {
    SNAP_STRATEGY_WRR = 0,
    SNAP_STRATEGY_P2C,
    SNAP_STRATEGY_HRW,
    SNAP_STRATEGY_LEAST_TIME,
};

/* A service of a service. */
struct snap_member {
    uint32_t service; /* of a lower level */
    uint32_t weight;
    struct span cookie;
};

/* Services stand in at most so many levels: those with servers are level 0. */
#define SNAP_SERVICE_LEVELS 4

struct snap_service {
    struct span name;
    uint64_t series;                     /* id of its requests, 0 = not counted by service */
    bool ping;                           /* ferrule answers itself; without servers and members */
    uint32_t first_server, server_count; /* range in snapshot.servers */
    bool pass_host_header;
    uint32_t dial_timeout_ms, response_header_timeout_ms, idle_timeout_ms;
    uint32_t body_timeout_ms, stream_timeout_ms; /* nothing of a response comes: of known length, or
                                                    of unknown; 0 = no limit */
    uint32_t max_idle_per_server;                /* per worker */
    uint32_t transport;                          /* index in snapshot.transports */
    uint8_t kind;                                /* enum snap_service_kind */
    uint8_t strategy;                            /* enum snap_strategy; of servers */
    uint8_t level;                               /* above those of its members */
    uint32_t first_member, member_count;         /* range in snapshot.members */
    struct span cookie_name;                     /* of the sticky cookie; empty = none */
    struct span cookie_attributes;               /* "; Path=/; HttpOnly" */
    uint32_t passive_failures;  /* in `passive_window_ms` take a server out; 0 = never */
    uint32_t passive_window_ms; /* also for how long */
    uint8_t proxy_version;      /* TCP: of the PROXY protocol that is sent; 0 = none */
    uint32_t termination_ms;    /* TCP: time for one side when the other has closed */
    uint32_t keep_alive_ms;     /* TCP: between probes of a silent server; 0 = the usual ones */
};

/* What is asked of clients; the names are Go's. */
enum snap_client_auth {
    SNAP_CLIENT_AUTH_NONE = 0,
    SNAP_CLIENT_AUTH_REQUEST,         /* a certificate, or none, unverified */
    SNAP_CLIENT_AUTH_REQUIRE_ANY,     /* a certificate, unverified */
    SNAP_CLIENT_AUTH_VERIFY_IF_GIVEN, /* a certificate that verifies, or none */
    SNAP_CLIENT_AUTH_VERIFY,          /* a certificate that verifies */
};

/* A TLS policy ([tls.options.X]). */
struct snap_tls {
    struct span name;
    uint16_t min_version, max_version; /* 0x0303 or 0x0304 */
    bool sni_strict;
    bool no_tickets;
    uint8_t client_auth;    /* enum snap_client_auth */
    struct span ciphers;    /* colon list of IANA names, empty = ferrule's order */
    struct span groups;     /* colon list, empty = ferrule's order */
    struct span alpn;       /* colon list of "h2" and "http/1.1", empty = ferrule's order */
    struct span client_cas; /* DER, each behind a 3-byte length */
};

/* A host name whose connections have other TLS options than the default ones. */
struct snap_tls_host {
    uint32_t entrypoint;
    uint32_t tls; /* index in snapshot.tls */
    struct span host;
};

/* What happens to a field of the access log. */
enum snap_access_mode { SNAP_ACCESS_KEEP = 0, SNAP_ACCESS_DROP, SNAP_ACCESS_REDACT };

/* [accessLog]. */
struct snap_access {
    bool on, json;
    bool buffered;       /* lines may wait longer in memory */
    bool only_retried;   /* filters: a request passes when one of them lets it */
    uint32_t min_ms;     /* 0 = no such filter */
    uint8_t header_mode; /* enum snap_access_mode, of those not in snapshot.access_headers */
    uint64_t dropped;    /* bit per field of base/access_fields.def */
    struct span path;    /* empty = standard output */
};

struct snap_access_header {
    struct span name;
    uint32_t mode; /* enum snap_access_mode */
};

struct snap_access_status {
    uint16_t first, last; /* a range of statuses that pass */
};

/* [metrics.prometheus] and [ping], as far as workers know them. */
struct snap_metrics {
    bool on;
    uint16_t ping_status; /* of ping while ferrule stops */
    uint32_t bound_count;
    uint64_t bounds_ns[SERIES_BOUNDS_MAX]; /* of durations, ascending */
};

struct snapshot {
    uint64_t version; /* grows with each one control publishes */
    void *owner;      /* the bridge's own mark on what it published; NULL in control */
    uint32_t conns_per_worker;
    uint32_t store_keep;    /* names that may be warm at once; 0 = any number */
    uint32_t store_wait_ms; /* how long a hello waits for a cold name */
    struct snap_access access;
    struct snap_metrics metrics;
    struct snap_access_header *access_headers;
    struct snap_access_status *access_statuses;
    struct snap_entrypoint *entrypoints;
    struct snap_router *routers;
    struct snap_rule_node *rule_nodes;
    struct snap_service *services;
    struct snap_server *servers;
    struct snap_member *members;
    struct snap_transport *transports;
    struct snap_roots *roots;
    struct snap_tls *tls;            /* [0] is "default" */
    struct snap_tls_host *tls_hosts; /* by entry point, then host (bytes, the shorter first) */
    struct snap_prefix *prefixes;
    struct snap_regex *regexes;
    struct snap_middleware *middlewares;
    struct snap_step *steps;
    struct snap_text *texts;
    struct snap_pair *pairs;
    uint32_t entrypoint_count, router_count, rule_node_count, service_count, server_count,
        transport_count, roots_count, tls_count, tls_host_count, prefix_count, regex_count,
        member_count, middleware_count, step_count, text_count, pair_count, access_header_count,
        access_status_count;
};

struct buf;

#define SNAP_RULE_DEPTH_MAX 32

/* Appends the wire form. Every index, range and rule has to be good (programmer error); see
 * snapshot_check(). */
void snapshot_encode(const struct snapshot *s, struct buf *out);
/* Decodes into one allocation, which snapshot_free() frees; every count is held against the bytes
 * that are there before memory is taken. `in` is not kept. ERR_FORMAT, ERR_VERSION. */
struct result snapshot_decode(struct span in, struct snapshot **ret);
/* Every index and range points into the snapshot, an entry point's routers name it, services share
 * no server, there is a TLS policy, every rule is complete postfix whose stack stays within
 * SNAP_RULE_DEPTH_MAX, every enumerated field has one of its values. ERR_FORMAT. */
struct result snapshot_check(const struct snapshot *s);
/* The TLS options of connections to a server name (lower case, without final dot; empty: none): an
 * index into s->tls. */
uint32_t snapshot_tls(const struct snapshot *s, uint32_t entrypoint, struct span host);
/* How an element of s->tls_hosts stands to a place in their order: as strcmp(). */
int snapshot_tls_host_order(const struct snap_tls_host *h, uint32_t entrypoint, struct span host);
/* Wipes keys. NULL is fine. Not for snapshots that control built by hand. */
void snapshot_free(struct snapshot *s);
