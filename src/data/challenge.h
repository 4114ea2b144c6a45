/* SPDX-License-Identifier: Apache-2.0 */
/* data/challenge.h - answers ACME CAs that prove our names: tokens of HTTP-01 (RFC 8555 section
 * 8.3) and certificates of TLS-ALPN-01 (RFC 8737), both as the bridge has them.
 * Thread: the worker's.   Owns: the worker's TLS policy for such hellos.
 * Never: answers for a token or name that control has not given; takes another certificate for one
 * that is missing; lets a configured option stand in the way. */
#pragma once

#include "data/request.h"
#include "data/tls/session.h"

/* Before redirections and routes: true when the request was for one of our tokens and has its
 * answer. */
bool challenge_answer(struct worker *w, struct request *rq);
/* The certificate for a hello that offers "acme-tls/1" and nothing else; NULL: it is not for a name
 * of ours. Valid within the step. */
const struct table_cert *challenge_certificate(struct worker *w, const struct hello *hello);
/* What such sessions are made by, whatever the options of the name are; NULL: it cannot be made. */
struct tls_policy *challenge_policy(struct worker *w);
/* The worker ends. */
void challenge_fini(struct worker *w);
