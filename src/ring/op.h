/* SPDX-License-Identifier: Apache-2.0 */
/* ring/op.h - what the 64 bits of user_data mean.
 * Thread: any.   Owns: nothing.
 * Never: is bypassed: every SQE's user_data is made by op_pack(). */
#pragma once

#include <stdint.h>

enum op {
    OP_NONE = 0, /* completions that nobody waits for */
    OP_ACCEPT = 1,
    OP_RECV = 2,
    OP_SEND = 3,
    OP_CONNECT = 4,
    OP_CANCEL = 5,
    OP_CLOSE = 6,
    OP_SHUTDOWN = 7,
    OP_WAKE = 8, /* read of the publisher's eventfd */
    OP_POLL_IN = 9,
    OP_POLL_OUT = 10,
    OP_COUNT = 11,
};

/* Whose slot it is: the table in which the handler looks slot and generation up. */
enum op_owner {
    OP_OWNER_WORKER = 0,
    OP_OWNER_LISTENER = 1,
    OP_OWNER_CONN = 2,
    OP_OWNER_UPCONN = 3
};

struct op_id {
    enum op op;
    enum op_owner owner;
    uint32_t slot; /* 24 bits */
    uint32_t gen;  /* 24 bits */
};

static inline uint64_t op_pack(struct op_id id)
{
    return (uint64_t)id.op << 56 | (uint64_t)id.owner << 48 | (uint64_t)(id.slot & 0xffffff) << 24 |
           (id.gen & 0xffffff);
}

static inline struct op_id op_unpack(uint64_t user_data)
{
    return (struct op_id){
        .op = (enum op)(user_data >> 56),
        .owner = (enum op_owner)(user_data >> 48 & 0xff),
        .slot = (uint32_t)(user_data >> 24) & 0xffffff,
        .gen = (uint32_t)user_data & 0xffffff,
    };
}
