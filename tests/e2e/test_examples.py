# SPDX-License-Identifier: Apache-2.0
"""The examples of Traefik's documents, run against a real CA. A complete one is the configuration file as it stands;
fragments complete it as flags, and so does what a test cannot have: the well-known ports, Let's Encrypt, other people's
name servers. Routers come from a file that [providers.file] names."""

import base64
import json
import stat

import pytest

from lib import config, examples
from lib.proc import free_port, wait_until
from test_acme import certificates, wait_certificate as wait_one

# What a run below is made of.
VERSION_3 = ["resolver_v3_01", "resolver_v3_02", "resolver_v3_03", "resolver_v3_04", "resolver_v3_05"]
VERSION_2 = ["resolver_v2_01", "resolver_v2_02", "resolver_v2_03", "resolver_v2_04", "resolver_v2_05", "resolver_v2_06", "resolver_v2_07"]
OLDER_HTTP = ["section_01", "section_09", "section_10", "section_11"]
OLDER_NAMED_ENTRY = ["section_04", "section_03"]
OLDER_DNS = ["section_02", "section_05", "section_06", "section_07", "section_08", "section_12"]
FILES = ["certificates_01"]

NAMES = "@ IN A 127.0.0.1\n* IN A 127.0.0.1\n"


@pytest.fixture
def ports():
    return {"web": free_port(), "websecure": free_port()}


@pytest.fixture
def names(make_bind):
    """BIND for a zone in which every name leads to us."""
    return make_bind(zones={"edge.test": NAMES})


class Run:
    """ferrule with an example as its file."""

    def __init__(self, ferrule, folder, origin, ports):
        self.ferrule, self.folder, self.origin, self.ports = ferrule, folder, origin, ports

    def __call__(self, text, arguments, routers, listen):
        """routers: TOML; listen: {the example's name of an entry point: ours}."""
        dynamic = self.folder / "dynamic.toml"
        dynamic.write_text("\n".join([*routers, config.service("s", self.origin.url)]))
        arguments = [*arguments, f"--providers.file.filename={dynamic}",
                     *(f"--entryPoints.{name}.address=127.0.0.1:{self.ports[ours]}" for name, ours in listen.items())]
        return self.ferrule(text, {name: self.ports[ours] for name, ours in listen.items()}, arguments=arguments)


@pytest.fixture
def run(ferrule, folder, origin, ports):
    return Run(ferrule, folder, origin, ports)


def ca_flags(section, pebble, in_base64=False):
    """Our CA in place of Let's Encrypt."""
    roots = base64.b64encode(pebble.ca_file.read_bytes()).decode() if in_base64 else pebble.ca_file
    return [f"--{section}.caServer={pebble.directory_url}", f"--{section}.caCertificates={roots}"]


def dns_flags(section, bind, resolvers=()):
    """rfc2136 at our BIND in place of somebody's service."""
    env = bind.rfc2136_env(RFC2136_POLLING_INTERVAL="1")
    return [f"--{section}.dnsChallenge.provider=rfc2136", f"--{section}.dnsChallenge.propagation.port={bind.port}",
            f"--{section}.dnsChallenge.resolvers={','.join([*resolvers, bind.address])}",
            *(f"--{section}.dnsChallenge.env.{name}={value}" for name, value in env.items())]


def stored(proxy, name="acme.json"):
    """The storage in its usual place, which must be for its owner alone."""
    file = proxy.state_folder / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return json.loads(file.read_text())


def wait_certificate(proxy, name):
    """Longer than the first back-off: a validation may fail on a busy machine."""
    return wait_one(proxy, name, timeout_s=150)


def acme_names(proxy):
    return sorted(sorted(c["names"]) for c in proxy.json("cert", "list")["certificates"] if c["source"] == "acme")


def test_every_example_is_run():
    assert sorted(VERSION_3 + VERSION_2 + OLDER_HTTP + OLDER_NAMED_ENTRY + OLDER_DNS + FILES) == examples.every()


