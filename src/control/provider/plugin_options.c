/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/plugin_options.h"

#include "control/provider/child_log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_FILE_BYTES_MAX 65536
#define FILE_SUFFIX           "_FILE"

const struct ferrule_option *plugin_options_at(const struct ferrule_provider *provider, uint32_t i)
{
    /* The array's stride is the size that the plug-in was compiled with. */
    return (const struct ferrule_option *)((const char *)provider->options +
                                           (size_t)i * provider->option_bytes);
}

struct result plugin_options_names(const struct ferrule_provider *provider, struct buf *names,
                                   struct wire_list *ret)
{
    /* First pass sizes and fills the buffer, second pass points into it: it may move while growing.
     */
    for (uint32_t i = 0; i < provider->option_count; i++) {
        for (const char *const *env = plugin_options_at(provider, i)->env; *env; env++)
            buf_printf(names, "%s%c%s" FILE_SUFFIX "%c", *env, 0, *env, 0);
    }
    struct span rest = buf_span(names);
    while (rest.len) {
        size_t end = span_find(rest, 0);
        TRY(wire_list_add(ret, span_first(rest, end)));
        rest = span_skip(rest, end + 1);
    }
    return result_ok();
}

/* Finds a variable in a list of names and values; an empty value counts as unset. */
static bool list_get(const struct wire_list *list, const char *name, const char *suffix,
                     struct span *ret)
{
    size_t name_len = strlen(name);
    for (uint32_t i = 0; i + 1 < list->count; i += 2) {
        struct span have = list->items[i];
        if (have.len == name_len + strlen(suffix) && memcmp(have.ptr, name, name_len) == 0 &&
            span_eq(span_skip(have, name_len), span_str(suffix)) && list->items[i + 1].len) {
            *ret = list->items[i + 1];
            return true;
        }
    }
    return false;
}

static struct result read_file(const char *name, struct span path_span, struct buf *out,
                               struct why *why)
{
    char *path = mem_strndup(path_span.ptr, path_span.len);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int sys = errno;
    struct result r = result_ok();
    if (fd == -1)
        r = why_fail_sys(why, ERR_CONFIG, sys, "%s" FILE_SUFFIX " names %s, which cannot be read",
                         name, path);
    while (result_is_ok(r)) {
        ssize_t n = read(fd, buf_reserve(out, 4096), 4096);
        if (n == 0)
            break;
        if (n < 0)
            r = why_fail_sys(why, ERR_CONFIG, errno,
                             "%s" FILE_SUFFIX " names %s, which cannot be read", name, path);
        else if ((out->len += (size_t)n) > SECRET_FILE_BYTES_MAX)
            r = why_fail(why, ERR_CONFIG, "%s" FILE_SUFFIX " names %s, which is larger than 64 KiB",
                         name, path);
    }
    while (out->len && (out->ptr[out->len - 1] == '\n' || out->ptr[out->len - 1] == '\r'))
        out->len--;
    if (result_is_ok(r) && out->len == 0)
        r = why_fail(why, ERR_CONFIG, "%s" FILE_SUFFIX " names %s, which is empty", name, path);
    if (fd != -1)
        close(fd);
    free(path);
    return r;
}

/* Where an option's value came from; name is NULL when it was found nowhere. */
struct source {
    const char *name;
    const char *suffix;
};

/* Looks through one set of variables. */
static struct result look_in(const struct ferrule_option *option, const struct wire_list *list,
                             struct buf *out, struct source *ret, struct why *why)
{
    struct span found;
    for (const char *const *env = option->env; *env; env++) {
        if (list_get(list, *env, "", &found)) {
            buf_put_span(out, found);
            *ret = (struct source){*env, ""};
            return result_ok();
        }
        if (!(option->flags & FERRULE_OPTION_NO_FILE) &&
            list_get(list, *env, FILE_SUFFIX, &found)) {
            *ret = (struct source){*env, FILE_SUFFIX};
            return read_file(*env, found, out, why);
        }
    }
    return result_ok();
}

