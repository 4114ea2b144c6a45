/* SPDX-License-Identifier: Apache-2.0 */
#include "control/learnt.h"

#include "base/log.h"
#include "crypto/digest.h"

#include <stdio.h>

#define KEY_LEN    32
#define TIME_BYTES 8                  /* in front of a value */
#define RENEW_S    (30 * 86400)       /* an unchanged record is written again after this */
#define OLDEST_S   LEARNT_CHALLENGE_S /* of all kinds */

/* Names may be longer than a key of the store: the beginning of a hash stands for kind and texts.
 */
static struct span key_of(const char *kind, const char *a, const char *b, char ret[KEY_LEN + 1])
{
    struct buf text = {0}, hex = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    buf_printf(&text, "%s\n%s\n%s", kind, a, b);
    digest_once(DIGEST_SHA256, buf_span(&text), hash);
    hex_put(&hex, span_of(hash, KEY_LEN / 2));
    snprintf(ret, KEY_LEN + 1, "%s", buf_cstr(&hex));
    buf_free(&text);
    buf_free(&hex);
    return span_str(ret);
}

static void put(struct state *state, struct span key, const char *text, int64_t now_s)
{
    struct buf value = {0};
    buf_put_be(&value, (uint64_t)now_s, TIME_BYTES);
    buf_put_str(&value, text);
    state_put_soon(state, STATE_LEARNT, key, buf_span(&value));
    buf_free(&value);
}

/* Copies the text; *ret_age_s: since it was written, 0 for a clock that was set back since. */
static bool get(struct state *state, struct span key, int64_t now_s, char *ret, size_t cap,
                int64_t *ret_age_s)
{
    struct buf value = {0};
    bool found = result_is_ok(state_get(state, STATE_LEARNT, key, &value));
    struct reader in = reader_of(buf_span(&value));
    int64_t at_s = (int64_t)reader_be(&in, TIME_BYTES);
    found = found && !in.bad;
    *ret_age_s = found && at_s < now_s ? now_s - at_s : 0;
    if (found)
        snprintf(ret, cap, "%.*s", SPAN_FMT(span_of(in.ptr, in.left)));
    buf_free(&value);
    return found;
}

void learnt_challenge(struct state *state, const char *resolver, const char *name,
                      enum order_challenge challenge, int64_t now_s)
{
    char hex[KEY_LEN + 1];
    struct span key = key_of("challenge", resolver, name, hex);
    const char *text = order_challenge_name(challenge);
    char old[32];
    int64_t age_s;
    if (!get(state, key, now_s, old, sizeof old, &age_s) || strcmp(old, text) || age_s > RENEW_S)
        put(state, key, text, now_s);
}

bool learnt_find_challenge(struct state *state, const char *resolver, const char *name,
                           int64_t now_s, enum order_challenge *ret)
{
    char hex[KEY_LEN + 1];
    struct span key = key_of("challenge", resolver, name, hex);
    char text[32];
    int64_t age_s;
    return get(state, key, now_s, text, sizeof text, &age_s) && age_s <= LEARNT_CHALLENGE_S &&
           order_challenge_find(text, ret);
}

void learnt_staple(struct state *state, const char *ca, bool refuses, int64_t now_s)
{
    char hex[KEY_LEN + 1];
    struct span key = key_of("staple", ca, "", hex);
    if (refuses)
        put(state, key, "refused", now_s);
    else
        state_remove_soon(state, STATE_LEARNT, key);
}

bool learnt_staple_is_refused(struct state *state, const char *ca, int64_t now_s)
{
    char hex[KEY_LEN + 1];
    struct span key = key_of("staple", ca, "", hex);
    char text[32];
    int64_t age_s;
    return get(state, key, now_s, text, sizeof text, &age_s) && age_s <= LEARNT_STAPLE_S;
}

struct prune {
    struct state *state;
    int64_t now_s;
};

static void prune_one(void *arg, struct span key, struct span value)
{
    const struct prune *p = arg;
    struct reader in = reader_of(value);
    if ((int64_t)reader_be(&in, TIME_BYTES) < p->now_s - OLDEST_S || in.bad)
        state_remove_soon(p->state, STATE_LEARNT, key);
}

void learnt_prune(struct state *state, int64_t now_s)
{
    struct prune p = {state, now_s};
    struct why why;
    if (!result_is_ok(state_each(state, STATE_LEARNT, prune_one, &p, &why)))
        log_debug("what was learnt cannot be read: %s", why.text);
}
