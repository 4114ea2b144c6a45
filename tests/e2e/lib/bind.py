# SPDX-License-Identifier: Apache-2.0
"""BIND 9 as an authoritative server with zones that a TSIG key may update."""

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path

from .proc import HarnessError, Process, free_port, wait_until

ALGORITHMS = ("hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")

CONFIG = """
options {{
    directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    recursion {recursion};
    dnssec-validation no;
    querylog yes;
    notify no;
    {options}
}};
controls {{ }};
logging {{
    channel log {{ stderr; severity info; print-category yes; print-time yes; }};
    category default {{ log; }};
    category queries {{ log; }};
    category update {{ log; }};
    category update-security {{ log; }};
}};
{keys}
{zones}
"""

ZONE = """$TTL 60
@ IN SOA ns1 hostmaster ( 1 3600 600 86400 5 )
{nameservers}
{records}
"""


class Key:
    """A TSIG key: name without final dot, algorithm, secret in base64."""

    def __init__(self, name, algorithm, secret=None):
        self.name = name
        self.algorithm = algorithm
        self.secret = secret or base64.b64encode(os.urandom(48)).decode()


def _named_program(folder):
    """AppArmor confines /usr/sbin/named to /etc/bind: a copy elsewhere is not confined."""
    program = shutil.which("named", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not program:
        raise HarnessError("named is not installed (Debian: bind9)")
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if enabled.exists() and enabled.read_text().startswith("Y"):
        return shutil.copy(program, folder / "named")
    return program


class Bind:
    """One named on 127.0.0.1 (it cannot listen on other loopback addresses: see DnsRelay).

    zones        {name: records in zone file form}; every zone may be updated by every key
    nameservers  the addresses that the zones' NS records lead to
    options      more text for BIND's options block
    forward      {zone: "IP:PORT"}: a resolver, which asks these servers and remembers what they say
    views        {address of a client: zones as above}: who asks from another address sees other zones
    more_keys    how many keys there are in `more_keys` beside those of each algorithm
    """

    def __init__(self, folder, zones=None, nameservers=("127.0.0.1",), port=None, options="", forward=None, views=None,
                 more_keys=0):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.zones = zones if zones is not None else {} if forward or views else {"edge.test": ""}
        self.forward, self.views = forward or {}, views or {}
        self.nameservers = nameservers
        self.options = options
        self.keys = {a: Key(f"key-{a}", a) for a in ALGORITHMS}
        self.more_keys = [Key(f"key-{n}", "hmac-sha256") for n in range(more_keys)]
        self.process = None
        self.port = port
        self._start(fixed_port=port is not None)

    @property
    def address(self):
        """"IP:PORT"."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.process.log

    @property
    def key(self):
        """The key most tests use."""
        return self.keys["hmac-sha256"]

    def _write(self):
        all_keys = [*self.keys.values(), *self.more_keys]
        keys = "".join(f'key "{k.name}" {{ algorithm {k.algorithm}; secret "{k.secret}"; }};\n' for k in all_keys)
        allowed = " ".join(f'key "{k.name}";' for k in all_keys)
        nameservers = "".join(f"@ IN NS ns{i}\nns{i} IN A {a}\n" for i, a in enumerate(self.nameservers, 1))

        def zones_of(zones, prefix=""):
            text = ""
            for name, records in zones.items():
                path = self.folder / f"{prefix}{name}.zone"
                if not path.exists():
                    path.write_text(ZONE.format(nameservers=nameservers, records=records))
                text += (f'zone "{name}" {{ type primary; file "{path}"; allow-update {{ {allowed} }}; '
                         f"allow-transfer {{ any; }}; }};\n")
            return text

        zones = zones_of(self.zones)
        for name, address in self.forward.items():
            host, port = address.rsplit(":", 1)
            zones += f'zone "{name}" {{ type forward; forward only; forwarders {{ {host} port {port}; }}; }};\n'
        for client, view in self.views.items():
            zones += f'view "of-{client}" {{\nmatch-clients {{ {client}; }};\n{zones_of(view, client + "-")}}};\n'
        config = self.folder / "named.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, options=self.options, keys=keys,
                                        zones=zones, recursion="yes" if self.forward else "no"))
        return config

    def _start(self, fixed_port):
        """Starts it; if somebody took the port in between, tries another."""
        while True:
            if not fixed_port:
                self.port = free_port()
            config = self._write()
            # -f with a channel to stderr, because -g ignores the logging statement
            self.process = Process("named", [_named_program(self.folder), "-f", "-L", "/dev/stderr", "-c", config,
                                             "-n", "1"], self.folder)
            try:
                self.process.wait_ready(lambda: re.search(r"\brunning$", self.log, re.M), "BIND is running")
                if "address in use" not in self.log:
                    self.process.wait_ready(lambda: all(map(self._answers, self.zones)), "BIND answers")
                    return
                if fixed_port:
                    raise HarnessError(f"port {self.port} is in use")
            except HarnessError:
                self.process.kill()
                raise
            self.process.kill()
            self.process.log_path.unlink()

    def _answers(self, zone):
        return self.dig(zone, "SOA") != []

    def restart(self):
        """Starts it again on the same port, zones as they were left."""
        self.stop()
        self._start(fixed_port=True)

    def stop(self):
        self.process.stop()

    def dig(self, name, kind, *options, address=None):
        """The answer's rdata lines (dig +short); [] also when nobody answers."""
        command = ["dig", f"@{address or '127.0.0.1'}", "-p", str(self.port), "+short", "+tries=1", "+time=5",
                   "+norecurse", *options, name, kind]
        result = subprocess.run(command, capture_output=True, text=True)
        return [line for line in result.stdout.splitlines() if line and not line.startswith(";")]

    def txt(self, name, address=None):
        """Sorted TXT values at a name."""
        return sorted("".join(re.findall(r'"([^"]*)"', line)) for line in self.dig(name, "TXT", address=address))

    def wait_txt(self, name, values):
        """Waits until exactly these TXT values stand at the name."""
        wait_until(lambda: self.txt(name) == sorted(values), f"TXT {name} = {sorted(values)}")

    def all_txt(self, zone=None):
        """{name: sorted values} of every TXT record in a zone, by zone transfer: shows what was left behind."""
        zone = zone or next(iter(self.zones))
        result = subprocess.run(["dig", "@127.0.0.1", "-p", str(self.port), "+noall", "+answer", zone, "AXFR"],
                                capture_output=True, text=True)
        found = {}
        for line in result.stdout.splitlines():
            fields = line.split(None, 4)
            if len(fields) == 5 and fields[3] == "TXT":
                found.setdefault(fields[0].rstrip("."), []).append("".join(re.findall(r'"([^"]*)"', fields[4])))
        return {name: sorted(values) for name, values in found.items()}

    def nsupdate(self, *lines, key="hmac-sha256", zone=None):
        """Sends an update signed with one of `keys` (None: unsigned); fails if the server refuses."""
        script = f"server 127.0.0.1 {self.port}\nzone {zone or next(iter(self.zones))}\n"
        script += "".join(f"update {line}\n" for line in lines) + "send\n"
        command = ["nsupdate"]
        if key:
            k = self.keys[key]
            command += ["-y", f"{k.algorithm}:{k.name}:{k.secret}"]
        result = subprocess.run(command, input=script, capture_output=True, text=True)
        if result.returncode:
            raise HarnessError(f"nsupdate: {result.stderr.strip()}\n{self.log[-2000:]}")

    def queries(self, name=None, kind=None):
        """[(name, type)] of the query log, oldest first; flags are not parsed."""
        found = re.findall(r"query: (\S+) IN (\S+)", self.log)
        return [(n.lower(), t) for n, t in found if name in (None, n.lower()) and kind in (None, t)]

    def rfc2136_env(self, algorithm="hmac-sha256", key=None, **more):
        """The environment that the rfc2136 provider needs for this server. key: instead of the algorithm's."""
        key = key or self.keys[algorithm]
        env = {"RFC2136_NAMESERVER": self.address, "RFC2136_TSIG_KEY": key.name, "RFC2136_TSIG_SECRET": key.secret,
               "RFC2136_TSIG_ALGORITHM": f"{key.algorithm}."}
        return {**env, **more}
