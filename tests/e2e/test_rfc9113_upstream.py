# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 as a client has to keep it: what ferrule makes of the answers of HTTP/2 servers that break its rules. None
of them reaches a client as an answer; a fault of the connection ends it, and one of a stream that stream alone."""

import struct

import pytest

from lib import h2raw as h
from lib.h2raw import frame
from lib.h2rogue import OK, Rogue, greet
from lib.http1 import Closed
from lib.proc import wait_until

LARGE = 100000  # more than any head may have


@pytest.fixture
def make_rogue(nothing_left_running):
    made = []

    def make(*arguments, **options):
        made.append(Rogue(*arguments, **options))
        return made[-1]
    yield make
    for server in made:
        server.stop()


def fields(*more, first=(":status", "200")):
    return [*([first] if first else []), *more]


def head(*more, first=(":status", "200"), flags=h.END_HEADERS | h.END_STREAM):
    """A response of one HEADERS frame."""
    return lambda c, stream: c.headers(stream, fields(*more, first=first), flags)


def many_frames(c, stream, block):
    """A header section in HEADERS and CONTINUATION."""
    parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
    c.send(b"".join(frame(h.CONTINUATION if n else h.HEADERS, h.END_HEADERS if n == len(parts) - 1 else 0, stream, part)
                    for n, part in enumerate(parts)))


def large_head(c, stream):
    many_frames(c, stream, c.encode(fields(*[(f"x-{n}", "v" * 3000) for n in range(LARGE // 3000)])))
    c.data(stream, end=False)  # a stream that ended by itself need not be told


def many_fields(c, stream):
    many_frames(c, stream, c.encode(fields(*[("x", "y")] * 1000)))
    c.data(stream, end=False)


def interim_for_ever(c, stream):
    c.send(b"".join(frame(h.HEADERS, h.END_HEADERS, stream, c.encode([(":status", "103"), ("link", "</a>")])) for _ in range(500)))


def data_first(c, stream):
    c.data(stream, b"ok")


def two_steps(first, then):
    def answer(c, stream):
        first(c, stream)
        then(c, stream)
    return answer


def reset(code):
    return lambda c, stream: c.frame(h.RST_STREAM, 0, stream, struct.pack(">I", code))


def continuations(c, stream):
    c.send(frame(h.HEADERS, 0, stream, c.encode(OK)) + frame(h.CONTINUATION, 0, stream, c.encode([("x", "y")])) * 1000)


# section and what is wrong: what the server sends. 502 for the client, and the stream alone is reset.
BAD_HEADS = {
    "8.1 a final head in an interim one's place": two_steps(head(first=(":status", "103"), flags=h.END_HEADERS), data_first),
    "8.1 an interim head that ends the stream": head(first=(":status", "103")),
    "8.1 interim heads for ever": interim_for_ever,
    "8.1.1 reset before the head": reset(h.INTERNAL_ERROR),
    "8.1.1 reset with NO_ERROR before the head": reset(h.NO_ERROR),
    "8.1.1 length without a body": head(("content-length", "5")),
    "8.1.1 length that is no number": head(("content-length", "5x")),
    "8.1.1 two lengths": head(("content-length", "0"), ("content-length", "1")),
    "8.2.1 upper case in a name": head(("X-Upper", "1")),
    "8.2.1 space in a name": head(("x y", "1")),
    "8.2.1 empty name": head(("", "1")),
    "8.2.1 NUL in a value": head(("x", "a\0b")),
    "8.2.1 line break in a value": head(("x", "a\r\nb: c")),
    "8.2.2 connection": head(("connection", "close")),
    "8.2.2 keep-alive": head(("keep-alive", "timeout=5")),
    "8.2.2 transfer-encoding": head(("transfer-encoding", "chunked")),
    "8.2.2 upgrade": head(("upgrade", "h2c")),
    "8.3 pseudo-header of requests": head((":path", "/")),
    "8.3 unknown pseudo-header": head((":unknown", "1")),
    "8.3 pseudo-header behind fields": head(("x", "1"), (":status", "200"), first=None),
    "8.3.2 no status": head(("x", "1"), first=None),
    "8.3.2 two states": head((":status", "200")),
    "8.3.2 status of letters": head(first=(":status", "abc")),
    "8.3.2 status of two digits": head(first=(":status", "20")),
    "8.3.2 status of four digits": head(first=(":status", "2000")),
    "8.3.2 status 000": head(first=(":status", "000")),
    "8.3.2 status 000 without an end": head(first=(":status", "000"), flags=h.END_HEADERS),
    "8.3.2 status 099": head(first=(":status", "099")),
    "8.6 status 101": head(first=(":status", "101")),
    "10.5.1 large head": large_head,
    "10.5.1 many fields": many_fields,
    "9110-8.6 length in 204": head(("content-length", "5"), first=(":status", "204"), flags=h.END_HEADERS),
}


@pytest.mark.asan
def test_bad_heads(ferrule, make_rogue):
    """Each a 502, counted; the server is told that its stream is wanted no more, and asked again on the connection."""
    paths = {f"/{n}": name for n, name in enumerate(BAD_HEADS)}
    rogue = make_rogue(dict(zip(paths, BAD_HEADS.values())))
    proxy = ferrule.http(rogue, workers=1)
    wrong = []
    with proxy.connect() as client:
        assert client.exchange("GET", "/ok").body == b"ok"
        for n, (path, name) in enumerate(paths.items()):
            client.request("GET", path)
            response = client.read_response()
            while response.status == 103:
                response = client.read_response()
            failed = proxy.wait_counter("upstream_failed", n + 1)["upstream_failed"]
            if response.status != 502 or failed != n + 1:
                wrong.append(f"{name}: {response}, {failed} of {n + 1}")
            assert client.exchange("GET", "/ok").body == b"ok", name
    assert wrong == []
    asked = [path for _, _, path in rogue.requests if path in paths]
    assert asked == list(paths), "none was sent again"
    assert rogue.connections == 1 and rogue.goaways == []
    of_path = {path: stream for _, stream, path in rogue.requests}
    wait_until(lambda: of_path[list(paths)[-1]] in {stream for _, stream, _ in rogue.resets}, "the last one is told")
    told = {stream for _, stream, _ in rogue.resets}
    silent = [name for path, name in paths.items() if of_path[path] not in told and "reset" not in name and "101" not in name]
    assert silent == []


BAD_BODIES = {
    "8.1.1 more than the length": two_steps(head(("content-length", "3"), flags=h.END_HEADERS), lambda c, s: c.data(s, b"12345")),
    "8.1.1 less than the length": two_steps(head(("content-length", "9"), flags=h.END_HEADERS), lambda c, s: c.data(s, b"12345")),
    "8.1.1 less than the length, with trailers": two_steps(
        two_steps(head(("content-length", "9"), flags=h.END_HEADERS), lambda c, s: c.data(s, b"12345", end=False)),
        lambda c, s: c.headers(s, [("x-end", "1")], h.END_HEADERS | h.END_STREAM)),
    "8.1 reset in the body": two_steps(
        two_steps(head(flags=h.END_HEADERS), lambda c, s: c.data(s, b"12345", end=False)), reset(h.CANCEL)),
    "8.1 trailers that do not end the stream": two_steps(
        two_steps(head(flags=h.END_HEADERS), lambda c, s: c.data(s, b"12345", end=False)),
        lambda c, s: c.headers(s, [("x-end", "1")])),
    "8.3 trailers with a pseudo-header": two_steps(
        two_steps(head(flags=h.END_HEADERS), lambda c, s: c.data(s, b"12345", end=False)),
        lambda c, s: c.headers(s, [(":status", "200")], h.END_HEADERS | h.END_STREAM)),
}


@pytest.mark.asan
def test_bad_bodies(ferrule, make_rogue):
    """A response that turns out to be wrong never looks whole; the server's connection goes on."""
    paths = {f"/{n}": name for n, name in enumerate(BAD_BODIES)}
    rogue = make_rogue(dict(zip(paths, BAD_BODIES.values())))
    proxy = ferrule.http(rogue, workers=1)
    for path, name in paths.items():
        with proxy.connect() as client:
            try:
                response = client.exchange("GET", path)
                assert response.status == 502, name
            except Closed:
                pass
        assert proxy.get("/ok").body == b"ok", name
    assert rogue.connections == 1 and rogue.goaways == []


