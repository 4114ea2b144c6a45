/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/aead.c"

#include "base/must.h"

#include "unit.h"

#include <stdio.h>
#include <wolfssl/ssl.h>

#define AAD   5
#define TAG   16
#define BYTES (16 * 1024 + 256)

static uint8_t plain[BYTES], key[32], iv[12], aad[AAD];

struct sealed {
    uint8_t bytes[BYTES], tag[TAG];
};

static void fill(uint8_t *to, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
}

static void open_aes(Aes *aes, uint32_t key_bytes, int device)
{
    assert_int_equal(wc_AesInit(aes, NULL, device), 0);
    assert_int_equal(wc_AesGcmSetKey(aes, key, key_bytes), 0);
}

static void seal(uint32_t key_bytes, uint32_t n, int device, struct sealed *ret)
{
    Aes aes;
    open_aes(&aes, key_bytes, device);
    assert_int_equal(
        wc_AesGcmEncrypt(&aes, ret->bytes, plain, n, iv, sizeof iv, ret->tag, TAG, aad, AAD), 0);
    wc_AesFree(&aes);
}

static int unseal(uint32_t key_bytes, uint32_t n, int device, const struct sealed *in, uint8_t *ret)
{
    Aes aes;
    open_aes(&aes, key_bytes, device);
    int code = wc_AesGcmDecrypt(&aes, ret, in->bytes, n, iv, sizeof iv, in->tag, TAG, aad, AAD);
    wc_AesFree(&aes);
    return code;
}

static const uint32_t lengths[] = {0,    1,    16,   1023, 1024,  1025,  1039,  1040,
                                   1041, 4096, 8191, 8192, 16383, 16384, 16385, BYTES};

/* The same bytes as wolfSSL's own, and each opens what the other has sealed. */
static void both_make_the_same(void **state)
{
    static struct sealed ours, theirs;
    static uint8_t opened[BYTES];
    for (uint32_t key_bytes = 16; key_bytes <= 32; key_bytes += 16) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            uint32_t n = lengths[i];
            fill(plain, sizeof plain, n + 1);
            fill(key, sizeof key, n + 2);
            fill(iv, sizeof iv, n + 3);
            fill(aad, sizeof aad, n + 4);
            seal(key_bytes, n, aead_device(), &ours);
            seal(key_bytes, n, INVALID_DEVID, &theirs);
            assert_memory_equal(ours.bytes, theirs.bytes, n);
            assert_memory_equal(ours.tag, theirs.tag, TAG);
            assert_int_equal(unseal(key_bytes, n, aead_device(), &theirs, opened), 0);
            assert_memory_equal(opened, plain, n);
        }
    }
}

/* Not wolfSSL's own code under another name. */
static void long_records_are_ours(void **state)
{
    static struct sealed s;
    Aes aes;
    if (aead_device() == INVALID_DEVID)
        skip(); /* set_up() has said why */
    open_aes(&aes, 16, aead_device());
    wc_CryptoCb_AesAuthEnc op = {.aes = &aes,
                                 .out = s.bytes,
                                 .in = plain,
                                 .sz = AEAD_BYTES_MIN,
                                 .iv = iv,
                                 .ivSz = sizeof iv,
                                 .authTag = s.tag,
                                 .authTagSz = TAG,
                                 .authIn = aad,
                                 .authInSz = AAD};
    assert_int_equal(encrypt(&op), 0);
    op.sz--;
    assert_int_equal(encrypt(&op), CRYPTOCB_UNAVAILABLE);
    wc_AesFree(&aes);
}

