# SPDX-License-Identifier: Apache-2.0
"""kill -9 of control at each journalled step of an order, before and after it: no TXT value is left, one certificate
is issued. Needs a build with -Dtest_hooks=true (src/control/crash_point.h); the ASan build of tools/test has it."""

import re
from pathlib import Path

import pytest

from lib.ferrule import program
from lib.proc import wait_until

STEPS = re.findall(r"^ORDER_STEP\((\w+),", (Path(__file__).resolve().parents[2] / "src/control/order.def").read_text(), re.M)
# RESUME only follows a death; DONE has no effect of its own.
POINTS = [f"{step}:{when}" for step in STEPS if step not in ("RESUME", "DONE") for when in ("before", "after")]
POINTS += ["PRESENT:value", "CLEANUP:value"]
LOST = ("NEW_ORDER:before", "NEW_ORDER:after")  # the CA's answer was lost: the order waits out its back-off
SECOND = "RESUME:after"
TOGETHER = 6


@pytest.fixture
def hooks():
    if b"crash-at" not in program().read_bytes():
        pytest.skip("needs a build with -Dtest_hooks=true")


def issued_for(pebble, proxy, name):
    """Certificates that the CA issued for a name: its log has one line per order that was finalized."""
    shown = proxy.json("cert", "show", name)
    return shown["wanted"][0]["ledger"]["certificatesIn168h"], [c for c in shown["certificates"] if c["source"] == "acme"]


def is_over(proxy, name):
    try:
        shown = proxy.json("cert", "show", name)
    except AssertionError:
        return False  # control is being restarted
    return shown["wanted"][0]["state"] == "valid" and bool(shown["certificates"])


def run_points(points, ferrule, origin, bind, pebble):
    """One ferrule for each point, each with a name of its own, side by side."""
    before = pebble.issued()
    running = []
    for point in points:
        name = re.sub(r"[^a-z]", "-", point.lower()) + ".edge.test"
        proxy = ferrule.acme(pebble, bind, origin, domains=[(name, [f"*.{name}"])], start=False, workers=1)
        proxy.write_config(proxy.config_file.read_text())
        (proxy.state_folder / "crash-at").write_text(point)
        running.append((point, name, proxy.start(wait=False)))
    for point, name, proxy in running:
        wait_until(lambda: not (proxy.state_folder / "crash-at").exists(), f"death at {point}", 60)
        wait_until(lambda: is_over(proxy, name), f"a certificate after death at {point}", 150 if point in LOST else 90)
        requests, certificates = issued_for(pebble, proxy, name)
        assert requests == 1 and len(certificates) == 1, point
        assert f"test: dying at {point}" in proxy.log
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert pebble.issued() - before == len(points)
    for _, _, proxy in running:
        proxy.stop()


@pytest.mark.asan
@pytest.mark.parametrize("point", ["PRESENT:value", "FINALIZE:after"])
def test_death_in_an_order(hooks, ferrule, origin, bind, pebble, point):
    run_points([point], ferrule, origin, bind, pebble)


@pytest.mark.asan
@pytest.mark.long
@pytest.mark.parametrize("first", range(0, len(POINTS), TOGETHER))
def test_death_at_every_step(hooks, ferrule, origin, bind, pebble, first):
    run_points(POINTS[first:first + TOGETHER], ferrule, origin, bind, pebble)
