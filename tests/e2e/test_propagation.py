# SPDX-License-Identifier: Apache-2.0
"""Zone walk, CNAMEs and the propagation check against a real BIND, with relays as its other addresses."""

import threading

import pytest

from lib.proc import free_port, wait_until
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


def add_when_asked(bind):
    """The thread that adds the value behind the first question."""
    def add():
        wait_until(lambda: bind.queries(NAME, "TXT"), "the first question")
        bind.nsupdate(f"add {NAME}. 60 TXT one")

    thread = threading.Thread(target=add)
    thread.start()
    return thread


def test_value_comes_late(tool, bind):
    late = add_when_asked(bind)
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port)
    late.join()
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


# --- servers that differ -----------------------------------------------------------------------------------------


def test_stale_server_is_waited_for(tool, make_bind, make_dns_relay):
    """A primary that has the value and a server that gets it later."""
    primary = make_bind(nameservers=("127.0.0.1", "127.0.0.2"))
    stale = make_bind(nameservers=("127.0.0.1", "127.0.0.2"))
    make_dns_relay(stale.address, port=primary.port)
    primary.nsupdate(f"add {NAME}. 60 TXT one")
    stale.nsupdate(f"add {NAME}. 60 TXT of-yesterday")
    late = tool.check(NAME, "edge.test.", "one", resolvers=primary.address, port=primary.port, timeout_s=2)
    assert not late["ok"] and "ns1.edge.test." not in late["text"]
    assert f"ns2.edge.test. (127.0.0.2:{primary.port}): NOERROR, 0 of 1 value among 1 TXT (others: \"of-yesterday\")" in late["text"]
    stale.nsupdate(f"add {NAME}. 60 TXT one")
    answer = tool.check(NAME, "edge.test.", "one", resolvers=primary.address, port=primary.port)
    assert answer["ok"] and "all 2 name server addresses" in answer["text"]


@pytest.mark.long
def test_long_values_of_others_are_cut(tool, bind):
    bind.nsupdate(*(f"add {NAME}. 60 TXT {c * 100}" for c in "abc"))
    answer = tool.check(NAME, "edge.test.", "one", resolvers=bind.address, port=bind.port, timeout_s=1)
    assert "among 3 TXT (others: \"" in answer["text"] and "...\", ...)" in answer["text"]
    assert all(c * 25 not in answer["text"] for c in "abc")


def test_split_horizon(tool, make_bind, make_dns_relay):
    """Inside, another zone shadows the public one: whoever asks the public resolver never sees it."""
    bind = make_bind(nameservers=("127.0.0.2",), options="allow-query { any; };",
                     views={"127.0.0.1": {"demo.edge.test": ""}, "127.0.0.2": {"edge.test": f"{NAME}. TXT one\n"}})
    relay = make_dns_relay(bind.address)
    relay.as_self = True
    public = f"127.0.0.2:{bind.port}"
    assert tool.find(NAME, public)["zone"] == "edge.test."
    assert tool.find(NAME, bind.address)["zone"] == "demo.edge.test."
    for mode in ("", "recursive", "both"):
        assert tool.find(NAME, public, port=bind.port, mode=mode)["zone"] == "edge.test."
        answer = tool.check(NAME, "edge.test.", "one", resolvers=public, port=bind.port, mode=mode)
        assert answer["ok"], answer


# --- resolvers, which remember -------------------------------------------------------------------------------------


@pytest.fixture
def resolver(make_bind, bind):
    """A resolver in front of `bind`; that something does not exist it remembers for 3 seconds."""
    return make_bind(forward={"edge.test": bind.address}, options="max-ncache-ttl 3;")


@pytest.mark.asan
def test_zone_is_found_without_a_trace(tool, bind, resolver):
    place = tool.find(NAME, resolver.address, port=bind.port, mode="recursive")
    assert place["ok"] and (place["zone"], place["fqdn"]) == ("edge.test.", NAME + ".")
    assert resolver.queries(NAME) == [] and resolver.queries("edge.test", "SOA") != []
    bind.nsupdate(f"add {NAME}. 60 TXT one")
    answer = tool.check(NAME, "", "one", resolvers=resolver.address, port=bind.port, mode="recursive", timeout_s=30)
    assert answer["ok"] and answer["text"] == "all 1 resolvers have the value"
    assert not any("NXDOMAIN" in text for text in answer["progress"])


def test_what_a_resolver_remembers_is_waited_out(tool, bind, resolver):
    assert resolver.dig(NAME, "TXT", "+recurse") == []
    bind.nsupdate(f"add {NAME}. 60 TXT one")
    answer = tool.check(NAME, "", "one", resolvers=resolver.address, port=bind.port, mode="recursive")
    assert answer["ok"]
    # It may be that the resolver has forgotten when a slow machine asks first.
    for text in answer["progress"]:
        assert f"resolver {resolver.address}: NXDOMAIN, 0 of 1 value among 0 TXT; it keeps that answer for" in text


@pytest.mark.long
def test_last_look_is_at_the_end(tool, make_bind, bind):
    resolver = make_bind(forward={"edge.test": bind.address}, options="min-ncache-ttl 90;")
    assert resolver.dig(NAME, "TXT", "+recurse") == []
    answer = tool.check(NAME, "", "one", resolvers=resolver.address, port=bind.port, mode="recursive", timeout_s=10)
    assert not answer["ok"] and "not visible within 10 s: resolver" in answer["text"]
    assert len(resolver.queries(NAME)) <= 6, "at the beginning and at the end; not every second"


