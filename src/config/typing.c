/* SPDX-License-Identifier: Apache-2.0 */
#include "config/typing.h"

#include "base/must.h"
#include "base/net.h"
#include "config/rule.h"
#include "config/value.h"

#include <ctype.h>

#define SHOWN_MAX 80
#define CPUS_MAX  1024

struct typing {
    struct arena *arena;
    struct config_problems *problems;
    struct node *node; /* the option's value */
    const struct option *option;
};

/* "not 5", "not \"x\"", "not a list": what stands there, unless it is secret. */
static void put_actual(const struct typing *t, const struct node *n, struct buf *out)
{
    buf_put_str(out, ", not ");
    if (t->option->type == OPTION_SECRET && n->kind != TOML_TABLE && n->kind != TOML_ARRAY)
        buf_put_str(out, n->kind == TOML_STRING ? "this string" : "a number or date");
    else if (n->kind == TOML_TABLE)
        buf_put_str(out, "a table");
    else if (n->kind == TOML_ARRAY)
        buf_put_str(out, "a list");
    else if (n->kind == TOML_STRING)
        buf_printf(out, "\"%.*s\"%s", SHOWN_MAX, n->text, strlen(n->text) > SHOWN_MAX ? "..." : "");
    else if (n->kind == TOML_INTEGER)
        buf_printf(out, "%lld", (long long)n->integer);
    else if (n->kind == TOML_FLOAT)
        buf_printf(out, "%g", n->real);
    else if (n->kind == TOML_BOOLEAN)
        buf_put_str(out, n->truth ? "true" : "false");
    else
        buf_put_str(out, "a date");
}

/* Reports "PATH must be EXPECTED, not ACTUAL" at `n`, which is the node or an element of it. */
static bool refuse(const struct typing *t, const struct node *n)
{
    struct buf text = {0};
    options_expected(t->option, &text);
    put_actual(t, n, &text);
    problems_error(t->problems, n->at, "%s must be %s", tree_path(t->arena, t->node),
                   buf_cstr(&text));
    buf_free(&text);
    return false;
}

bool typing_flag_bool(const struct node *n, bool *ret)
{
    return result_is_ok(value_bool(span_str(n->text), ret));
}

static bool type_bool(const struct typing *t, struct node *n)
{
    if (n->flag && typing_flag_bool(n, &n->truth))
        n->kind = TOML_BOOLEAN;
    return n->kind == TOML_BOOLEAN || refuse(t, n);
}

static bool type_int(const struct typing *t, struct node *n)
{
    int64_t low, high;
    if (n->flag && result_is_ok(value_int(span_str(n->text), &n->integer)))
        n->kind = TOML_INTEGER;
    if (n->kind != TOML_INTEGER)
        return refuse(t, n);
    if (options_range(t->option, &low, &high) && (n->integer < low || n->integer > high))
        return refuse(t, n);
    return true;
}

static bool type_duration(const struct typing *t, struct node *n)
{
    int64_t ms = 0, low, high;
    bool good = n->kind == TOML_STRING && result_is_ok(value_duration_ms(span_str(n->text), &ms));
    if (n->kind == TOML_INTEGER)
        good = n->integer >= 0 && !__builtin_mul_overflow(n->integer, 1000, &ms);
    if (!good || (options_range(t->option, &low, &high) && (ms < low || ms > high)))
        return refuse(t, n);
    n->kind = TOML_INTEGER;
    n->integer = ms;
    return true;
}

static bool type_enum(const struct typing *t, struct node *n)
{
    const char *spelt =
        n->kind == TOML_STRING ? options_choice(t->arena, t->option, n->text) : NULL;
    if (!spelt)
        return refuse(t, n);
    n->text = spelt;
    return true;
}

static bool type_url(const struct typing *t, struct node *n)
{
    struct value_url url;
    if (n->kind != TOML_STRING || !result_is_ok(value_url(span_str(n->text), &url)))
        return refuse(t, n);
    const char *scheme = arena_strndup(t->arena, url.scheme.ptr, url.scheme.len);
    return options_choice(t->arena, t->option, scheme) || refuse(t, n);
}

static bool type_address(const struct typing *t, struct node *n)
{
    struct net_addr addr;
    if (n->kind != TOML_STRING)
        return refuse(t, n);
    size_t len = strlen(n->text);
    if (len > 4 && strcasecmp(n->text + len - 4, "/udp") == 0) {
        problems_error(t->problems, n->at, "%s: UDP is not proxied", tree_path(t->arena, t->node));
        return false;
    }
    if (len > 4 && strcasecmp(n->text + len - 4, "/tcp") == 0)
        n->text = arena_strndup(t->arena, n->text, len - 4);
    return result_is_ok(net_addr_parse(span_str(n->text), 0, &addr)) || refuse(t, n);
}

static bool type_server(const struct typing *t, struct node *n)
{
    struct span host;
    uint16_t port;
    bool good = n->kind == TOML_STRING &&
                result_is_ok(net_split_host_port(span_str(n->text), &host, &port)) &&
                (value_is_ip(host) || value_is_name(host, false));
    return good || refuse(t, n);
}

static bool type_net(const struct typing *t, struct node *n)
{
    return (n->kind == TOML_STRING && value_is_net(span_str(n->text))) || refuse(t, n);
}

