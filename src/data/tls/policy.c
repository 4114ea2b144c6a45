/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/policy.h"

#include "base/must.h"
#include "base/secret.h"
#include "data/tls/aead.h"
#include "data/tls/client_auth.h"
#include "data/tls/session_io.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <stdlib.h>

#define VERSION_TLS12 0x0303
#define VERSION_TLS13 0x0304
#define SUITES_MAX    2048 /* bytes of a colon list */

/* AES-128 first: its SHA-256 is done by the CPU, SHA-384 is not (14 % of a handshake). */
#define SUITES_TLS13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES_TLS12                                                                               \
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:"               \
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:"               \
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"

/* What there is; all others are refused, whatever else wolfSSL was built with. */
static const struct suite {
    const char *name; /* IANA's */
    const char *wolfssl;
    bool tls13, rsa; /* of TLS 1.2: for RSA certificates, else ECDSA */
} suite_names[] = {
    {"TLS_AES_128_GCM_SHA256", "TLS13-AES128-GCM-SHA256", true, false},
    {"TLS_AES_256_GCM_SHA384", "TLS13-AES256-GCM-SHA384", true, false},
    {"TLS_CHACHA20_POLY1305_SHA256", "TLS13-CHACHA20-POLY1305-SHA256", true, false},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", false, false},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", false, true},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", false, false},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", false, true},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", false,
     false},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", false, true},
    /* as Go calls them */
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305", false, false},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", false, true},
};

static const struct group {
    const char *name;
    int number;
    uint8_t kind; /* enum hello_group */
} group_names[] = {
    {"X25519MLKEM768", WOLFSSL_X25519MLKEM768, HELLO_GROUP_X25519MLKEM768},
    {"X25519", WOLFSSL_ECC_X25519, HELLO_GROUP_X25519},
    {"P-256", WOLFSSL_ECC_SECP256R1, HELLO_GROUP_P256},
    {"P-384", WOLFSSL_ECC_SECP384R1, HELLO_GROUP_P384},
    {"P-521", WOLFSSL_ECC_SECP521R1, HELLO_GROUP_P521},
};
static const struct span groups_default = SPAN_LITERAL("X25519MLKEM768:X25519:P-256:P-384");

/* The next word of a colon list, cut off its front. */
static struct span next_word(struct span *list)
{
    struct span word = span_first(*list, span_find(*list, ':'));
    *list = span_skip(*list, word.len + 1);
    return word;
}

static const struct group *find_group(struct span name)
{
    for (size_t i = 0; i < sizeof group_names / sizeof group_names[0]; i++)
        if (span_eq(name, span_str(group_names[i].name)))
            return &group_names[i];
    return NULL;
}

static struct result set_groups(WOLFSSL_CTX *ctx, struct span list, struct why *why)
{
    int groups[TLS_GROUPS_MAX];
    int count = 0;
    uint32_t seen = 0;

    if (list.len == 0)
        list = groups_default;
    while (list.len) {
        struct span word = next_word(&list);
        const struct group *group = find_group(word);
        if (!group)
            return why_fail(why, ERR_CONFIG,
                            "\"%.*s\" is no key exchange group: known are X25519MLKEM768, X25519, "
                            "P-256, P-384 and P-521",
                            SPAN_FMT(word));
        if (!(seen & group->kind))
            groups[count++] = group->number;
        seen |= group->kind;
    }
    if (wolfSSL_CTX_set_groups(ctx, groups, count) != WOLFSSL_SUCCESS)
        return why_fail(why, ERR_CRYPTO, "wolfSSL refuses the key exchange groups");
    return result_ok();
}

static const struct suite *find_suite(struct span name)
{
    for (size_t i = 0; i < sizeof suite_names / sizeof suite_names[0]; i++)
        if (span_eq_nocase(name, span_str(suite_names[i].name)))
            return &suite_names[i];
    return NULL;
}

/* Appends wolfSSL's names for a list of IANA's. */
static struct result put_suites(struct writer *w, struct span list, struct why *why)
{
    while (list.len) {
        struct span word = next_word(&list);
        const struct suite *suite = find_suite(word);
        if (!suite)
            return why_fail(why, ERR_CONFIG, "\"%.*s\" is no cipher suite of ferrule's",
                            SPAN_FMT(word));
        if (w->len)
            writer_span(w, SPAN_LITERAL(":"));
        writer_span(w, span_str(suite->wolfssl));
    }
    return result_ok();
}

