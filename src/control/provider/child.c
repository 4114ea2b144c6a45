/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/host.h"

#include "base/clock.h"
#include "base/secret.h"
#include "control/provider/child_log.h"
#include "control/provider/confine.h"
#include "control/provider/fetch.h"
#include "control/provider/load.h"
#include "control/provider/services.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#define OPEN_LIMIT_S   10
#define CALL_TIMEOUT_S 60  /* one value, with the host's own retries */
#define NAME_BYTES     258 /* 255, a dot, a NUL, one more */

struct child {
    struct redact redact;
    struct plugin_options options;
    struct services services;
    const struct ferrule_provider *provider;
    void *instance;
    uint32_t ttl_s;
    uint8_t first[WIRE_BYTES_MAX];  /* HELLO, which is needed until the options are resolved */
    uint8_t packet[WIRE_BYTES_MAX]; /* the message being handled */
};

/* Waits for one message of the given kind; its spans point into `packet`. False at the end. */
static bool receive(uint8_t packet[WIRE_BYTES_MAX], enum wire_kind kind, struct wire_message *ret)
{
    ssize_t n;
    do {
        n = recv(WIRE_CHILD_FD, packet, WIRE_BYTES_MAX, 0);
    } while (n < 0 && errno == EINTR);
    return n > 0 && result_is_ok(wire_decode(span_of(packet, (size_t)n), ret)) && ret->kind == kind;
}

static bool transmit(const struct wire_message *m)
{
    struct buf packet = {0};
    bool sent = result_is_ok(wire_encode(m, &packet)) &&
                send(WIRE_CHILD_FD, packet.ptr, packet.len, MSG_NOSIGNAL) == (ssize_t)packet.len;
    buf_wipe_free(&packet);
    return sent;
}

/* --- answers ---------------------------------------------------------------------------------- */

static enum provider_verdict verdict_of(int32_t status)
{
    switch (status) {
    case FERRULE_OK:
        return PROVIDER_OK;
    case FERRULE_RATE:
        return PROVIDER_RATE;
    case FERRULE_AUTH:
    case FERRULE_DENIED:
        return PROVIDER_AUTH;
    case FERRULE_CONFIG:
    case FERRULE_FAILED:
        return PROVIDER_CONFIG;
    case FERRULE_ZONE:
        return PROVIDER_ZONE;
    case FERRULE_GONE:
        return PROVIDER_GONE;
    default:
        return PROVIDER_RETRY;
    }
}

static bool status_is_known(int32_t status)
{
    return status >= FERRULE_OK && status <= FERRULE_GONE;
}

/* The length of the UTF-8 sequence that begins here, 0 when none does (RFC 3629 section 4, but for
 * the finer rules of the second byte). */
static size_t utf8_length(const unsigned char *p)
{
    size_t len = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* The text becomes a log line and a JSON string; where it was cut, half a character may be left. */
static void make_printable(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p;) {
        size_t len = utf8_length(p);
        if (len == 0)
            *p = '?';
        else if (*p < 0x20 || *p == 0x7f)
            *p = ' ';
        p += len ? len : 1;
    }
}

/* Text for people from whatever the plug-in left in `error`. */
static void tidy_error(struct child *c, int32_t status, struct ferrule_error *error)
{
    error->text[sizeof error->text - 1] = 0;
    if (!status_is_known(status))
        snprintf(error->text, sizeof error->text,
                 "the plug-in returned status %d, which is none of ABI 1: a fault of the plug-in",
                 status);
    else if (status != FERRULE_OK && !error->text[0])
        snprintf(error->text, sizeof error->text,
                 "the plug-in failed (status %d) and did not say why", status);
    if (strlen(error->text) == sizeof error->text - 1)
        redact_cut_text(&c->redact, error->text);
    else
        redact_text(&c->redact, error->text);
    make_printable(error->text);
}

static bool answer(struct child *c, uint64_t id, int32_t status, struct ferrule_error *error,
                   struct span state)
{
    struct wire_message m = {.kind = WIRE_ANSWER};
    tidy_error(c, status, error);
    enum provider_verdict verdict = verdict_of(status);
    m.answer = (struct wire_answer){
        .id = id,
        .verdict = (uint8_t)verdict,
        .retry_after_s = error->retry_after_ms / 1000 + (error->retry_after_ms % 1000 != 0),
        .state = verdict == PROVIDER_OK ? state : span_of(NULL, 0),
        .text = verdict == PROVIDER_OK ? span_of(NULL, 0) : span_str(error->text),
    };
    return transmit(&m);
}

