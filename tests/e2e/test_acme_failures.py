# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between ferrule, the CA and the name servers: it serves what it has, says why, waits, and leaves no
TXT value behind. A repaired configuration is tried at once."""

import re
import time

import pytest

from lib.proc import wait_until

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]


def ledger(proxy, name="demo.edge.test"):
    return proxy.json("cert", "show", name)["wanted"][0]["ledger"]


def wait_failure(proxy, pattern, name="demo.edge.test", timeout_s=60):
    """Waits until the order has failed; the reason must match. Returns the ledger."""
    found = wait_until(lambda: (entry := ledger(proxy, name))["failures"] and entry, "a failed order", timeout_s)
    assert re.search(pattern, found["lastError"]), found["lastError"]
    assert found["notBefore"] >= time.time() + 30
    wait_until(lambda: proxy.json("cert", "show", name)["wanted"][0]["state"] == "waiting", "the order to be over")
    text = proxy.cli("cert", "show", name).stdout
    assert "in a row" in text and "next try not before" in text
    assert proxy.get_tls("/bytes/64", host=name, ca_file=None).status == 200
    return found


def wait_certificate(proxy, name="demo.edge.test"):
    wait_until(lambda: any(c["source"] == "acme" and name in c["names"] for c in proxy.json("cert", "list")["certificates"]),
               "a certificate", 60)


def repaired(proxy, old, new):
    text = proxy.config_file.read_text()
    assert old in text
    proxy.restart(text.replace(old, new))


@pytest.mark.asan
def test_ca_down(ferrule, origin, bind, pebble):
    pebble.stop()
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_failure(proxy, "no answer from the CA.*Could ?n[o']t? connect|Failed to connect|refused")
    before = ledger(proxy)["notBefore"]
    proxy.restart()  # a restart does not end a back-off
    assert ledger(proxy)["notBefore"] == before
    pebble.restart()
    repaired(proxy, "harness@edge.test", "other@edge.test")
    wait_certificate(proxy)


@pytest.mark.asan
def test_wrong_tsig_key(ferrule, origin, bind, pebble):
    good = bind.key.secret
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES,
                         resolver={"env": {"RFC2136_TSIG_SECRET": "d3JvbmcgIGtleSB3cm9uZyBrZXkgd3Jvbmcga2V5IQ=="}})
    entry = wait_failure(proxy, "rfc2136")
    assert entry["ordersIn168h"] == 1 and entry["certificatesIn168h"] == 0
    assert bind.all_txt() == {}
    assert good not in proxy.log and "d3JvbmcgIGtleSB3cm9uZyBrZXkgd3Jvbmcga2V5IQ" not in proxy.log
    repaired(proxy, "d3JvbmcgIGtleSB3cm9uZyBrZXkgd3Jvbmcga2V5IQ==", good)
    wait_certificate(proxy)
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


def test_name_server_down(ferrule, origin, bind, pebble):
    bind.stop()
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_failure(proxy, "_acme-challenge.demo.edge.test", timeout_s=120)


def test_value_never_visible(ferrule, origin, make_bind, make_pebble):
    bind = make_bind(nameservers=("127.0.0.1", "127.9.9.9"))  # nobody answers at the second
    pebble = make_pebble(bind.address)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES,
                         resolver={"env": {"RFC2136_PROPAGATION_TIMEOUT": "5", "RFC2136_POLLING_INTERVAL": "1"}})
    entry = wait_failure(proxy, "127.9.9.9", timeout_s=120)
    assert entry["certificatesIn168h"] == 0
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


@pytest.mark.asan
def test_ca_refuses_the_name(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, blocked=["blocked.edge.test"])
    proxy = ferrule.acme(pebble, bind, origin, domains=[("blocked.edge.test", []), ("good.edge.test", [])])
    entry = wait_failure(proxy, "rejectedIdentifier", "blocked.edge.test")
    assert entry["problemType"] == "urn:ietf:params:acme:error:rejectedIdentifier"
    wait_certificate(proxy, "good.edge.test")  # one name's failure is not another's


def test_ca_sees_another_zone(ferrule, origin, make_bind, make_pebble):
    """Propagation is right at our server, but the CA asks another: its own words reach the operator."""
    ours, other = make_bind(), make_bind()
    pebble = make_pebble(other.address)
    proxy = ferrule.acme(pebble, ours, origin, domains=NAMES)
    entry = wait_failure(proxy, "the CA says that the authorization of demo.edge.test is invalid")
    assert entry["class"] in ("unauthorized", "DNS")
    wait_until(lambda: ours.all_txt() == {}, "no TXT value left")


def test_external_account_missing(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, eab={"k": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"})
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_failure(proxy, "eab.kid")


def test_ca_is_not_trusted(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    text = "\n".join(line for line in proxy.config_file.read_text().splitlines() if not line.startswith("caCertificates"))
    proxy.write_config(text)
    proxy.start()
    wait_failure(proxy, "certificate")
    assert pebble.issued() == 0


@pytest.mark.parametrize("path, reason", [
    ("/bytes/64", "directory is not a JSON object.*caServer"),
    ("/bytes/2000000", "larger than 1 MB"),
    ("/cut/100", "no answer from the CA"),
    ("/reset", "no answer from the CA"),
    ("/status/404", "the CA answered 404"),
])
def test_ca_is_no_ca(ferrule, origin, bind, pebble, make_origin, authority, path, reason):
    web = make_origin("web", certificate=authority.issue("127.0.0.1"))
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    proxy.write_config(proxy.config_file.read_text().replace(pebble.directory_url, f"https://127.0.0.1:{web.port}{path}"))
    proxy.start()
    wait_failure(proxy, reason)


def test_no_such_plugin(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    proxy.write_config(proxy.config_file.read_text().replace('provider = "rfc2136"', 'provider = "nosuch"'))
    proxy.start()
    entry = wait_failure(proxy, "nosuch")
    assert entry["ordersIn168h"] == 0


def test_two_ferrules_one_state(ferrule, origin, bind, pebble):
    first = ferrule.acme(pebble, bind, origin, domains=NAMES)
    second = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    text = second.config_file.read_text().replace(str(second.state_folder), str(first.state_folder))
    second.write_config(text)
    second.start(wait=False)
    wait_until(lambda: str(first.process.pid) in second.log, "the second names the first")
    assert second.process.wait_exit() == 1
    second.stop(expect=1)
    wait_certificate(first)


def test_ca_that_does_not_answer(ferrule, origin, bind, pebble, make_origin, authority):
    """It takes the connection and says nothing: the wait ends by clientResponseHeaderTimeout."""
    web = make_origin("web", certificate=authority.issue("127.0.0.1"))
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False,
                         resolver={"more": 'clientResponseHeaderTimeout = "1s"'})
    proxy.write_config(proxy.config_file.read_text().replace(pebble.directory_url, f"https://127.0.0.1:{web.port}/never"))
    proxy.start()
    wait_failure(proxy, "the answer did not begin within 1 s")
