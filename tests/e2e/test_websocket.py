# SPDX-License-Identifier: Apache-2.0
"""WebSocket, and whatever else two sides agree to switch to: a tunnel that loses no byte, holds back a sender whose
receiver is slow, and ends when its sides do."""

import asyncio
import hashlib
import signal
import socket
import ssl
import threading
import time

import pytest
import websockets

from lib.hostile import HOST, head, timeouts
from lib.http1 import Closed
from lib.origin import body_of
from lib.proc import wait_until
from lib.websocket import HANDSHAKE, SWITCH, EchoServer, RawServer, ask

TRANSPORTS = ["http", "tls"]


@pytest.fixture
def echo(nothing_left_running):
    server = EchoServer()
    yield server
    server.stop()


@pytest.fixture
def raw(nothing_left_running):
    server = RawServer()
    yield server
    server.stop()


@pytest.fixture
def proxy(ferrule, raw, certificate):
    return ferrule.both(raw, certificates=[certificate], workers=1)


def open_client(proxy, transport):
    return proxy.connect("web") if transport == "http" else proxy.connect_tls(HOST, "websecure")


def tunnel(proxy, raw, transport="http"):
    """A client and an upstream that have switched."""
    client = open_client(proxy, transport)
    ask(client)
    upstream = raw.accept()
    response = client.read_response()
    assert (response.status, response.header("Upgrade"), response.header("Connection")) == (101, "websocket", "upgrade")
    return client, upstream


def open_websocket(proxy, authority, transport="http", path="/"):
    """A coroutine that gives a client's connection."""
    options = {"max_size": None, "compression": None, "ping_interval": None, "open_timeout": 30, "close_timeout": 30}
    if transport == "http":
        return websockets.connect(f"ws://127.0.0.1:{proxy.port('web')}{path}", **options)
    context = ssl.create_default_context(cafile=str(authority.cert_file))
    return websockets.connect(f"wss://{HOST}{path}", host="127.0.0.1", port=proxy.port("websecure"), server_hostname=HOST, ssl=context,
                              **options)


# --- the library's client and server --------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_echo(ferrule, echo, certificate, authority, transport):
    proxy = ferrule.both(echo, certificates=[certificate], workers=1)

    async def run():
        async with open_websocket(proxy, authority, transport, "/a?b=c") as client:
            for message in ("hello", b"\0\xff" * 100, "", "x" * 126, b"y" * 65536):
                await client.send(message)
                assert await client.recv() == message
            big = body_of(1 << 20)
            for n in range(20):
                await client.send(big[n:])
            for n in range(20):
                assert await client.recv() == big[n:]
            assert proxy.counters()["tunnels_now"] == 1
            await client.send("close")
            with pytest.raises(websockets.ConnectionClosedOK):
                await client.recv()

    asyncio.run(run())
    fields = echo.heads[0]
    assert fields["X-Forwarded-Proto"] == ("ws" if transport == "http" else "wss")
    assert fields["X-Forwarded-For"] == "127.0.0.1" and fields["Connection"].lower() == "upgrade"
    counters = wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["conns_now"] == 0 and c, "all is closed")
    assert counters["tunnels"] == 1 and counters["aborted"] == 0 and counters["upstream_failed"] == 0


def test_200_tunnels_at_once(ferrule, echo, certificate, authority):
    proxy = ferrule.both(echo, certificates=[certificate], workers=2)

    async def one(n, barrier, done):
        async with open_websocket(proxy, authority, TRANSPORTS[n % 2]) as client:
            barrier.append(n)
            while len(barrier) < 200:
                await asyncio.sleep(0.01)
            for size in (10, 5000, 100000):
                await client.send(body_of(size + n))
                assert await client.recv() == body_of(size + n)
            done.append(n)
            while len(done) < 200:
                await asyncio.sleep(0.01)
            if n == 0:
                wait_until(lambda: proxy.counters()["tunnels_now"] == 200, "all are open, none has been left before")
            done.append(n)
            while len(done) < 400:
                await asyncio.sleep(0.01)

    async def run():
        barrier, done = [], []
        await asyncio.gather(*(one(n, barrier, done) for n in range(200)))

    asyncio.run(run())
    counters = wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["upconns_now"] == 0 and c, "all are closed")
    assert counters["tunnels"] == 200 and counters["aborted"] == 0


