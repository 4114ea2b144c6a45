# SPDX-License-Identifier: Apache-2.0
"""HTTP-01 and TLS-ALPN-01: a real CA connects to the workers, whatever else the entry points do."""

import re
import shutil
import ssl
import subprocess

import pytest

from lib import config, tls
from lib.ferrule import program
from lib.proc import free_port, wait_until

FOLDER = "/.well-known/acme-challenge/"
TO_TLS = """[entryPoints.web.http.redirections.entryPoint]
to = "websecure"
scheme = "https"
"""


@pytest.fixture
def names(make_bind):
    """BIND for a zone in which every name leads to us."""
    return make_bind(zones={"edge.test": "@ IN A 127.0.0.1\n* IN A 127.0.0.1\n*.sub IN A 127.0.0.1"})


@pytest.fixture
def ports():
    return {"web": free_port(), "websecure": free_port()}


@pytest.fixture
def ca(make_pebble, names, ports):
    return make_pebble(names.address, http_port=ports["web"], tls_port=ports["websecure"])


@pytest.fixture
def edge(ferrule, origin, ports, ca, folder):
    """edge(challenges, domains, ...): ferrule with both entry points, which the CA knows."""

    def start(challenges="http tls", domains=(("a.edge.test", []),), web="", more="", pebble=None, **options):
        text = "\n".join([
            config.entrypoint("web", ports["web"], more=web), config.entrypoint("websecure", ports["websecure"]),
            config.router("plain", "origins"),
            config.router("secure", "origins", entrypoints=["websecure"], resolver="test", domains=domains),
            config.service("origins", origin.url),
            config.answering_resolver(pebble or ca, folder, challenges), more])
        return ferrule(text, ports, **options)
    return start


def certificates(proxy, name):
    try:
        found = proxy.json("cert", "list")["certificates"]
    except AssertionError:
        return None  # control is being restarted
    return [c for c in found if c["source"] == "acme" and name in c["names"]]


def wait_certificate(proxy, name="a.edge.test", timeout_s=90):
    return wait_until(lambda: certificates(proxy, name), f"a certificate for {name}", timeout_s)[0]


def wanted(proxy, name):
    return proxy.json("cert", "show", name)["wanted"][0]


def acme_hello(port, name, **options):
    """A TLS client as a CA is one: (protocol, certificate in DER, the server closed), or (the alert, None, None)."""
    try:
        with tls.connect(port, name, alpn=["acme-tls/1"], **options) as connection:
            return connection.sock.selected_alpn_protocol(), connection.certificate_der, connection.is_closed()
    except ssl.SSLError as error:
        return str(error), None, None


# --- they work --------------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("challenges", ["http", "tls"])
def test_obtains(edge, ca, challenges):
    proxy = edge(challenges)
    wait_certificate(proxy)
    proxy.wait_served("a.edge.test", ca.roots_file(), "websecure")
    counters = proxy.counters()
    assert counters["challenges_http" if challenges == "http" else "challenges_tls"] >= 1
    assert "every worker answers 1 challenge " in proxy.log
    assert ca.issued() == 1


@pytest.mark.parametrize("challenges", ["http", "tls"])
def test_many_names_in_one_order(edge, ca, challenges):
    proxy = edge(challenges, [("n0.edge.test", [f"n{i}.edge.test" for i in range(1, 20)])])
    wait_certificate(proxy, "n7.edge.test")
    assert "every worker answers 20 challenges " in proxy.log
    assert ca.issued() == 1


@pytest.mark.asan
def test_redirection_does_not_stand_before_it(edge, ca):
    proxy = edge("http", web=TO_TLS)
    wait_certificate(proxy)
    assert proxy.get("/x", host="a.edge.test").status == 308
    assert proxy.get(FOLDER + "unknown", host="a.edge.test").status == 308


def test_options_of_the_name_do_not_stand_before_it(edge, ca, authority):
    """SNI-strict, TLS 1.3 alone, other protocols, client certificates: the CA brings none of what they ask for."""
    proxy = edge("tls", more=f"""
[tls.options.default]
minVersion = "VersionTLS13"
sniStrict = true
alpnProtocols = ["h2"]
[tls.options.default.clientAuth]
caFiles = ["{authority.cert_file}"]
clientAuthType = "RequireAndVerifyClientCert"
""")
    wait_certificate(proxy)


@pytest.mark.parametrize("challenges", ["http", "tls"])
def test_addresses(edge, ca, ports, challenges):
    """RFC 8738: a certificate for an address, served to clients that name none."""
    proxy = edge(challenges, [("127.0.0.1", [])])
    wait_certificate(proxy, "127.0.0.1")

    def names_without_sni():
        with tls.connect(ports["websecure"], None) as connection:
            return connection.certificate["names"]

    wait_until(lambda: names_without_sni() == ["127.0.0.1"], "the workers have it")


def test_the_next_challenge_is_tried(edge, ports, make_pebble, names):
    """The CA does not get through to port 80; port 443 does it, at once."""
    other = make_pebble(names.address, http_port=free_port(), tls_port=ports["websecure"])
    proxy = edge(pebble=other)
    wait_certificate(proxy)
    assert "http-01 failed; another allowed challenge is tried" in proxy.log
    assert wanted(proxy, "a.edge.test")["ledger"]["ordersIn168h"] == 2
    assert f"does not listen on port {other.http_port}" in proxy.log


