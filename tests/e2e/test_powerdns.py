# SPDX-License-Identifier: Apache-2.0
"""rfc2136 and the propagation check against PowerDNS, whose refusals differ from those of BIND and Knot."""

import base64

import pytest

from lib.powerdns import PowerDns
from lib.proc import wait_until
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test."
BARE = NAME.rstrip(".")
FOREIGN = [(BARE, "TXT", '"foreign"'), (BARE, "HINFO", '"cpu" "os"'), ("other.edge.test", "TXT", '"one"')]


@pytest.fixture
def tool():
    return Tool()


@pytest.fixture
def make_powerdns(folder):
    made = []

    def make(algorithm="hmac-sha256"):
        made.append(PowerDns(folder / f"pdns{len(made)}", algorithm, {"edge.test": FOREIGN}))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha512", *(
    pytest.param(f"hmac-{name}", marks=pytest.mark.long) for name in ("sha1", "sha224", "sha384"))])
def test_values_come_and_go(tool, make_powerdns, algorithm):
    powerdns = make_powerdns(algorithm)
    env = powerdns.rfc2136_env()
    for value in ("one", "two", "two"):
        answer = tool.call("present", NAME, value, env=env)
        assert answer["verdict"] == "OK", answer
    assert powerdns.txt(NAME) == ["foreign", "one", "two"]
    answer = tool.check(NAME, "edge.test.", "one", "two", resolvers=powerdns.address, port=powerdns.port)
    assert answer["ok"], answer
    assert tool.find(NAME, powerdns.address)["zone"] == "edge.test."
    for value in ("one", "one", "two"):
        assert tool.call("cleanup", NAME, value, env=env)["verdict"] == "OK"
    assert powerdns.all_txt() == {BARE: ["foreign"], "other.edge.test": ["one"]}
    assert powerdns.dig(NAME, "HINFO") == ['"cpu" "os"']


@pytest.mark.parametrize("change, text", [
    ({"RFC2136_TSIG_KEY": "stranger"}, "TSIG key stranger."),
    ({"RFC2136_TSIG_SECRET": base64.b64encode(b"another secret").decode()}, "TSIG key update-key."),
    ({"RFC2136_TSIG_KEY": "", "RFC2136_TSIG_SECRET": ""}, "without a signature"),
])
def test_refusals(tool, make_powerdns, change, text):
    """PowerDNS says REFUSED for everything; its own log tells more."""
    powerdns = make_powerdns()
    env = {k: v for k, v in powerdns.rfc2136_env(**change).items() if v}
    answer = tool.call("present", NAME, "x", env=env)
    assert answer["verdict"] == "AUTH" and text in answer["text"] and "REFUSED" in answer["text"], answer
    assert powerdns.txt(NAME) == ["foreign"]


def test_order(ferrule, origin, make_powerdns, make_pebble):
    """Apex and wildcard from Pebble, which asks PowerDNS; what others have there stays."""
    powerdns = make_powerdns()
    pebble = make_pebble(powerdns.address)
    proxy = ferrule.acme(pebble, powerdns, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])],
                         resolver={"env": {"RFC2136_POLLING_INTERVAL": "1"}})
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "the certificate", 90)
    wait_until(lambda: powerdns.all_txt() == {BARE: ["foreign"], "other.edge.test": ["one"]}, "no value of ours left")
    proxy.wait_served("a.demo.edge.test", pebble.roots_file())
