# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: each kind of it from clients and from upstreams is answered as it should be, counted, and
does no harm to another connection of the same worker. Each proxy here has one worker."""

import contextlib
import random
import socket
import ssl
import subprocess
import time

import pytest

from lib import config, http1, tls
from lib.hello import PiecewiseTls, client_hello, in_records, message_of, with_extension
from lib.hostile import HOST, SEED, Witness, answer, head, impatient, open_client, timeouts
from lib.http1 import Closed
from lib.origin import body_of, raw_path
from lib.proc import free_port, wait_until

pytestmark = pytest.mark.asan


@pytest.fixture
def hurried(ferrule, origin, certificate):
    """As the fixture proxy, for what meets a time limit."""
    return impatient(ferrule, origin, certificate)


# --- bad requests -----------------------------------------------------------------------------------------------


# name: (bytes, status). Behind each goes another request that must never be answered or passed on.
BAD_REQUESTS = {
    "garbage": ("\x00\x01\x02\x03 garbage\r\n\r\n", 400),
    "high bytes": ("\xff\xfe\xfd\xfc\r\n\r\n", 400),
    "a TLS hello": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "a" * 100, 400),
    "no spaces": ("GET\r\n\r\n", 400),
    "no version": (f"GET /\r\nHost: {HOST}\r\n\r\n", (400, 505)),
    "two spaces": (head(first="GET  /x HTTP/1.1"), 400),
    "space in the target": (head(first="GET /x y HTTP/1.1"), (400, 505)),
    "lower-case method": (head(first="get /x HTTP/1.1"), (400, 501)),
    "unknown method": (head(first="BREW /x HTTP/1.1"), 501),
    "CONNECT": (head(first="CONNECT example.test:443 HTTP/1.1"), 501),
    "relative target": (head(first="GET x HTTP/1.1"), 400),
    "asterisk": (head(first="GET * HTTP/1.1"), 400),
    "fragment": (head(first="GET /x#y HTTP/1.1"), 400),
    "other scheme": (head(first="GET ftp://example.test/ HTTP/1.1"), 400),
    "HTTP/2.0": (head(first="GET /x HTTP/2.0"), 505),
    "HTTP/1.2": (head(first="GET /x HTTP/1.2"), 505),
    "HTTP/11": (head(first="GET /x HTTP/11"), (400, 505)),
    "almost the preface of HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", (400, 505)),
    "bare LF everywhere": (f"GET /x HTTP/1.1\nHost: {HOST}\n\n", 400),
    "bare LF behind a field": (f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\nX-B: 2\r\n\r\n", 400),
    "bare LF at the end": (f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\n", 400),
    "bare CR": (f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\rX-B: 2\r\n\r\n", 400),
    "NUL in a value": (head("X-A: 1\x002"), 400),
    "NUL in a name": (head("X\x00A: 1"), 400),
    "DEL in a value": (head("X-A: 1\x7f"), 400),
    "space before the colon": (head("X-A : 1"), 400),
    "space before Content-Length's colon": (head("Content-Length : 5"), 400),
    "folded field": (head("X-A: 1", " folded"), 400),
    "space before the first field": (head(" X-A: 1", host=None), 400),
    "empty name": (head(": 1"), 400),
    "no colon": (head("X-A"), 400),
    "name with a bracket": (head("X[A]: 1"), 400),
    "no Host": (head(host=None), 400),
    "two Hosts": (head(f"Host: {HOST}"), 400),
    "two different Hosts": (head("Host: other.test"), 400),
    "empty Host": (head(host="Host:"), 400),
    "Host with a path": (head(host="Host: example.test/x"), 400),
    "Host with a user": (head(host="Host: user@example.test"), 400),
    "Host list": (head(host="Host: a.test, b.test"), 400),
    "Host with a bad port": (head(host="Host: example.test:99999"), 400),
    "Content-Length and Transfer-Encoding": (head("Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400),
    "Transfer-Encoding and Content-Length": (head("Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n", 400),
    "two equal lengths": (head("Content-Length: 5", "Content-Length: 5") + "hello", 400),
    "two different lengths": (head("Content-Length: 5", "Content-Length: 6") + "hello", 400),
    "length list": (head("Content-Length: 5, 5") + "hello", 400),
    "negative length": (head("Content-Length: -1"), 400),
    "length with plus": (head("Content-Length: +5") + "hello", 400),
    "length in hex": (head("Content-Length: 0x5") + "hello", 400),
    "empty length": (head("Content-Length:"), 400),
    "huge length": (head("Content-Length: 99999999999999999999999"), 400),
    "gzip coding": (head("Transfer-Encoding: gzip"), 501),
    "gzip and chunked": (head("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n", 501),
    "chunked twice": (head("Transfer-Encoding: chunked, chunked") + "0\r\n\r\n", 400),
    "chunked not last": (head("Transfer-Encoding: chunked, gzip") + "0\r\n\r\n", 400),
    "two codings": (head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400),
    "misspelt coding": (head("Transfer-Encoding: xchunked"), (400, 501)),
    "coding with a vertical tab": (head("Transfer-Encoding: \x0bchunked") + "0\r\n\r\n", 400),
    "chunked in HTTP/1.0": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.0") + "0\r\n\r\n", 400),
    "chunk size with letters": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "5z\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size in 0x": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "0x5\r\nhello\r\n0\r\n\r\n", 400),
    "negative chunk size": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "-5\r\nhello\r\n0\r\n\r\n", 400),
    "huge chunk size": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "f" * 17 + "\r\nhello\r\n0\r\n\r\n", 400),
    "chunk longer than its size": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "4\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size with bare LF": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "5\nhello\r\n0\r\n\r\n", 400),
    "chunk with bare LF": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "5\r\nhello\n0\r\n\r\n", 400),
    "long chunk extension": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "5;" + "x" * 70000 + "\r\nhello\r\n0\r\n\r\n", 400),
    "length in the trailers": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "0\r\nContent-Length: 5\r\n\r\n", 400),
    "garbage in the trailers": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "0\r\ngarbage\r\n\r\n", 400),
    "64 KB of trailers": (head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + "0\r\nX-A: " + "x" * 65536 + "\r\n\r\n", (400, 431)),
    "64 KB field": (head("X-A: " + "x" * 65536), 431),
    "64 KB of fields": (head(*[f"X-{n}: {'x' * 100}" for n in range(600)]), 431),
    "1,000 fields": (head(*[f"X-{n}: 1" for n in range(1000)]), 431),
    "64 KB target": (head(first=f"GET /{'x' * 65536} HTTP/1.1"), 414),
    "1 MB without an end of line": ("GET /" + "x" * (1 << 20), 414),
    "many Connection options": (head("Connection: " + ", ".join(f"x{n}" for n in range(100))), 431),
    "unknown expectation": (head("Expect: the-spanish-inquisition"), 417),
    "many empty lines": ("\r\n" * 100 + head(), 400),
}
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"


def answers_of(client, data):
    """Sends all and reads until the other side closes: the statuses of all answers, and how it ended."""
    statuses, end = [], "closed"
    try:
        client.send(data)
    except OSError:
        pass  # the answer came first and the connection is closing
    try:
        while True:
            statuses.append(client.read_response().status)
    except Closed as closed:
        if closed.got:
            end = f"cut in {closed.got[-40:]!r}"
    except (OSError, AssertionError) as error:
        end = f"{type(error).__name__}: {error}"
    return statuses, end


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_bad_requests(proxy, origin, transport):
    wrong = []
    with Witness(proxy) as witness:
        for name, (data, expected) in BAD_REQUESTS.items():
            bad = witness.grown("requests_bad")
            with open_client(proxy, transport) as client:
                statuses, end = answers_of(client, data + SMUGGLED)
            allowed = expected if isinstance(expected, tuple) else (expected,)
            if len(statuses) != 1 or statuses[0] not in allowed or end != "closed":
                wrong.append(f"{name}: {statuses}, {end}; expected {expected}")
            if witness.grown("requests_bad") != bad + 1:
                wrong.append(f"{name}: counted {witness.grown('requests_bad') - bad} times")
        assert wrong == []
    assert [r.target for r in origin.requests if "smuggled" in r.target or r.complete and r.target != "/bytes/5000"] == []


def test_bad_requests_one_byte_at_a_time(proxy):
    """The same judgement when the bytes come one by one."""
    names = [name for name, (data, _) in BAD_REQUESTS.items() if len(data) < 300]
    wrong = []
    with Witness(proxy):
        for name in names:
            data, expected = BAD_REQUESTS[name]
            with proxy.connect() as client:
                with contextlib.suppress(OSError):
                    for byte in data:
                        client.send(byte)
                statuses, _ = answers_of(client, SMUGGLED)
            allowed = expected if isinstance(expected, tuple) else (expected,)
            if len(statuses) != 1 or statuses[0] not in allowed:
                wrong.append(f"{name}: {statuses}; expected {expected}")
    assert wrong == []


def test_head_size_limit_is_exact(ferrule, origin):
    proxy = ferrule.http(origin, entry="[entryPoints.web.http]\nmaxHeaderBytes = 2048", workers=1)
    fixed = len(head("X-A: "))
    for size, status in ((2047, 200), (2048, 200), (2049, 431), (10000, 431)):
        with proxy.connect() as client:
            client.send(head("X-A: " + "x" * (size - fixed)))
            assert client.read_response().status == status, size


def test_good_request_before_a_bad_one_is_answered(proxy):
    with Witness(proxy) as witness, proxy.connect() as client:
        statuses, end = answers_of(client, head() + "bad\r\n\r\n" + SMUGGLED)
        assert (statuses, end) == ([200, 400], "closed") and witness.grown("requests_bad") == 1
        assert proxy.status()["counters"] == proxy.counters()


# --- slow and vanishing clients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["http", "tls1.2"])
def test_slow_head(hurried, transport):
    with Witness(hurried) as witness, open_client(hurried, transport) as client:
        started = time.monotonic()
        client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ")
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 20 and witness.grown("timeouts") == 0:
                client.send("x")  # one byte now and then does not help
                time.sleep(0.1)
        response = client.read_response()
        assert response.status == 408 and response.header("Connection") == "close"
        assert client.is_closed() and witness.grown("timeouts") == 1 and witness.grown("requests") == 0


@pytest.mark.parametrize("body", ["Content-Length: 100", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_slow_body(hurried, transport, body):
    with Witness(hurried) as witness, open_client(hurried, transport) as client:
        client.send(head(body, first="POST /echo HTTP/1.1") + "5\r\nhel")
        response = client.read_response()
        assert response.status == 408 and client.is_closed() and witness.grown("timeouts") == 1


def test_idle_connections_are_closed(ferrule, origin, certificate):
    proxy = ferrule.both(origin, certificates=[certificate], workers=1, extra=timeouts("web", idleTimeout="2s")
                         + timeouts("websecure", idleTimeout="2s"))
    for transport in ("http", "tls1.2", "tls1.3"):
        with open_client(proxy, transport) as client:
            if transport != "http":  # (a plain one would race its own start against the limit)
                assert client.exchange("GET", "/").status == 200
            assert client.read_to_end() == b""  # with close_notify
    assert proxy.counters()["timeouts"] == 3


def test_client_that_does_not_read(ferrule, nginx):
    """Its response stalls; after the idle time the connection is reset, and the upstream's is closed."""
    nginx.file("64m", 64 << 20)
    proxy = ferrule.http(nginx, workers=1, extra=timeouts("web", idleTimeout="1s"))
    with proxy.connect() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.request("GET", "/64m")
        proxy.wait_counter("timeouts", 1)
        with pytest.raises(Closed):
            client.read_response()
    wait_until(lambda: (c := proxy.counters())["conns_now"] == 0 and c["upconns_now"] == 0, "both connections are gone")


