# SPDX-License-Identifier: Apache-2.0
"""The harness itself: its servers start, do what tests rely on, and end. Needs no ferrule."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest

from lib import http1, proc, tls
from lib.bind import ALGORITHMS
from lib.ferrule import Ferrule
from lib.hastyca import HastyCa
from lib.origin import body_of, raw_path

CHALLENGE = "_acme-challenge.demo.edge.test"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bind_takes_signed_updates(bind, algorithm):
    bind.nsupdate(f"add {CHALLENGE}. 60 TXT one", f"add {CHALLENGE}. 60 TXT two", key=algorithm)
    bind.wait_txt(CHALLENGE, ["one", "two"])
    assert bind.all_txt() == {CHALLENGE: ["one", "two"]}
    bind.nsupdate(f"delete {CHALLENGE}. TXT one", key=algorithm)
    bind.wait_txt(CHALLENGE, ["two"])
    assert (CHALLENGE, "TXT") in bind.queries()


def test_bind_refuses_unsigned_updates(bind):
    with pytest.raises(proc.HarnessError, match="REFUSED"):
        bind.nsupdate(f"add {CHALLENGE}. 60 TXT one", key=None)


def test_bind_serves_several_zones_and_restarts(make_bind):
    bind = make_bind(zones={"edge.test": "www IN CNAME www.other.test.\n", "other.test": "www IN TXT there\n"},
                     nameservers=("127.0.0.1", "127.0.0.2"))
    assert sorted(bind.dig("edge.test", "NS")) == ["ns1.edge.test.", "ns2.edge.test."]
    assert bind.dig("ns2.edge.test", "A") == ["127.0.0.2"]
    bind.nsupdate("add kept.edge.test. 60 TXT kept")
    bind.restart()
    assert bind.txt("kept.edge.test") == ["kept"]


def test_dns_relay(bind, make_dns_relay):
    bind.nsupdate("add a.edge.test. 60 TXT value")
    relay = make_dns_relay(bind.address)
    assert bind.txt("a.edge.test", address="127.0.0.2") == ["value"]
    assert bind.dig("a.edge.test", "TXT", "+tcp", address="127.0.0.2") == ['"value"']
    relay.change = lambda query, answer, is_tcp: answer.replace(b"value", b"other")
    assert bind.txt("a.edge.test", address="127.0.0.2") == ["other"]
    relay.drop = True
    assert bind.txt("a.edge.test", address="127.0.0.2") == []
    assert relay.queries >= 4


def test_pebble_answers(pebble):
    assert pebble.directory()["newOrder"].startswith("https://127.0.0.1:")
    assert "BEGIN CERTIFICATE" in pebble.roots_file().read_text()
    assert pebble.issued() == 0
    pebble.restart()
    assert pebble.directory()["newAccount"]


def test_nginx_serves_sized_files(nginx):
    nginx.file("five", 5)
    with http1.connect(nginx.port) as connection:
        for name, size in (("64", 64), ("1m", 1 << 20), ("five", 5)):
            assert connection.exchange("GET", f"/{name}").body == body_of(size)


def test_origin_echoes(origin):
    with http1.connect(origin.port) as connection:
        first = connection.exchange("POST", "/echo?x=1", headers=[("X-A", "1"), ("x-a", "2")], body=b"hello")
        second = connection.exchange("POST", "/", body=[b"he", b"llo"])
    echo = first.json()
    assert echo["target"] == "/echo?x=1" and ["X-A", "1"] in echo["headers"] and ["x-a", "2"] in echo["headers"]
    assert echo["body_bytes"] == 5 and second.json()["body_sha256"] == echo["body_sha256"]
    assert second.json()["number"] == 1 and origin.connection_count == 1
    assert origin.wait_requests(2)[0].raw_head.startswith(b"POST /echo?x=1 HTTP/1.1\r\nHost: example.test\r\n")


@pytest.mark.parametrize("path", ["/bytes/100000", "/chunked/100000?piece=777", "/to-close/100000", "/delay/20/bytes/100000",
                                  "/slow/100000?piece=50000&ms=1"])
def test_origin_sends_bodies(origin, path):
    with http1.connect(origin.port) as connection:
        assert connection.exchange("GET", path).body == body_of(100000)


def test_origin_statuses_trailers_and_lazy_reading(origin):
    with http1.connect(origin.port) as connection:
        for code in (200, 204, 304, 404, 500):
            assert connection.exchange("GET", f"/status/{code}").status == code
        assert connection.exchange("GET", "/chunked/10?trailer=t").trailers == [("X-Trailer", "t")]
        assert connection.exchange("POST", "/lazy?piece=10&ms=1", body=b"x" * 50).json()["body_bytes"] == 50
        assert connection.exchange("POST", "/early/413", body=b"x" * 50).status == 413
        assert connection.exchange("GET", "/last").header("Connection") == "close"
        assert connection.is_closed()


@pytest.mark.parametrize("path", ["/cut/1000?sent=10", "/cut/1000?sent=10&chunked=1", "/reset", "/close"])
def test_cut_bodies_are_seen(origin, path):
    with http1.connect(origin.port) as connection, pytest.raises(http1.Closed):
        connection.exchange("GET", path)


def test_origin_sends_raw_bytes_and_garbage(origin):
    answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"
    for path, expected in ((raw_path(answer), answer.encode()), ("/garbage", b"\x00\x01\x02garbage")):
        with http1.connect(origin.port) as connection:
            connection.request("GET", path)
            assert connection.read_to_end().startswith(expected)


def test_origin_never_answers_and_drops(origin):
    with http1.connect(origin.port) as connection:
        connection.request("GET", "/never")
        origin.wait_requests(1)
        assert not connection.is_closed(timeout_s=0.2)
        origin.drop_connections()
        assert connection.is_closed()
    origin.stop()
    assert not proc.accepts(origin.port)
    origin.start()
    assert proc.accepts(origin.port)


def test_tls_client_and_certificates(make_origin, authority):
    cert = authority.issue("example.test", "*.example.test", "127.0.0.1", key="RSA2048", ends=timedelta(days=5))
    origin = make_origin("secure", certificate=cert)
    with tls.connect(origin.port, ca_file=authority.cert_file, minimum="1.3") as connection:
        assert connection.exchange("GET", "/bytes/70000").body == body_of(70000)
        assert connection.sock.version() == "TLSv1.3"
        seen = connection.certificate
    assert seen["names"] == sorted(cert.names)
    assert abs(seen["not_after"] - seen["not_before"] - 5 * 86400 - 3600) < 60
    code, output = tls.s_client(origin.port, "example.test", "-tls1_2", "-CAfile", str(authority.cert_file))
    assert code == 0 and "Verify return code: 0 (ok)" in output


def test_expired_certificate_is_refused(make_origin, authority):
    cert = authority.issue("example.test", starts=timedelta(days=-9), ends=timedelta(days=-1))
    origin = make_origin("expired", certificate=cert)
    with pytest.raises(Exception, match="expired"):
        tls.connect(origin.port, ca_file=authority.cert_file)


def test_process_that_dies_is_reported_with_its_log(folder):
    process = proc.Process("dies", [sys.executable, "-c", "print('last words'); raise SystemExit(3)"], folder)
    with pytest.raises(proc.HarnessError, match="(?s)ended with 3.*last words"):
        process.wait_ready(lambda: False, "never")
    process.kill()


def test_orphans_are_found_and_ended(folder):
    """What a daemon does: the middle process ends, its child lives on."""
    subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"], check=True)
    is_there = ["sleep 1000"]  # a process that is being executed has no command yet
    proc.wait_until(lambda: [proc.command_of(pid) for pid in set(proc.children()) - proc.kept] == is_there, "the orphan")
    left = proc.end_leftovers(leaving_s=0)
    assert len(left) == 1 and "sleep 1000" in left[0]
    assert proc.end_leftovers() == []


FAKE = """#!/usr/bin/python3
import os, signal, socket, sys, time
if "status" in sys.argv: print('{"ready": true}'); sys.exit(0)
print("started", *sys.argv[1:], flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(CODE))
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"STATUS=x\\nREADY=1", os.environ["NOTIFY_SOCKET"])
print("REPORT", flush=True)
while True: time.sleep(10)
"""


@pytest.fixture
def fake_build(folder, monkeypatch):
    """A build with a program that behaves like ferrule towards the harness."""

    def make(code=0, report="-"):
        path = folder / "build" / "src" / "boot" / "ferrule"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE.replace("CODE", str(code)).replace("REPORT", report))
        path.chmod(0o755)
        monkeypatch.setenv("FERRULE_BUILD", str(folder / "build"))

    return make


def test_ferrule_runner(fake_build, ferrule, origin):
    fake_build()
    proxy = ferrule.http(origin)
    assert proxy.notified() and proxy.status() == {"ready": True}
    assert "run -c" in proxy.log and f'url = "{origin.url}"' in proxy.config_file.read_text()
    proxy.restart()
    proxy.stop()


@pytest.mark.parametrize("code, report", [(7, "-"), (0, "==1==ERROR: AddressSanitizer: heap-use-after-free")])
def test_ferrule_runner_complains(fake_build, folder, code, report):
    fake_build(code, report)
    proxy = Ferrule(folder / "f", "").start()
    with pytest.raises(AssertionError, match="ended with 7|sanitizer"):
        proxy.stop()


def test_another_client_gets_a_certificate(folder, bind, pebble):
    """lego through the same servers: if this works and ferrule fails, the fault is ferrule's."""
    lego = shutil.which("lego")
    if not lego:
        pytest.skip("lego is not installed")
    env = {**os.environ, **bind.rfc2136_env(), "LEGO_CA_CERTIFICATES": str(pebble.ca_file), "RFC2136_POLLING_INTERVAL": "1",
           "RFC2136_SEQUENCE_INTERVAL": "1"}
    with HastyCa(pebble) as ca:
        result = subprocess.run([lego, "--server", ca.directory_url, "--accept-tos", "--email", "a@edge.test", "--path",
                                 str(folder / "lego"), "--dns", "rfc2136", "--dns.disable-cp", "--dns.resolvers", bind.address,
                                 "--domains", "demo.edge.test", "--domains", "*.demo.edge.test", "run"],
                                env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    cert = folder / "lego" / "certificates" / "demo.edge.test.crt"
    assert tls.describe(cert.read_text())["names"] == ["*.demo.edge.test", "demo.edge.test"]
    assert pebble.issued() == 1 and bind.all_txt() == {}
    verified = subprocess.run(["openssl", "verify", "-CAfile", pebble.roots_file(), "-untrusted", cert, cert],
                              capture_output=True, text=True)
    assert verified.returncode == 0, verified.stderr
