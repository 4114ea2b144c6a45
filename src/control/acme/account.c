/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/acme_impl.h"

#include "base/log.h"
#include "base/must.h"
#include "control/acme/jws.h"

#include <stdio.h>
#include <stdlib.h>

/* Made in the helper thread; outlives the client when that is destroyed meanwhile. */
struct account_keygen {
    struct acme *acme; /* NULL: nobody waits any more */
    struct key *key;
    struct result result;
    struct why why;
};

static void register_key(struct acme *acme);

static void fail(struct acme *acme, const struct acme_answer *answer)
{
    acme->account_phase = ACCOUNT_PHASE_NONE;
    acme_wake(acme, ACME_PHASE_ACCOUNT, answer);
}

static void fail_text(struct acme *acme, enum acme_class class, const char *what,
                      const struct why *why)
{
    struct why text;
    snprintf(text.text, sizeof text.text, "%s: %.400s", what, why->text);
    struct acme_answer answer = acme_failure(class, text.text);
    fail(acme, &answer);
}

static void ready(struct acme *acme)
{
    acme->account_phase = ACCOUNT_PHASE_READY;
    acme_wake(acme, ACME_PHASE_ACCOUNT, NULL);
}

/* next: another key that may be in force; NULL = none. */
static struct result save_with(struct acme *acme, const struct key *next, struct why *why)
{
    struct store_account account = {.email = (char *)acme->resolver->email,
                                    .registration_uri =
                                        acme->account_url ? acme->account_url : (char *)"",
                                    .key_type = (uint8_t)key_type_of(acme->key)};
    struct result r = key_to_der(acme->key, &account.key_der);
    if (result_is_ok(r) && next)
        r = key_to_der(next, &account.next_key_der);
    if (result_is_ok(r))
        r = store_put_account(acme->store, acme->account_name, &account, why);
    else
        r = why_fail(why, r.code, "the account key cannot be written: %s", err_meaning(r.code));
    buf_wipe_free(&account.key_der);
    buf_wipe_free(&account.next_key_der);
    return r;
}

static struct result save(struct acme *acme, struct why *why)
{
    return save_with(acme, NULL, why);
}

static bool use_key(struct acme *acme, struct key *key)
{
    struct buf thumbprint = {0};
    if (!result_is_ok(jws_thumbprint(key, &thumbprint))) {
        buf_free(&thumbprint);
        key_free(key);
        return false;
    }
    acme->key = key;
    acme->thumbprint = buf_cstr(&thumbprint);
    return true;
}

/* ---- key ------------------------------------------------------------------------------------ */

static void forget_key(struct acme *acme)
{
    key_free(acme->key);
    free(acme->thumbprint);
    acme->key = NULL;
    acme->thumbprint = NULL;
}

static void make_key(void *arg)
{
    struct account_keygen *job = arg;
    job->result = key_generate(ACCOUNT_KEY_TYPE, &job->key, &job->why);
}

static void key_made(void *arg)
{
    struct account_keygen *job = arg;
    struct acme *acme = job->acme;
    if (acme) {
        acme->keygen = NULL;
        if (!result_is_ok(job->result)) {
            fail_text(acme, ACME_CONFIG, "no account key could be made", &job->why);
        } else if (!use_key(acme, job->key)) {
            struct acme_answer answer = acme_failure(ACME_CONFIG, "the account key is unusable");
            fail(acme, &answer);
        } else if (!result_is_ok(save(acme, &job->why))) {
            /* A key that is lost in a crash would make an account that nobody can use. */
            forget_key(acme);
            fail_text(acme, ACME_CONFIG, "the account key cannot be stored", &job->why);
        } else {
            register_key(acme);
        }
    } else {
        key_free(job->key);
    }
    free(job);
}

static bool is_of_this_ca(const struct acme *acme, const char *account_url)
{
    return account_url[0] && document_is_url(account_url, true) &&
           span_eq_nocase(acme_url_host(account_url), acme_url_host(acme->directory.new_account));
}

