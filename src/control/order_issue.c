/* SPDX-License-Identifier: Apache-2.0 */
#include "control/order_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "crypto/digest.h"
#include "crypto/key.h"
#include "crypto/x509.h"

#include <stdlib.h>

#define FINALIZES_MAX 3
#define STORE_AGAIN_S 5

/* ---- key: made in the helper thread ------------------------------------------------------------
 */

/* Outlives the order when that ends meanwhile. */
struct order_keygen {
    struct order *order; /* NULL: nobody waits any more */
    enum key_type type;
    struct buf der;
    struct result result;
    struct why why;
};

static void make_key(void *arg)
{
    struct order_keygen *job = arg;
    struct key *key = NULL;
    job->result = key_generate(job->type, &key, &job->why);
    if (result_is_ok(job->result))
        job->result = key_to_der(key, &job->der);
    key_free(key);
}

static void key_made(void *arg)
{
    struct order_keygen *job = arg;
    struct order *o = job->order;
    if (o) {
        o->keygen = NULL;
        if (!result_is_ok(job->result)) {
            order_fail(o, ACME_CONFIG, "", 0, "no private key could be made: %s", job->why.text);
        } else {
            buf_put_span(&o->record.key_der, buf_span(&job->der));
            order_next(o);
        }
    }
    buf_wipe_free(&job->der);
    free(job);
}

void order_issue_key(struct order *o)
{
    if (o->record.key_der.len) {
        order_next(o); /* made before a crash */
        return;
    }
    struct order_keygen *job = mem_zalloc(sizeof *job);
    job->order = o;
    job->type = (enum key_type)o->resolver->config->key_type;
    o->keygen = job;
    loop_work(o->env.loop, make_key, key_made, job);
}

void order_issue_forget_key(struct order *o)
{
    if (o->keygen)
        o->keygen->order = NULL;
    o->keygen = NULL;
}

/* ---- finalize (RFC 8555 section 7.4) ------------------------------------------------------------
 */

static void keep_certificate_url(struct order *o, const struct document_order *doc)
{
    free(o->record.certificate_url);
    o->record.certificate_url = doc->certificate ? mem_strdup(doc->certificate) : NULL;
}

static bool wants_staple(const struct order *o)
{
    return o->resolver->config->must_staple && !o->without_staple &&
           !learnt_staple_is_refused(o->env.state, o->ca->url, clock_wall_s());
}

/* A CA without OCSP refuses must-staple, and would at each next try: the request is made once more
 * without it. True when that is to be done; where it is refused too, must-staple was not the
 * reason. What counts is what this order's request had in it: another one's answer may have come
 * while this one was on its way. */
static bool drop_staple(struct order *o, const struct acme_answer *answer)
{
    if (answer->class != ACME_UNAUTHORIZED && answer->class != ACME_REJECTED &&
        answer->class != ACME_MALFORMED)
        return false;
    if (!o->asked_staple) {
        if (o->without_staple)
            learnt_staple(o->env.state, o->ca->url, false, clock_wall_s());
        return false;
    }
    if (o->without_staple) /* refused with it and without it */
        return false;
    if (!learnt_staple_is_refused(o->env.state, o->ca->url, clock_wall_s()))
        log_warn("%s: the CA refuses a certificate with must-staple (%s): asking for one without "
                 "it; set mustStaple = false for this CA",
                 order_label(o), answer->text);
    o->without_staple = true;
    learnt_staple(o->env.state, o->ca->url, true, clock_wall_s());
    return true;
}

static void on_finalized(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_order doc;
    struct why why;
    o->call = NULL;
    if (answer->class == ACME_NOT_READY && o->finalizes < FINALIZES_MAX) {
        order_goto(o, ORDER_READY);
    } else if (answer->class != ACME_OK && answer->may_have_arrived) {
        order_say(o, "no clear answer to the certificate request (%s): asking for the order",
                  answer->text);
        order_goto(o, ORDER_POLL);
    } else if (answer->class != ACME_OK && drop_staple(o, answer)) {
        order_goto(o, ORDER_READY);
    } else if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
    } else {
        /* Whatever this says, the order tells; a good answer only saves a question. */
        if (result_is_ok(document_order_parse(answer->body, &doc, &why))) {
            keep_certificate_url(o, &doc);
            document_order_free(&doc);
        }
        order_next(o);
    }
}

static struct result make_request(const struct order *o, struct buf *csr, struct why *why)
{
    const struct order_record *r = &o->record;
    struct key *key = NULL;
    TRY(key_from_der(buf_span(&r->key_der), &key, why));
    const struct config_resolver *c = o->resolver->config;
    struct result result =
        x509_request(key, (const char *const *)r->names, r->name_count, c->email_addresses,
                     c->email_address_count, !c->no_common_name, o->asked_staple, csr, why);
    key_free(key);
    return result;
}

