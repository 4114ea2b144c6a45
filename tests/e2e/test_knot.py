# SPDX-License-Identifier: Apache-2.0
"""rfc2136 and the propagation check against Knot DNS, whose refusals differ from BIND's."""

import base64

import pytest

from lib.knot import Knot
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test."


@pytest.fixture
def tool():
    return Tool()


@pytest.fixture(params=["hmac-sha256", "hmac-sha512"])
def knot(request, folder):
    server = Knot(folder / "knot", request.param)
    yield server
    server.stop()


def test_values_come_and_go(tool, knot):
    env = knot.rfc2136_env()
    for value in ("one", "two", "two"):
        assert tool.call("present", NAME, value, env=env)["verdict"] == "OK"
    assert knot.txt(NAME) == ["one", "two"]
    answer = tool.check(NAME, "edge.test.", "one", "two", resolvers=knot.address, port=knot.port)
    assert answer["ok"], answer
    assert tool.find(NAME, knot.address)["zone"] == "edge.test."
    for value in ("one", "one", "two"):
        assert tool.call("cleanup", NAME, value, env=env)["verdict"] == "OK"
    assert knot.txt(NAME) == []


@pytest.mark.parametrize("change, text", [
    ({"RFC2136_TSIG_KEY": "stranger"}, "BADKEY"),
    ({"RFC2136_TSIG_SECRET": base64.b64encode(b"another secret").decode()}, "BADSIG"),
    ({"RFC2136_TSIG_KEY": "", "RFC2136_TSIG_SECRET": ""}, "without a signature"),
])
def test_refusals(tool, knot, change, text):
    env = {k: v for k, v in knot.rfc2136_env(**change).items() if v}
    answer = tool.call("present", NAME, "x", env=env)
    assert answer["verdict"] in ("AUTH", "ZONE") and (text in answer["text"] or answer["verdict"] == "ZONE"), answer
    assert knot.txt(NAME) == []
