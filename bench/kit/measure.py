# SPDX-License-Identifier: Apache-2.0
"""Measuring one proxy once: what it answers, what a request costs, what idle connections and many certificates cost.

A figure is made only when nothing contradicts it: the proxy answered as all the others do, no request failed, its processes
were the same from begin to end, the load ran all the time. Otherwise CellFailed says what was wrong.
"""

import hashlib
import signal
import ssl
import socket
import subprocess
import time

from lib import http1, proc

from . import CellFailed, load, machine
from .site import HOST, SIZES, SUFFIX, body_of

SERVES_S = 30  # a loaded machine may stall
GET_S = 30
OPEN_S = 120
SETTLE_READINGS = 4


# --- does it do what the others do? ------------------------------------------------------------------------------------


def check(site, proxy, scenario):
    """CellFailed, with what is different, unless the proxy answers as it must."""
    if scenario.scheme not in proxy.ports:
        raise CellFailed(f"it speaks no {scenario.scheme}")
    if scenario.path.strip("/") in SIZES:
        _check_body(site, proxy, scenario, body_of(SIZES[scenario.path.strip("/")]))
    if scenario.tls:
        _check_tls(proxy, scenario)


def _check_body(site, proxy, scenario, want):
    protocol = "2" if scenario.tool == "h2load" else "1.1"
    port = proxy.ports[scenario.scheme]
    command = ["curl", "-s", "--http2" if protocol == "2" else "--http1.1", "--cacert", proxy.certs.ca_file, "--resolve",
               f"{HOST}:{port}:127.0.0.1", "-w", "%{stderr}%{http_code} %{http_version}", f"{scenario.scheme}://{HOST}:{port}{scenario.path}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=GET_S)
    told = done.stderr.decode(errors="replace").strip()
    if done.returncode or told != f"200 {protocol}":
        raise CellFailed(f"GET {scenario.path} gave '{told}' (curl: {done.returncode}), not '200 {protocol}'")
    if done.stdout != want:
        raise CellFailed(f"GET {scenario.path} gave {len(done.stdout)} other bytes "
                         f"(SHA-256 {hashlib.sha256(done.stdout).hexdigest()[:12]}) than the {len(want)} of the origin")


def _check_tls(proxy, scenario):
    """One suite, one group, one version for all; and resumption where that is measured."""
    more = ["--count", "3" if scenario.mode == "resume" else "1", "--alpn", "http/1.1"]
    command = load.client_command(proxy, scenario.mode, 1, scenario.group, more)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=GET_S)
    seen = load.client_figures(done.stdout + done.stderr)
    if seen["errors"]:
        raise CellFailed(f"TLS 1.3 with AES-128-GCM and {scenario.group}: {seen['first_error']}")
    got = (seen["version"], seen["suite"], seen["group"].upper(), seen["alpn"])
    if got != ("TLSv1.3", "TLS13-AES128-GCM-SHA256", scenario.group.upper(), "http/1.1"):
        raise CellFailed(f"its TLS is {' '.join(got)}")
    if scenario.mode == "resume" and seen["resumed"] != 2:
        raise CellFailed(f"{seen['resumed']} of 2 handshakes with a ticket were resumed")


# --- CPU time for each request -----------------------------------------------------------------------------------------


