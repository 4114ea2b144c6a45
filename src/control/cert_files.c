/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_files.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/siphash.h"
#include "config/pair_index.h"
#include "control/watch.h"

#include <stdlib.h>

#define SLOT_PREFIX "file:"
/* So many are tried again in one turn, and after a pause the next. */
#define RETRY_AT_ONCE  16
#define RETRY_PAUSE_MS 100
#define RETRY_SLOWEST  16 /* times the first wait */

/* No name comes twice. */
struct names {
    char **list;
    uint32_t count;
};

/* A certificate of the configuration. */
struct item {
    char *paths[2]; /* by enum pair_part; "(...)" when the text stands in the configuration */
    char *slot;
    enum publish_source source;
    struct pair_record record; /* of cold ones */
    uint64_t id;               /* of the chain that was put last; 0 = none */
    bool is_cold;              /* neither chain nor key is kept here */
    uint64_t doubtful_until_ns;
    bool dirty;         /* a file has changed */
    bool doubtful;      /* could not be used, but may be half written: for so long */
    struct names asked; /* that clients waited for while it was */
    bool given_up;      /* cold, and cannot be used */
    uint64_t told;      /* a hash of what the log says of that; 0 = nothing yet */
};

struct path_ref {
    const char *path;
    uint32_t item;
};

struct cert_files {
    struct cert_files_options options;
    struct watch *watch; /* NULL: the kernel refused */
    struct loop_timer patience;
    struct loop_timer retry;
    uint32_t retry_at;           /* the next item */
    uint32_t retry_times;        /* retry_ms that is waited */
    struct loop_timer overtaken; /* at once: in the next turn the configuration is published */
    struct names waiting;        /* what clients waited for when another one was taken into use */
    struct item *items;
    uint32_t count;
    struct path_ref *refs; /* sorted by path */
    uint32_t ref_count;
    bool cold; /* there are more than are kept */
    bool ocsp; /* responders are asked */
};

static bool put(struct cert_files *f, struct item *it, struct span chain, struct span key)
{
    const struct publish_candidate *added;
    struct why why;
    if (!result_is_ok(publish_state_put(f->options.certificates, it->source, it->paths[PAIR_CERT],
                                        it->slot, chain, key, &added, &why))) {
        log_error("%s cannot be used: %s", it->paths[PAIR_CERT], why.text);
        return false;
    }
    it->id = added->id;
    it->is_cold = it->given_up = false;
    it->told = 0;
    return true;
}

static void put_cold(struct cert_files *f, struct item *it, struct pair_facts *facts)
{
    publish_state_put_cold(f->options.certificates, it->paths[PAIR_CERT], it->slot, facts->id,
                           &facts->leaf);
    it->id = facts->id;
    pair_record_free(&it->record);
    it->record = facts->record;
    facts->record = (struct pair_record){.findings = NULL};
    it->is_cold = true;
    it->given_up = false;
    it->told = 0;
}

/* Both are files, whose changes are noticed. */
static bool is_watched(const struct item *it)
{
    return it->paths[PAIR_CERT][0] == '/' && it->paths[PAIR_KEY][0] == '/';
}

/* What is known of cold ones has changed. */
static void note_known(struct cert_files *f)
{
    if (f->options.known_changed)
        f->options.known_changed(f->options.arg);
}

static bool put_pair(struct cert_files *f, struct item *it, struct pair *pair)
{
    struct pair_facts facts;
    if (!f->cold || it->source != PUBLISH_SOURCE_PROVIDED || !is_watched(it) ||
        !pair_may_be_cold(&pair->leaf, f->ocsp))
        return put(f, it, buf_span(&pair->chain), buf_span(&pair->key));
    pair_facts_take(pair, &facts);
    put_cold(f, it, &facts);
    note_known(f);
    return true;
}

/* ---- reading again ----------------------------------------------------------------------------
 */

/* What a pair of files has to say, kept until it is known whether it is to be said. */
struct findings {
    struct buf lines; /* each behind 'W' or 'E' */
};

