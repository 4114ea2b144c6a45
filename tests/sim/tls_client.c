/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_client.h"

#include "base/must.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <stdlib.h>

struct tls_client {
    WOLFSSL_CTX *ctx;
    WOLFSSL *ssl;
    struct buf in, out;
    bool established, closed;
};

static int on_recv(WOLFSSL *ssl, char *p, int n, void *arg)
{
    struct tls_client *t = arg;
    if (t->in.len == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    size_t take = (size_t)n < t->in.len ? (size_t)n : t->in.len;
    memcpy(p, t->in.ptr, take);
    buf_consume(&t->in, take);
    return (int)take;
}

static int on_send(WOLFSSL *ssl, char *p, int n, void *arg)
{
    struct tls_client *t = arg;
    buf_put(&t->out, p, (size_t)n);
    return n;
}

struct tls_client *tls_client_create(bool tls12)
{
    struct tls_client *t = mem_zalloc(sizeof *t);
    t->ctx = wolfSSL_CTX_new(tls12 ? wolfTLSv1_2_client_method() : wolfTLSv1_3_client_method());
    must(t->ctx);
    wolfSSL_CTX_set_verify(t->ctx, WOLFSSL_VERIFY_NONE, NULL);
    wolfSSL_CTX_SetIORecv(t->ctx, on_recv);
    wolfSSL_CTX_SetIOSend(t->ctx, on_send);
    t->ssl = wolfSSL_new(t->ctx);
    must(t->ssl);
    wolfSSL_SetIOReadCtx(t->ssl, t);
    wolfSSL_SetIOWriteCtx(t->ssl, t);
    must(wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, "a.test", 6) == WOLFSSL_SUCCESS);
    return t;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    wolfSSL_free(t->ssl);
    wolfSSL_CTX_free(t->ctx);
    buf_free(&t->in);
    buf_free(&t->out);
    free(t);
}

struct buf *tls_client_in(struct tls_client *t)
{
    return &t->in;
}

struct buf *tls_client_out(struct tls_client *t)
{
    return &t->out;
}

static bool wants_more(WOLFSSL *ssl, int ret)
{
    int error = wolfSSL_get_error(ssl, ret);
    return error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE;
}

bool tls_client_turn(struct tls_client *t, struct buf *plain_out, struct buf *plain_in)
{
    if (!t->established) {
        int ret = wolfSSL_connect(t->ssl);
        if (ret != WOLFSSL_SUCCESS)
            return wants_more(t->ssl, ret);
        t->established = true;
    }
    while (plain_out->len && t->out.len < 100000) {
        int n = plain_out->len < 16384 ? (int)plain_out->len : 16384;
        int ret = wolfSSL_write(t->ssl, plain_out->ptr, n);
        if (ret <= 0)
            return wants_more(t->ssl, ret);
        buf_consume(plain_out, (size_t)ret);
    }
    while (!t->closed) {
        uint8_t *place = buf_reserve(plain_in, 16384);
        int ret = wolfSSL_read(t->ssl, place, 16384);
        if (ret > 0) {
            plain_in->len += (size_t)ret;
            continue;
        }
        t->closed = wolfSSL_get_error(t->ssl, ret) == WOLFSSL_ERROR_ZERO_RETURN;
        return t->closed || wants_more(t->ssl, ret);
    }
    return true;
}

bool tls_client_is_closed(const struct tls_client *t)
{
    return t->closed;
}
