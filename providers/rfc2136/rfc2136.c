/* SPDX-License-Identifier: Apache-2.0 */
/* DNS UPDATE (RFC 2136) signed by TSIG (RFC 8945): BIND, Knot, PowerDNS and others. Adds and
 * deletes single TXT values and never touches another record. */
#include "dns.h"
#include "keyfile.h"
#include "tsig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONES_MAX         64
#define MESSAGE_BYTES_MAX 1536 /* two names, a value and a signature fit */
#define UDP_BYTES_MAX     1232
#define ZONE_KEPT_NS      (300 * 1000000000ll)
#define STATE_VERSION     "1 "

struct instance {
    const struct ferrule_host *host;
    struct ferrule_str nameserver;
    struct tsig_key key; /* digest 0 = updates are not signed */
    struct dns_name zones[ZONES_MAX];
    uint32_t zone_count;
    uint32_t timeout_ms;
};

/* --- options
 * ----------------------------------------------------------------------------------------- */

#define ENV(variable, ...) static const char *const variable[] = {__VA_ARGS__, NULL}
#define BOTH(suffix)       "RFC2136_" suffix, "DNSUPDATE_" suffix

ENV(env_nameserver, BOTH("NAMESERVER"));
ENV(env_tsig_key, BOTH("TSIG_KEY"));
ENV(env_tsig_secret, BOTH("TSIG_SECRET"));
ENV(env_tsig_algorithm, BOTH("TSIG_ALGORITHM"));
ENV(env_tsig_file, BOTH("TSIG_FILE"));
ENV(env_gss_realm, BOTH("TSIG_GSS_REALM"), "DNSUPDATE_RFC3645_REALM");
ENV(env_gss_username, BOTH("TSIG_GSS_USERNAME"), "DNSUPDATE_RFC3645_USERNAME");
ENV(env_gss_password, BOTH("TSIG_GSS_PASSWORD"), "DNSUPDATE_RFC3645_PASSWORD");
ENV(env_gss_keytab, BOTH("TSIG_GSS_KEYTAB_FILE"), "DNSUPDATE_RFC3645_KEYTAB_FILE");
ENV(env_zones, BOTH("ZONES"));
ENV(env_ttl, BOTH("TTL"));
ENV(env_propagation, BOTH("PROPAGATION_TIMEOUT"), "RFC2136_TIMEOUT");
ENV(env_polling, BOTH("POLLING_INTERVAL"));
ENV(env_dns_timeout, BOTH("DNS_TIMEOUT"));
ENV(env_sequence, BOTH("SEQUENCE_INTERVAL"));

static const struct ferrule_option options[] = {
    {"nameserver", env_nameserver, NULL,
     "Server that takes updates: host, host:port or [IPv6]:port.", FERRULE_STRING,
     FERRULE_OPTION_REQUIRED, 0, 0},
    {"tsig_key", env_tsig_key, NULL, "Name of the TSIG key.", FERRULE_STRING, 0, 0, 0},
    {"tsig_secret", env_tsig_secret, NULL, "Secret of the TSIG key, in Base64.", FERRULE_STRING,
     FERRULE_OPTION_SECRET, 0, 0},
    {"tsig_algorithm", env_tsig_algorithm, "hmac-sha1.",
     "hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 or hmac-sha512.", FERRULE_STRING, 0, 0, 0},
    {"tsig_file", env_tsig_file, NULL,
     "Key file as tsig-keygen writes it; replaces key name, secret and algorithm.", FERRULE_PATH,
     FERRULE_OPTION_NO_FILE, 0, 0},
    {"gss_realm", env_gss_realm, NULL, "Of GSS-TSIG, which this plug-in does not have.",
     FERRULE_STRING, 0, 0, 0},
    {"gss_username", env_gss_username, NULL, "Of GSS-TSIG, which this plug-in does not have.",
     FERRULE_STRING, 0, 0, 0},
    {"gss_password", env_gss_password, NULL, "Of GSS-TSIG, which this plug-in does not have.",
     FERRULE_STRING, FERRULE_OPTION_SECRET, 0, 0},
    {"gss_keytab_file", env_gss_keytab, NULL, "Of GSS-TSIG, which this plug-in does not have.",
     FERRULE_STRING, FERRULE_OPTION_NO_FILE, 0, 0},
    {"zones", env_zones, NULL,
     "Zones that are updated, comma-separated; without it the zone is asked for by SOA queries.",
     FERRULE_LIST, 0, 0, 0},
    {"ttl", env_ttl, "120", "Time to live of the TXT values.", FERRULE_SECONDS, 0, 0, 2147483647},
    {"propagation_timeout", env_propagation, "60", "How long values may take to be visible.",
     FERRULE_SECONDS, 0, 0, 0},
    {"polling_interval", env_polling, "2", "Pause between two looks at the name servers.",
     FERRULE_SECONDS, 0, 0, 0},
    {"dns_timeout", env_dns_timeout, "10", "How long the server may take to answer.",
     FERRULE_SECONDS, 0, 1, 300},
    {"sequence_interval", env_sequence, "60",
     "Accepted for compatibility: values are added one by one, so names need no pause between "
     "them.",
     FERRULE_SECONDS, 0, 0, 0},
};

