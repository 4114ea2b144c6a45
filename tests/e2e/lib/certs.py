# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by the openssl command."""

import datetime
import ipaddress
import subprocess
from pathlib import Path

KEYS = {
    "EC256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "EC384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "RSA2048": ["rsa:2048"],
    "RSA4096": ["rsa:4096"],
}

# "openssl ca" is the only command of OpenSSL 3.0 that takes both dates.
CONFIG = """
[ca]
default_ca = it
[it]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
"""


class Certificate:
    """A chain (leaf first) and its key, both PEM."""

    def __init__(self, cert_file, key_file, names=()):
        self.cert_file = Path(cert_file)
        self.key_file = Path(key_file)
        self.names = list(names)


def openssl(*arguments):
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, f"openssl {' '.join(map(str, arguments))}\n{result.stderr}"
    return result.stdout


def _alternative(name):
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _date(offset):
    return (datetime.datetime.now(datetime.timezone.utc) + offset).strftime("%Y%m%d%H%M%SZ")


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder, name="Harness CA"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cert_file = self.folder / "ca.pem"
        self._count = 0
        (self.folder / "index").touch()
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "ca.conf").write_text(CONFIG.format(folder=self.folder))
        openssl("req", "-x509", "-newkey", *KEYS["EC256"], "-nodes", "-days", 3650, "-subj", f"/CN={name}",
                "-keyout", self.folder / "ca.key", "-out", self.cert_file,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, *names, key="EC256", starts=datetime.timedelta(hours=-1), ends=datetime.timedelta(days=30),
              use="serverAuth", more=""):
        """A leaf for host names and addresses; starts and ends count from now (ends < 0: expired). more: extensions."""
        self._count += 1
        stem = self.folder / f"leaf{self._count}"
        request, cert, key_file, extensions = (stem.with_suffix(s) for s in (".csr", ".pem", ".key", ".ext"))
        openssl("req", "-newkey", *KEYS[key], "-nodes", "-subj", f"/CN={names[0][:60]}", "-keyout", key_file,
                "-out", request)
        extensions.write_text(f"subjectAltName={','.join(map(_alternative, names))}\nbasicConstraints=CA:FALSE\n"
                              f"keyUsage=critical,digitalSignature\nextendedKeyUsage={use}\n{more}")
        openssl("ca", "-batch", "-notext", "-config", self.folder / "ca.conf", "-in", request, "-out", cert,
                "-extfile", extensions, "-startdate", _date(starts), "-enddate", _date(ends))
        cert.write_text(cert.read_text() + self.cert_file.read_text())
        return Certificate(cert, key_file, names)
