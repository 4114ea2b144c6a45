# SPDX-License-Identifier: Apache-2.0
"""[tls.options]: what they change on the wire, whose connections get them, and client certificates."""

import re
import ssl
import subprocess
from datetime import timedelta

import pytest

from lib import config, tls
from lib.certs import Authority
from lib.hello import client_hello
from lib.http1 import Closed
from lib.proc import free_port, wait_until

HOST = "example.test"
OTHERS = "other.example.test"


@pytest.fixture(scope="session")
def clients(tmp_path_factory):
    """An authority for clients, and certificates of its and of others."""
    return Clients(tmp_path_factory.mktemp("clients"))


class Clients:
    def __init__(self, folder):
        self.authority = Authority(folder / "ours", "Client CA")
        strangers = Authority(folder / "theirs", "Strangers")
        self.good = self.authority.issue("client.test", use="clientAuth")
        self.rsa = self.authority.issue("client.test", use="clientAuth", key="RSA2048")
        self.expired = self.authority.issue("client.test", use="clientAuth", starts=timedelta(days=-9), ends=timedelta(days=-1))
        self.server = self.authority.issue("client.test")
        self.stranger = strangers.issue("client.test", use="clientAuth")
        self.ca_file = self.authority.cert_file


def with_options(ferrule, origin, certificate, text, **more):
    return ferrule.https(origin, certificates=[certificate], extra=f"[tls.options.default]\n{text}", **more)


def attempt(proxy, version, show=None, host=HOST):
    """Status of a request with this client certificate, or None when the handshake fails."""
    context = tls.context(minimum=version, maximum=version)
    if show:
        context.load_cert_chain(show.cert_file, show.key_file)
    try:  # in TLS 1.3 the client hears of the failure only when it reads
        with proxy.connect_tls(host, tls=context) as client:
            return client.exchange("GET", "/", host).status
    except (ssl.SSLError, ConnectionError, Closed):
        return None


# --- suites, groups, protocols -------------------------------------------------------------------------------------