static void collect(void *arg, enum pair_part about, bool warning, const char *text)
{
    struct findings *found = arg;
    buf_printf(&found->lines, "%c%s\n", warning ? 'W' : 'E', text);
}

static void tell(struct findings *found)
{
    for (char *line = buf_cstr(&found->lines), *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        log_line(line[0] == 'W' ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "%s", line + 1);
    }
}

static bool read_item(struct item *it, struct findings *found, struct pair *ret)
{
    struct pair_source source = {.text = {it->paths[PAIR_CERT], it->paths[PAIR_KEY]},
                                 .name = {it->paths[PAIR_CERT], it->paths[PAIR_KEY]},
                                 .now_s = clock_wall_s(),
                                 .say = collect,
                                 .arg = found};
    struct pair pair;
    if (!pair_read(&source, &pair))
        return false;
    if (pair.chain.len + pair.key.len <= PUBLISH_CERT_BYTES_MAX) {
        *ret = pair;
        return true;
    }
    buf_printf(&found->lines, "E%s has too many certificates\n", it->paths[PAIR_CERT]);
    pair_free(&pair);
    return false;
}

/* It says the same as before, in files that look otherwise. */
static void note_look(struct cert_files *f, struct item *it, struct pair *pair)
{
    if (!it->is_cold || (pair_look_eq(&it->record.look[PAIR_CERT], &pair->record.look[PAIR_CERT]) &&
                         pair_look_eq(&it->record.look[PAIR_KEY], &pair->record.look[PAIR_KEY])))
        return;
    pair_record_free(&it->record);
    it->record = pair->record;
    pair->record = (struct pair_record){.findings = NULL};
    note_known(f);
}

/* Puts a pair that was read, when it is another one than that before. */
static bool use_read(struct cert_files *f, struct item *it, struct findings *found,
                     struct pair *pair)
{
    it->doubtful = false;
    if (x509_chain_id(buf_span(&pair->chain)) == it->id && !it->given_up) {
        note_look(f, it, pair);
        return false;
    }
    tell(found);
    char *name = mem_strdup(pair->leaf.name_count ? pair->leaf.names[0] : pair->leaf.subject);
    bool is_new = put_pair(f, it, pair);
    if (is_new)
        log_info("%s has changed: its certificate of %s is served now", it->paths[PAIR_CERT], name);
    free(name);
    return is_new;
}

static void wait_to_retry(struct cert_files *f, uint64_t wait_ms)
{
    loop_timer_set(f->options.loop, &f->retry, clock_now_ns() + wait_ms * NS_PER_MS);
}

static uint64_t hash_of(const struct findings *found)
{
    static const struct siphash_key key = {{0x77686174206c6f67ull, 0x7320686176652074ull}};
    return siphash(&key, buf_span(&found->lines), SPAN_LITERAL("")) | 1;
}

static void give_up(struct cert_files *f, struct item *it, struct findings *found)
{
    uint64_t hash = hash_of(found);
    if (hash != it->told) {
        tell(found);
        log_error("%s and %s cannot be used: %s", it->paths[PAIR_CERT], it->paths[PAIR_KEY],
                  it->is_cold ? "the certificate from before is served while it is in memory"
                              : "the certificate from before goes on being served");
    }
    if (!it->is_cold)
        return;
    it->told = hash;
    if (!it->given_up) {
        f->retry_at = 0;
        f->retry_times = 1;
        wait_to_retry(f, f->options.retry_ms);
    }
    it->given_up = true;
    publish_state_unreadable(f->options.certificates, it->slot);
}

static void doubt(const struct cert_files *f, struct item *it)
{
    if (!it->doubtful)
        it->doubtful_until_ns = clock_now_ns() + f->options.patience_ms * NS_PER_MS;
    it->doubtful = true;
}

