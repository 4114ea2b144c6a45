# SPDX-License-Identifier: Apache-2.0
"""The machine: its cores, descriptors and clocks, and what processes use of it."""

import os
import platform
import re
import resource
import time
from pathlib import Path

from lib import proc

from . import CellFailed


def cores():
    """(the proxy's core, the core of load and origin), or None if there are not two."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


def pinned(where, command):
    """The command on one core, or on a list of cores."""
    return ["taskset", "-c", ",".join(map(str, where if isinstance(where, (list, tuple)) else [where])), *map(str, command)]


def descriptors(wanted):
    """Raises the limit of open files to `wanted` where that is allowed; returns the limit. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def family(pid):
    return [pid, *proc.descendants(pid)]


def cpu_ns(pids):
    """CPU time of processes, with the threads of theirs that have ended: their CPU-time clocks (CPUCLOCK_SCHED)."""
    try:
        return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in pids)
    except OSError:
        raise CellFailed("one of its processes ended") from None


def memory_kb(pids):
    """{"rss": RssAnon, "own": memory that no file stands for, each page shared between the processes counted once}."""
    rss = own = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError as error:
            raise CellFailed(f"its memory cannot be read: {error}") from None
        rss += int(re.search(r"RssAnon:\s+(\d+)", status).group(1))
        own += sum(int(re.search(rf"{kind}:\s+(\d+)", rollup).group(1)) for kind in ("Pss_Anon", "Pss_Shmem"))
    return {"rss": rss, "own": own}


class Load:
    """What two cores did between two looks: to tell how noisy a measurement was."""

    def __init__(self, which):
        self.which = which
        self.before = self._read()

    def _read(self):
        busy = steal = 0
        for line in Path("/proc/stat").read_text().splitlines():
            words = line.split()
            if words[0] in [f"cpu{core}" for core in self.which]:
                ticks = list(map(int, words[1:]))
                busy += sum(ticks[:3]) + sum(ticks[5:7])
                steal += ticks[7]
        return busy, steal, time.monotonic()

    def since(self):
        """Shares of the cores' time: {"busy": by anybody, "steal": taken by the hypervisor}."""
        busy, steal, now = self._read()
        ticks = (now - self.before[2]) * os.sysconf("SC_CLK_TCK") * len(self.which)
        return {"busy": round((busy - self.before[0]) / ticks, 3), "steal": round((steal - self.before[1]) / ticks, 3)}


def describe():
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", text)
    system = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    name = re.search(r'PRETTY_NAME="(.*)"', system)
    return {"cpu": model.group(1) if model else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "system": name.group(1) if name else platform.system(),
            "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()}
