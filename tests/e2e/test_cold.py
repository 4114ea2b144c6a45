# SPDX-License-Identifier: Apache-2.0
"""Names of a storage directory that holds more certificates than are kept in memory: each is read when the first client
asks for it, whatever happens to the control process meanwhile."""

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import threading

import pytest

from lib.certs import Authority
from lib.ferrule import run_cli
from lib.proc import wait_until
from lib.tls import connect

CERTIFICATES = 10
NAMES_EACH = 200
KEEP = 4


def name_of(i):
    return f"host-{i:04d}.cold.test"


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """2,000 names on 10 certificates, in Traefik's form, and who signed them."""
    authority = Authority(tmp_path_factory.mktemp("cold-ca"))
    items = []
    for c in range(CERTIFICATES):
        names = [name_of(c * NAMES_EACH + i) for i in range(NAMES_EACH)]
        names += ["*.wild.test"] if c == 3 else []
        issued = authority.issue(*names)
        text = [base64.b64encode(path.read_bytes()).decode() for path in (issued.cert_file, issued.key_file)]
        items.append({"domain": {"main": names[0], "sans": names[1:]}, "certificate": text[0], "key": text[1]})
    return authority, {"le": {"Certificates": items}}


def resolver(storage):
    """One that nothing asks for a certificate: its storage is served all the same."""
    return f"""
[certificatesResolvers.le.acme]
email = "harness@edge.test"
caServer = "https://127.0.0.1:9/directory"
storage = "{storage}"
[certificatesResolvers.le.acme.tlsChallenge]
"""


@pytest.fixture
def cold(ferrule, origin, stock, folder):
    """ferrule with that store: cold(wait=..., keep=..., extra=...)."""
    def make(wait="10s", keep=KEEP, extra="", **options):
        source, storage = folder / "acme.json", folder / "store"
        source.write_text(json.dumps(stock[1]))
        source.chmod(0o600)
        done = run_cli("store", "copy", str(source), str(storage))
        assert done.returncode == 0, done.stderr
        text = resolver(storage) + f'[cache]\ncertificates = {keep}\nwait = "{wait}"\n' + extra
        return ferrule.https(origin, extra=text, **options)

    return make


def is_served(proxy, stock, name):
    return proxy.is_served(name, stock[0].cert_file)


def is_default(proxy, name):
    with connect(proxy.port(), server_name=name) as client:
        return client.certificate["names"] == ["ferrule-default.invalid"]


@pytest.mark.asan
def test_first_handshake_of_cold_names(cold, stock):
    proxy = cold()
    assert f"has {CERTIFICATES} certificates: they are read when clients ask for them" in proxy.log
    status = proxy.status()
    assert status["certificatesInStores"] == CERTIFICATES and status["certificates"] == 1
    names = [name_of(i) for i in range(0, CERTIFICATES * NAMES_EACH, 83)]
    for name in names + ["a.wild.test"]:
        assert is_served(proxy, stock, name), name
    counters = proxy.counters()
    assert counters["cold_hellos"] == len(names) + 1 and counters["cold_failed"] == 0
    assert is_served(proxy, stock, "a.wild.test") and is_served(proxy, stock, "b.wild.test")
    assert proxy.counters()["cold_hellos"] == len(names) + 1  # it is warm
    assert is_served(proxy, stock, names[0])
    assert proxy.counters()["cold_hellos"] == len(names) + 2  # others have taken its place
    for unknown in ("unknown.test", "x.a.wild.test", "host-9999.cold.test", None):
        assert is_default(proxy, unknown)
    assert proxy.counters()["cold_waiting_now"] == 0


