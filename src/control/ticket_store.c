/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ticket_store.h"

#include "base/log.h"
#include "crypto/digest.h"

#define STATE_KEY  "tickets"
#define KEY_BYTES  (16 + 32 + 8)
#define KEEP_FOR_S ((int64_t)TICKET_KEY_COUNT * TICKET_ROTATE_S)

static void encode(const struct ticket_keys *keys, struct buf *out)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        buf_put(out, keys->keys[i].name, sizeof keys->keys[i].name);
        buf_put(out, keys->keys[i].aes, sizeof keys->keys[i].aes);
        buf_put_be(out, (uint64_t)keys->keys[i].born_s, 8);
    }
}

static void decode(struct span in, struct ticket_keys *keys)
{
    struct reader r = reader_of(in);
    keys->count = 0;
    while (r.left >= KEY_BYTES && keys->count < TICKET_KEY_COUNT) {
        struct ticket_key *k = &keys->keys[keys->count++];
        memcpy(k->name, reader_bytes(&r, sizeof k->name).ptr, sizeof k->name);
        memcpy(k->aes, reader_bytes(&r, sizeof k->aes).ptr, sizeof k->aes);
        k->born_s = (int64_t)reader_u64(&r);
    }
}

static void save(struct ticket_store *t)
{
    struct buf text = {0};
    struct why why;
    encode(&t->keys, &text);
    if (!result_is_ok(
            state_put(t->state, STATE_KEYS, SPAN_LITERAL(STATE_KEY), buf_span(&text), &why)))
        log_warn("session ticket keys cannot be stored (%s): tickets will not survive a restart",
                 why.text);
    buf_wipe_free(&text);
}

bool ticket_store_rotate(struct ticket_store *t, int64_t now_s)
{
    struct ticket_keys *k = &t->keys;
    bool changed = false;
    while (k->count && k->keys[k->count - 1].born_s + KEEP_FOR_S <= now_s) {
        secret_wipe(&k->keys[--k->count], sizeof k->keys[0]);
        changed = true;
    }
    /* A birth in the future is a clock that was set back. */
    if (k->count && k->keys[0].born_s <= now_s && k->keys[0].born_s + TICKET_ROTATE_S > now_s)
        return changed;
    if (k->count == TICKET_KEY_COUNT)
        k->count--;
    memmove(&k->keys[1], &k->keys[0], k->count * sizeof k->keys[0]);
    random_bytes(k->keys[0].name, sizeof k->keys[0].name);
    random_bytes(k->keys[0].aes, sizeof k->keys[0].aes);
    k->keys[0].born_s = now_s;
    k->count++;
    save(t);
    return true;
}

int64_t ticket_store_due_s(const struct ticket_store *t)
{
    return t->keys.count ? t->keys.keys[0].born_s + TICKET_ROTATE_S : 0;
}

void ticket_store_open(struct ticket_store *t, struct state *state, int64_t now_s)
{
    struct buf text = {0};
    *t = (struct ticket_store){.state = state};
    if (result_is_ok(state_get(state, STATE_KEYS, SPAN_LITERAL(STATE_KEY), &text)))
        decode(buf_span(&text), &t->keys);
    buf_wipe_free(&text);
    ticket_store_rotate(t, now_s);
}

void ticket_store_close(struct ticket_store *t)
{
    secret_wipe(&t->keys, sizeof t->keys);
}
