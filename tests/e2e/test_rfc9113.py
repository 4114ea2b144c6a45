# SPDX-License-Identifier: Apache-2.0
"""RFC 9113, section by section: what a server must do with what a client sends. Behind each case a witness shows that
the worker goes on."""

import json
import struct

import pytest

from lib import h2raw as h
from lib.h2raw import frame
from lib.hostile import HOST
from lib.origin import body_of

GET = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/bytes/10")]
POST = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/echo")]


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue(HOST)


@pytest.fixture
def proxy(ferrule, origin, certificate):
    return ferrule.both(origin, certificates=[certificate], workers=1)


@pytest.fixture
def client(proxy):
    with h.connect(proxy.port("websecure")) as made:
        made.read_until(lambda: made.settings is not None and made.acked > 0)
        yield made
    with h.connect(proxy.port("websecure")) as witness:
        assert witness.exchange("GET", "/bytes/10").body == body_of(10)


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


# --- 3.4 ----------------------------------------------------------------------------------------------------------


def case_3_4_preface_is_answered_with_settings(client, proxy):
    assert h.MAX_CONCURRENT_STREAMS in client.settings


def case_3_4_invalid_preface(client, proxy):
    with h.connect(proxy.port("websecure"), start=False) as other:
        other.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(h.SETTINGS))
        connection_error(other, h.PROTOCOL_ERROR, None)


def case_3_4_preface_without_settings(client, proxy):
    with h.connect(proxy.port("websecure"), start=False) as other:
        other.send(h.PREFACE + frame(h.PING, payload=b"12345678"))
        connection_error(other, h.PROTOCOL_ERROR)


# --- 4 ------------------------------------------------------------------------------------------------------------


def case_4_1_unknown_frame_types_are_ignored(client, proxy):
    client.send_frame(0xFA, 0xFF, 0, b"abc")
    client.send_frame(0xFA, 0xFF, 7, b"abc")
    get_ok(client)


def case_4_1_undefined_flags_are_ignored(client, proxy):
    client.send_frame(h.PING, 0xFE, 0, b"12345678")
    client.read_until(lambda: client.pongs)
    get_ok(client)


def case_4_1_reserved_bit_is_ignored(client, proxy):
    client.send_frame(h.PING, 0, 1 << 31, b"12345678")
    client.read_until(lambda: client.pongs)


def case_4_2_data_of_the_largest_size(client, proxy):
    headers(client, POST, h.END_HEADERS)
    client.data(1, bytes(16384), end=True)
    assert client.wait(1).status == 200


