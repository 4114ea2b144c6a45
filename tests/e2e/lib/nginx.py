# SPDX-License-Identifier: Apache-2.0
"""nginx as a fast upstream: /64 is 64 bytes, /1m is 1 MB, any other number of bytes by file()."""

import os
import shutil
from pathlib import Path

from .origin import body_of
from .proc import HarnessError, Process, accepts, free_port

CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log {access_log};
    client_body_temp_path {folder}/temp-body;
    proxy_temp_path {folder}/temp-proxy;
    fastcgi_temp_path {folder}/temp-fastcgi;
    uwsgi_temp_path {folder}/temp-uwsgi;
    scgi_temp_path {folder}/temp-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    sendfile on;
    tcp_nodelay on;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} backlog=4096{listen};
        root {folder}/www;
        {server}
    }}
}}
"""


class Nginx:
    """One nginx with one worker. `server` is more text for its server block; tls: it speaks TLS (the
    certificate is for `server` to say); listen: more words of its listen line."""

    def __init__(self, folder, server="", access_log=False, tls=False, listen=""):
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise HarnessError("nginx is not installed")
        self.folder = Path(folder)
        self.tls = tls
        (self.folder / "www").mkdir(parents=True, exist_ok=True)
        self.file("64", 64)
        self.file("1m", 1024 * 1024)
        for attempt in range(3):
            self.port = free_port()
            config = self.folder / "nginx.conf"
            config.write_text(CONFIG.format(
                folder=self.folder, port=self.port, server=server, listen=(" ssl" if tls else "") + f" {listen}", user="user root;" if os.geteuid() == 0 else "",
                access_log=f"{self.folder}/access.log" if access_log else "off"))
            self.process = Process("nginx", [program, "-e", "stderr", "-p", self.folder, "-c", config], self.folder)
            try:
                self.process.wait_ready(lambda: accepts(self.port), "nginx accepts")
                return
            except HarnessError:
                self.process.kill()
                if attempt == 2:
                    raise

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def file(self, name, count):
        """Makes /NAME of `count` bytes (the pattern of origin.body_of)."""
        (self.folder / "www" / name).write_bytes(body_of(count))

    def stop(self):
        self.process.stop()
