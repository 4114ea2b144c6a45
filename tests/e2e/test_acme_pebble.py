# SPDX-License-Identifier: Apache-2.0
"""Real CAs that make it hard: many nonces are rejected, validation takes its time, requests are judged strictly, and what was
proven counts, or does not. The newer Pebble and the distribution's."""

import pytest

from lib.proc import wait_until
from test_acme import certificates, wait_certificate, wait_clean

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]


@pytest.mark.parametrize("distribution, reuse, slow_s", [(False, 100, 0), (True, 0, 3)], ids=["newer-proven-once", "older-slow-proven-anew"])
def test_a_difficult_ca(ferrule, origin, bind, make_pebble, distribution, reuse, slow_s):
    env = {"PEBBLE_WFE_NONCEREJECT": "20", "PEBBLE_AUTHZREUSE": str(reuse)}
    if slow_s:
        env |= {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": str(slow_s)}
    pebble = make_pebble(bind.address, strict=True, distribution=distribution, env=env)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    first = wait_certificate(proxy, timeout_s=90)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    added = bind.log.count("adding an RR at '_acme-challenge.demo")
    assert added == 2
    assert proxy.cli("cert", "renew", "demo.edge.test", "--force").returncode == 0
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "another certificate", 90)
    wait_clean(bind)
    assert bind.log.count("adding an RR at '_acme-challenge.demo") == (added if reuse == 100 else 2 * added)
    assert pebble.issued() == 2
    proxy.wait_served("demo.edge.test", pebble.roots_file())
