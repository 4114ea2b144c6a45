/* SPDX-License-Identifier: Apache-2.0 */
/* Another configuration while all goes on: read and checked in the helper thread, its sockets
 * opened by the supervisor, then published. Until then nothing has changed, afterwards nothing can
 * fail. */
#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "config/pair_index.h"
#include "config/plan.h"
#include "control/control_impl.h"
#include "control/snapshot_build.h"

#include <stdlib.h>

static void start_run(struct control *c);

/* ---- the end of a run ----------------------------------------------------------------------- */

static void keep_texts(struct admin_reload *last, const struct config_problems *problems)
{
    for (uint32_t i = 0; i < last->text_count; i++)
        free(last->texts[i]);
    free(last->texts);
    last->texts = mem_zalloc((problems->count + 1) * sizeof *last->texts);
    last->text_count = 0;
    for (uint32_t i = 0; i < problems->count; i++) {
        struct buf text = {0};
        config_problem_print(&problems->items[i], &text);
        last->texts[last->text_count++] = buf_cstr(&text);
    }
}

/* error: why it was refused, beside the problems; NULL when it was not. */
static void finish(struct control *c, bool good, const char *error)
{
    struct reload *r = &c->reload;
    struct buf out = {0};
    keep_texts(&r->last, &r->problems);
    if (error && error[0])
        r->last.texts[r->last.text_count++] = mem_strdup(error);
    r->last.good = good;
    r->last.at_s = clock_wall_s();
    r->last.good_count += good;
    r->last.good_s = good ? r->last.at_s : r->last.good_s;
    r->last.errors = r->problems.errors + (error && error[0]);
    if (good)
        log_info("the configuration is in use: %u entry points, %u routers, %u services",
                 c->now->config->entrypoint_count, c->now->config->router_count,
                 c->now->config->service_count);
    else
        log_error("reload refused, nothing changed: %u error%s%s%s", r->last.errors,
                  r->last.errors == 1 ? "" : "s", error && error[0] ? ": " : "",
                  error ? error : "");
    buf_printf(&out, "F%s", good ? "Serving" : "Serving; last reload refused");
    control_tell_supervisor(c, buf_span(&out));
    buf_free(&out);
    config_problems_free(&r->problems);
    config_free(r->config);
    r->config = NULL;
    control_forget_known(c);
    r->phase = RELOAD_PHASE_IDLE;
    admin_reload_done(c->admin, r->run);
    if (r->again)
        start_run(c);
}

/* ---- the swap ------------------------------------------------------------------------------- */

static void retire(struct control *c, struct generation *g)
{
    resolver_set_rest(&g->resolvers);
    upstreams_destroy(g->upstreams);
    g->upstreams = NULL;
    snapshot_build_free(g->snapshot);
    g->snapshot = NULL;
    list_append(&c->retired, &g->node);
}

void reload_collect(struct control *c)
{
    for (struct list *n = c->retired.next, *next; n != &c->retired; n = next) {
        struct generation *g = LIST_ENTRY(n, struct generation, node);
        next = n->next;
        if (resolver_set_running(&g->resolvers))
            continue;
        list_remove(&g->node);
        control_generation_destroy(g);
    }
}

/* Certificates first, then the servers' addresses, then the routes that need both. */
static void publish(struct control *c)
{
    struct buf out = {0};
    if (c->stores_gone) {
        control_sync(c);
        return;
    }
    publish_state_reorder(c->certificates, clock_wall_s(), &out);
    upstreams_sync(c->now->upstreams, &out);
    publish_snapshot(&out, c->now->snapshot);
    control_send_and_wipe(c, &out);
}

static void use(struct control *c, struct config *config)
{
    struct generation *old = c->now;
    struct why why;
    c->now = control_generation_create(c, config);
    resolver_set_inherit(&c->now->resolvers, &old->resolvers);
    upstreams_inherit(c->now->upstreams, old->upstreams);
    log_init("control", log_level_parse(config->log_level));
    publish_state_prefer(c->certificates, config->tls_prefer_acme);
    staples_use(c->staples, config);
    if (!result_is_ok(certificates_load_default(c, &why)))
        log_error("the default certificate stays as it was: %s", why.text);
    control_use_files(c, config);
    scheduler_reload(c->scheduler, config, &c->now->resolvers);
    cert_admin_use(c->cert_admin, &c->now->resolvers);
    certificates_drop_stores(c, &old->resolvers); /* first: another store may have the same ones */
    certificates_load_stores(c, &old->resolvers);
    certificates_know_wants(c);
    publish(c);
    control_tell_new_names(c);
    c->view.config = config;
    c->view.upstreams = c->now->upstreams;
    c->view.snapshot = c->now->snapshot;
    retire(c, old);
    reload_collect(c);
    scheduler_wake(c->scheduler);
    upstreams_start(c->now->upstreams);
    control_plan_housekeeping(c);
    reload_watch(c, c->reload.began_ns);
}

