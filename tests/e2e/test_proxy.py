# SPDX-License-Identifier: Apache-2.0
"""What a proxy must do with good traffic: messages arrive whole, in order and nothing of them is changed but what
HTTP says, over HTTP and HTTPS; requests go where the routers say."""

import hashlib
import socket
import threading
import time

import pytest

from lib import config
from lib.origin import body_of, raw_path
from lib.proc import accepts, free_port, wait_until

HOST = "example.test"
# Around the sizes of ferrule's buffers and of TLS records.
SIZES = [0, 1, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20]
TRANSPORTS = ["http", "tls1.2", "tls1.3"]
# What one worker's buffers grow to, however much goes through them: the kernel takes the provided ones in turn, so
# that all of them have been touched after a while.
BUFFERS_KB = 16 * 1024


def open_client(proxy, transport, authority, **options):
    if transport == "http":
        return proxy.connect("web", **options)
    version = transport[3:]
    return proxy.connect_tls(HOST, "websecure", ca_file=authority.cert_file, minimum=version, maximum=version, **options)


def pieces_of(data, size=16000):
    return [data[at:at + size] for at in range(0, len(data), size)]


# --- messages -------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bodies_of_every_size_down(proxy, authority, transport):
    with open_client(proxy, transport, authority) as client:
        for size in SIZES:
            for path in (f"/bytes/{size}", f"/chunked/{size}", f"/chunked/{size}?piece=65536"):
                response = client.exchange("GET", path)
                assert response.status == 200 and response.body == body_of(size), path
                framing = ("Transfer-Encoding", "Content-Length")[path.startswith("/bytes")]
                assert response.header(framing) in ("chunked", str(size)), path
    for size in (0, 1, 65537):  # until the upstream closes: chunked to the client, which keeps its connection
        with open_client(proxy, transport, authority) as client:
            for _ in range(2):
                assert client.exchange("GET", f"/to-close/{size}").body == body_of(size)


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bodies_of_every_size_up(proxy, authority, transport):
    with open_client(proxy, transport, authority) as client:
        for size in SIZES:
            data = body_of(size)
            for body in (data, pieces_of(data), pieces_of(data, 70000), pieces_of(data[:3000], 1)):
                whole = body if isinstance(body, bytes) else b"".join(body)
                echo = client.exchange("POST", "/echo", body=body).json()
                assert echo["body_bytes"] == len(whole)
                assert echo["body_sha256"] == hashlib.sha256(whole).hexdigest(), size


@pytest.mark.parametrize("transport, down, up", [
    ("http", "bytes", "length"), ("http", "chunked", "chunked"), ("tls1.2", "chunked", "length"), ("tls1.3", "bytes", "chunked")])
def test_64_mb_both_ways(proxy, authority, transport, down, up):
    size = 64 << 20
    data = body_of(size)
    before_kb = proxy.resident_kb()
    with open_client(proxy, transport, authority) as client:
        assert client.exchange("GET", f"/{down}/{size}?piece=1000000").body == data
        echo = client.exchange("PUT", "/echo", body=data if up == "length" else pieces_of(data, 1000000)).json()
        assert (echo["body_bytes"], echo["body_sha256"]) == (size, hashlib.sha256(data).hexdigest())
    assert proxy.resident_kb() - before_kb < BUFFERS_KB