static int32_t fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, ap);
    va_end(ap);
    return status;
}

/* The option's value, empty when it is not set. */
static struct ferrule_str option(const struct ferrule_host *host, const char *name)
{
    struct ferrule_str value = {"", 0};
    host->option(host, name, &value);
    return value;
}

static int32_t refuse_gss(const struct ferrule_host *host, struct ferrule_error *error)
{
    struct ferrule_str algorithm = option(host, "tsig_algorithm");
    if (option(host, "gss_realm").len || option(host, "gss_username").len ||
        option(host, "gss_password").len || option(host, "gss_keytab_file").len ||
        (algorithm.len >= 8 && memcmp(algorithm.ptr, "gss-tsig", 8) == 0))
        return fail(
            error, FERRULE_CONFIG,
            "GSS-TSIG is not supported: give the server a TSIG key (tsig-keygen -a hmac-sha256 "
            "NAME) and set RFC2136_TSIG_FILE, or RFC2136_TSIG_KEY, _SECRET and _ALGORITHM");
    return FERRULE_OK;
}

static int32_t read_key_options(struct instance *i, struct ferrule_error *error)
{
    struct ferrule_str name = option(i->host, "tsig_key"), secret = option(i->host, "tsig_secret");
    struct ferrule_str algorithm = option(i->host, "tsig_algorithm");
    if (!name.len && !secret.len)
        return FERRULE_OK;
    if (!name.len || !secret.len)
        return fail(
            error, FERRULE_CONFIG,
            "RFC2136_TSIG_%s is set, but RFC2136_TSIG_%s is not: set both, or neither to send "
            "updates without a signature",
            name.len ? "KEY" : "SECRET", name.len ? "SECRET" : "KEY");
    if (!dns_name_parse(name, &i->key.name))
        return fail(error, FERRULE_CONFIG, "RFC2136_TSIG_KEY \"%.*s\" is no DNS name",
                    (int)name.len, name.ptr);
    i->key.digest = tsig_algorithm(algorithm, &i->key.algorithm);
    if (!i->key.digest)
        return fail(
            error, FERRULE_CONFIG,
            "RFC2136_TSIG_ALGORITHM is \"%.*s\"; hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 "
            "and hmac-sha512 work (make a new key: tsig-keygen -a hmac-sha256 NAME)",
            (int)(algorithm.len < 64 ? algorithm.len : 64), algorithm.ptr);
    if (!tsig_secret(secret, &i->key))
        return fail(error, FERRULE_CONFIG,
                    "RFC2136_TSIG_SECRET is not Base64 of at most %d bytes: copy the secret as "
                    "tsig-keygen printed it",
                    TSIG_SECRET_BYTES_MAX);
    return FERRULE_OK;
}

