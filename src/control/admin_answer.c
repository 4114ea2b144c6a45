/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admin_answer.h"

#include "base/clock.h"
#include "base/secret.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RANKS_MAX 64

static void set(json_t *o, const char *member, json_t *value)
{
    json_object_set_new(o, member, value ? value : json_null());
}

static void set_text(json_t *o, const char *member, const char *text)
{
    set(o, member, text && text[0] ? json_string(text) : json_null());
}

static json_t *failure(const char *text)
{
    json_t *o = json_object();
    set(o, "ok", json_false());
    set_text(o, "error", text);
    return o;
}

static json_t *success(void)
{
    json_t *o = json_object();
    set(o, "ok", json_true());
    return o;
}

/* ---- status -----------------------------------------------------------------------------------
 */

static json_t *counters(const struct report *report)
{
    json_t *o = json_object();
    for (int i = 0; i < REPORT_COUNT; i++) {
        char name[64];
        const char *from = report_name((enum report_counter)i);
        size_t n = 0;
        for (; from[n] && n < sizeof name - 1; n++)
            name[n] = (char)tolower((unsigned char)from[n]);
        name[n] = 0;
        set(o, name, json_integer((json_int_t)report_sum(report, (enum report_counter)i)));
    }
    return o;
}

static int64_t next_action(const struct scheduler *s)
{
    const struct wants *wants = scheduler_wants(s);
    int64_t next = 0;
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *w = &wants->items[i];
        if (!w->order && w->next_s && (!next || w->next_s < next))
            next = w->next_s;
    }
    return next;
}

static json_t *servers(const struct upstreams *u)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < upstreams_count(u); i++) {
        struct upstreams_server s = upstreams_at(u, i);
        json_t *o = json_object(), *addresses = json_array();
        for (uint32_t k = 0; k < s.addr_count; k++) {
            char text[NET_ADDR_TEXT_MAX];
            json_array_append_new(addresses, json_string(net_addr_print(&s.addrs[k], text)));
        }
        set_text(o, "service", s.service);
        set_text(o, "url", s.url);
        set(o, "addresses", addresses);
        set(o, "healthy", json_boolean(s.healthy && s.addr_count));
        set_text(o, "reason", s.addr_count ? s.text : "its name has no address");
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *reload_json(const struct admin_reload *r)
{
    json_t *o = json_object(), *texts = json_array();
    if (!r->at_s) {
        json_decref(texts);
        json_decref(o);
        return json_null();
    }
    for (uint32_t i = 0; i < r->text_count; i++)
        json_array_append_new(texts, json_string(r->texts[i]));
    set(o, "ok", json_boolean(r->good));
    set(o, "at", json_integer(r->at_s));
    set(o, "errors", json_integer(r->errors));
    set(o, "problems", texts);
    return o;
}

static json_t *upgrades_json(const struct admin_upgrades *u)
{
    json_t *o = json_object();
    set(o, "generation", json_integer(u->generation));
    set(o, "attempts", json_integer(u->attempts));
    set_text(o, "error", u->error);
    return o;
}

static json_t *turns_json(const struct turns_histogram *h)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < TURNS_BOUNDS; i++) {
        char name[32];
        snprintf(name, sizeof name, "over%llums",
                 (unsigned long long)turns_bounds_ns[i] / NS_PER_MS);
        set(o, name, json_integer((json_int_t)turns_over(h, i)));
    }
    set(o, "longest", json_real((double)h->max_ns / (double)NS_PER_S));
    return o;
}

/* Turns of control's loop, and how many of them took longer than what. */
static json_t *loop_json(const struct turns *turns)
{
    json_t *o = json_object();
    set(o, "turns", json_integer((json_int_t)turns_count(&turns->own)));
    set(o, "wall", turns_json(&turns->wall));
    set(o, "own", turns_json(&turns->own));
    return o;
}

/* Those of files that are read when clients ask for them. */
static json_int_t count_cold(const struct publish_state *certificates)
{
    json_int_t count = 0;
    for (uint32_t i = 0; i < publish_state_count(certificates); i++)
        count += publish_state_at(certificates, i)->is_cold;
    return count;
}

