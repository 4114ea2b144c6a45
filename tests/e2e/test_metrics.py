# SPDX-License-Identifier: Apache-2.0
"""Metrics in Prometheus's text form, and /ping: a strict reader of the format, counters that add up against what
clients did, and both while the configuration changes or ferrule stops."""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from lib import config, h2raw
from lib.ferrule import run_cli
from lib.hostile import head
from lib.http1 import Closed
from lib.peer import Peer
from lib.proc import free_port, wait_until
from lib.websocket import RawServer, ask

HOST = "example.test"
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")


class Metrics:
    """A scrape, read as strictly as the format is described."""

    def __init__(self, text):
        self.types, self.samples = {}, {}
        current = None
        assert text.endswith("\n")
        for line in text[:-1].split("\n"):
            if match := re.fullmatch(rf"# HELP ({NAME}) (.+)", line):
                current = match.group(1)
                assert current not in self.types, f"{current} comes twice"
                self.types[current] = None
            elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
                assert match.group(1) == current and self.types[current] is None
                self.types[current] = match.group(2)
            else:
                self._sample(line, current)
        for name, kind in self.types.items():
            assert kind, f"{name} has no type"
            if kind == "histogram":
                self._check_histogram(name)

    def _sample(self, line, family):
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        suffixes = ["_bucket", "_sum", "_count"] if self.types[family] == "histogram" else [""]
        assert name in [family + suffix for suffix in suffixes], f"{name} stands under {family}"
        pairs, rest = {}, labels or ""
        while rest:
            label = LABEL.match(rest)
            assert label, line
            assert label.group(1) not in pairs
            pairs[label.group(1)] = re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), label.group(2))
            rest = rest[label.end():]
        key = (name, frozenset(pairs.items()))
        assert key not in self.samples, f"{line} comes twice"
        self.samples[key] = float(value)

    def _check_histogram(self, name):
        series = {}
        for (sample, labels), value in self.samples.items():
            if sample == name + "_bucket":
                labels = dict(labels)
                bound = float(labels.pop("le").replace("+Inf", "inf"))
                series.setdefault(frozenset(labels.items()), []).append((bound, value))
        for labels, buckets in series.items():
            values = [value for _, value in buckets]
            assert buckets == sorted(buckets) and values == sorted(values) and buckets[-1][0] == float("inf")
            assert self.samples[name + "_count", labels] == values[-1]
            assert self.samples[name + "_sum", labels] >= 0

    def sum(self, name, **labels):
        """All samples of a name that have these labels, added up."""
        return sum(value for (sample, pairs), value in self.samples.items() if sample == name and set(labels.items()) <= pairs)

    def labels(self, name, label):
        return {dict(pairs)[label] for sample, pairs in self.samples if sample == name}


def internals(port, more="", ping=""):
    return config.entrypoint("traefik", port) + f"[metrics.prometheus]\n{more}\n[ping]\n{ping}\n"


@pytest.fixture
def observed(ferrule, origin):
    """A proxy with metrics and ping at an entry point of their own."""
    def make(*origins, more="", ping="", extra="", **options):
        port = free_port()
        proxy = ferrule.http(*(origins or [origin]), extra=internals(port, more, ping) + extra, **options)
        proxy.ports["traefik"] = port
        return proxy
    return make


def scrape(proxy):
    response = proxy.get("/metrics", "127.0.0.1", "traefik")
    assert response.status == 200 and response.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(response.body.decode())


def scraped(proxy, good, what):
    """Requests are counted when they end, which may be a moment after the client has its answer."""
    return wait_until(lambda: (m := scrape(proxy)) and good(m) and m, what)


