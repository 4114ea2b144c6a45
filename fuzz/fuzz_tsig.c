/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: tsig_check tsig_secret keyfile_parse. First byte: which one. */
#include "fuzz.h"

#include "rfc2136/dns.c"
#include "rfc2136/keyfile.c"
#include "rfc2136/tsig.c"

#include "fake_host.h"

static void fuzz_answer(struct span bytes)
{
    static const struct tsig_mac request = {{1, 2, 3}, 32};
    struct tsig_key key = {.secret = "secret", .secret_len = 6};
    struct dns_message m;
    must(dns_name_parse(fake_str("key.example"), &key.name));
    key.digest = tsig_algorithm(fake_str("hmac-sha256"), &key.algorithm);
    if (!dns_message_read((struct ferrule_str){(const char *)bytes.ptr, bytes.len}, &m))
        return;
    struct tsig_answer a = tsig_check(&fake_host, &key, &request, 1700000000, &m);
    must(a.verdict != TSIG_REFUSED || a.error != 0);
    must(a.verdict >= TSIG_GOOD && a.verdict <= TSIG_REFUSED);
}

static void fuzz_text(struct span bytes)
{
    struct tsig_key key = {0};
    char why[160] = "";
    struct ferrule_str text = {(const char *)bytes.ptr, bytes.len};
    if (keyfile_parse(text, &key, why))
        must(key.digest && key.secret_len && key.name.len);
    else
        must(why[0]);
    if (tsig_secret(text, &key))
        must(key.secret_len > 0 && key.secret_len <= TSIG_SECRET_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {data, size};
    struct span which = fuzz_take(&rest, 1);
    if (which.len && (which.ptr[0] & 1))
        fuzz_text(rest);
    else
        fuzz_answer(rest);
    return 0;
}
