/* SPDX-License-Identifier: Apache-2.0 */
/* A primary server of one zone that takes updates (RFC 2136) without signatures. */
#include "kit.h"

#include "control/propagation/dnsmsg.h"

#include <string.h>

#define TYPE_ANY      255
#define CLASS_IN      1
#define CLASS_NONE    254
#define CLASS_ANY     255
#define NOTAUTH       9
#define OPCODE_UPDATE 5

static bool is_in_zone(const char *name)
{
    size_t n = strlen(name), zone = strlen(KIT_ZONE);
    return n >= zone && strcasecmp(name + n - zone, KIT_ZONE) == 0 &&
           (n == zone || name[n - zone - 1] == '.');
}

static void put_name(struct buf *out, const char *name)
{
    for (const char *at = name; *at && *at != '.';) {
        size_t len = strcspn(at, ".");
        buf_put_be(out, len, 1);
        buf_put(out, at, len);
        at += len + (at[len] == '.');
    }
    buf_put_be(out, 0, 1);
}

static void put_record(struct buf *out, const char *name, uint16_t type, const void *rdata,
                       size_t len)
{
    put_name(out, name);
    buf_put_be(out, type, 2);
    buf_put_be(out, CLASS_IN, 2);
    buf_put_be(out, 60, 4);
    buf_put_be(out, len, 2);
    buf_put(out, rdata, len);
}

static void put_soa(struct buf *out)
{
    struct buf rdata = {0};
    put_name(&rdata, "ns1." KIT_ZONE);
    put_name(&rdata, "hostmaster." KIT_ZONE);
    for (int i = 0; i < 5; i++)
        buf_put_be(&rdata, 60, 4);
    put_record(out, KIT_ZONE, DNSMSG_SOA, rdata.ptr, rdata.len);
    buf_free(&rdata);
}

/* Appends the answer section for a question; returns how many records it has. */
static unsigned answer_question(struct kit *k, const char *name, unsigned type, struct buf *out)
{
    unsigned count = 0;
    if (type == DNSMSG_SOA && strcasecmp(name, KIT_ZONE) == 0) {
        put_soa(out);
        return 1;
    }
    for (uint32_t i = 0; type == DNSMSG_TXT && i < k->record_count; i++) {
        const struct kit_record *r = &k->records[i];
        if (strcasecmp(r->name, name) != 0)
            continue;
        char rdata[KIT_NAME_BYTES + 1];
        size_t len = strlen(r->value);
        rdata[0] = (char)len;
        memcpy(rdata + 1, r->value, len);
        put_record(out, name, DNSMSG_TXT, rdata, len + 1);
        count++;
    }
    return count;
}

/* Applies the update section (which stands where answers have their authority). */
static unsigned apply_update(struct kit *k, struct dnsmsg m, const char *zone)
{
    struct dnsmsg_record r;
    if (strcasecmp(zone, KIT_ZONE) != 0)
        return NOTAUTH;
    while (dnsmsg_next(&m, &r)) {
        struct buf value = {0};
        if (r.section != DNSMSG_AUTHORITY || (r.type != DNSMSG_TXT && r.type != TYPE_ANY))
            continue;
        if (!is_in_zone(r.name) || !dnsmsg_txt(&m, &r, &value)) {
            buf_free(&value);
            return 1; /* FORMERR */
        }
        struct kit_record *there = world_find(k, r.name, buf_cstr(&value));
        if (r.class == CLASS_IN && !there)
            world_add(k, r.name, buf_cstr(&value));
        else if (r.class == CLASS_NONE && there)
            world_remove(k, there);
        else if (r.class == CLASS_ANY)
            world_remove_all(k, r.name);
        buf_free(&value);
    }
    return m.bad ? 1 : DNSMSG_NOERROR;
}

