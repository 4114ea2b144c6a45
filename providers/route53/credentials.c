/* SPDX-License-Identifier: Apache-2.0 */
#include "credentials.h"

#include "aws.h"
#include "text.h"
#include "xml.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_S        60 /* keys are renewed this long before they expire */
#define STS_VERSION    "2011-06-15"
#define STS_DURATION   "900"
#define STS_TRIES      3
#define METADATA_MS    2000
#define METADATA_TTL   "300"
#define CONTAINER_HOST "http://169.254.170.2"
#define ROLES_PATH     "/latest/meta-data/iam/security-credentials/"
#define URL_BYTES      2048

/* --- configuration ------------------------------------------------------------------------------
 */

/* The file that an option names, or the one in ~/.aws; empty when there is no home. */
static void file_path(const struct ferrule_host *host, const char *name, const char *otherwise,
                      char *path, size_t cap)
{
    struct ferrule_str file = text_option(host, name), home = text_option(host, "home");
    path[0] = 0;
    if (file.len)
        snprintf(path, cap, "%.*s", FERRULE_FMT(file));
    else if (home.len)
        snprintf(path, cap, "%.*s/.aws/%s", FERRULE_FMT(home), otherwise);
}

static int32_t read_profile(const struct ferrule_host *host, const char *name, struct profile *p,
                            struct ferrule_error *error)
{
    char path[2][1024];
    file_path(host, "shared_credentials_file", "credentials", path[0], sizeof path[0]);
    file_path(host, "config_file", "config", path[1], sizeof path[1]);
    for (int is_config = 0; is_config < 2; is_config++)
        if (path[is_config][0] && !profile_read(path[is_config], name, is_config, p))
            return text_fail(error, FERRULE_CONFIG, "the AWS file %.300s cannot be read: %s",
                             path[is_config], strerror(errno));
    return FERRULE_OK;
}

/* A named profile has to exist, and what it wants must be something that is done here. */
static int32_t check_profile(const struct credentials *c, bool named, struct ferrule_error *error)
{
    const struct profile *p = &c->profile;
    if (named && !p->found)
        return text_fail(error, FERRULE_CONFIG,
                         "the profile \"%.100s\" (AWS_PROFILE) is in neither of the AWS files",
                         c->profile_name);
    if (!p->access_key_id[0] != !p->secret_access_key[0])
        return text_fail(error, FERRULE_CONFIG,
                         "the AWS profile \"%.100s\" has one of aws_access_key_id and "
                         "aws_secret_access_key, but not both",
                         c->profile_name);
    if (named && p->other && !p->access_key_id[0] && !p->role_arn[0])
        return text_fail(error, FERRULE_CONFIG,
                         "the AWS profile \"%.100s\" uses single sign-on or credential_process, "
                         "which ferrule does not: give it keys or a role_arn",
                         c->profile_name);
    if (p->role_arn[0] && p->source_profile[0] && !c->source.access_key_id[0])
        return text_fail(error, FERRULE_CONFIG,
                         "source_profile \"%.100s\" of the AWS profile \"%.100s\" has no keys",
                         p->source_profile, c->profile_name);
    return FERRULE_OK;
}

static int32_t check_keys(const struct ferrule_host *host, struct ferrule_error *error)
{
    bool id = text_option(host, "access_key_id").len;
    bool secret = text_option(host, "secret_access_key").len;
    if (id == secret)
        return FERRULE_OK;
    return text_fail(error, FERRULE_CONFIG, "AWS_%s is set, but AWS_%s is not: set both",
                     id ? "ACCESS_KEY_ID" : "SECRET_ACCESS_KEY",
                     id ? "SECRET_ACCESS_KEY" : "ACCESS_KEY_ID");
}

