/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: document_directory_parse document_order_parse document_authorization_parse
 * document_account_parse document_problem_parse order_record_decode ledger_decode
 * The first byte chooses the parser. */
#include "fuzz.h"

#include "base/buf.h"
#include "control/acme/document.h"
#include "control/ledger.h"
#include "control/order_journal.h"

static void check_text(const char *text, size_t cap)
{
    size_t len = strlen(text);
    must(len < cap);
    for (size_t i = 0; i < len; i++)
        must((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void check_problem(const struct document_problem *p)
{
    check_text(p->type, sizeof p->type);
    check_text(p->detail, sizeof p->detail);
}

static void try_directory(struct span in)
{
    struct document_directory d;
    struct why why;
    if (!result_is_ok(document_directory_parse(in, &d, &why)))
        return;
    must(document_is_url(d.new_nonce, true) && document_is_url(d.new_account, true) &&
         document_is_url(d.new_order, true));
    must(d.profile_count <= DOCUMENT_PROFILES_MAX);
    document_directory_free(&d);
}

static void try_order(struct span in)
{
    struct document_order o;
    struct why why;
    if (!result_is_ok(document_order_parse(in, &o, &why)))
        return;
    must(o.authorization_count > 0 && o.authorization_count <= DOCUMENT_AUTHORIZATIONS_MAX);
    must(document_is_url(o.finalize, true));
    must(o.certificate || o.status != DOCUMENT_STATUS_VALID);
    check_problem(&o.problem);
    document_order_free(&o);
}

static void try_authorization(struct span in)
{
    struct document_authorization a;
    struct why why;
    if (!result_is_ok(document_authorization_parse(in, &a, &why)))
        return;
    check_text(a.identifier, 254);
    must(a.identifier[0] && !strchr(a.identifier, '/') && a.challenge_count <= 16);
    for (uint32_t i = 0; i < a.challenge_count; i++) {
        must(document_is_url(a.challenges[i].url, true));
        must(!a.challenges[i].token || !strpbrk(a.challenges[i].token, "./\\ \"\n"));
        check_problem(&a.challenges[i].problem);
    }
    document_authorization_free(&a);
}

/* What was read is written and read again without a difference. */
static void try_record(struct span in)
{
    struct order_record r, again;
    struct buf first = {0}, second = {0};
    if (!result_is_ok(order_record_decode(in, &r)))
        return;
    order_record_encode(&r, &first);
    must(result_is_ok(order_record_decode(buf_span(&first), &again)));
    order_record_encode(&again, &second);
    must(span_eq(buf_span(&first), buf_span(&second)));
    order_record_free(&r);
    order_record_free(&again);
    buf_free(&first);
    buf_free(&second);
}

static void try_ledger(struct span in)
{
    static const struct ledger_key key = {"id", "r", "n", "f"};
    struct ledger_entry e, again;
    struct buf text = {0};
    if (!result_is_ok(ledger_decode(in, &e)))
        return;
    must(e.order_count <= LEDGER_TIMES_MAX && e.cert_count <= LEDGER_TIMES_MAX);
    ledger_encode(&key, &e, &text);
    must(result_is_ok(ledger_decode(buf_span(&text), &again)));
    must(again.failures == e.failures && again.next_s == e.next_s);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    struct span head = fuzz_take(&in, 1);
    struct document_problem problem;
    enum document_status status;
    struct why why;
    switch (head.len ? head.ptr[0] : 0) {
    case 'd':
        try_directory(in);
        break;
    case 'o':
        try_order(in);
        break;
    case 'z':
        try_authorization(in);
        break;
    case 'a':
        if (result_is_ok(document_account_parse(in, &status, &why)))
            must(status != DOCUMENT_STATUS_UNKNOWN);
        break;
    case 'j':
        try_record(in);
        break;
    case 'l':
        try_ledger(in);
        break;
    default:
        document_problem_parse(in, &problem);
        check_problem(&problem);
    }
    return 0;
}
