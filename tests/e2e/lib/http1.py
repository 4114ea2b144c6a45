# SPDX-License-Identifier: Apache-2.0
"""A raw HTTP/1.1 client: sends the bytes it is given and reads strictly, so that a test sees what is on the
wire. (For ordinary requests curl is as good.)"""

import socket
import ssl
import time

TIMEOUT_S = 30


class Closed(Exception):
    """The other side closed before the message was complete; .got holds what came."""

    def __init__(self, got, why):
        super().__init__(f"{why} after {got[-200:]!r}")
        self.got = got


class Response:
    def __init__(self, version, status, reason, headers, body=b"", trailers=()):
        self.version, self.status, self.reason = version, status, reason
        self.headers = headers  # [(name as sent, value)]
        self.body = body
        self.trailers = list(trailers)

    def all(self, name):
        return [value for n, value in self.headers if n.lower() == name.lower()]

    def header(self, name, default=None):
        """The only value of a field; fails if it came twice."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else default

    def json(self):
        import json
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.reason}, {len(self.headers)} fields, {len(self.body)} bytes>"


class Connection:
    """One connection, TCP or TLS, with a buffer."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def request(self, method="GET", target="/", host="example.test", headers=(), body=None):
        """Sends one request; a list body goes chunked, bytes with Content-Length."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in (headers.items() if isinstance(headers, dict) else headers)]
        if isinstance(body, (bytes, bytearray)):
            lines.append(f"Content-Length: {len(body)}")
        elif body is not None:
            lines.append("Transfer-Encoding: chunked")
        self.send("\r\n".join(lines) + "\r\n\r\n")
        if isinstance(body, (bytes, bytearray)):
            self.send(body)
        elif body is not None:
            for piece in body:
                self.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.send(b"0\r\n\r\n")

    def _more(self, why):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed(self.buffer, f"{type(error).__name__} while reading {why}") from None
        if not data:
            raise Closed(self.buffer, f"end of stream while reading {why}")
        self.buffer += data

    def read_exactly(self, count, why="bytes"):
        parts, have = [self.buffer], len(self.buffer)
        while have < count:
            self.buffer = b""
            try:
                self._more(why)
            except Closed as closed:
                raise Closed(b"".join(parts), str(closed)) from None
            parts.append(self.buffer)
            have += len(self.buffer)
        data = b"".join(parts)
        self.buffer = data[count:]
        return data[:count]

    def read_line(self, why="a line"):
        while b"\r\n" not in self.buffer:
            self._more(why)
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_fields(self):
        fields = []
        while line := self.read_line("a field").decode("latin-1"):
            name, colon, value = line.partition(":")
            assert colon and name and name == name.strip(), f"not a header field: {line!r}"
            fields.append((name, value.strip()))
        return fields

    def read_head(self):
        """Reads a status line and fields."""
        version, status, reason = (self.read_line("a status line").decode("latin-1") + "  ").split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0") and len(status) == 3, f"not a status line: {version} {status}"
        return Response(version, int(status), reason.strip(), self.read_fields())

    def read_chunks(self, piece=None, pause_s=0):
        """Reads a chunked body to its end, if asked piece by piece with a pause behind each; returns (body, trailers)."""
        body = []
        while size := int(self.read_line("a chunk size").split(b";")[0], 16):
            body += self.read_pieces(size, piece, pause_s, "a chunk")
            assert self.read_exactly(2, "a chunk's end") == b"\r\n"
        return b"".join(body), self.read_fields()

    def read_pieces(self, count, piece, pause_s, what):
        """As read_exactly(), in pieces with a pause behind each; yields them."""
        while count:
            size = min(count, piece or count)
            yield self.read_exactly(size, what)
            count -= size
            time.sleep(pause_s)

    def read_response(self, method="GET"):
        """Reads the next response whole. 1xx responses are returned like any other.
        Raises Closed if it is cut short: a cut body never looks whole here."""
        response = self.read_head()
        encoding, lengths = response.all("Transfer-Encoding"), response.all("Content-Length")
        assert not (encoding and lengths), "Content-Length beside Transfer-Encoding"
        assert len(lengths) <= 1, f"Content-Length came {len(lengths)} times"
        if method == "HEAD" or response.status < 200 or response.status in (204, 304):
            return response
        if encoding:
            assert encoding == ["chunked"], encoding
            response.body, response.trailers = self.read_chunks()
        elif lengths:
            response.body = self.read_exactly(int(lengths[0]), "a body")
        else:
            response.body = self.read_to_end()
        return response

    def read_to_end(self):
        """Everything up to a clean end of stream; a TLS connection must end with close_notify."""
        while True:
            try:
                self._more("to the end")
            except Closed as closed:
                if "end of stream" not in str(closed):
                    raise
                data, self.buffer = self.buffer, b""
                return data

    def exchange(self, *arguments, **named):
        """request() and read_response()."""
        self.request(*arguments, **named)
        return self.read_response(named.get("method") or (arguments[0] if arguments else "GET"))

    def is_closed(self, timeout_s=TIMEOUT_S):
        """Waits for the other side to close or reset; False if it sends more or nothing in time."""
        self.sock.settimeout(timeout_s)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLEOFError):
            return True
        except TimeoutError:
            return False


def connect(port, address="127.0.0.1", timeout_s=TIMEOUT_S, source=None):
    sock = socket.create_connection((address, port), timeout=timeout_s, source_address=(source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(sock)
