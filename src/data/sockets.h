/* SPDX-License-Identifier: Apache-2.0 */
/* data/sockets.h - the listening sockets of the data process: given by the supervisor, offered to
 * workers, closed when no worker has anything of them in the kernel.
 * Thread: the publisher's; workers see nothing of it but their listener_configs.
 * Owns: the descriptors and the configs.
 * Never: waits for a worker. */
#pragma once

#include "base/span.h"
#include "data/listener.h"

/* Every worker accepts on it. */
#define SOCKETS_ALL_WORKERS UINT32_MAX

struct sockets;

struct sockets *sockets_create(uint32_t workers);
/* Closes what is open; the workers have ended. NULL is fine. */
void sockets_destroy(struct sockets *s);
/* LISTENER_CONFIGS_MAX configs for worker_config; valid until sockets_destroy(). */
struct listener_config *sockets_of(struct sockets *s, uint32_t worker);
/* Takes the socket. group: the supervisor's number for it and others of the same address. False:
 * there is no room, or no such worker; the socket is closed. The caller wakes the workers. */
bool sockets_offer(struct sockets *s, int fd, uint32_t worker, uint32_t group,
                   struct span entrypoint);
/* No worker is to accept on the group any more. The caller wakes the workers. */
void sockets_recall(struct sockets *s, uint32_t group);
/* Closes what the workers have given back. */
void sockets_collect(struct sockets *s);
/* Closes all: the workers have said that they are deaf. */
void sockets_close(struct sockets *s);
