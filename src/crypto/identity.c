/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/identity.h"

#include "base/must.h"
#include "crypto/der.h"

#include <arpa/inet.h>

#define HOST_MAX 255

#define OID(name, bytes) static const struct span name = SPAN_LITERAL(bytes)
OID(oid_key_usage, "\x55\x1d\x0f");
OID(oid_san, "\x55\x1d\x11");
OID(oid_extended_use, "\x55\x1d\x25");
OID(oid_any_use, "\x55\x1d\x25\x00");
OID(oid_server_auth, "\x2b\x06\x01\x05\x05\x07\x03\x01");

/* Choices of GeneralName (RFC 5280 section 4.2.1.6). */
enum { NAME_DNS = DER_CONTEXT(2), NAME_URI = DER_CONTEXT(6), NAME_IP = DER_CONTEXT(7) };

/* What is looked for, and what was found so far. */
struct search {
    struct span host; /* without trailing dot */
    struct span uri;
    uint8_t ip[16];
    size_t ip_len; /* 0 = the host is a name */
    bool name_found, uri_found, bad_use;
};

static bool dns_covers(struct span name, struct span host)
{
    if (span_eq_nocase(host, name))
        return true;
    if (!span_starts_with(name, SPAN_LITERAL("*.")))
        return false;
    size_t dot = span_find(host, '.');
    return dot > 0 && dot < host.len && span_eq_nocase(span_skip(host, dot), span_skip(name, 1));
}

static struct result read_names(struct span in, struct search *s)
{
    struct span list, name;
    uint8_t tag;
    TRY(der_get(&in, DER_SEQUENCE, &list));
    while (list.len) {
        TRY(der_any(&list, &tag, &name, NULL));
        if (tag == NAME_DNS && !s->ip_len)
            s->name_found |= dns_covers(name, s->host);
        else if (tag == NAME_IP && s->ip_len)
            s->name_found |= span_eq(name, span_of(s->ip, s->ip_len));
        else if (tag == NAME_URI)
            s->uri_found |= s->uri.len && span_eq(name, s->uri);
    }
    return result_ok();
}

/* KeyUsage ::= BIT STRING; the first bit is digitalSignature: all that a TLS 1.3 server does with
 * its key, and all that ferrule's suites of TLS 1.2 ask for. */
static struct result read_usage(struct span in, struct search *s)
{
    struct span bits;
    TRY(der_get(&in, DER_BIT_STRING, &bits));
    if (bits.len == 0)
        return result_fail(ERR_FORMAT);
    s->bad_use |= bits.len < 2 || !(bits.ptr[1] & 0x80);
    return result_ok();
}

static struct result read_extended_use(struct span in, struct search *s)
{
    struct span list, use;
    bool good = false;
    TRY(der_get(&in, DER_SEQUENCE, &list));
    while (list.len) {
        TRY(der_get(&list, DER_OID, &use));
        good |= span_eq(use, oid_server_auth) || span_eq(use, oid_any_use);
    }
    s->bad_use |= !good;
    return result_ok();
}

static struct result read_extensions(struct span in, struct search *s)
{
    struct span list, ext, oid, value;
    TRY(der_get(&in, DER_SEQUENCE, &list));
    while (list.len) {
        TRY(der_get(&list, DER_SEQUENCE, &ext));
        TRY(der_get(&ext, DER_OID, &oid));
        if (der_is(ext, DER_BOOLEAN))
            TRY(der_any(&ext, NULL, NULL, NULL));
        TRY(der_get(&ext, DER_OCTET_STRING, &value));
        if (span_eq(oid, oid_san))
            TRY(read_names(value, s));
        else if (span_eq(oid, oid_key_usage))
            TRY(read_usage(value, s));
        else if (span_eq(oid, oid_extended_use))
            TRY(read_extended_use(value, s));
    }
    return result_ok();
}

/* The extensions stand last in the signed part, under the only tag [3] of its level. */
static struct result read_certificate(struct span der, struct search *s)
{
    struct span all, tbs, extensions;
    uint8_t tag;
    TRY(der_get(&der, DER_SEQUENCE, &all));
    TRY(der_get(&all, DER_SEQUENCE, &tbs));
    while (tbs.len) {
        TRY(der_any(&tbs, &tag, &extensions, NULL));
        if (tag == DER_CONSTRUCTED(3))
            return read_extensions(extensions, s);
    }
    return result_ok();
}

enum identity_fault identity_check(struct span der, const struct identity *wanted)
{
    struct search s = {.host = wanted->host, .uri = wanted->uri};
    char text[HOST_MAX + 1] = "";
    must(wanted->host.len > 0 && wanted->host.len <= HOST_MAX);
    memcpy(text, wanted->host.ptr, wanted->host.len);
    if (inet_pton(AF_INET, text, s.ip) == 1)
        s.ip_len = 4;
    else if (inet_pton(AF_INET6, text, s.ip) == 1)
        s.ip_len = 16;
    if (s.host.len > 1 && s.host.ptr[s.host.len - 1] == '.')
        s.host.len--;
    if (!result_is_ok(read_certificate(der, &s)))
        return IDENTITY_UNREADABLE;
    if (s.bad_use)
        return IDENTITY_USE;
    if (!s.name_found)
        return IDENTITY_NAME;
    return s.uri.len && !s.uri_found ? IDENTITY_URI : IDENTITY_GOOD;
}
