/* SPDX-License-Identifier: Apache-2.0 */
/* control/propagation/dnsmsg.h - reads a DNS answer: RFC 1035 section 4.
 * Thread: any.   Owns: nothing; a message is a view of the bytes it was opened on.
 * Never: allocates (but for TXT values); follows a compression pointer forwards or for ever; reads
 * past the end, whatever the bytes. */
#pragma once

#include "base/buf.h"
#include "base/net.h"
#include "base/result.h"

/* A name as text with a final dot, lower case, odd bytes as \DDD. */
#define DNSMSG_NAME_BYTES 1025

enum {
    DNSMSG_A = 1,
    DNSMSG_NS = 2,
    DNSMSG_CNAME = 5,
    DNSMSG_SOA = 6,
    DNSMSG_TXT = 16,
    DNSMSG_AAAA = 28,
    DNSMSG_CAA = 257
};
enum { DNSMSG_NOERROR = 0, DNSMSG_SERVFAIL = 2, DNSMSG_NXDOMAIN = 3, DNSMSG_REFUSED = 5 };
enum dnsmsg_section { DNSMSG_ANSWER = 1, DNSMSG_AUTHORITY = 2, DNSMSG_ADDITIONAL = 3 };

struct dnsmsg {
    struct span bytes;
    uint16_t flags;
    uint16_t counts[4];
    size_t at;        /* of the next record */
    unsigned section; /* of the next record, with how many are left in it */
    unsigned left;
    bool bad;
};

struct dnsmsg_record {
    enum dnsmsg_section section;
    char name[DNSMSG_NAME_BYTES];
    uint16_t type, class;
    uint32_t ttl_s;
    size_t rdata_at, rdata_bytes;
};

/* Checks the header and skips the questions. ERR_FORMAT. */
struct result dnsmsg_open(struct span bytes, struct dnsmsg *ret);
/* The next record of any section; false after the last, or with m->bad when the message is damaged.
 */
bool dnsmsg_next(struct dnsmsg *m, struct dnsmsg_record *ret);
static inline unsigned dnsmsg_rcode(const struct dnsmsg *m)
{
    return m->flags & 15u;
}
static inline bool dnsmsg_is_authoritative(const struct dnsmsg *m)
{
    return m->flags & 0x0400;
}
/* Decodes the name at `at` (an offset into the message) and sets *ret_end behind it. */
bool dnsmsg_name(const struct dnsmsg *m, size_t at, char out[DNSMSG_NAME_BYTES], size_t *ret_end);
/* The name that is the data of a CNAME or NS record. */
bool dnsmsg_target(const struct dnsmsg *m, const struct dnsmsg_record *r,
                   char out[DNSMSG_NAME_BYTES]);
/* The address in an A or AAAA record, with port 0; false for any other. */
bool dnsmsg_address(const struct dnsmsg *m, const struct dnsmsg_record *r, struct net_addr *ret);
/* Appends the strings of a TXT record, joined. */
bool dnsmsg_txt(const struct dnsmsg *m, const struct dnsmsg_record *r, struct buf *out);
/* For how long the zone lets a negative answer be kept: RFC 2308 section 5. */
bool dnsmsg_negative_ttl(const struct dnsmsg *m, const struct dnsmsg_record *soa, uint32_t *ret_s);
/* "NOERROR", "NXDOMAIN", ... or "rcode N". Static memory. */
const char *dnsmsg_rcode_text(unsigned rcode);

/* Text names, with or without final dot: equal without regard to case. */
bool dnsmsg_name_eq(const char *a, const char *b);
/* Writes `name` in lower case with a final dot. False when it is too long for DNS or empty. */
bool dnsmsg_name_normal(const char *name, char out[DNSMSG_NAME_BYTES]);
/* What follows the first label; NULL for the root. */
const char *dnsmsg_name_parent(const char *name);