def case_4_2_data_too_large(client, proxy):
    headers(client, POST, h.END_HEADERS)
    client.data(1, bytes(16385), end=True)
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_4_2_headers_too_large(client, proxy):
    client.send_frame(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, bytes(16385))
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_4_3_bad_header_block(client, proxy):
    client.send_frame(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff")
    connection_error(client, h.COMPRESSION_ERROR)


def case_4_3_other_frame_inside_a_header_block(client, proxy):
    block = client.encode(GET)
    client.send_frame(h.HEADERS, h.END_STREAM, 1, block[:5])
    client.send_frame(h.PRIORITY, 0, 1, bytes(5))
    connection_error(client, h.PROTOCOL_ERROR)


def case_4_3_other_stream_inside_a_header_block(client, proxy):
    block = client.encode(GET)
    client.send_frame(h.HEADERS, h.END_STREAM, 1, block[:5])
    client.send_frame(h.CONTINUATION, h.END_HEADERS, 3, block[5:])
    connection_error(client, h.PROTOCOL_ERROR)


def case_4_3_1_table_size_over_the_limit(client, proxy):
    """A dynamic table size update above SETTINGS_HEADER_TABLE_SIZE."""
    client.send_frame(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, b"\x3f\xe1\xff\x03" + client.encode(GET))
    connection_error(client, h.COMPRESSION_ERROR)


# --- 5.1 ----------------------------------------------------------------------------------------------------------


def case_5_1_idle_data(client, proxy):
    client.data(1, b"abc")
    connection_error(client, h.PROTOCOL_ERROR, h.STREAM_CLOSED)


def case_5_1_idle_rst_stream(client, proxy):
    client.send_frame(h.RST_STREAM, 0, 1, struct.pack(">I", h.CANCEL))
    connection_error(client, h.PROTOCOL_ERROR)


def case_5_1_idle_window_update(client, proxy):
    client.send_frame(h.WINDOW_UPDATE, 0, 1, struct.pack(">I", 100))
    connection_error(client, h.PROTOCOL_ERROR)


def case_5_1_idle_continuation(client, proxy):
    client.send_frame(h.CONTINUATION, h.END_HEADERS, 1, client.encode(GET))
    connection_error(client, h.PROTOCOL_ERROR)


def case_5_1_half_closed_data(client, proxy):
    headers(client, GET[:3] + [(":path", "/delay/300/bytes/10")])
    client.data(1, b"abc", end=True)
    response = client._response(1)
    try:
        client.read_until(lambda: response.reset is not None or client.goaway is not None)
    except h.Closed:
        pass
    assert h.STREAM_CLOSED in (response.reset, client.goaway)


def case_5_1_half_closed_headers(client, proxy):
    headers(client, GET[:3] + [(":path", "/delay/300/bytes/10")])
    headers(client, GET)
    response = client._response(1)
    try:
        client.read_until(lambda: response.reset is not None or client.goaway is not None)
    except h.Closed:
        pass
    assert h.STREAM_CLOSED in (response.reset, client.goaway)


def case_5_1_half_closed_continuation(client, proxy):
    headers(client, GET[:3] + [(":path", "/delay/300/bytes/10")])
    client.send_frame(h.CONTINUATION, h.END_HEADERS, 1, client.encode([("x", "y")]))
    connection_error(client, h.STREAM_CLOSED, h.PROTOCOL_ERROR)


def case_5_1_closed_headers(client, proxy):
    get_ok(client)
    headers(client, GET)
    connection_error(client, h.STREAM_CLOSED, h.PROTOCOL_ERROR)


def case_5_1_closed_late_frames_are_ignored(client, proxy):
    """RST_STREAM, WINDOW_UPDATE and PRIORITY may still come for a stream that was closed."""
    get_ok(client)
    client.send_frame(h.WINDOW_UPDATE, 0, 1, struct.pack(">I", 100))
    client.send_frame(h.RST_STREAM, 0, 1, struct.pack(">I", h.CANCEL))
    client.send_frame(h.PRIORITY, 0, 1, bytes(5))
    client.ping()
    get_ok(client, 3)


def case_5_1_1_even_stream(client, proxy):
    headers(client, GET, stream=2)
    connection_error(client, h.PROTOCOL_ERROR)


def case_5_1_1_smaller_stream(client, proxy):
    get_ok(client, 5)
    headers(client, GET, stream=3)
    connection_error(client, h.PROTOCOL_ERROR, h.STREAM_CLOSED)


def case_5_1_1_stream_0(client, proxy):
    headers(client, GET, stream=0)
    connection_error(client, h.PROTOCOL_ERROR)


def case_5_1_2_too_many_streams(client, proxy):
    for i in range(251):
        headers(client, GET[:3] + [(":path", "/never")], stream=2 * i + 1)
    response = client._response(501)
    try:
        client.read_until(lambda: response.reset is not None)
    except h.Closed:
        pass
    assert response.reset in (h.PROTOCOL_ERROR, h.REFUSED_STREAM) or client.goaway == h.PROTOCOL_ERROR


def case_5_2_windows_are_respected(client, proxy):
    client.credit = False
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 3)))
    headers(client, GET)
    response = client.wait_head(1)
    client.read_until(lambda: len(response.body) == 3)
    client.ping()
    assert len(response.body) == 3 and not response.ended
    client.send_frame(h.WINDOW_UPDATE, 0, 1, struct.pack(">I", 100))
    assert client.wait(1).body == body_of(10)


def case_5_2_stream_window_overrun(client, proxy):
    headers(client, POST[:3] + [(":path", "/never")], h.END_HEADERS)
    for _ in range(5):
        client.data(1, bytes(16384))
    response = client._response(1)
    try:
        client.read_until(lambda: response.reset is not None or client.windows.get(1, 0) > 65535)
    except h.Closed:
        pass
    assert response.reset == h.FLOW_CONTROL_ERROR or client.goaway == h.FLOW_CONTROL_ERROR or client.windows.get(1, 0) > 65535


def case_5_4_1_goaway_and_close(client, proxy):
    client.send_frame(h.PING, 0, 1, b"12345678")
    assert client.wait_closed() == h.PROTOCOL_ERROR and client.last_stream == 0


def case_5_5_extension_frames_inside_a_header_block(client, proxy):
    block = client.encode(GET)
    client.send_frame(h.HEADERS, h.END_STREAM, 1, block[:5])
    client.send_frame(0xFA, 0, 0, b"abc")
    connection_error(client, h.PROTOCOL_ERROR)


# --- 6 ------------------------------------------------------------------------------------------------------------


def case_6_1_data_on_stream_0(client, proxy):
    client.data(0, b"abc")
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_1_padding_as_long_as_the_frame(client, proxy):
    headers(client, POST, h.END_HEADERS)
    client.send_frame(h.DATA, h.PADDED | h.END_STREAM, 1, b"\x05abcd")
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_1_padding_is_no_payload(client, proxy):
    headers(client, POST, h.END_HEADERS)
    client.send_frame(h.DATA, h.PADDED | h.END_STREAM, 1, b"\x05abc" + bytes(5))
    assert json.loads(client.wait(1).body)["body_bytes"] == 3