static void what_was_changed_is_refused_and_not_shown(void **state)
{
    static struct sealed s;
    static uint8_t opened[BYTES], nothing[BYTES];
    static const size_t at[] = {0, 1024, 16383};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        seal(16, 16384, aead_device(), &s);
        s.bytes[at[i]] ^= 1;
        assert_int_equal(unseal(16, 16384, aead_device(), &s, opened), AES_GCM_AUTH_E);
        if (aead_device() != INVALID_DEVID)
            assert_memory_equal(opened, nothing, 16384);
        s.bytes[at[i]] ^= 1;
        s.tag[i * 7] ^= 0x80;
        assert_int_equal(unseal(16, 16384, aead_device(), &s, opened), AES_GCM_AUTH_E);
    }
}

/* As TLS does it: in the place of what was read. */
static void records_are_opened_in_place(void **state)
{
    static struct sealed s;
    fill(plain, sizeof plain, 99);
    seal(32, 16384, INVALID_DEVID, &s);
    assert_int_equal(unseal(32, 16384, aead_device(), &s, s.bytes), 0);
    assert_memory_equal(s.bytes, plain, 16384);
}

/* RFC 8446 sections 5.2 and 5.3, record by record, against wolfSSL's AES-GCM. */
static void expect_records(size_t bytes, uint32_t key_bytes, uint64_t first)
{
    static uint8_t text[3 * 16384], wire[sizeof text + 3 * 22], opened[16384 + 1];
    fill(text, bytes, (uint32_t)bytes);
    fill(key, sizeof key, (uint32_t)bytes + 1);
    fill(iv, sizeof iv, (uint32_t)bytes + 2);
    struct aead_records as = {span_of(key, key_bytes), iv, first};
    struct writer out = writer_of(wire, bytes + 22 * AEAD_RECORDS(bytes)); /* no more */
    aead_seal_records(&as, span_of(text, bytes), &out);
    assert_int_equal(out.len, out.cap);
    const uint8_t *record = wire, *at = text;
    for (size_t left = bytes, n = 0; left; n++) {
        size_t part = left < 16384 ? left : 16384;
        uint8_t nonce[12];
        Aes aes;
        memcpy(nonce, iv, sizeof nonce);
        for (int b = 0; b < 8; b++)
            nonce[4 + b] ^= (uint8_t)((first + n) >> (56 - 8 * b));
        assert_memory_equal(record, "\x17\3\3", 3);
        assert_int_equal(record[3] << 8 | record[4], part + 17);
        open_aes(&aes, key_bytes, INVALID_DEVID);
        assert_int_equal(wc_AesGcmDecrypt(&aes, opened, record + 5, (word32)part + 1, nonce, 12,
                                          record + 5 + part + 1, TAG, record, AAD),
                         0);
        wc_AesFree(&aes);
        assert_memory_equal(opened, at, part);
        assert_int_equal(opened[part], 23); /* application_data */
        record += 5 + part + 17;
        at += part;
        left -= part;
    }
}

/* Each length of a last piece: the type of a record is added to what is left of the text's blocks.
 */
static void records_are_those_of_the_standard(void **state)
{
    static const struct {
        size_t from, to;
    } ranges[] = {{1, 1100}, {16384 - 40, 16384 + 40}, {2 * 16384 - 3, 2 * 16384 + 20}};
    if (aead_device() == INVALID_DEVID)
        skip(); /* set_up() has said why */
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        for (size_t n = ranges[r].from; n <= ranges[r].to; n++) {
            expect_records(n, 16, n % 3 ? 0xfffffe + n : 0x01020304050607ff);
            expect_records(n, 32, n);
        }
    }
}

static int set_up(void **state)
{
    must(wolfSSL_Init() == WOLFSSL_SUCCESS);
    aead_init();
    aead_init(); /* harmless */
    printf("long records: %s\n",
           aead_device() == INVALID_DEVID ? "wolfSSL's own code, for want of VAES" : "VAES");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_make_the_same),
        cmocka_unit_test(long_records_are_ours),
        cmocka_unit_test(what_was_changed_is_refused_and_not_shown),
        cmocka_unit_test(records_are_opened_in_place),
        cmocka_unit_test(records_are_those_of_the_standard),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
