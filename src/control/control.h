/* SPDX-License-Identifier: Apache-2.0 */
/* control/control.h - the control process: configuration, certificates, everything that waits.
 * Thread: the process's main thread.
 * Owns: stores, ACME accounts, provider children, the admin socket, its end of the bridge.
 * Never: touches a connection of a client; its death costs no request. */
#pragma once

#include <stdint.h>

struct control_config {
    const char *file;         /* configuration file, NULL = flags alone */
    const char *const *flags; /* dotted flags */
    uint32_t flag_count;
    int supervisor_fd; /* SOCK_SEQPACKET. From us: 'R' ready, 'S' please stop everything. To us: 'P'
                          with a bridge socket, 'T' end. Closed: end at once. */
    int report_fd;     /* bridge/report.h */
};

/* Runs until told to end. Returns the exit code: 0, or 1 when it could not start (the reason is
 * logged). */
int control_run(const struct control_config *config);
