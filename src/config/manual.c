/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the option table for people. */
#include "config/options.h"

#include "config/config.h"

static const char *state_text(const struct option *o)
{
    return o->state == OPTION_AVAILABLE ? ""
           : o->state == OPTION_LATER   ? "later"
                                        : "not in ferrule";
}

/* The first part of a path: "entryPoints". */
static struct span section_of(const struct option *o)
{
    struct span path = span_str(o->path);
    return span_first(path, span_find(path, '.'));
}

/* Markdown: a bar would end the cell, and <name> would be taken for HTML. */
static void put_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_put_str(out, "\\|");
        else if (*text == '<')
            buf_put_str(out, "&lt;");
        else
            buf_put(out, text, 1);
    }
}

static void put_code(struct buf *out, const char *text)
{
    buf_printf(out, *text ? "`%s`" : "%s", text);
}

static void print_row(const struct option *o, struct buf *out)
{
    buf_put_str(out, "| ");
    put_code(out, o->path);
    if (o->state == OPTION_FOREIGN) {
        buf_put_str(out, " | | | not in ferrule: ");
        put_cell(out, o->doc);
        buf_put_str(out, " |\n");
        return;
    }
    struct buf expected = {0};
    options_expected(o, &expected);
    buf_put_str(out, " | ");
    put_cell(out, buf_cstr(&expected));
    buf_put_str(out, " | ");
    if (o->preset[0] == '(')
        put_cell(out, o->preset);
    else
        put_code(out, o->preset);
    buf_put_str(out, " | ");
    put_cell(out, o->doc);
    if (o->reload == OPTION_RESTART)
        buf_put_str(out, " *Needs a restart.*");
    if (o->state == OPTION_LATER)
        buf_put_str(out, " **Not available yet.**");
    buf_put_str(out, " |\n");
    buf_free(&expected);
}

static void print_markdown(struct buf *out)
{
    struct span section = {NULL, 0};
    for (uint32_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->state == OPTION_FOREIGN && !strchr(o->path, '.'))
            continue; /* whole sections of Traefik stand in one table at the end */
        if (!span_eq(section, section_of(o))) {
            section = section_of(o);
            buf_printf(out,
                       "\n### %.*s\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
                       SPAN_FMT(section));
        }
        print_row(o, out);
    }
    buf_put_str(out, "\n### Sections of Traefik that ferrule does not have\n\n"
                     "| section | |\n|---|---|\n");
    for (uint32_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->state != OPTION_FOREIGN || strchr(o->path, '.'))
            continue;
        buf_printf(out, "| `%s` | ", o->path);
        put_cell(out, o->doc);
        buf_put_str(out, " |\n");
    }
    buf_put_str(out, "\n");
}

static void print_text(struct buf *out)
{
    for (uint32_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        struct buf expected = {0};
        if (o->state != OPTION_FOREIGN)
            options_expected(o, &expected);
        buf_printf(out, "%s\n    %s\n", o->path, o->doc);
        if (expected.len)
            buf_printf(out, "    value: %s\n", buf_cstr(&expected));
        if (*o->preset)
            buf_printf(out, "    default: %s\n", o->preset);
        if (o->state != OPTION_FOREIGN)
            buf_printf(out, "    a change needs: %s\n",
                       o->reload == OPTION_RELOAD ? "reload" : "restart");
        if (*state_text(o))
            buf_printf(out, "    state: %s\n", state_text(o));
        buf_free(&expected);
    }
}

void config_options_print(bool markdown, struct buf *out)
{
    if (markdown)
        print_markdown(out);
    else
        print_text(out);
}
