/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.h - one line per event on stderr, for people and for journald.
 * Thread: any; a line is written by one write(2), so lines of threads and processes do not mix.
 * Owns: nothing.
 * Never: called on the path of a request (workers count; they log only start, stop and refusals
 * of the kernel, rate-limited); prints secrets. */
#pragma once

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARN = 1, LOG_LEVEL_INFO = 2, LOG_LEVEL_DEBUG = 3 };

/* Sets the process's name in each line ("control", "data", ...; static memory) and the highest
 * level that is printed. Called once, before threads start. Lines carry a time stamp unless
 * stderr is journald's ($JOURNAL_STREAM), where they carry a <N> priority prefix instead. */
void log_init(const char *process, enum log_level level);

/* Writes "TIME LEVEL process: text\n". Cut at 2,000 bytes; control bytes become '?'. */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* "ERROR", "WARN", "INFO", "DEBUG", any case; LOG_LEVEL_INFO for anything else. */
enum log_level log_level_parse(const char *name);
