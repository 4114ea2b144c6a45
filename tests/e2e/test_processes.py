# SPDX-License-Identifier: Apache-2.0
"""The processes: what is left when one is killed, how ferrule stops, what it says when it cannot start."""

import errno
import os
import re
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from lib import activate, config, seccomp
from lib.http1 import Closed, connect
from lib.origin import body_of
from lib.proc import accepts, cpu_s, free_port, is_alive, wait_until
from lib.wrk import Wrk

HOST = "example.test"


def answers_again(proxy, timeout_s=30):
    """Seconds until a request on a connection of its own is answered with 200."""
    started = time.monotonic()

    def answered():
        try:
            with connect(proxy.port("web"), timeout_s=timeout_s) as client:
                return client.exchange("GET", "/64", HOST).status == 200
        except (OSError, Closed):
            return False

    wait_until(answered, "service again", timeout_s)
    return time.monotonic() - started


def test_processes_have_names(ferrule, origin):
    """What ps and top show."""
    proxy = ferrule.http(origin)
    for role in ("data", "control"):
        assert Path(f"/proc/{proxy.pid_of(role)}/comm").read_text() == f"ferrule-{role}\n"


# --- killed processes -------------------------------------------------------------------------------------------


def test_data_killed_under_load(ferrule, nginx, certificate):
    """Service is back within two seconds (one of three kills may hit a machine that stalls)."""
    proxy = ferrule.both(nginx, certificates=[certificate])
    load = Wrk(f"http://127.0.0.1:{proxy.port('web')}/64")
    took = []
    for _ in range(3):
        wait_until(lambda: proxy.counters()["requests"] > 100, "load is there")
        pid = proxy.kill("data")
        took.append(answers_again(proxy))
        assert proxy.wait_respawn("data", pid) != pid
    requests, _ = load.finish()
    assert sorted(took)[1] < 2, f"service after {took} s"
    assert requests > 300
    assert proxy.get_tls("/64", HOST, "websecure").body == body_of(64)  # the certificates are there, too
    assert "was killed by signal 9" in proxy.log


def test_data_killed_during_a_download(ferrule, origin):
    """What clients got must not look whole; those that come afterwards are served."""
    proxy = ferrule.http(origin)
    with proxy.connect() as length, proxy.connect() as chunked:
        length.request("GET", "/slow/100000?piece=1000&ms=50")
        chunked.request("GET", "/delay/100/chunked/100000")
        length.read_head()
        pid = proxy.kill("data")
        for client in (length, chunked):
            with pytest.raises(Closed):
                client.read_exactly(1000000)
    proxy.wait_respawn("data", pid)
    assert proxy.get("/bytes/10").body == body_of(10)


def test_control_killed_under_load(ferrule, nginx, certificate):
    """No request notices; control comes back and is told what it needs to know."""
    proxy = ferrule.both(nginx, certificates=[certificate])
    data = proxy.pid_of("data")
    load = Wrk(f"http://127.0.0.1:{proxy.port('web')}/64")
    for _ in range(2):
        served = proxy.counters()["requests"]
        pid = proxy.kill("control")
        assert proxy.get_tls("/64", HOST, "websecure").status == 200  # while there may be no control
        proxy.wait_respawn("control", pid)
        wait_until(lambda: proxy.cli("status").returncode == 0, "control answers")
        wait_until(lambda: proxy.counters()["requests"] > served, "requests go on")
    requests, failures = load.finish()
    assert failures == "" and requests > 0
    assert proxy.pid_of("data") == data, "data was restarted"
    assert proxy.get_tls("/64", HOST, "websecure").status == 200
    assert "control process was killed by signal 9" in proxy.log


def test_control_and_data_killed_together(ferrule, nginx):
    proxy = ferrule.http(nginx)
    proxy.get("/64")
    data, control = proxy.kill("data"), proxy.kill("control")
    proxy.wait_respawn("data", data)
    proxy.wait_respawn("control", control)
    answers_again(proxy)
    wait_until(lambda: proxy.cli("status").returncode == 0, "control answers")


def test_process_that_dies_again_and_again_is_restarted_more_slowly(ferrule, nginx):
    proxy = ferrule.http(nginx)
    for _ in range(4):
        proxy.wait_respawn("control", proxy.kill("control"))
    waits = [int(ms) for ms in re.findall(r"control process was killed .* in (\d+) ms", proxy.log)]
    assert waits == [0, 100, 200, 400]
    assert proxy.get("/64").status == 200


@pytest.mark.asan
def test_supervisor_killed(ferrule, nginx):
    """Its children end with it, and another ferrule can start at once on the same state and port."""
    proxy = ferrule.http(nginx)
    with proxy.connect() as client:
        assert client.exchange("GET", "/64").status == 200
        family = list(proxy.processes())
        assert len(family) == 2
        os.kill(proxy.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, family)), "the children have ended")
        assert client.is_closed()
    proxy.stop(expect=-signal.SIGKILL)
    proxy.start()  # at once: the kernel may not have closed yet what the dead process accepted on
    assert proxy.get("/64").status == 200


