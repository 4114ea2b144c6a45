/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/host.h - asks DNS providers to make TXT values exist or not exist.
 * Thread: control.   Owns: the provider children (one per resolver's credential set), their
 * sockets, deadlines and restarts.
 * Never: loads a plug-in into this process; waits. A child that crashes, hangs or talks nonsense
 * costs the call an error that says so, never more. */
#pragma once

#include "config/config.h"
#include "control/loop.h"

struct provider_host;
struct provider; /* one resolver's provider */

#define PROVIDER_STATE_MAX 4096

/* What a provider says about itself and its timing. */
struct provider_info {
    char name[64], version[64];
    uint32_t ttl_s, propagation_timeout_s, polling_interval_s, sequence_interval_s;
    uint32_t call_timeout_s; /* what one call may take */
    bool confirms;           /* provider_confirm() asks the service */
    bool serialize_rrset, serialize_zone, serialize_all;
    bool single_value; /* a name holds one value: nothing else at it from present to cleanup */
    bool by_person;    /* presented values are made by a person, later */
};

/* One TXT value. All spans borrowed for the call. */
struct provider_txt {
    struct span fqdn;                    /* "_acme-challenge.example.test." after CNAMEs */
    struct span zone;                    /* "example.test." or empty: the provider finds it */
    struct span value;                   /* 43 characters */
    struct span domain, token, key_auth; /* for providers in RAW mode */
};

enum provider_verdict {
    PROVIDER_OK = 0,
    PROVIDER_RETRY,  /* temporary: network, 5xx, crash, hang */
    PROVIDER_RATE,   /* asked to slow down; retry_after_s */
    PROVIDER_AUTH,   /* credentials refused */
    PROVIDER_CONFIG, /* option missing or wrong, plug-in missing, wrong ABI */
    PROVIDER_ZONE,   /* no such zone here */
    PROVIDER_GONE,   /* the provider has shut down */
};

struct provider_answer {
    enum provider_verdict verdict;
    uint32_t retry_after_s;
    struct span state; /* opaque, <= PROVIDER_STATE_MAX; kept by the caller for removal */
    const char *text;  /* for people; "" when ok */
};

typedef void provider_done(void *arg, const struct provider_answer *answer);

/* executable: this program (for `provider-run`). directories: where CODE.so is looked for. */
struct result provider_host_create(struct loop *loop, const char *executable,
                                   const char *const *directories, uint32_t directory_count,
                                   struct provider_host **ret, struct why *why);
/* Ends the children; no callback is called any more. */
void provider_host_destroy(struct provider_host *host);

/* Finds or makes the provider for a code and an environment overlay. Does not start a child.
 * ERR_NOT_FOUND when CODE.so is in no directory. Lives as long as the host. */
struct result provider_get(struct provider_host *host, const char *code,
                           const struct config_env *env, uint32_t env_count, struct provider **ret,
                           struct why *why);
/* Asks for the provider's description; starts a child when needed. */
void provider_describe(struct provider *p,
                       void (*done)(void *arg, const struct provider_info *info,
                                    const struct provider_answer *answer),
                       void *arg);
/* Makes a value exist, or not exist. deadline_ns is CLOCK_MONOTONIC. `done` is called once, from
 * the loop, never from inside this call. Both are idempotent. */
void provider_present(struct provider *p, const struct provider_txt *txt, uint64_t deadline_ns,
                      provider_done *done, void *arg);
void provider_cleanup(struct provider *p, const struct provider_txt *txt, struct span state,
                      uint64_t deadline_ns, provider_done *done, void *arg);

/* For providers that hold one value at a name (provider_info.single_value): has `owner` the name
 * from now on, until provider_release()? False: somebody else has it. */
bool provider_hold(struct provider *p, const char *fqdn, const void *owner);
/* All names that the owner has, of whatever provider of the host. */
void provider_release(struct provider *p, const void *owner);

/* Asks whether the service itself has put a presented value into effect (RETRY = not yet; OK also
 * when the plug-in cannot tell). */
void provider_confirm(struct provider *p, const struct provider_txt *txt, struct span state,
                      uint64_t deadline_ns, provider_done *done, void *arg);
/* Checks credentials and zone, changes nothing. OK also when the plug-in cannot tell. */
void provider_probe(struct provider *p, const struct provider_txt *txt, uint64_t deadline_ns,
                    provider_done *done, void *arg);

/* Entry point of the child: `ferrule provider-run`. Returns the exit code. */
int provider_run(int argc, char **argv);
