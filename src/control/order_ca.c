/* SPDX-License-Identifier: Apache-2.0 */
#include "control/order_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "control/acme/jws.h"
#include "crypto/digest.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* ---- account, new order (RFC 8555 sections 7.3, 7.4) ------------------------------------------
 */

static void on_account(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    o->call = NULL;
    if (answer->class == ACME_OK)
        order_next(o);
    else
        order_fail_answer(o, answer);
}

void order_ca_account(struct order *o)
{
    o->call = acme_ready(o->ca->acme, on_account, o);
}

static char *copy_or_null(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

/* Keeps what an order document says about where things are. */
static void keep_urls(struct order *o, const struct document_order *doc)
{
    struct order_record *r = &o->record;
    free(r->finalize_url);
    r->finalize_url = mem_strdup(doc->finalize);
    free(r->certificate_url);
    r->certificate_url = copy_or_null(doc->certificate);
    order_clear_authz(o);
    o->authz = mem_zalloc(doc->authorization_count * sizeof *o->authz);
    o->authz_count = doc->authorization_count;
    for (uint32_t i = 0; i < o->authz_count; i++)
        o->authz[i].url = mem_strdup(doc->authorizations[i]);
}

/* The CA may refuse what is to be replaced: it was already, or it is not from this CA or account
 * (RFC 9773 section 5). */
static bool may_be_for_replaces(const struct order *o, const struct acme_answer *answer)
{
    return o->record.replaces && answer->status >= 400 && answer->status < 500 &&
           (answer->class == ACME_REJECTED || answer->class == ACME_MALFORMED ||
            answer->class == ACME_UNAUTHORIZED);
}

static void order_without_replaces(struct order *o, const struct acme_answer *answer)
{
    free(o->record.replaces);
    o->record.replaces = NULL;
    order_say(o, "the CA does not take the order as a replacement (%.300s): ordered without",
              answer->text);
    order_save(o);
    order_on_disk(o, order_ca_new_order);
}

static void on_new_order(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_order doc;
    struct why why;
    o->call = NULL;
    if (answer->class != ACME_OK && may_be_for_replaces(o, answer)) {
        order_without_replaces(o, answer);
        return;
    }
    if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
        return;
    }
    if (!document_is_url(answer->location, true)) {
        order_fail(o, ACME_PROTOCOL, "", 0, "the CA gave no order URL (Location)");
        return;
    }
    if (!result_is_ok(document_order_parse(answer->body, &doc, &why))) {
        order_fail(o, ACME_PROTOCOL, "", 0, "%s", why.text);
        return;
    }
    o->record.order_url = mem_strdup(answer->location);
    keep_urls(o, &doc);
    document_order_free(&doc);
    order_say(o, "order placed at the CA: %s%s%s", o->record.order_url,
              o->record.replaces ? ", which replaces " : "",
              o->record.replaces ? o->record.replaces : "");
    order_next(o);
}

