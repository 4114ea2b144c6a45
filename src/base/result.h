/* SPDX-License-Identifier: Apache-2.0 */
/* base/result.h - how a function says that it failed, and what its caller does next.
 * Thread: any.   Owns: nothing.
 * Never: allocates, logs; a result carries no text (control code adds a `struct why`). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What the caller does next. Stands in the high byte of every code. */
enum err_class {
    CLASS_OK = 0,
    CLASS_RETRY = 1,  /* not ready or temporary: call again when something changed */
    CLASS_PEER = 2,   /* the other side broke the protocol: answer if possible, then close */
    CLASS_LIMIT = 3,  /* one of our own limits: shed the work, count it */
    CLASS_SYSTEM = 4, /* the kernel refused; `sys` holds errno */
    CLASS_CONFIG = 5, /* a person has to change something */
    CLASS_REMOTE = 6, /* a service we depend on refused (CA, DNS, upstream) */
};

enum err_code {
    ERR_NONE = 0,
#define ERR(name, klass, number, meaning) name = ((klass) << 8) | (number),
#include "base/errors.def"
#undef ERR
};

/* Not an int, so that it cannot be mistaken for a count or a truth value. */
struct [[nodiscard]] result {
    enum err_code code;
    int sys; /* errno, or 0 */
};

/* One sentence for a person: what happened, where, what to do. Filled only on failure. */
struct why {
    char text[512];
};

static inline struct result result_ok(void)
{
    return (struct result){ERR_NONE, 0};
}

static inline struct result result_fail(enum err_code code)
{
    return (struct result){code, 0};
}

static inline struct result result_fail_sys(enum err_code code, int sys)
{
    return (struct result){code, sys};
}

static inline bool result_is_ok(struct result r)
{
    return r.code == ERR_NONE;
}

static inline enum err_class result_class(struct result r)
{
    return (enum err_class)((unsigned)r.code >> 8);
}

/* Short constant name ("ERR_LIMIT") and one-line meaning. Never NULL, static memory. */
const char *err_name(enum err_code code);
const char *err_meaning(enum err_code code);

/* Formats into `why` (which may be NULL) and returns result_fail(code).
 * The text is cut at sizeof why->text - 1 bytes. */
struct result why_fail(struct why *why, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As why_fail, with an errno: appends ": " and its message. */
struct result why_fail_sys(struct why *why, enum err_code code, int sys, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Returns a failure to the caller at once. The only macro here that changes control flow. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        struct result try_result_ = (expr);                                                        \
        if (!result_is_ok(try_result_))                                                            \
            return try_result_;                                                                    \
    } while (0)
