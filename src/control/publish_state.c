/* SPDX-License-Identifier: Apache-2.0 */
#include "control/publish_state.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/must.h"
#include "base/siphash.h"
#include "control/publish_choice.h"

#include <search.h>
#include <stdlib.h>

/* A pair of files that is another one at each try has to settle first. */
#define ANSWER_TRIES 4

/* A name of the table and the certificates that carry it. */
struct table_entry {
    char *name;
    struct publish_candidate **list;
    uint32_t count;
    uint64_t ecdsa, rsa; /* as the workers know it */
    bool is_cold;        /* the same: they ask before they have the certificates */
    bool joined;         /* candidates from elsewhere are in the list */
    struct list dirty;   /* linked while its list has changed */
};

struct publish_state {
    bool prefer_acme;
    struct publish_candidate **items;
    uint32_t count, cap;
    void *entries;     /* tree of struct table_entry by name */
    void *slots;       /* tree of struct publish_candidate by slot */
    struct list dirty; /* entries */
    int64_t change_s;
    uint64_t walks;
    struct publish_candidate *fallback;
    uint64_t fallback_sent;
    struct publish_watch watch;
    struct publish_cold cold; /* functions NULL: nothing is elsewhere */
    struct publish_reader reader;
};

static int compare_entries(const void *a, const void *b)
{
    const struct table_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static struct table_entry *find_entry(struct publish_state *ps, const char *name)
{
    struct table_entry key = {.name = (char *)name};
    struct table_entry **hit = tfind(&key, &ps->entries, compare_entries);
    return hit ? *hit : NULL;
}

static struct table_entry *take_entry(struct publish_state *ps, const char *name)
{
    struct table_entry *e = find_entry(ps, name);
    if (e)
        return e;
    e = mem_zalloc(sizeof *e);
    e->name = mem_strdup(name);
    list_init(&e->dirty);
    must(tsearch(e, &ps->entries, compare_entries));
    return e;
}

static void mark(struct publish_state *ps, struct table_entry *e)
{
    list_remove(&e->dirty);
    list_append(&ps->dirty, &e->dirty);
}

static void entry_free(void *p)
{
    struct table_entry *e = p;
    free(e->name);
    free(e->list);
    free(e);
}

/* ---- preference -------------------------------------------------------------------------------
 */

/* readable: none but those that can be used. */
static struct publish_candidate *best(const struct publish_state *ps, const struct table_entry *e,
                                      bool rsa, int64_t now_s, bool readable)
{
    struct publish_candidate *found = NULL;
    const char *why;
    for (uint32_t i = 0; i < e->count; i++)
        if (e->list[i]->leaf.is_rsa == rsa && !(readable && e->list[i]->is_unreadable) &&
            (!found || publish_choice_compare(ps->prefer_acme, e->list[i], found, now_s, &why) > 0))
            found = e->list[i];
    return found;
}

/* The best of each kind of key; the second kind only when nothing but date and name set it back,
 * so that no expired or less preferred certificate is served because of a client's algorithms. */
static void choose(const struct publish_state *ps, const struct table_entry *e, int64_t now_s,
                   bool readable, struct publish_candidate **ret_ecdsa,
                   struct publish_candidate **ret_rsa)
{
    struct publish_candidate *a = best(ps, e, false, now_s, readable);
    struct publish_candidate *b = best(ps, e, true, now_s, readable);
    const char *why;
    if (a && b &&
        (publish_choice_is_valid(a, now_s) != publish_choice_is_valid(b, now_s) ||
         !a->before != !b->before ||
         (a->source == PUBLISH_SOURCE_ACME) != (b->source == PUBLISH_SOURCE_ACME))) {
        if (publish_choice_compare(ps->prefer_acme, a, b, now_s, &why) > 0)
            b = NULL;
        else
            a = NULL;
    }
    *ret_ecdsa = a;
    *ret_rsa = b;
}

/* ---- candidates -------------------------------------------------------------------------------
 */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *make_identifier(const struct x509 *leaf)
{
    struct buf text = {0};
    char **sorted = mem_dup(leaf->names, leaf->name_count * sizeof *sorted);
    qsort(sorted, leaf->name_count, sizeof *sorted, compare_text);
    for (uint32_t i = 0; i < leaf->name_count; i++)
        buf_printf(&text, "%s%s", i ? "," : "", sorted[i]);
    free(sorted);
    buf_put(&text, "", 1);
    buf_fit(&text);
    return (char *)text.ptr;
}

static void candidate_free(struct publish_candidate *c)
{
    free(c->identifier);
    free(c->origin);
    free(c->slot);
    x509_free(&c->leaf);
    buf_free(&c->chain);
    buf_wipe_free(&c->key);
    buf_free(&c->staple);
    free(c);
}

/* is_new: the candidate; it stands last in the list of a name that it has twice. */
static void link_name(struct publish_state *ps, struct publish_candidate *c, const char *name,
                      bool is_new)
{
    struct table_entry *e = take_entry(ps, name);
    for (uint32_t i = is_new && e->count ? e->count - 1 : 0; i < e->count; i++)
        if (e->list[i] == c)
            return;
    e->list = mem_grow(e->list, (e->count + 1) * sizeof *e->list);
    e->list[e->count++] = c;
    mark(ps, e);
}

static void link_names(struct publish_state *ps, struct publish_candidate *c, bool is_new)
{
    if (c->source == PUBLISH_SOURCE_DEFAULT) {
        ps->fallback = c;
        return;
    }
    for (uint32_t i = 0; i < c->leaf.name_count; i++)
        link_name(ps, c, c->leaf.names[i], is_new);
}

static void unlink_names(struct publish_state *ps, struct publish_candidate *c)
{
    if (ps->fallback == c)
        ps->fallback = NULL;
    for (uint32_t i = 0; i < c->leaf.name_count; i++) {
        struct table_entry *e = find_entry(ps, c->leaf.names[i]);
        for (uint32_t k = 0; e && k < e->count; k++)
            if (e->list[k] == c) {
                e->list[k] = e->list[--e->count];
                e->joined = e->joined && e->count;
                mark(ps, e);
                break;
            }
    }
}

static int compare_slots(const void *a, const void *b)
{
    const struct publish_candidate *x = a, *y = b;
    return strcmp(x->slot, y->slot);
}

static struct publish_candidate *find_slot(struct publish_state *ps, const char *slot)
{
    struct publish_candidate key = {.slot = (char *)slot};
    struct publish_candidate **hit = tfind(&key, &ps->slots, compare_slots);
    return hit ? *hit : NULL;
}

const struct publish_candidate *publish_state_find(struct publish_state *ps, const char *slot)
{
    return find_slot(ps, slot);
}

/* One that is in no slot any more. */
static void drop(struct publish_state *ps, struct publish_candidate *c)
{
    if (ps->watch.dropped)
        ps->watch.dropped(ps->watch.arg, c);
    unlink_names(ps, c);
    ps->items[c->index] = ps->items[--ps->count];
    ps->items[c->index]->index = c->index;
    candidate_free(c);
}

void publish_state_drop(struct publish_state *ps, const char *slot)
{
    struct publish_candidate *c = find_slot(ps, slot);
    if (!c)
        return;
    tdelete(c, &ps->slots, compare_slots);
    if (c->before)
        drop(ps, c->before);
    drop(ps, c);
}

/* Would clients be worse off with c at once than with what is served now? */
static bool has_to_wait(const struct publish_state *ps, const struct publish_candidate *served,
                        const struct publish_candidate *c)
{
    return ps->watch.added && !served->is_cold && c->source != PUBLISH_SOURCE_DEFAULT &&
           c->leaf.must_staple && c->leaf.ocsp_url &&
           publish_choice_is_valid(served, clock_wall_s()) && !served->revoked &&
           (!served->leaf.must_staple || served->staple.len);
}

/* Empties the slot for c. */
static void replace(struct publish_state *ps, struct publish_candidate *old,
                    struct publish_candidate *c)
{
    struct publish_candidate *served = old->before ? old->before : old;
    tdelete(old, &ps->slots, compare_slots);
    if (old != served)
        drop(ps, old);
    if (!has_to_wait(ps, served, c)) {
        drop(ps, served);
        return;
    }
    c->before = served;
    served->slot[0] = '\0';
}

void publish_state_release(struct publish_state *ps, struct publish_candidate *c)
{
    struct publish_candidate *before = c->before;
    if (!before)
        return;
    c->before = NULL;
    drop(ps, before);
    for (uint32_t i = 0; i < c->leaf.name_count; i++) {
        struct table_entry *e = find_entry(ps, c->leaf.names[i]);
        if (e)
            mark(ps, e);
    }
}

void publish_state_revoked(struct publish_state *ps, struct span leaf)
{
    for (uint32_t i = 0; i < ps->count; i++) {
        struct reader r = reader_of(buf_span(&ps->items[i]->chain));
        if (span_eq(reader_bytes(&r, reader_be(&r, 3)), leaf))
            ps->items[i]->revoked = true;
    }
}

/* The earlier of the two, of times that are still to come. */
static void note_change(struct publish_state *ps, const struct x509 *leaf, int64_t now_s)
{
    int64_t at = leaf->not_before_s > now_s   ? leaf->not_before_s
                 : leaf->not_after_s >= now_s ? leaf->not_after_s + 1
                                              : 0;
    if (at && (!ps->change_s || at < ps->change_s))
        ps->change_s = at;
}

/* c replaces what was in its slot. */
static void insert(struct publish_state *ps, struct publish_candidate *old,
                   struct publish_candidate *c, enum publish_source source, const char *origin,
                   const char *slot)
{
    c->source = source;
    c->origin = mem_strdup(origin);
    c->slot = mem_strdup(slot);
    c->identifier = make_identifier(&c->leaf);
    if (old)
        replace(ps, old, c);
    if (ps->count == ps->cap) {
        ps->cap = ps->cap ? ps->cap * 2 : 64;
        ps->items = mem_grow(ps->items, ps->cap * sizeof *ps->items);
    }
    c->index = ps->count;
    ps->items[ps->count++] = c;
    must(tsearch(c, &ps->slots, compare_slots));
    note_change(ps, &c->leaf, clock_wall_s());
}

/* A certificate in a slot, not yet linked to names. *ret_new: it was not there. */
static struct result put_slot(struct publish_state *ps, enum publish_source source,
                              const char *origin, const char *slot, struct span chain,
                              struct span key, struct publish_candidate **ret, bool *ret_new,
                              struct why *why)
{
    struct reader r = reader_of(chain);
    struct span der = reader_bytes(&r, reader_be(&r, 3));
    struct publish_candidate *old = find_slot(ps, slot);
    *ret_new = false;
    if (old && !old->is_cold && old->source == source && span_eq(buf_span(&old->chain), chain) &&
        span_eq(buf_span(&old->key), key) && !strcmp(old->origin, origin)) {
        *ret = old;
        return result_ok();
    }
    struct publish_candidate *c = mem_zalloc(sizeof *c);
    struct result result =
        r.bad ? why_fail(why, ERR_FORMAT, "the chain is empty") : x509_parse(der, &c->leaf, why);
    if (!result_is_ok(result)) {
        free(c);
        return result;
    }
    c->id = x509_chain_id(chain);
    c->chain = buf_copy(chain);
    c->key = buf_copy(key);
    insert(ps, old, c, source, origin, slot);
    *ret = c;
    *ret_new = true;
    return result_ok();
}

struct result publish_state_put(struct publish_state *ps, enum publish_source source,
                                const char *origin, const char *slot, struct span chain,
                                struct span key, const struct publish_candidate **ret,
                                struct why *why)
{
    struct publish_candidate *c;
    bool is_new;
    TRY(put_slot(ps, source, origin, slot, chain, key, &c, &is_new, why));
    link_names(ps, c, is_new);
    if (is_new && ps->watch.added)
        ps->watch.added(ps->watch.arg, c);
    *ret = c;
    return result_ok();
}

struct result publish_state_put_name(struct publish_state *ps, const char *origin, const char *slot,
                                     struct span chain, struct span key, const char *name,
                                     const struct publish_candidate **ret, struct why *why)
{
    struct publish_candidate *c;
    bool is_new;
    TRY(put_slot(ps, PUBLISH_SOURCE_ACME, origin, slot, chain, key, &c, &is_new, why));
    if (x509_has_name(&c->leaf, name)) /* a store may say what is not so */
        link_name(ps, c, name, is_new);
    if (is_new && ps->watch.added)
        ps->watch.added(ps->watch.arg, c);
    *ret = c;
    return result_ok();
}

void publish_state_put_cold(struct publish_state *ps, const char *origin, const char *slot,
                            uint64_t id, struct x509 *leaf)
{
    struct publish_candidate *old = find_slot(ps, slot);
    if (old && old->is_cold && !old->is_unreadable && old->id == id &&
        !strcmp(old->origin, origin)) {
        x509_free(leaf);
        return;
    }
    struct publish_candidate *c = mem_zalloc(sizeof *c);
    c->id = id;
    c->is_cold = true;
    c->leaf = *leaf;
    *leaf = (struct x509){0};
    insert(ps, old, c, PUBLISH_SOURCE_PROVIDED, origin, slot);
    link_names(ps, c, true);
}

void publish_state_unreadable(struct publish_state *ps, const char *slot)
{
    struct publish_candidate *c = find_slot(ps, slot);
    if (c && c->is_cold)
        c->is_unreadable = true;
}

bool publish_state_serves(struct publish_state *ps, const char *name)
{
    const struct table_entry *e = find_entry(ps, name);
    return e && e->count;
}

void publish_state_use_cold(struct publish_state *ps, const struct publish_cold *cold)
{
    ps->cold = *cold;
}

void publish_state_use_reader(struct publish_state *ps, const struct publish_reader *reader)
{
    ps->reader = *reader;
}

void publish_state_watch(struct publish_state *ps, const struct publish_watch *watch)
{
    must(ps->count == 0);
    ps->watch = *watch;
}

void publish_state_staple(struct publish_candidate *candidate, struct span response,
                          int64_t until_s, struct buf *out)
{
    buf_free(&candidate->staple);
    buf_put_span(&candidate->staple, response);
    candidate->staple_until_s = until_s;
    publish_staple(out, candidate->id, response, until_s);
}

void publish_state_prefer(struct publish_state *ps, bool acme)
{
    ps->prefer_acme = acme;
}

struct publish_state *publish_state_create(bool prefer_acme)
{
    struct publish_state *ps = mem_zalloc(sizeof *ps);
    ps->prefer_acme = prefer_acme;
    list_init(&ps->dirty);
    return ps;
}

static void leave_alone(void *p)
{
}

void publish_state_destroy(struct publish_state *ps)
{
    if (!ps)
        return;
    tdestroy(ps->slots, leave_alone);
    tdestroy(ps->entries, entry_free);
    for (uint32_t i = 0; i < ps->count; i++)
        candidate_free(ps->items[i]);
    free(ps->items);
    free(ps);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

/* What was read for a cold certificate. */
struct read_pair {
    struct buf chain, key;
};

struct walk {
    struct publish_state *ps;
    int64_t now_s;
    const struct read_pair *read; /* [is_rsa]; NULL: nothing that is cold is sent */
    struct buf certs, names;      /* certificates go out before the names that use them */
};

static bool is_apart(const struct table_entry *e)
{
    return e->count && !e->joined;
}

/* Where a name has candidates, all of its certificates are to be among them. What joins marks names
 * anew, also some whose turn has not come. */
static void join_dirty(struct publish_state *ps)
{
    bool again = ps->cold.join;
    while (again) {
        struct list left, *node;
        list_init(&left);
        while ((node = list_pop(&ps->dirty)))
            list_append(&left, node);
        while ((node = list_pop(&left))) {
            struct table_entry *e = LIST_ENTRY(node, struct table_entry, dirty);
            list_append(&ps->dirty, node);
            if (!is_apart(e))
                continue;
            e->joined = true;
            ps->cold.join(ps->cold.arg, e->name);
        }
        again = false;
        for (node = ps->dirty.next; node != &ps->dirty && !again; node = node->next)
            again = is_apart(LIST_ENTRY(node, struct table_entry, dirty));
    }
}

/* The workers drop a certificate with its last name, so each walk sends those that it names. */
static struct walk walk_begin(struct publish_state *ps, int64_t now_s)
{
    ps->walks++;
    join_dirty(ps);
    return (struct walk){.ps = ps, .now_s = now_s};
}

/* The workers may still have the certificate itself, of a name that is cold. */
static void send_staple(struct walk *w, struct publish_candidate *c)
{
    if (!c || !c->staple.len || c->staple_sent == w->ps->walks)
        return;
    publish_staple(&w->certs, c->id, buf_span(&c->staple), c->staple_until_s);
    c->staple_sent = w->ps->walks;
}

static void send_cert(struct walk *w, struct publish_candidate *c)
{
    if (!c || c->sent == w->ps->walks)
        return;
    struct publish_cert cert = {.id = c->id,
                                .is_rsa = c->leaf.is_rsa,
                                .not_after_s = c->leaf.not_after_s,
                                .chain = buf_span(&c->chain),
                                .key = buf_span(&c->key)};
    if (c->is_cold) {
        must(w->read);
        cert.chain = buf_span(&w->read[c->leaf.is_rsa].chain);
        cert.key = buf_span(&w->read[c->leaf.is_rsa].key);
    }
    publish_cert(&w->certs, &cert);
    c->sent = w->ps->walks;
    c->staple_sent = 0;
    send_staple(w, c);
}

static bool is_one_cold(const struct publish_candidate *ecdsa, const struct publish_candidate *rsa)
{
    return (ecdsa && ecdsa->is_cold) || (rsa && rsa->is_cold);
}

/* Another one whenever a name has other certificates. */
static uint64_t cold_tag(uint64_t ecdsa, uint64_t rsa)
{
    static const struct siphash_key key = {{0x636f6c6420706169ull, 0x7273206f66206669ull}};
    uint8_t bytes[16];
    struct writer w = writer_of(bytes, sizeof bytes);
    writer_be(&w, ecdsa, 8);
    writer_be(&w, rsa, 8);
    uint64_t tag = siphash(&key, span_of(bytes, sizeof bytes), SPAN_LITERAL(""));
    return tag ? tag : 1;
}

static void emit(struct walk *w, struct table_entry *e)
{
    struct publish_candidate *ecdsa, *rsa;
    choose(w->ps, e, w->now_s, false, &ecdsa, &rsa);
    uint64_t ecdsa_id = ecdsa ? ecdsa->id : 0, rsa_id = rsa ? rsa->id : 0;
    bool cold = is_one_cold(ecdsa, rsa);
    if (e->ecdsa == ecdsa_id && e->rsa == rsa_id && e->is_cold == cold)
        return;
    if (cold) {
        send_staple(w, ecdsa);
        send_staple(w, rsa);
        publish_cold_name(&w->names, span_str(e->name), cold_tag(ecdsa_id, rsa_id));
    } else if (ecdsa_id || rsa_id) {
        send_cert(w, ecdsa);
        send_cert(w, rsa);
        publish_name(&w->names, span_str(e->name), ecdsa_id, rsa_id, 0);
    } else {
        uint64_t tag = w->ps->cold.tag ? w->ps->cold.tag(w->ps->cold.arg, e->name) : 0;
        if (tag)
            publish_cold_name(&w->names, span_str(e->name), tag);
        else
            publish_name_remove(&w->names, span_str(e->name));
    }
    e->ecdsa = ecdsa_id;
    e->rsa = rsa_id;
    e->is_cold = cold;
}

static void finish(struct walk *w, struct buf *out)
{
    struct publish_state *ps = w->ps;
    struct publish_candidate *d = ps->fallback;
    if (d && ps->fallback_sent != d->id) {
        send_cert(w, d);
        publish_name(&w->names, span_of("", 0), d->leaf.is_rsa ? 0 : d->id,
                     d->leaf.is_rsa ? d->id : 0, PUBLISH_NAME_DEFAULT);
        ps->fallback_sent = d->id;
    }
    buf_put_span(out, buf_span(&w->certs));
    buf_put_span(out, buf_span(&w->names));
    buf_wipe_free(&w->certs);
    buf_free(&w->names);
}

void publish_state_update(struct publish_state *ps, int64_t now_s, struct buf *out)
{
    struct walk w = walk_begin(ps, now_s);
    struct list *node;
    while ((node = list_pop(&ps->dirty)))
        emit(&w, LIST_ENTRY(node, struct table_entry, dirty));
    finish(&w, out);
}

static void emit_one(const void *node, VISIT which, void *arg)
{
    if (which == postorder || which == leaf)
        emit(arg, *(struct table_entry *const *)node);
}

void publish_state_reorder(struct publish_state *ps, int64_t now_s, struct buf *out)
{
    struct walk w = walk_begin(ps, now_s);
    twalk_r(ps->entries, emit_one, &w);
    finish(&w, out);
    ps->change_s = 0;
    for (uint32_t i = 0; i < ps->count; i++)
        note_change(ps, &ps->items[i]->leaf, now_s);
}

static void forget_one(const void *node, VISIT which, void *arg)
{
    struct table_entry *e = *(struct table_entry *const *)node;
    if (which == postorder || which == leaf)
        e->ecdsa = e->rsa = e->is_cold = 0;
}

void publish_state_sync(struct publish_state *ps, int64_t now_s, struct buf *out)
{
    ps->fallback_sent = 0;
    twalk_r(ps->entries, forget_one, NULL);
    publish_state_reorder(ps, now_s, out);
}

/* ---- cold ones --------------------------------------------------------------------------------
 */

/* What the workers are told is not what emit() would say when a better one cannot be read: the next
 * walk makes the name cold again. in_part: the same, and they ask again as of a cold one. */
static void tell_read(struct walk *w, struct table_entry *e,
                      struct publish_candidate *const chosen[2], bool in_part,
                      const struct read_pair read[2], struct buf *out)
{
    w->read = read;
    e->ecdsa = chosen[0] ? chosen[0]->id : 0;
    e->rsa = chosen[1] ? chosen[1]->id : 0;
    e->is_cold = in_part || is_one_cold(chosen[0], chosen[1]);
    send_cert(w, chosen[0]);
    send_cert(w, chosen[1]);
    if (e->is_cold)
        publish_warm_name(&w->names, span_str(e->name), e->ecdsa, e->rsa,
                          cold_tag(e->ecdsa, e->rsa));
    else if (e->ecdsa || e->rsa)
        publish_name(&w->names, span_str(e->name), e->ecdsa, e->rsa, 0);
    else
        publish_name_remove(&w->names, span_str(e->name));
    finish(w, out);
}

enum publish_read publish_state_read(struct publish_state *ps, const struct publish_candidate *c,
                                     struct buf *ret_chain, struct buf *ret_key)
{
    if (c->is_cold)
        return ps->reader.read(ps->reader.arg, c, NULL, ret_chain, ret_key);
    *ret_chain = buf_copy(buf_span(&c->chain));
    *ret_key = buf_copy(buf_span(&c->key));
    return PUBLISH_READ_DONE;
}

/* Reads those of the two that are cold. What cannot be read now is chosen no more. */
static enum publish_read read_chosen(struct publish_state *ps, const char *name,
                                     struct publish_candidate *chosen[2], struct read_pair read[2])
{
    enum publish_read got = PUBLISH_READ_DONE;
    for (int i = 0; i < 2 && got != PUBLISH_READ_CHANGED; i++) {
        enum publish_read one = PUBLISH_READ_DONE;
        if (chosen[i] && chosen[i]->is_cold)
            one = ps->reader.read(ps->reader.arg, chosen[i], name, &read[i].chain, &read[i].key);
        if (one == PUBLISH_READ_LATER)
            chosen[i] = NULL;
        if (one != PUBLISH_READ_DONE)
            got = one;
    }
    return got;
}

void publish_state_answer(struct publish_state *ps, const char *name, int64_t now_s,
                          struct buf *out)
{
    enum publish_read got = PUBLISH_READ_CHANGED;
    for (int tries = 0; tries < ANSWER_TRIES && got == PUBLISH_READ_CHANGED; tries++) {
        struct walk w = walk_begin(ps, now_s); /* what joins may replace others: not later */
        struct table_entry *e = find_entry(ps, name);
        struct publish_candidate *chosen[2];
        struct read_pair read[2] = {0};
        if (!e || !e->is_cold) /* the workers were told of others, or are */
            return;
        choose(ps, e, now_s, true, &chosen[0], &chosen[1]);
        got = read_chosen(ps, name, chosen, read);
        if (got == PUBLISH_READ_DONE || (got == PUBLISH_READ_LATER && (chosen[0] || chosen[1])))
            tell_read(&w, e, chosen, got == PUBLISH_READ_LATER, read, out);
        for (int i = 0; i < 2; i++) {
            buf_free(&read[i].chain);
            buf_wipe_free(&read[i].key);
        }
    }
}

int64_t publish_state_change_s(const struct publish_state *ps)
{
    return ps->change_s;
}

uint32_t publish_state_count(const struct publish_state *ps)
{
    return ps->count;
}

const struct publish_candidate *publish_state_at(const struct publish_state *ps, uint32_t index)
{
    must(index < ps->count);
    return ps->items[index];
}

/* ---- explain ----------------------------------------------------------------------------------
 */

static uint32_t rank(struct publish_state *ps, const struct table_entry *e, int64_t now_s,
                     struct publish_rank *ranks, uint32_t max)
{
    struct publish_candidate *ecdsa, *rsa;
    uint32_t count = 0;
    choose(ps, e, now_s, true, &ecdsa, &rsa);
    for (uint32_t i = 0; i < e->count; i++) {
        struct publish_rank r = {e->list[i], e->list[i] == ecdsa || e->list[i] == rsa, e->name, ""};
        const char *why;
        uint32_t at = count < max ? count++ : max;
        while (at > 0 && publish_choice_compare(ps->prefer_acme, r.candidate,
                                                ranks[at - 1].candidate, now_s, &why) > 0) {
            if (at < max)
                ranks[at] = ranks[at - 1];
            at--;
        }
        if (at < max)
            ranks[at] = r;
    }
    for (uint32_t i = 0; i < count; i++) {
        ranks[i].why = "the only one";
        if (i + 1 < count)
            publish_choice_compare(ps->prefer_acme, ranks[i].candidate, ranks[i + 1].candidate,
                                   now_s, &ranks[i].why);
        else if (i > 0)
            ranks[i].why = publish_choice_is_valid(ranks[i].candidate, now_s)
                               ? "the others are better"
                               : "expired or not valid yet";
    }
    return count;
}

uint32_t publish_state_explain(struct publish_state *ps, const char *sni, int64_t now_s,
                               struct publish_rank *ranks, uint32_t max)
{
    struct table_entry *e = sni[0] ? find_entry(ps, sni) : NULL;
    const char *dot = strchr(sni, '.');
    if ((!e || !e->count) && dot) {
        char *wildcard = mem_printf("*%s", dot);
        e = find_entry(ps, wildcard);
        free(wildcard);
    }
    if (e && e->count)
        return rank(ps, e, now_s, ranks, max);
    if (!ps->fallback || !max)
        return 0;
    ranks[0] =
        (struct publish_rank){ps->fallback, true, "", "the default: no certificate has the name"};
    return 1;
}
