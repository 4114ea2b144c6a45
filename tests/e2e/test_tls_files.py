# SPDX-License-Identifier: Apache-2.0
"""Certificates in files: taken up when they change, without a reload, however they are replaced."""

import hashlib
import os
import shutil
import ssl
import threading

import pytest

from lib import config
from lib.proc import free_port, wait_until
from lib.tls import s_client

HOST = "example.test"


class Pair:
    """A certificate and key in a folder of the test, replaced in several ways."""

    def __init__(self, folder, certificate):
        self.folder = folder
        folder.mkdir()
        self.cert_file, self.key_file = folder / "tls.crt", folder / "tls.key"
        self.write(certificate)

    def write(self, certificate):
        shutil.copyfile(certificate.cert_file, self.cert_file)
        shutil.copyfile(certificate.key_file, self.key_file)

    def rename(self, certificate):
        for source, target in ((certificate.cert_file, self.cert_file), (certificate.key_file, self.key_file)):
            shutil.copyfile(source, f"{target}.new")
            os.replace(f"{target}.new", target)


class Mounted(Pair):
    """As a container system mounts a secret: links through a link to a folder, which is turned."""

    def __init__(self, folder, certificate):
        self.number = 0
        super().__init__(folder, certificate)
        for file in (self.cert_file, self.key_file):
            file.symlink_to(f"..data/{file.name}")

    def write(self, certificate):
        version = self.folder / f"..{self.number}"
        version.mkdir()
        shutil.copyfile(certificate.cert_file, version / "tls.crt")
        shutil.copyfile(certificate.key_file, version / "tls.key")
        (self.folder / "..next").symlink_to(version.name)
        os.replace(self.folder / "..next", self.folder / "..data")
        if self.number:
            shutil.rmtree(self.folder / f"..{self.number - 1}")
        self.number += 1


def shown(proxy, name=HOST):
    """Digest of the certificate that a client gets for this name."""
    with proxy.connect_tls(name) as client:
        return hashlib.sha256(client.certificate_der).hexdigest()


