# SPDX-License-Identifier: Apache-2.0
"""An ACME server that does what the ordered name tells it; it believes every signature and validates nothing.

The first name of an order: ACTION-at-STEP.edge.test, or ACTION-at-STEP-N.edge.test for the first N times only.

STEP     order, authz, challenge, finalize, poll, cert
ACTION   a type of RFC 8555 section 6.7 in lower case: refused with it; else
         gone       the connection is closed without an answer
         html       200 with a page of some proxy
         huge       200 with 2 MB
         empty      200 with nothing
         error500   500 with a page
         type       the right document under another content type

Further paths for GET: /redirects/N/dir is the directory behind N redirects. `retry_after` (seconds) goes with every refusal.
"""

import base64
import itertools
import json
import re
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERRORS = {name.lower(): name for name in (
    "accountDoesNotExist", "alreadyRevoked", "badCSR", "badNonce", "badPublicKey", "badRevocationReason",
    "badSignatureAlgorithm", "caa", "compound", "connection", "dns", "externalAccountRequired", "incorrectResponse",
    "invalidContact", "malformed", "orderNotReady", "rateLimited", "rejectedIdentifier", "serverInternal", "tls",
    "unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired")}
STATUS = {"rateLimited": 429, "serverInternal": 500, "unauthorized": 403, "caa": 403, "orderNotReady": 403}
PLAN = re.compile(r"([a-z0-9]+)-at-([a-z]+)(?:-(\d+))?\.")
_serials = itertools.count(0x100000)  # an authority may be that of several


