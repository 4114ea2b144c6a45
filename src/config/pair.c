/* SPDX-License-Identifier: Apache-2.0 */
#include "config/pair.h"

#include "base/clock.h"
#include "config/build.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define TICK_NS        (20 * (int64_t)NS_PER_MS)
#define COARSE_TICK_NS (2 * (int64_t)NS_PER_S)

#define CHAIN_MAX  32
#define RSA_STRONG 2048

struct link {
    struct x509 cert;
    struct span der;
    bool used;
};

/* A pair while it is being read. */
struct work {
    const struct pair_source *source;
    struct buf pem[2];
    struct buf file_chain; /* in the order of the file */
    struct link links[CHAIN_MAX];
    uint32_t count;
    struct key *key;
    struct pair_look look[2];
    struct buf findings; /* warnings, as in struct pair_record */
    int64_t until_s;
};

static void say(struct work *w, enum pair_part about, bool warning, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct work *w, enum pair_part about, bool warning, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (w->source->say)
        w->source->say(w->source->arg, about, warning, buf_cstr(&text));
    if (warning)
        buf_printf(&w->findings, "%c%s\n", about == PAIR_CERT ? 'C' : 'K', buf_cstr(&text));
    buf_free(&text);
}

/* ---- how files look ---------------------------------------------------------------------------
 */

/* False: beyond the year 2262, or as far back. */
static bool in_ns(struct timespec at, int64_t *ret_ns)
{
    int64_t seconds_ns;
    return !__builtin_mul_overflow(at.tv_sec, (int64_t)NS_PER_S, &seconds_ns) &&
           !__builtin_add_overflow(seconds_ns, at.tv_nsec, ret_ns);
}

bool pair_look_at(const char *path, struct pair_look *ret)
{
    struct stat st;
    if (stat(path, &st) == -1)
        return false;
    *ret = (struct pair_look){
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size = (uint64_t)st.st_size,
    };
    if (!in_ns(st.st_mtim, &ret->mtime_ns) || !in_ns(st.st_ctim, &ret->ctime_ns))
        *ret = (struct pair_look){0}; /* not known */
    return true;
}

