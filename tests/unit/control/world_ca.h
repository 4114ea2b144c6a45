/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/control/world_ca.h - the CA and the store of the faked world.
 * Thread: the test's.   Owns: nothing beyond world.h.
 * Never: issues a certificate for a request that it did not get. */
#pragma once

#include "world.h"

#include "control/order_journal.h"

#define THUMB "THUMBPRINT"

struct acme_call {
    struct event e;
    bool off;
    size_t at; /* which CA */
    char url[128];
    struct buf payload;
    acme_done *done;
    void *arg;
};

static void reply(struct acme_call *c, struct acme_answer a)
{
    a.location = a.location ? a.location : "";
    a.type = a.type ? a.type : "";
    a.text = a.text ? a.text : "";
    boundary();
    if (!c->off)
        c->done(c->arg, &a);
}

static void reply_json(struct acme_call *c, const char *location, const char *json)
{
    reply(c, (struct acme_answer){.status = 200, .location = location, .body = span_str(json)});
}

static const char *order_status(const struct world_order *o)
{
    if (o->refused[0] || o->refused[1])
        return "invalid";
    if (o->csr_len)
        return o->polls > 1 ? "valid" : "processing";
    return o->valid[0] && o->valid[1] ? "ready" : "pending";
}

static void reply_order(struct acme_call *c, int i, const char *location)
{
    struct world_order *o = &w->orders[i];
    char json[512], wildcard[64] = "";
    if (!w->single)
        snprintf(wildcard, sizeof wildcard, ",\"https://ca/z/%d/1\"", i);
    if (o->csr_len)
        o->polls++;
    const char *status = order_status(o);
    snprintf(json, sizeof json,
             "{\"status\":\"%s\",\"authorizations\":[\"https://ca/z/%d/0\"%s],"
             "\"finalize\":\"https://ca/f/%d\"%s%d\"}",
             status, i, wildcard, i,
             strcmp(status, "valid") ? ",\"x\":\"" : ",\"certificate\":\"https://ca/cert/", i);
    reply_json(c, location, json);
}

static const char *authz_status(const struct world_order *o, int n)
{
    return o->refused[n] ? "invalid" : o->valid[n] ? "valid" : "pending";
}

static void reply_authz(struct acme_call *c, int i, int n)
{
    char json[2048];
    const char *status = authz_status(&w->orders[i], n);
    int len = snprintf(json, sizeof json,
                       "{\"status\":\"%s\",\"identifier\":{\"type\":\"dns\",\"value\":\"a.test\"},"
                       "\"wildcard\":%s,\"challenges\":[",
                       status, n ? "true" : "false");
    for (int k = 0; k < (n ? 1 : ORDER_CHALLENGES); k++) /* a wildcard only by DNS */
        len += snprintf(
            json + len, sizeof json - (size_t)len,
            "%s{\"type\":\"%s\",\"url\":\"https://ca/c/%d/%d/%d\",\"token\":\"token-%d-%d\","
            "\"status\":\"%s\",\"error\":{\"type\":"
            "\"urn:ietf:params:acme:error:unauthorized\",\"detail\":\"wrong answer\"}}",
            k ? "," : "", order_challenge_name((enum order_challenge)k), i, n, k, i, n, status);
    snprintf(json + len, sizeof json - (size_t)len, "]}");
    reply_json(c, NULL, json);
}

/* What stands at the place where a challenge is looked for. */
static bool is_answered(int challenge, const char *key_auth)
{
    struct buf value = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    if (challenge == ORDER_CHALLENGE_HTTP) {
        w->http_looks++;
        return find_answer(false, key_auth) >= 0 && w->now_ns >= w->http_bad_ns;
    }
    if (challenge == ORDER_CHALLENGE_TLS) {
        w->tls_looks++;
        return find_answer(true, key_auth) >= 0 && w->now_ns >= w->tls_bad_ns;
    }
    digest_once(DIGEST_SHA256, span_str(key_auth), hash);
    base64url_put(&value, span_of(hash, 32));
    bool good = find_txt("_acme-challenge.a.test.", buf_span(&value)) >= 0;
    buf_free(&value);
    return good;
}

