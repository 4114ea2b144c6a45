# SPDX-License-Identifier: Apache-2.0
"""WebSocket on a stream of HTTP/2 (RFC 8441): extended CONNECT becomes an upgrade at the upstream, DATA the tunnel. Each
proxy here has one worker, so that what harms one connection would harm all."""

import base64
import hashlib
import json
import signal
import socket
import struct
import threading
import time

import pytest

from lib import h2raw
from lib.h2raw import frame
from lib.hostile import HOST, Witness, timeouts
from lib.origin import body_of
from lib.proc import wait_until
from lib.websocket import EchoServer, RawServer, accept_of, key_of, switch_for

TRANSPORTS = ["plain", "tls"]


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue(HOST)


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


def connect(proxy, transport="tls", **options):
    return h2raw.connect(proxy.port({"plain": "web", "tls": "websecure"}[transport]), transport, **options)


class Tunnel:
    """A client's end: one stream of a connection that may have others."""

    def __init__(self, client, stream):
        self.client, self.stream = client, stream
        self.response = client.wait_head(stream)
        self.taken = 0

    def send(self, data, end=False):
        self.client.upload(self.stream, data, end=end)

    def read_exactly(self, count):
        self.client.read_until(lambda: len(self.response.body) - self.taken >= count or self.response.ended
                               or self.response.reset is not None)
        data = self.response.body[self.taken:self.taken + count]
        assert len(data) == count, (len(data), self.response.ended, self.response.reset)
        self.taken += count
        return data

    def read_to_end(self):
        self.client.wait(self.stream)
        assert self.response.ended
        return self.response.body[self.taken:]


def tunnel(proxy, raw, transport="tls", client=None, answer=switch_for, **options):
    """A client and an upstream that have switched."""
    client = client or connect(proxy, transport)
    stream = client.open_websocket(**options)
    upstream = raw.accept(answer)
    end = Tunnel(client, stream)
    assert end.response.status == 200
    return end, upstream


# --- one WebSocket --------------------------------------------------------------------------------------------------


