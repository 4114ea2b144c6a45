# SPDX-License-Identifier: Apache-2.0
"""Zone walk, CNAMEs and the propagation check against a real BIND, with relays as its other addresses."""

import threading

import pytest

from lib.proc import free_port
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test"


@pytest.fixture
def tool():
    return Tool()


def set_rcode(answer, rcode):
    """The answer's header and question alone, with another rcode."""
    end = answer.index(b"\0", 12) + 5
    return answer[:3] + bytes([answer[3] & 0xF0 | rcode]) + b"\0\1" + b"\0" * 6 + answer[12:end]


def query_type(query):
    end = query.index(b"\0", 12)
    return query[end + 1] << 8 | query[end + 2]


# --- where a challenge lives ----------------------------------------------------------------------------------


@pytest.mark.asan
def test_zone_of_a_name(tool, make_bind):
    bind = make_bind(zones={"edge.test": "", "deep.edge.test": ""})
    for name, zone in (("_acme-challenge.edge.test", "edge.test."), (NAME, "edge.test."),
                       ("_acme-challenge.a.b.deep.edge.test.", "deep.edge.test."), ("EDGE.Test", "edge.test.")):
        place = tool.find(name, bind.address)
        assert place["ok"] and place["zone"] == zone and place["fqdn"] == name.lower().rstrip(".") + ".", place


def test_cname_is_followed(tool, make_bind):
    bind = make_bind(zones={"edge.test": "_acme-challenge.demo IN CNAME demo.hop.other.test.\n",
                            "other.test": "demo.hop IN CNAME demo.validation\n"})
    place = tool.find(NAME, bind.address)
    assert place["ok"] and place["fqdn"] == "demo.validation.other.test." and place["zone"] == "other.test."
    assert "is an alias: the value goes to demo.validation.other.test." in place["text"]


def test_cname_of_a_wildcard_is_not_followed(tool, make_bind):
    bind = make_bind(zones={"edge.test": "*.demo IN CNAME balancer.other.test.\n", "other.test": "balancer IN A 127.0.0.1\n"})
    place = tool.find(NAME, bind.address)
    assert place["ok"] and place["fqdn"] == NAME + "." and place["zone"] == "edge.test."
    assert "comes from a wildcard" in place["text"]


def test_cname_loop_ends(tool, make_bind):
    bind = make_bind(zones={"edge.test": "_acme-challenge.demo IN CNAME other\nother IN CNAME _acme-challenge.demo\n"})
    place = tool.find(NAME, bind.address)
    assert not place["ok"] and "more than 8 CNAMEs" in place["text"] and "circle" in place["text"]


def test_no_zone(tool, bind):
    place = tool.find("_acme-challenge.elsewhere.example", bind.address)
    assert not place["ok"] and "REFUSED when asked for the SOA" in place["text"]


def test_resolver_is_down(tool):
    port = free_port()
    place = tool.find(NAME, f"127.0.0.1:{port}")
    assert not place["ok"] and f"127.0.0.1:{port} refuses the connection" in place["text"]


def test_second_resolver_is_asked(tool, bind, make_dns_relay):
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: set_rcode(answer, 2)  # SERVFAIL
    place = tool.find(NAME, f"127.0.0.2:{relay.port},{bind.address}")
    assert place["ok"] and place["zone"] == "edge.test." and relay.queries > 0


def test_resolver_that_is_no_address(tool):
    place = tool.find(NAME, "ns1.example.org")
    assert not place["ok"] and "must be an IP address" in place["text"]


# --- whether values are visible ---------------------------------------------------------------------------------


@pytest.mark.asan
def test_values_are_visible(tool, bind):
    bind.nsupdate(f"add {NAME}. 60 TXT one", f"add {NAME}. 60 TXT two", f"add {NAME}. 60 TXT foreign")
    answer = tool.check(NAME, "edge.test", "one", "two", resolvers=bind.address, port=bind.port, successes=3)
    assert answer["ok"] and "all 1 name server addresses of edge.test. have the values" in answer["text"]
    assert len([q for q in bind.queries(NAME, "TXT")]) == 3


