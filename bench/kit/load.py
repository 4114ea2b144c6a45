# SPDX-License-Identifier: Apache-2.0
"""Load: wrk, h2load and bench/tls_client in the background, each judged at its end."""

import json
import os
import re
import signal
import subprocess
import time

from . import ROOT, CellFailed, machine
from .site import HOST, SUFFIX, tool

END_S = 60
UNITS_US = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}


class Load:
    """A load generator on the second core, from construction to finish()."""

    def __init__(self, site, proxy, scenario, command):
        self.site, self.proxy, self.scenario = site, proxy, scenario
        self.output = site.new_folder("load") / "output"
        with open(self.output, "wb") as file:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *machine.pinned(site.cores[1], command)], stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, env={**os.environ, "OPENSSL_CONF": str(site.folder / "client.cnf")})

    def text(self):
        return self.output.read_text(errors="replace")

    def begin(self):
        """The window begins."""

    def check_runs(self):
        if self.process.poll() is not None:
            raise CellFailed(f"the load ended by itself: {self.text()[-300:].strip()}")

    def end(self, number):
        """Stops it by a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise CellFailed("the load generator did not end") from None

    def kill(self):
        self.process.kill()
        self.process.wait()


class Wrk(Load):
    def __init__(self, site, proxy, scenario):
        command = ["wrk", "-t", scenario.threads, "-c", scenario.connections, "-d", "600s", "--timeout", "60s", "--latency", "-H", f"Host: {HOST}"]
        if scenario.script:
            command += ["-s", ROOT / "bench" / "wrk" / scenario.script]
        command += [f"{scenario.scheme}://127.0.0.1:{proxy.ports[scenario.scheme]}{scenario.path}"]
        super().__init__(site, proxy, scenario, command + (["--", *scenario.arguments] if scenario.arguments else []))

    def finish(self):
        """{"p50_us", "p99_us"} of the whole run. CellFailed if a request failed."""
        self.end(signal.SIGINT)
        out = self.text()
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        failed = int(bad.group(1)) if bad else 0
        if errors:  # wrk takes the close after "Connection: close" for a read error
            failed += sum(int(errors.group(i)) for i in ((1, 3, 4) if self.scenario.closes else (1, 2, 3, 4)))
        if failed or "requests in" not in out:
            raise CellFailed(f"{failed} requests failed: {' '.join(out.split())[-300:]}")
        found = dict(re.findall(r"^\s+(50|99)%\s+(\S+)$", out, re.M))
        return {f"p{share}_us": microseconds(text) for share, text in found.items()}


class H2load(Load):
    """Logs each request, so that latency is known for the window alone."""

    def __init__(self, site, proxy, scenario, rate=None):
        self.log = site.new_folder("h2load") / "log"
        self.from_us = 0
        command = ["h2load", "-t", "1", "-c", scenario.connections, "-m", scenario.streams, "-D", "600", "--log-file", self.log,
                   "--groups", scenario.group, "--tls13-ciphers", "TLS_AES_128_GCM_SHA256",
                   "--connect-to", f"127.0.0.1:{proxy.ports[scenario.scheme]}"]
        command += ["--npn-list", "h2"] if scenario.tls else ["--h1"]
        command += ["--rps", f"{rate / scenario.connections:.3f}"] if rate else []
        super().__init__(site, proxy, scenario, command + [f"{scenario.scheme}://{HOST}:{proxy.ports[scenario.scheme]}{scenario.path}"])

    def begin(self):
        self.from_us = time.time_ns() // 1000

    def finish(self):
        until_us = time.time_ns() // 1000
        self.end(signal.SIGTERM)  # it has no other end before its time
        times = []
        for line in self.log.read_text().splitlines():
            words = line.split("\t")
            if len(words) < 3 or not words[2]:
                continue  # cut by the signal
            if words[1] != "200":
                raise CellFailed(f"an answer with the status {words[1]}")
            if self.from_us <= int(words[0]) <= until_us:
                times.append(int(words[2]))
        self.log.unlink()
        times.sort()
        return {f"p{share}_us": times[len(times) * share // 100] for share in (50, 99)} if times else {}


class Handshakes(Load):
    def __init__(self, site, proxy, scenario):
        super().__init__(site, proxy, scenario, client_command(proxy, scenario.mode, scenario.connections, scenario.group,
                                                               ["--names", scenario.names] if scenario.names else []))

    def begin(self):
        self.process.send_signal(signal.SIGUSR1)

    def finish(self):
        self.end(signal.SIGTERM)
        figures = client_figures(self.text())
        if figures["errors"]:
            raise CellFailed(f"{figures['errors']} requests failed: {figures['first_error']}")
        wanted = figures["requests"] if self.scenario.mode == "resume" else 0
        if abs(figures["resumed"] - wanted) > 0.01 * figures["requests"]:
            raise CellFailed(f"{figures['resumed']} of {figures['requests']} handshakes were resumed, not {wanted}")
        return {name: figures[name] for name in ("p50_us", "p99_us")}


def client_command(proxy, mode, connections, group, more=(), path="/64"):
    host = SUFFIX if "--names" in more else HOST
    return [tool("tls_client"), f"127.0.0.1:{proxy.ports['https']}", "--mode", mode, "--connections", connections, "--group", group,
            "--host", host, "--path", path, *more]


def client_figures(text):
    """The last line of bench/tls_client."""
    try:
        return json.loads(text.strip().split("\n")[-1])
    except json.JSONDecodeError:
        raise CellFailed(f"tls_client: {text.strip()[-300:]}") from None


def microseconds(text):
    """Of wrk's "1.23ms"."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text).groups()
    return float(number) * UNITS_US[unit]


def start(site, proxy, scenario, rate=None):
    if scenario.tool == "wrk":
        return Wrk(site, proxy, scenario)
    if scenario.tool == "handshakes":
        return Handshakes(site, proxy, scenario)
    return H2load(site, proxy, scenario, rate)
