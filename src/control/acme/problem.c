/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/problem.h"

#include "base/must.h"

#include <stddef.h>
#include <string.h>

#define URN "urn:ietf:params:acme:error:"

static const struct problem {
    const char *type;
    enum acme_class klass;
    const char *advice;
} problems[] = {
#define PROBLEM(type, klass, advice) {type, klass, advice},
#include "control/acme/problem.def"
#undef PROBLEM
};

static const struct problem *find(const char *type)
{
    if (strncmp(type, URN, sizeof URN - 1))
        return NULL;
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++)
        if (!strcmp(problems[i].type, type + sizeof URN - 1))
            return &problems[i];
    return NULL;
}

enum acme_class problem_class(const char *type, uint32_t status)
{
    const struct problem *p = find(type);
    if (p)
        return p->klass;
    if (status == 429)
        return ACME_RATE;
    if (status >= 500)
        return ACME_SERVER;
    if (status == 401 || status == 403)
        return ACME_UNAUTHORIZED;
    return status >= 400 ? ACME_MALFORMED : ACME_PROTOCOL;
}

const char *problem_advice(const char *type)
{
    const struct problem *p = find(type);
    return p ? p->advice : "";
}

const char *problem_class_name(enum acme_class c)
{
    static const char *const names[ACME_CLASSES] = {
        [ACME_OK] = "ok",
        [ACME_NONCE] = "nonce",
        [ACME_RATE] = "rate limit",
        [ACME_USER_ACTION] = "action needed",
        [ACME_ACCOUNT] = "account",
        [ACME_MALFORMED] = "malformed",
        [ACME_UNAUTHORIZED] = "unauthorized",
        [ACME_CAA] = "CAA",
        [ACME_DNS] = "DNS",
        [ACME_CONNECTION] = "connection",
        [ACME_REJECTED] = "rejected",
        [ACME_NOT_READY] = "not ready",
        [ACME_SERVER] = "CA fault",
        [ACME_NETWORK] = "network",
        [ACME_PROTOCOL] = "protocol",
        [ACME_CONFIG] = "configuration",
    };
    must(c < ACME_CLASSES);
    return names[c];
}
