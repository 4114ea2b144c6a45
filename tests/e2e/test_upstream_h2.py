# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 to servers: h2c:// and by ALPN; many requests on one connection, and what may go wrong on it."""

import hashlib
import threading

import pytest

from lib import config
from lib.h2origin import H2Origin
from lib.origin import body_of
from lib.proc import free_port, wait_until


@pytest.fixture
def make_h2(nothing_left_running):
    made = []

    def make(**options):
        made.append(H2Origin(**options))
        return made[-1]
    yield make
    for origin in made:
        origin.stop()
    assert not [origin.complaints for origin in made if origin.complaints]


@pytest.fixture(params=["h2c", "tls"])
def pair(request, ferrule, make_h2, authority):
    """A proxy with one worker and its HTTP/2 origin."""
    origin = make_h2(certificate=authority.issue("127.0.0.1") if request.param == "tls" else None)
    extra = f"[serversTransport]\nrootCAs = {config.strings([authority.cert_file])}\n"
    return ferrule.http(origin, extra=extra, workers=1), origin


@pytest.fixture
def plain(ferrule, make_h2):
    """plain(origin options..., extra=TOML): the same over h2c."""
    def make(extra="", service="", **options):
        origin = make_h2(**options)
        return ferrule.http(origin, extra=extra, service=service, workers=1), origin
    return make


def together(count, work):
    """Runs work(n) in threads; returns the results, raises the first failure."""
    results, failures = [None] * count, []

    def one(n):
        try:
            results[n] = work(n)
        except BaseException as error:  # noqa: BLE001 (told below)
            failures.append(error)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


# --- messages ---------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_bodies_both_ways(pair):
    proxy, origin = pair
    with proxy.connect() as client:
        for size in (0, 1, 16384, 65535, 65536, 131073, 1 << 20):
            response = client.exchange("GET", f"/bytes/{size}")
            assert response.body == body_of(size) and response.header("Content-Length") == str(size)
            data = body_of(size)
            for body in (data, [data[at:at + 20000] for at in range(0, size, 20000)]):
                echo = client.exchange("POST", "/echo", body=body).json()
                assert echo["body_sha256"] == hashlib.sha256(data).hexdigest(), size
    assert origin.connection_count == 1


@pytest.mark.asan
def test_heads(pair):
    proxy, origin = pair
    with proxy.connect() as client:
        echo = client.exchange("GET", "/echo?x=y", headers=[("X-Mixed-Case", "Yes"), ("TE", "trailers"), ("Cookie", "a=b; c=d")]).json()
        headers = dict(echo["headers"])
        assert headers[":method"] == "GET" and headers[":path"] == "/echo?x=y" and headers[":authority"] == "example.test"
        assert headers[":scheme"] == ("https" if origin.tls else "http")
        assert headers["x-mixed-case"] == "Yes" and headers["te"] == "trailers" and headers["x-forwarded-for"] == "127.0.0.1"
        assert not {"connection", "host", "transfer-encoding", "content-length"} & set(headers)
        assert client.exchange("HEAD", "/bytes/1000").header("Content-Length") == "1000"
        for code in (204, 304, 404, 500):
            response = client.exchange("GET", f"/status/{code}")
            assert response.status == code and response.body == b""
        hint = client.exchange("GET", "/hints")
        while hint.status == 103:
            hint = client.read_response()
        assert hint.status == 200 and hint.body == b"hi"


