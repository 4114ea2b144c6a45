/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/acme.h"

#include "base/clock.h"
#include "base/must.h"
#include "base/rand.h"
#include "control/acme/acme_impl.h"
#include "control/acme/jws.h"
#include "crypto/digest.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTEMPTS_MAX    3 /* per call, for faults that pass by themselves */
#define NONCE_TRIES_MAX 8
#define NONCE_LEN_MAX   256
#define PAUSE_MAX_S     10 /* a longer Retry-After goes to the caller */

static void advance(struct acme_call *call);

struct span acme_url_host(const char *url)
{
    const char *scheme_end = strstr(url, "://");
    const char *host = scheme_end ? scheme_end + 3 : url;
    return span_of(host, strcspn(host, "/?#"));
}

struct acme_answer acme_failure(enum acme_class class, const char *text)
{
    return (struct acme_answer){.class = class, .location = "", .type = "", .text = text};
}

struct acme_answer acme_refusal(const struct http_reply *reply, struct document_problem *problem,
                                struct why *text)
{
    document_problem_parse(reply->body, problem);
    struct acme_answer a = {.class = problem_class(problem->type, reply->status),
                            .status = reply->status,
                            .body = reply->body,
                            .location = reply->location,
                            .retry_after_s = reply->retry_after_s,
                            .type = problem->type,
                            .text = text->text};
    const char *advice = problem_advice(problem->type);
    const char *colon = strrchr(problem->type, ':');
    int n = snprintf(text->text, sizeof text->text, "the CA answered %u", reply->status);
    size_t used = (size_t)n;
    if (colon)
        used += (size_t)snprintf(text->text + used, sizeof text->text - used, " %s", colon + 1);
    if (problem->detail[0])
        used +=
            (size_t)snprintf(text->text + used, sizeof text->text - used, ": %s", problem->detail);
    if (advice[0] && used < sizeof text->text)
        snprintf(text->text + used, sizeof text->text - used, " (%s)", advice);
    return a;
}

/* ---- nonces (section 6.5) -------------------------------------------------------------------- */

