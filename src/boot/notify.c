/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/notify.h"

#include "base/buf.h"
#include "base/clock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_FDS_FIRST 3
#define LISTEN_FDS_LIMIT 1024
#define SEND_LIMIT_US    100000

static const char *const ours[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                   "LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES"};
#define OURS (sizeof ours / sizeof *ours)

static struct {
    struct sockaddr_un address;
    socklen_t address_len; /* 0 = nobody to tell */
    uint64_t watchdog_ns;
    uint32_t listen_count;
    char *listen_names; /* "web:websecure", may be NULL */
    char *taken[OURS];  /* values, NULL = not set */
} notify;

/* A decimal number from the environment; 0 when absent or odd. */
static uint64_t env_number(const char *name)
{
    const char *text = getenv(name);
    if (!text || *text < '0' || *text > '9')
        return 0;
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    return *end ? 0 : v;
}

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;
    if (len > 1 && len < sizeof notify.address.sun_path && (path[0] == '/' || path[0] == '@')) {
        notify.address.sun_family = AF_UNIX;
        memcpy(notify.address.sun_path, path, len);
        if (path[0] == '@')
            notify.address.sun_path[0] = 0;
        notify.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }
    uint64_t pid = env_number("WATCHDOG_PID");
    if (!pid || pid == (uint64_t)getpid())
        notify.watchdog_ns = env_number("WATCHDOG_USEC") * 1000 / 2;
    if (env_number("LISTEN_PID") == (uint64_t)getpid()) {
        uint64_t count = env_number("LISTEN_FDS");
        notify.listen_count = count > LISTEN_FDS_LIMIT ? LISTEN_FDS_LIMIT : (uint32_t)count;
        const char *names = getenv("LISTEN_FDNAMES");
        free(notify.listen_names); /* an exec that failed comes here again */
        notify.listen_names = names ? mem_strdup(names) : NULL;
    }
    for (size_t i = 0; i < OURS; i++) {
        const char *value = getenv(ours[i]);
        free(notify.taken[i]);
        notify.taken[i] = value ? mem_strdup(value) : NULL;
        unsetenv(ours[i]);
    }
    for (uint32_t i = 0; i < notify.listen_count; i++)
        fcntl(LISTEN_FDS_FIRST + (int)i, F_SETFD, FD_CLOEXEC);
}

void notify_restore(void)
{
    for (size_t i = 0; i < OURS; i++)
        if (notify.taken[i])
            setenv(ours[i], notify.taken[i], 1);
    for (uint32_t i = 0; i < notify.listen_count; i++)
        fcntl(LISTEN_FDS_FIRST + (int)i, F_SETFD, 0);
}

void notify_send(const char *text)
{
    if (!notify.address_len)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return;
    /* A reader that does not read must not keep us. */
    struct timeval limit = {.tv_usec = SEND_LIMIT_US};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ssize_t ignored = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
                             (const struct sockaddr *)&notify.address, notify.address_len);
    (void)ignored;
    close(fd);
}

uint64_t notify_watchdog_ns(void)
{
    return notify.watchdog_ns;
}

int notify_listen_fd(const char *name, uint32_t index)
{
    struct span names = span_str(notify.listen_names ? notify.listen_names : "");
    for (uint32_t i = 0; i < notify.listen_count; i++) {
        size_t colon = span_find(names, ':');
        if (span_eq(span_first(names, colon), span_str(name)) && index-- == 0)
            return LISTEN_FDS_FIRST + (int)i;
        names = span_skip(names, colon + 1);
    }
    return -1;
}
