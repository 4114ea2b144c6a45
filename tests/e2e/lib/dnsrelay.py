# SPDX-License-Identifier: Apache-2.0
"""A name server at another address (127.0.0.2 and on) that passes queries on to a BIND: late, never, or
changed. BIND itself listens on no loopback address but 127.0.0.1."""

import selectors
import socket
import struct
import threading
import time

TIMEOUT_S = 5


def _read_exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class DnsRelay:
    """Set these at any time:
        drop      True: queries are read and never answered
        delay_s   wait before each answer
        as_self   True: asks from its own address (BIND can show another view to it)
        change    function(query bytes, answer bytes, is_tcp) -> answer bytes, or None for no answer,
                  or a list of them (over UDP)
    queries counts what came.
    """

    def __init__(self, target, address="127.0.0.2", port=None):
        host, target_port = target.rsplit(":", 1)
        self.target = (host, int(target_port))
        self.drop, self.delay_s, self.change, self.as_self = False, 0, None, False
        self.queries = 0
        self._stopping = False
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Usually the port of the BIND behind it, at another address: name servers have one port.
        self.address, self.port = address, port or self.target[1]
        self._udp.bind((self.address, self.port))
        self._tcp.bind((self.address, self.port))
        self._tcp.listen(64)
        threading.Thread(target=self._loop, daemon=True).start()

    def stop(self):
        self._stopping = True
        self._udp.close()
        try:
            self._tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._tcp.close()

    def _loop(self):
        selector = selectors.DefaultSelector()
        selector.register(self._udp, selectors.EVENT_READ)
        selector.register(self._tcp, selectors.EVENT_READ)
        while not self._stopping:
            try:
                for key, _ in selector.select(timeout=0.2):
                    if key.fileobj is self._udp:
                        query, client = self._udp.recvfrom(65535)
                        threading.Thread(target=self._serve_udp, args=(query, client), daemon=True).start()
                    else:
                        sock, _ = self._tcp.accept()
                        threading.Thread(target=self._serve_tcp, args=(sock,), daemon=True).start()
            except (OSError, ValueError):
                return  # closed

    def _serve_udp(self, query, client):
        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
                upstream.settimeout(TIMEOUT_S)
                if self.as_self:
                    upstream.bind((self.address, 0))
                upstream.sendto(query, self.target)
                return upstream.recv(65535)

        try:
            answer = self._answer(query, ask, False)
            for one in answer if isinstance(answer, list) else [answer]:
                if one is not None:
                    self._udp.sendto(one, client)
        except OSError:
            pass

    def _serve_tcp(self, sock):
        def ask():
            with socket.create_connection(self.target, TIMEOUT_S, (self.address, 0) if self.as_self else None) as upstream:
                upstream.sendall(struct.pack(">H", len(query)) + query)
                return _read_exactly(upstream, struct.unpack(">H", _read_exactly(upstream, 2))[0])

        try:
            with sock:
                sock.settimeout(60)
                while True:
                    query = _read_exactly(sock, struct.unpack(">H", _read_exactly(sock, 2))[0])
                    answer = self._answer(query, ask, True)
                    if answer is not None:
                        sock.sendall(struct.pack(">H", len(answer)) + answer)
        except (OSError, EOFError):
            pass

    def _answer(self, query, ask, is_tcp):
        self.queries += 1
        if self.drop:
            return None
        answer = ask()
        time.sleep(self.delay_s)
        return self.change(query, answer, is_tcp) if self.change else answer


class UpdateCounter(DnsRelay):
    """Counts dynamic updates (RFC 2136): `updates` in all, `most` at a time."""

    def __init__(self, *arguments, **options):
        self.updates = self.now = self.most = 0
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def _answer(self, query, ask, is_tcp):
        if len(query) < 3 or (query[2] >> 3) & 15 != 5:
            return super()._answer(query, ask, is_tcp)
        with self._lock:
            self.updates += 1
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return super()._answer(query, ask, is_tcp)
        finally:
            with self._lock:
                self.now -= 1
