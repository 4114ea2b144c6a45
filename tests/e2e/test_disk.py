# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, read-only, or holds files of the wrong mode or owner: refused or repaired with a message,
what can be served is served, nothing is lost, and when the fault is gone ferrule goes on without a restart."""

import json
import os
import signal
import stat
from pathlib import Path

import pytest

from lib import disk
from lib.proc import accepts, wait_until

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]
NOBODY = 65534
# What a try after a fault of our own disk waits at most, and then some for a busy machine.
AGAIN_S = 60


def served_by_acme(proxy, pebble):
    try:
        return proxy.get_tls("/bytes/64", host="demo.edge.test", ca_file=pebble.roots_file()).status == 200
    except OSError:
        return False


def is_stored(path):
    try:
        return len(json.loads(Path(path).read_text())["test"]["Certificates"]) == 1
    except (OSError, ValueError, KeyError, TypeError):
        return False


def wait_over(proxy, bind, pebble):
    wait_until(lambda: served_by_acme(proxy, pebble), "the certificate is served", AGAIN_S)
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert pebble.issued() == 1


def refused(proxy):
    proxy.start(wait=False)
    process = proxy.process
    code = process.wait_exit()
    assert not proxy.notified(), "it said READY=1"
    proxy.stop(expect=code)
    return code, process.log


def small_state(proxy, kilobytes=400):
    proxy.wrapper = disk.wrapper(proxy.state_folder, kilobytes)


# --- full --------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_state_directory_full_during_an_order(ferrule, origin, bind, pebble):
    """No order is placed that could not be remembered; what is configured is served."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    proxy.write_config(proxy.config_file.read_text())
    small_state(proxy)
    pebble.process.send_signal(signal.SIGSTOP)
    try:
        proxy.start()
        wait_until(lambda: proxy.json("cert", "show", "demo.edge.test")["wanted"][0]["state"] == "ordering", "the order runs")
        space = disk.Disk(proxy.process, proxy.state_folder)
        space.fill()
    finally:
        pebble.process.send_signal(signal.SIGCONT)
    proxy.wait_log("the journal cannot be written")
    assert "No space left on device; free space on that file system" in proxy.log
    assert proxy.get_tls("/bytes/64", host="demo.edge.test").status == 200  # the default certificate
    assert pebble.issued() == 0 and "POST /order-plz" not in pebble.log
    shown = proxy.json("cert", "show", "demo.edge.test")["wanted"][0]
    assert shown["state"] != "valid"
    old = proxy.kill("control")  # it starts on the full disk, too
    proxy.wait_respawn("control", old)
    wait_until(lambda: proxy.cli("status").returncode == 0, "control answers")
    assert proxy.get_tls("/bytes/64", host="demo.edge.test").status == 200
    space.free()
    wait_over(proxy, bind, pebble)


@pytest.mark.asan
def test_state_directory_full_after_the_key(ferrule, origin, bind, pebble):
    """The certificate is there or on its way when the disk fills up: it is not lost, and no second one is made."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    proxy.write_config(proxy.config_file.read_text())
    small_state(proxy)
    proxy.start()
    proxy.wait_log("the CA has been told to look")
    space = disk.Disk(proxy.process, proxy.state_folder)
    space.fill()
    wait_until(lambda: "cannot be written" in proxy.log or served_by_acme(proxy, pebble), "the disk is met, or all was over before")
    space.free()
    wait_over(proxy, bind, pebble)
    proxy.stop()


@pytest.mark.long
def test_storage_full(ferrule, origin, bind, pebble):
    """The certificate serves from memory until it can be stored; a crash meanwhile loses nothing."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    folder = proxy.folder.parent / "storage0"
    proxy.wrapper = disk.wrapper(folder, 64)
    pebble.process.send_signal(signal.SIGSTOP)
    try:
        proxy.start()
        space = disk.Disk(proxy.process, folder)
        wait_until(lambda: proxy.json("cert", "show", "demo.edge.test")["wanted"][0]["state"] == "ordering", "the order runs")
        space.fill()
    finally:
        pebble.process.send_signal(signal.SIGCONT)
    # Also the account is kept in the store: without it no order begins, since its key would be lost.
    proxy.wait_log("cannot write")
    assert pebble.issued() == 0
    space.free()
    proxy.wait_log("certificate downloaded", AGAIN_S + 30)
    wait_over(proxy, bind, pebble)
    assert is_stored(space.path / "acme.json")


