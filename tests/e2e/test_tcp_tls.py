# SPDX-License-Identifier: Apache-2.0
"""TLS to TCP servers: verified by default, with everything that tcp.serversTransports can say about it."""

import contextlib
import re
import socket
import ssl
import threading
from pathlib import Path

import pytest

from lib import config
from lib.http1 import Closed, Connection
from lib.origin import body_of
from lib.peer import Peer, read_header
from lib.proc import free_port, wait_until

NAME = "backend.test"


def servers(*addresses, more='serversTransport = "t"'):
    """A TCP service "s" whose servers speak TLS."""
    text = f"[tcp.services.s.loadBalancer]\n{more}\n"
    return text + "".join(f'[[tcp.services.s.loadBalancer.servers]]\naddress = "{address}"\ntls = true\n' for address in addresses)


def transport(tls="", more=""):
    return f"[tcp.serversTransports.t]\n{more}\n[tcp.serversTransports.t.tls]\n{tls}\n"


@pytest.fixture
def trust(authority):
    """The lines of a transport that trusts our CA and expects NAME."""
    return f'rootCAs = ["{authority.cert_file}"]\nserverName = "{NAME}"\n'


@pytest.fixture
def run(ferrule):
    """One entry point whose connections go to the service "s"; router: more of the router."""
    def make(*pieces, tls=None, rule="HostSNI(`*`)", **options):
        port = free_port()
        options.setdefault("workers", 1)
        return ferrule("\n".join([config.entrypoint("tcp", port), config.tcp_router("all", "s", rule, tls=tls), *pieces]), {"tcp": port}, **options)
    return make


@pytest.fixture
def peer(nothing_left_running):
    server = Peer()
    yield server
    server.stop()


def nginx_tls(make_nginx, cert, more="", **options):
    return make_nginx(f"ssl_certificate {cert.cert_file}; ssl_certificate_key {cert.key_file}; {more}", tls=True, **options)


def address_of(server):
    return f"127.0.0.1:{server.port}"


def accept_tls(peer, cert, before=lambda connection: None):
    """Accepts and shakes hands in a thread of its own; returns what gives the connection then."""
    result = []

    def shake():
        connection = peer.accept()
        before(connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.load_cert_chain(cert.cert_file, cert.key_file)
        connection.sock = context.wrap_socket(connection.sock, server_side=True, suppress_ragged_eofs=False)
        result.append(connection)

    thread = threading.Thread(target=shake)
    thread.start()

    def wait():
        thread.join()
        return result[0]
    return wait


class Exactly:
    """Reads from a socket and takes not a byte more."""

    def __init__(self, sock):
        self.sock = sock

    def read_exactly(self, count):
        data = b""
        while len(data) < count:
            data += (more := self.sock.recv(count - len(data)))
            assert more
        return data

    def read_line(self, what):
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.read_exactly(1)
        return line[:-2]


def unwrap(sock):
    """Says close_notify, and waits for the other side's."""
    with contextlib.suppress(OSError):
        sock.unwrap()


def refused(proxy, *words):
    """The client is closed, and one log line has all these words."""
    with proxy.connect() as client:
        assert client.is_closed()
    wait_until(lambda: any(all(word in line for word in words) for line in proxy.log.splitlines()), f"a log line with {words}")


# --- verified -------------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_bytes_both_ways(run, make_nginx, authority, trust, version):
    nginx = nginx_tls(make_nginx, authority.issue(NAME), f"ssl_protocols {version};")
    proxy = run(servers(address_of(nginx)), transport(trust))
    for _ in range(3):
        with proxy.connect() as client:
            assert client.exchange("GET", "/1m").body == body_of(1 << 20)
            assert client.exchange("GET", "/64").body == body_of(64)
    counters = wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["upconns_now"] == 0 and c, "all is closed")
    assert counters["upstream_connects"] == 3 and counters["upstream_failed"] == 0


