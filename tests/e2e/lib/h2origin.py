# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 server (python3-h2) that does what the request's path tells it, and remembers what it was sent.

    /echo               JSON: headers, body's length and SHA-256, trailers, number of the connection
    /bytes/N            N bytes (the pattern of origin.body_of), as the client's window allows
    /trailers/N         N bytes and the trailer x-trailer: end
    /hints              103, then 200
    /status/CODE        that status, nothing else
    /delay/MS/REST      waits before doing REST; other streams go on
    /with/N/REST        waits until N requests for /with are here at a time, then does REST
    /never              no answer
    /reset/CODE         RST_STREAM with this error, once the request is in
    /cut/N              N bytes, then RST_STREAM with INTERNAL_ERROR
    /refuse             REFUSED_STREAM the first time this path with its query comes, then as /echo
    /goaway             as /echo, but GOAWAY comes first: this is the last stream
    /goaway-before      GOAWAY that leaves this request out, the first time; then as /echo
    /die                closes the connection
    /lazy/MS            reads no body for so long, then as /echo
    /early/CODE         answers before the body, then RST_STREAM with NO_ERROR

With connect=True it takes WebSockets (RFC 8441), and sends back what comes, to the end:

    /decline/CODE       that status instead, with a body
    /cut-tunnel         RST_STREAM once something came
    /bye                ends its side once something came
    /shut               ends its side once something came, and RST_STREAM with NO_ERROR follows
