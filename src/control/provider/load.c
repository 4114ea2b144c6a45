/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/load.h"

#include "control/provider/plugin_options.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The beginning of every version of the structure: all that may be read before it matches. */
struct version_prefix {
    uint32_t size;
    uint16_t abi_major, abi_minor;
};

#define SIZE_MIN    (offsetof(struct ferrule_provider, cleanup) + sizeof(void *))
#define OPTIONS_MAX 128

static struct result check_name(const struct ferrule_provider *p, const char *path,
                                const char *code, struct why *why)
{
    if (!p->code || !p->code[0])
        return why_fail(why, ERR_CONFIG, "plug-in %s does not say which provider it is", path);
    if (strcmp(p->code, code) == 0)
        return result_ok();
    for (const char *const *alias = p->aliases; alias && *alias; alias++)
        if (strcmp(*alias, code) == 0)
            return result_ok();
    return why_fail(
        why, ERR_CONFIG,
        "plug-in %s calls itself \"%.60s\", not \"%s\": the file must be named %.60s.so", path,
        p->code, code, p->code);
}

static struct result check_options(const struct ferrule_provider *p, const char *path,
                                   struct why *why)
{
    if (p->option_count == 0)
        return result_ok();
    if (p->option_count > OPTIONS_MAX || !p->options ||
        p->option_bytes < sizeof(struct ferrule_option))
        return why_fail(why, ERR_CONFIG,
                        "plug-in %s has a damaged option table (%u options of %u bytes)", path,
                        p->option_count, p->option_bytes);
    for (uint32_t i = 0; i < p->option_count; i++) {
        const struct ferrule_option *o = plugin_options_at(p, i);
        if (!o->name || !o->env || !o->env[0])
            return why_fail(why, ERR_CONFIG, "plug-in %s: option %u has no name or no variable",
                            path, i + 1);
        if (o->type < FERRULE_STRING || o->type > FERRULE_URL)
            return why_fail(
                why, ERR_CONFIG, "plug-in %s: option %.60s has type %u, unknown to ABI %u.%u", path,
                o->name, o->type, FERRULE_PROVIDER_ABI_MAJOR, FERRULE_PROVIDER_ABI_MINOR);
    }
    return result_ok();
}

struct result load_check(const void *found, const char *path, const char *code,
                         const struct ferrule_provider **ret, struct why *why)
{
    const struct version_prefix *version = found;
    if (version->abi_major != FERRULE_PROVIDER_ABI_MAJOR)
        return why_fail(
            why, ERR_CONFIG,
            "plug-in %s was made for provider ABI %u.%u, this ferrule has ABI %u.%u: install a "
            "plug-in made for it",
            path, version->abi_major, version->abi_minor, FERRULE_PROVIDER_ABI_MAJOR,
            FERRULE_PROVIDER_ABI_MINOR);
    if (version->size < SIZE_MIN)
        return why_fail(
            why, ERR_CONFIG,
            "plug-in %s describes itself in %u bytes, ABI 1 needs at least %zu: it was built "
            "with a damaged header",
            path, version->size, SIZE_MIN);
    const struct ferrule_provider *p = found;
    TRY(check_name(p, path, code, why));
    if (!p->open || !p->close || !p->present || !p->cleanup)
        return why_fail(why, ERR_CONFIG, "plug-in %s lacks one of open, close, present, cleanup",
                        path);
    TRY(check_options(p, path, why));
    *ret = p;
    return result_ok();
}

struct result load_plugin(const char *path, const char *code, const struct ferrule_provider **ret,
                          struct why *why)
{
    if (access(path, R_OK) != 0)
        return why_fail_sys(why, ERR_CONFIG, errno, "plug-in %s cannot be read", path);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return why_fail(why, ERR_CONFIG, "plug-in %s cannot be loaded: %s", path, dlerror());
    const void *found = dlsym(object, FERRULE_PROVIDER_SYMBOL);
    if (!found)
        return why_fail(
            why, ERR_CONFIG,
            "%s is no provider plug-in for this ferrule: it has no symbol " FERRULE_PROVIDER_SYMBOL,
            path);
    return load_check(found, path, code, ret, why);
}
