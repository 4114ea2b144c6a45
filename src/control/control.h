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
    const char *const *fixed; /* config.fixed of the start: what only a restart changes */
    uint32_t fixed_count;
    int supervisor_fd; /* SOCK_SEQPACKET, messages of one letter and what belongs to it; closed: end
                          at once.
                          From us: 'R' ready; 'S' please stop everything; 'E' and a plan: open
                          these sockets; 'K' that plan holds from now on; 'B' a reload has begun;
                          'F' and a text: it has ended; 'U' please upgrade.
                          To us: 'P' with a bridge socket; 'T' end; 'H' load the configuration
                          again; 'E', a byte and a text: the sockets are there (1), or why not;
                          'U', two numbers in 4 bytes and a text: upgrades that succeeded, all
                          attempts, why the last one failed. */
    int report_fd;     /* bridge/report.h */
};

/* Runs until told to end. Returns the exit code: 0, or 1 when it could not start (the reason is
 * logged). */
int control_run(const struct control_config *config);
