# SPDX-License-Identifier: Apache-2.0
"""`ferrule upgrade`: another program takes over, and no client notices."""

import contextlib
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from lib import config
from lib.ferrule import program
from lib.http1 import Closed, connect
from lib.origin import body_of
from lib.proc import accepts, children, command_of, free_port, is_alive, wait_until
from lib.wrk import Wrk

HOST = "example.test"


@pytest.fixture
def binary(folder):
    """A program of this test's own, to be replaced."""
    path = folder / "program" / "ferrule"
    path.parent.mkdir()
    shutil.copy(program(), path)
    return path


def install(path, content):
    """Puts another file in the place of the running program."""
    new = path.with_name("new")
    if isinstance(content, str):
        new.write_text(content)
    else:
        shutil.copy(content, new)
    new.chmod(0o755)
    os.replace(new, path)


def data_processes(proxy):
    return [pid for pid in children(proxy.process.pid) if is_alive(pid) and " data-run" in command_of(pid)]


def upgrade(proxy, expect=0):
    result = proxy.cli("upgrade", timeout_s=120)
    assert result.returncode == expect, result.stdout + result.stderr + proxy.log[-3000:]
    return result.stdout + result.stderr


def wait_generation(proxy, number):
    """Waits until control is there and has heard from the supervisor how many upgrades there were."""
    wait_until(lambda: proxy.cli("status").returncode == 0 and proxy.status()["upgrades"]["generation"] == number, f"generation {number}")


def rewrite(proxy, *changes, append=""):
    text = proxy.config_file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    proxy.config_file.write_text(text + append)


# --- it works -----------------------------------------------------------------------------------------------------


def test_upgrade_under_load_fails_no_request(ferrule, nginx, certificate, binary):
    """With kept connections and with a new one for each request, over HTTP and TLS; the pid stays."""
    proxy = ferrule.both(nginx, certificates=[certificate], binary=binary)
    web, tls = (f"{scheme}://127.0.0.1:{proxy.port(name)}/64" for scheme, name in (("http", "web"), ("https", "websecure")))
    loads = [Wrk(web, 16), Wrk(web, 8, more=["-H", "Connection: close"]), Wrk(tls, 8, more=["-H", f"Host: {HOST}"])]
    wait_until(lambda: proxy.counters()["requests"] > 200, "load is there")
    supervisor = proxy.process.pid
    for round_ in range(3):
        before = data_processes(proxy)
        install(binary, program())
        assert "serves" in upgrade(proxy)
        wait_until(lambda: proxy.counters()["requests"] > 200, "the new process serves the load")
        assert set(data_processes(proxy)) - set(before)
        assert proxy.status()["upgrades"] == {"generation": round_ + 1, "attempts": round_ + 1, "error": None}
    for load in loads:
        requests, failures = load.finish()
        assert failures == "" and requests > 0
    assert proxy.status()["pid"] == supervisor == proxy.process.pid
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data processes have finished")
    assert proxy.get_tls("/64", HOST, "websecure").status == 200


@pytest.mark.asan
def test_what_has_begun_ends_where_it_began(ferrule, origin):
    proxy = ferrule.http(origin)
    with proxy.connect() as loading, proxy.connect() as uploading, proxy.connect() as idle, proxy.connect() as fresh:
        assert idle.exchange("GET", "/bytes/1").status == 200
        loading.request("GET", "/slow/4000?piece=100&ms=60")
        head = loading.read_head()
        uploading.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\n12345")
        wait_until(lambda: len(origin.requests) == 3, "both run")
        before = data_processes(proxy)
        upgrade(proxy)
        assert set(before) <= set(data_processes(proxy)) and len(data_processes(proxy)) == 2
        wait_until(lambda: listening_fds(before[0], proxy.port()) == 0, "the one before has heard of it")
        assert proxy.get("/bytes/9").body == body_of(9)
        # Clients of before get another answer, which asks them to come again.
        for client in (idle, fresh):
            answer = client.exchange("GET", "/bytes/20")
            assert answer.body == body_of(20) and answer.header("Connection") == "close" and client.is_closed()
        uploading.send("67890")
        assert uploading.read_response().json()["body_bytes"] == 10
        assert loading.read_exactly(int(head.header("Content-Length"))) == body_of(4000)
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data process has finished")
    assert data_processes(proxy) != before


