# SPDX-License-Identifier: Apache-2.0
"""Knot DNS as a second kind of primary server: one zone that one TSIG key may update."""

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path

from .proc import HarnessError, Process, free_port

CONFIG = """
server:
  rundir: "{folder}"
  listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: debug
key:
  - id: {key}
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: update
    key: {key}
    action: update
  - id: anybody
    address: 127.0.0.0/8
    action: transfer
zone:
  - domain: edge.test
    storage: "{folder}"
    file: edge.test.zone
    acl: [update, anybody]
    zonefile-sync: -1
"""

ZONE = """$ORIGIN edge.test.
$TTL 60
@ IN SOA ns1 hostmaster 1 3600 600 86400 5
@ IN NS ns1
ns1 IN A 127.0.0.1
"""


class Knot:
    def __init__(self, folder, algorithm="hmac-sha256"):
        program = shutil.which("knotd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise HarnessError("knotd is not installed (Debian: knot)")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.algorithm, self.secret = algorithm, base64.b64encode(os.urandom(32)).decode()
        self.port = free_port()
        (self.folder / "edge.test.zone").write_text(ZONE)
        config = self.folder / "knot.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, key="update-key", algorithm=algorithm,
                                        secret=self.secret))
        self.process = Process("knot", [program, "-c", config], self.folder)
        self.process.wait_ready(lambda: self._dig("edge.test", "SOA"), "Knot answers")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self.process.stop()

    def _dig(self, name, kind):
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+short", "+tries=1", "+time=2", "+norecurse", name, kind]
        return [line for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
                if line and not line.startswith(";")]

    def txt(self, name):
        return sorted("".join(re.findall(r'"([^"]*)"', line)) for line in self._dig(name, "TXT"))

    def rfc2136_env(self, **more):
        return {"RFC2136_NAMESERVER": self.address, "RFC2136_TSIG_KEY": "update-key", "RFC2136_TSIG_SECRET": self.secret,
                "RFC2136_TSIG_ALGORITHM": self.algorithm, **more}
