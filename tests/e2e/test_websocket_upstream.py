# SPDX-License-Identifier: Apache-2.0
"""WebSocket to servers that speak HTTP/2: on a stream where they announce it (RFC 8441), else over HTTP/1.1, else refused
in so many words. Clients come by HTTP/1.1 and by HTTP/2."""

import hashlib
import struct
import threading

import pytest

from lib import config, h2raw
from lib.h2origin import H2Origin
from lib.hostile import HOST
from lib.origin import body_of
from lib.proc import wait_until
from lib.websocket import accept_of, ask
from test_websocket_h2 import Tunnel, connect

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue(HOST)


@pytest.fixture
def make_h2(nothing_left_running):
    made = []

    def make(**options):
        made.append(H2Origin(**options))
        return made[-1]
    yield make
    for origin in made:
        origin.stop()
    assert not [origin.complaints for origin in made if origin.complaints]


@pytest.fixture
def make_pair(ferrule, make_h2, authority, certificate):
    """make_pair("h2c" or "tls", origin options...): a proxy with one worker, and its origin."""
    def make(kind, extra="", **options):
        origin = make_h2(certificate=authority.issue("127.0.0.1") if kind == "tls" else None, **options)
        roots = f"[serversTransport]\nrootCAs = {config.strings([authority.cert_file])}\n"
        return ferrule.both(origin, certificates=[certificate], workers=1, extra=roots + extra), origin
    return make


@pytest.fixture(params=["h2c", "tls"])
def pair(request, make_pair):
    """One whose proxy knows that it takes WebSockets."""
    proxy, origin = make_pair(request.param, connect=True)
    assert proxy.get("/bytes/1", entrypoint="web").status == 200
    return proxy, origin


class Plain:
    """The end of a client of HTTP/1.1, with the methods of Tunnel."""

    def __init__(self, client):
        self.client = client

    def send(self, data, end=False):
        self.client.send(data)
        if end:
            self.client.sock.shutdown(1)

    def read_exactly(self, count):
        return self.client.read_exactly(count)

    def read_to_end(self):
        return self.client.read_to_end()

    def leave(self):
        self.client.reset()


class Framed(Tunnel):
    def leave(self):
        self.client.send_frame(h2raw.RST_STREAM, 0, self.stream, struct.pack(">I", h2raw.CANCEL))


def open_tunnel(proxy, version, path="/"):
    if version == "h2":
        client = connect(proxy)
        end = Framed(client, client.open_websocket(path))
        assert end.response.status == 200 and end.response.header("sec-websocket-protocol") == "chat"
        assert end.response.header("sec-websocket-accept") is None
        return end
    client = proxy.connect("web")
    ask(client, path)
    response = client.read_response()
    assert (response.status, response.header("Upgrade"), response.header("Connection")) == (101, "websocket", "upgrade")
    assert response.header("Sec-WebSocket-Accept") == accept_of(KEY) and response.header("Sec-WebSocket-Protocol") == "chat"
    return Plain(client)


def all_is_over(proxy):
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["streams_now"] == 0, "no tunnel is left")


VERSIONS = pytest.mark.parametrize("version", ["h1", "h2"])


@pytest.mark.asan
@VERSIONS
def test_bytes_come_back(pair, version):
    """On a stream of the one connection; of the fields of HTTP/1.1 none is left."""
    proxy, origin = pair
    end = open_tunnel(proxy, version, "/chat?a=b")
    fields = origin.tunnels[0]
    assert (fields[":method"], fields[":protocol"], fields[":path"], fields[":authority"]) == ("CONNECT", "websocket", "/chat?a=b", HOST)
    assert fields[":scheme"] == ("https" if origin.tls else "http") and fields["sec-websocket-version"] == "13"
    assert not {"sec-websocket-key", "upgrade", "connection", "host"} & set(fields)
    assert fields["x-forwarded-proto"] == ("wss" if version == "h2" else "ws")
    data = body_of(3 << 20)
    sender = threading.Thread(target=end.send, args=(data,)) if version == "h1" else None
    if sender:
        sender.start()
    else:
        end.send(data)
    assert hashlib.sha256(end.read_exactly(len(data))).digest() == hashlib.sha256(data).digest()
    if sender:
        sender.join()
    end.send(b"last", end=True)
    assert end.read_to_end() == b"last"
    end.client.close()
    all_is_over(proxy)
    counters = proxy.counters()
    assert origin.connection_count == 1 and not origin.resets
    assert (counters["aborted"], counters["upstream_failed"], counters["tunnels"]) == (0, 0, 1)


@pytest.mark.asan
def test_many_at_once(pair):
    """Beside requests, on one connection."""
    proxy, origin = pair
    ends = [open_tunnel(proxy, version) for version in ("h1", "h2") * 10]
    for n, end in enumerate(ends):
        end.send(body_of(1000 + n))
    assert proxy.get("/bytes/100000", entrypoint="web").body == body_of(100000)
    for n, end in enumerate(ends):
        assert end.read_exactly(1000 + n) == body_of(1000 + n)
        end.client.close()
    all_is_over(proxy)
    assert origin.connection_count == 1


