# SPDX-License-Identifier: Apache-2.0
"""A soak: a million requests of all kinds, while the configuration is read again every second and ferrule is upgraded
every 30. Afterwards nothing is in use any more, no memory has grown, and the counters add up.

How they add up: each generation of the data process counts into memory of its own, which the supervisor makes at the
upgrade. The test keeps a descriptor of each (from the supervisor's /proc/PID/fd), so what an old data process counts
while it finishes is read after its end. The sum of `requests` over the generations must be what clients made, to the
one. h2load counts answers, and every client that aborts does so only when the head of the answer is there or the origin
wants the body, so that none of its requests is in doubt. h2load does not open another connection when HTTP/2's GOAWAY
comes: it calls what it would have sent after that failed, although it was not sent. So an HTTP/2 run may be short when
an upgrade came, and only then; a request that ferrule had taken and not answered would show in the sum.

FERRULE_SOAK_REQUESTS makes it shorter (or longer)."""

import asyncio
import os
import random
import re
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
import websockets

from lib import config
from lib.hostile import SEED
from lib.origin import body_of
from lib.proc import children, command_of, is_alive, wait_until
from lib.websocket import EchoServer

pytestmark = pytest.mark.long

REQUESTS = int(os.environ.get("FERRULE_SOAK_REQUESTS", "1000000"))
RUN = 6000  # requests of one run of h2load
RELOAD_S, UPGRADE_S, LIMIT_S = 1, 30, 600
HOST = "example.test"
GROWTH, GROWTH_KB = 1.05, 2048
GAUGES = ["slots_now", "blocks_now", "conns_now", "streams_now", "upconns_now", "tunnels_now"]
RUNS = [("http", ["--h1", "-c", "24"]), ("https", ["--h1", "-c", "16"]), ("http", ["-c", "6", "-m", "12"]), ("https", ["-c", "6", "-m", "12"])]
QUICK = '[http.serversTransports.quick.forwardingTimeouts]\nidleConnTimeout = "2s"\n'


class Generation:
    """The counters of one data process, which can be read when it has ended, too."""

    PAGES_AT = 4096

    def __init__(self, proxy):
        self.names = list(proxy.counters())
        folder = Path(f"/proc/{proxy.process.pid}/fd")
        (path,) = [fd for fd in folder.iterdir() if os.readlink(fd).startswith("/memfd:ferrule-report")]
        self.fd = os.open(path, os.O_RDONLY)
        _, counters, self.page_bytes, _, self.workers = struct.unpack("<QIIII", os.pread(self.fd, 24, 0))
        assert counters == len(self.names)

    def read(self):
        sums = [0] * len(self.names)
        for worker in range(self.workers):
            page = os.pread(self.fd, 8 * len(sums), self.PAGES_AT + worker * self.page_bytes)
            sums = [a + b for a, b in zip(sums, struct.unpack(f"<{len(sums)}Q", page))]
        return dict(zip(self.names, sums))


class Load:
    """Clients in threads; each counts what it has made, and stops at the first surprise."""

    def __init__(self, proxy, authority):
        self.proxy, self.authority = proxy, authority
        self.made, self.kinds, self.failures = 0, {}, []
        self.upgraded = float("-inf")
        self.lock, self.stop = threading.Lock(), threading.Event()
        kinds = [self.mass, self.mass, self.websocket, self.upload, self.abort_answer, self.abort_upload, self.slow_reader]
        self.threads = [threading.Thread(target=self.loop, args=(kind, n)) for n, kind in enumerate(kinds)]

    def loop(self, kind, number):
        rng = random.Random(SEED + number)
        try:
            while not self.stop.is_set():
                kind(rng)
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(f"{kind.__name__}: {type(error).__name__}: {error}")
            self.stop.set()

    def count(self, kind, number=1):
        with self.lock:
            self.made += number
            self.kinds[kind] = self.kinds.get(kind, 0) + number

    def url(self, scheme, path):
        return f"{scheme}://127.0.0.1:{self.proxy.port('websecure' if scheme == 'https' else 'web')}{path}"

    def connect(self, rng):
        if rng.randrange(2):
            return self.proxy.connect("web")
        return self.proxy.connect_tls(HOST, "websecure", ca_file=self.authority.cert_file)

    def mass(self, rng):
        scheme, options = rng.choice(RUNS)
        command = ["h2load", "-n", str(RUN), *options, self.url(scheme, "/64")]
        began = time.monotonic()
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
        good, fine = int(re.search(r"(\d+) succeeded", output).group(1)), int(re.search(r"(\d+) 2xx", output).group(1))
        self.count(" ".join([scheme, *options]), good)
        assert good == fine, output
        assert good == RUN or ("--h1" not in options and self.upgraded > began - 5), output

    def websocket(self, rng):
        async def talk():
            async with websockets.connect(self.url("ws", "/socket"), compression=None, ping_interval=None, max_size=None) as client:
                self.count("websocket")
                for _ in range(rng.randrange(1, 20)):
                    message = body_of(rng.choice([10, 1000, 70000]))
                    await client.send(message)
                    assert await client.recv() == message
        asyncio.run(talk())

    def upload(self, rng):
        size = rng.choice([0, 100, 20000, 300000])
        with self.connect(rng) as client:
            answer = client.exchange("POST", "/echo", HOST, body=body_of(size))
            self.count("upload")
            assert answer.status == 200 and answer.json()["body_bytes"] == size

    def abort_answer(self, rng):
        """Goes in the middle of a body that is large, or comes slowly."""
        with self.connect(rng) as client:
            client.request("GET", rng.choice(["/bytes/3000000", "/slow/100000?piece=100&ms=20"]), HOST)
            client.read_head()
            self.count("abort of an answer")
            client.reset()

    def abort_upload(self, rng):
        """Goes in the middle of a body that the origin wants."""
        with self.connect(rng) as client:
            client.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
            assert client.read_head().status == 100
            self.count("abort of an upload")
            client.send(body_of(rng.randrange(1, 500000)))
            client.reset()

    def slow_reader(self, rng):
        with self.connect(rng) as client:
            client.request("GET", "/bytes/400000", HOST)
            client.read_head()
            self.count("slow reader")
            got = b""
            while len(got) < 400000:
                got += client.read_exactly(min(20000, 400000 - len(got)))
                time.sleep(0.05)
            assert got == body_of(400000)


