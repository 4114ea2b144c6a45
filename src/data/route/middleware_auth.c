/* SPDX-License-Identifier: Apache-2.0 */
/* The middleware `basicAuth` (RFC 7617). */
#include "data/route/middleware_impl.h"

#include "base/secret.h"

#define CREDENTIALS_MAX 1024

static enum middleware_verdict refuse(const struct step *step)
{
    struct middleware_run *run = step->run;
    size_t from = run->text->len;
    middleware_answer(run, 401);
    writer_bytes(run->text, "Basic realm=\"", 13);
    writer_span(run->text, step->m->auth.realm);
    writer_bytes(run->text, "\"", 1);
    if (run->text->bad)
        return middleware_answer(run, 500);
    field_set(run->answer, SPAN_LITERAL("WWW-Authenticate"),
              span_skip(writer_done(run->text), from));
    return MIDDLEWARE_ANSWER;
}

static int digit_of(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* RFC 4648 section 4, padding and all. False: it is not that, or does not fit. */
static bool decode(struct span text, struct writer *out)
{
    if (text.len % 4)
        return false;
    size_t pad = 0;
    while (pad < 2 && pad < text.len && text.ptr[text.len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < text.len; i += 4) {
        uint32_t v = 0;
        size_t n = i + 4 == text.len ? 3 - pad : 3;
        for (size_t k = 0; k < 4; k++) {
            int digit = i + k < text.len - pad ? digit_of(text.ptr[i + k]) : 0;
            if (digit < 0)
                return false;
            v = v << 6 | (uint32_t)digit;
        }
        uint8_t bytes[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        writer_bytes(out, bytes, n);
    }
    return !out->bad;
}

/* The user's name and hash, or NULL. */
static const struct snap_pair *find_user(const struct snapshot *s, struct snap_range users,
                                         struct span name)
{
    uint32_t low = 0, high = users.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct snap_pair *p = &s->pairs[users.first + middle];
        size_t common = p->name.len < name.len ? p->name.len : name.len;
        int order = common ? memcmp(p->name.ptr, name.ptr, common) : 0;
        if (order == 0)
            order = (p->name.len > name.len) - (p->name.len < name.len);
        if (order == 0)
            return p;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Fills the question for whoever may take the time. */
static enum middleware_verdict ask(struct middleware_run *run, const uint8_t *digest,
                                   struct span hash, struct span password, bool no_user)
{
    struct known_question *q = &run->question;
    memcpy(q->digest, digest, KNOWN_DIGEST_BYTES);
    q->hash_len = (uint8_t)hash.len;
    q->password_len = (uint16_t)password.len;
    q->no_user = no_user;
    memcpy(q->hash, hash.ptr, hash.len);
    if (password.len)
        memcpy(q->password, password.ptr, password.len);
    return MIDDLEWARE_WAIT;
}

static enum middleware_verdict judge(const struct step *step, struct span user,
                                     struct span password)
{
    struct middleware_run *run = step->run;
    const struct snap_auth *a = &step->m->auth;
    const struct snap_pair *found = find_user(run->snapshot, a->users, user);
    /* A name that there is not takes as long as one that there is. */
    struct span hash = found ? found->value : run->snapshot->pairs[a->users.first].value;
    uint8_t digest[KNOWN_DIGEST_BYTES];
    if (hash.len > KNOWN_HASH_MAX || password.len > KNOWN_PASSWORD_MAX)
        return refuse(step);
    known_digest(&run->tables->known, user, hash, password, digest);
    switch (known_look_up(&run->tables->known, digest)) {
    case KNOWN_UNKNOWN:
        return ask(run, digest, hash, password, !found);
    case KNOWN_BAD:
        return refuse(step);
    case KNOWN_GOOD:
        break;
    }
    if (!found)
        return refuse(step);
    if (a->header_field.len)
        field_set(run->head, a->header_field, found->name);
    if (a->remove_header)
        field_remove(run->head, SPAN_LITERAL("Authorization"));
    return MIDDLEWARE_PASS;
}

enum middleware_verdict middleware_auth(const struct step *step)
{
    struct span value = field_value(step->run->head, SPAN_LITERAL("Authorization"));
    struct span scheme = span_first(value, span_find(value, ' '));
    uint8_t memory[CREDENTIALS_MAX];
    struct writer text = writer_of(memory, sizeof memory);
    struct span credentials = span_skip(value, scheme.len);
    while (credentials.len && credentials.ptr[0] == ' ')
        credentials = span_skip(credentials, 1);
    enum middleware_verdict v = MIDDLEWARE_ANSWER;
    bool good = span_eq_nocase(scheme, SPAN_LITERAL("Basic")) && decode(credentials, &text);
    struct span pair = writer_done(&text);
    size_t colon = span_find(pair, ':');
    if (good && colon < pair.len)
        v = judge(step, span_first(pair, colon), span_skip(pair, colon + 1));
    else
        refuse(step);
    secret_wipe(memory, sizeof memory);
    return v;
}
