/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/store_record.h - how accounts and certificates stand in a directory store.
 * Thread: control.   Owns: nothing.
 * Never: takes damaged bytes for good ones: every record begins with a digest of the rest.
 *
 *   record       SHA-256 of what follows, its first 8 bytes; form (1 byte, 1); then
 *   account      key type (1); email, registration URI, key, next key, each behind 4 bytes length
 *   certificate  resolver behind 2 bytes length; number of names (2); names, the main one first,
 *                each behind 2 bytes length; chain (DER, each behind a 3-byte length) and key
 * (DER), each behind 4 bytes length */
#pragma once

#include "control/store/store.h"
#include "crypto/x509.h"

/* A certificate's record; points into its bytes. */
struct store_record {
    struct span resolver;
    uint32_t name_count;
    struct span names; /* as they stand in the record; by store_record_name() */
    struct span chain, key;
};

void store_record_put_account(struct buf *out, const struct store_account *account);
/* False: damaged. Afterwards store_free_account(). */
bool store_record_get_account(struct span record, struct store_account *ret);

/* ret_leaf: for the index; x509_free(). ERR_FORMAT: not a certificate, not a key, or too many or
 * too long names. The caller wipes `out`. */
struct result store_record_put_cert(struct buf *out, const struct store_cert *cert,
                                    struct x509 *ret_leaf, struct why *why);
/* False: damaged. */
bool store_record_read(struct span bytes, struct store_record *ret);
/* The next name; *names begins as the record's. */
struct span store_record_name(struct span *names);
/* Is it of this resolver and set of names, whichever is the main one? */
bool store_record_is_of(const struct store_record *record, const struct store_cert *cert);
/* In PEM again. ERR_FORMAT. Afterwards store_free_cert(). */
struct result store_record_get_cert(const struct store_record *record, struct store_cert *ret,
                                    struct why *why);
