# SPDX-License-Identifier: Apache-2.0
"""Many names over many resolvers at once: one order per name, no TXT value left, few calls of the DNS API at a time, and a
control process that is never away for long. And the same with a control process, or all of ferrule, that is killed again
and again."""

import contextlib
import os
import random
import signal
import time

import pytest

from lib import config
from lib.dnsrelay import UpdateCounter
from lib.proc import descendants, free_port, is_alive, wait_until

# Calls of the DNS API at a time: one per set of credentials, and no more than orders run at a time.
ORDERS_AT_ONCE = 16
# Of the turns of control's loop: 99 % and all of them; by the clock `own` (src/control/turns.h), because on a machine that
# others use, too, the time on the wall says more about those.
MOST_TURNS_MS, ALL_TURNS_MS = 50, 250
API_DELAY_S = 0.02  # of each DNS update, so that calls at a time are met at a time


class Mass:
    """`count` names, evenly over `resolvers` resolvers, each with a TSIG key (a set of credentials) and account of its own.
    Half of the resolvers share one acme.json, a quarter share a directory, the others have a file each."""

    def __init__(self, ferrule, origin, make_bind, make_pebble, folder, count, resolvers, seed=0, **options):
        self.names = [f"n{n}.edge.test" for n in range(count)]
        self.bind = make_bind(more_keys=resolvers)
        self.relay = UpdateCounter(self.bind.address)
        self.relay.delay_s = API_DELAY_S
        self.pebble = make_pebble(self.bind.address)
        port = free_port()
        parts = [config.entrypoint("websecure", port), config.service("s", origin.url), '[log]\nlevel = "DEBUG"\n']
        for n in range(resolvers):
            storage = "shared.json" if n % 2 == 0 else "shared" if n % 4 == 1 else f"own{n}.json"
            env = {**self.bind.rfc2136_env(key=self.bind.more_keys[n]), "RFC2136_NAMESERVER": f"{self.relay.address}:{self.relay.port}",
                   "RFC2136_POLLING_INTERVAL": "1"}
            parts.append(config.resolver(self.pebble, self.bind, folder, name=f"r{n}", storage=storage, env=env))
            mine = self.names[n::resolvers]
            parts.append(config.router(f"r{n}", "s", f"Host(`r{n}.test`)", ["websecure"], resolver=f"r{n}", domains=[(name, []) for name in mine]))
        self.proxy = ferrule("\n".join(parts), {"websecure": port}, workers=1, **options)

    def stop(self):
        self.relay.stop()

    def ask(self, command, **more):
        """What the admin socket says; None while nobody answers."""
        try:
            return self.proxy.ask(command, **more)
        except (OSError, ValueError):
            return None

    def is_done(self):
        now = self.ask("status")
        return bool(now) and now["orders"]["obtained"] == len(self.names) and now["orders"]["running"] == 0

    def wait_done(self, timeout_s):
        wait_until(self.is_done, "every certificate", timeout_s)
        wait_until(lambda: self.bind.all_txt() == {}, "no TXT value left")

    def check_one_each(self):
        """One certificate for every name, here and at the CA."""
        shown = self.proxy.json("cert", "list")
        assert {w["names"][0]: w["state"] for w in shown["wanted"]} == dict.fromkeys(self.names, "valid")
        obtained = [tuple(c["names"]) for c in shown["certificates"] if c["source"] == "acme"]
        assert sorted(obtained) == sorted((name,) for name in self.names)
        assert self.pebble.issued() == len(self.names)

    def check_turns(self):
        loop = self.ask("status")["loop"]
        said = f"{loop['turns']} turns; own: {loop['own']}; wall: {loop['wall']}"
        print(said)
        assert loop["own"][f"over{MOST_TURNS_MS}ms"] <= loop["turns"] / 100, said
        assert loop["own"][f"over{ALL_TURNS_MS}ms"] == 0, said


@pytest.fixture
def make_mass(ferrule, origin, make_bind, make_pebble, folder):
    made = []

    def make(count, resolvers, **options):
        made.append(Mass(ferrule, origin, make_bind, make_pebble, folder, count, resolvers, **options))
        return made[-1]

    yield make
    for mass in made:
        mass.stop()


def run(make_mass, count, resolvers, timeout_s):
    mass = make_mass(count, resolvers)
    began = time.monotonic()
    mass.wait_done(timeout_s)
    took = time.monotonic() - began
    mass.check_one_each()
    print(f"{count} names in {took:.1f} s; {mass.relay.updates} updates, at most {mass.relay.most} at a time")
    shown = [mass.ask("cert-show", name=name)["wanted"][0]["ledger"] for name in mass.names]
    assert {(ledger["ordersIn168h"], ledger["certificatesIn168h"]) for ledger in shown} == {(1, 1)}
    assert mass.relay.most <= min(ORDERS_AT_ONCE, resolvers)
    assert mass.relay.updates >= 2 * count
    mass.check_turns()
    return mass


def test_a_few_names(make_mass):
    run(make_mass, ORDERS_AT_ONCE, 4, 90)  # all at a time


@pytest.mark.long
def test_a_hundred_names(make_mass):
    run(make_mass, 100, 4, 300)


@pytest.mark.long
def test_a_thousand_names(make_mass):
    mass = run(make_mass, 1000, 20, 1200)
    mass.proxy.restart()  # everything is on disk: nothing is ordered again
    wait_until(mass.is_done, "every certificate again")
    mass.check_one_each()
    for name in random.sample(mass.names, 5):
        with mass.proxy.connect_tls(name, ca_file=mass.pebble.roots_file()):
            pass


# --- killed again and again -------------------------------------------------------------------------------------------


# How often all of ferrule dies. The supervisor starts a control process that dies young ever later; another supervisor
# begins anew, so that the run does not consist of waiting.
ALL_DIE = 0.3


def kill_control(mass):
    """False: there is none just now."""
    pid = mass.proxy.pid_of("control")
    if pid:
        os.kill(pid, signal.SIGKILL)
    return bool(pid)


def kill_all(mass):
    """The supervisor, and everything else with it, as when the power is cut; then somebody starts it again."""
    proxy = mass.proxy
    family = descendants(proxy.process.pid)
    for pid in [proxy.process.pid, *family]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    proxy.process.wait_exit()
    wait_until(lambda: not any(map(is_alive, family)), "all have ended")
    proxy.start(wait=False)


@pytest.mark.long
@pytest.mark.parametrize("count, resolvers, kills", [(30, 3, 12), (1000, 20, 100)])
def test_killed_again_and_again(make_mass, count, resolvers, kills):
    """Control, and now and then all of ferrule, dies at random moments of a large run; then it is left alone: each name gets
    its certificate, one, and nothing is left in the zone."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    mass = make_mass(count, resolvers)
    while kills:
        wait_until(lambda: mass.proxy.pid_of("control"), "a control process")
        time.sleep(rng.uniform(0.3, 3))
        if rng.random() < ALL_DIE:
            kill_all(mass)
            kills -= 1
        else:
            kills -= kill_control(mass)
    began = time.monotonic()
    print(f"left alone with {(mass.ask('status') or {}).get('orders')}")
    mass.wait_done(600)
    print(f"all there {time.monotonic() - began:.0f} s later")
    mass.check_one_each()
