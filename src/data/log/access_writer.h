/* SPDX-License-Identifier: Apache-2.0 */
/* data/log/access_writer.h - the thread that takes the lines of the access log from the workers and
 * writes them to their file.
 * Thread: its own; the functions here are for the process's main thread.
 * Owns: the file, the workers' rings.
 * Never: makes a worker wait: while the disk takes nothing, lines stay in the rings, and when those
 * are full workers drop and count them. */
#pragma once

#include "bridge/snapshot.h"
#include "data/log/access_ring.h"

struct access_writer;

/* Rings for so many workers; the thread starts with the first access_writer_configure() that turns
 * the log on. ERR_NO_MEMORY. */
struct result access_writer_create(uint32_t workers, struct access_writer **ret);
/* Writes what waits and ends. NULL is fine. */
void access_writer_destroy(struct access_writer *writer);
/* A worker's own ring, until access_writer_destroy(). */
struct access_ring *access_writer_ring(struct access_writer *writer, uint32_t worker);
/* The log as a new snapshot has it: another file is opened when the path changed. Borrows nothing
 * beyond the call. */
void access_writer_configure(struct access_writer *writer, const struct snap_access *access);
/* The file was moved away: what comes from now on goes to a new one of its name. */
void access_writer_reopen(struct access_writer *writer);
