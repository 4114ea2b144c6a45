/* SPDX-License-Identifier: Apache-2.0 */
/* control/admin_answer.h - what the admin socket answers: status, certificates, why one is served.
 * Thread: control.   Owns: nothing.
 * Never: puts a token or password into an answer, nor a private key but for `cert-export`. */
#pragma once

#include "bridge/report.h"
#include "control/cert_admin.h"
#include "control/publish_state.h"
#include "control/scheduler.h"
#include "control/turns.h"
#include "control/upstreams.h"

/* How the last reload went. */
struct admin_reload {
    int64_t at_s;        /* 0 = there was none */
    uint64_t good_count; /* configurations that were taken into use, the first one too */
    int64_t good_s;      /* the last of them */
    bool good;           /* else nothing changed */
    uint32_t errors;
    char **texts; /* errors and warnings, one line each */
    uint32_t text_count;
};

/* How upgrades went, as the supervisor tells it. */
struct admin_upgrades {
    uint32_t generation; /* that succeeded */
    uint32_t attempts;   /* all of them */
    char *error;         /* of the last one; NULL or "" = it was good */
};

/* What the answers are about; all borrowed. */
struct admin_view {
    const char *version;
    const struct config *config;
    const struct scheduler *scheduler;
    struct publish_state *certificates;
    struct cert_admin *cert_admin;
    const struct upstreams *upstreams;
    const struct snapshot *snapshot;
    const struct report *report; /* NULL = no counters */
    const struct turns *turns;   /* of control's loop */
    const struct admin_reload *last_reload;
    int64_t started_s;
    void (*stop)(void *arg); /* ends all of ferrule */
    const struct admin_upgrades *upgrades;
    void (*upgrade)(void *arg);    /* begins one; `upgrades` tells how it went */
    uint64_t (*reload)(void *arg); /* loads the configuration again; the number of the run */
    /* Has what stores know of a name (of its wildcard, too) among `certificates` until leave();
     * NULL: everything is there anyway. cold: how many certificates are in stores alone. */
    void (*visit)(void *arg, const char *name);
    void (*leave)(void *arg);
    uint64_t (*cold)(void *arg);
    void *arg;
};

/* What an answer waits for; 0 = nothing. */
struct admin_later {
    uint64_t run;  /* of a reload */
    uint64_t task; /* of cert_admin */
};

/* Requests: {"command":"status"}, "stop", "reload", "upgrade", "cert-list", "cert-show" (name),
 * "cert-explain" (sni), "cert-plan", "cert-renew" (name, force), "cert-revoke" (name, reason),
 * "cert-import" (resolver, certificate, key), "cert-export" (name), "account-rollover" (resolver).
 * Appends one JSON object with "ok" in it, without line end; "error" says what was wrong. When the
 * answer has to wait nothing is appended, and *ret_later says for what. */
void admin_answer(const struct admin_view *view, struct span request, struct buf *out,
                  struct admin_later *ret_later);
/* Appends an answer that had to wait; takes it. */
void admin_answer_print(json_t *answer, struct buf *out);
/* What came of a reload: "problems" has its errors and warnings. */
void admin_answer_reload(const struct admin_view *view, struct buf *out);
