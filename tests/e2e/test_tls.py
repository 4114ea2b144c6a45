# SPDX-License-Identifier: Apache-2.0
"""TLS as clients see it: versions, groups, suites, which certificate they get, and resumption."""

import re
import ssl
import subprocess
from datetime import timedelta

import pytest

from lib import config, tls
from lib.ferrule import SANITIZER_ENV, build_folder
from lib.origin import body_of
from lib.proc import free_port

HOST = "example.test"


@pytest.fixture
def proxy(ferrule, origin, certificate):
    return ferrule.https(origin, certificates=[certificate], workers=4)


def probe(proxy, *options, sni=HOST):
    """Runs tls_probe; returns (exit code, {key: value})."""
    command = [str(build_folder() / "tests/tools/tls_probe"), f"127.0.0.1:{proxy.port()}", "--sni", sni, *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=SANITIZER_ENV)
    return result.returncode, dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)


def resume(proxy, session, version, host=HOST, **options):
    """One request on a connection that offers a session: (was it resumed?, a session for the next)."""
    with proxy.connect_tls(host, tls=session and session.context, session=session and session.session, minimum=version,
                           maximum=version, **options) as client:
        assert client.exchange("GET", "/bytes/100", host).body == body_of(100)  # a ticket of TLS 1.3 comes before it
        return client.sock.session_reused, Kept(client)


class Kept:
    def __init__(self, client):
        self.context, self.session = client.sock.context, client.sock.session


# --- versions, groups, suites -----------------------------------------------------------------------------------


def test_post_quantum_group(proxy, authority):
    """A client that has X25519MLKEM768 gets it without asking; its hello does not fit one segment of old."""
    code, got = probe(proxy, "--ca", str(authority.cert_file), "--get", "/bytes/10")
    assert code == 0, got
    assert (got["version"], got["group"], got["answer"]) == ("TLSv1.3", "X25519MLKEM768", "HTTP/1.1 200 Origin")


@pytest.mark.asan
@pytest.mark.parametrize("groups, chosen", [
    ("X25519MLKEM768", "X25519MLKEM768"), ("X25519", "X25519"), ("P-256", "SECP256R1"),
    ("P-384", "SECP384R1"), ("P-521:P-256", "SECP256R1"), ("P-521:X25519", "X25519"),  # the last by a HelloRetryRequest
])
def test_groups(proxy, authority, groups, chosen):
    code, got = probe(proxy, "--groups", groups, "--ca", str(authority.cert_file), "--get", "/bytes/10", "--min", "1.3")
    assert code == 0 and got["answer"] == "HTTP/1.1 200 Origin", got
    assert got["group"].replace("-", "") in (chosen, chosen.replace("SEC", "")), got


@pytest.mark.parametrize("version, suite", [("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("1.3", "TLS_AES_128_GCM_SHA256")])
def test_openssl_client(proxy, authority, version, suite):
    options = [f"-tls{version.replace('.', '_')}", "-CAfile", str(authority.cert_file), "-verify_return_error"]
    code, output = tls.s_client(proxy.port(), HOST, *options)
    assert code == 0 and "Verify return code: 0 (ok)" in output, output
    assert suite in output, output


def test_suites_that_a_client_may_choose(proxy, authority):
    for suite in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        with proxy.connect_tls(HOST, ca_file=authority.cert_file, maximum="1.2", ciphers=suite) as client:
            assert client.sock.cipher()[0] == suite and client.exchange("GET", "/bytes/70000").body == body_of(70000)
    for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
        code, output = tls.s_client(proxy.port(), HOST, "-tls1_3", "-ciphersuites", suite)
        assert code == 0 and suite in output


def test_alpn(proxy):
    with proxy.connect_tls(HOST, alpn=["http/1.1", "h2"]) as client:
        assert client.sock.selected_alpn_protocol() == "h2"
    for offered in (["http/1.1"], ["unheard-of", "http/1.1"]):
        with proxy.connect_tls(HOST, alpn=offered) as client:
            assert client.sock.selected_alpn_protocol() == "http/1.1" and client.exchange("GET", "/").status == 200
    with proxy.connect_tls(HOST) as client:
        assert client.sock.selected_alpn_protocol() is None and client.exchange("GET", "/").status == 200


@pytest.mark.parametrize("more, good, bad", [('minVersion = "VersionTLS13"', "1.3", "1.2"), ('maxVersion = "VersionTLS12"', "1.2", "1.3")])
def test_versions_of_the_options(ferrule, origin, certificate, more, good, bad):
    proxy = ferrule.https(origin, certificates=[certificate], extra=f"[tls.options.default]\n{more}")
    with proxy.connect_tls(HOST, minimum=good, maximum=good) as client:
        assert client.exchange("GET", "/").status == 200
    with pytest.raises(ssl.SSLError, match="ALERT|alert"):
        proxy.connect_tls(HOST, minimum=bad, maximum=bad)
    proxy.wait_counter("handshakes_failed", 1)


# --- certificates ----------------------------------------------------------------------------------------------------


def names_shown(proxy, server_name, **options):
    with proxy.connect_tls(server_name, **options) as client:
        return client.certificate["names"]


def test_self_signed_default_before_any_certificate(ferrule, origin):
    proxy = ferrule.https(origin)
    with proxy.connect_tls(HOST) as client:
        assert client.exchange("GET", "/bytes/10").status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        proxy.connect_tls(HOST, tls=ssl.create_default_context())
    proxy.wait_counter("default_cert", 1)


def test_certificate_selection(ferrule, origin, authority):
    """Exact before wildcard before default; an address for clients without SNI; ECDSA or RSA as the client can."""
    exact, wild = authority.issue("a.example.test"), authority.issue("*.example.test")
    both = [authority.issue("two.test", key="RSA2048"), authority.issue("two.test", key="EC256")]
    address = authority.issue("127.0.0.1")
    fallback = authority.issue("default.test")
    proxy = ferrule.https(origin, certificates=[exact, wild, *both, address], extra="[tls.stores.default.defaultCertificate]\n"
                          f'certFile = "{fallback.cert_file}"\nkeyFile = "{fallback.key_file}"\n')
    assert names_shown(proxy, "a.example.test") == names_shown(proxy, "A.Example.Test") == ["a.example.test"]
    assert names_shown(proxy, "b.example.test") == ["*.example.test"]
    assert names_shown(proxy, "x.b.example.test") == names_shown(proxy, "example.test") == ["default.test"]
    assert names_shown(proxy, None) == ["127.0.0.1"]
    for options, kind in ((["-sigalgs", "ECDSA+SHA256"], tls.PRINTED_EC), (["-sigalgs", "RSA-PSS+SHA256"], tls.PRINTED_RSA)):
        for version in ("-tls1_2", "-tls1_3"):
            code, output = tls.s_client(proxy.port(), "two.test", version, *options)
            assert code == 0 and re.search(kind, output), output


def test_valid_before_expired(ferrule, origin, authority):
    old = authority.issue(HOST, starts=timedelta(days=-9), ends=timedelta(days=-1))
    wild_and_good = authority.issue(HOST, ends=timedelta(days=3))
    proxy = ferrule.https(origin, certificates=[old, wild_and_good])
    with proxy.connect_tls(HOST, ca_file=authority.cert_file) as client:
        assert client.exchange("GET", "/").status == 200


def test_sni_strict(ferrule, origin, certificate):
    proxy = ferrule.https(origin, certificates=[certificate], extra="[tls.options.default]\nsniStrict = true")
    assert proxy.get_tls("/", HOST).status == 200
    for name in ("other.test", None):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name|alert"):
            proxy.connect_tls(name)


def test_host_that_demands_other_tls_options(ferrule, origin, certificate):
    """A connection made under weaker options must not reach it by its Host field alone (RFC 9110 section 15.5.20)."""
    port = free_port()
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", port),
        config.router("weak", "origins", "Host(`weak.example.test`)", entrypoints=["websecure"], tls=True),
        config.router("strict", "origins", "Host(`strict.example.test`)", entrypoints=["websecure"]),
        '[http.routers.strict.tls]\noptions = "strict"\n[tls.options.strict]\nminVersion = "VersionTLS13"',
        config.service("origins", origin.url), config.certificate(certificate)]), {"websecure": port})
    with proxy.connect_tls("weak.example.test", maximum="1.2") as client:
        assert client.exchange("GET", "/", "weak.example.test").status == 200
        assert client.exchange("GET", "/", "strict.example.test").status == 421
    assert proxy.get_tls("/", "strict.example.test").status == 200
    with pytest.raises(ssl.SSLError):
        proxy.connect_tls("strict.example.test", maximum="1.2")


