/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/der.h - reading and writing the DER subset that keys and certificates use (X.690).
 * Thread: any.   Owns: nothing.
 * Never: reads past its span, accepts indefinite or non-minimal lengths, recurses. Private to
 * src/crypto. */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "base/span.h"

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_ENUMERATED = 0x0a,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_TELETEX_STRING = 0x14,
    DER_IA5_STRING = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_BMP_STRING = 0x1e,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
};
/* Context-specific tags: primitive and constructed. */
#define DER_CONTEXT(n)     (0x80 | (n))
#define DER_CONSTRUCTED(n) (0xa0 | (n))

/* The next element of *in, whatever its tag (one byte; longer forms are refused): its tag, its
 * content, and all its bytes (any may be NULL). *in moves behind it; ret_value may be `in` itself,
 * which then enters the element. ERR_FORMAT. */
struct result der_any(struct span *in, uint8_t *ret_tag, struct span *ret_value,
                      struct span *ret_whole);
/* As der_any, but the tag has to be this one. ERR_FORMAT. */
struct result der_get(struct span *in, uint8_t tag, struct span *ret_value);
/* True when *in starts with this tag: only looks. */
bool der_is(struct span in, uint8_t tag);
/* A non-negative INTEGER without its sign byte. ERR_FORMAT. */
struct result der_get_unsigned(struct span *in, struct span *ret_value);
/* A small non-negative INTEGER, 0..2^31-1. ERR_FORMAT. */
struct result der_get_small(struct span *in, uint32_t *ret);
/* A BIT STRING of whole bytes. ERR_FORMAT. */
struct result der_get_bits(struct span *in, struct span *ret_value);
/* UTCTime or GeneralizedTime in the only forms of RFC 5280 4.1.2.5 (with seconds, in Z), as seconds
 * of the wall clock. ERR_FORMAT. */
struct result der_get_time(struct span *in, int64_t *ret);

/* Opens an element; its content is appended next; der_end() puts the length in.
 * Elements nest; the marks are closed in reverse order. */
size_t der_begin(struct buf *out, uint8_t tag);
void der_end(struct buf *out, size_t mark);
/* A whole element. */
void der_put(struct buf *out, uint8_t tag, struct span value);
/* A non-negative INTEGER from big-endian bytes; leading zeros are dropped, a sign byte added. */
void der_put_unsigned(struct buf *out, struct span value);
/* A BIT STRING of whole bytes. */
void der_put_bits(struct buf *out, struct span value);
