# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 sections 7 and 8, one by one: what a server must do with the requests that a client sends, and with the
responses it passes on."""

import struct

import pytest

from lib import h2raw as h
from lib.h2cases import GET, POST, cases, checked_client, get_ok, headers, stream_error
from lib.hostile import HOST, answer
from lib.origin import body_of
from lib.proc import wait_until


@pytest.fixture
def proxy(shared_proxy):
    return shared_proxy


@pytest.fixture
def client(proxy):
    with checked_client(proxy) as made:
        yield made


# --- 7 ----------------------------------------------------------------------------------------------------------


def case_7_unknown_error_codes(client, proxy):
    headers(client, GET[:3] + [(":path", "/never")])
    client.send_frame(h.RST_STREAM, 0, 1, struct.pack(">I", 0xABCD))
    get_ok(client, 3)


# --- 8 ------------------------------------------------------------------------------------------------------------


def case_8_1_second_headers_without_end_stream(client, proxy):
    headers(client, POST, h.END_HEADERS)
    headers(client, [("x-trailer", "1")], h.END_HEADERS)
    stream_error(client, 1, h.PROTOCOL_ERROR)


def case_8_1_trailers_that_frame(client, proxy):
    """Fields that decide about framing are no trailers (RFC 9110 section 6.5.1), and others are dropped or passed on."""
    headers(client, POST, h.END_HEADERS)
    client.data(1, b"abc")
    headers(client, [("x-end", "1"), ("content-length", "3")])
    stream_error(client, 1, h.PROTOCOL_ERROR)
    headers(client, POST, h.END_HEADERS, 3)
    client.data(3, b"abc")
    headers(client, [("x-end", "1"), ("authorization", "x")], stream=3)
    assert client.wait(3).status == 200
    assert [r.trailers for r in proxy.origin.requests if r.trailers] == [[("x-end", "1")]]


def case_8_1_nothing_behind_a_whole_exchange(client, proxy):
    """No RST_STREAM when both messages are complete."""
    get_ok(client)
    for stream in (3, 5):
        headers(client, POST, h.END_HEADERS, stream)
        client.data(stream, b"abc", end=True)
        assert client.wait(stream).status == 200
    client.ping()
    assert [client.responses[stream].reset for stream in (1, 3, 5)] == [None] * 3


def case_8_1_1_content_length_too_large(client, proxy):
    headers(client, POST + [("content-length", "5")], h.END_HEADERS)
    client.data(1, b"abc", end=True)
    stream_error(client, 1, h.PROTOCOL_ERROR)


def case_8_1_1_content_length_too_small(client, proxy):
    headers(client, POST + [("content-length", "2")], h.END_HEADERS)
    client.data(1, b"abc", end=True)
    stream_error(client, 1, h.PROTOCOL_ERROR)


def case_8_1_1_content_length_without_data(client, proxy):
    headers(client, POST + [("content-length", "2")])
    stream_error(client, 1, h.PROTOCOL_ERROR)


def case_8_1_1_content_length_and_trailers(client, proxy):
    headers(client, POST + [("content-length", "5")], h.END_HEADERS)
    client.data(1, b"abc")
    headers(client, [("x-trailer", "1")])
    stream_error(client, 1, h.PROTOCOL_ERROR)


def case_8_1_1_nothing_malformed_is_passed_on_as_whole(client, proxy):
    for stream, length in ((1, "2"), (3, "5")):
        headers(client, POST + [("content-length", length)], h.END_HEADERS, stream)
        client.data(stream, b"abc", end=True)
        assert client.wait(stream).reset == h.PROTOCOL_ERROR
    wait_until(lambda: proxy.counters()["streams_now"] == 0, "both are gone")
    assert not [r for r in proxy.origin.requests if r.complete]


def case_8_3_trailers_with_pseudo_headers(client, proxy):
    headers(client, POST, h.END_HEADERS)
    headers(client, [(":path", "/")])
    stream_error(client, 1, h.PROTOCOL_ERROR)


def malformed(*fields):
    """Section 8.1.1: a malformed request is a stream error of PROTOCOL_ERROR, or gets a 400."""
    def case(client, proxy):
        headers(client, list(fields))
        response = client.wait(1)
        assert response.reset == h.PROTOCOL_ERROR or response.status in (400, 501)
        client.ping()
        get_ok(client, 3)
    return case


case_8_2_1_upper_case_name = malformed(*GET, ("X-Upper", "1"))
case_8_2_1_space_in_a_name = malformed(*GET, ("x y", "1"))
case_8_2_1_colon_in_a_name = malformed(*GET, ("x:y", "1"))
case_8_2_1_control_byte_in_a_name = malformed(*GET, ("x\x01", "1"))
case_8_2_1_high_byte_in_a_name = malformed(*GET, ("x\x7f", "1"))
case_8_2_1_byte_above_ascii_in_a_name = malformed(*GET, ("x\xe9", "1"))
case_8_2_1_empty_name = malformed(*GET, ("", "1"))
case_8_2_1_nul_in_a_value = malformed(*GET, ("x", "a\x00b"))
case_8_2_1_cr_in_a_value = malformed(*GET, ("x", "a\rb"))
case_8_2_1_lf_in_a_value = malformed(*GET, ("x", "a\nb"))
case_8_2_1_space_before_a_value = malformed(*GET, ("x", " a"))
case_8_2_1_tab_before_a_value = malformed(*GET, ("x", "\ta"))
case_8_2_1_space_behind_a_value = malformed(*GET, ("x", "a "))
case_8_2_2_connection = malformed(*GET, ("connection", "close"))
case_8_2_2_proxy_connection = malformed(*GET, ("proxy-connection", "close"))
case_8_2_2_keep_alive = malformed(*GET, ("keep-alive", "1"))
case_8_2_2_transfer_encoding = malformed(*GET, ("transfer-encoding", "chunked"))
case_8_2_2_upgrade = malformed(*GET, ("upgrade", "h2c"))
case_8_2_2_te_other_than_trailers = malformed(*GET, ("te", "gzip"))
case_8_3_unknown_pseudo_header = malformed(*GET, (":unknown", "1"))
case_8_3_pseudo_header_of_responses = malformed(*GET, (":status", "200"))
case_8_3_pseudo_header_behind_fields = malformed(*GET[:3], ("x", "y"), GET[3])
case_8_3_1_no_method = malformed(*GET[1:])
case_8_3_1_no_scheme = malformed(GET[0], *GET[2:])
case_8_3_1_no_path = malformed(*GET[:3])
case_8_3_1_empty_path = malformed(*GET[:3], (":path", ""))
case_8_3_1_relative_path = malformed(*GET[:3], (":path", "x"))
case_8_3_1_asterisk_for_get = malformed(*GET[:3], (":path", "*"))
case_8_3_1_fragment = malformed(*GET[:3], (":path", "/#x"))
case_8_3_1_method_twice = malformed(GET[0], *GET)
case_8_3_1_scheme_twice = malformed(GET[1], *GET)
case_8_3_1_path_twice = malformed(GET[3], *GET)
case_8_3_1_authority_twice = malformed(GET[2], *GET)
case_8_3_1_empty_authority = malformed(*GET[:2], (":authority", ""), GET[3])
case_8_3_1_no_authority_and_no_host = malformed(GET[0], GET[1], GET[3])
case_8_3_1_userinfo_in_authority = malformed(GET[0], GET[1], (":authority", "user@example.test"), GET[3])
case_8_3_1_host_differs_from_authority = malformed(*GET, ("host", "other.test"))
case_8_5_connect_with_path = malformed((":method", "CONNECT"), *GET[1:])
case_8_5_connect_is_not_offered = malformed((":method", "CONNECT"), (":authority", "example.test:443"))


def case_8_2_3_cookies_are_joined(client, proxy):
    headers(client, GET[:3] + [(":path", "/echo"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert b"a=1; b=2" in client.wait(1).body


def case_8_2_1_bytes_above_ascii_in_a_value(client, proxy):
    headers(client, GET[:3] + [(":path", "/echo"), ("x-text", b"caf\xe9")])
    assert client.wait(1).status == 200 and b"x-text: caf\xe9" in proxy.origin.requests[0].raw_head


def case_8_2_2_te_trailers(client, proxy):
    headers(client, GET[:3] + [(":path", "/echo"), ("te", "trailers")])
    assert client.wait(1).status == 200 and proxy.origin.requests[0].all("TE") == ["trailers"]


def case_8_2_2_fields_of_one_hop_in_responses(client, proxy):
    """What an upstream of HTTP/1.1 says of its connection is not passed on."""
    proxy.origin.answers = {"/hop": answer("Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "X-End: 1",
                                           "Proxy-Connection: keep-alive", "Transfer-Encoding: chunked") + "0\r\n\r\n"}
    headers(client, GET[:3] + [(":path", "/hop")])
    assert [name for name, _ in client.wait(1).headers] == [":status", "x-end"]


def case_8_3_1_authority_becomes_host(client, proxy):
    headers(client, GET[:2] + [(":authority", "Other.example.test:81"), (":path", "/echo"), ("host", "Other.example.test:81")])
    assert client.wait(1).status == 200 and proxy.origin.requests[0].all("Host") == ["Other.example.test:81"]


def case_8_3_1_path_is_not_changed(client, proxy):
    headers(client, GET[:3] + [(":path", "/a//%2e%2E/b;c?d=%20&e[]=/?")])
    assert client.wait(1).status == 200 and proxy.origin.requests[0].target == "/a//%2e%2E/b;c?d=%20&e[]=/?"


def case_8_3_2_status_comes_first_and_alone(client, proxy):
    headers(client, GET)
    names = [name for name, _ in client.wait(1).headers]
    assert names[0] == ":status" and not [name for name in names[1:] if name.startswith(":") or name != name.lower()]


def case_8_3_1_host_alone(client, proxy):
    headers(client, [GET[0], GET[1], GET[3], ("host", HOST)])
    assert client.wait(1).status == 200


def case_8_3_1_options_asterisk(client, proxy):
    headers(client, [(":method", "OPTIONS"), *GET[1:3], (":path", "*")])
    assert client.wait(1).status == 200


def case_8_4_push_is_never_sent(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.ENABLE_PUSH, 1)))
    get_ok(client)


def case_8_6_no_101(client, proxy):
    """HTTP/2 has no 101: an upstream's is no answer, and Upgrade was never asked for."""
    proxy.origin.answers = {"/101": answer("Connection: upgrade", "Upgrade: x", first="HTTP/1.1 101 Switching Protocols")}
    headers(client, GET[:3] + [(":path", "/101")])
    assert client.wait(1).status == 502
    assert proxy.origin.requests[0].all("Upgrade") == []


def case_8_6_other_versions_stay_on_offer(client, proxy):
    with proxy.connect_tls(HOST, "websecure", alpn=["http/1.1"]) as other:
        assert other.exchange("GET", "/bytes/10").body == body_of(10)


# What has no case, and why.
NOT_RUN = {
    "8_1_interim_responses": "test_http2.py: 100 and 103 come before the final head",
    "8_1_early_response": "test_http2.py: the whole response, then RST_STREAM with NO_ERROR",
    "8_4_push": "ferrule pushes nothing; test_upstream_h2.py sends it a PUSH_PROMISE",
    "8_7_retries": "test_upstream_h2.py: what a server refused or left out is sent again, nothing else",
}
CASES = cases(globals())


@pytest.mark.parametrize("case", CASES)
def test_rfc9113(client, proxy, case):
    CASES[case](client, proxy)


@pytest.mark.parametrize("name", NOT_RUN)
def test_not_here(name):
    pytest.skip(NOT_RUN[name])