@pytest.mark.parametrize("form", ["file", "flags"])
def test_version_3(run, names, make_pebble, ports, form):
    """A resolver is used by the routers that name it, for the names of their rules; account, storage and renewal are as
    the fragments say."""
    acme = "certificatesResolvers.myresolver.acme"
    fragments = [flag for name in VERSION_3[1:] for flag in examples.flags(examples.tree(name))]
    text = examples.text(VERSION_3[0])
    if form == "flags":
        text, fragments = "", examples.flag_lines("--entryPoints.web", "--certificatesresolvers.myresolver.acme.eab.hmac")
    kid, key = "abc-keyID-xyz", "abc-hmac-xyz"
    assert any(kid in flag for flag in fragments) and any(key in flag for flag in fragments)
    key = "abc-hmac-xyz-abc-hmac-xyz-abc-hmac-xyz-0000"  # the example's is shorter than any CA's: it is refused
    pebble = make_pebble(names.address, http_port=ports["web"], tls_port=ports["websecure"], eab={kid: key}, distribution=True)
    proxy = run(text, [*fragments, *ca_flags(acme, pebble), f"--{acme}.eab.hmacEncoded={key}"], [
        config.router("one", "s", "Host(`a.edge.test`)", ["websecure"], resolver="myresolver"),
        config.router("two", "s", "(Host(`b.edge.test`) && PathPrefix(`/x`)) || Host(`c.edge.test`)", ["websecure"], resolver="myresolver"),
        config.router("three", "s", "Host(`plain.edge.test`)", ["websecure"], tls=True),
        config.tcp_router("four", "t", "HostSNI(`tcp.edge.test`)", ["websecure"], tls='certResolver = "myresolver"'),
        config.tcp_service("t", f"127.0.0.1:{run.origin.port}")], {"web": "web", "websecure": "websecure"})
    for name in ("a.edge.test", "b.edge.test", "tcp.edge.test"):
        cert = wait_certificate(proxy, name)
    assert acme_names(proxy) == [["a.edge.test"], ["b.edge.test", "c.edge.test"], ["tcp.edge.test"]]
    proxy.wait_served("c.edge.test", pebble.roots_file(), "websecure")
    content = stored(proxy)["myresolver"]
    assert content["Account"]["Registration"]["body"]["contact"] == ["mailto:your-email@example.com"]
    assert {c["domain"]["main"] for c in content["Certificates"]} == {"a.edge.test", "b.edge.test", "tcp.edge.test"}
    assert cert["keyType"] == "EC" and proxy.counters()["challenges_http"] >= 4
    # 72 hours: six hours before the end, every ten minutes; the CA's certificates live longer, and that is said. A CA that
    # suggests times of renewal is followed instead (Debian 13's Pebble does, Debian 12's does not).
    if "renewalInfo" in pebble.directory():
        proxy.wait_log("the CA suggests to renew")
    else:
        want = proxy.json("cert", "show", "a.edge.test")
        assert 0 <= want["wanted"][0]["renewAt"] - (want["certificates"][0]["notAfter"] - 6 * 3600) <= 600
    assert "certificatesDuration is 72 h, but the certificate lives" in proxy.log


def test_version_2(run, names, make_pebble, ports):
    """HTTP-01 behind a redirection, TLS-ALPN-01, DNS-01 by servers of our choice: a resolver each."""
    def renamed(name, ours):
        return {"certificatesResolvers": {ours: examples.tree(name)["certificatesResolvers"]["sample"]}}

    pebble = make_pebble(names.address, http_port=ports["web"], tls_port=ports["websecure"])
    fragments = [flag for name, ours in [("resolver_v2_02", "tls"), ("resolver_v2_03", "sample"), ("resolver_v2_04", "dns"),
                                         ("resolver_v2_05", "dns"), ("resolver_v2_06", "sample"), ("resolver_v2_07", "sample")]
                 for flag in examples.flags(renamed(name, ours))]
    resolvers = [f"certificatesResolvers.{name}.acme" for name in ("sample", "tls", "dns")]
    proxy = run(examples.text("resolver_v2_01"), [
        *fragments, *(flag for section in resolvers for flag in ca_flags(section, pebble, section == resolvers[1])),
        *dns_flags(resolvers[2], names, [f"127.0.0.1:{free_port()}"]),
        "--entryPoints.web.http.redirections.entryPoint.to=web-secure"], [
        config.router("one", "s", "Host(`http.edge.test`)", ["web-secure"], resolver="sample"),
        config.router("two", "s", "Host(`tls.edge.test`)", ["web-secure"], resolver="tls"),
        config.router("three", "s", "Host(`dns.edge.test`)", ["web-secure"], resolver="dns", domains=[("*.edge.test", [])])],
        {"web": "web", "web-secure": "websecure"})
    for name in ("http.edge.test", "tls.edge.test", "*.edge.test"):
        wait_certificate(proxy, name)
    assert proxy.get("/x", host="http.edge.test", entrypoint="web").status == 308
    counters = proxy.counters()
    assert counters["challenges_http"] >= 1 and counters["challenges_tls"] >= 1
    wait_until(lambda: names.all_txt() == {}, "no TXT value left")
    assert names.queries("edge.test", "SOA")
    content = stored(proxy)
    assert {name: len(content[name]["Certificates"]) for name in ("sample", "tls", "dns")} == {"sample": 1, "tls": 1, "dns": 1}
    assert pebble.issued() == 3