def test_refused_servers(run, make_nginx, authority, trust, folder):
    """A CA that is not trusted, another name, what speaks no TLS; each one's reason is logged."""
    nginx = nginx_tls(make_nginx, authority.issue(NAME))
    plain = make_nginx()
    refused(run(servers(address_of(nginx)), transport(f'serverName = "{NAME}"')), address_of(nginx), "unknown CA")
    refused(run(servers(address_of(nginx), more="")), address_of(nginx), "unknown CA")
    refused(run(servers(address_of(nginx)), transport(trust.replace(NAME, "other.test"))), "other.test", "other names")
    refused(run(servers(address_of(nginx)), transport(f'rootCAs = ["{authority.cert_file}"]')), "127.0.0.1", "other names")
    refused(run(servers(address_of(plain)), transport(trust)), address_of(plain), "failed")


def test_name_of_the_address(run, make_nginx, authority):
    """Without serverName the name, or the address, that the server is configured by."""
    for host in ("localhost", "127.0.0.1"):
        nginx = nginx_tls(make_nginx, authority.issue(host), 'location = /who { return 200 "[$ssl_server_name][$ssl_alpn_protocol]"; }')
        proxy = run(servers(f"{host}:{nginx.port}"), transport(f'rootCAs = ["{authority.cert_file}"]'))

        def who():
            with proxy.connect() as client, contextlib.suppress(Closed):
                client.send("GET /who HTTP/1.0\r\n\r\n")
                return client.read_to_end().partition(b"\r\n\r\n")[2].decode()
        answer = wait_until(who, "the name was resolved")
        assert answer == ("[localhost][]" if host == "localhost" else "[][]"), "no protocol is offered, and no address as a name"


def test_unverified_when_asked_for(run, make_nginx, authority):
    nginx = nginx_tls(make_nginx, authority.issue("other.test"))
    with run(servers(address_of(nginx)), transport("insecureSkipVerify = true")).connect() as client:
        assert client.exchange("GET", "/64").body == body_of(64)


def test_certificate_is_shown(run, make_nginx, authority, trust):
    ours = authority.issue("proxy.test", use="clientAuth")
    nginx = nginx_tls(make_nginx, authority.issue(NAME), f"ssl_client_certificate {authority.cert_file}; ssl_verify_client on; "
                      'location = /who { return 200 "$ssl_client_verify"; }')
    pair = f'[[tcp.serversTransports.t.tls.certificates]]\ncertFile = "{ours.cert_file}"\nkeyFile = "{ours.key_file}"\n'
    with run(servers(address_of(nginx)), transport(trust + pair)).connect() as client:
        assert client.exchange("GET", "/who").body == b"SUCCESS"
    with run(servers(address_of(nginx)), transport(trust)).connect() as client:
        assert client.exchange("GET", "/who").status == 400


# --- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_each_side_may_end_first(run, peer, authority, trust):
    """An end is told in TLS, and the other side may go on."""
    cert = authority.issue(NAME)
    proxy = run(servers(peer.address), transport(trust, more='terminationDelay = "20s"'))
    for first in ("client", "server"):
        wait = accept_tls(peer, cert)
        client = proxy.connect()
        server = wait()
        client.send(b"a" * 100000)
        assert server.read_exactly(100000) == b"a" * 100000
        if first == "client":
            client.sock.shutdown(socket.SHUT_WR)
            assert server.sock.recv(1) == b"", "close_notify"
            server.send(b"b" * 100000)
            assert client.read_exactly(100000) == b"b" * 100000
            server.close()
            assert client.is_closed()
        else:
            server.send(b"bye")
            thread = threading.Thread(target=unwrap, args=[server.sock])
            thread.start()
            assert client.read_to_end() == b"bye"
            client.close()
            thread.join()
        wait_until(lambda: (c := proxy.counters())["tunnels_now"] == 0 and c["upconns_now"] == 0, "all is closed")


def test_end_without_close_notify(run, peer, authority, trust):
    """Many servers just close. All they sent arrives before the end."""
    proxy = run(servers(peer.address), transport(trust))
    wait = accept_tls(peer, authority.issue(NAME))
    client = proxy.connect()
    server = wait()
    server.send(b"z" * 300000)
    server.sock.shutdown(socket.SHUT_WR)
    assert client.read_to_end() == b"z" * 300000


