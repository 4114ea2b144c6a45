/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/identity.h - is a certificate that of the server one wanted to reach? (RFC 9525)
 * Thread: any.   Owns: nothing.
 * Never: allocates, judges a signature or a date (the TLS library does), looks at the common name.
 */
#pragma once

#include "base/span.h"

enum identity_fault {
    IDENTITY_GOOD = 0,
    IDENTITY_UNREADABLE, /* no certificate, or one whose extensions are malformed */
    IDENTITY_NAME,       /* it is for other names */
    IDENTITY_USE,        /* it is not for TLS servers (RFC 5280 sections 4.2.1.3 and 4.2.1.12) */
    IDENTITY_URI,        /* it does not have the wanted URI */
};

struct identity {
    struct span host; /* a DNS name, or an IP address in text; up to 255 bytes, never empty */
    struct span uri;  /* a URI that has to be among its names; empty = none */
};

/* der: the leaf; any bytes are safe. A DNS name is covered by an equal dNSName or by a wildcard for
 * its first label, case and one trailing dot do not matter (RFC 9525 section 6.3); names of one
 * label are fine. An IP address is covered by an equal iPAddress only. */
enum identity_fault identity_check(struct span der, const struct identity *wanted);