int32_t credentials_open(const struct ferrule_host *host, struct credentials *ret,
                         struct ferrule_error *error)
{
    memset(ret, 0, sizeof *ret);
    ret->host = host;
    struct ferrule_str name = text_option(host, "profile"), region = text_option(host, "region");
    if (!text_copy(name.len ? name : text_str("default"), ret->profile_name,
                   sizeof ret->profile_name))
        return text_fail(error, FERRULE_CONFIG, "AWS_PROFILE is too long");
    int32_t status = check_keys(host, error);
    if (status == FERRULE_OK)
        status = read_profile(host, ret->profile_name, &ret->profile, error);
    if (status == FERRULE_OK && ret->profile.source_profile[0])
        status = read_profile(host, ret->profile.source_profile, &ret->source, error);
    if (status == FERRULE_OK)
        status = check_profile(ret, name.len, error);
    if (!region.len)
        region = text_str(ret->profile.region[0] ? ret->profile.region : "us-east-1");
    if (status == FERRULE_OK && !text_copy(region, ret->region, sizeof ret->region))
        status = text_fail(error, FERRULE_CONFIG, "AWS_REGION is too long");
    return status;
}

void credentials_drop(struct credentials *c)
{
    explicit_bzero(&c->keys, sizeof c->keys);
}

void credentials_close(struct credentials *c)
{
    explicit_bzero(c, sizeof *c);
}

/* --- STS ----------------------------------------------------------------------------------------
 */

/* Appends "&NAME=VALUE", escaped. */
static void put_field(const struct ferrule_host *host, struct ferrule_buf *body, const char *name,
                      struct ferrule_str value)
{
    text_put(host, body, host->buf_view(body).len ? "&" : "");
    text_put(host, body, name);
    text_put(host, body, "=");
    text_put_query(host, body, value);
}

static int32_t read_sts(const struct ferrule_http_response *r, struct keys *ret,
                        struct ferrule_error *error)
{
    struct ferrule_str root, credentials;
    char expires[64];
    bool good = xml_root(r->body, NULL, &root) && xml_next(&root, "Credentials", &credentials) &&
                xml_text(credentials, "AccessKeyId", ret->id, sizeof ret->id) &&
                xml_text(credentials, "SecretAccessKey", ret->secret, sizeof ret->secret) &&
                xml_text(credentials, "SessionToken", ret->token, sizeof ret->token) &&
                xml_text(credentials, "Expiration", expires, sizeof expires);
    ret->expires_s = good ? text_time(expires) : -1;
    if (ret->expires_s > 0)
        return FERRULE_OK;
    explicit_bzero(ret, sizeof *ret);
    return text_fail(error, FERRULE_RETRY, "the answer of AWS STS is cut short or damaged");
}

/* Sends the form, signed with `with` unless that is NULL. */
static int32_t ask_sts(struct credentials *c, struct ferrule_str form, const struct keys *with,
                       struct keys *ret, struct ferrule_error *error)
{
    const struct ferrule_host *host = c->host;
    const struct ferrule_http_response *r;
    struct ferrule_str endpoint = text_option(host, "sts_endpoint");
    char url[URL_BYTES], code[AWS_CODE_BYTES];
    while (endpoint.len && endpoint.ptr[endpoint.len - 1] == '/')
        endpoint.len--;
    if (endpoint.len)
        snprintf(url, sizeof url, "%.*s/", FERRULE_FMT(endpoint));
    else
        snprintf(url, sizeof url, "https://sts.%s.amazonaws.com%s/", c->region,
                 strncmp(c->region, "cn-", 3) == 0 ? ".cn" : "");
    struct aws_request q = {.method = "POST",
                            .url = text_str(url),
                            .body = form,
                            .content_type = "application/x-www-form-urlencoded; charset=utf-8",
                            .service = "sts",
                            .region = with ? c->region : NULL,
                            .keys = with,
                            .tries = STS_TRIES};
    int32_t status = aws_call(host, &q, &r, code, error);
    if (status != FERRULE_OK)
        return status;
    status = read_sts(r, ret, error);
    host->http_free(host, r);
    return status;
}

