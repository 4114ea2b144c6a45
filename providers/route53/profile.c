/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts white space off both ends, in place. */
static char *trim(char *s)
{
    s += strspn(s, " \t\r\n");
    size_t len = strlen(s);
    while (len && strchr(" \t\r\n", s[len - 1]))
        s[--len] = 0;
    return s;
}

/* "[NAME]" or "[profile NAME]": whether this section is the profile's. */
static bool is_section(char *line, const char *name, bool is_config)
{
    char *close = strchr(line, ']');
    if (!close)
        return false;
    *close = 0;
    char *title = trim(line + 1);
    if (!is_config || (strcmp(title, "default") == 0 && strcmp(name, "default") == 0))
        return strcmp(title, name) == 0;
    if (strncmp(title, "profile", 7) != 0 || !strchr(" \t", title[7]) || !title[7])
        return false;
    return strcmp(trim(title + 7), name) == 0;
}

static void take(char *to, size_t cap, const char *value)
{
    if (!to[0] && strlen(value) < cap)
        memcpy(to, value, strlen(value) + 1);
}

static void take_value(struct profile *p, const char *key, const char *value)
{
    const struct {
        const char *key;
        char *to;
        size_t cap;
    } keys[] = {
        {"aws_access_key_id", p->access_key_id, sizeof p->access_key_id},
        {"aws_secret_access_key", p->secret_access_key, sizeof p->secret_access_key},
        {"aws_session_token", p->session_token, sizeof p->session_token},
        {"credential_source", p->credential_source, sizeof p->credential_source},
        {"external_id", p->external_id, sizeof p->external_id},
        {"region", p->region, sizeof p->region},
        {"role_arn", p->role_arn, sizeof p->role_arn},
        {"role_session_name", p->role_session_name, sizeof p->role_session_name},
        {"source_profile", p->source_profile, sizeof p->source_profile},
        {"web_identity_token_file", p->web_identity_token_file, sizeof p->web_identity_token_file},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].key, key) == 0)
            take(keys[i].to, keys[i].cap, value);
    if (strncmp(key, "sso_", 4) == 0 || strcmp(key, "credential_process") == 0)
        p->other = true;
}

bool profile_read(const char *path, const char *name, bool is_config, struct profile *p)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT || errno == ENOTDIR;
    char *line = NULL;
    size_t cap = 0;
    bool ours = false;
    while (getline(&line, &cap, f) != -1) {
        bool nested = line[0] == ' ' || line[0] == '\t'; /* of the key before */
        char *text = trim(line);
        if (!text[0] || text[0] == '#' || text[0] == ';')
            continue;
        if (text[0] == '[') {
            ours = is_section(text, name, is_config);
            p->found |= ours;
            continue;
        }
        char *equals = strchr(text, '=');
        if (!ours || nested || !equals)
            continue;
        *equals = 0;
        take_value(p, trim(text), trim(equals + 1));
    }
    if (line)
        explicit_bzero(line, cap);
    free(line);
    bool good = !ferror(f);
    fclose(f);
    return good;
}
