# SPDX-License-Identifier: Apache-2.0
"""The control process and its neighbours: what survives whose death, how names of upstreams are resolved, many orders."""

import pytest

from lib import config
from lib.proc import free_port, wait_until

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]


def wait_certificate(proxy, name="demo.edge.test", timeout_s=60):
    wait_until(lambda: any(c["source"] == "acme" and name in c["names"] for c in proxy.json("cert", "list")["certificates"]),
               f"a certificate for {name}", timeout_s)


@pytest.mark.asan
def test_new_data_process_gets_everything(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    old = proxy.kill("data")
    proxy.wait_respawn("data", old)

    def served():
        try:
            return proxy.get_tls("/bytes/64", host="demo.edge.test", ca_file=pebble.roots_file()).status == 200
        except OSError:
            return False

    wait_until(served, "service again")
    assert pebble.issued() == 1


@pytest.mark.asan
def test_death_of_control_costs_no_request(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    proxy.wait_served("demo.edge.test", pebble.roots_file())
    with proxy.connect_tls("demo.edge.test", ca_file=pebble.roots_file()) as kept:
        assert kept.exchange("GET", "/bytes/64", "demo.edge.test").status == 200
        old = proxy.kill("control")
        for _ in range(20):
            assert kept.exchange("GET", "/bytes/64", "demo.edge.test").status == 200
            assert proxy.get_tls("/bytes/64", host="demo.edge.test", ca_file=pebble.roots_file()).status == 200
        proxy.wait_respawn("control", old)
        wait_until(lambda: proxy.cli("status").returncode == 0, "the admin socket again")
        assert kept.exchange("GET", "/bytes/64", "demo.edge.test").status == 200
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert pebble.issued() == 1


def test_upstream_by_name(ferrule, origin):
    port = free_port()
    text = "\n".join([config.entrypoint("web", port), config.router("all", "named"),
                      config.service("named", f"http://localhost:{origin.port}")])
    proxy = ferrule(text, {"web": port})
    wait_until(lambda: proxy.get("/bytes/64").status == 200, "the name is resolved")


def test_upstream_name_that_does_not_exist(ferrule, origin):
    port = free_port()
    text = "\n".join([config.entrypoint("web", port), config.router("all", "named"),
                      config.service("named", "http://nowhere.invalid:1")])
    proxy = ferrule(text, {"web": port})
    assert proxy.get("/bytes/64").status in (502, 503)
    proxy.wait_log("upstream nowhere.invalid")


def test_ca_by_a_name_with_two_addresses(ferrule, origin, bind, pebble):
    """localhost is ::1 and 127.0.0.1, and Pebble listens on one of them."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    proxy.write_config(proxy.config_file.read_text().replace("https://127.0.0.1:", "https://localhost:"))
    proxy.start()
    wait_certificate(proxy)


def test_alias_of_the_challenge_name(ferrule, origin, make_bind, make_pebble):
    bind = make_bind(zones={"edge.test": "_acme-challenge.demo IN CNAME demo.validation\n"})
    pebble = make_pebble(bind.address)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    assert "TXT value added at demo.validation.edge.test." in proxy.log
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


def test_delay_before_check(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"dns_more": 'delayBeforeCheck = "1s"'})
    wait_certificate(proxy)
    assert proxy.log.count("waiting 1 s (delayBeforeCheck)") == 1


def test_checks_disabled(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"dns_more": "disablePropagationCheck = true"})
    wait_certificate(proxy)
    assert "nobody is asked whether the TXT values are visible" in proxy.log


@pytest.mark.parametrize("variable", ["RFC2136_NAMESERVER", "RFC2136_TSIG_SECRET"])
def test_option_of_the_provider_missing(ferrule, origin, bind, pebble, variable):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"env": {variable: ""}})
    entry = wait_until(lambda: (e := proxy.json("cert", "show", "demo.edge.test")["wanted"][0]["ledger"])["failures"] and e, "a failure")
    assert variable in entry["lastError"]
    assert entry["ordersIn168h"] == 0 and "POST /order-plz" not in pebble.log


@pytest.mark.long
def test_many_orders_side_by_side(ferrule, origin, bind, pebble):
    domains = [(f"n{i}.edge.test", []) for i in range(60)]
    proxy = ferrule.acme(pebble, bind, origin, domains=domains)
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 60, "60 certificates", 240)
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert pebble.issued() == 60