@pytest.mark.asan
def test_worker_count_and_entry_points_change(ferrule, nginx):
    """More workers, then fewer: no connection that waits in a queue is lost."""
    proxy = ferrule.http(nginx, workers=1)
    second = free_port()
    load = Wrk(f"http://127.0.0.1:{proxy.port()}/64", 16, more=["-H", "Connection: close"])
    wait_until(lambda: proxy.counters()["requests"] > 50, "load is there")
    for before, after in ((1, 3), (3, 2), (2, 1)):
        rewrite(proxy, (f"count = {before}", f"count = {after}"))
        upgrade(proxy)
        assert proxy.status()["workers"] == after
        wait_until(lambda: proxy.counters()["requests"] > 50, "the new process serves the load")
    requests, failures = load.finish()
    assert failures == "" and requests > 100
    rewrite(proxy, append=config.entrypoint("more", second) + config.router("more", "origins", entrypoints=["more"]))
    upgrade(proxy)
    with connect(second) as client:
        assert client.exchange("GET", "/64", HOST).status == 200
    rewrite(proxy, (config.entrypoint("more", second) + config.router("more", "origins", entrypoints=["more"]), ""))
    upgrade(proxy)
    wait_until(lambda: not accepts(second), "the entry point is gone")


def test_signal_and_what_systemd_is_told(ferrule, origin):
    proxy = ferrule.http(origin, env={"WATCHDOG_USEC": "2000000"})
    proxy.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: proxy.notified(f"MAINPID={proxy.process.pid}"), "the new program is ready")
    assert proxy.notifications.index("RELOADING=1") < proxy.notifications.index(f"MAINPID={proxy.process.pid}")
    assert proxy.notifications.count("READY=1") == 2
    fed = proxy.notifications.count("WATCHDOG=1")
    wait_until(lambda: proxy.notified() and proxy.notifications.count("WATCHDOG=1") > fed, "the watchdog is fed")
    assert proxy.get("/bytes/5").body == body_of(5)
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data process has finished")


def test_lock_tickets_and_reload_after_an_upgrade(ferrule, origin, certificate):
    proxy = ferrule.https(origin, certificates=[certificate])
    upgrade(proxy)
    second = ferrule.http(origin, extra=f'[state]\ndirectory = "{proxy.state_folder}"', start=False)
    second.start(wait=False)
    assert second.process.wait_exit() == 1 and f"process {proxy.process.pid}" in second.process.log
    second.stop(expect=1)
    rewrite(proxy, ("PathPrefix(`/`)", "PathPrefix(`/other`)"))
    assert proxy.cli("reload").returncode == 0
    wait_until(lambda: proxy.get_tls("/bytes/1", HOST).status == 404, "the new configuration is in use")
    proxy.wait_respawn("data", proxy.kill("data"))
    wait_until(lambda: accepts(proxy.port()), "data is back")
    proxy.wait_respawn("control", proxy.kill("control"))
    wait_generation(proxy, 1)


# --- it is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content, words", [
    ("#!/bin/sh\necho 'cannot load libexample.so' >&2\nexit 127\n", "cannot load libexample.so"),
    ("#!/bin/sh\nexit 3\n", "exit code 3"),
    ("#!/bin/sh\nkill -SEGV $$\n", "signal 11"),
    ("this is no program", "cannot"),
    (None, "ferrule"),
])
def test_broken_program_is_refused(ferrule, origin, binary, content, words):
    proxy = ferrule.http(origin, binary=binary)
    before = sorted(proxy.processes())
    if content is None:
        binary.unlink()
    else:
        install(binary, content)
    with proxy.connect() as client:
        assert client.exchange("GET", "/bytes/1").status == 200
        said = upgrade(proxy, expect=1)
        assert words in said and "nothing changed" in said
        assert words in proxy.log and "upgrade refused" in proxy.log
        assert client.exchange("GET", "/bytes/2").status == 200
    assert sorted(proxy.processes()) == before
    assert words in proxy.status()["upgrades"]["error"]
    install(binary, program())
    upgrade(proxy)
    assert proxy.status()["upgrades"] == {"generation": 1, "attempts": 2, "error": None}


