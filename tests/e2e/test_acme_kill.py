# SPDX-License-Identifier: Apache-2.0
"""kill -9 of control at each journalled step of an order, before and after it: no TXT value is left, one certificate
is issued. Needs a build with -Dtest_hooks=true (src/control/crash_point.h); the ASan build of tools/test has it."""

import re
from pathlib import Path

import pytest

from lib import config
from lib.ferrule import program
from lib.proc import free_port, wait_until

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


# --- challenges that the workers answer -------------------------------------------------------------------------------

# What happens between the proof and the certificate is the same for all challenges.
ANSWER_POINTS = [f"{step}:{when}" for step in ("AUTHORIZATIONS", "PLACE", "PROPAGATE", "ANSWER", "RESPOND", "VALIDATE", "READY", "FINALIZE",
                                               "STORE", "CLEANUP") for when in ("before", "after")]


def run_answer_point(point, challenge, ferrule, origin, make_bind, make_pebble, folder):
    names = make_bind(zones={"edge.test": "* IN A 127.0.0.1"})
    ports = {"web": free_port(), "websecure": free_port()}
    pebble = make_pebble(names.address, http_port=ports["web"], tls_port=ports["websecure"])
    proxy = ferrule("\n".join([
        config.entrypoint("web", ports["web"]), config.entrypoint("websecure", ports["websecure"]),
        config.router("plain", "origins"),
        config.router("all", "origins", entrypoints=["websecure"], resolver="test", domains=[("a.edge.test", [])]),
        config.service("origins", origin.url), config.answering_resolver(pebble, folder, challenge)]), ports, start=False, workers=2)
    (proxy.state_folder / "crash-at").write_text(point)
    proxy.start(wait=False)
    wait_until(lambda: not (proxy.state_folder / "crash-at").exists(), f"death at {point}", 60)
    wait_until(lambda: is_over(proxy, "a.edge.test"), f"a certificate after death at {point}", 90)
    requests, certificates = issued_for(pebble, proxy, "a.edge.test")
    assert requests == 1 and len(certificates) == 1 and pebble.issued() == 1, point
    for token in set(re.findall(r"acme-challenge/([\w-]{20,})", pebble.log)):  # none is answered any more
        wait_until(lambda token=token: proxy.get(f"/.well-known/acme-challenge/{token}", host="a.edge.test").header("content-type")
                   != "application/octet-stream", "the answer is taken back")
    proxy.stop()


@pytest.mark.asan
@pytest.mark.parametrize("challenge", ["http", "tls"])
@pytest.mark.parametrize("point", ["ANSWER:after", "VALIDATE:before"])
def test_death_with_an_answer_of_the_workers(hooks, ferrule, origin, make_bind, make_pebble, folder, challenge, point):
    run_answer_point(point, challenge, ferrule, origin, make_bind, make_pebble, folder)


@pytest.mark.asan
@pytest.mark.long
@pytest.mark.parametrize("challenge", ["http", "tls"])
@pytest.mark.parametrize("point", ANSWER_POINTS)
def test_death_at_every_step_with_an_answer(hooks, ferrule, origin, make_bind, make_pebble, folder, challenge, point):
    run_answer_point(point, challenge, ferrule, origin, make_bind, make_pebble, folder)
