/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct ferrule_str output_trim(struct ferrule_str s)
{
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    while (s.len && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    return s;
}

/* Takes the first line off the text. */
static struct ferrule_str next_line(struct ferrule_str *text)
{
    const char *newline = memchr(text->ptr, '\n', text->len);
    struct ferrule_str line = {text->ptr, newline ? (size_t)(newline - text->ptr) : text->len};
    size_t used = line.len + (newline != NULL);
    text->ptr += used;
    text->len -= used;
    return output_trim(line);
}

void output_log(const struct ferrule_host *host, int32_t level, struct ferrule_str text)
{
    unsigned lines = 0;
    while (text.len) {
        struct ferrule_str line = next_line(&text);
        if (line.len && lines++ < OUTPUT_LINES_MAX)
            host->log(host, level, line);
    }
    if (lines > OUTPUT_LINES_MAX) {
        char rest[64];
        int n = snprintf(rest, sizeof rest, "(%u more lines)", lines - OUTPUT_LINES_MAX);
        host->log(host, level, (struct ferrule_str){rest, (size_t)n});
    }
}

struct ferrule_str output_last_line(struct ferrule_str text)
{
    struct ferrule_str all = output_trim(text);
    const char *newline = all.len ? memrchr(all.ptr, '\n', all.len) : NULL;
    if (!newline)
        return all;
    size_t skip = (size_t)(newline + 1 - all.ptr);
    return output_trim((struct ferrule_str){newline + 1, all.len - skip});
}
