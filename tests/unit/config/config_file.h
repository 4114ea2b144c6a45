/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/config/config_file.h - loads a configuration given as text.
 * Thread: the test's.   Owns: nothing.   Never: included by product code. */
#pragma once

#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_FILE_WEB                                                                            \
    "[entryPoints.web]\naddress = \"127.0.0.1:8080\"\n"                                            \
    "[entryPoints.tls]\naddress = \"127.0.0.1:8443\"\n"                                            \
    "[[http.services.s.loadBalancer.servers]]\nurl = \"http://127.0.0.1:9000\"\n"

/* Loads `text` from a file of its own. Problems are appended to `out` as lines. */
static inline struct config *config_file_load(const char *text, const char *const *flags,
                                              uint32_t flag_count, struct buf *out)
{
    char path[] = "/tmp/ferrule-config-XXXXXX";
    struct config_problems problems = {0};
    struct config *config = NULL;
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    close(fd);
    struct result r = config_load(path, flags, flag_count, CONFIG_RUN, &config, &problems);
    for (uint32_t i = 0; out && i < problems.count; i++) {
        problems.items[i].where.file = problems.items[i].where.line ? "f" : "";
        config_problem_print(&problems.items[i], out);
        buf_put_str(out, "\n");
    }
    for (uint32_t i = 0; !out && i < problems.count; i++)
        fprintf(stderr, "line %u: %s\n", problems.items[i].where.line, problems.items[i].text);
    if (result_is_ok(r) != (config != NULL))
        abort();
    config_problems_free(&problems);
    unlink(path);
    return config;
}