def test_tunnels_live_through_a_restart_of_control(ferrule, echo, certificate, authority):
    """A new control publishes everything anew; a tunnel holds nothing of the old."""
    proxy = ferrule.both(echo, certificates=[certificate], workers=1)

    async def run():
        async with open_websocket(proxy, authority) as client:
            await client.send("before")
            assert await client.recv() == "before"
            old = proxy.kill("control")
            proxy.wait_respawn("control", old)
            wait_until(lambda: answers(proxy), "control answers")
            await client.send("after")
            assert await client.recv() == "after"

    asyncio.run(run())


def answers(proxy):
    try:
        return proxy.counters()
    except OSError:
        return None


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bytes_around_the_switch_are_not_lost(proxy, raw, transport):
    """Those of a client that does not wait for the 101, and those that an upstream sends with it."""
    with open_client(proxy, transport) as client:
        early = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" + body_of(20000)
        ask(client, rest=early)
        upstream = raw.accept(answer=None)
        time.sleep(0.1)  # (what a worse proxy would do with the bytes, it would do now)
        upstream.send(SWITCH.encode() + b"first bytes")
        assert client.read_response().status == 101
        assert client.read_exactly(11) == b"first bytes"
        assert upstream.read_exactly(len(early)) == early
        client.send(b"later")
        assert upstream.read_exactly(5) == b"later"
    assert len(raw.accepted) == 1


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("direction", ["down", "up"])
def test_slow_reader_takes_bounded_memory(proxy, raw, transport, direction):
    """Its sender is held back, and nothing is lost when it reads again."""
    client, upstream = tunnel(proxy, raw, transport)
    sender, reader = (upstream, client) if direction == "down" else (client, upstream)
    data, sent = body_of(1 << 20), []
    want = 96

    def send():
        for n in range(want):
            sender.send(data)
            sent.append(n)

    before_kb = proxy.resident_kb()
    thread = threading.Thread(target=send, daemon=True)
    sender.sock.settimeout(60)
    thread.start()
    last = [-1, 0.0]

    def is_stuck():
        if len(sent) != last[0]:
            last[:] = len(sent), time.monotonic()
        return time.monotonic() - last[1] > 1

    wait_until(is_stuck, "the sender is held back")
    assert len(sent) < want - 20
    assert proxy.resident_kb() - before_kb < 24 * 1024  # of 96 MB (sanitizers take their part)
    digest = hashlib.sha256()
    for _ in range(want):
        digest.update(reader.read_exactly(len(data)))
    thread.join()
    assert digest.digest() == hashlib.sha256(data * want).digest()
    client.close()


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_both_ways_at_once(proxy, raw, transport):
    client, upstream = tunnel(proxy, raw, transport)
    data = body_of(8 << 20)
    got = []
    threads = [threading.Thread(target=upstream.send, args=(data,)),
               threading.Thread(target=lambda: got.append(upstream.read_exactly(len(data))))]
    for thread in threads:
        thread.start()
    for at in range(0, len(data), 100000):  # (one thread for a TLS client: it reads what there is between two writes)
        client.send(data[at:at + 100000])
        if at % 400000 == 0 and len(client.buffer) < len(data):
            client.buffer += client.sock.recv(1 << 20)
    assert client.read_exactly(len(data)) == data
    for thread in threads:
        thread.join()
    assert got == [data]
    client.close()


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_server_that_speaks_tls(ferrule, certificate, transport):
    """Nothing is lost at either end, and each side's close_notify is passed on as one."""
    raw = RawServer(certificate)
    try:
        proxy = ferrule.both(raw, certificates=[certificate], workers=1, service='serversTransport = "any"',
                             extra="[http.serversTransports.any]\ninsecureSkipVerify = true")
        client, upstream = tunnel(proxy, raw, transport)
        thread = threading.Thread(target=upstream.send, args=(body_of(3 << 20),))
        thread.start()
        assert client.read_exactly(3 << 20) == body_of(3 << 20)
        thread.join()
        client.send(body_of(200000))
        assert upstream.read_exactly(200000) == body_of(200000)
        upstream.send(b"the end")
        thread = threading.Thread(target=upstream.sock.unwrap)  # returns when the other side has said it too
        thread.start()
        assert client.read_to_end() == b"the end"
        client.close()
        thread.join(30)
        assert not thread.is_alive()
        wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "the tunnel is over")
    finally:
        raw.stop()


