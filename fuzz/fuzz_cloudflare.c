/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: answer_read answer_has_code answer_errors answer_record_id answer_zones answer_find_txt
 * answer_has_more (cloudflare). */
#include "fuzz.h"

#include "cloudflare/answer.c"

static const int codes[] = {10000, 81058, 0};

static void check_id(const char *id)
{
    char copy[ANSWER_ID_BYTES];
    must(answer_take_id((struct ferrule_str){id, strlen(id)}, copy) && strcmp(id, copy) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ferrule_str zone = {"edge.test", 9}, value = {"value", 5};
    static const struct ferrule_str name = {"_acme-challenge.edge.test", 25};
    struct answer a = answer_read((struct ferrule_str){(const char *)data, size});
    char text[ANSWER_TEXT_BYTES], id[ANSWER_ID_BYTES];
    must(strlen(answer_errors(&a, text)) < sizeof text);
    (void)answer_has_code(&a, codes);
    (void)answer_has_more(&a, 1);
    if (answer_record_id(&a, id))
        check_id(id);
    if (answer_zones(&a, zone, id))
        check_id(id);
    if (answer_find_txt(&a, name, value, id)) {
        must(answer_is_list(&a));
        check_id(id);
    }
    must(a.root || !answer_is_success(&a));
    answer_free(&a);
    return 0;
}