def requests(site, proxy, scenario, seconds, rate=None):
    """A sample: {"value": CPU microseconds for each request, "requests", "rate", "p50_us", "p99_us", "machine"}."""
    origin = site.origin
    before = origin.served()
    generator = load.start(site, proxy, scenario, rate)
    try:
        time.sleep(scenario.opens_s)
        _wait_served(origin, before + 2 * scenario.connections * scenario.streams if rate is None else before + scenario.connections,
                     generator)
        generator.begin()
        pids, noise = proxy.pids(), machine.Load(site.cores)
        used_ns, served, begun = machine.cpu_ns(pids), origin.served(), time.monotonic()
        time.sleep(seconds)
        _wait_served(origin, served + max(20, scenario.connections // 4), generator)  # the machine may have stalled
        used_ns, served, took = machine.cpu_ns(pids) - used_ns, origin.served() - served, time.monotonic() - begun
        if proxy.pids() != pids:
            raise CellFailed("its processes changed while it was measured")
        noise = noise.since()
        latency = generator.finish()
    finally:
        generator.kill()
    return {"value": used_ns / 1e3 / served, "requests": served, "rate": round(served / took), "machine": noise, **latency}


def _wait_served(origin, count, generator):
    def ready():
        generator.check_runs()
        return origin.served() >= count
    try:
        proc.wait_until(ready, "enough requests", SERVES_S)
    except proc.HarnessError:
        generator.end(signal.SIGKILL)
        raise CellFailed(f"it did not serve the load within {SERVES_S} s: {generator.text()[-200:].strip()}") from None


def latency(site, proxy, scenario, seconds, rate):
    """A sample of p50 at a given rate of all connections together."""
    sample = requests(site, proxy, scenario, seconds, rate)
    if sample["rate"] < 0.9 * rate:
        raise CellFailed(f"{sample['rate']}/s were answered, {rate:.0f}/s were asked for")
    return {**sample, "cpu_us": sample["value"], "value": float(sample["p50_us"])}


# --- memory of idle connections ----------------------------------------------------------------------------------------


def idle(site, proxy, scenario):
    """A sample: {"value": KB of process memory for each idle connection}. The proxy has been started for this alone."""
    if machine.descriptors(2 * scenario.connections + 1000) < scenario.connections + 1000:
        raise CellFailed(f"too few descriptors for {scenario.connections} connections (ulimit -n)")
    warm = load.client_command(proxy, "new", 64, scenario.group, ["--count", "500"])
    if subprocess.run(machine.pinned(site.cores[1], warm), capture_output=True, timeout=OPEN_S).returncode:
        raise CellFailed("it did not answer 500 short connections")
    before = _settled(proxy)
    path = site.new_folder("idle") / "output"
    with open(path, "wb") as file:
        client = subprocess.Popen(machine.pinned(site.cores[1], load.client_command(proxy, "idle", scenario.connections, scenario.group)),
                                  stdout=file, stderr=subprocess.STDOUT)
    try:
        try:
            proc.wait_until(lambda: client.poll() is not None or b"open" in path.read_bytes(), "open connections", OPEN_S)
        except proc.HarnessError:
            raise CellFailed(f"{scenario.connections} connections were not open after {OPEN_S} s") from None
        after = _settled(proxy) if client.poll() is None else before
        client.send_signal(signal.SIGTERM)
        client.wait(GET_S)
    finally:
        client.kill()
        client.wait()
    figures = load.client_figures(path.read_text())
    if figures["errors"] or figures["closed"] or figures["requests"] != scenario.connections:
        raise CellFailed(f"{figures['requests']} of {scenario.connections} connections were open, {figures['closed']} of them closed "
                         f"again: {figures['first_error']}")
    each = {name: (after[name] - before[name]) / scenario.connections for name in after}
    return {"value": each["own"], "rss_kb": each["rss"], "before_kb": before["own"], "after_kb": after["own"]}


def _settled(proxy):
    """Its memory when that has stopped to change by more than a hundredth."""
    pids, last = proxy.pids(), []
    deadline = time.monotonic() + GET_S
    while time.monotonic() < deadline:
        last = [*last[-SETTLE_READINGS + 1:], machine.memory_kb(pids)]
        own = [each["own"] for each in last]
        if len(own) == SETTLE_READINGS and max(own) - min(own) <= 0.01 * max(own):
            break
        time.sleep(0.1)
    if proxy.pids() != pids:
        raise CellFailed("its processes changed while it was measured")
    return last[-1]


# --- many certificates -------------------------------------------------------------------------------------------------


def start_with_certs(proxy, name, limit_s):
    """Starts the proxy: ({"value": seconds from exec to a handshake with the name's own certificate, "cpu_s": of all its
    processes}, {"value": MB of its memory}). Afterwards some twenty more names are asked for: what was found must hold for all."""
    context = ssl.create_default_context(cafile=str(proxy.certs.ca_file))
    names = [each for each, *_ in proxy.certs.pairs()]
    command = proxy.command()
    begun = time.monotonic()
    proxy.command = lambda: command  # what writes the configuration is not the proxy's start
    proxy.start(wait=False)
    while not _shows(context, proxy, name):
        if proxy.process.exit_code is not None:
            raise CellFailed(f"it ended with {proxy.process.exit_code}: {proxy.process.log[-300:].strip()}")
        if time.monotonic() - begun > limit_s:
            raise CellFailed(f"no good handshake within {limit_s:.0f} s")
        time.sleep(0.002)
    took = time.monotonic() - begun
    pids = proxy.pids()
    memory, used = machine.memory_kb(pids), machine.cpu_ns(pids) / 1e9
    each = [{"name": machine.name_of(pid), "cpu_s": machine.cpu_ns([pid]) / 1e9, "rss_mb": machine.memory_kb([pid])["rss"] / 1024}
            for pid in pids]
    wrong = [other for other in names[::max(1, len(names) // 20)] if not _shows(context, proxy, other)]
    if wrong:
        raise CellFailed(f"{wrong[0]} and {len(wrong) - 1} more names have not their certificates")
    return {"value": took, "cpu_s": used}, {"value": memory["own"] / 1024, "rss_mb": memory["rss"] / 1024, "processes": each}


def _shows(context, proxy, name):
    """Does it answer a request for this name over TLS, with the name's certificate?"""
    try:
        with socket.create_connection(("127.0.0.1", proxy.ports["https"]), timeout=GET_S) as plain:
            with context.wrap_socket(plain, server_hostname=name) as secure:
                return http1.Connection(secure).exchange("GET", "/64", name).status == 200
    except (OSError, http1.Closed, AssertionError):
        return False


def host_of(number):
    return f"h{number:05}.{SUFFIX}"
