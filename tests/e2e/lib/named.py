# SPDX-License-Identifier: Apache-2.0
"""Servers that answer every request with their name: tests of routing and balancing see who got a request."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .proc import free_port


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        named = self.server.named
        with named.lock:
            named.requests.append((self.command, self.path, self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if named.wait:
            named.wait.wait(30)
        status, fields = named.respond(self.command, self.path, self.headers)
        body = b"" if self.command == "HEAD" else named.name.encode()
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def process_request(self, request, client_address):
        with self.named.lock:
            self.named.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.named.lock:
            self.named.sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_):
        pass  # clients may go at any time


class Named:
    """Listens at a port of its own from the start; stop() and start() at the same port. `status` is what it
    answers with, `respond` decides about it, `wait` (a threading.Event) holds answers back."""

    def __init__(self, name, port=0):
        self.name, self.status, self.wait = name, 200, None
        self.requests, self.sockets, self.lock, self.port = [], set(), threading.Lock(), port or free_port()
        self.start()

    def respond(self, _method, _path, _headers):
        return self.status, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.server = _Server(("127.0.0.1", self.port), _Handler)
        self.server.named = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None
            with self.lock:
                for kept in self.sockets:
                    try:
                        kept.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass  # it is gone already

    def count(self, path=None):
        with self.lock:
            return sum(path in (None, asked) for _, asked, _ in self.requests)