class Memory:
    """Resident memory of each process of the family, over its life."""

    def __init__(self):
        self.samples = {}

    def sample(self, proxy):
        for pid in [proxy.process.pid, *children(proxy.process.pid)]:
            try:
                role = command_of(pid).split()[1]
                kb = int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()).group(1))
            except (OSError, AttributeError, IndexError):
                continue  # it has just ended
            self.samples.setdefault((role, pid), []).append((time.monotonic(), kb))

    def complaints(self, begin, end):
        """Those that were more at their end than in their first tenth, and than all of their kind in the first tenth
        of the whole."""
        found = []
        for (role, pid), samples in self.samples.items():
            first, last = samples[0][0], samples[-1][0]
            if last - first < UPGRADE_S / 2:
                continue
            own = max(kb for t, kb in samples if t <= first + (last - first) / 10)
            usual = max([kb for (r, _), s in self.samples.items() if r == role for t, kb in s if t <= begin + (end - begin) / 10], default=own)
            if samples[-1][1] > max(own, usual) * GROWTH and samples[-1][1] > max(own, usual) + GROWTH_KB:
                found.append(f"{role} {pid}: {own} KB after a tenth of its life, {samples[-1][1]} KB at its end; usual {usual}")
        return found


def data_processes(proxy):
    return [pid for pid in children(proxy.process.pid) if is_alive(pid) and " data-run" in command_of(pid)]


def quiet(proxy, generation, load):
    """The counters of a data process that has nothing in use but what TLS keeps for the present configuration; each
    worker makes that when the first client comes."""
    for _ in range(40):
        assert proxy.get_tls("/64", HOST, "websecure", ca_file=load.authority.cert_file).status == 200
        load.count("to have TLS ready")
    return wait_until(lambda: (c := generation.read()) and not any(c[name] for name in GAUGES) and c, "nothing is in use", 90)


def test_soak(ferrule, nginx, origin, authority):
    echo = EchoServer()
    try:
        soak(ferrule, nginx, origin, echo, authority)
    finally:
        echo.stop()


def soak(ferrule, nginx, origin, echo, authority):
    extra = QUICK
    for name, server, rule in (("fast", nginx, "Path(`/64`)"), ("socket", echo, "Path(`/socket`)")):
        extra += config.service(name, server.url, more='serversTransport = "quick"')
        extra += config.router(name, name, rule, priority=100)
        extra += config.router(name + "-tls", name, rule, entrypoints=["websecure"], priority=100, tls=True)
    proxy = ferrule.both(origin, certificates=[authority.issue(HOST)], service='serversTransport = "quick"', extra=extra, workers=2)
    text = proxy.config_file.read_text()
    texts = [text, text.replace("http.routers.fast]", "http.routers.faster]")]
    load = Load(proxy, authority)
    generations = [Generation(proxy)]
    assert generations[0].read()["conns_accepted"] == proxy.counters()["conns_accepted"]
    start = quiet(proxy, generations[0], load)
    begin = next_upgrade = time.monotonic()
    next_upgrade += UPGRADE_S
    memory, reloads = Memory(), 0
    for thread in load.threads:
        thread.start()
    while load.made < REQUESTS and not load.stop.is_set() and time.monotonic() < begin + LIMIT_S:
        turn = time.monotonic()
        reloads += 1
        proxy.write_config(texts[reloads % 2])
        result = proxy.cli("reload", timeout_s=120)
        assert result.returncode == 0, result.stdout + result.stderr
        memory.sample(proxy)
        origin.requests.clear()
        if turn >= next_upgrade:
            load.upgraded = time.monotonic()
            result = proxy.cli("upgrade", timeout_s=120)
            assert result.returncode == 0, result.stdout + result.stderr
            load.upgraded = time.monotonic()
            generations.append(Generation(proxy))
            next_upgrade = turn + UPGRADE_S
        time.sleep(max(0, turn + RELOAD_S - time.monotonic()))
    load.stop.set()
    for thread in load.threads:
        thread.join()
    end = time.monotonic()
    print(f"{load.made} requests in {end - begin:.0f} s, {reloads} reloads, {len(generations) - 1} upgrades: {load.kinds}")
    assert not load.failures, load.failures
    assert load.made >= REQUESTS, "the machine was too slow"
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data processes have finished", 90)
    proxy.write_config(text)
    assert proxy.cli("reload", timeout_s=120).returncode == 0
    last = quiet(proxy, generations[-1], load)
    for n, generation in enumerate(generations[:-1]):
        counters = generation.read()
        assert not any(counters[name] for name in GAUGES), f"generation {n} ended with {counters}"
    total = {name: sum(g.read()[name] for g in generations) for name in generations[0].names}
    print({name: value for name, value in total.items() if value})
    assert start["tls_blocks_now"] == last["tls_blocks_now"] > 0
    assert total["requests"] == load.made
    assert total["tunnels"] == load.kinds["websocket"] and total["requests_bad"] == 0 and total["conns_refused"] == 0
    assert total["ring_overflows"] == 0
    assert not memory.complaints(begin, end), memory.complaints(begin, end)
