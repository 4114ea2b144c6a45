/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/store_record.h"

#include "base/must.h"
#include "control/store/store_impl.h"
#include "crypto/digest.h"

#include <stdlib.h>

#define FORM         1
#define DIGEST_BYTES 8
#define NAME_MAX_LEN 253

static void digest_of(struct span body, uint8_t ret[DIGEST_BYTES])
{
    uint8_t whole[DIGEST_BYTES_MAX];
    digest_once(DIGEST_SHA256, body, whole);
    memcpy(ret, whole, DIGEST_BYTES);
}

static size_t begin(struct buf *out)
{
    static const uint8_t room[DIGEST_BYTES];
    size_t mark = out->len;
    buf_put(out, room, sizeof room);
    buf_put_be(out, FORM, 1);
    return mark;
}

static void end(struct buf *out, size_t mark)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(span_skip(buf_span(out), mark + DIGEST_BYTES), digest);
    memcpy(out->ptr + mark, digest, DIGEST_BYTES);
}

/* Behind digest and form; `bad` when they are wrong. */
static struct reader open_record(struct span bytes)
{
    uint8_t digest[DIGEST_BYTES];
    struct reader r = reader_of(bytes);
    struct span stored = reader_bytes(&r, DIGEST_BYTES);
    if (!r.bad) {
        digest_of(span_of(r.ptr, r.left), digest);
        r.bad = !span_eq(stored, span_of(digest, DIGEST_BYTES));
    }
    if (!r.bad)
        r.bad = reader_u8(&r) != FORM;
    return r;
}

static void put_long(struct buf *out, struct span s)
{
    buf_put_be(out, s.len, 4);
    buf_put_span(out, s);
}

static void put_short(struct buf *out, const char *s)
{
    buf_put_be(out, strlen(s), 2);
    buf_put_str(out, s);
}

static char *text_of(struct span s)
{
    return mem_strndup(s.ptr ? s.ptr : (const uint8_t *)"", s.len);
}

void store_record_put_account(struct buf *out, const struct store_account *a)
{
    size_t mark = begin(out);
    buf_put_be(out, a->key_type, 1);
    put_long(out, span_str(a->email));
    put_long(out, span_str(a->registration_uri));
    put_long(out, buf_span(&a->key_der));
    put_long(out, buf_span(&a->next_key_der));
    end(out, mark);
}

bool store_record_get_account(struct span record, struct store_account *ret)
{
    struct reader r = open_record(record);
    struct store_account a = {.key_type = r.bad ? 0 : reader_u8(&r)};
    struct span parts[4] = {{0}};
    for (int i = 0; i < 4 && !r.bad; i++)
        parts[i] = reader_bytes(&r, reader_u32(&r));
    if (r.bad || r.left || !parts[2].len)
        return false;
    a.email = text_of(parts[0]);
    a.registration_uri = text_of(parts[1]);
    buf_put_span(&a.key_der, parts[2]);
    buf_put_span(&a.next_key_der, parts[3]);
    *ret = a;
    return true;
}

/* ---- certificates --------------------------------------------------------------------------- */

static struct result check_names(const struct store_cert *cert, struct why *why)
{
    if (cert->san_count >= X509_NAMES_MAX)
        return why_fail(why, ERR_FORMAT, "%s: more than %d names", cert->main, X509_NAMES_MAX);
    for (uint32_t i = 0; i <= cert->san_count; i++) {
        size_t len = strlen(i ? cert->sans[i - 1] : cert->main);
        if (!len || len > NAME_MAX_LEN)
            return why_fail(why, ERR_FORMAT, "%.80s: a name has %zu bytes: 1 to %d are possible",
                            cert->main, len, NAME_MAX_LEN);
    }
    return strlen(cert->resolver) <= UINT16_MAX
               ? result_ok()
               : why_fail(why, ERR_FORMAT, "the name of a resolver is longer than 65535 bytes");
}

