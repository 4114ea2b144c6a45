/* SPDX-License-Identifier: Apache-2.0 */
/* Drives the provider host and the propagation check from tests:
 *   provider_tool call FOLDER CODE present|cleanup|confirm|probe NAME VALUE [ZONE [STATE]]
 *   provider_tool describe FOLDER CODE
 *   provider_tool find NAME
 *   provider_tool check NAME ZONE VALUE...
 *   provider_tool resolve HOST PORT
 * REPEAT= (the same call again, in the same child) DOMAIN= TOKEN= KEY_AUTH= RESOLVERS=IP:PORT,...
 * PORT= SUCCESSES= TIMEOUT_S= INTERVAL_S= LIMIT_S= MODE= (recursive, both) stand in the
 * environment, and so do the provider's own variables; OVERLAY="NAME=VALUE NAME=VALUE" are those of
 * dnsChallenge.env. Prints one line of JSON. */
#include "base/clock.h"
#include "base/log.h"
#include "control/propagation/propagation.h"
#include "control/provider/host.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define RESOLVERS_MAX 8
#define OVERLAY_MAX   16

static struct loop *loop;
static json_t *output;

static uint32_t number(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static struct propagation_options options_from_environment(void)
{
    static const char *resolvers[RESOLVERS_MAX];
    struct propagation_options o = {.resolvers = resolvers};
    char *list = strdup(getenv("RESOLVERS") ? getenv("RESOLVERS") : "");
    for (char *item = list; *item && o.resolver_count < RESOLVERS_MAX;) {
        char *comma = strchrnul(item, ',');
        resolvers[o.resolver_count++] = strndup(item, (size_t)(comma - item));
        item = *comma ? comma + 1 : comma;
    }
    free(list);
    const char *mode = getenv("MODE") ? getenv("MODE") : "";
    o.port = (uint16_t)number("PORT", 53);
    o.skip_servers = strcmp(mode, "recursive") == 0;
    o.ask_resolvers = o.skip_servers || strcmp(mode, "both") == 0;
    o.successes = number("SUCCESSES", 1);
    o.timeout_s = number("TIMEOUT_S", 30);
    o.interval_s = number("INTERVAL_S", 1);
    return o;
}

static void take_answer(void *arg, const struct provider_answer *a)
{
    static const char *const names[] = {"OK", "RETRY", "RATE", "AUTH", "CONFIG", "ZONE", "GONE"};
    json_object_set_new(output, "verdict", json_string(names[a->verdict]));
    json_object_set_new(output, "retry_after_s", json_integer(a->retry_after_s));
    json_object_set_new(output, "text", json_string(a->text));
    json_object_set_new(output, "state", json_stringn((const char *)a->state.ptr, a->state.len));
    loop_stop(loop);
}

static void take_info(void *arg, const struct provider_info *i, const struct provider_answer *a)
{
    take_answer(arg, a);
    if (!i)
        return;
    json_object_set_new(output, "name", json_string(i->name));
    json_object_set_new(output, "ttl_s", json_integer(i->ttl_s));
    json_object_set_new(output, "propagation_timeout_s", json_integer(i->propagation_timeout_s));
    json_object_set_new(output, "polling_interval_s", json_integer(i->polling_interval_s));
    json_object_set_new(output, "sequence_interval_s", json_integer(i->sequence_interval_s));
    json_object_set_new(output, "call_timeout_s", json_integer(i->call_timeout_s));
}

static void take_place(void *arg, const struct propagation_place *p)
{
    json_object_set_new(output, "ok", json_boolean(p->ok));
    json_object_set_new(output, "text", json_string(p->text));
    if (p->ok) {
        json_object_set_new(output, "fqdn", json_string(p->fqdn));
        json_object_set_new(output, "zone", json_string(p->zone));
    }
    loop_stop(loop);
}

static void take_progress(void *arg, const char *text)
{
    json_array_append_new(json_object_get(output, "progress"), json_string(text));
}

static void take_check(void *arg, const struct propagation_answer *a)
{
    json_object_set_new(output, "ok", json_boolean(a->ok));
    json_object_set_new(output, "text", json_string(a->text));
    loop_stop(loop);
}

static void take_addresses(void *arg, const struct net_addr *addrs, uint32_t count,
                           const char *text)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char addr[NET_ADDR_TEXT_MAX];
        json_array_append_new(list, json_string(net_addr_print(&addrs[i], addr)));
    }
    json_object_set_new(output, "addresses", list);
    json_object_set_new(output, "text", json_string(text));
    loop_stop(loop);
}

static struct span argument(int argc, char **argv, int i)
{
    return i < argc ? span_str(argv[i]) : span_of("", 0);
}

