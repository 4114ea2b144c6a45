/* SPDX-License-Identifier: Apache-2.0 */
#include "hook.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CHALLENGE "_acme-challenge."
#define EMPTY     ((struct ferrule_str){"", 0})

/* What acme.sh evaluates. Fixed: names and values come as variables, so nothing has to be quoted.
 * acme.sh runs its own functions when its first word is no option. */
#define ACME_SH_COMMAND                                                                            \
    ". \"$FERRULE_HOOK_FILE\" || exit 1; "                                                         \
    "_initpath \"$FERRULE_HOOK_NAME\" >&2 || exit 1; "                                             \
    "\"$FERRULE_HOOK_FUNCTION\" \"$FERRULE_HOOK_NAME\" \"$FERRULE_HOOK_VALUE\""

bool hook_mode_read(struct ferrule_str name, enum hook_mode *ret)
{
    static const struct {
        const char *name;
        enum hook_mode mode;
    } modes[] = {{"", HOOK_DEFAULT},        {"default", HOOK_DEFAULT},
                 {"raw", HOOK_RAW},         {"certbot", HOOK_CERTBOT},
                 {"acme.sh", HOOK_ACME_SH}, {"dehydrated", HOOK_DEHYDRATED}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strlen(modes[i].name) == name.len &&
            strncasecmp(modes[i].name, name.ptr, name.len) == 0) {
            *ret = modes[i].mode;
            return true;
        }
    }
    return false;
}

/* --- building ----------------------------------------------------------------------------------
 */

/* Keeps prefix and value as one string. */
static const char *keep(struct hook_call *c, const char *prefix, struct ferrule_str value)
{
    size_t prefix_len = strlen(prefix);
    if (prefix_len + value.len + 1 > sizeof c->text - c->used) {
        c->full = true;
        return "";
    }
    char *at = c->text + c->used;
    memcpy(at, prefix, prefix_len);
    memcpy(at + prefix_len, value.ptr ? value.ptr : "", value.len);
    at[prefix_len + value.len] = 0;
    c->used += prefix_len + value.len + 1;
    return at;
}

static void add_word(struct hook_call *c, struct ferrule_str word)
{
    if (c->words == HOOK_WORDS_MAX - 1)
        c->full = true;
    else
        c->argv[c->words++] = keep(c, "", word);
}

static void add_text(struct hook_call *c, const char *word)
{
    add_word(c, (struct ferrule_str){word, strlen(word)});
}

/* assignment: "NAME=". */
static void add_variable(struct hook_call *c, const char *assignment, struct ferrule_str value)
{
    if (c->variables == HOOK_ENV_MAX - 1)
        c->full = true;
    else
        c->env[c->variables++] = keep(c, assignment, value);
}

static struct ferrule_str without_dot(struct ferrule_str name)
{
    if (name.len && name.ptr[name.len - 1] == '.')
        name.len--;
    return name;
}

static int32_t refuse(struct ferrule_error *error, const char *before, struct ferrule_str name,
                      const char *after)
{
    snprintf(error->text, sizeof error->text, "%s%.*s%s", before,
             name.len < 255 ? (int)name.len : 255, name.ptr ? name.ptr : "", after);
    return FERRULE_CONFIG;
}

/* The domain whose challenge name is where the value goes: hooks that are told a domain put
 * "_acme-challenge." before it by themselves. */
static int32_t domain_of(const struct ferrule_request *q, struct ferrule_str *ret,
                         struct ferrule_error *error)
{
    struct ferrule_str name = without_dot(q->fqdn);
    size_t skip = strlen(CHALLENGE);
    if (name.len <= skip || strncasecmp(name.ptr, CHALLENGE, skip) != 0)
        return refuse(error, "the value belongs at ", name,
                      ", but hooks of this kind can only write at _acme-challenge.DOMAIN: let the "
                      "CNAME lead to such a name");
    *ret = (struct ferrule_str){name.ptr + skip, name.len - skip};
    return FERRULE_OK;
}

/* --- families -----------------------------------------------------------------------------------
 */

