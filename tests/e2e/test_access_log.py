# SPDX-License-Identifier: Apache-2.0
"""The access log: field by field against what the client sent and got, rotation under load, a disk that is full."""

import json
import os
import re
import signal
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from lib import config, disk
from lib.ferrule import run_cli
from lib.peer import Peer
from lib.proc import free_port, wait_until
from lib.websocket import RawServer, ask

HOST = "example.test"
COMMON = re.compile(r'(\S+) - (\S+) \[([^]]+)\] "(\S+) (\S+) (\S+)" (\d+) (\d+) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)" (\d+) "([^"]*)" "([^"]*)" (\d+)ms')


def log_of(folder, more=""):
    return f'[accessLog]\nfilePath = "{folder}/access.log"\n{more}\n'


def lines_of(path, count):
    """The file's lines, once there are so many; every one whole."""
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{count} lines in {path}")
    text = path.read_bytes().decode()
    assert text.endswith("\n")
    return text.splitlines()


@pytest.mark.asan
def test_common_format(ferrule, origin, folder):
    proxy = ferrule.http(origin, extra=log_of(folder, "[accessLog.fields.headers.names]\nUser-Agent = \"keep\"\nReferer = \"keep\""))
    before = datetime.now(timezone.utc).replace(microsecond=0)
    with proxy.connect() as client:
        assert client.exchange("GET", "/bytes/1234?a=b", HOST, headers=[("User-Agent", 'curl "x"'), ("Referer", "http://r/")]).status == 200
        assert client.exchange("POST", "/echo", HOST, body=b"x" * 5000).status == 200
        assert client.exchange("HEAD", "/bytes/99", HOST).status == 200
    lines = [COMMON.fullmatch(line) for line in lines_of(folder / "access.log", 3)]
    assert all(lines)
    first = lines[0].groups()
    assert first[:2] == ("127.0.0.1", "-") and first[3:8] == ("GET", "/bytes/1234?a=b", "HTTP/1.1", "200", "1234")
    assert first[8:10] == ("http://r/", 'curl \\"x\\"') and first[11:13] == ("all", origin.url)
    stamp = datetime.strptime(first[2], "%d/%b/%Y:%H:%M:%S %z")
    assert before - timedelta(seconds=1) <= stamp <= datetime.now(timezone.utc)
    assert [line.group(4, 7, 9, 10) for line in lines[1:]] == [("POST", "200", "-", "-"), ("HEAD", "200", "-", "-")]
    assert lines[2].group(8) == "0"
    assert sorted(int(line.group(11)) for line in lines) == [1, 2, 3]


@pytest.mark.asan
def test_json_format(ferrule, origin, certificate, folder):
    proxy = ferrule.both(origin, certificates=[certificate], workers=1, extra=log_of(
        folder, 'format = "json"\n[accessLog.fields.headers]\ndefaultMode = "drop"\n'
                '[accessLog.fields.headers.names]\nUser-Agent = "keep"\nAuthorization = "redact"\nContent-Type = "keep"'))
    with proxy.connect_tls(HOST, "websecure") as client:
        port = client.sock.getsockname()[1]
        assert client.exchange("GET", "/delay/300/bytes/1000", HOST, headers=[
            ("User-Agent", "te\u00e4st".encode().decode("latin-1")), ("Authorization", "Basic c2VjcmV0"), ("Cookie", "c=d")]).status == 200
    (line,) = lines_of(folder / "access.log", 1)
    entry = json.loads(line)
    expected = {
        "ClientHost": "127.0.0.1", "ClientUsername": "-", "RequestAddr": HOST, "RequestHost": HOST, "RequestPort": "-",
        "RequestMethod": "GET", "RequestPath": "/delay/300/bytes/1000", "RequestProtocol": "HTTP/1.1", "RequestScheme": "https",
        "RequestContentSize": 0, "RouterName": "secure", "ServiceName": "origins", "ServiceURL": origin.url,
        "ServiceAddr": f"127.0.0.1:{origin.port}", "OriginStatus": 200, "DownstreamStatus": 200, "DownstreamContentSize": 1000,
        "OriginContentSize": 1000, "RetryAttempts": 0, "RequestCount": 1, "TLSVersion": "1.3", "entryPointName": "websecure",
        "level": "info", "msg": "", "request_Authorization": "REDACTED",
    }
    assert {key: entry[key] for key in expected} == expected
    assert entry["request_User-Agent"] == "te\u00e4st" and "downstream_Content-Type" in entry
    assert entry["TLSCipher"].startswith("TLS_") and not any("Cookie" in key for key in entry) and "c2VjcmV0" not in line
    assert entry["ClientAddr"] == f'127.0.0.1:{entry["ClientPort"]}' and entry["ClientPort"] == str(port)
    assert 300e6 <= entry["Duration"] < 60e9 and 300e6 <= entry["OriginHeadDuration"] <= entry["OriginDuration"] <= entry["Duration"]
    assert entry["Overhead"] == entry["Duration"] - entry["OriginDuration"]
    start = datetime.fromisoformat(entry["StartUTC"][:26] + "+00:00")
    assert abs((datetime.now(timezone.utc) - start).total_seconds()) < 60


