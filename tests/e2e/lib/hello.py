# SPDX-License-Identifier: Apache-2.0
"""TLS clients whose bytes are in the test's hands: ClientHellos to take apart, handshakes sent in pieces."""

import ssl
import struct

from .http1 import Connection
from .tls import context


def client_hello(server_name="example.test", **options):
    """The record that an ordinary client sends first. options: see tls.context()."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(**options).wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake ended after its first message")


def message_of(record):
    """The handshake message inside one record."""
    assert record[0] == 22 and len(record) == 5 + struct.unpack(">H", record[3:5])[0]
    return record[5:]


def in_records(message, size):
    """A handshake message cut into records of `size` bytes each."""
    parts = [message[at:at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(part)) + part for part in parts)


def with_extension(message, number, body):
    """A ClientHello message with one more extension (in front: a pre-shared key must stay the last)."""
    at = 4 + 2 + 32
    at += 1 + message[at]
    at += 2 + struct.unpack(">H", message[at:at + 2])[0]
    at += 1 + message[at]
    extensions = struct.pack(">HH", number, len(body)) + body + message[at + 2:]
    whole = message[4:at] + struct.pack(">H", len(extensions)) + extensions
    return message[:1] + struct.pack(">I", len(whole))[1:] + whole


class PiecewiseTls(Connection):
    """A TLS connection over a raw one that sends its bytes `size` at a time."""

    def __init__(self, raw, server_name="example.test", size=1, **options):
        super().__init__(raw.sock)
        self.size = size
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context(**options).wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self._drive(self.tls.do_handshake)

    def _flush(self):
        data = self.outgoing.read()
        for at in range(0, len(data), self.size):
            self.sock.sendall(data[at:at + self.size])

    def _drive(self, step):
        while True:
            try:
                result = step()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    self.incoming.write_eof()
                self.incoming.write(data)

    def send(self, data):
        self._drive(lambda: self.tls.write(data.encode("latin-1") if isinstance(data, str) else data))

    def _more(self, why):
        self.buffer += self._drive(lambda: self.tls.read(65536))
