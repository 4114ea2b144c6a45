# SPDX-License-Identifier: Apache-2.0
"""OCSP stapling: answers fetched, verified, kept, shown to clients of TLS 1.2 and 1.3, and never a stale or wrong one."""

import ssl
import subprocess
import time

import pytest

from lib import config
from lib.certs import Authority
from lib.fakeca import FakeCa
from lib.ocsp import Responder, stapled
from lib.proc import free_port, wait_until

HOST = "example.test"
VERSIONS = ("tls1_2", "tls1_3")


@pytest.fixture
def responder(folder, authority):
    made = Responder(folder, authority)
    yield made
    made.stop()


def issue(authority, responder, *names, must_staple=False, url=None, use="serverAuth"):
    more = f"authorityInfoAccess=OCSP;URI:{url or responder.url}\n" + ("tlsfeature=status_request\n" if must_staple else "")
    return authority.issue(*(names or (HOST,)), use=use, more=more)


def start(ferrule, origin, *certificates, extra="[ocsp]\n", **options):
    return ferrule.https(origin, certificates=certificates, extra=extra, **options)


def shown(proxy, authority, version="tls1_3", name=HOST):
    return stapled(proxy.port(), name, version, authority)


def wait_shown(proxy, authority, what):
    for version in VERSIONS:
        wait_until(lambda: shown(proxy, authority, version) == what, f"the answer {what} in {version}")


@pytest.mark.parametrize("delegated", [False, True])
def test_good_answer_is_shown_and_kept(ferrule, origin, authority, responder, delegated):
    if delegated:
        signer = authority.issue("responder.test", use="OCSPSigning")
        responder.signer = (signer.cert_file, signer.key_file)
    proxy = start(ferrule, origin, issue(authority, responder))
    wait_shown(proxy, authority, "good")
    assert proxy.get_tls("/bytes/10").status == 200, "a client that does not ask"
    told = [c for c in proxy.json("cert", "list")["certificates"] if c["names"] == [HOST]]
    assert 0 < told[0]["stapledUntil"] - time.time() < 700 and not told[0]["mustStaple"]
    asked = responder.asked
    responder.mode = "error"
    proxy.restart()
    wait_shown(proxy, authority, "good")
    assert responder.asked == asked, "the one on disk will do"


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_sessions(ferrule, origin, authority, responder, folder, version):
    """No certificate, so no answer; a promise of one without it would confuse clients."""
    proxy = start(ferrule, origin, issue(authority, responder))
    wait_shown(proxy, authority, "good")
    session = folder / "session"
    ask = "GET /bytes/10 HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n"
    for option, word in (("-sess_out", "New, TLS"), ("-sess_in", "Reused, TLS")):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port()}", "-servername", HOST, f"-{version}", "-status",
                   "-ign_eof", "-CAfile", str(authority.cert_file), option, str(session)]
        result = subprocess.run(command, input=ask, capture_output=True, text=True, timeout=60, errors="replace")
        assert word in result.stdout and "HTTP/1.1 200" in result.stdout, result.stdout + result.stderr


def test_only_what_is_to_be_stapled(ferrule, origin, authority, responder):
    certificates = [issue(authority, responder, "plain.test"), issue(authority, responder, "must.test", must_staple=True),
                    authority.issue("none.test")]
    proxy = start(ferrule, origin, *certificates, extra="")
    wait_until(lambda: shown(proxy, authority, name="must.test") == "good", "what must-staple demands")
    assert responder.asked == 1
    for version in VERSIONS:
        assert shown(proxy, authority, version, "plain.test") == "none"
        assert shown(proxy, authority, version, "none.test") == "none"
    proxy.config_file.write_text(proxy.config_file.read_text() + "\n[ocsp]\n")
    proxy.cli("reload")
    wait_until(lambda: shown(proxy, authority, name="plain.test") == "good", "the answer after the reload")
    assert shown(proxy, authority, name="none.test") == "none"