static int32_t read_key(struct instance *i, struct ferrule_error *error)
{
    int32_t status = refuse_gss(i->host, error);
    if (status != FERRULE_OK)
        return status;
    struct ferrule_str file = option(i->host, "tsig_file");
    if (!file.len)
        return read_key_options(i, error);
    char path[4096], why[160];
    snprintf(path, sizeof path, "%.*s", FERRULE_FMT(file));
    if (keyfile_read(path, &i->key, why))
        return FERRULE_OK;
    return fail(error, FERRULE_CONFIG, "RFC2136_TSIG_FILE %.200s %s", path, why);
}

static int32_t read_zones(struct instance *i, struct ferrule_error *error)
{
    struct ferrule_str list = option(i->host, "zones");
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        struct ferrule_str item = {list.ptr, comma ? (size_t)(comma - list.ptr) : list.len};
        if (i->zone_count == ZONES_MAX)
            return fail(error, FERRULE_CONFIG, "RFC2136_ZONES names more than %d zones", ZONES_MAX);
        if (!dns_name_parse(item, &i->zones[i->zone_count++]))
            return fail(error, FERRULE_CONFIG, "RFC2136_ZONES: \"%.*s\" is no DNS name",
                        (int)(item.len < 255 ? item.len : 255), item.ptr);
        size_t used = item.len + (comma != NULL);
        list = (struct ferrule_str){list.ptr + used, list.len - used};
    }
    return FERRULE_OK;
}

static void rfc2136_close(void *instance)
{
    struct instance *i = instance;
    tsig_key_wipe(&i->key);
    free(i);
}

static int32_t rfc2136_open(const struct ferrule_host *host, void **ret,
                            struct ferrule_error *error)
{
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return fail(error, FERRULE_RETRY, "out of memory");
    i->host = host;
    i->nameserver = option(host, "nameserver");
    uint64_t timeout_s = 10;
    host->option_number(host, "dns_timeout", &timeout_s);
    i->timeout_ms = (uint32_t)timeout_s * 1000;
    int32_t status = read_key(i, error);
    if (status == FERRULE_OK)
        status = read_zones(i, error);
    if (status != FERRULE_OK) {
        rfc2136_close(i);
        return status;
    }
    *ret = i;
    return FERRULE_OK;
}

/* --- talking to the server
 * -------------------------------------------------------------------------------- */

/* What an answer must be signed as; mac NULL: not at all. */
struct signature {
    const struct instance *i;
    const struct tsig_mac *mac;
};

/* RFC 8945 section 5.3: an answer whose signature is not the server's may be anybody's; the
 * server's own is waited for. What the server says against our signature it cannot sign. */
static int32_t counts(void *arg, struct ferrule_str answer)
{
    const struct signature *s = arg;
    struct dns_message m;
    if (!dns_message_read(answer, &m))
        return 0;
    if (dns_message_is_truncated(&m))
        return 1; /* TCP tells */
    struct tsig_answer t =
        tsig_check(s->i->host, &s->i->key, s->mac, s->i->host->wall_s(s->i->host), &m);
    if (t.verdict == TSIG_ABSENT)
        return dns_message_rcode(&m) != DNS_RCODE_OK;
    return t.verdict == TSIG_GOOD || t.verdict == TSIG_REFUSED || t.verdict == TSIG_CLOCK;
}

static int32_t exchange_once(const struct instance *i, const struct dns_writer *w,
                             const struct tsig_mac *mac, bool tcp, struct ferrule_buf *reply,
                             struct ferrule_error *error)
{
    struct signature signature = {i, mac};
    struct ferrule_dns_exchange x = {
        .size = sizeof x,
        .flags = tcp ? FERRULE_DNS_TCP : 0,
        /* UDP gets half of the time, so that TCP has a chance before the caller's deadline. */
        .timeout_ms = tcp ? i->timeout_ms : i->timeout_ms / 2,
        .server = i->nameserver,
        .message = {(const char *)w->ptr, w->len},
        .counts = mac ? counts : NULL,
        .counts_arg = &signature,
    };
    i->host->buf_reset(reply);
    return i->host->dns_exchange(i->host, &x, reply, error);
}

/* Sends the message over UDP, and over TCP when it is long, unanswered or its answer truncated.
 * mac: of a signed message, else NULL. */
