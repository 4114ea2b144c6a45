/* SPDX-License-Identifier: Apache-2.0 */
#include "tsig.h"

#include <string.h>
#include <strings.h>

/* The fields of a TSIG record's data (RFC 8945 section 4.2), as offsets into the message. */
struct tsig_record {
    struct dns_record record;
    struct dns_name algorithm;
    uint64_t time_s; /* 48 bits */
    uint16_t fudge_s, original_id, error;
    const uint8_t *mac, *other;
    size_t mac_len, other_len;
};

static uint64_t get_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void put_time(struct dns_writer *w, uint64_t time_s)
{
    dns_put_u16(w, (uint32_t)(time_s >> 32) & 0xffff);
    dns_put_u32(w, (uint32_t)time_s);
}

/* --- keys
 * -------------------------------------------------------------------------------------------- */

int32_t tsig_algorithm(struct ferrule_str text, struct dns_name *ret)
{
    static const struct {
        const char *name;
        int32_t digest;
    } known[] = {{"hmac-sha1", FERRULE_SHA1},
                 {"hmac-sha224", FERRULE_SHA224},
                 {"hmac-sha256", FERRULE_SHA256},
                 {"hmac-sha384", FERRULE_SHA384},
                 {"hmac-sha512", FERRULE_SHA512}};
    if (text.len && text.ptr[text.len - 1] == '.')
        text.len--;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t len = strlen(known[i].name);
        if (len == text.len && strncasecmp(known[i].name, text.ptr, len) == 0)
            return dns_name_parse(text, ret) ? known[i].digest : 0;
    }
    return 0;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *hit = c ? strchr(digits, c) : NULL;
    return hit ? (int)(hit - digits) : -1;
}

bool tsig_secret(struct ferrule_str base64, struct tsig_key *key)
{
    while (base64.len && base64.ptr[base64.len - 1] == '=')
        base64.len--;
    uint32_t bits = 0, have = 0;
    key->secret_len = 0;
    for (size_t i = 0; i < base64.len; i++) {
        int v = base64_value(base64.ptr[i]);
        if (v < 0 || key->secret_len == TSIG_SECRET_BYTES_MAX)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            key->secret[key->secret_len++] = (uint8_t)(bits >> have);
        }
    }
    /* What is left over must be padding bits: fewer than a digit, all zero. */
    return key->secret_len > 0 && have < 6 && (bits & ((1u << have) - 1)) == 0;
}

void tsig_key_wipe(struct tsig_key *key)
{
    volatile uint8_t *p = key->secret;
    for (size_t i = 0; i < sizeof key->secret; i++)
        p[i] = 0;
    key->secret_len = 0;
    key->digest = 0;
}

/* --- the MAC
 * -------------------------------------------------------------------------------------------- */

/* RFC 8945 section 4.3.3: the record's variables as they are digested. */
static void put_variables(struct dns_writer *w, const struct tsig_key *key, uint64_t time_s,
                          uint16_t fudge_s, uint16_t error, const uint8_t *other, size_t other_len)
{
    dns_put(w, key->name.wire, key->name.len);
    dns_put_u16(w, DNS_CLASS_ANY);
    dns_put_u32(w, 0);
    dns_put(w, key->algorithm.wire, key->algorithm.len);
    put_time(w, time_s);
    dns_put_u16(w, fudge_s);
    dns_put_u16(w, error);
    dns_put_u16(w, (uint32_t)other_len);
    dns_put(w, other, other_len);
}

static void hmac_of(const struct ferrule_host *host, const struct tsig_key *key,
                    const struct ferrule_buf *in, struct tsig_mac *ret)
{
    struct ferrule_str secret = {(const char *)key->secret, key->secret_len};
    ret->len = 0;
    if (host->hmac(host, key->digest, secret, host->buf_view(in), ret->bytes, &ret->len) !=
        FERRULE_OK)
        ret->len = 0;
}

void tsig_sign(const struct ferrule_host *host, const struct tsig_key *key, int64_t now_s,
               struct dns_writer *w, struct tsig_mac *ret)
{
    uint8_t variables[TSIG_BYTES_MAX];
    struct dns_writer v = {.ptr = variables, .cap = sizeof variables};
    put_variables(&v, key, (uint64_t)now_s, TSIG_FUDGE_S, 0, NULL, 0);
    struct ferrule_buf *in = host->buf_new(host);
    host->buf_put(in, w->ptr, w->len);
    host->buf_put(in, variables, v.len);
    hmac_of(host, key, in, ret);
    host->buf_free(in);
    uint16_t id = (uint16_t)get_be(w->ptr, 2), additional = (uint16_t)get_be(w->ptr + 10, 2);
    dns_put(w, key->name.wire, key->name.len);
    dns_put_u16(w, DNS_TYPE_TSIG);
    dns_put_u16(w, DNS_CLASS_ANY);
    dns_put_u32(w, 0);
    dns_put_u16(w, (uint32_t)(key->algorithm.len + 16 + ret->len));
    dns_put(w, key->algorithm.wire, key->algorithm.len);
    put_time(w, (uint64_t)now_s);
    dns_put_u16(w, TSIG_FUDGE_S);
    dns_put_u16(w, (uint32_t)ret->len);
    dns_put(w, ret->bytes, ret->len);
    dns_put_u16(w, id);
    dns_put_u16(w, 0);
    dns_put_u16(w, 0);
    if (!ret->len)
        w->bad = true;
    additional++;
    w->ptr[10] = (uint8_t)(additional >> 8);
    w->ptr[11] = (uint8_t)additional;
}

