# SPDX-License-Identifier: Apache-2.0
"""How long the requests of others take while something goes on: through the proxy of one worker that it is done to and,
because machines are noisy, at the same time through another one that is left in peace."""

import statistics
import threading
import time

from . import http1
from .proc import PATIENCE_S, wait_until

# Times of the other proxy's median, and how much above that, before others count as held up.
NOISE, ADDED_S = 4, 0.2
SAMPLES = 20
IDLE_S = 0.5  # the shortest idle limit of a proxy, and less


class Pace:
    """with Pace(proxy, calm): ...   At the end others must have got on as quickly as through the calm proxy. They ask for
    a host of their own, so that they need not share an origin with what goes on."""

    def __init__(self, proxy, calm, host="others.test"):
        self.host = host
        self.connect = {"here": lambda: proxy.connect("web"), "calm": lambda: calm.connect("web")}
        self.connections = {name: make() for name, make in self.connect.items()}
        self.times = {name: [] for name in self.connections}
        self.last = dict.fromkeys(self.connections, time.monotonic())
        self.failure = None
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self._ends:
                for name in self.connections:
                    self._sample(name)
                time.sleep(0.005)
        except BaseException as error:  # noqa: BLE001 (told at the end)
            self.failure = error

    def _sample(self, name):
        began = time.monotonic()
        try:
            body = self.connections[name].exchange("GET", "/bytes/1000", self.host).body
        except (http1.Closed, OSError):
            if time.monotonic() - self.last[name] < IDLE_S:
                raise
            self.connections[name] = self.connect[name]()  # this machine stalled: it was idle for too long
            body = self.connections[name].exchange("GET", "/bytes/1000", self.host).body
        assert len(body) == 1000
        self.last[name] = time.monotonic()
        self.times[name].append(self.last[name] - began)

    @property
    def requests(self):
        """Exchanges so far that went through the proxy."""
        return len(self.times["here"])

    def wait_samples(self):
        """Goes on until there are enough to say something."""
        before = self.requests
        wait_until(lambda: self.failure or self.requests >= before + SAMPLES, "others are served", PATIENCE_S)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._ends = True
        self._thread.join(PATIENCE_S)
        for connection in self.connections.values():
            connection.close()
        if kind is None:
            assert self.failure is None, f"another connection of the worker: {self.failure!r}"
            here, calm = (statistics.median(self.times[name]) for name in ("here", "calm"))
            assert here <= NOISE * calm + ADDED_S, f"others took {here:.3f} s, through a calm proxy {calm:.3f} s"
