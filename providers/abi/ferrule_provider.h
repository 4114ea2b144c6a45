/* SPDX-License-Identifier: Apache-2.0 */
/* ferrule_provider.h - what a DNS provider plug-in and ferrule know of each other: ABI version 1.
 *
 * A plug-in makes one TXT value exist, or not exist, at one DNS name. Everything else is the
 * host's: configuration, environment and secret files, HTTP, DNS transport, retries, waiting until
 * the value is visible, and remembering what has to be removed after a crash.
 *
 * Thread: none of its own. The host calls a plug-in from one thread, one call at a time, in a child
 *   process that holds nothing but this plug-in. A call may block, but only inside host services.
 * Owns: who makes memory frees it. What the host passes in is borrowed for that call (options:
 * until close). What goes back travels in a ferrule_buf (the host's memory) or in a ferrule_error
 * (the caller's memory). No pointer to the plug-in's memory is kept by the host except the
 * instance. Never: does a plug-in start threads, install signal handlers, change the environment,
 * the working directory or the umask, leave a descriptor open after a call, write to standard
 * output, end the process, or write a secret into `state`, a log line or an error text.
 *
 * HOW A PLUG-IN IS FOUND AND CHECKED
 *   A plug-in is a shared object CODE.so in one of the directories of [plugins] directories. File
 * and directory belong to root or to ferrule's user and are not writable by others. It exports one
 *   data symbol, ferrule_provider_v1, and links to nothing of ferrule. It is loaded with RTLD_NOW
 * and RTLD_LOCAL, never unloaded. The checks come in this order, each with its own message: the
 * file exists, its owner and mode are safe, it loads, it has the symbol, abi_major is 1, size
 * covers all members up to and including `cleanup`, code (or one of the aliases) equals the file's
 * name. Nothing behind abi_major is read before abi_major was found equal.
 *
 * HOW IT GROWS
 *   Structures only ever grow at their end, and every structure that may grow begins with its size
 * as its maker compiled it. A member is there when FERRULE_HAS(pointer, member) is true: check it
 * for every member that came after the minor version you can live with. A minor version adds
 * members, flags or enumerators and changes nothing else; a plug-in of a lower or higher minor
 * version loads. A new major version is another symbol, so that one file can serve both.
 * Enumerations travel as int32_t or uint32_t. There are no bit-fields, no long, no time_t, no FILE
 * and no va_list here; the layout is that of the x86-64 and AArch64 psABI.
 *
 * CALLS, IN ORDER
 *   open once; then present, cleanup, ready and probe in any order and number; then close, unless
 * the process is killed, which may happen at any moment. Every call after open gets a deadline on
 * the monotonic clock. Host services return FERRULE_TIMEOUT (or FERRULE_CANCELLED) at once when it
 * has passed; the plug-in then frees what it holds and returns that status. A plug-in that does not
 *   return is killed, and its call counts as failed for a time.
 *
 * IDEMPOTENCE
 *   present of a value that exists is success; cleanup of a value that does not exist is success.
 * Both hold after a crash between the provider's answer and the return of the function. A name may
 *   hold several values (a domain and its wildcard share one): present adds, cleanup removes
 * exactly the one value it is given and leaves every other value and type alone. A plug-in whose
 * service cannot do that says so by FERRULE_SINGLE_VALUE or FERRULE_WHOLE_ZONE.
 *
 * STATE
 *   present may put up to FERRULE_STATE_MAX bytes into `state`, such as a record id. The host
 * stores them on disk before it goes on and passes them to ready and cleanup, also after a restart
 * and to a later version of the plug-in; so begin them with a version of your own. They may be
 * lost: with empty state cleanup finds the record by name, type and value.
 *
 * ERRORS
 *   The returned status tells the host what to do next (see enum ferrule_status); error->text tells
 * a person what happened and what to change: one sentence, with the service's own message, without
 *   the body of an answer. A host service fills in error by itself, so "return the service's
 * status" is good error handling.
 *
 * SECRETS
 *   arrive only through host->option(). The host blots their values out of log lines and errors,
 * but only where they stand literally; so do not encode or cut them there. */
