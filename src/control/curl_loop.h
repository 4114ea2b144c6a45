/* SPDX-License-Identifier: Apache-2.0 */
/* control/curl_loop.h - libcurl's multi interface on the control loop.
 * Thread: control.   Owns: connections and what is watched for them; an easy handle is its adder's.
 * Never: waits, looks into an answer. */
#pragma once

#include "control/loop.h"

#include <curl/curl.h>

struct curl_loop;

/* An easy handle has ended and was removed; it may be freed, and others may be added. */
typedef void curl_loop_done(void *arg, CURL *easy, CURLcode code);

/*   host_connections   at once to one host; 0 = no limit */
struct curl_loop *curl_loop_create(struct loop *loop, long host_connections, curl_loop_done *done,
                                   void *arg);
/* Every handle that was added has ended or was removed. */
void curl_loop_destroy(struct curl_loop *x);
/* Starts it; `done` comes later, from the loop. */
void curl_loop_add(struct curl_loop *x, CURL *easy);
/* Drops it; `done` does not come. Harmless for one that has ended. */
void curl_loop_remove(struct curl_loop *x, CURL *easy);
