/* SPDX-License-Identifier: Apache-2.0 */
#include "config/pair_index.h"

#include "base/must.h"
#include "base/siphash.h"
#include "crypto/digest.h"

#include <stdlib.h>

#define MAGIC        "ferrpidx"
#define MAGIC_BYTES  8
#define DIGEST_BYTES 32
#define BODY_AT      (MAGIC_BYTES + DIGEST_BYTES)
/* Another one whenever the bytes mean something else, or pair_read() finds other things. */
#define FORMAT 2

/* One whose texts are empty. */
#define ENTRY_BYTES_MIN 198
/* The years 0 and 9999, as far as certificates go (RFC 5280 section 4.1.2.5). */
#define DATE_MIN_S (-62167219200)
#define DATE_MAX_S 253402300799

/* The texts of x509.weak_signature are constants. */
static const char *const weak[] = {NULL, "MD5", "SHA-1"};
#define WEAK_COUNT (sizeof weak / sizeof *weak)

struct pair_index {
    struct buf bytes;
    uint32_t count;
    uint32_t *slots; /* by the hash of the paths: where the entry begins in bytes, 0 = none */
    uint32_t mask;
};

/* ---- writing -------------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    buf_put_be(out, len, 4);
    buf_put(out, text ? text : "", len);
}

static size_t count_at(const char *made_by)
{
    return BODY_AT + 4 + 4 + strlen(made_by);
}

void pair_index_begin(struct buf *out, const char *made_by)
{
    static const uint8_t no_digest[DIGEST_BYTES];
    must(out->len == 0);
    buf_put(out, MAGIC, MAGIC_BYTES);
    buf_put(out, no_digest, DIGEST_BYTES);
    buf_put_be(out, FORMAT, 4);
    put_text(out, made_by);
    must(out->len == count_at(made_by));
    buf_put_be(out, 0, 4);
}

static void put_leaf(struct buf *out, const struct x509 *leaf)
{
    uint32_t signature = 0;
    for (uint32_t i = 1; i < WEAK_COUNT && leaf->weak_signature; i++)
        if (!strcmp(weak[i], leaf->weak_signature))
            signature = i;
    buf_put_be(out, (uint64_t)leaf->not_before_s, 8);
    buf_put_be(out, (uint64_t)leaf->not_after_s, 8);
    buf_put_be(out, leaf->key_bits, 4);
    buf_put_be(out,
               (leaf->is_rsa ? 1u : 0) | (leaf->is_ec ? 2u : 0) | (leaf->is_ca ? 4u : 0) |
                   (leaf->has_issuer_url ? 8u : 0) | (leaf->must_staple ? 16u : 0) |
                   (leaf->ocsp_url ? 32u : 0),
               1);
    buf_put_be(out, signature, 1);
    buf_put(out, leaf->sha256, sizeof leaf->sha256);
    put_text(out, leaf->serial);
    put_text(out, leaf->subject);
    put_text(out, leaf->issuer);
    put_text(out, leaf->issuer_cn);
    put_text(out, leaf->ocsp_url);
    buf_put_be(out, leaf->name_count, 4);
    for (uint32_t i = 0; i < leaf->name_count; i++)
        put_text(out, leaf->names[i]);
}

void pair_index_add(struct buf *out, const char *cert_file, const char *key_file,
                    const struct x509 *leaf, uint64_t id, const struct pair_record *record)
{
    size_t start = out->len;
    if (!pair_look_is_known(&record->look[PAIR_CERT]) ||
        !pair_look_is_known(&record->look[PAIR_KEY]))
        return;
    buf_put_be(out, 0, 4);
    put_text(out, cert_file);
    put_text(out, key_file);
    for (int part = PAIR_CERT; part <= PAIR_KEY; part++) {
        const struct pair_look *look = &record->look[part];
        buf_put_be(out, look->dev, 8);
        buf_put_be(out, look->ino, 8);
        buf_put_be(out, look->size, 8);
        buf_put_be(out, (uint64_t)look->mtime_ns, 8);
        buf_put_be(out, (uint64_t)look->ctime_ns, 8);
    }
    buf_put_be(out, (uint64_t)record->read_s, 8);
    buf_put_be(out, (uint64_t)record->until_s, 8);
    buf_put_be(out, id, 8);
    put_leaf(out, leaf);
    put_text(out, record->findings);
    struct writer w = writer_of(out->ptr + start, 4);
    writer_be(&w, out->len - start - 4, 4);
}

void pair_index_end(struct buf *out)
{
    struct reader in = reader_of(span_skip(buf_span(out), BODY_AT));
    uint32_t count = 0;
    reader_u32(&in);
    reader_bytes(&in, reader_u32(&in));
    struct writer w = writer_of((uint8_t *)in.ptr, 4);
    for (reader_u32(&in); in.left; count++)
        reader_bytes(&in, reader_u32(&in));
    must(!in.bad);
    writer_be(&w, count, 4);
    digest_once(DIGEST_SHA256, span_skip(buf_span(out), BODY_AT), out->ptr + MAGIC_BYTES);
}

/* ---- opening -------------------------------------------------------------------------------- */