# --- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_half_close(proxy, raw):
    """Each side is told when the other ends, and may go on."""
    client, upstream = tunnel(proxy, raw)
    client.send(b"last words")
    client.sock.shutdown(socket.SHUT_WR)
    assert upstream.read_to_end() == b"last words"
    upstream.send(body_of(300000))
    upstream.close()
    assert client.read_to_end() == body_of(300000)
    wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "the tunnel is over")
    assert proxy.counters()["aborted"] == 0


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_upstream_ends(proxy, raw, transport):
    """What it sent arrives, then a proper end: with close_notify in TLS."""
    client, upstream = tunnel(proxy, raw, transport)
    upstream.send(body_of(500000))
    upstream.sock.shutdown(socket.SHUT_WR)
    assert client.read_to_end() == body_of(500000)
    if transport == "http":
        client.send(b"still here")
        assert upstream.read_exactly(10) == b"still here"
    client.close()
    wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "the tunnel is over")


@pytest.mark.asan
@pytest.mark.parametrize("who", ["client", "upstream"])
def test_reset(proxy, raw, who):
    client, upstream = tunnel(proxy, raw)
    data = proxy.pid_of("data")
    one, other = (client, upstream) if who == "client" else (upstream, client)
    other.send(b"x")
    assert one.read_exactly(1) == b"x"
    one.reset()
    assert other.is_closed()
    assert proxy.pid_of("data") == data
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["upconns_now"] == 0, "all is closed")


def test_idle_tunnel_is_closed_in_time(ferrule, raw):
    """But one in which something passes now and then, in whatever direction, is not."""
    proxy = ferrule.http(raw, workers=1, extra=timeouts("web", tunnelTimeout="4s", readTimeout="3s", writeTimeout="3s", idleTimeout="3s"))
    (idle, idle_up), (busy, busy_up) = tunnel(proxy, raw), tunnel(proxy, raw)
    began = time.monotonic()
    while proxy.counters()["tunnels_now"] == 2 or time.monotonic() - began < 6:
        assert time.monotonic() - began < 30
        busy_up.send(b"ping")
        assert busy.read_exactly(4) == b"ping"
        time.sleep(0.2)
    for side in (idle, idle_up):  # neither may take it for the other's end
        with pytest.raises(ConnectionResetError):
            side.sock.recv(1)
    assert time.monotonic() - began > 3.9
    busy.send(b"pong")
    assert busy_up.read_exactly(4) == b"pong" and proxy.counters()["timeouts"] == 1
    busy.close()


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_drain(ferrule, raw, certificate, transport):
    """A tunnel goes on while others drain, until the grace time is over."""
    lines = "".join(f'[entryPoints.{name}.transport.lifeCycle]\ngraceTimeOut = "4s"\n' for name in ("web", "websecure"))
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, extra=lines)
    client, upstream = tunnel(proxy, raw, transport)
    asked = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses(proxy), "the port is closed")
    client.send(b"still")
    assert upstream.read_exactly(5) == b"still"
    upstream.send(b"there")
    assert client.read_exactly(5) == b"there"
    assert upstream.is_closed()
    with pytest.raises((Closed, AssertionError)):  # (an end without close_notify is not a proper one)
        assert client.read_to_end() is None
    assert time.monotonic() - asked > 3.5
    proxy.stop()


def refuses(proxy):
    try:
        proxy.connect("web").close()
        return False
    except OSError:
        return True


