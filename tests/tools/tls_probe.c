/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS client for end-to-end tests, on wolfSSL: it has X25519MLKEM768, which the distribution's
 * OpenSSL and curl have not. Connects, prints what was negotiated as `key=value` lines, and exits
 * with 0; 1 when there is no connection, no handshake or, with --ca, no valid certificate; 2 when
 * called wrongly. */
#include "base/buf.h"
#include "base/net.h"
#include "crypto/x509.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CHAIN_MAX 10

static const struct {
    const char *name;
    int number;
} group_names[] = {{"X25519MLKEM768", WOLFSSL_X25519MLKEM768},
                   {"X25519", WOLFSSL_ECC_X25519},
                   {"P-256", WOLFSSL_ECC_SECP256R1},
                   {"P-384", WOLFSSL_ECC_SECP384R1},
                   {"P-521", WOLFSSL_ECC_SECP521R1}};

static struct {
    struct net_addr address;
    const char *sni, *ca, *groups, *suites, *alpn, *get;
    int min, max; /* 12 or 13 */
    bool resume;
    int timeout_s;
} opt = {.min = 12, .max = 13, .timeout_s = 10};

/* What the server sent, taken by verify_any(). */
static struct {
    struct buf certs[CHAIN_MAX];
    int count;
} chain;

static bool ticket_came;

static _Noreturn void usage(const char *what)
{
    fprintf(stderr,
            "tls_probe: %s\nusage: tls_probe ADDRESS:PORT [--sni NAME] [--ca FILE] [--min 1.2|1.3] "
            "[--max 1.2|1.3]\n  [--groups A:B] [--suites A:B] [--alpn A,B] [--get PATH] [--resume] "
            "[--timeout SECONDS]\n",
            what);
    exit(2);
}

static _Noreturn void fail(const char *what, WOLFSSL *ssl, int ret)
{
    char text[WOLFSSL_MAX_ERROR_SZ];
    int error = ssl ? wolfSSL_get_error(ssl, ret) : ret;
    printf("error=%s: %s (%d)\n", what, wolfSSL_ERR_error_string((unsigned long)error, text),
           error);
    if (ssl) {
        WOLFSSL_ALERT_HISTORY alerts;
        if (wolfSSL_get_alert_history(ssl, &alerts) == WOLFSSL_SUCCESS && alerts.last_rx.code >= 0)
            printf("alert=%d\n", alerts.last_rx.code);
    }
    exit(1);
}

/* wolfSSL has no authorities here, so every chain comes by this way; it is judged later. */
static int verify_any(int good, WOLFSSL_X509_STORE_CTX *store)
{
    if (chain.count)
        return 1;
    for (int i = 0; i < store->totalCerts && i < CHAIN_MAX; i++)
        buf_put(&chain.certs[chain.count++], store->certs[i].buffer, store->certs[i].length);
    return 1;
}

static int on_ticket(WOLFSSL *ssl, const unsigned char *ticket, int len, void *arg)
{
    ticket_came = true;
    return 0;
}

