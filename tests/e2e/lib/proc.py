# SPDX-License-Identifier: Apache-2.0
"""Processes, ports and waiting: everything here waits for a condition and never for a time."""

import contextlib
import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

PORTS = range(10000, 32000)  # outside the kernel's own range

# Long enough for a machine that stalls for seconds; a test that passes never waits so long.
PATIENCE_S = 30
LEAVING_S = 5  # for what was ended and is not gone yet
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None)
_ports_given = set()
_ports_file = None
kept = set()  # pids of processes that outlive a test: those of the fixtures that a whole file shares


class HarnessError(AssertionError):
    """A server of the harness did not do what it must."""


def wait_until(condition, what, timeout_s=PATIENCE_S, interval_s=0.02):
    """Returns the first true value of condition(); fails with `what` and the last value after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise HarnessError(f"after {timeout_s} s still not: {what} (last: {value!r})")
        time.sleep(interval_s)


def _claim_port(port):
    """True if the port is this process's from now to its end: no other that runs tests at the same time gets it, in
    this run or another one, whatever TMPDIR they have. (A byte of a file is locked for each; the locks go with the
    process.)"""
    global _ports_file
    if _ports_file is None:
        path = Path("/tmp") / f"ferrule-test-ports-{os.getuid()}"
        _ports_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(_ports_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def free_port(address="127.0.0.1"):
    """A port free for TCP and UDP, outside the kernel's own range and not given to anybody before."""
    for _ in range(1000):
        port = random.choice(PORTS)
        if port in _ports_given or not _claim_port(port):
            continue
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        _ports_given.add(port)
        return port
    raise HarnessError("no free port")


def accepts(port, address="127.0.0.1"):
    """True if a TCP connection to the port is accepted."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def become_subreaper():
    """Orphans of this process's descendants become its children, so that none is lost from sight."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid=None):
    """Direct children (pids) of a process, by all its threads."""
    found = []
    try:
        tasks = list(Path(f"/proc/{pid or os.getpid()}/task").iterdir())
    except OSError:
        return found
    for task in tasks:
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            pass
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def state_of(pid):
    """The state letter of /proc/PID/stat, or None if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def cpu_s(pid):
    """Processor time that a process has used, in seconds: what a stalled machine does not change."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(pid):
    return state_of(pid) not in (None, "Z", "X")


def _own_family():
    """Every child and grandchild that this process still has, but those of `kept`."""
    return [pid for child in children() if child not in kept for pid in (child, *descendants(child))]


def end_leftovers(leaving_s=LEAVING_S):
    """Kills every process of the family that goes on running, by pid; returns their commands. What was killed a moment
    ago has its time to end: a process that dies with its parent, or with much to give back, is there for a while."""
    deadline = time.monotonic() + leaving_s
    while any(map(is_alive, _own_family())) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = []
    for pid in _own_family():
        if is_alive(pid):
            left.append(command_of(pid) or f"pid {pid}")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    deadline = time.monotonic() + PATIENCE_S
    while (ending := set(children()) - kept) and time.monotonic() < deadline:
        for pid in ending:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)
    return left


class Process:
    """A program with its output in a file; ends with the test, by pid. Start it in the main thread: it dies
    with the thread that started it, even if that is killed."""

    running = []  # what a failed test shows the logs of

    def __init__(self, name, command, folder, env=None, **options):
        self.name = name
        self.command = [str(word) for word in command]
        self.log_path = Path(folder) / f"{name}.log"
        self._log_file = open(self.log_path, "ab")
        self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command], stdin=subprocess.DEVNULL,
                                      stdout=self._log_file, stderr=subprocess.STDOUT, env=env, cwd=folder, **options)
        self.pid = self.popen.pid
        Process.running.append(self)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def exit_code(self):
        """The exit code, or None while it runs."""
        return self.popen.poll()

    def wait_ready(self, condition, what, timeout_s=PATIENCE_S):
        """Waits for the condition; fails at once, with the log, if the program ends first."""

        def ready():
            value = condition()
            if not value and self.exit_code is not None:
                raise HarnessError(f"{self.name} ended with {self.exit_code} before: {what}\n{self.log[-4000:]}")
            return value

        try:
            return wait_until(ready, what, timeout_s)
        except HarnessError as error:
            raise HarnessError(f"{error}\n--- {self.name} ---\n{self.log[-4000:]}") from None

    def wait_log(self, text, timeout_s=PATIENCE_S):
        return self.wait_ready(lambda: text in self.log, f"'{text}' in the log of {self.name}", timeout_s)

    def send_signal(self, number):
        self.popen.send_signal(number)

    def wait_exit(self, timeout_s=PATIENCE_S):
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{self.name} still runs after {timeout_s} s\n{self.log[-4000:]}") from None

    def stop(self, number=signal.SIGTERM, timeout_s=PATIENCE_S):
        """Asks it to end; returns the exit code. Safe to call again."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.wait_exit(timeout_s)
        finally:
            self.kill()

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self._log_file.close()
