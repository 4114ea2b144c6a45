/* SPDX-License-Identifier: Apache-2.0 */
/* cloudflare/answer.h - what an answer of Cloudflare's API says: zones, records, errors.
 * Thread: the host's.   Owns: the parsed JSON between answer_read() and answer_free().
 * Never: believes that a list holds only what was asked for; talks to a service. */
#pragma once

#include "ferrule_provider.h"

#include <jansson.h>
#include <stdbool.h>

#define ANSWER_ID_BYTES   65
#define ANSWER_TEXT_BYTES 320

struct answer {
    json_t *root; /* NULL when the body is no JSON object, or cut */
};

/* Any body is safe. */
struct answer answer_read(struct ferrule_str body);
void answer_free(struct answer *a);

/* `success`, which decides also under a good HTTP status. */
bool answer_is_success(const struct answer *a);
/* Whether one of the 0-terminated codes is among the errors or in their chains. */
bool answer_has_code(const struct answer *a, const int *codes);
/* "code: message; code: message", empty when there is none. Returns out. */
const char *answer_errors(const struct answer *a, char out[ANSWER_TEXT_BYTES]);

/* The id of a record that was made. */
bool answer_record_id(const struct answer *a, char id[ANSWER_ID_BYTES]);
/* How many zones of this name (no final dot) are listed; the id is the first one's. */
unsigned answer_zones(const struct answer *a, struct ferrule_str name, char id[ANSWER_ID_BYTES]);
/* Finds the TXT record with exactly this name (no final dot) and value in a list. */
bool answer_find_txt(const struct answer *a, struct ferrule_str name, struct ferrule_str value,
                     char id[ANSWER_ID_BYTES]);
/* Whether pages follow this one (from 1) of a list. */
bool answer_has_more(const struct answer *a, unsigned page);
/* Whether this is a list at all. */
bool answer_is_list(const struct answer *a);
/* Whether the text can be an id: it becomes part of a URL. Copies it. */
bool answer_take_id(struct ferrule_str text, char id[ANSWER_ID_BYTES]);
