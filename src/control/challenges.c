/* SPDX-License-Identifier: Apache-2.0 */
#include "control/challenges.h"

#include "base/secret.h"
#include "bridge/publish.h"
#include "crypto/digest.h"
#include "crypto/x509.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define PROOF_DAYS 7 /* of a certificate that is looked at within minutes */

struct answer {
    struct list node;
    char *key_auth;
    char *name;       /* token, or server name */
    char *entrypoint; /* HTTP-01; NULL: TLS-ALPN-01 */
    struct buf chain, key;
};

struct challenges {
    struct list answers, waits;
    uint32_t count;
    uint64_t number; /* of the last fence */
    void (*send)(void *arg, struct span messages);
    void *arg;
};

struct challenges *challenges_create(void (*send)(void *arg, struct span messages), void *arg)
{
    struct challenges *c = mem_zalloc(sizeof *c);
    list_init(&c->answers);
    list_init(&c->waits);
    c->send = send;
    c->arg = arg;
    return c;
}

static void answer_free(struct answer *a)
{
    list_remove(&a->node);
    free(a->key_auth);
    free(a->name);
    free(a->entrypoint);
    buf_free(&a->chain);
    buf_wipe_free(&a->key);
    free(a);
}

void challenges_destroy(struct challenges *c)
{
    struct list *node;
    if (!c)
        return;
    while (!list_is_empty(&c->answers))
        answer_free(LIST_ENTRY(c->answers.next, struct answer, node));
    while ((node = list_pop(&c->waits)))
        ;
    free(c);
}

static void send_and_wipe(struct challenges *c, struct buf *out)
{
    c->send(c->arg, buf_span(out));
    buf_wipe_free(out);
}

static void emit(const struct answer *a, struct buf *out)
{
    if (a->entrypoint)
        publish_http_challenge(out, span_str(a->entrypoint), span_str(a->name),
                               span_str(a->key_auth));
    else
        publish_tls_challenge(out, span_str(a->name), buf_span(&a->chain), buf_span(&a->key));
}

static struct answer *find(const struct challenges *c, bool http, const char *key_auth)
{
    for (struct list *n = c->answers.next; n != &c->answers; n = n->next) {
        struct answer *a = LIST_ENTRY(n, struct answer, node);
        if ((a->entrypoint != NULL) == http && !strcmp(a->key_auth, key_auth))
            return a;
    }
    return NULL;
}

static bool is_name_taken(const struct challenges *c, const char *name)
{
    for (struct list *n = c->answers.next; n != &c->answers; n = n->next) {
        struct answer *a = LIST_ENTRY(n, struct answer, node);
        if (!a->entrypoint && !strcmp(a->name, name))
            return true;
    }
    return false;
}

/* Takes name. */
static struct answer *add(struct challenges *c, const char *key_auth, char *name,
                          const char *entrypoint)
{
    struct answer *a = mem_zalloc(sizeof *a);
    list_init(&a->node);
    a->key_auth = mem_strdup(key_auth);
    a->name = name;
    a->entrypoint = entrypoint ? mem_strdup(entrypoint) : NULL;
    return a;
}

static void put(struct challenges *c, struct answer *a)
{
    struct buf out = {0};
    list_append(&c->answers, &a->node);
    c->count++;
    emit(a, &out);
    send_and_wipe(c, &out);
}

static struct result check_room(const struct challenges *c, struct why *why)
{
    return c->count < PUBLISH_CHALLENGES_MAX
               ? result_ok()
               : why_fail(why, ERR_LIMIT, "%u challenges are being answered already", c->count);
}

struct result challenges_put_http(struct challenges *c, const char *entrypoint, const char *token,
                                  const char *key_auth, struct why *why)
{
    if (find(c, true, key_auth))
        return result_ok();
    TRY(check_room(c, why));
    if (strlen(token) > PUBLISH_TOKEN_MAX || strlen(key_auth) > PUBLISH_ANSWER_MAX)
        return why_fail(why, ERR_TOO_LARGE, "the CA's token is too long");
    put(c, add(c, key_auth, mem_strdup(token), entrypoint));
    return result_ok();
}

/* ---- TLS-ALPN-01 ----------------------------------------------------------------------------- */

