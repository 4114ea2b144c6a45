/* SPDX-License-Identifier: Apache-2.0 */
/* route53/xml.h - reads elements out of XML as Amazon's services write it.
 * Thread: the plug-in's only one.   Owns: nothing; results point into the document.
 * Never: reads behind the document, whatever it holds; resolves entities of a DTD. */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

/* The content of the document's root when it has that name and is whole; name NULL: any. */
bool xml_root(struct ferrule_str document, const char *name, struct ferrule_str *ret);
/* The content of the next element of that name, at any depth; *rest is what follows it then. */
bool xml_next(struct ferrule_str *rest, const char *name, struct ferrule_str *ret);
/* The first element of that name as text, without white space around it. False when there is none,
 * or when it does not fit. cap >= 1. */
bool xml_text(struct ferrule_str in, const char *name, char *out, size_t cap);
/* Decodes the five entities and character references below 128. False when it does not fit. */
bool xml_decode(struct ferrule_str raw, char *out, size_t cap);
