/* SPDX-License-Identifier: Apache-2.0 */
/* config/pair_index.h - what is known of pairs of certificate and key without reading them, as
 * bytes: for the next start, and for reloads.
 * Thread: any, one at a time.   Owns: the bytes that it was given.
 * Never: holds a chain or a key; is believed when a file looks other than it did, when time has
 * changed what is to be said of a pair, or when another ferrule has made it. */
#pragma once

#include "config/pair.h"

#define PAIR_INDEX_BYTES_MAX (1u << 30)

struct pair_index;

/* Begins an index at the end of `out`, which is empty. made_by: a version, below 256 bytes. */
void pair_index_begin(struct buf *out, const char *made_by);
/* A pair. Of one whose files could have changed unseen nothing is kept. */
void pair_index_add(struct buf *out, const char *cert_file, const char *key_file,
                    const struct x509 *leaf, uint64_t id, const struct pair_record *record);
/* Without it the bytes are no index. */
void pair_index_end(struct buf *out);

/* Takes the bytes, also when it fails. ERR_VERSION: made by another ferrule. ERR_FORMAT: damaged.
 */
struct result pair_index_open(struct buf *bytes, const char *made_by, struct pair_index **ret,
                              struct why *why);
/* NULL is fine. */
void pair_index_close(struct pair_index *index);
uint32_t pair_index_count(const struct pair_index *index);
/* What reading both files would give, as far as that is kept, when they look as they did then and
 * now_s is no other time for them. Nothing is said: pair_record_tell(). The caller frees the facts.
 * False: they have to be read. */
bool pair_index_find(const struct pair_index *index, const struct pair_source *source,
                     struct pair_facts *ret);
