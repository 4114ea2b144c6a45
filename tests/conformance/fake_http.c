/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP service described by a script in JSON: {"rules": [rule, ...]}. The first rule whose
 * method and url fit, and whose body occurs in the request's, answers. In url and body ${fqdn}
 * (with final dot), ${name} (without), ${zone}, ${value} stand for those of the running call, and
 * ${id} in a url for the id of a record. effect add     makes the record; `exists` is the status
 * and `exists_answer` the answer when it is there already (without: made twice) effect remove
 * removes the record ${id} of the url, else the value that url or body names, else everything at
 * the name; `missing` is the status when there is none effect list    ${list} in the answer is
 * `item` for every record at the name, with `between` between them: there ${id} and ${value} are
 * the record's status and answer are for all other cases; in answer ${id} is the record's. */
#include "kit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct fake_response {
    struct ferrule_http_response view;
    struct ferrule_header headers[1];
    struct buf body;
};

bool fake_http_load(struct kit *k, const char *path)
{
    json_error_t error;
    k->script = json_load_file(path, 0, &error);
    if (!k->script) {
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        return false;
    }
    json_t *rules = json_object_get(k->script, "rules"), *rule;
    size_t i;
    json_array_foreach(rules, i, rule)
    {
        struct kit_rule *r = &k->rules[k->rule_count];
        if (k->rule_count++ == KIT_RULES_MAX - 1)
            return false;
        r->method = json_string_value(json_object_get(rule, "method"));
        r->url = json_string_value(json_object_get(rule, "url"));
        r->body = json_string_value(json_object_get(rule, "body"));
        r->effect = json_string_value(json_object_get(rule, "effect"));
        r->answer = json_string_value(json_object_get(rule, "answer"));
        r->exists_answer = json_string_value(json_object_get(rule, "exists_answer"));
        r->between = json_string_value(json_object_get(rule, "between"));
        r->item = json_string_value(json_object_get(rule, "item"));
        r->status = (unsigned)json_integer_value(json_object_get(rule, "status"));
        r->exists = (unsigned)json_integer_value(json_object_get(rule, "exists"));
        r->missing = (unsigned)json_integer_value(json_object_get(rule, "missing"));
        if (!r->method || !r->url || !r->status) {
            fprintf(stderr, "%s: rule %zu lacks method, url or status\n", path, i + 1);
            return false;
        }
    }
    return true;
}

/* What a variable of the running call stands for; an empty span for an unknown one. */
static struct ferrule_str variable(const struct kit *k, const char *name, size_t len)
{
    const struct ferrule_request *q = k->request;
    if (len == 4 && memcmp(name, "fqdn", 4) == 0)
        return q->fqdn;
    if (len == 4 && memcmp(name, "name", 4) == 0)
        return (struct ferrule_str){q->fqdn.ptr, q->fqdn.len - 1};
    if (len == 4 && memcmp(name, "zone", 4) == 0)
        return q->zone;
    if (len == 5 && memcmp(name, "value", 5) == 0)
        return q->value;
    return (struct ferrule_str){"", 0};
}

/* Replaces variables; ${id}, ${value} and ${list} by the given ones when they are not NULL. */
static void expand(const struct kit *k, const char *pattern, const char *id, const char *value,
                   const char *list, struct buf *out)
{
    while (pattern && *pattern) {
        const char *end = strncmp(pattern, "${", 2) == 0 ? strchr(pattern, '}') : NULL;
        if (!end) {
            buf_put(out, pattern++, 1);
            continue;
        }
        size_t len = (size_t)(end - pattern) - 2;
        const char *own = len == 2 && id                                              ? id
                          : len == 5 && value && memcmp(pattern + 2, "value", 5) == 0 ? value
                          : len == 4 && list && memcmp(pattern + 2, "list", 4) == 0   ? list
                                                                                      : NULL;
        struct ferrule_str call = variable(k, pattern + 2, len);
        if (own)
            buf_put_str(out, own);
        else
            buf_put(out, call.ptr, call.len);
        pattern = end + 1;
    }
}

/* Whether a url fits a pattern in which ${id} stands for digits. */
static bool url_fits(const struct kit *k, const char *pattern, struct ferrule_str url,
                     unsigned *ret_id)
{
    struct buf expanded = {0};
    expand(k, pattern, "\001", NULL, NULL, &expanded);
    const char *p = buf_cstr(&expanded);
    size_t at = 0;
    bool fits = true;
    for (; *p && fits; p++) {
        if (*p != '\001') {
            fits = at < url.len && url.ptr[at++] == *p;
            continue;
        }
        size_t from = at;
        for (*ret_id = 0; at < url.len && isdigit((unsigned char)url.ptr[at]); at++)
            *ret_id = *ret_id * 10 + (unsigned)(url.ptr[at] - '0');
        fits = at > from;
    }
    buf_free(&expanded);
    return fits && at == url.len;
}

