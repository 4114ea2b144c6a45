/* SPDX-License-Identifier: Apache-2.0 */
/* data/verify.h - the thread of the data process that judges passwords, because that takes tens of
 * milliseconds and a worker must not wait: one thread for all workers, a lane for each.
 * Thread: verify_create() and verify_destroy() the main thread's, the others each worker's on its
 * own lane; verify_main() is the thread itself.   Owns: the thread, the lanes, the passwords that
 * wait in them (wiped when judged).
 * Never: blocks a worker, remembers a verdict, takes more than VERIFY_WAITING of one worker. */
#pragma once

#include "base/result.h"
#include "data/route/known.h"

/* Questions of one worker that may wait. */
#define VERIFY_WAITING 32u

struct verify;
struct verify_lane;

/* ERR_SYSTEM. */
struct result verify_create(uint32_t workers, struct verify **ret, struct why *why);
/* Waits for the question that is being judged. NULL is fine. */
void verify_destroy(struct verify *v);
/* wake_fd: the worker's eventfd, written when there is a verdict; must outlive the thread. */
struct verify_lane *verify_lane(struct verify *v, uint32_t worker, int wake_fd);

/* False: too many wait. */
bool verify_ask(struct verify_lane *lane, const struct known_question *q);
/* The next verdict; false when there is none. */
bool verify_verdict(struct verify_lane *lane, uint8_t ret_digest[KNOWN_DIGEST_BYTES],
                    bool *ret_good);
