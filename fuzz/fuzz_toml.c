/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: config_load tree_from_toml judge_tree flags_set */
#include "fuzz.h"

#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The first byte chooses: whole text as a file, or lines as flags. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problems problems = {0};
    struct config *config = NULL;
    char path[64];
    const char *flags[8];
    char *texts[8];
    uint32_t flag_count = 0;
    struct span in = {data, size};
    bool as_flags = span_starts_with(in, SPAN_LITERAL("--"));
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (struct span rest = in; as_flags && rest.len && flag_count < 8; flag_count++) {
        size_t len = span_find(rest, '\n');
        flags[flag_count] = texts[flag_count] = mem_strndup(rest.ptr, len);
        rest = span_skip(rest, len + 1);
    }
    if (!as_flags && size && write(fd, data, size) != (ssize_t)size)
        return 0;
    struct result r =
        config_load(as_flags ? NULL : path, flags, flag_count, CONFIG_FRAGMENT, &config, &problems);
    must(!config && result_is_ok(r) == (problems.errors == 0));
    for (uint32_t i = 0; i < problems.count; i++) {
        struct buf text = {0};
        config_problem_print(&problems.items[i], &text);
        must(text.len > 0);
        buf_free(&text);
    }
    config_problems_free(&problems);
    for (uint32_t i = 0; i < flag_count; i++)
        free(texts[i]);
    close(fd);
    return 0;
}
