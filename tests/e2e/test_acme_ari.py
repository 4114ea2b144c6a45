# SPDX-License-Identifier: Apache-2.0
"""Renewal when the CA suggests it (RFC 9773), against Pebble >= 2.7."""

import base64
import json
import shutil
import ssl
import urllib.request

import pytest

from lib.pebble import newer_pebble
from lib.proc import wait_until
from test_acme import certificates, wait_certificate, wait_clean

NAMES = [("demo.edge.test", [])]
needs_ari = pytest.mark.skipif(not newer_pebble(), reason="tools/deps --pebble could not have the Pebble that has ARI")


def suggest(pebble, pem, start, end, url):
    """The CA suggests this window for the certificate."""
    answer = {"suggestedWindow": {"start": start, "end": end}, "explanationURL": url}
    body = json.dumps({"certificate": pem, "ariResponse": json.dumps(answer)}).encode()
    context = ssl.create_default_context(cafile=str(pebble.ca_file))
    with urllib.request.urlopen(f"{pebble.management_url}/set-renewal-info/", data=body, context=context, timeout=10) as reply:
        assert reply.status == 200


def leaf_of(proxy):
    """The certificate in PEM."""
    stored = json.loads(next(proxy.folder.parent.glob("storage*/acme.json")).read_text())
    text = base64.b64decode(stored["test"]["Certificates"][0]["certificate"]).decode()
    return text[:text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"


def wanted(proxy):
    return proxy.json("cert", "show", "demo.edge.test")["wanted"][0]


@needs_ari
def test_the_window_is_asked_for_and_told(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    want = wait_until(lambda: (w := wanted(proxy))["suggested"] and w, "the CA's suggestion")
    assert want["suggested"]["start"] <= want["renewAt"] <= want["suggested"]["end"]
    assert "the CA suggests to renew between" in proxy.log
    assert "suggested" in proxy.cli("cert", "show", "demo.edge.test").stdout
    wait_clean(bind)
    proxy.restart()  # neither asked for again nor chosen anew
    again = wanted(proxy)
    assert (again["suggested"], again["renewAt"]) == (want["suggested"], want["renewAt"])
    assert proxy.log.count("the CA suggests") == 1 and pebble.issued() == 1


@needs_ari
def test_a_window_of_the_past_renews_and_names_what_is_replaced(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, validity_s=45)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    first = wait_certificate(proxy)
    wait_clean(bind)
    proxy.stop()
    suggest(pebble, leaf_of(proxy), "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "https://ca.test/incident")
    shutil.rmtree(proxy.state_folder)  # what it had been told goes with it
    proxy.write_config(proxy.config_file.read_text())
    proxy.start()
    proxy.wait_log("see https://ca.test/incident")
    # A certificate of 45 s is replaced 15 s after its beginning; the time table would wait for another 15 s.
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "a renewed certificate", 50)
    assert "which replaces" in proxy.log
    # Replacements cost nothing of the budget for duplicates.
    assert wanted(proxy)["ledger"]["certificatesIn168h"] == 0


def test_an_older_ca_without_it(ferrule, origin, bind, make_pebble):
    pebble = make_pebble(bind.address, distribution=True)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_certificate(proxy)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    want = wanted(proxy)
    assert want["state"] == "valid" and want["renewAt"] < want["notAfter"]
