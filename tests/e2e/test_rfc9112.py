# SPDX-License-Identifier: Apache-2.0
"""One case for each thing that RFC 9112 sections 2 to 9 ask of a server, a proxy or a gateway with MUST (and some that
they ask with SHOULD), and for what RFC 9110 asks of intermediaries. The name of a case begins with its section."""

import contextlib
import re
import socket

import pytest

from lib.conformance import Cases
from lib.hostile import HOST, answer, head
from lib.http1 import Closed
from lib.origin import body_of, raw_path
from lib.proc import wait_until

CASES = Cases()
must = CASES.must
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"


class World:
    """A proxy of one worker in front of one origin, as a case sees it."""

    def __init__(self, proxy, origin):
        self.proxy, self.origin = proxy, origin
        origin.clear()
        origin.answers = {}

    def connect(self):
        return self.proxy.connect()

    def refused(self, data, status, by_upstream=0):
        """The bytes get this one answer, the connection ends, and nothing of what follows is passed on."""
        with self.connect() as client:
            try:
                client.send(data + SMUGGLED)
            except OSError:
                pass
            response = client.read_response()
            assert response.status == status
            assert client.is_closed()
        assert len([r for r in self.origin.requests if r.complete]) == by_upstream
        return response

    def passed(self, data, method="GET"):
        """The bytes are one good request: its answer, and the request as the origin got it."""
        with self.connect() as client:
            client.send(data)
            response = client.read_response(method)
            assert response.status == 200, response
        return response, self.origin.wait_requests(1)[-1]

    def answered(self, data, method="GET", headers=(), keep=True):
        """What a client gets when the upstream's whole answer is `data`."""
        with self.connect() as client:
            return client.exchange(method, raw_path(data) + ("?keep=1" if keep else ""), headers=headers)

    def bad_answer(self, data):
        """The upstream's answer is refused: 502, its connection is closed and not used again."""
        with self.connect() as client:
            assert client.exchange("GET", raw_path(data) + "?keep=1").status == 502
            assert client.exchange("GET", "/bytes/10").body == body_of(10)
        first, second = self.origin.requests[0], self.origin.requests[-1]
        assert first.connection_id != second.connection_id


@pytest.fixture(scope="module")
def shared_proxy(shared_ferrule, shared_origin):
    return shared_ferrule.http(shared_origin, workers=1)


@pytest.mark.parametrize("name", CASES.all)
def test_case(name, shared_proxy, shared_origin):
    CASES.run(name, World(shared_proxy, shared_origin))


def refused(name, data, status):
    must(name)(lambda world: world.refused(data, status))


def bad_answer(name, data):
    must(name)(lambda world: world.bad_answer(data))


# --- 2: the message -----------------------------------------------------------------------------------------------


@must("9112-2.2-octets")
def _(world):
    """A message is octets: those of no character set pass as they are."""
    _, request = world.passed(head("X-Text: caf\xe9 \xff\x80"))
    assert request.header("X-Text") == "caf\xe9 \xff\x80"


@must("9112-2.2-empty-lines")
def _(world):
    """Empty lines before the request line are skipped."""
    world.passed("\r\n\r\n" + head())


