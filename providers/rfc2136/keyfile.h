/* SPDX-License-Identifier: Apache-2.0 */
/* rfc2136/keyfile.h - reads a key file as tsig-keygen and rndc-confgen write it.
 * Thread: the caller's.   Owns: the open file, within a call.
 * Never: prints what the file holds. */
#pragma once

#include "tsig.h"

/* Takes the first `key "NAME" { algorithm A; secret "S"; };` of the text. False with one sentence
 * (without the file's name) in `why`. */
bool keyfile_parse(struct ferrule_str text, struct tsig_key *ret, char why[160]);
/* The same for a file of at most 64 KiB. */
bool keyfile_read(const char *path, struct tsig_key *ret, char why[160]);
