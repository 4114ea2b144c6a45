# SPDX-License-Identifier: Apache-2.0
"""https:// servers: verified by default, with everything that serversTransport can say about it."""

import datetime
import hashlib
import ssl

import pytest

from lib import config
from lib.origin import body_of
from lib.proc import free_port, wait_until

NAME = "backend.test"
EXPIRED = {"starts": datetime.timedelta(days=-3), "ends": datetime.timedelta(days=-1)}
FUTURE = {"starts": datetime.timedelta(days=1), "ends": datetime.timedelta(days=3)}


def transport(name="t", **values):
    """[http.serversTransports.NAME]; values are TOML as text."""
    return f"[http.serversTransports.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def quoted(text):
    return f"'{text}'"


@pytest.fixture
def other_authority(folder):
    from lib.certs import Authority
    return Authority(folder / "other-ca", "Other CA")


@pytest.fixture
def proxy_to(ferrule, authority):
    """proxy_to(url or server, ...): one entry point, one https server, transport "t" over `values`."""
    def make(*servers, roots=True, more="", **values):
        options = {"env": values.pop("env", None), "workers": values.pop("workers", 1)}
        if roots:
            values.setdefault("rootCAs", config.strings([authority.cert_file]))
        values.setdefault("serverName", quoted(NAME))
        return ferrule.http(*servers, service='serversTransport = "t"', extra=transport(**values) + more, **options)
    return make


def nginx_tls(make_nginx, cert, more=""):
    """nginx that speaks TLS on its port. More text of its server block."""
    server = make_nginx(f"ssl_certificate {cert.cert_file}; ssl_certificate_key {cert.key_file}; {more}", tls=True)
    return server


def refused(proxy, *words):
    """A 502, and one log line with all these words."""
    assert proxy.get("/64").status == 502
    wait_until(lambda: any(all(word in line for word in words) for line in proxy.log.splitlines()), f"a log line with {words}")


# --- good servers -----------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_requests_and_bodies(proxy_to, make_nginx, authority, version):
    proxy = proxy_to(nginx_tls(make_nginx, authority.issue(NAME), f"ssl_protocols {version};"))
    with proxy.connect() as client:
        for _ in range(3):
            assert client.exchange("GET", "/64").body == body_of(64)
        assert client.exchange("GET", "/1m").body == body_of(1 << 20)
        assert client.exchange("HEAD", "/1m").status == 200
        assert client.exchange("GET", "/none").status == 404
    assert proxy.counters()["upstream_connects"] == 1


@pytest.mark.asan
@pytest.mark.parametrize("client_side", ["web", "websecure"])
def test_bodies_of_every_size_both_ways(ferrule, make_origin, authority, client_side):
    origin = make_origin("tls", certificate=authority.issue(NAME))
    proxy = ferrule.both(origin, certificates=[authority.issue("example.test")], workers=1, service='serversTransport = "t"',
                         extra=transport(rootCAs=config.strings([authority.cert_file]), serverName=quoted(NAME)))
    open_client = proxy.connect if client_side == "web" else lambda: proxy.connect_tls(
        "example.test", "websecure", ca_file=authority.cert_file)
    with open_client() as client:
        for size in (0, 1, 4096, 16384, 16385, 65536, 70001, 1 << 20):
            for path in (f"/bytes/{size}", f"/chunked/{size}", f"/chunked/{size}?piece=65536&trailer=x"):
                assert client.exchange("GET", path).body == body_of(size), path
            data = body_of(size)
            for body in (data, [data[at:at + 10000] for at in range(0, size, 10000)]):
                echo = client.exchange("POST", "/echo", body=body).json()
                assert echo["body_sha256"] == hashlib.sha256(data).hexdigest(), size
    assert origin.connection_count == 1


def test_64_mb_both_ways_over_tls(proxy_to, make_origin, authority):
    proxy = proxy_to(make_origin("tls", certificate=authority.issue(NAME)))
    size = 64 << 20
    data = body_of(size)
    before_kb = proxy.resident_kb()
    with proxy.connect() as client:
        assert client.exchange("GET", f"/bytes/{size}").body == data
        echo = client.exchange("PUT", "/echo", body=data).json()
        assert echo["body_sha256"] == hashlib.sha256(data).hexdigest()
    assert proxy.resident_kb() - before_kb < 16 * 1024


