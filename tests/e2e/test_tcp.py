# SPDX-License-Identifier: Apache-2.0
"""TCP connections routed by server name, passed on as they are or without their TLS; and the PROXY protocol, taken
from clients and told to servers."""

import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from lib import config, tls
from lib.hello import PiecewiseTls
from lib.hostile import timeouts
from lib.origin import body_of
from lib.peer import Peer, read_header, v1, v2
from lib.proc import free_port, wait_until

PASS = "passthrough = true"


@pytest.fixture
def peer(nothing_left_running):
    server = Peer()
    yield server
    server.stop()


@pytest.fixture
def other(nothing_left_running):
    server = Peer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue("a.test", "b.test", "*.wild.test", "web.test")


def run(ferrule, *pieces, entry="", **options):
    port = free_port()
    options.setdefault("workers", 1)
    return ferrule("\n".join([config.entrypoint("tcp", port, more=entry), *pieces]), {"tcp": port}, **options)


def secure_nginx(make_nginx, certificate, **options):
    return make_nginx(f"ssl_certificate {certificate.cert_file}; ssl_certificate_key {certificate.key_file};", tls=True, **options)


def address_of(server):
    return f"127.0.0.1:{server.port}"


def hello_bytes(name):
    """A ClientHello as a client would send it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def split_records(record, size):
    """The same handshake message in records of `size` bytes."""
    body = record[5:]
    return b"".join(record[:3] + len(body[at:at + size]).to_bytes(2, "big") + body[at:at + size] for at in range(0, len(body), size))


# --- plain TCP ------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_server_speaks_first(ferrule, peer):
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address, more='serversTransport = "t"'),
                '[tcp.serversTransports.t]\nterminationDelay = "30s"')
    client = proxy.connect()
    upstream = peer.accept()
    upstream.send(b"220 ready\r\n")
    assert client.read_line() == b"220 ready"
    client.send(b"x" * 300000)
    assert upstream.read_exactly(300000) == b"x" * 300000
    client.sock.shutdown(socket.SHUT_WR)
    upstream.send(b"bye")
    assert client.read_exactly(3) == b"bye"
    upstream.close()
    assert client.is_closed()
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["conns_now"] == 0 and c["upconns_now"] == 0, "all is closed")


def test_termination_delay(ferrule, peer):
    """One side has ended: the other has so long, whatever it sends."""
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address, more='serversTransport = "t"'),
                '[tcp.serversTransports.t]\nterminationDelay = "1s"')
    client = proxy.connect()
    upstream = peer.accept()
    client.send(b"last")
    began = time.monotonic()
    client.sock.shutdown(socket.SHUT_WR)
    assert upstream.read_exactly(4) == b"last"
    with pytest.raises(OSError):
        while time.monotonic() - began < 20:
            upstream.send(b"more")
            time.sleep(0.05)
    assert time.monotonic() - began > 0.8
    wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "the tunnel is over")


@pytest.mark.asan
def test_slow_server_gets_all(ferrule, peer):
    """The client has ended its side; terminationDelay (100 ms) is not for what is still on its way."""
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address))
    peer.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client = proxy.connect()
    upstream = peer.accept()
    total = 0
    client.sock.settimeout(0.5)
    try:
        while True:  # until all buffers are full
            total += client.sock.send(b"u" * 65536)
    except TimeoutError:
        pass
    client.sock.shutdown(socket.SHUT_WR)
    for at in range(0, total, 65536):  # so slowly that the last buffers take longer than the delay
        piece = min(65536, total - at)
        assert upstream.read_exactly(piece) == b"u" * piece
        time.sleep(0.03)
    assert upstream.is_closed()


def test_idle_connection_is_closed_in_time(ferrule, peer):
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address), timeouts("tcp", tunnelTimeout="1s"))
    client = proxy.connect()
    upstream = peer.accept()
    for side in (client, upstream):  # reset: neither may take it for the other's end
        with pytest.raises(ConnectionResetError):
            side.sock.recv(1)
    assert proxy.counters()["timeouts"] == 1


@pytest.mark.asan
@pytest.mark.parametrize("who", ["client", "upstream"])
def test_reset(ferrule, peer, who):
    """The other side sees it too, and the process that did it is still the same."""
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address))
    data = proxy.pid_of("data")
    client = proxy.connect()
    upstream = peer.accept()
    one, rest = (client, upstream) if who == "client" else (upstream, client)
    rest.send(b"x")
    assert one.read_exactly(1) == b"x"
    one.reset()
    assert rest.is_closed()
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["upconns_now"] == 0, "all is closed")
    assert proxy.pid_of("data") == data


def test_no_server(ferrule, peer):
    """Nothing listens: the client is told at once; with a second server it notices nothing."""
    dead = f"127.0.0.1:{free_port()}"
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", dead))
    assert proxy.connect().is_closed()
    both = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", dead, peer.address))
    for _ in range(4):
        client = both.connect()
        client.send(b"x")
        assert peer.accept().read_exactly(1) == b"x"


def test_weighted(ferrule, peer, other):
    proxy = run(ferrule, config.tcp_router("all", "w"), config.tcp_service("one", peer.address), config.tcp_service("two", other.address),
                '[[tcp.services.w.weighted.services]]\nname = "one"\nweight = 3\n[[tcp.services.w.weighted.services]]\nname = "two"\nweight = 1')
    clients = [proxy.connect() for _ in range(8)]
    for _ in range(6):
        peer.accept()
    for _ in range(2):
        other.accept()
    for client in clients:
        client.close()


def test_drain(ferrule, peer):
    """A stop lets connections live for the grace time, and takes no new ones."""
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address),
                entry='[entryPoints.tcp.transport.lifeCycle]\ngraceTimeOut = "20s"')
    client = proxy.connect()
    upstream = peer.accept()
    proxy.process.send_signal(signal.SIGTERM)
    proxy.wait_log("stopping")
    client.send(b"still")
    assert upstream.read_exactly(5) == b"still"
    upstream.send(b"here")
    assert client.read_exactly(4) == b"here"
    client.close()
    upstream.close()
    proxy.stop()


@pytest.mark.asan
def test_reload(ferrule, peer, other):
    """What has begun goes on with the server that it has; new connections go by the new configuration."""
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address))
    client = proxy.connect()
    upstream = peer.accept()
    proxy.write_config(proxy.config_file.read_text().replace(peer.address, other.address))
    result = proxy.cli("reload")
    assert result.returncode == 0, result.stderr
    client.send(b"old")
    assert upstream.read_exactly(3) == b"old"

    def served_by_other():
        with proxy.connect() as fresh:
            fresh.send(b"n")
            try:
                other.listener.settimeout(0.2)
                return other.accept().read_exactly(1) == b"n"
            except TimeoutError:
                return False
    wait_until(served_by_other, "new connections go to the new server")
    upstream.send(b"still")
    assert client.read_exactly(5) == b"still"


def test_slow_reader_holds_its_sender(ferrule, peer):
    """Memory stays bounded, and every byte arrives in the end."""
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address))
    client = proxy.connect()
    upstream = peer.accept()
    before = proxy.resident_kb()
    total, sent = 64 * 1024 * 1024, []

    def send():
        piece = b"z" * 65536
        for _ in range(total // len(piece)):
            upstream.send(piece)
            sent.append(len(piece))
        upstream.sock.shutdown(socket.SHUT_WR)

    upstream.sock.settimeout(60)
    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(1)  # a sender that is not held back would be far by then
    assert sum(sent) < total and proxy.resident_kb() - before < 8192
    assert client.read_exactly(total) == b"z" * total
    thread.join()


# --- TLS passed through ---------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("size", [None, 1, 7, 200])
def test_hello_arrives_as_it_was_sent(ferrule, peer, size):
    """In one record or in many, at once or byte by byte."""
    proxy = run(ferrule, config.tcp_router("a", "s", "HostSNI(`a.test`)", tls=PASS), config.tcp_service("s", peer.address))
    hello = hello_bytes("a.test")
    sent = split_records(hello, size) if size else hello
    for piece in (len(sent), 100, 1):
        client = proxy.connect()
        for at in range(0, len(sent), piece):
            client.send(sent[at:at + piece])
        client.send(b"behind")
        upstream = peer.accept()
        assert upstream.read_exactly(len(sent) + 6) == sent + b"behind"
        client.close()
        upstream.close()


@pytest.mark.asan
def test_passthrough_to_nginx(ferrule, make_nginx, certificate, authority):
    nginx = secure_nginx(make_nginx, certificate)
    proxy = run(ferrule, config.tcp_router("a", "s", "HostSNI(`a.test`)", tls=PASS), config.tcp_service("s", address_of(nginx)))
    assert proxy.get_tls("/1m", "a.test", ca_file=authority.cert_file).body == body_of(1024 * 1024)
    with proxy.connect() as raw:
        client = PiecewiseTls(raw, "a.test", size=3, ca_file=authority.cert_file)
        assert client.exchange("GET", "/64", "a.test").body == body_of(64)
    code, text = tls.s_client(proxy.port(), "a.test", request="GET /64 HTTP/1.0\r\n\r\n")
    assert code == 0 and "200 OK" in text


def test_names(ferrule, peer, other, certificate):
    """Exact before wildcard by its longer rule, one label for the star, HostSNI(`*`) last, also without a name; what is no TLS is HTTP."""
    third = Peer()
    try:
        proxy = run(ferrule, config.tcp_router("w", "wild", "HostSNI(`*.wild.test`)", tls=PASS),
                    config.tcp_router("x", "exact", "HostSNI(`x-ray.wild.test`)", tls=PASS),
                    config.tcp_router("rest", "rest", tls=PASS),
                    config.tcp_service("wild", peer.address), config.tcp_service("exact", other.address),
                    config.tcp_service("rest", third.address))
        for name, server in [("one.wild.test", peer), ("x-ray.wild.test", other), ("a.b.wild.test", third), ("wild.test", third),
                             ("else.test", third), (None, third)]:
            with proxy.connect() as client:
                client.send(hello_bytes(name))
                assert server.accept().read_exactly(1) == b"\x16", name
        assert proxy.get().status == 404
    finally:
        third.stop()


def test_alpn_and_client_ip(ferrule, peer, other):
    proxy = run(ferrule, config.tcp_router("h2", "h2", "HostSNI(`a.test`) && ALPN(`imap`) && ClientIP(`127.0.0.0/8`)", tls=PASS),
                config.tcp_router("no", "h2", "HostSNI(`a.test`) && ClientIP(`192.0.2.0/24`) && !ALPN(`impossible`)", tls=PASS),
                config.tcp_router("a", "rest", "HostSNI(`a.test`)", tls=PASS),
                config.tcp_service("h2", peer.address), config.tcp_service("rest", other.address))
    for protocols, server in [(["h2", "imap"], peer), (["h2"], other), (None, other)]:
        context = tls.context()
        if protocols:
            context.set_alpn_protocols(protocols)
        outgoing = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.test").do_handshake()
        with proxy.connect() as client:
            client.send(outgoing.read())
            assert server.accept().read_exactly(1) == b"\x16"


# --- TLS terminated -------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_terminated(ferrule, peer, certificate, authority):
    """The server gets what was inside, and can be the first to speak."""
    proxy = run(ferrule, config.tcp_router("a", "s", "HostSNI(`a.test`)", tls='options = "new"'), config.tcp_service("s", peer.address),
                '[tls.options.new]\nminVersion = "VersionTLS13"', config.certificate(certificate))
    client = proxy.connect_tls("a.test", ca_file=authority.cert_file)
    upstream = peer.accept()
    upstream.send(b"220 ready\r\n")
    assert client.read_line() == b"220 ready"
    client.send(b"y" * 500000)
    assert upstream.read_exactly(500000) == b"y" * 500000
    upstream.close()
    assert client.is_closed()
    with pytest.raises(ssl.SSLError):
        proxy.connect_tls("a.test", ca_file=authority.cert_file, maximum="1.2")
    with pytest.raises((ssl.SSLError, OSError)):
        proxy.connect_tls("b.test", ca_file=authority.cert_file)
    wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["conns_now"] == 0, "all is closed")


# --- beside HTTP ----------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_beside_http(ferrule, peer, origin, certificate, authority, make_nginx):
    """On one entry point: a TCP router that names the host, an HTTP router that does, HostSNI(`*`), and plain HTTP is none of them."""
    nginx = secure_nginx(make_nginx, certificate)
    proxy = run(ferrule, config.tcp_router("named", "nginx", "HostSNI(`a.test`)", tls=PASS),
                config.tcp_router("rest", "peer", tls=PASS), config.tcp_service("nginx", address_of(nginx)),
                config.tcp_service("peer", peer.address),
                config.router("web", "o", "Host(`web.test`)", entrypoints=["tcp"], tls=True),
                config.router("also", "o", "Host(`a.test`)", entrypoints=["tcp"], tls=True, priority=10000),
                config.service("o", origin.url), config.certificate(certificate))
    assert proxy.get_tls("/64", "a.test", ca_file=authority.cert_file).body == body_of(64)
    assert proxy.get_tls("/bytes/9", "web.test", ca_file=authority.cert_file).body == body_of(9)
    with proxy.connect() as client:
        client.send(hello_bytes("else.test"))
        assert peer.accept().read_exactly(1) == b"\x16"
    assert [r.path for r in origin.requests] == ["/bytes/9"]


def test_tls_passed_through_beside_plain_http(ferrule, peer, origin):
    proxy = run(ferrule, config.tcp_router("a", "peer", "HostSNI(`a.test`)", tls=PASS), config.tcp_service("peer", peer.address),
                config.router("web", "o", entrypoints=["tcp"]), config.service("o", origin.url))
    assert proxy.get("/bytes/9").body == body_of(9)
    with proxy.connect() as client:
        client.send(hello_bytes("a.test"))
        assert peer.accept().read_exactly(1) == b"\x16"
    with proxy.connect() as client:
        client.send(hello_bytes("b.test"))
        assert client.read_exactly(7) == bytes([21, 3, 1, 0, 2, 2, 112])


# --- middlewares ----------------------------------------------------------------------------------------------------


def test_allow_list(ferrule, peer):
    proxy = run(ferrule, config.tcp_router("all", "s", more='middlewares = ["m"]'), config.tcp_service("s", peer.address),
                '[tcp.middlewares.m.ipAllowList]\nsourceRange = ["127.0.0.2"]')
    assert proxy.connect().is_closed()
    with proxy.connect(source="127.0.0.2") as client:
        client.send(b"x")
        assert peer.accept().read_exactly(1) == b"x"
    assert proxy.counters()["tcp_refused"] == 1


def test_in_flight(ferrule, peer):
    proxy = run(ferrule, config.tcp_router("all", "s", more='middlewares = ["m"]'), config.tcp_service("s", peer.address),
                "[tcp.middlewares.m.inFlightConn]\namount = 2")
    for _ in range(2):
        clients = [proxy.connect() for _ in range(2)]
        servers = [peer.accept() for _ in clients]
        assert proxy.connect().is_closed()
        with proxy.connect(source="127.0.0.2"):
            peer.accept().close()
        for connection in clients + servers:
            connection.close()
        wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "all are closed")


# --- the PROXY protocol ---------------------------------------------------------------------------------------------

TRUSTED = '[entryPoints.tcp.proxyProtocol]\ntrustedIPs = ["127.0.0.1"]'


@pytest.mark.asan
@pytest.mark.parametrize("header,client", [
    (v1(), "192.0.2.7"), (v2(), "192.0.2.7"), (v2("2001:db8::7", server="2001:db8::1"), "2001:db8::7"),
    (v2(more=b"\4\0\1\0" * 100), "192.0.2.7"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (v2()[:12] + b"\x20\0\0\0", "127.0.0.1")])
def test_proxy_header_is_taken(ferrule, origin, header, client):
    """At once, in pieces, and by what is told to the server."""
    proxy = run(ferrule, config.router("web", "o", entrypoints=["tcp"]), config.service("o", origin.url), entry=TRUSTED)
    for piece in (1000, 5, 1):
        with proxy.connect() as connection:
            for at in range(0, len(header), piece):
                connection.send(header[at:at + piece])
            assert connection.exchange("GET", "/bytes/5").body == body_of(5)
    assert [r.header("X-Forwarded-For") for r in origin.requests] == [client] * 3
    assert [r.header("X-Real-Ip") for r in origin.requests] == [client] * 3


def test_proxy_header_before_tls(ferrule, origin, certificate, authority):
    proxy = run(ferrule, config.router("web", "o", entrypoints=["tcp"], tls=True), config.service("o", origin.url),
                config.certificate(certificate), entry=TRUSTED)
    with proxy.connect() as raw:
        raw.send(v1())
        client = PiecewiseTls(raw, "a.test", size=1000, ca_file=authority.cert_file)
        assert client.exchange("GET", "/bytes/5", "a.test").body == body_of(5)
    assert origin.requests[0].header("X-Forwarded-For") == "192.0.2.7"


def test_curl_sends_proxy_header(ferrule, origin):
    proxy = run(ferrule, config.router("web", "o", entrypoints=["tcp"]), config.service("o", origin.url), entry=TRUSTED)
    result = subprocess.run(["curl", "-sS", "--haproxy-protocol", f"http://127.0.0.1:{proxy.port()}/bytes/5"], capture_output=True, timeout=30)
    assert result.stdout == body_of(5), result.stderr


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 1 2 3 4\r\n", v2()[:13] + b"\x12" + v2()[14:], b"PROXY "])
def test_trusted_proxy_without_header_is_closed(ferrule, origin, sent):
    proxy = run(ferrule, config.router("web", "o", entrypoints=["tcp"]), config.service("o", origin.url), entry=TRUSTED)
    with proxy.connect() as connection:
        connection.send(sent)
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.is_closed()
    assert proxy.counters()["proxy_bad"] == 1 and not origin.requests


def test_header_of_others_is_not_taken(ferrule, origin):
    """It is what it looks like to HTTP: a request with an unknown method."""
    proxy = run(ferrule, config.router("web", "o", entrypoints=["tcp"]), config.service("o", origin.url), entry=TRUSTED)
    with proxy.connect(source="127.0.0.2") as connection:
        connection.send(v1() + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.read_response().status == 501
    with proxy.connect(source="127.0.0.2") as connection:
        assert connection.exchange("GET", "/bytes/5").body == body_of(5)
    assert origin.requests[0].header("X-Forwarded-For") == "127.0.0.2" and proxy.counters()["proxy_bad"] == 0


def test_slow_proxy_header(ferrule, origin):
    proxy = run(ferrule, config.router("web", "o", entrypoints=["tcp"]), config.service("o", origin.url),
                timeouts("tcp", handshakeTimeout="1s"), entry=TRUSTED)
    with proxy.connect() as connection:
        connection.send(v1()[:10])
        assert connection.is_closed()
    assert proxy.counters()["timeouts"] == 1


@pytest.mark.asan
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("where", ["loadBalancer", "transport"])
def test_server_is_told(ferrule, peer, version, where):
    more, extra = f"proxyProtocol = {{ version = {version} }}", ""
    if where == "transport":
        more, extra = 'serversTransport = "t"', f"[tcp.serversTransports.t.proxyProtocol]\nversion = {version}"
    proxy = run(ferrule, config.tcp_router("all", "s"), config.tcp_service("s", peer.address, more=more), extra)
    client = proxy.connect()
    upstream = peer.accept()
    assert read_header(upstream) == (version, "127.0.0.1", client.sock.getsockname()[1], proxy.port())
    client.send(b"x")
    assert upstream.read_exactly(1) == b"x"


def test_told_and_passed_on(ferrule, peer):
    """What the proxy in front said is what the server hears; by it middlewares judge."""
    proxy = run(ferrule, config.tcp_router("all", "s", more='middlewares = ["m"]'),
                config.tcp_service("s", peer.address, more="proxyProtocol = {}"),
                '[tcp.middlewares.m.ipAllowList]\nsourceRange = ["192.0.2.0/24"]', entry=TRUSTED)
    with proxy.connect() as client:
        client.send(v1() + b"x")
        upstream = peer.accept()
        assert read_header(upstream)[:3] == (2, "192.0.2.7", 4711)
        assert upstream.read_exactly(1) == b"x"
    with proxy.connect() as client:
        client.send(v1("198.51.100.1"))
        assert client.is_closed()


@pytest.mark.parametrize("version", [1, 2])
def test_nginx_takes_what_is_told(ferrule, make_nginx, certificate, authority, version):
    nginx = make_nginx(f"ssl_certificate {certificate.cert_file}; ssl_certificate_key {certificate.key_file}; "
                       "location = /who { return 200 \"$proxy_protocol_addr $proxy_protocol_port\"; }", tls=True, listen="proxy_protocol")
    proxy = run(ferrule, config.tcp_router("a", "s", "HostSNI(`a.test`)", tls=PASS),
                config.tcp_service("s", address_of(nginx), more=f"proxyProtocol = {{ version = {version} }}"))
    with proxy.connect_tls("a.test", ca_file=authority.cert_file) as client:
        answer = client.exchange("GET", "/who", "a.test").body.decode()
        assert answer == f"127.0.0.1 {client.sock.getsockname()[1]}"


# --- many at once ---------------------------------------------------------------------------------------------------


def test_many(ferrule, make_nginx, certificate, authority):
    nginx = secure_nginx(make_nginx, certificate)
    proxy = run(ferrule, config.tcp_router("a", "s", "HostSNI(`a.test`)", tls=PASS), config.tcp_service("s", address_of(nginx)), workers=2)
    failed = []

    def one():
        try:
            for _ in range(10):
                assert proxy.get_tls("/64", "a.test", ca_file=authority.cert_file).body == body_of(64)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    counters = wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c, "all are closed")
    assert counters["tunnels"] == 80 and counters["upstream_failed"] == 0
