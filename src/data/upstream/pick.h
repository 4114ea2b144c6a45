/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/pick.h - which server of a service gets a request: down through services of
 * services, by cookie or strategy, around those that are not well.
 * Thread: the worker's.   Owns: nothing; a pick points into its snapshot.
 * Never: gives a server that control calls unhealthy, that passive checks have taken out, or that
 * has no address. Every worker shares out its own requests: nothing is shared between them. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"
#include "data/http/message.h"

struct worker;
struct pool_server;

/* A cookie that the response is to set. */
struct pick_cookie {
    const struct snap_service *service; /* has its name and attributes */
    struct span value;
};

struct pick {
    const struct snap_service *service; /* the one with the server */
    uint32_t server;                    /* index in snapshot.servers */
    uint64_t client_hash;               /* for a strategy that hashes, else 0 */
    uint8_t cookie_count;
    struct pick_cookie cookies[SNAP_SERVICE_LEVELS]; /* undefined from cookie_count on */
};

/* What the choice may depend on. */
struct pick_request {
    const struct http_head *head; /* for cookies; NULL: TCP, whose services have none */
    const uint8_t *client;        /* 16 bytes: the connection's peer */
};

/* False: no server of the service may be used. Servers that lately could not be reached come only
 * when there is no other. */
bool pick_server(struct worker *w, const struct snap_service *service,
                 const struct pick_request *request, struct pick *ret);
/* Another server of the same service than the present one, for the next try. False: none; nothing
 * changed. */
bool pick_other(struct worker *w, struct pick *p);
/* Adds a Set-Cookie field for each cookie that the client needs. `out` keeps the text. False: no
 * room. */
bool pick_set_cookies(const struct pick *p, struct http_head *response, struct writer *out);

/* How an attempt went: no connection, no answer or a status of 500 and above is not good. Takes the
 * server out for a while when the service's passive health check says so. */
void pick_note(struct worker *w, const struct snap_service *service, struct pool_server *server,
               bool good);
/* How long the server took from the request to the head of its answer. */
void pick_note_time(struct pool_server *server, uint64_t ns);