struct result store_record_put_cert(struct buf *out, const struct store_cert *cert,
                                    struct x509 *ret_leaf, struct why *why)
{
    struct buf chain = {0}, der = {0};
    struct key *key = NULL;
    struct x509 leaf = {0};
    TRY(check_names(cert, why));
    struct result r = x509_chain_from_pem(buf_span(&cert->chain_pem), &chain, &leaf, why);
    if (result_is_ok(r))
        r = key_from_pem(buf_span(&cert->key_pem), &key, why);
    if (result_is_ok(r))
        r = key_to_der(key, &der);
    if (result_is_ok(r)) {
        size_t mark = begin(out);
        put_short(out, cert->resolver);
        buf_put_be(out, cert->san_count + 1, 2);
        put_short(out, cert->main);
        for (uint32_t i = 0; i < cert->san_count; i++)
            put_short(out, cert->sans[i]);
        put_long(out, buf_span(&chain));
        put_long(out, buf_span(&der));
        end(out, mark);
        *ret_leaf = leaf;
    } else {
        x509_free(&leaf);
        r.code = ERR_FORMAT;
    }
    key_free(key);
    buf_free(&chain);
    buf_wipe_free(&der);
    return r;
}

bool store_record_read(struct span bytes, struct store_record *ret)
{
    struct reader r = open_record(bytes);
    struct store_record record = {0};
    if (r.bad)
        return false;
    record.resolver = reader_bytes(&r, reader_u16(&r));
    record.name_count = reader_u16(&r);
    const uint8_t *first = r.ptr;
    for (uint32_t i = 0; i < record.name_count && !r.bad; i++)
        (void)reader_bytes(&r, reader_u16(&r));
    record.names = span_of(first, (size_t)(r.ptr - first));
    record.chain = reader_bytes(&r, reader_u32(&r));
    record.key = reader_bytes(&r, reader_u32(&r));
    if (r.bad || r.left || !record.name_count)
        return false;
    *ret = record;
    return true;
}

struct span store_record_name(struct span *names)
{
    struct reader r = reader_of(*names);
    struct span name = reader_bytes(&r, reader_u16(&r));
    must(!r.bad);
    *names = span_of(r.ptr, r.left);
    return name;
}

static bool has_name(const struct store_record *record, const char *name)
{
    struct span names = record->names;
    for (uint32_t i = 0; i < record->name_count; i++)
        if (span_eq(store_record_name(&names), span_str(name)))
            return true;
    return false;
}

bool store_record_is_of(const struct store_record *record, const struct store_cert *cert)
{
    if (!span_eq(record->resolver, span_str(cert->resolver)) ||
        record->name_count != cert->san_count + 1 || !has_name(record, cert->main))
        return false;
    for (uint32_t i = 0; i < cert->san_count; i++)
        if (!has_name(record, cert->sans[i]))
            return false;
    return true;
}

struct result store_record_get_cert(const struct store_record *record, struct store_cert *ret,
                                    struct why *why)
{
    struct span names = record->names;
    struct key *key = NULL;
    struct store_cert c = {.resolver = text_of(record->resolver),
                           .main = text_of(store_record_name(&names)),
                           .sans = mem_zalloc(record->name_count * sizeof *c.sans)};
    while (c.san_count + 1 < record->name_count)
        c.sans[c.san_count++] = text_of(store_record_name(&names));
    struct result r = x509_chain_to_pem(record->chain, &c.chain_pem);
    if (!result_is_ok(r))
        r = why_fail(why, r.code, "the stored certificate of %s cannot be read", c.main);
    if (result_is_ok(r))
        r = key_from_der(record->key, &key, why);
    if (result_is_ok(r))
        r = key_to_pem(key, &c.key_pem);
    key_free(key);
    if (result_is_ok(r))
        *ret = c;
    else
        store_free_cert(&c);
    return r;
}