def test_clients_that_vanish_at_random_points(proxy):
    """Many connections that end by FIN, RST or half-close anywhere in a valid exchange."""
    rng = random.Random(SEED)
    hello = client_hello()
    request = head("Transfer-Encoding: chunked", first="POST /echo HTTP/1.1") + "".join(
        f"{size:x}\r\n{'y' * size}\r\n" for size in (1, 5000, 20)) + "0\r\n\r\n" + head(first="GET /chunked/100000 HTTP/1.1")
    with Witness(proxy) as witness:
        for n in range(240):
            kind = rng.choice(["http", "hello", "tls"])
            try:
                client = open_client(proxy, "tls1.3") if kind == "tls" else proxy.connect("web" if kind == "http" else "websecure")
                data = hello if kind == "hello" else request.encode()
                client.send(data[:rng.randrange(len(data) + 1)])
                if rng.random() < 0.3:
                    client.sock.settimeout(0.01)
                    with contextlib.suppress(OSError):
                        client.sock.recv(rng.choice([1, 1000, 65536]))
                    client.sock.settimeout(http1.TIMEOUT_S)
                end = rng.choice(["close", "reset", "half"])
                if end == "half":
                    client.sock.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(OSError, ssl.SSLError):
                        while client.sock.recv(65536):
                            pass
                client.reset() if end == "reset" else client.close()
            except OSError as error:
                raise AssertionError(f"seed {SEED}, round {n}: {error!r}") from error
            if n % 40 == 0:
                witness.check()
        wait_until(lambda: proxy.counters()["upconns_now"] <= 8, "upstream connections of lost exchanges are closed")


