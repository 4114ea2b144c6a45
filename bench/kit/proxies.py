# SPDX-License-Identifier: Apache-2.0
"""The proxies that are compared: how each is found, configured and started.

Each is set up as its own documents on tuning say: connections to the upstream are kept, buffers hold a large part of a body,
there is no access log, one worker. All show the same certificate (ECDSA P-256) and do TLS 1.3 with AES-128-GCM, X25519 and
one ticket where that can be said, and all tell the upstream of the client by X-Forwarded-For and X-Forwarded-Proto.
"""

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field

from lib import config, proc
from lib.ferrule import program

from . import Unavailable, machine
from .site import HOST, SUFFIX, nginx_command, nginx_program, tool

START_S = 60
KEEP = 1024  # connections that are kept to the upstream


@dataclass
class Setup:
    """What a proxy is to be; the default is what most scenarios need."""
    certs: object = None  # site.Certs; None: the site's own
    routers: int = 0  # so many routers for a host each, instead of one for all (ferrule only)
    upstreams: int = 1  # addresses of the origin (ferrule only)
    cores: list = field(default_factory=list)  # [] = the site's first, one worker


class Proxy:
    """One running proxy. pids() are all of its processes."""

    name = package = binary = None
    tls = True

    def __init__(self, site, setup=None, name=None):
        self.site, self.setup = site, setup or Setup()
        self.name = name or self.name
        self.folder = site.new_folder(self.name)
        self.certs = self.setup.certs or site.certs
        self.cores = self.setup.cores or [site.cores[0]]
        self.ports = {"http": site.ports.take()}
        if self.tls:
            self.ports["https"] = site.ports.take()
        self.process = None

    @classmethod
    def program(cls):
        """Where it is; Unavailable if it is not installed."""
        found = shutil.which(cls.binary) or shutil.which(cls.binary, path="/usr/sbin")
        if not found:
            raise Unavailable(f"{cls.package} is not installed (apt-get install {cls.package}, or --install)")
        return found

    @classmethod
    def version(cls):
        out = subprocess.run([cls.program(), "--version"], capture_output=True, text=True)
        return (out.stdout + out.stderr).strip().split("\n")[0]

    def env(self):
        """OpenSSL reads its configuration again for each context: with thousands of them that would be unfair."""
        more = {"OPENSSL_CONF": str(self.site.folder / "server.cnf")} if self.certs.count == 1 else {}
        return {**os.environ, **more, "HOME": str(self.folder)}

    def start(self, wait=True):
        """Starts it; its configuration has been written by command()."""
        self.process = proc.Process(self.name, machine.pinned(self.cores, self.command()), self.folder, env=self.env())
        if not wait:
            return self
        try:
            self.process.wait_ready(lambda: all(map(proc.accepts, self.ports.values())), f"{self.name} accepts", START_S)
        except proc.HarnessError as error:
            self.stop()
            raise Unavailable(f"{self.name} does not start: {error}") from None
        return self

    def stop(self):
        if self.process:
            family = self.pids()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait_exit(10)
            except proc.HarnessError:
                pass
            self.process.kill()
            for pid in family:  # those that a killed one leaves behind
                if proc.is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self.process = None

    def pids(self):
        return machine.family(self.process.pid)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


class Ferrule(Proxy):
    name, package = "ferrule", "ferrule"
    binary = None  # another one than the build's: smoke --base

    @classmethod
    def program(cls):
        try:
            return cls.binary or program()
        except proc.HarnessError as error:
            raise Unavailable(f"{error} (tools/build release)") from None

    def routers(self, entry, tls):
        if not self.setup.routers:
            return [config.router(entry, "origin", entrypoints=[entry], tls=tls)]
        return [config.router(f"{entry}{i}", "origin", f"Host(`h{i:05}.{SUFFIX}`)", entrypoints=[entry], tls=tls)
                for i in range(self.setup.routers)]

    def command(self):
        parts = [config.entrypoint(name, port) for name, port in self.ports.items()]
        parts += [*self.routers("http", False), *self.routers("https", True)]
        parts += [config.service("origin", *(self.site.origin.url(i) for i in range(self.setup.upstreams)))]
        parts += [f'[[tls.certificates]]\ncertFile = "{chain}"\nkeyFile = "{key}"\n' for _, chain, key in self.certs.pairs()]
        parts += [f'[workers]\ncount = {len(self.cores)}\ncpus = "{",".join(map(str, self.cores))}"\n',
                  f"[serversTransport]\nmaxIdleConnsPerHost = {KEEP}\n",
                  f'[state]\ndirectory = "{self.folder}/state"\n', f'[admin]\nsocket = "{self.folder}/admin.sock"\n']
        return [self.program(), "run", "-c", self.write("ferrule.toml", "\n".join(parts))]


