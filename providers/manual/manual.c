/* SPDX-License-Identifier: Apache-2.0 */
/* manual: a person makes each TXT value and removes it again. The log says which; that it is there
 * the host finds out by itself, since it looks at the name servers until it is, or hears it from
 * the person. */
#include "ferrule_provider.h"

#include <stdio.h>

static const char *const env_propagation[] = {"MANUAL_PROPAGATION_TIMEOUT", NULL};
static const char *const env_polling[] = {"MANUAL_POLLING_INTERVAL", NULL};
static const char *const env_ttl[] = {"MANUAL_TTL", NULL};

static const struct ferrule_option options[] = {
    {"propagation_timeout", env_propagation, "3600", "How long the person has.", FERRULE_SECONDS, 0,
     1, 86400},
    {"polling_interval", env_polling, "5", "Time between two looks at the name servers.",
     FERRULE_SECONDS, 0, 1, 3600},
    {"ttl", env_ttl, "120", "Time to live that the person is told.", FERRULE_SECONDS, 0, 1, 86400},
};

static void say(const struct ferrule_host *host, const struct ferrule_request *q, const char *what)
{
    char text[1000];
    int n = snprintf(text, sizeof text, "%s: %.*s %u IN TXT \"%.*s\"", what, FERRULE_FMT(q->fqdn),
                     q->ttl_s, FERRULE_FMT(q->value));
    if (n > 0)
        host->log(
            host, FERRULE_LOG_WARN,
            (struct ferrule_str){text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1});
}

/* The instance is the host itself: there is nothing else to know. */
static int32_t manual_open(const struct ferrule_host *host, void **ret, struct ferrule_error *error)
{
    (void)error;
    *ret = (void *)host;
    return FERRULE_OK;
}

static void manual_close(void *instance)
{
    (void)instance;
}

static int32_t manual_present(void *instance, const struct ferrule_request *q,
                              struct ferrule_buf *state, struct ferrule_error *error)
{
    (void)state;
    (void)error;
    say(instance, q, "please add this record beside others of its name; the order waits for it");
    return FERRULE_OK;
}

static int32_t manual_cleanup(void *instance, const struct ferrule_request *q,
                              struct ferrule_str state, struct ferrule_error *error)
{
    (void)state;
    (void)error;
    say(instance, q, "this record is not needed any more, please remove it");
    return FERRULE_OK;
}

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "manual",
    .version = "1",
    .summary = "a person who reads the log and makes the records",
    .flags = FERRULE_BY_PERSON,
    .ttl_s = 120,
    .propagation_timeout_s = 3600,
    .polling_interval_s = 5,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = manual_open,
    .close = manual_close,
    .present = manual_present,
    .cleanup = manual_cleanup,
};
