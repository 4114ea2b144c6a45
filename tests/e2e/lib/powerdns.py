# SPDX-License-Identifier: Apache-2.0
"""PowerDNS as a third kind of primary server: zones in SQLite that one TSIG key may update."""

import base64
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

from .proc import HarnessError, Process, free_port

SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
# Without its caches: a value counts when it is there.
CONFIG = """
launch=gsqlite3
gsqlite3-database={folder}/pdns.sqlite3
local-address=127.0.0.1
local-port={port}
socket-dir={folder}
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
allow-axfr-ips=127.0.0.0/8
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
log-dns-queries=yes
loglevel=6
"""


class PowerDns:
    """zones {name: [(name, type, content), ...] beside SOA and NS}."""

    def __init__(self, folder, algorithm="hmac-sha256", zones=None):
        program = shutil.which("pdns_server", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program or not SCHEMA.exists():
            raise HarnessError("PowerDNS is not installed (Debian: pdns-server, pdns-backend-sqlite3)")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.algorithm, self.secret = algorithm, base64.b64encode(os.urandom(32)).decode()
        self.port = free_port()
        self._fill(zones or {"edge.test": []})
        (self.folder / "pdns.conf").write_text(CONFIG.format(folder=self.folder, port=self.port))
        self.process = Process("pdns", [program, f"--config-dir={self.folder}", "--daemon=no", "--guardian=no"], self.folder)
        self.process.wait_ready(lambda: self.dig(next(iter(zones or ["edge.test"])), "SOA"), "PowerDNS answers")

    def _fill(self, zones):
        data = sqlite3.connect(self.folder / "pdns.sqlite3")
        data.executescript(SCHEMA.read_text())
        data.execute("INSERT INTO tsigkeys (name, algorithm, secret) VALUES ('update-key', ?, ?)", (self.algorithm, self.secret))
        for number, (zone, records) in enumerate(zones.items(), 1):
            data.execute("INSERT INTO domains (id, name, type) VALUES (?, ?, 'NATIVE')", (number, zone))
            data.execute("INSERT INTO domainmetadata (domain_id, kind, content) VALUES (?, 'TSIG-ALLOW-DNSUPDATE', 'update-key')", (number,))
            own = [(zone, "SOA", f"ns1.{zone} hostmaster.{zone} 1 3600 600 86400 5"), (zone, "NS", f"ns1.{zone}"),
                   (f"ns1.{zone}", "A", "127.0.0.1")]
            data.executemany("INSERT INTO records (domain_id, name, type, content, ttl, auth) VALUES (?, ?, ?, ?, 60, 1)",
                             [(number, *record) for record in own + records])
        data.commit()
        data.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self.process.stop()

    def dig(self, name, kind):
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+short", "+tries=1", "+time=2", "+norecurse", name, kind]
        return [line for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
                if line and not line.startswith(";")]

    def txt(self, name):
        return sorted("".join(re.findall(r'"([^"]*)"', line)) for line in self.dig(name, "TXT"))

    def all_txt(self):
        """{name: sorted values} of all zones, out of the database itself."""
        data = sqlite3.connect(self.folder / "pdns.sqlite3")
        found = {}
        for name, content in data.execute("SELECT name, content FROM records WHERE type = 'TXT'"):
            found.setdefault(name, []).append(content.strip('"'))
        data.close()
        return {name: sorted(values) for name, values in found.items()}

    def rfc2136_env(self, algorithm=None, **more):
        return {"RFC2136_NAMESERVER": self.address, "RFC2136_TSIG_KEY": "update-key", "RFC2136_TSIG_SECRET": self.secret,
                "RFC2136_TSIG_ALGORITHM": self.algorithm, **more}
