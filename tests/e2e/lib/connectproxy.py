# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy that takes CONNECT and leads every host to one local port: real names and TLS without a network."""

import socket
import threading

from .proc import PATIENCE_S


class ConnectProxy:
    """targets holds the "host:port" that were asked for; authorization the Proxy-Authorization headers."""

    def __init__(self, port):
        self.target_port, self.targets, self.authorization = port, [], []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        client.settimeout(PATIENCE_S)
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = client.recv(4096)
            if not chunk:
                return client.close()
            head += chunk
        lines = head.decode().split("\r\n")
        self.targets.append(lines[0].split()[1])
        self.authorization += [line.split(": ", 1)[1] for line in lines if line.startswith("Proxy-Authorization: ")]
        server = socket.create_connection(("127.0.0.1", self.target_port), timeout=PATIENCE_S)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
        self._pump(client, server)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self._listener.close()