static bool type_host(const struct typing *t, struct node *n)
{
    if (n->kind == TOML_STRING && strncmp(n->text, "*.*", 3) == 0) {
        problems_error(t->problems, n->at,
                       "%s: a wildcard stands for one label, in front: \"*.a.test\", not \"%.*s\"",
                       tree_path(t->arena, t->node), SHOWN_MAX, n->text);
        return false;
    }
    bool good = n->kind == TOML_STRING &&
                (value_is_name(span_str(n->text), true) || value_is_ip(span_str(n->text)));
    return good || refuse(t, n);
}

static bool type_cpus(const struct typing *t, struct node *n)
{
    uint32_t cpus[CPUS_MAX], count;
    bool good = n->kind == TOML_STRING &&
                result_is_ok(value_cpus(span_str(n->text), CPUS_MAX, cpus, &count));
    return good || refuse(t, n);
}

static bool type_code(const struct typing *t, struct node *n)
{
    bool good = n->kind == TOML_STRING && *n->text && strlen(n->text) <= 63;
    for (const char *c = n->text; good && *c; c++)
        good = islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '-';
    return good || refuse(t, n);
}

static bool is_of_tcp(const struct schema *s)
{
    while (s->parent && s->parent->parent)
        s = s->parent;
    return strcmp(s->name, "tcp") == 0;
}

static bool type_rule(const struct typing *t, struct node *n)
{
    enum rule_syntax syntax = is_of_tcp(n->schema) ? RULE_TCP : RULE_V3;
    uint32_t column = 0;
    struct why why;
    if (n->kind != TOML_STRING)
        return refuse(t, n);
    if (result_is_ok(rule_check(n->text, syntax, &column, &why)))
        return true;
    struct config_where at = n->at;
    if (n->plain)
        at.column += 1 + column;
    problems_error(t->problems, at, "%s: %s", tree_path(t->arena, t->node), why.text);
    return false;
}

static bool type_text(const struct typing *t, struct node *n)
{
    return n->kind == TOML_STRING || refuse(t, n);
}

static bool type_path(const struct typing *t, struct node *n)
{
    return (n->kind == TOML_STRING && *n->text) || refuse(t, n);
}

static bool type_word(const struct typing *t, struct node *n)
{
    if (n->kind != TOML_STRING || !*n->text)
        return refuse(t, n);
    return !*t->option->allowed || type_enum(t, n);
}

static bool type_number(const struct typing *t, struct node *n)
{
    return n->kind == TOML_INTEGER || n->kind == TOML_FLOAT || n->flag || refuse(t, n);
}

typedef bool type_one(const struct typing *t, struct node *n);

/* A list whose elements are each judged by `one`. A flag's text is split at commas. */
static bool type_list(const struct typing *t, struct node *n, type_one *one)
{
    bool good = true;
    if (n->flag) {
        struct span rest = span_str(n->text);
        n->kind = TOML_ARRAY;
        while (rest.len) {
            struct span part = span_first(rest, span_find(rest, ','));
            rest = span_skip(rest, part.len + 1);
            struct node *c = tree_add(t->arena, n, NULL);
            c->kind = TOML_STRING;
            c->flag = true;
            c->at = c->key_at = n->at;
            c->text = arena_strndup(t->arena, part.ptr, part.len);
            c->text_len = part.len;
        }
    }
    if (n->kind == TOML_STRING && t->option->type == OPTION_ADDRESSES) { /* one stands for a list */
        struct node *c = tree_add(t->arena, n, NULL);
        c->kind = TOML_STRING;
        c->at = c->key_at = n->at;
        c->text = n->text;
        c->text_len = n->text_len;
        n->kind = TOML_ARRAY;
    }
    if (n->kind != TOML_ARRAY)
        return refuse(t, n);
    for (struct node *c = n->first; c; c = c->next)
        good = one(t, c) && good;
    return good;
}

static bool holds_nul(const struct typing *t, const struct node *n)
{
    if (n->kind == TOML_STRING && n->text_len != strlen(n->text)) {
        problems_error(t->problems, n->at, "%s must not hold a NUL character",
                       tree_path(t->arena, t->node));
        return true;
    }
    for (const struct node *c = n->first; c; c = c->next) {
        if (holds_nul(t, c))
            return true;
    }
    return false;
}

static const struct {
    type_one *one;
    bool list;
} types[] = {
    [OPTION_STRING] = {type_text, false},     [OPTION_BOOL] = {type_bool, false},
    [OPTION_INT] = {type_int, false},         [OPTION_DURATION] = {type_duration, false},
    [OPTION_ENUM] = {type_enum, false},       [OPTION_LIST] = {type_word, true},
    [OPTION_NUMBERS] = {type_number, true},   [OPTION_PATH] = {type_path, false},
    [OPTION_PATHS] = {type_path, true},       [OPTION_URL] = {type_url, false},
    [OPTION_ADDRESS] = {type_address, false}, [OPTION_ADDRESSES] = {type_address, true},
    [OPTION_SERVERS] = {type_server, true},   [OPTION_NETS] = {type_net, true},
    [OPTION_HOST] = {type_host, false},       [OPTION_HOSTS] = {type_host, true},
    [OPTION_CPUS] = {type_cpus, false},       [OPTION_RULE] = {type_rule, false},
    [OPTION_CODE] = {type_code, false},       [OPTION_SECRET] = {type_text, false},
};

bool typing_value(struct arena *arena, struct node *n, struct config_problems *problems)
{
    struct typing t = {arena, problems, n, n->schema->option};
    must(t.option && types[t.option->type].one);
    if (holds_nul(&t, n))
        return false;
    type_one *one = types[t.option->type].one;
    return types[t.option->type].list ? type_list(&t, n, one) : one(&t, n);
}