def test_suites_of_the_options(ferrule, origin, certificate):
    proxy = with_options(ferrule, origin, certificate, 'preferServerCipherSuites = false\ncipherSuites = ['
                         '"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"]')
    with proxy.connect_tls(HOST, maximum="1.2") as client:
        assert client.sock.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305" and client.exchange("GET", "/").status == 200
    with proxy.connect_tls(HOST, maximum="1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384") as client:
        assert client.exchange("GET", "/").status == 200
    with proxy.connect_tls(HOST, minimum="1.3") as client:
        assert client.sock.cipher()[0] == "TLS_AES_256_GCM_SHA384"
    with pytest.raises(ssl.SSLError):
        proxy.connect_tls(HOST, maximum="1.2", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    assert tls.s_client(proxy.port(), HOST, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256")[0] != 0


def test_certificate_that_goes_with_the_suites(ferrule, origin, authority):
    """In TLS 1.2 a suite needs one kind of key: of two certificates the one that the suites can use."""
    both = [authority.issue("two.test", key="RSA2048"), authority.issue("two.test", key="EC256")]
    proxy = ferrule.https(origin, certificates=both,
                          extra='[tls.options.default]\ncipherSuites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]')
    for version, kind in (("-tls1_2", tls.PRINTED_RSA), ("-tls1_3", tls.PRINTED_EC)):
        code, output = tls.s_client(proxy.port(), "two.test", version)
        assert code == 0 and re.search(kind, output), output


def test_groups_of_the_options(ferrule, origin, certificate):
    proxy = with_options(ferrule, origin, certificate, 'curvePreferences = ["CurveP384", "X25519"]')
    # The second group of the first pair would cost a round trip more: what the client sent a share for is taken.
    for offered, chosen in (("X25519:P-384", "X25519"), ("P-384:X25519", "secp384r1"), ("P-256:X25519", "X25519")):
        code, output = tls.s_client(proxy.port(), HOST, "-tls1_3", "-groups", offered)
        assert code == 0 and chosen.lower() in output.lower(), output
    # A client whose groups are all others hears so, in TLS 1.2 too, where wolfSSL does not look at its own list.
    for version in ("-tls1_2", "-tls1_3"):
        code, output = tls.s_client(proxy.port(), HOST, version, "-groups", "P-256:P-521")
        assert code != 0 and "handshake failure" in output, output
    proxy.wait_counter("handshakes_failed", 2)


@pytest.mark.parametrize("groups, offered, chosen", [
    (["CurveP384", "X25519"], "X25519:P-256:P-384", "P-384"), (["X25519"], "P-384:X25519:P-256", "X25519"),
    (["CurveP256"], "P-256:X25519", "P-256"), (["CurveP521", "CurveP256"], "P-256:P-521:P-384", "P-521"),
    (["X25519"], "P-256:X25519", None)])
def test_groups_of_the_options_in_tls12(ferrule, origin, authority, groups, offered, chosen):
    """The policy's order counts; the last client would get P-256 from wolfSSL, and gets nothing instead."""
    proxy = with_options(ferrule, origin, authority.issue(HOST, key="RSA2048"), f"curvePreferences = {config.strings(groups)}")
    code, output = tls.s_client(proxy.port(), HOST, "-tls1_2", "-groups", offered)
    used = re.findall("^(?:Server|Peer) Temp Key: (.*)$", output, re.M)
    names = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1", "X25519": "X25519"}
    assert (code == 0 and names[chosen] in used[0]) if chosen else code != 0, output


def test_protocols_of_the_options(ferrule, origin, certificate):
    proxy = with_options(ferrule, origin, certificate, 'alpnProtocols = ["http/1.1"]')
    with proxy.connect_tls(HOST, alpn=["h2", "http/1.1"]) as client:
        assert client.sock.selected_alpn_protocol() == "http/1.1"
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        proxy.connect_tls(HOST, alpn=["h2"])
    only = with_options(ferrule, origin, certificate, 'alpnProtocols = ["h2"]')
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        only.connect_tls(HOST, alpn=["http/1.1"])
    for order in (["h2", "http/1.1"], ["http/1.1", "h2"]):
        both = with_options(ferrule, origin, certificate, f"alpnProtocols = {config.strings(order)}")
        with both.connect_tls(HOST, alpn=["http/1.1", "h2"]) as client:
            assert client.sock.selected_alpn_protocol() == order[0]


def test_no_tickets(ferrule, origin, certificate):
    proxy = with_options(ferrule, origin, certificate, "disableSessionTickets = true")
    for version in ("1.2", "1.3"):
        with proxy.connect_tls(HOST, minimum=version, maximum=version) as client:
            assert client.exchange("GET", "/").status == 200
            assert not client.sock.session or not client.sock.session.has_ticket
            context, session = client.sock.context, client.sock.session
        with proxy.connect_tls(HOST, tls=context, session=session) as client:
            assert client.exchange("GET", "/").status == 200 and not client.sock.session_reused


# --- client certificates -----------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind, none, stranger, expired", [
    ("NoClientCert", 200, 200, 200), ("RequestClientCert", 200, 200, 200), ("RequireAnyClientCert", None, 200, 200),
    ("VerifyClientCertIfGiven", 200, None, None), ("RequireAndVerifyClientCert", None, None, None)])
def test_client_certificates(ferrule, origin, certificate, clients, version, kind, none, stranger, expired):
    proxy = with_options(ferrule, origin, certificate,
                         f'[tls.options.default.clientAuth]\nclientAuthType = "{kind}"\ncaFiles = ["{clients.ca_file}"]')
    assert attempt(proxy, version) == none
    assert attempt(proxy, version, clients.stranger) == stranger
    assert attempt(proxy, version, clients.expired) == expired
    assert attempt(proxy, version, clients.good) == attempt(proxy, version, clients.rsa) == 200
    if kind.endswith("VerifyClientCert"):
        assert attempt(proxy, version, clients.server) is None  # not for clients


def test_ca_files_alone_demand_a_certificate(ferrule, origin, certificate, clients):
    pem = clients.ca_file.read_text()
    proxy = with_options(ferrule, origin, certificate, f'clientAuth.caFiles = ["""{pem}"""]')
    assert attempt(proxy, "1.3") is None and attempt(proxy, "1.3", clients.good) == 200


