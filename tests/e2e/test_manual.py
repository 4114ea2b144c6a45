# SPDX-License-Identifier: Apache-2.0
"""The manual plug-in: a person reads in the log which TXT values to make, and nothing else has to be done."""

import re

from lib.ferrule import run_cli
from lib.proc import wait_until
from lib.provider import Tool
from test_acme import certificates, wait_certificate


def asked_for(proxy, words):
    """{(name, ttl, value)} of the lines in the log that begin with these words."""
    return set(re.findall(rf'{words}.*: (\S+) (\d+) IN TXT "([\w-]+)"', proxy.log))


def test_order(ferrule, origin, bind, pebble):
    """Apex and wildcard: two values at one name, made one after the other."""
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])],
                         resolver={"provider": "manual", "env": {"MANUAL_POLLING_INTERVAL": "1", "MANUAL_TTL": "60"}})
    wanted = wait_until(lambda: len(found := asked_for(proxy, "please add this record")) == 2 and found, "both are asked for")
    assert {(name, ttl) for name, ttl, _ in wanted} == {("_acme-challenge.demo.edge.test.", "60")}
    for name, ttl, value in sorted(wanted):
        assert not certificates(proxy, "demo.edge.test")
        bind.nsupdate(f'add {name} {ttl} TXT "{value}"')
    wait_certificate(proxy)
    wait_until(lambda: asked_for(proxy, "this record is not needed any more") == wanted, "their removal is asked for")
    assert pebble.issued() == 1


def test_description():
    info = Tool().describe(env={}, code="manual")
    assert (info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"]) == (120, 3600, 5)
    result = run_cli("provider", "show", "manual", "--directory", Tool.folder_of("manual"))
    assert result.returncode == 0 and "MANUAL_PROPAGATION_TIMEOUT  (default 3600)" in result.stdout, result.stdout
