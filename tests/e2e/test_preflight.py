# SPDX-License-Identifier: Apache-2.0
"""What would make an order fail is found before the CA is asked, and told by `ferrule cert plan`."""

import threading

import pytest

from lib import config
from lib.fakeca import FakeCa
from lib.proc import free_port, wait_until

ZONES = {"edge.test": "here A 127.0.0.1\naway A 192.0.2.7\nboth A 127.0.0.1\nboth AAAA 2001:db8::7\n"}


@pytest.fixture
def zone(make_bind):
    return make_bind(zones=ZONES)


@pytest.fixture
def fake(folder, authority, zone):
    ca = FakeCa(folder, authority)
    ca.challenges = ["dns-01", "http-01", "tls-alpn-01"]
    ca.dns, ca.http_port, ca.tls_port = zone.address, free_port(), free_port()
    yield ca
    ca.stop()


@pytest.fixture
def edge(ferrule, origin, fake, folder):
    """edge(names, more): an order per name by HTTP-01; port 80 is where `fake` would connect to."""

    def start(names, more="", listen=None, challenges="http"):
        ports = {"web": listen or fake.http_port, "websecure": fake.tls_port}
        text = "\n".join([
            config.entrypoint("web", ports["web"]), config.entrypoint("websecure", ports["websecure"]),
            config.router("all", "s", entrypoints=["websecure"], resolver="test", domains=[(name, []) for name in names]),
            config.service("s", origin.url), config.answering_resolver(fake, folder, challenges, more=more)])
        return ferrule(text, ports)
    return start


def planned(proxy):
    """{main name: {check: finding}} of what is due."""
    plan = proxy.json("cert", "plan")["plan"]
    return {entry["names"][0]: {f["check"]: f for f in entry.get("preflight", [])} for entry in plan}


def failures(proxy, name):
    return proxy.json("cert", "show", name)["wanted"][0]["ledger"]["lastError"] or ""


def wait_failure(proxy, name, text):
    wait_until(lambda: text in failures(proxy, name), f"{name}: {text}")


@pytest.mark.asan
def test_names_that_lead_elsewhere(edge, fake):
    names = ["away.edge.test", "both.edge.test", "nowhere.edge.test"]
    proxy = edge(names, 'preflight.address = "stop"')
    wait_failure(proxy, names[0], "away.edge.test leads to 192.0.2.7, which is no address of this machine")
    wait_failure(proxy, names[1], "both.edge.test leads to 2001:db8::7")
    wait_failure(proxy, names[2], "host name nowhere.edge.test does not exist or has no address: the CA cannot connect")
    assert fake.orders == []
    finding = planned(proxy)[names[0]]["address"]
    assert finding["result"] == "bad" and finding["policy"] == "stop" and "192.0.2.7" in finding["text"]
    assert {check: f["result"] for check, f in planned(proxy)[names[0]].items()} == {
        "clock": "good", "disk": "good", "caa": "unknown", "address": "bad", "port": "good"}
    shown = proxy.cli("cert", "plan").stdout
    assert "  address: away.edge.test leads to 192.0.2.7" in shown and "(stop)" in shown
    assert "caa is not known: the CA has not told its name" in shown


@pytest.mark.asan
def test_a_plan_lives_through_reloads(edge, make_dns_relay, zone):
    """What it looks at belongs to a configuration that is not in use any more when the answers come."""
    relay, gate = make_dns_relay(zone.address), threading.Event()
    relay.change = lambda query, answer, is_tcp: gate.wait(60) and answer
    gate.set()
    names = ["away.edge.test", "both.edge.test"]
    proxy = edge(names, f'preflight.address = "stop"\npreflight.resolvers = ["127.0.0.2:{zone.port}"]')
    for name in names:
        wait_failure(proxy, name, f"{name} leads to")
    gate.clear()
    before, found = relay.queries, []
    asking = threading.Thread(target=lambda: found.append(planned(proxy)))
    asking.start()
    wait_until(lambda: relay.queries >= before + len(names), "the plan asks")
    for old, new in (names, names[::-1], names):
        proxy.config_file.write_text(proxy.config_file.read_text().replace(f'main = "{old}"', f'main = "{new}"'))
        assert "error" not in proxy.ask("reload")  # no program is started: questions to the DNS end after six seconds
    gate.set()
    asking.join()
    for name in names:
        assert found[0][name]["address"]["text"].startswith(f"{name} leads to"), found


def test_addresses_of_a_router_in_front(edge, fake):
    names = ["away.edge.test", "both.edge.test", "here.edge.test"]
    proxy = edge(names, 'preflight.publicAddresses = ["192.0.2.7", "2001:0db8::0007"]')
    wait_until(lambda: fake.issued == 3, "the certificates")
    assert "no address of this machine" not in proxy.log


def test_usually_it_only_warns(edge, fake):
    proxy = edge(["away.edge.test"])
    wait_until(lambda: fake.issued == 1, "the certificate")
    assert "away.edge.test leads to 192.0.2.7, which is no address of this machine" in proxy.log


@pytest.mark.long
def test_no_answer_from_dns_keeps_no_order_back(edge, fake, make_dns_relay, zone):
    relay = make_dns_relay(zone.address)
    relay.drop = True
    proxy = edge(["here.edge.test"], f'preflight.address = "stop"\npreflight.resolvers = ["127.0.0.2:{zone.port}"]')
    wait_until(lambda: fake.issued == 1, "the certificate")
    assert relay.queries > 0 and "no address of this machine" not in proxy.log


@pytest.mark.parametrize("challenge, text", [
    ("http", "entry point web does not listen on port {}, where the CA looks for HTTP-01"),
    ("tls", "no entry point listens on port {}, where the CA looks for TLS-ALPN-01")])
def test_port(edge, fake, challenge, text):
    if challenge == "tls":
        port = free_port()
        more = f"preflight.port = 'stop'\ntlsChallenge.port = {port}"
        proxy = edge(["here.edge.test"], more, challenges="")
    else:
        port = fake.http_port
        proxy = edge(["here.edge.test"], 'preflight.port = "stop"', listen=free_port())
    wait_failure(proxy, "here.edge.test", text.format(port))
    assert fake.orders == []


def test_values_are_tried(ferrule, origin, bind, fake):
    """With the right key; the value of no meaning is gone before the order."""
    more = 'preflight.txt = "stop"'
    proxy = ferrule.acme(fake, bind, origin, domains=[("a.edge.test", ["*.a.edge.test"])], resolver={"more": more})
    wait_until(lambda: fake.issued == 1, "the certificate", 60)
    assert proxy.log.count("trying whether TXT values can be added and removed at _acme-challenge.a.edge.test.") == 1
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


def test_values_that_cannot_be_added(ferrule, origin, bind, fake):
    env = {"RFC2136_TSIG_SECRET": "b3RoZXI="}
    proxy = ferrule.acme(fake, bind, origin, domains=[("a.edge.test", [])], resolver={"more": 'preflight.txt = "stop"', "env": env})
    wait_failure(proxy, "a.edge.test", "a TXT value for a.edge.test cannot be added")
    assert fake.orders == []
