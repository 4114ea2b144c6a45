# SPDX-License-Identifier: Apache-2.0
"""Certificates in more files than are kept in memory: each pair is read when the first client asks for it, and what
happens to its files before and after that is noticed."""

import datetime
import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

from lib import config, disk
from lib.ferrule import program
from lib.memory import forms_of, private_scalar
from lib.proc import free_port, wait_until


# So long a configuration is read by the supervisor without its pairs.
LONG = ("#" * 99 + "\n") * 700
# A pair that is not whole after this time counts as one that cannot be used.
PATIENCE_S = 3
# Of the times of files; it may be hundreds of milliseconds behind. The time module does not name it.
CLOCK_REALTIME_COARSE = 5


class Pair:
    """A certificate and its key in files of the test's own."""

    def __init__(self, folder, name, certificate):
        folder.mkdir(exist_ok=True)
        self.cert_file, self.key_file = folder / f"{name}.pem", folder / f"{name}.key"
        self.write(certificate)

    def write(self, certificate):
        for source, target in ((certificate.cert_file, self.cert_file), (certificate.key_file, self.key_file)):
            shutil.copyfile(source, f"{target}.new")
            os.replace(f"{target}.new", target)


def digest(certificate):
    text = certificate.cert_file.read_text()
    first = text[text.index("-----BEGIN"):text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def shown(proxy, name):
    """Digest of the certificate that a client gets for this name."""
    with proxy.connect_tls(name) as client:
        return hashlib.sha256(client.certificate_der).hexdigest()


def wait_shown(proxy, name, certificate):
    wait_until(lambda: shown(proxy, name) == digest(certificate), f"{name} has its certificate")


def issue_for(authority, folder, *names):
    issued = [authority.issue(name) for name in names]
    return issued, [Pair(folder / "pairs", f"p{i}", each) for i, each in enumerate(issued)]


@pytest.fixture
def cold(ferrule, origin, authority, folder):
    """ferrule with these pairs, none of them in memory, and a default certificate: cold(pairs). A client that waits in
    vain gets that one, so the wait is as long as it can be: control may be kept from its work for a while."""
    fallback = authority.issue("default.test")

    def make(pairs, keep=1, extra="", **options):
        text = f"""
[cache]
files = {keep}
wait = "10s"
[tls.stores.default.defaultCertificate]
certFile = "{fallback.cert_file}"
keyFile = "{fallback.key_file}"
{extra}"""
        proxy = ferrule.https(origin, certificates=pairs, extra=text, **options)
        proxy.fallback = fallback
        return proxy

    return make


@pytest.mark.asan
def test_pairs_are_read_when_they_are_asked_for(cold, authority, folder):
    issued, pairs = issue_for(authority, folder, "a.test", "b.test", "*.wild.test")
    proxy = cold(pairs, extra=LONG)
    assert "3 pairs of files are read when clients ask for them (cache.files is 1)" in proxy.log
    status = proxy.status()
    assert (status["certificates"], status["certificatesInFiles"]) == (4, 3)
    for name, certificate in zip(("a.test", "b.test", "x.wild.test"), issued):
        assert shown(proxy, name) == digest(certificate)
    assert proxy.counters()["cold_hellos"] == 3
    for name, certificate in (("a.test", issued[0]), ("y.wild.test", issued[2]), ("other.test", proxy.fallback)):
        assert shown(proxy, name) == digest(certificate)
    counters = proxy.counters()
    assert counters["cold_hellos"] == 3 and counters["cold_failed"] == 0
    listed = {tuple(one["names"]): one for one in proxy.json("cert", "list")["certificates"]}
    assert listed[("a.test",)]["valid"] and listed[("a.test",)]["keyType"] == "EC"
    done = export(proxy, "b.test", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out.pem").read_text().split() == issued[1].cert_file.read_text().split()
    assert "PRIVATE KEY" in (folder / "out.key").read_text()


@pytest.mark.asan
def test_choice_is_that_of_all_certificates(cold, authority, folder):
    """Exact before wildcard, the later end first, and each kind of key to whom it suits; whether they are kept or not."""
    issued, pairs = issue_for(authority, folder, "a.wild.test", "two.test")
    later = authority.issue("two.test", ends=datetime.timedelta(days=60))
    rsa = authority.issue("two.test", key="RSA2048", ends=datetime.timedelta(days=45))
    pairs += [Pair(folder / "pairs", "later", later), Pair(folder / "pairs", "rsa", rsa)]
    wildcard = authority.issue("*.wild.test")
    in_place = f"""[[tls.certificates]]
certFile = '''{wildcard.cert_file.read_text()}'''
keyFile = '''{wildcard.key_file.read_text()}'''
"""
    proxy = cold(pairs, extra=in_place)
    assert proxy.status()["certificatesInFiles"] == 4
    for name, certificate in (("a.wild.test", issued[0]), ("b.wild.test", wildcard), ("two.test", later)):
        assert shown(proxy, name) == digest(certificate)
    explained = proxy.json("cert", "explain", "--sni", "two.test")["candidates"]
    assert [one["served"] for one in explained] == [True, True, False] and len({one["origin"] for one in explained}) == 3


@pytest.mark.asan
def test_changed_files_are_served(cold, authority, folder):
    issued, pairs = issue_for(authority, folder, "a.test", "b.test", "c.test")
    proxy = cold(pairs)
    assert shown(proxy, "a.test") == digest(issued[0])
    newer = authority.issue("a.test"), authority.issue("b.test"), authority.issue("d.test")
    began = time.monotonic()
    for pair, certificate in zip(pairs, newer):
        pair.write(certificate)
    in_time = time.monotonic() - began < PATIENCE_S
    wait_shown(proxy, "a.test", newer[0])  # the workers had the one before
    wait_shown(proxy, "b.test", newer[1])  # they had nothing
    wait_shown(proxy, "d.test", newer[2])
    wait_shown(proxy, "c.test", proxy.fallback)
    assert "cannot be used" not in proxy.log or not in_time


def export(proxy, name, folder):
    return proxy.cli("cert", "export", name, "--cert", folder / "out.pem", "--key", folder / "out.key")


@pytest.mark.asan
def test_next_best_is_exported(cold, authority, folder):
    better = authority.issue("a.test", ends=datetime.timedelta(days=80))
    issued, pairs = issue_for(authority, folder, "a.test", "b.test")
    best = Pair(folder / "pairs", "best", better)
    proxy = cold([*pairs, best])
    best.key_file.unlink()
    proxy.wait_log(f"{best.cert_file} and {best.key_file} cannot be used")
    done = export(proxy, "a.test", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out.pem").read_text().split() == issued[0].cert_file.read_text().split()


@pytest.mark.asan
def test_files_that_cannot_be_used(cold, authority, folder):
    """Who has the certificate keeps it; others get the next best one, until the files are whole again."""
    issued, pairs = issue_for(authority, folder, "a.test", "b.test", "c.test")
    proxy = cold(pairs)
    assert shown(proxy, "a.test") == digest(issued[0])
    shutil.copyfile(pairs[2].key_file, pairs[0].key_file)
    pairs[1].key_file.unlink()
    for pair in pairs[:2]:
        proxy.wait_log(f"{pair.cert_file} and {pair.key_file} cannot be used: the certificate from before is served while it is in memory")
    assert "does not belong to the certificate of a.test" in proxy.log
    assert shown(proxy, "a.test") == digest(issued[0])
    wait_shown(proxy, "b.test", proxy.fallback)
    assert shown(proxy, "c.test") == digest(issued[2])
    done = export(proxy, "b.test", folder)
    assert done.returncode == 1 and "the certificate's files cannot be used: the log says why" in done.stderr
    pairs[0].write(authority.issue("a.test"))
    pairs[1].write(issued[1])
    wait_shown(proxy, "a.test", pairs[0])
    wait_shown(proxy, "b.test", issued[1])


def test_client_waits_for_a_pair_that_is_being_written(cold, authority, folder):
    names = [f"n{i}.test" for i in range(5)]
    issued, pairs = issue_for(authority, folder, *names)
    proxy = cold(pairs)
    for tries, (name, pair) in enumerate(zip(names, pairs), 1):
        newer = authority.issue(name)
        began = time.monotonic()
        shutil.copyfile(newer.cert_file, pair.cert_file)
        got = []
        client = threading.Thread(target=lambda: got.append(shown(proxy, name)))
        client.start()
        proxy.wait_counter("cold_hellos", tries)
        shutil.copyfile(newer.key_file, pair.key_file)
        in_time = time.monotonic() - began < PATIENCE_S
        client.join()
        if in_time:  # else the machine has stalled: with the next pair
            assert got == [digest(newer)]
            return
    pytest.fail("no pair was written in time")


def test_bad_pair_is_told_at_the_start(cold, authority, folder):
    issued, pairs = issue_for(authority, folder, "a.test", "b.test")
    shutil.copyfile(pairs[0].key_file, pairs[1].key_file)
    proxy = cold(pairs, start=False, extra=LONG)
    proxy.start(wait=False)
    proxy.process.wait_exit()
    assert proxy.process.exit_code == 1
    assert "does not belong to the certificate of b.test" in proxy.log
    proxy.stop(expect=1)


@pytest.mark.asan
def test_reloads_and_a_control_that_dies(cold, authority, folder):
    """Few pairs become many, and few again; what control has told is told again by the next one."""
    issued, pairs = issue_for(authority, folder, "a.test", "b.test", "c.test")
    proxy = cold(pairs[:2], keep=2)
    assert proxy.status()["certificatesInFiles"] == 0
    few = proxy.config_file.read_text()
    proxy.config_file.write_text(few + config.certificate(pairs[2]))
    assert proxy.cli("reload").returncode == 0
    assert proxy.status()["certificatesInFiles"] == 3
    for name, certificate in zip(("a.test", "b.test"), issued):
        assert shown(proxy, name) == digest(certificate)
    old = proxy.pid_of("control")
    os.kill(old, signal.SIGKILL)
    proxy.wait_respawn("control", old)
    for name, certificate in zip(("a.test", "b.test", "c.test"), issued):
        wait_shown(proxy, name, certificate)
    proxy.config_file.write_text(few)
    assert proxy.cli("reload").returncode == 0
    assert proxy.status()["certificatesInFiles"] == 0
    wait_shown(proxy, "c.test", proxy.fallback)  # the workers know of the reload
    hellos = proxy.counters()["cold_hellos"]
    for name, certificate in zip(("a.test", "b.test"), issued):
        assert shown(proxy, name) == digest(certificate)
    assert proxy.counters()["cold_hellos"] == hellos


# --- the index -----------------------------------------------------------------------------------------------------------


def settle(pairs):
    """A file that was written within the tick of files' clock before it is read might change unseen: it is not indexed."""
    newest = max(os.stat(file).st_ctime for pair in pairs for file in (pair.cert_file, pair.key_file))
    wait_until(lambda: time.clock_gettime(CLOCK_REALTIME_COARSE) > newest + 0.05, "the clock ticks")


def index_of(proxy):
    return proxy.state_folder / "certificates.index"


def wait_index(proxy, than=None):
    """There is an index, another one than that."""
    def look():
        try:
            st = index_of(proxy).stat()
        except FileNotFoundError:
            return None
        return None if st.st_ino == than else st.st_ino
    return wait_until(look, "the index is written")


@pytest.mark.asan
def test_second_start_reads_no_files(cold, authority, folder):
    issued, pairs = issue_for(authority, folder, "a.test", "b.test", "c.test")
    settle(pairs)
    port = free_port()
    proxy = cold(pairs, extra=config.entrypoint("traefik", port) + "[metrics.prometheus]\n")
    proxy.ports["traefik"] = port
    assert "the index had 0 of them, 3 were read now" in proxy.log
    wait_index(proxy)
    assert index_of(proxy).stat().st_mode & 0o777 == 0o600
    for certificate in issued:
        der = subprocess.run(["openssl", "pkey", "-in", certificate.key_file, "-outform", "DER"], capture_output=True).stdout
        held = index_of(proxy).read_bytes()
        assert not any(form in held for form in forms_of(private_scalar(der)))
    proxy.restart()
    assert "the index had 3 of them, 0 were read now" in proxy.log
    for name, certificate in zip(("a.test", "b.test", "c.test"), issued):
        assert shown(proxy, name) == digest(certificate)
    scraped = proxy.get("/metrics", "127.0.0.1", "traefik").body.decode()
    assert all(f'traefik_tls_certs_not_after{{cn="{name}",sans="{name}",' in scraped for name in ("a.test", "b.test", "c.test"))
    newer = authority.issue("b.test")
    proxy.stop()
    pairs[1].write(newer)
    settle(pairs)
    old = index_of(proxy).stat().st_ino
    proxy.start()
    assert "the index had 2 of them, 1 were read now" in proxy.log
    assert shown(proxy, "b.test") == digest(newer) and shown(proxy, "c.test") == digest(issued[2])
    wait_index(proxy, than=old)
    assert proxy.cli("reload").returncode == 0  # reads no more than a start
    assert proxy.log.count("the index had 3 of them, 0 were read now") == 2
    assert shown(proxy, "a.test") == digest(issued[0])


@pytest.mark.asan
@pytest.mark.parametrize("damage, text", [
    (lambda bytes: bytes[:-1], "it is damaged"),
    (lambda bytes: b"another file", "it is no index"),
])
def test_damaged_index_is_made_anew(cold, authority, folder, damage, text):
    issued, pairs = issue_for(authority, folder, "a.test", "b.test")
    settle(pairs)
    proxy = cold(pairs)
    old = wait_index(proxy)
    proxy.stop()
    index_of(proxy).write_bytes(damage(index_of(proxy).read_bytes()))
    proxy.start()
    assert f"{index_of(proxy)} is not used: {text}; all pairs of files were read" in proxy.log
    assert proxy.log.count("the index had 0 of them, 2 were read now") == 2
    assert shown(proxy, "a.test") == digest(issued[0])
    wait_index(proxy, than=old)
    proxy.restart()
    assert "the index had 2 of them, 0 were read now" in proxy.log
    assert shown(proxy, "b.test") == digest(issued[1])


@pytest.mark.asan
def test_files_that_changed_while_nobody_looked(cold, authority, folder):
    """What the index says of a pair holds no longer when a client asks: the client gets what is there now."""
    issued, pairs = issue_for(authority, folder, "a.test", "b.test")
    settle(pairs)
    proxy = cold(pairs)
    old = wait_index(proxy)
    newer = authority.issue("a.test")
    control = proxy.pid_of("control")
    os.kill(control, signal.SIGSTOP)  # it hears of the question and of the change together
    try:
        got = []
        client = threading.Thread(target=lambda: got.append(shown(proxy, "a.test")))
        client.start()
        pairs[0].write(newer)
    finally:
        os.kill(control, signal.SIGCONT)
    client.join()
    assert got == [digest(newer)]
    proxy.wait_log(f"{pairs[0].cert_file} has changed: its certificate of a.test is served now")
    wait_index(proxy, than=old)
    settle(pairs)
    proxy.restart()
    assert shown(proxy, "a.test") == digest(newer) and shown(proxy, "b.test") == digest(issued[1])


@pytest.mark.asan
@pytest.mark.parametrize("point", ["index:value", "index:before"])
def test_death_while_the_index_is_written(cold, authority, folder, point):
    if b"crash-at" not in program().read_bytes():
        pytest.skip("needs a build with -Dtest_hooks=true")
    issued, pairs = issue_for(authority, folder, "a.test", "b.test")
    settle(pairs)
    proxy = cold(pairs)
    old = wait_index(proxy)
    control = proxy.pid_of("control")
    (proxy.state_folder / "crash-at").write_text(point)
    newer = authority.issue("a.test")
    pairs[0].write(newer)
    proxy.wait_respawn("control", control)
    wait_index(proxy, than=old)
    assert not (proxy.state_folder / "certificates.index.tmp").exists()
    for name, certificate in (("a.test", newer), ("b.test", issued[1])):
        wait_shown(proxy, name, certificate)
    proxy.restart()
    assert "2 of them, 0 were read now" in proxy.log
    for name, certificate in (("a.test", newer), ("b.test", issued[1])):
        assert shown(proxy, name) == digest(certificate)


@pytest.mark.asan
def test_full_disk_costs_the_index_alone(cold, authority, folder):
    issued, pairs = issue_for(authority, folder, "a.test", "b.test")
    proxy = cold(pairs, start=False)
    proxy.wrapper = disk.wrapper(proxy.state_folder, 400)
    proxy.start()
    disk.Disk(proxy.process, proxy.state_folder).fill()
    newer = authority.issue("a.test"), authority.issue("b.test")
    pairs[0].write(newer[0])
    proxy.wait_log(f"cannot write {index_of(proxy)}: No space left on device: the next start has to read all pairs of files")
    wait_shown(proxy, "a.test", newer[0])
    assert shown(proxy, "b.test") == digest(issued[1])
    pairs[1].write(newer[1])
    wait_shown(proxy, "b.test", newer[1])