static int32_t exchange(const struct instance *i, const struct dns_writer *w,
                        const struct tsig_mac *mac, struct ferrule_buf *reply,
                        struct dns_message *ret, struct ferrule_error *error)
{
    if (w->bad)
        return fail(error, FERRULE_FAILED, "the DNS message would be too long");
    int32_t status = FERRULE_TIMEOUT;
    bool truncated = false;
    if (w->len <= UDP_BYTES_MAX) {
        status = exchange_once(i, w, mac, false, reply, error);
        if (status == FERRULE_OK && dns_message_read(i->host->buf_view(reply), ret))
            truncated = dns_message_is_truncated(ret);
    }
    if (truncated || status == FERRULE_TIMEOUT || status == FERRULE_RETRY)
        status = exchange_once(i, w, mac, true, reply, error);
    if (status != FERRULE_OK)
        return status;
    if (!dns_message_read(i->host->buf_view(reply), ret) || !dns_skip_questions(ret))
        return fail(error, FERRULE_RETRY, "%.*s sent a damaged DNS message",
                    FERRULE_FMT(i->nameserver));
    return FERRULE_OK;
}

static uint16_t random_id(const struct ferrule_host *host)
{
    uint16_t id;
    host->random_bytes(host, &id, sizeof id);
    return id;
}

/* --- the zone
 * ------------------------------------------------------------------------------------------------
 */

enum soa { SOA_ABSENT = 0, SOA_FOUND, SOA_DAMAGED };

/* Whether the answer section holds a SOA of exactly this name. */
static enum soa find_soa(const struct dns_message *m, const struct dns_name *name)
{
    size_t at = dns_skip_questions(m);
    for (unsigned n = 0; n < m->counts[1]; n++) {
        struct dns_record r;
        if (!dns_read_record(m, &at, &r))
            return SOA_DAMAGED;
        if (r.type == DNS_TYPE_SOA && dns_name_eq(&r.name, name))
            return SOA_FOUND;
    }
    return SOA_ABSENT;
}

/* Asks the server itself, from the name upwards, who has a SOA. Not the root: nobody updates that.
 */
static int32_t walk_to_zone(const struct instance *i, const struct dns_name *name,
                            struct dns_name *ret, struct ferrule_error *error)
{
    char text[DNS_TEXT_BYTES], rcode_text[DNS_RCODE_BYTES];
    struct ferrule_buf *reply = i->host->buf_new(i->host);
    struct dns_name at = *name;
    unsigned last_refusal = 0;
    for (; at.len > 1; dns_name_parent(&at)) {
        uint8_t bytes[MESSAGE_BYTES_MAX];
        struct dns_writer w = {.ptr = bytes, .cap = sizeof bytes};
        struct dns_message m;
        dns_put_query(&w, random_id(i->host), &at, DNS_TYPE_SOA);
        int32_t status = exchange(i, &w, NULL, reply, &m, error);
        if (status != FERRULE_OK)
            return status;
        unsigned rcode = dns_message_rcode(&m);
        enum soa soa = rcode == DNS_RCODE_OK ? find_soa(&m, &at) : SOA_ABSENT;
        if (soa == SOA_FOUND) {
            *ret = at;
            return FERRULE_OK;
        }
        if (soa == SOA_DAMAGED)
            return fail(error, FERRULE_RETRY, "%.*s sent a damaged answer",
                        FERRULE_FMT(i->nameserver));
        if (rcode == DNS_RCODE_SERVFAIL)
            return fail(error, FERRULE_RETRY, "%.*s answers SERVFAIL when asked for the SOA of %s",
                        FERRULE_FMT(i->nameserver), dns_name_text(&at, text));
        if (rcode != DNS_RCODE_OK && rcode != DNS_RCODE_NXDOMAIN)
            last_refusal = rcode;
    }
    return fail(
        error, FERRULE_ZONE,
        "%.*s has no zone for %.255s%s%s: does it serve the zone, and may this machine ask it? "
        "RFC2136_ZONES can name the zone",
        FERRULE_FMT(i->nameserver), dns_name_text(name, text), last_refusal ? " and answered " : "",
        last_refusal ? dns_rcode_text(last_refusal, rcode_text) : "");
}

