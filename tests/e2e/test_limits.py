# SPDX-License-Identifier: Apache-2.0
"""Every limit on what clients may do, each with a client that goes beyond it: what it gets, which counter says so, and
that another connection of the same (and only) worker is served as quickly as before."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from lib import config, h2raw
from lib.h2raw import frame
from lib.hostile import head, open_client, timeouts
from lib.http1 import Closed
from lib.origin import body_of
from lib.pace import SAMPLES, Pace
from lib.proc import wait_until

pytestmark = pytest.mark.asan

ENTRIES = ("web", "websecure")
SHORT = {"headTimeout": "2s", "readTimeout": "2s", "idleTimeout": "2s"}
UNLIMITED = {"headTimeout": "2s", "readTimeout": "0s", "idleTimeout": "2s"}
HELLO = {"handshakeTimeout": "2s"}
POST = "POST /echo HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"
CONNECTIONS = 5  # of each hostile client: a few at a time, and again until others have been measured


@pytest.fixture
def calm(shared_proxy):
    """Another proxy, to compare with."""
    return shared_proxy


@pytest.fixture
def make_limited(ferrule, make_origin, certificate):
    """make_limited(readTimeout="1s", ...): a proxy with these time limits, and with an origin for those who do no harm."""
    def make(**times):
        others = make_origin("others")
        extra = [timeouts(name, **times) for name in ENTRIES]
        extra += [config.router("others", "others", "Host(`others.test`)"), config.service("others", others.url)]
        return ferrule.both(make_origin("origin"), certificates=[certificate], workers=1, extra="\n".join(extra))
    return make


@pytest.fixture
def proxy(make_limited):
    return make_limited()


def together(*clients):
    """Runs what each client does in a thread of its own; raises the first failure."""
    failures = []

    def one(client):
        try:
            client()
        except BaseException as error:  # noqa: BLE001 (raised below)
            failures.append(error)
    threads = [threading.Thread(target=one, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def beyond(proxy, calm, client, counter, connections=CONNECTIONS):
    """Clients go beyond a limit until others have been measured meanwhile; each is counted."""
    before = proxy.counters()[counter]
    rounds = 0
    with Pace(proxy, calm) as others:
        while rounds == 0 or (others.requests < SAMPLES and not others.failure):
            together(*[client] * connections)
            rounds += 1
    wait_until(lambda: proxy.counters()[counter] >= before + rounds * connections, f"{counter} has grown")
    if counter != "timeouts":  # which may come once more while a connection lingers
        assert proxy.counters()[counter] == before + rounds * connections
    wait_until(lambda: proxy.counters()["conns_now"] == 0, "nobody is left")


# --- HTTP/1: what is sent ---------------------------------------------------------------------------------------------


def chunks(count, extension):
    return "".join(f"1;{extension}\r\nx\r\n" for _ in range(count)) + "0\r\n\r\n"


# what: (bytes, status, counter)
TOO_MUCH = {
    "request line": (f"GET /{'a' * 70000} HTTP/1.1\r\n", 414, "rule_request_line_too_long"),
    "no end of line": ("GET /" + "a" * 200000, 414, "rule_request_line_too_long"),
    "head": (head("X-A: " + "a" * 70000), 431, "rule_head_too_large"),
    "fields": (head(*["X-A: 1"] * 500), 431, "rule_too_many_fields"),
    "Connection options": (head("Connection: " + ", ".join(f"x{n}" for n in range(200))), 431, "rule_connection_options"),
    "empty lines": ("\r\n" * 10000 + head(), 400, "rule_blank_lines"),
    "one chunk extension": (head(CHUNKED, first=POST) + f"1;{'x' * 70000}\r\nx\r\n0\r\n\r\n", 400, "rule_chunk_extensions"),
    "many chunk extensions": (head(CHUNKED, first=POST) + chunks(20000, "a=b"), 400, "rule_chunk_extensions"),
    "chunk size": (head(CHUNKED, first=POST) + "f" * 20 + "\r\n", 400, "rule_chunk_size"),
    "one trailer": (head(CHUNKED, first=POST) + "0\r\nX-A: " + "a" * 70000 + "\r\n\r\n", 431, "rule_trailers_too_large"),
    "many trailers": (head(CHUNKED, first=POST) + "0\r\n" + "X-A: 1\r\n" * 20000 + "\r\n", 431, ("rule_trailers_too_large", "rule_too_many_fields")),
}


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_of_http1(proxy, calm, what, transport):
    data, status, counters = TOO_MUCH[what]

    def client():
        with open_client(proxy, transport) as connection:
            with contextlib.suppress(OSError):
                connection.send(data)
            assert connection.read_response().status == status and connection.is_closed()
    names = (counters,) if isinstance(counters, str) else counters
    beyond(proxy, calm, client, names[0])


# --- time -------------------------------------------------------------------------------------------------------------


def slow_head(proxy, transport):
    with open_client(proxy, transport) as client:
        with contextlib.suppress(OSError):  # one byte now and then does not help
            for byte in head(*[f"X-{n}: 1" for n in range(100)])[:60]:
                client.send(byte)
                time.sleep(0.02)
        assert client.read_response().status == 408 and client.is_closed()


def half_a_body(first):
    def client(proxy, transport):
        with open_client(proxy, transport) as connection:
            connection.send(first)
            assert connection.read_response().status == 408 and connection.is_closed()
    return client


def silence(proxy, transport):
    with open_client(proxy, transport) as client:
        assert client.exchange("GET", "/bytes/10").body == body_of(10)
        assert client.read_to_end() == b""


def half_a_hello(proxy, transport):
    with proxy.connect("websecure") as client:
        client.send(b"\x16\x03\x01\x02\x00\x01")
        assert client.is_closed()


def unread_answer(proxy, transport):
    with open_client(proxy, transport) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.request("GET", "/bytes/20000000")
        wait_until(lambda: proxy.counters()["timeouts"] > 0, "the limit is reached")
        with pytest.raises((Closed, OSError)):
            client.read_response()


LENGTH = head("Content-Length: 100", first=POST) + "half of it"
PIECES = head(CHUNKED, first=POST) + "5\r\nhe"
SLOW = {
    "slow head": (slow_head, SHORT), "slow body": (half_a_body(LENGTH), SHORT), "slow chunk": (half_a_body(PIECES), SHORT),
    "slow body without readTimeout": (half_a_body(LENGTH), UNLIMITED), "slow chunk without readTimeout": (half_a_body(PIECES), UNLIMITED),
    "idle": (silence, SHORT), "slow hello": (half_a_hello, HELLO), "answer that nobody reads": (unread_answer, SHORT),
}


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
@pytest.mark.parametrize("what", SLOW)
def test_too_slow_for_http1(make_limited, calm, what, transport):
    client, times = SLOW[what]
    proxy = make_limited(**times)
    beyond(proxy, calm, lambda: client(proxy, transport), "timeouts", 1 if client == unread_answer else CONNECTIONS)


def test_a_body_may_take_its_time_without_read_timeout(make_limited):
    """Its pieces have the idle time each; the whole has none. An upstream that reads slowly is no fault of the client's,
    and once the answer has begun the two may talk as slowly as they like."""
    proxy = make_limited(headTimeout="4s", readTimeout="0s", idleTimeout="4s")
    with proxy.connect() as slow, proxy.connect() as lazy, proxy.connect() as early:
        slow.send(head("Content-Length: 30", first=POST))
        early.send(head("Content-Length: 30", first="POST /early/200 HTTP/1.1"))
        assert early.read_response().status == 200
        upload = threading.Thread(target=lambda: lazy.send(head("Content-Length: 16000000", first="POST /lazy?ms=60&piece=200000 HTTP/1.1").encode() + bytes(16000000)), daemon=True)
        upload.start()
        for _ in range(10):
            slow.send("xxx")
            time.sleep(0.5)
        assert slow.read_response().json()["body_bytes"] == 30
        upload.join()
        assert lazy.read_response().json()["body_bytes"] == 16000000


# --- connections ------------------------------------------------------------------------------------------------------


def test_too_many_connections(ferrule, origin, calm):
    proxy = ferrule.http(origin, extra="[workers]\ncount = 1\nconnections = 64")
    with Pace(proxy, calm) as others, contextlib.ExitStack() as stack:
        others.wait_samples()
        for _ in range(63):
            assert stack.enter_context(proxy.connect()).exchange("GET", "/bytes/1").status == 200
        for _ in range(100):
            with proxy.connect() as client:
                assert client.is_closed()
        others.wait_samples()
    proxy.wait_counter("conns_refused", 100)


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


def resets(client):
    for _ in range(1000):
        client.send_frame(h2raw.RST_STREAM, 0, client.open(path="/never"), struct.pack(">I", h2raw.CANCEL))


def empty_data(client):
    client.send(frame(h2raw.DATA, stream=client.open("POST", "/lazy", end=False)) * 5000)


def continuations(client):
    client.send(frame(h2raw.HEADERS, 0, 1, client.encode(client.fields())) + frame(h2raw.CONTINUATION, 0, 1, client.encode([("x", "y")])) * 100)


def empty_continuations(client):
    client.send(frame(h2raw.HEADERS, 0, 1, client.encode(client.fields())) + frame(h2raw.CONTINUATION, 0, 1) * 100)


def hpack_bomb(client):
    """One large field in the table, then told again and again with one byte each."""
    block = client.encode(client.fields()) + b"\x40\x01x\x7f\x81\x1e" + b"v" * 3968 + b"\xbe" * 12000
    client.send(frame(h2raw.HEADERS, h2raw.END_HEADERS | h2raw.END_STREAM, 1, block))


def broken_requests(client):
    for _ in range(500):
        client.open(fields=client.fields(authority="a:b"))


def malformed_requests(client):
    for _ in range(500):
        client.open(more=[("X-Upper", "1")])


MISUSE = {
    "rapid reset": (resets, "h2_resets"),
    "PING flood": (lambda c: c.send(frame(h2raw.PING, payload=bytes(8)) * 5000), "h2_control_frames"),
    "SETTINGS flood": (lambda c: c.send(frame(h2raw.SETTINGS) * 5000), "h2_control_frames"),
    "PRIORITY flood": (lambda c: c.send(frame(h2raw.PRIORITY, stream=1, payload=bytes(5)) * 5000), "h2_control_frames"),
    "empty DATA": (empty_data, "h2_empty_frames"),
    "CONTINUATION flood": (continuations, "h2_head_frames"),
    "empty CONTINUATION flood": (empty_continuations, "h2_head_frames"),
    "HPACK bomb": (hpack_bomb, "h2_head_bytes"),
    "broken requests": (broken_requests, "h2_glitches"),
    "malformed requests": (malformed_requests, "h2_glitches"),
}


def h2_client(proxy, transport, **options):
    client = h2raw.connect(proxy.port("web" if transport == "http" else "websecure"), "plain" if transport == "http" else "tls", **options)
    client.read_until(lambda: client.settings is not None)
    return client


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
@pytest.mark.parametrize("what", MISUSE)
def test_misuse_of_http2(proxy, calm, what, transport):
    attack, counter = MISUSE[what]

    def client():
        with h2_client(proxy, transport) as connection:
            attack(connection)
            assert connection.wait_closed() in (h2raw.ENHANCE_YOUR_CALM, None)  # None: RST overtook it
    beyond(proxy, calm, client, counter)


def large_list(client):
    block = client.encode(client.fields(more=[(f"x-{n}", "v" * 3000) for n in range(15)]))
    client.send(frame(h2raw.HEADERS, h2raw.END_STREAM, 1, block[:16384]) + frame(h2raw.CONTINUATION, 0, 1, block[16384:32768])
                + frame(h2raw.CONTINUATION, h2raw.END_HEADERS, 1, block[32768:]))
    assert client.wait(1).status == 431


def too_many_streams(client):
    """The client was told the limit in SETTINGS, and said that it knows. What is above it is refused, the rest goes on."""
    client.read_until(lambda: client.acked > 0)
    for _ in range(300):
        client.open(path="/never")
    for stream in range(501, 601, 2):
        assert client.wait(stream).reset == h2raw.REFUSED_STREAM
    assert client._response(499).reset is None and client.goaway is None


def shut_window(client):
    client.credit = False
    response = client.wait(client.open(path="/bytes/5000"))
    assert len(response.body) == 100 and response.reset == h2raw.CANCEL


def slow_upload(client):
    client.data(client.open("POST", "/echo", end=False), b"abc")
    assert client.wait(1).status == 408


def slow_header_section(client):
    client.send(frame(h2raw.HEADERS, 0, 1, client.encode(client.fields())))
    assert client.wait_closed() == h2raw.NO_ERROR


def no_stream(client):
    assert client.wait_closed() == h2raw.NO_ERROR


LIMITS = {
    "header list": (large_list, {}, "responses_4xx"), "shut window": (shut_window, SHORT, "h2_stalled"),
    "slow body": (slow_upload, SHORT, "timeouts"), "slow body without readTimeout": (slow_upload, UNLIMITED, "timeouts"),
    "slow header section": (slow_header_section, SHORT, "timeouts"), "idle": (no_stream, SHORT, "timeouts"),
}


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
@pytest.mark.parametrize("what", LIMITS)
def test_limits_of_http2(make_limited, calm, what, transport):
    attack, times, counter = LIMITS[what]
    proxy = make_limited(**times)

    def client():
        with h2_client(proxy, transport, options=[(h2raw.INITIAL_WINDOW_SIZE, 100)]) as connection:
            attack(connection)
    beyond(proxy, calm, client, counter)


def test_too_many_streams(proxy, calm):
    def client():
        with h2_client(proxy, "tls1.3") as connection:
            too_many_streams(connection)
    with Pace(proxy, calm) as others:
        together(client, client)
        others.wait_samples()
    assert proxy.counters()["streams_opened"] <= 2 * 250