/* True when something new was put. `last`: what does not fit now will not be waited for. */
static bool read_again(struct cert_files *f, struct item *it, bool last)
{
    struct findings found = {0};
    struct pair pair;
    bool is_new = false;
    it->dirty = false;
    if (read_item(it, &found, &pair)) {
        is_new = use_read(f, it, &found, &pair);
        pair_free(&pair);
    } else {
        if (last) {
            it->doubtful = false;
            give_up(f, it, &found);
        } else {
            doubt(f, it);
        }
    }
    buf_free(&found.lines);
    return is_new;
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

/* Until the first of the doubtful ones is due. */
static void be_patient(struct cert_files *f)
{
    uint64_t at_ns = UINT64_MAX;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].doubtful && f->items[i].doubtful_until_ns < at_ns)
            at_ns = f->items[i].doubtful_until_ns;
    if (at_ns == UINT64_MAX)
        loop_timer_cancel(f->options.loop, &f->patience);
    else
        loop_timer_set(f->options.loop, &f->patience, at_ns);
}

static void names_add(struct names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++)
        if (!strcmp(names->list[i], name))
            return;
    names->list = mem_grow(names->list, (names->count + 1) * sizeof *names->list);
    names->list[names->count++] = mem_strdup(name);
}

static void names_free(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
    *names = (struct names){0};
}

/* Clients that wait have the one or the other now. */
static void answer(struct cert_files *f, struct names *names)
{
    struct names asked = *names; /* some may be asked for again at once */
    *names = (struct names){0};
    for (uint32_t i = 0; i < asked.count; i++)
        f->options.answer(f->options.arg, asked.list[i]);
    names_free(&asked);
}

static void answer_overtaken(struct loop_timer *t)
{
    struct cert_files *f = LIST_ENTRY(t, struct cert_files, overtaken);
    answer(f, &f->waiting);
}

static void settle(struct cert_files *f, bool any)
{
    if (any)
        f->options.changed(f->options.arg);
    for (uint32_t i = 0; i < f->count; i++)
        if (!f->items[i].doubtful)
            answer(f, &f->items[i].asked);
}

static void out_of_patience(struct loop_timer *t)
{
    struct cert_files *f = LIST_ENTRY(t, struct cert_files, patience);
    uint64_t now_ns = clock_now_ns();
    bool any = false;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].doubtful && f->items[i].doubtful_until_ns <= now_ns)
            any = read_again(f, &f->items[i], true) || any;
    be_patient(f);
    settle(f, any);
}

/* Those that are given up, some at a time. */
static void try_again(struct loop_timer *t)
{
    struct cert_files *f = LIST_ENTRY(t, struct cert_files, retry);
    uint32_t tried = 0;
    bool any = false;
    for (; f->retry_at < f->count && tried < RETRY_AT_ONCE; f->retry_at++) {
        struct item *it = &f->items[f->retry_at];
        if (!it->given_up || it->doubtful)
            continue;
        tried++;
        any = read_again(f, it, true) || any;
    }
    if (f->retry_at < f->count) {
        wait_to_retry(f, RETRY_PAUSE_MS);
    } else {
        bool left = false;
        for (uint32_t i = 0; i < f->count; i++)
            left = left || f->items[i].given_up;
        f->retry_at = 0;
        f->retry_times = f->retry_times < RETRY_SLOWEST ? 2 * f->retry_times : RETRY_SLOWEST;
        if (left)
            wait_to_retry(f, (uint64_t)f->retry_times * f->options.retry_ms);
    }
    settle(f, any);
}

/* What was known of the leaf is so. */
static bool holds(const struct x509 *known, const struct x509 *leaf)
{
    bool same = known->name_count == leaf->name_count && known->is_rsa == leaf->is_rsa &&
                known->not_before_s == leaf->not_before_s &&
                known->not_after_s == leaf->not_after_s &&
                known->must_staple == leaf->must_staple && !known->ocsp_url == !leaf->ocsp_url &&
                memcmp(known->sha256, leaf->sha256, sizeof leaf->sha256) == 0;
    for (uint32_t i = 0; same && i < leaf->name_count; i++)
        same = strcmp(known->names[i], leaf->names[i]) == 0;
    return same;
}