def message(payload, opcode=2):
    """A masked frame, as clients send them."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 else b"\xff" + struct.pack(">Q", size)
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload


def read_message(end):
    first, length = end.read_exactly(2)
    if length == 126:
        (length,) = struct.unpack(">H", end.read_exactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", end.read_exactly(8))
    return first & 15, end.read_exactly(length)


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_come_back(ferrule, echo, certificate, transport):
    """With a server that knows nothing of HTTP/2."""
    proxy = ferrule.both(echo, certificates=[certificate], workers=1)
    with connect(proxy, transport) as client:
        client.ping()
        assert client.settings[h2raw.ENABLE_CONNECT_PROTOCOL] == 1
        end = Tunnel(client, client.open_websocket("/chat?a=b"))
        assert end.response.status == 200
        names = [name for name, _ in end.response.headers]
        assert not {"sec-websocket-accept", "connection", "upgrade", "content-length"} & set(names)
        for size in (0, 5, 125, 126, 65535, 65536, 1 << 20):
            end.send(message(body_of(size)))
            assert read_message(end) == (2, body_of(size))
        counters = proxy.counters()
        assert (counters["tunnels_now"], counters["tunnels_h2"]) == (1, 1)
        end.send(message(b"\x03\xe8", opcode=8))
        assert read_message(end)[0] == 8
        assert end.read_to_end() == b""  # the server closes its connection then
    fields = echo.heads[0]
    assert fields["X-Forwarded-Proto"] == ("wss" if transport == "tls" else "ws") and fields["Host"] == HOST
    counters = wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["conns_now"] == 0 and c, "all is closed")
    assert (counters["tunnels"], counters["aborted"], counters["upstream_failed"], counters["responses_2xx"]) == (1, 0, 0, 1)


@pytest.mark.asan
def test_what_the_upstream_is_asked(proxy, raw):
    """A GET with a key of ferrule's; the client's own is nobody's."""
    client = connect(proxy)
    keys = set()
    for _ in range(3):
        more = [("sec-websocket-protocol", "chat, superchat"), ("sec-websocket-extensions", "permessage-deflate"),
                ("origin", "https://example.test"), ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="), ("cookie", "a=1"), ("cookie", "b=2")]
        end, upstream = tunnel(proxy, raw, client=client, path="/chat?x=y", more=more,
                               answer=lambda head: switch_for(head, "Sec-WebSocket-Protocol: chat\r\n"))
        lines = upstream.head.split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        assert lines[0] == "GET /chat?x=y HTTP/1.1" and len(fields) == len(lines) - 1
        assert (fields["host"], fields["upgrade"], fields["connection"]) == (HOST, "websocket", "upgrade")
        assert fields["sec-websocket-version"] == "13" and fields["sec-websocket-protocol"] == "chat, superchat"
        assert fields["sec-websocket-extensions"] == "permessage-deflate" and fields["cookie"] == "a=1; b=2"
        assert "transfer-encoding" not in fields and "content-length" not in fields
        key = key_of(upstream.head)
        assert len(base64.b64decode(key, validate=True)) == 16 and not key.startswith("AAAAA")
        keys.add(key)
        assert end.response.header("sec-websocket-protocol") == "chat"
    assert len(keys) == 3
    client.close()


@pytest.mark.asan
def test_routing_and_middlewares_see_a_get(ferrule, raw, certificate, folder):
    """Its method, its path, and that it asks for a WebSocket; the access log shows the way it took."""
    extra = f"""
[entryPoints.websecure.http]
middlewares = ["strip"]
[http.middlewares.strip.stripPrefix]
prefixes = ["/app"]
[accessLog]
filePath = "{folder}/access.log"
format = "json"
"""
    rule = "Method(`GET`) && PathPrefix(`/app`) && Header(`Upgrade`, `websocket`) && Header(`Connection`, `Upgrade`)"
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, rule=rule, extra=extra)
    end, upstream = tunnel(proxy, raw, path="/app/live")
    assert upstream.head.startswith("GET /live HTTP/1.1\r\n")
    upstream.send(b"up and running")
    assert end.read_exactly(14) == b"up and running"
    assert end.client.wait(end.client.open_websocket(path="/other")).status == 404
    end.client.close()
    wait_until(lambda: (folder / "access.log").exists() and (folder / "access.log").read_text().count("\n") == 2, "two lines")
    entries = [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]
    entry = next(e for e in entries if e["RequestPath"] == "/app/live")
    assert (entry["RequestMethod"], entry["RequestProtocol"]) == ("GET", "HTTP/2.0")
    assert (entry["DownstreamStatus"], entry["OriginStatus"]) == (200, 101)


@pytest.mark.asan
def test_tunnels_and_requests_share_a_connection(ferrule, raw, origin, certificate):
    """None waits for another."""
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, rule="PathPrefix(`/live`)", extra=f"""
[http.routers.rest]
rule = "PathPrefix(`/`)"
priority = 1
service = "rest"
tls = {{}}
[[http.services.rest.loadBalancer.servers]]
url = "{origin.url}"
""")
    client = connect(proxy)
    ends = [tunnel(proxy, raw, client=client, path=f"/live/{n}") for n in range(20)]
    for n, (end, upstream) in enumerate(ends):
        end.send(b"%d up" % n)
        assert upstream.read_exactly(len(b"%d up" % n)) == b"%d up" % n
    assert client.exchange("GET", "/bytes/300000").body == body_of(300000)
    for n, (end, upstream) in enumerate(ends):
        upstream.send(body_of(10000 + n))
    for n, (end, upstream) in enumerate(ends):
        assert end.read_exactly(10000 + n) == body_of(10000 + n)
    assert client.exchange("POST", "/echo", body=body_of(200000)).status == 200
    counters = proxy.counters()
    assert counters["tunnels_now"] == 20 and counters["conns_now"] == 1 and counters["tunnels_h2"] == 20
    client.close()
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["streams_now"] == 0 and c["upconns_now"] <= 2, "all is closed")


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bytes_around_the_switch_are_not_lost(proxy, raw, transport):
    """Those of a client that does not wait for the 200, and those that an upstream sends with its 101."""
    with connect(proxy, transport) as client:
        early = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" + body_of(20000)
        stream = client.open_websocket()
        client.upload(stream, early, end=False)
        upstream = raw.accept(answer=None)
        client.ping()  # (what a worse proxy would do with the bytes, it would do now)
        upstream.send(switch_for(upstream.head).encode() + b"first bytes")
        end = Tunnel(client, stream)
        assert end.read_exactly(11) == b"first bytes"
        assert upstream.read_exactly(len(early)) == early
        end.send(b"later")
        assert upstream.read_exactly(5) == b"later"
    assert len(raw.accepted) == 1


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_slow_client_takes_bounded_memory(proxy, raw, transport):
    """A client that gives no credit holds its upstream back, and other streams go on."""
    client = connect(proxy, transport)
    (slow, slow_up), (quick, quick_up) = tunnel(proxy, raw, client=client), tunnel(proxy, raw, client=client)
    client.credit = False
    data, want, sent = body_of(1 << 20), 64, []
    before_kb = proxy.resident_kb()

    def send():
        for n in range(want):
            slow_up.send(data)
            sent.append(n)
    slow_up.sock.settimeout(60)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    client.read_until(lambda: len(slow.response.body) == 65535)  # the stream's whole window, and the connection's
    client.send(frame(h2raw.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20)))
    last = [-1, 0.0]

    def is_stuck():
        if len(sent) != last[0]:
            last[:] = len(sent), time.monotonic()
        return time.monotonic() - last[1] > 1
    wait_until(is_stuck, "the sender is held back")
    assert len(sent) < want - 20
    assert proxy.resident_kb() - before_kb < 24 * 1024  # of 64 MB (sanitizers take their part)
    quick_up.send(b"quick")
    assert quick.read_exactly(5) == b"quick"
    quick.send(b"and back")
    assert quick_up.read_exactly(8) == b"and back"
    client.credit = True
    client.send(frame(h2raw.WINDOW_UPDATE, 0, slow.stream, struct.pack(">I", 65535)))
    digest = hashlib.sha256()
    for _ in range(want):
        digest.update(slow.read_exactly(len(data)))
        slow.response.body, slow.taken = slow.response.body[slow.taken:], 0
    thread.join()
    assert digest.digest() == hashlib.sha256(data * want).digest()
    client.close()