/* The child cannot start: says why and ends. */
static int give_up(struct child *c, const struct why *why)
{
    struct ferrule_error error = {.size = sizeof error};
    services_fail(&error, FERRULE_CONFIG, "%s", why->text);
    answer(c, 0, FERRULE_CONFIG, &error, span_of(NULL, 0));
    return 1;
}

/* --- start --------------------------------------------------------------------------------------
 */

/* Tells control which variables this plug-in may see. */
static bool send_names(struct child *c)
{
    struct wire_message m = {.kind = WIRE_NAMES};
    struct buf names = {0};
    bool good = result_is_ok(plugin_options_names(c->provider, &names, &m.names));
    for (const char *const *v = fetch_variables; good && *v; v++)
        good = result_is_ok(wire_list_add(&m.names, span_str(*v)));
    good = good && transmit(&m);
    buf_free(&names);
    return good;
}

/* A number that an option of this name replaces. */
static uint32_t timing(const struct child *c, const char *name, uint32_t otherwise)
{
    const struct option_value *v = plugin_options_find(&c->options, name);
    return v && v->set && v->number <= UINT32_MAX ? (uint32_t)v->number : otherwise;
}

static int32_t open_plugin(struct child *c, struct ferrule_error *error)
{
    const struct ferrule_provider *p = c->provider;
    c->ttl_s = timing(c, "ttl", p->ttl_s ? p->ttl_s : 120);
    if (c->ttl_s < p->ttl_min_s) {
        child_log(LOG_LEVEL_WARN, "a TTL of %u s is too short for this provider: %u s is used",
                  c->ttl_s, p->ttl_min_s);
        c->ttl_s = p->ttl_min_s;
    }
    services_begin(&c->services, (int64_t)(clock_now_ns() + OPEN_LIMIT_S * NS_PER_S));
    int32_t status = p->open(&c->services.host, &c->instance, error);
    services_end(&c->services);
    return status;
}

static bool send_ready(struct child *c)
{
    const struct ferrule_provider *p = c->provider;
    struct wire_message m = {.kind = WIRE_READY};
    m.ready = (struct wire_ready){
        .name = span_first(span_str(p->code), 63),
        .version = span_first(span_str(p->version), 63),
        .flags = p->flags,
        .ttl_s = c->ttl_s,
        .propagation_timeout_s = timing(c, "propagation_timeout",
                                        p->propagation_timeout_s ? p->propagation_timeout_s : 60),
        .polling_interval_s =
            timing(c, "polling_interval", p->polling_interval_s ? p->polling_interval_s : 2),
        .call_timeout_s = timing(c, "call_timeout", CALL_TIMEOUT_S),
        .confirms = FERRULE_HAS(p, ready) && p->ready,
        .sequence_interval_s = timing(c, "sequence_interval", p->sequence_interval_s),
    };
    size_t room = WIRE_BYTES_MAX / 2; /* the longest come first; what is left out is blotted here */
    for (uint32_t i = 0; i < c->redact.count && i < WIRE_LIST_MAX; i++) {
        struct span secret = buf_span(&c->redact.values[i]);
        if (secret.len + sizeof(uint32_t) > room)
            continue;
        room -= secret.len + sizeof(uint32_t);
        m.ready.secrets.items[m.ready.secrets.count++] = secret;
    }
    return transmit(&m);
}

/* --- programs ----------------------------------------------------------------------------------
 */

/* Whether the operator's variable is likely to hold a secret: its value is blotted out then. */
static bool name_is_secret(struct span name)
{
    static const char *const words[] = {"AUTH", "CRED", "KEY", "PASS", "SECRET", "TOKEN", "_PWD"};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
        for (size_t i = 0; i + strlen(words[w]) <= name.len; i++)
            if (strncasecmp((const char *)name.ptr + i, words[w], strlen(words[w])) == 0)
                return true;
    return false;
}

static void inherit(struct child *c, const struct wire_list *variables)
{
    for (uint32_t i = 0; i + 1 < variables->count; i += 2) {
        services_inherit(&c->services, variables->items[i], variables->items[i + 1]);
        if (name_is_secret(variables->items[i]))
            redact_add(&c->redact, variables->items[i + 1]);
    }
}