#ifndef FERRULE_PROVIDER_H
#define FERRULE_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

#define FERRULE_PROVIDER_ABI_MAJOR 1u
#define FERRULE_PROVIDER_ABI_MINOR 2u

/* Whether the maker of *p knew the member. p points to a structure that begins with its size. */
#define FERRULE_HAS(p, member)                                                                     \
    ((size_t)(p)->size >= (size_t)((const char *)(&(p)->member + 1) - (const char *)(p)))

#define FERRULE_STATE_MAX  4096u
#define FERRULE_DIGEST_MAX 64u
#define FERRULE_DNS_MAX    65535u /* of one DNS message */

#ifdef __cplusplus
#define FERRULE_EXPORT extern "C" __attribute__((visibility("default")))
extern "C" {
#else
#define FERRULE_EXPORT __attribute__((visibility("default")))
#endif

/* --- values ---------------------------------------------------------------------------------- */

/* Bytes, not NUL-terminated; may hold any byte. ptr may be NULL when len is 0. */
struct ferrule_str {
    const char *ptr;
    size_t len;
};

/* For printf("%.*s"): gives both arguments. */
#define FERRULE_FMT(s) (int)(s).len, (s).ptr

/* A growing buffer that the host owns. See buf_new. */
struct ferrule_buf;

enum ferrule_status {
    FERRULE_OK = 0,
    FERRULE_RETRY = 1, /* temporary (network, 5xx, a lock): the host tries again, later and later */
    FERRULE_RATE = 2,  /* the service asks to slow down: not before error->retry_after_ms */
    FERRULE_AUTH = 3,  /* credentials refused: a person has to change them */
    FERRULE_CONFIG = 4,    /* an option is missing or wrong: a person has to change it */
    FERRULE_ZONE = 5,      /* the service has no zone for this name */
    FERRULE_DENIED = 6,    /* the credentials are good but may not change this name */
    FERRULE_FAILED = 7,    /* refused for good, for another reason */
    FERRULE_CANCELLED = 8, /* from host services: nobody wants the result any more */
    FERRULE_TIMEOUT = 9, /* from host services: the deadline passed, or the other side is silent */
    FERRULE_GONE = 10,   /* the service has shut down; the text names its successor */
    FERRULE_ABSENT = 11, /* from host services only: no such option or cache entry */
};

/* Filled by whoever returns a status other than FERRULE_OK. The caller zeroes it and sets size. */
struct ferrule_error {
    uint32_t size;
    uint32_t
        retry_after_ms; /* with FERRULE_RATE and FERRULE_RETRY: not before; 0 = the host decides */
    uint32_t http_status; /* 0 = none */
    uint32_t reserved;
    char text[480]; /* NUL-terminated UTF-8 */
};

/* --- options: declared as data, read by the host ------------------------------------------------
 */

enum ferrule_option_type {
    FERRULE_STRING = 1,
    FERRULE_UINT = 2,    /* decimal; min and max hold */
    FERRULE_SECONDS = 3, /* decimal seconds, or with a unit: 90s, 2m, 1h; passed on as seconds */
    FERRULE_BOOL = 4,    /* passed on as "true" or "false" */
    FERRULE_LIST = 5,    /* comma-separated; passed on with blanks around items removed */
    FERRULE_PATH = 6,    /* of a file that the host's user can read */
    FERRULE_URL = 7,     /* begins with http:// or https:// */
};

enum ferrule_option_flags {
    FERRULE_OPTION_REQUIRED = 1u << 0, /* open is not called without it */
    FERRULE_OPTION_SECRET = 1u << 1,   /* blotted out wherever it would be printed */
    FERRULE_OPTION_DEPRECATED =
        1u << 2, /* still works; a warning when it is set; help says what instead */
    FERRULE_OPTION_NO_FILE = 1u << 3, /* NAME_FILE is not looked at */
};

/* One option. Its value comes from the first variable of `env` that is set and not empty; for each
 * NAME the file that NAME_FILE names is tried next, without line ends at its end. The variables of
 * the resolver's own table are looked at before those of ferrule's environment. A value that does
 * not fit its type is an error that names the variable, never ignored. The option names ttl,
 * propagation_timeout, polling_interval, sequence_interval and http_timeout (FERRULE_SECONDS) also
 * replace the plug-in's member of that name for the host's own use. Since 1.1 so does call_timeout
 * (FERRULE_SECONDS; how long one call may take, 60 s without it), and `environment` (FERRULE_LIST)
 * says what the programs of a plug-in with FERRULE_RUNS_PROGRAMS see of ferrule's environment. */
struct ferrule_option {
    const char *name;          /* what host->option() is asked for: lower case, digits, '_' */
    const char *const *env;    /* NULL-terminated, first is the main one */
    const char *default_value; /* NULL = none */
    const char *help;          /* one sentence */
    uint32_t type;             /* enum ferrule_option_type */
    uint32_t flags;            /* enum ferrule_option_flags */
    uint64_t min, max;         /* for numbers; max 0 = no limit */
};

/* --- what is asked for ------------------------------------------------------------------------ */

/* One TXT value. All names are lower case with a final dot, all strings valid during the call. */
struct ferrule_request {
    uint32_t size;
    uint32_t ttl_s;          /* the option ttl, else the plug-in's default */
    int64_t deadline_ns;     /* host->now_ns() */
    uint64_t operation_id;   /* equal for retries of one operation; for logs */
    struct ferrule_str fqdn; /* where the value goes: "_acme-challenge.example.org." after a
                                CNAME was followed */
    struct ferrule_str challenge_fqdn; /* before it was followed; may equal fqdn */
    struct ferrule_str zone;           /* zone of fqdn, "example.org."; empty = not known */
    struct ferrule_str label;          /* fqdn without the zone, no final dot; empty when zone is */
    struct ferrule_str value;          /* of the TXT record, without quotes; at most 255 bytes */
    struct ferrule_str domain;         /* "example.org", no final dot, no "*." */
    struct ferrule_str token;          /* of the challenge; for services that want the parts */
    struct ferrule_str key_auth;
};

/* --- host services -----------------------------------------------------------------------------
 */

enum ferrule_log_level {
    FERRULE_LOG_ERROR = 0,
    FERRULE_LOG_WARN = 1,
    FERRULE_LOG_INFO = 2,
    FERRULE_LOG_DEBUG = 3,
};

enum ferrule_digest {
    FERRULE_SHA1 = 1,
    FERRULE_SHA224 = 2,
    FERRULE_SHA256 = 3,
    FERRULE_SHA384 = 4,
    FERRULE_SHA512 = 5,
};

struct ferrule_header {
    struct ferrule_str name, value;
};

enum ferrule_http_flags {
    FERRULE_HTTP_FOLLOW = 1u << 0,   /* follow up to 5 redirects to the same host (GET, HEAD) */
    FERRULE_HTTP_NO_RETRY = 1u << 1, /* the host tries once, whatever the method */
};

/* One HTTP exchange. The host adds User-Agent and Content-Length, uses the operator's proxy and CA
 * settings, checks certificates, and limits the answer's body to 4 MiB. GET, HEAD, PUT and DELETE
 * are tried again, up to 3 times in all, when the connection fails or on 502, 503 and 504 (waiting
 * for Retry-After when it fits the deadline); POST and PATCH only when no byte was sent. A 429 is
 * not tried again: return FERRULE_RATE with its retry_after_ms. */
struct ferrule_http_request {
    uint32_t size;
    uint32_t flags;      /* enum ferrule_http_flags */
    uint32_t timeout_ms; /* of one try; 0 = the option http_timeout; the deadline always holds */
    uint32_t header_count;
    struct ferrule_str method, url;
    const struct ferrule_header *headers;
    struct ferrule_str body;
    struct ferrule_str user, password; /* basic authentication when user is not empty */
    struct ferrule_str aws_sigv4;      /* "aws:amz:REGION:SERVICE": sign with user and password as
                                          the two keys; sort the query's parameters by name */
};

/* The host's memory, until http_free or until the entry point returns. */
struct ferrule_http_response {
    uint32_t size;
    uint32_t status;
    uint32_t header_count;
    uint32_t retry_after_ms; /* from Retry-After, 0 = none */
    const struct ferrule_header *headers;
    struct ferrule_str body;
};

enum ferrule_dns_flags {
    FERRULE_DNS_TCP = 1u << 0,          /* TCP; the default is UDP */
    FERRULE_DNS_NO_RECURSION = 1u << 1, /* dns_query: do not set RD */
};

/* Sends one DNS message as it is and waits for one answer. Over UDP, datagrams from elsewhere, with
 * another id or without the QR bit do not count, and the message is sent again once, after half the
 * time. Over TCP the host writes and takes off the length prefix. The answer is not checked beyond
 * that: a truncated one (TC) is a success, and the plug-in asks again with FERRULE_DNS_TCP.
 * counts: NULL, or says of each UDP answer whether it is taken (1) or dropped as if it had not come
 * (0), because its signature is not the server's (RFC 8945 section 5.3). It calls no service that
 * talks to the network. */
struct ferrule_dns_exchange {
    uint32_t size;
    uint32_t flags;
    uint32_t timeout_ms; /* 0 = 10 s; the deadline always holds */
    uint32_t reserved;
    struct ferrule_str server;  /* "host", "host:port", "1.2.3.4:53", "[::1]:53", "::1"; port 53 */
    struct ferrule_str message; /* 12..FERRULE_DNS_MAX bytes */
    int32_t (*counts)(void *arg, struct ferrule_str answer);
    void *counts_arg;
};

/* Asks one question and gives the answer as it came, in wire format, after TCP when it was
 * truncated. An answer with an rcode other than 0 is a success of this function. */
struct ferrule_dns_query {
    uint32_t size;
    uint32_t flags;
    uint32_t timeout_ms;
    uint32_t type; /* 1 A, 2 NS, 5 CNAME, 6 SOA, 16 TXT ... */
    struct ferrule_str name;
    struct ferrule_str server; /* empty = the machine's resolvers */
};

enum ferrule_spawn_flags {
    /* Since 1.1: the program gets the operator's environment, and `env` replaces and adds. */
    FERRULE_SPAWN_INHERIT = 1u << 0,
};

/* Runs a program with standard input from `input`, no other descriptor, and only the environment
 * given. It is killed at the deadline; what it started itself is killed when it ends. Its output is
 * read to the end; the first 64 KiB of each stream are kept. Since 1.1 a plug-in needs
 * FERRULE_RUNS_PROGRAMS for it. */
struct ferrule_spawn {
    uint32_t size;
    uint32_t flags; /* enum ferrule_spawn_flags */
    const char *const
        *argv;              /* NULL-terminated; argv[0] is looked up in PATH when it has no slash */
    const char *const *env; /* NULL-terminated NAME=VALUE; NULL = the host's own, without secrets */
    struct ferrule_str input;
    struct ferrule_buf *errors; /* since 1.1: gets standard error; NULL = it goes to the output */
};

/* The services. Every function gets the table itself back as its first argument. Functions that
 * return int32_t return an enum ferrule_status and fill *error (which may be NULL) when it is not
 * FERRULE_OK. Output arguments are written only on success. */
struct ferrule_host {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    const char *program; /* "ferrule/0.1.0": for User-Agent-like fields */

    /* One line, without a final newline. Cut at 1,000 bytes. */
    void (*log)(const struct ferrule_host *host, int32_t level, struct ferrule_str text);

    /* Monotonic nanoseconds, for deadlines; seconds since 1970, for signatures. */
    int64_t (*now_ns)(const struct ferrule_host *host);
    int64_t (*wall_s)(const struct ferrule_host *host);
    /* Waits. FERRULE_TIMEOUT at once when at_ns is behind the call's deadline, FERRULE_CANCELLED.
     */
    int32_t (*sleep_until)(const struct ferrule_host *host, int64_t at_ns);

    /* The value of a declared option, checked and in the form its type promises; FERRULE_ABSENT
     * when it has neither value nor default. Borrowed until close. */
    int32_t (*option)(const struct ferrule_host *host, const char *name, struct ferrule_str *ret);
    /* The same for FERRULE_UINT, FERRULE_SECONDS and FERRULE_BOOL (0 or 1). */
    int32_t (*option_number)(const struct ferrule_host *host, const char *name, uint64_t *ret);

    /* Any HTTP status is a success of this function: look at ret->status. */
    int32_t (*http)(const struct ferrule_host *host, const struct ferrule_http_request *request,
                    const struct ferrule_http_response **ret, struct ferrule_error *error);
    void (*http_free)(const struct ferrule_host *host,
                      const struct ferrule_http_response *response);

    /* Both append to `reply` only on success. */
    int32_t (*dns_exchange)(const struct ferrule_host *host, const struct ferrule_dns_exchange *x,
                            struct ferrule_buf *reply, struct ferrule_error *error);
    int32_t (*dns_query)(const struct ferrule_host *host, const struct ferrule_dns_query *query,
                         struct ferrule_buf *reply, struct ferrule_error *error);

    /* algorithm: enum ferrule_digest; out holds FERRULE_DIGEST_MAX bytes. FERRULE_FAILED for an
     * unknown algorithm. */
    int32_t (*digest)(const struct ferrule_host *host, int32_t algorithm, struct ferrule_str in,
                      uint8_t *out, size_t *ret_len);
    int32_t (*hmac)(const struct ferrule_host *host, int32_t algorithm, struct ferrule_str key,
                    struct ferrule_str in, uint8_t *out, size_t *ret_len);
    void (*random_bytes)(const struct ferrule_host *host, void *out, size_t len);

    /* A buffer of the plug-in's own, for the time of one call: freed by buf_free or, at the latest,
     * by the host when the entry point returns. buf_put fails (FERRULE_FAILED) above 16 MiB, and
     * above FERRULE_STATE_MAX for `state`. The view is valid until the buffer changes. */
    struct ferrule_buf *(*buf_new)(const struct ferrule_host *host);
    int32_t (*buf_put)(struct ferrule_buf *buf, const void *ptr, size_t len);
    struct ferrule_str (*buf_view)(const struct ferrule_buf *buf);
    void (*buf_reset)(struct ferrule_buf *buf);
    void (*buf_free)(struct ferrule_buf *buf);

    /* Memory of the child process: tokens, zone ids. Gone when the process ends (after a minute
     * without calls), never on disk. put replaces; get appends to *value, FERRULE_ABSENT when there
     * is none or it has expired. At most 256 entries of 16 KiB; the oldest go first. */
    int32_t (*cache_get)(const struct ferrule_host *host, struct ferrule_str key,
                         struct ferrule_buf *value);
    int32_t (*cache_put)(const struct ferrule_host *host, struct ferrule_str key,
                         struct ferrule_str value, int64_t expires_ns);

    /* Appends what the program wrote (standard error too, unless program->errors takes it);
     * *ret_exit is its exit status, or 128 + signal. */
    int32_t (*spawn)(const struct ferrule_host *host, const struct ferrule_spawn *program,
                     struct ferrule_buf *output, int32_t *ret_exit, struct ferrule_error *error);
};

/* --- the plug-in
 * ---------------------------------------------------------------------------------- */

enum ferrule_provider_flags {
    FERRULE_NEEDS_ZONE = 1u << 0, /* request.zone must not be empty */
    FERRULE_SERIALIZE_RRSET =
        1u << 1, /* reads, merges and writes a whole TXT set: one call per name */
    FERRULE_SERIALIZE_ZONE = 1u << 2, /* one call per zone, over all credential sets */
    FERRULE_SERIALIZE_ALL = 1u << 3,  /* one call at all, over all credential sets */
    FERRULE_SINGLE_VALUE = 1u << 4,   /* a name holds one value: present to cleanup is exclusive */
    FERRULE_NO_CLEANUP = 1u << 5,     /* values expire by themselves; cleanup does nothing */
    FERRULE_WHOLE_ZONE = 1u << 6,     /* writes the whole zone back; the operator has to agree */
    /* Since 1.1: runs programs of the operator. Its child may execute, and gets the variables of
     * dnsChallenge.env and those of ferrule's own environment that the option `environment` names:
     * a name may end in "*"; without the option, all. */
    FERRULE_RUNS_PROGRAMS = 1u << 7,
    /* Since 1.2: a person makes the values, after present has returned. Who is not shown them by
     * the name servers waits until the person says that they are there (`ferrule cert continue`).
     */
    FERRULE_BY_PERSON = 1u << 8,
};

/* An entry point returns an enum ferrule_status. `error` is never NULL. */
struct ferrule_provider {
    uint32_t size; /* sizeof(struct ferrule_provider) as compiled */
    uint16_t abi_major, abi_minor;

    const char *code;           /* "rfc2136": equals the file's name without .so */
    const char *const *aliases; /* NULL-terminated, or NULL: other names the file may have */
    const char *version;        /* the plug-in's own */
    const char *summary;        /* one line for people */
    uint32_t flags;             /* enum ferrule_provider_flags */

    /* Defaults; an option of the same name without _s replaces them. 0 = the host's. */
    uint32_t ttl_s, ttl_min_s, propagation_timeout_s, polling_interval_s, http_timeout_s,
        sequence_interval_s;

    uint32_t option_bytes; /* sizeof(struct ferrule_option) as compiled */
    uint32_t option_count;
    const struct ferrule_option *options;

    /* Checks the options together and makes an instance. Talks to nobody: the service may be down
     * at start. `host` stays valid until the process ends. */
    int32_t (*open)(const struct ferrule_host *host, void **ret_instance,
                    struct ferrule_error *error);
    void (*close)(void *instance);

    int32_t (*present)(void *instance, const struct ferrule_request *request,
                       struct ferrule_buf *state, struct ferrule_error *error);
    int32_t (*cleanup)(void *instance, const struct ferrule_request *request,
                       struct ferrule_str state, struct ferrule_error *error);

    /* From here on members may be NULL. */

    /* Whether the service itself has put the change into effect: FERRULE_OK, or FERRULE_RETRY. */
    int32_t (*ready)(void *instance, const struct ferrule_request *request,
                     struct ferrule_str state, struct ferrule_error *error);
    /* Checks credentials and zone without changing anything. */
    int32_t (*probe)(void *instance, const struct ferrule_request *request,
                     struct ferrule_error *error);

    /* ABI 1.1. How much HTTP the service takes from one account: the host spaces the requests of
     * one credential set so that no more than http_burst go out at once, and no more than
     * http_per_minute in the long run. 0 = no limit; http_burst 0 = 1. A request whose turn comes
     * after the call's deadline is FERRULE_RATE. So is each one before the time that a 429 with
     * Retry-After has named, whatever these say. */
    uint32_t http_per_minute, http_burst;
};

/* A plug-in defines it as
 *     FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
 *         .size = sizeof(struct ferrule_provider), ... };
 * and is compiled with -fvisibility=hidden. */
extern const struct ferrule_provider ferrule_provider_v1;
#define FERRULE_PROVIDER_SYMBOL "ferrule_provider_v1"

#ifdef __cplusplus
}
#endif

#endif
