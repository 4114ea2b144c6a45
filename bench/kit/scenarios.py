# SPDX-License-Identifier: Apache-2.0
"""What is measured: the scenarios, what their figures mean, and what is asked of them."""

from dataclasses import dataclass

from .site import SUFFIX

NAMES = 10000  # certificates, and hosts of the largest set of routers
IDLE = 5000  # idle connections
RAMP_STEP = 2000  # connections that are opened at once
RESPONSE = {"64": "64 B", "1m": "1 MB"}


@dataclass(frozen=True)
class Row:
    """One line of the table. target: the largest ratio to the best peer (kind "peer"), the largest ratio to ferrule's own
    other row (kind "own", of), or the largest value (kind "value")."""
    name: str
    title: str
    unit: str = "µs"
    target: float = None
    kind: str = "peer"
    of: str = None
    limit: str = None  # row whose figure of the forwarder is the limit


@dataclass(frozen=True)
class Scenario:
    name: str
    tool: str  # wrk, h2load, handshakes, steady, idle, certs
    rows: tuple
    scheme: str = "http"
    path: str = "/64"
    connections: int = 64
    threads: int = 1  # of wrk
    streams: int = 1
    script: str = None  # of bench/wrk, with its arguments
    arguments: tuple = ()
    mode: str = "new"  # of bench/tls_client
    names: int = 0  # server names that it asks for in turn; 0: always the same
    group: str = "X25519"
    forwarder: bool = False  # whether the limit can be measured in it
    table: bool = True  # belongs to the table of targets

    @property
    def tls(self):
        return self.scheme == "https"

    @property
    def closes(self):
        """Each request has a connection of its own."""
        return self.script == "new.lua" or self.tool == "handshakes"

    @property
    def opens_s(self):
        """How long the load takes to open its connections."""
        return self.threads * float(self.arguments[0]) if self.script == "ramp.lua" else 0

    @property
    def title(self):
        return self.rows[0].title


def _load(name, title, target=None, limit=None, tool="wrk", **options):
    return Scenario(name, tool, (Row(name, title, target=target, limit=limit),), **options)


_TABLE = [
    _load("http-64", "HTTP, 64 B, 64 connections", 0.82, "http-64", forwarder=True),
    _load("http-64-256", "HTTP, 64 B, 256 connections", 0.80, "http-64-256", connections=256, forwarder=True),
    _load("http-1m", "HTTP, 1 MB, 16 connections", 1.0, "http-1m", path="/1m", connections=16, forwarder=True),
    _load("https-64", "HTTPS, 64 B, 64 connections", 0.75, "http-64", scheme="https"),
    _load("https-64-256", "HTTPS, 64 B, 256 connections", 0.65, "http-64-256", scheme="https", connections=256),
    _load("https-1m", "HTTPS, 1 MB, 16 connections", 0.75, "http-1m", scheme="https", path="/1m", connections=16),
    _load("tls-full", "HTTPS, full handshake for each request, X25519", 0.45, tool="handshakes", scheme="https"),
    Scenario("tls-full-mlkem", "handshakes",
             (Row("tls-full-mlkem", "HTTPS, full handshake for each request, X25519MLKEM768", target=1.2, kind="own", of="tls-full"),),
             scheme="https", group="X25519MLKEM768"),
    _load("tls-resumed", "HTTPS, resumed handshake for each request", 0.50, tool="handshakes", scheme="https", mode="resume"),
    _load("h2-64", "HTTP/2 over TLS, 64 B, 64 connections of 10 streams", 0.70, "http-64", tool="h2load", scheme="https", streams=10),
    Scenario("latency", "steady", (Row("latency", "HTTP, 64 B, latency (p50) at half of saturation", target=1.0, limit="latency"),),
             forwarder=True),
    Scenario("idle", "idle", (Row("idle", f"memory of an idle TLS connection ({IDLE:,} open)", "KB", 7, "value"),), scheme="https",
             connections=IDLE),
    Scenario("certs", "certs", (
        Row("certs-first", f"{NAMES:,} certificates: start to first handshake", "s", 2.0, "value"),
        Row("certs-again", f"{NAMES:,} certificates: second start", "s", 0.3, "value"),
        Row("certs-memory", f"{NAMES:,} certificates: anonymous memory", "MB", 40, "value")), scheme="https"),
]