/* A list without a suite of TLS 1.3 speaks about TLS 1.2 only, as in other servers. */
static struct result set_suites(WOLFSSL_CTX *ctx, struct span list, struct why *why)
{
    char text[SUITES_MAX + 1];
    bool names_tls13 = false;
    struct writer w = writer_of(text, sizeof text - 1);

    if (list.len == 0)
        list = SPAN_LITERAL(SUITES_TLS12);
    for (struct span rest = list; rest.len;) {
        const struct suite *suite = find_suite(next_word(&rest));
        names_tls13 |= suite && suite->tls13;
    }
    if (!names_tls13)
        TRY(put_suites(&w, SPAN_LITERAL(SUITES_TLS13), why));
    TRY(put_suites(&w, list, why));
    if (w.bad)
        return why_fail(why, ERR_CONFIG, "the list of cipher suites is too long");
    text[w.len] = 0;
    if (wolfSSL_CTX_set_cipher_list(ctx, text) != WOLFSSL_SUCCESS)
        return why_fail(why, ERR_CRYPTO, "wolfSSL does not have the cipher suites \"%.*s\"",
                        SPAN_FMT(list));
    return result_ok();
}

/* wolfSSL_new() refuses a server without certificate unless a callback may bring one. Sessions
 * have theirs before the handshake begins, so there is nothing left to do here. */
static int certificate_is_loaded(WOLFSSL *ssl, void *arg)
{
    return 1;
}

static WOLFSSL_METHOD *method_of(const struct snap_tls *options)
{
    if (options->min_version == VERSION_TLS13)
        return wolfTLSv1_3_server_method();
    return options->max_version == VERSION_TLS12 ? wolfTLSv1_2_server_method()
                                                 : wolfSSLv23_server_method();
}

static struct result context_fill(WOLFSSL_CTX *ctx, const struct snap_tls *options, bool tickets,
                                  struct why *why)
{
    bool good = wolfSSL_CTX_SetMinVersion(ctx, options->min_version == VERSION_TLS13
                                                   ? WOLFSSL_TLSV1_3
                                                   : WOLFSSL_TLSV1_2) == WOLFSSL_SUCCESS;

    int lifetime_s = client_auth_verifies(options) ? CLIENT_AUTH_TICKET_S : TICKET_LIFETIME_S;

    good &= wolfSSL_CTX_SetDevId(ctx, aead_device()) == WOLFSSL_SUCCESS;
    wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_set_cert_cb(ctx, certificate_is_loaded, NULL);
    wolfSSL_CTX_SetIORecv(ctx, session_io_receive);
    wolfSSL_CTX_SetIOSend(ctx, session_io_send);
    /* Any name is acknowledged and stored: which certificate it gets was decided before. */
    good &= wolfSSL_CTX_UseSNI(ctx, WOLFSSL_SNI_HOST_NAME, "-", 1) == WOLFSSL_SUCCESS;
    wolfSSL_CTX_SNI_SetOptions(ctx, WOLFSSL_SNI_HOST_NAME, WOLFSSL_SNI_ANSWER_ON_MISMATCH);
    if (tickets) {
        good &= wolfSSL_CTX_set_TicketEncCb(ctx, session_io_ticket) == WOLFSSL_SUCCESS;
        good &= wolfSSL_CTX_set_TicketHint(ctx, lifetime_s) == WOLFSSL_SUCCESS;
        good &= wolfSSL_CTX_set_timeout(ctx, (unsigned)lifetime_s) == WOLFSSL_SUCCESS;
        good &= wolfSSL_CTX_set_num_tickets(ctx, 1) == WOLFSSL_SUCCESS;
    } else {
        good &= wolfSSL_CTX_set_TicketEncCb(ctx, NULL) == WOLFSSL_SUCCESS;
        if (options->max_version == VERSION_TLS13)
            good &= wolfSSL_CTX_no_ticket_TLSv13(ctx) == 0;
    }
    /* This also switches the asking on; session_handshake() says for each session whether. */
    good &= wolfSSL_CTX_set_tlsext_status_cb(ctx, session_io_status) == WOLFSSL_SUCCESS;
    good &= wolfSSL_CTX_DisableOCSPStapling(ctx) == WOLFSSL_SUCCESS;
    if (!good)
        return why_fail(why, ERR_CRYPTO, "wolfSSL refuses to set up a context");
    TRY(client_auth_init(ctx, options, why));
    TRY(set_suites(ctx, options->ciphers, why));
    return set_groups(ctx, options->groups, why);
}