@pytest.mark.asan
def test_no_body_where_none_may_be(ferrule, make_rogue):
    """DATA behind the head of an answer to HEAD, or of a 204 or 304, is not passed on as the next answer."""
    codes = {f"/{code}": code for code in (204, 304)}
    rogue = make_rogue({path: two_steps(head(first=(":status", str(code)), flags=h.END_HEADERS), lambda c, s: c.data(s, b"HTTP/1.1 200 OK\r\n"))
                        for path, code in codes.items()} | {"/head": two_steps(head(flags=h.END_HEADERS), lambda c, s: c.data(s, b"poison"))})
    proxy = ferrule.http(rogue, workers=1)
    for method, path in [("GET", path) for path in codes] + [("HEAD", "/head")]:
        with proxy.connect() as client:
            try:
                assert client.exchange(method, path).body == b"", path
                assert client.exchange("GET", "/ok").body == b"ok"
            except (Closed, ConnectionError):
                pass  # refused is as good
        assert proxy.get("/ok").body == b"ok"


@pytest.mark.asan
def test_trailers_that_are_none(ferrule, make_rogue):
    """Fields that decide about access or routing are no trailers: they are not passed on (RFC 9110 section 6.5.1)."""
    def answer(c, stream):
        c.headers(stream, fields())
        c.data(stream, b"hi", end=False)
        c.headers(stream, [("authorization", "x"), ("x-end", "1")], h.END_HEADERS | h.END_STREAM)
    proxy = ferrule.http(make_rogue({"/": answer}), workers=1)
    with proxy.connect() as client:
        response = client.exchange("GET", "/")
        assert response.body == b"hi" and response.trailers == [("x-end", "1")]
        assert client.exchange("GET", "/ok").body == b"ok"


