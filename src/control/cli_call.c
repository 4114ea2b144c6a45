/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cli_call.h"

#include "base/buf.h"
#include "config/check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Takes `--name VALUE` or `--name=VALUE` at *at; moves on. */
static bool take_value(int argc, char **argv, int *at, const char *name, const char **ret)
{
    size_t len = strlen(name);
    if (strncmp(argv[*at], name, len) != 0)
        return false;
    if (argv[*at][len] == '=') {
        *ret = argv[*at] + len + 1;
        return true;
    }
    if (argv[*at][len] || *at + 1 >= argc)
        return false;
    *ret = argv[++*at];
    return true;
}

static bool names_file(const char *arg)
{
    return !strcmp(arg, "-c") || !strcmp(arg, "--config") || !strcasecmp(arg, "--configFile");
}

static struct result socket_of_config(int argc, char **argv, struct cli_args *ret, struct why *why)
{
    struct check_args args;
    TRY(check_args_parse(argc, argv, &args, why));
    ret->json = args.json;
    ret->help = args.help;
    struct result r = result_ok();
    if (!args.help && !ret->socket) {
        r = config_admin_socket(args.file, args.flags, args.flag_count, &ret->socket, why);
    }
    check_args_free(&args);
    return r;
}

struct result cli_args_read(int argc, char **argv, struct cli_args *ret, struct why *why)
{
    struct cli_args a = {0};
    char **rest = mem_zalloc(((size_t)argc + 1) * sizeof *rest);
    int count = 0;
    struct result r = result_ok();
    for (int i = 1; i < argc && result_is_ok(r); i++) {
        const char *value = NULL;
        if (take_value(argc, argv, &i, "--sni", &a.sni) ||
            take_value(argc, argv, &i, "--resolver", &a.resolver) ||
            take_value(argc, argv, &i, "--reason", &a.reason) ||
            take_value(argc, argv, &i, "--cert", &a.cert) ||
            take_value(argc, argv, &i, "--key", &a.key))
            continue;
        if (!strcmp(argv[i], "--force")) {
            a.force = true;
            continue;
        }
        if (take_value(argc, argv, &i, "--socket", &value)) {
            free(a.socket);
            a.socket = mem_strdup(value);
        } else if (names_file(argv[i]) && i + 1 < argc) {
            rest[count++] = argv[i++];
            rest[count++] = argv[i];
        } else if (argv[i][0] == '-') {
            rest[count++] = argv[i];
        } else if (a.word_count < 2) {
            a.words[a.word_count++] = argv[i];
        } else {
            r = why_fail(why, ERR_USAGE, "\"%s\" is one word too many", argv[i]);
        }
    }
    if (result_is_ok(r))
        r = socket_of_config(count, rest, &a, why);
    free(rest);
    if (result_is_ok(r))
        *ret = a;
    else
        free(a.socket);
    return r;
}

static struct result connect_to(const char *path, uint32_t timeout_s, int *ret, struct why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return why_fail(why, ERR_USAGE, "the socket's path %s is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return why_fail_sys(why, ERR_SYSTEM, errno, "socket");
    struct timeval limit = {.tv_sec = timeout_s};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        *ret = fd;
        return result_ok();
    }
    int sys = errno;
    close(fd);
    if (sys == ENOENT || sys == ECONNREFUSED)
        return why_fail(why, ERR_NOT_FOUND, "ferrule is not running (nobody listens on %s)", path);
    return why_fail_sys(why, ERR_SYSTEM, sys, "cannot reach ferrule on %s", path);
}

static struct result talk(int fd, const char *request, struct buf *answer, struct why *why)
{
    size_t len = strlen(request), sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, request + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return why_fail_sys(why, ERR_SYSTEM, errno, "ferrule does not take the request");
        sent += (size_t)n;
    }
    for (;;) {
        ssize_t n = recv(fd, buf_reserve(answer, 65536), 65536, 0);
        if (n == 0)
            return result_ok();
        if (n < 0)
            return why_fail_sys(why, ERR_SYSTEM, errno, "ferrule does not answer");
        answer->len += (size_t)n;
        if (answer->len > CLI_ANSWER_MAX)
            return why_fail(why, ERR_TOO_LARGE, "ferrule's answer has no end");
    }
}

struct result cli_call(const char *socket, const json_t *request, uint32_t timeout_s, json_t **ret,
                       struct why *why)
{
    int fd = -1;
    struct buf answer = {0};
    TRY(connect_to(socket, timeout_s, &fd, why));
    char *text = json_dumps(request, JSON_COMPACT);
    char *line = mem_printf("%s\n", text ? text : "{}");
    struct result r = talk(fd, line, &answer, why);
    free(text);
    free(line);
    close(fd);
    if (result_is_ok(r)) {
        *ret = json_loadb((const char *)answer.ptr, answer.len, 0, NULL);
        if (!*ret)
            r = why_fail(why, ERR_FORMAT, "ferrule ended before it had answered");
    }
    buf_free(&answer);
    return r;
}