static bool is_ip(const char *name)
{
    uint8_t raw[16];
    return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

static bool has_profile(const struct document_directory *d, const char *profile)
{
    for (uint32_t i = 0; i < d->profile_count; i++)
        if (!strcmp(d->profiles[i], profile))
            return true;
    return false;
}

/* Replacements are not counted, so an order that is none after all may be one too many. */
static bool may_order_again(struct order *o, const struct ledger_key *key)
{
    struct ledger_entry e;
    ledger_read(o->env.ledger, key, clock_wall_s(), &e);
    if (!o->env.budget || e.cert_count < o->env.budget)
        return true;
    order_fail(o, ACME_CONFIG, "", 0,
               "%u of %u certificates for these names were asked for in the last 168 hours (the "
               "duplicate budget)",
               e.cert_count, o->env.budget);
    return false;
}

static void send_order(struct order *o)
{
    struct order_record *r = &o->record;
    struct buf payload = {0};
    const char *profile = o->resolver->config->profile;
    buf_put_str(&payload, "{\"identifiers\":[");
    for (uint32_t i = 0; i < r->name_count; i++) {
        buf_printf(&payload, "%s{\"type\":\"%s\",\"value\":", i ? "," : "",
                   is_ip(r->names[i]) ? "ip" : "dns");
        jws_quote(&payload, r->names[i]);
        buf_put_str(&payload, "}");
    }
    buf_put_str(&payload, "]");
    if (profile && profile[0]) {
        buf_put_str(&payload, ",\"profile\":");
        jws_quote(&payload, profile);
    }
    if (r->replaces && acme_directory(o->ca->acme)->renewal_info) {
        buf_put_str(&payload, ",\"replaces\":");
        jws_quote(&payload, r->replaces);
    }
    buf_put_str(&payload, "}");
    o->call = acme_new_order(o->ca->acme, buf_span(&payload), on_new_order, o);
    buf_free(&payload);
}

void order_ca_new_order(struct order *o)
{
    struct order_record *r = &o->record;
    struct buf names = {0};
    const char *profile = o->resolver->config->profile;
    if (profile && profile[0] && !has_profile(acme_directory(o->ca->acme), profile)) {
        order_fail(o, ACME_CONFIG, "", 0, "the CA does not offer the profile \"%s\"", profile);
        return;
    }
    struct ledger_key key = order_ledger_key(o, &names);
    if (r->replaces || may_order_again(o, &key)) {
        if (!r->trial)
            ledger_order_begins(o->env.ledger, &key, clock_wall_s());
        order_on_disk(o, send_order);
    }
    buf_free(&names);
}

/* ---- resume after a crash ---------------------------------------------------------------------
 */

static void after_resume(struct order *o, const struct document_order *doc)
{
    switch (doc->status) {
    case DOCUMENT_STATUS_PENDING:
        order_next(o);
        break;
    case DOCUMENT_STATUS_READY:
        order_goto(o, o->record.trial ? ORDER_READY : ORDER_KEY);
        break;
    case DOCUMENT_STATUS_PROCESSING:
    case DOCUMENT_STATUS_VALID:
        if (!o->record.key_der.len)
            order_fail(o, ACME_PROTOCOL, "", 0,
                       "the CA says that the order is %s, but no certificate request of ours "
                       "was sent",
                       document_status_name(doc->status));
        else
            order_goto(o, doc->status == DOCUMENT_STATUS_VALID ? ORDER_DOWNLOAD : ORDER_POLL);
        break;
    default:
        order_fail(o, problem_class(doc->problem.type, 400), doc->problem.type, 0,
                   "the CA says that the order is %s: %s", document_status_name(doc->status),
                   doc->problem.detail);
    }
}

static void ask_order(struct order *o);

static void on_resume(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_order doc;
    struct why why;
    o->call = NULL;
    if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
    } else if (!result_is_ok(document_order_parse(answer->body, &doc, &why))) {
        order_ask_again(o, why.text, ask_order);
    } else {
        keep_urls(o, &doc);
        order_say(o, "taking up the order from before (%s): it is %s", o->record.order_url,
                  document_status_name(doc.status));
        after_resume(o, &doc);
        document_order_free(&doc);
    }
}

static void ask_order(struct order *o)
{
    o->call = acme_post(o->ca->acme, o->record.order_url, span_of(NULL, 0), on_resume, o);
}

static void on_described(void *arg, const struct provider_info *info,
                         const struct provider_answer *answer)
{
    struct order *o = arg;
    o->provider_busy = false;
    if (answer->verdict == PROVIDER_OK)
        o->resolver->info = *info;
    ask_order(o);
}

/* The provider's timing is needed should values have to be added again; that it does not answer
 * does not matter for an order that is further. */
void order_ca_resume(struct order *o)
{
    if (!o->ca->acme) {
        order_fail(o, ACME_CONFIG, "", 0, "%s", o->resolver->problem.text);
        return;
    }
    if (!o->resolver->provider || o->resolver->info.name[0]) {
        ask_order(o);
        return;
    }
    o->provider_busy = true;
    provider_describe(o->resolver->provider, on_described, o);
}

/* ---- authorizations (section 7.5) --------------------------------------------------------------
 */

static void read_authorization(struct order *o);

static const struct document_challenge *find_challenge(const struct document_authorization *doc,
                                                       enum order_challenge challenge)
{
    for (uint32_t i = 0; i < doc->challenge_count; i++)
        if (!strcmp(doc->challenges[i].type, order_challenge_name(challenge)))
            return &doc->challenges[i];
    return NULL;
}

