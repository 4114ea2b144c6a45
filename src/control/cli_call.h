/* SPDX-License-Identifier: Apache-2.0 */
/* control/cli_call.h - the client's end of the admin socket.
 * Thread: main of a process of its own.   Owns: nothing.
 * Never: waits longer than it was told. */
#pragma once

#include "base/result.h"

#include <jansson.h>

#define CLI_TIMEOUT_S  15
#define CLI_CA_S       290 /* while a CA is asked */
#define CLI_RELOAD_S   300 /* a configuration may name many files */
#define CLI_UPGRADE_S  240
#define CLI_ANSWER_MAX (256ull << 20)

/* What stands behind a command. */
struct cli_args {
    char *socket; /* path of the admin socket; free() it */
    bool json;
    bool help;
    const char *words[2]; /* in argv */
    int word_count;
    const char *sni;      /* --sni NAME */
    const char *resolver; /* --resolver NAME */
    const char *reason;   /* --reason WORD */
    const char *cert;     /* --cert FILE */
    const char *key;      /* --key FILE */
    bool force;           /* --force */
};

/* Reads the arguments (argv[0] is the command's name) and, unless --socket is given, the
 * configuration that names the socket. ERR_USAGE, ERR_CONFIG; `why` "" when it has been said. */
struct result cli_args_read(int argc, char **argv, struct cli_args *ret, struct why *why);
/* Sends the request, reads the answer, each within timeout_s. The caller releases *ret.
 * ERR_NOT_FOUND: nobody listens. */
struct result cli_call(const char *socket, const json_t *request, uint32_t timeout_s, json_t **ret,
                       struct why *why);
