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

/* A certificate as control hands it over. id: chosen by control, not 0, unique, stable over
 * restarts of data (e.g. first 8 bytes of the leaf's SHA-256). */
struct publish_cert {
    uint64_t id;
    bool is_rsa;
    int64_t not_after_s;
    struct span chain; /* certificates in DER, leaf first, each behind a 3-byte length */
    struct span key;   /* private key, PKCS#8 or traditional DER */
};

#define PUBLISH_NAME_MAX       253                    /* bytes of a name */
#define PUBLISH_CERT_BYTES_MAX 1048576                /* chain and key together */
enum publish_name_flags { PUBLISH_NAME_DEFAULT = 1 }; /* serves hellos that nothing else matches */

/* Each appends one framed message to `out`, which the caller sends on the bridge socket in order
 * and wipes (publish_cert and publish_ticket_keys put secrets into it). Values out of their range
 * are programmer errors. A stream begins with one sync; later messages stand alone. */
void publish_sync_begin(struct buf *out);
/* Every name not published since publish_sync_begin() is removed, then every certificate that no
 * name uses. Ticket keys and the snapshot stay when the sync brought none. */
void publish_sync_end(struct buf *out);
/* The snapshot's version is larger than that of the one before in this stream.
 * The wire form may have up to 256 MB. */
void publish_snapshot(struct buf *out, const struct snapshot *s);
/* Gives a certificate before the names that use it. It is dropped when its last name goes; then it
 * has to be given again before it is named again. Giving one that is there costs nothing. */
void publish_cert(struct buf *out, const struct publish_cert *cert);
/* What an OCSP responder has said of a certificate (RFC 6960, DER), for clients that ask for it
 * with the certificate: replaces what was published before of it, at once. Shown until until_s,
 * wall seconds. Empty: nothing is shown any more. Nothing happens when the certificate is not
 * there; it goes with the certificate, and with the next sync that does not bring it again. */
#define PUBLISH_STAPLE_MAX 16384
void publish_staple(struct buf *out, uint64_t id, struct span response, int64_t until_s);
/* name: "a.test", "*.a.test", an IP address in text (as inet_ntop writes it), or "" together with
 * PUBLISH_NAME_DEFAULT; lower case. ecdsa, rsa: ids given before by publish_cert(), 0 = none (not
 * both 0). Insert or replace, at once for every hello that comes after. */
void publish_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa, uint32_t flags);
/* As publish_name(), for a name whose certificates are in a store as well: of these names the
 * workers keep only so many as the snapshot says (store_keep); the others become cold again.
 * tag: not 0; another one when the store has other certificates for the name. */
void publish_warm_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa,
                       uint64_t tag);
/* The store has certificates for this name: a worker whose client asks for it asks control
 * (publish_heard()) and lets the client wait. What the workers have of the name with the same tag
 * stays. */
void publish_cold_name(struct buf *out, struct span name, uint64_t tag);
/* Nothing happens when it is not there. */
void publish_name_remove(struct buf *out, struct span name);
void publish_ticket_keys(struct buf *out, const struct ticket_keys *keys);
/* Addresses of one configured server, by the server's index in the snapshot of that version.
 * count 0: unresolvable, the server is skipped. At most PUBLISH_ADDRS_MAX.
 * Nothing is carried over from one snapshot to the next: control says it again. Sent before the
 * snapshot it waits for it, so that no moment without addresses arises. */
#define PUBLISH_ADDRS_MAX 8
void publish_server(struct buf *out, uint64_t snapshot_version, uint32_t server,
                    const struct net_addr *addrs, uint32_t count, bool healthy);

/* Answers to the challenges of ACME CAs (RFC 8555 section 8.3, RFC 8737), beside the certificates:
 * answered by every worker once the fence behind them has come back. They go with the next sync
 * that does not bring them again. At most PUBLISH_CHALLENGES_MAX, of both kinds together.
 *   entrypoint   the only one where the token is answered */
#define PUBLISH_CHALLENGES_MAX   4096
#define PUBLISH_TOKEN_MAX        512
#define PUBLISH_ANSWER_MAX       1024
#define PUBLISH_ENTRYPOINT_MAX   255
#define PUBLISH_TLS_ANSWER_BYTES 8192 /* certificate and key together */
void publish_http_challenge(struct buf *out, struct span entrypoint, struct span token,
                            struct span answer);
