/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/child_log.h"

#include "control/provider/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

static struct {
    int fd;
    enum log_level level;
    const struct redact *redact;
} child_log_state = {-1, LOG_LEVEL_INFO, NULL};

void child_log_init(int fd, enum log_level level, const struct redact *redact)
{
    child_log_state.fd = fd;
    child_log_state.level = level;
    child_log_state.redact = redact;
}

void child_log(enum log_level level, const char *fmt, ...)
{
    if (child_log_state.fd == -1 || level > child_log_state.level)
        return;
    char text[1001];
    va_list ap;
    va_start(ap, fmt);
    bool cut = vsnprintf(text, sizeof text, fmt, ap) >= (int)sizeof text;
    va_end(ap);
    if (child_log_state.redact && cut)
        redact_cut_text(child_log_state.redact, text);
    else if (child_log_state.redact)
        redact_text(child_log_state.redact, text);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    struct wire_message m = {.kind = WIRE_LOG};
    m.log = (struct wire_log){(uint8_t)level, span_str(text)};
    struct buf packet = {0};
    if (result_is_ok(wire_encode(&m, &packet))) {
        /* Control reads all the time; when it is gone, so is this process. */
        ssize_t ignored = send(child_log_state.fd, packet.ptr, packet.len, MSG_NOSIGNAL);
        (void)ignored;
    }
    buf_free(&packet);
}
