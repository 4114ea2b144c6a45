/* SPDX-License-Identifier: Apache-2.0 */
#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void must_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "ferrule: bug: %s:%d: must(%s) does not hold\n", file, line, expr);
    abort();
}
