/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/wire.h - the messages between control and a provider child.
 * Thread: any.   Owns: nothing; a decoded message points into the bytes it was decoded from.
 * Never: believes a length, count or enumerator of the other side before it was checked: the child
 * runs other people's code.
 *
 * One SOCK_SEQPACKET socketpair; one message is one packet of at most WIRE_BYTES_MAX bytes.
 *   control                              child
 *   HELLO  plug-in and overlay      ->
 *                                   <-   NAMES   variables that the plug-in's options name
 *   ENVIRON  those that are set     ->
 *                                   <-   NAMES   with patterns: what its programs see
 *   ENVIRON  of those that are set  ->        (only of a plug-in that runs programs)
 *                                   <-   READY, or ANSWER with id 0 when it cannot start
 *   CALL                            ->
 *                                   <-   ANSWER with the call's id
 * LOG comes from the child at any time. Control closes its end to end the child. */
#pragma once

#include "base/buf.h"
#include "base/result.h"

#define WIRE_BYTES_MAX 65536
#define WIRE_LIST_MAX  512
/* The descriptor of the socketpair in the child. */
#define WIRE_CHILD_FD 3

enum wire_kind {
    WIRE_HELLO = 1,
    WIRE_NAMES,
    WIRE_ENVIRON,
    WIRE_READY,
    WIRE_CALL,
    WIRE_ANSWER,
    WIRE_LOG,
};

enum wire_operation {
    WIRE_PRESENT = 1,
    WIRE_CLEANUP,
    WIRE_CONFIRM, /* the plug-in's `ready` */
    WIRE_PROBE,
};

struct wire_list {
    uint32_t count;
    struct span items[WIRE_LIST_MAX];
};

struct wire_hello {
    struct span code, path;
    uint8_t log_level;    /* enum log_level */
    struct wire_list env; /* name, value, name, value, ... */
};

struct wire_ready {
    struct span name, version;
    uint32_t flags; /* enum ferrule_provider_flags */
    uint32_t ttl_s, propagation_timeout_s, polling_interval_s, sequence_interval_s, call_timeout_s;
    uint8_t confirms;         /* 1: has `ready` */
    struct wire_list secrets; /* values that must not be printed */
};

struct wire_call {
    uint64_t id; /* not 0 */
    uint8_t operation;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
    struct span fqdn, zone, value, domain, token, key_auth, state;
};

struct wire_answer {
    uint64_t id;
    uint8_t verdict; /* enum provider_verdict */
    uint32_t retry_after_s;
    struct span state, text;
};

struct wire_log {
    uint8_t level;
    struct span text;
};

struct wire_message {
    enum wire_kind kind;
    union {
        struct wire_hello hello;
        struct wire_list names;
        struct wire_list variables; /* name, value, ... */
        struct wire_ready ready;
        struct wire_call call;
        struct wire_answer answer;
        struct wire_log log;
    };
};

/* Appends the message to an empty buffer. ERR_TOO_LARGE (nothing useful is in `out` then). */
struct result wire_encode(const struct wire_message *m, struct buf *out);
/* Any bytes are safe. ERR_FORMAT. */
struct result wire_decode(struct span bytes, struct wire_message *ret);
/* Adds to a list; ERR_TOO_LARGE when it is full. */
struct result wire_list_add(struct wire_list *list, struct span item);