static bool body_fits(const struct kit *k, const char *pattern, struct ferrule_str body)
{
    struct buf expanded = {0};
    expand(k, pattern, NULL, NULL, NULL, &expanded);
    bool fits =
        expanded.len == 0 || (body.len && memmem(body.ptr, body.len, expanded.ptr, expanded.len));
    buf_free(&expanded);
    return fits;
}

static void list_records(const struct kit *k, const struct kit_rule *rule, const char *name,
                         struct buf *out)
{
    for (uint32_t i = 0; i < k->record_count; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", k->records[i].id);
        if (strcasecmp(k->records[i].name, name) != 0)
            continue;
        if (out->len)
            buf_put_str(out, rule->between ? rule->between : "");
        expand(k, rule->item, id, k->records[i].value, NULL, out);
    }
}

/* Does what the rule says; returns the status and the answer. */
static unsigned apply(struct kit *k, const struct kit_rule *rule, unsigned id, struct buf *answer)
{
    char name[KIT_NAME_BYTES], value[KIT_NAME_BYTES], id_text[16];
    snprintf(name, sizeof name, "%.*s", FERRULE_FMT(k->request->fqdn));
    snprintf(value, sizeof value, "%.*s", FERRULE_FMT(k->request->value));
    const char *effect = rule->effect ? rule->effect : "";
    bool by_id = strstr(rule->url, "${id}");
    bool by_value = strstr(rule->url, "${value}") || (rule->body && strstr(rule->body, "${value}"));
    struct kit_record *r = by_id ? world_find_id(k, id) : world_find(k, name, value);
    struct buf list = {0};
    const char *text = rule->answer ? rule->answer : "${list}";
    unsigned status = rule->status;
    if (strcmp(effect, "add") == 0) {
        if (r && rule->exists) {
            status = rule->exists;
            text = rule->exists_answer ? rule->exists_answer : text;
        } else {
            id = world_add(k, name, value);
        }
    } else if (strcmp(effect, "remove") == 0) {
        if (r && (by_id || by_value))
            world_remove(k, r);
        else if (!by_id && !by_value)
            world_remove_all(k, name);
        else if (rule->missing)
            status = rule->missing;
    } else if (strcmp(effect, "list") == 0) {
        list_records(k, rule, name, &list);
    }
    snprintf(id_text, sizeof id_text, "%u", id);
    expand(k, text, id_text, NULL, buf_cstr(&list), answer);
    buf_free(&list);
    return status;
}

/* The service without faults. */
static unsigned serve(struct kit *k, const struct ferrule_http_request *q, struct buf *answer)
{
    for (uint32_t i = 0; i < k->rule_count; i++) {
        const struct kit_rule *r = &k->rules[i];
        unsigned id = 0;
        if (strlen(r->method) == q->method.len &&
            memcmp(r->method, q->method.ptr, q->method.len) == 0 &&
            url_fits(k, r->url, q->url, &id) && body_fits(k, r->body, q->body))
            return apply(k, r, id, answer);
    }
    buf_printf(answer, "no rule for %.*s %.*s", FERRULE_FMT(q->method), FERRULE_FMT(q->url));
    return 404;
}

static unsigned status_of(enum kit_fault fault)
{
    return fault == FAULT_REFUSED    ? 403u
           : fault == FAULT_SERVFAIL ? 500u
           : fault == FAULT_AUTH     ? 401u
           : fault == FAULT_RATE     ? 429u
                                     : 0u;
}

int32_t fake_http(const struct ferrule_host *host, const struct ferrule_http_request *request,
                  const struct ferrule_http_response **ret, struct ferrule_error *error)
{
    struct kit *k = kit_of(host);
    enum kit_fault fault = kit_count_call(k);
    int32_t status = fault == FAULT_LOST ? FERRULE_OK : kit_fail_transport(k, fault, error);
    if (status != FERRULE_OK)
        return status;
    struct fake_response *r = mem_zalloc(sizeof *r);
    r->view.size = sizeof r->view;
    r->view.status = status_of(fault);
    if (!r->view.status)
        r->view.status = serve(k, request, &r->body);
    if (fault == FAULT_LOST) {
        buf_free(&r->body);
        free(r);
        return kit_fail_transport(k, fault, error);
    }
    if (fault == FAULT_GARBAGE || fault == FAULT_EMPTY)
        r->body.len = fault == FAULT_EMPTY ? 0 : r->body.len / 2;
    if (fault == FAULT_RATE) {
        r->view.retry_after_ms = 7000;
        r->headers[0] = (struct ferrule_header){{"Retry-After", 11}, {"7", 1}};
        r->view.headers = r->headers;
        r->view.header_count = 1;
    }
    r->view.body = (struct ferrule_str){(const char *)r->body.ptr, r->body.len};
    *ret = &r->view;
    return FERRULE_OK;
}

void fake_http_free(const struct ferrule_host *host, const struct ferrule_http_response *response)
{
    struct fake_response *r = (struct fake_response *)response;
    if (!r)
        return;
    buf_free(&r->body);
    free(r);
}
