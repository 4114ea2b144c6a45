/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/unit.h - what every unit test needs.
 * Thread: the test's.   Owns: nothing.   Never: included by product code. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

/* Until what was written to a file is so old, by its own clock: what is written then has another
 * time, however long the machine keeps the clock from ticking. */
static inline void unit_let_file_age(int64_t age_ns)
{
    int64_t until_ns = clock_file_ns() + age_ns;
    while (clock_file_ns() < until_ns)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

#define UNIT_TESTS(...)                                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }
