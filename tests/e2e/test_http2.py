# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 with clients: good traffic with real clients and with frames made by hand, and what the many ways to misuse
it get. Each proxy here has one worker, so that what harms one connection would harm all."""

import contextlib
import socket
import struct
import subprocess
import threading
import time
import types

import pytest

from lib import h2raw
from lib.h2raw import frame
from lib.hostile import HOST, Witness, timeouts
from lib.origin import body_of, raw_path
from lib.proc import wait_until

TRANSPORTS = ["plain", "tls"]
SIZES = [0, 1, 4096, 16384, 16385, 65535, 65536, 1 << 20]


def limited(ferrule, origin, certificate, times=None, **h2):
    """The same with bounds of HTTP/2 and time limits."""
    lines = "".join(f"{key} = {value}\n" for key, value in h2.items())
    extra = "".join(f"[entryPoints.{name}.http2]\n{lines}" + timeouts(name, **(times or {})) for name in ("web", "websecure"))
    return ferrule.both(origin, certificates=[certificate], workers=1, extra=extra)


def connect(proxy, transport="tls", **options):
    return h2raw.connect(proxy.port({"plain": "web", "tls": "websecure"}[transport]), transport, **options)


def run(*command, timeout_s=60):
    return subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)


# --- good traffic -----------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bodies_of_every_size_down(proxy, transport):
    with connect(proxy, transport) as client:
        for size in SIZES:
            for path in (f"/bytes/{size}", f"/chunked/{size}", f"/to-close/{size}"):
                response = client.exchange("GET", path)
                assert response.status == 200 and response.body == body_of(size) and response.reset is None, path
                length = response.header("content-length")
                assert length == (str(size) if path.startswith("/bytes") else None), path
                assert not [n for n, _ in response.headers if n in ("connection", "transfer-encoding", "keep-alive")]


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bodies_of_every_size_up(proxy, origin, transport):
    with connect(proxy, transport) as client:
        for size in SIZES:
            for more in ([], [("content-length", str(size))]):
                response = client.exchange("POST", "/echo", body=body_of(size), more=more)
                assert response.status == 200, size
                request = origin.requests[-1]
                assert request.complete and request.body == body_of(size)
    assert proxy.counters()["h2_conns"] == 1 and proxy.counters()["conns_accepted"] == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_curl(proxy, transport):
    option = {"plain": "--http2-prior-knowledge", "tls": "--http2"}[transport]
    port = proxy.port({"plain": "web", "tls": "websecure"}[transport])
    url = f"{'https' if transport == 'tls' else 'http'}://127.0.0.1:{port}"
    got = run("curl", "-skS", option, "-w", "%{http_version} %{http_code}", "-o", "/dev/null", f"{url}/bytes/100000")
    assert got.stdout == b"2 200", got
    got = run("curl", "-skS", option, "--data-binary", "@-", f"{url}/echo", "-H", f"Host: {HOST}", timeout_s=60)
    assert got.returncode == 0
    got = run("curl", "-skS", option, "-I", f"{url}/bytes/77")
    assert b"HTTP/2 200" in got.stdout and b"content-length: 77" in got.stdout.lower()
    got = run("curl", "-skS", "--http1.1", "-w", "%{http_version}", "-o", "/dev/null", f"{url}/bytes/1")
    assert got.stdout == b"1.1"


def test_nghttp(proxy):
    got = run("nghttp", "-nv", f"https://127.0.0.1:{proxy.port('websecure')}/bytes/200000",
              f"https://127.0.0.1:{proxy.port('websecure')}/chunked/70000")
    text = got.stdout.decode()
    assert got.returncode == 0 and text.count(":status: 200") == 2, text
    assert "SETTINGS_MAX_CONCURRENT_STREAMS(0x03):250" in text


def test_h2load(proxy):
    for transport, port in (("http", proxy.port("web")), ("https", proxy.port("websecure"))):
        got = run("h2load", "-n", "4000", "-c", "8", "-m", "16", f"{transport}://127.0.0.1:{port}/bytes/64", timeout_s=180)
        assert "4000 succeeded, 0 failed, 0 errored" in got.stdout.decode(), got.stdout.decode()
    wait_until(lambda: proxy.counters()["streams_now"] == 0, "no stream is left")


@pytest.mark.asan
def test_many_streams_interleave(proxy):
    with connect(proxy) as client:
        sizes = [(i * 7919) % 50000 for i in range(100)]
        streams = [client.open(path=f"/chunked/{size}") for size in sizes]
        for stream, size in zip(streams, sizes):
            response = client.wait(stream)
            assert response.status == 200 and response.body == body_of(size)


def test_fields_reach_the_origin(proxy, origin):
    with connect(proxy) as client:
        more = [("cookie", "a=1"), ("x-test", "v"), ("cookie", "b=2"), ("te", "trailers"), ("cookie", "c=3"),
                ("x-forwarded-for", "9.9.9.9")]
        assert client.exchange("GET", "/echo?q=1", more=more).status == 200
    request = origin.requests[-1]
    fields = {}
    for name, value in request.headers:
        fields.setdefault(name.lower(), []).append(value)
    assert request.target == "/echo?q=1" and request.version == "HTTP/1.1"
    assert fields["host"] == [HOST] and fields["cookie"] == ["a=1; b=2; c=3"] and fields["x-test"] == ["v"]
    assert fields["x-forwarded-proto"] == ["https"] and fields["x-forwarded-for"] == ["127.0.0.1"]
    assert fields["te"] == ["trailers"]


def test_our_own_answers(ferrule, origin, certificate):
    proxy = ferrule.both(origin, certificates=[certificate], rule="PathPrefix(`/here`)", workers=1)
    with connect(proxy) as client:
        response = client.exchange("GET", "/there")
        assert response.status == 404 and response.body == b"404 Not Found\n"
        response = client.exchange("HEAD", "/there")
        assert response.status == 404 and response.body == b"" and response.header("content-length") == "14"
        assert client.exchange("GET", "/here").status == 200


def test_trailers_both_ways(proxy, origin):
    with connect(proxy) as client:
        response = client.exchange("GET", "/chunked/5000?trailer=last")
        assert response.body == body_of(5000) and ("x-trailer", "last") in [tuple(f) for f in response.trailers]
        stream = client.open("POST", "/echo", end=False)
        client.data(stream, b"abc")
        client.send_frame(h2raw.HEADERS, h2raw.END_HEADERS | h2raw.END_STREAM, stream, client.encode([("x-late", "yes")]))
        assert client.wait(stream).status == 200
    assert ("x-late", "yes") in [(n.lower(), v) for n, v in origin.requests[-1].trailers]


def test_interim_responses(proxy):
    early = raw_path(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"  # what follows must not meet its end
    )
    with connect(proxy) as client:
        response = client.exchange("GET", early)
        assert response.status == 200 and response.body == b"ok"
        assert [dict(i)[":status"] for i in response.interim] == ["103"] and dict(response.interim[0])["link"] == "</a>"
        stream = client.open("POST", "/echo", end=False, more=[("expect", "100-continue"), ("content-length", "3")])
        response = client._response(stream)
        client.read_until(lambda: response.interim or response.status)
        assert response.interim, f"{response.status} came first"
        assert dict(response.interim[0])[":status"] == "100"
        client.data(stream, b"abc", end=True)
        assert client.wait(stream).status == 200


def test_early_response_ends_the_upload(proxy):
    """The answer is whole and comes with RST_STREAM(NO_ERROR); the connection goes on."""
    with connect(proxy) as client:
        stream = client.open("POST", "/early/413", end=False)
        response = client.wait_head(stream)
        assert response.status == 413
        client.read_until(lambda: response.ended)
        client.read_until(lambda: response.reset is not None)
        assert response.reset == h2raw.NO_ERROR
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


@pytest.mark.parametrize("path", ["/cut/50000?sent=20000", "/cut/50000?sent=20000&chunked=1"])
def test_a_cut_response_never_looks_whole(proxy, path):
    with connect(proxy) as client:
        response = client.wait(client.open(path=path))
        assert response.status in (200, None)  # the reset may overtake the head
        assert not response.ended and response.reset == h2raw.INTERNAL_ERROR
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


@pytest.mark.parametrize("path", ["/reset", "/close", "/garbage"])
def test_a_bad_upstream_is_a_502(proxy, path):
    with connect(proxy) as client:
        assert client.exchange("GET", path).status == 502
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


@pytest.mark.asan
def test_a_cancelled_request_is_cancelled_upstream(proxy, origin):
    with connect(proxy) as client:
        for path in ("/never", "/slow/1000000?piece=100&ms=10"):
            stream = client.open(path=path)
            wait_until(lambda: proxy.counters()["upconns_now"] >= 1, "the request is upstream")
            client.ping()
            client.send_frame(h2raw.RST_STREAM, 0, stream, struct.pack(">I", h2raw.CANCEL))
            wait_until(lambda: proxy.counters()["streams_now"] == 0, "the stream is gone")
            wait_until(lambda: proxy.counters()["upconns_now"] == 0, "the upstream connection is closed")
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


def test_bidirectional_streaming(ferrule, certificate):
    """As gRPC does it: the response flows while the request still does."""
    script = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n"
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(30)
    try:
        upstream_server = types.SimpleNamespace(url=f"http://127.0.0.1:{server.getsockname()[1]}")
        proxy = ferrule.both(upstream_server, certificates=[certificate], workers=1)
        with connect(proxy) as client:
            stream = client.open("POST", "/bidi", end=False, more=[("te", "trailers"), ("grpc-timeout", "10S")])
            upstream, _ = server.accept()
            upstream.settimeout(30)
            head = b""
            while b"\r\n\r\n" not in head:
                head += upstream.recv(4096)
            assert b"grpc-timeout: 10S" in head and b"TE: trailers" in head.replace(b"te:", b"TE:")
            upstream.sendall(script)
            response = client.wait_head(stream)
            client.read_until(lambda: response.body == b"ping")
            for word in (b"one", b"two"):
                client.data(stream, word)
                got = head.split(b"\r\n\r\n", 1)[1]
                while word not in got:
                    got += upstream.recv(4096)
                upstream.sendall(b"3\r\n" + word + b"\r\n")
                client.read_until(lambda: response.body.endswith(word))
            client.data(stream, b"", end=True)
            upstream.sendall(b"0\r\ngrpc-status: 0\r\n\r\n")
            client.wait(stream)
            assert response.ended and ("grpc-status", "0") in [tuple(f) for f in response.trailers]
    finally:
        server.close()


# --- flow control -----------------------------------------------------------------------------------------------


def test_a_slow_upstream_stops_the_client(proxy, origin):
    """No credit beyond what the exchange took: the client sees its windows run dry."""
    with connect(proxy) as client:
        stream = client.open("POST", "/lazy?ms=200&piece=1000", end=False)
        client.read_until(lambda: client.settings is not None)
        client.ping()
        sent = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and sent < 32 << 20:
            window = min(client.windows[0], client.windows.get(stream, client.initial_window()))
            if window <= 0:
                client.ping()
                if min(client.windows[0], client.windows.get(stream, client.initial_window())) <= 0:
                    time.sleep(0.05)
                continue
            n = min(window, 16384)
            client.data(stream, bytes(n))
            client.windows[0] -= n
            client.windows[stream] = client.windows.get(stream, client.initial_window()) - n
            sent += n
        assert sent < 16 << 20
        assert client.exchange("GET", "/bytes/10").body == body_of(10)  # others go on


def test_a_slow_reader_costs_bounded_memory(proxy):
    with connect(proxy) as client:
        client.credit = False
        before = proxy.resident_kb()
        streams = [client.open(path="/bytes/20000000") for _ in range(20)]
        for stream in streams:
            client.wait_head(stream)
        client.ping()
        assert proxy.resident_kb() - before < 32 * 1024
        with connect(proxy) as other:
            assert other.exchange("GET", "/bytes/100000").body == body_of(100000)


def test_a_stalled_reader_meets_its_limit(ferrule, origin, certificate):
    """Whether it took something or nothing, and whether or not the upstream is done."""
    proxy = limited(ferrule, origin, certificate, times={"idleTimeout": "2s"})
    for n, (window, size) in enumerate(((100, 5000), (0, 5000), (100, 5000000), (0, 5000000))):
        with connect(proxy, options=[(h2raw.INITIAL_WINDOW_SIZE, window)]) as client:
            client.credit = False
            response = client.wait(client.open(path=f"/bytes/{size}"))
            assert len(response.body) == window and response.reset == h2raw.CANCEL
            assert proxy.counters()["h2_stalled"] == n + 1


# --- end of connections -------------------------------------------------------------------------------------------


def test_drain_ends_in_two_steps(proxy):
    client = connect(proxy)
    stream = client.open(path="/delay/2000/bytes/5000")
    client.ping()
    stopper = threading.Thread(target=proxy.stop)
    stopper.start()
    client.read_until(lambda: client.goaway is not None)
    assert client.goaway == h2raw.NO_ERROR and client.last_stream == (1 << 31) - 1
    late = client.open(path="/bytes/10")  # it was on its way
    assert client.wait(late).body == body_of(10)
    assert client.wait(stream).body == body_of(5000)
    assert client.wait_closed() == h2raw.NO_ERROR and client.last_stream == late
    client.close()
    stopper.join()


def test_an_idle_connection_ends(ferrule, origin, certificate):
    proxy = limited(ferrule, origin, certificate, times={"idleTimeout": "2s"})
    for transport in TRANSPORTS:
        with connect(proxy, transport) as client:
            client.exchange("GET", "/bytes/1")
            assert client.wait_closed() == h2raw.NO_ERROR


def test_time_limits_of_requests(ferrule, origin, certificate):
    proxy = limited(ferrule, origin, certificate, times={"readTimeout": "1s", "headTimeout": "1s"})
    with connect(proxy) as client:
        stream = client.open("POST", "/echo", end=False)
        client.data(stream, b"abc")
        assert client.wait(stream).status == 408  # the body does not come
        client.send_frame(h2raw.HEADERS, 0, client.next_id, client.encode(client.fields()))
        assert client.wait_closed() == h2raw.NO_ERROR  # the rest of the head does not come


# --- misuse: each bound, its counter, and a witness that others go on ------------------------------------------------


def resets(client):
    for _ in range(5000):
        stream = client.open(path="/never")
        client.send_frame(h2raw.RST_STREAM, 0, stream, struct.pack(">I", h2raw.CANCEL))


def pings(client):
    client.send(frame(h2raw.PING, payload=b"x" * 8) * 5000)


def settings_flood(client):
    client.send(frame(h2raw.SETTINGS) * 5000)


def priorities(client):
    client.send(frame(h2raw.PRIORITY, stream=1, payload=struct.pack(">IB", 0, 1)) * 5000)


def unknown_frames(client):
    client.send(frame(0xFA, 0xFF, 7, b"abc") * 5000)


def large_unknown_frames(client):
    client.send(b"".join(frame(kind, 0, 0, bytes(10000)) for kind in (0xA, 0xC, 0x10, 0xFF) * 400))


def empty_data(client):
    stream = client.open("POST", "/lazy", end=False)
    client.send(frame(h2raw.DATA, stream=stream) * 5000)


def continuations(client):
    client.send(frame(h2raw.HEADERS, 0, 1, client.encode(client.fields())))
    client.send(frame(h2raw.CONTINUATION, 0, 1, client.encode([("x", "y")])) * 100)


def empty_continuations(client):
    client.send(frame(h2raw.HEADERS, 0, 1, client.encode(client.fields())))
    client.send(frame(h2raw.CONTINUATION, 0, 1) * 100)


def hpack_bomb(client):
    """One large field in the table, then told again and again with one byte each."""
    value = "v" * 3900
    block = client.encoder.encode(client.fields()) + b"\x40\x01x" + bytes([0x7F]) + hpack_int(len(value) - 127) + value.encode()
    client.send(frame(h2raw.HEADERS, h2raw.END_HEADERS | h2raw.END_STREAM, 1, block + b"\xbe" * 12000))


def hpack_int(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def broken_requests(client):
    for _ in range(500):
        client.open(fields=[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a:b")])


def malformed_requests(client):
    for _ in range(500):
        client.open(more=[("X-Upper", "1")])


def broken_trailers(client):
    for _ in range(500):
        stream = client.open("POST", "/echo", end=False)
        client.send_frame(h2raw.HEADERS, h2raw.END_HEADERS | h2raw.END_STREAM, stream, client.encode([("host", "x")]))


MISUSE = {
    "rapid reset": (resets, "h2_resets"),
    "PING flood": (pings, "h2_control_frames"),
    "SETTINGS flood": (settings_flood, "h2_control_frames"),
    "PRIORITY flood": (priorities, "h2_control_frames"),
    "unknown frames": (unknown_frames, "h2_control_frames"),
    "large unknown frames": (large_unknown_frames, "h2_control_frames"),
    "empty DATA": (empty_data, "h2_empty_frames"),
    "CONTINUATION flood": (continuations, "h2_head_frames"),
    "empty CONTINUATION flood": (empty_continuations, "h2_head_frames"),
    "HPACK bomb": (hpack_bomb, "h2_head_bytes"),
    "broken requests": (broken_requests, "h2_glitches"),
    "malformed requests": (malformed_requests, "h2_glitches"),
    "broken trailers": (broken_trailers, "h2_glitches"),
}


@pytest.mark.asan
@pytest.mark.parametrize("name", MISUSE)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_misuse_ends_with_goaway(proxy, transport, name):
    attack, counter = MISUSE[name]
    with Witness(proxy) as witness, connect(proxy) as other, contextlib.closing(connect(proxy, transport)) as client:
        other.exchange("GET", "/bytes/100")
        client.read_until(lambda: client.settings is not None)
        attack(client)
        assert client.wait_closed() in (h2raw.ENHANCE_YOUR_CALM, None)  # None: RST overtook it
        witness.wait_grown(counter, 1)
        assert other.exchange("GET", "/bytes/100").body == body_of(100)
        other.close()


def test_misuse_is_told_why(proxy):
    """A client that reads meanwhile gets to see GOAWAY with ENHANCE_YOUR_CALM."""
    with connect(proxy) as client:
        client.read_until(lambda: client.settings is not None)
        continuations(client)
        assert client.wait_closed() == h2raw.ENHANCE_YOUR_CALM


def test_bounds_are_options(ferrule, origin, certificate):
    proxy = limited(ferrule, origin, certificate, maxConcurrentStreams=3, maxResets=2, maxControlFrames=10, maxHeaderFrames=2,
                    streamWindow=70000)
    with connect(proxy) as client:
        client.read_until(lambda: client.settings is not None)
        assert client.settings[h2raw.MAX_CONCURRENT_STREAMS] == 3
        assert client.settings[h2raw.INITIAL_WINDOW_SIZE] == 70000
        for stream in [client.open(path="/never") for _ in range(3)]:
            client.send_frame(h2raw.RST_STREAM, 0, stream, struct.pack(">I", h2raw.CANCEL))
        assert client.wait_closed() in (h2raw.ENHANCE_YOUR_CALM, None)
    proxy.wait_counter("h2_resets", 1)
    for kind, payload in ((h2raw.PING, bytes(8)), (h2raw.SETTINGS, b""), (h2raw.PRIORITY, bytes(5))):
        before = proxy.counters()["h2_control_frames"]
        with connect(proxy) as client:
            client.read_until(lambda: client.acked > 0)
            client.send(frame(kind, stream=1 if kind == h2raw.PRIORITY else 0, payload=payload) * 20)
            assert client.wait_closed() == h2raw.ENHANCE_YOUR_CALM
        proxy.wait_counter("h2_control_frames", before + 1)
    with connect(proxy) as client:
        client.read_until(lambda: client.acked > 0)
        streams = [client.open(path="/never") for _ in range(4)]
        assert client.wait(streams[3]).reset == h2raw.REFUSED_STREAM
        client.send_frame(h2raw.RST_STREAM, 0, streams[0], struct.pack(">I", h2raw.CANCEL))
        assert client.exchange("GET", "/bytes/10").status == 200, "there is room again"


def test_a_large_head_is_a_431(proxy):
    with connect(proxy) as client:
        assert client.exchange("GET", "/", more=[(f"x-{i}", "v" * 3000) for i in range(5)]).status == 200
        block = client.encode(client.fields(more=[(f"x-{i}", "v" * 3000) for i in range(12)]))
        stream, client.next_id = client.next_id, client.next_id + 2
        client.send_frame(h2raw.HEADERS, h2raw.END_STREAM, stream, block[:16000])
        client.send_frame(h2raw.CONTINUATION, 0, stream, block[16000:32000])
        client.send_frame(h2raw.CONTINUATION, h2raw.END_HEADERS, stream, block[32000:])
        assert client.wait(stream).status == 431
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


def test_http1_stays_on_offer(proxy, authority):
    with proxy.connect_tls(HOST, "websecure", alpn=["http/1.1"]) as client:
        assert client.exchange("GET", "/bytes/10").body == body_of(10)
        assert client.sock.selected_alpn_protocol() == "http/1.1"
    with proxy.connect_tls(HOST, "websecure") as client:
        assert client.exchange("GET", "/bytes/10").body == body_of(10)


def test_a_preface_in_pieces(proxy):
    """Prior knowledge is known by the whole preface, however it comes; what only begins like it is HTTP/1."""
    with connect(proxy, "plain", start=False) as client:
        for byte in h2raw.PREFACE:
            client.send(bytes([byte]))
        client.send_frame(h2raw.SETTINGS)
        assert client.exchange("GET", "/bytes/10").body == body_of(10)
    with proxy.connect("web") as client:
        client.send(b"PR")
        client.send(b"OPFIND / HTTP/1.1\r\nHost: example.test\r\n\r\n")
        assert client.read_response("PROPFIND").status in (200, 501)
