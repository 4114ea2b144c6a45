/* SPDX-License-Identifier: Apache-2.0 */
/* config/config.h - the checked configuration as the rest of the program sees it.
 * Thread: made in one thread, then read-only.   Owns: everything it points to (one arena).
 * Never: holds an unchecked value: defaults are filled in, ranges hold, references are resolved
 * to indices, rules are parsed, certificate files are read and match their keys. */
#pragma once

#include "base/buf.h"
#include "base/net.h"
#include "base/result.h"
#include "config/middleware.h"
#include "config/rule.h"

struct arena;
struct pair_facts; /* config/pair.h */
struct pair_index;

/* Where a value was written. Line 0: the command line, `file` is the flag without its value and
 * column its number; file NULL: nowhere, a default. */
struct config_where {
    const char *file;
    uint32_t line, column;
};

/* Bounds of HTTP/2; the last four within ten seconds. */
struct config_h2 {
    uint32_t streams_max, stream_window_bytes, conn_window_bytes, head_frames;
    uint32_t resets, control_frames, empty_frames, glitches;
};

struct config_entrypoint {
    const char *name;
    const char **addresses;   /* "1.2.3.4:80", ":443" as written */
    struct net_addr *sockets; /* parsed, same count */
    uint32_t address_count;
    bool redirect;               /* http.redirections.entryPoint is given */
    uint32_t redirect_to;        /* index of an entry point, UINT32_MAX = none or only a port */
    const char *redirect_scheme; /* "https" */
    uint16_t redirect_port;      /* 0 = the scheme's default */
    bool redirect_permanent;
    bool default_of_routers; /* used by routers that name no entry point */
    uint64_t read_timeout_ms, head_timeout_ms, write_timeout_ms, idle_timeout_ms, tunnel_timeout_ms,
        handshake_timeout_ms, grace_timeout_ms; /* 0 = no limit */
    uint32_t keep_alive_requests;               /* of one connection; 0 = no limit */
    uint64_t keep_alive_ms;                     /* age at which a connection ends; 0 = no limit */
    uint64_t accept_grace_ms; /* goes on accepting so long after the stop signal */
    uint32_t head_max_bytes;
    struct config_h2 h2;
    bool forwarded_insecure;
    bool proxy_insecure;        /* every client sends the PROXY protocol, */
    const char **proxy_trusted; /* or those at these addresses */
    uint32_t proxy_trusted_count;
    const char **trusted_ips; /* CIDR or address, checked */
    uint32_t trusted_count;
    bool tls;                  /* http.tls: all its routers have TLS */
    bool access_logs, metrics; /* of routers that do not say */
    uint32_t tls_resolver;     /* default resolver of its routers, UINT32_MAX = none */
    struct config_middleware_list middlewares; /* run before those of its routers */
    struct config_where where;
};

#define CONFIG_DOMAIN_NAMES_MAX 100 /* of one certificate; no public CA takes more */

struct config_domain {  /* one certificate wanted: main name and others */
    const char **names; /* main first, lower case */
    uint32_t count;
};

enum config_choice {
    CONFIG_UNSET = 0, /* as the entry point says */
    CONFIG_YES,
    CONFIG_NO,
};

/* A router whose TLS differs by entry point (entryPoints.X.http.tls) stands here once for each
 * kind, under the same name. */
struct config_router {
    const char *name;
    struct rule rule;
    int64_t priority; /* Traefik's: rule length unless given */
    uint32_t *entrypoints;
    uint32_t entrypoint_count;
    uint32_t service;
    struct config_middleware_list middlewares; /* chains expanded */
    bool tls;
    bool tcp;
    bool passthrough;              /* TCP: TLS is passed on as it comes */
    uint32_t tls_options;          /* index into tls_options */
    uint32_t resolver;             /* index into resolvers, UINT32_MAX = none */
    struct config_domain *domains; /* from tls.domains, else one from the rule's Host(); only tls */
    uint32_t domain_count;
    enum config_choice access_logs, metrics; /* observability */
    bool internal; /* to a service of ferrule's own, also where the entry point redirects */
    struct config_where where;
};

/* CA certificates that vouch for servers. */
struct config_roots {
    struct buf certs; /* DER, each behind a 3-byte length */
};

/* [serversTransport], one [http.serversTransports.X] or one [tcp.serversTransports.X]: how to speak
 * to servers over TLS. Its times stand in the services that use it. */
struct config_transport {
    const char *name; /* "" = the global one */
    bool insecure;    /* certificates are not verified */
    bool no_http2;
    bool tcp;                               /* offers no protocol */
    const char *server_name;                /* "" = the host of the server's URL */
    const char *peer_uri;                   /* "" = none */
    uint32_t roots;                         /* index, UINT32_MAX = none are needed or there */
    struct config_certificate *certificate; /* to show to servers; NULL = none */
    uint64_t read_idle_timeout_ms, ping_timeout_ms;
    struct config_where where;
};