static unsigned rcode_of(enum kit_fault fault)
{
    return fault == FAULT_REFUSED    ? DNSMSG_REFUSED
           : fault == FAULT_SERVFAIL ? DNSMSG_SERVFAIL
           : fault == FAULT_AUTH     ? (unsigned)NOTAUTH
                                     : 0u;
}

/* The server: a message in, a message out. False when the message is damaged. */
static bool serve(struct kit *k, struct span in, enum kit_fault fault, struct buf *out)
{
    struct dnsmsg m;
    char name[DNSMSG_NAME_BYTES];
    size_t at = 0;
    if (!result_is_ok(dnsmsg_open(in, &m)) || m.counts[0] != 1 || !dnsmsg_name(&m, 12, name, &at))
        return false;
    unsigned opcode = m.flags >> 11 & 15, type = (unsigned)in.ptr[at] << 8 | in.ptr[at + 1],
             count = 0;
    unsigned rcode = rcode_of(fault);
    struct buf answers = {0};
    if (!rcode && fault != FAULT_TRUNCATED) {
        if (opcode == OPCODE_UPDATE)
            rcode = apply_update(k, m, name);
        else if (!is_in_zone(name))
            rcode = DNSMSG_REFUSED;
        else if (!(count = answer_question(k, name, type, &answers)))
            rcode = strcasecmp(name, KIT_ZONE) ? DNSMSG_NXDOMAIN : DNSMSG_NOERROR;
    }
    buf_put(out, in.ptr, 2);
    buf_put_be(out, 0x8400u | opcode << 11 | rcode | (fault == FAULT_TRUNCATED ? 0x0200u : 0u), 2);
    buf_put_be(out, 1, 2);
    buf_put_be(out, count, 2);
    buf_put_be(out, 0, 4);
    buf_put(out, in.ptr + 12, at + 4 - 12);
    buf_put_span(out, buf_span(&answers));
    buf_free(&answers);
    return true;
}

int32_t fake_dns_exchange(const struct ferrule_host *host, const struct ferrule_dns_exchange *x,
                          struct ferrule_buf *reply, struct ferrule_error *error)
{
    struct kit *k = kit_of(host);
    enum kit_fault fault = kit_count_call(k);
    if (fault == FAULT_TRUNCATED && (x->flags & FERRULE_DNS_TCP))
        fault = FAULT_NONE;
    int32_t status = fault == FAULT_LOST ? FERRULE_OK : kit_fail_transport(k, fault, error);
    if (status != FERRULE_OK)
        return status;
    struct buf out = {0};
    if (!serve(k, span_of(x->message.ptr, x->message.len), fault, &out))
        status = services_fail(error, FERRULE_TIMEOUT, "the message was damaged: no answer");
    if (fault == FAULT_LOST)
        status = kit_fail_transport(k, fault, error);
    if (fault == FAULT_GARBAGE)
        out.len /= 2;
    if (fault == FAULT_EMPTY && out.len > 12)
        out.len = 12;
    if (status == FERRULE_OK)
        status = host->buf_put(reply, out.ptr, out.len);
    buf_free(&out);
    return status;
}

int32_t fake_dns_query(const struct ferrule_host *host, const struct ferrule_dns_query *query,
                       struct ferrule_buf *reply, struct ferrule_error *error)
{
    struct buf message = {0};
    char name[KIT_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)(query->name.len < 255 ? query->name.len : 255),
             query->name.ptr);
    buf_put_be(&message, 0x4711, 2);
    buf_put_be(&message, 0x0100, 2);
    buf_put_be(&message, 1, 2);
    buf_put_be(&message, 0, 6);
    put_name(&message, name);
    buf_put_be(&message, query->type, 2);
    buf_put_be(&message, CLASS_IN, 2);
    struct ferrule_dns_exchange x = {.size = sizeof x, .flags = FERRULE_DNS_TCP};
    x.message = (struct ferrule_str){(const char *)message.ptr, message.len};
    int32_t status = fake_dns_exchange(host, &x, reply, error);
    buf_free(&message);
    return status;
}