static int32_t make_raw(const struct hook *h, const struct ferrule_request *q, bool present,
                        struct hook_call *c, struct ferrule_error *error)
{
    if (!q->token.len || !q->key_auth.len)
        return refuse(error, "EXEC_MODE=RAW passes the challenge's token on, which the call for ",
                      q->domain, " does not have");
    add_word(c, h->program);
    add_text(c, present ? "present" : "cleanup");
    add_text(c, "--");
    add_word(c, q->domain);
    add_word(c, q->token);
    add_word(c, q->key_auth);
    return FERRULE_OK;
}

static int32_t make_certbot(const struct hook *h, const struct ferrule_request *q, bool present,
                            struct ferrule_str auth_output, struct hook_call *c,
                            struct ferrule_error *error)
{
    struct ferrule_str domain;
    int32_t status = domain_of(q, &domain, error);
    if (status != FERRULE_OK)
        return status;
    add_text(c, "/bin/sh");
    add_text(c, "-c");
    add_word(c, present ? h->program : h->cleanup);
    add_variable(c, "CERTBOT_DOMAIN=", domain);
    add_variable(c, "CERTBOT_IDENTIFIER=", domain);
    add_variable(c, "CERTBOT_ALL_DOMAINS=", domain);
    add_variable(c, "CERTBOT_ALL_IDENTIFIERS=", domain);
    add_variable(c, "CERTBOT_VALIDATION=", q->value);
    /* Hooks that wait for the DNS after the last challenge must wait after this one. */
    add_variable(c, "CERTBOT_REMAINING_CHALLENGES=", (struct ferrule_str){"0", 1});
    if (!present)
        add_variable(c, "CERTBOT_AUTH_OUTPUT=", auth_output);
    return FERRULE_OK;
}

static int32_t make_dehydrated(const struct hook *h, const struct ferrule_request *q, bool present,
                               struct hook_call *c, struct ferrule_error *error)
{
    struct ferrule_str domain;
    int32_t status = domain_of(q, &domain, error);
    if (status != FERRULE_OK)
        return status;
    add_word(c, h->program);
    add_text(c, present ? "deploy_challenge" : "clean_challenge");
    add_word(c, domain);
    add_word(c, q->token);
    add_word(c, q->value);
    return FERRULE_OK;
}

static void make_acme_sh(const struct hook *h, const struct ferrule_request *q, bool present,
                         struct ferrule_str folder, struct hook_call *c)
{
    char function[sizeof h->function + 8];
    snprintf(function, sizeof function, "%s_%s", h->function, present ? "add" : "rm");
    add_word(c, h->program);
    add_text(c, "eval");
    add_text(c, ACME_SH_COMMAND);
    add_variable(c, "FERRULE_HOOK_FILE=", h->file);
    add_variable(c, "FERRULE_HOOK_FUNCTION=", (struct ferrule_str){function, strlen(function)});
    add_variable(c, "FERRULE_HOOK_NAME=", without_dot(q->fqdn));
    add_variable(c, "FERRULE_HOOK_VALUE=", q->value);
    add_variable(c, "LE_WORKING_DIR=", folder);
    add_variable(c, "LE_CONFIG_HOME=", folder);
    add_variable(c, "DOMAIN_PATH=", folder);
}

int32_t hook_call_make(const struct hook *h, const struct ferrule_request *q, bool present,
                       struct ferrule_str folder, struct ferrule_str auth_output,
                       struct hook_call *ret, struct ferrule_error *error)
{
    memset(ret, 0, sizeof *ret);
    int32_t status = FERRULE_OK;
    switch (h->mode) {
    case HOOK_DEFAULT:
        add_word(ret, h->program);
        add_text(ret, present ? "present" : "cleanup");
        add_word(ret, q->fqdn);
        add_word(ret, q->value);
        break;
    case HOOK_RAW:
        status = make_raw(h, q, present, ret, error);
        break;
    case HOOK_CERTBOT:
        status = make_certbot(h, q, present, auth_output, ret, error);
        break;
    case HOOK_DEHYDRATED:
        status = make_dehydrated(h, q, present, ret, error);
        break;
    case HOOK_ACME_SH:
        make_acme_sh(h, q, present, folder, ret);
        break;
    }
    if (status == FERRULE_OK && ret->full)
        status = refuse(error, "the call of the program would be too long", EMPTY, "");
    return status;
}