def test_alerts_say_what_is_missing(ferrule, origin, certificate, clients):
    proxy = with_options(ferrule, origin, certificate, f'clientAuth.caFiles = ["{clients.ca_file}"]')
    code, output = tls.s_client(proxy.port(), HOST, "-tls1_3", request="GET / HTTP/1.1\r\n\r\n")
    assert "certificate required" in output, output
    code, output = tls.s_client(proxy.port(), HOST, "-tls1_2", "-cert", str(clients.stranger.cert_file), "-key", str(clients.stranger.key_file))
    assert "unknown ca" in output, output


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_resumption_does_not_skip_the_certificate(ferrule, origin, certificate, clients, version):
    """Who has got a ticket under other rules, or under those of another name, is asked all the same."""
    ports = {"websecure": free_port()}
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", ports["websecure"]),
        config.router("weak", "origins", f"Host(`{OTHERS}`)", entrypoints=["websecure"], tls=True),
        config.router("strict", "origins", f"Host(`{HOST}`)", entrypoints=["websecure"]),
        '[http.routers.strict.tls]\noptions = "strict"',
        f'[tls.options.strict.clientAuth]\ncaFiles = ["{clients.ca_file}"]',
        config.service("origins", origin.url), config.certificate(certificate)]), ports)
    for show in (None, clients.stranger):
        context = tls.context(minimum=version, maximum=version)
        if show:
            context.load_cert_chain(show.cert_file, show.key_file)
        with proxy.connect_tls(OTHERS, tls=context) as client:
            assert client.exchange("GET", "/", OTHERS).status == 200
            session = client.sock.session
        with pytest.raises((ssl.SSLError, ConnectionError, Closed)):
            with proxy.connect_tls(HOST, tls=context, session=session) as client:
                client.exchange("GET", "/", HOST)


@pytest.mark.parametrize("kind", ["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"])
def test_messages_cannot_be_left_out(ferrule, origin, certificate, clients, kind):
    """TLS 1.2: neither ChangeCipherSpec nor the encrypted Finished behind it may come before the key exchange."""
    proxy = with_options(ferrule, origin, certificate,
                         f'[tls.options.default.clientAuth]\nclientAuthType = "{kind}"\ncaFiles = ["{clients.ca_file}"]')
    hello = client_hello(HOST, maximum="1.2")
    change, finished = b"\x14\x03\x03\0\x01\x01", b"\x16\x03\x03\0\x28" + bytes(40)
    empty_certificate = b"\x16\x03\x03\0\x07\x0b\0\0\x03\0\0\0"
    flights = [change + finished, finished, empty_certificate + change + finished, change + change + finished]
    for flight in flights:
        with proxy.connect() as client:
            client.send(hello)
            assert client.read_exactly(1) == b"\x16"
            client.send(flight)
            with pytest.raises(Closed):  # wolfSSL sends an alert for some of them only
                client.read_exactly(1 << 20)
    proxy.wait_counter("handshakes_failed", len(flights))
    assert proxy.counters()["handshakes_full"] == 0


def test_hosts_that_ask_for_certificates_are_not_reached_through_others(ferrule, origin, certificate, clients):
    """Whatever a client without certificate says in SNI and Host, only hosts without clientAuth answer it."""
    ports = {"websecure": free_port()}
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", ports["websecure"]),
        config.router("weak", "origins", f"Host(`{OTHERS}`)", entrypoints=["websecure"], tls=True),
        config.router("strict", "origins", f"Host(`{HOST}`) || Path(`/strict`)", entrypoints=["websecure"]),
        '[http.routers.strict.tls]\noptions = "strict"',
        f'[tls.options.strict.clientAuth]\ncaFiles = ["{clients.ca_file}"]',
        config.service("origins", origin.url), config.certificate(certificate)]), ports)
    for server_name in (OTHERS, None, "unknown.test", "x.example.test"):
        for host in (HOST, HOST.upper(), f"{HOST}.", f"{HOST}:443", f"{HOST}:{proxy.port()}"):
            with proxy.connect_tls(server_name) as client:
                assert client.exchange("GET", "/", host).status == 421, (server_name, host)
    for server_name in (HOST, HOST.upper()):
        assert attempt(proxy, "1.3", host=server_name) is None
    with proxy.connect_tls(OTHERS) as client:  # absolute-form counts, not Host
        client.send(f"GET https://{HOST}/ HTTP/1.1\r\nHost: {OTHERS}\r\n\r\n".encode())
        assert client.read_response().status == 421
    context = tls.context()
    context.load_cert_chain(clients.good.cert_file, clients.good.key_file)
    with proxy.connect_tls(HOST, tls=context) as client:
        assert client.exchange("GET", "/", HOST).status == 200
        assert client.exchange("GET", "/", OTHERS).status == 421
    assert [r.header("host") for r in origin.requests] == [HOST]