@pytest.mark.asan
@VERSIONS
def test_first_request_waits_for_settings(make_pair, version):
    """Before them nobody may ask for a tunnel (RFC 8441 section 3)."""
    proxy, origin = make_pair("h2c", connect=True, late_settings_s=1)
    end = open_tunnel(proxy, version)
    end.send(b"hello")
    assert end.read_exactly(5) == b"hello"
    end.client.close()


@pytest.mark.asan
@VERSIONS
@pytest.mark.parametrize("status", [403, 503])
def test_server_that_declines(pair, version, status):
    proxy, origin = pair
    if version == "h2":
        with connect(proxy) as client:
            response = client.wait(client.open_websocket(f"/decline/{status}"))
    else:
        with proxy.connect("web") as client:
            ask(client, f"/decline/{status}")
            response = client.read_response()
    assert (response.status, response.body) == (status, b"declined")
    all_is_over(proxy)
    assert proxy.counters()["tunnels"] == 0


@pytest.mark.asan
@VERSIONS
def test_server_that_ends_its_side(pair, version):
    """The client goes on with the other."""
    proxy, origin = pair
    end = open_tunnel(proxy, version, "/bye")
    end.send(body_of(5000))
    assert end.read_to_end() == body_of(5000)
    end.send(b"more", end=True)
    end.client.close()
    all_is_over(proxy)
    assert proxy.counters()["aborted"] == 0


@pytest.mark.asan
@VERSIONS
def test_server_that_ends_both(pair, version):
    """What it sent before arrives."""
    proxy, origin = pair
    end = open_tunnel(proxy, version, "/shut")
    end.send(body_of(5000))
    assert end.read_to_end() == body_of(5000)
    end.client.close()
    all_is_over(proxy)
    assert proxy.counters()["aborted"] == 0


@pytest.mark.asan
def test_server_that_resets_the_stream(pair):
    proxy, origin = pair
    end, other = open_tunnel(proxy, "h2", "/cut-tunnel"), open_tunnel(proxy, "h2")
    end.send(b"x")
    assert end.client.wait(end.stream).reset == h2raw.CANCEL
    plain = open_tunnel(proxy, "h1", "/cut-tunnel")
    plain.send(b"x")
    assert plain.client.is_closed()
    other.send(b"alive")
    assert other.read_exactly(5) == b"alive"
    wait_until(lambda: proxy.counters()["tunnels_now"] == 1, "one is left")
    assert origin.connection_count == 1
    other.client.close()


@pytest.mark.asan
@VERSIONS
def test_client_that_leaves(pair, version):
    """Its stream is reset, the connection stays."""
    proxy, origin = pair
    end = open_tunnel(proxy, version)
    end.send(b"x")
    assert end.read_exactly(1) == b"x"
    end.leave()
    wait_until(lambda: origin.resets == [h2raw.CANCEL], "the stream is reset")
    all_is_over(proxy)
    assert proxy.get("/bytes/10", entrypoint="web").status == 200 and origin.connection_count == 1
    end.client.close()


@pytest.mark.asan
def test_server_whose_connection_is_lost(pair):
    proxy, origin = pair
    end = open_tunnel(proxy, "h2")
    end.send(b"x")
    assert end.read_exactly(1) == b"x"
    origin.drop_connections()
    assert end.client.wait(end.stream).reset == h2raw.CANCEL
    assert proxy.get("/bytes/10", entrypoint="web").status == 200
    end.client.close()


@pytest.mark.asan
@VERSIONS
def test_server_of_http2_alone_without_websocket(make_pair, version):
    """A clear 502, a counter and a line in the log; requests go on."""
    proxy, origin = make_pair("h2c")
    if version == "h2":
        with connect(proxy) as client:
            assert client.wait(client.open_websocket()).status == 502
    else:
        with proxy.connect("web") as client:
            ask(client)
            assert client.read_response().status == 502
    assert proxy.counters()["upstream_rule_tunnel_unknown"] == 1
    proxy.wait_log("takes no WebSockets (RFC 8441)")
    assert proxy.get("/bytes/10", entrypoint="web").status == 200
    assert origin.connection_count == 1 and not origin.tunnels


@pytest.mark.asan
@VERSIONS
def test_server_that_takes_http1_as_well(make_pair, version):
    """HTTP/1.1 carries the WebSocket where nothing else is known of it (this server then answers without a switch)."""
    proxy, origin = make_pair("tls")
    assert proxy.get("/bytes/1", entrypoint="web").status == 200
    if version == "h2":
        with connect(proxy) as client:
            assert client.wait(client.open_websocket()).status == 502
        assert proxy.counters()["upstream_rule_switch_declined"] == 1
    else:
        with proxy.connect("web") as client:
            ask(client)
            response = client.read_response()
            assert (response.status, response.body) == (200, b"1")
    assert origin.connection_count == 2 and not origin.tunnels


def test_another_protocol_is_not_asked_for_on_streams(pair):
    """There is no way to say it; a request is then one without Upgrade, or has HTTP/1.1."""
    proxy, origin = pair
    response = proxy.get("/echo", entrypoint="web", headers=[("Connection", "upgrade"), ("Upgrade", "other")])
    assert response.status == 200 and not origin.tunnels
    assert origin.connection_count == (2 if origin.tls else 1)