# Faults of the connection: what is sent, and the error code of our GOAWAY.
BAD_CONNECTIONS = {
    "4.2 frame too large": (lambda c, s: c.frame(h.DATA, 0, s, bytes(16385)), h.FRAME_SIZE_ERROR),
    "4.3 bad header block": (lambda c, s: c.frame(h.HEADERS, h.END_HEADERS, s, b"\xff" * 8), h.COMPRESSION_ERROR),
    "4.3 other frame inside a header block": (lambda c, s: c.send(frame(h.HEADERS, 0, s, c.encode(OK)) + frame(h.PING, payload=bytes(8))),
                                              h.PROTOCOL_ERROR),
    "5.1 DATA on an idle stream": (lambda c, s: c.data(s + 2, b"x"), h.PROTOCOL_ERROR),
    "5.1 HEADERS on an idle stream": (lambda c, s: c.headers(s + 2, OK), h.PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (lambda c, s: reset(h.CANCEL)(c, s + 2), h.PROTOCOL_ERROR),
    "5.1.1 a stream of the server's": (lambda c, s: c.headers(2, OK), h.PROTOCOL_ERROR),
    "6.1 DATA on stream 0": (lambda c, s: c.data(0, b"x"), h.PROTOCOL_ERROR),
    "6.1 padding as long as the frame": (lambda c, s: c.frame(h.DATA, h.PADDED, s, b"\x05abcd"), h.PROTOCOL_ERROR),
    "6.5 SETTINGS of a wrong size": (lambda c, s: c.frame(h.SETTINGS, 0, 0, bytes(5)), h.FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH of a server": (lambda c, s: c.frame(h.SETTINGS, 0, 0, h.settings((h.ENABLE_PUSH, 1))), h.PROTOCOL_ERROR),
    "6.5.2 INITIAL_WINDOW_SIZE": (lambda c, s: c.frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 1 << 31))), h.FLOW_CONTROL_ERROR),
    "6.5.2 MAX_FRAME_SIZE": (lambda c, s: c.frame(h.SETTINGS, 0, 0, h.settings((h.MAX_FRAME_SIZE, 100))), h.PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE": (lambda c, s: c.frame(h.PUSH_PROMISE, h.END_HEADERS, s, struct.pack(">I", 2) + c.encode(
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")])), h.PROTOCOL_ERROR),
    "6.7 PING of a wrong size": (lambda c, s: c.frame(h.PING, 0, 0, bytes(7)), h.FRAME_SIZE_ERROR),
    "6.8 GOAWAY on a stream": (lambda c, s: c.frame(h.GOAWAY, 0, s, bytes(8)), h.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of 0": (lambda c, s: c.frame(h.WINDOW_UPDATE, 0, 0, bytes(4)), h.PROTOCOL_ERROR),
    "6.9.1 window overflow": (lambda c, s: c.frame(h.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1)), h.FLOW_CONTROL_ERROR),
    "6.10 CONTINUATION for ever": (continuations, h.INTERNAL_ERROR),
    "8.1 DATA before the head": (data_first, h.PROTOCOL_ERROR),
    "6.10 CONTINUATION alone": (lambda c, s: c.frame(h.CONTINUATION, h.END_HEADERS, s, c.encode(OK)), h.PROTOCOL_ERROR),
}