def test_responder_of_the_configuration(ferrule, origin, authority, responder):
    old = f"http://127.0.0.1:{free_port()}/gone"
    proxy = start(ferrule, origin, issue(authority, responder, url=old),
                  extra=f'[ocsp.responderOverrides]\n"{old}" = "{responder.url}"\n')
    wait_shown(proxy, authority, "good")


@pytest.mark.parametrize("mode, said", [
    ("unknown", "does not know the certificate"), ("garbage", "no OCSP response"), ("error", "status 503"),
    ("revoked", "is revoked")])
def test_other_answers_are_not_shown(ferrule, origin, authority, responder, mode, said):
    responder.mode = mode
    proxy = start(ferrule, origin, issue(authority, responder))
    proxy.wait_log(said)
    for version in VERSIONS:
        assert shown(proxy, authority, version) == "none"


def test_wrong_signature(ferrule, origin, authority, responder, folder):
    stranger = Authority(folder / "stranger")
    responder.signer = (stranger.cert_file, stranger.folder / "ca.key")
    proxy = start(ferrule, origin, issue(authority, responder))
    proxy.wait_log("not signed by")
    assert shown(proxy, authority) == "none"


@pytest.mark.parametrize("given_up", [False, pytest.param(True, marks=pytest.mark.long)])
def test_responder_down_and_slow(ferrule, origin, authority, responder, given_up):
    responder.mode = "slow"
    names = ["slow.test", "down.test"]
    proxy = start(ferrule, origin, issue(authority, responder, names[0]),
                  issue(authority, responder, names[1], url=f"http://127.0.0.1:{free_port()}"))
    proxy.wait_log("down.test: no OCSP answer")
    wait_until(lambda: responder.asked == 1, "the question")
    for name in names:
        assert shown(proxy, authority, name=name) == "none"
    if given_up:
        proxy.wait_log("slow.test: no OCSP answer", timeout_s=60)


@pytest.mark.long
def test_stale_answer_is_not_shown(ferrule, origin, authority, responder):
    """The responder repeats one answer of a minute for ever: it is shown for this minute and no longer."""
    responder.minutes = 1
    proxy = start(ferrule, origin, issue(authority, responder))
    wait_shown(proxy, authority, "good")
    responder.mode = "frozen"
    wait_until(lambda: shown(proxy, authority) == "none", "the end of the answer", timeout_s=150, interval_s=1)
    assert shown(proxy, authority, "tls1_2") == "none"
    responder.mode, responder.minutes = "good", 10
    wait_until(lambda: shown(proxy, authority) == "good", "a fresh answer", timeout_s=150, interval_s=1)


@pytest.fixture
def fake(folder, authority):
    ca = FakeCa(folder, authority)
    yield ca
    ca.stop()


def test_must_staple_is_asked_for_and_done_without(ferrule, origin, bind, authority, fake):
    """The second name's CA refuses the first request for a certificate, as Let's Encrypt does any with must-staple."""
    names = ["willing.edge.test", "unauthorized-at-finalize-1.edge.test"]
    port = free_port()
    proxy = ferrule("\n".join([
        config.entrypoint("websecure", port),
        config.router("all", "s", entrypoints=["websecure"], resolver="test", domains=[(names[0], [])]),
        config.service("s", origin.url), config.resolver(fake, bind, ferrule.folder, more="mustStaple = true")]),
        {"websecure": port})

    def features(name):
        with proxy.connect_tls(name) as client:
            pem = ssl.DER_cert_to_PEM_cert(client.certificate_der)
        text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem, capture_output=True, text=True, check=True)
        return name in text.stdout and ("TLS Feature" in text.stdout and "status_request" in text.stdout)

    wait_until(lambda: features(names[0]), "the certificate with must-staple", timeout_s=60)
    proxy.config_file.write_text(proxy.config_file.read_text().replace(names[0], names[1]))
    proxy.cli("reload")
    wait_until(lambda: len(fake.orders) == 2 and fake.orders[1]["cert"], "the certificate without", timeout_s=60)
    proxy.wait_log("the CA refuses a certificate with must-staple")
    wait_until(lambda: shown_name(proxy, names[1]), "the certificate at work", timeout_s=60)
    assert not features(names[1])
    assert [step for name, step in fake.asked if name == names[1]].count("finalize") == 2