/* Decimal digits only. */
static bool parse_decimal(struct span s, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!isdigit(s.ptr[i]) || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    *ret = v;
    return s.len > 0;
}

static bool parse_seconds(struct span s, uint64_t *ret)
{
    uint64_t unit = 1;
    if (s.len && strchr("smh", s.ptr[s.len - 1])) {
        char c = (char)s.ptr[--s.len];
        unit = c == 's' ? 1 : c == 'm' ? 60 : 3600;
    }
    uint64_t v;
    if (!parse_decimal(s, &v) || v > UINT32_MAX / unit)
        return false;
    *ret = v * unit;
    return true;
}

static bool parse_bool(struct span s, uint64_t *ret)
{
    static const char *const words[][2] = {
        {"1", "0"}, {"t", "f"}, {"true", "false"}, {"yes", "no"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int no = 0; no < 2; no++) {
            if (span_eq_nocase(s, span_str(words[i][no]))) {
                *ret = !no;
                return true;
            }
        }
    }
    return false;
}

static void normalise_number(struct option_value *v)
{
    v->text.len = 0;
    if (v->option->type == FERRULE_BOOL)
        buf_put_str(&v->text, v->number ? "true" : "false");
    else
        buf_printf(&v->text, "%llu", (unsigned long long)v->number);
}

