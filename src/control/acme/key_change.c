/* SPDX-License-Identifier: Apache-2.0 */
/* Account key roll-over (RFC 8555 section 7.3.5). The new key is in the store before the CA hears
 * of it: whichever of the two a lost answer or a crash leaves in force, we have it. */
#include "control/acme/acme_impl.h"

#include "base/log.h"
#include "control/acme/jws.h"

#include <stdio.h>
#include <stdlib.h>

/* Made in the helper thread; outlives the client when that is destroyed meanwhile. */
struct key_change {
    struct acme *acme; /* NULL: nobody waits any more */
    struct acme_call *call;
    struct key *key;
    struct result result;
    struct why why;
    acme_done *done;
    void *arg;
};

static void change_free(struct key_change *x)
{
    if (x->acme)
        x->acme->key_change = NULL;
    key_free(x->key);
    free(x);
}

static void finish(struct key_change *x, enum acme_class class, const char *text)
{
    struct acme_answer answer = acme_failure(class, text);
    acme_done *done = x->done;
    void *arg = x->arg;
    change_free(x);
    done(arg, &answer);
}

static void on_changed(void *arg, const struct acme_answer *answer)
{
    struct key_change *x = arg;
    struct acme *acme = x->acme;
    struct why text;
    x->call = NULL;
    if (answer->class == ACME_OK) {
        struct key *key = x->key;
        x->key = NULL;
        struct result r = account_adopt_key(acme, key, &text);
        log_info("%s: the account %s has a new key", acme->resolver->name, acme->account_url);
        finish(x, result_is_ok(r) ? ACME_OK : ACME_CONFIG, result_is_ok(r) ? "" : text.text);
    } else if (answer->class == ACME_NETWORK || answer->class == ACME_SERVER) {
        account_doubt_key(acme);
        snprintf(text.text, sizeof text.text,
                 "%.300s: which key is in force is asked with the next request", answer->text);
        finish(x, answer->class, text.text);
    } else {
        account_keep_key(acme);
        snprintf(text.text, sizeof text.text, "%s", answer->text);
        finish(x, answer->class, text.text);
    }
}

/* The inner JWS: signed by the new key, over account and old key. */
static struct result put_request(struct key_change *x, struct buf *out)
{
    struct acme *acme = x->acme;
    struct buf payload = {0};
    buf_put_str(&payload, "{\"account\":");
    jws_quote(&payload, acme->account_url);
    buf_put_str(&payload, ",\"oldKey\":");
    struct result r = key_jwk(acme->key, &payload);
    buf_put_str(&payload, "}");
    if (result_is_ok(r))
        r = jws_sign(x->key, NULL, NULL, acme->directory.key_change, buf_span(&payload), out);
    buf_free(&payload);
    return r;
}

static void key_made(void *arg)
{
    struct key_change *x = arg;
    struct acme *acme = x->acme;
    struct buf request = {0};
    if (!acme) {
        change_free(x);
    } else if (!result_is_ok(x->result)) {
        finish(x, ACME_CONFIG, x->why.text);
    } else if (!result_is_ok(account_announce_key(acme, x->key, &x->why))) {
        finish(x, ACME_CONFIG, x->why.text);
    } else if (!result_is_ok(put_request(x, &request))) {
        account_keep_key(acme);
        finish(x, ACME_CONFIG, "the new account key cannot sign");
    } else {
        x->call =
            acme_call_start(acme, ACME_TARGET_KEY_CHANGE, NULL, buf_span(&request), on_changed, x);
        x->call->once = true;
    }
    buf_free(&request);
}

static void make_key(void *arg)
{
    struct key_change *x = arg;
    x->result = key_generate(ACCOUNT_KEY_TYPE, &x->key, &x->why);
}

static void on_ready(void *arg, const struct acme_answer *answer)
{
    struct key_change *x = arg;
    x->call = NULL;
    if (answer->class != ACME_OK)
        finish(x, answer->class, answer->text);
    else if (!x->acme->directory.key_change)
        finish(x, ACME_REJECTED, "the CA offers no change of account keys");
    else
        loop_work(x->acme->loop, make_key, key_made, x);
}

bool acme_roll_key(struct acme *acme, acme_done *done, void *arg)
{
    if (acme->key_change)
        return false;
    struct key_change *x = mem_zalloc(sizeof *x);
    x->acme = acme;
    x->done = done;
    x->arg = arg;
    acme->key_change = x;
    x->call = acme_ready(acme, on_ready, x);
    return true;
}

void key_change_fini(struct acme *acme)
{
    struct key_change *x = acme->key_change;
    if (!x)
        return;
    acme->key_change = NULL;
    x->acme = NULL;
    /* One that waits for a call is nobody's any more; the helper thread gives the other back. */
    if (x->call)
        change_free(x);
}
