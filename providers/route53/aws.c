/* SPDX-License-Identifier: Apache-2.0 */
#include "aws.h"

#include "text.h"
#include "xml.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES      300
#define RETRY_AFTER_MAX_MS 2000 /* a longer one is the host's to wait out */
#define PAUSE_MIN_MS       200

/* What the answer's body says; Route 53 has two forms. */
struct refusal {
    char code[AWS_CODE_BYTES], message[MESSAGE_BYTES];
};

static void read_refusal(struct ferrule_str body, struct refusal *r)
{
    struct ferrule_str root;
    memset(r, 0, sizeof *r);
    if (xml_root(body, "InvalidChangeBatch", &root))
        snprintf(r->code, sizeof r->code, "InvalidChangeBatch");
    else if (xml_root(body, NULL, &root))
        xml_text(root, "Code", r->code, sizeof r->code);
    else
        return;
    struct ferrule_str raw, rest = root;
    if (!xml_next(&rest, "Message", &raw))
        return;
    if (raw.len >= sizeof r->message)
        raw.len = sizeof r->message - 1;
    xml_decode(raw, r->message, sizeof r->message);
}

static bool is_one_of(const char *code, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(code, *list) == 0)
            return true;
    return false;
}

static bool is_throttled(const struct refusal *r, uint32_t status)
{
    static const char *const codes[] = {"Throttling",
                                        "ThrottlingException",
                                        "RequestLimitExceeded",
                                        "PriorRequestNotComplete",
                                        "TooManyRequestsException",
                                        "RequestThrottled",
                                        "SlowDown",
                                        NULL};
    return status == 429 || is_one_of(r->code, codes);
}

static int32_t judge_refused(const struct refusal *r, struct ferrule_error *error)
{
    static const char *const denied[] = {"AccessDenied", "AccessDeniedException",
                                         "UnauthorizedOperation", "UnauthorizedAccess", NULL};
    if (is_one_of(r->code, denied))
        return text_fail(error, FERRULE_DENIED, "AWS refuses (%s): %s", r->code, r->message);
    if (strstr(r->message, "Signature expired") ||
        strstr(r->message, "Signature not yet current") ||
        strcmp(r->code, "RequestTimeTooSkewed") == 0)
        return text_fail(error, FERRULE_RETRY,
                         "AWS refuses the request's time (%s): set this machine's clock (NTP)",
                         r->message);
    if (strcmp(r->code, "SignatureDoesNotMatch") == 0)
        return text_fail(error, FERRULE_AUTH,
                         "AWS knows the access key but not this secret (%s): copy "
                         "AWS_SECRET_ACCESS_KEY again",
                         r->code);
    return text_fail(error, FERRULE_AUTH, "AWS does not accept the credentials (%s): %s",
                     r->code[0] ? r->code : "no reason given", r->message);
}

static int32_t judge(const struct ferrule_http_response *answer, char code[AWS_CODE_BYTES],
                     struct ferrule_error *error)
{
    struct refusal r;
    error->http_status = answer->status;
    if (answer->status >= 200 && answer->status < 300)
        return FERRULE_OK;
    read_refusal(answer->body, &r);
    memcpy(code, r.code, sizeof r.code);
    if (is_throttled(&r, answer->status)) {
        error->retry_after_ms = answer->retry_after_ms;
        return text_fail(error, FERRULE_RATE, "AWS asks to slow down (%s): %s",
                         r.code[0] ? r.code : "HTTP 429", r.message);
    }
    if (answer->status == 401 || answer->status == 403)
        return judge_refused(&r, error);
    if (strcmp(r.code, "NoSuchHostedZone") == 0)
        return text_fail(error, FERRULE_ZONE, "Route 53 has no such hosted zone: %s", r.message);
    if (answer->status >= 500)
        return text_fail(error, FERRULE_RETRY, "AWS has a problem (HTTP %u %s)", answer->status,
                         r.code);
    if (strcmp(r.code, "ExpiredToken") == 0 || strcmp(r.code, "InvalidClientTokenId") == 0)
        return judge_refused(&r, error);
    return text_fail(error, FERRULE_FAILED, "AWS refuses the request (HTTP %u %s): %s",
                     answer->status, r.code[0] ? r.code : "without a code", r.message);
}

static int32_t send_once(const struct ferrule_host *host, const struct aws_request *q,
                         const struct ferrule_http_response **ret, struct ferrule_error *error)
{
    char scope[128];
    struct ferrule_header headers[2];
    struct ferrule_http_request h = {.size = sizeof h,
                                     .flags = FERRULE_HTTP_NO_RETRY,
                                     .method = text_str(q->method),
                                     .url = q->url,
                                     .headers = headers,
                                     .body = q->body};
    if (q->body.len)
        headers[h.header_count++] =
            (struct ferrule_header){{"Content-Type", 12}, text_str(q->content_type)};
    if (q->region) {
        snprintf(scope, sizeof scope, "aws:amz:%s:%s", q->region, q->service);
        h.aws_sigv4 = text_str(scope);
        h.user = text_str(q->keys->id);
        h.password = text_str(q->keys->secret);
        if (q->keys->token[0])
            headers[h.header_count++] =
                (struct ferrule_header){{"X-Amz-Security-Token", 20}, text_str(q->keys->token)};
    }
    return host->http(host, &h, ret, error);
}

/* Waits as lego does before try n + 1, n from 1. False when the call's time would be over. */
static bool pause_before_next(const struct ferrule_host *host, uint32_t n, uint32_t at_least_ms)
{
    uint8_t random;
    host->random_bytes(host, &random, sizeof random);
    uint32_t ms = (PAUSE_MIN_MS + random % 50) << (n < 7 ? n : 7);
    if (ms < at_least_ms)
        ms = at_least_ms;
    return host->sleep_until(host, host->now_ns(host) + ms * 1000000ll) == FERRULE_OK;
}

/* Whether the same request may help, and can do no harm if it had been done after all. */
static bool may_repeat(const struct aws_request *q, int32_t status,
                       const struct ferrule_error *error)
{
    if (error->http_status)
        return (status == FERRULE_RETRY && error->http_status >= 500) ||
               (status == FERRULE_RATE && error->retry_after_ms <= RETRY_AFTER_MAX_MS);
    return (status == FERRULE_RETRY || status == FERRULE_TIMEOUT) && !q->body.len;
}

int32_t aws_call(const struct ferrule_host *host, const struct aws_request *q,
                 const struct ferrule_http_response **ret, char code[AWS_CODE_BYTES],
                 struct ferrule_error *error)
{
    for (uint32_t n = 1;; n++) {
        code[0] = 0;
        error->http_status = error->retry_after_ms = 0;
        int32_t status = send_once(host, q, ret, error);
        if (status == FERRULE_OK) {
            status = judge(*ret, code, error);
            if (status == FERRULE_OK)
                return status;
            host->http_free(host, *ret);
        }
        if (n >= q->tries || !may_repeat(q, status, error) ||
            !pause_before_next(host, n, error->retry_after_ms))
            return status;
    }
}