@pytest.mark.asan
def test_broken_records_reset_the_client(run, peer, authority, trust):
    """What is not what the server sent never looks like its end."""
    proxy = run(servers(peer.address), transport(trust))
    raw = []
    wait = accept_tls(peer, authority.issue(NAME), before=lambda connection: raw.append(Connection(connection.sock.dup())))
    client = proxy.connect()
    wait().send(b"good")
    assert client.read_exactly(4) == b"good"
    raw[0].sock.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)


# --- beside the rest ------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_tls_on_both_sides(run, make_nginx, authority, trust):
    """Terminated and begun again."""
    nginx = nginx_tls(make_nginx, authority.issue(NAME))
    front = authority.issue("front.test")
    proxy = run(servers(address_of(nginx)), transport(trust), config.certificate(front), tls="", rule="HostSNI(`front.test`)")
    with proxy.connect_tls("front.test", ca_file=authority.cert_file) as client:
        assert client.exchange("GET", "/1m", "front.test").body == body_of(1 << 20)


@pytest.mark.parametrize("version", [1, 2])
def test_proxy_header_comes_before_tls(run, peer, authority, trust, version):
    proxy = run(servers(peer.address), transport(trust, more=f"proxyProtocol = {{ version = {version} }}"))
    told = []
    wait = accept_tls(peer, authority.issue(NAME), before=lambda connection: told.append(read_header(Exactly(connection.sock))))
    client = proxy.connect()
    client.send(b"x")
    assert wait().read_exactly(1) == b"x"
    assert told == [(version, "127.0.0.1", client.sock.getsockname()[1], proxy.port())]


def test_handshake_has_the_time_to_dial(run, peer, make_nginx, authority, trust):
    """A server that takes the connection and says nothing: the client is closed in time."""
    proxy = run(servers(peer.address), transport(trust, more='dialTimeout = "1s"'))
    with proxy.connect() as client:
        assert client.is_closed()
    assert peer.accept().read_exactly(1) == b"\x16"


def test_a_server_that_fails_gives_way(run, make_nginx, authority, trust):
    """Nothing was sent yet: another server may do."""
    wrong, good = nginx_tls(make_nginx, authority.issue("other.test")), nginx_tls(make_nginx, authority.issue(NAME))
    proxy = run(servers(address_of(wrong), address_of(good)), transport(trust))
    for _ in range(4):
        with proxy.connect() as client:
            assert client.exchange("GET", "/64").body == body_of(64)


def test_reload_changes_the_rules(run, make_nginx, authority, trust):
    """From one request to the next: a transport that trusts nobody refuses, and the other way round."""
    nginx = nginx_tls(make_nginx, authority.issue(NAME))
    proxy = run(servers(address_of(nginx)), transport(trust))

    def works():
        with proxy.connect() as client, contextlib.suppress(Closed, OSError):
            client.send("GET /64 HTTP/1.0\r\n\r\n")
            return body_of(64) in client.read_to_end()
        return False

    assert works()
    good = proxy.config_file.read_text()
    for text, expected in ((good.replace(NAME, "other.test"), False), (good, True)):
        proxy.write_config(text)
        assert proxy.cli("reload").returncode == 0
        wait_until(lambda: works() == expected, "the new rules hold")


@pytest.mark.parametrize("asked, least, most", [("2s", 0, 2), ("0s", 3, 15), (None, 3, 15)])
def test_silent_servers_are_probed(run, peer, asked, least, most):
    """dialKeepAlive is when the kernel asks a silent server whether it lives."""
    more = f'dialKeepAlive = "{asked}"' if asked else ""
    proxy = run(config.tcp_service("s", peer.address, more='serversTransport = "t"'), f"[tcp.serversTransports.t]\n{more}\n")
    with proxy.connect():
        peer.accept()
        ours = f":{peer.port:04X}"

        def timer():
            """Seconds until the probe; the columns are those of Linux's Documentation/networking/proc_net_tcp.rst."""
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                words = line.split()
                if words[2].endswith(ours) and words[3] == "01" and (match := re.fullmatch("02:([0-9A-F]{8})", words[5])):
                    return int(match.group(1), 16) / 100
            return None
        left = wait_until(lambda: timer(), "the keep-alive timer runs")
        assert least <= left <= most