/* Is the chain signed by an authority of the file? */
static bool chain_is_valid(void)
{
    WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
    bool good = cm && wolfSSL_CertManagerLoadCA(cm, opt.ca, NULL) == WOLFSSL_SUCCESS;
    if (!good)
        fprintf(stderr, "tls_probe: no authority in %s\n", opt.ca);
    for (int i = chain.count - 1; i >= 0 && good; i--) {
        good = wolfSSL_CertManagerVerifyBuffer(cm, chain.certs[i].ptr, (long)chain.certs[i].len,
                                               WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
        if (good && i)
            good = wolfSSL_CertManagerLoadCABuffer(cm, chain.certs[i].ptr, (long)chain.certs[i].len,
                                                   WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
    }
    wolfSSL_CertManagerFree(cm);
    return good && chain.count;
}

/* Prints the leaf; false when --ca was given and the chain or the name is not good. */
static bool print_certificate(void)
{
    struct x509 leaf;
    struct why why;
    bool named = !opt.sni, good = true;

    printf("chain=%d\n", chain.count);
    if (chain.count == 0)
        return true; /* resumed: none is sent */
    if (!result_is_ok(x509_parse(buf_span(&chain.certs[0]), &leaf, &why))) {
        printf("error=certificate: %s\n", why.text);
        return false;
    }
    printf("subject=%s\nissuer=%s\n", leaf.subject, leaf.issuer);
    for (uint32_t i = 0; i < leaf.name_count; i++) {
        printf("san=%s\n", leaf.names[i]);
        named |= opt.sni && x509_name_covers(leaf.names[i], opt.sni);
    }
    printf("serial=%s\nnot_after=%lld\nkey=%s\n", leaf.serial, (long long)leaf.not_after_s,
           leaf.is_rsa ? "RSA" : "EC");
    if (opt.ca) {
        good = chain_is_valid() && named;
        printf("verified=%s\n", good ? "yes" : "no");
    }
    x509_free(&leaf);
    return good;
}

static int connect_socket(void)
{
    struct timeval limit = {.tv_sec = opt.timeout_s};
    int fd = socket(opt.address.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
    if (fd < 0 || connect(fd, &opt.address.sa, opt.address.len) != 0) {
        printf("error=connect: %m\n");
        exit(1);
    }
    return fd;
}

static void set_groups(WOLFSSL *ssl)
{
    int groups[8], count = 0;
    for (struct span rest = span_str(opt.groups); rest.len;) {
        struct span word = span_first(rest, span_find(rest, ':'));
        int number = 0;
        rest = span_skip(rest, word.len + 1);
        for (size_t i = 0; i < sizeof group_names / sizeof group_names[0]; i++)
            if (span_eq_nocase(word, span_str(group_names[i].name)))
                number = group_names[i].number;
        if (!number || count == 8)
            usage("unknown group");
        groups[count++] = number;
    }
    if (wolfSSL_set_groups(ssl, groups, count) != WOLFSSL_SUCCESS)
        usage("wolfSSL refuses the groups");
    if (opt.max == 13)
        wolfSSL_UseKeyShare(ssl, (word16)groups[0]);
}

static WOLFSSL_CTX *make_context(void)
{
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(opt.max == 12   ? wolfTLSv1_2_client_method()
                                       : opt.min == 13 ? wolfTLSv1_3_client_method()
                                                       : wolfSSLv23_client_method());
    if (!ctx)
        fail("wolfSSL", NULL, MEMORY_E);
    wolfSSL_CTX_SetMinVersion(ctx, opt.min == 13 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2);
    wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER, verify_any);
    wolfSSL_CTX_UseSessionTicket(ctx);
    if (opt.suites && wolfSSL_CTX_set_cipher_list(ctx, opt.suites) != WOLFSSL_SUCCESS)
        usage("wolfSSL knows none of the suites");
    return ctx;
}

static WOLFSSL *handshake(WOLFSSL_CTX *ctx, WOLFSSL_SESSION *resume)
{
    WOLFSSL *ssl = wolfSSL_new(ctx);
    if (!ssl)
        fail("wolfSSL", NULL, MEMORY_E);
    if (opt.groups)
        set_groups(ssl);
    if (opt.sni)
        wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, opt.sni, (word16)strlen(opt.sni));
    if (opt.alpn) {
        char *list = mem_strdup(opt.alpn);
        wolfSSL_UseALPN(ssl, list, (unsigned)strlen(list), WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
        free(list);
    }
    wolfSSL_set_SessionTicket_cb(ssl, on_ticket, NULL);
    if (resume && wolfSSL_set_session(ssl, resume) != WOLFSSL_SUCCESS)
        fail("session", NULL, SESSION_TICKET_EXPECT_E);
    wolfSSL_set_fd(ssl, connect_socket());
    int r = wolfSSL_connect(ssl);
    if (r != WOLFSSL_SUCCESS)
        fail("handshake", ssl, r);
    return ssl;
}

static void finish(WOLFSSL *ssl)
{
    int fd = wolfSSL_get_fd(ssl);
    wolfSSL_shutdown(ssl);
    wolfSSL_free(ssl);
    close(fd);
}

static void request(WOLFSSL *ssl)
{
    struct buf text = {0};
    char answer[4096];
    buf_printf(&text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", opt.get,
               opt.sni ? opt.sni : "localhost");
    int r = wolfSSL_write(ssl, text.ptr, (int)text.len);
    if (r <= 0)
        fail("request", ssl, r);
    r = wolfSSL_read(ssl, answer, sizeof answer - 1);
    if (r <= 0)
        fail("answer", ssl, r);
    answer[r] = 0;
    printf("answer=%.*s\n", (int)strcspn(answer, "\r\n"), answer);
    buf_free(&text);
}

/* A second connection with the first one's ticket, which TLS 1.3 sends after the handshake. */
static WOLFSSL *connect_again(WOLFSSL_CTX *ctx, WOLFSSL *ssl)
{
    char byte;
    struct timeval soon = {.tv_usec = 100000};
    setsockopt(wolfSSL_get_fd(ssl), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    for (int tries = 0; !ticket_came && tries < opt.timeout_s * 10; tries++) {
        int r = wolfSSL_peek(ssl, &byte, 1);
        if (r > 0 || wolfSSL_get_error(ssl, r) != WOLFSSL_ERROR_WANT_READ)
            break;
    }
    if (!ticket_came)
        printf("ticket=no\n");
    WOLFSSL_SESSION *session = wolfSSL_get1_session(ssl);
    finish(ssl);
    ssl = handshake(ctx, session);
    wolfSSL_SESSION_free(session);
    return ssl;
}

static int version_of(const char *text)
{
    if (strcmp(text, "1.2") != 0 && strcmp(text, "1.3") != 0)
        usage("versions are 1.2 and 1.3");
    return text[2] == '3' ? 13 : 12;
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"sni", 1, NULL, 's'},    {"ca", 1, NULL, 'c'},     {"min", 1, NULL, 'm'},
        {"max", 1, NULL, 'M'},    {"groups", 1, NULL, 'g'}, {"suites", 1, NULL, 'u'},
        {"alpn", 1, NULL, 'a'},   {"get", 1, NULL, 'G'},    {"timeout", 1, NULL, 't'},
        {"resume", 0, NULL, 'r'}, {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 's':
            opt.sni = optarg;
            break;
        case 'c':
            opt.ca = optarg;
            break;
        case 'm':
            opt.min = version_of(optarg);
            break;
        case 'M':
            opt.max = version_of(optarg);
            break;
        case 'g':
            opt.groups = optarg;
            break;
        case 'u':
            opt.suites = optarg;
            break;
        case 'a':
            opt.alpn = optarg;
            break;
        case 'G':
            opt.get = optarg;
            break;
        case 't':
            opt.timeout_s = (int)strtol(optarg, NULL, 10);
            break;
        case 'r':
            opt.resume = true;
            break;
        default:
            usage("unknown option");
        }
    }
    if (optind + 1 != argc || opt.min > opt.max || opt.timeout_s < 1)
        usage("one address is needed, and options that make sense");
    if (!result_is_ok(net_addr_parse(span_str(argv[optind]), 0, &opt.address)))
        usage("ADDRESS:PORT must be numbers");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    wolfSSL_Init();
    WOLFSSL_CTX *ctx = make_context();
    WOLFSSL *ssl = handshake(ctx, NULL);
    if (opt.resume)
        ssl = connect_again(ctx, ssl);
    char *alpn = NULL;
    word16 alpn_len = 0;
    const char *group = wolfSSL_get_curve_name(ssl);
    bool has_alpn = wolfSSL_ALPN_GetProtocol(ssl, &alpn, &alpn_len) == WOLFSSL_SUCCESS;
    printf("version=%s\nsuite=%s\ngroup=%s\nalpn=%.*s\nresumed=%s\n", wolfSSL_get_version(ssl),
           wolfSSL_get_cipher_name(ssl), group ? group : "", has_alpn ? alpn_len : 0,
           has_alpn ? alpn : "", wolfSSL_session_reused(ssl) ? "yes" : "no");
    bool good = print_certificate();
    if (opt.get)
        request(ssl);
    finish(ssl);
    wolfSSL_CTX_free(ctx);
    wolfSSL_Cleanup();
    for (int i = 0; i < chain.count; i++)
        buf_free(&chain.certs[i]);
    return good ? 0 : 1;
}
