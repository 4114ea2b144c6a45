# SPDX-License-Identifier: Apache-2.0
"""What our plug-ins send, beside what lego of the distribution sends for the same names: DNS updates, the program's
arguments, Amazon's requests. Values, and what lego does that is not to be copied, are left out. (httpreq: test_httpreq.py;
lego's cloudflare is not in Debian's build, see test_cloudflare.py.)"""

import os
import re
import shutil
import ssl
import subprocess
import xml.etree.ElementTree as ElementTree
from urllib.parse import parse_qsl, urlsplit

import pytest

from lib import aws, dnswire
from lib.connectproxy import ConnectProxy
from lib.hastyca import HastyCa
from lib.proc import wait_until

DOMAINS = ["demo.edge.test", "*.demo.edge.test"]
VALUE = re.compile(r"[\w-]{43}")


@pytest.fixture
def lego(folder, bind, pebble):
    """lego(provider, env): obtains a certificate for DOMAINS."""
    program = shutil.which("lego")
    if not program:
        pytest.skip("lego is not installed")

    def run(provider, env, ca=pebble):
        with HastyCa(ca) as hasty:
            obtained(hasty, provider, env)

    def obtained(ca, provider, env):
        words = [program, "--server", ca.directory_url, "--accept-tos", "--email", "a@edge.test", "--path", folder / "lego",
                 "--dns", provider, "--dns.disable-cp", "--dns.resolvers", bind.address,
                 *(word for domain in DOMAINS for word in ("--domains", domain)), "run"]
        result = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120,
                                env={**os.environ, **env, "LEGO_CA_CERTIFICATES": str(ca.ca_file)})
        assert result.returncode == 0, result.stdout + result.stderr

    return run


@pytest.fixture
def obtain(ferrule, origin, bind, pebble):
    """obtain(provider, env): the same by ferrule."""
    def run(provider, env, ca=pebble, done=lambda: True, **options):
        proxy = ferrule.acme(ca, bind, origin, domains=[(DOMAINS[0], DOMAINS[1:])],
                             resolver={"provider": provider, "env": env, **options})
        wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "a certificate", 90)
        wait_until(lambda: proxy.status()["orders"]["running"] == 0 and done(), "the order to be over", 60)
        proxy.stop()

    return run


def test_updates_of_name_servers(lego, obtain, bind, make_dns_relay):
    """lego deletes what others have at the name before it adds its value; ours only adds."""
    relay, seen = make_dns_relay(bind.address), []

    def note(query, answer, is_tcp):
        if found := dnswire.update(query):
            seen.append(found)
        return answer

    relay.change = note
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"{relay.address}:{relay.port}", RFC2136_POLLING_INTERVAL="1",
                           RFC2136_SEQUENCE_INTERVAL="1", RFC2136_TTL="77", RFC2136_DNS_TIMEOUT="60")

    def shapes():
        found = [{**one, "updates": [(*record[:4], [VALUE.sub("...", text) for text in record[4]])
                                     for record in one["updates"] if record[2] != "ANY"]} for one in seen]
        seen.clear()
        return sorted(found, key=str)

    obtain("rfc2136", env)
    ours = shapes()
    lego("rfc2136", env)
    assert bind.all_txt() == {}
    name = "_acme-challenge.demo.edge.test."
    assert [one["updates"] for one in ours] == 2 * [[(name, "TXT", "IN", 77, ["..."])]] + 2 * [[(name, "TXT", "NONE", 0, ["..."])]]
    assert shapes() == ours


@pytest.mark.parametrize("mode", ["", "RAW"])
def test_arguments_of_a_program(lego, obtain, bind, make_pebble, folder, mode):
    pebble = make_pebble(bind.address, env={"PEBBLE_VA_ALWAYS_VALID": "1"})
    program, out = folder / "program", folder / "calls"
    program.write_text(f'#!/bin/sh\n{{ printf "%s|" "$#" "$@"; echo; }} >>{out}\n')
    program.chmod(0o755)
    env = {"EXEC_PATH": str(program), "EXEC_SEQUENCE_INTERVAL": "1", "EXEC_POLLING_INTERVAL": "1", **({"EXEC_MODE": mode} if mode else {})}

    def shapes():
        found = sorted(VALUE.sub("...", re.sub(r"[\w-]{43}\.[\w-]{43}", "key", line)) for line in out.read_text().splitlines())
        out.unlink()
        return found

    obtain("exec", env, pebble, lambda: len(out.read_text().splitlines()) == 4, dns_more="disablePropagationCheck = true")
    ours = shapes()
    lego("exec", env, pebble)
    assert len(ours) == 4 and shapes() == ours


def target_of(request):
    """Path and arguments, with the ids of changes left out."""
    parts = urlsplit(request.target)
    return re.sub(r"/change/\w+$", "/change/...", parts.path), tuple(sorted(parse_qsl(parts.query)))


def document_of(element, is_delete=False):
    """An XML document without the order of its parts, which Amazon's library leaves to chance, and without the values. lego
    deletes a whole set, ours its last value: of what is deleted one value counts."""
    is_delete = is_delete or any(child.text == "DELETE" for child in element)
    parts = [document_of(child, is_delete) for child in element]
    text = re.sub("Managed by .*", "...", VALUE.sub("...", element.text or ""))
    return element.tag, text, tuple(sorted(set(parts) if is_delete else parts))


def amazon_shapes(service):
    """The different requests. (Which comes first is chance where two names are proven side by side.)"""
    shapes = {(request.method, *target_of(request), document_of(ElementTree.fromstring(request.body)) if request.body else "")
              for request in service.requests}
    service.requests.clear()
    return sorted(map(str, shapes))


def test_requests_to_amazon(lego, obtain, bind, authority, folder):
    """Through a proxy, since lego knows Amazon's own name only."""
    certificate = authority.issue("route53.amazonaws.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    service = aws.Route53(context=context)
    proxy = ConnectProxy(service.port)

    def mirror():
        lines = [f"delete {name}. TXT" for name in bind.all_txt()]
        for (_, name, _), (ttl, values) in service.sets.items():
            lines += [f"add {name} {ttl} TXT {value}" for value in values]
        bind.nsupdate(*lines)

    service.on_change = mirror
    env = {"AWS_ACCESS_KEY_ID": aws.KEY_ID, "AWS_SECRET_ACCESS_KEY": aws.SECRET, "AWS_REGION": "us-east-1",
           "AWS_POLLING_INTERVAL": "1", "HTTPS_PROXY": f"http://{proxy.address}", "HOME": str(folder),
           "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        obtain("route53", {**env, "SSL_CERT_FILE": str(authority.cert_file)})
        ours = amazon_shapes(service)
        service.content_types = [None]
        lego("route53", {**env, "AWS_CA_BUNDLE": str(authority.cert_file)})
        theirs = amazon_shapes(service)
        assert service.sets == {} and set(proxy.targets) == {"route53.amazonaws.com:443"}
        assert theirs == ours
    finally:
        proxy.stop()
        service.stop()
