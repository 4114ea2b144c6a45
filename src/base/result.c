/* SPDX-License-Identifier: Apache-2.0 */
#include "base/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_name(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return "OK";
#define ERR(name, klass, number, meaning)                                                          \
    case name:                                                                                     \
        return #name;
#include "base/errors.def"
#undef ERR
    }
    return "ERR_UNKNOWN";
}

const char *err_meaning(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return "success";
#define ERR(name, klass, number, meaning)                                                          \
    case name:                                                                                     \
        return meaning;
#include "base/errors.def"
#undef ERR
    }
    return "a code outside base/errors.def";
}

struct result why_fail(struct why *why, enum err_code code, const char *fmt, ...)
{
    if (why) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(why->text, sizeof why->text, fmt, ap);
        va_end(ap);
    }
    return result_fail(code);
}

struct result why_fail_sys(struct why *why, enum err_code code, int sys, const char *fmt, ...)
{
    if (why) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(why->text, sizeof why->text, fmt, ap);
        va_end(ap);
        size_t n = strlen(why->text);
        snprintf(why->text + n, sizeof why->text - n, ": %s", strerror(sys));
    }
    return result_fail_sys(code, sys);
}
