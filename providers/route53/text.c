/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int32_t text_fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, ap);
    va_end(ap);
    return status;
}

struct ferrule_str text_str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

struct ferrule_str text_option(const struct ferrule_host *host, const char *name)
{
    struct ferrule_str value = {"", 0};
    host->option(host, name, &value);
    return value;
}

bool text_copy(struct ferrule_str from, char *to, size_t cap)
{
    if (from.len >= cap)
        return false;
    memcpy(to, from.ptr ? from.ptr : "", from.len);
    to[from.len] = 0;
    return true;
}

void text_put(const struct ferrule_host *host, struct ferrule_buf *buf, const char *text)
{
    host->buf_put(buf, text, strlen(text));
}

void text_put_query(const struct ferrule_host *host, struct ferrule_buf *buf,
                    struct ferrule_str text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    for (size_t i = 0; i < text.len; i++) {
        char escaped[4];
        if (text.ptr[i] && strchr(plain, text.ptr[i])) {
            host->buf_put(buf, &text.ptr[i], 1);
            continue;
        }
        snprintf(escaped, sizeof escaped, "%%%02X", (unsigned char)text.ptr[i]);
        host->buf_put(buf, escaped, 3);
    }
}

void text_put_xml(const struct ferrule_host *host, struct ferrule_buf *buf, struct ferrule_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        const char *entity = c == '"'    ? "&#34;"
                             : c == '\'' ? "&#39;"
                             : c == '&'  ? "&amp;"
                             : c == '<'  ? "&lt;"
                             : c == '>'  ? "&gt;"
                                         : NULL;
        if (entity)
            text_put(host, buf, entity);
        else
            host->buf_put(buf, &c, 1);
    }
}

int64_t text_time(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end || (*end != 'Z' && *end != '.'))
        return -1;
    return (int64_t)timegm(&tm);
}
