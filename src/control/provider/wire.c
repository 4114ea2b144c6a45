/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/wire.h"

#include "control/provider/host.h"

#include "base/log.h"
#include "base/must.h"

/* One description of each message serves both directions: `out` is set when encoding. */
struct codec {
    struct buf *out;
    struct reader in;
    bool bad;
};

static void put_number(struct codec *c, uint64_t *v, size_t bytes)
{
    if (c->out)
        buf_put_be(c->out, *v, bytes);
    else
        *v = reader_be(&c->in, bytes);
}

static void field_u8(struct codec *c, uint8_t *v, uint8_t min, uint8_t max)
{
    uint64_t wide = *v;
    put_number(c, &wide, 1);
    if (!c->out)
        *v = (uint8_t)wide;
    if (*v < min || *v > max)
        c->bad = true;
}

static void field_u32(struct codec *c, uint32_t *v)
{
    uint64_t wide = *v;
    put_number(c, &wide, 4);
    if (!c->out)
        *v = (uint32_t)wide;
}

static void field_u64(struct codec *c, uint64_t *v)
{
    put_number(c, v, 8);
}

static void field_span(struct codec *c, struct span *s, size_t max)
{
    uint32_t len = (uint32_t)s->len;
    if (c->out && s->len > max) {
        c->bad = true;
        return;
    }
    field_u32(c, &len);
    if (c->out)
        buf_put_span(c->out, *s);
    else if (len > max)
        c->bad = true;
    else
        *s = reader_bytes(&c->in, len);
}

static void field_list(struct codec *c, struct wire_list *list)
{
    field_u32(c, &list->count);
    if (list->count > WIRE_LIST_MAX) {
        c->bad = true;
        return;
    }
    for (uint32_t i = 0; i < list->count; i++)
        field_span(c, &list->items[i], WIRE_BYTES_MAX);
}

/* Pairs of name and value. */
static void field_pairs(struct codec *c, struct wire_list *list)
{
    field_list(c, list);
    if (list->count % 2)
        c->bad = true;
}

static void fields_hello(struct codec *c, struct wire_hello *m)
{
    field_span(c, &m->code, 64);
    field_span(c, &m->path, 4096);
    field_u8(c, &m->log_level, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG);
    field_pairs(c, &m->env);
}

static void fields_ready(struct codec *c, struct wire_ready *m)
{
    field_span(c, &m->name, 63);
    field_span(c, &m->version, 63);
    field_u32(c, &m->flags);
    field_u32(c, &m->ttl_s);
    field_u32(c, &m->propagation_timeout_s);
    field_u32(c, &m->polling_interval_s);
    field_u32(c, &m->sequence_interval_s);
    field_u32(c, &m->call_timeout_s);
    field_u8(c, &m->confirms, 0, 1);
    field_list(c, &m->secrets);
}

static void fields_call(struct codec *c, struct wire_call *m)
{
    field_u64(c, &m->id);
    field_u8(c, &m->operation, WIRE_PRESENT, WIRE_PROBE);
    field_u64(c, &m->deadline_ns);
    field_span(c, &m->fqdn, 255);
    field_span(c, &m->zone, 255);
    field_span(c, &m->value, 255);
    field_span(c, &m->domain, 255);
    field_span(c, &m->token, 1024);
    field_span(c, &m->key_auth, 1024);
    field_span(c, &m->state, PROVIDER_STATE_MAX);
}

static void fields_answer(struct codec *c, struct wire_answer *m)
{
    field_u64(c, &m->id);
    field_u8(c, &m->verdict, PROVIDER_OK, PROVIDER_GONE);
    field_u32(c, &m->retry_after_s);
    field_span(c, &m->state, PROVIDER_STATE_MAX);
    field_span(c, &m->text, 1024);
}

static void fields_log(struct codec *c, struct wire_log *m)
{
    field_u8(c, &m->level, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG);
    field_span(c, &m->text, 1024);
}

static void fields(struct codec *c, struct wire_message *m)
{
    uint8_t kind = (uint8_t)m->kind;
    field_u8(c, &kind, WIRE_HELLO, WIRE_LOG);
    if (c->bad)
        return;
    if (!c->out)
        m->kind = (enum wire_kind)kind;
    switch (m->kind) {
    case WIRE_HELLO:
        fields_hello(c, &m->hello);
        break;
    case WIRE_NAMES:
        field_list(c, &m->names);
        break;
    case WIRE_ENVIRON:
        field_pairs(c, &m->variables);
        break;
    case WIRE_READY:
        fields_ready(c, &m->ready);
        break;
    case WIRE_CALL:
        fields_call(c, &m->call);
        break;
    case WIRE_ANSWER:
        fields_answer(c, &m->answer);
        break;
    case WIRE_LOG:
        fields_log(c, &m->log);
        break;
    }
}

struct result wire_encode(const struct wire_message *m, struct buf *out)
{
    must(out->len == 0);
    struct codec c = {.out = out};
    /* Nothing is written to the message when c.out is set. */
    fields(&c, (struct wire_message *)m);
    return c.bad || out->len > WIRE_BYTES_MAX ? result_fail(ERR_TOO_LARGE) : result_ok();
}

struct result wire_decode(struct span bytes, struct wire_message *ret)
{
    if (bytes.len > WIRE_BYTES_MAX)
        return result_fail(ERR_FORMAT);
    struct codec c = {.in = reader_of(bytes)};
    memset(ret, 0, sizeof *ret);
    fields(&c, ret);
    if (!c.bad && !c.in.bad && c.in.left == 0)
        return result_ok();
    memset(ret, 0, sizeof *ret);
    return result_fail(ERR_FORMAT);
}

struct result wire_list_add(struct wire_list *list, struct span item)
{
    if (list->count == WIRE_LIST_MAX)
        return result_fail(ERR_TOO_LARGE);
    list->items[list->count++] = item;
    return result_ok();
}
