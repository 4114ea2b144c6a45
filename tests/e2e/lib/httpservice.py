# SPDX-License-Identifier: Apache-2.0
"""An HTTP service that records what it is asked and goes wrong on demand: the base of the fakes of DNS providers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .proc import PATIENCE_S


class Request:
    def __init__(self, method, target, headers, body):
        parts = urlsplit(target)
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.method} {self.target} {self.body!r}"


class Answer:
    """status, body (bytes, text, or what becomes JSON), headers; slow: half of the body, and nothing more; cut: the
    connection ends instead of an answer."""

    def __init__(self, status=200, body=b"", headers=None, slow=False, cut=False):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers = {"Content-Type": "application/json", **(headers or {})}
        self.status, self.headers, self.slow, self.cut = status, headers or {}, slow, cut
        self.body = body.encode() if isinstance(body, str) else body


class HttpService:
    """Subclasses have serve(request) -> Answer, called under a lock. `requests` holds all that came.

    faults: functions (request, serve) -> Answer or None, asked before serve(); None: the next one, at last serve
    itself. A fault may call serve() first, so that the thing is done although its answer tells otherwise.
    """

    def __init__(self, context=None):
        service = self
        self.requests, self.faults = [], []
        self._lock = threading.RLock()
        self._ending = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send(service.handle(Request(self.command, self.path, self.headers, body.decode())))

            def send(self, answer):
                if answer.cut:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body) + answer.slow))
                self.end_headers()
                self.wfile.write(answer.body[:len(answer.body) // 2] if answer.slow else answer.body)
                if answer.slow:
                    self.wfile.flush()
                    service._ending.wait(PATIENCE_S)
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, request):
        with self._lock:
            self.requests.append(request)
            done = []

            def serve():
                done.append(self.serve(request))
                return done[-1]

            for fault in list(self.faults):
                answer = fault(request, serve)
                if answer:
                    return answer
            return done[-1] if done else serve()

    def serve(self, request):
        raise NotImplementedError

    def asked(self):
        """["METHOD path", ...] of all requests."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def stop(self):
        self._ending.set()
        self.server.shutdown()
        self.server.server_close()