/* The longest of the configured zones that holds the name. */
static int32_t configured_zone(const struct instance *i, const struct dns_name *name,
                               struct dns_name *ret, struct ferrule_error *error)
{
    const struct dns_name *best = NULL;
    for (uint32_t n = 0; n < i->zone_count; n++)
        if (dns_name_is_in(name, &i->zones[n]) && (!best || i->zones[n].len > best->len))
            best = &i->zones[n];
    char text[DNS_TEXT_BYTES];
    if (!best)
        return fail(error, FERRULE_ZONE, "RFC2136_ZONES names no zone that holds %.255s",
                    dns_name_text(name, text));
    *ret = *best;
    return FERRULE_OK;
}

static int32_t find_zone(const struct instance *i, const struct dns_name *name,
                         struct dns_name *ret, struct ferrule_error *error)
{
    if (i->zone_count)
        return configured_zone(i, name, ret, error);
    const struct ferrule_host *host = i->host;
    struct ferrule_str key = {(const char *)name->wire, name->len};
    struct ferrule_buf *kept = host->buf_new(host);
    if (host->cache_get(host, key, kept) == FERRULE_OK) {
        struct ferrule_str wire = host->buf_view(kept);
        if (wire.len && wire.len <= sizeof ret->wire) {
            memcpy(ret->wire, wire.ptr, wire.len);
            ret->len = wire.len;
            return FERRULE_OK;
        }
    }
    int32_t status = walk_to_zone(i, name, ret, error);
    if (status == FERRULE_OK)
        host->cache_put(host, key, (struct ferrule_str){(const char *)ret->wire, ret->len},
                        host->now_ns(host) + ZONE_KEPT_NS);
    return status;
}

/* --- what the server's answer means
 * ----------------------------------------------------------------------------- */

static int32_t explain_tsig_error(const struct instance *i, const struct tsig_answer *t,
                                  struct ferrule_error *error)
{
    char key[DNS_TEXT_BYTES], algorithm[DNS_TEXT_BYTES];
    dns_name_text(&i->key.name, key);
    dns_name_text(&i->key.algorithm, algorithm);
    switch (t->error) {
    case TSIG_ERROR_BADKEY:
        return fail(
            error, FERRULE_AUTH,
            "%.*s does not know the TSIG key %.100s with %s (BADKEY): compare name and algorithm "
            "with the server's key statement",
            FERRULE_FMT(i->nameserver), key, algorithm);
    case TSIG_ERROR_BADSIG:
        return fail(
            error, FERRULE_AUTH,
            "%.*s knows the TSIG key %.100s but not this secret (BADSIG): copy the secret again "
            "from the server's key statement",
            FERRULE_FMT(i->nameserver), key);
    case TSIG_ERROR_BADTIME: {
        int64_t apart = t->server_s ? t->server_s - i->host->wall_s(i->host) : 0;
        return fail(
            error, FERRULE_RETRY,
            "the clock of %.*s and the clock of this machine are %lld s apart (BADTIME): set the "
            "clock that is wrong (NTP)",
            FERRULE_FMT(i->nameserver), (long long)(apart < 0 ? -apart : apart));
    }
    default:
        return fail(error, FERRULE_AUTH, "%.*s refuses the signature of TSIG key %.100s (error %u)",
                    FERRULE_FMT(i->nameserver), key, t->error);
    }
}