def test_refusal_of_must_staple_is_remembered(ferrule, origin, bind, authority, fake):
    """Over a restart: the CA is not asked for it again."""
    names = ["unauthorized-at-finalize-1.edge.test", "next.edge.test"]
    proxy = ferrule.acme(fake, bind, origin, domains=[(names[0], [])], resolver={"more": "mustStaple = true"})
    wait_until(lambda: shown_name(proxy, names[0]), "the certificate without", timeout_s=60)
    proxy.stop()
    proxy.write_config(proxy.config_file.read_text().replace(names[0], names[1]))
    proxy.start()
    wait_until(lambda: shown_name(proxy, names[1]), "the next certificate", timeout_s=60)
    with proxy.connect_tls(names[1]) as client:
        pem = ssl.DER_cert_to_PEM_cert(client.certificate_der)
    text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem, capture_output=True, text=True, check=True)
    assert "TLS Feature" not in text.stdout
    assert proxy.log.count("the CA refuses a certificate with must-staple") == 1


def test_renewed_certificate_waits_for_its_answer(ferrule, origin, bind, authority, fake, responder):
    """Must-staple: the certificate before is served, with its answer, until the new one has one as well."""
    fake.ocsp, name = responder, "a.edge.test"
    proxy = ferrule.acme(fake, bind, origin, domains=[(name, [])], resolver={"more": "mustStaple = true"})
    wait_until(lambda: shown_name(proxy, name), "the certificate", timeout_s=60)
    wait_until(lambda: shown(proxy, authority, name=name) == "good", "its answer")
    first = certificate_of(proxy, name)
    responder.open.clear()
    assert proxy.cli("cert", "renew", name, "--force").returncode == 0
    proxy.wait_log("waits for its first OCSP answer")
    served = proxy.json("cert", "explain", "--sni", name)["candidates"]
    assert [(c["served"], c["stapledUntil"] is None) for c in served] == [(True, False), (False, True)]
    assert "waits for its OCSP answer" in served[0]["why"]
    assert shown(proxy, authority, name=name) == "good" and certificate_of(proxy, name) == first
    responder.open.set()
    wait_until(lambda: certificate_of(proxy, name) != first, "the new certificate", timeout_s=90)
    wait_until(lambda: shown(proxy, authority, name=name) == "good", "its answer", timeout_s=90)


@pytest.mark.long
def test_revoked_certificate_is_replaced(ferrule, origin, bind, authority, fake, responder):
    """The first one was obtained a moment ago: what is revoked again and again is replaced ever more rarely."""
    fake.ocsp, responder.mode = responder, "revoked"
    proxy = ferrule.acme(fake, bind, origin, domains=[("a.edge.test", [])], extra="[ocsp]\n")
    proxy.wait_log("is revoked, says its CA")
    plan = proxy.json("cert", "plan")["plan"][0]
    assert plan["why"] == "its CA has revoked the certificate" and "the certificate is revoked, and 1 for" in plan["waiting"]
    responder.mode = "good"
    wait_until(lambda: fake.issued == 2, "another certificate", timeout_s=180)
    wait_until(lambda: not proxy.json("cert", "plan")["plan"][0]["due"], "nothing to do", timeout_s=60)


def shown_name(proxy, name):
    with proxy.connect_tls(name) as client:
        return name in client.certificate["names"]


def certificate_of(proxy, name):
    with proxy.connect_tls(name) as client:
        return client.certificate_der