bool pair_look_eq(const struct pair_look *a, const struct pair_look *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

bool pair_look_is_known(const struct pair_look *look)
{
    return look->ino || look->mtime_ns;
}

/* What is written to within the tick of the clock in which it was written before looks the same.
 * Some file systems have ticks of two seconds. */
static bool may_change_unseen(const struct pair_look *look)
{
    int64_t newest_ns = look->mtime_ns > look->ctime_ns ? look->mtime_ns : look->ctime_ns;
    bool coarse = newest_ns % (int64_t)NS_PER_S == 0;
    return newest_ns >= clock_file_ns() - (coarse ? COARSE_TICK_NS : TICK_NS);
}

void pair_record_tell(const struct pair_record *record, const struct pair_source *source)
{
    const char *end;
    for (const char *line = record->findings; line && (end = strchr(line, '\n')); line = end + 1) {
        if (end == line || !source->say)
            continue;
        char *text = mem_strndup(line + 1, (size_t)(end - line) - 1);
        source->say(source->arg, line[0] == 'C' ? PAIR_CERT : PAIR_KEY, true, text);
        free(text);
    }
}

void pair_record_free(struct pair_record *record)
{
    free(record->findings);
    *record = (struct pair_record){.findings = NULL};
}

/* ---- reading ----------------------------------------------------------------------------------
 */

bool pair_is_text(const char *value)
{
    return strncmp(value, "-----BEGIN ", 11) == 0;
}

static bool read_part(struct work *w, enum pair_part part)
{
    const char *text = w->source->text[part];
    struct why why;
    if (pair_is_text(text)) {
        buf_put_str(&w->pem[part], text);
        return true;
    }
    /* Looked at first: what changes while it is read looks different afterwards. */
    if (!pair_look_at(text, &w->look[part]) || may_change_unseen(&w->look[part]))
        w->look[part] = (struct pair_look){0};
    if (result_is_ok(build_read_regular(text, PAIR_BYTES_MAX, &w->pem[part], &why)))
        return true;
    say(w, part, false, "%s: %s", part == PAIR_CERT ? "certFile" : "keyFile", why.text);
    return false;
}

static bool parse_chain(struct work *w)
{
    const char *name = w->source->name[PAIR_CERT];
    struct why why;
    struct result r = x509_chain_from_pem(buf_span(&w->pem[PAIR_CERT]), &w->file_chain, NULL, &why);
    struct reader in = reader_of(buf_span(&w->file_chain));
    while (result_is_ok(r) && in.left) {
        struct span der = reader_bytes(&in, reader_be(&in, 3));
        if (w->count == CHAIN_MAX)
            r = why_fail(&why, ERR_TOO_LARGE, "more than %d certificates", CHAIN_MAX);
        else
            r = x509_parse(der, &w->links[w->count].cert, &why);
        if (result_is_ok(r))
            w->links[w->count++].der = der;
    }
    if (!result_is_ok(r))
        say(w, PAIR_CERT, false, "%s: %s", name, why.text);
    return result_is_ok(r);
}

static bool parse_key(struct work *w)
{
    struct why why;
    if (result_is_ok(key_from_pem(buf_span(&w->pem[PAIR_KEY]), &w->key, &why)))
        return true;
    say(w, PAIR_KEY, false, "%s: %s", w->source->name[PAIR_KEY], why.text);
    return false;
}

/* The certificate of the key: the first one, or else another one of the file. */
static struct link *find_leaf(struct work *w)
{
    struct why why, first;
    for (uint32_t i = 0; i < w->count; i++)
        if (result_is_ok(x509_check_key(&w->links[i].cert, w->key, i ? &why : &first)))
            return &w->links[i];
    say(w, PAIR_KEY, false, "%s for %s: %s", w->source->name[PAIR_KEY], w->source->name[PAIR_CERT],
        first.text);
    return NULL;
}

static bool is_self_issued(const struct x509 *cert)
{
    return strcmp(cert->issuer, cert->subject) == 0;
}

static struct link *find_issuer(struct work *w, const struct x509 *cert)
{
    for (uint32_t i = 0; i < w->count && !is_self_issued(cert); i++)
        if (!w->links[i].used && strcmp(w->links[i].cert.subject, cert->issuer) == 0)
            return &w->links[i];
    return NULL;
}

static const char *title(const struct x509 *cert)
{
    return cert->name_count ? cert->names[0] : cert->subject;
}

/* Each behind its length: the leaf, its issuer, and so on (RFC 8446 section 4.4.2). */
static void order_chain(struct work *w, struct link *leaf, struct buf *out)
{
    const char *name = w->source->name[PAIR_CERT];
    uint32_t placed = 0;
    bool moved = false;
    struct link *last = leaf;
    for (struct link *l = leaf; l; l = find_issuer(w, &l->cert)) {
        l->used = true;
        moved = moved || l != &w->links[placed];
        placed++;
        buf_put_be(out, l->der.len, 3);
        buf_put_span(out, l->der);
        last = l;
    }
    if (moved)
        say(w, PAIR_CERT, true,
            "%s: the certificates are served in another order than that of the file: that of %s "
            "first, each followed by its issuer's",
            name, title(&leaf->cert));
    for (uint32_t i = 0; i < w->count; i++)
        if (!w->links[i].used)
            say(w, PAIR_CERT, true, "%s: the certificate of %s is no part of the chain: left out",
                name, title(&w->links[i].cert));
    if (!is_self_issued(&last->cert) &&
        (placed < w->count || (placed == 1 && last->cert.has_issuer_url)))
        say(w, PAIR_CERT, true,
            "%s: the chain is not complete: the certificate of \"%s\", the issuer of %s, is "
            "missing, and clients that do not have it will refuse the connection",
            name, last->cert.issuer, title(&last->cert));
}

/* When time alone changes what there is to say. */
static void note_dates(struct work *w, const struct x509 *cert)
{
    int64_t now_s = w->source->now_s;
    if (cert->not_before_s > now_s && cert->not_before_s < w->until_s)
        w->until_s = cert->not_before_s;
    if (cert->not_after_s >= now_s && cert->not_after_s < w->until_s)
        w->until_s = cert->not_after_s + 1;
}

static void judge_dates(struct work *w, const struct x509 *cert)
{
    char text[32];
    struct tm tm;
    bool expired = cert->not_after_s < w->source->now_s;
    time_t when_s = (time_t)(expired ? cert->not_after_s : cert->not_before_s);
    if (!expired && cert->not_before_s <= w->source->now_s)
        return;
    gmtime_r(&when_s, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    say(w, PAIR_CERT, true,
        expired ? "%s: the certificate of %s expired on %s"
                : "%s: the certificate of %s is not valid before %s",
        w->source->name[PAIR_CERT], title(cert), text);
}

static void judge(struct work *w, const struct link *leaf)
{
    const char *name = w->source->name[PAIR_CERT];
    if (leaf->cert.name_count == 0)
        say(w, PAIR_CERT, true, "%s: the certificate has no host names: no client will ask for it",
            name);
    for (uint32_t i = 0; i < w->count; i++) {
        const struct x509 *cert = &w->links[i].cert;
        char kind[X509_KEY_TEXT_MAX];
        if (!w->links[i].used)
            continue;
        judge_dates(w, cert);
        note_dates(w, cert);
        if (cert->weak_signature && !is_self_issued(cert))
            say(w, PAIR_CERT, true,
                "%s: the certificate of %s is signed with %s, which clients refuse", name,
                title(cert), cert->weak_signature);
        if (cert->is_rsa && cert->key_bits < RSA_STRONG)
            say(w, PAIR_CERT, true, "%s: the key of %s (%s) is too short: clients want %d bits",
                name, title(cert), x509_key_text(cert, kind), RSA_STRONG);
    }
    if (key_type_of(w->key) == KEY_EC521 || key_type_of(w->key) == KEY_ED25519)
        say(w, PAIR_KEY, true, "%s: most clients do not know keys of the kind %s",
            w->source->name[PAIR_KEY], key_type_name(key_type_of(w->key)));
}

static bool use(struct work *w, struct pair *ret)
{
    struct link *leaf = find_leaf(w);
    if (!leaf)
        return false;
    if (!result_is_ok(key_to_der(w->key, &ret->key))) {
        say(w, PAIR_KEY, false, "%s: the key cannot be used", w->source->name[PAIR_KEY]);
        return false;
    }
    order_chain(w, leaf, &ret->chain);
    buf_fit(&ret->chain);
    judge(w, leaf);
    ret->leaf = leaf->cert;
    leaf->cert = (struct x509){0};
    ret->record = (struct pair_record){.look = {w->look[PAIR_CERT], w->look[PAIR_KEY]},
                                       .read_s = w->source->now_s,
                                       .until_s = w->until_s};
    if (w->findings.len)
        ret->record.findings = mem_strdup(buf_cstr(&w->findings));
    return true;
}

bool pair_read(const struct pair_source *source, struct pair *ret)
{
    struct work *w = mem_zalloc(sizeof *w);
    struct pair pair = {0};
    w->source = source;
    w->until_s = INT64_MAX;
    bool good = read_part(w, PAIR_CERT) && parse_chain(w);
    good = read_part(w, PAIR_KEY) && parse_key(w) && good;
    good = good && use(w, &pair);
    if (good)
        *ret = pair;
    else
        pair_free(&pair);
    for (uint32_t i = 0; i < w->count; i++)
        x509_free(&w->links[i].cert);
    key_free(w->key);
    buf_free(&w->file_chain);
    buf_free(&w->findings);
    buf_wipe_free(&w->pem[PAIR_CERT]); /* files that hold both are common */
    buf_wipe_free(&w->pem[PAIR_KEY]);
    free(w);
    return good;
}

void pair_facts_take(struct pair *pair, struct pair_facts *ret)
{
    *ret = (struct pair_facts){.leaf = pair->leaf, .id = x509_chain_id(buf_span(&pair->chain))};
    pair->leaf = (struct x509){0};
    ret->record = pair->record;
    pair->record = (struct pair_record){.findings = NULL};
    buf_free(&ret->leaf.spki);
    buf_free(&ret->leaf.aki);
    buf_free(&ret->leaf.serial_der);
}

void pair_facts_free(struct pair_facts *facts)
{
    x509_free(&facts->leaf);
    pair_record_free(&facts->record);
}

bool pair_may_be_cold(const struct x509 *leaf, bool ocsp)
{
    return !leaf->must_staple && !(ocsp && leaf->ocsp_url);
}

void pair_free(struct pair *pair)
{
    x509_free(&pair->leaf);
    pair_record_free(&pair->record);
    buf_free(&pair->chain);
    buf_wipe_free(&pair->key);
}