static int32_t explain_rcode(const struct instance *i, unsigned rcode, const char *zone,
                             struct ferrule_error *error)
{
    char key[DNS_TEXT_BYTES] = "", text[DNS_RCODE_BYTES];
    if (i->key.digest)
        dns_name_text(&i->key.name, key);
    switch (rcode) {
    case DNS_RCODE_SERVFAIL:
        return fail(error, FERRULE_RETRY,
                    "%.*s failed to update %s (SERVFAIL): its log says why (is the zone's journal "
                    "writable?)",
                    FERRULE_FMT(i->nameserver), zone);
    case DNS_RCODE_NOTIMP:
        return fail(error, FERRULE_CONFIG,
                    "%.*s does not do DNS UPDATE (NOTIMP): name the primary server",
                    FERRULE_FMT(i->nameserver));
    case DNS_RCODE_REFUSED:
        if (!i->key.digest)
            return fail(
                error, FERRULE_AUTH,
                "%.*s refuses updates of %s without a signature (REFUSED): set RFC2136_TSIG_KEY, "
                "_SECRET and _ALGORITHM, or RFC2136_TSIG_FILE",
                FERRULE_FMT(i->nameserver), zone);
        return fail(error, FERRULE_DENIED,
                    "%.*s does not let TSIG key %.100s update %s (REFUSED): add it to the zone's "
                    "update-policy or allow-update",
                    FERRULE_FMT(i->nameserver), key, zone);
    case DNS_RCODE_NOTAUTH:
    case DNS_RCODE_NOTZONE:
        return fail(error, FERRULE_ZONE,
                    "%.*s is not the primary server of %s (%s): name the primary, or "
                    "set RFC2136_ZONES",
                    FERRULE_FMT(i->nameserver), zone, dns_rcode_text(rcode, text));
    default:
        return fail(error, FERRULE_FAILED, "%.*s refuses the update of %s (%s)",
                    FERRULE_FMT(i->nameserver), zone, dns_rcode_text(rcode, text));
    }
}

/* An answer to a signed request counts only when its signature is good. */
static int32_t check_signature(const struct instance *i, const struct tsig_mac *mac,
                               const struct dns_message *m, const char *zone,
                               struct ferrule_error *error)
{
    struct tsig_answer t = tsig_check(i->host, &i->key, mac, i->host->wall_s(i->host), m);
    char text[DNS_RCODE_BYTES];
    const char *rcode = dns_rcode_text(dns_message_rcode(m), text);
    switch (t.verdict) {
    case TSIG_GOOD:
        return FERRULE_OK;
    case TSIG_REFUSED:
        return explain_tsig_error(i, &t, error);
    case TSIG_ABSENT:
        if (dns_message_rcode(m) != DNS_RCODE_OK)
            return explain_rcode(i, dns_message_rcode(m), zone, error);
        return fail(
            error, FERRULE_AUTH,
            "%.*s answered a signed update without a signature: the answer does not count (is "
            "something between this machine and the server?)",
            FERRULE_FMT(i->nameserver));
    case TSIG_CLOCK:
        return fail(
            error, FERRULE_RETRY,
            "the answer of %.*s was signed at a time too far from this machine's clock: set the "
            "clock that is wrong (NTP)",
            FERRULE_FMT(i->nameserver));
    case TSIG_OTHER_KEY:
    case TSIG_FORGED:
        return fail(
            error, FERRULE_AUTH,
            "the signature of the answer (%s) of %.*s is not by our TSIG key: the answer does not "
            "count (does the server have the same secret and algorithm?)",
            rcode, FERRULE_FMT(i->nameserver));
    case TSIG_DAMAGED:
        break;
    }
    return fail(error, FERRULE_RETRY, "the answer (%s) of %.*s has a damaged TSIG record", rcode,
                FERRULE_FMT(i->nameserver));
}

/* --- updates
 * -----------------------------------------------------------------------------------------------------
 */

/* Signs and sends an update, and says what the answer means. */
static int32_t send_update(const struct instance *i, struct dns_writer *w,
                           const struct dns_name *zone, struct ferrule_error *error)
{
    struct tsig_mac mac = {.len = 0};
    if (i->key.digest)
        tsig_sign(i->host, &i->key, i->host->wall_s(i->host), w, &mac);
    struct ferrule_buf *reply = i->host->buf_new(i->host);
    struct dns_message m;
    int32_t status = exchange(i, w, i->key.digest ? &mac : NULL, reply, &m, error);
    char text[DNS_TEXT_BYTES];
    dns_name_text(zone, text);
    if (status == FERRULE_OK && i->key.digest)
        status = check_signature(i, &mac, &m, text, error);
    if (status == FERRULE_OK && (m.flags >> 11 & 15) != DNS_OPCODE_UPDATE)
        status = fail(error, FERRULE_RETRY, "%.*s answered something else than an update",
                      FERRULE_FMT(i->nameserver));
    if (status == FERRULE_OK && dns_message_rcode(&m) != DNS_RCODE_OK)
        status = explain_rcode(i, dns_message_rcode(&m), text, error);
    i->host->buf_free(reply);
    return status;
}