static json_t *status(const struct admin_view *v)
{
    json_t *o = success(), *orders = json_object();
    const struct wants *wants = scheduler_wants(v->scheduler);
    uint32_t have = 0;
    for (uint32_t i = 0; i < wants->count; i++)
        have += wants->items[i].have;
    set_text(o, "version", v->version);
    set(o, "pid", json_integer(getppid()));
    set(o, "controlPid", json_integer(getpid()));
    set(o, "uptime", json_integer(clock_wall_s() - v->started_s));
    set(o, "workers", json_integer(v->config->workers));
    set_text(o, "file", v->config->file);
    set(o, "upgrades", upgrades_json(v->upgrades));
    set(o, "lastReload", reload_json(v->last_reload));
    set(o, "certificates", json_integer(publish_state_count(v->certificates)));
    set(o, "certificatesInFiles", json_integer(count_cold(v->certificates)));
    set(o, "certificatesInStores", json_integer(v->cold ? (json_int_t)v->cold(v->arg) : 0));
    set(orders, "wanted", json_integer(wants->count));
    set(orders, "obtained", json_integer(have));
    set(orders, "running", json_integer(scheduler_running(v->scheduler)));
    int64_t next = next_action(v->scheduler);
    set(orders, "next", next ? json_integer(next) : json_null());
    set(o, "orders", orders);
    set(o, "servers", servers(v->upstreams));
    set(o, "loop", loop_json(v->turns));
    set(o, "counters", v->report ? counters(v->report) : json_null());
    return o;
}

/* ---- certificates -----------------------------------------------------------------------------
 */