static struct result context_create(const struct snap_tls *options, bool tickets, WOLFSSL_CTX **ret,
                                    struct why *why)
{
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(method_of(options));
    if (!ctx)
        return why_fail(why, ERR_CRYPTO, "wolfSSL cannot make a context");
    struct result r = context_fill(ctx, options, tickets, why);
    if (!result_is_ok(r)) {
        wolfSSL_CTX_free(ctx);
        return r;
    }
    *ret = ctx;
    return r;
}

static void digest_field(wc_Sha256 *sha, struct span field)
{
    uint8_t len[4];
    struct writer w = writer_of(len, sizeof len);

    writer_be(&w, field.len, sizeof len);
    must(wc_Sha256Update(sha, len, sizeof len) == 0);
    if (field.len)
        must(wc_Sha256Update(sha, field.ptr, (word32)field.len) == 0);
}

/* The same options give the same digest in every worker and after a restart. */
static void digest_options(const struct snap_tls *options, uint8_t ret[TICKET_BINDING_BYTES])
{
    uint8_t fixed[6] = {(uint8_t)(options->min_version >> 8),
                        (uint8_t)options->min_version,
                        (uint8_t)(options->max_version >> 8),
                        (uint8_t)options->max_version,
                        options->sni_strict,
                        options->client_auth};
    wc_Sha256 sha;

    static_assert(TICKET_BINDING_BYTES == WC_SHA256_DIGEST_SIZE, "a binding is a SHA-256");
    must(wc_InitSha256(&sha) == 0);
    digest_field(&sha, options->name);
    digest_field(&sha, span_of(fixed, sizeof fixed));
    digest_field(&sha, options->ciphers);
    digest_field(&sha, options->groups);
    digest_field(&sha, options->client_cas);
    must(wc_Sha256Final(&sha, ret) == 0);
    wc_Sha256Free(&sha);
}

static void note_protocols(struct tls_policy *policy, struct span list)
{
    uint32_t count = 0, seen = 0;
    if (list.len == 0)
        list = SPAN_LITERAL("h2:http/1.1");
    while (list.len) {
        struct span word = next_word(&list);
        uint8_t kind = span_eq(word, SPAN_LITERAL("h2"))           ? TLS_ALPN_H2
                       : span_eq(word, SPAN_LITERAL("http/1.1"))   ? TLS_ALPN_HTTP11
                       : span_eq(word, SPAN_LITERAL("acme-tls/1")) ? TLS_ALPN_ACME
                                                                   : TLS_ALPN_NONE;
        if (kind && !(seen & kind))
            policy->alpn_order[count++] = kind;
        seen |= kind;
    }
}

static void note_groups(struct tls_policy *policy, struct span list)
{
    uint32_t count = 0, seen = 0;
    if (list.len == 0)
        list = groups_default;
    while (list.len) {
        const struct group *group = find_group(next_word(&list));
        if (group && !(seen & group->kind)) {
            policy->groups[count++] = group->kind;
            seen |= group->kind;
        }
    }
}

static void note_suites(struct tls_policy *policy, struct span list)
{
    if (list.len == 0)
        list = SPAN_LITERAL(SUITES_TLS12);
    while (list.len) {
        const struct suite *suite = find_suite(next_word(&list));
        if (suite && !suite->tls13)
            *(suite->rsa ? &policy->rsa12 : &policy->ecdsa12) = true;
    }
}