/* Section 8.4: base64url(SHA-256(token "." thumbprint)). */
static void plan_txt(struct order *o, const struct order_authz *a)
{
    struct order_record *r = &o->record;
    struct buf value = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    char *key_auth = mem_printf("%s.%s", a->token, acme_thumbprint(o->ca->acme));
    digest_once(DIGEST_SHA256, span_str(key_auth), hash);
    base64url_put(&value, span_of(hash, digest_bytes(DIGEST_SHA256)));
    const char *text = buf_cstr(&value);
    struct order_txt *t = NULL;
    for (uint32_t i = 0; i < r->txt_count && !t; i++)
        if (r->txts[i].challenge == a->challenge && !strcmp(r->txts[i].domain, a->domain) &&
            !strcmp(r->txts[i].value, text))
            t = &r->txts[i];
    if (!t && r->txt_count < ORDER_TXTS_MAX) {
        t = order_record_add_txt(r, a->domain, text);
        t->challenge = (uint8_t)a->challenge;
        t->token = mem_strdup(a->token);
        t->key_auth = mem_strdup(key_auth);
    }
    if (t)
        t->leftover = false;
    buf_free(&value);
    free(key_auth);
}

/* "proving 3 by http-01, 1 by dns-01" */
static void say_challenges(struct order *o)
{
    uint32_t counts[ORDER_CHALLENGES] = {0}, kinds = 0;
    struct buf text = {0};
    for (uint32_t i = 0; i < o->authz_count; i++)
        if (o->authz[i].status != DOCUMENT_STATUS_VALID)
            counts[o->authz[i].challenge]++;
    for (int i = 0; i < ORDER_CHALLENGES; i++)
        if (counts[i])
            buf_printf(&text, "%s%u by %s", kinds++ ? ", " : "proving ", counts[i],
                       order_challenge_name((enum order_challenge)i));
    order_say(o, "%s", buf_cstr(&text));
    buf_free(&text);
}

static void authorizations_done(struct order *o)
{
    uint32_t pending = 0, valid = 0;
    for (uint32_t i = 0; i < o->record.txt_count; i++)
        o->record.txts[i].leftover = true;
    for (uint32_t i = 0; i < o->authz_count; i++) {
        if (o->authz[i].status == DOCUMENT_STATUS_VALID) {
            valid++;
            continue;
        }
        pending++;
        plan_txt(o, &o->authz[i]);
    }
    if (valid)
        order_say(o, "%u of %u names are proven already", valid, o->authz_count);
    if (pending)
        say_challenges(o);
    if (pending)
        order_next(o);
    else
        order_goto(o, ORDER_READY);
}

/* The order's name for an identifier; NULL: nothing is answered for it, whatever the CA says. */
static const char *find_ordered(const struct order *o, const char *identifier, bool wildcard)
{
    const char *found = NULL;
    for (uint32_t i = 0; i < o->record.name_count; i++) {
        const char *name = o->record.names[i];
        bool star = !strncmp(name, "*.", 2);
        if (!strcasecmp(star ? name + 2 : name, identifier) && (!found || star == wildcard))
            found = name;
    }
    return found;
}

static void no_challenge(struct order *o, const char *name)
{
    struct buf list = {0};
    order_answer_list(o, &list);
    order_fail(o, ACME_REJECTED, "", 0, "the CA offers no %s challenge for %s", buf_cstr(&list),
               name);
    buf_free(&list);
}

/* Keeps the challenge that is used. */
static void take_challenge(struct order_authz *a, enum order_challenge challenge,
                           const struct document_challenge *c)
{
    free(a->challenge_url);
    free(a->token);
    a->challenge = challenge;
    a->challenge_url = mem_strdup(c->url);
    a->token = mem_strdup(c->token);
    a->challenge_status = c->status;
}

