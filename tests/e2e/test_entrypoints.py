# SPDX-License-Identifier: Apache-2.0
"""Entry points: addresses, how long connections live, how accepting ends."""

import signal
import socket
import time

import pytest

from lib import config
from lib.http1 import connect
from lib.origin import body_of
from lib.proc import accepts, free_port, wait_until

HOST = "example.test"


def with_addresses(ferrule, origin, lines, port):
    text = "\n".join([f"[entryPoints.web]\n{lines}\n", config.router("all", "origins"), config.service("origins", origin.url)])
    return ferrule(text, {"web": port})


def status_of(port, address="127.0.0.1"):
    with connect(port, address) as client:
        return client.exchange("GET", "/bytes/1", HOST).status


def test_several_addresses(ferrule, origin):
    """A list, and further addresses; one that is added by a reload, too."""
    ports = [free_port() for _ in range(4)]
    first, second, third, fourth = (f'"127.0.0.1:{port}"' for port in ports)
    proxy = with_addresses(ferrule, origin, f"address = [{first}, {second}]\naddresses = [{third}]", ports[0])
    assert [status_of(port) for port in ports[:3]] == [200] * 3
    text = proxy.config_file.read_text()
    proxy.config_file.write_text(text.replace(f"[{first}, {second}]", f"[{second}, {fourth}]"))
    assert proxy.cli("reload").returncode == 0
    assert [status_of(port) for port in ports[1:]] == [200] * 3
    wait_until(lambda: not accepts(ports[0]), "the first is gone")


def test_address_given_twice_is_an_error(ferrule, origin):
    port = free_port()
    proxy = ferrule.http(origin)
    proxy.config_file.write_text(proxy.config_file.read_text() + f'[entryPoints.more]\naddress = ["127.0.0.1:{port}", "127.0.0.1:{port}"]\n')
    said = proxy.cli("check")
    assert said.returncode == 1 and "entry point more listens on" in said.stderr


def test_every_address_of_both_families(ferrule, origin):
    port = free_port()
    proxy = with_addresses(ferrule, origin, f'address = ":{port}"\nreusePort = true\nallowACMEByPass = true', port)
    assert status_of(port) == 200
    with socket.create_connection(("::1", port), timeout=30) as client:
        client.sendall(f"GET /bytes/3 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(body_of(3))
    assert proxy.get("/bytes/1").status == 200


def test_requests_of_one_connection_are_limited(ferrule, origin):
    proxy = ferrule.http(origin, entry="[entryPoints.web.transport]\nkeepAliveMaxRequests = 3")
    with proxy.connect() as client:
        for number in range(1, 4):
            answer = client.exchange("GET", "/bytes/4")
            assert answer.status == 200 and (answer.header("Connection") == "close") == (number == 3)
        assert client.is_closed()
    assert proxy.get("/bytes/1").status == 200


def test_age_of_a_connection_is_limited(ferrule, origin):
    proxy = ferrule.http(origin, entry='[entryPoints.web.transport]\nkeepAliveMaxTime = "1s"')
    started = time.monotonic()
    with proxy.connect() as client:
        first = client.exchange("GET", "/bytes/4").header("Connection")
        answered = time.monotonic()  # so it was accepted before
        assert first != "close" or answered - started > 0.9
        wait_until(lambda: time.monotonic() - answered > 1.1, "it is old")
        assert client.exchange("GET", "/bytes/4").header("Connection") == "close" and client.is_closed()


@pytest.mark.parametrize("twice", [False, True])
def test_accepting_goes_on_after_the_stop_signal(ferrule, origin, twice):
    limit = "1h" if twice else "1s"
    proxy = ferrule.http(origin, entry=f'[entryPoints.web.transport.lifeCycle]\nrequestAcceptGraceTimeout = "{limit}"')
    with proxy.connect() as idle:
        assert idle.exchange("GET", "/bytes/1").status == 200
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: proxy.notified("STOPPING=1"), "it was heard")
        if twice:
            assert proxy.get("/bytes/1").status == 200 and idle.exchange("GET", "/bytes/1").status == 200
            proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait_exit() == 0
    wait_until(lambda: not accepts(proxy.port()), "it listens no more")
