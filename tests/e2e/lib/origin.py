# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server that does what the request's path tells it, and remembers what it was sent.

    /echo                  JSON: method, target, version, headers in order, body's length and SHA-256
    /bytes/N               N bytes with Content-Length (the pattern of body_of(N))
    /chunked/N?piece=K     N bytes chunked, K at a time (default 4096); &trailer=VALUE adds X-Trailer
    /to-close/N            N bytes that end with the connection (no length)
    /status/CODE           that status with a short body (none for 1xx, 204, 304)
    /delay/MS/REST         waits before doing REST (a path of this list)
    /held/REST             waits for origin.let_go() before doing REST
    /with/N/REST           waits until N requests for /with have come, then does REST
    /slow/N?piece=K&ms=M   N bytes, K every M milliseconds
    /cut/N?sent=K          Content-Length N, closes after K bytes; &chunked=1: chunked, no last chunk
    /reset                 resets the connection instead of answering
    /close                 closes the connection instead of answering
    /never                 never answers
    /garbage               sends bytes that are no HTTP, then closes
    /raw/BASE64URL         sends these bytes as the whole answer, then closes (?keep=1: does not close)
    /lazy?ms=M&piece=K     reads the body slowly (K bytes every M ms), then answers as /echo
    /early/CODE            answers before the body has been read, then reads it
    /last                  answers with Connection: close and closes
    anything else          as /echo, unless origin.answers[path] holds or makes the bytes of a whole answer

Before a body is read, "Expect: 100-continue" is answered with 100.
"""

import base64
import hashlib
import json
import socket
import ssl
import threading
import time
from urllib.parse import parse_qs, urlsplit

from .http1 import Closed, Connection
from .proc import free_port, wait_until

_PATTERN = bytes((i * 7 + (i >> 8)) & 0xFF for i in range(65521))


def body_of(count):
    """The first `count` bytes of what /bytes, /chunked and the like send: no two 64 KB pieces look alike
    at the same place, so that a swapped or doubled buffer shows."""
    return (_PATTERN * (count // len(_PATTERN) + 1))[:count]


class Request:
    """What the origin received: .raw_head is the exact bytes up to and with the blank line."""

    def __init__(self, connection_id, number, raw_head):
        self.connection_id = connection_id
        self.number = number  # 0 = first on its connection
        self.raw_head = raw_head
        lines = raw_head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = (lines[0].split(" ") + ["", ""])[:3]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]
        self.body = b""
        self.trailers = []
        self.complete = False  # head and body were received whole

    def all(self, name):
        return [value for n, value in self.headers if n.lower() == name.lower()]

    def header(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def path(self):
        return urlsplit(self.target).path


class _ClientConnection(Connection):
    def read_raw_head(self):
        """The bytes of the next request's head, or b"" at a clean end."""
        while b"\r\n\r\n" not in self.buffer:
            try:
                self._more("a request")
            except Closed:
                return b""
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n"


