# SPDX-License-Identifier: Apache-2.0
"""The httpreq plug-in against a server with Basic authentication, and its requests beside those of lego. The faults
that every provider must survive are in test_provider_kit.py."""

import os
import re
import shutil
import subprocess

import pytest

from lib.ferrule import run_cli
from lib.hastyca import HastyCa
from lib.httpreq import PASSWORD, USER, Server
from lib.httpservice import Answer
from lib.proc import wait_until
from lib.provider import Tool
from lib.providerkit import NAME, ONE
from test_provider_cli import PROVIDERS

HEADERS = ("Accept", "Content-Type", "Authorization")


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def call(server):
    tool = Tool()

    def run(what="present", value=ONE, env=None, **more):
        answer = tool.call(what, f"{NAME}.", value, env={**(server.env() if env is None else env), **more}, code="httpreq")
        assert PASSWORD not in str(answer) + tool.log
        return answer

    run.tool = tool
    return run


def shape(request, headers=HEADERS):
    """What golden requests are compared by; the value, token and key of the order are replaced."""
    body = re.sub(r'("(?:value|token|keyAuth)":")[\w.-]+"', r'\1..."', request.body)
    return request.method, request.target, {name: request.headers.get(name) for name in headers}, body


@pytest.mark.asan
def test_requests(call, server):
    assert call()["verdict"] == "OK" and server.records == {(NAME, "TXT", ONE)}
    assert call("cleanup")["verdict"] == "OK" and server.records == set()
    headers = {"Accept": "application/json", "Content-Type": "application/json", "Authorization": server.authorization}
    body = '{"fqdn":"%s.","value":"..."}\n' % NAME
    assert list(map(shape, server.requests)) == [("POST", "/base/present", headers, body), ("POST", "/base/cleanup", headers, body)]


def test_nothing_is_sent_twice(call, server):
    """The service ends a kept connection when it has heard the request: it may have done it."""
    server.faults.append(lambda request, serve: Answer(cut=True) if len(server.requests) == 2 else None)
    assert call(REPEAT="2")["verdicts"] == ["OK", "RETRY"]
    assert server.asked() == ["POST /base/present"] * 2


def test_raw(call, server):
    parts = {"DOMAIN": "demo.edge.test", "TOKEN": "the-token", "KEY_AUTH": "the-token.thumbprint"}
    for what in ("present", "cleanup"):
        assert call(what, HTTPREQ_MODE="RAW", **parts)["verdict"] == "OK"
    body = '{"domain":"demo.edge.test","token":"the-token","keyAuth":"the-token.thumbprint"}\n'
    assert [(request.path, request.body) for request in server.requests] == [("/base/present", body), ("/base/cleanup", body)]


@pytest.mark.parametrize("mode", ["raw", "default"])
def test_other_modes(call, server, mode):
    assert call(HTTPREQ_MODE=mode)["verdict"] == "OK" and server.requests[0].json().keys() == {"fqdn", "value"}
    assert "HTTPREQ_MODE is not RAW" in call.tool.log


@pytest.mark.parametrize("path, asked", [
    ("", "/present"), ("/", "/present"), ("/a/b", "/a/b/present"), ("//a///b//", "/a/b/present"),
    ("/a?key=1", "/a/present?key=1"), ("?key=1//2", "/present?key=1//2"),
])
def test_endpoints(call, server, path, asked):
    server.serve = lambda request: Answer(204)
    assert call(HTTPREQ_ENDPOINT=server.url + path)["verdict"] == "OK"
    assert server.requests[0].target == asked


def test_no_authentication():
    server = Server(user=None)
    tool = Tool()
    try:
        for more in ({}, {"HTTPREQ_USERNAME": USER}, {"HTTPREQ_PASSWORD": PASSWORD}):
            env = {"HTTPREQ_ENDPOINT": server.endpoint, **more}
            assert tool.call("present", f"{NAME}.", ONE, env=env, code="httpreq")["verdict"] == "OK"
            assert server.requests[-1].headers["Authorization"] is None
            assert ("without" in tool.log) == bool(more)
    finally:
        server.stop()


