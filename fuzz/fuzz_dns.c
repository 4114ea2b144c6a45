/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: dnsmsg_open dnsmsg_next dnsmsg_name dnsmsg_txt dnsmsg_negative_ttl (control), and
 * dns_message_read dns_read_name dns_read_record (rfc2136), which must agree. */
#include "fuzz.h"

#include "control/propagation/dnsmsg.h"
#include "rfc2136/dns.c"

static void check_record(const struct dnsmsg *m, const struct dnsmsg_record *r)
{
    char name[DNSMSG_NAME_BYTES];
    uint32_t ttl_s;
    struct buf text = {0};
    must(r->rdata_at + r->rdata_bytes <= m->bytes.len);
    must(r->name[0] && r->name[strlen(r->name) - 1] == '.');
    if (dnsmsg_target(m, r, name))
        must(strlen(name) < sizeof name);
    (void)dnsmsg_negative_ttl(m, r, &ttl_s);
    if (dnsmsg_txt(m, r, &text))
        must(text.len <= r->rdata_bytes);
    buf_free(&text);
}

/* The records that rfc2136's reader finds. */
static unsigned count_records(const struct dns_message *m)
{
    unsigned count = 0, all = m->counts[1] + m->counts[2] + m->counts[3];
    size_t at = dns_skip_questions(m);
    struct dns_record r;
    while (at && count < all && dns_read_record(m, &at, &r)) {
        char text[DNS_TEXT_BYTES];
        must(strlen(dns_name_text(&r.name, text)) < sizeof text);
        must(dns_name_is_in(&r.name, &r.name));
        count++;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dnsmsg m;
    struct dns_message other;
    bool open = result_is_ok(dnsmsg_open(span_of(data, size), &m));
    if (!dns_message_read((struct ferrule_str){(const char *)data, size}, &other)) {
        must(!open);
        return 0;
    }
    must(open == (dns_skip_questions(&other) != 0));
    unsigned count = 0;
    struct dnsmsg_record r;
    while (open && dnsmsg_next(&m, &r)) {
        check_record(&m, &r);
        count++;
    }
    must(count == count_records(&other));
    struct dns_name name;
    if (dns_name_parse((struct ferrule_str){(const char *)data, size}, &name))
        must(name.len <= DNS_NAME_BYTES && dns_name_labels(&name) < 128);
    return 0;
}
