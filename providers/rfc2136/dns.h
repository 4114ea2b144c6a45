/* SPDX-License-Identifier: Apache-2.0 */
/* rfc2136/dns.h - DNS names and messages: writing a query or an update, reading an answer.
 * Thread: the caller's.   Owns: nothing; a message read is a view of the caller's bytes.
 * Never: allocates; follows a compression pointer forwards or for ever; reads past the end. */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

#define DNS_HEADER_BYTES 12
#define DNS_NAME_BYTES   255
#define DNS_TEXT_BYTES   1025 /* a name as text, every byte escaped */
#define DNS_RCODE_BYTES  20

enum { DNS_TYPE_SOA = 6, DNS_TYPE_TXT = 16, DNS_TYPE_OPT = 41, DNS_TYPE_TSIG = 250 };
enum { DNS_CLASS_IN = 1, DNS_CLASS_NONE = 254, DNS_CLASS_ANY = 255 };
enum { DNS_OPCODE_QUERY = 0, DNS_OPCODE_UPDATE = 5 };
enum {
    DNS_RCODE_OK = 0,
    DNS_RCODE_FORMERR = 1,
    DNS_RCODE_SERVFAIL = 2,
    DNS_RCODE_NXDOMAIN = 3,
    DNS_RCODE_NOTIMP = 4,
    DNS_RCODE_REFUSED = 5,
    DNS_RCODE_NOTAUTH = 9,
    DNS_RCODE_NOTZONE = 10,
};

/* In wire format, lower case, uncompressed, with the root's zero byte. */
struct dns_name {
    uint8_t wire[DNS_NAME_BYTES];
    size_t len;
};

/* Text with or without a final dot; no escapes. False when it is no name. */
bool dns_name_parse(struct ferrule_str text, struct dns_name *ret);
/* With final dot; bytes that are not printable as \DDD (RFC 1035 section 5.1). Returns `out`. */
const char *dns_name_text(const struct dns_name *name, char out[DNS_TEXT_BYTES]);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
/* Whether name is zone or stands below it, on label boundaries. */
bool dns_name_is_in(const struct dns_name *name, const struct dns_name *zone);
/* Takes the first label off. False for the root. */
bool dns_name_parent(struct dns_name *name);
uint32_t dns_name_labels(const struct dns_name *name);

/* Writes into the caller's memory; `bad` once it did not fit. */
struct dns_writer {
    uint8_t *ptr;
    size_t cap, len;
    bool bad;
};

void dns_put(struct dns_writer *w, const void *ptr, size_t len);
void dns_put_u16(struct dns_writer *w, uint32_t v);
void dns_put_u32(struct dns_writer *w, uint32_t v);
/* A question for name, with RD set and EDNS (RFC 6891) of 1,232 bytes. */
void dns_put_query(struct dns_writer *w, uint16_t id, const struct dns_name *name, uint16_t type);
/* RFC 2136: the head of an update of `zone` with `records` changes to follow. */
void dns_put_update(struct dns_writer *w, uint16_t id, const struct dns_name *zone,
                    uint16_t records);
/* One change: adds the TXT value to name's set (section 2.5.1), or deletes this one value from it
 * (section 2.5.4). value at most 255 bytes. */
void dns_put_change(struct dns_writer *w, const struct dns_name *name, struct ferrule_str value,
                    uint32_t ttl_s, bool add);

/* A message received. */
struct dns_message {
    const uint8_t *ptr;
    size_t len;
    uint16_t id, flags;
    uint16_t counts[4]; /* question, answer, authority, additional; zone, prerequisite, ... */
};

struct dns_record {
    struct dns_name name;
    uint16_t type, class;
    uint32_t ttl_s;
    size_t start;            /* offset of the record in the message */
    size_t rdata, rdata_len; /* offset and length, inside the message */
};

/* False when the bytes are no message header. */
bool dns_message_read(struct ferrule_str bytes, struct dns_message *ret);
static inline unsigned dns_message_rcode(const struct dns_message *m)
{
    return m->flags & 15u;
}
static inline bool dns_message_is_truncated(const struct dns_message *m)
{
    return m->flags & 0x0200;
}
/* Offset behind the question section, 0 when the message is damaged. */
size_t dns_skip_questions(const struct dns_message *m);
/* Reads the name at *offset, following pointers, and moves *offset behind it. */
bool dns_read_name(const struct dns_message *m, size_t *offset, struct dns_name *ret);
/* Reads the record at *offset and moves *offset behind it. */
bool dns_read_record(const struct dns_message *m, size_t *offset, struct dns_record *ret);
/* "NOERROR", "REFUSED", ...; "rcode N" in `out` for others. */
const char *dns_rcode_text(unsigned rcode, char out[DNS_RCODE_BYTES]);