@pytest.mark.asan
def test_slow_upstream_stops_the_client(proxy, raw):
    """It gets no credit for what the upstream has not taken; other streams go on, and nothing is lost."""
    client = connect(proxy)
    (slow, slow_up), (quick, quick_up) = tunnel(proxy, raw, client=client), tunnel(proxy, raw, client=client)
    slow_up.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    data, sent = body_of(1 << 20), 0
    before_kb = proxy.resident_kb()
    client.ping()
    while True:  # until no credit comes for a second
        window = min(client.windows[0], client.windows.get(slow.stream, client.initial_window()))
        if window > 0:
            n = min(window, 16384)
            client.upload(slow.stream, (data * 2)[sent % len(data):][:n], end=False)
            sent += n
            assert sent < 64 << 20, "nothing holds the client back"
            continue
        client.sock.settimeout(1)
        try:
            client.read_frame()
        except TimeoutError:
            break
        finally:
            client.sock.settimeout(h2raw.TIMEOUT_S)
    assert proxy.resident_kb() - before_kb < 24 * 1024  # (sanitizers take their part)
    if client.windows[0] > 0:
        quick.send(b"quick")
        assert quick_up.read_exactly(5) == b"quick"
    quick_up.send(b"and back")
    assert quick.read_exactly(8) == b"and back"
    whole = data * (sent // len(data) + 1)
    assert slow_up.read_exactly(sent) == whole[:sent]
    slow.send(b"goes on")
    assert slow_up.read_exactly(7) == b"goes on"
    client.close()


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_both_ways_at_once(proxy, raw, transport):
    end, upstream = tunnel(proxy, raw, transport)
    data, got = body_of(6 << 20), []
    threads = [threading.Thread(target=upstream.send, args=(data,)),
               threading.Thread(target=lambda: got.append(upstream.read_exactly(len(data))))]
    for thread in threads:
        thread.start()
    for at in range(0, len(data), 100000):
        end.send(data[at:at + 100000])
    assert end.read_exactly(len(data)) == data
    for thread in threads:
        thread.join()
    assert got == [data]
    end.client.close()


# --- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_client_ends_its_side(proxy, raw):
    """END_STREAM is told the upstream as the end of its connection's one half; it may go on with the other."""
    end, upstream = tunnel(proxy, raw)
    end.send(b"last words", end=True)
    assert upstream.read_to_end() == b"last words"
    upstream.send(body_of(300000))
    upstream.close()
    assert end.read_to_end() == body_of(300000) and end.response.reset is None
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["streams_now"] == 0, "the tunnel is over")
    assert proxy.counters()["aborted"] == 0
    assert end.client.exchange("GET", "/", fields=end.client.fields("CONNECT")).status in (None, 501)  # the connection lives
    end.client.close()


