# SPDX-License-Identifier: Apache-2.0
"""Accounts and certificates in a directory instead of acme.json: obtained, kept over restarts and crashes, copied from
and to Traefik's form, and refused or repaired where disk, mode or owner are wrong."""

import base64
import datetime
import json
import os
import stat

import pytest

from lib import disk
from lib.ferrule import run_cli
from lib.proc import wait_until

NAMES = [("demo.edge.test", ["*.demo.edge.test"])]
NOBODY = 65534
AGAIN_S = 60


def served(proxy, pebble):
    try:
        return proxy.get_tls("/bytes/64", host="demo.edge.test", ca_file=pebble.roots_file()).status == 200
    except OSError:
        return False


def wait_over(proxy, bind, pebble):
    wait_until(lambda: served(proxy, pebble), "the certificate is served", AGAIN_S)
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert pebble.issued() == 1


def in_directory(ferrule, pebble, bind, origin, dns_more="", **options):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"storage": "store", "dns_more": dns_more}, **options)
    return proxy, proxy.folder.parent / "storage0" / "store"


@pytest.mark.asan
def test_directory_survives_restart_and_crash(ferrule, origin, bind, pebble):
    proxy, store = in_directory(ferrule, pebble, bind, origin)
    wait_over(proxy, bind, pebble)
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert sorted(os.listdir(store)) == ["data.mdb", "lock"]
    assert all(stat.S_IMODE((store / name).stat().st_mode) == 0o600 for name in os.listdir(store))
    old = proxy.kill("control")
    proxy.wait_respawn("control", old)
    wait_over(proxy, bind, pebble)
    proxy.restart()
    wait_over(proxy, bind, pebble)


