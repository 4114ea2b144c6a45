# SPDX-License-Identifier: Apache-2.0
"""What the cases of RFC 9113 share: requests in frames, and what may come of them. A case is a function
case_SECTION_NAME(client, proxy); a file of cases has `CASES = cases(globals())` and a test over it."""

import contextlib

from . import h2raw as h
from .hostile import HOST
from .origin import body_of

GET = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/bytes/10")]
POST = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/echo")]


@contextlib.contextmanager
def checked_client(proxy):
    """A connection whose settings are agreed. Behind each case a witness shows that the worker goes on."""
    proxy.origin.clear()
    proxy.origin.answers = {}
    with h.connect(proxy.port("websecure")) as made:
        made.read_until(lambda: made.settings is not None and made.acked > 0)
        yield made
    with h.connect(proxy.port("websecure")) as witness:
        assert witness.exchange("GET", "/bytes/10").body == body_of(10)


def cases(names):
    return {name[5:]: value for name, value in list(names.items()) if name.startswith("case_")}


def headers(client, fields, flags=h.END_HEADERS | h.END_STREAM, stream=1):
    client.send_frame(h.HEADERS, flags, stream, client.encode(fields))


def get_ok(client, stream=1):
    headers(client, GET, stream=stream)
    response = client.wait(stream)
    assert response.status == 200 and response.body == body_of(10)


def connection_error(client, *codes):
    assert client.wait_closed() in codes


def stream_error(client, stream, *codes):
    """The stream is reset; the connection goes on. (A connection error is allowed instead, section 5.4.2.)"""
    response = client.wait(stream)
    assert response.reset in codes, response.reset
    client.ping()


def reset_or_closed(client, stream):
    """The response of a stream that is reset, or whose connection ends."""
    response = client._response(stream)
    try:
        client.read_until(lambda: response.reset is not None or client.goaway is not None)
    except h.Closed:
        pass
    return response