def test_http2_does_not_reach_them_either(ferrule, origin, certificate, clients):
    """Browsers send requests for other hosts on a connection whose certificate covers them."""
    ports = {"websecure": free_port()}
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", ports["websecure"]),
        config.router("weak", "origins", f"Host(`{OTHERS}`)", entrypoints=["websecure"], tls=True),
        config.router("strict", "origins", f"Host(`{HOST}`)", entrypoints=["websecure"]),
        '[http.routers.strict.tls]\noptions = "strict"',
        f'[tls.options.strict.clientAuth]\ncaFiles = ["{clients.ca_file}"]',
        config.service("origins", origin.url), config.certificate(certificate)]), ports)
    url = f"https://{OTHERS}:{proxy.port()}/"
    for host, status in ((OTHERS, "200"), (HOST, "421")):
        run = subprocess.run(["curl", "-sSk", "--http2", "--resolve", f"{OTHERS}:{proxy.port()}:127.0.0.1", "-H", f"Host: {host}",
                              "-o", "/dev/null", "-w", "%{http_version} %{http_code}", url], capture_output=True, text=True, timeout=60)
        assert run.stdout == f"2 {status}", run.stdout + run.stderr


def test_different_options_of_one_host_are_the_default_ones(ferrule, origin, certificate):
    ports = {"websecure": free_port()}
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", ports["websecure"]),
        *(config.router(name, "origins", f"Host(`{HOST}`) && PathPrefix(`/{name}`)", entrypoints=["websecure"])
          + f'[http.routers.{name}.tls]\noptions = "{options}"\n' for name, options in (("one", "new"), ("two", "old"))),
        '[tls.options.new]\nminVersion = "VersionTLS13"\n[tls.options.old]\nmaxVersion = "VersionTLS12"',
        config.service("origins", origin.url), config.certificate(certificate)]), ports)
    assert 'routers one and two want different tls.options ("new" and "old") for the host example.test' in proxy.log
    for version in ("1.2", "1.3"):
        with proxy.connect_tls(HOST, minimum=version, maximum=version) as client:
            assert client.exchange("GET", "/one", HOST).status == client.exchange("GET", "/two", HOST).status == 200


def test_reload_that_asks_for_certificates(ferrule, origin, certificate, clients):
    """Who was connected before is asked too: its next request has to come on another connection."""
    port = free_port()

    def text(more, names):
        return "\n".join([config.entrypoint("websecure", port), config.service("origins", origin.url), config.certificate(certificate),
                          *(config.router(name, "origins", f"Host(`{host}`)", entrypoints=["websecure"])
                            + f'[http.routers.{name}.tls]\noptions = "{options}"\n' for name, host, options in names), more])

    routers = [("one", HOST, "named"), ("two", OTHERS, "default")]
    proxy = ferrule(text("[tls.options.named]\nsniStrict = true", routers), {"websecure": port})
    strict = f'[tls.options.named]\nsniStrict = true\nclientAuth.caFiles = ["{clients.ca_file}"]'
    with proxy.connect_tls(HOST) as old, proxy.connect_tls(OTHERS) as other:
        assert old.exchange("GET", "/", HOST).status == 200 == other.exchange("GET", "/", OTHERS).status
        proxy.write_config(text(strict, routers))
        proxy.cli("reload")
        wait_until(lambda: attempt(proxy, "1.3") is None, "the new options")
        assert old.exchange("GET", "/", HOST).status == 421
        assert other.exchange("GET", "/", OTHERS).status == 200 and other.exchange("GET", "/", HOST).status == 421
    assert attempt(proxy, "1.3", clients.good) == 200


def test_curl_shows_its_certificate(ferrule, origin, certificate, authority, clients):
    proxy = with_options(ferrule, origin, certificate, f'clientAuth.caFiles = ["{clients.ca_file}"]')
    command = ["curl", "-sS", "--cacert", str(authority.cert_file), "--resolve", f"{HOST}:{proxy.port()}:127.0.0.1",
               "-o", "/dev/null", "-w", "%{http_code}", f"https://{HOST}:{proxy.port()}/"]
    shown = ["--cert", str(clients.good.cert_file), "--key", str(clients.good.key_file)]
    assert subprocess.run(command + shown, capture_output=True, text=True, timeout=60).stdout == "200"
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).returncode != 0