static int32_t assume_role(struct credentials *c, struct ferrule_str role,
                           struct ferrule_str external_id, const struct keys *with,
                           struct keys *ret, struct ferrule_error *error)
{
    struct ferrule_buf *form = c->host->buf_new(c->host);
    put_field(c->host, form, "Action", text_str("AssumeRole"));
    put_field(c->host, form, "DurationSeconds", text_str(STS_DURATION));
    if (external_id.len)
        put_field(c->host, form, "ExternalId", external_id);
    put_field(c->host, form, "RoleArn", role);
    put_field(c->host, form, "RoleSessionName", text_str("ferrule"));
    put_field(c->host, form, "Version", text_str(STS_VERSION));
    int32_t status = ask_sts(c, c->host->buf_view(form), with, ret, error);
    c->host->buf_free(form);
    return status;
}

static int32_t read_token(const char *path, struct ferrule_buf *to, const struct ferrule_host *host,
                          struct ferrule_error *error)
{
    char bytes[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        return text_fail(error, FERRULE_CONFIG, "AWS_WEB_IDENTITY_TOKEN_FILE %.300s: %s", path,
                         strerror(errno));
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
        host->buf_put(to, bytes, n);
    fclose(f);
    explicit_bzero(bytes, sizeof bytes);
    return FERRULE_OK;
}

static int32_t web_identity(struct credentials *c, struct ferrule_str role, const char *token_file,
                            struct keys *ret, struct ferrule_error *error)
{
    const struct ferrule_host *host = c->host;
    struct ferrule_str session = text_option(host, "role_session_name");
    struct ferrule_buf *token = host->buf_new(host), *form = host->buf_new(host);
    int32_t status = read_token(token_file, token, host, error);
    if (status != FERRULE_OK)
        return status;
    struct ferrule_str text = host->buf_view(token);
    while (text.len && strchr("\r\n ", text.ptr[text.len - 1]))
        text.len--;
    put_field(host, form, "Action", text_str("AssumeRoleWithWebIdentity"));
    put_field(host, form, "RoleArn", role);
    put_field(host, form, "RoleSessionName", session.len ? session : text_str("ferrule"));
    put_field(host, form, "Version", text_str(STS_VERSION));
    put_field(host, form, "WebIdentityToken", text);
    status = ask_sts(c, host->buf_view(form), NULL, ret, error);
    host->buf_free(token);
    host->buf_free(form);
    return status;
}

/* --- metadata of containers and instances -------------------------------------------------------
 */

/* GET or PUT with one header; the body's text. */
static int32_t ask_metadata(const struct ferrule_host *host, const char *method, const char *url,
                            struct ferrule_header header, const struct ferrule_http_response **ret,
                            struct ferrule_error *error)
{
    struct ferrule_http_request q = {.size = sizeof q,
                                     .timeout_ms = METADATA_MS,
                                     .method = text_str(method),
                                     .url = text_str(url),
                                     .headers = &header,
                                     .header_count = header.value.len > 0};
    int32_t status = host->http(host, &q, ret, error);
    if (status != FERRULE_OK || (*ret)->status == 200)
        return status;
    uint32_t code = (*ret)->status;
    host->http_free(host, *ret);
    error->http_status = code;
    return text_fail(error, code >= 500 ? FERRULE_RETRY : FERRULE_AUTH,
                     "AWS's metadata service answers HTTP %u%s", code,
                     code == 404 ? " (has the instance a role?)" : "");
}

static bool json_text(const json_t *root, const char *name, char *to, size_t cap)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text && text_copy(text_str(text), to, cap);
}