@pytest.mark.asan
def test_storage_file_that_is_a_mount_point(ferrule, origin, bind, pebble):
    """As a container has it that was given the file alone: nothing can take its place, so it is written over."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    file = proxy.folder.parent / "storage0" / "acme.json"
    file.touch(mode=0o600)
    proxy.wrapper = disk.wrapper(file, "mount")
    inode = file.stat().st_ino
    proxy.start()
    wait_over(proxy, bind, pebble)
    wait_until(lambda: is_stored(file), "the certificate is stored")
    assert file.stat().st_ino == inode
    proxy.stop()
    whole = file.read_text()
    file.write_text(whole[:len(whole) // 2])  # a crash in the middle of a write
    (file.parent / "acme.json.tmp").touch(mode=0o600)
    (file.parent / "acme.json.tmp").write_text(whole)
    proxy.start()
    wait_over(proxy, bind, pebble)
    assert "is made good from" in proxy.log and file.read_text() == whole and file.stat().st_ino == inode


@pytest.mark.asan
def test_storage_full_when_the_certificate_comes(ferrule, origin, bind, pebble):
    # The disk is full before the CA asks for the values.
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False, resolver={"dns_more": 'delayBeforeCheck = "3s"'})
    folder = proxy.folder.parent / "storage0"
    proxy.wrapper = disk.wrapper(folder, 64)
    proxy.start()
    proxy.wait_log("order placed at the CA")
    space = disk.Disk(proxy.process, folder)
    space.fill()
    proxy.wait_log("is served, but cannot be stored yet")
    assert "what it held is untouched" in proxy.log
    wait_until(lambda: served_by_acme(proxy, pebble), "it is served")
    assert not is_stored(space.path / "acme.json") and list(json.loads((space.path / "acme.json").read_text())["test"]) != []
    old = proxy.kill("control")
    proxy.wait_respawn("control", old)
    wait_until(lambda: proxy.log.count("is served, but cannot be stored yet") == 2, "the order goes on after a crash", AGAIN_S)
    space.free()
    wait_until(lambda: is_stored(space.path / "acme.json"), "it is stored", AGAIN_S)
    wait_over(proxy, bind, pebble)
    assert sorted(os.listdir(space.path)) == ["acme.json", "acme.json.lock"]  # no torn or temporary file


def test_full_from_the_start(ferrule, origin):
    """Without any room for a state directory it says so, starts nothing, and starts when there is room."""
    proxy = ferrule.http(origin, start=False)
    (proxy.state_folder / "filler").write_bytes(b"x" * 16384)
    proxy.wrapper = disk.wrapper(proxy.state_folder, 16)
    code, said = refused(proxy)
    assert code == 1 and "No space left on device; free space on that file system" in said and str(proxy.state_folder) in said
    assert not accepts(proxy.port())
    (proxy.state_folder / "filler").unlink()
    proxy.wrapper = []
    proxy.start()
    assert proxy.get("/").status == 200


# --- modes, owners, read-only ----------------------------------------------------------------------------------------


@pytest.mark.asan
def test_store_and_state_open_to_others(ferrule, origin, bind, pebble):
    """Repaired, with a warning, and used."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    store = proxy.folder.parent / "storage0" / "acme.json"
    wait_over(proxy, bind, pebble)
    proxy.stop()
    store.chmod(0o644)
    proxy.state_folder.chmod(0o755)
    proxy.start()
    wait_over(proxy, bind, pebble)
    for path, mode, words in ((store, 0o600, "was open to others (mode 644): changed to 600"),
                              (proxy.state_folder, 0o700, "was open to others (mode 755): changed to 700")):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert f"{path} " in proxy.log and words in proxy.log


def test_store_of_another_owner(ferrule, origin, bind, pebble):
    """It is refused by name while other hosts are served, and taken up as soon as its owner is right."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    store = proxy.folder.parent / "storage0" / "acme.json"
    wait_over(proxy, bind, pebble)
    proxy.stop()
    content = store.read_bytes()
    os.chown(store, NOBODY, NOBODY)
    proxy.start()
    proxy.wait_log(f"{store} belongs to user {NOBODY}, but ferrule runs as user {os.geteuid()}: give it to that user")
    assert proxy.get_tls("/bytes/64", host="demo.edge.test").status == 200  # the default certificate
    shown = proxy.json("cert", "show", "demo.edge.test")["wanted"][0]
    assert "belongs to user" in shown["waiting"] and shown["ledger"]["failures"] == 0
    assert store.read_bytes() == content and store.stat().st_uid == NOBODY
    os.chown(store, os.geteuid(), os.getegid())
    wait_over(proxy, bind, pebble)
    assert f"{store} is open now" in proxy.log


def test_store_that_another_ferrule_holds(ferrule, origin, bind, pebble):
    """The second one serves what it can; when the first ends it takes over, without a second certificate."""
    first = ferrule.acme(pebble, bind, origin, domains=NAMES)
    wait_over(first, bind, pebble)
    store = first.folder.parent / "storage0" / "acme.json"
    second = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False)
    other = second.folder.parent / "storage1" / "acme.json"
    second.write_config(second.config_file.read_text().replace(str(other), str(store)))
    second.start()
    second.wait_log(f"{store} is used by another ferrule")
    assert second.get_tls("/bytes/64", host="demo.edge.test").status == 200
    first.stop()
    wait_over(second, bind, pebble)


def test_state_directory_of_another_owner(ferrule, origin):
    proxy = ferrule.http(origin, start=False)
    os.chown(proxy.state_folder, NOBODY, NOBODY)
    code, said = refused(proxy)
    assert code == 1 and f"{proxy.state_folder} belongs to user {NOBODY}" in said and "[state] directory" in said
    os.chown(proxy.state_folder, os.geteuid(), os.getegid())
    proxy.start()
    assert proxy.get("/").status == 200


def test_read_only_state_directory(ferrule, origin):
    proxy = ferrule.http(origin, start=False)
    proxy.wrapper = disk.wrapper(proxy.state_folder, "ro")
    code, said = refused(proxy)
    assert code == 1 and "Read-only file system" in said and "mount the file system read-write" in said
    assert not accepts(proxy.port())


def test_state_directory_of_a_user_who_may_not_write(ferrule, origin, folder):
    """Not root: a directory of ours whose mode lets nobody write."""
    proxy = ferrule.http(origin, start=False)
    folder.chmod(0o755)
    for path in (proxy.folder, proxy.state_folder):
        os.chown(path, NOBODY, NOBODY)
    proxy.state_folder.chmod(0o500)
    proxy.wrapper = ["/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    code, said = refused(proxy)
    assert code == 1 and "Permission denied" in said and str(proxy.state_folder) in said and "must belong to the user" in said
