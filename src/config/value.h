/* SPDX-License-Identifier: Apache-2.0 */
/* config/value.h - turns the text of single values into what they mean.
 * Thread: any.   Owns: nothing.
 * Never: looks at files, DNS or other values. */
#pragma once

#include "base/result.h"
#include "base/span.h"

/* Decimal with an optional sign, the whole text. ERR_FORMAT also when it does not fit. */
struct result value_int(struct span text, int64_t *ret);
/* "true" or "false", case does not count; also "1" and "0". ERR_FORMAT. */
struct result value_bool(struct span text, bool *ret);
/* Go's form "1h2m3s", "1.5s", "250ms", and a plain number of seconds; ns and us (or µs) are rounded
 * down. Not negative. In ms, at most INT64_MAX. ERR_FORMAT. */
struct result value_duration_ms(struct span text, int64_t *ret_ms);
/* "0,2-5" into ascending numbers without duplicates, each below max. *ret_count is at most max.
 * ERR_FORMAT. */
struct result value_cpus(struct span text, uint32_t max, uint32_t *ret_cpus, uint32_t *ret_count);
/* A DNS name: labels of 1..63 letters, digits, dashes and underscores, 253 in all, a final dot
 * allowed; "*." in front only when `wildcard`. */
bool value_is_name(struct span text, bool wildcard);
/* An IPv4 or IPv6 address without port or brackets. */
bool value_is_ip(struct span text);
/* An IP address, or a CIDR range. */
bool value_is_net(struct span text);

/* scheme://host[:port][path]; spans are into the text. No user, no fragment. */
struct value_url {
    struct span scheme, host; /* without brackets */
    uint16_t port;            /* 0 = not given */
    struct span path;         /* with query; empty or from the slash on */
};
/* ERR_FORMAT. Host is a DNS name or an IP address. */
struct result value_url(struct span text, struct value_url *ret);
