/* SPDX-License-Identifier: Apache-2.0 */
#include "data/challenge.h"

#include "base/log.h"
#include "data/conn.h"

static const struct span folder = SPAN_LITERAL("/.well-known/acme-challenge/");

/* The token in a path, without the query; empty: none. */
static struct span token_of(struct span path)
{
    if (path.len <= folder.len || memcmp(path.ptr, folder.ptr, folder.len) != 0)
        return (struct span){NULL, 0};
    struct span token = span_skip(path, folder.len);
    token = span_first(token, span_find(token, '?'));
    return token.len <= PUBLISH_TOKEN_MAX ? token : (struct span){NULL, 0};
}

bool challenge_answer(struct worker *w, struct request *rq)
{
    enum http_method method = rq->head->method;
    if ((method != HTTP_GET && method != HTTP_HEAD) || rq->head->connect)
        return false;
    struct span token = token_of(rq->head->path);
    if (!token.len)
        return false;
    const struct http_challenge *c = reader_http_challenge(w->reader, token);
    if (!c || !span_eq(c->entrypoint, rq->entrypoint->name))
        return false;
    struct http_field type = {.name = SPAN_LITERAL("Content-Type"),
                              .value = SPAN_LITERAL("application/octet-stream")};
    struct http_answer answer = {
        .status = 200, .fields = &type, .field_count = 1, .body = c->answer};
    report_add(w->report, REPORT_CHALLENGES_HTTP, 1);
    stream_reply(w, rq->stream, &answer, rq->whole);
    return true;
}

const struct table_cert *challenge_certificate(struct worker *w, const struct hello *hello)
{
    if (!hello->alpn_acme || !hello->name_len)
        return NULL;
    return reader_tls_challenge(w->reader, span_of(hello->name, hello->name_len));
}

struct tls_policy *challenge_policy(struct worker *w)
{
    static const struct snap_tls options = {.name = SPAN_LITERAL("(acme-tls/1)"),
                                            .min_version = 0x0303,
                                            .max_version = 0x0304,
                                            .no_tickets = true,
                                            .alpn = SPAN_LITERAL("acme-tls/1")};
    struct why why = {0};
    if (w->challenge_policy)
        return w->challenge_policy;
    if (!result_is_ok(tls_policy_create(&options, &w->challenge_policy, &why))) {
        log_error("TLS-ALPN-01: %s", why.text);
        return NULL;
    }
    tls_policy_offer(w->challenge_policy, TLS_ALPN_ACME);
    return w->challenge_policy;
}

void challenge_fini(struct worker *w)
{
    tls_policy_destroy(w->challenge_policy);
    w->challenge_policy = NULL;
}