@pytest.mark.asan
def test_upstream_ends_its_side(proxy, raw):
    """The client is told by END_STREAM, and may go on with its half."""
    end, upstream = tunnel(proxy, raw)
    upstream.send(body_of(500000))
    upstream.sock.shutdown(socket.SHUT_WR)
    assert end.read_to_end() == body_of(500000)
    end.client.ping()
    assert end.response.reset is None
    end.send(b"still here")
    assert upstream.read_exactly(10) == b"still here"
    end.send(b"", end=True)
    assert upstream.read_to_end() == b""
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["streams_now"] == 0, "the tunnel is over")
    assert proxy.counters()["aborted"] == 0
    end.client.close()


@pytest.mark.asan
def test_upstream_closes_at_once(proxy, raw):
    """Both sides of the stream end: what the client still sends has no reader."""
    end, upstream = tunnel(proxy, raw)
    upstream.send(b"bye")
    upstream.close()
    assert end.read_to_end() == b"bye"
    end.send(b"x" * 1000)
    end.send(b"y" * 1000, end=True)
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["streams_now"] == 0 and c["upconns_now"] == 0, "it is over")
    end.client.ping()
    end.client.close()


@pytest.mark.asan
def test_client_resets_its_stream(proxy, raw):
    """In the middle of much data both ways."""
    client = connect(proxy)
    (end, upstream), (other, other_up) = tunnel(proxy, raw, client=client), tunnel(proxy, raw, client=client)
    sender = threading.Thread(target=send_until_closed, args=(upstream,))
    sender.start()
    end.send(body_of(50000))
    end.read_exactly(200000)
    client.send_frame(h2raw.RST_STREAM, 0, end.stream, struct.pack(">I", h2raw.CANCEL))
    sender.join(30)
    assert not sender.is_alive()
    other_up.send(b"alive")
    assert other.read_exactly(5) == b"alive"
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 1 and c["upconns_now"] == 1 and c["streams_now"] == 1, "one is left")
    client.close()


def send_until_closed(connection):
    try:
        while True:
            connection.send(body_of(65536))
    except OSError:
        pass


@pytest.mark.asan
def test_upstream_resets_its_connection(proxy, raw):
    """RST_STREAM with CANCEL (RFC 8441 section 5); the client's connection goes on."""
    client = connect(proxy)
    (end, upstream), (other, other_up) = tunnel(proxy, raw, client=client), tunnel(proxy, raw, client=client)
    upstream.send(b"x")
    assert end.read_exactly(1) == b"x"
    upstream.reset()
    assert client.wait(end.stream).reset == h2raw.CANCEL
    other_up.send(b"alive")
    assert other.read_exactly(5) == b"alive"
    counters = proxy.counters()
    assert counters["aborted"] == 1 and counters["tunnels_now"] == 1
    client.close()


@pytest.mark.asan
def test_client_closes_its_connection(proxy, raw):
    """Every tunnel of it ends."""
    client = connect(proxy)
    ends = [tunnel(proxy, raw, client=client) for _ in range(5)]
    client.close()
    for _, upstream in ends:
        assert upstream.is_closed()
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["conns_now"] == 0 and c["upconns_now"] == 0, "all is closed")


def test_idle_tunnel_is_closed_in_time(ferrule, raw, certificate):
    """But one in which something passes now and then is not; nor do the limits of requests count."""
    times = timeouts("websecure", tunnelTimeout="4s", readTimeout="3s", writeTimeout="3s", idleTimeout="3s")
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, extra=times)
    client = connect(proxy)
    (idle, idle_up), (busy, busy_up) = tunnel(proxy, raw, client=client), tunnel(proxy, raw, client=client)
    began = time.monotonic()
    while proxy.counters()["tunnels_now"] == 2 or time.monotonic() - began < 6:
        assert time.monotonic() - began < 30
        busy_up.send(b"ping")
        assert busy.read_exactly(4) == b"ping"
        time.sleep(0.2)
    assert idle_up.is_closed() and time.monotonic() - began > 3.9
    assert client.wait(idle.stream).reset == h2raw.CANCEL
    busy.send(b"pong")
    assert busy_up.read_exactly(4) == b"pong" and proxy.counters()["timeouts"] == 1
    client.close()


