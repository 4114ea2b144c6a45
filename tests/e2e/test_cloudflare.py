# SPDX-License-Identifier: Apache-2.0
"""The cloudflare plug-in against the documented API v4. The faults that every provider must survive are in
test_provider_kit.py.

Debian's lego is built without its cloudflare provider, so the requests are compared with their documentation, byte by
byte, and not with lego's."""

import contextlib
import ssl
import threading
from pathlib import Path

import pytest

from lib.cloudflare import API_KEY, DNS_TOKEN, EMAIL, ZONE_TOKEN, Cloudflare, error
from lib.connectproxy import ConnectProxy
from lib.ferrule import run_cli
from lib.proc import PATIENCE_S, wait_until
from lib.provider import Tool
from lib.providerkit import NAME, ONE, ZONE
from test_provider_cli import PROVIDERS


@pytest.fixture
def api():
    made = Cloudflare()
    yield made
    made.stop()


@pytest.fixture
def call(api):
    tool = Tool()

    def run(what="present", value=ONE, state="", zone=f"{ZONE}.", name=f"{NAME}.", token=DNS_TOKEN, **env):
        given = {"CLOUDFLARE_BASE_URL": api.base, **({"CLOUDFLARE_DNS_API_TOKEN": token} if token else {}), **env}
        answer = tool.call(what, name, value, env=given, code="cloudflare", zone=zone, state=state)
        for secret in (DNS_TOKEN, ZONE_TOKEN, API_KEY):
            assert secret not in str(answer) + tool.log
        return answer

    run.tool = tool
    return run


# --- what goes over the wire ------------------------------------------------------------------------------


def headers_of(request):
    return {k: v for k, v in request.headers.items() if k in ("Authorization", "Accept", "Content-Type", "X-Auth-Email",
                                                              "X-Auth-Key")}


@pytest.mark.asan
def test_requests(call, api):
    answer = call()
    zone = next(iter(api.zones))
    record = next(iter(api.records))
    assert answer["verdict"] == "OK" and answer["state"] == f"1 {zone} {record}"
    get, post = api.requests
    bearer = {"Authorization": f"Bearer {DNS_TOKEN}", "Accept": "application/json"}
    assert (get.method, get.target) == ("GET", f"/client/v4/zones?name={ZONE}&per_page=50") and headers_of(get) == bearer
    assert (post.method, post.target) == ("POST", f"/client/v4/zones/{zone}/dns_records")
    assert headers_of(post) == {**bearer, "Content-Type": "application/json"}
    assert post.body == '{"name":"%s","ttl":120,"type":"TXT","content":"\\"%s\\""}' % (NAME, ONE)
    assert get.headers["User-Agent"].startswith("ferrule/")
    assert call("cleanup", state=answer["state"])["verdict"] == "OK"
    delete = api.requests[2]
    assert (delete.method, delete.target) == ("DELETE", f"/client/v4/zones/{zone}/dns_records/{record}")
    assert headers_of(delete) == bearer and delete.body == "" and api.records == {} and len(api.requests) == 3


def test_the_zone_is_asked_for_once(call, api):
    assert call(REPEAT="3")["verdicts"] == ["OK"] * 3
    assert [request.method for request in api.requests] == ["GET", "POST", "POST", "GET", "POST", "GET"]
    assert len([request for request in api.requests if request.path == "/client/v4/zones"]) == 1


def test_slashes_and_ports_of_the_base_url(call, api):
    assert call(CLOUDFLARE_BASE_URL=api.base + "//")["verdict"] == "OK"


def test_paging(call, api):
    """230 values of others stand at the name before ours."""
    for i in range(230):
        api.add(NAME, "TXT", f"value {i}")
    assert call()["verdict"] == "OK"
    api.requests.clear()
    assert call("cleanup")["verdict"] == "OK"
    lists = [request for request in api.requests if request.path.endswith("/dns_records")]
    assert [request.query["page"] for request in lists] == ["1", "2", "3"] and len(api.records) == 230
    assert {(request.query["type"], request.query["name"]) for request in lists} == {("TXT", NAME)}


@pytest.mark.parametrize("content", [ONE, f'"{ONE}"', f'"{ONE[:20]}" "{ONE[20:]}"', f'"\\0{ord(ONE[0])}{ONE[1:]}"'])
def test_spellings_of_the_value(call, api, content):
    api.add(NAME, "TXT", content)
    assert call("cleanup")["verdict"] == "OK" and api.records == {}


@pytest.mark.parametrize("content", [ONE + "x", ONE[:-1], f'"{ONE}', f'"{ONE}" "x"', ONE.lower(), ""])
def test_other_values_stay(call, api, content):
    api.add(NAME, "TXT", content)
    assert call("cleanup")["verdict"] == "OK" and len(api.records) == 1


