/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/redact.h - blots secret values out of text that is about to be printed.
 * Thread: any, one at a time.   Owns: copies of the values, wiped by redact_fini().
 * Never: prints a value; misses one that stands literally in the text. */
#pragma once

#include "base/buf.h"

/* Shorter values are not blotted out: they would take ordinary text with them. */
#define REDACT_BYTES_MIN 4

struct redact {
    struct buf *values;
    uint32_t count;
};

/* Zero-initialised is valid and empty. Also takes each line of a value of several lines. */
void redact_add(struct redact *r, struct span value);
/* Replaces each occurrence in text (NUL-terminated) by "***", and the beginning of a value where
 * the text ends with one (it was cut there). In place: the text never grows. */
void redact_text(const struct redact *r, char *text);
/* The same for a text that was cut at its end: the shortest beginning of a value goes, too. */
void redact_cut_text(const struct redact *r, char *text);
void redact_fini(struct redact *r);