static void send_request(struct order *o)
{
    struct buf csr = {0}, payload = {0};
    struct why why;
    o->asked_staple = wants_staple(o);
    if (!result_is_ok(make_request(o, &csr, &why))) {
        order_fail(o, ACME_CONFIG, "", 0, "%s", why.text);
    } else {
        buf_put_str(&payload, "{\"csr\":\"");
        base64url_put(&payload, buf_span(&csr));
        buf_put_str(&payload, "\"}");
        o->call = acme_post_once(o->ca->acme, o->record.finalize_url, buf_span(&payload),
                                 on_finalized, o);
    }
    buf_free(&csr);
    buf_free(&payload);
}

void order_issue_finalize(struct order *o)
{
    struct buf names = {0};
    if (!o->record.finalize_url) {
        order_fail(o, ACME_PROTOCOL, "", 0, "the order has no finalize URL");
        return;
    }
    struct ledger_key key = order_ledger_key(o, &names);
    o->finalizes++;
    ledger_certificate_asked(o->env.ledger, &key, o->record.order_url, !o->record.replaces,
                             clock_wall_s());
    order_on_disk(o, send_request);
    buf_free(&names);
}

/* ---- poll
 * ----------------------------------------------------------------------------------------- */

static void ask_issued(struct order *o);

static void after_poll(struct order *o, const struct document_order *doc, uint32_t retry_after_s)
{
    keep_certificate_url(o, doc);
    switch (doc->status) {
    case DOCUMENT_STATUS_VALID:
        order_next(o);
        break;
    case DOCUMENT_STATUS_PROCESSING:
    case DOCUMENT_STATUS_PENDING:
        order_pause(o, order_poll_wait_ns(o, retry_after_s), ask_issued);
        break;
    case DOCUMENT_STATUS_READY:
        if (o->finalizes >= FINALIZES_MAX)
            order_fail(o, ACME_SERVER, "", 0, "the CA does not take the certificate request");
        else
            order_goto(o, ORDER_FINALIZE);
        break;
    default:
        order_fail(o, problem_class(doc->problem.type, 400), doc->problem.type, 0,
                   "the CA says that the order is %s: %s", document_status_name(doc->status),
                   doc->problem.detail);
    }
}

static void on_issued(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    struct document_order doc;
    struct why why;
    o->call = NULL;
    if (answer->class != ACME_OK) {
        order_fail_answer(o, answer);
    } else if (!result_is_ok(document_order_parse(answer->body, &doc, &why))) {
        order_ask_again(o, why.text, ask_issued);
    } else {
        after_poll(o, &doc, answer->retry_after_s);
        document_order_free(&doc);
    }
}

static void ask_issued(struct order *o)
{
    o->call = acme_post(o->ca->acme, o->record.order_url, span_of(NULL, 0), on_issued, o);
}

void order_issue_poll(struct order *o)
{
    order_set_deadline(o, o->resolver->config->certificate_timeout_s);
    if (o->record.certificate_url)
        order_next(o); /* the answer to the request said it all */
    else
        ask_issued(o);
}

/* ---- download (section 7.4.2)
 * --------------------------------------------------------------------- */

static void ask_chain(struct order *o, const char *url);

/* What the CA gave must be ours: the journalled key's, for every name, in its time. */
static struct result check_leaf(const struct order *o, const struct x509 *leaf, struct why *why)
{
    struct key *key = NULL;
    TRY(key_from_der(buf_span(&o->record.key_der), &key, why));
    struct result r = x509_check_key(leaf, key, why);
    key_free(key);
    TRY(r);
    for (uint32_t i = 0; i < o->record.name_count; i++)
        if (!x509_has_name(leaf, o->record.names[i]))
            return why_fail(why, ERR_MISMATCH, "the CA's certificate lacks the name %s",
                            o->record.names[i]);
    if (leaf->not_after_s <= clock_wall_s())
        return why_fail(why, ERR_MISMATCH, "the CA's certificate has expired already");
    return result_ok();
}

/* Issuer of the last certificate of the chain: what preferredChain names. */
static bool ends_at(struct span chain, const char *issuer)
{
    struct span last = {NULL, 0};
    struct reader r = reader_of(chain);
    while (r.left && !r.bad)
        last = reader_bytes(&r, reader_be(&r, 3));
    struct x509 cert = {0};
    struct why why;
    if (r.bad || !result_is_ok(x509_parse(last, &cert, &why)))
        return false;
    bool same = !strcmp(cert.issuer_cn, issuer);
    x509_free(&cert);
    return same;
}

static void keep_alternates(struct order *o, const struct acme_answer *answer)
{
    for (uint32_t i = 0; i < answer->alternate_count; i++)
        if (o->alternate_count < HTTP_ALTERNATES_MAX &&
            document_is_url(answer->alternates[i], true))
            o->alternates[o->alternate_count++] = mem_strdup(answer->alternates[i]);
}

