# SPDX-License-Identifier: Apache-2.0
"""The manual plug-in: a person reads in the log which TXT values to make. Name servers tell when they are there; where
those are not asked, the person does, by `ferrule cert continue` or Enter on ferrule's terminal."""

import os
import pty
import re
import sys

from lib.ferrule import run_cli
from lib.proc import wait_until
from lib.provider import Tool
from test_acme import certificates, wait_certificate

# Becomes the session of the terminal that is its first argument, then what follows.
ON_TERMINAL = """
import os, sys
os.setsid()
os.dup2(os.open(sys.argv[1], os.O_RDWR), 0)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def asked_for(proxy, words):
    """{(name, ttl, value)} of the lines in the log that begin with these words."""
    return set(re.findall(rf'{words}.*: (\S+) (\d+) IN TXT "([\w-]+)"', proxy.log))


def make(proxy, bind, count=1):
    """Makes the TXT values that the log asks for, when there are so many."""
    wanted = wait_until(lambda: len(found := asked_for(proxy, "please add this record")) == count and found,
                        f"{count} values are asked for")
    for name, ttl, value in wanted:
        bind.nsupdate(f'add {name} {ttl} TXT "{value}"')
    return wanted


def waiting(proxy):
    """The main names of orders that wait for a person."""
    return sorted(w["names"][0] for w in proxy.json("cert", "list")["wanted"] if w.get("waitsForPerson"))


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


def refused(proxy, *arguments):
    """What `ferrule cert continue` says when it has nothing to do."""
    result = proxy.cli("cert", "continue", *arguments)
    assert result.returncode == 1 and not result.stdout, result.stdout
    return result.stderr


def test_continue(ferrule, origin, bind, pebble):
    """Nobody is asked for the values, so nothing but the person's word brings the CA to look. Several orders wait: each
    is named, but the last."""
    names = ["a.edge.test", "b.edge.test", "demo.edge.test"]
    proxy = ferrule.acme(pebble, bind, origin, domains=[*((name, []) for name in names[:2]), (names[2], [f"*.{names[2]}"])],
                         resolver={"provider": "manual", "env": {}, "propagation": 'mode = "off"'})
    wanted = make(proxy, bind, 4)
    wait_until(lambda: waiting(proxy) == names, "all orders wait")
    shown = proxy.cli("cert", "show", names[2]).stdout
    for name, _, value in wanted:
        assert (f'please add: {name} IN TXT "{value}"' in shown) == (name == f"_acme-challenge.{names[2]}.")
    assert "ferrule cert continue" in shown
    assert "is configured to have this name" in refused(proxy, "nobody.edge.test")
    said = refused(proxy)
    assert "3 orders wait for a person" in said and all(name in said for name in names)
    for name, arguments in zip(names, (["a.edge.test"], ["b.edge.test"], [])):
        assert not certificates(proxy, name)
        result = proxy.cli("cert", "continue", *arguments)
        assert result.returncode == 0 and f"going on with: {name}" in result.stdout, result.stderr
        wait_certificate(proxy, name)
    assert pebble.issued() == 3
    assert "no order waits for a person" in refused(proxy)
    wait_until(lambda: "no order of this name" in refused(proxy, names[2]), "the order's end")


def test_enter_on_the_terminal(ferrule, origin, bind, pebble):
    """The name servers are asked, but not again for an hour: the person knows better, and says so."""
    ours, theirs = pty.openpty()
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", [])], resolver={
        "provider": "manual", "env": {"MANUAL_POLLING_INTERVAL": "3600", "MANUAL_PROPAGATION_TIMEOUT": "86400"},
        "propagation": "successes = 1"}, wrapper=[sys.executable, "-c", ON_TERMINAL, os.ttyname(theirs)])
    try:
        proxy.wait_log("0 of 1 value")
        make(proxy, bind)
        os.write(ours, b"\n")
        wait_certificate(proxy)
    finally:
        proxy.stop()
        os.close(ours)
        os.close(theirs)


def test_description():
    info = Tool().describe(env={}, code="manual")
    assert (info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"]) == (120, 3600, 5)
    result = run_cli("provider", "show", "manual", "--directory", Tool.folder_of("manual"))
    assert result.returncode == 0 and "MANUAL_PROPAGATION_TIMEOUT  (default 3600)" in result.stdout, result.stdout
