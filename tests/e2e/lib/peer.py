# SPDX-License-Identifier: Apache-2.0
"""A server for TCP connections whose every byte the test decides, and the PROXY protocol's headers."""

import socket
import struct

from .http1 import Connection
from .proc import PATIENCE_S

V2 = b"\r\n\r\n\0\r\nQUIT\n"


class Peer:
    """Listens; the test accepts and talks."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.settimeout(PATIENCE_S)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.accepted = []

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        self.accepted.append(Connection(sock))
        return self.accepted[-1]

    def stop(self):
        self.listener.close()
        for connection in self.accepted:
            connection.close()


def v1(client="192.0.2.7", port=4711, server="192.0.2.1"):
    return f"PROXY TCP4 {client} {server} {port} 443\r\n".encode()


def v2(client="192.0.2.7", port=4711, server="192.0.2.1", more=b""):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    body = socket.inet_pton(family, client) + socket.inet_pton(family, server) + struct.pack(">HH", port, 443) + more
    return V2 + bytes([0x21, 0x21 if ":" in client else 0x11]) + struct.pack(">H", len(body)) + body


def read_header(connection):
    """Reads a PROXY header; returns (version, client address, client port, server port), or (version, None, 0, 0)."""
    if connection.read_exactly(1) == b"P":
        words = connection.read_line("a PROXY header").decode().split(" ")
        assert words[0] == "ROXY"
        return (1, words[2], int(words[4]), int(words[5])) if words[1] != "UNKNOWN" else (1, None, 0, 0)
    head = connection.read_exactly(15)
    assert head[:11] == V2[1:] and head[11] == 0x21
    body = connection.read_exactly(struct.unpack(">H", head[13:15])[0])
    if head[12] == 0:
        return 2, None, 0, 0
    family, size = (socket.AF_INET6, 16) if head[12] == 0x21 else (socket.AF_INET, 4)
    return (2, socket.inet_ntop(family, body[:size]), *struct.unpack(">HH", body[2 * size:2 * size + 4]))