void acme_save_nonce(struct acme *acme, const char *nonce)
{
    size_t len = strlen(nonce);
    if (!len || len > NONCE_LEN_MAX ||
        strspn(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != len)
        return;
    if (acme->nonce_count == ACME_NONCES_MAX) {
        /* The oldest is the likeliest to have expired. */
        free(acme->nonces[0]);
        memmove(acme->nonces, acme->nonces + 1, (ACME_NONCES_MAX - 1) * sizeof acme->nonces[0]);
        acme->nonce_count--;
    }
    acme->nonces[acme->nonce_count++] = mem_strdup(nonce);
}

void acme_save_date(struct acme *acme, const struct http_reply *reply)
{
    if (reply->date_s)
        acme->skew_s = reply->date_s - clock_wall_s();
}

int64_t acme_clock_skew_s(const struct acme *acme)
{
    return acme->skew_s;
}

static char *take_nonce(struct acme *acme)
{
    return acme->nonce_count ? acme->nonces[--acme->nonce_count] : NULL;
}

/* ---- one call -------------------------------------------------------------------------------- */

static void call_free(struct acme_call *call)
{
    list_remove(&call->node);
    loop_timer_cancel(call->acme->loop, &call->timer);
    http_call_cancel(call->http);
    free(call->url);
    buf_free(&call->payload);
    free(call);
}

void acme_call_cancel(struct acme_call *call)
{
    if (call)
        call_free(call);
}

static void finish(struct acme_call *call, const struct acme_answer *answer)
{
    /* Off every list and timer first: the callback may not cancel what is finishing. */
    list_remove(&call->node);
    loop_timer_cancel(call->acme->loop, &call->timer);
    call->done(call->arg, answer);
    call_free(call);
}

static void pause_fired(struct loop_timer *t)
{
    advance(LIST_ENTRY(t, struct acme_call, timer));
}

/* Waits and tries again; false when there have been enough attempts. */
static bool pause_call(struct acme_call *call, uint32_t wait_s)
{
    if (++call->attempts >= ATTEMPTS_MAX || wait_s > PAUSE_MAX_S)
        return false;
    uint64_t wait_ns = wait_s ? wait_s * NS_PER_S : call->attempts * NS_PER_S;
    call->phase = ACME_PHASE_PAUSE;
    loop_timer_set(call->acme->loop, &call->timer,
                   clock_now_ns() + wait_ns + rand_below(NS_PER_S / 2));
    return true;
}

static void no_answer(struct acme_call *call, const struct http_reply *reply)
{
    if ((!call->once || !reply->sent) && pause_call(call, 0))
        return;
    struct why text;
    snprintf(text.text, sizeof text.text, "no answer from the CA: %.300s", reply->text);
    struct acme_answer a = acme_failure(ACME_NETWORK, text.text);
    a.may_have_arrived = reply->sent;
    finish(call, &a);
}

static void refused(struct acme_call *call, const struct http_reply *reply)
{
    struct document_problem problem;
    struct why text;
    struct acme_answer a = acme_refusal(reply, &problem, &text);
    if (a.class == ACME_NONCE && ++call->nonce_tries < NONCE_TRIES_MAX) {
        advance(call);
        return;
    }
    if (a.class == ACME_ACCOUNT && call->target != ACME_TARGET_ACCOUNT &&
        call->target != ACME_TARGET_RENEWAL && call->target != ACME_TARGET_KEY_CHANGE &&
        !call->account_retried) {
        call->account_retried = true;
        account_forget_url(call->acme);
        advance(call);
        return;
    }
    if (a.class == ACME_SERVER) {
        if (!call->once && pause_call(call, reply->retry_after_s))
            return;
        a.may_have_arrived = true;
    }
    finish(call, &a);
}

static void on_reply(void *arg, const struct http_reply *reply)
{
    struct acme_call *call = arg;
    call->http = NULL;
    acme_save_nonce(call->acme, reply->nonce);
    acme_save_date(call->acme, reply);
    if (!reply->answered) {
        no_answer(call, reply);
    } else if (reply->status >= 200 && reply->status <= 299) {
        struct acme_answer a = {.class = ACME_OK,
                                .status = reply->status,
                                .body = reply->body,
                                .location = reply->location,
                                .alternates = reply->alternates,
                                .alternate_count = reply->alternate_count,
                                .retry_after_s = reply->retry_after_s,
                                .type = "",
                                .text = ""};
        finish(call, &a);
    } else {
        refused(call, reply);
    }
}

static void on_nonce(void *arg, const struct http_reply *reply)
{
    struct acme_call *call = arg;
    struct acme *acme = call->acme;
    call->http = NULL;
    uint32_t before = acme->nonce_count;
    acme_save_nonce(acme, reply->nonce);
    if (reply->answered && reply->status >= 200 && reply->status <= 299 &&
        (acme->nonce_count > before || acme->nonce_count == ACME_NONCES_MAX)) {
        advance(call);
        return;
    }
    struct why text;
    struct document_problem problem;
    if ((!reply->answered || reply->status >= 500) && pause_call(call, reply->retry_after_s))
        return;
    struct acme_answer a;
    if (!reply->answered) {
        snprintf(text.text, sizeof text.text, "no answer from the CA: %.300s", reply->text);
        a = acme_failure(ACME_NETWORK, text.text);
    } else if (reply->status >= 300) {
        a = acme_refusal(reply, &problem, &text);
    } else {
        a = acme_failure(ACME_PROTOCOL, "the CA's newNonce gave no usable Replay-Nonce");
    }
    finish(call, &a);
}

static const char *target_url(const struct acme_call *call)
{
    switch (call->target) {
    case ACME_TARGET_URL:
        return call->url;
    case ACME_TARGET_ORDER:
        return call->acme->directory.new_order;
    case ACME_TARGET_ACCOUNT:
        return call->acme->directory.new_account;
    case ACME_TARGET_REVOKE:
        return call->acme->directory.revoke_cert;
    case ACME_TARGET_KEY_CHANGE:
        return call->acme->directory.key_change;
    case ACME_TARGET_NONE:
    case ACME_TARGET_RENEWAL:
        break;
    }
    never();
}

static void send_signed(struct acme_call *call, char *nonce)
{
    struct acme *acme = call->acme;
    const char *url = target_url(call);
    struct buf body = {0};
    struct result r =
        jws_sign(acme->key, call->target == ACME_TARGET_ACCOUNT ? NULL : acme->account_url, nonce,
                 url, buf_span(&call->payload), &body);
    free(nonce);
    if (result_is_ok(r)) {
        struct http_request request = {.method = HTTP_METHOD_POST,
                                       .url = url,
                                       .body = buf_span(&body),
                                       .content_type = "application/jose+json",
                                       .once = call->once};
        call->phase = ACME_PHASE_SENT;
        call->http = http_client_start(acme->http, &request, on_reply, call);
    } else {
        struct acme_answer a = acme_failure(ACME_CONFIG, "the account key cannot sign");
        finish(call, &a);
    }
    buf_free(&body);
}

static void get_renewal_info(struct acme_call *call)
{
    const char *base = call->acme->directory.renewal_info;
    if (!base) {
        struct acme_answer a = acme_failure(ACME_OK, "");
        finish(call, &a);
        return;
    }
    bool slash = base[strlen(base) - 1] == '/';
    char *url = mem_printf("%s%s%s", base, slash ? "" : "/", call->url);
    struct http_request request = {
        .method = HTTP_METHOD_GET, .url = url, .accept = "application/json"};
    call->phase = ACME_PHASE_SENT;
    call->http = http_client_start(call->acme->http, &request, on_reply, call);
    free(url);
}

static void advance(struct acme_call *call)
{
    struct acme *acme = call->acme;
    if (!directory_is_fresh(acme)) {
        call->phase = ACME_PHASE_DIRECTORY;
        directory_ensure(acme);
        return;
    }
    if (call->target == ACME_TARGET_RENEWAL) {
        get_renewal_info(call);
        return;
    }
    if (call->target != ACME_TARGET_ACCOUNT && call->target != ACME_TARGET_KEY_CHANGE &&
        acme->account_phase != ACCOUNT_PHASE_READY) {
        call->phase = ACME_PHASE_ACCOUNT;
        account_ensure(acme);
        return;
    }
    if (call->target == ACME_TARGET_NONE) {
        struct acme_answer a = acme_failure(ACME_OK, "");
        finish(call, &a);
        return;
    }
    if (call->target == ACME_TARGET_REVOKE && !acme->directory.revoke_cert) {
        struct acme_answer a = acme_failure(ACME_REJECTED, "the CA offers no revocation");
        finish(call, &a);
        return;
    }
    char *nonce = take_nonce(acme);
    if (nonce) {
        send_signed(call, nonce);
        return;
    }
    struct http_request request = {.method = HTTP_METHOD_HEAD, .url = acme->directory.new_nonce};
    call->phase = ACME_PHASE_NONCE;
    call->http = http_client_start(acme->http, &request, on_nonce, call);
}

void acme_wake(struct acme *acme, enum acme_phase phase, const struct acme_answer *failure)
{
    struct list woken;
    list_init(&woken);
    for (struct list *n = acme->calls.next, *next; n != &acme->calls; n = next) {
        next = n->next;
        if (LIST_ENTRY(n, struct acme_call, node)->phase != phase)
            continue;
        list_remove(n);
        list_append(&woken, n);
    }
    struct list *n;
    while ((n = list_pop(&woken))) {
        struct acme_call *call = LIST_ENTRY(n, struct acme_call, node);
        list_append(&acme->calls, n);
        if (failure)
            finish(call, failure);
        else
            advance(call);
    }
}

static void start_fired(struct loop_timer *t)
{
    struct acme_call *call = LIST_ENTRY(t, struct acme_call, timer);
    call->timer.fire = pause_fired;
    advance(call);
}

struct acme_call *acme_call_start(struct acme *acme, enum acme_target target, const char *url,
                                  struct span payload, acme_done *done, void *arg)
{
    struct acme_call *call = mem_zalloc(sizeof *call);
    call->acme = acme;
    call->target = target;
    call->url = url ? mem_strdup(url) : NULL;
    buf_put_span(&call->payload, payload);
    call->done = done;
    call->arg = arg;
    list_init(&call->node);
    list_append(&acme->calls, &call->node);
    /* From the loop, so that `done` never runs inside this function. */
    loop_timer_init(&call->timer, start_fired);
    loop_timer_set(acme->loop, &call->timer, loop_now_ns(acme->loop));
    return call;
}

/* ---- interface ------------------------------------------------------------------------------- */

struct result acme_create(struct loop *loop, const struct config_resolver *resolver, const char *ca,
                          const char *account, struct store *store, struct acme **ret,
                          struct why *why)
{
    struct acme *acme = mem_zalloc(sizeof *acme);
    acme->loop = loop;
    acme->resolver = resolver;
    acme->store = store;
    list_init(&acme->calls);
    struct http_client_options options = {.ca_files = resolver->ca_certificates,
                                          .ca_file_count = resolver->ca_certificate_count,
                                          .system_pool = resolver->ca_system_pool,
                                          .server_name = resolver->ca_server_name,
                                          .timeout_ms = resolver->client_timeout_ms,
                                          .header_timeout_ms = resolver->client_header_timeout_ms};
    struct result r = http_client_create(loop, &options, &acme->http, why);
    if (!result_is_ok(r)) {
        free(acme);
        return r;
    }
    acme->ca = ca;
    acme->account_name = mem_strdup(account);
    *ret = acme;
    return r;
}

void acme_destroy(struct acme *acme)
{
    if (!acme)
        return;
    while (!list_is_empty(&acme->calls))
        call_free(LIST_ENTRY(acme->calls.next, struct acme_call, node));
    directory_fini(acme);
    key_change_fini(acme);
    account_fini(acme);
    for (uint32_t i = 0; i < acme->nonce_count; i++)
        free(acme->nonces[i]);
    http_client_destroy(acme->http);
    free(acme->account_name);
    free(acme);
}

struct acme_call *acme_ready(struct acme *acme, acme_done *done, void *arg)
{
    return acme_call_start(acme, ACME_TARGET_NONE, NULL, span_of(NULL, 0), done, arg);
}

struct acme_call *acme_post(struct acme *acme, const char *url, struct span payload,
                            acme_done *done, void *arg)
{
    return acme_call_start(acme, ACME_TARGET_URL, url, payload, done, arg);
}

struct acme_call *acme_new_order(struct acme *acme, struct span payload, acme_done *done, void *arg)
{
    struct acme_call *call = acme_call_start(acme, ACME_TARGET_ORDER, NULL, payload, done, arg);
    call->once = true;
    return call;
}

struct acme_call *acme_post_once(struct acme *acme, const char *url, struct span payload,
                                 acme_done *done, void *arg)
{
    struct acme_call *call = acme_call_start(acme, ACME_TARGET_URL, url, payload, done, arg);
    call->once = true;
    return call;
}

struct acme_call *acme_renewal_info(struct acme *acme, const char *id, acme_done *done, void *arg)
{
    return acme_call_start(acme, ACME_TARGET_RENEWAL, id, span_of(NULL, 0), done, arg);
}

struct acme_call *acme_revoke(struct acme *acme, struct span cert, uint32_t reason, acme_done *done,
                              void *arg)
{
    struct buf payload = {0};
    buf_put_str(&payload, "{\"certificate\":\"");
    base64url_put(&payload, cert);
    buf_printf(&payload, "\",\"reason\":%u}", reason);
    struct acme_call *call =
        acme_call_start(acme, ACME_TARGET_REVOKE, NULL, buf_span(&payload), done, arg);
    buf_free(&payload);
    return call;
}

const struct document_directory *acme_directory(const struct acme *acme)
{
    return &acme->directory;
}

const char *acme_thumbprint(const struct acme *acme)
{
    return acme->thumbprint ? acme->thumbprint : "";
}
