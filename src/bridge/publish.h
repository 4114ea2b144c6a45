/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/publish.h - everything that crosses from the control plane to the workers.
 * Thread: publish_* in the control process; publisher_* in data's one publisher thread; table_*
 * and reader_* in workers.   Owns: the wire, the certificate table, the published pointers.
 * Never: lets a worker wait, lock or allocate; publishing one certificate copies nothing else. */
#pragma once

#include "base/buf.h"
#include "base/net.h"
#include "base/secret.h"
#include "bridge/snapshot.h"

/* ---- control side: an outgoing stream of messages ------------------------------------------ */

#define TICKET_KEY_COUNT 4

/* Keys for session tickets (RFC 5077 section 4). [0] seals; all open. */
struct ticket_key {
    uint8_t name[16];
    uint8_t aes[32];
    int64_t born_s;
};
struct ticket_keys {
    uint32_t count; /* 0..TICKET_KEY_COUNT */
    struct ticket_key keys[TICKET_KEY_COUNT];
};

/* A certificate as control hands it over. id: chosen by control, unique, stable over restarts of
 * data (e.g. first 8 bytes of the leaf's SHA-256). */
struct publish_cert {
    uint64_t id;
    bool is_rsa;
    int64_t not_after_s;
    struct span chain; /* certificates in DER, leaf first, each behind a 3-byte length */
    struct span key;   /* private key, PKCS#8 or traditional DER */
};

enum publish_name_flags { PUBLISH_NAME_DEFAULT = 1 }; /* serves hellos that nothing else matches */

/* Appends one framed message to `out`; the caller sends it on the bridge socket in order. */
void publish_sync_begin(struct buf *out);
/* Everything not named since publish_sync_begin() is removed. */
void publish_sync_end(struct buf *out);
void publish_snapshot(struct buf *out, const struct snapshot *s);
void publish_cert(struct buf *out, const struct publish_cert *cert);
/* name: "a.test", "*.a.test", an IP address in text, or "" with PUBLISH_NAME_DEFAULT; lower case.
 * ecdsa, rsa: ids given before by publish_cert(), 0 = none (not both 0). Insert or replace. */
void publish_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa, uint32_t flags);
void publish_name_remove(struct buf *out, struct span name);
void publish_ticket_keys(struct buf *out, const struct ticket_keys *keys);
/* Addresses of one configured server, by the server's index in the snapshot of that version.
 * count 0: unresolvable, the server is skipped. At most PUBLISH_ADDRS_MAX. */
#define PUBLISH_ADDRS_MAX 8
void publish_server(struct buf *out, uint64_t snapshot_version, uint32_t server,
                    const struct net_addr *addrs, uint32_t count, bool healthy);

/* ---- data side: the publisher thread ------------------------------------------------------- */

struct publisher;

/* workers: 1..PUBLISH_WORKERS_MAX; expected_names sizes the table. */
#define PUBLISH_WORKERS_MAX 256
struct result publisher_create(uint32_t workers, uint64_t expected_names, struct publisher **ret,
                               struct why *why);
/* All readers must have left. */
void publisher_destroy(struct publisher *p);
/* Called by a worker's thread before its loop; registers it with RCU. wake_fd is an eventfd that
 * the publisher writes to when something this worker should look at was published. */
struct bridge_reader;
struct bridge_reader *reader_join(struct publisher *p, uint32_t worker, int wake_fd);
void reader_leave(struct bridge_reader *r);
/* Eats bytes from control. Any malformed message: ERR_FORMAT (the caller drops the connection,
 * keeps what is published, and waits for control to come again). ret_used: bytes taken; the rest is
 * an incomplete message and is given again with more behind it. */
struct result publisher_feed(struct publisher *p, struct span in, size_t *ret_used,
                             struct why *why);
/* A new stream from control begins (its process or ours restarted). */
void publisher_reset_stream(struct publisher *p);
/* True once the first complete sync has been applied: workers may accept. */
bool publisher_is_ready(const struct publisher *p);
/* Frees what no reader can see any more. Called from the publisher's loop, at least once a second;
 * never blocks longer than a worker's step. */
void publisher_collect(struct publisher *p);

/* ---- workers ------------------------------------------------------------------------------- */

/* Between online and offline the worker may hold what it looked up; offline before it waits. */
void reader_online(struct bridge_reader *r);
void reader_offline(struct bridge_reader *r);
/* Inside a long step: everything looked up before is given up. */
void reader_quiescent(struct bridge_reader *r);

/* The current snapshot; NULL before the first. Valid until offline/quiescent, or pinned. */
const struct snapshot *reader_snapshot(struct bridge_reader *r);
/* An exchange keeps its snapshot beyond the step. Counted per worker. */
void reader_pin(struct bridge_reader *r, const struct snapshot *s);
void reader_unpin(struct bridge_reader *r, const struct snapshot *s);

struct table_cert {
    uint64_t id;
    bool is_rsa;
    int64_t not_after_s;
    struct span chain; /* as in publish_cert */
    struct span key;
};

/* Certificate for a hello (DESIGN section 5): exact name, then one-label wildcard, then for an
 * empty name the local address as text, then the default. Among two, by what the client can
 * verify. *ret_default tells that only the default matched. NULL only before the first sync.
 * Valid until offline/quiescent. */
const struct table_cert *table_select(struct bridge_reader *r, struct span name,
                                      struct span local_ip, bool ecdsa, bool rsa,
                                      bool *ret_default);
const struct ticket_keys *reader_ticket_keys(struct bridge_reader *r);

struct server_state {
    uint32_t addr_count;
    bool healthy;
    struct net_addr addrs[PUBLISH_ADDRS_MAX];
};
/* Addresses of snapshot->servers[server]; addr_count 0 when unknown. Valid as above. */
struct server_state const *reader_server(struct bridge_reader *r, const struct snapshot *s,
                                         uint32_t server);