@pytest.mark.asan
def test_an_end_by_close_must_be_said_in_tls(proxy_to, make_origin, authority):
    """Without close_notify anybody on the way could have cut the answer short (RFC 9112 section 9.8)."""
    polite = make_origin("polite", certificate=authority.issue(NAME), close_notify=True)
    with proxy_to(polite).connect() as client:
        assert client.exchange("GET", "/to-close/70000").body == body_of(70000)
    rude = make_origin("rude", certificate=authority.issue(NAME))
    with proxy_to(rude).connect() as client:
        with pytest.raises(Exception):
            client.exchange("GET", "/to-close/70000")


@pytest.mark.parametrize("key", ["EC256", "EC384", "RSA2048"])
def test_keys_of_servers(proxy_to, make_origin, authority, key):
    assert proxy_to(make_origin(certificate=authority.issue(NAME, key=key))).get("/bytes/5").body == body_of(5)


def test_heads_of_the_largest_size(ferrule, make_origin, authority):
    """With our own fields a head is larger than what is encrypted at a time."""
    origin = make_origin("o", certificate=authority.issue("one.test"))
    proxy = ferrule.http(origin, workers=1, entry="[entryPoints.web.http]\nmaxHeaderBytes = 1048576",
                         service='serversTransport = "t"', extra="[http.serversTransports.t]\ninsecureSkipVerify = true\n")
    data = proxy.pid_of("data")
    for size in (20000, 60000, 65200):
        fields = [(f"X-{i}", "v" * 4000) for i in range(size // 4008)]
        with proxy.connect() as client:
            assert client.exchange("GET", "/echo", headers=fields).status in (200, 431), size
    assert proxy.pid_of("data") == data


def test_names_of_one_label_wildcards_and_addresses(ferrule, make_origin, authority):
    """The name is that of the URL when serverName is not given."""
    for names, server_name in ((["localhost"], None), (["127.0.0.1"], None), (["backend"], "backend"),
                               (["*.b.test"], "x.b.test"), (["a.test", "::1", "b.test"], "B.test.")):
        origin = make_origin(certificate=authority.issue(*names))
        host = "localhost" if names == ["localhost"] else "127.0.0.1"
        port = free_port()
        values = {"rootCAs": config.strings([authority.cert_file])}
        if server_name:
            values["serverName"] = quoted(server_name)
        proxy = ferrule("\n".join([
            config.entrypoint("web", port), config.router("all", "s"),
            config.service("s", f"https://{host}:{origin.port}", more='serversTransport = "t"'), transport(**values)]),
            {"web": port}, workers=1)
        wait_until(lambda: proxy.get("/bytes/5").body == body_of(5), f"an answer of {names}")


def test_the_name_that_is_asked_for(proxy_to, make_origin, authority):
    asked = []
    origin = make_origin(certificate=authority.issue(NAME))
    origin.tls.sni_callback = lambda sock, name, context: asked.append(name)
    assert proxy_to(origin).get("/bytes/1").status == 200
    with_address = make_origin(certificate=authority.issue("127.0.0.1"))
    with_address.tls.sni_callback = lambda sock, name, context: asked.append(name)
    assert proxy_to(with_address, serverName="''").get("/bytes/1").status == 200
    assert asked == [NAME, None]


def test_the_global_transport(ferrule, make_origin, authority):
    origin = make_origin(certificate=authority.issue("127.0.0.1"))
    extra = f"[serversTransport]\nrootCAs = {config.strings([authority.cert_file])}\n"
    assert ferrule.http(origin, extra=extra, workers=1).get("/bytes/5").body == body_of(5)


def test_roots_as_text_and_of_the_system(ferrule, proxy_to, make_origin, authority):
    origin = make_origin(certificate=authority.issue(NAME))
    pem = '["' + authority.cert_file.read_text().replace("\n", "\\n") + '"]'
    assert proxy_to(origin, rootCAs=pem).get("/bytes/5").status == 200
    assert proxy_to(origin, roots=False, env={"SSL_CERT_FILE": str(authority.cert_file)}).get("/bytes/5").status == 200


# --- refused servers --------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_bad_certificates(proxy_to, make_nginx, authority, other_authority, version):
    more = f"ssl_protocols {version};"
    for cert, reason in ((authority.issue(NAME, **EXPIRED), "expired"), (authority.issue(NAME, **FUTURE), "not valid yet"),
                         (authority.issue("else.test"), "other names"), (other_authority.issue(NAME), "unknown CA")):
        server = nginx_tls(make_nginx, cert, more)
        refused(proxy_to(server), server.url, NAME, reason)


def test_system_roots_do_not_know_us(proxy_to, make_origin, authority):
    origin = make_origin(certificate=authority.issue(NAME))
    refused(proxy_to(origin, roots=False), origin.url, NAME, "unknown CA")


def test_insecure_skip_verify(proxy_to, make_nginx, other_authority):
    server = nginx_tls(make_nginx, other_authority.issue("else.test", **EXPIRED))
    proxy = proxy_to(server, roots=False, insecureSkipVerify="true")
    assert proxy.get("/64").body == body_of(64)


def test_plain_server_behind_https(proxy_to, nginx):
    class Wrong:
        url = f"https://127.0.0.1:{nginx.port}"
    refused(proxy_to(Wrong), Wrong.url, "failed")


def test_peer_cert_uri(proxy_to, make_origin, authority):
    origin = make_origin(certificate=authority.issue(NAME))
    refused(proxy_to(origin, peerCertURI="'spiffe://a/b'"), "peerCertURI")


def test_another_server_is_tried(ferrule, make_origin, authority, other_authority):
    good, bad = make_origin("good", certificate=authority.issue(NAME)), make_origin("bad", certificate=other_authority.issue(NAME))
    proxy = ferrule.http(bad, good, service='serversTransport = "t"', workers=1,
                         extra=transport(rootCAs=config.strings([authority.cert_file]), serverName=quoted(NAME)))
    for _ in range(6):
        assert proxy.get("/echo").json()["origin"] == "good"


@pytest.mark.asan
def test_handshakes_that_do_not_end(ferrule, make_origin, authority):
    """A server that accepts and says nothing costs dialTimeout, a 504, and nobody else anything."""
    import socket
    with socket.create_server(("127.0.0.1", 0)) as silent:
        class Silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        proxy = ferrule.http(Silent, workers=1, extra="[serversTransport.forwardingTimeouts]\ndialTimeout = '300ms'\n")
        assert proxy.get("/").status == 504


# --- client certificates, resumption ----------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_mutual_tls(proxy_to, make_nginx, authority, other_authority, version):
    more = f"ssl_protocols {version}; ssl_client_certificate {authority.cert_file}; ssl_verify_client on; add_header X-Client $ssl_client_s_dn;"
    server = nginx_tls(make_nginx, authority.issue(NAME), more)
    mine = authority.issue("ferrule.test", use="clientAuth")
    proxy = proxy_to(server, certificates=f'[{{certFile = "{mine.cert_file}", keyFile = "{mine.key_file}"}}]')
    answer = proxy.get("/64")
    assert answer.status == 200 and answer.header("X-Client") == "CN=ferrule.test"
    without = proxy_to(server)
    assert without.get("/64").status == 400  # nginx asks, and answers over TLS that none came


def test_a_server_that_insists_on_a_certificate(proxy_to, make_origin, authority):
    """It ends the handshake by an alert, in TLS 1.3 after ours is over: a 502 either way."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        origin = make_origin(certificate=authority.issue(NAME))
        origin.tls.verify_mode = ssl.CERT_REQUIRED
        origin.tls.load_verify_locations(str(authority.cert_file))
        origin.tls.minimum_version = origin.tls.maximum_version = version
        assert proxy_to(origin).get("/bytes/1").status == 502


@pytest.mark.asan
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_are_resumed(proxy_to, make_origin, authority, version):
    origin = make_origin(certificate=authority.issue(NAME))
    origin.tls.minimum_version = origin.tls.maximum_version = getattr(ssl.TLSVersion, version.replace(".", "_"))
    proxy = proxy_to(origin)
    for count in range(1, 6):
        assert proxy.get("/last").status == 200  # the server ends the connection
        assert origin.connection_count == count
    assert origin.tls.session_stats()["hits"] == 4