def test_wildcard_by_dns_beside_http(ferrule, origin, names, ca, ports, folder):
    resolver = config.resolver(ca, names, folder) + "\n".join([
        "[certificatesResolvers.test.acme.httpChallenge]", 'entryPoint = "web"', f'port = {ports["web"]}', ""])
    proxy = ferrule("\n".join([
        config.entrypoint("web", ports["web"]), config.entrypoint("websecure", ports["websecure"]),
        config.router("secure", "origins", entrypoints=["websecure"], resolver="test", domains=[("edge.test", ["*.edge.test"])]),
        config.service("origins", origin.url), resolver]), ports)
    wait_certificate(proxy, "*.edge.test")
    assert proxy.counters()["challenges_http"] >= 1
    wait_until(lambda: names.all_txt() == {}, "no TXT value left")
    assert proxy.log.count("TXT value added") == 1


# --- an order that stands still: what the workers answer meanwhile -----------------------------------------------------


def state_text(proxy):
    return b"".join(path.read_bytes() for path in proxy.state_folder.rglob("*.mdb"))


def held_token(proxy):
    """(token, key authorization) of the only order, from the journal."""
    found = re.findall(rb'"keyAuth":"([\w-]+)\.([\w-]+)"', state_text(proxy))
    assert found
    token, thumb = found[-1]
    return token.decode(), f"{token.decode()}.{thumb.decode()}"


@pytest.fixture
def held_http(ferrule, origin, ports, ca, folder):
    return lambda **options: _held(ferrule, origin, ports, ca, folder, "http", **options)


@pytest.fixture
def held_tls(ferrule, origin, ports, ca, folder):
    return lambda **options: _held(ferrule, origin, ports, ca, folder, "tls", **options)


def _held(ferrule, origin, ports, ca, folder, challenge, delay_s=600, more="", web="", provided=None, **options):
    resolver = config.answering_resolver(ca, folder, challenge) + f"delay = {delay_s}\n"
    text = "\n".join([
        config.entrypoint("web", ports["web"], more=web), config.entrypoint("websecure", ports["websecure"]),
        config.entrypoint("other", ports.setdefault("other", free_port())),
        config.router("plain", "origins", entrypoints=["web", "other"]),
        config.router("secure", "origins", entrypoints=["websecure"], resolver="test", domains=[("a.edge.test", [])]),
        config.service("origins", origin.url), resolver,
        "[accessLog]\n" + f'filePath = "{folder}/access.log"\n', *([config.certificate(provided)] if provided else []), more])
    proxy = ferrule(text, ports, **options)
    wait_until(lambda: f"waiting {delay_s} s (delay)" in proxy.log, "the answers are with the workers", 60)
    return proxy


@pytest.mark.asan
def test_who_gets_the_token(held_http, origin, folder):
    proxy = held_http(web=TO_TLS)
    token, key_auth = held_token(proxy)
    for _ in range(8):  # connections of every worker
        answer = proxy.get(FOLDER + token, host="a.edge.test")
        assert (answer.status, answer.body) == (200, key_auth.encode())
        assert answer.header("content-type") == "application/octet-stream"
    with proxy.connect("web") as connection:
        connection.send(f"GET {FOLDER}{token} HTTP/1.0\r\n\r\n")
        answer = connection.read_response()
        assert answer.body == key_auth.encode()
    with proxy.connect("web") as connection:
        head = connection.exchange("HEAD", FOLDER + token, "a.edge.test")
        assert head.status == 200 and head.body == b"" and head.header("content-length") == str(len(key_auth))
        assert connection.exchange("GET", FOLDER + token + "?x=1", "a.edge.test").body == key_auth.encode()
        # Everything else goes its way: here, to the redirection.
        for method, target in (("POST", FOLDER + token), ("GET", FOLDER + token + "x"), ("GET", FOLDER + token[:-1]), ("GET", FOLDER),
                               ("GET", FOLDER + token + "/"), ("GET", "/x" + FOLDER + token)):
            assert connection.exchange(method, target, "a.edge.test").status == 308, (method, target)
    # Another entry point has no part in it: its router has the path.
    assert proxy.get(FOLDER + token, host="a.edge.test", entrypoint="other").body != key_auth.encode()
    assert proxy.counters()["challenges_http"] >= 11
    # The access log has the requests that went their way, and none of the CA's.
    lines = wait_until(lambda: (text := (folder / "access.log").read_text()).count("\n") >= 7 and text, "lines of the access log")
    assert f"GET {FOLDER}{token} HTTP/1.0" not in lines and f"HEAD {FOLDER}" not in lines and f"POST {FOLDER}{token}" in lines


