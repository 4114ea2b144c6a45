/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/password.h"

#include "base/secret.h"
#include "crypto/digest.h"
#include "crypto/md5.h"

#include <crypt.h>
#include <stdlib.h>

#define APR1_MAGIC  "$apr1$"
#define APR1_ROUNDS 1000
#define SALT_MAX    8

static bool starts(struct span s, const char *text)
{
    return span_starts_with(s, span_str(text));
}

static bool is_sha1(struct span hash)
{
    return starts(hash, "{SHA}") && hash.len == 5 + 28;
}

static bool is_apr1(struct span hash)
{
    struct span rest = span_skip(hash, sizeof APR1_MAGIC - 1);
    size_t salt = span_find(rest, '$');
    return starts(hash, APR1_MAGIC) && salt >= 1 && salt <= SALT_MAX && rest.len == salt + 1 + 22;
}

static bool is_crypt(struct span hash)
{
    bool bcrypt =
        (starts(hash, "$2a$") || starts(hash, "$2b$") || starts(hash, "$2y$")) && hash.len == 60;
    return bcrypt || ((starts(hash, "$1$") || starts(hash, "$5$") || starts(hash, "$6$")) &&
                      hash.len > 3 + 22);
}

bool password_is_hash(struct span hash)
{
    for (size_t i = 0; i < hash.len; i++)
        if (hash.ptr[i] <= ' ' || hash.ptr[i] >= 0x7f)
            return false;
    return hash.len <= PASSWORD_HASH_MAX && (is_sha1(hash) || is_apr1(hash) || is_crypt(hash));
}

static bool same(struct span hash, const char *made)
{
    return made && secret_eq(span_str(made), hash);
}

static bool holds_sha1(struct span hash, struct span password)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    struct buf text = {0};
    digest_once(DIGEST_SHA1, password, digest);
    buf_put_str(&text, "{SHA}");
    base64_put(&text, span_of(digest, digest_bytes(DIGEST_SHA1)));
    bool holds = same(hash, buf_cstr(&text));
    buf_wipe_free(&text);
    return holds;
}

/* The digits of crypt(3), least significant first. */
static char *put64(char *at, uint32_t v, int n)
{
    static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (; n > 0; n--, v >>= 6)
        *at++ = digits[v & 63];
    return at;
}

static void apr1_first(struct span salt, struct span password, uint8_t sum[MD5_BYTES])
{
    struct md5 md5;
    md5_begin(&md5);
    md5_add(&md5, password);
    md5_add(&md5, salt);
    md5_add(&md5, password);
    md5_end(&md5, sum);
    md5_begin(&md5);
    md5_add(&md5, password);
    md5_add(&md5, SPAN_LITERAL(APR1_MAGIC));
    md5_add(&md5, salt);
    for (size_t left = password.len; left; left -= left < MD5_BYTES ? left : MD5_BYTES)
        md5_add(&md5, span_of(sum, left < MD5_BYTES ? left : MD5_BYTES));
    for (size_t bits = password.len; bits; bits >>= 1)
        md5_add(&md5, bits & 1 ? SPAN_LITERAL("\0") : span_first(password, 1));
    md5_end(&md5, sum);
}

/* Apache's variant of MD5-crypt: the magic text differs, and is hashed along. */
static bool holds_apr1(struct span hash, struct span password)
{
    struct span salt = span_skip(hash, sizeof APR1_MAGIC - 1);
    uint8_t s[MD5_BYTES];
    struct md5 md5;
    salt.len = span_find(salt, '$');
    apr1_first(salt, password, s);
    for (uint32_t i = 0; i < APR1_ROUNDS; i++) {
        md5_begin(&md5);
        md5_add(&md5, i & 1 ? password : span_of(s, MD5_BYTES));
        if (i % 3)
            md5_add(&md5, salt);
        if (i % 7)
            md5_add(&md5, password);
        md5_add(&md5, i & 1 ? span_of(s, MD5_BYTES) : password);
        md5_end(&md5, s);
    }
    char text[PASSWORD_HASH_MAX + 1];
    size_t head = sizeof APR1_MAGIC - 1 + salt.len + 1;
    memcpy(text, hash.ptr, head);
    char *at = text + head;
    for (int i = 0; i < 5; i++)
        at = put64(at, (uint32_t)s[i] << 16 | (uint32_t)s[i + 6] << 8 | s[i == 4 ? 5 : i + 12], 4);
    at = put64(at, s[11], 2);
    *at = 0;
    bool holds = same(hash, text);
    secret_wipe(s, sizeof s);
    secret_wipe(text, sizeof text);
    return holds;
}

static bool holds_crypt(struct span hash, struct span password)
{
    char setting[PASSWORD_HASH_MAX + 1], phrase[PASSWORD_MAX + 1];
    memcpy(setting, hash.ptr, hash.len);
    setting[hash.len] = 0;
    if (password.len)
        memcpy(phrase, password.ptr, password.len);
    phrase[password.len] = 0;
    void *memory = NULL;
    int size = 0;
    const char *made = crypt_ra(phrase, setting, &memory, &size);
    bool holds = made && made[0] != '*' && same(hash, made);
    if (memory)
        secret_wipe(memory, (size_t)size);
    free(memory);
    secret_wipe(phrase, sizeof phrase);
    return holds;
}

bool password_holds(struct span hash, struct span password)
{
    if (!password_is_hash(hash) || password.len > PASSWORD_MAX ||
        span_find(password, 0) < password.len)
        return false;
    if (is_sha1(hash))
        return holds_sha1(hash, password);
    return is_apr1(hash) ? holds_apr1(hash, password) : holds_crypt(hash, password);
}