char *challenges_server_name(const char *identifier)
{
    struct buf name = {0};
    uint8_t ip[16];
    if (inet_pton(AF_INET, identifier, ip) == 1)
        return mem_printf("%u.%u.%u.%u.in-addr.arpa", ip[3], ip[2], ip[1], ip[0]);
    if (inet_pton(AF_INET6, identifier, ip) != 1)
        return mem_strdup(identifier);
    for (int i = 15; i >= 0; i--)
        buf_printf(&name, "%x.%x.", ip[i] & 15u, ip[i] >> 4);
    buf_put_str(&name, "ip6.arpa");
    return buf_cstr(&name);
}

static struct result make_proof(const char *identifier, const char *key_auth, struct answer *a,
                                struct why *why)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    struct key *key = NULL;
    struct buf der = {0};
    digest_once(DIGEST_SHA256, span_str(key_auth), digest);
    TRY(key_generate(KEY_EC256, &key, why));
    struct result r = key_to_der(key, &a->key);
    if (!result_is_ok(r))
        r = why_fail(why, r.code, "the key of a challenge cannot be written");
    else
        r = x509_acme_proof(key, identifier, span_of(digest, 32), PROOF_DAYS, &der, why);
    key_free(key);
    buf_put_be(&a->chain, der.len, 3);
    buf_put_span(&a->chain, buf_span(&der));
    buf_free(&der);
    return r;
}

struct result challenges_put_tls(struct challenges *c, const char *identifier, const char *key_auth,
                                 struct why *why)
{
    if (find(c, false, key_auth))
        return result_ok();
    TRY(check_room(c, why));
    char *name = challenges_server_name(identifier);
    if (is_name_taken(c, name)) {
        free(name);
        return why_fail(why, ERR_LIMIT, "another order proves %s by tls-alpn-01", identifier);
    }
    struct answer *a = add(c, key_auth, name, NULL);
    struct result r = make_proof(identifier, key_auth, a, why);
    if (result_is_ok(r))
        put(c, a);
    else
        answer_free(a);
    return r;
}

/* ---- removal --------------------------------------------------------------------------------- */

static void drop(struct challenges *c, struct answer *a)
{
    struct buf out = {0};
    if (!a)
        return;
    if (a->entrypoint)
        publish_http_challenge_remove(&out, span_str(a->name));
    else
        publish_tls_challenge_remove(&out, span_str(a->name));
    send_and_wipe(c, &out);
    answer_free(a);
    c->count--;
}

void challenges_drop_http(struct challenges *c, const char *key_auth)
{
    drop(c, find(c, true, key_auth));
}

void challenges_drop_tls(struct challenges *c, const char *key_auth)
{
    drop(c, find(c, false, key_auth));
}

/* ---- fences ---------------------------------------------------------------------------------- */

void challenges_wait(struct challenges *c, struct challenges_wait *wait,
                     void (*done)(struct challenges_wait *wait))
{
    struct buf out = {0};
    wait->done = done;
    wait->number = ++c->number;
    list_init(&wait->node);
    list_append(&c->waits, &wait->node);
    publish_fence(&out, wait->number);
    send_and_wipe(c, &out);
}

void challenges_wait_cancel(struct challenges_wait *wait)
{
    if (wait->done)
        list_remove(&wait->node);
    wait->done = NULL;
}

void challenges_sync(const struct challenges *c, struct buf *out)
{
    for (struct list *n = c->answers.next; n != &c->answers; n = n->next)
        emit(LIST_ENTRY(n, struct answer, node), out);
}

void challenges_sync_end(const struct challenges *c, struct buf *out)
{
    if (c->number)
        publish_fence(out, c->number);
}

void challenges_fenced(struct challenges *c, uint64_t number)
{
    /* What done() begins to wait for stands behind these. */
    while (!list_is_empty(&c->waits)) {
        struct challenges_wait *wait = LIST_ENTRY(c->waits.next, struct challenges_wait, node);
        if (wait->number > number)
            break;
        void (*done)(struct challenges_wait *) = wait->done;
        challenges_wait_cancel(wait);
        done(wait);
    }
}

uint32_t challenges_count(const struct challenges *c)
{
    return c->count;
}