/* True when another chain is asked for. */
static bool try_other_chain(struct order *o, struct span chain)
{
    const char *wanted = o->resolver->config->preferred_chain;
    if (!wanted || !wanted[0] || ends_at(chain, wanted))
        return false;
    if (o->index == o->alternate_count) {
        log_warn("%s: the CA offers no chain that ends at \"%s\" (preferredChain): its first one "
                 "is used",
                 order_label(o), wanted);
        return false;
    }
    ask_chain(o, o->alternates[o->index++]);
    return true;
}

/* The first chain is asked for again; an alternate one is done without. */
static void garbled_chain(struct order *o, const struct why *why)
{
    if (o->chain_pem.len)
        order_next(o);
    else
        order_ask_again(o, why->text, order_issue_download);
}

static void take_chain(struct order *o, const struct acme_answer *answer)
{
    struct buf chain = {0};
    struct x509 leaf = {0};
    struct why why;
    bool first = !o->chain_pem.len;
    struct result r = x509_chain_from_pem(answer->body, &chain, &leaf, &why);
    if (!result_is_ok(r)) {
        buf_free(&chain);
        x509_free(&leaf);
        garbled_chain(o, &why);
        return;
    }
    r = check_leaf(o, &leaf, &why);
    x509_free(&leaf);
    if (!result_is_ok(r)) {
        buf_free(&chain);
        order_fail(o, ACME_PROTOCOL, "", 0, "%s", why.text);
        return;
    }
    const char *wanted = o->resolver->config->preferred_chain;
    bool better = wanted && wanted[0] && ends_at(buf_span(&chain), wanted);
    if (first)
        keep_alternates(o, answer);
    if (first || better) {
        buf_free(&o->chain_pem);
        buf_put_span(&o->chain_pem, answer->body);
    }
    bool more = try_other_chain(o, buf_span(&chain));
    buf_free(&chain);
    if (more)
        return;
    order_say(o, "certificate downloaded");
    order_next(o);
}

static void on_chain(void *arg, const struct acme_answer *answer)
{
    struct order *o = arg;
    o->call = NULL;
    if (answer->class == ACME_OK)
        take_chain(o, answer);
    else if (o->chain_pem.len)
        order_next(o); /* the first chain is good enough */
    else
        order_fail_answer(o, answer);
}

static void ask_chain(struct order *o, const char *url)
{
    o->call = acme_post(o->ca->acme, url, span_of(NULL, 0), on_chain, o);
}

void order_issue_download(struct order *o)
{
    if (o->record.certificate_url)
        ask_chain(o, o->record.certificate_url);
    else
        order_fail(o, ACME_PROTOCOL, "", 0, "the CA gave no certificate URL");
}

/* ---- store, publish
 * ---------------------------------------------------------------------------------- */

/* Borrows the record's names; free the two bufs. */
static struct result make_store_cert(const struct order *o, struct store_cert *ret)
{
    const struct order_record *r = &o->record;
    struct key *key = NULL;
    struct why why;
    *ret = (struct store_cert){.resolver = r->resolver,
                               .main = r->names[0],
                               .sans = r->names + 1,
                               .san_count = r->name_count - 1};
    TRY(key_from_der(buf_span(&r->key_der), &key, &why));
    struct result result = key_to_pem(key, &ret->key_pem);
    key_free(key);
    buf_put_span(&ret->chain_pem, buf_span(&o->chain_pem));
    return result;
}

static void free_store_cert(struct store_cert *cert)
{
    buf_free(&cert->chain_pem);
    buf_wipe_free(&cert->key_pem);
}

/* The certificate serves from memory until the disk takes it. Were this process to die, the journal
 * leads back to it. */
static void store_later(struct order *o, const struct why *why)
{
    struct store_cert cert;
    if (o->tries++ == 0) {
        if (result_is_ok(make_store_cert(o, &cert)))
            o->env.publish(o->env.arg, &cert);
        free_store_cert(&cert);
        order_say(o, "the new certificate is served, but cannot be stored yet: %s", why->text);
    }
    order_pause(o, STORE_AGAIN_S * NS_PER_S, order_issue_store);
}

static void stored(struct store_put *put, const struct why *failure)
{
    struct order *o = LIST_ENTRY(put, struct order, put);
    if (failure)
        store_later(o, failure);
    else
        order_next(o);
}

void order_issue_store(struct order *o)
{
    struct store_cert cert;
    if (result_is_ok(make_store_cert(o, &cert)))
        store_put_cert_soon(o->resolver->store, o->env.loop, &o->put, &cert, stored);
    else
        order_fail(o, ACME_CONFIG, "", 0, "the private key cannot be written");
    free_store_cert(&cert);
}

void order_issue_publish(struct order *o)
{
    struct store_cert cert;
    if (result_is_ok(make_store_cert(o, &cert)))
        o->env.publish(o->env.arg, &cert);
    free_store_cert(&cert);
    order_say(o, "certificate stored and given to the workers, %.1f s after the start",
              order_seconds(o));
    order_next(o);
}