/* Asks control for what programs see of ferrule's environment; the resolver's own variables come
 * on top. `m` is overwritten. */
static bool ask_environment(struct child *c, const struct wire_list *overlay,
                            struct wire_message *m)
{
    const struct option_value *v = plugin_options_find(&c->options, "environment");
    struct span patterns = v && v->set ? buf_span(&v->text) : span_str("*");
    *m = (struct wire_message){.kind = WIRE_NAMES};
    while (patterns.len) {
        size_t end = span_find(patterns, ',');
        if (!result_is_ok(wire_list_add(&m->names, span_first(patterns, end))))
            return false;
        patterns = span_skip(patterns, end + 1);
    }
    if (!transmit(m) || !receive(c->packet, WIRE_ENVIRON, m))
        return false;
    inherit(c, &m->variables);
    inherit(c, overlay);
    return true;
}

/* Plug-ins of ABI 1.0 had no way to say that they run programs. */
static bool runs_programs(const struct ferrule_provider *p)
{
    return (p->flags & FERRULE_RUNS_PROGRAMS) || p->abi_minor == 0;
}

static bool prepare_programs(struct child *c, const struct wire_list *overlay,
                             struct wire_message *m)
{
    if (c->provider->flags & FERRULE_RUNS_PROGRAMS)
        return ask_environment(c, overlay, m);
    if (runs_programs(c->provider))
        return true;
    c->services.no_programs = true;
    if (!confine_programs())
        child_log(LOG_LEVEL_DEBUG, "this kernel cannot forbid the plug-in to execute programs");
    return true;
}

/* From the first message to an open plug-in. Returns an exit code, or -1 when it is open. */
static int start(struct child *c, const struct wire_message *hello, struct wire_message *m)
{
    struct why why;
    char *path = mem_strndup(hello->hello.path.ptr, hello->hello.path.len);
    char *code = mem_strndup(hello->hello.code.ptr, hello->hello.code.len);
    struct result r = load_plugin(path, code, &c->provider, &why);
    free(path);
    free(code);
    if (!result_is_ok(r))
        return give_up(c, &why);
    if (!send_names(c) || !receive(c->packet, WIRE_ENVIRON, m))
        return 1;
    fetch_environment(&hello->hello.env, &m->variables, &c->redact);
    r = plugin_options_resolve(c->provider, &hello->hello.env, &m->variables, &c->options,
                               &c->redact, &why);
    if (!result_is_ok(r))
        return give_up(c, &why);
    services_init(&c->services, &c->options,
                  timing(c, "http_timeout", c->provider->http_timeout_s));
    c->services.redact = &c->redact;
    if (FERRULE_HAS(c->provider, http_burst))
        pace_init(&c->services.pace, c->provider->http_per_minute, c->provider->http_burst);
    if (!prepare_programs(c, &hello->hello.env, m))
        return 1;
    struct ferrule_error error = {.size = sizeof error};
    int32_t status = open_plugin(c, &error);
    if (status != FERRULE_OK) {
        answer(c, 0, status, &error, span_of(NULL, 0));
        return 1;
    }
    return send_ready(c) ? -1 : 1;
}

/* --- calls ---------------------------------------------------------------------------------------
 */

/* A name as the ABI promises it: lower case, with a final dot, or empty. */
static struct ferrule_str normal_name(struct span in, char out[NAME_BYTES])
{
    size_t n = 0;
    for (; n < in.len && n < 255; n++)
        out[n] = (char)tolower(in.ptr[n]);
    if (n && out[n - 1] != '.')
        out[n++] = '.';
    out[n] = 0;
    return (struct ferrule_str){out, n};
}

/* The part of fqdn before the zone, without the dot between; empty when the zone does not fit. */
static struct ferrule_str label_in(struct ferrule_str fqdn, struct ferrule_str zone)
{
    if (zone.len == 0 || fqdn.len <= zone.len ||
        memcmp(fqdn.ptr + fqdn.len - zone.len, zone.ptr, zone.len) != 0 ||
        fqdn.ptr[fqdn.len - zone.len - 1] != '.')
        return (struct ferrule_str){fqdn.ptr, 0};
    return (struct ferrule_str){fqdn.ptr, fqdn.len - zone.len - 1};
}

static struct ferrule_str str_of(struct span s)
{
    return (struct ferrule_str){(const char *)s.ptr, s.len};
}

