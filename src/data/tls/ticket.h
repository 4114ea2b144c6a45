/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/ticket.h - seals what a client needs to resume its session into a ticket, and opens it
 * again (RFC 5077 section 4, RFC 8446 section 4.6.1).
 * Thread: any.   Owns: nothing; keys are borrowed for the call.
 * Never: opens a ticket for another policy, client-CA set, protocol or server name than it was
 * sealed for; keeps a key between calls. */
#pragma once

#include "bridge/publish.h"

#define TICKET_NAME_BYTES    16
#define TICKET_IV_BYTES      16
#define TICKET_MAC_BYTES     32
#define TICKET_BINDING_BYTES 32

/* How long clients are told to keep a ticket. Control makes a new key every 12 hours and keeps
 * TICKET_KEY_COUNT of them, so a ticket sealed just before a change opens for 36 hours more. */
#define TICKET_LIFETIME_S (12 * 3600 * (TICKET_KEY_COUNT - 1))

/* Largest session ticket extension of a TLS 1.2 hello that wolfSSL reads; a larger one (of some
 * other server) would fail the handshake instead of being ignored. */
#define TICKET_WIRE_MAX 238

/* Where the parts of a ticket stand. Fixed sizes as above. */
struct ticket_parts {
    uint8_t *name; /* of the key */
    uint8_t *iv;
    uint8_t *mac;
    uint8_t *data; /* encrypted or decrypted in place */
    size_t len;
};

enum ticket_verdict {
    TICKET_REJECTED = 0, /* not ours, expired or for something else: do a full handshake */
    TICKET_OPENED,       /* data is decrypted */
    TICKET_OPENED_OLD,   /* likewise, under a key that does not seal any more: give a new one */
};

/* Encrypts data (AES-256-GCM under keys[0]) and fills in name, iv and mac. `binding` goes into the
 * authentication: ticket_open() needs the same. keys NULL or without a key: random bytes are
 * filled in, a ticket that nobody can open. ERR_CRYPTO, ERR_SYSTEM (no random bytes). */
struct result ticket_seal(const struct ticket_keys *keys,
                          const uint8_t binding[TICKET_BINDING_BYTES], struct ticket_parts *t);
/* The reverse, under whichever key has the ticket's name. */
enum ticket_verdict ticket_open(const struct ticket_keys *keys,
                                const uint8_t binding[TICKET_BINDING_BYTES],
                                struct ticket_parts *t);
