/* SPDX-License-Identifier: Apache-2.0 */
#include "config/toml.h"

/* toml++ is compiled in here, whole: a shared library of it would have other settings. */
#define TOML_EXCEPTIONS        0
#define TOML_ENABLE_FORMATTERS 0
/* Some of its assertions do not hold for bad input ("[`"); the code behind them reports an error.
 * Without NDEBUG its optimiser hints are assertions too, so that none is left. */
#undef NDEBUG
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

#include <cstring>

#include <cstdio>

namespace
{

struct walk {
    toml_visit *visit;
    void *arg;
};

void fill(toml_item &item, const toml::node &node)
{
    const toml::source_region &at = node.source();
    item.line = at.begin.line;
    item.column = at.begin.column;
    item.end_line = at.end.line;
    item.end_column = at.end.column;
    switch (node.type()) {
    case toml::node_type::table:
        item.kind = TOML_TABLE;
        break;
    case toml::node_type::array:
        item.kind = TOML_ARRAY;
        break;
    case toml::node_type::string:
        item.kind = TOML_STRING;
        item.text = node.ref<std::string>().data();
        item.text_len = node.ref<std::string>().size();
        break;
    case toml::node_type::integer:
        item.kind = TOML_INTEGER;
        item.integer = node.ref<int64_t>();
        break;
    case toml::node_type::floating_point:
        item.kind = TOML_FLOAT;
        item.real = node.ref<double>();
        break;
    case toml::node_type::boolean:
        item.kind = TOML_BOOLEAN;
        item.truth = node.ref<bool>();
        break;
    default:
        item.kind = TOML_TIME;
        break;
    }
}

void visit_children(const walk &w, void *handle, const toml::node &node);

void visit_item(const walk &w, void *parent, toml_item &item, const toml::node &node)
{
    fill(item, node);
    void *handle = w.visit(w.arg, parent, &item);
    visit_children(w, handle, node);
}

void visit_children(const walk &w, void *handle, const toml::node &node)
{
    if (const toml::table *table = node.as_table()) {
        for (auto &&[key, value] : *table) {
            toml_item item{};
            item.key = key.str().data();
            item.key_len = key.str().size();
            item.key_line = key.source().begin.line;
            item.key_column = key.source().begin.column;
            visit_item(w, handle, item, value);
        }
    } else if (const toml::array *array = node.as_array()) {
        for (const toml::node &value : *array) {
            toml_item item{};
            visit_item(w, handle, item, value);
        }
    }
}

/* toml++ limits nested values but not dotted keys, and its tables are destroyed recursively: a key
 * of a million parts would end the stack. Counts parts joined by dots; anything that cannot stand
 * in a key starts again. Returns false with the place of the part that is one too many. */
bool keys_are_shallow(std::string_view text, toml_error *error)
{
    uint32_t line = 1, column = 0, parts = 1;
    bool gap = false, dot = false; /* a blank, or a dot, since the last part */
    for (char c : text) {
        column++;
        if (c == '\n') {
            line++;
            column = 0;
        }
        if (c == ' ' || c == '\t') {
            gap = true;
        } else if (std::strchr("=,{}[]\r\n#", c) != nullptr) {
            parts = 1;
            gap = dot = false;
        } else if (c == '.') {
            if (++parts > TOML_DEPTH_MAX) {
                error->line = line;
                error->column = column;
                std::snprintf(error->text, sizeof error->text,
                              "a key has at most %d parts joined by dots", TOML_DEPTH_MAX);
                return false;
            }
            dot = true;
            gap = false;
        } else {
            if (gap && !dot)
                parts = 1;
            gap = dot = false;
        }
    }
    return true;
}

uint32_t depth_of(const toml::node &node, uint32_t limit)
{
    uint32_t deepest = 0;
    if (limit == 0)
        return 1;
    if (const toml::table *table = node.as_table()) {
        for (auto &&[key, value] : *table)
            deepest = std::max(deepest, depth_of(value, limit - 1));
    } else if (const toml::array *array = node.as_array()) {
        for (const toml::node &value : *array)
            deepest = std::max(deepest, depth_of(value, limit - 1));
    }
    return deepest + 1;
}

} // namespace

extern "C" bool toml_walk(const char *text, size_t len, toml_visit *visit, void *arg, void *root,
                          struct toml_error *ret_error)
{
    std::string_view view(text, len);
    if (!keys_are_shallow(view, ret_error))
        return false;
    toml::parse_result parsed = toml::parse(view);
    if (!parsed) {
        const toml::parse_error &error = parsed.error();
        ret_error->line = error.source().begin.line;
        ret_error->column = error.source().begin.column;
        std::snprintf(ret_error->text, sizeof ret_error->text, "%.*s",
                      static_cast<int>(error.description().size()), error.description().data());
        return false;
    }
    const toml::table &table = parsed.table();
    if (depth_of(table, TOML_DEPTH_MAX + 2) > TOML_DEPTH_MAX) {
        ret_error->line = ret_error->column = 1;
        std::snprintf(ret_error->text, sizeof ret_error->text,
                      "tables and arrays may be nested %d deep", TOML_DEPTH_MAX);
        return false;
    }
    visit_children(walk{visit, arg}, root, table);
    return true;
}