# --- credentials ---------------------------------------------------------------------------------------------


def test_two_tokens(call, api):
    """The one that reads zones may not change records, and the other way round."""
    api.rights[DNS_TOKEN] = {"dns"}
    answer = call()
    assert answer["verdict"] == "AUTH" and "CLOUDFLARE_DNS_API_TOKEN" in answer["text"] and "Zone > Zone > Read" in answer["text"]
    assert call(CLOUDFLARE_ZONE_API_TOKEN=ZONE_TOKEN)["verdict"] == "OK"
    answer = call(token=ZONE_TOKEN)
    assert answer["verdict"] == "AUTH" and "needs the permission Zone > DNS > Edit for edge.test" in answer["text"]
    assert "[status code 403] 10000: Authentication error" in answer["text"]
    api.rights[ZONE_TOKEN] = set()
    answer = call(CLOUDFLARE_ZONE_API_TOKEN=ZONE_TOKEN)
    assert answer["verdict"] == "AUTH" and "CLOUDFLARE_ZONE_API_TOKEN" in answer["text"]


def test_email_and_key_win_over_tokens(call, api):
    assert call(CLOUDFLARE_EMAIL=EMAIL, CLOUDFLARE_API_KEY=API_KEY)["verdict"] == "OK"
    assert headers_of(api.requests[0]) == {"X-Auth-Email": EMAIL, "X-Auth-Key": API_KEY, "Accept": "application/json"}
    answer = call(CLOUDFLARE_EMAIL=EMAIL, CLOUDFLARE_API_KEY="wrong")
    assert answer["verdict"] == "AUTH" and "does not accept CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY" in answer["text"]
    assert call(CLOUDFLARE_EMAIL=EMAIL)["verdict"] == "OK"  # half of the pair: the token counts


@pytest.mark.parametrize("env", [
    {"CF_API_EMAIL": EMAIL, "CF_API_KEY": API_KEY},
    {"CF_API_EMAIL": EMAIL, "CLOUDFLARE_API_KEY": API_KEY},
    {"CF_DNS_API_TOKEN": DNS_TOKEN},
    {"CF_DNS_API_TOKEN": DNS_TOKEN, "CF_ZONE_API_TOKEN": ZONE_TOKEN},
])
def test_aliases(call, env):
    assert call(token=None, **env)["verdict"] == "OK"


def test_tokens_in_files(call, folder):
    path = folder / "token"
    path.write_text(DNS_TOKEN + "\r\n")
    assert call(token=None, CF_DNS_API_TOKEN_FILE=str(path))["verdict"] == "OK"
    assert call(token=DNS_TOKEN, CLOUDFLARE_DNS_API_TOKEN_FILE="/nonexistent")["verdict"] == "OK"  # the value wins


@pytest.mark.parametrize("env, words", [
    ({}, ["CLOUDFLARE_DNS_API_TOKEN", "CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY"]),
    ({"CLOUDFLARE_EMAIL": EMAIL}, ["missing: CLOUDFLARE_API_KEY"]),
    ({"CF_API_KEY": API_KEY}, ["missing: CLOUDFLARE_EMAIL"]),
    ({"CLOUDFLARE_ZONE_API_TOKEN": ZONE_TOKEN}, ["CLOUDFLARE_DNS_API_TOKEN"]),
])
def test_missing_credentials(call, api, env, words):
    answer = call(token=None, **env)
    assert answer["verdict"] == "CONFIG" and all(word in answer["text"] for word in words), answer
    assert api.requests == []


def test_a_token_of_the_wrong_form(call):
    answer = call(token="not a token")
    assert answer["verdict"] == "AUTH" and "6003: Invalid request headers; 6111: Invalid format" in answer["text"]
    answer = call(token="unknown-token")
    assert answer["verdict"] == "AUTH" and "9109: Invalid access token" in answer["text"]


# --- numbers ---------------------------------------------------------------------------------------------------


def test_defaults(call):
    d = call.tool.describe({"CLOUDFLARE_DNS_API_TOKEN": DNS_TOKEN}, code="cloudflare")
    assert (d["ttl_s"], d["propagation_timeout_s"], d["polling_interval_s"], d["sequence_interval_s"]) == (120, 120, 2, 0)
    d = call.tool.describe({"CF_DNS_API_TOKEN": DNS_TOKEN, "CF_TTL": "300", "CF_PROPAGATION_TIMEOUT": "5m",
                            "CLOUDFLARE_POLLING_INTERVAL": "7", "CF_POLLING_INTERVAL": "8"}, code="cloudflare")
    assert (d["ttl_s"], d["propagation_timeout_s"], d["polling_interval_s"]) == (300, 300, 7)


