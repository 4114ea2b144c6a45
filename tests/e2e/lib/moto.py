# SPDX-License-Identifier: Apache-2.0
"""moto's Route 53 behind a front that verifies signatures (moto does not), and a mirror of a zone in BIND (moto answers no
DNS)."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError
from xml.etree import ElementTree

import pytest

from . import aws
from .httpservice import Answer
from .proc import HarnessError, Process, free_port

SPACE = {"a": aws.NAMESPACE}


def packages():
    """The folder that Python finds moto in: of the private prefix (tools/deps --tools), or "" for the distribution's."""
    deps = os.environ.get("FERRULE_DEPS") or Path(__file__).resolve().parents[3] / "build" / "deps"
    folder = Path(deps).resolve() / "share" / "moto"
    path = str(folder) if folder.exists() else ""
    check = subprocess.run([sys.executable, "-c", "import moto.server"], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                           text=True)
    if check.returncode:
        pytest.skip(f"moto cannot be imported (tools/deps --tools, tools/packages): {check.stderr.strip().splitlines()[-1]}")
    return path


class Moto(aws.Signed):
    """A moto_server, and the front before it: give the plug-in `url`."""

    service = "route53"

    def __init__(self, folder):
        super().__init__()
        self.backend = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        self.process = Process("moto", [sys.executable, "-m", "moto.server", "-p", self.backend.rsplit(":", 1)[1]], folder,
                               env={**os.environ, "PYTHONPATH": packages()})
        try:
            self.process.wait_ready(self.answers, "moto answers", 90)
        except HarnessError:
            super().stop()
            raise
        self.mirrors = {}  # zone id -> Bind

    def answers(self):
        try:
            return self.ask("GET", "/2013-04-01/hostedzone")[0] == 200
        except OSError:
            return False

    def ask(self, method, target, body="", headers=None):
        """(status, body) of moto itself, which chooses its service by the credential's scope."""
        scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/route53/aws4_request, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(self.backend + target, body.encode() if body else None,
                                         {"Authorization": scope, "Content-Type": "application/xml", **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refused:
            return refused.code, refused.read().decode()

    def act(self, request):
        headers = {name: request.headers[name] for name in ("Content-Type",) if request.headers.get(name)}
        status, body = self.ask(request.method, request.target, request.body, headers)
        if request.method == "POST" and status == 200:
            self.mirror()
        return Answer(status, body, {"Content-Type": "text/xml"})

    def add_zone(self, name, private=False):
        vpc = "<VPC><VPCId>vpc-12345678</VPCId><VPCRegion>us-east-1</VPCRegion></VPC>" if private else ""
        status, body = self.ask("POST", "/2013-04-01/hostedzone", f'<CreateHostedZoneRequest xmlns="{aws.NAMESPACE}"><Name>{name}'
                                f"</Name>{vpc}<CallerReference>{name}{private}</CallerReference><HostedZoneConfig><Comment>c</Comment>"
                                f"<PrivateZone>{str(private).lower()}</PrivateZone></HostedZoneConfig></CreateHostedZoneRequest>")
        assert status == 201, body
        return ElementTree.fromstring(body).findtext("a:HostedZone/a:Id", None, SPACE).rsplit("/", 1)[1]

    def txt(self, zone):
        """{name without final dot: sorted values} of all TXT sets."""
        status, body = self.ask("GET", f"/2013-04-01/hostedzone/{zone}/rrset")
        assert status == 200, body
        found = {}
        for one in ElementTree.fromstring(body).iterfind("a:ResourceRecordSets/a:ResourceRecordSet", SPACE):
            if one.findtext("a:Type", None, SPACE) == "TXT":
                found[one.findtext("a:Name", None, SPACE).rstrip(".")] = sorted(
                    value.text.strip('"') for value in one.iterfind("a:ResourceRecords/a:ResourceRecord/a:Value", SPACE))
        return found

    def mirror(self):
        """Makes the zone's TXT values in BIND what they are in moto."""
        for zone, bind in self.mirrors.items():
            wanted, have = self.txt(zone), bind.all_txt()
            lines = [f"delete {name}. TXT" for name in have if name not in wanted]
            for name, values in wanted.items():
                if have.get(name) != values:
                    lines += [f"delete {name}. TXT", *(f'add {name}. 10 TXT "{value}"' for value in values)]
            if lines:
                bind.nsupdate(*lines)

    def stop(self):
        super().stop()
        self.process.stop()