def _decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def setup(self):
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def date_time_string(self, timestamp=None):
        return self.server.ca.date or super().date_time_string(timestamp)

    def answer(self, status, body=b"", content_type="application/json", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Replay-Nonce", self.server.ca.nonce())
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.answer(200)

    def do_GET(self):
        ca, (_, first, *rest) = self.server.ca, self.path.split("/")
        if first == "redirects" and int(rest[0]) > 0:
            self.answer(302, Location=f"{ca.url}/redirects/{int(rest[0]) - 1}/dir")
        else:
            self.answer(200, {"meta": {"caaIdentities": ca.caa_identities}, **{
                name: f"{ca.url}/{name}" for name in ("newNonce", "newAccount", "newOrder", "revokeCert")}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        payload = json.loads(_decode(body["payload"]) or "null")
        kind, *rest = self.path[1:].split("/")
        getattr(self.server.ca, "on_" + kind)(self, payload, *map(int, rest))


class FakeCa:
    """authority: makes the server's certificate (or give `certificate`) and what it issues."""

    def __init__(self, folder, authority, certificate=None):
        self.folder, self.authority = folder, authority
        self.lock = threading.Lock()
        self.nonces = self.issued = 0
        self.retry_after = 0
        self.caa_identities = []
        self.challenges = ["dns-01"]  # none of which it looks at
        self.already = 0  # how many of an order's N times are over from the start
        self.date = None  # instead of the time
        self.ocsp = None  # a Responder that what is issued names, and that knows it
        self.orders, self.asked, self.given_up = [], [], []
        cert = certificate or authority.issue("127.0.0.1")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None  # clients that do not trust us
        self.server.ca = self
        self.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.context.load_cert_chain(cert.cert_file, cert.key_file)
        self.port = self.server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.directory_url = f"{self.url}/dir"
        self.ca_file = authority.cert_file
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def nonce(self):
        with self.lock:
            self.nonces += 1
            return f"nonce{self.nonces}"

    # --- steps --------------------------------------------------------------------------------------------

    def misbehaves(self, request, order, step):
        """Does what the order's name says, if it is about this step. True: the request has its answer."""
        plan = PLAN.match(order["names"][0])
        with self.lock:
            self.asked.append((order["names"][0], step))
            if not plan or plan[2] != step or (plan[3] and order["done"] >= int(plan[3])):
                return False
            order["done"] += 1
        action = plan[1]
        if action in ERRORS:
            name = ERRORS[action]
            headers = {"Retry_After": str(self.retry_after)} if self.retry_after else {}
            request.answer(STATUS.get(name, 400), {"type": f"urn:ietf:params:acme:error:{name}", "detail": f"says {name}"},
                           "application/problem+json", **headers)
        elif action == "gone":
            request.close_connection = True
        elif action in ("html", "huge", "empty", "error500"):
            body = {"html": b"<html>busy</html>", "huge": b"x" * 2_000_000}.get(action, b"")
            request.answer(500 if action == "error500" else 200, body, "text/html")
        else:
            return False
        return True

    def kind_of(self, order, step):
        return "text/plain" if order["names"][0].startswith(f"type-at-{step}") else "application/json"

    def on_newAccount(self, request, payload):
        request.answer(201, {"status": "valid"}, Location=f"{self.url}/account/1")

    def on_newOrder(self, request, payload):
        names = [identifier["value"] for identifier in payload["identifiers"]]
        with self.lock:
            earlier = next((o for o in reversed(self.orders) if o["names"] == names), None)
            order = {"names": names, "valid": False, "cert": None, "polls": 0, "done": earlier["done"] if earlier else self.already}
            self.orders.append(order)
            number = len(self.orders) - 1
        if not self.misbehaves(request, order, "order"):
            request.answer(201, self.document(number), self.kind_of(order, "order"), Location=f"{self.url}/order/{number}")

    def document(self, number):
        order = self.orders[number]
        status = "valid" if order["cert"] else "ready" if order["valid"] else "pending"
        document = {"status": status, "authorizations": [f"{self.url}/authz/{number}"], "finalize": f"{self.url}/finalize/{number}"}
        if order["cert"]:
            document["certificate"] = f"{self.url}/cert/{number}"
        return document

    def on_order(self, request, payload, number):
        if not self.misbehaves(request, self.orders[number], "poll"):
            request.answer(200, self.document(number), self.kind_of(self.orders[number], "poll"))

    def on_authz(self, request, payload, number):
        order = self.orders[number]
        if payload and payload.get("status") == "deactivated":
            self.given_up.append(order["names"][0])
        elif not order["valid"] and self.misbehaves(request, order, "authz"):
            return
        challenges = [{"type": kind, "url": f"{self.url}/challenge/{number}", "token": f"token{number}", "status": "pending"}
                      for kind in self.challenges]
        request.answer(200, {"status": "valid" if order["valid"] else "pending", "challenges": challenges,
                             "identifier": {"type": "dns", "value": order["names"][0]}}, self.kind_of(order, "authz"))

    def on_challenge(self, request, payload, number):
        if not self.misbehaves(request, self.orders[number], "challenge"):
            self.orders[number]["valid"] = True
            request.answer(200, {}, self.kind_of(self.orders[number], "challenge"))

    def on_finalize(self, request, payload, number):
        order = self.orders[number]
        if self.misbehaves(request, order, "finalize"):
            return
        self.issue(number, _decode(payload["csr"]))
        request.answer(200, {**self.document(number), "status": "processing", "certificate": None}, self.kind_of(order, "finalize"))

    def issue(self, number, csr):
        stem = self.folder / f"fake{number}"
        stem.with_suffix(".csr").write_bytes(csr)
        serial = next(_serials)
        command = ["openssl", "x509", "-req", "-inform", "der", "-in", f"{stem}.csr", "-CA", str(self.authority.cert_file), "-CAkey",
                   str(self.authority.folder / "ca.key"), "-set_serial", str(serial), "-days", "90",
                   "-copy_extensions", "copy"]
        if self.ocsp:
            stem.with_suffix(".ext").write_text(f"authorityInfoAccess=OCSP;URI:{self.ocsp.url}\n")
            command += ["-extfile", f"{stem}.ext"]
            with (self.authority.folder / "index").open("a") as index:
                index.write(f"V\t400101000000Z\t\t{serial:06X}\tunknown\t/CN=fake{number}\n")
        leaf = subprocess.run(command, check=True, capture_output=True).stdout
        self.orders[number]["cert"] = leaf + self.authority.cert_file.read_bytes()
        with self.lock:
            self.issued += 1

    def on_cert(self, request, payload, number):
        order = self.orders[number]
        if not self.misbehaves(request, order, "cert"):
            request.answer(200, order["cert"], "application/pem-certificate-chain")