def test_client_that_takes_nothing_keeps_its_tunnel_until_it_is_idle(ferrule, raw, certificate):
    """No limit of a response counts; that of tunnels does."""
    times = timeouts("websecure", tunnelTimeout="4s", writeTimeout="1s", idleTimeout="1s")
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, extra=times)
    client = connect(proxy, options=[(h2raw.INITIAL_WINDOW_SIZE, 10)])
    end, upstream = tunnel(proxy, raw, client=client)
    client.credit = False
    began = time.monotonic()
    upstream.send(body_of(1000))
    assert end.read_exactly(10) == body_of(1000)[:10]
    wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "the tunnel is closed")
    assert time.monotonic() - began > 3.5
    assert upstream.is_closed()
    client.close()


@pytest.mark.asan
def test_drain(ferrule, raw, certificate):
    """GOAWAY tells that no stream is taken any more; a tunnel goes on until the grace time is over."""
    lines = '[entryPoints.websecure.transport.lifeCycle]\ngraceTimeOut = "4s"\n'
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, extra=lines)
    end, upstream = tunnel(proxy, raw)
    asked = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    end.client.read_until(lambda: end.client.goaway is not None and end.client.last_stream == end.stream)
    assert end.client.goaway == h2raw.NO_ERROR
    end.send(b"still")
    assert upstream.read_exactly(5) == b"still"
    upstream.send(b"there")
    assert end.read_exactly(5) == b"there"
    assert upstream.is_closed()
    end.client.wait_closed()
    assert time.monotonic() - asked > 3.5 and not end.response.ended
    proxy.stop()


def test_drain_ends_with_the_last_tunnel(ferrule, raw, certificate):
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, extra='[entryPoints.websecure.transport.lifeCycle]\ngraceTimeOut = "60s"\n')
    end, upstream = tunnel(proxy, raw)
    proxy.process.send_signal(signal.SIGTERM)
    end.client.read_until(lambda: end.client.goaway is not None and end.client.last_stream == end.stream)
    end.send(b"", end=True)
    assert upstream.read_to_end() == b""
    upstream.close()
    assert end.client.wait_closed() == h2raw.NO_ERROR and end.response.ended
    proxy.stop()


# --- who may switch ------------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("status", [302, 401, 403, 404, 426, 500, 503])
def test_upstream_that_declines(proxy, raw, status):
    """Its answer is passed on like any other, body and all; connections go on."""
    with connect(proxy) as client:
        stream = client.open_websocket()
        raw.accept(f"HTTP/1.1 {status} No\r\nUpgrade: other\r\nConnection: upgrade, close\r\nX-Why: because\r\nContent-Length: 5\r\n\r\nsorry")
        response = client.wait(stream)
        assert (response.status, response.body, response.header("x-why")) == (status, b"sorry", "because")
        end, upstream = tunnel(proxy, raw, client=client)
        upstream.send(b"x")
        assert end.read_exactly(1) == b"x"
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["streams_now"] == 0, "all is closed")


@pytest.mark.asan
@pytest.mark.parametrize("answer", ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n\r\n",
                                    "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101"], ids=["200", "204", "to the end"])
def test_success_without_a_switch_is_no_tunnel(proxy, raw, answer):
    """A 200 would tell the client that it has one."""
    with connect(proxy) as client:
        stream = client.open_websocket()
        raw.accept(answer)
        assert client.wait(stream).status == 502
        assert proxy.counters()["upstream_rule_switch_declined"] == 1 and proxy.counters()["tunnels"] == 0


