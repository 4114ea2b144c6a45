/* SPDX-License-Identifier: Apache-2.0 */
/* boot/listeners.h - the listening sockets: one SO_REUSEPORT socket per worker and address, or the
 * ones that systemd passed.
 * Thread: the supervisor's.   Owns: the descriptors, for as long as the supervisor lives, so that
 * a restart of data refuses no connection.
 * Never: shares a port with another program: an address that somebody listens on is an error. */
#pragma once

#include "config/config.h"

struct listener_socket {
    int fd;
    uint32_t worker;     /* who accepts on it */
    uint32_t entrypoint; /* index in the configuration */
};

struct listener_set {
    struct listener_socket *items;
    uint32_t count;
};

/* Opens or adopts every address of every entry point. On failure `why` names address, entry point
 * and remedy. ERR_SYSTEM, ERR_PERMISSION, ERR_BUSY. Accepted sockets inherit TCP_NODELAY. */
struct result listeners_open(const struct config *config, struct listener_set *ret,
                             struct why *why);
void listeners_close(struct listener_set *set);