def test_ttl(call, api):
    assert call(CLOUDFLARE_TTL="3600")["verdict"] == "OK" and '"ttl":3600' in api.requests[1].body
    answer = call(CLOUDFLARE_TTL="60")
    assert answer["verdict"] == "CONFIG" and "CLOUDFLARE_TTL is 60; it must be 120 to" in answer["text"]


# --- what may go wrong beyond the kit ----------------------------------------------------------------------------


def once(answer, when=lambda request: True):
    """A fault that shows once."""
    left = [answer]
    return lambda request, serve: left.pop() if left and when(request) else None


def test_success_false_under_200(call, api):
    refused = error(200, 1004, "DNS Validation Error", [(9005, "Content for A record is invalid.")])
    api.faults = [once(refused, lambda request: request.method == "POST")]
    answer = call()
    assert answer["verdict"] == "CONFIG"
    assert "[status code 200] 1004: DNS Validation Error; 9005: Content for A record is invalid." in answer["text"]


def test_a_cname_is_in_the_way(call, api):
    api.add(NAME, "CNAME", "elsewhere.test")
    answer = call()
    assert answer["verdict"] == "CONFIG" and "81053: An A, AAAA, or CNAME record" in answer["text"]


def test_a_value_that_is_not_listed_yet(call, api):
    """Lists may lag behind."""
    api.add(NAME, "TXT", ONE)
    api.faults = [once(api.page([], {}), lambda request: "type=TXT" in request.target)]
    answer = call(REPEAT="2")
    assert answer["verdicts"] == ["RETRY", "OK"]


def test_a_zone_that_was_added_again(call, api):
    """Between two calls of one child, which still has the old id."""
    def fault(request, serve):
        if len([r for r in api.requests if r.method == "POST"]) == 2:
            api.zones = {"f" * 32: ZONE}

    api.faults = [fault]
    assert call(REPEAT="3")["verdicts"] == ["OK", "RETRY", "OK"]
    assert len([r for r in api.requests if r.path.endswith("/zones")]) == 2


def test_subdomains_are_no_zones(call, api):
    """Labels count, not characters."""
    api.add_zone("badedge.test")
    api.lists_all = True
    assert call()["verdict"] == "OK"
    assert next(iter(api.records.values()))["zone"] == next(iter(api.zones))


def test_a_long_error_is_cut(call, api):
    api.faults = [once(error(400, 1004, "ü" * 400))]
    answer = call()
    assert answer["verdict"] == "CONFIG" and "1004: üüü" in answer["text"] and "\ufffd" not in answer["text"]


def test_a_token_that_the_service_prints(call, api):
    api.faults = [once(error(400, 1004, f"bad token {DNS_TOKEN}"))]
    assert "bad token ***" in call()["text"]


