/* SPDX-License-Identifier: Apache-2.0 */
/* ring/ring_sim.h - the functions of ring.h over a scripted kernel, for tests of a whole worker.
 * Thread: the test's; one at a time.   Owns: the fake sockets, the virtual clock.
 * Never: opens a real socket, reads a real clock; part of the product.
 *
 * A test makes a kernel, makes it the current one, and opens rings in it by ring_open(). It plays
 * the other end of every connection (a `peer`). Everything moves in ring_submit_wait():
 *
 *     struct ring_sim *sim = ring_sim_create(seed);
 *     ring_sim_set_current(sim);
 *     int listener = ring_sim_listener(sim);          give it to the worker
 *     int peer = ring_sim_client(sim, listener);
 *     ring_sim_push(sim, peer, SPAN_LITERAL("GET / HTTP/1.1\r\n..."));
 *     while (!ring_sim_is_idle(sim))
 *         worker_step(worker);
 *     ring_sim_sent(sim, peer)                         what the worker answered
 *
 * With seed 0 the kernel is calm: everything at once, whole and in order. With any other seed it
 * does by chance all that a real one may do: completes requests late and in another order, splits
 * receives, cuts sends short, ends multishot requests, lets requests win or lose against their
 * cancellation, reports the cancellation before or after its target, and gives the number of a
 * closed descriptor to the next socket at once.
 *
 * Misuse aborts by must(): two sends, receives or accepts in flight on one socket, memory of a
 * send changed in flight, a buffer given back twice or used afterwards (it is overwritten), a
 * request on a descriptor that is not open, a close with requests left, a ring closed with
 * requests or lent buffers left. */
#pragma once

#include "base/span.h"
#include "ring/ring.h"

struct ring_sim;

/* Every fake descriptor is at least this; real ones are far below. */
#define RING_SIM_FD_BASE 1000000

struct ring_sim *ring_sim_create(uint64_t seed);
/* All rings must be closed. */
void ring_sim_destroy(struct ring_sim *sim);
/* The kernel in which ring_open() makes rings. */
void ring_sim_set_current(struct ring_sim *sim);

/* A listening descriptor for the worker. */
int ring_sim_listener(struct ring_sim *sim);
/* A client connects; returns the peer, a number that is never used again. */
int ring_sim_client(struct ring_sim *sim, int listener);
/* The next peer that a worker connected to by ring_connect(), in order; -1 when there is none.
 * ret_port may be NULL. */
int ring_sim_accepted(struct ring_sim *sim, uint16_t *ret_port);
/* From then on connecting to this port gives -sys (ECONNREFUSED, ...); 0: succeeds, as all do at
 * first; EINPROGRESS: never completes, but for cancellation. */
void ring_sim_set_connect(struct ring_sim *sim, uint16_t port, int sys);

/* The peer sends bytes / its FIN (half-close) / a RST. */
void ring_sim_push(struct ring_sim *sim, int peer, struct span bytes);
void ring_sim_end(struct ring_sim *sim, int peer);
void ring_sim_reset(struct ring_sim *sim, int peer);
/* Bytes that reached the peer and were not taken; valid until the next call. */
struct span ring_sim_sent(struct ring_sim *sim, int peer);
/* The peer's application reads n of them (n <= length), which makes room for more. */
void ring_sim_take(struct ring_sim *sim, int peer, size_t n);
/* The worker's sends stall while this many bytes are not taken. SIZE_MAX at first. */
void ring_sim_set_window(struct ring_sim *sim, int peer, size_t bytes);
/* Bytes pushed that the worker has not received. */
size_t ring_sim_unread(struct ring_sim *sim, int peer);
/* The worker's end: it sent a FIN (shutdown or close); it closed the descriptor; it closed with
 * unread bytes, or after ring_set_reset(), which resets the connection. */
bool ring_sim_saw_fin(struct ring_sim *sim, int peer);
bool ring_sim_is_closed(struct ring_sim *sim, int peer);
bool ring_sim_saw_reset(struct ring_sim *sim, int peer);

/* The next request with this op completes with -sys. Several may be set, one per op. */
void ring_sim_fail_next(struct ring_sim *sim, enum op op, int sys);
/* Writes 1 to the eventfd that the worker armed (any number will do as descriptor). */
void ring_sim_wake(struct ring_sim *sim, int eventfd);

/* The virtual clock, at first 1,000 s. Waiting moves it to the next completion or the deadline,
 * but at most 1 ms at once, so that the test can act between; ring_sim_sleep() moves it at will. */
uint64_t ring_sim_now_ns(const struct ring_sim *sim);
void ring_sim_sleep(struct ring_sim *sim, uint64_t ns);
/* Nothing happens any more unless the test acts or a timer of the worker fires. */
bool ring_sim_is_idle(const struct ring_sim *sim);
/* Descriptors of connections that workers have open. */
unsigned ring_sim_open_fds(const struct ring_sim *sim);
/* Pipes that they have. */
unsigned ring_sim_open_pipes(const struct ring_sim *sim);
