/* SPDX-License-Identifier: Apache-2.0 */
/* config/skim.h - leaves the pairs of [[tls.certificates]] out of a long configuration, for a
 * process that has no use for them and would spend most of its start on reading them. Thread: any.
 * Owns: nothing. Never: leaves out anything else; moves a line: where something stands stays what
 * it was. */
#pragma once

#include "base/buf.h"

/* Appends the text with empty lines where [[tls.certificates]] tables stand that have nothing but
 * certFile and keyFile, each a string on one line. False: there are none, or the text has something
 * that only a whole parser can tell apart (strings of several lines); then `out` is as before. */
bool skim_pairs(struct span text, struct buf *out);
