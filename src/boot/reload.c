/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's part of a reload: sockets and limits. Control decides; it asks for the sockets
 * of its new configuration, publishes it when they are there, and says so. */
#include "base/clock.h"
#include "base/log.h"
#include "boot/notify.h"
#include "boot/supervisor_impl.h"

static void answer(struct supervisor *s, bool good, const char *text)
{
    struct buf out = {0};
    buf_put_str(&out, "E");
    buf_put_be(&out, good, 1);
    buf_put_str(&out, text);
    children_tell(&s->children[CHILD_CONTROL], buf_span(&out), NULL, 0);
    buf_free(&out);
}

static struct result stage(struct supervisor *s, struct span message, struct why *why)
{
    struct plan plan;
    if (!result_is_ok(plan_decode(message, &plan)))
        return why_fail(why, ERR_FORMAT, "control's list of listening addresses is malformed");
    plan_free(&s->staged);
    s->staged = plan;
    TRY(listeners_stage(&s->listeners, &s->staged, s->config->workers, why));
    if (!children_tell_listeners(s))
        return why_fail(why, ERR_BUSY, "the data process does not take new listening sockets");
    return result_ok();
}

void reload_stage(struct supervisor *s, struct span message)
{
    struct why why = {{0}};
    if (s->stopping) {
        answer(s, false, "ferrule is stopping");
        return;
    }
    struct result r = stage(s, message, &why);
    if (!result_is_ok(r))
        plan_free(&s->staged);
    answer(s, result_is_ok(r), why.text);
}

void reload_commit(struct supervisor *s)
{
    if (!s->staged.memory || s->stopping)
        return;
    struct buf level = {0};
    plan_free(&s->plan);
    s->plan = s->staged;
    s->staged = (struct plan){0};
    if (s->upgrade.phase != UPGRADE_PHASE_HANDOVER) /* the way back needs all sockets */
        listeners_commit(&s->listeners, children_forget_group, s);
    log_init("supervisor", log_level_parse(s->plan.log_level));
    buf_printf(&level, "V%s", s->plan.log_level);
    children_tell(&s->children[CHILD_DATA], buf_span(&level), NULL, 0);
    buf_free(&level);
}

void reload_begun(const struct supervisor *s)
{
    struct buf text = {0};
    if (!s->announced || s->stopping)
        return;
    buf_printf(&text, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Loading the configuration",
               (unsigned long long)(clock_now_ns() / 1000));
    notify_send(buf_cstr(&text));
    buf_free(&text);
}

void reload_ended(const struct supervisor *s, struct span status)
{
    struct buf text = {0};
    if (!s->announced || s->stopping)
        return;
    buf_printf(&text, "READY=1\nSTATUS=%.*s", SPAN_FMT(status));
    notify_send(buf_cstr(&text));
    buf_free(&text);
}
