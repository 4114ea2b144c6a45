/* SPDX-License-Identifier: Apache-2.0 */
/* exec/output.h - what a program printed, for the log and for error texts.
 * Thread: the plug-in's only one.   Owns: nothing.
 * Never: logs more than OUTPUT_LINES_MAX lines of one run. */
#pragma once

#include "ferrule_provider.h"

#define OUTPUT_LINES_MAX 50

/* Logs every line that is not blank. */
void output_log(const struct ferrule_host *host, int32_t level, struct ferrule_str text);
/* The last line that is not blank, without blanks around it; empty when there is none. */
struct ferrule_str output_last_line(struct ferrule_str text);
/* The text without white space around it. */
struct ferrule_str output_trim(struct ferrule_str text);
