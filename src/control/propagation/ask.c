/* SPDX-License-Identifier: Apache-2.0 */
#include "control/propagation/ask.h"

#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

struct ask {
    struct loop *loop;
    struct net_addr servers[ASK_SERVERS_MAX];
    uint32_t count, at; /* servers[at] is being asked */
    bool recursive, tcp;
    char name[DNSMSG_NAME_BYTES];
    uint16_t type;
    ask_done *done;
    void *arg;
    struct channel channel;
    struct loop_timer turn; /* goes on from the loop, outside c-ares's callbacks */
    bool opened, answered;
    int status; /* of c-ares */
    struct buf reply;
    char text[256];
};

static void take_reply(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct ask *a = arg;
    if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED)
        return;
    a->answered = true;
    a->status = status;
    a->reply.len = 0;
    if (bytes && len > 0)
        buf_put(&a->reply, bytes, (size_t)len);
    loop_timer_set(a->loop, &a->turn, loop_now_ns(a->loop));
}

static void fail_text(struct ask *a, const char *what)
{
    char name[NET_ADDR_TEXT_MAX];
    snprintf(a->text, sizeof a->text, "%s %s", net_addr_print(&a->servers[a->at], name), what);
}

static void open_question(struct ask *a)
{
    struct why why;
    unsigned flags = (a->recursive ? CHANNEL_RECURSE : 0u) | (a->tcp ? CHANNEL_TCP : 0u);
    a->answered = false;
    struct result r = channel_open(&a->channel, a->loop, &a->servers[a->at], 1, flags, &why);
    if (!result_is_ok(r)) {
        a->answered = true;
        a->status = ARES_ENOMEM;
        a->reply.len = 0;
        loop_timer_set(a->loop, &a->turn, loop_now_ns(a->loop));
        return;
    }
    ares_query(a->channel.ares, a->name, 1, a->type, take_reply, a);
    channel_pump(&a->channel);
}

static void finish(struct ask *a, bool ok, const struct dnsmsg *message)
{
    struct ask_answer answer = {.ok = ok, .text = a->text};
    answer.server = a->servers[a->at < a->count ? a->at : a->count - 1];
    if (ok)
        answer.message = *message;
    channel_close(&a->channel);
    loop_timer_cancel(a->loop, &a->turn);
    a->done(a->arg, &answer);
    buf_free(&a->reply);
    free(a);
}

/* Over TCP, then the next server; false when there is none. */
static bool try_on(struct ask *a)
{
    channel_close(&a->channel);
    bool silent =
        a->status == ARES_ETIMEOUT || a->status == ARES_ECONNREFUSED || a->status == ARES_EBADRESP;
    if (!a->tcp && silent) {
        a->tcp = true;
    } else if (a->at + 1 < a->count) {
        a->tcp = false;
        a->at++;
    } else {
        return false;
    }
    open_question(a);
    return true;
}

static void take_turn(struct loop_timer *t)
{
    struct ask *a = LIST_ENTRY(t, struct ask, turn);
    if (!a->opened) {
        a->opened = true;
        open_question(a);
        return;
    }
    must(a->answered);
    struct dnsmsg message;
    bool readable = a->reply.len && result_is_ok(dnsmsg_open(buf_span(&a->reply), &message));
    unsigned rcode = readable ? dnsmsg_rcode(&message) : 0;
    bool useless = a->recursive && (rcode == DNSMSG_SERVFAIL || rcode == DNSMSG_REFUSED);
    if (readable && (!useless || a->at + 1 == a->count)) {
        finish(a, true, &message);
        return;
    }
    if (a->status == ARES_ECONNREFUSED)
        fail_text(a, "refuses the connection (is a DNS server running there?)");
    else if (a->status == ARES_ETIMEOUT)
        fail_text(a, "did not answer, over UDP or TCP (is port 53 blocked?)");
    else
        fail_text(a, readable ? "answered with an error" : "sent no readable answer");
    if (!try_on(a))
        finish(a, false, NULL);
}

struct ask *ask_start(struct loop *loop, const struct net_addr *servers, uint32_t count,
                      bool recursive, const char *name, uint16_t type, ask_done *done, void *arg)
{
    must(count > 0 && count <= ASK_SERVERS_MAX);
    struct ask *a = mem_zalloc(sizeof *a);
    a->loop = loop;
    memcpy(a->servers, servers, count * sizeof *servers);
    a->count = count;
    a->recursive = recursive;
    snprintf(a->name, sizeof a->name, "%s", name);
    a->type = type;
    a->done = done;
    a->arg = arg;
    loop_timer_init(&a->turn, take_turn);
    loop_timer_set(loop, &a->turn, loop_now_ns(loop));
    return a;
}

void ask_cancel(struct ask *a)
{
    if (!a)
        return;
    channel_close(&a->channel);
    loop_timer_cancel(a->loop, &a->turn);
    buf_free(&a->reply);
    free(a);
}