_MORE = [
    _load("http-new", "HTTP, new connection for each request", script="new.lua", forwarder=True, table=False, limit="http-new"),
    _load("https-new", "HTTPS, new connection for each request (wrk)", scheme="https", script="new.lua", table=False),
    _load("http-mixed", "HTTP, 64 B to 64 KB mixed", script="sizes.lua", arguments=("/64", "/1k", "/4k", "/16k", "/64k"), forwarder=True,
          table=False, limit="http-mixed"),
    _load("http-pipeline", "HTTP, 8 requests in a pipeline", script="pipeline.lua", arguments=("8",), forwarder=True, table=False,
          limit="http-pipeline"),
    _load("http-upload", "HTTP, uploads of 64 KB", script="upload.lua", arguments=("65536",), path="/upload", forwarder=True,
          table=False, limit="http-upload"),
    _load("http-names", "HTTP, 1,000 host names", script="names.lua", arguments=("1000", SUFFIX), table=False),
]

TABLE = {s.name: s for s in _TABLE}
MORE = {s.name: s for s in _MORE}


@dataclass(frozen=True)
class Point:
    """One point of a curve: what the proxy is set up with, and the load."""
    x: float
    scenario: Scenario
    setup: dict


@dataclass(frozen=True)
class Curve:
    """How ferrule's cost grows with something; measured without peers."""
    name: str
    title: str
    axis: str
    points: tuple


def _routers(count):
    return _load("http-64", f"{count:,} routers", script="names.lua", arguments=(str(count), SUFFIX))


def _names(count):
    return _load("tls-full", f"{count:,} certificates", tool="handshakes", scheme="https", names=count)


_SIZES = (("64", 64), ("1k", 1 << 10), ("4k", 4 << 10), ("16k", 16 << 10), ("64k", 64 << 10), ("256k", 256 << 10), ("1m", 1 << 20),
          ("4m", 4 << 20), ("16m", 16 << 20))


def _sizes(name, scheme):
    return Curve(name, f"{scheme.upper()}: size of the response, 16 connections", "bytes", tuple(
        Point(size, _load(f"{scheme}-{text}", text, scheme=scheme, path=f"/{text}", connections=16), {}) for text, size in _SIZES))


def _connections(count):
    more = {"script": "ramp.lua", "arguments": ("0.5",), "threads": count // RAMP_STEP} if count > RAMP_STEP else {}
    return _load(f"http-64-{count}", f"{count:,} connections", connections=count, **more)


_CURVES = [
    Curve("routers", "HTTP, 64 B: number of routers, hosts asked for in turn", "routers", tuple(
        Point(count, _routers(count), {"routers": count}) for count in (1, 100, NAMES))),
    Curve("names", "HTTPS, full handshake for each request: number of certificates, names asked for in turn", "certificates", tuple(
        Point(count, _names(count), {"certs": count}) for count in (1, 100, NAMES))),
    Curve("upstreams", "HTTP, 64 B: number of servers of the service", "servers", tuple(
        Point(count, TABLE["http-64"], {"upstreams": count}) for count in (1, 10, 100))),
    Curve("workers", "HTTP, 64 B, 64 connections: workers (load and origin share the second core)", "workers", tuple(
        Point(count, TABLE["http-64"], {"workers": count}) for count in (1, 2))),
    _sizes("sizes", "http"),
    _sizes("sizes-tls", "https"),
    Curve("connections", "HTTP, 64 B: connections", "connections", tuple(
        Point(count, _connections(count), {}) for count in (10, 100, 1000, 5000, NAMES))),
]
CURVES = {c.name: c for c in _CURVES}
GROUPS = {"table": list(TABLE), "more": list(MORE), "curves": list(CURVES)}
