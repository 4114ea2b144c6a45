/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/session_io.h - what wolfSSL calls while a session works: its transport is the caller's
 * memory, its tickets are under our keys. Private to data/tls.
 * Thread: the session's.   Owns: nothing.
 * Never: is called outside of a call of session.h, so `io` is set. */
#pragma once

#include "data/tls/early.h"
#include "data/tls/session.h"

enum session_phase {
    SESSION_PHASE_HANDSHAKE = 1,
    SESSION_PHASE_OPEN,     /* both ways */
    SESSION_PHASE_READ_END, /* the peer sent close_notify; writing goes on */
    SESSION_PHASE_FAILED,
    SESSION_PHASE_COUNT
};

struct tls_session {
    struct WOLFSSL *ssl;
    struct session_io *io;                    /* during a call */
    struct WOLFSSL_CERT_MANAGER *authorities; /* who vouches for the peer; NULL: it shows nothing */
    struct early *early; /* during a handshake with early data to leave out, else NULL */
    uint8_t binding[TICKET_BINDING_BYTES];
    int failure;
    uint8_t phase;           /* enum session_phase */
    uint8_t alpn;            /* enum tls_alpn: what the handshake will choose */
    bool closed;             /* close_notify sent */
    bool is_client;          /* made by session_dial() */
    bool has_staple;         /* an OCSP response was put into `ssl` */
    bool has_ticket;         /* client: one came that session_remember() has not kept yet */
    uint8_t fault;           /* client: enum identity_fault */
    struct dialing *dialing; /* client: during the handshake */
    uint64_t transport_id;   /* client */
    uint64_t verified_ns;    /* client: when the server's certificate was verified, */
    uint64_t resumed_ns;     /* that of the session that it tries to resume */
    bool starved;            /* input was withheld because `out` has no room for an answer */
    uint8_t head_have;       /* bytes taken of a record's header */
    uint16_t body_left;      /* bytes of the record's body still to take */
};

/* Called by wolfSSL; arg is the session. Bytes taken or given, or WOLFSSL_CBIO_ERR_*. */
int session_io_receive(struct WOLFSSL *ssl, char *buf, int size, void *arg);
int session_io_send(struct WOLFSSL *ssl, char *buf, int size, void *arg);
/* Is there an OCSP response to show? WOLFSSL_OCSP_STATUS_CB_*. */
int session_io_status(struct WOLFSSL *ssl, void *arg);
/* Seals (seal = 1) or opens a ticket; WOLFSSL_TICKET_RET_*. */
int session_io_ticket(struct WOLFSSL *ssl, unsigned char name[TICKET_NAME_BYTES],
                      unsigned char iv[TICKET_IV_BYTES], unsigned char mac[TICKET_MAC_BYTES],
                      int seal, unsigned char *data, int len, int *ret_len, void *arg);