@pytest.mark.asan
def test_many_clients_at_once(cold, stock):
    """Also of one name: it is read once for all of them."""
    proxy = cold()
    results = []

    def client(first):
        for i in range(8):
            results.append(is_served(proxy, stock, name_of((first + i * 97) % 2000)))

    threads = [threading.Thread(target=client, args=(n // 2,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 64
    counters = proxy.counters()
    assert counters["cold_failed"] == 0 and counters["cold_waiting_now"] == 0


def test_control_dies_while_clients_wait(cold, stock):
    """They wait for the next one; what was read stays."""
    proxy = cold()
    assert is_served(proxy, stock, name_of(1))
    old = proxy.pid_of("control")
    os.kill(old, signal.SIGSTOP)  # so that no question is answered before it dies
    results = []
    clients = [threading.Thread(target=lambda i=i: results.append(is_served(proxy, stock, name_of(i)))) for i in (2, 2, 102, 203)]
    for thread in clients:
        thread.start()
    proxy.kill("control")
    proxy.wait_respawn("control", old)
    for thread in clients:
        thread.join()
    assert results == [True] * 4
    before = wait_until(lambda: counters_of(proxy), "control answers")
    # The second client of one name may come when the name is warm already.
    assert before["cold_hellos"] in (4, 5) and before["cold_failed"] == 0
    assert is_served(proxy, stock, name_of(1)) and proxy.counters()["cold_hellos"] == before["cold_hellos"]
    for i in (3, 304, 405):
        assert is_served(proxy, stock, name_of(i))


def counters_of(proxy):
    try:
        return proxy.counters()
    except OSError:
        return None


def hello_for(name):
    """A ClientHello."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    out = ssl.MemoryBIO()
    tls = made.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


@pytest.mark.asan
def test_clients_that_leave_while_they_wait(cold, stock):
    """Cleanly, with a reset, or with bytes behind their hello that nobody may send yet."""
    proxy = cold()
    control = proxy.pid_of("control")
    os.kill(control, signal.SIGSTOP)
    try:
        for i in range(24):
            with socket.create_connection(("127.0.0.1", proxy.port())) as client:
                client.sendall(hello_for(name_of(i * 50)))
                if i % 3 == 1:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif i % 3 == 2:
                    client.setblocking(False)
                    with contextlib.suppress(OSError):  # as many as there is room for
                        client.send(bytes(65536))
    finally:
        os.kill(control, signal.SIGCONT)
    assert is_served(proxy, stock, name_of(7))
    wait_until(lambda: proxy.counters()["conns_now"] == 0 and proxy.counters()["cold_waiting_now"] == 0, "all have gone")


def test_wait_has_an_end(cold, stock):
    """Then the name counts as unknown, and is asked for again by the next client."""
    proxy = cold(wait="50ms")
    control = proxy.pid_of("control")
    os.kill(control, signal.SIGSTOP)
    try:
        assert is_default(proxy, name_of(7))
        assert is_default(proxy, "unknown.test")
    finally:
        os.kill(control, signal.SIGCONT)
    wait_until(lambda: is_served(proxy, stock, name_of(7)), "the name is served")
    assert proxy.counters()["cold_failed"] >= 1


def test_unknown_name_rule_after_the_wait(cold, stock):
    proxy = cold(wait="50ms", extra="[tls.options.default]\nsniStrict = true\n")
    control = proxy.pid_of("control")
    os.kill(control, signal.SIGSTOP)
    try:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            connect(proxy.port(), server_name=name_of(7))
    finally:
        os.kill(control, signal.SIGCONT)
    wait_until(lambda: accepted(proxy, stock, name_of(7)), "the name is served")


def accepted(proxy, stock, name):
    try:
        return is_served(proxy, stock, name)
    except ssl.SSLError:
        return False


def test_reload_and_upgrade(cold, stock, authority):
    """A reload changes nothing for them; a file's certificate wins or loses as everywhere; after an upgrade each name
    is cold again."""
    proxy = cold()
    assert is_served(proxy, stock, name_of(0))
    provided = authority.issue(name_of(5), name_of(6))
    text = proxy.config_file.read_text()
    proxy.config_file.write_text(text + f'[[tls.certificates]]\ncertFile = "{provided.cert_file}"\nkeyFile = "{provided.key_file}"\n')
    assert proxy.cli("reload").returncode == 0
    wait_until(lambda: names_of(proxy, name_of(5)) == [name_of(5), name_of(6)], "the file's certificate is served")
    explained = proxy.json("cert", "explain", "--sni", name_of(5))["candidates"]
    assert [one["source"] for one in explained] == ["provided", "acme"] and explained[0]["served"]
    assert is_served(proxy, stock, name_of(4))
    proxy.config_file.write_text(text)
    assert proxy.cli("reload").returncode == 0
    for i in (5, 6):
        wait_until(lambda i=i: is_served(proxy, stock, name_of(i)), "the store's certificate is served")
    assert proxy.counters()["cold_failed"] == 0
    result = proxy.cli("upgrade", timeout_s=120)
    assert result.returncode == 0, result.stdout + result.stderr
    for i in (0, 1, 502, 603):
        wait_until(lambda i=i: is_served(proxy, stock, name_of(i)), "the name is served")


def names_of(proxy, name):
    with connect(proxy.port(), server_name=name) as client:
        return client.certificate["names"]


def test_asking_about_a_cold_name(cold, stock):
    """What the commands say of it, and what they change."""
    proxy = cold()
    explained = proxy.json("cert", "explain", "--sni", name_of(301))["candidates"]
    assert [(one["source"], one["served"]) for one in explained] == [("acme", True)]
    assert name_of(300) in explained[0]["names"]
    assert proxy.json("cert", "explain", "--sni", "x.wild.test")["matched"] == "*.wild.test"
    shown = proxy.json("cert", "show", name_of(302))["certificates"]
    assert len(shown) == 1 and shown[0]["origin"] == "le"
    assert proxy.json("cert", "list")["inStores"] == CERTIFICATES
    assert is_served(proxy, stock, name_of(303))
    mine = stock[0].issue(name_of(303), "new.cold.test")
    done = proxy.cli("cert", "import", "--cert", mine.cert_file, "--key", mine.key_file)
    assert done.returncode == 0, done.stderr
    for name in (name_of(303), "new.cold.test"):
        wait_until(lambda name=name: names_of(proxy, name) == sorted([name_of(303), "new.cold.test"]), f"{name} has the new one")
    assert proxy.json("cert", "list")["inStores"] == CERTIFICATES + 1


def test_small_store_is_read_as_a_whole(cold, stock):
    proxy = cold(keep=CERTIFICATES)
    assert is_served(proxy, stock, name_of(1999))
    status = proxy.status()
    assert status["certificatesInStores"] == 0 and status["certificates"] == CERTIFICATES + 1
    assert proxy.counters()["cold_hellos"] == 0
