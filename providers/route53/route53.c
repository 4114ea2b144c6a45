/* SPDX-License-Identifier: Apache-2.0 */
/* Amazon Route 53: reads the TXT set at a name, adds or removes one value, writes the set back. */
#include "aws.h"
#include "rrset.h"
#include "text.h"
#include "xml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API            "/2013-04-01/"
#define ID_BYTES       64
#define NAME_BYTES     1100
#define ZONE_KEPT_NS   (3600 * 1000000000ll)
#define ZONE_PAGES_MAX 20
#define ROUNDS_MAX     3 /* reads and writes of one set that somebody else changes meanwhile */
#define STATE_VERSION  "1 "

struct instance {
    const struct ferrule_host *host;
    struct credentials credentials;
    char endpoint[512], signing_region[64];
    uint32_t tries;
    bool wants_private, waits;
};

/* --- options ------------------------------------------------------------------------------------
 */

#define ENV(variable, ...) static const char *const variable[] = {__VA_ARGS__, NULL}

ENV(env_id, "AWS_ACCESS_KEY_ID");
ENV(env_secret, "AWS_SECRET_ACCESS_KEY");
ENV(env_token, "AWS_SESSION_TOKEN");
ENV(env_region, "AWS_REGION", "AWS_DEFAULT_REGION");
ENV(env_profile, "AWS_PROFILE", "AWS_DEFAULT_PROFILE");
ENV(env_credentials_file, "AWS_SHARED_CREDENTIALS_FILE");
ENV(env_config_file, "AWS_CONFIG_FILE");
ENV(env_load_config, "AWS_SDK_LOAD_CONFIG");
ENV(env_home, "HOME");
ENV(env_zone, "AWS_HOSTED_ZONE_ID");
ENV(env_retries, "AWS_MAX_RETRIES");
ENV(env_assume_role, "AWS_ASSUME_ROLE_ARN");
ENV(env_external_id, "AWS_EXTERNAL_ID");
ENV(env_private, "AWS_PRIVATE_ZONE");
ENV(env_wait, "AWS_WAIT_FOR_RECORD_SETS_CHANGED");
ENV(env_ttl, "AWS_TTL");
ENV(env_propagation, "AWS_PROPAGATION_TIMEOUT");
ENV(env_polling, "AWS_POLLING_INTERVAL");
ENV(env_http_timeout, "AWS_HTTP_TIMEOUT", "ROUTE53_HTTP_TIMEOUT");
ENV(env_web_token, "AWS_WEB_IDENTITY_TOKEN_FILE");
ENV(env_role, "AWS_ROLE_ARN");
ENV(env_session, "AWS_ROLE_SESSION_NAME");
ENV(env_relative, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
ENV(env_full, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
ENV(env_container_token, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
ENV(env_endpoint, "AWS_ENDPOINT_URL_ROUTE_53", "AWS_ENDPOINT_URL");
ENV(env_sts_endpoint, "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL");
ENV(env_metadata, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
ENV(env_no_metadata, "AWS_EC2_METADATA_DISABLED");

#define TEXT(name, env, help)                                                                      \
    {                                                                                              \
        name, env, NULL, help, FERRULE_STRING, 0, 0, 0                                             \
    }
#define PLAIN(name, env, help)                                                                     \
    {                                                                                              \
        name, env, NULL, help, FERRULE_STRING, FERRULE_OPTION_NO_FILE, 0, 0                        \
    }
#define SECRET(name, env, help)                                                                    \
    {                                                                                              \
        name, env, NULL, help, FERRULE_STRING, FERRULE_OPTION_SECRET, 0, 0                         \
    }
#define FLAG(name, env, def, help)                                                                 \
    {                                                                                              \
        name, env, def, help, FERRULE_BOOL, FERRULE_OPTION_NO_FILE, 0, 0                           \
    }

static const struct ferrule_option options[] = {
    TEXT("access_key_id", env_id, "Access key."),
    SECRET("secret_access_key", env_secret, "Its secret."),
    SECRET("session_token", env_token, "The token of temporary keys."),
    PLAIN(
        "region", env_region,
        "For AWS's partition (cn-..., us-gov-...) and STS; without it the profile's or us-east-1."),
    PLAIN("profile", env_profile, "A profile of the AWS files; \"default\" without it."),
    PLAIN("shared_credentials_file", env_credentials_file, "Instead of ~/.aws/credentials."),
    PLAIN("config_file", env_config_file, "Instead of ~/.aws/config."),
    FLAG("sdk_load_config", env_load_config, "true",
         "Accepted for compatibility: the config file is always read."),
    PLAIN("home", env_home, "Where .aws is looked for."),
    TEXT("hosted_zone_id", env_zone, "The zone's id; without it the zone is looked up by name."),
    {"max_retries", env_retries, "5", "How often a request is sent at most.", FERRULE_UINT,
     FERRULE_OPTION_NO_FILE, 0, 20},
    TEXT("assume_role_arn", env_assume_role, "A role to take before Route 53 is asked."),
    TEXT("external_id", env_external_id, "What that role's owner asks for."),
    FLAG("private_zone", env_private, "false", "Take the private zone of that name."),
    FLAG("wait_for_record_sets_changed", env_wait, "true", "Wait until a change is INSYNC."),
    {"ttl", env_ttl, "10", "Time to live of the TXT values.", FERRULE_SECONDS, 0, 0, 2147483647},
    {"propagation_timeout", env_propagation, "120", "How long values may take to be visible.",
     FERRULE_SECONDS, 0, 0, 0},
    {"polling_interval", env_polling, "4", "Pause between two looks.", FERRULE_SECONDS, 0, 0, 0},
    {"http_timeout", env_http_timeout, "30", "How long one answer may take.", FERRULE_SECONDS, 0, 1,
     300},
    PLAIN("web_identity_token_file", env_web_token, "A token's file, as Kubernetes gives one."),
    PLAIN("role_arn", env_role, "The role for that token."),
    PLAIN("role_session_name", env_session, "The session's name for that token."),
    PLAIN("container_relative_uri", env_relative, "As ECS gives it."),
    PLAIN("container_full_uri", env_full, "As EKS gives it."),
    SECRET("container_authorization_token", env_container_token, "For the two before."),
    {"endpoint", env_endpoint, NULL, "Address of Route 53, for tests.", FERRULE_URL, 0, 0, 0},
    {"sts_endpoint", env_sts_endpoint, NULL, "Address of STS, for tests.", FERRULE_URL, 0, 0, 0},
    {"metadata_endpoint", env_metadata, "http://169.254.169.254",
     "Address of the instance's metadata service.", FERRULE_URL, 0, 0, 0},
    FLAG("metadata_disabled", env_no_metadata, "false", "Never ask the metadata service."),
};

/* --- life ---------------------------------------------------------------------------------------
 */

static bool flag(const struct ferrule_host *host, const char *name)
{
    uint64_t value = 0;
    host->option_number(host, name, &value);
    return value;
}

/* Route 53 is one service per partition, signed for one region of it. */
static void choose_endpoint(struct instance *i)
{
    static const struct {
        const char *prefix, *endpoint, *region;
    } partitions[] = {
        {"cn-", "https://route53.amazonaws.com.cn", "cn-northwest-1"},
        {"us-gov-", "https://route53.us-gov.amazonaws.com", "us-gov-west-1"},
        {"", "https://route53.amazonaws.com", "us-east-1"},
    };
    size_t n = 0;
    while (strncmp(i->credentials.region, partitions[n].prefix, strlen(partitions[n].prefix)) != 0)
        n++;
    struct ferrule_str own = text_option(i->host, "endpoint");
    while (own.len && own.ptr[own.len - 1] == '/')
        own.len--;
    if (!own.len || !text_copy(own, i->endpoint, sizeof i->endpoint))
        snprintf(i->endpoint, sizeof i->endpoint, "%s", partitions[n].endpoint);
    snprintf(i->signing_region, sizeof i->signing_region, "%s", partitions[n].region);
}

static void route53_close(void *instance)
{
    struct instance *i = instance;
    credentials_close(&i->credentials);
    free(i);
}

static int32_t route53_open(const struct ferrule_host *host, void **ret,
                            struct ferrule_error *error)
{
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return text_fail(error, FERRULE_RETRY, "out of memory");
    i->host = host;
    int32_t status = credentials_open(host, &i->credentials, error);
    if (status != FERRULE_OK) {
        route53_close(i);
        return status;
    }
    choose_endpoint(i);
    uint64_t tries = 5;
    host->option_number(host, "max_retries", &tries);
    i->tries = tries ? (uint32_t)tries : 1;
    i->wants_private = flag(host, "private_zone");
    i->waits = flag(host, "wait_for_record_sets_changed");
    *ret = i;
    return FERRULE_OK;
}

/* --- requests -----------------------------------------------------------------------------------
 */

/* GET, or POST with a body. A key that has just expired is replaced once. */
static int32_t ask(struct instance *i, struct ferrule_str url, struct ferrule_str body,
                   const struct ferrule_http_response **ret, char code[AWS_CODE_BYTES],
                   struct ferrule_error *error)
{
    int32_t status = FERRULE_AUTH;
    code[0] = 0;
    for (int round = 0; round < 2; round++) {
        status = credentials_get(&i->credentials, error);
        if (status != FERRULE_OK)
            return status;
        struct aws_request q = {.method = body.len ? "POST" : "GET",
                                .url = url,
                                .body = body,
                                .content_type = "application/xml",
                                .service = "route53",
                                .region = i->signing_region,
                                .keys = &i->credentials.keys,
                                .tries = i->tries};
        status = aws_call(i->host, &q, ret, code, error);
        if (strcmp(code, "ExpiredToken") != 0)
            break;
        credentials_drop(&i->credentials);
    }
    return status;
}

/* A new buffer with the endpoint and a path. */
static struct ferrule_buf *begin_url(const struct instance *i, const char *path)
{
    struct ferrule_buf *url = i->host->buf_new(i->host);
    text_put(i->host, url, i->endpoint);
    text_put(i->host, url, API);
    text_put(i->host, url, path);
    return url;
}

/* "/hostedzone/Z123" -> "Z123"; false when it is no id: it becomes part of a URL. */
static bool take_id(struct ferrule_str text, char id[ID_BYTES])
{
    const char *slash = text.len ? memrchr(text.ptr, '/', text.len) : NULL;
    if (slash)
        text = (struct ferrule_str){slash + 1, text.len - (size_t)(slash + 1 - text.ptr)};
    for (size_t n = 0; n < text.len; n++)
        if (!isalnum((unsigned char)text.ptr[n]))
            return false;
    return text.len && text_copy(text, id, ID_BYTES);
}

/* --- the zone -----------------------------------------------------------------------------------
 */

/* What the look-up has found so far. */
struct zones {
    struct ferrule_str name;
    char ids[2][ID_BYTES];
    unsigned count, others; /* others: of the name, but of the other kind */
};

/* Reads one page. Sets *more when zones of the name may stand on the next one. */
static int32_t read_zones(const struct instance *i, struct ferrule_str body, struct zones *z,
                          bool *more, struct ferrule_error *error)
{
    struct ferrule_str root, zone, rest;
    *more = false;
    if (!xml_root(body, "ListHostedZonesByNameResponse", &root))
        return text_fail(error, FERRULE_RETRY,
                         "Route 53's list of hosted zones is cut short or damaged");
    for (rest = root; xml_next(&rest, "HostedZone", &zone);) {
        char name[NAME_BYTES], id[128], private[8];
        if (!xml_text(zone, "Name", name, sizeof name) || !xml_text(zone, "Id", id, sizeof id))
            continue;
        *more = rrset_names_equal(text_str(name), z->name);
        if (!*more)
            continue;
        bool is_private =
            xml_text(zone, "PrivateZone", private, sizeof private) && strcmp(private, "true") == 0;
        if (is_private != i->wants_private)
            z->others++;
        else if (z->count++ < 2 && !take_id(text_str(id), z->ids[z->count - 1]))
            return text_fail(error, FERRULE_FAILED, "Route 53 names a zone's id strangely");
    }
    char truncated[8];
    *more = *more && xml_text(root, "IsTruncated", truncated, sizeof truncated) &&
            strcmp(truncated, "true") == 0;
    return FERRULE_OK;
}

/* Asks for the zones of the name, page by page. next_id: where the page begins; empty at first. */
static int32_t list_zones(struct instance *i, struct zones *z, struct ferrule_error *error)
{
    char next_id[ID_BYTES] = "", code[AWS_CODE_BYTES];
    bool more = true;
    int32_t status = FERRULE_OK;
    for (int page = 0; status == FERRULE_OK && more && page < ZONE_PAGES_MAX; page++) {
        struct ferrule_buf *url = begin_url(i, "hostedzonesbyname?dnsname=");
        struct ferrule_str name = z->name;
        name.len -= name.len && name.ptr[name.len - 1] == '.';
        text_put_query(i->host, url, name);
        if (next_id[0])
            text_put(i->host, url, "&hostedzoneid=");
        text_put_query(i->host, url, text_str(next_id));
        const struct ferrule_http_response *r;
        status = ask(i, i->host->buf_view(url), text_str(""), &r, code, error);
        i->host->buf_free(url);
        if (status != FERRULE_OK)
            return status;
        status = read_zones(i, r->body, z, &more, error);
        struct ferrule_str root;
        char id[128];
        if (more &&
            !(xml_root(r->body, NULL, &root) && xml_text(root, "NextHostedZoneId", id, sizeof id) &&
              take_id(text_str(id), next_id)))
            more = false;
        i->host->http_free(i->host, r);
    }
    return status;
}

static int32_t look_zone_up(struct instance *i, struct ferrule_str name, char id[ID_BYTES],
                            struct ferrule_error *error)
{
    struct zones z = {.name = name};
    if (!name.len)
        return text_fail(error, FERRULE_ZONE,
                         "the DNS does not say which zone it is: set AWS_HOSTED_ZONE_ID");
    int32_t status = list_zones(i, &z, error);
    if (status != FERRULE_OK)
        return status;
    if (z.count == 0)
        return text_fail(error, FERRULE_ZONE,
                         "Route 53 has no %s hosted zone %.255s in this account%s",
                         i->wants_private ? "private" : "public", name.ptr,
                         z.others ? ", but one of the other kind (AWS_PRIVATE_ZONE)" : "");
    if (z.count > 1)
        return text_fail(error, FERRULE_ZONE,
                         "the hosted zone %.255s is ambiguous: %s and %s have that name; set "
                         "AWS_HOSTED_ZONE_ID",
                         name.ptr, z.ids[0], z.ids[1]);
    memcpy(id, z.ids[0], ID_BYTES);
    return FERRULE_OK;
}

static int32_t find_zone(struct instance *i, const struct ferrule_request *q, char id[ID_BYTES],
                         struct ferrule_error *error)
{
    const struct ferrule_host *host = i->host;
    struct ferrule_str configured = text_option(host, "hosted_zone_id");
    if (configured.len)
        return take_id(configured, id)
                   ? FERRULE_OK
                   : text_fail(error, FERRULE_CONFIG, "AWS_HOSTED_ZONE_ID \"%.*s\" is no zone's id",
                               (int)(configured.len < 64 ? configured.len : 64), configured.ptr);
    struct ferrule_buf *kept = host->buf_new(host);
    bool known =
        host->cache_get(host, q->zone, kept) == FERRULE_OK && take_id(host->buf_view(kept), id);
    host->buf_free(kept);
    if (known)
        return FERRULE_OK;
    int32_t status = look_zone_up(i, q->zone, id, error);
    if (status == FERRULE_OK)
        host->cache_put(host, q->zone, text_str(id), host->now_ns(host) + ZONE_KEPT_NS);
    return status;
}

/* --- the set ------------------------------------------------------------------------------------
 */

/* On success *ret is what the set points into. */
static int32_t read_set(struct instance *i, const char *zone, const struct ferrule_request *q,
                        struct rrset *set, const struct ferrule_http_response **ret,
                        struct ferrule_error *error)
{
    char path[ID_BYTES + 32], code[AWS_CODE_BYTES];
    snprintf(path, sizeof path, "hostedzone/%s/rrset?name=", zone);
    struct ferrule_buf *url = begin_url(i, path);
    text_put_query(i->host, url, q->fqdn);
    text_put(i->host, url, "&type=TXT");
    int32_t status = ask(i, i->host->buf_view(url), text_str(""), ret, code, error);
    i->host->buf_free(url);
    if (status != FERRULE_OK)
        return status;
    status = rrset_read((*ret)->body, q->fqdn, set, error);
    if (status == FERRULE_OK && set->routed)
        status = text_fail(error, FERRULE_FAILED,
                           "the TXT set at %.255s has a routing policy: Route 53 cannot add a "
                           "value to it",
                           q->fqdn.ptr);
    if (status != FERRULE_OK)
        i->host->http_free(i->host, *ret);
    return status;
}

/* Writes the changed set; the change's id is what INSYNC is asked for. */
static int32_t write_set(struct instance *i, const char *zone, struct ferrule_str body,
                         char change[ID_BYTES], char code[AWS_CODE_BYTES],
                         struct ferrule_error *error)
{
    char path[ID_BYTES + 32], id[128];
    const struct ferrule_http_response *r;
    struct ferrule_str root;
    snprintf(path, sizeof path, "hostedzone/%s/rrset/", zone);
    struct ferrule_buf *url = begin_url(i, path);
    int32_t status = ask(i, i->host->buf_view(url), body, &r, code, error);
    i->host->buf_free(url);
    if (status != FERRULE_OK)
        return status;
    if (!xml_root(r->body, "ChangeResourceRecordSetsResponse", &root) ||
        !xml_text(root, "Id", id, sizeof id) || !take_id(text_str(id), change))
        status = text_fail(error, FERRULE_RETRY,
                           "Route 53's answer to the change is cut short or damaged");
    i->host->http_free(i->host, r);
    return status;
}

/* One reading and, when it is needed, writing. *again: somebody else changed the set in between. */
static int32_t change_once(struct instance *i, const char *zone, const struct ferrule_request *q,
                           bool remove, char change[ID_BYTES], bool *again,
                           struct ferrule_error *error)
{
    const struct ferrule_host *host = i->host;
    const struct ferrule_http_response *list;
    char code[AWS_CODE_BYTES] = "";
    struct rrset *set = calloc(1, sizeof *set);
    int32_t status = set ? read_set(i, zone, q, set, &list, error)
                         : text_fail(error, FERRULE_RETRY, "out of memory");
    if (status == FERRULE_OK) {
        if ((rrset_find(set, q->value) >= 0) == remove) {
            struct ferrule_buf *body = host->buf_new(host);
            rrset_put_change(host, set, q->fqdn, q->value, q->ttl_s, remove, body);
            status = write_set(i, zone, host->buf_view(body), change, code, error);
            host->buf_free(body);
        }
        host->http_free(host, list);
    }
    free(set);
    *again = strcmp(code, "InvalidChangeBatch") == 0;
    return status;
}

static int32_t change_set(struct instance *i, const char *zone, const struct ferrule_request *q,
                          bool remove, char change[ID_BYTES], struct ferrule_error *error)
{
    bool again = true;
    int32_t status = FERRULE_FAILED;
    for (int round = 0; again && round < ROUNDS_MAX; round++)
        status = change_once(i, zone, q, remove, change, &again, error);
    return status;
}

/* --- entry points -------------------------------------------------------------------------------
 */

/* The zone's and the change's id that present() left; false when there are none. */
static bool read_state(struct ferrule_str state, char zone[ID_BYTES], char change[ID_BYTES])
{
    char text[2 * ID_BYTES + 8];
    zone[0] = change[0] = 0;
    if (state.len < 3 || memcmp(state.ptr, STATE_VERSION, 2) != 0 ||
        memchr(state.ptr, 0, state.len) ||
        !text_copy((struct ferrule_str){state.ptr + 2, state.len - 2}, text, sizeof text))
        return false;
    size_t zone_len = strcspn(text, " ");
    if (!take_id((struct ferrule_str){text, zone_len}, zone))
        return false;
    if (text[zone_len])
        take_id(text_str(text + zone_len + 1), change);
    return true;
}

static int32_t route53_present(void *instance, const struct ferrule_request *q,
                               struct ferrule_buf *state, struct ferrule_error *error)
{
    struct instance *i = instance;
    char zone[ID_BYTES], change[ID_BYTES] = "";
    int32_t status = find_zone(i, q, zone, error);
    if (status == FERRULE_OK)
        status = change_set(i, zone, q, false, change, error);
    if (status == FERRULE_ZONE) /* what is remembered of the zone may be out of date */
        i->host->cache_put(i->host, q->zone, text_str(""), 0);
    if (status != FERRULE_OK)
        return status;
    text_put(i->host, state, STATE_VERSION);
    text_put(i->host, state, zone);
    text_put(i->host, state, change[0] ? " " : "");
    text_put(i->host, state, change);
    return FERRULE_OK;
}

static int32_t route53_cleanup(void *instance, const struct ferrule_request *q,
                               struct ferrule_str state, struct ferrule_error *error)
{
    struct instance *i = instance;
    char zone[ID_BYTES], change[ID_BYTES];
    int32_t status = FERRULE_OK;
    if (!read_state(state, zone, change))
        status = find_zone(i, q, zone, error);
    if (status == FERRULE_OK)
        status = change_set(i, zone, q, true, change, error);
    return status;
}

/* Whether all of Route 53's servers have the change. */
static int32_t route53_ready(void *instance, const struct ferrule_request *q,
                             struct ferrule_str state, struct ferrule_error *error)
{
    struct instance *i = instance;
    char zone[ID_BYTES], change[ID_BYTES], code[AWS_CODE_BYTES], text[16];
    const struct ferrule_http_response *r;
    struct ferrule_str root;
    if (!i->waits || !read_state(state, zone, change) || !change[0])
        return FERRULE_OK;
    struct ferrule_buf *url = begin_url(i, "change/");
    text_put(i->host, url, change);
    int32_t status = ask(i, i->host->buf_view(url), text_str(""), &r, code, error);
    i->host->buf_free(url);
    if (strcmp(code, "NoSuchChange") == 0) /* a state of long ago */
        return FERRULE_OK;
    if (status != FERRULE_OK)
        return status;
    if (!xml_root(r->body, "GetChangeResponse", &root) ||
        !xml_text(root, "Status", text, sizeof text))
        status = text_fail(error, FERRULE_RETRY, "Route 53's answer is cut short or damaged");
    else if (strcmp(text, "INSYNC") != 0)
        status = text_fail(error, FERRULE_RETRY,
                           "Route 53 has not put the change %s into effect (%s)", change, text);
    i->host->http_free(i->host, r);
    return status;
}

static int32_t route53_probe(void *instance, const struct ferrule_request *q,
                             struct ferrule_error *error)
{
    struct instance *i = instance;
    const struct ferrule_http_response *r;
    char zone[ID_BYTES];
    struct rrset *set = calloc(1, sizeof *set);
    int32_t status =
        set ? find_zone(i, q, zone, error) : text_fail(error, FERRULE_RETRY, "out of memory");
    if (status == FERRULE_OK)
        status = read_set(i, zone, q, set, &r, error);
    free(set);
    return status;
}

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "route53",
    .version = "1",
    .summary = "Amazon Route 53",
    .flags = FERRULE_SERIALIZE_RRSET,
    .ttl_s = 10,
    .propagation_timeout_s = 120,
    .polling_interval_s = 4,
    .http_timeout_s = 30,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = route53_open,
    .close = route53_close,
    .present = route53_present,
    .cleanup = route53_cleanup,
    .ready = route53_ready,
    .probe = route53_probe,
    .http_per_minute = 300,
    .http_burst = 10,
};
