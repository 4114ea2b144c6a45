/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/hello.h - reads a ClientHello before any TLS state exists (RFC 8446 section 4.1.2,
 * RFC 6066 section 3, RFC 7301).
 * Thread: the worker's.   Owns: nothing; spans point into the caller's bytes.
 * Never: allocates, decrypts, trusts a length. The hello may span records and segments. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define HELLO_NAME_MAX  255
#define HELLO_BYTES_MAX 16640 /* handshake message and record headers; larger is refused */

struct hello {
    char name[HELLO_NAME_MAX + 1]; /* SNI host name, lower case, no final dot; "" = none */
    uint8_t name_len;
    bool tls13; /* supported_versions holds 0x0304 */
    bool tls12; /* legacy or supported version holds 0x0303 */
    bool ecdsa; /* a signature algorithm that an ECDSA certificate can use */
    bool rsa;   /* one that an RSA certificate can use */
    bool alpn_h2, alpn_http11, alpn_acme; /* offered protocols (acme-tls/1) */
    bool has_alpn;
    bool has_ticket; /* offers a ticket or PSK: probably a resumption */
    bool has_mlkem;  /* offers the group X25519MLKEM768 */
};

/* Looks at the first `in.len` bytes of a connection.
 * ERR_AGAIN: well-formed so far, more is needed. ERR_PEER_PROTOCOL: not a TLS handshake record or
 * not a ClientHello. ERR_FORMAT: malformed hello. ERR_TOO_LARGE. On success *ret is filled. */
struct result hello_parse(struct span in, struct hello *ret);