class Origin:
    """The server; threads are daemons and end with stop()."""

    def __init__(self, name="origin", address="127.0.0.1", port=0, certificate=None, close_notify=False):
        self.name = name
        self.requests = []
        self.answers = {}  # path -> bytes (or what makes them), for answers too long for /raw; the connection ends behind them
        self.connection_count = 0
        self.tls = None
        self.close_notify = close_notify  # it ends TLS connections as TLS wants it
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(str(certificate.cert_file), str(certificate.key_file))
        self._address = address
        self._lock = threading.Lock()
        self._open = set()
        self._stopped = False
        self._gate = threading.Event()
        self.port = port
        self.start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self._address}:{self.port}"

    @property
    def open_connections(self):
        with self._lock:
            return len(self._open)

    def start(self):
        """Listens (again, on the same port, after stop())."""
        self._stopped = False
        port = self.port or free_port(self._address)  # not the kernel's choice: nobody else gets it after stop()
        self._listener = socket.create_server((self._address, port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """Closes the listener and every connection."""
        self._stopped = True
        self.let_go()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.drop_connections()

    def drop_connections(self):
        """Closes every open connection, as a restarted server does."""
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def let_go(self):
        """Requests for /held, those that are there and those to come, wait no more."""
        self._gate.set()

    def clear(self):
        with self._lock:
            self.requests.clear()

    def wait_requests(self, count):
        """Waits until `count` requests were received whole; returns them."""
        wait_until(lambda: sum(r.complete for r in list(self.requests)) >= count, f"{count} requests at {self.name}")
        return list(self.requests)

    def _accept(self, listener):
        while not self._stopped:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connection_count += 1
                number = self.connection_count
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self._open.add(sock)
            _Exchange(self, _ClientConnection(sock), number).run()
            if self.tls and self.close_notify:
                sock.unwrap()
        except (OSError, Closed, AssertionError, ValueError):
            pass  # the client went away or sent nonsense: tests look at .requests
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()


class _Exchange:
    """The requests of one connection."""

    def __init__(self, origin, connection, number):
        self.origin, self.connection, self.number = origin, connection, number
        self.request = None
        self.body_read = False
        self.keep = True

    def run(self):
        count = 0
        while self.keep and not self.origin._stopped:
            head = self.connection.read_raw_head()
            if not head:
                return
            self.request = Request(self.number, count, head)
            with self.origin._lock:
                self.origin.requests.append(self.request)
            self.body_read = False
            count += 1
            self.dispatch(self.request.path)
            self.read_body()
            if (self.request.header("Connection") or "").lower() == "close":
                return

    # --- the body -----------------------------------------------------------------------------------------

    def read_body(self, piece=None, pause_s=0):
        if self.body_read:
            return
        self.body_read = True
        request = self.request
        if (request.header("Expect") or "").lower() == "100-continue":
            self.connection.send("HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.header("Transfer-Encoding") or ""):
            request.body, request.trailers = self.connection.read_chunks(piece, pause_s)
        else:
            length = int(request.header("Content-Length") or 0)
            request.body = b"".join(self.connection.read_pieces(length, piece, pause_s, "a request body"))
        request.complete = True

    # --- answers ------------------------------------------------------------------------------------------

    def head(self, status, *fields):
        lines = [f"HTTP/1.1 {status} Origin", f"X-Origin: {self.origin.name}", *fields]
        self.connection.send("\r\n".join(lines) + "\r\n\r\n")

    def answer(self, body, status=200, kind="application/octet-stream", *fields):
        self.head(status, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields)
        if self.request.method != "HEAD":
            self.connection.send(body)

    def dispatch(self, path):
        if path in self.origin.answers:
            self.read_body()
            answer = self.origin.answers[path]
            self.connection.send(answer() if callable(answer) else answer)
            self.keep = False
            return
        word, _, rest = path.lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.request.target).query).items()}
        action = getattr(self, "do_" + word.replace("-", "_"), self.do_echo)
        if action.__func__ not in (_Exchange.do_lazy, _Exchange.do_early, _Exchange.do_delay):
            self.read_body()
        action(rest, query)

    def do_echo(self, rest, query):
        request = self.request
        self.answer(json.dumps({
            "origin": self.origin.name, "method": request.method, "target": request.target, "version": request.version,
            "headers": request.headers, "body_bytes": len(request.body),
            "body_sha256": hashlib.sha256(request.body).hexdigest(), "trailers": request.trailers,
            "connection": request.connection_id, "number": request.number,
        }).encode(), 200, "application/json")

    def do_bytes(self, rest, query):
        self.answer(body_of(int(rest)))

    def do_chunked(self, rest, query):
        body, piece = body_of(int(rest)), int(query.get("piece", 4096))
        self.head(200, "Transfer-Encoding: chunked")
        if self.request.method == "HEAD":
            return
        for at in range(0, len(body), piece):
            part = body[at:at + piece]
            self.connection.send(b"%x\r\n%s\r\n" % (len(part), part))
        trailer = f"X-Trailer: {query['trailer']}\r\n" if "trailer" in query else ""
        self.connection.send(f"0\r\n{trailer}\r\n")

    def do_to_close(self, rest, query):
        self.head(200, "Connection: close")
        if self.request.method != "HEAD":
            self.connection.send(body_of(int(rest)))
        self.keep = False

    def do_status(self, rest, query):
        code = int(rest)
        if code < 200 or code in (204, 304):
            self.head(code)
        else:
            self.answer(f"status {code}\n".encode(), code, "text/plain")

    def do_delay(self, rest, query):
        delay_ms, _, rest = rest.partition("/")
        self.read_body()
        time.sleep(int(delay_ms) / 1000)
        self.dispatch(rest)

    def do_held(self, rest, query):
        self.read_body()
        self.origin._gate.wait(300)
        self.dispatch(rest)

    def do_with(self, rest, query):
        count, _, rest = rest.partition("/")
        self.read_body()
        wait_until(lambda: sum(r.path.startswith("/with/") for r in list(self.origin.requests)) >= int(count), "others")
        self.dispatch(rest)

    def do_slow(self, rest, query):
        body, piece = body_of(int(rest)), int(query.get("piece", 1))
        self.head(200, f"Content-Length: {len(body)}")
        if self.request.method == "HEAD":
            return
        for at in range(0, len(body), piece):
            self.connection.send(body[at:at + piece])
            time.sleep(int(query.get("ms", 10)) / 1000)

    def do_cut(self, rest, query):
        body = body_of(int(rest))[: int(query.get("sent", 0))]
        if query.get("chunked"):
            self.head(200, "Transfer-Encoding: chunked")
            if body:
                self.connection.send(b"%x\r\n%s\r\n" % (len(body), body))
        else:
            self.head(200, f"Content-Length: {int(rest)}")
            self.connection.send(body)
        self.keep = False

    def do_reset(self, rest, query):
        self.connection.reset()
        self.keep = False

    def do_close(self, rest, query):
        self.keep = False

    def do_never(self, rest, query):
        try:
            self.connection.sock.recv(1)  # until the client or stop() ends it
        except OSError:
            pass
        self.keep = False

    def do_garbage(self, rest, query):
        self.connection.send(b"\x00\x01\x02garbage, and no HTTP at all\r\n\r\n")
        self.keep = False

    def do_raw(self, rest, query):
        self.connection.send(base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4)))
        self.keep = bool(query.get("keep"))

    def do_lazy(self, rest, query):
        self.read_body(int(query.get("piece", 65536)), int(query.get("ms", 10)) / 1000)
        self.do_echo(rest, query)

    def do_early(self, rest, query):
        self.answer(b"early\n", int(rest), "text/plain")
        self.read_body()

    def do_last(self, rest, query):
        self.answer(b"last\n", 200, "text/plain", "Connection: close")
        self.keep = False


def raw_path(answer):
    """The path that makes the origin send these bytes as its whole answer."""
    data = answer.encode("latin-1") if isinstance(answer, str) else answer
    return "/raw/" + base64.urlsafe_b64encode(data).decode().rstrip("=")