static int32_t enter_plugin(struct child *c, const struct wire_call *call,
                            const struct ferrule_request *q, struct ferrule_buf *state,
                            struct ferrule_error *error)
{
    const struct ferrule_provider *p = c->provider;
    switch ((enum wire_operation)call->operation) {
    case WIRE_PRESENT:
        return p->present(c->instance, q, state, error);
    case WIRE_CLEANUP:
        return p->cleanup(c->instance, q, str_of(call->state), error);
    case WIRE_CONFIRM:
        if (!FERRULE_HAS(p, ready) || !p->ready)
            return FERRULE_OK;
        return p->ready(c->instance, q, str_of(call->state), error);
    case WIRE_PROBE:
        if (!FERRULE_HAS(p, probe) || !p->probe)
            return FERRULE_OK;
        return p->probe(c->instance, q, error);
    }
    return FERRULE_FAILED;
}

static bool serve(struct child *c, const struct wire_call *call)
{
    char fqdn[NAME_BYTES], zone[NAME_BYTES], challenge[NAME_BYTES], domain[NAME_BYTES + 16];
    struct ferrule_request q = {.size = sizeof q, .ttl_s = c->ttl_s};
    q.deadline_ns = (int64_t)call->deadline_ns;
    q.operation_id = call->id;
    q.fqdn = normal_name(call->fqdn, fqdn);
    q.zone = normal_name(call->zone, zone);
    q.label = label_in(q.fqdn, q.zone);
    q.challenge_fqdn = q.fqdn;
    if (call->domain.len) {
        snprintf(domain, sizeof domain, "_acme-challenge.%.*s", SPAN_FMT(call->domain));
        q.challenge_fqdn = normal_name(span_str(domain), challenge);
    }
    q.value = str_of(call->value);
    q.domain = str_of(call->domain);
    q.token = str_of(call->token);
    q.key_auth = str_of(call->key_auth);
    struct ferrule_error error = {.size = sizeof error};
    struct ferrule_buf state = {.bytes_max = FERRULE_STATE_MAX};
    list_init(&state.node);
    int32_t status;
    if ((c->provider->flags & FERRULE_NEEDS_ZONE) && q.zone.len == 0) {
        status = services_fail(&error, FERRULE_ZONE, "the zone of %s is not known", fqdn);
    } else {
        services_begin(&c->services, q.deadline_ns);
        status = enter_plugin(c, call, &q, &state, &error);
        services_end(&c->services);
    }
    fflush(NULL); /* what the plug-in printed is seen before its answer */
    bool sent = answer(c, call->id, status, &error, buf_span(&state.data));
    buf_wipe_free(&state.data);
    return sent;
}

/* Calls until control closes its end. */
static void serve_all(struct child *c, struct wire_message *m)
{
    while (receive(c->packet, WIRE_CALL, m) && serve(c, &m->call))
        ;
    services_begin(&c->services, (int64_t)(clock_now_ns() + OPEN_LIMIT_S * NS_PER_S));
    c->provider->close(c->instance);
    services_fini(&c->services);
}

int provider_run(int argc, char **argv)
{
    if (fcntl(WIRE_CHILD_FD, F_GETFD) == -1) {
        fprintf(stderr, "provider-run is started by ferrule itself, not by hand\n");
        return 2;
    }
    confine_process();
    fcntl(WIRE_CHILD_FD, F_SETFD, FD_CLOEXEC);
    struct child *c = mem_zalloc(sizeof *c);
    struct wire_message *hello = mem_zalloc(sizeof *hello), *m = mem_zalloc(sizeof *m);
    int code = 1;
    if (receive(c->first, WIRE_HELLO, hello)) {
        child_log_init(WIRE_CHILD_FD, (enum log_level)hello->hello.log_level, &c->redact);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        code = start(c, hello, m);
    }
    if (code == -1) {
        serve_all(c, m);
        code = 0;
    }
    child_log_init(-1, LOG_LEVEL_ERROR, NULL);
    plugin_options_fini(&c->options);
    redact_fini(&c->redact);
    free(hello);
    free(m);
    secret_wipe(c, sizeof *c);
    free(c);
    curl_global_cleanup();
    /* Nothing is left to protect, and a leak checker attaches to its process at the end. */
    prctl(PR_SET_DUMPABLE, 1);
    return code;
}
