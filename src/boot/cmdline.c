/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/cmdline.h"

#include "boot/child.h"
#include "base/log.h"
#include "control/control.h"
#include "data/data.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct args {
    char **items;
    size_t count;
};

static void push(struct args *a, char *text)
{
    a->items = mem_grow(a->items, (a->count + 2) * sizeof *a->items);
    a->items[a->count++] = text;
    a->items[a->count] = NULL;
}

static void push_data(struct args *a, const struct cmdline_child *args)
{
    const struct config *config = args->config;
    push(a, mem_printf("log=%s", args->plan->log_level));
    push(a, mem_printf("connections=%u", config->worker_connections));
    for (uint32_t i = 0; i < config->workers; i++)
        push(a, mem_printf("cpu=%u", config->worker_cpus[i]));
    for (uint32_t i = 0; i < args->listeners->count; i++) {
        const struct listener_group *g = &args->listeners->groups[i];
        for (uint32_t k = 0; k < g->count; k++)
            push(a, mem_printf("listener=%d,%u,%u,%s", g->fds[k],
                               listeners_worker(g, k, config->workers), g->id, g->entrypoint));
    }
}

static void push_control(struct args *a, const struct cmdline_child *args)
{
    for (uint32_t i = 0; i < args->config->fixed_count; i++)
        push(a, mem_printf("fixed=%s", args->config->fixed[i]));
    if (args->args->file)
        push(a, mem_printf("file=%s", args->args->file));
    for (uint32_t i = 0; i < args->args->flag_count; i++)
        push(a, mem_strdup(args->args->flags[i]));
}

char **cmdline_child_argv(const char *command, const struct cmdline_child *args)
{
    struct args a = {0};
    push(&a, mem_strdup("ferrule"));
    push(&a, mem_strdup(command));
    push(&a, mem_printf("parent=%d", (int)args->parent));
    push(&a, mem_printf("supervisor=%d", args->supervisor_fd));
    push(&a, mem_printf("report=%d", args->report_fd));
    if (args->listeners)
        push_data(&a, args);
    else
        push_control(&a, args);
    return a.items;
}

void cmdline_child_free(char **argv)
{
    for (char **p = argv; *p; p++)
        free(*p);
    free(argv);
}

/* The text behind "key=", or NULL when the argument is another. */
static const char *value_of(const char *arg, const char *key)
{
    size_t n = strlen(key);
    return strncmp(arg, key, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

/* What both children get. False when the command was not started by a supervisor. */
static bool take_common(const char *arg, int *supervisor_fd, int *report_fd)
{
    const char *v;
    if ((v = value_of(arg, "parent")))
        child_bind_to_parent((pid_t)strtol(v, NULL, 10));
    else if ((v = value_of(arg, "supervisor")))
        *supervisor_fd = (int)strtol(v, NULL, 10);
    else if ((v = value_of(arg, "report")))
        *report_fd = (int)strtol(v, NULL, 10);
    else
        return false;
    return true;
}

static int not_for_people(const char *command)
{
    fprintf(stderr, "ferrule: %s is started by ferrule run\n", command);
    return 2;
}

int cmdline_data_main(int argc, char **argv)
{
    struct data_config config = {.supervisor_fd = -1, .report_fd = -1};
    uint32_t *cpus = mem_zalloc((size_t)argc * sizeof *cpus);
    struct data_listener *listeners = mem_zalloc((size_t)argc * sizeof *listeners);
    const char *v;
    for (int i = 1; i < argc; i++) {
        if (take_common(argv[i], &config.supervisor_fd, &config.report_fd))
            continue;
        if ((v = value_of(argv[i], "log")))
            log_init("data", log_level_parse(v));
        else if ((v = value_of(argv[i], "connections")))
            config.worker_connections = (uint32_t)strtoul(v, NULL, 10);
        else if ((v = value_of(argv[i], "cpu")))
            cpus[config.workers++] = (uint32_t)strtoul(v, NULL, 10);
        else if ((v = value_of(argv[i], "listener"))) {
            char *end;
            struct data_listener *l = &listeners[config.listener_count++];
            l->fd = (int)strtol(v, &end, 10);
            l->worker = (uint32_t)strtoul(end + (*end == ','), &end, 10);
            l->group = (uint32_t)strtoul(end + (*end == ','), &end, 10);
            l->entrypoint = end + (*end == ',');
        }
    }
    config.cpus = cpus;
    config.listeners = listeners;
    int code =
        config.supervisor_fd < 0 || !config.workers ? not_for_people(argv[0]) : data_run(&config);
    free(cpus);
    free(listeners);
    return code;
}

int cmdline_control_main(int argc, char **argv)
{
    struct control_config config = {.supervisor_fd = -1, .report_fd = -1};
    const char **flags = mem_zalloc((size_t)argc * sizeof *flags);
    const char **fixed = mem_zalloc((size_t)argc * sizeof *fixed);
    const char *v;
    for (int i = 1; i < argc; i++) {
        if (take_common(argv[i], &config.supervisor_fd, &config.report_fd))
            continue;
        if ((v = value_of(argv[i], "file")))
            config.file = v;
        else if ((v = value_of(argv[i], "fixed")))
            fixed[config.fixed_count++] = v;
        else
            flags[config.flag_count++] = argv[i];
    }
    config.flags = flags;
    config.fixed = fixed;
    int code = config.supervisor_fd < 0 ? not_for_people(argv[0]) : control_run(&config);
    free(flags);
    free(fixed);
    return code;
}
