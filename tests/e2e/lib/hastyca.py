# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of a Pebble that tells a client to look again after a second. lego looks once when it has answered a
challenge, and waits five seconds, or what Retry-After says, when the CA is not done then. Pebble says nothing."""

import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OF_THIS_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def setup(self):
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def pass_on(self):
        """With the Host field as it came: Pebble makes its URLs of it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ca = http.client.HTTPSConnection("127.0.0.1", self.server.pebble.port, timeout=60, context=self.server.trust)
        ca.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in OF_THIS_HOP:
                ca.putheader(name, value)
        ca.putheader("Content-Length", str(len(body)))
        ca.endheaders(body)
        answer = ca.getresponse()
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OF_THIS_HOP:
                self.send_header(name, value)
        if answer.status == 200 and self.path.startswith("/chalZ/"):
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        ca.close()

    do_GET = do_HEAD = do_POST = pass_on


class HastyCa:
    """Has .directory_url and .ca_file as the Pebble has."""

    def __init__(self, pebble):
        cert = pebble.authority.issue("127.0.0.1")
        self.ca_file = pebble.ca_file
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None  # clients that go
        self.server.pebble = pebble
        self.server.trust = ssl.create_default_context(cafile=str(pebble.ca_file))
        self.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.context.load_cert_chain(cert.cert_file, cert.key_file)
        self.directory_url = f"https://127.0.0.1:{self.server.server_address[1]}/dir"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