/* What was known of the chain is not so, which only a mistaken index can bring about. */
static void disown(struct cert_files *f, struct item *it)
{
    log_warn("%s: what the index says of its certificate is not so", it->paths[PAIR_CERT]);
    publish_state_drop(f->options.certificates, it->slot);
    it->id = 0;
}

/* A client waits. */
static enum publish_read read_cold(void *arg, const struct publish_candidate *candidate,
                                   const char *name, struct buf *ret_chain, struct buf *ret_key)
{
    struct cert_files *f = arg;
    struct findings found = {0};
    struct pair pair;
    enum publish_read ret = PUBLISH_READ_LATER;
    uint32_t index = (uint32_t)strtoul(candidate->slot + strlen(SLOT_PREFIX), NULL, 10);
    struct item *it = index < f->count ? &f->items[index] : NULL;
    if (!it || !it->is_cold || it->given_up)
        return PUBLISH_READ_LATER;
    if (it->doubtful) {
        if (name)
            names_add(&it->asked, name);
    } else if (!read_item(it, &found, &pair)) {
        if (name)
            names_add(&it->asked, name);
        doubt(f, it);
        be_patient(f);
    } else if (x509_chain_id(buf_span(&pair.chain)) == candidate->id &&
               holds(&candidate->leaf, &pair.leaf)) {
        note_look(f, it, &pair);
        *ret_chain = pair.chain;
        *ret_key = pair.key;
        x509_free(&pair.leaf);
        pair_record_free(&pair.record);
        ret = PUBLISH_READ_DONE;
    } else {
        if (x509_chain_id(buf_span(&pair.chain)) == candidate->id)
            disown(f, it);
        if (use_read(f, it, &found, &pair)) {
            f->options.changed(f->options.arg);
            ret = PUBLISH_READ_CHANGED;
        }
        pair_free(&pair);
    }
    buf_free(&found.lines);
    return ret;
}

static int by_path(const void *a, const void *b)
{
    const struct path_ref *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order ? order : (x->item > y->item) - (x->item < y->item);
}

/* Every pair that has this file. */
static void mark(struct cert_files *f, const char *path)
{
    uint32_t low = 0, high = f->ref_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (strcmp(f->refs[mid].path, path) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < f->ref_count && strcmp(f->refs[low].path, path) == 0; low++) {
        struct item *it = &f->items[f->refs[low].item];
        it->dirty = true;
        it->told = 0; /* who has tried to mend it wants to hear */
    }
}

static void hear_change(void *arg, const char *const *paths, uint32_t count)
{
    struct cert_files *f = arg;
    bool any = false;
    for (uint32_t i = 0; i < count; i++)
        mark(f, paths[i]);
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].dirty)
            any = read_again(f, &f->items[i], false) || any;
    be_patient(f);
    settle(f, any);
}

/* ---- what the configuration has ---------------------------------------------------------------
 */

struct cert_files *cert_files_create(const struct cert_files_options *options)
{
    struct cert_files *f = mem_zalloc(sizeof *f);
    struct watch_options watch = {
        .loop = options->loop, .quiet_ms = WATCH_QUIET_MS, .changed = hear_change, .arg = f};
    struct why why;
    f->options = *options;
    loop_timer_init(&f->patience, out_of_patience);
    loop_timer_init(&f->retry, try_again);
    loop_timer_init(&f->overtaken, answer_overtaken);
    publish_state_use_reader(options->certificates,
                             &(struct publish_reader){.read = read_cold, .arg = f});
    if (!result_is_ok(watch_create(&watch, &f->watch, &why)))
        log_warn("%s: changed certificate files are not noticed", why.text);
    return f;
}