/* ---- asking the supervisor ------------------------------------------------------------------ */

static void ask(struct control *c, const struct config *config)
{
    struct plan plan;
    struct buf out = {0};
    plan_of_config(config, &plan);
    buf_put_str(&out, "E");
    plan_encode(&plan, &out);
    c->reload.phase = RELOAD_PHASE_ASKING;
    if (plan.count > PLAN_LISTENERS_MAX || out.len > PLAN_BYTES_MAX)
        reload_answered(c, false, SPAN_LITERAL("there are too many addresses to listen on"));
    else if (!control_tell_supervisor(c, buf_span(&out)))
        reload_answered(c, false, SPAN_LITERAL("the supervisor does not answer"));
    plan_free(&plan);
    buf_free(&out);
}

void reload_start(struct control *c)
{
    c->reload.is_at_start = true;
    ask(c, c->now->config);
}

void reload_answered(struct control *c, bool good, struct span text)
{
    struct reload *r = &c->reload;
    if (r->phase != RELOAD_PHASE_ASKING)
        return;
    char *error = mem_strndup(text.ptr, text.len);
    if (r->is_at_start) { /* the configuration is in use: what cannot be opened is missing */
        r->is_at_start = false;
        r->phase = RELOAD_PHASE_IDLE;
        if (good)
            control_tell_supervisor(c, SPAN_LITERAL("K"));
        else
            log_error("%s", error);
        if (r->again)
            start_run(c);
    } else if (good) {
        struct config *config = r->config;
        r->config = NULL;
        use(c, config);
        control_tell_supervisor(c, SPAN_LITERAL("K"));
        finish(c, true, NULL);
    } else {
        finish(c, false, error);
    }
    free(error);
}

/* ---- loading -------------------------------------------------------------------------------- */

/* In the helper thread: the present configuration does not change meanwhile. */
static void load(void *arg)
{
    struct control *c = arg;
    const struct config *now = c->now->config;
    struct config_known *known = &c->reload.known;
    if (c->reload.known_bytes.len) {
        pair_index_end(&c->reload.known_bytes);
        (void)!result_is_ok(
            pair_index_open(&c->reload.known_bytes, known->made_by, &known->index, &known->why));
    }
    c->reload.good = result_is_ok(config_reload(c->args->file, c->args->flags, c->args->flag_count,
                                                c->args->fixed, c->args->fixed_count, now, known,
                                                &c->reload.config, &c->reload.problems));
}

static void loaded(void *arg)
{
    struct control *c = arg;
    control_log_problems(&c->reload.problems);
    if (c->reload.good)
        ask(c, c->reload.config);
    else
        finish(c, false, NULL);
}

static void start_run(struct control *c)
{
    struct reload *r = &c->reload;
    r->again = false;
    r->run++;
    r->phase = RELOAD_PHASE_LOADING;
    r->began_ns = clock_file_ns();
    if (cert_files_cold(c->cert_files))
        cert_files_known(c->cert_files, r->known.made_by, &r->known_bytes);
    control_tell_supervisor(c, SPAN_LITERAL("B"));
    loop_work(c->loop, load, loaded, c);
}

uint64_t reload_request(struct control *c, const char *cause)
{
    log_info("the configuration is loaded again: %s", cause);
    if (c->reload.phase == RELOAD_PHASE_IDLE) {
        start_run(c);
        return c->reload.run;
    }
    c->reload.again = true;
    return c->reload.run + 1;
}

/* ---- watching ------------------------------------------------------------------------------- */

static void changed(void *arg, const char *const *paths, uint32_t count)
{
    struct control *c = arg;
    struct buf cause = {0};
    buf_printf(&cause, "%s has changed", paths[0]);
    if (count > 1)
        buf_printf(&cause, ", and %u more", count - 1);
    reload_request(c, buf_cstr(&cause));
    buf_free(&cause);
}

void reload_watch(struct control *c, int64_t since_ns)
{
    const struct config *config = c->now->config;
    struct watch_options options = {
        .loop = c->loop, .quiet_ms = WATCH_QUIET_MS, .changed = changed, .arg = c};
    struct why why;
    bool wanted = config->watch && config->watched_count;
    if (wanted && !c->watch && !result_is_ok(watch_create(&options, &c->watch, &why)))
        log_error("[providers.file] is not watched: %s", why.text);
    if (c->watch)
        watch_files(c->watch, config->watched, wanted ? config->watched_count : 0, since_ns);
}

void reload_fini(struct control *c)
{
    struct config_problems none = {0};
    watch_destroy(c->watch);
    config_problems_free(&c->reload.problems);
    config_free(c->reload.config);
    control_forget_known(c);
    keep_texts(&c->reload.last, &none);
    free(c->reload.last.texts);
    while (!list_is_empty(&c->retired)) {
        struct generation *g = LIST_ENTRY(c->retired.next, struct generation, node);
        list_remove(&g->node);
        control_generation_destroy(g);
    }
}