def test_wrong_password(call):
    answer = call(HTTPREQ_PASSWORD="another-password")
    assert answer["verdict"] == "AUTH" and "HTTPREQ_USERNAME and HTTPREQ_PASSWORD (HTTP 401: who are you?)" in answer["text"]


def test_wrong_path(call, server):
    answer = call(HTTPREQ_ENDPOINT=server.url + "/other")
    assert answer["verdict"] == "CONFIG" and "HTTPREQ_ENDPOINT" in answer["text"] and "(HTTP 404: nothing here)" in answer["text"]


def test_pages_for_people_are_not_repeated(call, server):
    server.serve = lambda request: Answer(502, "<html>\nsomething</html>")
    answer = call()
    assert answer["verdict"] == "RETRY" and answer["text"].endswith("(HTTP 502)") and len(server.requests) == 1


def test_what_the_server_prints_is_blotted_out(call, server):
    """The password, and the pair as it travels."""
    server.serve = lambda request: Answer(400, f"I got {request.headers['Authorization']} and {PASSWORD}")
    assert "(HTTP 400: I got Basic *** and ***)" in call()["text"]
    pair = f"http://{USER}:p%40ss-of-url@"
    server.serve = lambda request: Answer(400, f"I got {request.headers['Authorization']} and p@ss-of-url")
    answer = call(env={"HTTPREQ_ENDPOINT": server.url.replace("http://", pair)})
    assert answer["text"].endswith("and ***)"), answer


def test_missing_endpoint(call):
    answer = call(env={"HTTPREQ_USERNAME": USER})
    assert answer["verdict"] == "CONFIG" and "set HTTPREQ_ENDPOINT" in answer["text"]
    answer = call(env={"HTTPREQ_ENDPOINT": "example.org/dns"})
    assert answer["verdict"] == "CONFIG" and "HTTPREQ_ENDPOINT must begin with https:// or http://" in answer["text"]


def test_defaults(call):
    d = call.tool.describe({"HTTPREQ_ENDPOINT": "http://localhost"}, code="httpreq")
    assert (d["propagation_timeout_s"], d["polling_interval_s"], d["sequence_interval_s"]) == (60, 2, 0)
    d = call.tool.describe({"HTTPREQ_ENDPOINT": "http://localhost", "HTTPREQ_PROPAGATION_TIMEOUT": "9",
                            "HTTPREQ_POLLING_INTERVAL": "3"}, code="httpreq")
    assert (d["propagation_timeout_s"], d["polling_interval_s"]) == (9, 3)


# --- the whole way, and lego's ---------------------------------------------------------------------------------------


@pytest.fixture
def zone_in_bind(bind, server):
    """What the server is told, BIND answers."""
    server.on_change = lambda what, name, value: bind.nsupdate(
        f"add {name}. 120 TXT \"{value}\"" if what == "add" else f"delete {name}. TXT \"{value}\"")
    return bind


def golden(server):
    """The requests so far, in an order of their own, and a fresh start. Accept is not compared: lego 4.9 (Debian 12) does
    not send it, 4.35 does."""
    shapes = sorted((shape(request, HEADERS[1:]) for request in server.requests), key=str)
    server.requests.clear()
    return shapes


DOMAINS = ["demo.edge.test", "*.demo.edge.test"]


def ferrule_requests(ferrule, origin, bind, pebble, server, env):
    proxy = ferrule.acme(pebble, bind, origin, domains=[(DOMAINS[0], DOMAINS[1:])],
                         resolver={"provider": "httpreq", "env": {**env, "HTTPREQ_POLLING_INTERVAL": "1"}})
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "a certificate", timeout_s=90)
    wait_until(lambda: len(server.requests) == 4, "both values are removed", timeout_s=60)
    assert PASSWORD not in proxy.log
    return proxy


