/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/fetch.h - the ABI's HTTP service, by libcurl.
 * Thread: the provider child's only one.   Owns: one connection cache; responses until freed.
 * Never: skips the check of a certificate; waits past the deadline; follows to another host; keeps
 * more than 4 MiB of an answer. */
#pragma once

#include "control/provider/redact.h"
#include "control/provider/wire.h"

#include "ferrule_provider.h"

struct services;

/* See struct ferrule_host in the ABI. */
int32_t fetch_http(const struct ferrule_host *host, const struct ferrule_http_request *request,
                   const struct ferrule_http_response **ret, struct ferrule_error *error);
void fetch_free(const struct ferrule_host *host, const struct ferrule_http_response *response);
/* Frees what the plug-in left when its entry point returned. */
void fetch_free_all(struct services *s);
/* Closes the connections. */
void fetch_fini(void);
/* The variables that say which proxies and CA files to use. NULL-terminated. */
extern const char *const fetch_variables[];
/* Takes them from the resolver's own variables, else from ferrule's environment, and hands them to
 * libcurl; names and values alternate in both lists. A proxy's password goes to redact. */
void fetch_environment(const struct wire_list *overlay, const struct wire_list *variables,
                       struct redact *redact);
