# SPDX-License-Identifier: Apache-2.0
"""Certificates by DNS-01 from a real CA through a real name server: obtained, served, explained, renewed."""

import json
import os
import stat
import subprocess

import pytest

from lib import config
from lib.proc import free_port, wait_until

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]


def certificates(proxy, name):
    """The ACME certificates with this name that ferrule has loaded."""
    found = proxy.json("cert", "list")["certificates"]
    return [c for c in found if c["source"] == "acme" and name in c["names"]]


def wait_certificate(proxy, name="demo.edge.test", timeout_s=60):
    return wait_until(lambda: certificates(proxy, name), f"a certificate for {name}", timeout_s)[0]


def wait_clean(bind):
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


@pytest.mark.asan
def test_apex_and_wildcard(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    cert = wait_certificate(proxy)
    assert sorted(cert["names"]) == ["*.demo.edge.test", "demo.edge.test"]
    for host in ("demo.edge.test", "a.demo.edge.test"):
        proxy.wait_served(host, pebble.roots_file())
    wait_clean(bind)
    assert pebble.issued() == 1
    for text in ("TXT value added", "TXT values visible", "the CA accepted", "certificate stored", "TXT value removed"):
        assert text in proxy.log, text


def test_restart_orders_nothing(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    proxy.restart()
    assert proxy.get_tls("/bytes/64", host="a.demo.edge.test", ca_file=pebble.roots_file()).status == 200
    assert pebble.issued() == 1
    shown = proxy.json("cert", "show", "demo.edge.test")["wanted"][0]
    assert shown["state"] == "valid" and shown["ledger"]["ordersIn168h"] == 1


def test_default_certificate_before_the_first_order(ferrule, origin, bind, pebble):
    pebble.stop()
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port()}", "-servername", "demo.edge.test"],
                            input="", capture_output=True, text=True, timeout=30)
    assert "ferrule-default.invalid" in result.stdout
    explained = proxy.json("cert", "explain", "--sni", "demo.edge.test")
    assert explained["candidates"][0]["source"] == "default"


@pytest.mark.parametrize("key_type, kind, bits", [("EC384", "EC", 384), ("RSA2048", "RSA", 2048)])
def test_key_types(ferrule, origin, bind, pebble, key_type, kind, bits):
    proxy = ferrule.acme(pebble, bind, origin, domains=[("k.edge.test", [])], resolver={"more": f'keyType = "{key_type}"'})
    cert = wait_certificate(proxy, "k.edge.test")
    assert (cert["keyType"], cert["keyBits"]) == (kind, bits)
    proxy.wait_served("k.edge.test", pebble.roots_file())


def test_external_account(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, eab={"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"})
    more = 'eab = { kid = "kid-1", hmacEncoded = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" }'
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": more})
    wait_certificate(proxy)


def test_domains_from_the_rule_and_one_order_per_set(ferrule, origin, bind, pebble, folder):
    port = free_port()
    text = "\n".join([
        config.entrypoint("websecure", port),
        config.router("one", "s", "Host(`a.edge.test`) || Host(`b.edge.test`)", ["websecure"], resolver="test"),
        config.router("two", "s", "Host(`b.edge.test`, `a.edge.test`) && PathPrefix(`/x`)", ["websecure"], resolver="test"),
        config.router("three", "s", "Host(`a.edge.test`) && PathPrefix(`/y`)", ["websecure"], resolver="test"),
        config.service("s", origin.url), config.resolver(pebble, bind, folder)])
    proxy = ferrule(text, {"websecure": port})
    cert = wait_certificate(proxy, "a.edge.test")
    assert sorted(cert["names"]) == ["a.edge.test", "b.edge.test"]
    wait_clean(bind)
    assert len(proxy.json("cert", "list")["wanted"]) == 1
    assert pebble.issued() == 1


def test_provided_comes_first_unless_it_expired(ferrule, origin, bind, pebble, authority):
    provided = authority.issue("demo.edge.test")
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, extra=config.certificate(provided))
    wait_certificate(proxy)
    ranks = proxy.json("cert", "explain", "--sni", "demo.edge.test")["candidates"]
    assert [(r["source"], r["served"]) for r in ranks] == [("provided", True), ("acme", False)]
    proxy.wait_served("demo.edge.test", authority.cert_file)
    proxy.wait_served("x.demo.edge.test", pebble.roots_file())


def test_forgotten_account_is_registered_again(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    wait_clean(bind)
    proxy.stop()
    pebble.restart()  # it keeps nothing
    proxy.restart_config = proxy.config_file.read_text().replace("demo.edge.test", "other.edge.test")
    proxy.write_config(proxy.restart_config)
    proxy.start()
    wait_certificate(proxy, "other.edge.test")


@pytest.mark.long
def test_renewal_of_a_short_lived_certificate(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, validity_s=60)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    first = wait_certificate(proxy)
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "a renewed certificate", 90)
    proxy.wait_served("demo.edge.test", pebble.roots_file())
    assert len(certificates(proxy, "demo.edge.test")) == 1


def test_preferred_chain(ferrule, origin, bind, make_pebble, folder):
    pebble = make_pebble(bind.address, env={"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "2"})
    roots = pebble._get(f"{pebble.management_url}/roots/1")
    name = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"], input=roots, capture_output=True).stdout
    wanted = name.decode().split("commonName")[1].split("=")[1].strip()
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": f'preferredChain = "{wanted}"'})
    wait_certificate(proxy)
    only = folder / "root1.pem"
    only.write_bytes(roots)
    proxy.wait_served("demo.edge.test", only)


def test_admin_socket_and_cli(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    mode = os.stat(proxy.admin_socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    status = proxy.status()
    assert status["workers"] == 2 and status["pid"] == proxy.process.pid and status["orders"]["obtained"] == 1
    assert proxy.cli("cert", "show", "nowhere.test").returncode == 1
    assert proxy.cli("cert", "bogus").returncode == 2
    assert "demo.edge.test" in proxy.cli("cert", "list").stdout
    secrets = json.dumps(proxy.json("cert", "list")) + json.dumps(status)
    assert "PRIVATE" not in secrets and bind.key.secret not in secrets
    proxy.stop()
    gone = proxy.cli("status")
    assert gone.returncode == 1 and "not running" in gone.stderr


def test_stop_command(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    assert proxy.cli("stop").returncode == 0
    wait_until(lambda: "supervisor: stopped" in proxy.log, "ferrule stops")
    proxy.stop()