static void take_authorization(struct order *o, const struct document_authorization *doc)
{
    struct order_authz *a = &o->authz[o->index];
    const char *name = find_ordered(o, doc->identifier, doc->wildcard);
    enum order_challenge challenge;
    if (!name) {
        order_fail(o, ACME_PROTOCOL, "", 0, "the CA wants %s proven, which was not ordered",
                   doc->identifier);
        return;
    }
    free(a->domain);
    a->domain = mem_strdup(doc->identifier);
    a->wildcard = doc->wildcard;
    a->status = doc->status;
    if (doc->status != DOCUMENT_STATUS_VALID && doc->status != DOCUMENT_STATUS_PENDING) {
        order_fail(o, ACME_UNAUTHORIZED, "", 0, "the CA says that the authorization of %s is %s",
                   doc->identifier, document_status_name(doc->status));
        return;
    }
    if (order_answer_choose(o, name, doc, &challenge)) {
        take_challenge(a, challenge, find_challenge(doc, challenge));
    } else if (doc->status == DOCUMENT_STATUS_PENDING) {
        no_challenge(o, name);
        return;
    }
    o->index++;
    read_authorization(o);
}

static void on_authorization(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_authorization doc;
    struct why why;
    o->call = NULL;
    if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
        return;
    }
    if (!result_is_ok(document_authorization_parse(answer->body, &doc, &why))) {
        order_fail(o, ACME_PROTOCOL, "", 0, "%s", why.text);
        return;
    }
    take_authorization(o, &doc);
    document_authorization_free(&doc);
}

static void read_authorization(struct order *o)
{
    if (o->index == o->authz_count) {
        authorizations_done(o);
        return;
    }
    o->call = acme_post(o->ca->acme, o->authz[o->index].url, span_of(NULL, 0), on_authorization, o);
}

void order_ca_authorizations(struct order *o)
{
    read_authorization(o);
}

/* ---- respond, validate (section 7.5.1) ----------------------------------------------------------
 */

static void respond_next(struct order *o);

static void on_responded(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    o->call = NULL;
    /* "malformed" is what CAs say of a challenge that is not pending any more: validation tells. */
    if (answer->class != ACME_OK && answer->class != ACME_MALFORMED) {
        order_fail_answer(o, answer);
        return;
    }
    o->index++;
    respond_next(o);
}

static void respond_next(struct order *o)
{
    while (o->index < o->authz_count &&
           (o->authz[o->index].status == DOCUMENT_STATUS_VALID ||
            o->authz[o->index].challenge_status != DOCUMENT_STATUS_PENDING ||
            order_dns_waits(o, &o->authz[o->index])))
        o->index++;
    if (o->index == o->authz_count) {
        order_say(o, "the CA has been told to look");
        order_next(o);
        return;
    }
    o->call = acme_post(o->ca->acme, o->authz[o->index].challenge_url, SPAN_LITERAL("{}"),
                        on_responded, o);
}

void order_ca_respond(struct order *o)
{
    respond_next(o);
}

static void validate_next(struct order *o);

static void refused_authorization(struct order *o, const struct document_authorization *doc)
{
    const struct document_problem *p = NULL;
    for (uint32_t i = 0; i < doc->challenge_count && !p; i++)
        if (doc->challenges[i].problem.type[0] || doc->challenges[i].problem.detail[0])
            p = &doc->challenges[i].problem;
    order_fail_challenge(o, o->authz[o->index].challenge,
                         p ? problem_class(p->type, 403) : ACME_UNAUTHORIZED, p ? p->type : "", 0,
                         "the CA says that the authorization of %s is %s: %s", doc->identifier,
                         document_status_name(doc->status), p ? p->detail : "no reason given");
}

static void on_validated(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_authorization doc;
    struct why why;
    o->call = NULL;
    if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
        return;
    }
    if (!result_is_ok(document_authorization_parse(answer->body, &doc, &why))) {
        order_fail(o, ACME_PROTOCOL, "", 0, "%s", why.text);
        return;
    }
    enum document_status status = doc.status;
    if (status == DOCUMENT_STATUS_PENDING || status == DOCUMENT_STATUS_PROCESSING) {
        order_pause(o, order_poll_wait_ns(o, answer->retry_after_s), validate_next);
    } else if (status == DOCUMENT_STATUS_VALID) {
        order_say(o, "the CA accepted %s%s after %.1f s", doc.wildcard ? "*." : "", doc.identifier,
                  order_step_seconds(o));
        o->authz[o->index].status = status;
        order_answer_proven(o, &o->authz[o->index]);
        order_dns_proven(o, &o->authz[o->index]);
        o->index++;
        o->polls = 0;
        validate_next(o);
    } else {
        o->authz[o->index].status = status;
        refused_authorization(o, &doc);
    }
    document_authorization_free(&doc);
}

