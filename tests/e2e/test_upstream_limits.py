# SPDX-License-Identifier: Apache-2.0
"""Upstreams that stop in the middle of a response."""

import time

import pytest

from lib.http1 import Closed
from lib.origin import body_of

LIMITS = "[serversTransport.forwardingTimeouts]\nbodyTimeout = '1500ms'\n"


@pytest.mark.asan
def test_a_response_that_stalls_is_aborted(ferrule, origin):
    proxy = ferrule.http(origin, extra=LIMITS, workers=1)
    with proxy.connect() as client:
        with pytest.raises(Closed):
            client.exchange("GET", "/slow/1000?piece=500&ms=5000")
    assert proxy.counters()["aborted"] == 1

    def is_whole():  # slow all in all, but never silent
        try:
            return proxy.get("/slow/30?piece=1&ms=60").body == body_of(30)
        except Closed:
            return False

    assert any(is_whole() for _ in range(3)), "three times, as this machine may stall for longer than the limit"


@pytest.mark.asan
def test_streams_of_unknown_length_may_be_silent(ferrule, origin):
    proxy = ferrule.http(origin, extra=LIMITS, workers=1)
    assert proxy.get("/delay/1700/chunked/10").body == body_of(10)
    limited = ferrule.http(origin, extra=LIMITS + "streamTimeout = '1500ms'\n", workers=1)
    assert limited.get("/chunked/100000").body == body_of(100000)


@pytest.mark.asan
def test_a_slow_client_is_not_a_slow_upstream(ferrule, origin):
    """While the client takes nothing, the upstream need not send anything."""
    proxy = ferrule.http(origin, extra=LIMITS, workers=1)
    size = 16 << 20  # more than all buffers on the way hold
    with proxy.connect() as client:
        client.send(f"GET /bytes/{size} HTTP/1.1\r\nHost: a.test\r\n\r\n")
        time.sleep(2)
        assert client.read_response().body == body_of(size)