static void free_items(struct cert_files *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        free(f->items[i].paths[PAIR_CERT]);
        free(f->items[i].paths[PAIR_KEY]);
        free(f->items[i].slot);
        names_free(&f->items[i].asked);
        pair_record_free(&f->items[i].record);
    }
    free(f->items);
    free(f->refs);
    f->items = NULL;
    f->refs = NULL;
    f->count = f->ref_count = 0;
}

void cert_files_destroy(struct cert_files *f)
{
    if (!f)
        return;
    watch_destroy(f->watch);
    loop_timer_cancel(f->options.loop, &f->patience);
    loop_timer_cancel(f->options.loop, &f->retry);
    loop_timer_cancel(f->options.loop, &f->overtaken);
    free_items(f);
    names_free(&f->waiting);
    free(f);
}

static void add_item(struct cert_files *f, struct config_certificate *c, enum publish_source source,
                     char *slot)
{
    struct item *it = &f->items[f->count++];
    *it = (struct item){.paths = {mem_strdup(c->cert_file), mem_strdup(c->key_file)},
                        .slot = slot,
                        .source = source};
    if (c->facts)
        put_cold(f, it, c->facts);
    else
        put(f, it, buf_span(&c->chain), buf_span(&c->key));
}

void cert_files_set(struct cert_files *f, struct config *config, int64_t read_ns)
{
    uint32_t before = f->count;
    for (uint32_t i = 0; i < f->count; i++)
        for (uint32_t k = 0; k < f->items[i].asked.count; k++)
            names_add(&f->waiting, f->items[i].asked.list[k]);
    if (f->waiting.count)
        loop_timer_set(f->options.loop, &f->overtaken, clock_now_ns());
    free_items(f);
    loop_timer_cancel(f->options.loop, &f->patience);
    loop_timer_cancel(f->options.loop, &f->retry);
    f->cold = config->certificate_count > config->files_keep;
    f->ocsp = config->ocsp.on;
    f->items = mem_zalloc((config->certificate_count + 1) * sizeof *f->items);
    for (uint32_t i = 0; i < config->certificate_count; i++)
        add_item(f, &config->certificates[i], PUBLISH_SOURCE_PROVIDED,
                 mem_printf(SLOT_PREFIX "%u", i));
    for (uint32_t i = config->certificate_count; i < before; i++) {
        char *slot = mem_printf(SLOT_PREFIX "%u", i);
        publish_state_drop(f->options.certificates, slot);
        free(slot);
    }
    if (config->default_certificate)
        add_item(f, config->default_certificate, PUBLISH_SOURCE_DEFAULT, mem_strdup("default"));
    f->refs = mem_alloc((2 * f->count + 1) * sizeof *f->refs);
    const char **paths = mem_alloc((2 * f->count + 1) * sizeof *paths);
    for (uint32_t i = 0; i < f->count; i++)
        for (int part = PAIR_CERT; part <= PAIR_KEY && is_watched(&f->items[i]); part++)
            f->refs[f->ref_count++] = (struct path_ref){f->items[i].paths[part], i};
    if (f->ref_count)
        qsort(f->refs, f->ref_count, sizeof *f->refs, by_path);
    for (uint32_t i = 0; i < f->ref_count; i++)
        paths[i] = f->refs[i].path;
    if (f->watch)
        watch_files(f->watch, paths, f->ref_count, read_ns);
    free(paths);
}

uint32_t cert_files_cold(const struct cert_files *f)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->count; i++)
        count += f->items[i].is_cold;
    return count;
}

void cert_files_known(const struct cert_files *f, const char *made_by, struct buf *out)
{
    pair_index_begin(out, made_by);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct item *it = &f->items[i];
        const struct publish_candidate *c =
            it->is_cold && !it->given_up && !it->doubtful
                ? publish_state_find(f->options.certificates, it->slot)
                : NULL;
        if (c)
            pair_index_add(out, it->paths[PAIR_CERT], it->paths[PAIR_KEY], &c->leaf, it->id,
                           &it->record);
    }
}
