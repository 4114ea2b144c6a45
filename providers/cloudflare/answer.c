/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct answer answer_read(struct ferrule_str body)
{
    struct answer a = {json_loadb(body.len ? body.ptr : "", body.len, 0, NULL)};
    if (a.root && !json_is_object(a.root))
        answer_free(&a);
    return a;
}

void answer_free(struct answer *a)
{
    json_decref(a->root);
    a->root = NULL;
}

bool answer_is_success(const struct answer *a)
{
    return json_is_true(json_object_get(a->root, "success"));
}

/* --- errors ------------------------------------------------------------------------------------
 */

static bool list_has_code(const json_t *list, const int *codes)
{
    size_t i;
    json_t *e;
    json_array_foreach(list, i, e)
    {
        json_int_t code = json_integer_value(json_object_get(e, "code"));
        for (const int *c = codes; *c; c++)
            if (*c == code)
                return true;
    }
    return false;
}

bool answer_has_code(const struct answer *a, const int *codes)
{
    const json_t *list = json_object_get(a->root, "errors");
    size_t i;
    json_t *e;
    json_array_foreach(list, i, e)
    {
        if (list_has_code(json_object_get(e, "error_chain"), codes))
            return true;
    }
    return list_has_code(list, codes);
}

static size_t put_errors(const json_t *list, char *out, size_t at)
{
    size_t i;
    json_t *e;
    json_array_foreach(list, i, e)
    {
        const char *message = json_string_value(json_object_get(e, "message"));
        json_int_t code = json_integer_value(json_object_get(e, "code"));
        if (!message || at >= ANSWER_TEXT_BYTES - 1)
            continue;
        int n = snprintf(out + at, ANSWER_TEXT_BYTES - at, "%s%lld: %s", at ? "; " : "",
                         (long long)code, message);
        at += n > 0 ? (size_t)n : 0;
        at = put_errors(json_object_get(e, "error_chain"), out,
                        at < ANSWER_TEXT_BYTES ? at : ANSWER_TEXT_BYTES - 1);
    }
    return at;
}

const char *answer_errors(const struct answer *a, char out[ANSWER_TEXT_BYTES])
{
    out[0] = 0;
    put_errors(json_object_get(a->root, "errors"), out, 0);
    return out;
}

/* --- zones and records ---------------------------------------------------------------------------
 */

bool answer_take_id(struct ferrule_str text, char id[ANSWER_ID_BYTES])
{
    if (text.len == 0 || text.len >= ANSWER_ID_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!isalnum((unsigned char)text.ptr[i]))
            return false;
    memcpy(id, text.ptr, text.len);
    id[text.len] = 0;
    return true;
}

static bool id_of(const json_t *item, char id[ANSWER_ID_BYTES])
{
    const json_t *text = json_object_get(item, "id");
    struct ferrule_str s = {json_string_value(text), json_string_length(text)};
    return answer_take_id(s, id);
}

bool answer_record_id(const struct answer *a, char id[ANSWER_ID_BYTES])
{
    return id_of(json_object_get(a->root, "result"), id);
}

/* Names of internationalised zones may be listed in Unicode although they were asked for in ASCII:
 * those are taken on trust. */
static bool name_fits(const json_t *item, struct ferrule_str name)
{
    const json_t *text = json_object_get(item, "name");
    const char *have = json_string_value(text);
    size_t len = json_string_length(text);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)have[i] >= 0x80)
            return true;
    return have && len == name.len && strncasecmp(have, name.ptr, len) == 0;
}

unsigned answer_zones(const struct answer *a, struct ferrule_str name, char id[ANSWER_ID_BYTES])
{
    char found[ANSWER_ID_BYTES];
    unsigned count = 0;
    size_t i;
    json_t *zone;
    json_array_foreach(json_object_get(a->root, "result"), i, zone)
    {
        if (name_fits(zone, name) && id_of(zone, found) && count++ == 0)
            memcpy(id, found, sizeof found);
    }
    return count;
}

/* One character of a quoted string in presentation format (RFC 1035 section 5.1). */
static unsigned char unescape(const char **at)
{
    const char *p = *at;
    if (*p != '\\' || !p[1]) {
        *at = p + 1;
        return (unsigned char)*p;
    }
    if (isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2]) &&
        isdigit((unsigned char)p[3])) {
        *at = p + 4;
        return (unsigned char)((p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0'));
    }
    *at = p + 2;
    return (unsigned char)p[1];
}

/* Whether a record's content, in quotes or without, is the value. */
static bool content_is(const char *content, struct ferrule_str value)
{
    size_t n = 0;
    bool quoted = *content == '"', inside = false;
    for (const char *at = content; *at;) {
        if (quoted && *at == '"') {
            inside = !inside;
            at++;
        } else if (quoted && !inside) {
            at++; /* between two strings of one record */
        } else {
            unsigned char c = quoted ? unescape(&at) : (unsigned char)*at++;
            if (n == value.len || (unsigned char)value.ptr[n++] != c)
                return false;
        }
    }
    return n == value.len && !inside;
}

bool answer_find_txt(const struct answer *a, struct ferrule_str name, struct ferrule_str value,
                     char id[ANSWER_ID_BYTES])
{
    size_t i;
    json_t *record;
    json_array_foreach(json_object_get(a->root, "result"), i, record)
    {
        const char *type = json_string_value(json_object_get(record, "type"));
        const char *content = json_string_value(json_object_get(record, "content"));
        if (type && content && strcmp(type, "TXT") == 0 && name_fits(record, name) &&
            content_is(content, value) && id_of(record, id))
            return true;
    }
    return false;
}

bool answer_has_more(const struct answer *a, unsigned page)
{
    const json_t *info = json_object_get(a->root, "result_info");
    return json_integer_value(json_object_get(info, "total_pages")) > (json_int_t)page;
}

bool answer_is_list(const struct answer *a)
{
    return json_is_array(json_object_get(a->root, "result"));
}
