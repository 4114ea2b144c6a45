# SPDX-License-Identifier: Apache-2.0
"""What the tests of bad input share: a proxy with short time limits, messages to break, and witnesses."""

import contextlib

from .origin import body_of
from .proc import wait_until

HOST = "example.test"
SEED = 20240607


def timeouts(entrypoint, **values):
    lines = "".join(f'{key} = "{value}"\n' for key, value in values.items())
    return f"[entryPoints.{entrypoint}.transport.respondingTimeouts]\n{lines}"


def open_client(proxy, transport):
    if transport == "http":
        return proxy.connect("web")
    version = transport[3:]
    return proxy.connect_tls(HOST, "websecure", minimum=version, maximum=version)


class Witness:
    """A connection that was there before and must go on as if nothing had happened."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.connections = [open_client(proxy, "http"), open_client(proxy, "tls1.3")]
        self.pid = proxy.pid_of("data")
        self.check()
        self.before = proxy.counters()

    def check(self):
        for connection in self.connections:
            assert connection.exchange("GET", "/bytes/5000").body == body_of(5000)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.ExitStack() as stack:
            for connection in self.connections:
                stack.callback(connection.close)
            if kind is None:
                self.check()
                assert self.proxy.pid_of("data") == self.pid, "the data process was restarted"
                wait_until(lambda: self.proxy.counters()["conns_now"] == len(self.connections), "only the witnesses are left")

    def grown(self, name):
        return self.proxy.counters()[name] - self.before[name]

    def wait_grown(self, name, least):
        wait_until(lambda: self.grown(name) >= least, f"{name} has grown by {least}")


def impatient(ferrule, origin, certificate):
    """HTTP and HTTPS in front of one origin, with time limits of a second. A request that is complete at once never
    meets them."""
    limits = {"headTimeout": "1s", "readTimeout": "1s", "handshakeTimeout": "1s"}
    return ferrule.both(
        origin, certificates=[certificate], workers=1, service='serversTransport = "short"',
        extra=timeouts("web", **limits) + timeouts("websecure", **limits)
        + '[http.serversTransports.short.forwardingTimeouts]\nresponseHeaderTimeout = "1s"\ndialTimeout = "1s"\n')


def head(*lines, first="GET /x HTTP/1.1", host=f"Host: {HOST}"):
    return "\r\n".join([first, *([host] if host else []), *lines]) + "\r\n\r\n"


def answer(*lines, first="HTTP/1.1 200 OK"):
    return "\r\n".join([first, *lines]) + "\r\n\r\n"