struct config_server {
    const char *url;
    const char *host; /* lower-case name, or address without brackets */
    uint16_t port;
    bool https, h2c; /* TLS; HTTP/2 without TLS; neither: HTTP/1 */
    uint32_t weight;
};

enum config_service_kind {
    CONFIG_SERVICE_SERVERS = 0,
    CONFIG_SERVICE_WEIGHTED,
    CONFIG_SERVICE_HASHED,
    CONFIG_SERVICE_FAILOVER,
};

enum config_strategy {
    CONFIG_STRATEGY_WRR = 0,
    CONFIG_STRATEGY_P2C,
    CONFIG_STRATEGY_HRW,
    CONFIG_STRATEGY_LEAST_TIME,
};

struct config_member { /* a service of a service */
    uint32_t service, weight;
};

struct config_field {
    const char *name, *value;
};

struct config_health { /* loadBalancer.healthCheck */
    bool on;
    bool tcp;           /* connects only */
    const char *scheme; /* "http" or "https"; "" = the server's */
    const char *path, *method, *hostname;
    uint16_t port;   /* 0 = the server's */
    uint32_t status; /* 0 = 2xx and 3xx */
    uint64_t interval_ms, unhealthy_interval_ms, timeout_ms;
    bool follow_redirects;
    struct config_field *headers;
    uint32_t header_count;
};

enum config_internal { CONFIG_INTERNAL_NONE = 0, CONFIG_INTERNAL_PING, CONFIG_INTERNAL_METRICS };

#define CONFIG_SERVICE_LEVELS 4 /* services of services of services of servers */

struct config_service {
    const char *name;
    uint8_t internal; /* enum config_internal */
    uint8_t kind;     /* enum config_service_kind */
    uint8_t strategy; /* enum config_strategy; of servers */
    uint8_t level;    /* above those of its members; those with servers are 0 */
    struct config_member *members;
    uint32_t member_count;         /* failover: 2, the service and its fallback */
    const char *cookie_name;       /* of the sticky cookie, NULL = none */
    const char *cookie_attributes; /* "; Path=/; HttpOnly" */
    uint32_t passive_failures;     /* 0 = no passive health check */
    uint64_t passive_window_ms;
    struct config_health health;
    struct config_server *servers;
    uint32_t server_count;
    bool pass_host_header;
    uint64_t dial_timeout_ms, response_header_timeout_ms, body_timeout_ms, stream_timeout_ms,
        idle_timeout_ms; /* 0 = no limit */
    uint32_t max_idle_per_server;
    uint32_t transport;      /* index into transports */
    uint32_t proxy_version;  /* TCP: of the PROXY protocol that is sent; 0 = none */
    uint64_t termination_ms; /* TCP: time for one side when the other has closed */
    uint64_t keep_alive_ms;  /* TCP: between probes of a silent server; 0 = the usual ones */
    struct config_where where;
};

/* Go's names for what is asked of clients. */
enum config_client_auth {
    CONFIG_CLIENT_AUTH_NONE = 0,
    CONFIG_CLIENT_AUTH_REQUEST,         /* RequestClientCert: taken unseen */
    CONFIG_CLIENT_AUTH_REQUIRE_ANY,     /* RequireAnyClientCert: some, taken unseen */
    CONFIG_CLIENT_AUTH_VERIFY_IF_GIVEN, /* VerifyClientCertIfGiven */
    CONFIG_CLIENT_AUTH_VERIFY,          /* RequireAndVerifyClientCert */
};

struct config_tls_options {
    const char *name;
    uint16_t min_version, max_version; /* 0x0303, 0x0304 */
    bool sni_strict, no_tickets;
    const char **ciphers; /* IANA names */
    const char **groups;  /* "X25519MLKEM768", "X25519", "P-256", "P-384", "P-521" */
    const char **alpn;    /* "h2", "http/1.1" */
    uint32_t cipher_count, group_count, alpn_count; /* 0 = ferrule's own list */
    enum config_client_auth client_auth;
    const char **ca_files; /* paths; without texts in the configuration itself */
    uint32_t ca_file_count;
    struct span client_cas; /* DER, each behind a 3-byte length */
    struct config_where where;
};

/* The options of connections to a host name, where they are not the default ones. */
struct config_tls_host {
    uint32_t entrypoint;
    const char *host; /* lower case, without final dot */
    uint32_t options; /* index into tls_options, not 0 */
};

struct config_certificate {           /* [[tls.certificates]] and the default certificate */
    const char *cert_file, *key_file; /* absolute; "(in the configuration)" for PEM text there */
    struct buf chain;                 /* DER, each behind a 3-byte length */
    struct buf key;                   /* DER */
    struct pair_facts *facts;         /* not NULL: it is cold, and chain and key are empty */
    struct config_where where;
};

