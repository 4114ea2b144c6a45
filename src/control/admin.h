/* SPDX-License-Identifier: Apache-2.0 */
/* control/admin.h - the admin socket: one JSON request in one line, one JSON answer in one line.
 * Thread: control.   Owns: the socket's file, open clients.
 * Never: waits for a client, keeps one longer than it has to wait; hands out a private
 * key but to who exports a certificate: the socket is its owner's alone. */
#pragma once

#include "control/loop.h"
#include "control/admin_answer.h"

#define ADMIN_CLIENTS_MAX 16
#define ADMIN_CLIENT_S    10
#define ADMIN_RELOAD_S    300        /* who waits for a reload gets this long */
#define ADMIN_REQUEST_MAX (1u << 20) /* a chain with its key */

struct admin;

/* Opens the socket (mode 0600), replacing one that nobody listens on. view is borrowed for its
 * life. ERR_SYSTEM, ERR_BUSY. */
struct result admin_open(struct loop *loop, const char *path, const struct admin_view *view,
                         struct admin **ret, struct why *why);
/* Answers who waited for this run of a reload, or an earlier one. NULL is fine. */
void admin_reload_done(struct admin *admin, uint64_t run);
/* Answers who waited for this task of cert_admin; takes the answer. NULL is fine. */
void admin_task_done(struct admin *admin, uint64_t task, json_t *answer);
void admin_close(struct admin *admin);