# --- stopping ---------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "ferrule stop"])
def test_stop_finishes_what_is_running(ferrule, origin, certificate, how):
    proxy = ferrule.both(origin, certificates=[certificate])
    with (proxy.connect("web") as idle, proxy.connect_tls(HOST, "websecure") as idle_tls, proxy.connect("web") as waiting,
          proxy.connect_tls(HOST, "websecure") as loading, proxy.connect("web") as uploading, proxy.connect("web") as fresh):
        assert idle.exchange("GET", "/").status == idle_tls.exchange("GET", "/").status == 200
        waiting.request("GET", "/held/bytes/70000")
        loading.request("GET", "/slow/3000?piece=100&ms=50")
        head = loading.read_head()
        uploading.send(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\n12345")
        wait_until(lambda: len(origin.requests) == 5, "all requests run")
        if how == "ferrule stop":
            assert proxy.cli("stop").returncode == 0
        else:
            proxy.process.send_signal(signal.Signals[how])
        assert idle.read_to_end() == b"" and idle_tls.read_to_end() == b"" and fresh.read_to_end() == b""
        wait_until(lambda: not accepts(proxy.port("web")), "no more connections are accepted")
        assert is_alive(proxy.process.pid)
        uploading.send("67890")
        assert uploading.read_response().json()["body_bytes"] == 10
        origin.let_go()
        assert loading.read_exactly(int(head.header("Content-Length"))) == body_of(3000)
        last = waiting.read_response()
        assert last.body == body_of(70000) and last.header("Connection") == "close" and waiting.is_closed()
    assert proxy.process.wait_exit() == 0


@pytest.mark.asan
def test_stop_has_an_end(ferrule, origin):
    """Requests that do not end are cut off when the grace time is over, and the exit code is still good."""
    proxy = ferrule.http(origin, entry='[entryPoints.web.transport.lifeCycle]\ngraceTimeOut = "1s"')
    with proxy.connect() as never, proxy.connect() as loading:
        never.request("GET", "/never")
        loading.request("GET", "/slow/100000?piece=10&ms=20")
        loading.read_head()
        wait_until(lambda: len(origin.requests) == 2, "both run")
        started = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        with pytest.raises(Closed):
            never.read_response()
        with pytest.raises(Closed):
            loading.read_exactly(100000)
        assert 0.9 < time.monotonic() - started
        assert proxy.process.wait_exit() == 0


def test_second_sigterm_does_not_wait(ferrule, origin):
    proxy = ferrule.http(origin, entry='[entryPoints.web.transport.lifeCycle]\ngraceTimeOut = "1h"')
    with proxy.connect() as never:
        never.request("GET", "/never")
        wait_until(lambda: origin.requests, "it runs")
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: proxy.notified("STOPPING=1"), "it stops")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.process.wait_exit()


def test_stop_under_load_fails_no_request(ferrule, nginx):
    """Clients that read Connection: close and connect anew only meet a closed port afterwards, no cut answer."""
    proxy = ferrule.http(nginx)
    clients = [proxy.connect() for _ in range(16)]
    for client in clients:
        assert client.exchange("GET", "/1m").status == 200
    for client in clients:
        client.request("GET", "/1m")
    wait_until(lambda: proxy.counters()["requests"] == 32, "all requests have arrived")
    proxy.process.send_signal(signal.SIGTERM)
    for client in clients:
        assert client.read_response().body == body_of(1 << 20)
        client.close()
    assert proxy.process.wait_exit() == 0


# --- the admin socket -------------------------------------------------------------------------------------------


def test_admin_socket_without_descriptors(ferrule, origin):
    """A client that cannot be accepted waits; control does not spin, and answers when there is a descriptor."""
    proxy = ferrule.http(origin)
    control = proxy.pid_of("control")
    limits = resource.prlimit(control, resource.RLIMIT_NOFILE)
    resource.prlimit(control, resource.RLIMIT_NOFILE, (3, limits[1]))
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(60)
        admin.connect(str(proxy.admin_socket))
        admin.sendall(b'{"command":"status"}\n')
        proxy.wait_log("the admin socket cannot accept")
        before = cpu_s(control)
        time.sleep(2)  # what is measured is the work in a time
        assert cpu_s(control) - before < 0.5
        assert proxy.get("/").status == 200
        resource.prlimit(control, resource.RLIMIT_NOFILE, limits)
        assert admin.recv(1) == b"{"


# --- systemd ----------------------------------------------------------------------------------------------------


def test_notifications(ferrule, origin):
    proxy = ferrule.http(origin, env={"WATCHDOG_USEC": "200000"})
    assert proxy.notified("READY=1") and accepts(proxy.port())
    wait_until(lambda: proxy.notified("WATCHDOG=1"), "the watchdog is fed")
    with proxy.connect() as client:
        client.request("GET", "/delay/500/bytes/1")
        wait_until(lambda: origin.requests, "the request runs")
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: proxy.notified("STOPPING=1"), "STOPPING=1")
        assert client.read_response().status == 200
    assert proxy.process.wait_exit() == 0


