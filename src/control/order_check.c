/* SPDX-License-Identifier: Apache-2.0 */
/* Before an order goes out: what would make it fail at the CA, or spoil its certificate, is found
 * here first. Each check warns or stops, as the configuration says. */
#include "control/order_impl.h"

#include "base/log.h"
#include "base/must.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#define CLOCK_SKEW_S  300
#define DISK_FREE_MIN (4ull << 20)
#define NAME_IS_IP(n) (inet_pton(AF_INET, (n), raw) == 1 || inet_pton(AF_INET6, (n), raw) == 1)

/* True when the order goes on. */
static bool met(struct order *o, uint8_t policy, enum acme_class class, const struct why *why)
{
    must(policy != CONFIG_CHECK_OFF);
    if (policy == CONFIG_CHECK_STOP) {
        order_fail(o, class, "", 0, "%s", why->text);
        return false;
    }
    log_warn("%s: %s", order_label(o), why->text);
    return true;
}

static bool check_clock(struct order *o)
{
    uint8_t policy = o->resolver->config->check_clock;
    long long skew_s = acme_clock_skew_s(o->ca->acme);
    long long size_s = skew_s < 0 ? -skew_s : skew_s;
    struct why why;
    if (policy == CONFIG_CHECK_OFF || size_s <= CLOCK_SKEW_S)
        return true;
    (void)!result_is_ok(why_fail(&why, ERR_MISMATCH,
                                 "this machine's clock is %lld s %s the CA's: certificates begin "
                                 "and end at other times than it seems",
                                 size_s, skew_s > 0 ? "behind" : "ahead of"));
    return met(o, policy, ACME_CONFIG, &why);
}

static bool check_disk(struct order *o)
{
    const struct config_resolver *c = o->resolver->config;
    struct statvfs st;
    struct why why;
    const char *slash = c->storage ? strrchr(c->storage, '/') : NULL;
    if (c->check_disk == CONFIG_CHECK_OFF || !slash)
        return true;
    char *directory = mem_strndup(c->storage, (size_t)(slash - c->storage) + 1);
    bool known = statvfs(directory, &st) == 0;
    bool good = !known || (unsigned long long)st.f_bavail * st.f_frsize >= DISK_FREE_MIN;
    if (!good)
        (void)!result_is_ok(why_fail(&why, ERR_STORE,
                                     "less than 4 MB are free in %s, where the certificate is to "
                                     "be stored",
                                     directory));
    free(directory);
    return good || met(o, c->check_disk, ACME_CONFIG, &why);
}

static void check_caa(struct order *o);

static void on_caa(void *arg, enum propagation_caa_verdict verdict, const char *text)
{
    struct order *o = arg;
    struct why why;
    o->dns = NULL;
    (void)!result_is_ok(why_fail(&why, ERR_MISMATCH, "%s: %s", o->record.names[o->index], text));
    if (verdict == PROPAGATION_CAA_UNKNOWN)
        log_debug("%s: %s", order_label(o), text);
    else if (verdict == PROPAGATION_CAA_FORBIDDEN &&
             !met(o, o->resolver->config->check_caa, ACME_CAA, &why))
        return;
    o->index++;
    check_caa(o);
}

static void check_caa(struct order *o)
{
    const struct document_directory *d = acme_directory(o->ca->acme);
    uint8_t raw[16];
    while (o->index < o->record.name_count && NAME_IS_IP(o->record.names[o->index]))
        o->index++;
    if (o->resolver->config->check_caa == CONFIG_CHECK_OFF || !d->caa_identity_count ||
        o->index == o->record.name_count) {
        order_next(o);
        return;
    }
    struct propagation_options options = resolver_propagation(o->resolver);
    o->dns =
        propagation_caa(o->env.loop, &options, o->record.names[o->index],
                        (const char *const *)d->caa_identities, d->caa_identity_count, on_caa, o);
}

void order_check(struct order *o)
{
    if (check_clock(o) && check_disk(o))
        check_caa(o);
}
