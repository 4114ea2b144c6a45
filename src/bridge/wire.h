/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/wire.h - the frame around each message between control and data, and its fields.
 * Thread: any.   Owns: nothing.
 * Never: trusts a length; used outside bridge/. Frame: magic (4 bytes), version, type, two zero
 * bytes, length of what follows (4). All numbers are big-endian. */
#pragma once

#include "base/buf.h"
#include "base/net.h"
#include "base/result.h"

#define WIRE_MAGIC        0x46455242u /* "FERB" */
#define WIRE_VERSION      1
#define WIRE_HEADER_BYTES 12
/* A snapshot grows with the number of routers; everything else is one item. */
#define WIRE_BYTES_MAX          (16u << 20)
#define WIRE_SNAPSHOT_BYTES_MAX (256u << 20)

enum wire_type {
    WIRE_SYNC_BEGIN = 1,
    WIRE_SYNC_END,
    WIRE_SNAPSHOT,
    WIRE_CERT,
    WIRE_NAME,
    WIRE_NAME_REMOVE,
    WIRE_TICKET_KEYS,
    WIRE_SERVER,
    WIRE_HTTP_CHALLENGE,
    WIRE_HTTP_CHALLENGE_REMOVE,
    WIRE_TLS_CHALLENGE,
    WIRE_TLS_CHALLENGE_REMOVE,
    WIRE_FENCE,
    WIRE_STAPLE,
    WIRE_WARM_NAME,
    WIRE_COLD_NAME,
    WIRE_WANTED, /* from data to control, as are fences that come back */
    WIRE_TYPE_END
};

struct wire_message {
    enum wire_type type;
    struct span body; /* inside the bytes that were given */
};

/* Opens a message; its body is appended next; wire_end() closes it with the mark. The body has to
 * fit the limit of its type (programmer error). */
size_t wire_begin(struct buf *out, enum wire_type type);
void wire_end(struct buf *out, size_t mark);

/* The message at the start of `in`. ret_used: its bytes with the frame.
 * ERR_AGAIN: incomplete so far (`in` may be empty). ERR_FORMAT, ERR_VERSION. */
struct result wire_next(struct span in, struct wire_message *ret, size_t *ret_used);

/* Bytes behind a 4-byte length. */
void wire_put_span(struct buf *out, struct span s);
/* Bad bytes make the reader bad, as with reader_be(). */
struct span wire_get_span(struct reader *in);
/* 0 or 1; anything else makes the reader bad. */
bool wire_get_bool(struct reader *in);
void wire_put_addr(struct buf *out, const struct net_addr *a);
struct net_addr wire_get_addr(struct reader *in);
