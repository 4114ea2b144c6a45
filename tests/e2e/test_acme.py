# SPDX-License-Identifier: Apache-2.0
"""Certificates by DNS-01 from a real CA through a real name server: obtained, served, explained."""

import json
import ssl
import time

import pytest

from lib.proc import wait_until

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]


def certificates(proxy):
    return [c for c in proxy.json("cert", "list")["certificates"] if c["source"] == "acme"]


def wait_certificate(proxy, name="demo.edge.test"):
    return wait_until(lambda: [c for c in certificates(proxy) if name in c["names"]], f"a certificate for {name}")[0]


def test_apex_and_wildcard(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    cert = wait_certificate(proxy)
    assert sorted(cert["names"]) == ["*.demo.edge.test", "demo.edge.test"]
    for host in ("demo.edge.test", "a.demo.edge.test"):
        assert proxy.get_tls("/bytes/64", host=host, ca_file=pebble.roots_file()).status == 200
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert pebble.issued() == 1
    for text in ("TXT value added", "TXT values visible", "the CA accepted", "certificate stored"):
        assert text in proxy.log, text
    proxy.restart()
    assert proxy.get_tls("/bytes/64", host="a.demo.edge.test", ca_file=pebble.roots_file()).status == 200
    assert pebble.issued() == 1
