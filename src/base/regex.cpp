/* SPDX-License-Identifier: Apache-2.0 */
#include "base/regex.h"

#include <re2/re2.h>
#include <re2/stringpiece.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>

struct regex {
    RE2 compiled;
    regex(re2::StringPiece pattern, const RE2::Options &options) : compiled(pattern, options)
    {
    }
};

regex *regex_create(const char *pattern, size_t len, regex_error *ret_error)
{
    RE2::Options options;
    options.set_max_mem(REGEX_MEMORY_BYTES);
    options.set_log_errors(false);
    std::string text(pattern, len);
    auto *x = new (std::nothrow) regex(text, options);
    if (x && x->compiled.ok())
        return x;
    const std::string fault = x ? x->compiled.error_arg() : "";
    const size_t at = fault.empty() ? 0 : text.find(fault);
    ret_error->at = at == std::string::npos ? 0 : at;
    snprintf(ret_error->text, sizeof ret_error->text, "%s",
             x ? x->compiled.error().c_str() : "out of memory");
    delete x;
    return nullptr;
}

void regex_destroy(regex *x)
{
    delete x;
}

bool regex_holds(const regex *x, const char *text, size_t len)
{
    return x->compiled.Match(re2::StringPiece(text, len), 0, len, RE2::UNANCHORED, nullptr, 0);
}

bool regex_find(const regex *x, const char *text, size_t len, size_t from, regex_group *ret_groups,
                uint32_t count)
{
    re2::StringPiece parts[REGEX_GROUPS_MAX];
    const int asked = static_cast<int>(std::min<uint32_t>(count, REGEX_GROUPS_MAX));
    const int known = std::min(asked, 1 + x->compiled.NumberOfCapturingGroups());
    if (from > len ||
        !x->compiled.Match(re2::StringPiece(text, len), from, len, RE2::UNANCHORED, parts, known))
        return false;
    for (int i = 0; i < asked; i++)
        ret_groups[i] = {i < known ? parts[i].data() : nullptr, i < known ? parts[i].size() : 0};
    return true;
}

int regex_group_number(const regex *x, const char *name, size_t len)
{
    const auto &groups = x->compiled.NamedCapturingGroups();
    const auto found = groups.find(std::string(name, len));
    return found == groups.end() ? -1 : found->second;
}
