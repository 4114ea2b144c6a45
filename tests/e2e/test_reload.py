# SPDX-License-Identifier: Apache-2.0
"""Another configuration while all goes on: by SIGHUP, `ferrule reload`, and files that are watched."""

import json
import os
import re
import shutil
import signal
import socket
import time

import pytest

from lib import config, h2raw
from lib.http1 import connect
from lib.origin import body_of
from lib.proc import accepts, free_port, wait_until
from lib.wrk import Wrk

HOST = "example.test"
MORE = config.router("more", "origins", entrypoints=["more"])


def replace(path, text):
    """As an editor or a tool does it: another file takes the name."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def rewrite(proxy, *changes, append=""):
    text = proxy.config_file.read_text()
    for old, new in changes:
        assert old in text, f"{old} is not in the configuration"
        text = text.replace(old, new)
    replace(proxy.config_file, text + append)


def reload(proxy, expect=0):
    result = proxy.cli("reload")
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stderr


def last_reload(proxy):
    """lastReload of the status, asked without the configuration file."""
    return proxy.ask("status")["lastReload"]


def status_of(port, target="/bytes/1", host=HOST):
    with connect(port) as client:
        return client.exchange("GET", target, host).status


# --- routes, under load -------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_routes_change_and_connections_stay(ferrule, origin, make_origin):
    other = make_origin()
    proxy = ferrule.http(origin)
    with proxy.connect() as client:
        assert client.exchange("GET", "/bytes/10").body == body_of(10)
        rewrite(proxy, (origin.url, other.url))
        assert reload(proxy) == ""
        wait_until(lambda: client.exchange("GET", "/bytes/20").body == body_of(20) and other.requests, "workers have the new configuration")
        rewrite(proxy, ("PathPrefix(`/`)", "Host(`nobody.test`)"))
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.exchange("GET", "/bytes/20").status == 404, "the new route is in use")
    assert last_reload(proxy)["ok"] is True


@pytest.mark.asan
def test_download_and_upload_live_through_reloads(ferrule, origin, make_origin):
    """An exchange goes on by the configuration with which it began."""
    other = make_origin()
    proxy = ferrule.http(origin)
    with proxy.connect() as loading, proxy.connect() as uploading:
        loading.request("GET", "/slow/3000?piece=100&ms=50")
        head = loading.read_head()
        uploading.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\n12345")
        wait_until(lambda: len(origin.requests) == 2, "both run")
        for old, new in [(origin.url, other.url), (other.url, origin.url), (origin.url, other.url)]:
            rewrite(proxy, (old, new))
            reload(proxy)
        uploading.send("67890")
        assert uploading.read_response().json()["body_bytes"] == 10
        assert loading.read_exactly(int(head.header("Content-Length"))) == body_of(3000)
        wait_until(lambda: loading.exchange("GET", "/bytes/5").body == body_of(5) and other.requests, "workers have the new configuration")


def test_reload_under_load_fails_no_request(ferrule, nginx, make_nginx, certificate):
    """A reload every 100 ms, with kept connections and with a new one for each request, over HTTP and TLS."""
    other = make_nginx()
    proxy = ferrule.both(nginx, certificates=[certificate])
    web, tls = (f"{scheme}://127.0.0.1:{proxy.port(name)}/64" for scheme, name in (("http", "web"), ("https", "websecure")))
    loads = [Wrk(web, 16), Wrk(web, 8, more=["-H", "Connection: close"]), Wrk(tls, 8, more=["-H", f"Host: {HOST}"])]
    wait_until(lambda: proxy.counters()["requests"] > 200, "load is there")
    urls = [nginx.url, other.url]
    for _ in range(30):
        rewrite(proxy, (urls[0], urls[1]))
        urls.reverse()
        proxy.process.send_signal(signal.SIGHUP)
        proxy.notified()
        time.sleep(0.1)
    served = proxy.counters()["requests"]
    wait_until(lambda: proxy.counters()["requests"] > served + 100, "requests go on")
    for load in loads:
        requests, failures = load.finish()
        assert failures == "" and requests > 0
    wait_until(lambda: proxy.log.count("the configuration is in use") > 5, "reloads")
    assert "refused" not in proxy.log


def test_old_snapshots_are_freed(ferrule, origin):
    """Memory does not grow with the number of reloads."""
    routers = "\n".join(config.router(f"r{i}", "origins", f"Host(`h{i}.test`)") for i in range(500))
    proxy = ferrule.http(origin, extra=routers)
    for _ in range(5):
        reload(proxy)
    data, control = proxy.resident_kb("data"), proxy.resident_kb("control")
    for _ in range(40):
        reload(proxy)
    assert proxy.resident_kb("data") < data + 4096 and proxy.resident_kb("control") < control + 4096
    assert proxy.get("/bytes/1").status == 200


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("append, words", [
    ("\nthis is no TOML\n", "this is not TOML"),
    ("\n[http.routers.bad]\nrule = 'Path(`/x`)'\nservice = \"nowhere\"\n", "nowhere"),
    ("\n[[tls.certificates]]\ncertFile = \"/nonexistent/cert.pem\"\nkeyFile = \"/nonexistent/key.pem\"\n", "/nonexistent/cert.pem"),
    ("\n[providers.file]\nfilename = \"/nonexistent/part.toml\"\n", "/nonexistent/part.toml"),
])
def test_bad_configuration_is_refused_whole(ferrule, origin, append, words):
    """With all its errors; nothing changes, not even what is good in it."""
    proxy = ferrule.http(origin)
    good = proxy.config_file.read_text()
    replace(proxy.config_file, good.replace("PathPrefix(`/`)", "PathPrefix(`/other`)") + append)
    said = reload(proxy, expect=1)
    assert words in said and "ferrule.toml:" in said and "refused" in said and "nothing changed" in said
    assert words in proxy.log and "reload refused" in proxy.log
    last = last_reload(proxy)
    assert last["ok"] is False and last["errors"] == len(last["problems"]) > 0 and words in last["problems"][0]
    assert "refused" in proxy.cli("status").stdout
    assert proxy.get("/bytes/10").body == body_of(10)
    replace(proxy.config_file, good)
    assert reload(proxy) == ""
    assert last_reload(proxy) == {"ok": True, "at": last_reload(proxy)["at"], "errors": 0, "problems": []}


def test_all_errors_are_told_at_once(ferrule, origin):
    proxy = ferrule.http(origin)
    rewrite(proxy, append="\n[log]\nlevel = \"LOUD\"\n[http.routers.bad]\nrule = 'Path('\nservice = \"nowhere\"\n")
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: last_reload(proxy), "the reload has ended")
    assert last_reload(proxy)["errors"] == 3


def test_missing_configuration_file(ferrule, origin):
    proxy = ferrule.http(origin)
    moved = proxy.config_file.with_name("moved")
    proxy.config_file.rename(moved)
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: last_reload(proxy), "the reload has ended")
    assert last_reload(proxy)["ok"] is False and "ferrule.toml" in last_reload(proxy)["problems"][0]
    assert proxy.get("/bytes/10").status == 200
    moved.rename(proxy.config_file)
    reload(proxy)


def test_what_needs_a_restart_is_told_and_left(ferrule, origin):
    proxy = ferrule.http(origin, workers=2)
    rewrite(proxy, ("count = 2", "count = 1"), (f'socket = "{proxy.admin_socket}"', f'socket = "{proxy.admin_socket}2"'))
    said = proxy.cli("reload", "--socket", proxy.admin_socket)
    assert said.returncode == 0
    for option in ("workers.count", "admin.socket"):
        assert f"{option} takes effect at the next start or upgrade" in said.stderr
    assert f"until then it stays {proxy.admin_socket}" in said.stderr
    assert proxy.get("/bytes/10").status == 200
    state = json.loads(proxy.cli("status", "--socket", proxy.admin_socket, "--json").stdout)
    assert state["workers"] == 2 and state["lastReload"]["ok"] is True
    # A control that is started anew must not take them over either.
    pid = proxy.kill("control")
    proxy.wait_respawn("control", pid)
    wait_until(lambda: proxy.cli("status", "--socket", proxy.admin_socket).returncode == 0, "control answers")
    assert json.loads(proxy.cli("status", "--socket", proxy.admin_socket, "--json").stdout)["workers"] == 2
    proxy.stop()
    proxy.start()
    assert json.loads(proxy.cli("status", "--json").stdout)["workers"] == 1


# --- entry points -------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_entry_point_is_added_moved_and_removed(ferrule, origin):
    proxy = ferrule.http(origin)
    first, second, third = proxy.port(), free_port(), free_port()
    base = proxy.config_file.read_text()
    replace(proxy.config_file, base + config.entrypoint("more", second) + MORE)
    reload(proxy)
    assert status_of(second) == 200 and status_of(first) == 200
    with connect(second) as idle, connect(second) as busy, connect(first) as other:
        assert idle.exchange("GET", "/bytes/1", HOST).status == 200 and other.exchange("GET", "/bytes/1", HOST).status == 200
        replace(proxy.config_file, base + config.entrypoint("more", third) + MORE)
        reload(proxy)
        assert status_of(third) == 200
        wait_until(lambda: not accepts(second), "the old address is refused")
        assert idle.exchange("GET", "/bytes/2", HOST).status == 200, "the entry point is there, only not its address"
        busy.request("GET", "/delay/700/bytes/30", HOST)
        wait_until(lambda: origin.requests[-1].target.startswith("/delay"), "it runs")
        replace(proxy.config_file, base)
        reload(proxy)
        wait_until(lambda: not accepts(third), "the entry point is gone")
        assert idle.read_to_end() == b""
        assert busy.read_response().body == body_of(30) and busy.is_closed()
        assert other.exchange("GET", "/bytes/2", HOST).status == 200
    for _ in range(20):  # descriptors and slots come back
        replace(proxy.config_file, base + config.entrypoint("more", second) + MORE)
        reload(proxy)
        assert status_of(second) == 200
        replace(proxy.config_file, base)
        reload(proxy)
        wait_until(lambda: not accepts(second), "it is gone again")
    data = proxy.pid_of("data")
    wait_until(lambda: len(os.listdir(f"/proc/{data}/fd")) < 60, "no descriptor is left over")


def rename(proxy, old, new):
    rewrite(proxy, (f"[entryPoints.{old}]", f"[entryPoints.{new}]"), (f'entryPoints = ["{old}"]', f'entryPoints = ["{new}"]'))
    reload(proxy)


def test_renamed_entry_point_keeps_its_socket(ferrule, nginx):
    """Not one request fails: neither on a new connection, nor on one that the old name has accepted."""
    proxy = ferrule.http(nginx)
    url = f"http://127.0.0.1:{proxy.port()}/64"
    loads = [Wrk(url, 16, more=["-H", "Connection: close"]), Wrk(url, 16)]
    wait_until(lambda: proxy.counters()["requests"] > 50, "load is there")
    names = ["web", "front"]
    for _ in range(6):
        rename(proxy, *names)
        names.reverse()
        served = proxy.counters()["requests"]
        wait_until(lambda: proxy.counters()["requests"] > served + 20, "requests go on")
    for load in loads:
        requests, failures = load.finish()
        assert requests > 50 and failures == ""


@pytest.mark.asan
def test_renamed_entry_point_keeps_its_connections(ferrule, origin, certificate):
    """Between requests, within one, before the first and before its end; they count under the new name."""
    metrics = free_port()
    proxy = ferrule.both(origin, certificates=[certificate], extra=config.entrypoint("traefik", metrics) + "[metrics.prometheus]\n")
    with proxy.connect() as plain, proxy.connect() as busy, proxy.connect() as half, proxy.connect() as fresh, \
            proxy.connect_tls(HOST, "websecure") as secure, h2raw.connect(proxy.port("websecure")) as h2:
        for client in (plain, secure):
            assert client.exchange("GET", "/bytes/1", HOST).status == 200
        assert h2.exchange("GET", "/bytes/1").status == 200
        busy.request("GET", "/delay/700/bytes/30", HOST)
        slow = h2.open("GET", "/delay/700/bytes/31")
        half.send("GET /bytes/2 HTTP/1.1\r\n")
        wait_until(lambda: sum(r.target.startswith("/delay") for r in origin.requests) == 2, "they run")
        for old, new in (("web", "front"), ("websecure", "secure"), ("front", "last")):
            rename(proxy, old, new)
        half.send(f"Host: {HOST}\r\n\r\n")
        assert half.read_response().body == body_of(2)
        assert busy.read_response().body == body_of(30) and h2.wait(slow).body == body_of(31)
        for client in (plain, busy, half, fresh, secure):
            assert client.exchange("GET", "/bytes/3", HOST).body == body_of(3)
        assert h2.exchange("GET", "/bytes/4").body == body_of(4)

        def open_now():
            with connect(metrics) as client:
                text = client.exchange("GET", "/metrics", HOST).body.decode()
            found = re.findall(r'^traefik_open_connections{entrypoint="(\w+)".*} (\d+)$', text, re.M)
            return {name: int(n) for name, n in found if name != "traefik"}

        wait_until(lambda: open_now() == {"last": 4, "secure": 2}, "they count under the new names")


@pytest.mark.parametrize("reuse", [False, True])
def test_port_taken_refuses_the_reload(ferrule, origin, reuse):
    proxy = ferrule.http(origin)
    good, new = proxy.config_file.read_text(), free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        replace(proxy.config_file, good.replace("PathPrefix(`/`)", "PathPrefix(`/other`)") + config.entrypoint("more", new) + config.entrypoint("taken", taken))
        said = reload(proxy, expect=1)
        assert 'entry point "taken"' in said and f":{taken}" in said and "another program listens" in said
        assert not accepts(new), "a part of it took effect"
        assert proxy.get("/bytes/10").status == 200
        assert last_reload(proxy)["ok"] is False
    reload(proxy)
    assert accepts(new) and accepts(taken) and proxy.get("/other/bytes/10").status != 404


def test_control_starts_anew_with_another_configuration(ferrule, origin):
    """Control that died comes back with what the files say then; while they are bad, all goes on as before."""
    proxy = ferrule.http(origin)
    good, second = proxy.config_file.read_text(), free_port()
    replace(proxy.config_file, "this is no TOML")
    proxy.kill("control")
    wait_until(lambda: "ended with exit code 1" in proxy.log, "control does not start")
    assert proxy.get("/bytes/10").status == 200
    replace(proxy.config_file, good + config.entrypoint("more", second) + MORE)
    wait_until(lambda: accepts(second), "control is back and has opened the new entry point")
    wait_until(lambda: proxy.cli("status").returncode == 0, "control answers")
    assert status_of(second) == 200 and proxy.get("/bytes/10").status == 200


def test_data_starts_anew_after_reloads(ferrule, origin):
    proxy = ferrule.http(origin)
    second = free_port()
    rewrite(proxy, append=config.entrypoint("more", second) + MORE)
    reload(proxy)
    proxy.wait_respawn("data", proxy.kill("data"))
    wait_until(lambda: accepts(second), "it listens")
    assert status_of(second) == 200 and proxy.get("/bytes/1").status == 200


# --- certificates, log level, systemd -----------------------------------------------------------------------------


def test_certificates_come_and_go(ferrule, origin, authority):
    first, second = authority.issue("one.test"), authority.issue("two.test")
    proxy = ferrule.https(origin, certificates=[first])
    both = proxy.config_file.read_text() + config.certificate(second)

    def names():
        return sorted(name for c in proxy.json("cert", "list")["certificates"] if c["source"] == "provided" for name in c["names"])

    assert proxy.get_tls("/bytes/1", "one.test", ca_file=authority.cert_file).status == 200
    replace(proxy.config_file, both)
    reload(proxy)
    assert names() == ["one.test", "two.test"]
    proxy.wait_served("two.test", authority.cert_file)
    replace(proxy.config_file, both.replace(config.certificate(first), ""))
    reload(proxy)
    assert names() == ["two.test"]
    assert proxy.json("cert", "explain", "--sni", "one.test")["matched"] == ""
    replace(proxy.config_file, both)
    reload(proxy)
    for name in ("one.test", "two.test"):
        proxy.wait_served(name, authority.cert_file)


def test_log_level_changes(ferrule, origin):
    proxy = ferrule.http(origin)
    rewrite(proxy, append='\n[log]\nlevel = "ERROR"\n')
    reload(proxy)
    before = len(proxy.log)
    reload(proxy)
    assert len(proxy.log) == before
    rewrite(proxy, ('level = "ERROR"', 'level = "DEBUG"'))
    reload(proxy)
    reload(proxy)
    assert "the configuration is in use" in proxy.log[before:]


def test_systemd_is_told(ferrule, origin):
    proxy = ferrule.http(origin)
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.notified("RELOADING=1"), "RELOADING=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in proxy.notifications)
    wait_until(lambda: proxy.notified() and proxy.notifications.count("READY=1") == 2, "READY=1 again")
    replace(proxy.config_file, "bad = ")
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.notified("STATUS=Serving; last reload refused"), "the refusal")
    assert proxy.notifications.count("READY=1") == 3


def ask_for_reload(proxy):
    """Without waiting for the answer."""
    admin = socket.socket(socket.AF_UNIX)
    admin.connect(str(proxy.admin_socket))
    admin.sendall(b'{"command":"reload"}\n')
    return admin


def test_systemd_is_told_when_control_dies_during_a_reload(ferrule, origin):
    proxy = ferrule.http(origin)
    rewrite(proxy, ("count = 2", "count = 3"))
    proxy.process.send_signal(signal.SIGSTOP)  # the reload waits for the supervisor's answer
    with ask_for_reload(proxy):
        proxy.wait_log("workers.count takes effect")  # said behind the message that it has begun
        control = proxy.kill("control")
        assert not proxy.notified("RELOADING=1")
        proxy.process.send_signal(signal.SIGCONT)
    wait_until(lambda: proxy.notified("RELOADING=1") and proxy.notifications.count("READY=1") == 2, "READY=1 again")
    proxy.wait_respawn("control", control)
    wait_until(lambda: proxy.cli("status").returncode == 0, "control is back")
    assert proxy.get("/bytes/1").status == 200


def test_data_that_takes_no_sockets_refuses_the_reload(ferrule, origin):
    """And nothing listens on them: clients would wait for nobody."""
    proxy = ferrule.http(origin)
    good, port = proxy.config_file.read_text(), free_port()
    data = proxy.kill("data", signal.SIGSTOP)

    def is_full():
        proxy.process.send_signal(signal.SIGUSR1)
        return "cannot tell the child process" in proxy.log

    wait_until(is_full, "the data process takes no message", interval_s=0.001)
    rewrite(proxy, append=config.entrypoint("more", port) + MORE)
    assert "does not take new listening sockets" in reload(proxy, expect=1)
    assert not accepts(port)
    os.kill(data, signal.SIGCONT)
    replace(proxy.config_file, good)
    reload(proxy)
    assert not accepts(port) and status_of(proxy.port()) == 200
    rewrite(proxy, append=config.entrypoint("more", port) + MORE)
    reload(proxy)
    assert status_of(port) == 200


def test_names_of_acme_come_and_go(ferrule, origin, bind, pebble):
    """New names are ordered at once; an order for names that stay is not asked for twice."""
    proxy = ferrule.acme(pebble, bind, origin, domains=[("one.edge.test", [])])
    wait_until(lambda: pebble.issued() == 1, "a certificate")
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "it is there")
    rewrite(proxy, append='\n[[http.routers.all.tls.domains]]\nmain = "two.edge.test"\nsans = []\n')
    reload(proxy)
    for _ in range(5):
        reload(proxy)
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 2, "the second is there")
    proxy.wait_served("two.edge.test", pebble.roots_file())
    rewrite(proxy, ('main = "one.edge.test"', 'main = "three.edge.test"'))
    reload(proxy)
    wait_until(lambda: proxy.status()["orders"] == {**proxy.status()["orders"], "wanted": 2, "obtained": 2}, "the third is there")
    proxy.wait_served("three.edge.test", pebble.roots_file())
    assert pebble.issued() == 3
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


def test_storage_moves(ferrule, origin, bind, pebble):
    """A copy of the store takes its place; then an empty one does, and the certificate is ordered again."""
    proxy = ferrule.acme(pebble, bind, origin, domains=[("one.edge.test", [])])
    proxy.wait_served("one.edge.test", pebble.roots_file())
    old = next((proxy.config_file.parent.parent).rglob("acme.json"))
    copy = old.with_name("copy.json")
    shutil.copy(old, copy)
    rewrite(proxy, (str(old), str(copy)))
    reload(proxy)
    assert proxy.status()["orders"]["obtained"] == 1
    proxy.wait_served("one.edge.test", pebble.roots_file())
    assert pebble.issued() == 1
    rewrite(proxy, (str(copy), str(old.with_name("empty.json"))))
    reload(proxy)
    wait_until(lambda: pebble.issued() == 2, "another certificate")
    proxy.wait_served("one.edge.test", pebble.roots_file())


# --- watched files ------------------------------------------------------------------------------------------------


def dynamic(origin, prefix="/"):
    return config.router("all", "origins", f"PathPrefix(`{prefix}`)") + config.service("origins", origin.url)


def watching(ferrule, key, path, more=""):
    port = free_port()
    return ferrule(config.entrypoint("web", port) + f'[providers.file]\n{key} = "{path}"\n{more}', {"web": port})


@pytest.mark.asan
def test_watched_file(ferrule, origin, folder):
    """Written in place, replaced, half written and mended."""
    part = folder / "part.toml"
    part.write_text(dynamic(origin, "/bytes"))
    proxy = watching(ferrule, "filename", part)
    assert proxy.get("/bytes/1").status == 200 and proxy.get("/echo").status == 404
    replace(part, dynamic(origin, "/echo"))
    wait_until(lambda: proxy.get("/echo").status == 200, "the replaced file is in use")
    part.write_text(dynamic(origin, "/bytes")[:-20])
    wait_until(lambda: last_reload(proxy)["ok"] is False, "the half written file is refused")
    assert proxy.get("/echo").status == 200
    with part.open("a") as file:
        file.write(dynamic(origin, "/bytes")[-20:])
    wait_until(lambda: proxy.get("/bytes/1").status == 200, "the mended file is in use")
    part.unlink()
    wait_until(lambda: last_reload(proxy)["ok"] is False, "a missing file is refused")
    assert proxy.get("/bytes/1").status == 200
    part.write_text(dynamic(origin, "/echo"))
    wait_until(lambda: proxy.get("/echo").status == 200, "the file that came back is in use")


def test_watched_folder(ferrule, origin, folder):
    parts = folder / "parts"
    (parts / "sub").mkdir(parents=True)
    (parts / "a.toml").write_text(dynamic(origin, "/bytes"))
    proxy = watching(ferrule, "directory", parts)
    assert proxy.get("/bytes/1").status == 200 and proxy.get("/echo").status == 404
    (parts / "b.toml").write_text(config.router("b", "origins", "PathPrefix(`/echo`)"))
    wait_until(lambda: proxy.get("/echo").status == 200, "a new file is in use")
    (parts / "sub" / "c.toml").write_text(config.router("c", "origins", "Path(`/64`)"))
    wait_until(lambda: proxy.get("/64").status != 404, "a new file below is in use")
    (parts / "b.toml").unlink()
    wait_until(lambda: proxy.get("/echo").status == 404, "a file that went is not")


def test_watched_folder_behind_a_symbolic_link(ferrule, origin, folder):
    """As Kubernetes swaps the content of a ConfigMap."""
    mount = folder / "mount"
    for version, prefix in (("v1", "/bytes"), ("v2", "/echo")):
        (mount / version).mkdir(parents=True)
        (mount / version / "part.toml").write_text(dynamic(origin, prefix))
    (mount / "..data").symlink_to("v1")
    (mount / "part.toml").symlink_to("..data/part.toml")
    proxy = watching(ferrule, "filename", mount / "part.toml")
    assert proxy.get("/bytes/1").status == 200
    (mount / "..data_tmp").symlink_to("v2")
    os.rename(mount / "..data_tmp", mount / "..data")
    wait_until(lambda: proxy.get("/echo").status == 200, "the other folder's file is in use")


def test_watch_can_be_switched_off_and_on(ferrule, origin, folder):
    part = folder / "part.toml"
    part.write_text(dynamic(origin, "/bytes"))
    proxy = watching(ferrule, "filename", part, "watch = false\n")
    replace(part, dynamic(origin, "/echo"))
    rewrite(proxy, append="\n[log]\nlevel = \"DEBUG\"\n")  # the static file is never watched
    assert "loaded again" not in proxy.log
    reload(proxy)
    wait_until(lambda: proxy.get("/echo").status == 200, "workers have the new configuration")
    rewrite(proxy, ("watch = false", "watch = true"))
    reload(proxy)
    replace(part, dynamic(origin, "/bytes"))
    wait_until(lambda: proxy.get("/bytes/1").status == 200, "the change is in use")