# --- who may switch ------------------------------------------------------------------------------------------------------


def test_upstream_that_does_not_switch(proxy, raw):
    """Its answer is an answer like any other, and the connection goes on with HTTP."""
    with proxy.connect("web") as client:
        ask(client)
        upstream = raw.accept("HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno")
        response = client.read_response()
        assert (response.status, response.body) == (426, b"no")
        client.send(head(first="GET /next HTTP/1.1"))
        assert upstream.read_line() == b"GET /next HTTP/1.1"
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert client.read_response().body == b"hi"
        assert proxy.counters()["tunnels"] == 0


@pytest.mark.asan
@pytest.mark.parametrize("answer", [
    SWITCH.replace("websocket", "other"), SWITCH.replace("Upgrade: websocket\r\n", ""), SWITCH.replace("Connection: upgrade\r\n", ""),
    SWITCH.replace("websocket", "websocket, other"), SWITCH.replace("websocket", ""),
    SWITCH.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n"), SWITCH.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n")],
    ids=["other protocol", "no Upgrade", "no Connection", "list", "empty", "length", "coding"])
def test_switch_that_both_sides_do_not_agree_on(proxy, raw, answer):
    """502: a client that goes on with HTTP must not meet an upstream that does not, nor the other way round."""
    with proxy.connect("web") as client:
        ask(client)
        upstream = raw.accept(answer)
        assert client.read_response().status == 502
        assert upstream.is_closed()
        counters = proxy.counters()
        assert counters["tunnels"] == 0 and counters["upstream_failed"] == 1 and counters["upstream_bad"] == 1


@pytest.mark.parametrize("request_head", [
    head(*HANDSHAKE.rstrip().split("\r\n"), first="GET / HTTP/1.0"),
    head(*HANDSHAKE.rstrip().split("\r\n"), "Content-Length: 5") + "hello",
    head(*HANDSHAKE.rstrip().split("\r\n"), "Transfer-Encoding: chunked") + "0\r\n\r\n",
    head(*HANDSHAKE.rstrip().replace("Upgrade: websocket", "Upgrade: websocket, other").split("\r\n")),
    head(*HANDSHAKE.rstrip().split("\r\n"), "Upgrade: other"),
    head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    head("Connection: Upgrade", "Upgrade: TLS/1.2"), head("Connection: Upgrade", "Upgrade: HTTP/2.0"),
    head("Connection: Upgrade", "Upgrade: " + "x" * 40), head("Upgrade: websocket")],
    ids=["HTTP/1.0", "length", "chunked", "list", "two fields", "h2c", "TLS", "HTTP", "long", "no Connection"])
def test_requests_whose_upgrade_is_not_passed_on(proxy, raw, request_head):
    """They are requests like any other; an upstream that switches all the same is refused."""
    with proxy.connect("web") as client:
        client.send(request_head)
        upstream = raw.accept(answer=None)
        assert "upgrade" not in upstream.head.lower()
        if "chunked" in request_head or "hello" in request_head:
            upstream.read_exactly(5)
        upstream.send(SWITCH)
        assert client.read_response().status == 502
    assert proxy.counters()["upstream_rule_switch_unasked"] == 1


def test_any_protocol_that_both_sides_agree_on(proxy, raw):
    """The name's case does not matter."""
    with proxy.connect("web") as client:
        client.send(head("Connection: upgrade", "Upgrade: My-Protocol/2.0"))
        upstream = raw.accept(SWITCH.replace("websocket", "my-protocol/2.0"))
        assert "Upgrade: My-Protocol/2.0" in upstream.head
        assert client.read_response().status == 101
        client.send(b"bytes")
        assert upstream.read_exactly(5) == b"bytes"


def test_client_that_leaves_before_the_switch(proxy, raw):
    client = proxy.connect("web")
    ask(client)
    upstream = raw.accept(answer=None)
    client.reset()
    assert upstream.is_closed()
    with pytest.raises((Closed, OSError)):
        upstream.send(SWITCH)
        upstream.read_exactly(1)