/* The CA looks when it is told to, once. */
static void validate(struct acme_call *c, int i, int n, int challenge)
{
    struct world_order *o = &w->orders[i];
    char key_auth[64];
    snprintf(key_auth, sizeof key_auth, "token-%d-%d." THUMB, i, n);
    bool good = is_answered(challenge, key_auth) && w->now_ns >= w->validation_bad_ns;
    boundary();
    if (!o->valid[n] && !o->refused[n]) {
        o->valid[n] = good;
        o->refused[n] = !good;
    }
    reply_json(c, NULL, "{}");
}

/* A request with must-staple is refused, where the CA has no OCSP. */
static bool refuses(struct acme_call *c, struct span csr)
{
    if (!w->refuses_staple || !memmem(csr.ptr, csr.len, "\x2b\x06\x01\x05\x05\x07\x01\x18", 8))
        return false;
    if (w->others_hear)
        learnt_staple(NULL, "https://ca/dir", true, clock_wall_s());
    reply(c, (struct acme_answer){.class = ACME_UNAUTHORIZED, .text = "no must-staple"});
    return true;
}

static void finalize(struct acme_call *c, int i)
{
    struct world_order *o = &w->orders[i];
    struct buf csr = {0};
    const char *text = strchr(buf_cstr(&c->payload), ':');
    must(text && !strcmp(order_status(o), "ready"));
    text += 2;
    must(result_is_ok(base64url_get(span_of(text, strcspn(text, "\"")), &csr)));
    must(csr.len <= sizeof o->csr);
    boundary();
    if (refuses(c, buf_span(&csr))) {
        buf_free(&csr);
        return;
    }
    memcpy(o->csr, csr.ptr, csr.len);
    o->csr_len = (uint32_t)csr.len;
    w->issued++;
    buf_free(&csr);
    if (w->quiet_ca_after_finalize) {
        w->quiet_ca_after_finalize = false;
        w->ca_down_ns = w->now_ns + 300 * NS_PER_S;
        reply(c, (struct acme_answer){
                     .class = ACME_NETWORK, .may_have_arrived = true, .text = "no answer"});
        return;
    }
    reply_order(c, i, NULL);
}

/* Only the holder of the private key can make the certificate here: it must be the one of the
 * journal, and the request must have been for it. */
static void reply_certificate(struct acme_call *c, int i)
{
    struct world_order *o = &w->orders[i];
    struct order_record r;
    struct key *key = NULL;
    struct buf spki = {0}, der = {0}, chain = {0}, pem = {0}, ids = {0};
    struct why why;
    must(!strcmp(order_status(o), "valid"));
    must(result_is_ok(order_journal_ids(NULL, &ids, &why)) && ids.len == ORDER_ID_LEN);
    must(result_is_ok(order_journal_get(NULL, buf_cstr(&ids), &r)));
    must(result_is_ok(key_from_der(buf_span(&r.key_der), &key, &why)));
    must(result_is_ok(key_public_der(key, &spki)));
    must(memmem(o->csr, o->csr_len, spki.ptr, spki.len));
    must(result_is_ok(x509_self_signed(key, (const char *const *)r.names, r.name_count,
                                       (uint32_t)(w->life_s / 86400), &der, &why)));
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    must(result_is_ok(x509_chain_to_pem(buf_span(&chain), &pem)));
    reply(c, (struct acme_answer){.status = 200, .body = buf_span(&pem)});
    key_free(key);
    order_record_free(&r);
    buf_free(&spki);
    buf_free(&der);
    buf_free(&chain);
    buf_free(&pem);
    buf_free(&ids);
}