static uint32_t hash_of(struct span cert_file, struct span key_file)
{
    static const struct siphash_key key = {{0x7061697220696e64ull, 0x6578206f66206e61ull}};
    return (uint32_t)siphash(&key, cert_file, key_file);
}

/* The entries stand where the table can find them. */
static bool enter_all(struct pair_index *x, struct reader in)
{
    uint32_t slots = 16;
    while (slots < 2 * x->count)
        slots *= 2;
    x->mask = slots - 1;
    x->slots = mem_zalloc(slots * sizeof *x->slots);
    for (uint32_t i = 0; i < x->count; i++) {
        uint32_t at = (uint32_t)(in.ptr - x->bytes.ptr);
        struct reader entry = reader_of(reader_bytes(&in, reader_u32(&in)));
        struct span cert_file = reader_bytes(&entry, reader_u32(&entry));
        struct span key_file = reader_bytes(&entry, reader_u32(&entry));
        if (in.bad || entry.bad)
            return false;
        uint32_t slot = hash_of(cert_file, key_file) & x->mask;
        while (x->slots[slot])
            slot = (slot + 1) & x->mask;
        x->slots[slot] = at;
    }
    return in.left == 0;
}

static struct result open_bytes(struct pair_index *x, const char *made_by, struct why *why)
{
    uint8_t digest[DIGEST_BYTES];
    struct reader in = reader_of(buf_span(&x->bytes));
    struct span magic = reader_bytes(&in, MAGIC_BYTES);
    struct span stored = reader_bytes(&in, DIGEST_BYTES);
    if (in.bad || !span_eq(magic, SPAN_LITERAL(MAGIC)))
        return why_fail(why, ERR_FORMAT, "it is no index");
    digest_once(DIGEST_SHA256, span_of(in.ptr, in.left), digest);
    if (!span_eq(stored, span_of(digest, sizeof digest)))
        return why_fail(why, ERR_FORMAT, "it is damaged");
    uint32_t format = reader_u32(&in);
    struct span maker = format == FORMAT ? reader_bytes(&in, reader_u32(&in)) : (struct span){0};
    if (in.bad || format != FORMAT || !span_eq(maker, span_str(made_by)))
        return why_fail(why, ERR_VERSION, "another version of ferrule has made it");
    x->count = reader_u32(&in);
    if (in.bad || x->count > in.left / ENTRY_BYTES_MIN || !enter_all(x, in))
        return why_fail(why, ERR_FORMAT, "it is damaged");
    return result_ok();
}

struct result pair_index_open(struct buf *bytes, const char *made_by, struct pair_index **ret,
                              struct why *why)
{
    struct pair_index *x = mem_zalloc(sizeof *x);
    x->bytes = *bytes;
    *bytes = (struct buf){0};
    struct result r = x->bytes.len > PAIR_INDEX_BYTES_MAX
                          ? why_fail(why, ERR_TOO_LARGE, "it is too large")
                          : open_bytes(x, made_by, why);
    if (result_is_ok(r))
        *ret = x;
    else
        pair_index_close(x);
    return r;
}

void pair_index_close(struct pair_index *x)
{
    if (!x)
        return;
    buf_free(&x->bytes);
    free(x->slots);
    free(x);
}

uint32_t pair_index_count(const struct pair_index *x)
{
    return x->count;
}

/* ---- finding -------------------------------------------------------------------------------- */

static char *take_text(struct reader *in)
{
    struct span text = reader_bytes(in, reader_u32(in));
    return mem_strndup(text.ptr, text.len);
}

static int64_t take_date(struct reader *in)
{
    int64_t date_s = (int64_t)reader_u64(in);
    in->bad = in->bad || date_s < DATE_MIN_S || date_s > DATE_MAX_S;
    return date_s;
}