def case_6_2_headers_padding_too_long(client, proxy):
    block = client.encode(GET)
    client.send_frame(h.HEADERS, h.PADDED | h.END_HEADERS | h.END_STREAM, 1, bytes([len(block) + 1]) + block)
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_2_headers_padding_and_priority(client, proxy):
    client.send_frame(h.HEADERS, h.PADDED | h.HAS_PRIORITY | h.END_HEADERS | h.END_STREAM, 1,
                      bytes([4]) + bytes(5) + client.encode(GET) + bytes(4))
    assert client.wait(1).status == 200


def case_6_3_priority_on_stream_0(client, proxy):
    client.send_frame(h.PRIORITY, 0, 0, bytes(5))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_3_priority_of_a_wrong_size(client, proxy):
    headers(client, GET[:3] + [(":path", "/delay/300/bytes/10")])
    client.send_frame(h.PRIORITY, 0, 1, bytes(4))
    response = client._response(1)
    try:
        client.read_until(lambda: response.reset is not None)
    except h.Closed:
        pass
    assert h.FRAME_SIZE_ERROR in (response.reset, client.goaway)


def case_6_4_rst_stream_on_stream_0(client, proxy):
    client.send_frame(h.RST_STREAM, 0, 0, bytes(4))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_4_rst_stream_of_a_wrong_size(client, proxy):
    headers(client, GET[:3] + [(":path", "/never")])
    client.send_frame(h.RST_STREAM, 0, 1, bytes(3))
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_6_5_settings_ack_with_payload(client, proxy):
    client.send_frame(h.SETTINGS, h.ACK, 0, bytes(6))
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_6_5_settings_on_a_stream(client, proxy):
    client.send_frame(h.SETTINGS, 0, 1)
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_5_settings_of_a_wrong_size(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, bytes(5))
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_6_5_2_enable_push(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.ENABLE_PUSH, 2)))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_5_2_initial_window_size(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 1 << 31)))
    connection_error(client, h.FLOW_CONTROL_ERROR)


def case_6_5_2_max_frame_size_too_small(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.MAX_FRAME_SIZE, 16383)))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_5_2_max_frame_size_too_large(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.MAX_FRAME_SIZE, 1 << 24)))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_5_2_unknown_setting(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((0xFF, 1)))
    get_ok(client)


def case_6_5_3_settings_are_acknowledged(client, proxy):
    before = client.acked
    client.send_frame(h.SETTINGS)
    client.read_until(lambda: client.acked == before + 1)


def case_6_6_push_promise_from_a_client(client, proxy):
    client.send_frame(h.PUSH_PROMISE, h.END_HEADERS, 1, struct.pack(">I", 2) + client.encode(GET))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_7_ping_is_answered(client, proxy):
    client.ping(b"pingpong")
    assert client.pongs == [b"pingpong"]


def case_6_7_ping_ack_is_not_answered(client, proxy):
    client.send_frame(h.PING, h.ACK, 0, b"12345678")
    client.ping(b"87654321")
    assert client.pongs == [b"87654321"]


def case_6_7_ping_on_a_stream(client, proxy):
    client.send_frame(h.PING, 0, 1, bytes(8))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_7_ping_of_a_wrong_size(client, proxy):
    client.send_frame(h.PING, 0, 0, bytes(7))
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_6_8_goaway_on_a_stream(client, proxy):
    client.send_frame(h.GOAWAY, 0, 1, bytes(8))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_8_goaway_lets_streams_end(client, proxy):
    headers(client, GET[:3] + [(":path", "/delay/100/bytes/10")])
    client.send_frame(h.GOAWAY, 0, 0, bytes(8))
    assert client.wait(1).body == body_of(10)


def case_6_9_window_update_of_0(client, proxy):
    client.send_frame(h.WINDOW_UPDATE, 0, 0, bytes(4))
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_9_window_update_of_0_on_a_stream(client, proxy):
    headers(client, GET[:3] + [(":path", "/never")])
    client.send_frame(h.WINDOW_UPDATE, 0, 1, bytes(4))
    response = client._response(1)
    try:
        client.read_until(lambda: response.reset is not None)
    except h.Closed:
        pass
    assert h.PROTOCOL_ERROR in (response.reset, client.goaway)


def case_6_9_window_update_of_a_wrong_size(client, proxy):
    client.send_frame(h.WINDOW_UPDATE, 0, 0, bytes(3))
    connection_error(client, h.FRAME_SIZE_ERROR)


def case_6_9_1_connection_window_overflow(client, proxy):
    client.send_frame(h.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1))
    connection_error(client, h.FLOW_CONTROL_ERROR)


