# SPDX-License-Identifier: Apache-2.0
"""Large bodies and tunnels between plain sockets, which the kernel moves through pipes: every byte, every end and every
limit as when they are copied."""

import contextlib
import errno
import hashlib
import os
import socket
import threading
import time

import pytest

from lib import config, http1, seccomp
from lib.hostile import timeouts
from lib.http1 import Closed
from lib.origin import body_of
from lib.peer import Peer
from lib.proc import free_port, wait_until

pytestmark = pytest.mark.asan

MB = 1 << 20
LIMIT = 128 << 10  # so much has to be left
SPLICE = {"x86_64": 275, "aarch64": 76}[os.uname().machine]  # the system call
FEW = ["prlimit", "--nofile=400:400"]  # descriptors for five pipes or so
WAIT_S = 90


@pytest.fixture
def proxy(ferrule, origin):
    return ferrule.http(origin, workers=1)


@pytest.fixture
def peer(nothing_left_running):
    server = Peer()
    yield server
    server.stop()


def spliced(proxy):
    return proxy.counters()["bytes_spliced"]


def slow_client(proxy):
    """One whose receiving buffer is small and stays so."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.settimeout(WAIT_S)
    sock.connect(("127.0.0.1", proxy.port()))
    return http1.Connection(sock)


def ask(client, target):
    client.send(f"GET {target} HTTP/1.1\r\nHost: example.test\r\n\r\n")


def wait_settled(proxy, held):
    """Until so many pipes are filled, with as many receivers that take nothing."""
    def settled():
        before = proxy.counters()
        time.sleep(0.1)
        after = proxy.counters()
        same = all(before[name] == after[name] for name in ("bytes_spliced", "bytes_out", "pipes_now"))
        return same and after["pipes_now"] >= held and after["bytes_spliced"] > 0
    wait_until(settled, f"{held} pipes are full", timeout_s=WAIT_S)


def wait_no_connection(proxy):
    """None of clients; nor is anything of one left but kept connections to servers."""
    def closed():
        now = proxy.counters()
        return now["conns_now"] == 0 and now["slots_now"] == now["upconns_now"] and now["blocks_now"] == 0
    wait_until(closed, "all is closed")


def threads(*functions):
    """Runs them at once; raises the first failure."""
    failures = []

    def one(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)
    all_of_them = [threading.Thread(target=one, args=(function,)) for function in functions]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    if failures:
        raise failures[0]


def send_until_told(connection, body):
    """Sends until the other side takes no more."""
    with contextlib.suppress(OSError):
        connection.send(body)


# --- responses ------------------------------------------------------------------------------------------------------


def test_sizes(proxy, origin):
    """On one connection, which stays good, and so does the one to the server."""
    sizes = [LIMIT - 1, LIMIT, LIMIT + 1, 65536 + LIMIT, 2 * LIMIT, MB - 1, MB, 5, 50 * MB, 0, MB + 1]
    with proxy.connect(timeout_s=WAIT_S) as client:
        for size in sizes:
            answer = client.exchange("GET", f"/bytes/{size}")
            assert (answer.status, len(answer.body)) == (200, size) and answer.body == body_of(size)
        done = proxy.counters()
        assert 25 * MB < done["bytes_spliced"] < sum(sizes)
        assert done["pipes_now"] == 1
        assert sum(sizes) < done["bytes_out"] < sum(sizes) + 10000
    assert origin.connection_count == 1


def test_pipelined_behind_a_body(proxy, origin):
    with proxy.connect(timeout_s=WAIT_S) as client:
        for target in ("/bytes/8000000", "/bytes/7", "/chunked/300000", "/bytes/3000000"):
            ask(client, target)
        for size in (8000000, 7, 300000, 3000000):
            assert client.read_response().body == body_of(size)
    assert spliced(proxy) > 4 * MB
    assert origin.connection_count == 1


def test_head_takes_no_body(proxy, origin):
    with proxy.connect() as client:
        for _ in range(2):
            assert client.exchange("HEAD", "/bytes/8000000").body == b""
    assert spliced(proxy) == 0


def test_reader_that_stops(proxy, origin):
    """It holds one pipe, and nothing else grows; then it gets the rest."""
    with slow_client(proxy) as client:
        ask(client, f"/bytes/{64 * MB}")
        wait_settled(proxy, held=1)
        stalled = proxy.counters()
        assert stalled["pipes_now"] == 1 and stalled["bytes_spliced"] - stalled["bytes_out"] <= 256 << 10
        assert stalled["bytes_spliced"] < 32 * MB
        assert proxy.get("/bytes/3000000").body == body_of(3000000)
        assert client.read_response().body == body_of(64 * MB)
        assert client.exchange("GET", "/bytes/10").body == body_of(10)
    wait_no_connection(proxy)


def test_more_readers_than_pipes(ferrule, origin):
    """Those that find none get their bodies through buffers."""
    proxy = ferrule.http(origin, workers=1, wrapper=FEW)
    clients = [slow_client(proxy) for _ in range(12)]
    for client in clients:
        ask(client, f"/bytes/{12 * MB}")
    wait_settled(proxy, held=1)
    most = proxy.counters()["pipes_now"]
    assert 1 <= most <= 6
    whole = body_of(12 * MB)

    def read(client):
        assert client.read_response().body == whole
        client.close()
    threads(*(lambda client=client: read(client) for client in clients))
    assert proxy.counters()["pipes_now"] <= 6
    wait_no_connection(proxy)


def test_server_in_small_pieces(proxy, origin):
    """Too little at once for pipes: the rest comes through buffers."""
    assert proxy.get("/slow/400000?piece=4000&ms=2").body == body_of(400000)
    assert proxy.get("/slow/3000000?piece=300000&ms=20").body == body_of(3000000)
    wait_no_connection(proxy)


@pytest.mark.parametrize("sent", [3 * MB, 8 * MB - 1])
def test_server_that_dies(proxy, origin, sent):
    """The client must not take what it got for whole."""
    with proxy.connect(timeout_s=WAIT_S) as client:
        ask(client, f"/cut/{8 * MB}?sent={sent}")
        with pytest.raises(Closed):
            client.read_response()
    done = proxy.wait_counter("aborted", 1)
    assert done["bytes_spliced"] > 0
    assert proxy.get("/bytes/3000000").body == body_of(3000000)
    wait_no_connection(proxy)


def test_server_that_stalls(ferrule, origin):
    times = "[http.serversTransports.t.forwardingTimeouts]\nbodyTimeout = \"1s\""
    proxy = ferrule.http(origin, workers=1, service='serversTransport = "t"', extra=times)
    with proxy.connect(timeout_s=WAIT_S) as client:
        ask(client, "/slow/6000000?piece=3000000&ms=60000")
        with pytest.raises(Closed):
            client.read_response()
    proxy.wait_counter("aborted", 1)
    wait_until(lambda: proxy.counters()["upconns_now"] == 0, "the server's connection is closed")


def test_client_that_goes(proxy, origin):
    for end in ("close", "reset"):
        with slow_client(proxy) as client:
            ask(client, f"/bytes/{64 * MB}")
            client.read_exactly(300000)
            wait_settled(proxy, held=1)
            getattr(client, end)()
        wait_no_connection(proxy)
        assert proxy.counters()["pipes_now"] == 0  # what was not sent went with its pipe
    assert proxy.get("/bytes/3000000").body == body_of(3000000)


def test_client_that_takes_nothing(ferrule, origin):
    proxy = ferrule.http(origin, workers=1, extra=timeouts("web", idleTimeout="1s"))
    with slow_client(proxy) as client:
        ask(client, f"/bytes/{64 * MB}")
        proxy.wait_counter("timeouts", 1, timeout_s=WAIT_S)
        with pytest.raises(Closed):
            client.read_response()
    wait_no_connection(proxy)
    assert proxy.counters()["pipes_now"] == 0


def test_drain_lets_a_body_end(proxy, origin):
    with slow_client(proxy) as client:
        ask(client, f"/bytes/{32 * MB}")
        wait_settled(proxy, held=1)
        ending = threading.Thread(target=proxy.stop)
        ending.start()
        body = client.read_response().body
        ending.join()
    assert body == body_of(32 * MB)


def test_kernel_that_refuses(ferrule, origin):
    """No splice(2): everything goes through buffers."""
    proxy = ferrule.http(origin, workers=1, wrapper=seccomp.wrapper(errno.EPERM, SPLICE))
    assert proxy.get("/bytes/3000000").body == body_of(3000000)
    assert spliced(proxy) == 0


# --- requests -------------------------------------------------------------------------------------------------------


def test_uploads(proxy, origin):
    with proxy.connect(timeout_s=WAIT_S) as client:
        for size in (LIMIT, 65536 + LIMIT, 20 * MB, 3):
            body = body_of(size)
            told = client.exchange("POST", "/echo", body=body).json()
            assert told["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert spliced(proxy) > 10 * MB
    assert origin.connection_count == 1


def test_request_behind_an_upload(proxy, origin):
    """What follows a body is not taken with it."""
    with proxy.connect(timeout_s=WAIT_S) as client:
        body = body_of(8 * MB)
        sender = threading.Thread(target=client.send, args=(
            f"POST /echo HTTP/1.1\r\nHost: example.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            + b"GET /bytes/7 HTTP/1.1\r\nHost: example.test\r\n\r\n",))
        sender.start()
        assert client.read_response().json()["body_sha256"] == hashlib.sha256(body).hexdigest()
        assert client.read_response().body == body_of(7)
        sender.join()
    assert spliced(proxy) > 0


def test_upload_that_ends_early(proxy, origin):
    with proxy.connect(timeout_s=WAIT_S) as client:
        client.send(f"POST /echo HTTP/1.1\r\nHost: example.test\r\nContent-Length: {20 * MB}\r\n\r\n")
        client.send(body_of(10 * MB))
        proxy.wait_counter("bytes_spliced", 1)
        client.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(Closed):
            client.read_response()
    wait_no_connection(proxy)
    assert not any(request.complete for request in origin.requests)


def test_answer_before_the_upload_is_over(proxy, origin):
    with proxy.connect(timeout_s=WAIT_S) as client:
        body = body_of(8 * MB)
        client.send(f"POST /early/413 HTTP/1.1\r\nHost: example.test\r\nContent-Length: {len(body)}\r\n\r\n")
        sender = threading.Thread(target=send_until_told, args=(client, body))
        sender.start()
        assert client.read_response().status == 413
        client.sock.shutdown(socket.SHUT_RDWR)
        sender.join()
    assert proxy.get("/bytes/3000000").body == body_of(3000000)


# --- tunnels --------------------------------------------------------------------------------------------------------


def tcp(ferrule, peer, more=""):
    port = free_port()
    service = config.tcp_service("s", peer.address, more='serversTransport = "t"')
    transport = '[tcp.serversTransports.t]\nterminationDelay = "60s"'
    return ferrule("\n".join([config.entrypoint("tcp", port, more=more), config.tcp_router("all", "s"), service, transport]),
                   {"tcp": port}, workers=1)


def send_all(connection, body):
    for at in range(0, len(body), MB):
        connection.send(body[at:at + MB])


def both_ways(client, server, size):
    """So much each way at once."""
    up, down = body_of(size), body_of(size)[::-1]
    got = {}
    threads(lambda: send_all(client, up), lambda: send_all(server, down),
            lambda: got.update(up=server.read_exactly(size)), lambda: got.update(down=client.read_exactly(size)))
    assert got["up"] == up and got["down"] == down


def test_tcp_both_ways(ferrule, peer):
    proxy = tcp(ferrule, peer)
    client = proxy.connect(timeout_s=WAIT_S)
    server = peer.accept()
    server.sock.settimeout(WAIT_S)
    both_ways(client, server, 50 * MB)
    assert spliced(proxy) > 20 * MB
    for _ in range(40):  # as talkative as before
        client.send(b"ping")
        assert server.read_exactly(4) == b"ping"
        server.send(b"pong")
        assert client.read_exactly(4) == b"pong"
    both_ways(client, server, 4 * MB)
    client.sock.shutdown(socket.SHUT_WR)
    assert server.is_closed()
    client.close()
    server.close()
    wait_no_connection(proxy)


def test_urgent_data(ferrule, peer):
    """A byte that is not part of the stream stops splice for good: the tunnel goes on all the same, without turning in circles."""
    proxy = tcp(ferrule, peer)
    client = slow_client(proxy)
    server = peer.accept()
    server.sock.settimeout(WAIT_S)

    def send():
        server.send(body_of(32 * MB))
        server.sock.send(b"!", socket.MSG_OOB)
        server.send(body_of(8 * MB))
    sender = threading.Thread(target=send)
    sender.start()
    wait_settled(proxy, held=1)
    begun = proxy.counters()["steps"]
    assert client.read_exactly(40 * MB) == body_of(32 * MB) + body_of(8 * MB)
    sender.join()
    assert proxy.counters()["steps"] - begun < 40 * MB // 1448  # as if each packet had come alone
    client.close()
    server.close()
    wait_no_connection(proxy)


def test_urgent_data_before_the_end(ferrule, peer):
    """Where urgent data stands, splice sees the end when that has come, though there is more before it."""
    proxy = tcp(ferrule, peer)
    client = slow_client(proxy)
    server = peer.accept()
    server.sock.settimeout(WAIT_S)
    server.send(b"hello")
    assert client.read_exactly(5) == b"hello"

    def send():
        server.send(body_of(32 * MB))
        server.sock.send(b"!", socket.MSG_OOB)
        server.send(body_of(100 << 10))
        server.sock.shutdown(socket.SHUT_WR)
    threads(send, lambda: client.read_exactly(32 * MB))
    assert client.read_exactly(100 << 10) == body_of(100 << 10)
    assert client.is_closed()
    client.close()
    server.close()
    wait_no_connection(proxy)


def test_half_closed(ferrule, peer):
    """The end arrives behind the last byte, each way."""
    proxy = tcp(ferrule, peer)
    client = proxy.connect(timeout_s=WAIT_S)
    server = peer.accept()
    server.sock.settimeout(WAIT_S)

    def up():
        send_all(client, body_of(16 * MB))
        client.sock.shutdown(socket.SHUT_WR)
    threads(up, lambda: server.read_exactly(16 * MB))
    assert server.is_closed()

    def down():
        send_all(server, body_of(16 * MB))
        server.close()
    got = {}
    threads(down, lambda: got.update(body=client.read_exactly(16 * MB)))
    assert got["body"] == body_of(16 * MB)
    assert client.is_closed()
    wait_no_connection(proxy)


def test_tunnel_that_is_reset(ferrule, peer):
    proxy = tcp(ferrule, peer)
    client = slow_client(proxy)
    server = peer.accept()
    sender = threading.Thread(target=send_until_told, args=(server, body_of(64 * MB)))
    sender.start()
    wait_settled(proxy, held=1)
    client.reset()
    wait_no_connection(proxy)
    sender.join()
    assert proxy.counters()["pipes_now"] == 0


def test_upgrade(ferrule, peer):
    port = free_port()
    proxy = ferrule("\n".join([config.entrypoint("web", port), config.router("all", "s"), config.service("s", f"http://{peer.address}")]),
                    {"web": port}, workers=1)
    client = proxy.connect(timeout_s=WAIT_S)
    client.send("GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: bulk\r\n\r\n")
    server = peer.accept()
    server.sock.settimeout(WAIT_S)
    while server.read_line():
        pass
    server.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bulk\r\n\r\n")
    assert client.read_line().startswith(b"HTTP/1.1 101")
    while client.read_line():
        pass
    both_ways(client, server, 16 * MB)
    assert spliced(proxy) > 4 * MB
    client.close()
    server.close()
    wait_no_connection(proxy)