def test_bad_configuration_is_refused(ferrule, origin):
    proxy = ferrule.http(origin)
    before = sorted(proxy.processes())
    rewrite(proxy, append="\n[http.routers.bad]\nrule = 'Path(`/x`)'\nservice = \"nowhere\"\n")
    said = upgrade(proxy, expect=1)
    assert "nowhere" in said and "nothing changed" in said
    assert sorted(proxy.processes()) == before and proxy.get("/bytes/1").status == 200


@pytest.mark.asan
def test_way_back_when_the_new_program_cannot_start(ferrule, origin):
    """What the check cannot see: a port of the new configuration is taken."""
    proxy = ferrule.http(origin)
    before = data_processes(proxy)
    listening = listening_fds(before[0], proxy.port())
    good = proxy.config_file.read_text()
    with socket.create_server(("127.0.0.1", 0)) as other, proxy.connect() as client:
        assert client.exchange("GET", "/bytes/1").status == 200
        taken = other.getsockname()[1]
        rewrite(proxy, append=config.entrypoint("taken", taken))
        said = upgrade(proxy, expect=1)
        assert 'entry point "taken"' in said and f":{taken}" in said
        assert data_processes(proxy) == before
        assert client.exchange("GET", "/bytes/2").status == 200
        assert proxy.get("/bytes/3").status == 200
    assert proxy.status()["upgrades"]["generation"] == 0
    proxy.config_file.write_text(good.replace("PathPrefix(`/`)", "PathPrefix(`/other`)"))
    wait_until(lambda: proxy.cli("reload").returncode == 0, "control is back")
    wait_until(lambda: proxy.get("/bytes/1").status == 404, "the old program reloads")
    assert listening > 0 and listening_fds(before[0], proxy.port()) == listening  # none was given again
    proxy.config_file.write_text(good)
    upgrade(proxy)
    wait_until(lambda: proxy.get("/bytes/1").status == 200, "the new one serves")
    assert data_processes(proxy) != before
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data process has finished")


def control_processes(proxy):
    return [pid for pid in children(proxy.process.pid) if is_alive(pid) and " control-run" in command_of(pid)]