@pytest.mark.asan
def test_counters_add_up(observed, origin):
    """What clients did over HTTP/1.1 and HTTP/2, with bodies, without a route, without a server, and with aborts."""
    proxy = observed(more="addRoutersLabels = true", rule="!Path(`/nowhere`)")
    with proxy.connect() as client:
        for n in range(7):
            assert client.exchange("GET", f"/bytes/{n * 100}", HOST).status == 200
        echoed = client.exchange("POST", "/echo", HOST, body=b"x" * 5000)
        assert echoed.status == 200
        assert client.exchange("GET", "/nowhere", HOST).status == 404
        assert client.exchange("PROPFIND", "/bytes/1", HOST).status == 200
    with h2raw.connect(proxy.port("web"), "plain") as client:
        for n in range(5):
            assert client.exchange("GET", f"/bytes/{n}").status == 200
    gone = proxy.connect()
    gone.request("GET", "/never", HOST)
    wait_until(lambda: any(r.path == "/never" for r in origin.requests), "the request is at the origin")
    gone.reset()
    with proxy.connect() as client:
        client.request("GET", "/cut/1000?sent=10", HOST)
        with pytest.raises(Closed):
            client.read_response()
    proxy.wait_counter("conns_accepted", 4)
    m = scraped(proxy, lambda m: m.sum("traefik_entrypoint_requests_total", code="499") == 1, "the abort is counted")
    for family, labels in (("entrypoint", {"entrypoint": "web"}), ("router", {"router": "all", "service": "origins"}),
                           ("service", {"service": "origins"})):
        name = f"traefik_{family}_requests_total"
        assert m.sum(name, code="200", method="GET", protocol="http", **labels) == 13, "7 and 5, and the one that was cut"
        assert m.sum(name, code="200", method="POST", **labels) == 1
        assert m.sum(name, code="200", method="EXTENSION_METHOD", **labels) == 1
        assert m.sum(name, code="404", **labels) == (family == "entrypoint")
        assert m.sum(f"traefik_{family}_requests_bytes_total", **labels) == 5000
        assert m.sum(f"traefik_{family}_responses_bytes_total", code="200", method="POST", **labels) == len(echoed.body)
        assert m.sum(f"traefik_{family}_responses_bytes_total", code="200", method="GET", **labels) == 2100 + 10 + 10
        assert m.sum(f"traefik_{family}_request_duration_seconds_count", **labels) == m.sum(name, **labels)
        assert m.sum(f"traefik_{family}_request_duration_seconds_bucket", le="+Inf", **labels) == m.sum(name, **labels)
        assert m.labels(f"traefik_{family}_request_duration_seconds_bucket", "le") == {"0.1", "0.3", "1.2", "5", "+Inf"}
    assert m.labels("traefik_entrypoint_requests_total", "entrypoint") == {"web"}, "scrapes count for nothing"
    assert m.sum("ferrule_no_route_total") == 1 and m.sum("ferrule_h2_conns_total") == 1
    assert m.labels("ferrule_requests_total", "worker") == {"0", "1"}


def test_no_server_and_refused(observed, origin):
    proxy = observed()
    origin.stop()
    assert proxy.get("/x").status == 502
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.read_response().status == 400
    m = scraped(proxy, lambda m: m.sum("ferrule_requests_refused_total") == 1, "the bad request is counted")
    assert m.sum("traefik_service_requests_total", code="502", service="origins") == 1
    assert m.sum("traefik_entrypoint_responses_bytes_total", code="502") == len("502 Bad Gateway\n")
    assert m.sum("traefik_service_server_up", service="origins", url=origin.url) == 1
    assert m.sum("traefik_entrypoint_requests_total") == 1, "what has no good head is counted by rule alone"