@pytest.mark.asan
def test_tunnels_are_logged_when_they_begin(ferrule, nothing_left_running, folder):
    upstream = RawServer()
    proxy = ferrule.http(upstream, workers=1, extra=log_of(folder))
    data = proxy.pid_of("data")
    with proxy.connect() as client:
        ask(client)
        with upstream.accept() as other:
            assert client.read_response().status == 101
            assert [COMMON.fullmatch(line).group(7) for line in lines_of(folder / "access.log", 1)] == ["101"]
            other.send(b"x")
            assert client.read_exactly(1) == b"x"
    wait_until(lambda: proxy.counters()["tunnels_now"] == 0, "the tunnel is closed")
    assert len(lines_of(folder / "access.log", 1)) == 1 and proxy.pid_of("data") == data
    upstream.stop()


@pytest.mark.asan
def test_what_ferrule_answers_itself(ferrule, origin, folder):
    """No route, an upstream that refuses, a client that leaves, a response that is cut."""
    proxy = ferrule.http(origin, rule="Path(`/x`) || PathPrefix(`/never`) || PathPrefix(`/cut`)", workers=1,
                         extra=log_of(folder, 'format = "json"'))
    assert proxy.get("/nowhere").status == 404
    client = proxy.connect()
    client.request("GET", "/never", HOST)
    wait_until(lambda: origin.requests, "the request is at the origin")
    client.reset()
    lines_of(folder / "access.log", 2)
    origin.stop()
    body = proxy.get("/x").body
    entries = [json.loads(line) for line in lines_of(folder / "access.log", 3)]
    assert [e["DownstreamStatus"] for e in entries] == [404, 499, 502]
    assert "RouterName" not in entries[0] and entries[0]["DownstreamContentSize"] == len("404 Not Found\n")
    assert entries[0]["OriginStatus"] == entries[2]["OriginStatus"] == 0 and entries[1]["RouterName"] == "all"
    assert body == b"502 Bad Gateway\n" and entries[2]["DownstreamContentSize"] == len(body)


@pytest.mark.asan
def test_filters(ferrule, origin, folder):
    proxy = ferrule.http(origin, workers=1, extra=log_of(
        folder, '[accessLog.filters]\nstatusCodes = ["404", "500-599"]\nminDuration = "3s"'))
    for target in ("/bytes/1", "/early/404", "/delay/3300/bytes/2", "/early/503"):
        proxy.get(target)
    lines = [COMMON.fullmatch(line).group(5, 7) for line in lines_of(folder / "access.log", 3)]
    assert lines == [("/early/404", "404"), ("/delay/3300/bytes/2", "200"), ("/early/503", "503")]


