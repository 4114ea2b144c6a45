/* SPDX-License-Identifier: Apache-2.0 */
#include "control/publish_choice.h"

#include <string.h>

bool publish_choice_is_valid(const struct publish_candidate *c, int64_t now_s)
{
    return c->leaf.not_before_s <= now_s && now_s <= c->leaf.not_after_s;
}

static bool is_preferred(bool prefer_acme, const struct publish_candidate *c)
{
    return (c->source == PUBLISH_SOURCE_ACME) == prefer_acme;
}

int publish_choice_compare(bool prefer_acme, const struct publish_candidate *a,
                           const struct publish_candidate *b, int64_t now_s, const char **ret_why)
{
    int by = publish_choice_is_valid(a, now_s) - publish_choice_is_valid(b, now_s);
    *ret_why = "valid before expired";
    if (!by) {
        by = !a->before - !b->before;
        *ret_why = "the other one waits for its OCSP answer (must-staple)";
    }
    if (!by) {
        by = is_preferred(prefer_acme, a) - is_preferred(prefer_acme, b);
        *ret_why =
            prefer_acme ? "ACME before provided (tls.prefer)" : "provided before ACME (tls.prefer)";
    }
    if (!by) {
        by = (a->leaf.not_after_s > b->leaf.not_after_s) -
             (a->leaf.not_after_s < b->leaf.not_after_s);
        *ret_why = "expires later";
    }
    if (!by) {
        by = strcmp(a->identifier, b->identifier);
        *ret_why = "last in alphabetical order";
    }
    if (!by) {
        by = (a->id > b->id) - (a->id < b->id);
        *ret_why = "equal: by fingerprint";
    }
    return by;
}