@pytest.mark.asan
def test_trailers_both_ways(pair):
    proxy, _ = pair
    with proxy.connect() as client:
        client.send("GET /trailers/70000 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        response = client.read_response()
        assert response.body == body_of(70000) and ("x-trailer", "end") in [(n.lower(), v) for n, v in response.trailers]
        client.send("POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n")
        assert client.read_response().json()["trailers"] == [["x-end", "yes"]]


def test_8_mb_both_ways(plain):
    proxy, _ = plain()
    size = 8 << 20
    data = body_of(size)
    before_kb = proxy.resident_kb()
    with proxy.connect() as client:
        assert client.exchange("GET", f"/bytes/{size}").body == data
        assert client.exchange("PUT", "/echo", body=data).json()["body_sha256"] == hashlib.sha256(data).hexdigest()
    assert proxy.resident_kb() - before_kb < 16 * 1024


# --- many on one ------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_many_requests_share_a_connection(pair):
    proxy, origin = pair
    assert proxy.get("/bytes/1").status == 200  # from here on it is known to speak HTTP/2
    bodies = together(40, lambda n: proxy.get(f"/with/10/bytes/{n * 1000}").body)
    assert bodies == [body_of(n * 1000) for n in range(40)]
    assert origin.connection_count == 1 and origin.most_at_once > 5
    assert proxy.counters()["upstream_connects"] == 1


@pytest.mark.asan
def test_those_who_come_first_wait_for_one_connection(plain):
    """h2c is known from the start: nobody dials for himself."""
    proxy, origin = plain()
    assert all(r.status == 200 for r in together(20, lambda n: proxy.get("/delay/100/bytes/10")))
    assert origin.connection_count == 1


@pytest.mark.asan
def test_no_more_streams_than_the_server_allows(plain):
    proxy, origin = plain(streams=3)
    assert proxy.get("/bytes/1").status == 200
    assert all(r.status == 200 for r in together(12, lambda n: proxy.get("/with/4/bytes/10")))
    assert origin.connection_count >= 2


@pytest.mark.asan
def test_a_slow_reader_holds_up_nobody_else(plain):
    proxy, origin = plain()
    with proxy.connect() as slow:
        slow.send("GET /bytes/8000000 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for _ in range(20):
            assert proxy.get("/bytes/100000").body == body_of(100000)
        assert slow.read_response().body == body_of(8000000)
    assert origin.connection_count == 1


@pytest.mark.asan
def test_eight_slow_readers_hold_up_nobody_else(plain):
    """What they do not read counts against their own windows alone, not against the connection's."""
    proxy, origin = plain()
    size = 12 << 20  # more than the socket buffers on the way hold
    slow = [proxy.connect() for _ in range(8)]
    try:
        for client in slow:
            client.send(f"GET /bytes/{size} HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_until(lambda: origin.stalled == 8, "the origin waits for eight windows")
        for _ in range(5):
            assert proxy.get("/bytes/300000").body == body_of(300000)
        data = body_of(300000)
        with proxy.connect() as quick:
            assert quick.exchange("PUT", "/echo", body=data).json()["body_sha256"] == hashlib.sha256(data).hexdigest()
        wait_until(lambda: origin.stalled == 8, "the slow ones have not moved")
        assert all(client.read_response().body == body_of(size) for client in slow)
    finally:
        for client in slow:
            client.close()
    assert origin.connection_count == 1


@pytest.mark.asan
def test_a_hundred_requests_at_most_share_a_connection(plain):
    """Whatever the server allows: each may leave a window of payload here."""
    proxy, origin = plain(streams=1000)
    assert proxy.get("/bytes/1").status == 200
    assert all(r.status == 200 for r in together(120, lambda n: proxy.get("/with/120/bytes/10")))
    assert 2 <= origin.connection_count <= 3 and origin.most_at_once <= 101


@pytest.mark.asan
def test_a_server_that_takes_a_body_slowly(plain):
    proxy, _ = plain()
    data = body_of(300000)
    with proxy.connect() as client:
        assert client.exchange("POST", "/lazy/50", body=data).json()["body_sha256"] == hashlib.sha256(data).hexdigest()


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_reset_streams(pair):
    proxy, origin = pair
    with proxy.connect() as client:
        assert client.exchange("GET", "/reset/2").status == 502
        assert client.exchange("GET", "/bytes/10").body == body_of(10)
    with proxy.connect() as client:
        with pytest.raises(Exception):
            client.exchange("GET", "/cut/100000")
    assert proxy.get("/bytes/5").body == body_of(5)
    assert origin.connection_count == 1


@pytest.mark.asan
def test_one_bad_stream_does_not_harm_others(plain):
    proxy, origin = plain()
    assert proxy.get("/bytes/1").status == 200

    def work(n):
        return proxy.get("/delay/100/reset/2" if n % 2 else f"/delay/200/bytes/{n}").status
    assert together(20, work) == [502 if n % 2 else 200 for n in range(20)]
    assert origin.connection_count == 1


@pytest.mark.asan
@pytest.mark.parametrize("path", ["/refuse", "/goaway-before"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_untouched_requests_are_sent_again(plain, path, method):
    """REFUSED_STREAM and a GOAWAY that leaves the stream out are safe for every method without body."""
    proxy, origin = plain()
    assert proxy.get("/bytes/1").status == 200
    with proxy.connect() as client:
        response = client.exchange(method, f"{path}?{method}", body=b"" if method == "POST" else None)
    assert response.status == 200
    assert proxy.counters()["upstream_retries"] == 1


@pytest.mark.asan
def test_an_untouched_request_goes_out_on_a_kept_http1_connection(ferrule, make_h2, authority):
    """What may become a tunnel asks for HTTP/1; its connection is kept, and there when HTTP/2's goes away."""
    origin = make_h2(certificate=authority.issue("127.0.0.1"))
    proxy = ferrule.http(origin, extra=f"[serversTransport]\nrootCAs = {config.strings([authority.cert_file])}\n", workers=1)
    assert proxy.get("/bytes/1").body == body_of(1)
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
               ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]
    assert proxy.get("/", headers=upgrade).body == b"1"
    assert proxy.get("/goaway-before").body == b"2"
    assert origin.connection_count == 2
    assert proxy.counters()["upstream_retries"] == 1


@pytest.mark.asan
def test_goaway_lets_running_requests_end(plain):
    proxy, origin = plain()
    assert proxy.get("/goaway").status == 200
    assert proxy.get("/echo").json()["connection"] == 2


@pytest.mark.asan
def test_a_dead_connection_fails_all_its_requests(plain):
    proxy, origin = plain()
    assert proxy.get("/bytes/1").status == 200

    def work(n):
        if n == 0:
            wait_until(lambda: origin.most_at_once >= 4, "the others are there")
        return proxy.get("/die" if n == 0 else "/never").status
    statuses = together(5, work)
    assert statuses.count(502) >= 1 and set(statuses) <= {502}
    assert proxy.get("/bytes/2").body == body_of(2)


@pytest.mark.asan
def test_kept_connections_that_died(plain):
    proxy, origin = plain()
    for _ in range(5):
        assert proxy.get("/bytes/1").status == 200
        origin.drop_connections()


@pytest.mark.asan
def test_clients_that_go_away_cancel_their_stream(plain):
    proxy, origin = plain()
    with proxy.connect() as client:
        client.send("GET /never HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_until(lambda: origin.most_at_once, "the origin was asked")
        client.reset()
    wait_until(lambda: origin.resets == [8], "RST_STREAM with CANCEL")
    assert proxy.get("/bytes/5").status == 200 and origin.connection_count == 1


@pytest.mark.asan
def test_time_limits(plain):
    proxy, origin = plain(extra="[serversTransport.forwardingTimeouts]\nresponseHeaderTimeout = '1500ms'\n")
    assert proxy.get("/never").status == 504
    wait_until(lambda: proxy.get("/bytes/5").status == 200, "others go on")  # (this machine may stall for as long)
    assert set(origin.resets) == {8} and origin.connection_count == 1


@pytest.mark.asan
def test_early_answers(plain):
    proxy, _ = plain()
    with proxy.connect() as client:
        client.send("POST /early/413 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000000\r\n\r\n" + "x" * 1000)
        assert client.read_response().status == 413


@pytest.mark.asan
def test_nobody_there(ferrule):
    class Nobody:
        url = f"h2c://127.0.0.1:{free_port()}"
    proxy = ferrule.http(Nobody, workers=1)
    assert set(together(10, lambda n: proxy.get("/").status)) == {502}


@pytest.mark.asan
def test_silent_servers_are_pinged_and_left(plain):
    """readIdleTimeout and pingTimeout: a connection whose server vanished is given up."""
    limits = "[serversTransport.forwardingTimeouts]\nreadIdleTimeout = '200ms'\npingTimeout = '2s'\n"
    proxy, origin = plain(extra=limits)
    with proxy.connect() as client:
        client.send("GET /delay/1500/bytes/5 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.read_response().body == body_of(5)
    assert origin.pings >= 2
    deaf_proxy, deaf = plain(extra=limits, deaf=True)
    assert deaf_proxy.get("/never").status == 502


def test_idle_connections_end(plain):
    proxy, origin = plain(extra="[serversTransport.forwardingTimeouts]\nidleConnTimeout = '200ms'\n")
    assert proxy.get("/bytes/1").status == 200
    wait_until(lambda: proxy.counters()["upconns_now"] == 0, "the connection is closed")


# --- which version ----------------------------------------------------------------------------------------------


def test_what_the_server_chooses(ferrule, make_h2, make_origin, authority):
    roots = f"[serversTransport]\nrootCAs = {config.strings([authority.cert_file])}\n"
    cert = authority.issue("127.0.0.1")
    h1 = make_origin(certificate=cert)  # says nothing about protocols
    assert ferrule.http(h1, extra=roots).get("/echo").json()["version"] == "HTTP/1.1"
    picky = make_origin(certificate=cert)
    picky.tls.set_alpn_protocols(["http/1.1"])
    assert ferrule.http(picky, extra=roots).get("/echo").json()["version"] == "HTTP/1.1"
    both = make_h2(certificate=cert)
    assert dict(ferrule.http(both, extra=roots).get("/echo").json()["headers"])[":method"] == "GET"
    old = make_origin(certificate=cert)
    old.tls.set_alpn_protocols(["h2", "http/1.1"])  # would speak HTTP/2, were it asked
    assert ferrule.http(old, extra=roots + "disableHTTP2 = true\n").get("/echo").json()["version"] == "HTTP/1.1"