def test_many_slow_heads_and_hellos(hurried):
    """More than ferrule has buffers for in the kernel: 1,400 connections that have sent a part and wait."""
    with Witness(hurried) as witness:
        slow = [hurried.connect(("web", "websecure")[n % 2]) for n in range(1400)]
        for n, client in enumerate(slow):
            client.send((f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: " + "x" * 3000).encode() if n % 2 == 0 else client_hello()[:300])
        witness.check()
        witness.wait_grown("timeouts", len(slow))
        for n, client in enumerate(slow):
            if n % 2 == 0:
                assert client.read_response().status == 408
            client.close()


def test_more_connections_than_slots(ferrule, origin):
    """What has no slot is closed at once and counted; the others go on, and a slot that is free is used again."""
    proxy = ferrule.http(origin, extra="[workers]\ncount = 1\nconnections = 64")
    clients = [proxy.connect() for _ in range(64)]
    assert all(client.exchange("GET", "/").status == 200 for client in clients)
    for _ in range(20):
        with proxy.connect() as client:
            assert client.is_closed()
    proxy.wait_counter("conns_refused", 20)
    for client in clients[:10]:
        client.close()
    wait_until(lambda: proxy.counters()["conns_now"] == 54, "slots are free")
    with proxy.connect() as client:
        assert client.exchange("GET", "/").status == 200
    for client in clients[10:]:
        assert client.exchange("GET", "/").status == 200
        client.close()


def test_fewer_descriptors_than_connections(ferrule, origin):
    """Out of descriptors: clients are told at once, nobody else is harmed, and it passes."""
    proxy = ferrule.http(origin, workers=1, wrapper=["prlimit", "--nofile=100:100"])
    assert "open files are allowed" in proxy.log
    clients, refused = [], 0
    for _ in range(150):
        client = proxy.connect(timeout_s=10)
        client.request("GET", "/")
        clients.append(client)
    kept = []
    for client in clients:
        try:
            assert client.read_response().status in (200, 502, 503)
            kept.append(client)
        except Closed:
            refused += 1
            client.close()
    assert refused > 10 and len(kept) > 10, f"{refused} refused, {len(kept)} kept"
    assert proxy.counters()["conns_refused"] >= refused - 5
    for client in kept[5:]:
        client.close()
    wait_until(lambda: proxy.counters()["conns_now"] <= 6, "they are gone")
    wait_until(lambda: kept[0].exchange("GET", "/").status == 200, "served again")
    with proxy.connect() as client:
        assert client.exchange("GET", "/").status == 200


def test_half_closed_client_gets_its_answer(proxy):
    """A client that shuts its side down behind its request is not a client that has gone."""
    with Witness(proxy), proxy.connect() as client:
        client.send(head(first="GET /delay/300/bytes/70000 HTTP/1.1"))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_response().body == body_of(70000)
        assert client.is_closed()


# --- TLS ----------------------------------------------------------------------------------------------------------


def ends_without_hello(proxy, data, shut=False):
    """Sends bytes to the TLS port; returns what came until the other side closed."""
    with proxy.connect("websecure") as client:
        with contextlib.suppress(OSError):
            client.send(data)
            if shut:
                client.sock.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while data := client.sock.recv(65536):
                got += data
        return got


def is_alert(data):
    return len(data) == 7 and data[0] == 21 and data[5] == 2


@pytest.mark.parametrize("name", ["HTTP", "SSH", "zeros", "ones", "SSLv2", "application data", "other handshake message"])
def test_not_tls_on_the_tls_port(proxy, name):
    data = {
        "HTTP": head().encode(), "SSH": b"SSH-2.0-OpenSSH_9.2\r\n", "zeros": bytes(100), "ones": b"\xff" * 100,
        "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), "application data": b"\x17\x03\x03\x00\x10" + bytes(16),
        "other handshake message": b"\x16\x03\x01\x00\x08\x02\x00\x00\x04abcd",
    }[name]
    with Witness(proxy) as witness:
        got = ends_without_hello(proxy, data)
        assert got == b"" or is_alert(got), got
        assert witness.grown("hello_bad") == 1 and witness.grown("requests") == 0


def hello_of(name):
    record = client_hello()
    message = message_of(record)
    cut = bytearray(message)
    cut[4 + 2 + 32] = 33  # a session id longer than 32 bytes
    return {
        "17 KB": in_records(with_extension(message, 0x4242, bytes(17 * 1024 - len(message))), 16384),
        "60 KB": in_records(with_extension(message, 0x4242, bytes(60000)), 16384),
        "length of 16 MB": in_records(b"\x01\xff\xff\xff" + message[4:], 16384),
        "empty record": b"\x16\x03\x01\x00\x00" + record,
        "record too long": b"\x16\x03\x01\x50\x00" + bytes(0x5000),
        "other record between": in_records(message[:50], 50) + b"\x17\x03\x03\x00\x05hello" + in_records(message[50:], 999),
        "extension twice": in_records(with_extension(with_extension(message, 0x4242, b""), 0x4242, b""), 16384),
        "bad session id": in_records(bytes(cut), 16384),
        "message too short": in_records(message[:1] + b"\0\0\x20" + message[4:36], 16384),
    }[name]


@pytest.mark.parametrize("name", ["17 KB", "60 KB", "length of 16 MB", "empty record", "record too long", "other record between",
                                  "extension twice", "bad session id", "message too short"])
def test_bad_hellos(proxy, name):
    with Witness(proxy) as witness:
        got = ends_without_hello(proxy, hello_of(name))
        assert got == b"" or is_alert(got), got
        assert witness.grown("hello_bad") + witness.grown("handshakes_failed") >= 1
        assert witness.grown("handshakes_full") == 0


def test_truncated_hello(proxy):
    """The client sends a part and closes: closed and counted, at every length."""
    record = client_hello()
    lengths = [1, 4, 5, 6, 9, 40, 100, len(record) - 1]
    with Witness(proxy) as witness:
        for length in lengths:
            assert ends_without_hello(proxy, record[:length], shut=True) == b"", length
        assert witness.grown("hello_bad") == len(lengths)


def test_slow_handshakes(hurried):
    """A hello that does not come, one that stops half way, and a client that stops after its hello."""
    record = client_hello()
    with Witness(hurried) as witness:
        for n, data in enumerate((b"", record[:100], record)):
            started = time.monotonic()
            ends_without_hello(hurried, data)
            assert time.monotonic() - started > 0.5, "it was closed before its time"
            witness.wait_grown("timeouts", n + 1)
        assert witness.grown("handshakes_full") == 0


def test_hellos_in_pieces_are_good(proxy):
    """Byte by byte over TCP; a record for each byte, or four, of the message; a hello of 12 KB over many records."""
    with Witness(proxy) as witness:
        for version in ("1.2", "1.3"):
            client = PiecewiseTls(proxy.connect("websecure"), HOST, 1, minimum=version, maximum=version)
            assert client.exchange("GET", "/bytes/100000").body == body_of(100000)
            client.close()
        assert witness.grown("handshakes_full") == 2
        message = message_of(client_hello())
        for data in (in_records(message, 1), in_records(message, 4), in_records(with_extension(message, 0x4242, bytes(12000)), 700)):
            with proxy.connect("websecure") as client:
                client.send(data)
                assert client.read_exactly(1) == b"\x16", "not a ServerHello"
        assert witness.grown("hello_bad") == 0


def test_old_versions_and_strange_suites(proxy):
    with Witness(proxy) as witness:
        cases = [("-tls1", "-cipher", "ALL:@SECLEVEL=0"), ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
                 ("-tls1_2", "-cipher", "AES256-SHA256"), ("-tls1_3", "-groups", "P-521")]
        for options in cases:
            code, output = tls.s_client(proxy.port("websecure"), HOST, *options)
            assert code != 0 and "Cipher is (NONE)" in output, output
        witness.wait_grown("handshakes_failed", len(cases))


def test_broken_records_after_the_handshake(proxy):
    rng = random.Random(SEED)
    with Witness(proxy) as witness:
        for version in ("1.2", "1.3"):
            for junk in (b"\x17\x03\x03\x00\x20" + rng.randbytes(32), b"\x17\x03\x03\x48\x00" + bytes(0x4800), rng.randbytes(200),
                         b"\x14\x03\x03\x00\x01\x01" * 20, b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", b"\x15\x03\x03\x00\x02\x02\x28"):
                client = PiecewiseTls(proxy.connect("websecure"), HOST, 65536, minimum=version, maximum=version)
                client.sock.sendall(junk)
                with contextlib.suppress(ConnectionError):
                    while client.sock.recv(65536):
                        pass
                client.close()
        assert witness.grown("requests") == 0


def test_key_update_of_tls_1_3(proxy):
    """A client may change its keys at any time (RFC 8446 section 4.6.3): s_client does so at a line with K."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port('websecure')}", "-servername", HOST, "-tls1_3"]
    with Witness(proxy) as witness, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                     stderr=subprocess.STDOUT) as client:
        witness.wait_grown("handshakes_full", 1)
        client.stdin.write(b"K\n")
        client.stdin.flush()
        while b"KEYUPDATE" not in client.stdout.readline():
            pass
        client.stdin.write(head("Connection: close", first="GET /echo/updated HTTP/1.1").encode())
        client.stdin.flush()
        assert b"/echo/updated" in client.stdout.read()


# --- upstreams ----------------------------------------------------------------------------------------------------


BAD_ANSWERS = {
    "nothing": "", "garbage": "\x00\x01garbage\r\n\r\n", "a line": "hello\r\n", "half a head": "HTTP/1.1 200 OK\r\nX-A: ",
    "bad version": answer(first="HTTP/3.0 200 OK"), "bad status": answer(first="HTTP/1.1 abc OK"), "status 99": answer(first="HTTP/1.1 099 OK"),
    "two lengths": answer("Content-Length: 2", "Content-Length: 3") + "hi", "bad length": answer("Content-Length: x") + "hi",
    "length and coding": answer("Content-Length: 2", "Transfer-Encoding: chunked") + "2\r\nhi\r\n0\r\n\r\n",
    "unknown coding": answer("Transfer-Encoding: gzip") + "hi", "bare LF": "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "space before colon": answer("Content-Length : 2") + "hi", "NUL": answer("X-A: \x00", "Content-Length: 2") + "hi",
    "folded": answer("X-A: 1", " 2", "Content-Length: 2") + "hi", "204 with a body": answer("Content-Length: 2", first="HTTP/1.1 204 No") + "hi",
    "unasked 101": answer("Upgrade: x", "Connection: upgrade", first="HTTP/1.1 101 Switching"),
    "huge head": answer("X-A: " + "x" * 300000, "Content-Length: 2") + "hi", "1,000 fields": answer(*["X: 1"] * 1000, "Content-Length: 0"),
    "100 for ever": answer(first="HTTP/1.1 100 Continue") * 3,
}


@pytest.mark.parametrize("transport", ["http", "tls1.2"])
def test_bad_answers_of_upstreams(ferrule, make_origin, certificate, transport):
    """502, and the client's connection goes on with its next request."""
    origin = make_origin("bad")
    origin.answers = {f"/bad/{n}": text for n, text in enumerate(BAD_ANSWERS.values())}
    proxy = ferrule.both(origin, certificates=[certificate], workers=1)
    wrong = []
    with Witness(proxy) as witness, open_client(proxy, transport) as client:
        for name, path in zip(BAD_ANSWERS, origin.answers):
            failed = witness.grown("upstream_failed")
            client.request("GET", path)
            response = client.read_response()
            while response.status == 100 and name == "100 for ever":
                response = client.read_response()
            if response.status != 502 or witness.grown("upstream_failed") != failed + 1:
                wrong.append(f"{name}: {response}, counted {witness.grown('upstream_failed') - failed}")
            assert client.exchange("GET", "/bytes/10").body == body_of(10), name
        assert wrong == []


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_upstream_that_refuses(proxy, origin, transport):
    with open_client(proxy, transport) as client:
        assert client.exchange("GET", "/").status == 200
        origin.stop()
        before = proxy.counters()
        assert client.exchange("GET", "/").status == 502
        assert client.exchange("POST", "/", body=b"x" * 100000).status == 502
        after = proxy.counters()
        assert after["upstream_failed"] == before["upstream_failed"] + 2 and after["responses_5xx"] == before["responses_5xx"] + 2
        assert client.is_closed()  # the body was not received whole
    origin.start()
    wait_until(lambda: proxy.get("/", entrypoint="web").status == 200, "it is back")


HALF_A_HEAD = raw_path("HTTP/1.1 200 OK\r\nX-Half") + "?keep=1"


@pytest.mark.parametrize("path, status", [("/never", 504), ("/reset", 502), ("/close", 502), ("/garbage", 502),
                                          (HALF_A_HEAD, 504)])
@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_upstream_that_fails_before_its_head(request, transport, path, status):
    """Answered, counted, and the client may go on."""
    proxy = request.getfixturevalue("hurried" if status == 504 else "proxy")
    with Witness(proxy) as witness, open_client(proxy, transport) as client:
        assert client.exchange("GET", path).status == status
        if status != 504:  # (a time limit once is enough)
            assert client.exchange("POST", path, body=b"x" * 10).status == status
        assert witness.grown("upstream_failed") >= 1 and witness.grown("responses_5xx") >= 1
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


def test_upstream_that_does_not_accept(ferrule, certificate):
    """Its queue is full, so the connection is never made: 504 when the dial time is over."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port, web = listener.getsockname()[1], free_port()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        proxy = ferrule("\n".join([
            config.entrypoint("web", web), config.router("all", "full"),
            config.service("full", f"http://127.0.0.1:{port}", more='serversTransport = "short"'),
            '[http.serversTransports.short.forwardingTimeouts]\ndialTimeout = "500ms"']), {"web": web}, workers=1)
        assert proxy.get("/").status == 504 and proxy.counters()["upstream_failed"] == 1
        for filler in fillers:
            filler.close()


CUTS = ["/cut/1000?sent=0", "/cut/1000?sent=999", "/cut/1000?sent=0&chunked=1", "/cut/1000?sent=999&chunked=1",
        "/cut/2000000?sent=1000000", "/cut/2000000?sent=1000000&chunked=1",
        raw_path("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
        raw_path("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        raw_path("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Half")]


@pytest.mark.parametrize("transport", ["http", "tls1.2", "tls1.3"])
def test_upstream_that_dies_in_the_middle(proxy, transport):
    """The head was passed on: the client's connection is aborted, and what it got never looks whole."""
    with Witness(proxy) as witness:
        for n, path in enumerate(CUTS):
            with open_client(proxy, transport) as client:
                with pytest.raises(Closed) as cut:
                    client.exchange("GET", path)
                if transport != "http":
                    assert "SSLEOFError" in str(cut.value) or "Reset" in str(cut.value), f"{path}: close_notify came: {cut.value}"
            assert witness.grown("aborted") == n + 1, path
        assert witness.grown("upstream_failed") == len(CUTS)


@pytest.mark.parametrize("path", [CUTS[1], CUTS[3], CUTS[5]])
@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_upstream_that_dies_for_a_client_of_http_1_0(proxy, transport, path):
    """A body that would end with the connection must end with a reset, or it would look whole."""
    with Witness(proxy) as witness, open_client(proxy, transport) as client:
        client.send(f"GET {path} HTTP/1.0\r\n\r\n")
        with pytest.raises(Closed) as cut:
            client.read_response()
        if "chunked" in path:
            assert "SSLEOFError" in str(cut.value) or "Reset" in str(cut.value), cut.value
        assert witness.grown("aborted") == 1


def test_upstream_that_dies_during_an_upload(proxy, origin):
    """No head was passed on yet: 502."""
    with Witness(proxy) as witness, proxy.connect() as client:
        client.send(head("Content-Length: 1000000", first="POST /lazy?piece=1000&ms=20 HTTP/1.1") + "x" * 20000)
        wait_until(lambda: any(r.method == "POST" for r in list(origin.requests)), "the upload has arrived")
        origin.drop_connections()
        assert client.read_response().status == 502
        assert witness.grown("upstream_failed") == 1
        assert client.is_closed()  # the rest of the body is not wanted


def test_more_than_the_length_does_not_reach_the_next_request(proxy):
    """Bytes behind an answer, or in front of a request, belong to nobody."""
    extra = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    with Witness(proxy), proxy.connect() as client:
        for n in range(10):
            assert client.exchange("GET", raw_path(extra) + "?keep=1").body == b"hi", n
            assert client.exchange("GET", "/bytes/10").body == body_of(10), n