@pytest.mark.asan
def test_resolvers_are_asked_after_the_servers(tool, bind, resolver):
    late = add_when_asked(bind)
    answer = tool.check(NAME, "edge.test.", "one", resolvers=resolver.address, port=bind.port, mode="both")
    late.join()
    assert answer["ok"] and "all 1 name server addresses of edge.test. and all 1 resolvers have the value" == answer["text"]
    assert not any("resolver" in text and "NXDOMAIN" in text for text in answer["progress"]), "it was asked too early"


@pytest.mark.long
def test_every_resolver_counts(tool, make_bind, bind, resolver):
    other = make_bind(forward={"edge.test": bind.address}, options="max-ncache-ttl 3;")
    bind.nsupdate(f"add {NAME}. 60 TXT one")
    assert other.dig(NAME, "TXT", "+recurse") == ['"one"']
    bind.nsupdate(f"add {NAME}. 60 TXT two")
    both = f"{resolver.address},{other.address}"
    answer = tool.check(NAME, "", "two", resolvers=both, port=bind.port, mode="recursive", timeout_s=3)
    assert not answer["ok"] and resolver.address not in answer["text"]
    assert f"resolver {other.address}: NOERROR, 0 of 1 value among 1 TXT (others: \"one\"); it keeps" in answer["text"]


def test_quiet_search_follows_aliases(tool, make_bind):
    bind = make_bind(zones={"edge.test": "_acme-challenge.demo IN CNAME demo.hop.other.test.\n_acme-challenge.loop IN CNAME _acme-challenge.loop2\n"
                                         "_acme-challenge.loop2 IN CNAME _acme-challenge.loop\n*.wild IN CNAME balancer.other.test.\n",
                            "other.test": "demo.hop IN CNAME validation\n"})
    resolver = make_bind(forward={"edge.test": bind.address, "other.test": bind.address})
    place = tool.find(NAME, resolver.address, port=bind.port, mode="both")
    assert place["ok"] and (place["fqdn"], place["zone"]) == ("validation.other.test.", "other.test."), place
    assert resolver.queries("validation.other.test") == [] and resolver.queries(NAME) == []
    place = tool.find("_acme-challenge.wild.edge.test", resolver.address, port=bind.port, mode="both")
    assert place["ok"] and place["fqdn"] == "_acme-challenge.wild.edge.test." and "comes from a wildcard" in place["text"]
    place = tool.find("_acme-challenge.loop.edge.test", resolver.address, port=bind.port, mode="both")
    assert not place["ok"] and "more than 8 CNAMEs" in place["text"]


@pytest.mark.long
def test_quiet_search_finds_the_deepest_zone(tool, make_bind, make_dns_relay):
    """The challenge name is a zone of its own: on the same server, and on another one that is referred to."""
    options = "check-names primary ignore;"
    both = make_bind(zones={"edge.test": "", NAME: ""}, options=options)
    resolver = make_bind(forward={"edge.test": both.address})
    assert tool.find(NAME, resolver.address, port=both.port, mode="both")["zone"] == NAME + "."
    parent = make_bind(zones={"edge.test": f"{NAME}. NS ns1.{NAME}.\nns1.{NAME}. A 127.0.0.2\n"}, options=options)
    child = make_bind(zones={NAME: ""}, nameservers=("127.0.0.2",), options=options)
    make_dns_relay(child.address, port=parent.port)
    resolver = make_bind(forward={"edge.test": parent.address, NAME: child.address})
    assert tool.find(NAME, resolver.address, port=parent.port, mode="both")["zone"] == NAME + "."
    assert child.queries(NAME, "CNAME") != []


def test_quiet_search_where_no_server_answers(tool, make_bind):
    bind = make_bind(nameservers=("127.0.0.3",))
    resolver = make_bind(forward={"edge.test": bind.address})
    place = tool.find(NAME, resolver.address, port=bind.port, mode="recursive")
    assert place["ok"] and place["zone"] == "edge.test."
    assert "asked about " + NAME in place["text"] and "127.0.0.3" in place["text"]
    assert resolver.queries(NAME) != []


# --- in an order -------------------------------------------------------------------------------------------------


def test_order_that_asks_resolvers(ferrule, origin, bind, resolver, pebble):
    """Also one that kept for a while that the name did not exist would do: it is never asked too early."""
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])], resolver={
        "resolvers": [resolver.address], "propagation": 'mode = "recursive"\nsuccesses = 2\ninterval = "1s"\ntimeout = "1m"'})
    proxy.wait_log("all 1 resolvers have the values", 60)
    wait_until(lambda: pebble.issued() == 1, "the certificate", 60)
    kinds = [kind for _, kind in resolver.queries(NAME)]
    assert set(kinds) == {"TXT"} and len(kinds) >= 2


def test_order_that_goes_on_all_the_same(ferrule, origin, make_bind, make_pebble):
    bind = make_bind(nameservers=("127.0.0.1", "127.0.0.3"))
    proxy = ferrule.acme(make_pebble(bind.address), bind, origin, domains=[("demo.edge.test", [])],
                         resolver={"propagation": 'timeout = "1s"\nonTimeout = "try"'})
    proxy.wait_log("certificate stored", 60)
    assert "the CA is told to look at _acme-challenge.demo.edge.test. all the same" in proxy.log
    assert "refuses the connection" in proxy.log


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