def test_older_section_by_http(run, names, make_pebble, ports):
    """onHostRule: every router with TLS, the first host as main name."""
    pebble = make_pebble(names.address, http_port=ports["web"])
    fragments = [flag for name in OLDER_HTTP[1:] for flag in examples.flags(examples.tree(name))]
    proxy = run(examples.text(OLDER_HTTP[0]), [*fragments, *ca_flags("acme", pebble)], [
        config.router("one", "s", "Host(test1.edge.test,test2.edge.test)", ["http-tls"], tls=True),
        config.router("two", "s", "Host(`plain.edge.test`)", ["web"])], {"web": "web", "http-tls": "websecure"})
    wait_certificate(proxy, "test2.edge.test")
    assert acme_names(proxy) == [["test1.edge.test", "test2.edge.test"]]
    content = stored(proxy)["acme"]
    assert content["Certificates"][0]["domain"] == {"main": "test1.edge.test", "sans": ["test2.edge.test"]}
    assert content["Account"]["Registration"]["body"]["contact"] == ["mailto:your-email@your-domain.org"]


def test_older_section_with_two_challenges(run, names, make_pebble, ports):
    """The CA reaches the entry point "http" only; the other challenge is there for names that it does not."""
    pebble = make_pebble(names.address, http_port=ports["web"], tls_port=free_port())
    fragments = examples.flags(examples.tree("section_03"))
    proxy = run(examples.text("section_04"), [*fragments, *ca_flags("acme", pebble), "--acme.onHostRule=true"],
                [config.router("one", "s", "Host(`a.edge.test`)", ["tls"], tls=True)], {"http": "web", "tls": "websecure"})
    wait_certificate(proxy, "a.edge.test")
    assert proxy.counters()["challenges_http"] >= 1


def test_older_section_by_dns(run, make_bind, make_pebble):
    """Known domains: one certificate for each with all its names, wildcard and apex by two values at one name, kept under
    the key of a key-value store, which is a directory here."""
    zones = ["mydomain.com", "local1.com", "local2.com", "local3.com"]
    bind = make_bind(zones={zone: "" for zone in zones})
    pebble = make_pebble(bind.address)
    domains = [domain for name in OLDER_DNS for domain in examples.tree(name).get("acme", {}).get("domains", [])]
    fragments = [flag for name in OLDER_DNS[1:-1] for flag in examples.flags(examples.tree(name)) if ".domains" not in flag]
    fragments += examples.flags({"acme": {"domains": domains, **examples.tree("section_12")}})
    proxy = run(examples.text("section_02"), [*fragments, *ca_flags("acme", pebble), *dns_flags("acme", bind)],
                [config.router("one", "s", "PathPrefix(`/`)", ["http-tls"], tls=True)], {"web": "web", "http-tls": "websecure"})
    wanted = sorted([sorted(["*.mydomain.com", "mydomain.com"]), sorted(["*.local1.com", "local1.com"]), ["local2.com"],
                     sorted(["local1.com", "test1.local1.com", "test2.local1.com"]),
                     sorted(["*.local3.com", "local3.com", "test1.test1.local3.com"])])
    wait_until(lambda: acme_names(proxy) == wanted, f"certificates for {wanted}", 150)
    wait_until(lambda: not any(bind.all_txt(zone) for zone in zones), "no TXT value left")
    assert pebble.issued() == len(wanted) == 5
    assert stat.S_IMODE((proxy.state_folder / "traefik/acme/account").stat().st_mode) == 0o700
    for host in ("x.mydomain.com", "test1.test1.local3.com"):
        with proxy.connect_tls(host, "http-tls", ca_file=pebble.roots_file()):
            pass


def test_certificates(ferrule, origin, authority, folder):
    """Each is served for its names, the first to those that ask for none of them."""
    one, two = authority.issue("domain.test"), authority.issue("other-domain.test")
    arguments = [f"--tls.certificates[{i}].{key}={getattr(cert, name)}" for i, cert in enumerate((one, two))
                 for key, name in (("certFile", "cert_file"), ("keyFile", "key_file"))]
    proxy = ferrule.https(origin, extra=examples.text("certificates_01"), arguments=arguments)
    for host in ("domain.test", "other-domain.test"):
        assert proxy.get_tls("/bytes/64", host=host, ca_file=authority.cert_file).status == 200
    assert not certificates(proxy, "domain.test")
