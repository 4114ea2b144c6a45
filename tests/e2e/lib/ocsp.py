# SPDX-License-Identifier: Apache-2.0
"""An OCSP responder over HTTP: `openssl ocsp` answers, the test says how."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .certs import openssl


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        owner = self.server.owner
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with owner.lock:
            owner.asked += 1
        if self.headers["Content-Type"] != "application/ocsp-request":
            self.send_error(415)
            return
        if owner.mode == "slow":
            owner.woken.wait()
            return
        owner.open.wait()
        if owner.mode == "error":
            self.send_error(503)
            return
        answer = owner.answer(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/ocsp-response")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Responder:
    """authority: whose certificates it knows. mode: good, revoked, unknown, slow, error, garbage, frozen (the same answer
    again and again). While `open` is not set the answers are held back. signer: authority or delegate certificate; minutes: how long an answer is good, 0 = no nextUpdate."""

    def __init__(self, folder, authority):
        self.folder, self.authority = folder / "ocsp", authority
        self.folder.mkdir()
        self.lock, self.woken, self.open = threading.Lock(), threading.Event(), threading.Event()
        self.open.set()
        self.asked, self.answers, self.mode, self.minutes = 0, 0, "good", 10
        self.signer = (authority.cert_file, authority.folder / "ca.key")
        self.kept = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.owner = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.woken.set()
        self.open.set()
        self.server.shutdown()
        self.server.server_close()

    def index(self):
        """The authority's own, with every certificate as the mode says."""
        rows = []
        for line in (self.authority.folder / "index").read_text().splitlines():
            fields = line.split("\t")
            if self.mode == "revoked":
                fields[0], fields[2] = "R", "200101000000Z,keyCompromise"
            rows.append("\t".join(fields))
        return "" if self.mode == "unknown" else "\n".join(rows) + "\n"

    def answer(self, request):
        if self.mode == "garbage":
            return b"<html>busy</html>"
        if self.mode == "frozen" and self.kept:
            return self.kept
        with self.lock:
            self.answers += 1
            stem = self.folder / f"answer{self.answers}"
        stem.with_suffix(".req").write_bytes(request)
        stem.with_suffix(".index").write_text(self.index())
        stem.with_suffix(".index.attr").write_text("unique_subject = no\n")
        cert, key = self.signer
        openssl("ocsp", "-index", f"{stem}.index", "-CA", self.authority.cert_file, "-rsigner", cert, "-rkey", key,
                "-reqin", f"{stem}.req", "-respout", f"{stem}.resp", *(["-nmin", self.minutes] if self.minutes else []))
        self.kept = stem.with_suffix(".resp").read_bytes()
        return self.kept


def stapled(port, name, version, authority, *options):
    """What openssl s_client says of the OCSP answer: "good", "revoked", "none", or "bad: ..." when it does not verify.
    """
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, f"-{version}", "-status",
               "-CAfile", str(authority.cert_file), *options]
    result = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, errors="replace")
    text = result.stdout
    assert "Verify return code: 0" in text, text + result.stderr
    if "OCSP response: no response sent" in text:
        return "none"
    if "OCSP Response Status: successful" not in text:
        return "bad: " + text
    return text.split("Cert Status: ")[1].split()[0]
