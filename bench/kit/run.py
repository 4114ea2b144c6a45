# SPDX-License-Identifier: Apache-2.0
"""A run: starts the proxies, measures them in turns, keeps the samples, and says what was left out and why."""

import subprocess
import time

from lib import proc

from . import CellFailed, Unavailable, machine, measure, proxies
from .report import spread

WARM_S = 0.2
SATURATE_S = 0.5
DESCRIPTORS = 40000
RATE_MARGIN = 0.5  # "half of saturation"


def _check_descriptors(scenario):
    """A proxy has one for the client and one for the server of each connection."""
    if scenario.connections * 2 + 500 > machine.descriptors(0):
        raise CellFailed(f"too few descriptors for {scenario.connections} connections (ulimit -n)")


class Run:
    """names: proxies in the order of the table. chosen: classes, if not those of proxies.ALL."""

    def __init__(self, site, names, seconds, rounds, deadline=None, chosen=None):
        self.site, self.names, self.seconds, self.rounds, self.deadline = site, list(names), seconds, rounds, deadline
        self.classes = {**proxies.ALL, **(chosen or {})}
        self.results, self.left_out, self.versions = {}, [], {}
        self.running = {}
        self.begun = time.monotonic()
        machine.descriptors(DESCRIPTORS)

    # --- saying -------------------------------------------------------------------------------------------

    def say(self, text):
        print(f"[{time.monotonic() - self.begun:5.0f} s] {text}", flush=True)

    def leave_out(self, scenario, proxy, reason):
        reason = " ".join(str(reason).split())[:400]
        self.left_out.append((scenario, proxy, reason))
        self.say(f"left out: {proxy}{' in ' + scenario if scenario else ''}: {reason}")

    def keep(self, row, proxy, sample):
        self.results.setdefault(row, {}).setdefault(proxy, []).append(sample)

    def drop(self, scenario, proxy, reason):
        """A cell has failed: what it gave before is no figure either."""
        for row in scenario.rows:
            self.results.get(row.name, {}).pop(proxy, None)
        self.leave_out(scenario.name, proxy, reason)

    # --- proxies ------------------------------------------------------------------------------------------

    def find(self):
        """Keeps the proxies that are there."""
        for name in list(self.names):
            try:
                self.versions[name] = self.classes[name].version()
            except Unavailable as error:
                self.names.remove(name)
                self.leave_out(None, name, error)

    def start(self):
        for name in list(self.names):
            try:
                self.running[name] = self.classes[name](self.site).start()
            except Unavailable as error:
                self.names.remove(name)
                self.leave_out(None, name, error)

    def stop(self):
        for proxy in self.running.values():
            proxy.stop()
        self.running.clear()

    # --- scenarios under load, in turns -------------------------------------------------------------------

    def loads(self, scenarios):
        """Measures every scenario with every proxy, in rounds. They are running."""
        cells = {}
        for scenario in scenarios:
            cells[scenario] = [name for name in self.running if self._may(scenario, name)]
        rates = {s: self._rates(s, names) for s, names in cells.items() if s.tool == "steady"}
        total, done = self.rounds * sum(map(len, cells.values())), 0
        for number in range(self.rounds):
            began = time.monotonic()
            for scenario in scenarios:
                order = cells[scenario]
                for name in list(order if number % 2 == 0 else order[::-1]):
                    done += 1
                    if not self.is_late():
                        self._cell(scenario, name, rates, cells, f"{done}/{total}")
            if self.deadline and number + 1 < self.rounds and self.deadline - time.monotonic() < time.monotonic() - began:
                self.say(f"stopped after {number + 1} of {self.rounds} rounds: another one would take too long")
                self.rounds = number + 1
                break
        for scenario, names in cells.items():
            for name in names:
                if name not in self.results.get(scenario.name, {}):
                    self.leave_out(scenario.name, name, "no time was left")

    def is_late(self):
        return self.deadline is not None and time.monotonic() > self.deadline

    def _cell(self, scenario, name, rates, cells, count):
        try:
            sample = self._sample(scenario, name, rates)
        except CellFailed as error:
            cells[scenario].remove(name)
            self.drop(scenario, name, error)
            return
        self.keep(scenario.name, name, sample)
        self.say(f"{count} {scenario.name:14} {name:10}{sample['value']:10.1f} µs  ({sample['requests']} requests)")

    def _sample(self, scenario, name, rates):
        if scenario.tool == "steady":
            return measure.latency(self.site, self.running[name], scenario, max(self.seconds, 1), rates[scenario][name])
        return measure.requests(self.site, self.running[name], scenario, self.seconds)

    def _may(self, scenario, name):
        """Checks that the proxy does what is to be measured, and lets it do some of it."""
        if name == "forwarder" and not scenario.forwarder:
            return False
        try:
            if self.is_late():
                raise CellFailed("no time was left")
            _check_descriptors(scenario)
            measure.check(self.site, self.running[name], scenario)
            if scenario.tool != "steady":
                measure.requests(self.site, self.running[name], scenario, WARM_S)
        except CellFailed as error:
            self.leave_out(scenario.name, name, error)
            return False
        except subprocess.TimeoutExpired as error:
            self.leave_out(scenario.name, name, f"no answer: {error}")
            return False
        return True

    def _rates(self, scenario, names):
        """Requests per second for each: half of what the slowest can do, the same for all. What cannot do a third of what
        the best can is measured at half of its own."""
        most = {}
        as_wrk = type(scenario)(**{**vars(scenario), "tool": "wrk"})
        for name in list(names):
            try:
                most[name] = measure.requests(self.site, self.running[name], as_wrk, SATURATE_S)["rate"]
            except CellFailed as error:
                names.remove(name)
                self.leave_out(scenario.name, name, error)
        if not most:
            return {}
        near = min(rate for rate in most.values() if rate >= max(most.values()) / 3)
        rates = {name: RATE_MARGIN * min(near, rate) for name, rate in most.items()}
        self.say(f"{scenario.name}: " + ", ".join(f"{name} at {rate:,.0f}/s" for name, rate in rates.items()))
        return rates

    # --- scenarios that start proxies of their own ---------------------------------------------------------

    def own(self, scenario, certs, rounds, limit_s):
        for name in [name for name in self.names if self.classes[name].tls]:
            for number in range(rounds):
                proxy = None
                if self.is_late():
                    if not number:
                        self.leave_out(scenario.name, name, "no time was left")
                    break
                try:
                    proxy = self.classes[name](self.site, proxies.Setup(certs=certs) if certs else None)
                    if scenario.tool == "idle":
                        self._idle(scenario, proxy, name)
                    else:
                        self._certs(proxy, name, limit_s)
                except (CellFailed, Unavailable, proc.HarnessError) as error:
                    self.drop(scenario, name, error)
                    break
                finally:
                    if proxy:
                        proxy.stop()

    def _idle(self, scenario, proxy, name):
        proxy.start()
        measure.check(self.site, proxy, scenario)
        sample = measure.idle(self.site, proxy, scenario)
        self.keep("idle", name, sample)
        self.say(f"idle {name:10}{sample['value']:10.2f} KB for each connection")

    def _certs(self, proxy, name, limit_s):
        last = measure.host_of(proxy.certs.count - 1)
        for row in ("certs-first", "certs-again"):
            took, memory = measure.start_with_certs(proxy, last, limit_s)
            self.keep(row, name, took)
            if row == "certs-first":
                self.keep("certs-memory", name, memory)
            self.say(f"{row} {name:10}{took['value']:10.2f} s ({took['cpu_s']:.2f} s of CPU), {memory['value']:.1f} MB")
            proxy.stop()
            if name != "ferrule" and self.deadline:
                break  # peers keep nothing for the next start, and time is short

    # --- curves -------------------------------------------------------------------------------------------

    def curve(self, curve):
        """Measures ferrule at all points in turns; returns [(x, figures)]."""
        started, samples = {}, {}  # by x
        for point in curve.points:
            try:
                started[point.x] = self._point(curve, point, started)
                measure.check(self.site, started[point.x], point.scenario)
                measure.requests(self.site, started[point.x], point.scenario, WARM_S)
            except (CellFailed, Unavailable) as error:
                self.leave_out(f"{curve.name} {point.x}", "ferrule", error)
                started.pop(point.x, None)
        for _ in range(self.rounds):
            for point in [point for point in curve.points if point.x in started]:
                try:
                    sample = measure.requests(self.site, started[point.x], point.scenario, self.seconds)
                except CellFailed as error:
                    self.leave_out(f"{curve.name} {point.x}", "ferrule", error)
                    samples.pop(point.x, None)
                    del started[point.x]
                    continue
                samples.setdefault(point.x, []).append(sample)
                self.say(f"{curve.name} {point.x:>10} {sample['value']:10.1f} µs  ({sample['requests']} requests)")
        for proxy in {id(each): each for each in started.values()}.values():
            proxy.stop()
        return [(x, spread(each)) for x, each in sorted(samples.items())]

    def _point(self, curve, point, started):
        """The proxy for a point: one with the same set-up serves several."""
        _check_descriptors(point.scenario)
        for other in curve.points:
            if other.x in started and other.setup == point.setup:
                return started[other.x]
        setup = proxies.Setup(routers=point.setup.get("routers", 0), upstreams=point.setup.get("upstreams", 1))
        if "certs" in point.setup:
            setup.certs = self.site.certs_of(point.setup["certs"])
        if point.setup.get("workers", 1) > 1:
            setup.cores = list(self.site.cores[:point.setup["workers"]])
        return self.classes["ferrule"](self.site, setup).start()
