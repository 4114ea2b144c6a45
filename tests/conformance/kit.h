/* SPDX-License-Identifier: Apache-2.0 */
/* tests/conformance/kit.h - the scripted host that ferrule-provider-test runs a plug-in against.
 * Thread: one.   Owns: the world that the plug-in believes it changes, and the clock that it sees.
 * Never: talks to a network; waits.
 *
 * The world is a set of TXT records. Three services can stand in front of it: a DNS server for
 * updates, an HTTP service described by a script, or a text file that the plug-in itself writes.
 * One call of a service can be made to go wrong (enum kit_fault); whatever goes wrong, the same
 * rules hold. */
#pragma once

#include "control/provider/plugin_options.h"
#include "control/provider/services.h"

#include <jansson.h>
#include <stdio.h>

#define KIT_ZONE        "example.test."
#define KIT_RECORDS_MAX 256
#define KIT_RULES_MAX   64
#define KIT_NAME_BYTES  256

enum kit_world {
    KIT_DNS = 0, /* when the plug-in asks for DNS */
    KIT_HTTP,    /* with --script */
    KIT_FILE,    /* with --records */
};

/* What one call of a service does instead of its duty. */
enum kit_fault {
    FAULT_NONE = 0,
    FAULT_SILENT,    /* no answer in time, nothing was done */
    FAULT_LOST,      /* done, but the answer is lost */
    FAULT_DEADLINE,  /* no answer, and the whole call's time is over */
    FAULT_BROKEN,    /* connection refused */
    FAULT_GARBAGE,   /* done, but the answer is cut to half */
    FAULT_EMPTY,     /* done, but the answer is empty */
    FAULT_TRUNCATED, /* DNS over UDP: TC is set */
    FAULT_REFUSED,   /* DNS: REFUSED; HTTP: 403 */
    FAULT_SERVFAIL,  /* DNS: SERVFAIL; HTTP: 500 */
    FAULT_AUTH,      /* DNS: NOTAUTH; HTTP: 401 */
    FAULT_RATE,      /* HTTP: 429, Retry-After: 7 */
    FAULT_COUNT,
};

struct kit_record {
    char name[KIT_NAME_BYTES], value[KIT_NAME_BYTES];
    unsigned id;
    bool foreign; /* not the plug-in's: must survive */
};

struct kit_rule {
    const char *method, *url, *body, *effect, *answer, *exists_answer, *item, *between;
    unsigned status, exists, missing;
};

struct kit {
    struct services services; /* first: its table is the one that the plug-in gets */
    const struct ferrule_provider *provider;
    struct plugin_options options;
    struct redact redact;
    enum kit_world world;
    json_t *script; /* rules point into it */
    struct kit_rule rules[KIT_RULES_MAX];
    uint32_t rule_count;
    const char *records_file;
    struct kit_record records[KIT_RECORDS_MAX];
    uint32_t record_count;
    unsigned next_id;
    const struct ferrule_request *request; /* of the running call */
    int64_t skew_ns; /* how far the plug-in's clock is ahead of the real one */
    enum kit_fault fault;
    unsigned fault_at;   /* the service call that goes wrong, from 1 */
    unsigned calls;      /* service calls of the running call so far */
    unsigned late_calls; /* those after the deadline */
    bool fault_happened;
    char log[4096]; /* the last lines that the plug-in logged */
};

/* kit.c: the host's table and the clock. */
void kit_init(struct kit *k);
struct kit *kit_of(const struct ferrule_host *host);
int64_t kit_now_ns(const struct kit *k);
/* Counts a service call and returns the fault that it has to show. */
enum kit_fault kit_count_call(struct kit *k);
/* The common faults (silence, deadline, broken connection): fills error and returns the status, or
 * FERRULE_OK when the call goes on. */
int32_t kit_fail_transport(struct kit *k, enum kit_fault fault, struct ferrule_error *error);

/* world.c: records. */
void world_reset(struct kit *k);
/* Reads the file of KIT_FILE; nothing for the others. */
void world_sync(struct kit *k);
unsigned world_add(struct kit *k, const char *name, const char *value);
struct kit_record *world_find(struct kit *k, const char *name, const char *value);
struct kit_record *world_find_id(struct kit *k, unsigned id);
void world_remove(struct kit *k, struct kit_record *r);
/* Removes every record at the name. */
void world_remove_all(struct kit *k, const char *name);
/* How often the value stands at the name. */
unsigned world_count(struct kit *k, const char *name, const char *value);
/* How many foreign records are left. */
unsigned world_foreign(struct kit *k);
void world_add_foreign(struct kit *k, const char *name, const char *value);

/* fake_dns.c, fake_http.c: the services. */
int32_t fake_dns_exchange(const struct ferrule_host *host, const struct ferrule_dns_exchange *x,
                          struct ferrule_buf *reply, struct ferrule_error *error);
int32_t fake_dns_query(const struct ferrule_host *host, const struct ferrule_dns_query *query,
                       struct ferrule_buf *reply, struct ferrule_error *error);
bool fake_http_load(struct kit *k, const char *path);
int32_t fake_http(const struct ferrule_host *host, const struct ferrule_http_request *request,
                  const struct ferrule_http_response **ret, struct ferrule_error *error);
void fake_http_free(const struct ferrule_host *host, const struct ferrule_http_response *response);

/* cases.c: runs them all; prints one line each to `out`. Returns how many failed. */
unsigned cases_run(struct kit *k, FILE *out);
