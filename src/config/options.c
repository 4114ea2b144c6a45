/* SPDX-License-Identifier: Apache-2.0 */
#include "config/options.h"

#include "base/must.h"
#include "config/value.h"

const struct option option_table[] = {
#define OPTION(path, type, preset, allowed, reload, state, doc)                                    \
    {path, OPTION_##type, preset, allowed, OPTION_##reload, OPTION_##state, doc},
#define FOREIGN(path, advice) {path, OPTION_TABLE, "", "", OPTION_RELOAD, OPTION_FOREIGN, advice},
#include "config/options.def"
#undef OPTION
#undef FOREIGN
};
const uint32_t option_count = sizeof option_table / sizeof *option_table;

static struct schema *find_or_add(struct arena *arena, struct schema *parent, struct span name,
                                  bool list)
{
    struct schema **tail = &parent->first;
    for (; *tail; tail = &(*tail)->next) {
        if (span_eq(span_str((*tail)->name), name))
            return *tail;
    }
    struct schema *s = arena_alloc(arena, sizeof *s);
    s->name = arena_strndup(arena, name.ptr, name.len);
    s->any = s->name[0] == '<';
    s->list = list;
    s->parent = parent;
    *tail = s;
    return s;
}

static bool mark_later(struct schema *s)
{
    bool later = !s->option || s->option->state == OPTION_LATER;
    bool foreign_only = s->first != NULL; /* a table of foreign keys alone is not "later" */
    for (struct schema *c = s->first; c; c = c->next) {
        bool foreign = c->option && c->option->state == OPTION_FOREIGN;
        foreign_only = foreign_only && foreign;
        later = (mark_later(c) || foreign) && later;
    }
    s->later = later && !foreign_only;
    return s->later;
}

struct schema *options_schema(struct arena *arena)
{
    struct schema *root = arena_alloc(arena, sizeof *root);
    root->name = "";
    for (uint32_t i = 0; i < option_count; i++) {
        struct span rest = span_str(option_table[i].path);
        struct schema *s = root;
        while (rest.len) {
            struct span part = span_first(rest, span_find(rest, '.'));
            rest = span_skip(rest, part.len + 1);
            bool list = part.len > 2 && part.ptr[part.len - 1] == ']';
            s = find_or_add(arena, s, span_first(part, part.len - (list ? 2 : 0)), list);
        }
        must(!s->option); /* a path stands in the table once */
        s->option = &option_table[i];
    }
    mark_later(root);
    return root;
}

const struct schema *options_child(const struct schema *schema, const char *key)
{
    const struct schema *any = NULL;
    for (const struct schema *s = schema->first; s; s = s->next) {
        if (s->any)
            any = s;
        else if (strcasecmp(s->name, key) == 0)
            return s;
    }
    return any;
}

const struct schema *options_at(const struct schema *schema, const char *path)
{
    char part[64];
    for (struct span rest = span_str(path); rest.len;) {
        size_t len = span_find(rest, '.');
        must(len < sizeof part);
        memcpy(part, rest.ptr, len);
        part[len] = 0;
        rest = span_skip(rest, len + 1);
        schema = options_child(schema, part);
        must(schema);
    }
    return schema;
}

static const char *const type_texts[] = {
    [OPTION_TABLE] = "a table",
    [OPTION_STRING] = "a string",
    [OPTION_BOOL] = "true or false",
    [OPTION_INT] = "a whole number",
    [OPTION_DURATION] = "a time such as \"10s\", \"1m30s\" or a number of seconds",
    [OPTION_ENUM] = "one of",
    [OPTION_LIST] = "a list of strings",
    [OPTION_NUMBERS] = "a list of numbers",
    [OPTION_PATH] = "a path in quotes",
    [OPTION_PATHS] = "a list of paths",
    [OPTION_URL] = "a URL",
    [OPTION_ADDRESS] = "an address to listen on such as \":443\" or \"192.0.2.1:443\"",
    [OPTION_ADDRESSES] =
        "an address to listen on such as \":443\" or \"192.0.2.1:443\", or a list of them",
    [OPTION_SERVERS] = "a list of servers such as \"192.0.2.53:53\"",
    [OPTION_NETS] = "a list of IP addresses or CIDR ranges such as \"10.0.0.0/8\"",
    [OPTION_HOST] = "a domain name",
    [OPTION_HOSTS] = "a list of domain names",
    [OPTION_CPUS] = "core numbers such as \"0,2-5\"",
    [OPTION_RULE] = "a rule such as \"Host(`a.test`)\"",
    [OPTION_CODE] = "a code of lower-case letters, digits and dashes",
    [OPTION_SECRET] = "a string",
};

static void put_choices(const char *allowed, struct buf *out)
{
    for (struct span rest = span_str(allowed); rest.len;) {
        struct span one = span_first(rest, span_find(rest, '|'));
        rest = span_skip(rest, one.len + 1);
        buf_printf(out, " \"%.*s\"%s", SPAN_FMT(one), rest.len ? "," : "");
    }
}

void options_expected(const struct option *option, struct buf *out)
{
    const char *dots = strstr(option->allowed, "..");
    if (option->type == OPTION_INT && dots) {
        buf_printf(out, "%.*s to %s", (int)(dots - option->allowed), option->allowed, dots + 2);
        return;
    }
    buf_put_str(out, type_texts[option->type]);
    if (option->type == OPTION_ENUM) {
        put_choices(option->allowed, out);
    } else if (option->type == OPTION_LIST && *option->allowed) {
        buf_put_str(out, " out of");
        put_choices(option->allowed, out);
    } else if (option->type == OPTION_URL) {
        buf_put_str(out, " beginning with");
        for (struct span rest = span_str(option->allowed); rest.len;) {
            struct span one = span_first(rest, span_find(rest, '|'));
            rest = span_skip(rest, one.len + 1);
            buf_printf(out, " %.*s://%s", SPAN_FMT(one), rest.len ? "," : "");
        }
    } else if (option->type == OPTION_DURATION && dots) {
        buf_printf(out, ", %.*s to %s", (int)(dots - option->allowed), option->allowed, dots + 2);
    }
}

bool options_range(const struct option *option, int64_t *ret_low, int64_t *ret_high)
{
    const char *dots = strstr(option->allowed, "..");
    if (!dots)
        return false;
    struct span low = span_of(option->allowed, (size_t)(dots - option->allowed));
    struct span high = span_str(dots + 2);
    if (option->type == OPTION_DURATION)
        return result_is_ok(value_duration_ms(low, ret_low)) &&
               result_is_ok(value_duration_ms(high, ret_high));
    return result_is_ok(value_int(low, ret_low)) && result_is_ok(value_int(high, ret_high));
}

const char *options_choice(struct arena *arena, const struct option *option, const char *text)
{
    struct span wanted = span_str(text);
    for (struct span rest = span_str(option->allowed); rest.len;) {
        struct span one = span_first(rest, span_find(rest, '|'));
        rest = span_skip(rest, one.len + 1);
        if (span_eq_nocase(one, wanted))
            return arena_strndup(arena, one.ptr, one.len);
    }
    return NULL;
}