static int32_t read_json(struct ferrule_str body, struct keys *ret, struct ferrule_error *error)
{
    char expires[64];
    json_t *root = json_loadb(body.len ? body.ptr : "", body.len, 0, NULL);
    bool good = json_text(root, "AccessKeyId", ret->id, sizeof ret->id) &&
                json_text(root, "SecretAccessKey", ret->secret, sizeof ret->secret) &&
                json_text(root, "Token", ret->token, sizeof ret->token) &&
                json_text(root, "Expiration", expires, sizeof expires);
    ret->expires_s = good ? text_time(expires) : -1;
    json_decref(root);
    if (ret->expires_s > 0)
        return FERRULE_OK;
    explicit_bzero(ret, sizeof *ret);
    return text_fail(error, FERRULE_RETRY, "AWS's metadata service gives no usable credentials");
}

static int32_t from_container(struct credentials *c, struct keys *ret, struct ferrule_error *error)
{
    const struct ferrule_host *host = c->host;
    struct ferrule_str relative = text_option(host, "container_relative_uri");
    struct ferrule_str full = text_option(host, "container_full_uri");
    char url[URL_BYTES];
    if (relative.len)
        snprintf(url, sizeof url, CONTAINER_HOST "%.*s", FERRULE_FMT(relative));
    else
        snprintf(url, sizeof url, "%.*s", FERRULE_FMT(full));
    struct ferrule_header header = {{"Authorization", 13},
                                    text_option(host, "container_authorization_token")};
    const struct ferrule_http_response *r;
    int32_t status = ask_metadata(host, "GET", url, header, &r, error);
    if (status != FERRULE_OK)
        return status;
    status = read_json(r->body, ret, error);
    host->http_free(host, r);
    return status;
}

/* IMDSv2: a token first, then the role's name, then its keys. */
static int32_t from_instance(struct credentials *c, struct keys *ret, struct ferrule_error *error)
{
    const struct ferrule_host *host = c->host;
    const struct ferrule_http_response *token, *role, *r;
    struct ferrule_str base = text_option(host, "metadata_endpoint");
    char url[URL_BYTES];
    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    snprintf(url, sizeof url, "%.*s/latest/api/token", FERRULE_FMT(base));
    struct ferrule_header ttl = {{"X-aws-ec2-metadata-token-ttl-seconds", 36},
                                 text_str(METADATA_TTL)};
    int32_t status = ask_metadata(host, "PUT", url, ttl, &token, error);
    if (status != FERRULE_OK)
        return status;
    struct ferrule_header header = {{"X-aws-ec2-metadata-token", 24}, token->body};
    snprintf(url, sizeof url, "%.*s" ROLES_PATH, FERRULE_FMT(base));
    status = ask_metadata(host, "GET", url, header, &role, error);
    if (status != FERRULE_OK)
        return status;
    size_t name_len = 0; /* the first line */
    while (name_len < role->body.len && role->body.ptr[name_len] > ' ')
        name_len++;
    snprintf(url, sizeof url, "%.*s" ROLES_PATH "%.*s", FERRULE_FMT(base), (int)name_len,
             name_len ? role->body.ptr : "");
    status = ask_metadata(host, "GET", url, header, &r, error);
    if (status == FERRULE_OK)
        status = read_json(r->body, ret, error);
    return status;
}

/* --- the chain ----------------------------------------------------------------------------------
 */

static void take_static(const char *id, const char *secret, const char *token, struct keys *ret)
{
    snprintf(ret->id, sizeof ret->id, "%s", id);
    snprintf(ret->secret, sizeof ret->secret, "%s", secret);
    snprintf(ret->token, sizeof ret->token, "%s", token);
}

static int32_t from_options(struct credentials *c, struct keys *ret, struct ferrule_error *error)
{
    if (text_copy(text_option(c->host, "access_key_id"), ret->id, sizeof ret->id) &&
        text_copy(text_option(c->host, "secret_access_key"), ret->secret, sizeof ret->secret) &&
        text_copy(text_option(c->host, "session_token"), ret->token, sizeof ret->token))
        return FERRULE_OK;
    return text_fail(error, FERRULE_CONFIG, "an AWS key is too long");
}

static int32_t find_base(struct credentials *c, struct keys *ret, struct ferrule_error *error);