struct config_env {           /* dnsChallenge.env: one variable */
    const char *name, *value; /* the value may be secret: never logged */
};

#define CONFIG_CAS_MAX 8

enum config_check { CONFIG_CHECK_OFF = 0, CONFIG_CHECK_WARN, CONFIG_CHECK_STOP };

struct config_resolver {
    const char *name;
    const char *ca_server;   /* the first of ca_servers */
    const char **ca_servers; /* 1 to CONFIG_CAS_MAX */
    uint32_t ca_server_count;
    const char *ca_staging;       /* for rehearsals, "" = none */
    const char **ca_certificates; /* paths, or PEM texts: they begin with dashes */
    uint32_t ca_certificate_count;
    bool ca_system_pool;
    const char *ca_server_name; /* "" = none */
    const char *email;
    const char **email_addresses; /* for requests */
    uint32_t email_address_count;
    bool no_common_name, must_staple;
    bool log_steps;                                       /* each step at level INFO */
    uint64_t client_timeout_ms, client_header_timeout_ms; /* one request to the CA */
    uint32_t certificate_timeout_s;                       /* from the request to the certificate */
    const char *storage;
    uint8_t key_type;                 /* enum key_type of crypto/key.h */
    uint64_t certificates_duration_h; /* 0 = not given: use the real lifetime */
    const char *preferred_chain, *profile;
    uint8_t check_caa, check_clock, check_disk;   /* enum config_check; before an order */
    uint8_t check_address, check_port, check_txt; /* the same */
    struct net_addr *public_addresses;            /* that lead to this machine */
    uint32_t public_address_count;
    const char **check_resolvers; /* as dns_resolvers */
    uint32_t check_resolver_count;
    const char *eab_kid, *eab_hmac;
    const char *dns_provider;   /* NULL = no DNS-01 */
    const char **dns_resolvers; /* "host:port", "[v6]:port" */
    uint32_t dns_resolver_count;
    uint64_t delay_before_check_s;
    bool propagation_authoritative,
        propagation_recursive;      /* who must see a value; neither: nobody */
    bool propagation_try;           /* go on when it did not become visible in time */
    uint32_t propagation_successes; /* looks in a row, 1..10 */
    uint32_t propagation_timeout_s, propagation_interval_s; /* 0 = the provider's */
    uint16_t propagation_port;                              /* 53 */
    struct config_env *env;
    uint32_t env_count;
    bool http_challenge, tls_challenge;
    const char *http_challenge_entrypoint;
    uint16_t http_challenge_port, tls_challenge_port; /* where what the CA sends arrives */
    uint64_t http_challenge_delay_s, tls_challenge_delay_s;
    struct config_domain *domains; /* [[acme.domains]]: wanted whatever the routers say */
    uint32_t domain_count;
    struct config_where where;
};

/* [ocsp]. */
struct config_ocsp {
    bool on; /* for certificates that do not demand it, too */
    struct config_responder {
        const char *from, *to;
    } * overrides;
    uint32_t override_count;
};

/* [accessLog]. */
struct config_access {
    bool on, json, buffered, only_retried;
    const char *path;    /* absolute; NULL = standard output */
    uint64_t min_ms;     /* 0 = no such filter */
    uint64_t dropped;    /* bit per field of base/access_fields.def */
    uint8_t header_mode; /* 0 keep, 1 drop, 2 redact */
    struct {
        const char *name;
        uint8_t mode;
    } * headers;
    struct {
        uint16_t first, last;
    } * statuses;
    uint32_t header_count, status_count;
};

/* [metrics.prometheus]. */
#define CONFIG_BOUNDS_MAX 18
struct config_metrics {
    bool on, entrypoints, routers, services;
    uint32_t bound_count;
    uint64_t bounds_ns[CONFIG_BOUNDS_MAX]; /* ascending */
};

