/* SPDX-License-Identifier: Apache-2.0 */
/* [workers], [control], [state], [cache], [plugins], [admin], [log], [ocsp], tls.prefer. */
#include "config/build.h"

#include "config/value.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/un.h>

#ifndef FERRULE_PROVIDER_DIR
#error "FERRULE_PROVIDER_DIR is the folder where plug-ins are installed"
#endif

#define CPUS_MAX 1024

/* Cores that this process may run on, ascending. */
static uint32_t allowed_cpus(uint32_t cpus[CPUS_MAX])
{
    cpu_set_t set;
    uint32_t count = 0;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_SET(0, &set);
    for (uint32_t i = 0; i < CPU_SETSIZE && i < CPUS_MAX; i++) {
        if (CPU_ISSET(i, &set))
            cpus[count++] = i;
    }
    return count;
}

static bool is_allowed(const uint32_t *cpus, uint32_t count, uint32_t cpu)
{
    for (uint32_t i = 0; i < count; i++) {
        if (cpus[i] == cpu)
            return true;
    }
    return false;
}

/* They run already. */
static void keep_workers(struct build *b)
{
    const struct config *old = b->running;
    struct config *c = b->config;
    c->workers = old->workers;
    c->worker_cpus = arena_dup(b->arena, old->worker_cpus, old->workers * sizeof *old->worker_cpus);
    c->worker_connections = old->worker_connections;
    c->control_cpu = old->control_cpu;
}

static void build_workers(struct build *b)
{
    uint32_t allowed[CPUS_MAX], chosen[CPUS_MAX];
    uint32_t allowed_count = allowed_cpus(allowed), count = allowed_count;
    struct place workers = build_at(b->root, "workers");
    const struct node *cpus = build_at(workers, "cpus").node;
    const struct node *wanted = build_at(workers, "count").node;
    memcpy(chosen, allowed, count * sizeof *chosen);
    if (cpus && result_is_ok(value_cpus(span_str(cpus->text), CPUS_MAX, chosen, &count))) {
        struct buf others = {0};
        for (uint32_t i = 0; i < count; i++) {
            if (!is_allowed(allowed, allowed_count, chosen[i]))
                buf_printf(&others, "%s%u", others.len ? ", " : "", chosen[i]);
        }
        if (others.len)
            problems_error(b->problems, cpus->at,
                           "workers.cpus names cores that this process may not use: %s",
                           buf_cstr(&others));
        buf_free(&others);
    }
    struct config *c = b->config;
    c->workers = wanted ? (uint32_t)wanted->integer : count > 256 ? 256 : count;
    if (cpus && wanted && c->workers > count)
        problems_error(b->problems, wanted->at,
                       "workers.count is %u, but workers.cpus has %u cores", c->workers, count);
    c->worker_cpus = arena_alloc(b->arena, c->workers * sizeof *c->worker_cpus);
    for (uint32_t i = 0; i < c->workers; i++)
        c->worker_cpus[i] = c->workers <= count ? chosen[i] : UINT32_MAX;
    c->worker_connections = (uint32_t)build_int(workers, "connections");

    const struct node *control = build_at(b->root, "control.cpu").node;
    c->control_cpu = control ? (uint32_t)control->integer : UINT32_MAX;
    if (control && !is_allowed(allowed, allowed_count, c->control_cpu))
        problems_error(b->problems, control->at,
                       "control.cpu is %u, a core that this process may not use", c->control_cpu);
}

static const char *default_state_directory(struct build *b)
{
    const char *list = getenv("STATE_DIRECTORY"); /* of systemd: colon-separated */
    if (!list || !*list)
        return "/var/lib/ferrule";
    return arena_strndup(b->arena, list, strcspn(list, ":"));
}

static void build_directories(struct build *b)
{
    struct config *c = b->config;
    c->state_directory = build_path(b, b->root, "state.directory");
    if (!c->state_directory)
        c->state_directory = build_absolute(b->arena, ".", default_state_directory(b));
    struct place plugins = build_at(b->root, "plugins.directories");
    c->plugin_directories = build_list(b, plugins, "", &c->plugin_directory_count);
    uint32_t i = 0;
    for (const struct node *n = NULL; (n = build_next(plugins, n));)
        c->plugin_directories[i++] =
            build_absolute(b->arena, build_directory(b->arena, n), n->text);
    if (!plugins.node) {
        c->plugin_directories[0] = FERRULE_PROVIDER_DIR;
        c->plugin_directory_count = 1;
    }
    c->admin_socket = build_path(b, b->root, "admin.socket");
    if (!c->admin_socket)
        c->admin_socket = arena_printf(b->arena, "%s/admin.sock", c->state_directory);
    struct sockaddr_un un;
    if (strlen(c->admin_socket) >= sizeof un.sun_path) {
        const struct node *n = build_at(b->root, "admin.socket").node;
        n = n ? n : build_at(b->root, "state.directory").node;
        problems_error(b->problems, n ? n->at : b->top,
                       "the path of a socket has at most %zu bytes; %s has %zu: set admin.socket",
                       sizeof un.sun_path - 1, c->admin_socket, strlen(c->admin_socket));
    }
}

static void build_ocsp(struct build *b)
{
    struct config_ocsp *o = &b->config->ocsp;
    struct place table = build_at(b->root, "ocsp.responderOverrides");
    o->on = build_at(b->root, "ocsp").node != NULL;
    o->overrides = arena_alloc(b->arena, (build_count(table) + 1) * sizeof *o->overrides);
    for (const struct node *n = NULL; (n = build_next(table, n));)
        o->overrides[o->override_count++] = (struct config_responder){
            arena_strdup(b->arena, n->key), arena_strdup(b->arena, n->text)};
}

void build_processes(struct build *b)
{
    if (b->running)
        keep_workers(b);
    else
        build_workers(b);
    build_directories(b);
    build_access(b);
    build_ocsp(b);
    b->config->log_level = build_text(b, b->root, "log.level");
    b->config->tls_prefer_acme = strcmp(build_text(b, b->root, "tls.prefer"), "acme") == 0;
    b->config->store_keep = (uint32_t)build_int(b->root, "cache.certificates");
    b->config->files_keep = (uint32_t)build_int(b->root, "cache.files");
    b->config->store_wait_ms = (uint32_t)build_ms(b->root, "cache.wait");
    b->config->drain_timeout_ms = build_ms(b->root, "upgrade.drainTimeout");
    b->config->duplicate_budget = (uint32_t)build_int(b->root, "control.duplicateBudget");
}