void publish_http_challenge_remove(struct buf *out, struct span token);
/* name: as hellos bring it, lower case. chain, key: as in publish_cert; an ECDSA certificate. */
void publish_tls_challenge(struct buf *out, struct span name, struct span chain, struct span key);
void publish_tls_challenge_remove(struct buf *out, struct span name);
/* Comes back through the bridge socket when everything before it in the stream holds for every
 * lookup of every worker. number: not 0, larger than the one before. */
void publish_fence(struct buf *out, uint64_t number);

/* What comes back from the data process. */
struct publish_heard {
    uint64_t fence;     /* a fence, else 0 */
    struct span wanted; /* a cold name that a client waits for: publish_warm_name() or
                           publish_name_remove() answers; inside the bytes that were given */
};
/* The first message in `in`. ret_used: its bytes. ERR_AGAIN: incomplete. ERR_FORMAT, ERR_VERSION.
 */
struct result publish_hear(struct span in, struct publish_heard *ret, size_t *ret_used);

/* ---- data side: the publisher thread ------------------------------------------------------- */

struct publisher;

/* workers: 1..PUBLISH_WORKERS_MAX; expected_names sizes the table (it grows when there are more).
 * ERR_NO_MEMORY. */
#define PUBLISH_WORKERS_MAX 256
struct result publisher_create(uint32_t workers, uint64_t expected_names, struct publisher **ret,
                               struct why *why);
/* All readers must have left. */
void publisher_destroy(struct publisher *p);
/* Called by a worker's thread before its loop; registers it with RCU, offline. worker: 0 up to
 * the count of publisher_create(), each once. wake_fd is an eventfd (or -1) that the publisher
 * writes to when something this worker should look at was published: a snapshot, the end of a
 * sync, a server's state, an answer to reader_ask(). Other certificates and ticket keys are looked
 * up when they are needed. */
struct bridge_reader;
struct bridge_reader *reader_join(struct publisher *p, uint32_t worker, int wake_fd);
/* By the same thread; it gave up every pin. The caller may close wake_fd afterwards. */
void reader_leave(struct bridge_reader *r);
/* Eats bytes from control. Any malformed message: ERR_FORMAT or ERR_VERSION (the caller drops the
 * connection, keeps what is published, and waits for control to come again). ret_used: bytes
 * taken, also on failure; the rest is an incomplete message and is given again with more behind
 * it. A message has up to 256 MB (snapshots) or 16 MB (all others). The caller wipes what was
 * taken: there are keys in it. Where much is replaced at once (a sync), it frees in between, as
 * publisher_collect() does. */
struct result publisher_feed(struct publisher *p, struct span in, size_t *ret_used,
                             struct why *why);
/* A new stream from control begins (its process or ours restarted). */
void publisher_reset_stream(struct publisher *p);
/* True once the first complete sync has been applied: workers may accept. Any thread. */
bool publisher_is_ready(const struct publisher *p);
/* The last fence of this stream, for the publisher's own thread to send back with publish_fence();
 * 0 = none. */
uint64_t publisher_fence(const struct publisher *p);
/* Appends what workers have asked control for since the last call: each name once in
 * PUBLISH_ASK_AGAIN_MS. out NULL: nobody can be asked; workers ask again after the next sync. */
#define PUBLISH_ASK_AGAIN_MS 250
void publisher_take_asked(struct publisher *p, struct buf *out);
/* The newest snapshot, for the publisher's own thread until the next publisher_feed(); NULL before
 * the first. */
const struct snapshot *publisher_snapshot(const struct publisher *p);
/* Frees what no reader can see any more. Called from the publisher's loop, at least once a second.
 * Never blocks longer than the longest present step of a worker (workers that wait are offline
 * and do not count); returns at once when nothing died. */
void publisher_collect(struct publisher *p);