@pytest.mark.asan
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_pipelined_requests_are_answered_in_order(proxy, origin, authority, transport):
    count = 200
    requests = "".join(f"GET /bytes/{n * 37 % 5000}?{n} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for n in range(count))
    with open_client(proxy, transport, authority) as client:
        client.send(requests)
        for n in range(count):
            assert client.read_response().body == body_of(n * 37 % 5000), n
    assert [r.target.split("?")[1] for r in origin.requests] == [str(n) for n in range(count)]


def test_pipelined_requests_with_bodies_and_different_answers(proxy, authority):
    with proxy.connect() as client:
        client.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello"
                    f"HEAD /bytes/1000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
                    f"\r\nGET /delay/50/bytes/7 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
                    f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n"
                    f"GET /status/204 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
                    f"GET /chunked/70000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
        assert client.read_response().json()["body_sha256"] == hashlib.sha256(b"hello").hexdigest()
        assert client.read_response("HEAD").header("Content-Length") == "1000"
        assert client.read_response().body == body_of(7)
        assert client.read_response().json()["body_bytes"] == 3
        assert client.read_response().status == 204
        last = client.read_response()
        assert last.body == body_of(70000) and last.header("Connection") == "close"
        assert client.is_closed()


def test_request_in_single_bytes(proxy):
    text = f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n0\r\nX-T: 1\r\n\r\n"
    with proxy.connect() as client:
        for byte in text:
            client.send(byte)
        echo = client.read_response().json()
    assert echo["body_bytes"] == 4 and ["X-A", "b"] in echo["headers"]


def test_keep_alive_and_upstream_reuse(proxy, origin):
    with proxy.connect() as client:
        numbers = [client.exchange("GET", "/echo").json()["number"] for _ in range(20)]
    assert numbers == list(range(20)) and origin.connection_count == 1
    for _ in range(5):  # another client, the same connection to the upstream
        proxy.get("/echo")
    assert origin.connection_count == 1
    counters = proxy.counters()
    assert counters["upstream_connects"] == 1 and counters["upstream_reused"] == 24
    assert counters["requests"] == counters["responses_2xx"] == 25


def test_heads_without_bodies(proxy):
    with proxy.connect() as client:
        head = client.exchange("HEAD", "/bytes/4096")
        assert (head.status, head.header("Content-Length"), head.body) == (200, "4096", b"")
        assert client.exchange("HEAD", "/chunked/4096").status == 200
        for code in (204, 304):
            response = client.exchange("GET", f"/status/{code}")
            assert response.status == code and response.header("Transfer-Encoding") is None
        with_length = "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1234\r\n\r\n"
        response = client.exchange("GET", raw_path(with_length))
        assert response.status == 304 and response.header("ETag") == '"x"'
        assert client.exchange("GET", "/bytes/3").body == body_of(3)


def test_interim_responses(proxy, authority):
    early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    for transport in ("http", "tls1.3"):
        with open_client(proxy, transport, authority) as client:
            client.request("GET", raw_path(early) + "?keep=1")
            hint = client.read_response()
            assert hint.status == 103 and hint.header("Link") == "</a.css>; rel=preload"
            assert client.read_response().body == b"hi"
            # The body is sent only after the upstream has asked for it.
            client.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            assert client.read_response().status == 100
            client.send("12345")
            assert client.read_response().json()["body_bytes"] == 5
            assert client.exchange("GET", "/bytes/1").status == 200


def test_interim_responses_are_not_for_http_1_0(proxy):
    early = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with proxy.connect() as client:
        client.send(f"GET {raw_path(early)} HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        assert client.read_response().body == b"hi"


def test_early_final_answer_to_an_upload(proxy):
    """The upstream answers before it has read the body: the client gets that answer."""
    with proxy.connect() as client:
        client.send(f"POST /early/413 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n")
        client.send(b"x" * 1000)
        response = client.read_response()
        assert response.status == 413 and response.body == b"early\n"


def test_http_1_0_clients(proxy, origin):
    with proxy.connect() as client:  # closes by itself, even for a body without length
        client.send(f"GET /chunked/70000 HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        response = client.read_response()
        assert response.body == body_of(70000) and response.header("Transfer-Encoding") is None
    with proxy.connect() as client:  # asks to keep it
        for _ in range(2):
            client.send("GET /bytes/10 HTTP/1.0\r\nConnection: keep-alive\r\nHost: a.test\r\n\r\n")
            response = client.read_response()
            assert response.body == body_of(10) and response.header("Connection") == "keep-alive"
    with proxy.connect() as client:  # Host may be missing
        client.send("GET /echo HTTP/1.0\r\n\r\n")
        assert client.read_response().status == 200
        assert client.is_closed()
    assert {r.version for r in origin.requests} == {"HTTP/1.1"}


def test_http_1_0_upstream(proxy):
    for answer, body in (("HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
                         ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"), ("HTTP/1.1 200 OK\r\n\r\n", b"")):
        with proxy.connect() as client:
            for _ in range(2):
                response = client.exchange("GET", raw_path(answer))
                assert response.body == body and response.version == "HTTP/1.1"


@pytest.mark.asan
def test_trailers_both_ways(proxy, origin, authority):
    for transport in ("http", "tls1.3"):
        origin.clear()
        with open_client(proxy, transport, authority) as client:
            for size in (0, 10, 70000):
                response = client.exchange("GET", f"/chunked/{size}?trailer=t{size}")
                assert response.body == body_of(size) and response.trailers == [("X-Trailer", f"t{size}")]
            client.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                        "3\r\nabc\r\n0\r\nX-Sum: 42\r\nCookie: late\r\n\r\n")
            assert client.read_response().json()["body_bytes"] == 3
        assert origin.wait_requests(4)[-1].trailers == [("X-Sum", "42")]


def test_hop_by_hop_fields_are_removed(proxy, origin):
    answer = ("HTTP/1.1 200 OK\r\nConnection: X-Gone, close\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\nX-Stays: 1\r\n"
              "Proxy-Connection: close\r\nContent-Length: 2\r\n\r\nhi")
    with proxy.connect() as client:
        response = client.exchange("GET", raw_path(answer), headers=[
            ("Connection", "X-One, keep-alive"), ("connection", "x-two"), ("X-One", "1"), ("X-Two", "2"), ("X-Three", "3"),
            ("Keep-Alive", "timeout=9"), ("Proxy-Connection", "keep-alive"), ("TE", "gzip, trailers"), ("Upgrade", "h2c")])
        names = {name for name, _ in response.headers}
        assert "X-Stays" in names and not names & {"X-Gone", "Keep-Alive", "Proxy-Connection"}
        assert client.exchange("GET", "/bytes/1").status == 200  # the upstream's "close" is not the client's
    request = origin.requests[0]
    gone = ["X-One", "X-Two", "Keep-Alive", "Proxy-Connection", "Upgrade"]
    assert request.header("X-Three") == "3" and [name for name in gone if request.all(name)] == []
    assert request.all("Connection") in ([], ["TE"])


def test_fields_pass_unchanged_and_in_order(proxy, origin):
    sent = [("X-Empty", ""), ("Cookie", "a=1; b=2"), ("x-lower", "v"), ("Cookie", "c=3"), ("X-Latin", "caf\xe9"),
            ("X-Long", "v" * 20000), ("Authorization", "Basic eHl6")]
    with proxy.connect() as client:
        target = "/echo/%2e%2e/a//b?q=%20&x=1;y=[]"
        assert client.exchange("GET", target, headers=sent).status == 200
    request = origin.requests[0]
    assert request.target == target and request.all("Host") == [HOST]
    assert [field for field in request.headers if field in sent] == sent


def test_absolute_target(proxy, origin):
    with proxy.connect() as client:
        client.send("GET http://other.test/echo?x HTTP/1.1\r\nHost: ignored.test\r\n\r\n")
        assert client.read_response().status == 200
    assert origin.requests[0].target == "/echo?x" and origin.requests[0].header("Host") == "other.test"


# --- pace and memory --------------------------------------------------------------------------------------------


def settled(value, what):
    """Waits until a number stops changing for a while; returns it."""
    seen = []

    def calm():
        seen.append(value())
        return len(seen) > 4 and len(set(seen[-4:])) == 1

    wait_until(calm, what, interval_s=0.1)
    return seen[-1]


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_slow_readers_take_bounded_memory(proxy, nginx, ferrule, certificate, authority, transport):
    """150 clients (more than there are large buffers) that ask for 16 MB each and do not read: ferrule holds little of it, and goes on for all."""
    nginx.file("16m", 16 << 20)
    proxy = ferrule.both(nginx, certificates=[certificate], workers=1)
    proxy.get("/64", entrypoint="web")
    before_kb = proxy.resident_kb()
    clients = [open_client(proxy, transport, authority) for _ in range(150)]
    for client in clients:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.request("GET", "/16m")
    wait_until(lambda: proxy.counters()["responses_2xx"] >= 151, "all answers have begun")
    settled(lambda: proxy.counters()["bytes_out"], "nothing moves any more")
    grown_kb = proxy.resident_kb() - before_kb
    assert grown_kb < BUFFERS_KB + 150 * 256, f"{grown_kb} KB for 150 slow readers"
    assert proxy.get("/1m", entrypoint="web").body == body_of(1 << 20)
    body = clients[0].read_response().body
    assert body == body_of(16 << 20)
    for client in clients[1:]:
        client.reset()
    wait_until(lambda: proxy.counters()["conns_now"] <= 1, "slow readers are gone")


@pytest.mark.parametrize("transport", ["http", "tls1.3"])
def test_slow_upstream_pauses_an_upload(proxy, origin, authority, transport):
    """The origin reads more slowly than the client sends: the client is held back, not the bytes in memory."""
    data = body_of(32 << 20)
    before_kb = proxy.resident_kb()
    with open_client(proxy, transport, authority) as client:
        client.request("POST", "/lazy?piece=262144&ms=5", body=data)
        assert client.read_response().json()["body_sha256"] == hashlib.sha256(data).hexdigest()
    assert proxy.resident_kb() - before_kb < BUFFERS_KB


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_slow_uploader(proxy, authority, transport):
    """A body in small pieces with pauses; another client on the same worker is not held up."""
    with open_client(proxy, transport, authority) as slow, proxy.connect() as other:
        slow.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 40\r\n\r\n")
        for n in range(20):
            slow.send(b"%02d" % n)
            assert other.exchange("GET", "/bytes/1").status == 200
        assert slow.read_response().json()["body_sha256"] == hashlib.sha256(b"".join(b"%02d" % n for n in range(20))).hexdigest()


def test_slow_upstream_bytes_are_passed_on_at_once(proxy):
    """Bytes do not wait in ferrule for more of them."""
    with proxy.connect() as client:
        client.request("GET", "/slow/2?piece=1&ms=10000")
        client.read_head()
        started = time.monotonic()
        client.read_exactly(1)
        assert time.monotonic() - started < 8, "the first byte waited for the second"


def test_duplex_echo_of_many_connections(proxy, authority):
    """Uploads and downloads at once over many connections of both kinds."""
    failures = []

    def work(n):
        try:
            with open_client(proxy, TRANSPORTS[n % 3], authority) as client:
                for round_ in range(4):
                    data = body_of(50000 + n * 997 + round_)
                    echo = client.exchange("POST", "/echo", body=data if round_ % 2 else pieces_of(data)).json()
                    assert echo["body_sha256"] == hashlib.sha256(data).hexdigest()
                    assert client.exchange("GET", f"/chunked/{len(data)}").body == data
        except Exception as error:  # shown by the main thread
            failures.append((n, repr(error)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- forwarding -----------------------------------------------------------------------------------------------


FORGED = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test"),
          ("X-Forwarded-Port", "1"), ("X-Real-Ip", "203.0.113.7"), ("X-Forwarded-Tls-Client-Cert", "x")]


def test_forwarded_fields_of_untrusted_clients(proxy, origin, authority):
    proxy.get("/echo", host=f"{HOST}:8080", entrypoint="web", headers=FORGED)
    proxy.get_tls("/echo", host=HOST, entrypoint="websecure", ca_file=authority.cert_file, headers=FORGED)
    plain, secure = origin.wait_requests(2)
    for request, proto, host, port in ((plain, "http", f"{HOST}:8080", "8080"), (secure, "https", HOST, "443")):
        assert request.all("X-Forwarded-For") == ["127.0.0.1"] and request.all("X-Real-Ip") == ["127.0.0.1"]
        assert request.all("X-Forwarded-Proto") == [proto]
        assert request.all("X-Forwarded-Host") == [host]
        assert request.all("X-Forwarded-Port") == [port]
        assert request.all("X-Forwarded-Server") == [socket.gethostname()]
        assert request.all("X-Forwarded-Tls-Client-Cert") == []


@pytest.mark.parametrize("trust, believed", [("insecure = true", True), ('trustedIPs = ["127.0.0.0/8"]', True),
                                             ('trustedIPs = ["10.0.0.0/8", "::1"]', False)])
def test_forwarded_fields_of_trusted_clients(ferrule, origin, trust, believed):
    proxy = ferrule.http(origin, entry=f"[entryPoints.web.forwardedHeaders]\n{trust}")
    proxy.get("/echo", headers=FORGED)
    request = origin.wait_requests(1)[0]
    expected = {name: [value] for name, value in FORGED}
    expected["X-Forwarded-For"] = ["203.0.113.7, 127.0.0.1"]
    if believed:
        assert {name: request.all(name) for name in expected} == expected
    else:
        assert request.all("X-Forwarded-For") == ["127.0.0.1"] and request.header("X-Forwarded-Host") == HOST


def test_host_of_the_server_instead_of_the_clients(ferrule, origin):
    proxy = ferrule.http(origin, service="passHostHeader = false")
    proxy.get("/echo")
    request = origin.wait_requests(1)[0]
    assert request.all("Host") == [f"127.0.0.1:{origin.port}"] and request.header("X-Forwarded-Host") == HOST


# --- routing --------------------------------------------------------------------------------------------------


def redirecting(to, more=""):
    return f'[entryPoints.web.http.redirections.entryPoint]\nto = "{to}"\n{more}'


@pytest.mark.parametrize("to, more, status, location", [
    ("websecure", "", 308, "https://example.test:{port}/a/b?c=d"),
    (":443", "", 308, "https://example.test/a/b?c=d"),
    (":8443", "permanent = false", 307, "https://example.test:8443/a/b?c=d"),
    (":80", 'scheme = "http"', 308, "http://example.test/a/b?c=d"),
])
def test_redirection_of_an_entry_point(ferrule, origin, certificate, to, more, status, location):
    ports = {"web": free_port(), "websecure": free_port()}
    proxy = ferrule("\n".join([
        config.entrypoint("web", ports["web"], more=redirecting(to, more)), config.entrypoint("websecure", ports["websecure"]),
        config.router("all", "origins", entrypoints=["websecure"], tls=True), config.service("origins", origin.url),
        config.certificate(certificate)]), ports)
    with proxy.connect("web") as client:
        for host in (HOST, f"{HOST}:{ports['web']}"):
            response = client.exchange("POST", "/a/b?c=d", host)
            assert response.header("Location") == location.format(port=ports["websecure"])
            assert response.status in (status, {308: 301, 307: 302}[status])
    assert origin.requests == [] and proxy.counters()["responses_3xx"] == 2


RULES = {
    "host": ("Host(`a.test`)", None),
    "hosts": ("Host(`b.test`) || Host(`C.test`)", None),
    "prefix": ("Host(`a.test`) && PathPrefix(`/api`)", None),
    "exact": ("Host(`a.test`) && Path(`/api/exact`)", None),
    "strong": ("PathPrefix(`/strong`)", 1000),
    "not": ("Host(`d.test`) && !PathPrefix(`/private`)", None),
    "group": ("(Host(`e.test`) || Host(`f.test`)) && (Path(`/x`) || Path(`/y`))", None),
    "weak": ("Host(`d.test`)", 1),
}
ROUTES = [  # host, target, who answers (None: 404)
    ("a.test", "/", "host"), ("A.TEST:8080", "/", "host"), ("a.test.", "/", "host"), ("b.test", "/q", "hosts"), ("c.test", "/", "hosts"),
    ("a.test", "/api", "prefix"), ("a.test", "/api/x?y", "prefix"), ("a.test", "/ap", "host"), ("a.test", "/api/exact", "exact"),
    ("a.test", "/api/exact?q=1", "exact"), ("a.test", "/api/exact/", "prefix"), ("a.test", "/strong", "strong"), ("nobody.test", "/strong/1", "strong"),
    ("nobody.test", "/", None), ("d.test", "/", "not"), ("d.test", "/private/x", "weak"), ("e.test", "/x", "group"),
    ("f.test", "/y?", "group"), ("f.test", "/z", None), ("g.test", "/x", None), ("x.a.test", "/", None),
]


def test_routing(ferrule, make_origin):
    port = free_port()
    origins = {name: make_origin(name) for name in RULES}
    text = [config.entrypoint("web", port)]
    for name, (rule, priority) in RULES.items():
        text += [config.router(name, name, rule, priority=priority), config.service(name, origins[name].url)]
    proxy = ferrule("\n".join(text), {"web": port})
    got = []
    with proxy.connect() as client:
        for host, target, _ in ROUTES:
            response = client.exchange("GET", target, host)
            got.append((host, target, response.header("X-Origin") if response.status == 200 else None))
            assert response.status in (200, 404)
    assert got == ROUTES
    assert proxy.counters()["no_route"] == sum(who is None for _, _, who in ROUTES)


def test_routers_with_and_without_tls(ferrule, make_origin, certificate, authority):
    """A router with tls takes TLS connections only, one without takes plain ones only, at one entry point each."""
    plain, secure = make_origin("plain"), make_origin("secure")
    ports = {"web": free_port(), "websecure": free_port()}
    proxy = ferrule("\n".join([
        config.entrypoint("web", ports["web"]), config.entrypoint("websecure", ports["websecure"]),
        config.router("plain", "plain", "PathPrefix(`/plain`)", entrypoints=["web"]), config.service("plain", plain.url),
        config.router("secure", "secure", "PathPrefix(`/`)", entrypoints=["websecure"], tls=True),
        config.service("secure", secure.url), config.certificate(certificate)]), ports)
    assert proxy.get("/plain", entrypoint="web").header("X-Origin") == "plain"
    assert proxy.get("/other", entrypoint="web").status == 404
    assert proxy.get_tls("/plain", HOST, "websecure", ca_file=authority.cert_file).header("X-Origin") == "secure"


# --- upstreams ------------------------------------------------------------------------------------------------


def test_round_robin(ferrule, make_origin):
    origins = [make_origin(f"o{n}") for n in range(3)]
    proxy = ferrule.http(*origins, workers=1)
    with proxy.connect() as client:
        names = [client.exchange("GET", "/echo").header("X-Origin") for _ in range(30)]
    assert {name: names.count(name) for name in names} == {"o0": 10, "o1": 10, "o2": 10}
    assert names[:3] == names[3:6] and len(set(names[:3])) == 3


def test_dead_server_is_skipped(ferrule, make_origin):
    origins = [make_origin(f"o{n}") for n in range(3)]
    proxy = ferrule.http(*origins, workers=1)
    with proxy.connect() as client:
        for _ in range(6):
            assert client.exchange("GET", "/echo").status == 200
        origins[1].stop()
        names = set()
        for n in range(30):
            response = client.exchange("GET", "/echo")
            assert response.status == 200, n
            names.add(response.header("X-Origin"))
        assert names == {"o0", "o2"}
        origins[1].start()
        wait_until(lambda: client.exchange("GET", "/echo").header("X-Origin") == "o1", "the server is used again")


def test_all_servers_dead(ferrule, make_origin):
    origins = [make_origin(f"o{n}") for n in range(2)]
    for origin in origins:
        origin.stop()
    proxy = ferrule.http(*origins)
    with proxy.connect() as client:
        assert [client.exchange("GET", "/").status for _ in range(3)] == [502] * 3
        assert client.exchange("POST", "/", body=b"x" * 10).status == 502
        counters = proxy.counters()
        assert counters["upstream_failed"] >= 3 and counters["responses_5xx"] >= 4
        origins[0].start()
        wait_until(lambda: proxy.get("/echo").status == 200, "the server that came back is used")


def test_upstream_by_name(ferrule, origin):
    port = free_port()
    proxy = ferrule("\n".join([config.entrypoint("web", port), config.router("all", "origins"),
                               config.service("origins", f"http://localhost:{origin.port}")]), {"web": port})
    wait_until(lambda: proxy.get("/echo").status == 200, "localhost is resolved")


def test_stale_connection_is_tried_again_for_get_only(proxy, origin):
    """The upstream closes a kept connection as the request arrives: GET goes again on a new one, POST does not."""
    stale = raw_path("")  # the origin reads the request and closes without an answer
    with proxy.connect() as client:
        assert client.exchange("GET", "/echo").json()["number"] == 0
        assert client.exchange("GET", stale).status == 502  # first reused, then fresh: it fails both times
        assert len(origin.requests) == 3 and proxy.counters()["upstream_retries"] == 1
        assert client.exchange("GET", "/echo").json()["number"] == 0
        assert client.exchange("POST", stale, body=b"x").status == 502
        assert len(origin.requests) == 5 and proxy.counters()["upstream_retries"] == 1
        assert client.exchange("GET", "/echo").json()["number"] == 0
        assert client.exchange("PUT", stale, body=[]).status == 502  # the end of its chunks is out already
        assert len(origin.requests) == 7 and proxy.counters()["upstream_retries"] == 1
        # A connection that the upstream closed in the meantime is not even tried.
        assert client.exchange("GET", "/echo").status == 200
        origin.drop_connections()
        wait_until(lambda: proxy.counters()["upconns_now"] == 0, "ferrule notices that its kept connection ended")
        assert client.exchange("POST", "/echo", body=b"x").status == 200


def test_idle_upstream_connections_are_bounded(ferrule, make_origin):
    origin = make_origin("o")
    proxy = ferrule.http(origin, workers=1, service='serversTransport = "small"',
                         extra="[http.serversTransports.small]\nmaxIdleConnsPerHost = 2\n")
    clients = [proxy.connect() for _ in range(6)]
    for client in clients:
        client.request("GET", "/with/6/echo")
    for client in clients:
        assert client.read_response().status == 200
    assert origin.connection_count == 6
    wait_until(lambda: origin.open_connections == 2, "all but two are closed")


def test_idle_upstream_connection_is_closed_in_time(ferrule, make_origin):
    origin = make_origin("o")
    proxy = ferrule.http(origin, workers=1, service='serversTransport = "short"',
                         extra='[http.serversTransports.short.forwardingTimeouts]\nidleConnTimeout = "200ms"\n')
    assert proxy.get("/echo").status == 200
    wait_until(lambda: origin.open_connections == 0, "the idle connection is closed")


# --- configuration --------------------------------------------------------------------------------------------


def test_bad_configuration_starts_nothing(ferrule, folder, origin, authority):
    """All errors at once, with their places; exit code 1; not a socket was opened."""
    port = free_port()
    one, two = authority.issue("one.test"), authority.issue("two.test")
    lines = f"""[entryPoints.web]
address = "127.0.0.1:{port}"
adress = "x"
[entryPoints.web.http]
maxHeaderBytes = "many"
[http.routers.a]
rule = "Host(`a.test`"
service = "missing"
[http.routers.b]
rule = "Host(`b.test`)"
service = "missing"
[http.services.o.loadBalancer]
[[http.services.o.loadBalancer.servers]]
url = "{origin.url}"
[[tls.certificates]]
certFile = "{folder}/nowhere.pem"
keyFile = "{one.key_file}"
[[tls.certificates]]
certFile = "{one.cert_file}"
keyFile = "{two.key_file}"
"""
    proxy = ferrule(lines, {"web": port}, start=False)
    for command in ("check", "run"):
        result = proxy.cli(command)
        said = result.stdout + result.stderr
        assert result.returncode == 1, said
        where = [line.split(":")[1] for line in said.splitlines() if line.startswith(str(proxy.config_file))]
        for line in ("3", "5", "7", "11", "16"):
            assert line in where, f"{command}: nothing about line {line}:\n{said}"
        assert {"19", "20"} & set(where), said
        for word in ("did you mean address", "1024 to", "missing", "nowhere.pem", "does not belong"):
            assert word in said, f"{command}: {word} is not in\n{said}"
    assert not accepts(port) and list(proxy.state_folder.iterdir()) == []


def test_feature_that_is_not_there_yet_is_named(ferrule, origin):
    proxy = ferrule.http(origin, start=False, extra='''
[[http.services.later.loadBalancer.servers]]
url = "http://127.0.0.1"
preservePath = true
''')
    result = proxy.cli("run")
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "preservePath is known" in said and f"{proxy.config_file}:" in said
    assert proxy.cli("check", "--fragment").returncode == 0
