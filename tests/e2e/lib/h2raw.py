# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frame by frame, for clients that behave and for those that do not. Nothing is sent that a test did not ask
for, but the preface and an acknowledgement of SETTINGS."""

import socket
import ssl
import struct

import hpack

from . import tls

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8
TIMEOUT_S = 30


class Closed(Exception):
    """The connection ended; .goaway is the error code of the last GOAWAY, or None."""

    def __init__(self, goaway):
        super().__init__(f"closed, GOAWAY {goaway}")
        self.goaway = goaway


def frame(kind, flags=0, stream=0, payload=b""):
    return (len(payload) << 8 | kind).to_bytes(4, "big") + bytes([flags]) + stream.to_bytes(4, "big") + payload


def settings(*pairs):
    return b"".join(struct.pack(">HI", key, value) for key, value in pairs)


class Response:
    def __init__(self):
        self.interim = []
        self.headers = None
        self.body = b""
        self.trailers = None
        self.ended = False
        self.reset = None  # error code

    @property
    def status(self):
        return int(dict(self.headers)[":status"]) if self.headers else None

    def header(self, name):
        return dict(self.headers).get(name)


class H2:
    """One connection. Streams are collected in .responses while frames are read."""

    def __init__(self, sock, start=True, options=()):
        self.sock = sock
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.buffer = b""
        self.responses = {}
        self.settings = None
        self.acked = 0  # SETTINGS of ours that were acknowledged
        self.pongs = []
        self.goaway = None
        self.last_stream = None
        self.windows = {0: 65535}
        self.next_id = 1
        self.credit = True  # DATA is credited as it comes
        if start:
            self.send(PREFACE + frame(SETTINGS, payload=settings(*options)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        """Bytes as they are. A peer that has closed is noticed when reading."""
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def send_frame(self, kind, flags=0, stream=0, payload=b""):
        self.send(frame(kind, flags, stream, payload))

    # --- requests ---------------------------------------------------------------------------------------------

    def fields(self, method="GET", path="/", authority="example.test", more=(), scheme="https"):
        return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *more]

    def encode(self, fields):
        return self.encoder.encode([(n, v, True) for n, v in fields], huffman=False)

    def open(self, method="GET", path="/", end=True, fields=None, **options):
        """Sends a request's HEADERS; returns the stream."""
        stream, self.next_id = self.next_id, self.next_id + 2
        block = self.encode(fields if fields is not None else self.fields(method, path, **options))
        self.send_frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)
        return stream

    def connect_fields(self, path="/", protocol="websocket", authority="example.test", more=(), scheme="https"):
        """An extended CONNECT (RFC 8441)."""
        return [(":method", "CONNECT"), (":protocol", protocol), (":scheme", scheme), (":authority", authority), (":path", path),
                ("sec-websocket-version", "13"), *more]

    def open_websocket(self, *arguments, **options):
        return self.open(end=False, fields=self.connect_fields(*arguments, **options))

    def data(self, stream, data=b"", end=False):
        """DATA without regard to windows."""
        self.send_frame(DATA, END_STREAM if end else 0, stream, data)

    def upload(self, stream, data, end=True):
        """DATA as the windows allow."""
        at = 0
        while at < len(data) or end:
            window = min(self.windows[0], self.windows.get(stream, self.initial_window()))
            n = min(window, 16384, len(data) - at)
            if n == 0 and at < len(data):
                self.read_frame()
                continue
            self.windows[0] -= n
            self.windows[stream] = self.windows.get(stream, self.initial_window()) - n
            self.data(stream, data[at:at + n], end and at + n == len(data))
            at += n
            if at >= len(data):
                return

    def initial_window(self):
        return (self.settings or {}).get(INITIAL_WINDOW_SIZE, 65535)

    def exchange(self, *arguments, body=None, **options):
        stream = self.open(*arguments, end=body is None, **options)
        if body is not None:
            self.upload(stream, body)
        return self.wait(stream)

    # --- answers ----------------------------------------------------------------------------------------------

    def _read(self, count):
        while len(self.buffer) < count:
            try:
                more = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError) as error:
                raise Closed(self.goaway) from error
            if not more:
                raise Closed(self.goaway)
            self.buffer += more
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_frame(self):
        """Reads one frame and takes note of it: (kind, flags, stream, payload)."""
        head = self._read(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        payload = self._read(length)
        handler = {DATA: self._data, HEADERS: self._headers, RST_STREAM: self._reset, SETTINGS: self._settings,
                   PING: self._ping, GOAWAY: self._goaway, WINDOW_UPDATE: self._window}.get(kind)
        if handler:
            handler(flags, stream, payload)
        return kind, flags, stream, payload

    def _response(self, stream):
        return self.responses.setdefault(stream, Response())

    def _data(self, flags, stream, payload):
        response = self._response(stream)
        response.body += payload
        response.ended |= bool(flags & END_STREAM)
        if self.credit and payload:
            update = struct.pack(">I", len(payload))
            self.send(frame(WINDOW_UPDATE, 0, 0, update) + (b"" if flags & END_STREAM else frame(WINDOW_UPDATE, 0, stream, update)))

    def _headers(self, flags, stream, payload):
        while not flags & END_HEADERS:
            head = self._read(9)
            assert head[3] == CONTINUATION
            flags |= head[4] & END_HEADERS
            payload += self._read(int.from_bytes(head[:3], "big"))
        fields = self.decoder.decode(payload)
        response = self._response(stream)
        if response.headers is not None:
            response.trailers = fields
        elif dict(fields)[":status"].startswith("1"):
            response.interim.append(fields)
        else:
            response.headers = fields
        response.ended |= bool(flags & END_STREAM)

    def _reset(self, flags, stream, payload):
        self._response(stream).reset = int.from_bytes(payload, "big")

    def _settings(self, flags, stream, payload):
        if flags & ACK:
            self.acked += 1
            return
        self.settings = dict(struct.iter_unpack(">HI", payload))
        self.send_frame(SETTINGS, ACK)

    def _ping(self, flags, stream, payload):
        if flags & ACK:
            self.pongs.append(payload)

    def _goaway(self, flags, stream, payload):
        self.last_stream, self.goaway = struct.unpack(">II", payload[:8])

    def _window(self, flags, stream, payload):
        self.windows[stream] = self.windows.get(stream, self.initial_window()) + int.from_bytes(payload, "big")

    def read_until(self, condition):
        while not condition():
            self.read_frame()

    def wait(self, stream):
        """The response of a stream, when it has ended or was reset."""
        response = self._response(stream)
        self.read_until(lambda: response.ended or response.reset is not None)
        return response

    def wait_head(self, stream):
        response = self._response(stream)
        self.read_until(lambda: response.headers is not None or response.reset is not None)
        return response

    def ping(self, payload=b"12345678"):
        """A round trip: what was sent before has been looked at."""
        count = len(self.pongs)
        self.send_frame(PING, payload=payload)
        self.read_until(lambda: len(self.pongs) > count)

    def wait_closed(self):
        """Reads to the end; returns the error code of GOAWAY, or None."""
        try:
            while True:
                self.read_frame()
        except Closed as closed:
            return closed.goaway


def connect(port, transport="tls", start=True, options=(), server_name="example.test", timeout_s=TIMEOUT_S):
    """transport: "tls" (ALPN h2) or "plain" (prior knowledge)."""
    sock = socket.create_connection(("127.0.0.1", port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if transport == "tls":
        context = tls.context(alpn=["h2", "http/1.1"])
        sock = context.wrap_socket(sock, server_hostname=server_name)
        assert sock.selected_alpn_protocol() == "h2"
    return H2(sock, start, options)
