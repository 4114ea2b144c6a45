/* SPDX-License-Identifier: Apache-2.0 */
#include "rrset.h"

#include "text.h"
#include "xml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 1100 /* 255 bytes, all escaped */

/* Takes one byte of a name, 0 at its end. */
static char take_byte(struct ferrule_str *name)
{
    if (name->len == 0 || (name->len == 1 && *name->ptr == '.'))
        return 0;
    const char *p = name->ptr;
    size_t used = 1;
    char c = *p;
    if (c == '\\' && name->len >= 4 && isdigit((unsigned char)p[1]) &&
        isdigit((unsigned char)p[2]) && isdigit((unsigned char)p[3])) {
        c = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
        used = 4;
    }
    *name = (struct ferrule_str){p + used, name->len - used};
    return (char)tolower((unsigned char)c);
}

bool rrset_names_equal(struct ferrule_str a, struct ferrule_str b)
{
    for (;;) {
        char x = take_byte(&a), y = take_byte(&b);
        if (x != y)
            return false;
        if (!x)
            return true;
    }
}

static int32_t fail_damaged(struct ferrule_error *error)
{
    return text_fail(error, FERRULE_RETRY, "Route 53's list of records is cut short or damaged");
}

/* One <ResourceRecordSet> that is ours. */
static int32_t read_set(struct ferrule_str in, struct rrset *ret, struct ferrule_error *error)
{
    char ttl[16], id[130];
    struct ferrule_str record, rest = in;
    if (ret->count || xml_text(in, "SetIdentifier", id, sizeof id)) {
        ret->routed = true;
        return FERRULE_OK;
    }
    if (!xml_text(in, "TTL", ttl, sizeof ttl))
        return fail_damaged(error);
    ret->ttl_s = (uint32_t)strtoul(ttl, NULL, 10);
    while (xml_next(&rest, "ResourceRecord", &record)) {
        if (ret->count == RRSET_VALUES_MAX)
            return text_fail(error, FERRULE_FAILED, "the name has more than %d TXT values",
                             RRSET_VALUES_MAX);
        if (!xml_next(&record, "Value", &ret->values[ret->count++]))
            return fail_damaged(error);
    }
    return ret->count ? FERRULE_OK : fail_damaged(error);
}

int32_t rrset_read(struct ferrule_str body, struct ferrule_str name, struct rrset *ret,
                   struct ferrule_error *error)
{
    struct ferrule_str root, set;
    ret->count = ret->ttl_s = 0;
    ret->routed = false;
    if (!xml_root(body, "ListResourceRecordSetsResponse", &root))
        return fail_damaged(error);
    while (xml_next(&root, "ResourceRecordSet", &set)) {
        char type[16], set_name[NAME_BYTES];
        /* What a service was asked to filter is compared here all the same. */
        if (!xml_text(set, "Type", type, sizeof type) || strcmp(type, "TXT") != 0 ||
            !xml_text(set, "Name", set_name, sizeof set_name) ||
            !rrset_names_equal(text_str(set_name), name))
            continue;
        int32_t status = read_set(set, ret, error);
        if (status != FERRULE_OK)
            return status;
    }
    return FERRULE_OK;
}

/* Whether a value of the set is exactly "value" in its quotes. */
static bool is_value(struct ferrule_str raw, struct ferrule_str value)
{
    char text[RRSET_VALUE_BYTES];
    if (!xml_decode(raw, text, sizeof text))
        return false;
    size_t len = strlen(text);
    return len == value.len + 2 && text[0] == '"' && text[len - 1] == '"' &&
           memcmp(text + 1, value.ptr, value.len) == 0;
}

int rrset_find(const struct rrset *set, struct ferrule_str value)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (is_value(set->values[i], value))
            return (int)i;
    return -1;
}

/* Others are passed on with the very bytes they came in, entities included. */
static void put_value(const struct ferrule_host *host, struct ferrule_buf *body,
                      struct ferrule_str raw)
{
    text_put(host, body, "<ResourceRecord><Value>");
    host->buf_put(body, raw.ptr, raw.len);
    text_put(host, body, "</Value></ResourceRecord>");
}

void rrset_put_change(const struct ferrule_host *host, const struct rrset *set,
                      struct ferrule_str name, struct ferrule_str value, uint32_t ttl_s,
                      bool remove, struct ferrule_buf *body)
{
    char ttl[64];
    bool deletes = remove && set->count == 1;
    text_put(host, body,
             "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/"
             "2013-04-01/\"><ChangeBatch><Changes><Change><Action>");
    text_put(host, body, deletes ? "DELETE" : "UPSERT");
    text_put(host, body, "</Action><ResourceRecordSet><Name>");
    text_put_xml(host, body, name);
    text_put(host, body, "</Name><ResourceRecords>");
    for (uint32_t i = 0; i < set->count; i++)
        if (deletes || !remove || !is_value(set->values[i], value))
            put_value(host, body, set->values[i]);
    if (!remove) {
        struct ferrule_buf *quoted = host->buf_new(host);
        text_put(host, quoted, "&#34;");
        text_put_xml(host, quoted, value);
        text_put(host, quoted, "&#34;");
        put_value(host, body, host->buf_view(quoted));
        host->buf_free(quoted);
    }
    /* A set has one TTL, and a DELETE must name it: that of others' values stays. */
    snprintf(ttl, sizeof ttl, "</ResourceRecords><TTL>%u</TTL>", set->count ? set->ttl_s : ttl_s);
    text_put(host, body, ttl);
    text_put(host, body,
             "<Type>TXT</Type></ResourceRecordSet></Change></Changes><Comment>Managed by "
             "ferrule</Comment></ChangeBatch></ChangeResourceRecordSetsRequest>");
}