def lego_requests(folder, bind, pebble, env):
    lego = shutil.which("lego")
    if not lego:
        pytest.skip("lego is not installed")
    with HastyCa(pebble) as ca:
        run_lego(lego, folder, bind, ca, env)


def run_lego(lego, folder, bind, ca, env):
    words = [lego, "--server", ca.directory_url, "--accept-tos", "--email", "a@edge.test", "--path", folder / "lego",
             "--dns", "httpreq", "--dns.disable-cp", "--dns.resolvers", bind.address,
             *(word for domain in DOMAINS for word in ("--domains", domain)), "run"]
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120,
                            env={**os.environ, **env, "LEGO_CA_CERTIFICATES": str(ca.ca_file)})
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_same_requests_as_lego(ferrule, origin, folder, zone_in_bind, pebble, server):
    env = server.env()
    proxy = ferrule_requests(ferrule, origin, zone_in_bind, pebble, server, env)
    proxy.wait_served("a.demo.edge.test", pebble.roots_file())
    wait_until(lambda: zone_in_bind.all_txt() == {}, "no TXT value left")
    ours = golden(server)
    lego_requests(folder, zone_in_bind, pebble, env)
    assert golden(server) == ours


def test_the_same_raw_requests_as_lego(ferrule, origin, folder, bind, make_pebble, server):
    """The server gets the parts and is trusted: nothing checks the value here."""
    pebble = make_pebble(bind.address, env={"PEBBLE_VA_ALWAYS_VALID": "1"})
    env = server.env(HTTPREQ_MODE="RAW")
    proxy = ferrule.acme(pebble, bind, origin, domains=[(DOMAINS[0], DOMAINS[1:])],
                         resolver={"provider": "httpreq", "env": env}, start=False)
    text = proxy.config_file.read_text()
    proxy.write_config(re.sub(r"(propagation\]\n)", r"\1disableChecks = true\n", text))
    proxy.start()
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "a certificate", timeout_s=90)
    wait_until(lambda: len(server.requests) == 4, "both values are removed", timeout_s=60)
    ours = golden(server)
    lego_requests(folder, bind, pebble, env)
    assert golden(server) == ours


def test_provider_test_in_raw_mode_gives_the_parts(folder, zone_in_bind, server):
    """The server makes the value of what it is given, and BIND answers with it."""
    import base64
    import hashlib

    honest = server.serve

    def serve(request):
        body = request.json()
        digest = hashlib.sha256(body["keyAuth"].encode()).digest()
        assert body["keyAuth"].startswith(body["token"] + ".")
        value = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        request.body = '{"fqdn": "_acme-challenge.%s.", "value": "%s"}' % (body["domain"], value)
        return honest(request)

    server.serve = serve
    path = folder / "ferrule.toml"
    lines = "".join(f'{k} = "{v}"\n' for k, v in server.env(HTTPREQ_MODE="RAW", HTTPREQ_POLLING_INTERVAL="1").items())
    path.write_text(f"""
[entryPoints.web]
address = "127.0.0.1:8080"
[plugins]
directories = ["{PROVIDERS}"]
[state]
directory = "{folder}"
[certificatesResolvers.main.acme]
email = "a@edge.test"
storage = "{folder}/acme.json"
[certificatesResolvers.main.acme.dnsChallenge]
provider = "httpreq"
resolvers = ["{zone_in_bind.address}"]
[certificatesResolvers.main.acme.dnsChallenge.propagation]
port = {zone_in_bind.port}
[certificatesResolvers.main.acme.dnsChallenge.env]
{lines}""")
    result = run_cli("provider", "test", "httpreq", "--domain", "demo.edge.test", "-c", path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert zone_in_bind.all_txt() == {} and PASSWORD not in result.stdout + result.stderr
