/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/acme_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

#define FRESH_NS     (6ull * 3600 * NS_PER_S)
#define ATTEMPTS_MAX 3

bool directory_is_fresh(const struct acme *acme)
{
    return acme->have_directory && loop_now_ns(acme->loop) - acme->directory_at_ns < FRESH_NS;
}

static void fail(struct acme *acme, const struct acme_answer *answer)
{
    acme->directory_attempts = 0;
    acme_wake(acme, ACME_PHASE_DIRECTORY, answer);
}

static void use_body(struct acme *acme, struct span body)
{
    struct document_directory d;
    struct why why, text;
    if (!result_is_ok(document_directory_parse(body, &d, &why))) {
        snprintf(text.text, sizeof text.text, "%.400s (is caServer = \"%.80s\" right?)", why.text,
                 acme->ca);
        struct acme_answer failure = acme_failure(ACME_PROTOCOL, text.text);
        fail(acme, &failure);
        return;
    }
    document_directory_free(&acme->directory);
    acme->directory = d;
    acme->have_directory = true;
    acme->directory_at_ns = loop_now_ns(acme->loop);
    acme->directory_attempts = 0;
    acme_wake(acme, ACME_PHASE_DIRECTORY, NULL);
}

static bool try_again(struct acme *acme)
{
    if (++acme->directory_attempts >= ATTEMPTS_MAX)
        return false;
    loop_timer_set(acme->loop, &acme->directory_timer,
                   clock_now_ns() + acme->directory_attempts * NS_PER_S);
    return true;
}

static void on_reply(void *arg, const struct http_reply *reply)
{
    struct acme *acme = arg;
    acme->directory_call = NULL;
    acme_save_nonce(acme, reply->nonce);
    acme_save_date(acme, reply);
    struct why text;
    if (reply->answered && reply->status == 200) {
        use_body(acme, reply->body);
    } else if (!reply->answered) {
        if (try_again(acme))
            return;
        snprintf(text.text, sizeof text.text, "no answer from the CA at %.200s: %.200s", acme->ca,
                 reply->text);
        struct acme_answer failure = acme_failure(ACME_NETWORK, text.text);
        fail(acme, &failure);
    } else {
        struct document_problem problem;
        if (reply->status >= 500 && !reply->retry_after_s && try_again(acme))
            return;
        struct acme_answer failure = acme_refusal(reply, &problem, &text);
        fail(acme, &failure);
    }
}

static void fetch(struct acme *acme)
{
    struct http_request request = {
        .method = HTTP_METHOD_GET, .url = acme->ca, .accept = "application/json"};
    acme->directory_call = http_client_start(acme->http, &request, on_reply, acme);
}

static void timer_fired(struct loop_timer *t)
{
    fetch(LIST_ENTRY(t, struct acme, directory_timer));
}

void directory_ensure(struct acme *acme)
{
    if (!acme->directory_timer.fire)
        loop_timer_init(&acme->directory_timer, timer_fired);
    if (!acme->directory_call && !timer_is_set(&acme->directory_timer.timer))
        fetch(acme);
}

void directory_fini(struct acme *acme)
{
    if (acme->directory_timer.fire)
        loop_timer_cancel(acme->loop, &acme->directory_timer);
    http_call_cancel(acme->directory_call);
    document_directory_free(&acme->directory);
}
