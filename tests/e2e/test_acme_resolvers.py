# SPDX-License-Identifier: Apache-2.0
"""The options of a resolver against a real CA: several at once, names and roots of the CA, profiles, the older [acme]."""

import json
import stat

import pytest

from lib import config
from lib.proc import free_port, wait_until
from test_acme import certificates, wait_certificate, wait_clean
from test_acme_ari import needs_ari

NAMES = [("demo.edge.test", [])]


def test_two_resolvers(ferrule, origin, bind, make_pebble, folder):
    """Each has its account, its CA (one of them an older Pebble) and its storage; a router uses one only by name."""
    one, two = make_pebble(bind.address), make_pebble(bind.address, distribution=True)
    port = free_port()
    text = "\n".join([
        config.entrypoint("websecure", port),
        config.router("a", "s", "Host(`a.edge.test`)", ["websecure"], resolver="one"),
        config.router("b", "s", "Host(`b.edge.test`)", ["websecure"], resolver="two"),
        config.router("c", "s", "Host(`c.edge.test`)", ["websecure"], tls=True),
        config.service("s", origin.url),
        config.resolver(one, bind, folder, name="one", storage="one.json"),
        config.resolver(two, bind, folder, name="two", storage="two.json", more='keyType = "EC384"')])
    proxy = ferrule(text, {"websecure": port})
    assert wait_certificate(proxy, "a.edge.test")["origin"] == "one"
    assert wait_certificate(proxy, "b.edge.test")["keyBits"] == 384
    wait_clean(bind)
    assert (one.issued(), two.issued()) == (1, 1)
    for ca, host in ((one, "a.edge.test"), (two, "b.edge.test")):
        proxy.wait_served(host, ca.roots_file())
    accounts = set()
    for name, ca in (("one", one), ("two", two)):
        file = folder / f"{name}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        stored = json.loads(file.read_text())
        assert list(stored) == [name] and len(stored[name]["Certificates"]) == 1
        assert f":{ca.port}/" in stored[name]["Account"]["Registration"]["uri"]
        accounts.add(stored[name]["Account"]["PrivateKey"])
    assert len(accounts) == 2
    assert {names for w in proxy.json("cert", "list")["wanted"] for names in w["names"]} == {"a.edge.test", "b.edge.test"}


def test_ca_server_name(ferrule, origin, bind, make_pebble):
    """The name is verified; what the CA reads (Host, the signed URL) stays the real one, or Pebble would refuse it."""
    pebble = make_pebble(bind.address, names=("ca.internal",))
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": 'caServerName = "ca.internal"'})
    wait_certificate(proxy)
    stored = json.loads(next(proxy.folder.parent.glob("storage*/acme.json")).read_text())
    assert stored["test"]["Account"]["Registration"]["uri"].startswith(f"https://127.0.0.1:{pebble.port}/")


def test_ca_of_another_name(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, names=("ca.internal",))
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    proxy.wait_log("no answer from the CA")
    want = wait_until(lambda: (w := proxy.json("cert", "show", "demo.edge.test")["wanted"][0])["waiting"] and w, "the reason")
    assert "certificate" in want["ledger"]["lastError"] and "127.0.0.1" in want["ledger"]["lastError"]
    assert pebble.issued() == 0 and bind.all_txt() == {}


@needs_ari
def test_profile(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, profiles={"default": 90 * 86400, "shortlived": 6 * 86400})
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": 'profile = "shortlived"'})
    cert = wait_certificate(proxy)
    assert abs(cert["notAfter"] - cert["notBefore"] - 6 * 86400) <= 3600
    def planned():
        want = proxy.json("cert", "show", "demo.edge.test")["wanted"][0]
        return want["suggested"] and want
    want = wait_until(planned, "the CA's suggestion")
    assert want["suggested"]["start"] <= want["renewAt"] <= want["suggested"]["end"]
    assert want["renewAt"] < cert["notAfter"] - 2 * 3600


def test_profile_that_the_ca_lacks(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, profiles={"default": 90 * 86400})
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": 'profile = "tiny"'})
    proxy.wait_log('the CA does not offer the profile "tiny"')


def test_mail_addresses_and_no_common_name(ferrule, origin, bind, pebble):
    more = 'emailAddresses = ["a@edge.test"]\ndisableCommonName = true'
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": more})
    wait_certificate(proxy)


@pytest.mark.long
def test_rsa8192(ferrule, origin, bind, pebble):
    """The largest kind of key: minutes to make, in the helper thread, while ferrule answers."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"more": 'keyType = "RSA8192"'})
    proxy.wait_log("the CA accepted", 60)
    assert proxy.status()["orders"]["running"] == 1
    cert = wait_certificate(proxy, timeout_s=500)
    assert (cert["keyType"], cert["keyBits"]) == ("RSA", 8192)
    proxy.wait_served("demo.edge.test", pebble.roots_file())


def test_the_older_form(ferrule, origin, bind, pebble, folder):
    """One [acme]: onHostRule makes every router with TLS use it, [[acme.domains]] are obtained whatever routers say."""
    port = free_port()
    older = config.resolver(pebble, bind, folder).replace("certificatesResolvers.test.acme", "acme").replace(
        "[acme]", "[acme]\nonHostRule = true", 1)
    text = "\n".join([
        config.entrypoint("websecure", port),
        config.router("one", "s", "Host(`a.edge.test`, `b.edge.test`)", ["websecure"], tls=True),
        config.router("two", "s", "Host(`plain.edge.test`)", ["websecure"]),
        config.service("s", origin.url), older,
        '[[acme.domains]]\nmain = "*.w.edge.test"\nsans = ["w.edge.test"]\n'])
    proxy = ferrule(text, {"websecure": port})
    wait_certificate(proxy, "a.edge.test")
    wait_certificate(proxy, "w.edge.test")
    wait_clean(bind)
    names = sorted(sorted(c["names"]) for c in proxy.json("cert", "list")["certificates"] if c["source"] == "acme")
    assert names == [["*.w.edge.test", "w.edge.test"], ["a.edge.test", "b.edge.test"]]
    assert not certificates(proxy, "plain.edge.test")
    for host in ("b.edge.test", "x.w.edge.test"):
        with proxy.connect_tls(host, ca_file=pebble.roots_file()):
            pass