@pytest.mark.asan
def test_socket_activation(ferrule, origin):
    """Sockets that systemd opened are used instead of the configured address; they outlive ferrule."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        given, configured = listener.getsockname()[1], free_port()
        text = "\n".join([config.entrypoint("web", configured), config.router("all", "origins"), config.service("origins", origin.url)])
        proxy = ferrule(text, {"web": given}, wrapper=activate.wrapper(["web"], [listener.fileno()]), pass_fds=[listener.fileno()])
        assert not accepts(configured)
        assert [proxy.get("/bytes/10").body for _ in range(8)] == [body_of(10)] * 8
        proxy.wait_respawn("data", proxy.kill("data"))
        assert proxy.get("/bytes/10").body == body_of(10)
        proxy.stop()
        with proxy.connect() as client:  # nobody accepts, but the connection waits in systemd's socket
            client.request("GET", "/bytes/20")
            proxy.start()
            assert client.read_response().body == body_of(20)


@pytest.mark.parametrize("names, given", [(["web", "other"], 2), (["other"], 1)])
def test_sockets_of_other_names_are_left_alone(ferrule, origin, names, given):
    """An entry point without a socket of its name opens its own."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(given)]
    numbers = [listener.fileno() for listener in listeners]
    proxy = ferrule.http(origin, wrapper=activate.wrapper(names, numbers), pass_fds=numbers)
    assert accepts(proxy.port()) == ("web" not in names)
    with connect(listeners[0].getsockname()[1]) as client:
        client.request("GET", "/")
        if "web" in names:
            assert client.read_response().status == 200
        else:
            assert not client.is_closed(timeout_s=0.2)
    for listener in listeners:
        listener.close()


# --- what keeps it from starting ----------------------------------------------------------------------------------


def refused(proxy):
    """Runs it to its end: (exit code, what it said); it never said that it was ready."""
    proxy.start(wait=False)
    process = proxy.process
    code = process.wait_exit()
    assert not proxy.notified(), "it said READY=1"
    proxy.stop(expect=code)
    return code, process.log


@pytest.mark.parametrize("numbers, error, words", [
    ([seccomp.IO_URING_SETUP], errno.EPERM, ["io_uring", "seccomp", "io_uring_setup", "SystemCallFilter"]),
    ([seccomp.IO_URING_SETUP], errno.ENOSYS, ["io_uring", "seccomp", "io_uring_setup"]),
    ([seccomp.IO_URING_REGISTER], errno.EPERM, ["io_uring", "seccomp", "io_uring_register"]),
    ([seccomp.IO_URING_ENTER], errno.EPERM, ["io_uring", "seccomp", "io_uring_enter"]),
    ([seccomp.IO_URING_SETUP], errno.ENOMEM, ["io_uring", "RLIMIT_MEMLOCK"]),
])
def test_io_uring_refused(ferrule, origin, numbers, error, words):
    proxy = ferrule.http(origin, start=False, wrapper=seccomp.wrapper(error, *numbers))
    code, said = refused(proxy)
    assert code == 1 and len(said.strip().splitlines()) == 1, said
    for word in words:
        assert word in said, f"{word} is not in: {said}"
    assert not accepts(proxy.port())


def test_two_ferrules_on_one_state_directory(ferrule, origin):
    first = ferrule.http(origin)
    second = ferrule.http(origin, extra=f'[state]\ndirectory = "{first.state_folder}"', start=False)
    code, said = refused(second)
    assert code == 1 and f"process {first.process.pid}" in said and str(first.state_folder) in said
    assert not accepts(second.port()) and first.get("/").status == 200
    first.stop()
    second.start()
    assert second.get("/").status == 200


def test_two_ferrules_on_one_port(ferrule, origin):
    first = ferrule.http(origin)
    second = ferrule(first.config_file.read_text().replace(str(first.folder), str(first.folder) + "x"), start=False)
    (second.folder.parent / (first.folder.name + "x")).mkdir()
    code, said = refused(second)
    assert code == 1 and 'entry point "web"' in said and f":{first.port()}" in said and "another program" in said
    assert [first.get("/").status for _ in range(8)] == [200] * 8


@pytest.mark.parametrize("reuse", [False, True])
def test_port_in_use(ferrule, origin, reuse):
    """Also when the other program would let us share the port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        proxy = ferrule("\n".join([config.entrypoint("web", free_port()), config.entrypoint("used", port),
                                   config.router("all", "origins"), config.service("origins", origin.url)]), start=False)
        code, said = refused(proxy)
    assert code == 1 and 'entry point "used"' in said and f":{port}" in said and "another program listens" in said


def test_address_of_another_machine(ferrule, origin):
    proxy = ferrule("\n".join([config.entrypoint("web", free_port(), address="192.0.2.1"), config.router("all", "origins"),
                               config.service("origins", origin.url)]), start=False)
    code, said = refused(proxy)
    assert code == 1 and "192.0.2.1" in said and "not an address of this machine" in said


def test_state_directory_that_cannot_be_used(ferrule, origin, folder):
    (folder / "file").write_text("")
    proxy = ferrule.http(origin, extra=f'[state]\ndirectory = "{folder}/file"', start=False)
    code, said = refused(proxy)
    assert code == 1 and f"{folder}/file" in said and "not a directory" in said