class Nginx(Proxy):
    name = package = binary = "nginx"

    @classmethod
    def program(cls):
        return nginx_program()

    @classmethod
    def version(cls):
        return subprocess.run([cls.program(), "-v"], capture_output=True, text=True).stderr.strip().replace("nginx version: ", "")

    def command(self):
        groups = "X25519MLKEM768:X25519" if self.site.knows_mlkem() else "X25519"
        parts = [
            f"upstream origin {{ server 127.0.0.1:{self.site.origin.port}; keepalive {KEEP}; keepalive_requests 1000000000; }}",
            'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;',
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
            "proxy_buffers 2 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0;",
            "client_max_body_size 0; proxy_request_buffering off;",
            "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:sessions:10m; ssl_session_tickets on; ssl_buffer_size 16k;",
            f"ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_conf_command NumTickets 1; ssl_ecdh_curve {groups};",
            "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;"]
        for number, (name, chain, key) in enumerate(self.certs.pairs()):
            reuse, plain = (" reuseport", f"listen 127.0.0.1:{self.ports['http']} reuseport;") if number == 0 else ("", "")
            parts.append(f"server {{ {plain} listen 127.0.0.1:{self.ports['https']} ssl http2{reuse}; server_name {name};"
                         f" ssl_certificate {chain}; ssl_certificate_key {key}; location / {{ proxy_pass http://origin; }} }}")
        return nginx_command(self.folder, "nginx", "\n".join(parts))


class Haproxy(Proxy):
    name = package = binary = "haproxy"

    @classmethod
    def version(cls):
        text = subprocess.run([cls.program(), "-v"], capture_output=True, text=True).stdout
        return " ".join(text.split("\n")[0].split()[:3])

    def command(self):
        text = f"""
global
  nbthread 1
  maxconn {(machine.descriptors(0) - 200) // 2}
  tune.bufsize 65536
  tune.ssl.cachesize 20000
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-bind-curves {"X25519MLKEM768:X25519" if self.site.knows_mlkem() else "X25519"}
defaults
  mode http
  timeout connect 60s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
  option forwardfor
frontend edge
  bind 127.0.0.1:{self.ports["http"]}
  bind 127.0.0.1:{self.ports["https"]} ssl crt {self.certs.folder} alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  default_backend origin
backend origin
  server origin 127.0.0.1:{self.site.origin.port} pool-max-conn {KEEP} pool-purge-delay 600s
"""
        return [self.program(), "-db", "-f", self.write("haproxy.cfg", text)]


class H2o(Proxy):
    name = package = binary = "h2o"

    def command(self):
        upstream = f"http://127.0.0.1:{self.site.origin.port}/"
        paths = f'    paths:\n      "/":\n        proxy.reverse.url: "{upstream}"\n'
        text = f"""
num-threads: 1
max-connections: {(machine.descriptors(0) - 200) // 2}
limit-request-body: 1073741824
http1-request-timeout: 600
http2-idle-timeout: 600
proxy.preserve-host: ON
proxy.timeout.keepalive: 600000
proxy.timeout.io: 600000
hosts:
  "*":
    listen:
      host: 127.0.0.1
      port: {self.ports["http"]}
{paths}"""
        for name, chain, key in self.certs.pairs():
            text += f"""  "{name}:{self.ports['https']}":
    listen:
      host: 127.0.0.1
      port: {self.ports["https"]}
      ssl:
        certificate-file: {chain}
        key-file: {key}
        minimum-version: TLSv1.2
        ocsp-update-interval: 0
{paths}"""
        if os.geteuid() == 0:
            text = "user: nobody\n" + text
        return [self.program(), "-c", self.write("h2o.conf", text)]


class Caddy(Proxy):
    name = package = binary = "caddy"

    @classmethod
    def version(cls):
        return "caddy " + subprocess.run([cls.program(), "version"], capture_output=True, text=True).stdout.split()[0]

    def env(self):
        return {**super().env(), "GOMAXPROCS": "1", "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}

    def command(self):
        keep = {"enabled": True, "max_idle_conns": KEEP, "max_idle_conns_per_host": KEEP, "idle_timeout": "600s"}
        handler = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{self.site.origin.port}"}],
                   "transport": {"protocol": "http", "compression": False, "keep_alive": keep}}

        def server(name, **more):
            return {"listen": [f"127.0.0.1:{self.ports[name]}"], "routes": [{"handle": [handler]}],
                    "automatic_https": {"disable": True}, "idle_timeout": "600s", **more}

        servers = {"http": server("http", protocols=["h1"]),
                   "https": server("https", protocols=["h1", "h2"],
                                   tls_connection_policies=[{"default_sni": HOST, "alpn": ["h2", "http/1.1"]}])}
        files = [{"certificate": str(chain), "key": str(key)} for _, chain, key in self.certs.pairs()]
        text = json.dumps({"admin": {"disabled": True, "config": {"persist": False}},
                           "logging": {"logs": {"default": {"level": "ERROR"}}},
                           "apps": {"http": {"servers": servers}, "tls": {"certificates": {"load_files": files}}}})
        return [self.program(), "run", "--config", self.write("caddy.json", text)]


class Forwarder(Proxy):
    """The limit: no TLS, no HTTP."""
    name, package, tls = "forwarder", "ferrule", False

    @classmethod
    def program(cls):
        return tool("forwarder")

    @classmethod
    def version(cls):
        cls.program()
        return "bench/forwarder.c, io_uring"

    def command(self):
        return [self.program(), self.ports["http"], self.site.origin.port]


ALL = {cls.name: cls for cls in (Ferrule, Nginx, Haproxy, H2o, Caddy, Forwarder)}
PEERS = ("nginx", "haproxy", "h2o", "caddy")


def missing(names):
    """[(proxy, package)] of peers that are not installed."""
    found = []
    for name in names:
        if name in PEERS:
            try:
                ALL[name].program()
            except Unavailable:
                found.append((name, ALL[name].package))
    return found