# --- resumption --------------------------------------------------------------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_resumption_across_workers_and_restarts(proxy, authority, version):
    """Workers share the ticket keys, and they come from control: tickets outlive the data process and ferrule."""
    resumed, kept = resume(proxy, None, version, ca_file=authority.cert_file)
    assert not resumed
    for _ in range(16):  # four workers: it is not the same one every time
        resumed, kept = resume(proxy, kept, version)
        assert resumed
    assert proxy.counters()["handshakes_resumed"] == 16 and proxy.counters()["handshakes_full"] == 1
    proxy.wait_respawn("data", proxy.kill("data"))
    resumed, kept = resume(proxy, kept, version)
    assert resumed, "not after a restart of data"
    proxy.restart()
    resumed, kept = resume(proxy, kept, version)
    assert resumed, "not after a restart of ferrule"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tickets_of_others_lead_to_full_handshakes(ferrule, origin, certificate, version):
    one, two = ferrule.https(origin, certificates=[certificate]), ferrule.https(origin, certificates=[certificate])
    _, kept = resume(one, None, version)
    resumed, _ = resume(two, kept, version)
    assert not resumed and two.counters()["handshakes_full"] == 1 and two.counters()["handshakes_failed"] == 0


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_ticket_is_bound_to_its_name(proxy, version):
    _, kept = resume(proxy, None, version, "a.example.test")
    assert resume(proxy, kept, version, "a.example.test")[0]
    assert not resume(proxy, kept, version, "b.example.test")[0]


def test_resumption_by_openssl_and_by_wolfssl(proxy, folder):
    for version in ("-tls1_2", "-tls1_3"):
        session = folder / f"session{version}"
        request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        assert tls.s_client(proxy.port(), HOST, version, "-sess_out", str(session), request=request)[0] == 0
        code, output = tls.s_client(proxy.port(), HOST, version, "-sess_in", str(session))
        assert code == 0 and "Reused, TLSv1" in output, output
    for version in ("1.2", "1.3"):
        code, got = probe(proxy, "--resume", "--min", version, "--max", version)
        assert code == 0 and got["resumed"] == "yes", got


def test_early_data_is_refused_without_harm(proxy, folder):
    """A client that sends 0-RTT data gets its request answered all the same, after the handshake."""
    session, early = folder / "session", folder / "early"
    request = f"GET /echo/early HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    assert tls.s_client(proxy.port(), HOST, "-tls1_3", "-sess_out", str(session), request=request)[0] == 0
    early.write_text(request)
    code, output = tls.s_client(proxy.port(), HOST, "-tls1_3", "-sess_in", str(session), "-early_data", str(early), request=request)
    assert code == 0 and output.count("HTTP/1.1 200") == 1, output
    assert proxy.counters()["requests"] == 2 and proxy.counters()["handshakes_resumed"] == 1