static char *take_name(struct reader *in)
{
    struct span name = reader_bytes(in, reader_u32(in));
    in->bad = in->bad || !name.len || name.len > X509_NAME_MAX || memchr(name.ptr, 0, name.len);
    return mem_strndup(name.ptr, name.len);
}

static void take_leaf(struct reader *in, struct x509 *ret)
{
    ret->not_before_s = take_date(in);
    ret->not_after_s = take_date(in);
    ret->key_bits = reader_u32(in);
    uint8_t flags = reader_u8(in), signature = reader_u8(in);
    ret->is_rsa = flags & 1;
    ret->is_ec = flags & 2;
    ret->is_ca = flags & 4;
    ret->has_issuer_url = flags & 8;
    ret->must_staple = flags & 16;
    ret->weak_signature = signature < WEAK_COUNT ? weak[signature] : NULL;
    struct span sha256 = reader_bytes(in, sizeof ret->sha256);
    if (!in->bad)
        memcpy(ret->sha256, sha256.ptr, sha256.len);
    struct span serial = reader_bytes(in, reader_u32(in));
    if (serial.len >= sizeof ret->serial)
        in->bad = true;
    else if (serial.len)
        memcpy(ret->serial, serial.ptr, serial.len);
    ret->subject = take_text(in);
    ret->issuer = take_text(in);
    ret->issuer_cn = take_text(in);
    ret->ocsp_url = take_text(in);
    if (!(flags & 32)) {
        free(ret->ocsp_url);
        ret->ocsp_url = NULL;
    }
    uint32_t count = reader_u32(in);
    if (in->bad || count > X509_NAMES_MAX) {
        in->bad = true;
        return;
    }
    ret->names = mem_zalloc((count + 1) * sizeof *ret->names);
    while (ret->name_count < count)
        ret->names[ret->name_count++] = take_name(in);
}

static struct pair_look take_look(struct reader *in)
{
    struct pair_look look = {.dev = reader_u64(in)};
    look.ino = reader_u64(in);
    look.size = reader_u64(in);
    look.mtime_ns = (int64_t)reader_u64(in);
    look.ctime_ns = (int64_t)reader_u64(in);
    return look;
}

/* in: behind the paths. */
static bool take_facts(struct reader in, struct pair_facts *ret)
{
    struct pair_facts facts = {.id = 0};
    for (int part = PAIR_CERT; part <= PAIR_KEY; part++)
        facts.record.look[part] = take_look(&in);
    facts.record.read_s = (int64_t)reader_u64(&in);
    facts.record.until_s = (int64_t)reader_u64(&in);
    facts.id = reader_u64(&in);
    take_leaf(&in, &facts.leaf);
    struct span findings = reader_bytes(&in, reader_u32(&in));
    facts.record.findings = findings.len ? mem_strndup(findings.ptr, findings.len) : NULL;
    if (in.bad || in.left || !facts.id) {
        pair_facts_free(&facts);
        return false;
    }
    *ret = facts;
    return true;
}

static bool still_hold(const struct pair_facts *facts, const struct pair_source *source)
{
    const struct pair_record *record = &facts->record;
    bool same = source->now_s >= record->read_s && source->now_s < record->until_s;
    for (int part = PAIR_CERT; part <= PAIR_KEY && same; part++) {
        struct pair_look now;
        same = pair_look_at(source->text[part], &now) && pair_look_eq(&now, &record->look[part]);
    }
    return same;
}

bool pair_index_find(const struct pair_index *x, const struct pair_source *source,
                     struct pair_facts *ret)
{
    struct span cert_file = span_str(source->text[PAIR_CERT]);
    struct span key_file = span_str(source->text[PAIR_KEY]);
    for (uint32_t slot = hash_of(cert_file, key_file) & x->mask; x->slots[slot];
         slot = (slot + 1) & x->mask) {
        struct reader in = reader_of(span_skip(buf_span(&x->bytes), x->slots[slot]));
        struct reader entry = reader_of(reader_bytes(&in, reader_u32(&in)));
        if (!span_eq(reader_bytes(&entry, reader_u32(&entry)), cert_file) ||
            !span_eq(reader_bytes(&entry, reader_u32(&entry)), key_file))
            continue;
        struct pair_facts facts;
        if (!take_facts(entry, &facts))
            return false;
        if (still_hold(&facts, source)) {
            *ret = facts;
            return true;
        }
        pair_facts_free(&facts);
        return false;
    }
    return false;
}
