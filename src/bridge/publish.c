/* SPDX-License-Identifier: Apache-2.0 */
/* The control side of publish.h: typed values to framed bytes. */
#include "bridge/publish.h"

#include "base/must.h"
#include "bridge/wire.h"

void publish_sync_begin(struct buf *out)
{
    wire_end(out, wire_begin(out, WIRE_SYNC_BEGIN));
}

void publish_sync_end(struct buf *out)
{
    wire_end(out, wire_begin(out, WIRE_SYNC_END));
}

void publish_snapshot(struct buf *out, const struct snapshot *s)
{
    size_t mark = wire_begin(out, WIRE_SNAPSHOT);
    snapshot_encode(s, out);
    wire_end(out, mark);
}

void publish_cert(struct buf *out, const struct publish_cert *cert)
{
    must(cert->id != 0 && cert->chain.len > 3 && cert->key.len > 0);
    must(cert->chain.len + cert->key.len <= PUBLISH_CERT_BYTES_MAX);
    size_t mark = wire_begin(out, WIRE_CERT);
    buf_put_be(out, cert->id, 8);
    buf_put_be(out, cert->is_rsa, 1);
    buf_put_be(out, (uint64_t)cert->not_after_s, 8);
    wire_put_span(out, cert->chain);
    wire_put_span(out, cert->key);
    wire_end(out, mark);
}

void publish_staple(struct buf *out, uint64_t id, struct span response, int64_t until_s)
{
    must(id != 0 && response.len <= PUBLISH_STAPLE_MAX);
    size_t mark = wire_begin(out, WIRE_STAPLE);
    buf_put_be(out, id, 8);
    buf_put_be(out, (uint64_t)until_s, 8);
    wire_put_span(out, response);
    wire_end(out, mark);
}

void publish_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa, uint32_t flags)
{
    must(name.len <= PUBLISH_NAME_MAX && (ecdsa || rsa));
    must((name.len == 0) == (flags == PUBLISH_NAME_DEFAULT));
    size_t mark = wire_begin(out, WIRE_NAME);
    buf_put_be(out, ecdsa, 8);
    buf_put_be(out, rsa, 8);
    buf_put_be(out, flags, 4);
    wire_put_span(out, name);
    wire_end(out, mark);
}

void publish_warm_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa,
                       uint64_t tag)
{
    must(name.len && name.len <= PUBLISH_NAME_MAX && (ecdsa || rsa) && tag);
    size_t mark = wire_begin(out, WIRE_WARM_NAME);
    buf_put_be(out, ecdsa, 8);
    buf_put_be(out, rsa, 8);
    buf_put_be(out, tag, 8);
    wire_put_span(out, name);
    wire_end(out, mark);
}

void publish_cold_name(struct buf *out, struct span name, uint64_t tag)
{
    must(name.len && name.len <= PUBLISH_NAME_MAX && tag);
    size_t mark = wire_begin(out, WIRE_COLD_NAME);
    buf_put_be(out, tag, 8);
    wire_put_span(out, name);
    wire_end(out, mark);
}

void publish_name_remove(struct buf *out, struct span name)
{
    must(name.len <= PUBLISH_NAME_MAX);
    size_t mark = wire_begin(out, WIRE_NAME_REMOVE);
    wire_put_span(out, name);
    wire_end(out, mark);
}

void publish_ticket_keys(struct buf *out, const struct ticket_keys *keys)
{
    must(keys->count <= TICKET_KEY_COUNT);
    size_t mark = wire_begin(out, WIRE_TICKET_KEYS);
    buf_put_be(out, keys->count, 1);
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct ticket_key *k = &keys->keys[i];
        buf_put(out, k->name, sizeof k->name);
        buf_put(out, k->aes, sizeof k->aes);
        buf_put_be(out, (uint64_t)k->born_s, 8);
    }
    wire_end(out, mark);
}

void publish_server(struct buf *out, uint64_t snapshot_version, uint32_t server,
                    const struct net_addr *addrs, uint32_t count, bool healthy)
{
    must(count <= PUBLISH_ADDRS_MAX);
    size_t mark = wire_begin(out, WIRE_SERVER);
    buf_put_be(out, snapshot_version, 8);
    buf_put_be(out, server, 4);
    buf_put_be(out, healthy, 1);
    buf_put_be(out, count, 1);
    for (uint32_t i = 0; i < count; i++)
        wire_put_addr(out, &addrs[i]);
    wire_end(out, mark);
}

void publish_http_challenge(struct buf *out, struct span entrypoint, struct span token,
                            struct span answer)
{
    must(entrypoint.len <= PUBLISH_ENTRYPOINT_MAX && token.len && token.len <= PUBLISH_TOKEN_MAX &&
         answer.len && answer.len <= PUBLISH_ANSWER_MAX);
    size_t mark = wire_begin(out, WIRE_HTTP_CHALLENGE);
    wire_put_span(out, entrypoint);
    wire_put_span(out, token);
    wire_put_span(out, answer);
    wire_end(out, mark);
}

void publish_http_challenge_remove(struct buf *out, struct span token)
{
    must(token.len && token.len <= PUBLISH_TOKEN_MAX);
    size_t mark = wire_begin(out, WIRE_HTTP_CHALLENGE_REMOVE);
    wire_put_span(out, token);
    wire_end(out, mark);
}

void publish_tls_challenge(struct buf *out, struct span name, struct span chain, struct span key)
{
    must(name.len && name.len <= PUBLISH_NAME_MAX && chain.len > 3 && key.len);
    must(chain.len + key.len <= PUBLISH_TLS_ANSWER_BYTES);
    size_t mark = wire_begin(out, WIRE_TLS_CHALLENGE);
    wire_put_span(out, name);
    wire_put_span(out, chain);
    wire_put_span(out, key);
    wire_end(out, mark);
}

void publish_tls_challenge_remove(struct buf *out, struct span name)
{
    must(name.len && name.len <= PUBLISH_NAME_MAX);
    size_t mark = wire_begin(out, WIRE_TLS_CHALLENGE_REMOVE);
    wire_put_span(out, name);
    wire_end(out, mark);
}

void publish_fence(struct buf *out, uint64_t number)
{
    must(number);
    size_t mark = wire_begin(out, WIRE_FENCE);
    buf_put_be(out, number, 8);
    wire_end(out, mark);
}

struct result publish_hear(struct span in, struct publish_heard *ret, size_t *ret_used)
{
    struct wire_message m;
    struct publish_heard heard = {0};
    TRY(wire_next(in, &m, ret_used));
    struct reader body = reader_of(m.body);
    if (m.type == WIRE_FENCE)
        heard.fence = reader_u64(&body);
    else if (m.type == WIRE_WANTED)
        heard.wanted = wire_get_span(&body);
    if (body.bad || body.left || heard.wanted.len > PUBLISH_NAME_MAX ||
        (!heard.fence && !heard.wanted.len))
        return result_fail(ERR_FORMAT);
    *ret = heard;
    return result_ok();
}