@pytest.mark.asan
def test_tunnels_and_events(observed, origin):
    """A WebSocket is counted with its bytes when it ends; a client of events has its own protocol."""
    server = RawServer()
    try:
        proxy = observed(server)
        with proxy.connect() as client:
            ask(client)
            upstream = server.accept()
            assert client.read_response().status == 101
            client.send(b"x" * 300)
            assert upstream.read_exactly(300)
            upstream.send(b"y" * 70)
            assert client.read_exactly(70)
            assert scrape(proxy).sum("traefik_entrypoint_requests_total") == 0
            upstream.close()
            assert client.is_closed()
        m = scraped(proxy, lambda m: m.sum("traefik_service_requests_total") == 1, "the tunnel is counted")
        labels = {"code": "101", "method": "GET", "protocol": "websocket", "service": "origins"}
        assert m.sum("traefik_service_requests_total", **labels) == 1
        assert m.sum("traefik_service_requests_bytes_total", **labels) == 300
        assert m.sum("traefik_service_responses_bytes_total", **labels) == 70
    finally:
        server.stop()
    proxy = observed(origin)
    with proxy.connect() as client:
        assert client.exchange("GET", "/bytes/1", HOST, headers=[("Accept", "text/event-stream")]).status == 200
    scraped(proxy, lambda m: m.sum("traefik_entrypoint_requests_total", protocol="sse", code="200") == 1, "events are told apart")


@pytest.mark.asan
def test_durations_and_buckets(observed):
    proxy = observed(more="buckets = [0.05, 0.25, 60]\naddServicesLabels = false", workers=1)
    assert proxy.get("/delay/300/bytes/10").status == 200
    m = scraped(proxy, lambda m: m.sum("traefik_entrypoint_requests_total") == 1, "the request is counted")
    name = "traefik_entrypoint_request_duration_seconds"
    assert [m.sum(name + "_bucket", le=le) for le in ("0.05", "0.25", "60", "+Inf")] == [0, 0, 1, 1]
    assert 0.3 <= m.sum(name + "_sum") < 60
    assert not [n for n in m.types if n.startswith(("traefik_router_requests", "traefik_service_requests"))]


@pytest.mark.asan
def test_open_connections_and_certificates(ferrule, origin, authority):
    certificate = authority.issue(HOST, "other.test")
    port = free_port()
    proxy = ferrule.both(origin, certificates=[certificate], extra=internals(port))
    proxy.ports["traefik"] = port
    with proxy.connect_tls(HOST, "websecure") as one, proxy.connect_tls(HOST, "websecure") as two:
        assert one.exchange("GET", "/", HOST).status == two.exchange("GET", "/", HOST).status == 200
        m = scrape(proxy)
        assert m.sum("traefik_open_connections", entrypoint="websecure", protocol="TCP") == 2
        assert m.sum("traefik_open_connections", entrypoint="traefik") >= 1
    m = scraped(proxy, lambda m: m.sum("traefik_open_connections", entrypoint="websecure") == 0, "the connections are gone")
    assert m.sum("traefik_entrypoint_requests_tls_total", entrypoint="websecure", tls_version="1.3", tls_cipher="TLS_AES_128_GCM_SHA256") == 2
    assert m.sum("traefik_service_requests_tls_total", service="origins") == m.sum("traefik_entrypoint_requests_tls_total") == 2
    assert m.sum("ferrule_handshakes_total", kind="full") == 2
    assert m.sum("ferrule_handshakes_total") == m.sum("ferrule_handshakes_total", worker="0") + m.sum("ferrule_handshakes_total", worker="1")
    sans = [s for s in m.labels("traefik_tls_certs_not_after", "sans") if "other.test" in s]
    assert sans == ["example.test,other.test"]
    assert m.sum("traefik_tls_certs_not_after", sans=sans[0]) > time.time()


def test_tcp_connections(ferrule):
    """They count as open connections of their entry point and as tunnels; they are no requests, whatever else has the
    name of their router and service."""
    peer, port, tcp = Peer(), free_port(), free_port()
    try:
        text = internals(port, "addRoutersLabels = true") + config.entrypoint("tcp", tcp) + config.tcp_router("all", "s") + config.tcp_service("s", peer.address)
        text += config.router("all", "s", entrypoints=["traefik"]) + config.service("s", f"http://{peer.address}")
        proxy = ferrule(text, {"tcp": tcp, "traefik": port})
        with proxy.connect("tcp") as client:
            client.send(b"hello")
            assert peer.accept().read_exactly(5) == b"hello"
            m = scrape(proxy)
            assert m.sum("traefik_open_connections", entrypoint="tcp") == 1 and m.sum("ferrule_tunnels") == 1
        m = scraped(proxy, lambda m: m.sum("ferrule_tunnels") == 0 and m.sum("traefik_open_connections", entrypoint="tcp") == 0, "it is gone")
        assert m.sum("ferrule_tunnels_total") == 1 and m.sum("traefik_entrypoint_requests_total") == 0
    finally:
        peer.stop()


