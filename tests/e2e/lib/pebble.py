# SPDX-License-Identifier: Apache-2.0
"""Pebble, the ACME test server, validating for real against our BIND and our ports.

Its 5 % of rejected nonces stay on; only the random sleep before a validation is switched off.
"""

import json
import os
import shutil
import ssl
import urllib.request
from pathlib import Path

from .proc import HarnessError, Process, free_port, wait_until


def newer_pebble():
    """The path of the one in the private prefix (tools/deps --pebble): 2.10, with ARI. None: it is not there."""
    deps = os.environ.get("FERRULE_DEPS") or Path(__file__).resolve().parents[3] / "build" / "deps"
    newer = Path(deps).resolve() / "libexec" / "pebble"
    return newer if newer.exists() else None


def pebble_program(distribution=False):
    """The newer one or the distribution's."""
    newer = None if distribution else newer_pebble()
    program = str(newer) if newer else shutil.which("pebble")
    if not program:
        raise HarnessError("pebble is not installed")
    return program


class Pebble:
    """One ACME server.

    dns       "IP:PORT" of the server that validation asks
    validity_s   lifetime of its certificates; None: Pebble's default (5 years or 90 days by version)
    eab       {kid: base64url HMAC key} makes external account binding required
    profiles  {name: lifetime in seconds}, only Pebble >= 2.7
    names     that its own certificate is for
    distribution  run the distribution's program, not the newer one
    """

    def __init__(self, folder, authority, dns, validity_s=None, eab=None, profiles=None, blocked=(), env=None,
                 http_port=None, tls_port=None, strict=False, names=("127.0.0.1", "localhost"), distribution=False):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority, self.dns = authority, dns
        self.http_port = http_port or free_port()  # where HTTP-01 is validated
        self.tls_port = tls_port or free_port()  # where TLS-ALPN-01 is validated
        self.process = None
        self._program = pebble_program(distribution)
        self._cert = authority.issue(*names)
        self._settings = {
            "certificate": str(self._cert.cert_file), "privateKey": str(self._cert.key_file),
            "httpPort": self.http_port, "tlsPort": self.tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(eab), "domainBlocklist": list(blocked),
            "retryAfter": {"authz": 1, "order": 1},
        }
        if eab:
            self._settings["externalAccountMACKeys"] = eab
        if validity_s:
            self._settings["certificateValidityPeriod"] = validity_s
            profiles = {"default": validity_s, **(profiles or {})}
        if profiles:
            self._settings["profiles"] = {name: {"description": name, "validityPeriod": seconds}
                                          for name, seconds in profiles.items()}
        self._env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", **(env or {})}
        self._arguments = ["-dnsserver", dns] + (["-strict"] if strict else [])
        self._start()

    def _start(self):
        for attempt in range(3):
            self.port, self.management_port = free_port(), free_port()
            self._launch()
            try:
                self.process.wait_ready(lambda: self._get(self.directory_url), "Pebble answers")
                self.process.wait_ready(lambda: self._get(self.management_url + "/roots/0"), "Pebble's management answers", 15)
                return
            except HarnessError:
                self.process.kill()
                if attempt == 2:
                    raise

    def _launch(self):
        self._settings["listenAddress"] = f"127.0.0.1:{self.port}"
        self._settings["managementListenAddress"] = f"127.0.0.1:{self.management_port}"
        config = self.folder / "pebble.json"
        config.write_text(json.dumps({"pebble": self._settings}, indent=1))
        self.process = Process("pebble", [self._program, "-config", config, *self._arguments], self.folder, env=self._env)

    @property
    def directory_url(self):
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def management_url(self):
        return f"https://127.0.0.1:{self.management_port}"

    @property
    def ca_file(self):
        """What an ACME client must trust to talk to the directory."""
        return self.authority.cert_file

    @property
    def log(self):
        return self.process.log

    def _get(self, url):
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            context.check_hostname = False
            with urllib.request.urlopen(url, context=context, timeout=5) as answer:
                return answer.read()
        except OSError:
            return None

    def directory(self):
        return json.loads(self._get(self.directory_url))

    def roots_file(self):
        """A PEM file with the roots that the issued certificates chain to (made anew at each start)."""
        path = self.folder / "roots.pem"
        wait_until(lambda: self._get(f"{self.management_url}/roots/0"), "Pebble's roots")
        data = b""
        for number in range(8):
            pem = self._get(f"{self.management_url}/roots/{number}")
            if not pem:
                break
            data += pem
        path.write_bytes(data)
        return path

    def issued(self):
        """How many certificates it has issued since its start."""
        return self.log.count("Issued certificate serial")

    def stop(self):
        self.process.stop()

    def restart(self):
        """The same ports, but no account, order or certificate is left: Pebble keeps all in memory."""
        self.stop()
        self._launch()
        self.process.wait_ready(lambda: self._get(self.directory_url), "Pebble answers again")