def test_control_bytes_and_wrong_names(ferrule, origin, folder):
    """What a client sends cannot forge a line."""
    proxy = ferrule.http(origin, workers=1, extra=log_of(folder, 'format = "json"\n[accessLog.fields.headers]\ndefaultMode = "keep"'))
    with proxy.connect() as client:
        client.send(b'GET /a"b\\ HTTP/1.1\r\nHost: example.test\r\nX-Bad: tab\there "quoted" \xff\xfe\r\n\r\n')
        status = client.read_response().status
    (line,) = lines_of(folder / "access.log", 1)
    entry = json.loads(line)
    assert entry["DownstreamStatus"] == status and entry["RequestPath"] == '/a"b\\'
    assert entry["request_X-Bad"] == 'tab\there "quoted" \ufffd\ufffd'
    checked = proxy.config_file.parent / "bad.toml"
    checked.write_text('[accessLog.fields.names]\nRouterNam = "drop"\n[accessLog.filters]\nstatusCodes = ["2xx"]\n')
    result = run_cli("check", "-c", checked)
    assert result.returncode == 1
    assert 'bad.toml:2:1: error: the access log has no field "RouterNam"; did you mean "RouterName"?' in result.stdout + result.stderr
    assert 'bad.toml:4:' in result.stdout + result.stderr and '"2xx" is no status' in result.stdout + result.stderr


@pytest.mark.asan
def test_standard_output(ferrule, origin):
    proxy = ferrule.http(origin, extra="[accessLog]\n")
    assert proxy.get("/bytes/7").status == 200
    proxy.wait_log('"GET /bytes/7 HTTP/1.1" 200 7 "-" "-" 1 "all" ')


@pytest.mark.asan
def test_rotation_under_load(ferrule, nginx, folder):
    """Moved away and reopened again and again: every request has its line, whole, in one of the files."""
    proxy = ferrule.http(nginx, extra=log_of(folder))
    path = folder / "access.log"
    load = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "wrk", "-t1", "-c32", "-d600s", nginx.url.replace(str(nginx.port), str(proxy.port())) + "/64"],
                            stdout=subprocess.PIPE, text=True)
    files = []
    for number in range(8):
        wait_until(lambda: path.exists() and path.stat().st_size > 20000, "lines come")
        files.append(folder / f"access.{number}")
        os.rename(path, files[-1])
        proxy.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: path.exists(), "the last file")
    load.send_signal(signal.SIGINT)
    load.communicate()
    proxy.stop()
    lines = [line for file in [*files, path] for line in file.read_text().splitlines()]
    assert all(map(COMMON.fullmatch, lines))
    served = sum(COMMON.fullmatch(line).group(7) == "200" for line in lines)
    numbers = sorted(int(COMMON.fullmatch(line).group(11)) for line in lines)
    # Two workers count for themselves: each number from 1 on at most twice, and none left out.
    assert served > 1000 and numbers == sorted(list(range(1, numbers.count(1) and max(numbers) + 1)) + numbers_of_other(numbers))


def numbers_of_other(numbers):
    """The shorter of the two sequences 1, 2, 3, ... that make up the sorted list."""
    twice = [n for n, following in zip(numbers, numbers[1:]) if n == following]
    assert twice == list(range(1, len(twice) + 1))
    return twice