def test_value_comes_late(tool, bind):
    timer = threading.Timer(1.5, lambda: bind.nsupdate(f"add {NAME}. 60 TXT one"))
    timer.start()
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port)
    timer.join()
    assert answer["ok"]
    assert "ns1.edge.test. (127.0.0.1:" in answer["progress"][0]
    assert "NXDOMAIN, 0 of 1 value among 0 TXT; caches keep that answer for 5 s" in answer["progress"][0]


def test_one_value_is_missing(tool, bind):
    bind.nsupdate(f"add {NAME}. 60 TXT one", f"add {NAME}. 60 TXT other")
    answer = tool.check(NAME, "edge.test.", "one", "two", resolvers=bind.address, port=bind.port, timeout_s=2)
    assert not answer["ok"] and "not visible within 2 s" in answer["text"]
    assert "NOERROR, 1 of 2 values among 2 TXT" in answer["text"]


def test_every_server_counts(tool, make_bind, make_dns_relay):
    bind = make_bind(nameservers=("127.0.0.1", "127.0.0.2"))
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: set_rcode(answer, 3) if query_type(query) == 16 else answer
    bind.nsupdate(f"add {NAME}. 60 TXT one")
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=3)
    assert not answer["ok"] and "ns2.edge.test. (127.0.0.2:" in answer["text"] and "NXDOMAIN" in answer["text"]
    assert "ns1.edge.test." not in answer["text"]
    relay.change = None
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port)
    assert answer["ok"] and "all 2 name server addresses" in answer["text"]


@pytest.mark.parametrize("rcode, text", [(5, "REFUSED"), (2, "SERVFAIL")])
def test_server_that_refuses_is_named(tool, make_bind, make_dns_relay, rcode, text):
    bind = make_bind(nameservers=("127.0.0.2",))
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: set_rcode(answer, rcode)
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=2)
    assert not answer["ok"] and f"ns1.edge.test. (127.0.0.2:{bind.port}): {text}, 0 of 1" in answer["text"]


def test_dead_server_is_named(tool, make_bind):
    bind = make_bind(nameservers=("127.0.0.1", "127.0.0.3"))
    bind.nsupdate(f"add {NAME}. 60 TXT one")
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=2)
    assert not answer["ok"] and f"ns2.edge.test.: 127.0.0.3:{bind.port} refuses the connection" in answer["text"]


def test_silent_udp_goes_to_tcp(tool, make_bind, make_dns_relay):
    bind = make_bind(nameservers=("127.0.0.2",))
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: answer if is_tcp else None
    bind.nsupdate(f"add {NAME}. 60 TXT one")
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=60)
    assert answer["ok"]


def test_large_sets_go_to_tcp(tool, bind):
    values = [f"{i:03d}" + "x" * 200 for i in range(20)]
    bind.nsupdate(*(f"add {NAME}. 60 TXT {value}" for value in values))
    answer = tool.check(NAME, "edge.test.", values[0], values[19], resolvers=bind.address, port=bind.port)
    assert answer["ok"]


def test_zone_without_servers(tool, bind):
    answer = tool.check(NAME, "demo.edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=1)
    assert not answer["ok"] and "no NS record when asked for those of demo.edge.test." in answer["text"]


def test_garbage_answers(tool, make_bind, make_dns_relay):
    bind = make_bind(nameservers=("127.0.0.2",))
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: answer[:2] + b"\x84\x00" + b"\xff" * 30
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=12)
    assert not answer["ok"] and "127.0.0.2" in answer["text"]


# --- addresses of hosts ------------------------------------------------------------------------------------------


def test_resolve(tool, make_bind):
    bind = make_bind(zones={"edge.test": "www IN A 127.0.0.7\nwww IN AAAA ::7\nalias IN CNAME www\n"})
    env = {"RESOLVERS": bind.address}
    for host in ("www.edge.test", "alias.edge.test"):
        assert sorted(tool.run("resolve", host, 80, env=env)["addresses"]) == ["127.0.0.7:80", "[::7]:80"]
    assert tool.run("resolve", "127.0.0.9", 81, env=env)["addresses"] == ["127.0.0.9:81"]
    assert "127.0.0.1:82" in tool.run("resolve", "localhost", 82)["addresses"]
    answer = tool.run("resolve", "nosuch.edge.test", 80, env=env)
    assert answer["addresses"] == [] and "does not exist" in answer["text"]
