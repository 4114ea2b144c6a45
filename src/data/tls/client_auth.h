/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/client_auth.h - what is asked of clients: a certificate or not, verified or not
 * (RFC 8446 section 4.3.2, RFC 5246 section 7.4.4). Private to data/tls.
 * Thread: the worker's.   Owns: nothing; the roots lie in the wolfSSL context.
 * Never: lets a certificate that a client sent vouch for another connection; takes an unverified
 * certificate without proof that the client has its key. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"

struct WOLFSSL_CTX;
struct WOLFSSL_CERT_MANAGER;

/* Tickets of clients whose certificate was verified are good for so long: a certificate that
 * expires is noticed then. In seconds. */
#define CLIENT_AUTH_TICKET_S 3600

/* Sets up a context that has no session yet. A root that is out of date is passed over: it vouches
 * for nobody. ERR_CONFIG (a root that cannot be used), ERR_CRYPTO. */
struct result client_auth_init(struct WOLFSSL_CTX *ctx, const struct snap_tls *options,
                               struct why *why);
/* Whether clients are asked at all, and whether what they send is verified. */
bool client_auth_asks(const struct snap_tls *options);
bool client_auth_verifies(const struct snap_tls *options);
/* wolfSSL keeps the authorities of a peer's chain as if they were its own: for ever, and for other
 * peers. To be called after each call of wolfSSL that may have read a peer's certificate. */
void client_auth_forget(struct WOLFSSL_CERT_MANAGER *manager);