static json_t *names_of(char *const *names, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static const char *source_name(enum publish_source source)
{
    return source == PUBLISH_SOURCE_ACME       ? "acme"
           : source == PUBLISH_SOURCE_PROVIDED ? "provided"
                                               : "default";
}

static json_t *candidate_json(const struct publish_candidate *c, int64_t now_s)
{
    json_t *o = json_object();
    struct buf id = {0};
    buf_printf(&id, "%016llx", (unsigned long long)c->id);
    set_text(o, "id", buf_cstr(&id));
    buf_free(&id);
    set(o, "names", names_of(c->leaf.names, c->leaf.name_count));
    set_text(o, "source", source_name(c->source));
    set_text(o, "origin", c->origin);
    set_text(o, "issuer", c->leaf.issuer);
    set_text(o, "serial", c->leaf.serial);
    set_text(o, "keyType", c->leaf.is_rsa ? "RSA" : "EC");
    set(o, "keyBits", json_integer(c->leaf.key_bits));
    set(o, "notBefore", json_integer(c->leaf.not_before_s));
    set(o, "notAfter", json_integer(c->leaf.not_after_s));
    set(o, "valid", json_boolean(c->leaf.not_before_s <= now_s && now_s <= c->leaf.not_after_s));
    set(o, "mustStaple", json_boolean(c->leaf.must_staple));
    set(o, "stapledUntil", c->staple.len ? json_integer(c->staple_until_s) : json_null());
    return o;
}

static const char *state_of(const struct want *w, int64_t now_s)
{
    if (w->order)
        return w->have ? "renewing" : "ordering";
    if (!w->have)
        return "waiting";
    if (w->not_after_s < now_s)
        return "expired";
    return scheduler_due_s(w) <= now_s ? "due" : "valid";
}

/* The window that the CA suggests for the renewal. */
static json_t *suggestion_json(const struct ari *ari)
{
    json_t *o = json_object();
    set(o, "start", json_integer(ari->start_s));
    set(o, "end", json_integer(ari->end_s));
    set_text(o, "explanation", ari->url);
    return o;
}

/* TXT values that a person has to make. */
static json_t *awaited_json(const struct order *order)
{
    json_t *list = json_array();
    const char *fqdn, *value;
    for (uint32_t i = 0; order_awaited(order, i, &fqdn, &value); i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", fqdn, "value", value));
    return list;
}

static json_t *want_json(const struct want *w, int64_t now_s)
{
    json_t *o = json_object();
    set(o, "names", names_of((char *const *)w->names, w->count));
    set_text(o, "resolver", w->resolver->config->name);
    set_text(o, "state", state_of(w, now_s));
    set(o, "notAfter", w->have ? json_integer(w->not_after_s) : json_null());
    set(o, "renewAt", w->have ? json_integer(scheduler_due_s(w)) : json_null());
    set(o, "suggested",
        w->have && w->ari && w->ari->chosen_s ? suggestion_json(w->ari) : json_null());
    set(o, "next", w->next_s && !w->order ? json_integer(w->next_s) : json_null());
    set_text(o, "waiting", w->waiting.text);
    if (w->order) {
        set_text(o, "step", order_step_name(order_at(w->order)));
        set_text(o, "doing", order_step_text(order_at(w->order)));
        set_text(o, "progress", order_progress(w->order));
        set(o, "started", json_integer(order_started_s(w->order)));
        if (order_waits_for_person(w->order))
            set(o, "waitsForPerson", awaited_json(w->order));
    }
    return o;
}

static json_t *list(const struct admin_view *v)
{
    json_t *o = success(), *certs = json_array(), *wanted = json_array();
    const struct wants *wants = scheduler_wants(v->scheduler);
    int64_t now_s = clock_wall_s();
    for (uint32_t i = 0; i < publish_state_count(v->certificates); i++)
        json_array_append_new(certs, candidate_json(publish_state_at(v->certificates, i), now_s));
    for (uint32_t i = 0; i < wants->count; i++)
        json_array_append_new(wanted, want_json(&wants->items[i], now_s));
    set(o, "certificates", certs);
    set(o, "wanted", wanted);
    set(o, "inStores", json_integer(v->cold ? (json_int_t)v->cold(v->arg) : 0));
    return o;
}

static json_t *ledger_json(const struct admin_view *v, const struct want *w)
{
    json_t *o = json_object();
    struct ledger_entry e;
    scheduler_ledger(v->scheduler, w, &e);
    set(o, "failures", json_integer(e.failures));
    set_text(o, "lastError", e.text);
    set_text(o, "problemType", e.type);
    set_text(o, "class", e.class);
    set(o, "failedAt", e.failed_s ? json_integer(e.failed_s) : json_null());
    set(o, "notBefore", e.next_s ? json_integer(e.next_s) : json_null());
    set(o, "ordersIn168h", json_integer(e.order_count));
    set(o, "certificatesIn168h", json_integer(e.cert_count));
    set(o, "duplicateBudget", json_integer(v->config->duplicate_budget));
    return o;
}

static bool has_name(char *const *names, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcasecmp(names[i], name))
            return true;
    return false;
}

static json_t *show(const struct admin_view *v, const char *name)
{
    json_t *certs = json_array(), *wanted = json_array();
    const struct wants *wants = scheduler_wants(v->scheduler);
    int64_t now_s = clock_wall_s();
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *w = &wants->items[i];
        if (!has_name((char *const *)w->names, w->count, name))
            continue;
        json_t *one = want_json(w, now_s);
        set(one, "ledger", ledger_json(v, w));
        json_array_append_new(wanted, one);
    }
    for (uint32_t i = 0; i < publish_state_count(v->certificates); i++) {
        const struct publish_candidate *c = publish_state_at(v->certificates, i);
        if (has_name(c->leaf.names, c->leaf.name_count, name))
            json_array_append_new(certs, candidate_json(c, now_s));
    }
    if (!json_array_size(certs) && !json_array_size(wanted)) {
        json_decref(certs);
        json_decref(wanted);
        return failure("no certificate has this name, and none is configured to have it");
    }
    json_t *o = success();
    set_text(o, "name", name);
    set(o, "wanted", wanted);
    set(o, "certificates", certs);
    return o;
}