@pytest.mark.asan
def test_copy_from_and_to_traefiks_form(ferrule, origin, bind, pebble):
    """The certificate and the account move without a second order, in both directions."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    file = proxy.folder.parent / "storage0" / "acme.json"
    wait_over(proxy, bind, pebble)
    busy = run_cli("store", "copy", str(file), str(file.with_name("store")))
    assert busy.returncode == 1 and "used by another ferrule" in busy.stderr
    proxy.stop()
    before = json.loads(file.read_text())
    done = run_cli("store", "copy", str(file), str(file.with_name("store")))
    assert done.returncode == 0 and "1 accounts and 1 certificates were copied" in done.stdout, done.stderr
    file.rename(file.with_name("kept.json"))
    proxy.write_config(proxy.config_file.read_text().replace(str(file), str(file.with_name("store"))))
    proxy.start()
    wait_over(proxy, bind, pebble)
    proxy.stop()
    done = run_cli("store", "copy", str(file.with_name("store")), str(file))
    assert done.returncode == 0, done.stderr
    after = json.loads(file.read_text())
    assert after["test"]["Certificates"][0]["domain"] == before["test"]["Certificates"][0]["domain"]
    assert after["test"]["Certificates"][0]["certificate"] == before["test"]["Certificates"][0]["certificate"]
    assert after["test"]["Account"] == before["test"]["Account"]
    missing = run_cli("store", "copy", str(file.with_name("none.json")), str(file))
    assert missing.returncode == 1 and "there is no" in missing.stderr
    wrong = run_cli("store", "copy", str(proxy.folder), str(file))
    assert wrong.returncode == 1 and f"there is no store in {proxy.folder}" in wrong.stderr
    wrong = run_cli("store", "copy", str(file), str(proxy.folder))
    assert wrong.returncode == 1 and "holds other files" in wrong.stderr
    assert not (proxy.folder / "data.mdb").exists()
    empty = file.with_name("empty.json")
    empty.touch(mode=0o600)
    nothing = run_cli("store", "copy", str(empty), str(file))
    assert nothing.returncode == 1 and f"there is nothing in {empty}" in nothing.stderr
    assert run_cli("store", "copy", str(file)).returncode == 2


def test_directory_of_another_owner_then_damaged(ferrule, origin, bind, pebble):
    """Refused by name while other hosts are served; the files stay as they are."""
    proxy, store = in_directory(ferrule, pebble, bind, origin)
    wait_over(proxy, bind, pebble)
    proxy.stop()
    os.chown(store, NOBODY, NOBODY)
    proxy.start()
    proxy.wait_log(f"{store} belongs to user {NOBODY}, but ferrule runs as user {os.geteuid()}")
    assert proxy.get_tls("/bytes/64", host="demo.edge.test").status == 200  # the default certificate
    os.chown(store, os.geteuid(), os.getegid())
    wait_over(proxy, bind, pebble)
    proxy.stop()
    content = (store / "data.mdb").read_bytes()
    (store / "data.mdb").write_bytes(b"\0" * len(content))
    proxy.start()
    proxy.wait_log("the files are damaged: restore them from a copy")
    assert proxy.get_tls("/bytes/64", host="demo.edge.test").status == 200
    assert pebble.issued() == 1
    (store / "data.mdb").write_bytes(content)
    wait_over(proxy, bind, pebble)


def test_directory_that_another_ferrule_holds(ferrule, origin, bind, pebble):
    first, store = in_directory(ferrule, pebble, bind, origin)
    wait_over(first, bind, pebble)
    second = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"storage": "store"}, start=False)
    other = second.folder.parent / "storage1" / "store"
    second.write_config(second.config_file.read_text().replace(str(other), str(store)))
    second.start()
    second.wait_log(f"the storage directory {store} is used by another ferrule (process {first.pid_of('control')})")
    first.stop()
    wait_over(second, bind, pebble)


@pytest.mark.asan
def test_full_disk_when_the_certificate_comes(ferrule, origin, bind, pebble):
    """It is served from memory until it can be stored, also after a crash. (The disk is full before the CA asks for the
    values.)"""
    proxy, store = in_directory(ferrule, pebble, bind, origin, dns_more='delayBeforeCheck = "3s"', start=False)
    proxy.wrapper = disk.wrapper(store.parent, 128)
    proxy.start()
    proxy.wait_log("order placed at the CA")
    space = disk.Disk(proxy.process, store.parent)
    space.fill()
    proxy.wait_log("is served, but cannot be stored yet")
    assert "No space left on device; free space on that file system" in proxy.log
    wait_until(lambda: served(proxy, pebble), "it is served")
    old = proxy.kill("control")
    proxy.wait_respawn("control", old)
    wait_until(lambda: proxy.log.count("is served, but cannot be stored yet") == 2, "the order goes on after a crash", AGAIN_S)
    space.free()
    wait_over(proxy, bind, pebble)
    proxy.wait_log("certificate stored and given to the workers", AGAIN_S)


@pytest.mark.parametrize("storage", ["acme.json", "store"])
def test_old_certificates_of_names_that_nothing_asks_for(ferrule, origin, bind, pebble, authority, storage):
    """Archived 30 days after their end, deleted from the archive a year after it; what is asked for stays."""
    def item(name, ended_days):
        issued = authority.issue(name, starts=datetime.timedelta(days=-500), ends=datetime.timedelta(days=-ended_days))
        text = [base64.b64encode(path.read_bytes()).decode() for path in (issued.cert_file, issued.key_file)]
        return {"domain": {"main": name}, "certificate": text[0], "key": text[1], "Store": "default"}

    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, resolver={"storage": storage}, start=False)
    folder = proxy.folder.parent / "storage0"
    source = folder / "acme.json"
    items = [item("left.test", 40), item("recent.test", 20), item("older.test", 400)]
    other = [item("other.test", 40)]
    source.write_text(json.dumps({"test": {"Certificates": items}, "elsewhere": {"Certificates": other}}))
    source.chmod(0o600)
    if storage != "acme.json":
        assert run_cli("store", "copy", str(source), str(folder / storage)).returncode == 0
    proxy.start()
    wait_over(proxy, bind, pebble)
    assert "ended long ago" not in proxy.log, "with nothing valid the clock may be wrong"
    proxy.restart()
    wait_over(proxy, bind, pebble)
    assert "left.test: the certificate of resolver test ended long ago" in proxy.log
    assert "older.test: the archived certificate of resolver test is deleted" in proxy.log
    proxy.stop()
    archive = folder / ("acme.archive.json" if storage == "acme.json" else "store.archive")
    for path, expected in ((folder / storage, {"recent.test", "demo.edge.test", "other.test"}), (archive, {"left.test"})):
        if storage != "acme.json":
            assert run_cli("store", "copy", str(path), str(folder / f"{path.name}-shown.json")).returncode == 0
            path = folder / f"{path.name}-shown.json"
        shown = json.loads(path.read_text())
        names = {c["domain"]["main"] for section in shown.values() for c in section["Certificates"] or []}
        assert names == expected
