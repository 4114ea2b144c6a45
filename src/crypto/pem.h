/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/pem.h - walking over the blocks of a PEM text (RFC 7468).
 * Thread: any.   Owns: nothing.
 * Never: decrypts; text outside blocks is ignored. Private to src/crypto. */
#pragma once

#include "base/buf.h"
#include "base/result.h"

struct pem_block {
    struct span label; /* inside the text that was given */
    struct buf der;    /* the caller wipes or frees it */
    bool encrypted;    /* has a Proc-Type header (RFC 1421): der is empty */
};

/* The next block of *text, which moves behind it. LF, CRLF and CR line ends are taken.
 * ERR_NOT_FOUND: no further block. ERR_FORMAT: a block without end, or not base64. */
struct result pem_next(struct span *text, struct pem_block *ret);
/* Appends a block with lines of 64 characters. */
void pem_put(struct buf *out, const char *label, struct span der);