def case_6_9_1_stream_window_overflow(client, proxy):
    headers(client, GET[:3] + [(":path", "/never")])
    client.send_frame(h.WINDOW_UPDATE, 0, 1, struct.pack(">I", (1 << 31) - 1))
    stream_error(client, 1, h.FLOW_CONTROL_ERROR)


def case_6_9_2_initial_window_changes_streams(client, proxy):
    client.credit = False
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 0)))
    headers(client, GET)
    client.wait_head(1)
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 4)))
    response = client._response(1)
    client.read_until(lambda: len(response.body) == 4)
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 100)))
    assert client.wait(1).body == body_of(10)


def case_6_9_2_initial_window_makes_one_too_large(client, proxy):
    headers(client, GET[:3] + [(":path", "/never")])
    client.send_frame(h.WINDOW_UPDATE, 0, 1, struct.pack(">I", (1 << 31) - 1 - 65535))
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.INITIAL_WINDOW_SIZE, 65536)))
    response = client._response(1)
    try:
        client.read_until(lambda: response.reset is not None)
    except h.Closed:
        pass
    assert h.FLOW_CONTROL_ERROR in (response.reset, client.goaway)


def case_6_10_continuation(client, proxy):
    block = client.encode(GET)
    client.send_frame(h.HEADERS, h.END_STREAM, 1, block[:5])
    client.send_frame(h.CONTINUATION, 0, 1, block[5:8])
    client.send_frame(h.CONTINUATION, h.END_HEADERS, 1, block[8:])
    assert client.wait(1).body == body_of(10)


def case_6_10_continuation_on_stream_0(client, proxy):
    client.send_frame(h.HEADERS, h.END_STREAM, 1, client.encode(GET)[:5])
    client.send_frame(h.CONTINUATION, h.END_HEADERS, 0)
    connection_error(client, h.PROTOCOL_ERROR)


def case_6_10_continuation_behind_a_whole_section(client, proxy):
    headers(client, POST, h.END_HEADERS)
    client.send_frame(h.CONTINUATION, h.END_HEADERS, 1, client.encode([("x", "y")]))
    connection_error(client, h.PROTOCOL_ERROR)


def case_7_unknown_error_codes(client, proxy):
    headers(client, GET[:3] + [(":path", "/never")])
    client.send_frame(h.RST_STREAM, 0, 1, struct.pack(">I", 0xABCD))
    get_ok(client, 3)


# --- 8 ------------------------------------------------------------------------------------------------------------


def case_8_1_second_headers_without_end_stream(client, proxy):
    headers(client, POST, h.END_HEADERS)
    headers(client, [("x-trailer", "1")], h.END_HEADERS)
    stream_error(client, 1, h.PROTOCOL_ERROR)


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
case_8_2_1_empty_name = malformed(*GET, ("", "1"))
case_8_2_1_nul_in_a_value = malformed(*GET, ("x", "a\x00b"))
case_8_2_1_cr_in_a_value = malformed(*GET, ("x", "a\rb"))
case_8_2_1_lf_in_a_value = malformed(*GET, ("x", "a\nb"))
case_8_2_1_space_before_a_value = malformed(*GET, ("x", " a"))
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
case_8_3_1_no_authority_and_no_host = malformed(GET[0], GET[1], GET[3])
case_8_3_1_userinfo_in_authority = malformed(GET[0], GET[1], (":authority", "user@example.test"), GET[3])
case_8_3_1_host_differs_from_authority = malformed(*GET, ("host", "other.test"))
case_8_5_connect_with_path = malformed((":method", "CONNECT"), *GET[1:])
case_8_5_connect_is_not_offered = malformed((":method", "CONNECT"), (":authority", "example.test:443"))


def case_8_2_3_cookies_are_joined(client, proxy):
    headers(client, GET[:3] + [(":path", "/echo"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert b"a=1; b=2" in client.wait(1).body


def case_8_3_1_host_alone(client, proxy):
    headers(client, [GET[0], GET[1], GET[3], ("host", HOST)])
    assert client.wait(1).status == 200


def case_8_3_1_options_asterisk(client, proxy):
    headers(client, [(":method", "OPTIONS"), *GET[1:3], (":path", "*")])
    assert client.wait(1).status == 200


def case_8_4_push_is_never_sent(client, proxy):
    client.send_frame(h.SETTINGS, 0, 0, h.settings((h.ENABLE_PUSH, 1)))
    get_ok(client)


def case_8_6_other_versions_stay_on_offer(client, proxy):
    with proxy.connect_tls(HOST, "websecure", alpn=["http/1.1"]) as other:
        assert other.exchange("GET", "/bytes/10").body == body_of(10)


CASES = {name[5:]: value for name, value in list(globals().items()) if name.startswith("case_")}


@pytest.mark.parametrize("case", CASES)
def test_rfc9113(client, proxy, case):
    CASES[case](client, proxy)
