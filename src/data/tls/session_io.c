/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/session_io.h"

#include "base/must.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define HEADER_BYTES 5

/* Follows the record boundaries in the bytes that wolfSSL takes. */
static void follow_records(struct tls_session *s, const uint8_t *p, size_t n)
{
    while (n) {
        if (s->head_have < HEADER_BYTES) {
            if (s->head_have >= 3)
                s->body_left = (uint16_t)(s->body_left << 8 | *p);
            s->head_have++;
            p++;
            n--;
        } else {
            size_t part = n < s->body_left ? n : s->body_left;
            s->body_left = (uint16_t)(s->body_left - part);
            p += part;
            n -= part;
        }
        if (s->head_have == HEADER_BYTES && s->body_left == 0)
            s->head_have = 0;
    }
}

/* A record is begun only when there is room to answer it: wolfSSL could not take up a KeyUpdate
 * again whose answer it could not send. (A handshake it can, so there any room will do.) */
static bool is_starved(const struct tls_session *s)
{
    return s->phase != SESSION_PHASE_HANDSHAKE && s->head_have == 0 &&
           s->io->out->cap - s->io->out->len < TLS_ANSWER_ROOM;
}

int session_io_receive(WOLFSSL *ssl, char *buf, int size, void *arg)
{
    struct tls_session *s = arg;
    must(s->io && size >= 0);
    if (s->early) {
        size_t n = early_receive(s->early, &s->io->in, buf, (size_t)size);
        return n ? (int)n : WOLFSSL_CBIO_ERR_WANT_READ;
    }
    struct span part = span_first(s->io->in, (size_t)size);
    if (part.len == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    if (is_starved(s)) {
        s->starved = true;
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    memcpy(buf, part.ptr, part.len);
    s->io->in = span_skip(s->io->in, part.len);
    follow_records(s, part.ptr, part.len);
    return (int)part.len;
}

int session_io_send(WOLFSSL *ssl, char *buf, int size, void *arg)
{
    struct tls_session *s = arg;
    must(s->io && size >= 0);
    struct writer *out = s->io->out;
    size_t room = out->cap - out->len;
    size_t part = (size_t)size < room ? (size_t)size : room;

    if (part == 0)
        return WOLFSSL_CBIO_ERR_WANT_WRITE;
    writer_bytes(out, buf, part);
    return (int)part;
}

int session_io_status(WOLFSSL *ssl, void *arg)
{
    const struct tls_session *s = wolfSSL_GetIOReadCtx(ssl);
    must(s && s->io);
    return s->has_staple ? WOLFSSL_OCSP_STATUS_CB_OK : WOLFSSL_OCSP_STATUS_CB_NOACK;
}

int session_io_ticket(WOLFSSL *ssl, unsigned char name[TICKET_NAME_BYTES],
                      unsigned char iv[TICKET_IV_BYTES], unsigned char mac[TICKET_MAC_BYTES],
                      int seal, unsigned char *data, int len, int *ret_len, void *arg)
{
    const struct tls_session *s = wolfSSL_GetIOReadCtx(ssl);
    must(s && s->io && len >= 0);
    struct ticket_parts t = {name, iv, mac, data, (size_t)len};

    *ret_len = len;
    if (seal)
        return result_is_ok(ticket_seal(s->io->keys, s->binding, &t)) ? WOLFSSL_TICKET_RET_OK
                                                                      : WOLFSSL_TICKET_RET_FATAL;
    switch (ticket_open(s->io->keys, s->binding, &t)) {
    case TICKET_OPENED:
        return WOLFSSL_TICKET_RET_OK;
    case TICKET_OPENED_OLD:
        /* TLS 1.3 sends a new ticket after each handshake and takes no other answer for one. */
        return wolfSSL_GetVersion(ssl) == WOLFSSL_TLSV1_3 ? WOLFSSL_TICKET_RET_OK
                                                          : WOLFSSL_TICKET_RET_CREATE;
    case TICKET_REJECTED:
        break;
    }
    return WOLFSSL_TICKET_RET_REJECT;
}
