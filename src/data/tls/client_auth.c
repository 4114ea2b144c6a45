/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/client_auth.h"

#include "base/must.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

bool client_auth_asks(const struct snap_tls *options)
{
    return options->client_auth != SNAP_CLIENT_AUTH_NONE;
}

bool client_auth_verifies(const struct snap_tls *options)
{
    return options->client_auth == SNAP_CLIENT_AUTH_VERIFY_IF_GIVEN ||
           options->client_auth == SNAP_CLIENT_AUTH_VERIFY;
}

/* Called with each error: 1 goes on as if there were none. Who issued a certificate, and for when
 * and what, does not matter here; that it can be read does, and wolfSSL has the client sign with
 * its key in any case. */
static int take_unverified(int good, WOLFSSL_X509_STORE_CTX *store)
{
    switch (store->error) {
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
    case ASN_SIG_CONFIRM_E:
    case ASN_BEFORE_DATE_E:
    case ASN_AFTER_DATE_E:
    case ASN_PATHLEN_SIZE_E:
    case ASN_PATHLEN_INV_E:
    case ASN_NAME_INVALID_E:
    case KEYUSAGE_E:
    case EXTKEYUSAGE_E:
        return 1;
    default:
        return good;
    }
}

static struct result load_roots(WOLFSSL_CTX *ctx, struct span roots, struct why *why)
{
    struct reader in = reader_of(roots);
    while (in.left) {
        struct span der = reader_bytes(&in, reader_be(&in, 3));
        if (in.bad || der.len == 0)
            return why_fail(why, ERR_CONFIG, "the list of client authorities is damaged");
        int r = wolfSSL_CTX_load_verify_buffer(ctx, der.ptr, (long)der.len, WOLFSSL_FILETYPE_ASN1);
        if (r != WOLFSSL_SUCCESS && r != ASN_AFTER_DATE_E && r != ASN_BEFORE_DATE_E)
            return why_fail(why, ERR_CONFIG, "an authority for client certificates cannot be used");
    }
    return result_ok();
}

struct result client_auth_init(WOLFSSL_CTX *ctx, const struct snap_tls *options, struct why *why)
{
    int mode = WOLFSSL_VERIFY_PEER;
    switch ((enum snap_client_auth)options->client_auth) {
    case SNAP_CLIENT_AUTH_NONE:
        wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
        return result_ok();
    case SNAP_CLIENT_AUTH_REQUIRE_ANY:
    case SNAP_CLIENT_AUTH_VERIFY:
        mode |= WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        break;
    case SNAP_CLIENT_AUTH_REQUEST:
    case SNAP_CLIENT_AUTH_VERIFY_IF_GIVEN:
        break;
    }
    /* Roots are checked as they are loaded, so the mode comes first. */
    wolfSSL_CTX_set_verify(ctx, mode, client_auth_verifies(options) ? NULL : take_unverified);
    return client_auth_verifies(options) ? load_roots(ctx, options->client_cas, why) : result_ok();
}

void client_auth_forget(WOLFSSL_CERT_MANAGER *manager)
{
    must(wolfSSL_CertManagerUnloadIntermediateCerts(manager) == WOLFSSL_SUCCESS);
}
