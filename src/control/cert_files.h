/* SPDX-License-Identifier: Apache-2.0 */
/* control/cert_files.h - certificates that people keep in files: publishes those of the
 * configuration, watches their files, and publishes each again when its files have changed. Of very
 * many only names are published: each pair is read when a client asks for it. Thread: control's
 * main thread.   Owns: its watch, copies of the paths. Never: takes a bad pair of files for a good
 * one (the certificate before stays, and the log says so); takes part in what the configuration
 * says (a reload does that, with cert_files_set()). */
#pragma once

#include "config/config.h"
#include "control/loop.h"
#include "control/publish_state.h"

/* A pair is written in two steps: what does not fit together gets so much time. */
#define CERT_FILES_PATIENCE_MS 3000
/* Those that could not be read are tried again after this time, then after twice as long, and so
 * on: what was wrong may leave no trace in the files. */
#define CERT_FILES_RETRY_MS 30000

struct cert_files;

struct cert_files_options {
    struct loop *loop;
    struct publish_state *certificates;
    uint32_t patience_ms;       /* CERT_FILES_PATIENCE_MS, but in tests */
    uint32_t retry_ms;          /* CERT_FILES_RETRY_MS, the same */
    void (*changed)(void *arg); /* some were put into `certificates`: publish them */
    /* Clients have waited for this name: publish_state_answer(). */
    void (*answer)(void *arg, const char *name);
    void (*known_changed)(void *arg); /* cert_files_known() says something else; may be NULL */
    void *arg;
};

/* The kernel may refuse to watch files: then the log says so, and a reload is what notices. */
struct cert_files *cert_files_create(const struct cert_files_options *options);
/* NULL is fine. */
void cert_files_destroy(struct cert_files *f);
/* Takes over the certificates of a configuration, the default one too when it has one: puts them
 * into `certificates` and drops those of the configuration before. Facts are moved out of it.
 * read_ns: clock_file_ns() when the configuration began to be read; files that have changed since
 * are read again. */
void cert_files_set(struct cert_files *f, struct config *config, int64_t read_ns);
/* How many pairs are read when clients ask for them. */
uint32_t cert_files_cold(const struct cert_files *f);
/* Makes an index of them (config/pair_index.h) in `out`, which is empty. pair_index_end() is left
 * to another thread: it takes long. */
void cert_files_known(const struct cert_files *f, const char *made_by, struct buf *out);
