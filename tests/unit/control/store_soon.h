/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/control/store_soon.h - what the tests of both kinds of store need for certificates
 * that are put soon.
 * Thread: the test's.   Owns: nothing.
 * Never: included by product code. */
#pragma once

#include "control/loop.h"
#include "control/store/store.h"

struct told {
    struct store_put put;
    struct loop *loop;
    int *left; /* of those that are waited for: the loop ends with the last */
    int count;
    char failure[512];
};

static void note(struct store_put *put, const struct why *failure)
{
    struct told *t = (struct told *)put;
    t->count++;
    snprintf(t->failure, sizeof t->failure, "%.500s", failure ? failure->text : "");
    if (--*t->left == 0)
        loop_stop(t->loop);
}

static struct loop *new_loop(void)
{
    struct loop *loop;
    struct why why;
    assert_true(result_is_ok(loop_create(&loop, &why)));
    return loop;
}

static void put_soon(struct store *s, struct told *t, struct loop *loop, int *left,
                     const struct store_cert *cert)
{
    *t = (struct told){.loop = loop, .left = left};
    (*left)++;
    store_put_cert_soon(s, loop, &t->put, cert, note);
}

/* The order of the end in control. */
static void end_both(struct loop *loop, struct store *s)
{
    loop_quiet(loop);
    store_close(s);
    loop_destroy(loop);
}
