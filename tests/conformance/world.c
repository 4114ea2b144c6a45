/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

void world_reset(struct kit *k)
{
    k->record_count = 0;
    if (k->world == KIT_FILE)
        unlink(k->records_file);
}

/* One "NAME VALUE" per line. */
void world_sync(struct kit *k)
{
    char line[2 * KIT_NAME_BYTES];
    FILE *f = k->world == KIT_FILE ? fopen(k->records_file, "re") : NULL;
    if (k->world != KIT_FILE)
        return;
    k->record_count = 0;
    while (f && fgets(line, sizeof line, f) && k->record_count < KIT_RECORDS_MAX) {
        char *space = strchr(line, ' ');
        if (!space)
            continue;
        *space = 0;
        space[1 + strcspn(space + 1, "\n")] = 0;
        struct kit_record *r = &k->records[k->record_count++];
        *r = (struct kit_record){.foreign = strncmp(space + 1, "foreign", 7) == 0};
        snprintf(r->name, sizeof r->name, "%.255s", line);
        snprintf(r->value, sizeof r->value, "%.255s", space + 1);
    }
    if (f)
        fclose(f);
}

unsigned world_add(struct kit *k, const char *name, const char *value)
{
    if (k->record_count == KIT_RECORDS_MAX)
        return 0;
    struct kit_record *r = &k->records[k->record_count++];
    *r = (struct kit_record){.id = ++k->next_id};
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->value, sizeof r->value, "%s", value);
    return r->id;
}

void world_add_foreign(struct kit *k, const char *name, const char *value)
{
    world_add(k, name, value);
    k->records[k->record_count - 1].foreign = true;
    if (k->world != KIT_FILE)
        return;
    FILE *f = fopen(k->records_file, "ae");
    if (!f)
        return;
    fprintf(f, "%s %s\n", name, value);
    fclose(f);
}

struct kit_record *world_find(struct kit *k, const char *name, const char *value)
{
    for (uint32_t i = 0; i < k->record_count; i++)
        if (strcasecmp(k->records[i].name, name) == 0 && strcmp(k->records[i].value, value) == 0)
            return &k->records[i];
    return NULL;
}

struct kit_record *world_find_id(struct kit *k, unsigned id)
{
    for (uint32_t i = 0; i < k->record_count; i++)
        if (k->records[i].id == id)
            return &k->records[i];
    return NULL;
}

void world_remove(struct kit *k, struct kit_record *r)
{
    *r = k->records[--k->record_count];
}

void world_remove_all(struct kit *k, const char *name)
{
    for (uint32_t i = k->record_count; i-- > 0;)
        if (strcasecmp(k->records[i].name, name) == 0)
            world_remove(k, &k->records[i]);
}

unsigned world_count(struct kit *k, const char *name, const char *value)
{
    unsigned count = 0;
    world_sync(k);
    for (uint32_t i = 0; i < k->record_count; i++)
        count +=
            strcasecmp(k->records[i].name, name) == 0 && strcmp(k->records[i].value, value) == 0;
    return count;
}

unsigned world_foreign(struct kit *k)
{
    unsigned count = 0;
    world_sync(k);
    for (uint32_t i = 0; i < k->record_count; i++)
        count += k->records[i].foreign;
    return count;
}