@pytest.fixture
def tls_api(authority):
    """https://api.cloudflare.com itself, as far as the plug-in can tell that goes through `proxy`."""
    certificate = authority.issue("api.cloudflare.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    made = Cloudflare(context=context)
    yield made
    made.stop()


@pytest.fixture
def proxy(tls_api):
    made = ConnectProxy(tls_api.port)
    yield made
    made.stop()


def proxy_env(proxy, authority):
    return {"CLOUDFLARE_DNS_API_TOKEN": DNS_TOKEN, "HTTPS_PROXY": f"http://user:proxy-password@{proxy.address}",
            "SSL_CERT_FILE": str(authority.cert_file)}


def test_the_default_url_through_a_proxy(tls_api, proxy, authority):
    tool, env = Tool(), proxy_env(proxy, authority)
    answer = tool.call("present", f"{NAME}.", ONE, env=env, code="cloudflare", zone=f"{ZONE}.")
    assert answer["verdict"] == "OK", answer
    assert set(proxy.targets) == {"api.cloudflare.com:443"} and proxy.authorization
    assert tls_api.asked() == ["GET /client/v4/zones", f"POST /client/v4/zones/{next(iter(tls_api.zones))}/dns_records"]
    answer = tool.call("present", f"{NAME}.", ONE, env={**env, "NO_PROXY": "*"}, code="cloudflare", zone=f"{ZONE}.")
    assert answer["verdict"] == "RETRY" and "proxy-password" not in str(answer) + tool.log


# --- the whole way --------------------------------------------------------------------------------------------------


@pytest.fixture
def zone_in_bind(bind, api):
    """What the API is told, BIND answers."""
    api.on_change = lambda what, name, value: bind.nsupdate(
        f"add {name}. 120 TXT \"{value}\"" if what == "add" else f"delete {name}. TXT \"{value}\"")
    return bind


def env_of(api):
    return {"CLOUDFLARE_DNS_API_TOKEN": DNS_TOKEN, "CLOUDFLARE_BASE_URL": api.base, "CLOUDFLARE_POLLING_INTERVAL": "1"}


def trial_config(folder, bind, env):
    path = folder / "ferrule.toml"
    lines = "".join(f'{k} = "{v}"\n' for k, v in env.items())
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
provider = "cloudflare"
resolvers = ["{bind.address}"]
[certificatesResolvers.main.acme.dnsChallenge.propagation]
port = {bind.port}
[certificatesResolvers.main.acme.dnsChallenge.env]
{lines}""")
    return path


def test_provider_test(folder, zone_in_bind, api):
    path = trial_config(folder, zone_in_bind, env_of(api))
    result = run_cli("provider", "test", "cloudflare", "--domain", "demo.edge.test", "-c", path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("... ok") == 6 and DNS_TOKEN not in result.stdout + result.stderr
    assert api.records == {} and zone_in_bind.all_txt() == {}


def test_the_proxy_of_a_resolver(folder, zone_in_bind, api, tls_api, proxy, authority):
    """Its own variables count, and not those of the process."""
    tls_api.on_change = api.on_change
    path = trial_config(folder, zone_in_bind, {**proxy_env(proxy, authority), "CLOUDFLARE_POLLING_INTERVAL": "1"})
    result = run_cli("provider", "test", "cloudflare", "--domain", "demo.edge.test", "-c", path,
                     env={"https_proxy": "http://127.0.0.1:1", "NO_PROXY": "", "SSL_CERT_FILE": "/nonexistent"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert set(proxy.targets) == {"api.cloudflare.com:443"} and "proxy-password" not in result.stdout + result.stderr


def test_provider_test_says_what_is_wrong(folder, zone_in_bind, api):
    path = trial_config(folder, zone_in_bind, {**env_of(api), "CLOUDFLARE_DNS_API_TOKEN": "wrong-token"})
    result = run_cli("provider", "test", "cloudflare", "--domain", "demo.edge.test", "-c", path)
    assert result.returncode == 1 and "credentials ... FAILED: " in result.stdout
    assert "CLOUDFLARE_DNS_API_TOKEN" in result.stdout and "wrong-token" not in result.stdout + result.stderr


def test_provider_show():
    result = run_cli("provider", "show", "cloudflare", "--directory", PROVIDERS)
    assert "CLOUDFLARE_DNS_API_TOKEN, or CF_DNS_API_TOKEN  (secret)" in result.stdout
    assert "CLOUDFLARE_TTL, or CF_TTL  (default 120)" in result.stdout


def test_a_certificate(ferrule, origin, zone_in_bind, pebble, api):
    """Apex and wildcard, while the API asks to slow down once and fails once."""
    api.faults = [once(error(429, 10013, "Rate limited.", headers={"Retry-After": "1"}), lambda r: r.method == "POST"),
                  once(error(500, 1000, "Internal error"), lambda r: r.method == "DELETE")]
    proxy = ferrule.acme(pebble, zone_in_bind, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])],
                         resolver={"provider": "cloudflare", "env": env_of(api)})
    wait_until(lambda: pebble.issued() == 1, "a certificate", timeout_s=90)
    wait_until(lambda: not api.records, "both values are removed", timeout_s=60)
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "the order is done", timeout_s=60)
    proxy.wait_served("a.demo.edge.test", pebble.roots_file())
    wait_until(lambda: zone_in_bind.all_txt() == {}, "no TXT value left")
    assert DNS_TOKEN not in proxy.log
    bodies = [request.json()["name"] for request in api.requests if request.method == "POST"]
    assert set(bodies) == {"_acme-challenge.demo.edge.test"} and len(bodies) == 3


def shown_by(pid):
    """What ps can show of a process; nothing of one that does not let us."""
    found = b""
    for name in ("cmdline", "environ"):
        with contextlib.suppress(PermissionError):
            found += Path(f"/proc/{pid}/{name}").read_bytes()
    return found


def test_the_token_is_in_no_command_line(ferrule, origin, zone_in_bind, pebble, api):
    """Looked at while the plug-in waits for the API."""
    looked = threading.Event()

    def hold(request, serve):
        if request.method == "POST":
            looked.wait(PATIENCE_S)

    api.faults = [hold]
    proxy = ferrule.acme(pebble, zone_in_bind, origin, domains=[("demo.edge.test", [])],
                         resolver={"provider": "cloudflare", "env": env_of(api)})
    try:
        wait_until(lambda: [r for r in api.requests if r.method == "POST"], "the plug-in asks")
        family = [proxy.process.pid, *proxy.processes()]
        assert proxy.pid_of("provider-run") in family
        shown = b"".join(map(shown_by, family))
    finally:
        looked.set()
    assert b"provider-run" in shown and DNS_TOKEN.encode() not in shown
    wait_until(lambda: proxy.status()["orders"]["obtained"] == 1, "the order is done", timeout_s=60)
    assert DNS_TOKEN not in proxy.log
