# SPDX-License-Identifier: Apache-2.0
"""Servers for tunnels: WebSocket by the distribution's library, and one whose every byte the test decides."""

import asyncio
import base64
import hashlib
import re
import socket
import ssl
import threading

import websockets

from .http1 import Connection
from .proc import PATIENCE_S

HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def accept_of(key):
    """Sec-WebSocket-Accept for this Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def key_of(head):
    (key,) = re.findall(r"(?im)^sec-websocket-key: *(.*?)\r?$", head)
    return key


def switch_for(head, more=""):
    """The 101 that shows that the request was understood."""
    return SWITCH[:-2] + f"Sec-WebSocket-Accept: {accept_of(key_of(head))}\r\n{more}\r\n"


class EchoServer:
    """Sends every message back; "close" ends the connection from its side. Runs in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.heads = []
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(PATIENCE_S)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(self._serve())
        self.port = self.server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    async def _serve(self):
        return await websockets.serve(self._echo, "127.0.0.1", 0, max_size=None, compression=None, ping_interval=None, backlog=1024)

    async def _echo(self, connection, *_):
        """For the library's older interface (Debian 12) and its newer one."""
        self.heads.append(connection.request.headers if hasattr(connection, "request") else connection.request_headers)
        async for message in connection:
            if message == "close":
                return
            await connection.send(message)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        async def close():
            self.server.close()
            await self.server.wait_closed()
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(close(), self.loop)
        self.thread.join(PATIENCE_S)


class RawServer:
    """Listens; the test accepts, reads the request's head, and sends what it likes."""

    def __init__(self, certificate=None):
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(str(certificate.cert_file), str(certificate.key_file))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.settimeout(PATIENCE_S)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepted = []

    def accept(self, answer=SWITCH):
        """The next connection whose request was read and answered; its .head is the request's, as text. `answer` may be
        made of it, as switch_for() does."""
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True)
        connection = Connection(sock)
        self.accepted.append(connection)
        lines = []
        while line := connection.read_line("a request"):
            lines.append(line.decode("latin-1"))
        connection.head = "\r\n".join(lines)
        if answer:
            connection.send(answer(connection.head) if callable(answer) else answer)
        return connection

    def stop(self):
        self.listener.close()
        for connection in self.accepted:
            connection.close()


def ask(client, target="/", host="example.test", more="", rest=b""):
    """Sends a request to switch to WebSocket, with bytes behind it."""
    client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}{HANDSHAKE}\r\n".encode() + rest)