@pytest.mark.asan
@pytest.mark.parametrize("change", [
    lambda s, k: s.replace(accept_of(k), accept_of(k[::-1])), lambda s, k: s.replace(accept_of(k), ""),
    lambda s, k: s.replace(f"Sec-WebSocket-Accept: {accept_of(k)}\r\n", ""), lambda s, k: s.replace(accept_of(k), accept_of(k).lower()),
    lambda s, k: s.replace("Upgrade: websocket", "Upgrade: other"), lambda s, k: s.replace("Connection: upgrade\r\n", ""),
    lambda s, k: s.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n")],
    ids=["other key", "empty", "none", "case", "other protocol", "no Connection", "length"])
def test_switch_that_does_not_answer_the_key(proxy, raw, change):
    """502: such an upstream has not understood what it was asked for (RFC 6455 section 4.1)."""
    with connect(proxy) as client:
        stream = client.open_websocket()
        raw.accept(lambda head: change(switch_for(head), key_of(head)))
        response = client.wait(stream)
        assert response.status == 502
        counters = proxy.counters()
        assert counters["upstream_rule_switch_unasked"] + counters["upstream_rule_body_forbidden"] == 1
        assert counters["tunnels"] == 0


def test_our_own_success_is_no_tunnel(ferrule, raw, certificate):
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, extra='[ping]\nentryPoint = "web"\n')
    with connect(proxy, "plain") as client:
        assert client.exchange("GET", "/ping").status == 200
        assert client.wait(client.open_websocket("/ping")).status == 501


def test_upstream_that_does_not_answer(ferrule, raw, certificate):
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, service='serversTransport = "quick"',
                         extra='[http.serversTransports.quick.forwardingTimeouts]\nresponseHeaderTimeout = "1s"')
    with connect(proxy) as client:
        stream = client.open_websocket()
        upstream = raw.accept(answer=None)
        assert client.wait(stream).status == 504
        assert upstream.is_closed()


@pytest.mark.asan
def test_client_that_leaves_before_the_switch(proxy, raw):
    with connect(proxy) as client:
        stream = client.open_websocket()
        upstream = raw.accept(answer=None)
        client.data(stream, b"early")
        client.send_frame(h2raw.RST_STREAM, 0, stream, struct.pack(">I", h2raw.CANCEL))
        assert upstream.is_closed()
        wait_until(lambda: (c := proxy.counters())["streams_now"] == 0 and c["upconns_now"] == 0, "all is closed")
        client.ping()


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("protocol", ["connect-udp", "webtransport", "websocket2", "http", "h2c"])
def test_other_protocols(proxy, raw, protocol):
    """501 (RFC 9220 section 3 says so of HTTP/3); the connection goes on."""
    with connect(proxy) as client:
        assert client.wait(client.open_websocket(protocol=protocol)).status == 501
        assert proxy.counters()["rule_connect_protocol"] == 1
        end, _ = tunnel(proxy, raw, client=client, protocol="WebSocket")  # names of protocols have no case
        assert end.response.status == 200
    assert len(raw.accepted) == 1


@pytest.mark.asan
@pytest.mark.parametrize("case", ["length", "length 0", "ends"])
def test_connect_that_announces_a_body(proxy, raw, case):
    with connect(proxy) as client:
        more = [("content-length", "5" if case == "length" else "0")] if case != "ends" else []
        stream = client.open(end=case == "ends", fields=client.connect_fields(more=more))
        assert client.wait(stream).status == 400
        assert proxy.counters()["rule_connect_body"] == 1
        client.ping()
    assert not raw.accepted


def without(fields, name):
    return [(n, v) for n, v in fields if n != name]


@pytest.mark.asan
@pytest.mark.parametrize("case", ["no scheme", "no path", "empty path", "empty protocol", "no authority", "GET", "two protocols", "protocol last", "plain with path"])
def test_malformed_connect(proxy, raw, case):
    """Stream errors of type PROTOCOL_ERROR (RFC 9113 section 8.1.1, RFC 8441 section 4); other streams go on."""
    with connect(proxy) as client:
        good = client.connect_fields()
        fields = {
            "no scheme": without(good, ":scheme"), "no path": without(good, ":path"), "no authority": without(good, ":authority"),
            "empty path": [(n, "" if n == ":path" else v) for n, v in good],
            "empty protocol": [(n, "" if n == ":protocol" else v) for n, v in good],
            "GET": [(n, "GET" if n == ":method" else v) for n, v in good],
            "two protocols": [good[0], good[1], *good[1:]], "protocol last": [*without(good, ":protocol"), (":protocol", "websocket")],
            "plain with path": without(good, ":protocol"),
        }[case]
        response = client.wait(client.open(end=False, fields=fields))
        assert response.reset == h2raw.PROTOCOL_ERROR or response.status == 400, (response.reset, response.headers)
        tunnel(proxy, raw, client=client)
    assert len(raw.accepted) == 1


