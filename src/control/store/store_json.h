/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/store_json.h - the shape of Traefik's acme.json, read and written in one place.
 * Thread: control.   Owns: what store_json_free() frees.
 * Never: touches a member that it does not know: those stay in the tree as they were read.
 *
 *   { "RESOLVER": { "Account": { "Email", "Registration": { "body": {...}, "uri" },
 *                                "PrivateKey": base64 of DER, "KeyType": "P256|P384|2048|..." },
 *                   "Certificates": [ { "domain": { "main", "sans": [...] },
 *                                       "certificate": base64 of PEM, "key": base64 of PEM,
 *                                       "Store": "default" } ] } } */
#pragma once

#include "control/store/store.h"

#include <jansson.h>

struct store_accounts {
    uint32_t count;
    struct {
        char *resolver;
        struct store_account account;
    } * items;
};

struct store_certs {
    uint32_t count;
    struct store_cert *items;
};

/* Reads the whole tree. A member of the wrong kind is ERR_FORMAT and named; nothing is returned
 * then. `path` is for messages. */
struct result store_json_read(const json_t *root, const char *path, struct store_accounts *accounts,
                              struct store_certs *certs, struct why *why);
/* Frees both lists and wipes the keys. */
void store_json_free(struct store_accounts *accounts, struct store_certs *certs);
/* As store_json_put_cert(), into the list. Takes `cert`. */
void store_certs_put(struct store_certs *certs, struct store_cert cert);
/* Is there one of this resolver and set of names? */
bool store_json_has_cert(const json_t *root, const struct store_cert *cert);
/* Each changes the tree; members that are not ours are kept. */
void store_json_put_account(json_t *root, const char *resolver,
                            const struct store_account *account);
void store_json_put_cert(json_t *root, const struct store_cert *cert);
void store_json_remove_cert(json_t *root, const struct store_cert *cert);