struct config {
    const char *file; /* main file, absolute */
    struct config_entrypoint *entrypoints;
    struct config_router *routers;     /* best first: highest priority, then name */
    struct config_router *tcp_routers; /* likewise; services and middlewares are TCP's */
    struct config_service *services;
    struct config_transport *transports; /* [0] is the global one; TCP's are last */
    struct config_roots *roots;
    struct config_middleware *middlewares;
    struct config_tls_options *tls_options; /* [0] is "default" */
    struct config_tls_host *tls_hosts;      /* by entry point, then host */
    struct config_certificate *certificates;
    struct config_certificate *default_certificate; /* NULL = obtained, or self-signed */
    const struct config_domain *default_domain;     /* its names where it is obtained, or NULL; */
    uint32_t default_resolver;                      /* by this one, which has the domain too */
    struct config_resolver *resolvers;
    uint32_t entrypoint_count, router_count, service_count, transport_count, roots_count,
        tcp_router_count, tls_option_count, tls_host_count, certificate_count, resolver_count,
        middleware_count;
    /* From here on they are TCP's; the first of its transports is for services that name none. */
    uint32_t first_tcp_service, first_tcp_middleware, first_tcp_transport;
    uint32_t workers;            /* count, resolved: >= 1 */
    uint32_t *worker_cpus;       /* one per worker, UINT32_MAX = not pinned */
    uint32_t worker_connections; /* per worker */
    uint32_t control_cpu;        /* UINT32_MAX = not pinned */
    const char *state_directory;
    uint32_t store_keep;    /* certificates of directories in memory */
    uint32_t files_keep;    /* pairs of files in memory: of more than that none is */
    uint32_t store_wait_ms; /* for one that is not */
    const char **plugin_directories;
    uint32_t plugin_directory_count;
    const char *admin_socket;
    struct config_access access;
    struct config_metrics metrics;
    struct config_ocsp ocsp;
    uint16_t ping_status;      /* of ping while ferrule stops */
    const char *log_level;     /* "ERROR", "WARN", "INFO", "DEBUG" */
    bool tls_prefer_acme;      /* tls.prefer = "acme" */
    uint32_t duplicate_budget; /* certificate requests for one set of names in 168 h */
    uint64_t drain_timeout_ms; /* of an old data process after an upgrade */
    bool watch;                /* providers.file.watch */
    const char **watched;      /* files and folders that [providers.file] names, absolute */
    uint32_t watched_count;
    const char **fixed; /* "path=value": the written options that only a restart changes */
    uint32_t fixed_count;
    struct arena *memory; /* config_free()'s */
};

/* One message for a person. */
struct config_problem {
    bool warning;
    struct config_where where;
    const char *text;
};

/* Zero-initialised is valid and empty. */
struct config_problems {
    struct config_problem *items; /* in the order of files, lines and columns */
    uint32_t count;
    uint32_t errors;      /* those that are not warnings */
    struct arena *memory; /* texts and file names; config_problems_free()'s */
};

enum config_mode {
    CONFIG_RUN = 0,      /* everything, files and references too */
    CONFIG_FRAGMENT = 1, /* keys, types and values alone */
    CONFIG_START = 2,    /* as CONFIG_RUN, but certificates and their keys are not read: what the
                          * supervisor has to know, control reads them anyway */
};

/* Loads a file (NULL = none) and dotted flags ("--entryPoints.web.address=:80", which win), checks
 * all of it, and reports every problem at once. Relative paths are relative to the file that names
 * them (on the command line: to the working directory), `storage` to the state directory. *ret is
 * set only when there is no error (never in CONFIG_FRAGMENT mode). ERR_CONFIG. The caller frees
 * both. */
struct result config_load(const char *file, const char *const *flags, uint32_t flag_count,
                          enum config_mode mode, struct config **ret,
                          struct config_problems *problems);
/* What is known of pairs of files from an earlier reading, for configurations with so many that
 * they are cold. */
struct config_known {
    const char *made_by;      /* for pair_index_open() */
    struct pair_index *index; /* NULL: that of the state directory is opened when it is needed, and
                               * is found here then. The caller closes it. */
    uint32_t used;            /* pairs that were not read */
    struct why why;           /* that index cannot be used; "" = it can, or there is none */
};
/* In the state directory. */
#define CONFIG_INDEX_FILE "certificates.index"
/* As config_load(CONFIG_RUN) for a ferrule that runs. Options that need a restart keep their
 * values: `fixed` holds those of the start (struct config's); a difference is a warning. running:
 * the configuration in use, NULL when control itself was started anew. known: may be NULL. */
struct result config_reload(const char *file, const char *const *flags, uint32_t flag_count,
                            const char *const *fixed, uint32_t fixed_count,
                            const struct config *running, struct config_known *known,
                            struct config **ret, struct config_problems *problems);
/* Where a ferrule with this configuration has its admin socket, also when much else of it is wrong.
 * The caller frees *ret. ERR_CONFIG: the file cannot be read. */
struct result config_admin_socket(const char *file, const char *const *flags, uint32_t flag_count,
                                  char **ret, struct why *why);
void config_free(struct config *config);
/* For a process that only needs the rest: wipes API tokens and all else in `env`, the keys of
 * external accounts, and private keys with their certificates. */
void config_forget_secrets(struct config *config);
/* For a process that has taken what it needs of them: frees the certificates of
 * [[tls.certificates]] and the default one, and wipes their keys. Where they came from stays known.
 */
void config_forget_certificates(struct config *config);
void config_problems_free(struct config_problems *problems);
/* "file:line:column: error: text" */
void config_problem_print(const struct config_problem *problem, struct buf *out);
/* The option table as text, or as Markdown for docs/configuration.md. */
void config_options_print(bool markdown, struct buf *out);
