/* SPDX-License-Identifier: Apache-2.0 */
/* data/log/access_format.h - one line of the access log: Traefik's extended Common Log Format, or
 * JSON with Traefik's field names.
 * Thread: any.   Owns: nothing.
 * Never: lets a control byte, a quotation mark or a broken UTF-8 sequence of a client through as it
 * came; allocates. */
#pragma once

#include "base/span.h"
#include "bridge/snapshot.h"

enum access_field {
#define ACCESS_FIELD(id, name) ACCESS_FIELD_##id,
#include "base/access_fields.def"
#undef ACCESS_FIELD
    ACCESS_FIELDS
};

/* What is known of a request and its response, or of a TCP connection. Empty texts are not known.
 */
struct access_record {
    int64_t start_s; /* wall clock */
    uint32_t start_ns;
    uint64_t duration_ns, origin_ns, origin_head_ns;
    struct span client_ip, method, target, host /* as asked for, with port */, protocol;
    uint16_t client_port;
    bool tls;
    bool tcp; /* no request: a connection, and `host` is the server name asked for */
    struct span tls_version, tls_cipher;
    struct span entrypoint, router, service, server_url;
    uint16_t status, origin_status; /* origin 0: no upstream answered */
    uint64_t request_bytes, response_bytes;
    uint32_t retries;
    uint64_t number;                 /* of requests logged since the start */
    struct span referer, user_agent; /* as they may be logged: empty, "REDACTED", or what came */
    struct span headers;             /* JSON members, each with a comma before it */
};

/* May the line be written at all (accessLog.filters)? */
bool access_passes(const struct snapshot *s, const struct access_record *r);
/* The whole line with its end. False (out->bad): no room. */
bool access_format(const struct snap_access *a, const struct access_record *r, struct writer *out);
/* Appends ,"PREFIX_Name":"value" for a JSON line. False: no room, nothing was appended. */
bool access_header(struct span prefix, struct span name, struct span value, struct writer *out);
/* How a header field is logged. */
enum snap_access_mode access_header_mode(const struct snapshot *s, struct span name);
