/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_files.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "config/pair.h"
#include "control/watch.h"
#include "crypto/digest.h"

#include <stdlib.h>

/* A certificate of the configuration. */
struct item {
    char *paths[2]; /* by enum pair_part; "(...)" when the text stands in the configuration */
    char *slot;
    enum publish_source source;
    uint8_t digest[32]; /* of what was published last */
    bool dirty;         /* a file has changed */
    bool doubtful;      /* could not be used, but may be half written */
};

struct path_ref {
    const char *path;
    uint32_t item;
};

struct cert_files {
    struct cert_files_options options;
    struct watch *watch; /* NULL: the kernel refused */
    struct loop_timer patience;
    struct item *items;
    uint32_t count;
    struct path_ref *refs; /* sorted by path */
    uint32_t ref_count;
};

static void digest_pair(struct span chain, struct span key, uint8_t ret[32])
{
    struct buf both = {0};
    buf_put_span(&both, chain);
    buf_put_span(&both, key);
    digest_once(DIGEST_SHA256, buf_span(&both), ret);
    buf_wipe_free(&both);
}

static bool put(struct cert_files *f, struct item *it, struct span chain, struct span key)
{
    const struct publish_candidate *added;
    struct why why;
    if (!result_is_ok(publish_state_put(f->options.certificates, it->source, it->paths[PAIR_CERT],
                                        it->slot, chain, key, &added, &why))) {
        log_error("%s cannot be used: %s", it->paths[PAIR_CERT], why.text);
        return false;
    }
    digest_pair(chain, key, it->digest);
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

/* True when something new was put. `last`: what does not fit now will not be waited for. */
static bool read_again(struct cert_files *f, struct item *it, bool last)
{
    struct findings found = {0};
    struct pair_source source = {.text = {it->paths[PAIR_CERT], it->paths[PAIR_KEY]},
                                 .name = {it->paths[PAIR_CERT], it->paths[PAIR_KEY]},
                                 .now_s = clock_wall_s(),
                                 .say = collect,
                                 .arg = &found};
    struct pair pair;
    bool is_new = false;
    it->dirty = false;
    bool good = pair_read(&source, &pair);
    it->doubtful = !good && !last;
    if (good) {
        uint8_t digest[32];
        digest_pair(buf_span(&pair.chain), buf_span(&pair.key), digest);
        if (memcmp(digest, it->digest, sizeof digest) != 0) {
            tell(&found);
            is_new = put(f, it, buf_span(&pair.chain), buf_span(&pair.key));
            if (is_new)
                log_info("%s has changed: its certificate of %s is served now",
                         it->paths[PAIR_CERT],
                         pair.leaf.name_count ? pair.leaf.names[0] : pair.leaf.subject);
        }
        pair_free(&pair);
    } else if (last) {
        tell(&found);
        log_error("%s and %s cannot be used: the certificate from before goes on being served",
                  it->paths[PAIR_CERT], it->paths[PAIR_KEY]);
    }
    buf_free(&found.lines);
    return is_new;
}

static bool is_doubtful(const struct cert_files *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].doubtful)
            return true;
    return false;
}

static void out_of_patience(struct loop_timer *t)
{
    struct cert_files *f = LIST_ENTRY(t, struct cert_files, patience);
    bool any = false;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].doubtful)
            any = read_again(f, &f->items[i], true) || any;
    if (any)
        f->options.changed(f->options.arg);
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
    for (; low < f->ref_count && strcmp(f->refs[low].path, path) == 0; low++)
        f->items[f->refs[low].item].dirty = true;
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
    if (is_doubtful(f))
        loop_timer_set(f->options.loop, &f->patience,
                       clock_now_ns() + f->options.patience_ms * NS_PER_MS);
    if (any)
        f->options.changed(f->options.arg);
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
    free_items(f);
    free(f);
}

static void add_item(struct cert_files *f, const struct config_certificate *c,
                     enum publish_source source, char *slot)
{
    struct item *it = &f->items[f->count++];
    *it = (struct item){.paths = {mem_strdup(c->cert_file), mem_strdup(c->key_file)},
                        .slot = slot,
                        .source = source};
    put(f, it, buf_span(&c->chain), buf_span(&c->key));
}

static bool is_watched(const struct item *it)
{
    return it->paths[PAIR_CERT][0] == '/' && it->paths[PAIR_KEY][0] == '/';
}

void cert_files_set(struct cert_files *f, const struct config *config, int64_t read_ns)
{
    uint32_t before = f->count;
    free_items(f);
    loop_timer_cancel(f->options.loop, &f->patience);
    f->items = mem_zalloc((config->certificate_count + 1) * sizeof *f->items);
    for (uint32_t i = 0; i < config->certificate_count; i++)
        add_item(f, &config->certificates[i], PUBLISH_SOURCE_PROVIDED, mem_printf("file:%u", i));
    for (uint32_t i = config->certificate_count; i < before; i++) {
        char *slot = mem_printf("file:%u", i);
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