static json_t *explain(const struct admin_view *v, const char *sni)
{
    struct publish_rank ranks[RANKS_MAX];
    int64_t now_s = clock_wall_s();
    char *lower = mem_strdup(sni);
    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    uint32_t count = publish_state_explain(v->certificates, lower, now_s, ranks, RANKS_MAX);
    json_t *o = success(), *candidates = json_array();
    set_text(o, "sni", lower);
    set(o, "matched", count ? json_string(ranks[0].name) : json_null());
    for (uint32_t i = 0; i < count; i++) {
        json_t *one = candidate_json(ranks[i].candidate, now_s);
        set(one, "served", json_boolean(ranks[i].served));
        set_text(one, "why", ranks[i].why);
        json_array_append_new(candidates, one);
    }
    set(o, "candidates", candidates);
    free(lower);
    return o;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static const char *text_or_empty(const json_t *request, const char *member)
{
    const char *text = json_string_value(json_object_get(request, member));
    return text ? text : "";
}

/* What cert_admin does. */
static json_t *answer_cert(const struct admin_view *v, const char *command, const json_t *request,
                           uint64_t *ret_task)
{
    struct cert_admin *a = v->cert_admin;
    const char *name = text_or_empty(request, "name");
    const char *resolver = text_or_empty(request, "resolver");
    if (!strcmp(command, "cert-plan")) {
        cert_admin_plan(a, ret_task);
        return NULL;
    }
    if (!strcmp(command, "cert-renew"))
        return cert_admin_renew(a, name, json_is_true(json_object_get(request, "force")));
    if (!strcmp(command, "cert-continue"))
        return cert_admin_continue(a, name);
    if (!strcmp(command, "cert-revoke"))
        return cert_admin_revoke(a, name, text_or_empty(request, "reason"), ret_task);
    if (!strcmp(command, "cert-export"))
        return cert_admin_export(a, name);
    if (!strcmp(command, "cert-import"))
        return cert_admin_import(a, resolver, text_or_empty(request, "certificate"),
                                 text_or_empty(request, "key"));
    if (!strcmp(command, "account-rollover"))
        return cert_admin_roll_key(a, resolver, ret_task);
    return failure("there is no such command");
}

/* NULL: the answer comes later. */
static json_t *answer(const struct admin_view *v, const json_t *request, struct admin_later *later)
{
    const char *command = json_string_value(json_object_get(request, "command"));
    const char *name = json_string_value(json_object_get(request, "name"));
    const char *sni = json_string_value(json_object_get(request, "sni"));
    if (!command)
        return failure("the request is no JSON object with a \"command\"");
    if (!strcmp(command, "status"))
        return status(v);
    if (!strcmp(command, "stop")) {
        v->stop(v->arg);
        return success();
    }
    if (!strcmp(command, "upgrade")) {
        json_t *o = success();
        set(o, "upgrades", upgrades_json(v->upgrades));
        v->upgrade(v->arg);
        return o;
    }
    if (!strcmp(command, "reload")) {
        later->run = v->reload(v->arg);
        return NULL;
    }
    if (!strcmp(command, "cert-list"))
        return list(v);
    if (!strcmp(command, "cert-show"))
        return name ? show(v, name) : failure("cert-show needs a \"name\"");
    if (!strcmp(command, "cert-explain"))
        return sni ? explain(v, sni) : failure("cert-explain needs an \"sni\"");
    return answer_cert(v, command, request, &later->task);
}

void admin_answer_print(json_t *o, struct buf *out)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    buf_put_str(out, text ? text : "{\"ok\":false,\"error\":\"the answer cannot be printed\"}");
    if (text)
        secret_wipe(text, strlen(text)); /* cert-export */
    free(text);
    json_decref(o);
}

void admin_answer(const struct admin_view *view, struct span request, struct buf *out,
                  struct admin_later *ret_later)
{
    json_t *in = json_loadb((const char *)request.ptr, request.len, 0, NULL);
    *ret_later = (struct admin_later){0};
    const char *name = text_or_empty(in, "name");
    name = name[0] ? name : text_or_empty(in, "sni");
    if (view->visit && name[0])
        view->visit(view->arg, name);
    json_t *o = answer(view, in, ret_later);
    if (view->visit && name[0])
        view->leave(view->arg);
    if (o)
        admin_answer_print(o, out);
    json_decref(in);
}

void admin_answer_reload(const struct admin_view *view, struct buf *out)
{
    const struct admin_reload *r = view->last_reload;
    json_t *o = r->good ? success() : failure("the configuration was refused; nothing changed");
    set(o, "reload", reload_json(r));
    admin_answer_print(o, out);
}
