# SPDX-License-Identifier: Apache-2.0
"""Load while certificates come and go: no request fails. src/data runs alone here (tests/tools/data_driver.c), because
only so certificates can be changed a hundred times a second; what control does with them has tests of its own."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lib import http1, tls
from lib.ferrule import SANITIZER, SANITIZER_ENV, build_folder
from lib.origin import body_of
from lib.proc import Process, free_port, wait_until

CHANGES_PER_S = 100


class Driver:
    """data_driver with one TLS and one plain listener in front of an nginx."""

    def __init__(self, folder, nginx, workers=2, changes=CHANGES_PER_S, tickets=1):
        self.tls_port, self.port = free_port(), free_port()
        self.process = Process("data_driver", [
            build_folder() / "tests/tools/data_driver", "--workers", workers, "--tls", self.tls_port, "--listen", self.port,
            "--changes", changes, "--tickets", tickets, "--upstream", f"127.0.0.1:{nginx.port}"], folder, env=SANITIZER_ENV)
        self.process.wait_log("ready")

    def resident_kb(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text()).group(1))

    def stop(self):
        """Drains; returns the counters that it prints at the end."""
        code = self.process.stop(signal.SIGTERM)
        log = self.process.log
        assert code == 0 and not SANITIZER.search(log), log[-8000:]
        return {name.lower(): int(value) for name, value in re.findall(r"^(\w+) +(\d+)$", log, re.M)}


def wrk(url, seconds, connections, *options):
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
                             *options, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def storm(folder, nginx, seconds, connections, tickets):
    """Half of the connections are kept, half are new for each request. Returns (requests, counters, RSS grown by KB)."""
    driver = Driver(folder, nginx, tickets=tickets)
    url = f"https://localhost:{driver.tls_port}/64"
    before_kb = driver.resident_kb()
    loads = [wrk(url, seconds, connections // 2), wrk(url, seconds, connections // 2, "-H", "Connection: close")]
    serials = set()
    while any(load.poll() is None for load in loads):  # a client that looks at what it gets
        with tls.connect(driver.tls_port, "localhost") as client:
            serials.add(client.certificate["serial"])
            assert client.exchange("GET", "/64", "localhost").body == body_of(64)
        time.sleep(0.05)
    outputs = [load.communicate()[0] for load in loads]
    grown_kb = driver.resident_kb() - before_kb
    counters = driver.stop()
    requests = 0
    for output in outputs:
        assert not re.search(r"Socket errors|Non-2xx", output), output
        requests += int(re.search(r"(\d+) requests in", output).group(1))
    assert requests > 0 and len(serials) > 3, f"{requests} requests saw {len(serials)} certificates"
    return requests, counters, grown_kb


def check(requests, counters, seconds, connections):
    assert counters["changes"] > 0.7 * seconds * CHANGES_PER_S, counters
    assert counters["handshakes_full"] + counters.get("handshakes_resumed", 0) > connections
    for name in ("default_cert", "hello_bad", "requests_bad", "timeouts", "conns_refused", "upstream_failed", "responses_5xx", "responses_4xx"):
        assert counters.get(name, 0) == 0, counters
    # What wrk cuts off when its time is over may count as failed handshakes: one for each connection.
    assert counters.get("handshakes_failed", 0) <= connections and counters.get("aborted", 0) <= connections, counters
    assert counters["responses_2xx"] >= requests


@pytest.mark.asan
def test_certificates_change_under_load(folder, nginx):
    requests, counters, _ = storm(folder, nginx, 5, 256, tickets=0)
    check(requests, counters, 5, 256)
    assert counters.get("handshakes_resumed", 0) == 0, counters  # each connection took a certificate


@pytest.mark.asan
@pytest.mark.long
@pytest.mark.parametrize("tickets", [0, 1])
def test_certificates_change_under_long_load(folder, nginx, tickets):
    requests, counters, grown_kb = storm(folder, nginx, 30, 256, tickets)
    check(requests, counters, 30, 256)
    print(f"{requests} requests, {counters}, {grown_kb} KB more resident")


def test_replaced_certificates_are_freed(folder, nginx):
    """20,000 certificates through the table: what is replaced does not stay in memory."""
    driver = Driver(folder, nginx, workers=1, changes=10000)
    with http1.connect(driver.port) as plain:
        assert plain.exchange("GET", "/64").status == 200
        started = time.monotonic()
        settled_kb = None
        while time.monotonic() - started < 4:
            with tls.connect(driver.tls_port, "localhost") as client:
                assert client.exchange("GET", "/64", "localhost").status == 200
            if settled_kb is None and time.monotonic() - started > 1:
                settled_kb = driver.resident_kb()
            time.sleep(0.02)
        grown_kb = driver.resident_kb() - settled_kb
        wait_until(lambda: plain.exchange("GET", "/64").status == 200, "the worker goes on")
    counters = driver.stop()
    assert counters["changes"] > 2000 and grown_kb < 4096, f"{grown_kb} KB for {counters['changes']} certificates"
