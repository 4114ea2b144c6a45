/* SPDX-License-Identifier: Apache-2.0 */
/* data/data.h - the data process: workers and their publisher.
 * Thread: the process's main thread, which becomes the publisher; it starts the workers.
 * Owns: the workers, the certificate table, the bridge socket.
 * Never: reads configuration files or secrets of the control plane. */
#pragma once

#include <stdint.h>

struct data_listener {
    int fd;                 /* listening; closed when no worker accepts on it any more */
    uint32_t worker;        /* who accepts on it; UINT32_MAX = all */
    uint32_t group;         /* by which the supervisor names it */
    const char *entrypoint; /* name of the entry point in the snapshot */
};

struct data_config {
    uint32_t workers;            /* 1..256 */
    const uint32_t *cpus;        /* one per worker, UINT32_MAX = not pinned */
    uint32_t worker_connections; /* client connections per worker */
    const struct data_listener *listeners;
    uint32_t listener_count;
    int supervisor_fd; /* SOCK_SEQPACKET, messages of one letter and what belongs to it (numbers in
                          4 bytes, network order); closed: end at once.
                          From us: 'R' ready.
                          To us: 'P' with a bridge socket; 'T' drain and end; 'U' and milliseconds:
                          another process accepts from now on: finish what has begun, then end; 'L',
                          group, count, a worker (UINT32_MAX = all) for each socket, the entry
                          point's name, with the sockets: listen there too; 'D' and a group: no more
                          there; 'V' and the log level; 'A': open the access log anew. */
    int report_fd;     /* bridge/report.h */
};

/* Runs until told to end. Returns the exit code: 0 after a drain, 1 when it could not start (the
 * reason is logged). */
int data_run(const struct data_config *config);