@pytest.mark.asan
def test_scrapes_during_reloads(observed):
    """Every scrape is whole, counters never fall, and what a reload renames is named anew."""
    proxy = observed(more="addRoutersLabels = true")
    stop, failures, seen = threading.Event(), [], []

    def scrapes():
        try:
            while not stop.is_set():
                m = scrape(proxy)
                seen.append((m.sum("traefik_config_reloads_total"), m.sum("traefik_entrypoint_requests_total", entrypoint="web")))
                assert proxy.get("/bytes/1").status == 200
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    thread = threading.Thread(target=scrapes)
    thread.start()
    for n in range(6):
        proxy.write_config(proxy.config_file.read_text().replace("http.routers.all" if n == 0 else f"http.routers.all{n - 1}", f"http.routers.all{n}"))
        result = proxy.cli("reload")
        assert result.returncode == 0, result.stderr
    stop.set()
    thread.join()
    assert not failures, failures
    assert seen == sorted(seen) and seen[-1][1] > 0

    def renamed(m):  # a worker that has not heard of it yet still counts under the old name
        proxy.get("/bytes/1")
        return m.labels("traefik_router_requests_total", "router") == {"all5"}

    m = scraped(proxy, renamed, "the router's new name")
    assert m.sum("traefik_config_reloads_total") == 7
    assert abs(m.sum("traefik_config_last_reload_success") - time.time()) < 60
    before = m.sum("traefik_config_last_reload_success")
    proxy.write_config(proxy.config_file.read_text() + "[nonsense]\n")
    assert proxy.cli("reload", timeout_s=60).returncode == 1
    m = scrape(proxy)
    assert m.sum("traefik_config_reloads_total") == 7 and m.sum("traefik_config_last_reload_success") == before


@pytest.mark.asan
def test_counters_outlive_control(observed):
    """While control is away a scrape fails as a request to a dead server does; then the counters go on."""
    proxy = observed()
    assert proxy.get("/bytes/1").status == 200
    old = proxy.kill("control")
    proxy.wait_respawn("control", old)
    wait_until(lambda: proxy.get("/metrics", HOST, "traefik").status == 200, "metrics are back")
    assert scrape(proxy).sum("traefik_entrypoint_requests_total", entrypoint="web") == 1


