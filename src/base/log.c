/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *process;
    enum log_level level;
    bool journald;
} log_state = {"ferrule", LOG_LEVEL_INFO, false};

void log_init(const char *process, enum log_level level)
{
    log_state.process = process;
    log_state.level = level;
    log_state.journald = getenv("JOURNAL_STREAM") != NULL;
}

static int put_prefix(char *line, size_t cap, enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const int priority[] = {3, 4, 6, 7};
    if (log_state.journald)
        return snprintf(line, cap, "<%d>%s: ", priority[level], log_state.process);
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    int n = (int)strftime(line, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + snprintf(line + n, cap - (size_t)n, ".%03ldZ %-5s %s: ", t.tv_nsec / 1000000,
                        names[level], log_state.process);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (level > log_state.level)
        return;
    char line[2048];
    size_t n = (size_t)put_prefix(line, sizeof line, level);
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    size_t end = n + (more > 0 ? (size_t)more : 0);
    if (end > sizeof line - 2)
        end = sizeof line - 2;
    for (size_t i = n; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[end++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, end);
    (void)ignored;
}

enum log_level log_level_parse(const char *name)
{
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    for (int i = 0; i < 4; i++)
        if (strcasecmp(name, names[i]) == 0)
            return (enum log_level)i;
    return LOG_LEVEL_INFO;
}
