# SPDX-License-Identifier: Apache-2.0
"""The place of a run: a folder with certificates, the origin, ports, and programs of this repository."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from lib import http1, proc
from lib.ferrule import build_folder

from . import Unavailable, machine

SUFFIX = "bench.test"
HOST = f"h00000.{SUFFIX}"
SIZES = {"64": 64, "1k": 1 << 10, "4k": 4 << 10, "16k": 16 << 10, "64k": 64 << 10, "256k": 256 << 10, "1m": 1 << 20, "4m": 4 << 20,
         "16m": 16 << 20}
NEEDED = ("curl", "openssl", "setpriv", "taskset", "wrk")
ORIGIN_ADDRESSES = 100  # 127.0.0.1 to 127.0.0.100

# One suite, one group, one ticket, for whatever uses OpenSSL and cannot be told otherwise.
OPENSSL = """openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = policy
[policy]
MinProtocol = TLSv1.2
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = {groups}
{more}
"""

NGINX = """
{user} daemon off; master_process on; worker_processes 1; worker_rlimit_nofile {files}; pid {folder}/{name}.pid;
error_log {folder}/{name}.error.log warn;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
  access_log off; client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; tcp_nopush on; tcp_nodelay on;
  open_file_cache max=100;
  {body}
}}
"""

ORIGIN = """
server {{ {listen} root {folder}/www; client_max_body_size 0; client_body_buffer_size 2m;
  location / {{ default_type text/plain; }} location = /count {{ stub_status; }} location = /upload {{ return 204; }} }}
"""


def nginx_program():
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not found:
        raise Unavailable("nginx is not installed (apt-get install nginx)")
    return found


def nginx_command(folder, name, body, connections=16384):
    path = folder / f"{name}.conf"
    (folder / "tmp").mkdir(exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""  # its worker has to read what only we may
    files = machine.descriptors(0)
    path.write_text(NGINX.format(folder=folder, name=name, body=body, user=user, files=files, connections=min(connections, files)))
    return [nginx_program(), "-e", f"{folder}/{name}.start.log", "-c", path]


def tool(name):
    """A program of bench/ in the build folder."""
    path = build_folder() / "bench" / name
    if not path.exists():
        raise Unavailable(f"{path} is missing: ninja -C {build_folder()}")
    return path


class Ports:
    """The given ports in their order, then free ones."""

    def __init__(self, given=()):
        self.given = list(given)

    def take(self):
        """Unavailable if a given one is busy."""
        if not self.given:
            return proc.free_port()
        port = self.given.pop(0)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else TIME_WAIT of an earlier run is in the way
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Unavailable(f"port {port} is busy ({error.strerror})") from None
        return port


class Site:
    """Made once for a run; close() ends and removes all of it."""

    def __init__(self, cores, ports=()):
        proc.become_subreaper()
        self.cores = cores
        self.ports = Ports(ports)
        self.folder = Path(tempfile.mkdtemp(prefix="ferrule-bench-"))
        self.made = 0
        self.origin = self.certs = None
        self._certs = {}

    def open(self):
        """Makes certificate and contents, and starts the origin. Unavailable."""
        for name in NEEDED:
            if not shutil.which(name):
                raise Unavailable(f"{name} is not installed (bench/compare --install)")
        self.certs = self.certs_of(1)
        groups = "X25519MLKEM768:X25519" if self.knows_mlkem() else "X25519"
        for name, more in (("client", ""), ("server", "NumTickets = 1")):
            (self.folder / f"{name}.cnf").write_text(OPENSSL.format(groups="X25519" if name == "client" else groups, more=more))
        www = self.folder / "www"
        www.mkdir()
        for name, size in SIZES.items():
            (www / name).write_bytes(body_of(size))
        self.origin = Origin(self)

    def close(self):
        proc.end_leftovers()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_folder(self, name):
        self.made += 1
        folder = self.folder / f"{name}{self.made}"
        folder.mkdir()
        return folder

    def certs_of(self, count):
        """So many certificates, made once."""
        if count not in self._certs:
            folder = self.folder / f"certs{count}"
            folder.mkdir()
            subprocess.run([str(tool("certs")), str(folder), str(count), SUFFIX], check=True)
            self._certs[count] = Certs(folder, count)
        return self._certs[count]

    def knows_mlkem(self):
        """Does the system's OpenSSL (3.5 and newer) know X25519MLKEM768?"""
        out = subprocess.run(["openssl", "list", "-kem-algorithms"], capture_output=True, text=True).stdout
        return "X25519MLKEM768" in out


def body_of(size):
    """Bytes that do not compress to nothing and differ from place to place."""
    line = b"".join(b"%07d." % number for number in range(512))
    return (line * (size // len(line) + 1))[:size]


class Certs:
    """What bench/certs made in a folder."""

    def __init__(self, folder, count):
        self.folder, self.count = folder, count
        self.ca_file = folder.with_suffix(".ca.pem")

    def pairs(self):
        """[(name, chain file, key file)]"""
        return [(f"h{i:05}.{SUFFIX}", self.folder / f"h{i:05}.pem", self.folder / f"h{i:05}.pem.key") for i in range(self.count)]


class Origin:
    """nginx with files of many sizes; it counts what it answers."""

    def __init__(self, site):
        self.port = site.ports.take()
        listen = "".join(f"listen 127.0.0.{k}:{self.port} reuseport;\n" for k in range(1, ORIGIN_ADDRESSES + 1))
        command = nginx_command(site.folder, "origin", ORIGIN.format(listen=listen, folder=site.folder))
        self.process = proc.Process("origin", machine.pinned(site.cores[1], command), site.folder)
        self._connection, self._asked = None, 0
        self.process.wait_ready(lambda: proc.accepts(self.port), "the origin accepts")

    def url(self, number=0):
        return f"http://127.0.0.{1 + number}:{self.port}"

    def served(self):
        """Requests that it has answered, without those that asked this."""
        if not self._connection:
            self._connection = http1.connect(self.port)
        text = self._connection.exchange("GET", "/count", HOST).body.decode()
        self._asked += 1
        return int(text.split("\n")[2].split()[2]) - self._asked
