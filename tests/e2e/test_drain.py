# SPDX-License-Identifier: Apache-2.0
"""What a stop owes to clients that came just before it."""

import contextlib
import os
import signal
import time

import pytest

from lib.hostile import head
from lib.http1 import Closed
from lib.origin import body_of
from lib.proc import state_of, wait_until


@pytest.mark.asan
def test_clients_in_the_accept_queue_are_served(ferrule, origin):
    """Their connections stand as far as they know: none may be reset because nobody had come to accept it."""
    proxy = ferrule.http(origin, workers=1)
    data = proxy.pid_of("data")
    os.kill(data, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(data) == "T", "the data process has stopped")
        clients = [proxy.connect() for _ in range(100)]
        for n, client in enumerate(clients):
            client.send(head(first=f"GET /bytes/{n} HTTP/1.1"))
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_log("stopping")
    finally:
        os.kill(data, signal.SIGCONT)
    for n, client in enumerate(clients):
        response = client.read_response()
        assert response.body == body_of(n) and response.header("Connection") == "close"
        client.close()
    proxy.stop()


def test_idle_client_that_has_not_asked_has_a_moment(ferrule, origin):
    """A new connection may have its request under way when the drain begins; one that was served may not wait for more."""
    proxy = ferrule.http(origin, workers=1, entry="[entryPoints.web.transport.lifeCycle]\ngraceTimeOut = \"20s\"")
    with proxy.connect() as fresh, proxy.connect() as served, proxy.connect() as busy:
        assert served.exchange("GET", "/").status == 200
        busy.request("GET", "/held/bytes/40")
        wait_until(lambda: len(origin.requests) == 2, "a request is being answered")
        began = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        assert served.is_closed()
        with contextlib.suppress(OSError):
            fresh.send(head())
        asked_s = time.monotonic() - began
        try:
            assert fresh.read_response().status == 200 and fresh.is_closed()
        except (Closed, OSError):
            assert asked_s > 0.9  # the moment is a second, and this machine stalled
        origin.let_go()
        assert busy.read_response().body == body_of(40)
    proxy.stop()