def test_plain_connect_is_refused(proxy, raw):
    with connect(proxy) as client:
        stream = client.open(end=False, fields=[(":method", "CONNECT"), (":authority", "example.test:443")])
        assert client.wait(stream).status == 501
    assert not raw.accepted


# --- hostile clients ------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_flood_of_small_frames_with_a_slow_upstream(ferrule, raw, origin, certificate):
    """One byte in each frame: what the window lets in is all there is, packed; others do not notice."""
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, rule="PathPrefix(`/live`)", extra=rest_of(origin))
    with Witness(proxy) as witness:
        client = connect(proxy)
        ends = [tunnel(proxy, raw, client=client, path="/live") for _ in range(4)]
        for _, upstream in ends:
            upstream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before_kb = proxy.resident_kb()
        client.ping()
        windows = [client.windows.get(end.stream, client.initial_window()) for end, _ in ends]
        for (end, _), window in zip(ends, windows):
            client.send(frame(h2raw.DATA, 0, end.stream, b"x") * min(window, client.windows[0] // 4, 60000))
        client.ping()
        assert proxy.resident_kb() - before_kb < 8 * 1024
        witness.check()
        client.close()


@pytest.mark.asan
def test_more_than_the_window_allows(proxy, raw):
    """FLOW_CONTROL_ERROR."""
    with connect(proxy) as client:
        stream = client.open_websocket()
        upstream = raw.accept(answer=None)  # before it has switched nothing is passed on, so there is no credit
        client.ping()
        size = client.initial_window()
        assert client.windows[0] >= 4 * size
        client.send(frame(h2raw.DATA, 0, stream, bytes(16384)) * (4 * size // 16384 + 1))
        assert client.wait(stream).reset == h2raw.FLOW_CONTROL_ERROR
        assert upstream.is_closed()


@pytest.mark.asan
def test_flood_of_empty_frames_in_a_tunnel(ferrule, raw, origin, certificate):
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, rule="PathPrefix(`/live`)", extra=rest_of(origin))
    with Witness(proxy) as witness:
        end, upstream = tunnel(proxy, raw, path="/live")
        for _ in range(100):
            end.client.send(frame(h2raw.DATA, 0, end.stream) * 100)
        assert end.client.wait_closed() == h2raw.ENHANCE_YOUR_CALM
        witness.wait_grown("h2_empty_frames", 1)
        assert upstream.is_closed()


@pytest.mark.asan
def test_flood_of_tunnels_that_are_reset(ferrule, raw, origin, certificate):
    """Each costs its upstream a connection: the bound of resets holds."""
    proxy = ferrule.both(raw, certificates=[certificate], workers=1, rule="PathPrefix(`/live`)", extra=rest_of(origin) +
                         "[entryPoints.websecure.http2]\nmaxResets = 50\n")
    with Witness(proxy) as witness:
        client = connect(proxy)
        for _ in range(200):
            stream = client.open_websocket("/live")
            client.send_frame(h2raw.RST_STREAM, 0, stream, struct.pack(">I", h2raw.CANCEL))
        assert client.wait_closed() == h2raw.ENHANCE_YOUR_CALM
        witness.wait_grown("h2_resets", 1)
        wait_until(lambda: (c := proxy.counters())["streams_now"] == 0 and c["tunnels_now"] == 0, "nothing is left")


@pytest.mark.asan
def test_headers_in_a_tunnel(proxy, raw):
    """Trailers end the client's side, whatever they say (CONNECT has none: RFC 9113 section 8.5)."""
    end, upstream = tunnel(proxy, raw)
    end.send(b"payload")
    end.client.send_frame(h2raw.HEADERS, h2raw.END_HEADERS | h2raw.END_STREAM, end.stream, end.client.encode([("x-trailer", "1")]))
    assert upstream.read_to_end() == b"payload"
    upstream.close()
    end.client.wait(end.stream)
    end.client.ping()
    end.client.close()


def rest_of(origin):
    """Everything but what the test's router takes goes to an ordinary server."""
    return f"""
[http.routers.rest]
rule = "PathPrefix(`/`)"
entryPoints = ["web"]
priority = 1
service = "rest"
[http.routers.rests]
rule = "PathPrefix(`/`)"
entryPoints = ["websecure"]
priority = 1
service = "rest"
tls = {{}}
[[http.services.rest.loadBalancer.servers]]
url = "{origin.url}"
"""
