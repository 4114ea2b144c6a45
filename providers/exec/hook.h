/* SPDX-License-Identifier: Apache-2.0 */
/* exec/hook.h - how each family of DNS hooks wants to be called: words and variables.
 * Thread: the plug-in's only one.   Owns: the strings of one call, in the struct itself.
 * Never: builds a shell command out of names or values: those are words or variables of their own.
 */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

#define HOOK_TEXT_BYTES 16384
#define HOOK_WORDS_MAX  8
#define HOOK_ENV_MAX    16

enum hook_mode {
    HOOK_DEFAULT = 0, /* PROGRAM present|cleanup FQDN. VALUE */
    HOOK_RAW,         /* PROGRAM present|cleanup -- DOMAIN TOKEN KEYAUTH */
    HOOK_CERTBOT,     /* a shell command each, told by CERTBOT_... variables */
    HOOK_DEHYDRATED,  /* PROGRAM deploy_challenge|clean_challenge DOMAIN TOKEN VALUE */
    HOOK_ACME_SH,     /* a file of shell functions, run by acme.sh */
};

/* What is configured; borrowed from the options but for `function`. */
struct hook {
    enum hook_mode mode;
    struct ferrule_str program; /* what runs, or certbot's command */
    struct ferrule_str cleanup; /* certbot's second command; may be empty */
    struct ferrule_str file;    /* acme.sh: the file of the hook; program is acme.sh itself */
    char function[64];          /* acme.sh: "dns_cf" */
};

/* One run of a program, ready to be spawned. */
struct hook_call {
    const char *argv[HOOK_WORDS_MAX];
    const char *env[HOOK_ENV_MAX];
    char text[HOOK_TEXT_BYTES]; /* what both point into */
    size_t used, words, variables;
    bool full; /* something did not fit */
};

/* A mode by its name in EXEC_MODE, any case; an empty name is the default one. */
bool hook_mode_read(struct ferrule_str name, enum hook_mode *ret);
/* Fills the call. folder: acme.sh's home; auth_output: certbot's CERTBOT_AUTH_OUTPUT; both may be
 * empty. FERRULE_CONFIG with its text in error: the hook cannot be told about this name. */
int32_t hook_call_make(const struct hook *h, const struct ferrule_request *q, bool present,
                       struct ferrule_str folder, struct ferrule_str auth_output,
                       struct hook_call *ret, struct ferrule_error *error);
