# SPDX-License-Identifier: Apache-2.0
"""bench/compare: it measures, says what it leaves out and why, and leaves nothing running."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lib import proc
from lib.ferrule import build_folder

COMPARE = Path(__file__).resolve().parents[2] / "bench" / "compare"
SHORT = ["--rounds", "1", "--seconds", "0.2"]
LIMIT_S = 240
INTERRUPTED = 130

# A proxy that answers, but not as the origin does.
OTHER = """#!/usr/bin/python3
import http.server, re, sys, threading
if "--version" in sys.argv: sys.exit(print("h2o version 9"))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "64")
        self.end_headers()
        self.wfile.write(b"-" * 64)
ports = map(int, set(re.findall(r"port: (\\d+)", open(sys.argv[2]).read())))
servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) for port in ports]
for server in servers: threading.Thread(target=server.serve_forever).start()
"""


def compare(*arguments, env=None, limit_s=LIMIT_S):
    return subprocess.run([COMPARE, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=limit_s,
                          env={**os.environ, "FERRULE_BUILD": str(build_folder()), **(env or {})})


def test_measures_ferrule_and_a_peer(folder):
    done = compare("http-64", "ferrule", "nginx", "forwarder", *SHORT, "--json", folder / "json", "--svg", folder / "svg")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((folder / "json").read_text())
    row = document["rows"]["http-64"]
    assert document["left_out"] == [] and set(document["proxies"]) == {"ferrule", "nginx", "forwarder"}
    for name, figures in row["proxies"].items():
        assert 1 < figures["median"] < 100000 and 0 < figures["p50_us"] <= figures["p99_us"], (name, figures)
        assert len(row["samples"][name]) == 1 and row["samples"][name][0]["requests"] >= 20
    assert row["best"] == "nginx" and row["verdict"] in ("met", "MISSED")
    assert row["ratio"] == pytest.approx(row["proxies"]["ferrule"]["median"] / row["proxies"]["nginx"]["median"])
    assert row["over_limit"] == pytest.approx(row["proxies"]["ferrule"]["median"] / row["proxies"]["forwarder"]["median"])
    texts = [each.text for each in ElementTree.parse(folder / "svg").iter() if each.tag.endswith("text")]
    assert "nginx" in texts and any("64 connections" in (text or "") for text in texts)
    assert "HTTP, 64 B, 64 connections" in done.stdout and "best peer" in done.stdout


def test_handshakes_and_streams(folder):
    done = compare("tls-full-mlkem", "tls-resumed", "h2-64", "ferrule", *SHORT, "--json", folder / "json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((folder / "json").read_text())["rows"]
    assert all(rows[name]["proxies"]["ferrule"]["median"] > 1 for name in ("tls-full-mlkem", "tls-resumed", "h2-64")), rows
    assert rows["h2-64"]["verdict"] == "no peer" and rows["tls-full-mlkem"]["verdict"] == "no base"


@pytest.mark.parametrize("arguments, said", [
    (["http-65"], "'http-65' is no scenario"), (["apache"], "'apache' is no scenario"), (["--rounds", "0"], "above 0"),
    (["--ports", "0"], "ports from 1 to 65535"), (["--seconds", "x"], "invalid float")])
def test_wrong_usage(arguments, said):
    done = compare(*arguments)
    assert done.returncode == 2 and said in done.stderr and "nginx" not in done.stdout


@pytest.fixture
def few_programs(folder):
    """A PATH with what a run needs, an h2o that answers something else, and no caddy."""
    path = folder / "bin"
    path.mkdir()
    for name in ("taskset", "setpriv", "wrk", "curl", "openssl"):
        (path / name).symlink_to(shutil.which(name))
    (path / "h2o").write_text(OTHER)
    (path / "h2o").chmod(0o755)
    return {"PATH": str(path)}


def test_says_what_it_leaves_out(folder, few_programs):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", proc.free_port()))
        taken.listen()
        ports = [proc.free_port(), taken.getsockname()[1]]  # of the origin, and of nginx
        done = compare("http-64", "nginx", "h2o", "caddy", "forwarder", *SHORT, "--json", folder / "json", "--ports", *ports,
                       env=few_programs)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((folder / "json").read_text())
    reasons = {(each["scenario"], each["proxy"]): each["reason"] for each in document["left_out"]}
    assert f"port {ports[1]} is busy" in reasons[None, "nginx"]
    assert "caddy is not installed" in reasons[None, "caddy"]
    assert "other bytes" in reasons["http-64", "h2o"] and len(reasons) == 3, reasons
    assert list(document["rows"]["http-64"]["proxies"]) == ["forwarder"]
    assert document["rows"]["http-64"]["verdict"] == "not measured"
    assert all(f"left out: {name}" in done.stdout for name in ("nginx", "caddy", "h2o"))


def test_busy_port_of_the_origin():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", proc.free_port()))
        taken.listen()
        done = compare("http-64", "forwarder", *SHORT, "--ports", taken.getsockname()[1])
    assert done.returncode == 1 and "nothing was measured: port" in done.stdout


def test_one_core_is_not_enough():
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(["taskset", "-c", str(core), COMPARE, "http-64"], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1 and "two cores are needed" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_interrupted_it_leaves_nothing(folder, number):
    """The fixture nothing_left_running looks for what is left."""
    env = {**os.environ, "FERRULE_BUILD": str(build_folder()), "TMPDIR": str(folder)}
    run = proc.Process("compare", [COMPARE, "http-64", "nginx", "forwarder", "--rounds", "1000", "--seconds", "0.1"], folder, env=env)
    run.wait_log("1/2000 http-64", LIMIT_S)
    run.send_signal(number)
    assert run.wait_exit(LIMIT_S) == INTERRUPTED
    run.kill()
    assert list(folder.glob("ferrule-bench-*")) == []


@pytest.mark.long
def test_whole_table_of_ferrule(folder):
    done = compare("table", "more", "curves", "ferrule", "forwarder", *SHORT, "--json", folder / "json", limit_s=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((folder / "json").read_text())
    cut = [each for each in document["left_out"] if "too few descriptors" in each["reason"]]
    assert document["left_out"] == cut
    assert len(cut) <= 1 and (not cut or resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * 10000 + 500)
    assert all("ferrule" in row["proxies"] for row in document["rows"].values())
    assert all(len(curve["points"]) >= 2 for curve in document["curves"].values())