def listening_sockets(port):
    """The sockets that listen on the IPv4 port, as their descriptors' links name them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}


def listening_fds(pid, port):
    """How many descriptors of the process are sockets that listen on the IPv4 port."""
    sockets = listening_sockets(port)
    return sum(link in sockets for link in open_files(pid))


def open_files(pid):
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(fd))
    return links


def begin_upgrade(proxy):
    """An upgrade whose new data process is stopped before it is ready; returns its pid. The old control
    ends only after that (it is stopped meanwhile), so the new data process cannot have been ready."""
    before = data_processes(proxy)
    control = proxy.kill("control", signal.SIGSTOP)
    proxy.process.send_signal(signal.SIGUSR2)
    new = wait_until(lambda: [pid for pid in data_processes(proxy) if pid not in before], "a new data process", interval_s=0.001)[0]
    os.kill(new, signal.SIGSTOP)
    return new, control


def let_control_commit(proxy, control):
    """The old control ends, the new one has the supervisor take its plan over."""
    with contextlib.suppress(ProcessLookupError):  # it was given up: it has 5 s
        os.kill(control, signal.SIGCONT)
    wait_until(lambda: control_processes(proxy) not in ([], [control]), "a new control process")
    wait_until(lambda: proxy.cli("status").returncode == 0, "the new control answers")
    wait_until(proxy.notified, "all is read")
    told = proxy.notifications.count("READY=1")
    assert proxy.cli("reload").returncode == 0
    # Told by the message behind the one that commits.
    wait_until(lambda: proxy.notified() and proxy.notifications.count("READY=1") > told, "the reload is over")


@pytest.mark.parametrize("ends", ["nobody", "older data process", "previous data process"])
@pytest.mark.asan
def test_way_back_after_sockets_and_processes_have_gone(ferrule, origin, ends):
    """What the program from before left is still there, also what the new one does not need: sockets of an
    entry point that is gone, channels of processes that end meanwhile."""
    second = free_port()
    more = config.entrypoint("more", second) + config.router("more", "origins", entrypoints=["more"])
    proxy = ferrule.http(origin, extra=more)
    good = proxy.config_file.read_text()
    listening = listening_sockets(second)
    with proxy.connect() as loading:
        loading.request("GET", "/slow/100000?piece=10&ms=50")
        loading.read_head()
        older = data_processes(proxy)
        upgrade(proxy)
        previous = [pid for pid in data_processes(proxy) if pid not in older]
        rewrite(proxy, (more, ""))
        new, control = begin_upgrade(proxy)
        if ends == "older data process":
            loading.close()
            wait_until(lambda: older[0] not in children(proxy.process.pid), "the older data process has ended")
        elif ends == "previous data process":
            os.kill(previous[0], signal.SIGKILL)
            wait_until(lambda: previous[0] not in children(proxy.process.pid), "the previous data process is gone")
        let_control_commit(proxy, control)
        proxy.config_file.write_text(good)  # or the control of the program from before has the entry point go
        os.kill(new, signal.SIGKILL)
        proxy.wait_log("the program from before goes on after a failed upgrade")
        wait_until(lambda: new not in children(proxy.process.pid), "the way back")
        wait_generation(proxy, 1)
        assert accepts(second) and listening_sockets(second) == listening != set()  # the same ones
        assert proxy.get("/bytes/1").status == 200
        if ends == "previous data process":
            assert previous[0] not in data_processes(proxy)
        else:
            assert previous[0] in data_processes(proxy)
        assert (older[0] in data_processes(proxy)) == (ends != "older data process")
    wait_until(lambda: proxy.cli("reload").returncode == 0, "it reloads")
    with connect(second) as client:
        assert client.exchange("GET", "/bytes/3", HOST).status == 200
    upgrade(proxy)
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data processes have finished")
    with connect(second) as client:
        assert client.exchange("GET", "/bytes/3", HOST).status == 200


@pytest.mark.asan
def test_never_two_controls_when_the_way_back_fails(ferrule, origin, binary):
    """The program from before cannot be executed any more while its control is still ending."""
    proxy = ferrule.http(origin, binary=binary)
    kept = binary.with_name("kept")
    os.link(binary, kept)
    install(binary, program())
    new, control = begin_upgrade(proxy)
    kept.chmod(0)
    os.kill(new, signal.SIGKILL)
    proxy.wait_log("the program from before cannot be executed")
    wait_until(lambda: [pid for pid in control_processes(proxy) if pid != control], "a new control process", interval_s=0.001)
    assert not is_alive(control)
    wait_generation(proxy, 1)
    assert len(control_processes(proxy)) == 1
    assert proxy.get("/bytes/1").status == 200
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data process has finished")


# --- processes that die, stops, many upgrades ---------------------------------------------------------------------


def test_new_processes_killed_during_the_handover(ferrule, nginx):
    """Whatever is killed and when: ferrule serves, and the next upgrade succeeds."""
    proxy = ferrule.http(nginx)
    for role in ("data-run", "control-run", "data-run"):
        family = set(proxy.processes())
        proxy.process.send_signal(signal.SIGUSR2)

        def newcomer():
            return [pid for pid in children(proxy.process.pid) if pid not in family and f" {role}" in command_of(pid)]

        os.kill(wait_until(newcomer, f"a new {role}", interval_s=0.001)[0], signal.SIGKILL)
        wait_until(lambda: proxy.cli("status").returncode == 0 and accepts(proxy.port()), "ferrule is there")

        def answered():
            try:
                return proxy.get("/64").status == 200
            except (OSError, Closed):
                return False

        wait_until(answered, "it serves")
    wait_until(lambda: proxy.cli("upgrade", timeout_s=120).returncode == 0, "an upgrade succeeds")
    assert proxy.get("/64").status == 200
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data processes have finished")


def test_old_data_process_killed_while_it_drains(ferrule, origin):
    proxy = ferrule.http(origin)
    with proxy.connect() as loading:
        loading.request("GET", "/slow/100000?piece=10&ms=50")
        loading.read_head()
        old = data_processes(proxy)[0]
        upgrade(proxy)
        os.kill(old, signal.SIGKILL)
        with pytest.raises(Closed):
            loading.read_exactly(100000)
    wait_until(lambda: len(data_processes(proxy)) == 1, "it is gone")
    assert proxy.get("/bytes/1").status == 200
    assert "starting it again" not in proxy.log


def test_stop_while_an_old_process_drains(ferrule, origin):
    """SIGTERM reaches all of them; what runs gets the grace time."""
    proxy = ferrule.http(origin)
    with proxy.connect() as loading:
        loading.request("GET", "/slow/2000?piece=100&ms=50")
        head = loading.read_head()
        upgrade(proxy)
        assert len(data_processes(proxy)) == 2
        proxy.process.send_signal(signal.SIGTERM)
        assert loading.read_exactly(int(head.header("Content-Length"))) == body_of(2000)
    assert proxy.process.wait_exit() == 0


def test_stop_during_an_upgrade(ferrule, origin):
    proxy = ferrule.http(origin)
    proxy.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "is being checked" in proxy.log, "the upgrade has begun")
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait_exit() == 0
    wait_until(lambda: not accepts(proxy.port()), "it listens no more")


def test_drain_has_an_end(ferrule, origin):
    proxy = ferrule.http(origin, extra='[upgrade]\ndrainTimeout = "1s"\n')
    with proxy.connect() as loading:
        loading.request("GET", "/slow/100000?piece=10&ms=20")
        loading.read_head()
        started = time.monotonic()
        upgrade(proxy)
        with pytest.raises(Closed):
            loading.read_exactly(100000)
        assert time.monotonic() - started > 0.9
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data process has ended")


def test_access_log_is_opened_anew_by_all(ferrule, origin, folder):
    """SIGUSR1 reaches the data processes of before, too: after an upgrade and during one."""
    path = folder / "access.log"
    proxy = ferrule.http(origin, extra=f'[accessLog]\nfilePath = "{path}"\n')
    with proxy.connect() as loading:
        loading.request("GET", "/slow/100000?piece=10&ms=50")
        loading.read_head()
        upgrade(proxy)
        new, control = begin_upgrade(proxy)
        serving = [pid for pid in data_processes(proxy) if pid != new]
        assert len(serving) == 2
        wait_until(lambda: all(str(path) in open_files(pid) for pid in serving), "both write")
        path.rename(folder / "access.1")
        proxy.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: not any(str(folder / "access.1") in open_files(pid) for pid in serving), "nobody writes into the old file")
        wait_until(path.exists, "the new file")
        os.kill(new, signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.kill(control, signal.SIGCONT)
        wait_until(lambda: proxy.log.count("upgraded: ferrule") == 2, "the upgrade is over")
    wait_until(lambda: '"GET /slow/100000' in path.read_text(), "the line of what began first")
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data processes have finished")


@pytest.mark.asan
def test_number_of_generations_is_bounded(ferrule, origin):
    proxy = ferrule.http(origin)
    clients = []
    for _ in range(6):
        client = proxy.connect()
        client.request("GET", "/slow/100000?piece=10&ms=50")
        client.read_head()
        clients.append(client)
        upgrade(proxy)
        assert len(data_processes(proxy)) <= 5
    assert len(data_processes(proxy)) == 5 and "the oldest is ended" in proxy.log
    for client in clients:
        client.close()
    wait_until(lambda: len(data_processes(proxy)) == 1, "the old data processes have finished")
    assert proxy.get("/bytes/1").status == 200
