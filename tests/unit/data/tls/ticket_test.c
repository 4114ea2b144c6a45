/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/ticket.c"

#include "unit.h"

static const struct ticket_keys keys = {
    .count = 3,
    .keys = {{"first key name..", "first key of thirty-two bytes...", 1},
             {"second key name.", "second key of thirty-two bytes..", 2},
             {"third key name..", "third key of thirty-two bytes...", 3}}};
static const uint8_t binding[TICKET_BINDING_BYTES] = "www.a.test under the default";

struct ticket {
    uint8_t name[TICKET_NAME_BYTES], iv[TICKET_IV_BYTES], mac[TICKET_MAC_BYTES], data[140];
};

static struct ticket_parts parts(struct ticket *t)
{
    return (struct ticket_parts){t->name, t->iv, t->mac, t->data, sizeof t->data};
}

static struct ticket sealed(const struct ticket_keys *with)
{
    struct ticket t = {.data = "the master secret"};
    struct ticket_parts p = parts(&t);
    assert_int_equal(ticket_seal(with, binding, &p).code, ERR_NONE);
    return t;
}

static enum ticket_verdict opened(const struct ticket_keys *with, const uint8_t *bound,
                                  struct ticket t)
{
    struct ticket_parts p = parts(&t);
    enum ticket_verdict v = ticket_open(with, bound, &p);
    if (v != TICKET_REJECTED)
        assert_string_equal((char *)t.data, "the master secret");
    return v;
}

static void seal_and_open(void **state)
{
    struct ticket t = sealed(&keys);
    assert_memory_equal(t.name, keys.keys[0].name, TICKET_NAME_BYTES);
    assert_memory_not_equal(t.data, "the master secret", 17);
    assert_int_equal(opened(&keys, binding, t), TICKET_OPENED);
    struct ticket again = sealed(&keys);
    assert_memory_not_equal(again.iv, t.iv, NONCE_BYTES);
    assert_memory_not_equal(again.data, t.data, sizeof t.data);
}

static void older_keys(void **state)
{
    struct ticket_keys old = {.count = 1, .keys = {keys.keys[2]}};
    struct ticket t = sealed(&old);
    assert_int_equal(opened(&keys, binding, t), TICKET_OPENED_OLD);
    old.keys[0] = keys.keys[1];
    assert_int_equal(opened(&old, binding, t), TICKET_REJECTED);
    old.count = 0;
    assert_int_equal(opened(&old, binding, t), TICKET_REJECTED);
    assert_int_equal(opened(NULL, binding, t), TICKET_REJECTED);
}

static void every_bit_counts(void **state)
{
    struct ticket t = sealed(&keys);
    for (size_t i = 0; i < sizeof t; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct ticket bad = t;
            ((uint8_t *)&bad)[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(opened(&keys, binding, bad), TICKET_REJECTED);
        }
    }
    for (size_t i = 0; i < sizeof binding; i++) {
        uint8_t other[TICKET_BINDING_BYTES];
        memcpy(other, binding, sizeof other);
        other[i] ^= 1;
        assert_int_equal(opened(&keys, other, t), TICKET_REJECTED);
    }
}

static void without_keys_nobody_can_open(void **state)
{
    struct ticket_keys none = {0};
    struct ticket a = sealed(&none), b = sealed(NULL);
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_memory_not_equal(a.data, "the master secret", 17);
    assert_int_equal(opened(&keys, binding, a), TICKET_REJECTED);
}

UNIT_TESTS(cmocka_unit_test(seal_and_open), cmocka_unit_test(older_keys),
           cmocka_unit_test(every_bit_counts), cmocka_unit_test(without_keys_nobody_can_open))