/* ---- a change of the key that was not heard to its end (section 7.3.5) -------------------------
 */

static void load_or_make(struct acme *acme);

static void warn_unsaved(const struct acme *acme, const struct why *why)
{
    log_warn("%s: the account cannot be stored: %s", acme->resolver->name, why->text);
}

/* Is the announced key the account's? */
static void on_settled(void *arg, const struct acme_answer *answer)
{
    struct acme *acme = arg;
    struct why why;
    acme->register_call = NULL;
    if (answer->class == ACME_OK && document_is_url(answer->location, true)) {
        acme->account_url = mem_strdup(answer->location);
        log_info("%s: the account %s has its new key", acme->resolver->name, acme->account_url);
        if (!result_is_ok(save(acme, &why)))
            warn_unsaved(acme, &why);
        ready(acme);
        return;
    }
    forget_key(acme);
    if (answer->class == ACME_ACCOUNT) {
        acme->has_settled = true; /* the old one is in force */
        load_or_make(acme);
    } else {
        fail(acme, answer);
    }
}

/* True when there is a key that was announced, and the CA is being asked about it. */
static bool settle(struct acme *acme, const struct store_account *stored)
{
    struct key *key = NULL;
    struct why why;
    if (!stored->next_key_der.len || acme->has_settled ||
        !result_is_ok(key_from_der(buf_span(&stored->next_key_der), &key, &why)) ||
        !use_key(acme, key))
        return false;
    acme->register_call =
        acme_call_start(acme, ACME_TARGET_ACCOUNT, NULL,
                        SPAN_LITERAL("{\"onlyReturnExisting\":true}"), on_settled, acme);
    return true;
}

struct result account_announce_key(struct acme *acme, const struct key *key, struct why *why)
{
    TRY(save_with(acme, key, why));
    acme->account_phase = ACCOUNT_PHASE_BUSY;
    return result_ok();
}

struct result account_adopt_key(struct acme *acme, struct key *key, struct why *why)
{
    forget_key(acme);
    struct result r =
        use_key(acme, key) ? save(acme, why) : why_fail(why, ERR_CRYPTO, "the new key is unusable");
    ready(acme);
    return r;
}

void account_keep_key(struct acme *acme)
{
    struct why why;
    if (!result_is_ok(save(acme, &why)))
        warn_unsaved(acme, &why);
    ready(acme);
}

void account_doubt_key(struct acme *acme)
{
    forget_key(acme);
    free(acme->account_url);
    acme->account_url = NULL;
    acme->has_settled = false;
    acme->account_phase = ACCOUNT_PHASE_NONE;
    acme_wake(acme, ACME_PHASE_ACCOUNT, NULL);
}

/* True when the store had a key (which is in use then, or the waiters have been told why not). */
static bool load(struct acme *acme)
{
    const struct store_account *stored = store_account(acme->store, acme->account_name);
    if (stored && stored->unreadable) { /* another key in its place would be its end */
        struct acme_answer answer =
            acme_failure(ACME_CONFIG, "the account cannot be read from the storage");
        fail(acme, &answer);
        return true;
    }
    if (!stored || !stored->key_der.len)
        return false;
    if (settle(acme, stored))
        return true;
    struct key *key = NULL;
    struct why why = {{0}};
    struct result r = key_from_der(buf_span(&stored->key_der), &key, &why);
    if (!result_is_ok(r) || !use_key(acme, key)) {
        fail_text(acme, ACME_CONFIG, "the account key in the storage file cannot be used", &why);
        return true;
    }
    if (is_of_this_ca(acme, stored->registration_uri)) {
        acme->account_url = mem_strdup(stored->registration_uri);
        ready(acme);
    } else {
        register_key(acme);
    }
    return true;
}

void account_ensure(struct acme *acme)
{
    must(acme->have_directory);
    if (acme->account_phase != ACCOUNT_PHASE_NONE)
        return;
    acme->account_phase = ACCOUNT_PHASE_BUSY;
    if (acme->key) {
        if (acme->account_url)
            ready(acme);
        else
            register_key(acme);
        return;
    }
    load_or_make(acme);
}