struct publisher_counts {
    uint64_t names, certs;
    uint64_t warm; /* names that can become cold again */
    uint64_t challenges;
    uint64_t snapshots; /* alive: the current one, and old ones that exchanges still pin */
    uint64_t dead;      /* objects that wait for publisher_collect() */
    uint64_t version;   /* of the current snapshot, 0 = none */
};
/* For logs and tests. In the publisher's thread. */
struct publisher_counts publisher_count(const struct publisher *p);

/* ---- workers ------------------------------------------------------------------------------- */

/* Between online and offline the worker may hold what it looked up; offline before it waits.
 * Saying one twice is harmless. Each costs one store of the reader's own and a barrier. */
void reader_online(struct bridge_reader *r);
void reader_offline(struct bridge_reader *r);
/* Inside a long step: everything looked up before is given up. */
void reader_quiescent(struct bridge_reader *r);

/* The current snapshot; NULL before the first. Valid until offline/quiescent, or pinned. */
const struct snapshot *reader_snapshot(struct bridge_reader *r);
/* An exchange keeps its snapshot beyond the step. Counted per worker; pin what reader_snapshot()
 * gave in this step, or what this worker has pinned already. */
void reader_pin(struct bridge_reader *r, const struct snapshot *s);
void reader_unpin(struct bridge_reader *r, const struct snapshot *s);

struct staple;
struct table_cert {
    uint64_t id;
    bool is_rsa;
    int64_t not_after_s;
    struct span chain;     /* as in publish_cert */
    struct span key;       /* wiped when it is freed */
    struct staple *staple; /* for table_staple() */
};
/* What is to be shown with a certificate now; empty = nothing. now_s: wall seconds. Valid as the
 * certificate. */
struct span table_staple(const struct table_cert *cert, int64_t now_s);

/* Certificate for a hello: exact name, then one-label wildcard, then for an
 * empty name the local address as text, then the default. name: lower case, no final dot.
 * Among two for one name: ECDSA when the client can verify it, else RSA; when it can verify
 * neither, what there is. *ret_default tells that only the default matched. NULL: nothing matches
 * and no default was published (control always publishes one in its first sync).
 * ret_cold: gets the name in the table, exact or wildcard, when that is a cold one: then NULL is
 * returned. Else it is empty. NULL: cold names are taken for names that are not there.
 * Valid until offline/quiescent; a TLS session that lives longer copies it. */
const struct table_cert *table_select(struct bridge_reader *r, struct span name,
                                      struct span local_ip, bool ecdsa, bool rsa, bool *ret_default,
                                      struct span *ret_cold);
/* Is this name of the table cold still? */
bool reader_is_cold(struct bridge_reader *r, struct span name);
/* Asks control for a cold name, of 1 to PUBLISH_NAME_MAX bytes. The caller wakes the publisher's
 * thread. False: too many questions stand there already. */
bool reader_ask(struct bridge_reader *r, struct span name);
/* Changes when a name that was asked for is not cold any more; `stream` when what was asked before
 * is not answered any more. The worker is woken by its wake_fd. */
struct reader_answers {
    uint32_t count, stream;
};
struct reader_answers reader_answers(struct bridge_reader *r);
/* What a CA that comes with this token wants to hear (RFC 8555 section 8.3), or NULL. Valid as
 * above. */
struct http_challenge {
    struct span entrypoint; /* where alone it is answered */
    struct span answer;
};
const struct http_challenge *reader_http_challenge(struct bridge_reader *r, struct span token);
/* The certificate for a hello that asks for "acme-tls/1" and this name (RFC 8737), or NULL; its id
 * and not_after_s are 0. Valid as above. */
const struct table_cert *reader_tls_challenge(struct bridge_reader *r, struct span name);
/* Never NULL; count 0 before the first. Valid as above. */
const struct ticket_keys *reader_ticket_keys(struct bridge_reader *r);

struct server_state {
    uint32_t addr_count;
    bool healthy;
    struct net_addr addrs[PUBLISH_ADDRS_MAX];
};
/* Addresses of snapshot->servers[server] for a current or pinned snapshot. Never NULL; addr_count
 * 0 when unknown. Valid until offline/quiescent. */
struct server_state const *reader_server(struct bridge_reader *r, const struct snapshot *s,
                                         uint32_t server);