/* The profile's role, taken with what the profile names as its source. */
static int32_t from_role_of_profile(struct credentials *c, struct keys *ret,
                                    struct ferrule_error *error)
{
    const struct profile *p = &c->profile;
    struct keys *with = calloc(1, sizeof *with);
    if (!with)
        return text_fail(error, FERRULE_RETRY, "out of memory");
    int32_t status = FERRULE_OK;
    if (p->source_profile[0])
        take_static(c->source.access_key_id, c->source.secret_access_key, c->source.session_token,
                    with);
    else if (strcmp(p->credential_source, "Ec2InstanceMetadata") == 0)
        status = from_instance(c, with, error);
    else if (strcmp(p->credential_source, "EcsContainer") == 0)
        status = from_container(c, with, error);
    else
        status = text_fail(error, FERRULE_CONFIG,
                           "the AWS profile \"%.100s\" has a role_arn, but neither source_profile "
                           "nor a credential_source that ferrule knows",
                           c->profile_name);
    if (status == FERRULE_OK)
        status = assume_role(c, text_str(p->role_arn), text_str(p->external_id), with, ret, error);
    explicit_bzero(with, sizeof *with);
    free(with);
    return status;
}

/* In the order of Amazon's own libraries. */
static int32_t find_base(struct credentials *c, struct keys *ret, struct ferrule_error *error)
{
    const struct ferrule_host *host = c->host;
    const struct profile *p = &c->profile;
    struct ferrule_str token_file = text_option(host, "web_identity_token_file");
    char path[1024];
    uint64_t disabled = 0;
    host->option_number(host, "metadata_disabled", &disabled);
    if (text_option(host, "access_key_id").len)
        return from_options(c, ret, error);
    if (token_file.len && text_copy(token_file, path, sizeof path))
        return web_identity(c, text_option(host, "role_arn"), path, ret, error);
    if (p->role_arn[0] && p->web_identity_token_file[0])
        return web_identity(c, text_str(p->role_arn), p->web_identity_token_file, ret, error);
    if (p->role_arn[0])
        return from_role_of_profile(c, ret, error);
    if (p->access_key_id[0]) {
        take_static(p->access_key_id, p->secret_access_key, p->session_token, ret);
        return FERRULE_OK;
    }
    if (text_option(host, "container_relative_uri").len ||
        text_option(host, "container_full_uri").len)
        return from_container(c, ret, error);
    if (disabled)
        return text_fail(error, FERRULE_CONFIG,
                         "there are no AWS credentials: set AWS_ACCESS_KEY_ID and "
                         "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE");
    int32_t status = from_instance(c, ret, error);
    if (status == FERRULE_OK || error->http_status >= 500)
        return status;
    char why[200];
    snprintf(why, sizeof why, "%.199s", error->text);
    return text_fail(error, FERRULE_AUTH,
                     "there are no AWS credentials: neither AWS_ACCESS_KEY_ID nor keys in the "
                     "profile \"%.60s\", and no role of this instance: %s",
                     c->profile_name, why);
}

int32_t credentials_get(struct credentials *c, struct ferrule_error *error)
{
    int64_t now_s = c->host->wall_s(c->host);
    if (c->keys.id[0] && (!c->keys.expires_s || c->keys.expires_s - SPARE_S > now_s))
        return FERRULE_OK;
    credentials_drop(c);
    struct keys *base = calloc(1, sizeof *base);
    if (!base)
        return text_fail(error, FERRULE_RETRY, "out of memory");
    struct ferrule_str role = text_option(c->host, "assume_role_arn");
    int32_t status = find_base(c, base, error);
    if (status == FERRULE_OK && role.len)
        status = assume_role(c, role, text_option(c->host, "external_id"), base, &c->keys, error);
    else if (status == FERRULE_OK)
        c->keys = *base;
    explicit_bzero(base, sizeof *base);
    free(base);
    return status;
}