refused("9112-2.2-bare-cr", head("X-A: 1\rX-B: 2"), 400)
refused("9112-2.2-bare-cr-in-request-line", f"GET /\r HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 400)
refused("9112-2.2-bare-lf", f"GET / HTTP/1.1\nHost: {HOST}\n\n", 400)
refused("9112-2.2-space-behind-start-line", f"GET / HTTP/1.1\r\n X-A: 1\r\nHost: {HOST}\r\n\r\n", 400)
refused("9112-2.2-not-http", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
bad_answer("9112-2.2-bare-cr-in-response", answer("X-A: 1\rX-B: 2", "Content-Length: 0"))
bad_answer("9112-2.2-bare-lf-in-response", "HTTP/1.1 200 OK\nContent-Length: 0\n\n")


@must("9112-2.3-own-version-upstream")
def _(world):
    """A request of HTTP/1.0 is passed on under our own version."""
    _, request = world.passed(f"GET /echo HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
    assert request.version == "HTTP/1.1"


@must("9112-2.3-own-version-to-the-client")
def _(world):
    """So is a response of HTTP/1.0."""
    assert world.answered(answer("Content-Length: 0", first="HTTP/1.0 200 OK")).version == "HTTP/1.1"


refused("9112-2.3-version-is-case-sensitive", head(first="GET / http/1.1"), 400)
refused("9112-2.3-major-version", head(first="GET / HTTP/2.0"), 505)
refused("9112-2.3-http-0.9", "GET /\r\n\r\n", 505)
CASES.not_run("9110-2.5-higher-minor-version", "SHOULD be read as HTTP/1.1; ferrule refuses it with 505, as no such version exists")


# --- 3: the request line ------------------------------------------------------------------------------------------


refused("9112-3-invalid-request-line", head(first="GET  / HTTP/1.1"), 400)
refused("9112-3-space-in-target", head(first="GET /a b HTTP/1.1"), 400)
refused("9112-3-long-method", "A" * 70000, 501)
refused("9112-3-long-target", head(first=f"GET /{'a' * 70000} HTTP/1.1"), 414)


@must("9112-3-8000-octets")
def _(world):
    """A request line of 8,000 octets is taken."""
    target = "/" + "a" * (8000 - len("GET / HTTP/1.1\r\n"))
    _, request = world.passed(head(first=f"GET {target} HTTP/1.1"))
    assert request.target == target


refused("9112-3.2-host-missing", head(host=None), 400)
refused("9112-3.2-host-twice", head(f"Host: {HOST}"), 400)
refused("9112-3.2-host-invalid", head(host="Host: a/b"), 400)
refused("9112-3.2-host-list", head(host="Host: a, b"), 400)
refused("9112-3.2-host-empty-for-http", head(host="Host:"), 400)


@must("9112-3.2.1-origin-form")
def _(world):
    """Path and query are passed on as they came (RFC 9110 section 7.7)."""
    target = "/a//%2e%2E/b;c?d=%20&e[]=/?"
    _, request = world.passed(head(first=f"GET {target} HTTP/1.1"))
    assert request.target == target


@must("9112-3.2.2-absolute-form")
def _(world):
    """The absolute form is taken, and its authority replaces what Host says."""
    _, request = world.passed(head(first="GET http://other.test:81/a?b HTTP/1.1"))
    assert request.target == "/a?b" and request.all("Host") == ["other.test:81"]


@must("9112-3.2.2-absolute-form-without-path")
def _(world):
    """An empty path is passed on as "/"."""
    _, request = world.passed(head(first="GET http://other.test HTTP/1.1"))
    assert request.target == "/"


@must("9112-3.2.2-absolute-form-with-query-alone")
def _(world):
    _, request = world.passed(head(first="GET http://other.test?a/b HTTP/1.1"))
    assert request.target == "/?a/b" and request.header("Host") == "other.test"


@must("9112-3.2-host-missing-in-http-1.0")
def _(world):
    """Only HTTP/1.1 has to have one; what is passed on is HTTP/1.1 and has one Host (empty when nobody gave a name)."""
    _, request = world.passed("GET /echo HTTP/1.0\r\n\r\n")
    assert len(request.all("Host")) == 1 and request.version == "HTTP/1.1"


refused("9112-3.2.2-host-is-judged-beside-it", head(first="GET http://other.test/ HTTP/1.1", host="Host: a b"), 400)
refused("9112-3.2.3-connect", head(first="CONNECT example.test:443 HTTP/1.1"), 501)
refused("9112-3.2.3-authority-form-for-get", head(first="GET example.test:443 HTTP/1.1"), 400)


@must("9112-3.2.4-asterisk-from-an-absolute-form")
def _(world):
    """OPTIONS of an http URI without path and query is passed on as "*"."""
    _, request = world.passed(head(first="OPTIONS http://other.test HTTP/1.1"), "OPTIONS")
    assert request.target == "*"


@must("9112-3.2.4-asterisk")
def _(world):
    _, request = world.passed(head(first="OPTIONS * HTTP/1.1"), "OPTIONS")
    assert request.target == "*"


refused("9112-3.2.4-asterisk-for-get", head(first="GET * HTTP/1.1"), 400)
refused("9112-3.3-user-information", head(first="GET http://user@example.test/ HTTP/1.1"), 400)


# --- 4: the status line -------------------------------------------------------------------------------------------


@must("9112-4-space-before-an-absent-reason")
def _(world):
    """The space behind the status code is sent even when no reason follows."""
    with world.connect() as client:
        client.request("GET", raw_path("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"))
        assert client.read_line() == b"HTTP/1.1 200 "


@must("9110-15-unknown-status")
def _(world):
    """A status that nobody knows is passed on."""
    assert world.answered(answer("Content-Length: 0", first="HTTP/1.1 299 Odd")).status == 299


bad_answer("9112-4-not-a-status-line", "hello\r\n\r\n")
bad_answer("9112-4-status-of-letters", answer("Content-Length: 0", first="HTTP/1.1 2x0 OK"))


# --- 5: fields ----------------------------------------------------------------------------------------------------


refused("9112-5.1-space-before-colon", head("X-A : 1"), 400)
refused("9112-5.1-tab-before-colon", head("Content-Length\t: 0"), 400)


@must("9112-5.1-space-before-colon-in-response")
def _(world):
    """It is never passed on: the whole response is refused."""
    world.bad_answer(answer("X-A : 1", "Content-Length: 0"))


@must("9112-5.1-white-space-around-a-value")
def _(world):
    """White space around a value is no part of it."""
    _, request = world.passed(head("X-A: \t a  b \t ", "X-B:c"))
    assert b"X-A: a  b\r\n" in request.raw_head and b"X-B: c\r\n" in request.raw_head


@must("9112-5-names-without-regard-to-case")
def _(world):
    """Of fields, codings and options alike."""
    _, request = world.passed(head("cONTENT-lENGTH: 5", "X-hop: 1", "CONNECTION: x-HOP", first="POST /echo HTTP/1.1",
                                   host=f"hOST: {HOST}") + "hello")
    assert request.body == b"hello" and request.all("X-Hop") == [] and request.all("Host") == [HOST]
    _, request = world.passed(head("transfer-encoding: CHUNKED", first="POST /echo HTTP/1.1") + "5\r\nhello\r\n0\r\n\r\n")
    assert request.body == b"hello"


refused("9112-5.2-folded", head("X-A: 1", " 2"), 400)
bad_answer("9112-5.2-folded-in-response", answer("X-A: 1", "\t2", "Content-Length: 0"))
refused("9110-5.1-name-is-a-token", head("X[A]: 1"), 400)
refused("9110-5.5-nul", head("X-A: a\0b"), 400)
refused("9110-5.5-control-byte", head("X-A: a\x01b"), 400)
bad_answer("9110-5.5-nul-in-response", answer("X-A: a\0b", "Content-Length: 0"))


@must("9110-5.3-order-of-lines")
def _(world):
    """Lines of one name keep their order, upwards and downwards."""
    data = answer("Set-Cookie: b=1", "X-A: 1", "Set-Cookie: a=2", "x-a: 2", "Content-Length: 0")
    with world.connect() as client:
        response = client.exchange("GET", raw_path(data), headers=[("Cookie", "b"), ("X-A", "2"), ("cookie", "a"), ("X-A", "1")])
    assert response.all("Set-Cookie") == ["b=1", "a=2"] and response.all("X-A") == ["1", "2"]
    assert world.origin.requests[0].all("Cookie") == ["b", "a"] and world.origin.requests[0].all("X-A") == ["2", "1"]


refused("9110-5.4-too-many-fields", head(*["X: 1"] * 200), 431)
refused("9110-5.4-too-large", head("X-A: " + "x" * 70000), 431)


# --- 6: the body --------------------------------------------------------------------------------------------------


CHUNKED = "Transfer-Encoding: chunked"
POST = "POST /echo HTTP/1.1"
refused("9112-6.1-chunked-twice", head("Transfer-Encoding: chunked, chunked", first=POST) + "0\r\n\r\n", 400)
refused("9112-6.1-unknown-coding", head("Transfer-Encoding: gzip", first=POST), 501)
refused("9112-6.1-unknown-coding-before-chunked", head("Transfer-Encoding: gzip, chunked", first=POST) + "0\r\n\r\n", 501)
refused("9112-6.1-length-and-coding", head("Content-Length: 5", CHUNKED, first=POST) + "0\r\n\r\n", 400)
refused("9112-6.1-coding-in-http-1.0", head(CHUNKED, first="POST /echo HTTP/1.0") + "0\r\n\r\n", 400)
bad_answer("9112-6.1-coding-in-response-of-http-1.0", answer(CHUNKED, first="HTTP/1.0 200 OK") + "0\r\n\r\n")
bad_answer("9112-6.1-coding-in-204", answer(CHUNKED, first="HTTP/1.1 204 No Content") + "0\r\n\r\n")
bad_answer("9112-6.1-coding-in-1xx", answer(CHUNKED, first="HTTP/1.1 103 Early Hints") + "0\r\n\r\n")


@must("9112-6.1-no-coding-for-http-1.0")
def _(world):
    """A chunked response reaches a client of HTTP/1.0 without the coding."""
    with world.connect() as client:
        client.send(f"GET /chunked/5000 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        response = client.read_response()
    assert not response.all("Transfer-Encoding") and response.body == body_of(5000)


@must("9112-6.2-one-length")
def _(world):
    """What is passed on has a length or a coding, never both, and the length once."""
    with world.connect() as client:
        assert client.exchange("POST", "/echo", body=b"hello").json()["body_bytes"] == 5
        assert client.exchange("POST", "/echo", body=[b"hello"]).json()["body_bytes"] == 5
        assert client.exchange("GET", "/echo").status == 200
    framing = [[(n.lower(), v) for n, v in r.headers if n.lower() in ("content-length", "transfer-encoding")]
               for r in world.origin.requests]
    assert framing == [[("content-length", "5")], [("transfer-encoding", "chunked")], []]


@must("9112-6.3-1-no-body-for-head")
def _(world):
    """The answer to HEAD ends behind its head, whatever it announces."""
    with world.connect() as client:
        assert client.exchange("HEAD", "/bytes/100").header("Content-Length") == "100"
        client.request("HEAD", "/chunked/100")
        assert client.read_response("HEAD").body == b""
        assert client.exchange("GET", "/bytes/7").body == body_of(7)


CASES.not_run("9112-6.3-2-connect", "CONNECT is refused (9112-3.2.3-connect), so no response to it is read")


@must("9112-6.3-1-no-body-for-204-and-304")
def _(world):
    with world.connect() as client:
        assert client.exchange("GET", raw_path(answer(first="HTTP/1.1 204 No")) + "?keep=1").status == 204
        response = client.exchange("GET", raw_path(answer("Content-Length: 100", first="HTTP/1.1 304 Not")) + "?keep=1")
        assert (response.status, response.header("Content-Length")) == (304, "100")
        assert client.exchange("GET", "/bytes/7").body == body_of(7)


bad_answer("9112-6.3-3-length-and-coding-in-response", answer("Content-Length: 5", CHUNKED) + "0\r\n\r\n")
refused("9112-6.3-4-chunked-is-not-last", head("Transfer-Encoding: chunked, gzip", first=POST), 400)
bad_answer("9112-6.3-4-chunked-is-not-last-in-response", answer("Transfer-Encoding: chunked, gzip"))
refused("9112-6.3-5-length-invalid", head("Content-Length: 5x", first=POST) + "hello", 400)
refused("9112-6.3-5-length-negative", head("Content-Length: -5", first=POST) + "hello", 400)
refused("9112-6.3-5-length-overflows", head("Content-Length: 18446744073709551621", first=POST) + "hello", 400)
refused("9112-6.3-5-lengths-differ", head("Content-Length: 5", "Content-Length: 6", first=POST) + "hello", 400)
refused("9112-6.3-5-length-list", head("Content-Length: 5, 5", first=POST) + "hello", 400)
bad_answer("9112-6.3-5-length-invalid-in-response", answer("Content-Length: 5x") + "hello")
bad_answer("9112-6.3-5-length-list-in-response", answer("Content-Length: 5, 6") + "hello")
bad_answer("9112-6.3-5-lengths-differ-in-response", answer("Content-Length: 5", "Content-Length: 6") + "hello")


@must("9112-6.3-6-incomplete-request")
def _(world):
    """A request that ends early is never completed towards the upstream."""
    with world.connect() as client:
        client.send(head("Content-Length: 100", first=POST) + "hello")
        wait_until(lambda: world.origin.requests, "the begin has arrived")
        with contextlib.suppress(OSError):  # it may have ended already
            client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    wait_until(lambda: world.proxy.counters()["upconns_now"] == world.origin.open_connections, "the upstream's connection is closed")
    assert not world.origin.requests[0].complete


@must("9112-6.3-6-incomplete-response")
def _(world):
    """A response that ends early does not look whole."""
    with world.connect() as client, pytest.raises(Closed):
        client.exchange("GET", "/cut/1000?sent=999")


@must("9112-6.3-7-no-framing-no-body")
def _(world):
    """A request without length and coding has no body: what follows is the next request."""
    with world.connect() as client:
        client.send(head(first=POST) + head(first="GET /bytes/3 HTTP/1.1"))
        assert client.read_response().json()["body_bytes"] == 0
        assert client.read_response().body == body_of(3)


@must("9112-6.3-8-until-close")
def _(world):
    assert world.answered(answer() + "hello", keep=False).body == b"hello"


@must("9112-6.3-more-than-the-response")
def _(world):
    """Bytes behind a response are not the next response."""
    with world.connect() as client:
        extra = answer("Content-Length: 2") + "hi" + answer("Content-Length: 6") + "poison"
        assert client.exchange("GET", raw_path(extra) + "?keep=1").body == b"hi"
        assert client.exchange("GET", "/bytes/5").body == body_of(5)


# --- 7: transfer codings ------------------------------------------------------------------------------------------


@must("9112-7.1-chunked-request")
def _(world):
    _, request = world.passed(head(CHUNKED, first=POST) + "A\r\n0123456789\r\n0003\r\nabc\r\n00\r\n\r\n")
    assert request.body == b"0123456789abc"


@must("9112-7.1-chunked-response")
def _(world):
    response = world.answered(answer(CHUNKED) + "a\r\n0123456789\r\n003\r\nabc\r\n0\r\n\r\n")
    assert response.body == b"0123456789abc"


refused("9112-7.1-huge-chunk-size", head(CHUNKED, first=POST) + "f" * 20 + "\r\nhello", 400)
refused("9112-7.1-size-wraps-to-a-small-one", head(CHUNKED, first=POST) + "10000000000000005\r\nhello\r\n0\r\n\r\n", 400)
refused("9112-7.1-size-not-hexadecimal", head(CHUNKED, first=POST) + "5x\r\nhello\r\n0\r\n\r\n", 400)
refused("9112-7.1-size-with-sign", head(CHUNKED, first=POST) + "+5\r\nhello\r\n0\r\n\r\n", 400)
refused("9112-7.1-chunk-without-its-end", head(CHUNKED, first=POST) + "4\r\nhello\r\n0\r\n\r\n", 400)
refused("9112-7.1-bare-lf-behind-a-size", head(CHUNKED, first=POST) + "5\nhello\r\n0\r\n\r\n", 400)


@must("9112-7.1.1-unknown-extensions-are-ignored")
def _(world):
    """And not passed on."""
    _, request = world.passed(head(CHUNKED, first=POST) + '5;name=value;other="a;b"\r\nhello\r\n0;last\r\n\r\n')
    assert request.body == b"hello"


refused("9112-7.1.1-extensions-are-limited", head(CHUNKED, first=POST) + "5;" + "x" * 5000 + "\r\nhello\r\n0\r\n\r\n", 400)


@must("9112-7.1.2-trailers-stay-trailers")
def _(world):
    """They are passed on behind the body and never among the header fields."""
    _, request = world.passed(head(CHUNKED, "Trailer: X-Sum", first=POST) + "1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n")
    assert request.trailers == [("X-Sum", "42")] and request.all("X-Sum") == []
    response = world.answered(answer(CHUNKED) + "1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n")
    assert response.trailers == [("X-Sum", "42")] and response.all("X-Sum") == []


@must("9110-6.5.1-fields-that-are-no-trailers")
def _(world):
    """What decides about framing, routing or access is refused or left out in a trailer section."""
    _, request = world.passed(head(CHUNKED, first=POST) + "0\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-B: 1\r\n\r\n")
    assert request.trailers == [("X-B", "1")]


refused("9110-6.5.1-length-as-a-trailer", head(CHUNKED, first=POST) + "0\r\nContent-Length: 5\r\n\r\n", 400)
refused("9112-7.1.2-trailers-are-limited", head(CHUNKED, first=POST) + "0\r\nX-A: " + "x" * 70000 + "\r\n\r\n", 431)


@must("9112-7.4-te-is-for-one-hop")
def _(world):
    """TE is passed on as "trailers" alone, named by Connection."""
    _, request = world.passed(head("TE: gzip;q=0.5, trailers", "Connection: TE", first=POST))
    assert request.all("TE") == ["trailers"] and request.header("Connection").lower() == "te"


@must("9112-7.4-other-te-is-removed")
def _(world):
    _, request = world.passed(head("TE: gzip", "Connection: TE"))
    assert request.all("TE") == [] and request.all("Connection") == []


# --- 8: incomplete messages ---------------------------------------------------------------------------------------


@must("9112-8-chunked-without-last-chunk")
def _(world):
    with world.connect() as client, pytest.raises(Closed):
        client.exchange("GET", "/cut/1000?sent=1000&chunked=1")


@must("9112-8-head-that-ends-early")
def _(world):
    """Nothing of a head that was cut is passed on."""
    for data in ("HTTP/1.1 200 OK\r\nX-A: 1\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 2"):
        assert world.answered(data, keep=False).status == 502


@must("9112-8-length-not-reached")
def _(world):
    """Nor does one byte more or less look like the whole body."""
    for sent in (0, 1, 999):
        with world.connect() as client, pytest.raises(Closed):
            client.exchange("GET", f"/cut/1000?sent={sent}")


@must("9112-8-until-close-for-http-1.0")
def _(world):
    """What a client of HTTP/1.0 would take for whole when the connection ends, ends with a reset."""
    with world.connect() as client:
        client.send(f"GET /cut/1000?sent=1000&chunked=1 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        with pytest.raises(Closed, match="Reset"):
            client.read_response()


# --- 9: connections -----------------------------------------------------------------------------------------------


@must("9112-9.2-data-without-a-request")
def _(world):
    """What an upstream sends unasked is no answer to the next request."""
    with world.connect() as client:
        assert client.exchange("GET", raw_path(answer("Content-Length: 0") + answer("Content-Length: 6") + "poison") + "?keep=1").body == b""
        for _ in range(3):
            assert client.exchange("GET", "/bytes/5").body == body_of(5)


@must("9112-9.3-persistent")
def _(world):
    with world.connect() as client:
        for n in range(5):
            response = client.exchange("GET", f"/bytes/{n}")
            assert response.body == body_of(n) and not response.all("Connection")


@must("9112-9.3-http-1.0")
def _(world):
    """HTTP/1.0: kept when asked for, and closed otherwise."""
    with world.connect() as client:
        client.send(f"GET /bytes/3 HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n")
        response = client.read_response()
        assert response.body == body_of(3) and response.header("Connection") == "keep-alive"
        client.send(f"GET /bytes/4 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        assert client.read_response().body == body_of(4) and client.is_closed()


@must("9112-9.3-whole-body-or-close")
def _(world):
    """An answer that comes before the request's body was read ends the connection."""
    with world.connect() as client:
        client.send(head("Content-Length: 100000", first="POST /early/200 HTTP/1.1"))
        response = client.read_response()
        assert response.status == 200 and response.header("Connection") == "close"
        client.send(SMUGGLED)
        with contextlib.suppress(OSError):  # it may have ended already
            client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    assert not [r for r in world.origin.requests if "smuggled" in r.target]


@must("9112-9.3.1-no-second-try-of-post")
def _(world):
    """A request that is not idempotent is sent once, also when its connection turns out to be dead."""
    with world.connect() as client:
        assert client.exchange("POST", "/close", body=b"x").status == 502
    assert len(world.origin.requests) == 1


@must("9112-9.3.2-answers-in-order")
def _(world):
    with world.connect() as client:
        client.send("".join(head(first=f"GET /{('delay/30/' if n % 3 == 0 else '')}bytes/{n} HTTP/1.1") for n in range(12)))
        assert [len(client.read_response().body) for _ in range(12)] == list(range(12))


@must("9112-9.6-close-of-a-client")
def _(world):
    """Close is answered with close, the connection ends behind the response, and nothing more is read."""
    with world.connect() as client:
        client.send(head("Connection: close", first="GET /bytes/9 HTTP/1.1") + SMUGGLED)
        response = client.read_response()
        assert response.body == body_of(9) and response.header("Connection") == "close" and client.is_closed()
    assert not [r for r in world.origin.requests if "smuggled" in r.target]


@must("9112-9.6-close-of-an-upstream")
def _(world):
    """It is between the upstream and us: the client's connection goes on, the upstream's is not used again."""
    with world.connect() as client:
        response = client.exchange("GET", raw_path(answer("Connection: close", "Content-Length: 0")) + "?keep=1")
        assert response.status == 200 and not response.all("Connection")
        assert client.exchange("GET", "/bytes/5").body == body_of(5)
    first, second = world.origin.requests
    assert first.connection_id != second.connection_id


@must("9112-9.3-http-1.0-of-an-upstream")
def _(world):
    """Its connection is used again only when it says keep-alive."""
    for lines, again in (((), False), (("Connection: keep-alive",), True)):
        world.origin.clear()
        for _ in range(2):
            assert world.answered(answer("Content-Length: 0", *lines, first="HTTP/1.0 200 OK")).status == 200
        first, second = world.origin.requests
        assert (first.connection_id == second.connection_id) == again


@must("9112-9.6-close-in-stages")
def _(world):
    """An answer that ends the connection arrives although the client still sends."""
    with world.connect() as client:
        client.send(head("Content-Length: 5x", first=POST))
        for _ in range(50):
            try:
                client.send("x" * 10000)
            except OSError:
                break
        response = client.read_response()
        assert response.status == 400 and response.header("Connection") == "close"


@must("9112-9.6-close-beside-other-options")
def _(world):
    with world.connect() as client:
        client.send(head("Connection: x-a, CLOSE", "X-A: 1", first="GET /bytes/9 HTTP/1.1") + SMUGGLED)
        assert client.read_response().body == body_of(9) and client.is_closed()


CASES.not_run("9112-9.3-no-keep-alive-for-http-1.0", "asked of forward proxies; for its clients a gateway is the origin server")
CASES.not_run("9112-9.5-failures-and-timeouts", "test_hostile.py: slow heads and bodies get 408, idle connections end, close_notify included")
CASES.not_run("9112-9.8-closure-alerts", "test_tls.py looks at close_notify, and test_hostile.py at its absence when a response was cut")


# --- RFC 9110: intermediaries -------------------------------------------------------------------------------------


@must("9110-7.2-host-is-passed-on")
def _(world):
    _, request = world.passed(head(host="Host: Example.TEST:8080"))
    assert request.all("Host") == ["Example.TEST:8080"]


@must("9110-7.6.1-connection-options")
def _(world):
    """Fields that Connection lists are removed with it, both ways."""
    data = answer("Connection: X-Hop", "X-Hop: 1", "X-End: 1", "Content-Length: 0")
    response = world.answered(data, headers=[("Connection", "x-hop, x-other"), ("X-Hop", "1"), ("X-Other", "1"), ("X-End", "1")])
    request = world.origin.requests[0]
    for message in (response, request):
        assert message.header("X-End") == "1" and not message.all("X-Hop") + message.all("X-Other") + message.all("Connection")


@must("9110-7.6.1-other-fields-for-one-hop")
def _(world):
    """Keep-Alive, Proxy-Connection and Upgrade are removed although Connection does not list them."""
    _, request = world.passed(head("Keep-Alive: timeout=5", "Proxy-Connection: close", "Upgrade: x"))
    assert [n for n, _ in request.headers if n.lower() in ("keep-alive", "proxy-connection", "upgrade")] == []


CASES.not_run("9110-7.6.2-max-forwards", "passed on as it came: an edge is the first and the last proxy of its chain, TRACE and OPTIONS are the upstream's to answer")
CASES.not_run("9110-7.6.3-via", "as its peers, ferrule sends no Via: many servers compress nothing for a request that has one")


@must("9110-7.8-upgrade-in-http-1.0")
def _(world):
    """It is ignored."""
    _, request = world.passed(f"GET / HTTP/1.0\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert request.all("Upgrade") == []


@must("9110-7.8-no-switch-that-was-not-asked-for")
def _(world):
    world.bad_answer(answer("Connection: upgrade", "Upgrade: x", first="HTTP/1.1 101 Switching Protocols"))


bad_answer("9110-8.6-length-in-204", answer("Content-Length: 5", first="HTTP/1.1 204 No Content") + "hello")
bad_answer("9110-8.6-length-in-1xx", answer("Content-Length: 5", first="HTTP/1.1 103 Early Hints") + "hello")
refused("9110-9.1-unknown-method", head(first="BREW / HTTP/1.1"), 501)
refused("9110-9.1-methods-are-case-sensitive", head(first="get / HTTP/1.1"), 501)
refused("9110-9.3.6-connect-without-a-tunnel", head(first="CONNECT example.test:443 HTTP/1.1") + "bytes for a tunnel", 501)


@must("9110-10.1.1-expect-is-passed-on")
def _(world):
    """Expect goes to the upstream, whose 100 comes back before the body is sent."""
    with world.connect() as client:
        client.send(head("Expect: 100-continue", "Content-Length: 5", first=POST))
        assert client.read_response().status == 100
        client.send("hello")
        assert client.read_response().json()["body_bytes"] == 5
    assert world.origin.requests[0].header("Expect").lower() == "100-continue"


@must("9110-10.1.1-final-status-instead-of-100")
def _(world):
    """An upstream that answers 417 at once is passed on, and no body is waited for."""
    with world.connect() as client:
        client.send(head("Expect: 100-continue", "Content-Length: 5", first="POST /early/417 HTTP/1.1"))
        assert client.read_response().status == 417


@must("9110-10.1.1-expect-in-http-1.0")
def _(world):
    """It is ignored: no 100 comes."""
    with world.connect() as client:
        client.send(f"POST /echo HTTP/1.0\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert client.read_response().status == 200


refused("9110-10.1.1-unknown-expectation", head("Expect: x-other"), 417)


@must("9110-11-credentials-are-passed-on")
def _(world):
    data = answer('WWW-Authenticate: Basic realm="a"', "Content-Length: 0", first="HTTP/1.1 401 Unauthorized")
    response = world.answered(data, headers=[("Authorization", "Basic eDp5")])
    assert response.header("WWW-Authenticate") == 'Basic realm="a"'
    assert world.origin.requests[0].header("Authorization") == "Basic eDp5"


@must("9110-15.2-interim-responses")
def _(world):
    """Those of 100 to 199 are passed on, in front of the final one."""
    data = answer("Link: </a>", first="HTTP/1.1 103 Early Hints") + answer(first="HTTP/1.1 102 Processing") + answer("Content-Length: 0")
    with world.connect() as client:
        client.request("GET", raw_path(data))
        first = client.read_response()
        assert (first.status, first.header("Link")) == (103, "</a>")
        assert [client.read_response().status for _ in range(2)] == [102, 200]


@must("9110-15.2-not-for-http-1.0")
def _(world):
    with world.connect() as client:
        client.send(f"GET {raw_path(answer(first='HTTP/1.1 103 Early Hints') + answer('Content-Length: 0'))} HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        assert client.read_response().status == 200


@must("9110-6.6.1-date-and-server-are-the-upstreams")
def _(world):
    """Neither is added nor changed."""
    response = world.answered(answer("Date: Thu, 01 Jan 1970 00:00:00 GMT", "Server: x/1", "Content-Length: 0"))
    assert response.all("Date") == ["Thu, 01 Jan 1970 00:00:00 GMT"] and response.all("Server") == ["x/1"]
    assert not world.answered(answer("Content-Length: 0")).all("Date")


@must("9110-7.7-content-is-not-changed")
def _(world):
    with world.connect() as client:
        response = client.exchange("GET", "/bytes/100000", headers=[("Accept-Encoding", "gzip"), ("Cache-Control", "no-transform")])
    assert response.body == body_of(100000) and not response.all("Content-Encoding")
    assert world.origin.requests[0].header("Accept-Encoding") == "gzip"


def test_every_name_has_a_section():
    assert [name for name in CASES.all if not re.match(r"911[02]-\d+(\.\d+)*-[a-z0-9]", name)] == []
    covered = {name.split("-")[1].split(".")[0] for name in CASES.all if name.startswith("9112")}
    assert covered == set("23456789")
