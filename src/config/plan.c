/* SPDX-License-Identifier: Apache-2.0 */
#include "config/plan.h"

#include "config/config.h"

#include <stdlib.h>

void plan_of_config(const struct config *config, struct plan *ret)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->entrypoint_count; i++)
        count += config->entrypoints[i].address_count;
    struct plan p = {.log_level = config->log_level, .drain_ms = config->drain_timeout_ms};
    p.listeners = mem_zalloc(count * sizeof *p.listeners + 1);
    for (uint32_t i = 0; i < config->entrypoint_count; i++) {
        const struct config_entrypoint *e = &config->entrypoints[i];
        if (e->grace_timeout_ms > p.grace_ms)
            p.grace_ms = e->grace_timeout_ms;
        if (e->accept_grace_ms > p.accept_ms)
            p.accept_ms = e->accept_grace_ms;
        for (uint32_t k = 0; k < e->address_count; k++)
            p.listeners[p.count++] =
                (struct plan_listener){e->name, e->addresses[k], e->sockets[k]};
    }
    *ret = p;
}

void plan_free(struct plan *plan)
{
    free(plan->listeners);
    free(plan->memory);
    *plan = (struct plan){0};
}

/* With its NUL, so that the reader can point into its copy. */
static void put_text(struct buf *out, const char *text)
{
    size_t len = strlen(text) + 1;
    buf_put_be(out, len, 4);
    buf_put(out, text, len);
}

static const char *get_text(struct reader *in)
{
    struct span s = reader_bytes(in, reader_u32(in));
    if (in->bad || s.len == 0 || s.ptr[s.len - 1] || memchr(s.ptr, 0, s.len - 1)) {
        in->bad = true;
        return "";
    }
    return (const char *)s.ptr;
}

void plan_encode(const struct plan *plan, struct buf *out)
{
    put_text(out, plan->log_level);
    buf_put_be(out, plan->grace_ms, 8);
    buf_put_be(out, plan->accept_ms, 8);
    buf_put_be(out, plan->drain_ms, 8);
    buf_put_be(out, plan->count, 4);
    for (uint32_t i = 0; i < plan->count; i++) {
        put_text(out, plan->listeners[i].entrypoint);
        put_text(out, plan->listeners[i].address);
    }
}

struct result plan_decode(struct span in, struct plan *ret)
{
    struct plan p = {.memory = mem_dup(in.ptr, in.len)};
    struct reader r = reader_of(span_of(p.memory, in.len));
    p.log_level = get_text(&r);
    p.grace_ms = reader_u64(&r);
    p.accept_ms = reader_u64(&r);
    p.drain_ms = reader_u64(&r);
    uint32_t count = reader_u32(&r);
    if (count > PLAN_LISTENERS_MAX)
        r.bad = true;
    p.listeners = mem_zalloc((r.bad ? 0 : count) * sizeof *p.listeners + 1);
    for (; !r.bad && p.count < count; p.count++) {
        struct plan_listener *l = &p.listeners[p.count];
        l->entrypoint = get_text(&r);
        l->address = get_text(&r);
        if (!result_is_ok(net_addr_parse(span_str(l->address), 0, &l->socket)))
            r.bad = true;
    }
    if (r.bad || r.left) {
        plan_free(&p);
        return result_fail(ERR_FORMAT);
    }
    *ret = p;
    return result_ok();
}
