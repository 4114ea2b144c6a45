/* SPDX-License-Identifier: Apache-2.0 */
/* control/control_impl.h - what the files of the control process share: all of its state.
 * Thread: control.   Owns: nothing.
 * Never: included by another than control.c, certificates.c, reload.c and sweep.c. */
#pragma once

#include "config/pair_index.h"
#include "control/admin.h"
#include "control/bridge_link.h"
#include "control/cert_files.h"
#include "control/cert_index.h"
#include "control/challenges.h"
#include "control/cold_names.h"
#include "control/control.h"
#include "control/scrape.h"
#include "control/staples.h"
#include "control/ticket_store.h"
#include "control/upstreams.h"
#include "control/watch.h"

/* One configuration and what was made of it. One that was replaced lives on while orders run by its
 * resolvers. */
struct generation {
    struct list node; /* in control.retired */
    struct config *config;
    struct resolver_set resolvers;
    struct snapshot *snapshot;   /* NULL when retired */
    struct upstreams *upstreams; /* the same */
};

/* What a reload has come to so far. */
enum reload_phase {
    RELOAD_PHASE_IDLE = 0,
    RELOAD_PHASE_LOADING, /* the helper thread reads and checks */
    RELOAD_PHASE_ASKING,  /* the supervisor opens sockets */
};

struct reload {
    enum reload_phase phase;
    uint64_t run;          /* number of the present one, or the last */
    bool again;            /* asked for while one was running */
    bool is_at_start;      /* ASKING: not a reload, but the start of control */
    int64_t began_ns;      /* clock_file_ns() */
    struct config *config; /* loaded, not yet in use */
    struct config_problems problems;
    struct config_known
        known;                /* of pairs of files, so that those that are as before are not read */
    struct buf known_bytes;   /* of which known.index is to be made */
    bool good;                /* of the load in the helper thread */
    struct admin_reload last; /* for people */
};

/* All of the control process. */
struct control {
    const struct control_config *args;
    struct generation *now;
    struct list retired;
    struct loop *loop;
    struct loop_fd supervisor;
    struct report *report;
    struct state *state;
    struct ledger *ledger;
    struct provider_host *host;
    struct store_pool stores;
    struct challenges *challenges;
    struct scheduler *scheduler;
    struct publish_state *certificates;
    struct cold_names *cold;
    char **visited; /* slots of certificates that are here for one answer */
    uint32_t visited_count;
    bool stores_gone; /* names have to be told anew from the beginning */
    bool telling;     /* the workers are being told of cold names */
    bool telling_all; /* ... within a full sync */
    struct cert_files *cert_files;
    struct cert_index *cert_index;
    struct staples *staples;
    struct cert_admin *cert_admin;
    struct ticket_store tickets;
    struct bridge_link link;
    struct reload reload;
    struct admin_upgrades upgrades;
    struct watch *watch;
    struct admin_view view;
    struct admin *admin;
    struct scrape *scrape; /* NULL: it could not be opened, or nothing asks for it */
    struct loop_timer housekeeping;
    struct loop_timer tell_on; /* telling names goes on in another turn */
    int64_t sweep_s;           /* when old certificates are looked for again; wall clock */
    struct cold_walk sweep_at;
};

/* ---- control.c ------------------------------------------------------------------------------ */

/* A message to the supervisor: a letter and what belongs to it. False when it does not hear. */
bool control_tell_supervisor(struct control *c, struct span message);
/* To the workers; wipes `out`. */
void control_send_and_wipe(struct control *c, struct buf *out);
/* Tells the workers everything, on a link that is open. */
void control_sync(struct control *c);
/* Tells them of the names in stores that are not read as a whole and have come since. Without a
 * link the next sync does. */
void control_tell_new_names(struct control *c);
/* The next change by time alone. */
void control_plan_housekeeping(struct control *c);
/* Prints problems to the log, one a line. */
void control_log_problems(const struct config_problems *problems);
/* Takes the certificates out of a configuration: they are served, and their files watched. What
 * reload.known has is not needed any more. */
void control_use_files(struct control *c, struct config *config);
void control_forget_known(struct control *c);
/* Makes everything of a configuration but the upstreams' questions; takes it. */
struct generation *control_generation_create(struct control *c, struct config *config);
void control_generation_destroy(struct generation *g);

/* ---- certificates.c ------------------------------------------------------------------------- */

/* A stored certificate becomes one that is served; the scheduler is told. */
struct result certificates_put_acme(struct control *c, const struct store_cert *cert,
                                    struct why *why);
/* Reads a store, or only its names when it has more certificates than are kept in memory: then
 * control_tell_new_names() follows. */
void certificates_load_store(struct control *c, struct store *store);
/* One that waited for its first OCSP answer takes its place. */
void certificates_release(struct control *c, struct publish_candidate *candidate);
/* For cold_names_create(). */
void certificates_join(void *arg, const struct store_cert *cert, const char *name);
/* What stores alone have of a name and of its wildcard becomes candidates, until it leaves: before
 * the workers are told of anything. */
void certificates_visit(struct control *c, const char *name);
void certificates_leave(struct control *c);
/* Where publish_state has what a resolver has for this set of names. The caller frees it. */
char *certificates_slot(const char *resolver, const char *const *names, uint32_t count);
/* All stores; `but` those of the generation before are left out (NULL = none). */
void certificates_load_stores(struct control *c, const struct resolver_set *but);
/* Those of stores that the present generation does not use any more. */
void certificates_drop_stores(struct control *c, const struct resolver_set *old);
/* For names without a certificate, unless the configuration brings one for them: the self-signed
 * one that is kept in the state directory. */
struct result certificates_load_default(struct control *c, struct why *why);
/* Tells the scheduler of certificates for wants that are new, and of those that are gone. */
void certificates_know_wants(struct control *c);

/* ---- sweep.c -------------------------------------------------------------------------------- */

/* Once a day: certificates that nothing asks for and that ended 30 days ago go from the stores to
 * archives beside them, and those that ended a year ago from there. What cannot be archived stays,
 * and so does everything while the clock may be wrong. Of many a part; the rest at the next call.
 * True: some are not served any more. */
bool sweep_run(struct control *c, int64_t now_s);

/* ---- reload.c ------------------------------------------------------------------------------- */

/* Loads the configuration again, now or after the reload that runs. Returns the number of the run
 * whose end says what came of it. */
uint64_t reload_request(struct control *c, const char *cause);
/* Tells the supervisor of the first configuration. */
void reload_start(struct control *c);
/* The supervisor's answer to a plan. */
void reload_answered(struct control *c, bool good, struct span text);
/* Watches what the configuration says. */
void reload_watch(struct control *c, int64_t since_ns);
/* Frees generations that nothing uses any more. */
void reload_collect(struct control *c);
void reload_fini(struct control *c);