static void validate_next(struct order *o)
{
    while (o->index < o->authz_count && (o->authz[o->index].status == DOCUMENT_STATUS_VALID ||
                                         order_dns_waits(o, &o->authz[o->index])))
        o->index++;
    if (o->index == o->authz_count && order_dns_is_left(o))
        order_goto(o, ORDER_PRESENT);
    else if (o->index == o->authz_count)
        order_next(o);
    else
        o->call = acme_post(o->ca->acme, o->authz[o->index].url, span_of(NULL, 0), on_validated, o);
}

void order_ca_validate(struct order *o)
{
    order_pause(o, order_poll_wait_ns(o, 0), validate_next);
}

/* ---- ready (section 7.1.6)
 * ----------------------------------------------------------------------- */

static void ask_ready(struct order *o);

/* All names are proven: the CA that counts would issue now. */
static void end_rehearsal(struct order *o)
{
    order_say(o, "the rehearsal at %s went well: the order itself follows", o->ca->url);
    order_goto(o, ORDER_CLEANUP);
}

static void on_ready(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_order doc;
    struct why why;
    o->call = NULL;
    if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
        return;
    }
    if (!result_is_ok(document_order_parse(answer->body, &doc, &why))) {
        order_ask_again(o, why.text, ask_ready);
        return;
    }
    enum document_status status = doc.status;
    free(o->record.certificate_url);
    o->record.certificate_url = copy_or_null(doc.certificate);
    if (status == DOCUMENT_STATUS_READY && o->record.trial)
        end_rehearsal(o);
    else if (status == DOCUMENT_STATUS_READY)
        order_next(o);
    else if (status == DOCUMENT_STATUS_PENDING)
        order_pause(o, order_poll_wait_ns(o, answer->retry_after_s), ask_ready);
    else if (status == DOCUMENT_STATUS_PROCESSING && o->record.key_der.len)
        order_goto(o, ORDER_POLL);
    else if (status == DOCUMENT_STATUS_VALID && o->record.key_der.len)
        order_goto(o, ORDER_DOWNLOAD);
    else
        order_fail(o, problem_class(doc.problem.type, 400), doc.problem.type, 0,
                   "the CA says that the order is %s: %s", document_status_name(status),
                   doc.problem.detail);
    document_order_free(&doc);
}

static void ask_ready(struct order *o)
{
    o->call = acme_post(o->ca->acme, o->record.order_url, span_of(NULL, 0), on_ready, o);
}

void order_ca_ready(struct order *o)
{
    ask_ready(o);
}

/* ---- give up (section 7.5.2) --------------------------------------------------------------------
 */

static void give_up_next(struct order *o);

static void on_given_up(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    o->call = NULL;
    /* A CA that is gone or asks for patience is not asked for every name. */
    if (answer->class == ACME_NETWORK || answer->class == ACME_RATE ||
        answer->class == ACME_SERVER) {
        order_next(o);
        return;
    }
    if (answer->class == ACME_OK)
        log_info("%s: the authorization of %s is given up", order_label(o),
                 o->authz[o->index].domain);
    o->index++;
    give_up_next(o);
}

static void give_up_next(struct order *o)
{
    bool failed = o->record.failed && !o->record.keep;
    while (o->index < o->authz_count) {
        const struct order_authz *a = &o->authz[o->index];
        if (a->domain && ((failed && a->status == DOCUMENT_STATUS_PENDING) ||
                          (o->record.trial && a->status == DOCUMENT_STATUS_VALID)))
            break;
        o->index++;
    }
    if (o->index == o->authz_count || !o->ca->acme)
        order_next(o);
    else
        o->call = acme_post_once(o->ca->acme, o->authz[o->index].url,
                                 SPAN_LITERAL("{\"status\":\"deactivated\"}"), on_given_up, o);
}

/* CAs limit how many authorizations of an account may be pending. What a failed order leaves is
 * given back; what is proven stays for the next try. */
void order_ca_give_up(struct order *o)
{
    give_up_next(o);
}