@pytest.mark.asan
@pytest.mark.parametrize("name", BAD_CONNECTIONS)
def test_bad_connections(ferrule, make_rogue, name):
    """502, GOAWAY that says why, and the next request goes out on another connection. (A GET would be tried there, too:
    the connection was a kept one.)"""
    answer, code = BAD_CONNECTIONS[name]
    rogue = make_rogue({"/bad": answer})
    proxy = ferrule.http(rogue, workers=1)
    with proxy.connect() as client:
        assert client.exchange("GET", "/ok").body == b"ok"
        assert client.exchange("POST", "/bad", body=b"").status == 502
        assert client.exchange("GET", "/ok").body == b"ok"
    assert proxy.wait_counter("upstream_failed", 1)["upstream_failed"] == 1
    wait_until(lambda: 1 in rogue.ended, "the first connection has ended")
    assert rogue.goaways == [(1, code)] or (name in UNREAD and not rogue.goaways)
    assert [(n, path) for n, _, path in rogue.requests] == [(1, "/ok"), (1, "/bad"), (2, "/ok")]


# What is left of these resets the connection, GOAWAY and all.
UNREAD = {"4.2 frame too large", "6.10 CONTINUATION for ever"}


BAD_GREETINGS = {
    "HTTP/1.1": lambda c: c.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    "garbage": lambda c: c.send(bytes(range(256))),
    "no SETTINGS": lambda c: c.frame(h.PING, 0, 0, bytes(8)),
    "SETTINGS of a wrong size": lambda c: c.frame(h.SETTINGS, 0, 0, bytes(7)),
    "an acknowledgement": lambda c: c.frame(h.SETTINGS, h.ACK),
    "the end": lambda c: c.sock.close(),
}


@pytest.mark.asan
@pytest.mark.parametrize("name", BAD_GREETINGS)
def test_bad_greetings(ferrule, make_rogue, name):
    """Section 3.4: a server's preface is SETTINGS. Without it, 502 - for everyone, and nobody waits."""
    rogue = make_rogue(greeting=BAD_GREETINGS[name])
    proxy = ferrule.http(rogue, workers=1)
    for _ in range(3):
        assert proxy.get("/ok").status == 502
    rogue.greeting = greet
    assert proxy.get("/ok").body == b"ok"


@pytest.mark.asan
def test_payload_beyond_the_window(ferrule, make_rogue):
    """Section 6.9: what our window did not allow is a fault, whether or not anybody reads. (It is more than all buffers on
    the way hold.)"""
    def flood(c, stream):
        c.headers(stream, fields())
        for _ in range(600):
            c.frame(h.DATA, 0, stream, bytes(16384))
    rogue = make_rogue({"/flood": flood})
    proxy = ferrule.http(rogue, workers=1)
    with proxy.connect() as client:
        client.request("GET", "/flood")
        told = lambda: [code for _, code in rogue.goaways] + [code for _, _, code in rogue.resets]
        wait_until(lambda: h.FLOW_CONTROL_ERROR in told(), "FLOW_CONTROL_ERROR")
        with pytest.raises((Closed, OSError)):
            client.read_response()
    assert proxy.get("/ok").body == b"ok"