"""

import hashlib
import json
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, PingReceived, RequestReceived, StreamEnded, StreamReset, TrailersReceived, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from .origin import body_of


class H2Origin:
    """The server; threads are daemons and end with stop()."""

    def __init__(self, certificate=None, streams=None, alpn=("h2", "http/1.1"), deaf=False, connect=False, late_settings_s=0):
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(str(certificate.cert_file), str(certificate.key_file))
            self.tls.set_alpn_protocols(list(alpn))
        self.streams = streams  # MAX_CONCURRENT_STREAMS
        self.deaf = deaf  # does not answer PING
        self.connect = connect
        self.late_settings_s = late_settings_s  # how long SETTINGS are not sent
        self.tunnels = []  # header fields of what asked for one
        self.connection_count = 0
        self.pings = 0
        self.resets = []  # error codes of RST_STREAM that came
        self.complaints = []  # what the client did against the protocol
        self.seen = set()
        self.most_at_once = 0
        self.waiting = 0  # of /with
        self.stalled = 0  # responses that waited for a window when last nothing came for a while
        self._lock = threading.Lock()
        self._open = set()
        self._stopped = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'h2c'}://127.0.0.1:{self.port}"

    def stop(self):
        self._stopped = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.drop_connections()

    def drop_connections(self):
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while not self._stopped:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self.connection_count += 1
                number = self.connection_count
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def serve_http1(self, sock):
        """Whoever offers no h2: each request without a body gets its count on this connection."""
        sock.settimeout(20)
        asked, buffer = 0, b""
        while data := sock.recv(65536):
            buffer += data
            while b"\r\n\r\n" in buffer:
                _, buffer = buffer.split(b"\r\n\r\n", 1)
                asked += 1
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % asked)

    def _serve(self, sock, number):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self._open.add(sock)
            if self.tls and sock.selected_alpn_protocol() == "http/1.1":
                self.serve_http1(sock)
            else:
                _Connection(self, sock, number).run()
        except OSError:
            pass
        except ProtocolError as error:
            self.complaints.append(repr(error))
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()


class _Stream:
    def __init__(self, headers):
        self.headers = headers
        self.body = bytearray()
        self.trailers = []
        self.out = None  # bytes to send
        self.tunnel = False
        self.then = None
        self.counted = False


class _Connection:
    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number = origin, sock, number
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=True))
        self.streams = {}
        self.later = []  # (time, stream id, path)
        self.dead = False

    def run(self):
        if self.origin.connect:
            self.h2.local_settings = Settings(client=False, initial_values={
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, SettingCodes.MAX_CONCURRENT_STREAMS: self.origin.streams or 100})
        time.sleep(self.origin.late_settings_s)
        self.h2.initiate_connection()
        if self.origin.streams:
            self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.origin.streams})
        self.flush()
        while not self.dead and not self.origin._stopped:
            self.sock.settimeout(0.02 if self.later else 0.5)
            try:
                data = self.sock.recv(65536)
                if not data:
                    return
            except (TimeoutError, socket.timeout, ssl.SSLWantReadError):
                data = None
            if data:
                for event in self.h2.receive_data(data):
                    self.handle(event)
            now = time.monotonic()
            due = [item for item in self.later if item[0] <= now]
            self.later = [item for item in self.later if item[0] > now]
            for _, number, path in due:
                if number in self.streams:
                    self.answer(number, path)
            self.pump()
            if not data:
                self.origin.stalled = sum(stream.out is not None for stream in self.streams.values())
            self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data and not (self.origin.deaf and self.origin.pings):
            self.sock.settimeout(20)
            self.sock.sendall(data)

    def handle(self, event):
        origin = self.origin
        if isinstance(event, RequestReceived):
            self.streams[event.stream_id] = _Stream(event.headers)
            origin.most_at_once = max(origin.most_at_once, len(self.streams))
            path = self.path(event.stream_id)
            if path.startswith("/early/"):
                self.answer(event.stream_id, path)
            if dict(event.headers)[":method"] == "CONNECT":
                self.open_tunnel(event.stream_id, path)
        elif isinstance(event, DataReceived):
            stream = self.streams.get(event.stream_id)
            if not stream:
                return
            if stream.tunnel:
                self.tunnel_data(event.stream_id, stream, event)
                return
            stream.body += event.data
            if self.path(event.stream_id).startswith("/lazy/"):
                stream.owed = getattr(stream, "owed", 0) + event.flow_controlled_length
                if not getattr(stream, "timed", False):
                    stream.timed = True
                    wait = int(self.path(event.stream_id).split("/")[2]) / 1000
                    self.later.append((time.monotonic() + wait, event.stream_id, "!credit"))
            else:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.streams[event.stream_id].trailers = event.headers
        elif isinstance(event, StreamEnded):
            if event.stream_id in self.streams and self.streams[event.stream_id].tunnel:
                self.streams[event.stream_id].tunnel = False  # pump() ends it
            elif event.stream_id in self.streams:
                self.answer(event.stream_id, self.path(event.stream_id))
        elif isinstance(event, StreamReset):
            self.streams.pop(event.stream_id, None)
            origin.resets.append(int(event.error_code))
        elif isinstance(event, PingReceived):
            origin.pings += 1
        elif isinstance(event, WindowUpdated):
            pass

    def open_tunnel(self, number, path):
        stream = self.streams[number]
        self.origin.tunnels.append(dict(stream.headers))
        if path.startswith("/decline/"):
            stream.headers = [(":method", "GET"), (":path", path)]
            self.send(number, b"declined", status=int(path.split("/")[2]))
            return
        self.h2.send_headers(number, [(":status", "200"), ("sec-websocket-protocol", "chat")])
        stream.out, stream.at, stream.last, stream.tunnel = b"", 0, (), True

    def tunnel_data(self, number, stream, event):
        path = self.path(number)
        stream.out += event.data
        stream.back = getattr(stream, "back", 0) + event.flow_controlled_length
        if path == "/cut-tunnel":
            self.h2.reset_stream(number, ErrorCodes.CANCEL)
            self.streams.pop(number)
        elif path in ("/bye", "/shut"):
            stream.tunnel, stream.then = False, "shut" if path == "/shut" else None

    def path(self, number):
        return dict(self.streams[number].headers)[":path"]

    def first_time(self, path):
        fresh = path not in self.origin.seen
        self.origin.seen.add(path)
        return fresh

    def send(self, number, body, status=200, trailers=(), then=None, fields=()):
        stream = self.streams[number]
        is_head = dict(stream.headers)[":method"] == "HEAD"
        self.h2.send_headers(number, [(":status", str(status)), *fields], end_stream=is_head)
        if is_head:
            self.streams.pop(number)
        stream.out, stream.at, stream.then, stream.last = body, 0, then, trailers

    def answer(self, number, target):
        if target == "!credit":
            stream = self.streams[number]
            self.h2.acknowledge_received_data(stream.owed, number)
            stream.owed, stream.timed = 0, False
            return
        path = urlsplit(target).path
        word, _, rest = path.lstrip("/").partition("/")
        if word == "bytes":
            self.send(number, body_of(int(rest)), fields=[("content-length", rest)])
        elif word == "trailers":
            self.send(number, body_of(int(rest)), trailers=[("x-trailer", "end")])
        elif word == "hints":
            self.h2.send_headers(number, [(":status", "103"), ("link", "</a.css>")])
            self.send(number, b"hi")
        elif word == "status":
            self.h2.send_headers(number, [(":status", rest)], end_stream=True)
            self.streams.pop(number)
        elif word == "delay":
            ms, _, rest = rest.partition("/")
            self.later.append((time.monotonic() + int(ms) / 1000, number, "/" + rest))
        elif word == "with":
            count, _, rest = rest.partition("/")
            stream = self.streams[number]
            with self.origin._lock:
                self.origin.waiting += not stream.counted
                stream.counted = True
            here = self.origin.waiting >= int(count)
            self.later.append((time.monotonic() + 0.02, number, "/" + rest if here else target))
        elif word == "never":
            pass
        elif word == "reset":
            self.h2.reset_stream(number, int(rest))
            self.streams.pop(number)
        elif word == "cut":
            self.send(number, body_of(int(rest)), then="reset")
        elif word == "refuse" and self.first_time(target):
            self.h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self.streams.pop(number)
        elif word == "goaway-before" and self.first_time(target):
            self.h2.close_connection(last_stream_id=number - 2 if number > 1 else 0)
            self.flush()
            self.dead = True
        elif word == "die":
            self.dead = True
        elif word == "early":
            self.h2.send_headers(number, [(":status", rest)])
            self.h2.send_data(number, b"early\n", end_stream=True)
            self.h2.reset_stream(number, ErrorCodes.NO_ERROR)
            self.streams.pop(number)
        else:
            stream = self.streams[number]
            text = json.dumps({"headers": stream.headers, "body_bytes": len(stream.body), "trailers": stream.trailers,
                               "body_sha256": hashlib.sha256(stream.body).hexdigest(), "connection": self.number}).encode()
            self.send(number, text)
            if word == "goaway":
                self.pump()
                self.h2.close_connection(last_stream_id=number)
                self.flush()
                self.dead = True

    def pump(self):
        for number, stream in list(self.streams.items()):
            if stream.out is None:
                continue
            try:
                while stream.at < len(stream.out):
                    room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
                    if room <= 0:
                        break
                    self.h2.send_data(number, stream.out[stream.at:stream.at + room])
                    stream.at += room
                if stream.tunnel or getattr(stream, "back", 0):
                    stream.out, stream.at = stream.out[stream.at:], 0
                    if not stream.out and getattr(stream, "back", 0):  # credit for what went back
                        self.h2.acknowledge_received_data(stream.back, number)
                        stream.back = 0
                    if stream.tunnel:
                        continue
                if stream.at < len(stream.out):
                    continue
                if stream.then == "reset":
                    self.h2.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
                elif stream.last:
                    self.h2.send_headers(number, stream.last, end_stream=True)
                else:
                    self.h2.end_stream(number)
                    if stream.then == "shut":
                        self.h2.reset_stream(number, ErrorCodes.NO_ERROR)
            except ProtocolError:
                pass
            self.streams.pop(number, None)
