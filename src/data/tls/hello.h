/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/hello.h - reads a ClientHello before any TLS state exists (RFC 8446 section 4.1.2,
 * RFC 6066 section 3, RFC 7301).
 * Thread: the worker's.   Owns: nothing; the result is a value, no span of the input is kept.
 * Never: allocates, decrypts, trusts a length. The hello may span records and segments. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define HELLO_NAME_MAX  255
#define HELLO_ALPN_MAX  128
#define HELLO_BYTES_MAX 16640 /* handshake message and record headers; larger is refused */

/* Key exchange groups that ferrule knows. */
enum hello_group {
    HELLO_GROUP_X25519MLKEM768 = 1,
    HELLO_GROUP_X25519 = 2,
    HELLO_GROUP_P256 = 4,
    HELLO_GROUP_P384 = 8,
    HELLO_GROUP_P521 = 16,
};

struct hello {
    char name[HELLO_NAME_MAX + 1]; /* SNI host name, lower case, no final dot; "" = none */
    uint8_t name_len;
    bool name_refused;   /* SNI was sent but is no host name (IP literal, bad byte): as if none */
    bool tls13;          /* supported_versions holds 0x0304 */
    bool tls12;          /* legacy or supported version holds 0x0303 */
    bool ecdsa;          /* a signature algorithm and suite that an ECDSA certificate can use */
    bool rsa;            /* one of each that an RSA certificate can use */
    bool alpn_h2;        /* offered protocols: "h2", */
    bool alpn_http11;    /* "http/1.1", */
    bool alpn_acme;      /* "acme-tls/1" and nothing else (RFC 8737 section 3) */
    bool has_alpn;       /* the extension is there, with known protocols or not */
    bool wants_staple;   /* asks for an OCSP response with the certificate (RFC 6066 section 8) */
    bool has_ticket;     /* offers a ticket or PSK: probably a resumption */
    bool has_early_data; /* sends 0-RTT data behind the hello, which is not accepted */
    bool has_groups;     /* names the groups it can use, */
    uint8_t groups;      /* these: bits of enum hello_group */
    uint8_t group32;     /* the first of X25519 and P-256 that it names, or 0 */
    uint8_t records;     /* that it came in: 1, or 2 for more */
    uint8_t alpn_len;    /* offered protocols as they came, each behind its length; what does not */
    uint8_t alpn[HELLO_ALPN_MAX]; /* fit is left out */
    uint16_t ticket_len;          /* bytes of a TLS 1.2 ticket (RFC 5077), 0 = none */
};

/* Looks at the first `in.len` bytes of a connection; called again with more of them until it does
 * not answer ERR_AGAIN. What stands behind the hello is not looked at.
 * ERR_AGAIN: well-formed so far, more is needed. ERR_PEER_PROTOCOL: not a TLS handshake record or
 * not a ClientHello, said at the first byte that cannot be one. ERR_FORMAT: malformed hello.
 * ERR_TOO_LARGE: needs more than HELLO_BYTES_MAX, said as soon as its length has been read.
 * On success *ret is filled; a hello of a version that nobody speaks any more succeeds (with
 * neither tls12 nor tls13), so that the session answers it with the alert that fits. */
struct result hello_parse(struct span in, struct hello *ret);

/* Makes one record of a hello that hello_parse() has found in several: wolfSSL does not put the
 * header of a message together that is spread over records (RFC 8446 section 5.1 allows it).
 * in: from the start of the connection, changed in place. Gives how many bytes in front of it are
 * now void; the record and what followed the hello stand behind them. */
size_t hello_join(uint8_t *in, size_t len);