static struct result check_number(struct option_value *v, const char *name, struct why *why)
{
    static const char *const allowed[] = {
        [FERRULE_UINT] = "a decimal number",
        [FERRULE_SECONDS] = "a number of seconds, such as 60, 90s, 2m or 1h",
        [FERRULE_BOOL] = "true or false",
    };
    const struct ferrule_option *o = v->option;
    struct span text = buf_span(&v->text);
    bool good = o->type == FERRULE_UINT      ? parse_decimal(text, &v->number)
                : o->type == FERRULE_SECONDS ? parse_seconds(text, &v->number)
                                             : parse_bool(text, &v->number);
    if (!good)
        return why_fail(why, ERR_CONFIG, "%s is \"%.*s\"; it must be %s", name,
                        (int)(text.len < 64 ? text.len : 64), (const char *)text.ptr,
                        allowed[o->type]);
    uint64_t max = o->max ? o->max : UINT64_MAX;
    if (v->number < o->min || v->number > max)
        return why_fail(why, ERR_CONFIG, "%s is %llu; it must be %llu to %llu", name,
                        (unsigned long long)v->number, (unsigned long long)o->min,
                        (unsigned long long)max);
    normalise_number(v);
    return result_ok();
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Removes blanks around items, and empty items. */
static void normalise_list(struct buf *text)
{
    struct buf out = {0};
    struct span rest = buf_span(text);
    while (rest.len) {
        size_t end = span_find(rest, ',');
        struct span item = span_first(rest, end);
        rest = span_skip(rest, end + 1);
        while (item.len && is_blank(item.ptr[0]))
            item = span_skip(item, 1);
        while (item.len && is_blank(item.ptr[item.len - 1]))
            item.len--;
        if (item.len && out.len)
            buf_put_str(&out, ",");
        buf_put_span(&out, item);
    }
    buf_wipe_free(text);
    *text = out;
}

static struct result check_text(struct option_value *v, const char *name, struct why *why)
{
    struct span text = buf_span(&v->text);
    if (memchr(text.ptr, 0, text.len))
        return why_fail(why, ERR_CONFIG, "%s holds a NUL byte", name);
    switch (v->option->type) {
    case FERRULE_LIST:
        normalise_list(&v->text);
        break;
    case FERRULE_URL:
        if (!span_starts_with(text, SPAN_LITERAL("https://")) &&
            !span_starts_with(text, SPAN_LITERAL("http://")))
            return why_fail(why, ERR_CONFIG, "%s must begin with https:// or http://", name);
        break;
    case FERRULE_PATH: {
        char *path = mem_strndup(text.ptr, text.len);
        int sys = access(path, R_OK) == 0 ? 0 : errno;
        struct result r = sys ? why_fail_sys(why, ERR_CONFIG, sys,
                                             "%s names %s, which cannot be read", name, path)
                              : result_ok();
        free(path);
        return r;
    }
    default:
        break;
    }
    return result_ok();
}

static void warn_about(const struct ferrule_option *option, struct source from, struct span text)
{
    if (option->flags & FERRULE_OPTION_DEPRECATED)
        child_log(LOG_LEVEL_WARN, "%s%s is deprecated: %s", from.name, from.suffix, option->help);
    bool blank = false;
    for (size_t i = 0; i < text.len; i++)
        blank |= isspace(text.ptr[i]) != 0;
    if ((option->flags & FERRULE_OPTION_SECRET) && blank)
        child_log(LOG_LEVEL_WARN, "%s%s holds white space: is it meant to?", from.name,
                  from.suffix);
}

static struct result resolve_one(struct option_value *v, const struct wire_list *overlay,
                                 const struct wire_list *variables, struct redact *redact,
                                 struct why *why)
{
    const struct ferrule_option *o = v->option;
    struct source from = {0};
    TRY(look_in(o, overlay, &v->text, &from, why));
    if (!from.name)
        TRY(look_in(o, variables, &v->text, &from, why));
    if (o->flags & FERRULE_OPTION_SECRET)
        redact_add(redact, buf_span(&v->text));
    if (from.name)
        warn_about(o, from, buf_span(&v->text));
    else if (o->default_value)
        buf_put_str(&v->text, o->default_value);
    else
        return result_ok();
    v->set = true;
    char name[128];
    snprintf(name, sizeof name, "%s%s", from.name ? from.name : o->name,
             from.suffix ? from.suffix : "");
    if (o->type == FERRULE_UINT || o->type == FERRULE_SECONDS || o->type == FERRULE_BOOL)
        return check_number(v, name, why);
    return check_text(v, name, why);
}

/* One sentence that lists every required option without a value. */
static struct result check_missing(const struct plugin_options *o, struct why *why)
{
    struct buf missing = {0};
    for (uint32_t i = 0; i < o->count; i++) {
        const struct ferrule_option *option = o->values[i].option;
        if ((option->flags & FERRULE_OPTION_REQUIRED) && !o->values[i].set)
            buf_printf(&missing, "%s%s", missing.len ? ", " : "", option->env[0]);
    }
    struct result r = result_ok();
    if (missing.len)
        r = why_fail(why, ERR_CONFIG,
                     "set %s: in the resolver's dnsChallenge.env, in the environment, or in a file "
                     "that the same name with " FILE_SUFFIX " names",
                     buf_cstr(&missing));
    buf_free(&missing);
    return r;
}

struct result plugin_options_resolve(const struct ferrule_provider *provider,
                                     const struct wire_list *overlay,
                                     const struct wire_list *variables, struct plugin_options *ret,
                                     struct redact *redact, struct why *why)
{
    ret->count = provider->option_count;
    ret->values = mem_zalloc(ret->count * sizeof *ret->values);
    struct result first = result_ok();
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->values[i].option = plugin_options_at(provider, i);
        struct why other;
        struct result r = resolve_one(&ret->values[i], overlay, variables, redact,
                                      result_is_ok(first) ? why : &other);
        if (result_is_ok(first))
            first = r;
    }
    TRY(first);
    return check_missing(ret, why);
}

const struct option_value *plugin_options_find(const struct plugin_options *o, const char *name)
{
    for (uint32_t i = 0; i < o->count; i++)
        if (strcmp(o->values[i].option->name, name) == 0)
            return &o->values[i];
    return NULL;
}

void plugin_options_fini(struct plugin_options *o)
{
    for (uint32_t i = 0; i < o->count; i++)
        buf_wipe_free(&o->values[i].text);
    free(o->values);
    *o = (struct plugin_options){0};
}