struct result tls_policy_create(const struct snap_tls *options, struct tls_policy **ret,
                                struct why *why)
{
    if (options->min_version < VERSION_TLS12 || options->max_version > VERSION_TLS13 ||
        options->min_version > options->max_version)
        return why_fail(why, ERR_CONFIG, "TLS versions 0x%04x to 0x%04x are not possible",
                        options->min_version, options->max_version);
    /* allowed: once per policy and worker, when a snapshot is new */
    struct tls_policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return why_fail(why, ERR_NO_MEMORY, "no memory for a TLS policy");
    policy->max_version = options->max_version;
    policy->asks = client_auth_asks(options);
    policy->verifies = client_auth_verifies(options);
    note_protocols(policy, options->alpn);
    note_suites(policy, options->ciphers);
    note_groups(policy, options->groups);
    tls_policy_offer(policy, TLS_ALPN_HTTP11);
    digest_options(options, policy->binding);
    struct result r = context_create(options, false, &policy->plain, why);
    if (result_is_ok(r) && !options->no_tickets)
        r = context_create(options, true, &policy->tickets, why);
    if (!result_is_ok(r)) {
        tls_policy_destroy(policy);
        return r;
    }
    *ret = policy;
    return r;
}

void tls_policy_destroy(struct tls_policy *policy)
{
    if (!policy)
        return;
    wolfSSL_CTX_free(policy->tickets);
    wolfSSL_CTX_free(policy->plain);
    free(policy); /* allowed: likewise */
}

void tls_policy_offer(struct tls_policy *policy, uint32_t alpn)
{
    must((alpn & ~(uint32_t)(TLS_ALPN_HTTP11 | TLS_ALPN_H2 | TLS_ALPN_ACME)) == 0);
    policy->alpn = 0;
    for (size_t i = 0; i < TLS_ALPN_KINDS; i++)
        policy->alpn |= alpn & policy->alpn_order[i];
}

enum tls_alpn tls_policy_choose(const struct tls_policy *policy, const struct hello *hello)
{
    uint32_t common = policy->alpn & ((hello->alpn_h2 ? TLS_ALPN_H2 : 0u) |
                                      (hello->alpn_http11 ? TLS_ALPN_HTTP11 : 0u) |
                                      (hello->alpn_acme ? TLS_ALPN_ACME : 0u));
    for (size_t i = 0; i < TLS_ALPN_KINDS; i++)
        if (policy->alpn_order[i] & common)
            return (enum tls_alpn)policy->alpn_order[i];
    return TLS_ALPN_NONE;
}

void tls_policy_narrow(const struct tls_policy *policy, const struct hello *hello, bool *ecdsa,
                       bool *rsa)
{
    if (hello->tls13 && policy->max_version == VERSION_TLS13)
        return;
    *ecdsa = *ecdsa && policy->ecdsa12;
    *rsa = *rsa && policy->rsa12;
}

bool tls_policy_agrees(const struct tls_policy *policy, const struct hello *hello,
                       uint16_t *ret_temp_bytes)
{
    bool tls13 = hello->tls13 && policy->max_version == VERSION_TLS13;
    /* A client of TLS 1.2 that names none takes any; wolfSSL gives it P-256. */
    uint8_t offered = hello->has_groups ? hello->groups : HELLO_GROUP_P256;
    uint8_t first = hello->has_groups ? hello->group32 : HELLO_GROUP_P256;

    *ret_temp_bytes = 0;
    if (tls13 && !hello->has_groups)
        return true; /* what is missing then is for wolfSSL to say */
    for (size_t i = 0; i < TLS_GROUPS_MAX && policy->groups[i]; i++) {
        uint8_t group = policy->groups[i];
        if (!(offered & group))
            continue;
        if (tls13)
            return true;
        if (group == HELLO_GROUP_P384 || group == HELLO_GROUP_P521) {
            *ret_temp_bytes = group == HELLO_GROUP_P384 ? 48 : 66;
            return true;
        }
        /* Of two curves of one size wolfSSL takes that which the client names first. */
        bool both = memchr(policy->groups, HELLO_GROUP_X25519, TLS_GROUPS_MAX) &&
                    memchr(policy->groups, HELLO_GROUP_P256, TLS_GROUPS_MAX);
        if (group != HELLO_GROUP_X25519MLKEM768 && (group == first || both)) {
            *ret_temp_bytes = 32;
            return true;
        }
    }
    return false;
}
