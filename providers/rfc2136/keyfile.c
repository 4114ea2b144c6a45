/* SPDX-License-Identifier: Apache-2.0 */
#include "keyfile.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FILE_BYTES_MAX 65536

/* The rest of the text, and the token in front of it. */
struct scanner {
    struct ferrule_str rest, token; /* an empty token is the end */
};

static void drop(struct scanner *s, size_t n)
{
    s->rest.ptr += n;
    s->rest.len -= n;
}

static bool starts(const struct scanner *s, const char *with)
{
    size_t len = strlen(with);
    return s->rest.len >= len && memcmp(s->rest.ptr, with, len) == 0;
}

/* White space and the three kinds of comment. */
static void skip_blank(struct scanner *s)
{
    while (s->rest.len) {
        if (isspace((unsigned char)s->rest.ptr[0])) {
            drop(s, 1);
        } else if (starts(s, "#") || starts(s, "//")) {
            const char *end = memchr(s->rest.ptr, '\n', s->rest.len);
            drop(s, end ? (size_t)(end - s->rest.ptr) : s->rest.len);
        } else if (starts(s, "/*")) {
            const char *end = memmem(s->rest.ptr + 2, s->rest.len - 2, "*/", 2);
            drop(s, end ? (size_t)(end + 2 - s->rest.ptr) : s->rest.len);
        } else {
            return;
        }
    }
}

/* A quoted string without its quotes, one of "{};", or a word. */
static void next(struct scanner *s)
{
    skip_blank(s);
    s->token = (struct ferrule_str){s->rest.ptr, 0};
    if (!s->rest.len)
        return;
    if (s->rest.ptr[0] == '"') {
        drop(s, 1);
        const char *end = memchr(s->rest.ptr, '"', s->rest.len);
        s->token =
            (struct ferrule_str){s->rest.ptr, end ? (size_t)(end - s->rest.ptr) : s->rest.len};
        drop(s, s->token.len + (end != NULL));
        return;
    }
    size_t len = strchr("{};", s->rest.ptr[0]) ? 1 : 0;
    if (!len)
        while (len < s->rest.len && !isspace((unsigned char)s->rest.ptr[len]) &&
               s->rest.ptr[len] != '\0' && !strchr("{};\"", s->rest.ptr[len]))
            len++;
    if (!len)
        len = 1; /* a NUL byte */
    s->token.len = len;
    drop(s, len);
}

static bool is(const struct scanner *s, const char *word)
{
    return s->token.len == strlen(word) && strncasecmp(s->token.ptr, word, s->token.len) == 0;
}

/* The statements between the braces. */
static bool parse_block(struct scanner *s, struct tsig_key *key, char why[160])
{
    for (next(s); s->token.len && !is(s, "}"); next(s)) {
        bool algorithm = is(s, "algorithm"), secret = is(s, "secret");
        if (is(s, ";"))
            continue;
        next(s);
        if (algorithm && !(key->digest = tsig_algorithm(s->token, &key->algorithm))) {
            snprintf(
                why, 160,
                "has algorithm \"%.*s\"; hmac-sha1, -sha224, -sha256, -sha384 and -sha512 work",
                (int)(s->token.len < 40 ? s->token.len : 40), s->token.ptr);
            return false;
        }
        if (secret && !tsig_secret(s->token, key)) {
            snprintf(why, 160, "has a secret that is not Base64");
            return false;
        }
    }
    if (key->digest && key->secret_len)
        return true;
    snprintf(why, 160, "has a key without %s", key->digest ? "secret" : "algorithm");
    return false;
}

bool keyfile_parse(struct ferrule_str text, struct tsig_key *ret, char why[160])
{
    struct scanner s = {.rest = text};
    struct tsig_key key = {0};
    bool good = false;
    for (next(&s); s.token.len; next(&s)) {
        if (!is(&s, "key"))
            continue;
        next(&s);
        struct ferrule_str name = s.token;
        next(&s);
        if (!is(&s, "{"))
            continue;
        good = dns_name_parse(name, &key.name);
        if (!good)
            snprintf(why, 160, "has a key whose name is no DNS name");
        good = good && parse_block(&s, &key, why);
        if (good)
            *ret = key;
        tsig_key_wipe(&key);
        return good;
    }
    snprintf(why, 160, "has no key (write it with: tsig-keygen -a hmac-sha256 NAME)");
    return false;
}

bool keyfile_read(const char *path, struct tsig_key *ret, char why[160])
{
    char text[FILE_BYTES_MAX];
    FILE *f = fopen(path, "re");
    if (!f) {
        snprintf(why, 160, "cannot be read: %s", strerror(errno));
        return false;
    }
    setvbuf(f, NULL, _IONBF, 0); /* no second copy of the secret */
    size_t len = fread(text, 1, sizeof text, f);
    bool good = len < sizeof text && !ferror(f);
    fclose(f);
    if (good)
        good = keyfile_parse((struct ferrule_str){text, len}, ret, why);
    else
        snprintf(why, 160, "is no key file of at most 64 KiB");
    explicit_bzero(text, len);
    return good;
}
