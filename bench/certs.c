/* SPDX-License-Identifier: Apache-2.0 */
/* bench/certs - makes many certificates quickly: an authority and COUNT leaves, P-256, PEM.
 * Usage: certs FOLDER COUNT SUFFIX
 * Files: FOLDER.ca.pem, and in the folder, for I from 0 to COUNT - 1 (five digits), hI.pem, the
 * chain of hI.SUFFIX, and hI.pem.key: a folder of such pairs is what HAProxy reads as it is. */
#include "base/buf.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DER_BYTES = 4096, COUNT_MAX = 99999, DAYS = 30 };

struct pair {
    ecc_key key;
    byte der[DER_BYTES];
    int der_len;
};

static WC_RNG rng;

static int check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "certs: %s: wolfCrypt error %d\n", what, r);
        exit(1);
    }
    return r;
}

static void write_file(const char *path, const struct buf *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text->ptr, 1, text->len, f) != text->len || fclose(f) != 0 ||
        chmod(path, mode) != 0) {
        fprintf(stderr, "certs: %s: %m\n", path);
        exit(1);
    }
}

static void put_pem(struct buf *out, const byte *der, int len, int type)
{
    byte pem[2 * DER_BYTES];
    int n = check(wc_DerToPem(der, (word32)len, pem, sizeof pem, type), "PEM");
    buf_put(out, pem, (size_t)n);
}

/* subjectAltName: SEQUENCE { [2] name, [7] address }; all is short, so each length is one byte. The
 * first certificate is good for 127.0.0.1, too: some clients take the address for the name. */
static void set_name(Cert *cert, const char *name, bool with_address)
{
    static const byte address[] = {0x87, 4, 127, 0, 0, 1};
    size_t len = strlen(name), more = with_address ? sizeof address : 0;
    byte *p = cert->altNames;
    p[0] = 0x30;
    p[1] = (byte)(len + 2 + more);
    p[2] = 0x82;
    p[3] = (byte)len;
    memcpy(p + 4, name, len);
    memcpy(p + 4 + len, address, more);
    cert->altNamesSz = (int)(len + 4 + more);
    snprintf(cert->subject.commonName, CTC_NAME_SIZE, "%s", name);
}

/* issuer: NULL makes an authority, signed by itself. */
static void make(struct pair *ret, const char *name, bool with_address, struct pair *issuer)
{
    Cert cert;
    ecc_key *signer = issuer ? &issuer->key : &ret->key;
    check(wc_ecc_init(&ret->key), "key");
    check(wc_ecc_make_key(&rng, 32, &ret->key), "key");
    check(wc_InitCert(&cert), "certificate");
    cert.sigType = CTC_SHA256wECDSA;
    cert.daysValid = DAYS;
    check(wc_SetSubjectKeyIdFromPublicKey_ex(&cert, ECC_TYPE, &ret->key), "subject key id");
    check(wc_SetAuthKeyIdFromPublicKey_ex(&cert, ECC_TYPE, signer), "authority key id");
    if (issuer) {
        set_name(&cert, name, with_address);
        check(wc_SetKeyUsage(&cert, "digitalSignature"), "key usage");
        check(wc_SetExtKeyUsage(&cert, "serverAuth"), "extended key usage");
        check(wc_SetIssuerBuffer(&cert, issuer->der, issuer->der_len), "issuer");
    } else {
        cert.isCA = cert.basicConstSet = cert.basicConstCrit = 1; /* RFC 5280 section 4.2.1.9 */
        check(wc_SetKeyUsage(&cert, "keyCertSign,cRLSign"), "key usage");
        snprintf(cert.subject.commonName, CTC_NAME_SIZE, "%s", name);
        cert.selfSigned = 1;
    }
    check(wc_MakeCert_ex(&cert, ret->der, DER_BYTES, ECC_TYPE, &ret->key, &rng), "certificate");
    ret->der_len = check(
        wc_SignCert_ex(cert.bodySz, cert.sigType, ret->der, DER_BYTES, ECC_TYPE, signer, &rng),
        "signature");
}

static void write_leaf(const char *folder, unsigned number, const char *suffix, struct pair *ca)
{
    struct pair leaf;
    struct buf text = {0};
    char name[128], path[4096];
    byte key[DER_BYTES];
    snprintf(name, sizeof name, "h%05u.%s", number, suffix);
    make(&leaf, name, number == 0, ca);
    put_pem(&text, leaf.der, leaf.der_len, CERT_TYPE);
    put_pem(&text, ca->der, ca->der_len, CERT_TYPE);
    snprintf(path, sizeof path, "%s/h%05u.pem", folder, number);
    write_file(path, &text, 0644);
    text.len = 0;
    int len = check(wc_EccKeyToDer(&leaf.key, key, sizeof key), "key");
    put_pem(&text, key, len, ECC_PRIVATEKEY_TYPE);
    snprintf(path, sizeof path, "%s/h%05u.pem.key", folder, number);
    write_file(path, &text, 0600);
    wc_ecc_free(&leaf.key);
    buf_free(&text);
}

int main(int argc, char **argv)
{
    static struct pair ca;
    struct buf text = {0};
    char path[4096], *end = NULL;
    unsigned long count = argc == 4 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 4 || *end || count < 1 || count > COUNT_MAX || strlen(argv[3]) > 50) {
        fprintf(stderr, "usage: certs FOLDER COUNT SUFFIX (1 to %d)\n", COUNT_MAX);
        return 2;
    }
    check(wc_InitRng(&rng), "random numbers");
    make(&ca, "Bench CA", false, NULL);
    put_pem(&text, ca.der, ca.der_len, CERT_TYPE);
    snprintf(path, sizeof path, "%s.ca.pem", argv[1]);
    write_file(path, &text, 0644);
    for (unsigned i = 0; i < count; i++)
        write_leaf(argv[1], i, argv[3], &ca);
    buf_free(&text);
    return 0;
}