def digest(certificate):
    text = certificate.cert_file.read_text()
    first = text[text.index("-----BEGIN"):text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


@pytest.mark.parametrize("kind, way", [(Pair, "write"), (Pair, "rename"), (Mounted, "write")])
def test_changed_files_are_served(ferrule, origin, authority, folder, kind, way):
    certificates = [authority.issue(HOST) for _ in range(3)]
    pair = kind(folder / "pair", certificates[0])
    proxy = ferrule.https(origin, certificates=[pair])
    assert shown(proxy) == digest(certificates[0])
    with proxy.connect_tls(HOST) as client:
        for certificate in certificates[1:]:
            getattr(pair, way)(certificate)
            wait_until(lambda: shown(proxy) == digest(certificate), "the new certificate")
        assert client.exchange("GET", "/bytes/10").status == 200, "the connection from before lives"
    assert "cannot be used" not in proxy.log
    proxy.restart()
    assert shown(proxy) == digest(certificates[2])


def test_bad_files_change_nothing(ferrule, origin, authority, folder):
    """What is wrong is said with both names, and the certificate from before is served until it is right."""
    old, new, other = authority.issue(HOST), authority.issue(HOST), authority.issue("other.test")
    pair = Pair(folder / "pair", old)
    proxy = ferrule.https(origin, certificates=[pair])
    shutil.copyfile(other.key_file, pair.key_file)
    proxy.wait_log("the private key (EC256) does not belong to the certificate of example.test (EC256)")
    proxy.wait_log(f"{pair.cert_file} and {pair.key_file} cannot be used: the certificate from before goes on being served")
    assert shown(proxy) == digest(old)
    pair.cert_file.write_text("nothing")
    proxy.wait_log(f"{pair.cert_file}: no certificate in the PEM text")
    pair.key_file.unlink()
    proxy.wait_log(f"cannot read {pair.key_file}")
    assert shown(proxy) == digest(old)
    pair.write(new)
    wait_until(lambda: shown(proxy) == digest(new), "the good pair")


def test_names_come_and_go_with_the_file(ferrule, origin, authority, folder):
    fallback = authority.issue("default.test")
    pair, default = Pair(folder / "pair", authority.issue("a.test", "b.test")), Pair(folder / "default", fallback)
    next_pair, next_default = authority.issue("b.test", "c.test"), authority.issue("default.test")
    proxy = ferrule.https(origin, certificates=[pair], extra="[tls.stores.default.defaultCertificate]\n"
                          f'certFile = "{default.cert_file}"\nkeyFile = "{default.key_file}"\n')
    assert shown(proxy, "a.test") == shown(proxy, "b.test") != digest(fallback) == shown(proxy, "c.test")
    pair.rename(next_pair)
    wait_until(lambda: shown(proxy, "c.test") == digest(next_pair), "the new name")
    assert shown(proxy, "b.test") == digest(next_pair) and shown(proxy, "a.test") == digest(fallback)
    default.rename(next_default)
    wait_until(lambda: shown(proxy, "a.test") == digest(next_default), "the new default certificate")


def test_a_chain_is_mended(ferrule, origin, authority, folder):
    """The same leaf with another chain is another certificate to serve; a wrong order is put right."""
    certificate = authority.issue(HOST)
    whole = certificate.cert_file.read_text()
    leaf, root = (text + "-----END CERTIFICATE-----\n" for text in whole.split("-----END CERTIFICATE-----\n")[:2])
    pair = Pair(folder / "pair", certificate)
    pair.cert_file.write_text(leaf)
    proxy = ferrule.https(origin, certificates=[pair])

    def chain():
        return s_client(proxy.port(), HOST, "-showcerts")[1].count("BEGIN CERTIFICATE")

    assert chain() == 1
    pair.cert_file.write_text(root + leaf)
    wait_until(lambda: chain() == 2, "the longer chain")
    proxy.wait_log("the certificates are served in another order than that of the file: that of example.test first")
    with proxy.connect_tls(HOST, ca_file=authority.cert_file) as client:
        assert client.exchange("GET", "/").status == 200


def test_a_reload_changes_which_files_are_watched(ferrule, origin, authority, folder):
    one, two = (Pair(folder / name, authority.issue(f"{name}.test")) for name in ("one", "two"))
    port = free_port()

    def text(*pairs):
        return "\n".join([config.entrypoint("websecure", port), config.router("all", "origins", entrypoints=["websecure"], tls=True),
                          config.service("origins", origin.url), *map(config.certificate, pairs)])

    proxy = ferrule(text(one), {"websecure": port})
    default = shown(proxy, "two.test")
    assert shown(proxy, "one.test") != default
    proxy.write_config(text(two))
    proxy.cli("reload")
    wait_until(lambda: shown(proxy, "two.test") != default == shown(proxy, "one.test"), "the other certificate")
    fresh = authority.issue("two.test")
    one.rename(authority.issue("one.test"))
    two.rename(fresh)
    wait_until(lambda: shown(proxy, "two.test") == digest(fresh), "the changed file")
    assert shown(proxy, "one.test") == default


def test_many_files_at_once_under_load(ferrule, origin, authority, folder):
    """No handshake fails while all certificates are replaced again and again."""
    names = [f"h{n}.test" for n in range(10)]
    versions = [[authority.issue(name) for name in names] for _ in range(2)]
    pairs = [Pair(folder / name, certificate) for name, certificate in zip(names, versions[0])]
    proxy = ferrule.https(origin, certificates=pairs)
    failures, stop = [], threading.Event()

    def hammer():
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                if proxy.get_tls("/bytes/10", names[turn % 10], ca_file=authority.cert_file).status != 200:
                    failures.append("status")
            except Exception as error:  # noqa: BLE001 - whatever it was, it is a failure
                failures.append(repr(error))

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        for certificates in (versions[1], versions[0], versions[1]):
            for pair, certificate in zip(pairs, certificates):
                pair.rename(certificate)
            wait_until(lambda: all(shown(proxy, n) == digest(c) for n, c in zip(names, certificates)), "all new ones")
    finally:
        stop.set()
        thread.join()
    assert not failures


def test_text_in_the_configuration(ferrule, origin, authority):
    """PEM text in the configuration itself is served; it has no file to watch."""
    certificate = authority.issue(HOST)
    port = free_port()
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", port), config.router("all", "origins", entrypoints=["websecure"], tls=True),
        config.service("origins", origin.url),
        f'[[tls.certificates]]\ncertFile = """{certificate.cert_file.read_text()}"""\nkeyFile = """{certificate.key_file.read_text()}"""']),
        {"websecure": port})
    assert shown(proxy) == digest(certificate)


def test_default_certificate_from_an_authority(ferrule, origin, bind, pebble):
    """defaultGeneratedCert: obtained like any other, then shown to whoever asks for a name without certificate."""
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", [])], extra='''
[tls.stores.default.defaultGeneratedCert]
resolver = "test"
domain.main = "default.edge.test"
domain.sans = ["*.default.edge.test"]''')

    def names(server_name):
        with proxy.connect_tls(server_name) as client:
            return client.certificate["names"]

    wait_until(lambda: names("unknown.test") == ["*.default.edge.test", "default.edge.test"], "the obtained default certificate", 60)
    assert names(None) == names("a.default.edge.test")
    wait_until(lambda: names("demo.edge.test") == ["demo.edge.test"], "the other certificate", 60)
    proxy.restart()
    assert names("unknown.test") == ["*.default.edge.test", "default.edge.test"] and pebble.issued() == 2
    proxy.cli("reload")
    assert names("unknown.test") == ["*.default.edge.test", "default.edge.test"]
