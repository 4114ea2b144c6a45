/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: xml_root xml_next xml_text rrset_read rrset_find rrset_names_equal (route53). */
#include "fuzz.h"

#include "route53/xml.c"

#include "route53/rrset.c"
#include "route53/text.c"

/* Every value of a set lies inside the document. */
static void check_set(const struct rrset *set, const uint8_t *data, size_t size)
{
    must(set->count <= RRSET_VALUES_MAX);
    for (uint32_t i = 0; i < set->count; i++) {
        const uint8_t *at = (const uint8_t *)set->values[i].ptr;
        must(at >= data && at + set->values[i].len <= data + size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ferrule_str name = {"_acme-challenge.edge.test.", 26}, value = {"value", 5};
    static struct rrset set;
    struct ferrule_error error = {.size = sizeof error};
    struct ferrule_str document = {(const char *)data, size}, root, rest, one;
    char text[64];
    if (rrset_read(document, name, &set, &error) == FERRULE_OK) {
        check_set(&set, data, size);
        (void)rrset_find(&set, value);
    }
    (void)rrset_names_equal(document, name);
    if (!xml_root(document, NULL, &root))
        return 0;
    must(root.ptr >= document.ptr && root.ptr + root.len <= document.ptr + size);
    for (rest = root; xml_next(&rest, "HostedZone", &one);)
        must(one.ptr >= root.ptr && one.ptr + one.len <= root.ptr + root.len);
    if (xml_text(root, "Id", text, sizeof text))
        must(strlen(text) < sizeof text);
    return 0;
}