def listening_port(pid):
    """The one TCP port that a process listens on."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(fd))
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    (port,) = [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes]
    return port


def test_control_answers_workers_alone(observed):
    """Its socket on the loopback address tells nothing to one who does not know its name."""
    proxy = observed()
    port = listening_port(proxy.pid_of("control"))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        try:
            assert sock.recv(100) == b""
        except ConnectionResetError:
            pass
    assert scrape(proxy)


@pytest.mark.asan
def test_ping(observed):
    proxy = observed()
    with proxy.connect("traefik") as client:
        response = client.exchange("GET", "/ping", "anything.test")
        assert (response.status, response.body) == (200, b"OK")
        response = client.exchange("HEAD", "/ping", "anything.test")
        assert (response.status, response.body) == (200, b"")
        assert client.exchange("GET", "/other", "anything.test").status == 404
    assert proxy.get("/ping", HOST, "web").status == 200, "the origin's"
    assert scrape(proxy).sum("traefik_entrypoint_requests_total", entrypoint="traefik") == 1, "the 404"


@pytest.mark.asan
@pytest.mark.parametrize("ping, status", [("", 503), ("terminatingStatusCode = 404", 404)])
def test_ping_while_stopping(observed, origin, ping, status):
    """Balancers before it see that it goes while requests still run."""
    proxy = observed(ping=ping, workers=1, entry='[entryPoints.web.transport.lifeCycle]\ngraceTimeOut = "20s"')
    with proxy.connect("traefik") as fresh, proxy.connect() as busy:
        assert proxy.get("/ping", HOST, "traefik").status == 200
        begin, end = head(first="GET /ping HTTP/1.1")[:20], head(first="GET /ping HTTP/1.1")[20:]
        fresh.send(begin)  # what has asked nothing has a moment only
        busy.request("GET", "/held/bytes/30", HOST)
        wait_until(lambda: origin.requests, "a request is being answered")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_log("draining")
        fresh.send(end)
        assert fresh.read_response().status == status
        origin.let_go()
        assert busy.read_response().status == 200
    proxy.stop()


@pytest.mark.asan
def test_goes_on_accepting_while_balancers_notice(observed):
    """requestAcceptGraceTimeout: ping tells at once, new connections are served meanwhile. (That it ends:
    test_entrypoints.py.)"""
    proxy = observed(workers=1, entry='[entryPoints.web.transport.lifeCycle]\nrequestAcceptGraceTimeout = "1h"')
    proxy.process.send_signal(signal.SIGTERM)
    wait_until(lambda: proxy.get("/ping", HOST, "traefik").status == 503, "it tells")
    assert proxy.get("/bytes/5", HOST).status == 200
    proxy.process.send_signal(signal.SIGTERM)  # the second does not wait
    assert proxy.process.wait_exit(30) == 0


def test_manual_routing_and_redirection(ferrule, origin):
    """ping@internal behind a router of one's own; and /ping where all else is redirected."""
    port = free_port()
    text = internals(port, "manualRouting = true", 'entryPoint = "web"')
    proxy = ferrule.http(origin, entry='[entryPoints.web.http.redirections.entryPoint]\nto = "traefik"\nscheme = "http"',
                         extra=text + config.router("mine", "prometheus@internal", "Path(`/numbers`)", entrypoints=["traefik"]))
    proxy.ports["traefik"] = port
    assert proxy.get("/ping", HOST, "web").body == b"OK"
    assert proxy.get("/x", HOST, "web").status in (301, 302, 307, 308)
    assert proxy.get("/metrics", HOST, "traefik").status == 404
    assert Metrics(proxy.get("/numbers", HOST, "traefik").body.decode()).types


def test_ping_over_tls(ferrule, origin, authority):
    """At an entry point whose connections begin with TLS, for whatever name."""
    proxy = ferrule.https(origin, certificates=[authority.issue(HOST)], extra='[ping]\nentryPoint = "websecure"\n')
    with proxy.connect_tls(HOST, "websecure") as client:
        assert client.exchange("GET", "/ping", HOST).body == b"OK"
        assert client.exchange("GET", "/bytes/3", HOST).status == 200
    with h2raw.connect(proxy.port("websecure"), "tls", server_name=HOST) as client:
        assert client.exchange("GET", "/ping").status == 200


@pytest.mark.parametrize("text, message", [
    ("[ping]\n", 'there is no entry point "traefik": add [entryPoints.traefik]'),
    ('[ping]\nentryPoint = "wob"\n', 'there is no entry point "wob"; did you mean "web"?'),
    ('[metrics.prometheus]\nentryPoint = "web"\nbuckets = [1, 0.5]\n', "each more than the one before it"),
    ("[metrics.prometheus]\nentryPoint = \"web\"\nbuckets = [" + ", ".join(map(str, range(1, 20))) + "]\n", "at most 18 bounds"),
    ('[ping]\nentryPoint = "web"\n[[http.services.w.weighted.services]]\nname = "ping@internal"\nweight = 1\n',
     "ping@internal cannot be a part of another service"),
])
def test_bad_configurations(folder, text, message):
    file = folder / "ferrule.toml"
    file.write_text(config.entrypoint("web", 8080) + config.router("r", "s") + config.service("s", "http://127.0.0.1:9") + text)
    result = run_cli("check", "-c", file)
    assert result.returncode == 1 and message in result.stdout + result.stderr