static void load_or_make(struct acme *acme)
{
    if (load(acme))
        return;
    struct account_keygen *job = mem_zalloc(sizeof *job);
    job->acme = acme;
    acme->keygen = job;
    loop_work(acme->loop, make_key, key_made, job);
}

void account_forget_url(struct acme *acme)
{
    if (acme->account_phase != ACCOUNT_PHASE_READY)
        return;
    free(acme->account_url);
    acme->account_url = NULL;
    acme->account_phase = ACCOUNT_PHASE_NONE;
}

/* ---- registration (section 7.3) -------------------------------------------------------------- */

static void registered(struct acme *acme, const struct acme_answer *answer)
{
    struct why why;
    enum document_status status;
    if (!document_is_url(answer->location, true)) {
        struct acme_answer bad =
            acme_failure(ACME_PROTOCOL, "the CA gave no account URL (Location) for newAccount");
        fail(acme, &bad);
        return;
    }
    if (result_is_ok(document_account_parse(answer->body, &status, &why)) &&
        status != DOCUMENT_STATUS_VALID) {
        struct acme_answer bad = acme_failure(
            ACME_USER_ACTION, "the account of this key is deactivated or revoked at the CA: "
                              "remove it from the storage file to register another");
        fail(acme, &bad);
        return;
    }
    free(acme->account_url);
    acme->account_url = mem_strdup(answer->location);
    log_info("%s: account %s at %s", acme->resolver->name,
             answer->status == 201 ? "registered" : "found", acme->account_url);
    if (!result_is_ok(save(acme, &why)))
        log_warn("%s: the account URL cannot be stored (%s); it is asked for again next time",
                 acme->resolver->name, why.text);
    ready(acme);
}

static void on_registered(void *arg, const struct acme_answer *answer)
{
    struct acme *acme = arg;
    acme->register_call = NULL;
    if (answer->class == ACME_OK) {
        registered(acme, answer);
        return;
    }
    struct acme_answer failure = *answer;
    struct why text;
    snprintf(text.text, sizeof text.text, "no account at the CA: %.450s", answer->text);
    failure.text = text.text;
    fail(acme, &failure);
}

static struct result put_binding(struct acme *acme, struct buf *payload, struct why *why)
{
    const struct config_resolver *c = acme->resolver;
    bool given = c->eab_kid && c->eab_kid[0];
    if (!given && acme->directory.external_account_required)
        return why_fail(why, ERR_CONFIG,
                        "the CA wants an external account: set eab.kid and eab.hmacEncoded");
    if (!given)
        return result_ok();
    buf_put_str(payload, ",\"externalAccountBinding\":");
    return jws_bind_external(acme->key, c->eab_kid, c->eab_hmac ? c->eab_hmac : "",
                             acme->directory.new_account, payload, why);
}

static void register_key(struct acme *acme)
{
    struct buf payload = {0};
    struct why why;
    buf_put_str(&payload, "{\"termsOfServiceAgreed\":true");
    if (acme->resolver->email && acme->resolver->email[0]) {
        char *uri = mem_printf("mailto:%s", acme->resolver->email);
        buf_put_str(&payload, ",\"contact\":[");
        jws_quote(&payload, uri);
        buf_put_str(&payload, "]");
        free(uri);
    }
    struct result r = put_binding(acme, &payload, &why);
    buf_put_str(&payload, "}");
    if (result_is_ok(r)) {
        acme->register_call = acme_call_start(acme, ACME_TARGET_ACCOUNT, NULL, buf_span(&payload),
                                              on_registered, acme);
    } else {
        struct acme_answer answer = acme_failure(ACME_CONFIG, why.text);
        fail(acme, &answer);
    }
    buf_free(&payload);
}

void account_fini(struct acme *acme)
{
    if (acme->keygen)
        acme->keygen->acme = NULL;
    key_free(acme->key);
    free(acme->account_url);
    free(acme->thumbprint);
}
