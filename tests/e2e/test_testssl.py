# SPDX-License-Identifier: Apache-2.0
"""What testssl.sh, a scanner that people trust, finds about ferrule's defaults."""

import json
import os
import re
import shutil
import subprocess
from datetime import timedelta

import pytest

HOST = "example.test"
GOOD = {"OK", "INFO", "LOW", "DEBUG"}
# What it finds all the same, and why that is no fault of ferrule's.
EXPECTED = {
    "engine_problem": "about the scanner's own openssl",
    "sessionresumption_ticket": "a connection of its own that took too long; test_tls.py resumes with openssl",
    "cert_revocation": "the test's authority has no CRL and no OCSP responder",
    "security_headers": "fields of responses are the origin's business, or a middleware's",
}


@pytest.mark.long
@pytest.mark.parametrize("key", ["EC256", "RSA2048"])
def test_scanner_finds_nothing(ferrule, origin, authority, folder, key):
    scanner = shutil.which("testssl") or shutil.which("testssl.sh")
    assert scanner, "testssl.sh is not installed: see tools/packages"
    proxy = ferrule.https(origin, certificates=[authority.issue(HOST, key=key, ends=timedelta(days=80))])
    report = folder / "testssl.json"
    run = subprocess.run(
        [scanner, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--openssl-timeout", "20",
         "--jsonfile", str(report), "--add-ca", str(authority.cert_file), "--ip", "127.0.0.1", f"{HOST}:{proxy.port()}"],
        capture_output=True, text=True, errors="replace", timeout=1500, env={**os.environ, "LC_ALL": "C"})
    assert report.exists(), run.stdout[-3000:] + run.stderr[-3000:]
    findings = json.loads(report.read_text())
    seen = {re.sub("_N?O?FS$", "", f["id"]) for f in findings}  # version 3.2 says which suites have forward secrecy
    assert {"TLS1_3", "cipherlist_STRONG", "heartbleed", "scanTime"} <= seen, "it did not scan to the end"
    bad = [f"{f['severity']} {f['id']}: {f['finding']}" for f in findings if f["severity"] not in GOOD and f["id"] not in EXPECTED]
    assert not bad, "\n".join(bad)
