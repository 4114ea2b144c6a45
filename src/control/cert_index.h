/* SPDX-License-Identifier: Apache-2.0 */
/* control/cert_index.h - keeps on disk what is known of many pairs of certificate and key, so that
 * the next start need not read them: pair_index.h says what that is.
 * Thread: control's main thread; the disk's helper thread writes.   Owns: CONFIG_INDEX_FILE in the
 * state directory.
 * Never: holds a key; makes anything wait; fails anything: without it a start takes longer. */
#pragma once

#include "base/buf.h"
#include "control/loop.h"

/* Changes that follow one another are written together; the more there is to write the longer is
 * waited for them: a millisecond more for so many bytes. */
#define CERT_INDEX_WAIT_MS      2000
#define CERT_INDEX_BYTES_PER_MS 4096
/* What could not be written is written after this time, when nothing changes before. */
#define CERT_INDEX_AGAIN_MS 600000

struct cert_index;

struct cert_index_options {
    struct loop *loop;
    const char *directory; /* copied */
    size_t bytes_max;      /* PAIR_INDEX_BYTES_MAX, but in tests: no larger one is written */
    /* Appends what is to be in the file now, without pair_index_end(). */
    void (*encode)(void *arg, struct buf *out);
    void *arg;
};

struct cert_index *cert_index_create(const struct cert_index_options *options);
/* What waits is written now. NULL is fine. */
void cert_index_destroy(struct cert_index *x);
/* Writes soon. */
void cert_index_changed(struct cert_index *x);
/* Begins to write at once, or as soon as what is being written is. */
void cert_index_write(struct cert_index *x);