/* --- checking
 * ------------------------------------------------------------------------------------------- */

/* Reads the fields behind the algorithm's name. */
static bool read_fields(const struct dns_message *m, size_t at, size_t end, struct tsig_record *t)
{
    if (at > end || end - at < 10)
        return false;
    t->time_s = get_be(m->ptr + at, 6);
    t->fudge_s = (uint16_t)get_be(m->ptr + at + 6, 2);
    t->mac_len = (size_t)get_be(m->ptr + at + 8, 2);
    t->mac = m->ptr + at + 10;
    at += 10;
    if (end - at < t->mac_len + 6)
        return false;
    at += t->mac_len;
    t->original_id = (uint16_t)get_be(m->ptr + at, 2);
    t->error = (uint16_t)get_be(m->ptr + at + 2, 2);
    t->other_len = (size_t)get_be(m->ptr + at + 4, 2);
    t->other = m->ptr + at + 6;
    return end - at - 6 == t->other_len;
}

/* Finds the TSIG record, which must be the message's last (RFC 8945 section 5.1). */
static enum tsig_verdict find(const struct dns_message *m, struct tsig_record *t)
{
    size_t at = dns_skip_questions(m);
    unsigned records = m->counts[1] + m->counts[2] + m->counts[3];
    if (at == 0)
        return TSIG_DAMAGED;
    for (unsigned i = 0; i < records; i++) {
        if (!dns_read_record(m, &at, &t->record))
            return TSIG_DAMAGED;
        if (t->record.type != DNS_TYPE_TSIG)
            continue;
        if (i + 1 != records || m->counts[3] == 0 || at != m->len ||
            t->record.class != DNS_CLASS_ANY || t->record.ttl_s != 0)
            return TSIG_DAMAGED;
        size_t field = t->record.rdata, end = t->record.rdata + t->record.rdata_len;
        if (!dns_read_name(m, &field, &t->algorithm) || !read_fields(m, field, end, t))
            return TSIG_DAMAGED;
        return TSIG_GOOD;
    }
    return at == m->len ? TSIG_ABSENT : TSIG_DAMAGED;
}

/* The MAC that the answer must carry: over the request's MAC, the message as it was before the
 * record was added, and the record's variables. */
static void expected_mac(const struct ferrule_host *host, const struct tsig_key *key,
                         const struct tsig_mac *request, const struct dns_message *m,
                         const struct tsig_record *t, struct tsig_mac *ret)
{
    uint8_t head[2 + FERRULE_DIGEST_MAX + DNS_HEADER_BYTES];
    struct dns_writer h = {.ptr = head, .cap = sizeof head};
    dns_put_u16(&h, (uint32_t)request->len);
    dns_put(&h, request->bytes, request->len);
    dns_put_u16(&h, t->original_id);
    dns_put(&h, m->ptr + 2, 8);
    dns_put_u16(&h, m->counts[3] - 1u);
    uint8_t variables[TSIG_BYTES_MAX];
    struct dns_writer v = {.ptr = variables, .cap = sizeof variables};
    put_variables(&v, key, t->time_s, t->fudge_s, t->error, NULL, 0);
    uint8_t other_len[2] = {(uint8_t)(t->other_len >> 8), (uint8_t)t->other_len};
    struct ferrule_buf *in = host->buf_new(host);
    host->buf_put(in, head, h.len);
    host->buf_put(in, m->ptr + DNS_HEADER_BYTES, t->record.start - DNS_HEADER_BYTES);
    host->buf_put(in, variables, v.len - 2); /* without its empty `other` */
    host->buf_put(in, other_len, 2);
    host->buf_put(in, t->other, t->other_len);
    hmac_of(host, key, in, ret);
    host->buf_free(in);
}

static bool equal_in_constant_time(const uint8_t *a, const uint8_t *b, size_t len)
{
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < len; i++)
        diff |= a[i] ^ b[i];
    return diff == 0;
}

struct tsig_answer tsig_check(const struct ferrule_host *host, const struct tsig_key *key,
                              const struct tsig_mac *request, int64_t now_s,
                              const struct dns_message *answer)
{
    struct tsig_record t = {0};
    struct tsig_answer ret = {.verdict = find(answer, &t)};
    if (ret.verdict != TSIG_GOOD)
        return ret;
    ret.error = t.error;
    /* A server that could not check the request cannot sign: an empty MAC is right for these two,
     * and the answer is a refusal in any case. */
    if (t.mac_len == 0 && (t.error == TSIG_ERROR_BADKEY || t.error == TSIG_ERROR_BADSIG)) {
        ret.verdict = TSIG_REFUSED;
        return ret;
    }
    if (!dns_name_eq(&t.record.name, &key->name) || !dns_name_eq(&t.algorithm, &key->algorithm)) {
        ret.verdict = TSIG_OTHER_KEY;
        return ret;
    }
    struct tsig_mac expected;
    expected_mac(host, key, request, answer, &t, &expected);
    if (!expected.len || t.mac_len != expected.len ||
        !equal_in_constant_time(t.mac, expected.bytes, expected.len)) {
        ret.verdict = TSIG_FORGED;
        return ret;
    }
    ret.server_s = (int64_t)t.time_s;
    if (t.error == TSIG_ERROR_BADTIME && t.other_len == 6)
        ret.server_s = (int64_t)get_be(t.other, 6);
    int64_t apart = (int64_t)t.time_s - now_s;
    if (t.error)
        ret.verdict = TSIG_REFUSED;
    else if (apart > t.fudge_s || apart < -(int64_t)t.fudge_s)
        ret.verdict = TSIG_CLOCK;
    return ret;
}