static struct span variable(const char *name)
{
    return span_str(getenv(name) ? getenv(name) : "");
}

/* Splits OVERLAY; returns how many variables it holds. */
static uint32_t read_overlay(struct config_env env[OVERLAY_MAX])
{
    uint32_t count = 0;
    static char text[4096];
    snprintf(text, sizeof text, "%s", getenv("OVERLAY") ? getenv("OVERLAY") : "");
    for (char *name = strtok(text, " "); name && count < OVERLAY_MAX; name = strtok(NULL, " ")) {
        char *equals = strchr(name, '=');
        if (!equals)
            break;
        *equals = 0;
        env[count++] = (struct config_env){name, equals + 1};
    }
    return count;
}

static void ask(struct provider *p, const char *what, const struct provider_txt *txt,
                struct span state)
{
    uint64_t deadline_ns = clock_now_ns() + number("LIMIT_S", 30) * NS_PER_S;
    if (strcmp(what, "describe") == 0)
        provider_describe(p, take_info, NULL);
    else if (strcmp(what, "present") == 0)
        provider_present(p, txt, deadline_ns, take_answer, NULL);
    else if (strcmp(what, "cleanup") == 0)
        provider_cleanup(p, txt, state, deadline_ns, take_answer, NULL);
    else if (strcmp(what, "confirm") == 0)
        provider_confirm(p, txt, state, deadline_ns, take_answer, NULL);
    else
        provider_probe(p, txt, deadline_ns, take_answer, NULL);
}

static int with_provider(int argc, char **argv, const char *executable)
{
    struct provider_host *host = NULL;
    struct provider *p;
    struct why why = {""};
    const char *folders[] = {argv[2]};
    struct config_env env[OVERLAY_MAX];
    uint32_t env_count = read_overlay(env);
    if (!result_is_ok(provider_host_create(loop, executable, folders, 1, &host, &why)) ||
        !result_is_ok(provider_get(host, argv[3], env, env_count, &p, &why))) {
        json_object_set_new(output, "text", json_string(why.text));
        if (host)
            provider_host_destroy(host);
        return 1;
    }
    json_object_set_new(output, "verdicts", json_array());
    struct provider_txt txt = {.fqdn = argument(argc, argv, 5), .value = argument(argc, argv, 6)};
    txt.zone = argument(argc, argv, 7);
    txt.domain = variable("DOMAIN");
    txt.token = variable("TOKEN");
    txt.key_auth = variable("KEY_AUTH");
    const char *what = strcmp(argv[1], "describe") == 0 ? "describe" : argv[4];
    struct result r = result_ok();
    for (uint32_t i = number("REPEAT", 1); i > 0 && result_is_ok(r); i--) {
        ask(p, what, &txt, argument(argc, argv, 8));
        r = loop_run(loop);
        json_array_append(json_object_get(output, "verdicts"), json_object_get(output, "verdict"));
    }
    provider_host_destroy(host);
    return result_is_ok(r) ? 0 : 1;
}

static int with_dns(int argc, char **argv)
{
    struct propagation_options o = options_from_environment();
    if (strcmp(argv[1], "find") == 0) {
        propagation_find(loop, &o, argv[2], take_place, NULL);
    } else if (strcmp(argv[1], "check") == 0) {
        json_object_set_new(output, "progress", json_array());
        propagation_check(loop, &o, argv[2], argv[3], (const char *const *)argv + 4,
                          (uint32_t)argc - 4, take_progress, take_check, NULL);
    } else {
        propagation_resolve(loop, &o, argv[2], (uint16_t)atoi(argv[3]), take_addresses, NULL);
    }
    struct result r = loop_run(loop);
    for (uint32_t i = 0; i < o.resolver_count; i++)
        free((char *)o.resolvers[i]);
    return result_is_ok(r) ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "provider-run") == 0)
        return provider_run(argc, argv);
    if (argc < 3)
        return 2;
    log_init("tool", LOG_LEVEL_DEBUG);
    char executable[512];
    ssize_t n = readlink("/proc/self/exe", executable, sizeof executable - 1);
    struct why why;
    if (n < 0 || !result_is_ok(loop_create(&loop, &why)))
        return 1;
    executable[n] = 0;
    output = json_object();
    bool provider = strcmp(argv[1], "call") == 0 || strcmp(argv[1], "describe") == 0;
    int code = provider ? with_provider(argc, argv, executable) : with_dns(argc, argv);
    loop_destroy(loop);
    json_dumpf(output, stdout, 0);
    printf("\n");
    json_decref(output);
    return code;
}