def test_token_over_http2(held_http):
    proxy = held_http()
    token, key_auth = held_token(proxy)
    result = subprocess.run(["nghttp", f"http://127.0.0.1:{proxy.port('web')}{FOLDER}{token}"], capture_output=True, text=True, timeout=30)
    assert result.stdout == key_auth, result
    head = subprocess.run(["nghttp", "-v", "-H:method: HEAD", f"http://127.0.0.1:{proxy.port('web')}{FOLDER}{token}"],
                          capture_output=True, text=True, timeout=30).stdout
    assert ":status: 200" in head and key_auth not in head


def test_flood_of_unknown_tokens(held_http, origin):
    proxy = held_http()
    token, key_auth = held_token(proxy)
    with proxy.connect("web") as connection:
        for number in range(3000):
            answer = connection.exchange("GET", f"{FOLDER}{number}{token}", "a.edge.test")
            assert answer.body != key_auth.encode()
    assert proxy.get(FOLDER + token, host="a.edge.test").body == key_auth.encode()
    assert proxy.counters()["challenges_http"] == 1


@pytest.mark.asan
def test_who_gets_the_proof(held_tls, authority):
    provided = authority.issue("b.edge.test", "*.edge.test")
    proxy = held_tls(provided=provided)
    port = proxy.port("websecure")
    for maximum in ("1.2", "1.3", None):
        protocol, der, closed = acme_hello(port, "a.edge.test", maximum=maximum)
        assert protocol == "acme-tls/1" and closed
        text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-text"], input=der, capture_output=True).stdout.decode()
        assert "1.3.6.1.5.5.7.1.31: critical" in text and "DNS:a.edge.test" in text
        assert text.count("DNS:") == 1
    # Never another certificate: not for other names, not for none, not even for one that has a certificate.
    for name in ("b.edge.test", "unknown.test", "x.a.edge.test", None):
        assert "no application protocol" in acme_hello(port, name)[0], name
    # What offers more than that is a client like any other.
    for offered in (("h2", "acme-tls/1"), ("acme-tls/1", "http/1.1")):
        with tls.connect(port, "b.edge.test", alpn=list(offered), ca_file=authority.cert_file) as connection:
            assert connection.sock.selected_alpn_protocol() in ("h2", "http/1.1")
    counters = proxy.counters()
    assert counters["challenges_tls"] == 3 and counters["challenges_unknown"] == 4


def test_beside_tcp_routers(held_tls, make_origin, authority, folder):
    """A TCP router takes every name that is not being proven: also the hellos of a CA for a server behind us."""
    behind = make_origin("behind", certificate=authority.issue("behind.edge.test"))
    address = f"127.0.0.1:{behind.port}"
    proxy = held_tls(more=f"""
[tcp.routers.all]
entryPoints = ["websecure"]
rule = "HostSNI(`*`)"
service = "behind"
[tcp.routers.all.tls]
passthrough = true
[[tcp.services.behind.loadBalancer.servers]]
address = "{address}"
""")
    port = proxy.port("websecure")
    assert acme_hello(port, "a.edge.test")[0] == "acme-tls/1"
    with tls.connect(port, "behind.edge.test", ca_file=authority.cert_file) as connection:
        assert connection.certificate["names"] == ["behind.edge.test"]
    assert proxy.counters()["challenges_unknown"] == 0


# --- while other things happen -----------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("challenge", ["http", "tls"])
@pytest.mark.parametrize("role", ["data", "control"])
def test_death_between_answer_and_look(held_http, held_tls, ca, challenge, role):
    """kill -9 before the CA is told: the answers are there again before anybody connects."""
    proxy = (held_http if challenge == "http" else held_tls)(delay_s=3)
    old = proxy.kill(role)
    proxy.wait_respawn(role, old)
    wait_certificate(proxy)
    assert ca.issued() == 1
    assert wanted(proxy, "a.edge.test")["ledger"]["ordersIn168h"] == 1


@pytest.mark.parametrize("challenge", ["http", "tls"])
def test_reload_in_an_order(held_http, held_tls, ca, challenge):
    proxy = (held_http if challenge == "http" else held_tls)(delay_s=3)
    proxy.write_config(proxy.config_file.read_text() + config.router("more", "origins", "Host(`more.test`)"))
    assert proxy.cli("reload").returncode == 0
    wait_certificate(proxy)
    assert ca.issued() == 1 and wanted(proxy, "a.edge.test")["ledger"]["ordersIn168h"] == 1


@pytest.mark.parametrize("challenge", ["http", "tls"])
def test_upgrade_in_an_order(held_http, held_tls, ca, folder, challenge):
    binary = folder / "program" / "ferrule"
    binary.parent.mkdir()
    shutil.copy(program(), binary)
    proxy = (held_http if challenge == "http" else held_tls)(delay_s=5, binary=binary)
    result = proxy.cli("upgrade", timeout_s=120)
    assert result.returncode == 0, result.stdout + result.stderr
    wait_certificate(proxy)
    assert ca.issued() == 1 and wanted(proxy, "a.edge.test")["ledger"]["ordersIn168h"] == 1


def test_answers_are_taken_back(held_http, ca):
    proxy = held_http(delay_s=1)
    token, key_auth = held_token(proxy)
    wait_certificate(proxy)
    wait_until(lambda: proxy.get(FOLDER + token, host="a.edge.test").body != key_auth.encode(), "the token is gone")