static void take_replaces(struct acme_call *c)
{
    const char *found = strstr(buf_cstr(&c->payload), "\"replaces\":\"");
    memset(w->replaced, 0, sizeof w->replaced);
    if (found)
        sscanf(found + 12, "%63[^\"]", w->replaced);
}

static void reply_renewal(struct acme_call *c)
{
    char json[512], times[2][32];
    int64_t at[2] = {w->ari_start_s, w->ari_end_s};
    w->ari_asked++;
    for (int i = 0; i < 2; i++) {
        struct tm tm;
        time_t t = (time_t)at[i];
        gmtime_r(&t, &tm);
        strftime(times[i], sizeof times[i], "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    snprintf(json, sizeof json, "{\"suggestedWindow\":{\"start\":\"%s\",\"end\":\"%s\"}}", times[0],
             times[1]);
    if (at[0])
        reply_json(c, NULL, json);
    else
        reply(c, (struct acme_answer){.status = 0});
}

static void new_order(struct acme_call *c)
{
    char location[64];
    boundary();
    w->last_order_s = clock_wall_s();
    take_replaces(c);
    if (w->replaced[0] && w->refuse_replaces) {
        reply(c, (struct acme_answer){.class = ACME_REJECTED,
                                      .status = 409,
                                      .type = "urn:ietf:params:acme:error:alreadyReplaced",
                                      .text = "replaced"});
        return;
    }
    if (w->now_ns < w->rate_limited_ns) {
        reply(c, (struct acme_answer){.class = ACME_RATE,
                                      .status = 429,
                                      .retry_after_s = w->retry_after_s,
                                      .type = "urn:ietf:params:acme:error:rateLimited",
                                      .text = "too many"});
        return;
    }
    w->orders_at[c->at]++;
    must(w->order_count < 64);
    int i = w->order_count++;
    w->orders[i] = (struct world_order){.valid[1] = w->single};
    snprintf(location, sizeof location, "https://ca/o/%d", i);
    reply_order(c, i, location);
}

static void run_acme(struct event *e)
{
    struct acme_call *c = e->subject;
    int i = 0, n = 0, k = 0;
    w->questions++;
    if (c->off) {
        /* nobody waits */
    } else if (w->now_ns < w->garbled_ns &&
               !strncmp(c->url, w->garbled_url, strlen(w->garbled_url))) {
        reply(c, (struct acme_answer){.status = 200, .body = SPAN_LITERAL("<html>busy</html>")});
    } else if (w->now_ns < w->ca_down_ns || w->now_ns < w->down_at_ns[c->at]) {
        reply(c, (struct acme_answer){.class = ACME_NETWORK, .text = "the CA is down"});
    } else if (!c->url[0]) {
        reply(c, (struct acme_answer){.status = 200});
    } else if (!strncmp(c->url, "ari/", 4)) {
        reply_renewal(c);
    } else if (!strcmp(c->url, "new")) {
        new_order(c);
    } else if (sscanf(c->url, "https://ca/o/%d", &i) == 1) {
        reply_order(c, i, NULL);
    } else if (sscanf(c->url, "https://ca/z/%d/%d", &i, &n) == 2) {
        w->given_up += strstr(buf_cstr(&c->payload), "deactivated") != NULL;
        reply_authz(c, i, n);
    } else if (sscanf(c->url, "https://ca/c/%d/%d/%d", &i, &n, &k) == 3) {
        validate(c, i, n, k);
    } else if (sscanf(c->url, "https://ca/f/%d", &i) == 1) {
        finalize(c, i);
    } else if (sscanf(c->url, "https://ca/cert/%d", &i) == 1) {
        reply_certificate(c, i);
    } else {
        never();
    }
    buf_free(&c->payload);
    free(c);
}

static struct acme_call *call(struct acme *acme, const char *url, struct span payload,
                              acme_done *done, void *arg)
{
    struct acme_call *c = mem_zalloc(sizeof *c);
    c->at = (size_t)acme;
    snprintf(c->url, sizeof c->url, "%s", url);
    buf_put_span(&c->payload, payload);
    c->done = done;
    c->arg = arg;
    later(&c->e, run_acme, c);
    return c;
}

struct acme_call *acme_ready(struct acme *acme, acme_done *done, void *arg)
{
    return call(acme, "", span_of(NULL, 0), done, arg);
}

struct acme_call *acme_post(struct acme *acme, const char *url, struct span payload,
                            acme_done *done, void *arg)
{
    return call(acme, url, payload, done, arg);
}

struct acme_call *acme_post_once(struct acme *acme, const char *url, struct span payload,
                                 acme_done *done, void *arg)
{
    return call(acme, url, payload, done, arg);
}

struct acme_call *acme_new_order(struct acme *acme, struct span payload, acme_done *done, void *arg)
{
    return call(acme, "new", payload, done, arg);
}

struct acme_call *acme_renewal_info(struct acme *acme, const char *id, acme_done *done, void *arg)
{
    char url[80];
    snprintf(url, sizeof url, "ari/%.63s", id);
    return call(acme, url, span_of(NULL, 0), done, arg);
}

void acme_call_cancel(struct acme_call *c)
{
    if (c)
        c->off = true;
}

const struct document_directory *acme_directory(const struct acme *acme)
{
    static struct document_directory directory = {.renewal_info = (char *)"https://ca/ari"};
    return &directory;
}

const char *acme_thumbprint(const struct acme *acme)
{
    return THUMB;
}

/* ---- store
 * ---------------------------------------------------------------------------------------- */

struct world_put {
    struct event e;
    struct store_put *put; /* NULL: nobody waits */
    struct buf chain_pem;
};

static void run_put(struct event *e)
{
    static const struct why full = {"no space left on device"};
    struct world_put *p = e->subject;
    struct store_put *put = p->put;
    struct buf chain = {0};
    struct x509 leaf;
    struct why why;
    boundary();
    bool good = w->now_ns >= w->disk_full_ns && w->now_ns >= w->store_full_ns;
    if (good) {
        must(result_is_ok(x509_chain_from_pem(buf_span(&p->chain_pem), &chain, &leaf, &why)));
        w->stored++;
        /* The crypto library has the real time: what counts is the life. */
        w->stored_from_s = clock_wall_s();
        w->stored_to_s = w->stored_from_s + w->life_s - 1;
        x509_free(&leaf);
        boundary();
    }
    buf_free(&chain);
    buf_free(&p->chain_pem);
    free(p);
    if (put) {
        put->item = NULL;
        put->done(put, good ? NULL : &full);
    }
}

void store_put_cert_soon(struct store *store, struct loop *loop, struct store_put *put,
                         const struct store_cert *cert,
                         void (*done)(struct store_put *put, const struct why *failure))
{
    struct world_put *p = mem_zalloc(sizeof *p);
    p->put = put;
    put->item = (struct store_item *)p;
    put->done = done;
    buf_put_span(&p->chain_pem, buf_span(&cert->chain_pem));
    later(&p->e, run_put, p);
}

void store_put_cancel(struct store_put *put)
{
    if (put->item)
        ((struct world_put *)put->item)->put = NULL;
    put->item = NULL;
}

int64_t acme_clock_skew_s(const struct acme *acme)
{
    return w->skew_s;
}

struct span acme_url_host(const char *url)
{
    never();
}

/* Linked, never called here. */
struct result acme_create(struct loop *loop, const struct config_resolver *resolver, const char *ca,
                          const char *account, struct store *store, struct acme **ret,
                          struct why *why)
{
    never();
}

void acme_destroy(struct acme *acme)
{
    never();
}

struct result provider_get(struct provider_host *host, const char *code,
                           const struct config_env *env, uint32_t env_count, struct provider **ret,
                           struct why *why)
{
    never();
}

struct result store_open(const char *path, struct store **ret, struct why *why)
{
    never();
}

void store_close(struct store *store)
{
    never();
}
