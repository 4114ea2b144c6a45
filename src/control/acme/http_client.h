/* SPDX-License-Identifier: Apache-2.0 */
/* control/acme/http_client.h - HTTPS requests to a CA: libcurl's multi interface on the control
 * loop. Thread: control.   Owns: connections, and each call until its callback or cancel. Never:
 * waits; follows a redirect of a POST or off https; keeps more than HTTP_BODY_MAX bytes of an
 * answer; trusts roots other than those it was given. */
#pragma once

#include "control/loop.h"

#include "base/buf.h"

#define HTTP_BODY_MAX       (1u << 20)
#define HTTP_ALTERNATES_MAX 8
#define HTTP_RETRY_MAX_S    (8u * 86400) /* a longer Retry-After is taken as this */

struct http_client;
struct http_call;

struct http_client_options {
    /* Absolute paths of PEM files, or PEM texts, which begin with dashes; none = the system's
     * roots. */
    const char *const *ca_files;
    uint32_t ca_file_count;
    bool system_pool;           /* the system's roots as well as ca_files */
    const char *server_name;    /* name to verify instead of the URL's; "" or NULL = none */
    uint64_t timeout_ms;        /* whole exchange; 0 = 30 s */
    uint64_t header_timeout_ms; /* until the answer begins; 0 = as timeout_ms */
};

enum http_method { HTTP_METHOD_GET = 0, HTTP_METHOD_HEAD, HTTP_METHOD_POST };

/* Borrowed for http_client_start() only. */
struct http_request {
    enum http_method method;
    const char *url;
    struct span body;
    const char *content_type; /* of the body; NULL without one */
    const char *accept;       /* NULL = anything */
    bool once;                /* never sent twice, whatever becomes of it */
};

/* Borrowed during the callback. Texts are "" when absent, never NULL. */
struct http_reply {
    bool answered; /* a whole answer came; else `text` says why not */
    bool sent;     /* the server may have seen the request */
    uint32_t status;
    struct span body;
    const char *nonce, *location, *content_type;
    const char *alternates[HTTP_ALTERNATES_MAX]; /* Link: <...>;rel="alternate" */
    uint32_t alternate_count;
    uint32_t retry_after_s; /* 0 = absent */
    int64_t date_s;         /* Date, wall seconds; 0 = absent */
    const char *text;
};
typedef void http_done(void *arg, const struct http_reply *reply);

/* Reads the root certificates. ERR_CONFIG names a file that cannot be read. */
struct result http_client_create(struct loop *loop, const struct http_client_options *options,
                                 struct http_client **ret, struct why *why);
/* Cancels what is open; no callback is called. */
void http_client_destroy(struct http_client *client);
/* Starts a request; `done` is called once, later, from the loop. */
struct http_call *http_client_start(struct http_client *client, const struct http_request *request,
                                    http_done *done, void *arg);
/* Drops it; `done` is not called. NULL is fine. */
void http_call_cancel(struct http_call *call);