@pytest.mark.asan
@pytest.mark.parametrize("form", ["json", "common"])
def test_tcp_connections(ferrule, certificate, authority, folder, form):
    """One line for each at its end, with what passed both ways; also for those that got no server."""
    peer, port = Peer(), free_port()
    pieces = [config.entrypoint("tcp", port), config.tcp_router("plain", "s"), config.tcp_router("ends", "s", f"HostSNI(`{HOST}`)", tls=""),
              config.tcp_router("dead", "nobody", "HostSNI(`dead.test`)", tls="passthrough = true"),
              config.tcp_router("closed", "s", "HostSNI(`closed.test`)", tls="passthrough = true", more='middlewares = ["m"]'),
              '[tcp.middlewares.m.ipAllowList]\nsourceRange = ["192.0.2.0/24"]', config.certificate(certificate),
              config.tcp_service("s", peer.address), config.tcp_service("nobody", f"127.0.0.1:{free_port()}"), log_of(folder, f'format = "{form}"')]
    try:
        proxy = ferrule("\n".join(pieces), {"tcp": port}, workers=1)
        with proxy.connect() as client:
            client.send(b"x" * 1000)
            upstream = peer.accept()
            assert upstream.read_exactly(1000) == b"x" * 1000
            upstream.send(b"y" * 70000)
            assert client.read_exactly(70000) == b"y" * 70000
            upstream.close()
            assert client.is_closed()
        lines_of(folder / "access.log", 1)
        with proxy.connect_tls(HOST, ca_file=authority.cert_file) as client:
            client.send(b"z")
            upstream = peer.accept()
            assert upstream.read_exactly(1) == b"z"
            # What it goes by is kept, though a reload takes it away.
            proxy.write_config(proxy.config_file.read_text().replace("routers.ends", "routers.other"))
            assert proxy.cli("reload").returncode == 0
            upstream.close()
            assert client.is_closed()
        lines_of(folder / "access.log", 2)
        for count, name in ((3, "dead.test"), (4, "closed.test")):
            with pytest.raises(OSError):
                proxy.connect_tls(name)
            lines = lines_of(folder / "access.log", count)
    finally:
        peer.stop()
    counters = proxy.counters()
    assert (counters["tcp_conns"], counters["tcp_failed"], counters["tcp_refused"]) == (3, 1, 1)
    assert (counters["tcp_bytes_up"], counters["tcp_bytes_down"]) == (1001, 70000)
    if form == "common":
        rows = [COMMON.fullmatch(line).group(4, 5, 6, 7, 8, 12) for line in lines]
        assert rows == [("-", "-", "TCP", "200", "70000", "plain"), ("-", HOST, "TCP", "200", "0", "ends"),
                        ("-", "dead.test", "TCP", "502", "0", "dead"), ("-", "closed.test", "TCP", "403", "0", "closed")]
        assert [COMMON.fullmatch(line).group(13) for line in (lines[0], lines[3])] == [peer.address, "-"]
        return
    entries = [json.loads(line) for line in lines]
    shown = [[entry.get(key) for key in ("RouterName", "RequestHost", "RequestScheme", "DownstreamStatus", "RequestContentSize", "DownstreamContentSize")]
             for entry in entries]
    assert shown == [["plain", None, "tcp", 200, 1000, 70000], ["ends", HOST, "tls", 200, 1, 0],
                     ["dead", "dead.test", "tls", 502, 0, 0], ["closed", "closed.test", "tls", 403, 0, 0]]
    assert entries[1]["TLSVersion"] == "1.3" and entries[1]["TLSCipher"].startswith("TLS_") and "TLSVersion" not in entries[2]
    assert all(e["RequestProtocol"] == "TCP" and e["entryPointName"] == "tcp" and "RequestPath" not in e for e in entries)
    assert entries[0]["ServiceName"] == "s" and entries[0]["ServiceAddr"] == peer.address and 0 < entries[0]["OriginHeadDuration"] <= entries[0]["Duration"]


@pytest.mark.asan
def test_full_disk(ferrule, nginx, folder):
    """Requests go on, lines wait, then they are dropped and counted; afterwards lines are whole again."""
    log = folder / "log"
    log.mkdir()
    proxy = ferrule.http(nginx, workers=1, extra=f'[accessLog]\nfilePath = "{log}/access.log"\n', start=False)
    proxy.wrapper = disk.wrapper(log, 64)
    proxy.start()
    assert proxy.get("/64").status == 200
    space = disk.Disk(proxy.process, log)
    lines_of(space.path / "access.log", 1)
    space.fill()
    subprocess.run(["wrk", "-t1", "-c16", "-d2s", f"http://127.0.0.1:{proxy.port()}/64"], stdout=subprocess.DEVNULL, check=True)
    proxy.wait_log("access log " + str(log / "access.log") + " cannot be written")
    while proxy.counters()["access_dropped"] == 0:
        subprocess.run(["wrk", "-t1", "-c16", "-d1s", f"http://127.0.0.1:{proxy.port()}/64"], stdout=subprocess.DEVNULL, check=True)
    assert proxy.get("/64").status == 200
    counters = proxy.counters()
    assert counters["access_lines"] + counters["access_dropped"] == counters["requests"]
    os.truncate(space.path / "access.log", 0)
    space.free()
    wait_until(lambda: (space.path / "access.log").stat().st_size > 10000, "lines are written again")
    lines = (space.path / "access.log").read_text(errors="replace").strip("\0").splitlines()
    assert all(map(COMMON.fullmatch, lines[1:-1]))
