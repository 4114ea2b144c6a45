# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 server, frame by frame (h2c by prior knowledge), for answers that no library would send. What it says to a
request is `answers[path]`, a function of the connection and the stream; every other path gets 200 and "ok"."""

import socket
import struct
import threading

import hpack

from . import h2raw as h

OK = [(":status", "200"), ("content-length", "2")]


class Connection:
    """What an answer has in hand."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data)

    def frame(self, kind, flags=0, stream=0, payload=b""):
        self.send(h.frame(kind, flags, stream, payload))

    def encode(self, fields):
        return self.encoder.encode([(n, v, True) for n, v in fields], huffman=False)

    def headers(self, stream, fields, flags=h.END_HEADERS):
        self.frame(h.HEADERS, flags, stream, self.encode(fields))

    def data(self, stream, data=b"", end=True):
        self.frame(h.DATA, h.END_STREAM if end else 0, stream, data)

    def read(self, count):
        while len(self.buffer) < count:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the end")
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def run(self):
        assert self.read(len(h.PREFACE)) == h.PREFACE
        self.server.greeting(self)
        while True:
            head = self.read(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self.read(int.from_bytes(head[:3], "big"))
            if kind == h.HEADERS:
                assert flags & h.END_HEADERS
                path = dict(self.decoder.decode(payload))[":path"]
                self.server.requests.append((self.number, stream, path))
                self.server.answers.get(path, ok)(self, stream)
            elif kind == h.SETTINGS and not flags & h.ACK:
                self.frame(h.SETTINGS, h.ACK)
            elif kind == h.RST_STREAM:
                self.server.resets.append((self.number, stream, int.from_bytes(payload, "big")))
            elif kind == h.GOAWAY:
                self.server.goaways.append((self.number, struct.unpack(">II", payload[:8])[1]))


def ok(connection, stream):
    connection.headers(stream, OK)
    connection.data(stream, b"ok")


def greet(connection):
    connection.frame(h.SETTINGS)


class Rogue:
    """The server; its threads are daemons and end with stop()."""

    def __init__(self, answers=None, greeting=greet):
        self.answers = answers or {}
        self.greeting = greeting
        self.requests, self.resets, self.goaways = [], [], []  # (number of the connection, ...)
        self.ended = []  # numbers of connections
        self.connections = 0
        self._open = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"h2c://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(Connection(self, sock, self.connections),), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.run()
        except OSError:
            pass
        finally:
            connection.sock.close()
            self.ended.append(connection.number)

    def stop(self):
        for sock in [self.listener, *self._open]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