static int32_t change(const struct instance *i, const struct ferrule_request *q,
                      const struct dns_name *zone, const struct dns_name *name, bool add,
                      struct ferrule_error *error)
{
    uint8_t bytes[MESSAGE_BYTES_MAX];
    struct dns_writer w = {.ptr = bytes, .cap = sizeof bytes};
    dns_put_update(&w, random_id(i->host), zone, 1);
    dns_put_change(&w, name, q->value, q->ttl_s, add);
    return send_update(i, &w, zone, error);
}

static int32_t parse_name(const struct ferrule_request *q, struct dns_name *ret,
                          struct ferrule_error *error)
{
    if (dns_name_parse(q->fqdn, ret))
        return FERRULE_OK;
    return fail(error, FERRULE_CONFIG, "\"%.*s\" is no DNS name", FERRULE_FMT(q->fqdn));
}

static int32_t rfc2136_present(void *instance, const struct ferrule_request *q,
                               struct ferrule_buf *state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    struct dns_name name, zone;
    char text[DNS_TEXT_BYTES];
    int32_t status = parse_name(q, &name, error);
    if (status == FERRULE_OK)
        status = find_zone(i, &name, &zone, error);
    if (status == FERRULE_OK)
        status = change(i, q, &zone, &name, true, error);
    if (status != FERRULE_OK)
        return status;
    /* The zone, so that the removal goes where the value went. */
    dns_name_text(&zone, text);
    i->host->buf_put(state, STATE_VERSION, strlen(STATE_VERSION));
    i->host->buf_put(state, text, strlen(text));
    return FERRULE_OK;
}

/* The zone that present() left in the state. */
static bool zone_from_state(struct ferrule_str state, const struct dns_name *name,
                            struct dns_name *ret)
{
    size_t skip = strlen(STATE_VERSION);
    if (state.len <= skip || memcmp(state.ptr, STATE_VERSION, skip) != 0)
        return false;
    struct ferrule_str text = {state.ptr + skip, state.len - skip};
    return dns_name_parse(text, ret) && ret->len > 1 && dns_name_is_in(name, ret);
}

static int32_t rfc2136_cleanup(void *instance, const struct ferrule_request *q,
                               struct ferrule_str state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    struct dns_name name, zone;
    int32_t status = parse_name(q, &name, error);
    if (status == FERRULE_OK && !zone_from_state(state, &name, &zone))
        status = find_zone(i, &name, &zone, error);
    if (status == FERRULE_OK)
        status = change(i, q, &zone, &name, false, error);
    return status;
}

/* An update without changes is checked like any other: key, signature, and the zone. */
static int32_t rfc2136_probe(void *instance, const struct ferrule_request *q,
                             struct ferrule_error *error)
{
    const struct instance *i = instance;
    struct dns_name name, zone;
    int32_t status = parse_name(q, &name, error);
    if (status == FERRULE_OK)
        status = find_zone(i, &name, &zone, error);
    if (status != FERRULE_OK)
        return status;
    uint8_t bytes[MESSAGE_BYTES_MAX];
    struct dns_writer w = {.ptr = bytes, .cap = sizeof bytes};
    dns_put_update(&w, random_id(i->host), &zone, 0);
    return send_update(i, &w, &zone, error);
}

static const char *const aliases[] = {"dnsupdate", NULL};

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "rfc2136",
    .aliases = aliases,
    .version = "1",
    .summary = "DNS UPDATE (RFC 2136) with TSIG: BIND, Knot, PowerDNS and others",
    .ttl_s = 120,
    .propagation_timeout_s = 60,
    .polling_interval_s = 2,
    .sequence_interval_s = 60,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = rfc2136_open,
    .close = rfc2136_close,
    .present = rfc2136_present,
    .cleanup = rfc2136_cleanup,
    .probe = rfc2136_probe,
};
