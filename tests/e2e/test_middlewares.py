# SPDX-License-Identifier: Apache-2.0
"""Middlewares between a client and its service, one by one and in a row, with good requests and hostile ones."""

import base64
import json
import select
import subprocess
import time

import pytest

from lib import config
from lib.proc import cpu_s, free_port, wait_until

TRUST = '[entryPoints.web.forwardedHeaders]\ntrustedIPs = ["127.0.0.1"]\n'


@pytest.fixture
def middle(ferrule, origin):
    """middle({"strip": "stripPrefix.prefixes = ['/a']"}): each middleware serves the host NAME.test; a list in place of
    text names the middlewares of that host."""

    def start(middlewares, extra="", workers=1, certificate=None):
        ports = {"web": free_port()}
        parts = [config.service("origins", origin.url), extra, "[http.middlewares]\n"]
        parts += [f"{name}.{line}\n" for name, text in middlewares.items() if isinstance(text, str) for line in text.splitlines()]
        entrypoints = ["web"]
        parts.append(config.entrypoint("web", ports["web"]))
        if certificate:
            ports["websecure"] = free_port()
            parts += [config.entrypoint("websecure", ports["websecure"], more="http.tls = {}"), config.certificate(certificate)]
            entrypoints.append("websecure")
        for name, text in middlewares.items():
            names = [name] if isinstance(text, str) else text
            parts.append(config.router(name, "origins", f"Host(`{name}.test`)", entrypoints=entrypoints,
                                       more=f"middlewares = {config.strings(names)}"))
        return ferrule("\n".join(parts), ports, workers=workers)

    return start


def fields_of(echo):
    """{name in lower case: value} of what the origin was sent."""
    return {name.lower(): value for name, value in echo["headers"]}


@pytest.mark.asan
def test_paths(middle):
    proxy = middle({
        "strip": "stripPrefix.prefixes = ['/api', '/v1']",
        "strips": "stripPrefixRegex.regex = ['/user/[0-9]+']",
        "add": "addPrefix.prefix = '/front'",
        "replace": "replacePath.path = '/the path'",
        "regex": "replacePathRegex = {regex = '^/foo/(.*)', replacement = '/bar/$1'}",
        "both": ["strip", "add"],
    })
    for host, target, want, name, value in [
            ("strip", "/api/x?y=1", "/x?y=1", "x-forwarded-prefix", "/api"),
            ("strip", "/v1", "/", "x-forwarded-prefix", "/v1"),
            ("strips", "/user/12/x", "/x", "x-forwarded-prefix", "/user/12"),
            ("add", "/x?y", "/front/x?y", "x-forwarded-prefix", None),
            ("replace", "/x%20y?z", "/the%20path?z", "x-replaced-path", "/x%20y"),
            ("regex", "/foo/a/b?c", "/bar/a/b?c", "x-replaced-path", "/foo/a/b"),
            ("both", "/api", "/front", "x-forwarded-prefix", "/api"),
            ("both", "/apix", "/front/x", "x-forwarded-prefix", "/api")]:
        echo = proxy.get(target, f"{host}.test", headers={"X-Replaced-Path": "/forged"} if host == "replace" else {}).json()
        assert (echo["target"], fields_of(echo).get(name)) == (want, value), (host, target)
    for target in ("/api/../secret", "/api..%2fx", "/api/%2e%2e/x", "/api//evil.test"):
        response = proxy.get(target, "strip.test")
        assert response.status == (400 if target != "/api..%2fx" else response.status), target
        assert b"evil" not in response.body
    # as long as a head may be: a changed path is whole or refused, never cut
    long = "/" + "a" * 30000
    assert proxy.get(long, "add.test").json()["target"] == "/front" + long


@pytest.mark.asan
def test_redirections(middle, authority):
    certificate = authority.issue("scheme.test", "regex.test")
    proxy = middle({
        "scheme": "redirectScheme = {scheme = 'https', permanent = true, port = '8443'}",
        "regex": "redirectRegex = {regex = '^http://([^/]+)/(?P<rest>.*)', replacement = 'https://www.$1/${rest}'}",
    }, certificate=certificate)
    response = proxy.get("/a?b", "scheme.test")
    assert (response.status, response.header("Location")) == (301, "https://scheme.test:8443/a?b")
    with proxy.connect("web") as client:
        response = client.exchange("POST", "/", "scheme.test", body=b"")
        assert (response.status, response.header("Location")) == (308, "https://scheme.test:8443/")
        response = client.exchange("GET", "/x%0d%0aSet-Cookie:a=b?%0aX:y", "regex.test")  # goes on after an answer
        assert (response.status, response.header("Location")) == (302, "https://www.regex.test/x%0d%0aSet-Cookie:a=b?%0aX:y")
        assert response.header("Set-Cookie") is None
        response = client.exchange("HEAD", "/", "regex.test")
        assert response.status == 307 and response.body == b""
    assert proxy.get_tls("/", "regex.test", "websecure", ca_file=authority.cert_file).status == 200


@pytest.mark.asan
def test_headers(middle, origin, authority):
    proxy = middle({
        "set": """headers.customRequestHeaders = {X-New = "new", X-Gone = "", Host = "inner.test"}
headers.customResponseHeaders = {Server = "", X-Answer = "yes"}
headers.frameDeny = true
headers.stsSeconds = 100
headers.contentTypeNosniff = true""",
        "cors": """headers.accessControlAllowOriginList = ["https://good.test"]
headers.accessControlAllowMethods = ["GET", "PUT"]
headers.accessControlMaxAge = 60
headers.addVaryHeader = true""",
        "hosts": "headers.allowedHosts = ['other.test']",
        "redirect": "redirectScheme.scheme = 'https'",
        "order": ["set", "redirect"],
        "down": ["set"],
    }, certificate=authority.issue("set.test"))
    with proxy.connect("web") as client:
        echo = client.exchange("GET", "/", "set.test", headers=[("x-gone", "1"), ("X-GONE", "2"), ("X-New", "old")])
        sent = fields_of(echo.json())
        assert sent["x-new"] == "new" and "x-gone" not in sent and sent["host"] == "inner.test"
        assert sent["x-forwarded-host"] == "set.test"
        assert echo.header("X-Answer") == "yes" and echo.header("Server") is None
        assert echo.header("X-Frame-Options") == "DENY" and echo.header("Strict-Transport-Security") is None
        # what ferrule answers itself goes the same way back
        moved = client.exchange("GET", "/", "order.test")
        assert moved.status == 302 and moved.header("X-Answer") == "yes"
        preflight = client.exchange("OPTIONS", "/", "cors.test",
                                    headers={"Origin": "https://good.test", "Access-Control-Request-Method": "PUT"})
        assert preflight.status == 200 and preflight.header("Content-Length") == "0"
        assert preflight.header("Access-Control-Allow-Origin") == "https://good.test"
        assert preflight.header("Access-Control-Allow-Methods") == "GET,PUT"
        for asked, allowed in (("https://good.test", "https://good.test"), ("https://evil.test", None)):
            answer = client.exchange("GET", "/bytes/5", "cors.test", headers={"Origin": asked})
            assert answer.header("Access-Control-Allow-Origin") == allowed and answer.header("Vary") == "Origin"
        assert client.exchange("GET", "/", "hosts.test").status == 500
    answer = proxy.get_tls("/", "set.test", "websecure", ca_file=authority.cert_file)
    assert answer.header("Strict-Transport-Security") == "max-age=100"
    origin.stop()
    answer = proxy.get("/", "down.test")
    assert answer.status == 502 and answer.header("X-Answer") == "yes"


@pytest.mark.asan
def test_allow_lists_and_forged_addresses(middle):
    proxy = middle({
        "in": "ipAllowList.sourceRange = ['127.0.0.0/8']",
        "out": "ipAllowList = {sourceRange = ['10.0.0.0/8'], rejectStatusCode = 404}",
        "deep": "ipAllowList = {sourceRange = ['10.0.0.0/8'], ipStrategy = {depth = 1}}",
        "pool": "ipAllowList = {sourceRange = ['10.0.0.0/8'], ipStrategy = {excludedIPs = ['192.0.2.0/24']}}",
    })
    forged = {"X-Forwarded-For": "10.0.0.1", "X-Real-Ip": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
    assert proxy.get("/", "in.test", headers=forged).status == 200
    assert proxy.get("/", "out.test", headers=forged).status == 404
    for host in ("deep", "pool"):  # nobody trusts 127.0.0.1: what it says of other clients is not there
        assert proxy.get("/", f"{host}.test", headers=forged).status == 403


def test_allow_lists_behind_a_proxy(middle):
    proxy = middle({
        "deep": "ipAllowList = {sourceRange = ['10.0.0.0/8'], ipStrategy = {depth = 2}}",
        "pool": "ipAllowList = {sourceRange = ['10.0.0.0/8'], ipStrategy = {excludedIPs = ['192.0.2.0/24']}}",
        "peer": "ipAllowList.sourceRange = ['10.0.0.0/8']",
    }, extra=TRUST)
    for host, sent, status in [
            ("deep", ["10.0.0.1, 192.0.2.1"], 200),
            ("deep", ["10.0.0.1, 203.0.113.9, 192.0.2.1"], 403),  # what stands before was said by a stranger
            ("deep", ["10.0.0.1", "203.0.113.9, 192.0.2.1"], 403),
            ("deep", ["10.0.0.1"], 403),
            ("pool", ["203.0.113.9, 10.0.0.1, 192.0.2.1, 192.0.2.2"], 200),
            ("pool", ["10.0.0.1, 203.0.113.9, 192.0.2.1"], 403),
            ("pool", ["10.0.0.1, ,192.0.2.1"], 200),
            ("pool", ["10.0.0.1, x, 192.0.2.1"], 403),
            ("peer", ["10.0.0.1"], 403)]:
        response = proxy.get("/", f"{host}.test", headers=[("X-Forwarded-For", value) for value in sent])
        assert response.status == status, (host, sent)
        if status == 200:
            assert fields_of(response.json())["x-forwarded-for"] == ", ".join(sent + ["127.0.0.1"])


@pytest.mark.asan
def test_rate_limit(middle):
    proxy = middle({
        "slow": "rateLimit = {average = 1, period = '1h', burst = 3}",
        "key": "rateLimit = {average = 1, period = '1h', sourceCriterion = {requestHeaderName = 'X-Key'}}",
        "free": "rateLimit.burst = 1",
    })
    with proxy.connect() as client:
        assert [client.exchange("GET", "/", "slow.test").status for _ in range(5)] == [200] * 3 + [429] * 2
        refused = client.exchange("GET", "/", "slow.test")
        assert 3000 < int(refused.header("Retry-After")) <= 3600
        assert refused.header("X-Retry-In").endswith("s") and b"Too Many Requests" in refused.body
        assert [client.exchange("GET", "/", "key.test", headers={"X-Key": k}).status for k in "aab"] == [200, 429, 200]
        assert {client.exchange("GET", "/", "free.test").status for _ in range(20)} == {200}


def test_rate_limit_is_shared_out_among_workers(middle):
    """10 at once for 2 workers: 5 each, so between 5 and 10 by where the kernel puts the connections."""
    proxy = middle({"slow": "rateLimit = {average = 1, period = '1h', burst = 10}"}, workers=2)
    passed = sum(proxy.get("/", "slow.test").status == 200 for _ in range(60))
    assert 5 <= passed <= 10
    with proxy.connect() as client:
        assert client.exchange("GET", "/", "slow.test").status == 429


@pytest.mark.asan
def test_in_flight_is_given_back(middle, origin):
    proxy = middle({"few": "inFlightReq.amount = 2", "other": "inFlightReq.amount = 1"})
    waiting = [proxy.connect() for _ in range(2)]
    for client in waiting:
        client.request("GET", "/never", "few.test")
    wait_until(lambda: len(origin.requests) == 2, "both requests upstream")
    assert proxy.get("/", "few.test").status == 429
    assert proxy.get("/", "other.test").status == 200
    waiting[0].reset()  # the client goes away: its place is free
    wait_until(lambda: proxy.get("/", "few.test").status == 200, "a free place")
    waiting[1].close()
    with proxy.connect() as client:  # answered ones, failed ones and such of our own give back, too
        for target in ["/", "/bytes/100000", "/close", "/garbage"] * 3:
            client = proxy.connect()
            client.exchange("GET", target, "few.test")
            client.close()
    wait_until(lambda: proxy.get("/", "few.test").status == 200, "a free place")


def test_entry_point_middlewares_come_first(ferrule, origin):
    proxy = ferrule.http(origin, entry='http.middlewares = ["first"]', extra="""
[http.middlewares]
first.addPrefix.prefix = "/1"
second.addPrefix.prefix = "/2"
all.chain.middlewares = ["second", "second@file"]
[http.routers.r]
rule = "Host(`r.test`)"
service = "origins"
middlewares = ["all"]
priority = 100
""")
    assert proxy.get("/x").json()["target"] == "/1/x"
    assert proxy.get("/x", "r.test").json()["target"] == "/2/2/1/x"


# --- basicAuth --------------------------------------------------------------------------------------------------

# password "pw" each; bcrypt at cost 12 takes about a quarter of a second
USERS = {
    "bcrypt": "$2b$10$abcdefghijklmnopqrstuuj7m4XYqbm74SxoBcXyw8to0CQ061DVG",
    "quick": "$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q",
    "sha1": "{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=",
    "sha512": "$6$abcd$uQZaz9xQBejvX2R1u2x93SXlAvfV3SAU2qoX20YNobk9HllUTM5ihgzh9nmhQnkHDvkSvQvuOa/KGMUZf6XR6/",
}


def basic(user, password="pw"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def guarded(middle, folder):
    """Hosts a.test (users of the list and of a file), limited.test (at most one request at a time)."""
    (folder / "users").write_text("# from htpasswd\n\nfile:" + USERS["sha1"] + "\r\nsha1:" + USERS["quick"] + "\n")
    users = config.strings(f"{name}:{value}" for name, value in USERS.items())
    return middle({
        "a": f"basicAuth = {{users = {users}, usersFile = '{folder / 'users'}', realm = 'the realm', removeHeader = true, headerField = 'X-User'}}",
        "one": "inFlightReq.amount = 1",
        "plain": f"basicAuth.users = {users}",
        "limited": ["one", "a"],
        "twice": ["a", "plain"],
    })


@pytest.mark.asan
def test_basic_auth(guarded):
    with guarded.connect() as client:
        refused = client.exchange("GET", "/", "a.test")
        assert refused.status == 401 and refused.header("WWW-Authenticate") == 'Basic realm="the realm"'
        for user in (*USERS, "file"):
            echo = client.exchange("GET", "/", "a.test", headers={**basic(user), "X-User": "root"})
            sent = fields_of(echo.json())
            assert sent["x-user"] == user and "authorization" not in sent, user
        for user, password in [("bcrypt", "PW"), ("nobody", "pw"), ("quick", ""), ("", "pw"), ("quick", "p" * 600), ("a\r\nX: y", "pw")]:
            assert client.exchange("GET", "/", "a.test", headers=basic(user, password)).status == 401, user
        for value in ("Basic", "Basic ====", "Basic cXVpY2s=", "Bearer x", "Basic " + "A" * 4000):
            assert client.exchange("GET", "/", "a.test", headers={"Authorization": value}).status == 401, value
        sent = fields_of(client.exchange("GET", "/", "plain.test", headers=basic("sha1")).json())
        assert sent["authorization"] == basic("sha1")["Authorization"] and "x-user" not in sent
        assert client.exchange("GET", "/", "twice.test", headers=basic("sha512")).status == 401  # the first takes it away
        # a body that comes while the password is judged goes on behind it
        body = b"x" * 300000
        echo = client.exchange("POST", "/echo", "a.test", headers=basic("bcrypt"), body=body).json()
        assert echo["body_bytes"] == len(body)
    with guarded.connect() as client:
        client.request("GET", "/echo?1", "plain.test", headers=basic("sha512"))  # judged already, and pipelined
        client.request("GET", "/echo?2", "plain.test", headers=basic("bcrypt"))
        assert [client.read_response().json()["target"] for _ in range(2)] == ["/echo?1", "/echo?2"]


def test_a_password_is_judged_once_and_nobody_waits_for_it(guarded):
    """While the thread of the passwords is busy, the worker goes on; what was judged is known."""
    slow = [guarded.connect() for _ in range(8)]
    for number, client in enumerate(slow):
        client.request("GET", "/", "a.test", headers=basic("bcrypt", f"guess {number}"))
    done = 0
    with guarded.connect() as client:
        while not select.select([slow[-1].sock], [], [], 0)[0]:
            assert client.exchange("GET", "/", "one.test").status == 200
            done += 1
    assert done > 50  # a worker that judged by itself would come to one for each guess
    for client in slow:
        assert client.read_response().status == 401
        client.close()
    data = guarded.pid_of("data")
    began = cpu_s(data)
    assert guarded.get("/", "a.test", headers=basic("bcrypt")).status == 200
    judging_s, began = cpu_s(data) - began, cpu_s(data)
    with guarded.connect() as client:
        for _ in range(100):
            assert client.exchange("GET", "/", "a.test", headers=basic("bcrypt")).status == 200
    assert cpu_s(data) - began < 50 * judging_s


@pytest.mark.asan
def test_clients_that_go_while_their_password_is_judged(guarded):
    for number in range(5):
        client = guarded.connect()
        client.request("POST", "/", "limited.test", headers={**basic("bcrypt", f"guess {number}"), "Content-Length": "5"})
        wait_until(lambda: guarded.get("/", "limited.test").status in (401, 429), "an answer")
        client.reset()
    wait_until(lambda: guarded.get("/", "limited.test", headers=basic("quick")).status == 200, "a free place")


@pytest.mark.asan
def test_more_guesses_than_can_be_judged(guarded):
    clients = [guarded.connect() for _ in range(100)]
    for number, client in enumerate(clients):
        client.request("GET", "/", "a.test", headers=basic("quick", f"guess {number}"))
    seen = {client.read_response().status for client in clients}
    assert seen <= {401, 503} and 401 in seen
    for client in clients:
        client.close()
    assert guarded.get("/", "a.test", headers=basic("quick")).status == 200


# --- retry ------------------------------------------------------------------------------------------------------


def flaky(origin, path, failures, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
    """The origin closes the connection for the first requests of a path, then answers."""
    seen = [0]

    def act():
        seen[0] += 1
        return b"" if seen[0] <= failures else answer

    origin.answers[path] = act
    return seen


@pytest.mark.asan
def test_retry(middle, origin):
    proxy = middle({
        "try": "retry = {attempts = 4}",
        "slow": "retry = {attempts = 3, initialInterval = '100ms'}",
        "none": "headers.customResponseHeaders = {X = 'y'}",
    })
    with proxy.connect() as client:
        seen = flaky(origin, "/a", 3)
        assert client.exchange("GET", "/a", "try.test").status == 200 and seen[0] == 4
        seen = flaky(origin, "/b", 4)
        assert client.exchange("GET", "/b", "try.test").status == 502 and seen[0] == 4
        seen = flaky(origin, "/c", 1)
        assert client.exchange("GET", "/c", "none.test").status == 502 and seen[0] == 1
        for method, body in (("POST", b""), ("PUT", b"x")):  # may have been carried out; cannot be sent again
            seen = flaky(origin, "/d", 1)
            with proxy.connect() as other:
                assert other.exchange(method, "/d", "try.test", body=body).status == 502 and seen[0] == 1
        seen = []  # part of an answer is no reason to ask again
        origin.answers["/e"] = lambda: seen.append(1) or b"HTTP/1.1 200 OK\r\nCont"
        assert client.exchange("GET", "/e", "try.test").status == 502 and len(seen) == 1
        began = time.monotonic()
        seen = flaky(origin, "/f", 2)
        assert client.exchange("GET", "/f", "slow.test").status == 200 and seen[0] == 3
        assert time.monotonic() - began >= 0.05 + 0.075


def test_retry_until_the_upstream_is_there(middle, origin):
    """Nothing was sent yet: any method is tried again, and a client that goes is forgotten."""
    proxy = middle({"try": "retry = {attempts = 100, initialInterval = '200ms'}", "few": "inFlightReq.amount = 1", "both": ["few", "try"]})
    origin.stop()
    with proxy.connect() as client:
        client.request("POST", "/echo", "try.test", body=b"hello")
        before = proxy.counters()["upstream_retries"]
        proxy.wait_counter("upstream_retries", before + 3)
        gone = proxy.connect()
        gone.request("GET", "/", "both.test")
        proxy.wait_counter("upstream_retries", before + 8)
        gone.reset()
        origin.start()
        assert client.read_response().json()["body_bytes"] == 5
    wait_until(lambda: proxy.get("/", "both.test").status == 200, "a free place")


# --- over HTTP/2 ------------------------------------------------------------------------------------------------


def test_over_http2(middle, authority, folder):
    """The same middlewares in front of streams: changes, answers of ferrule's own, a request that is held back."""
    certificate = authority.issue("a.test", "scheme.test", "few.test")
    proxy = middle({
        "auth": f"basicAuth = {{users = ['jo:{USERS['bcrypt']}'], headerField = 'X-User'}}",
        "set": "headers = {customResponseHeaders = {X-Answer = 'Yes'}, stsSeconds = 5, customRequestHeaders = {X-New = 'new'}}",
        "strip": "stripPrefix.prefixes = ['/api']",
        "a": ["set", "strip", "auth"],
        "few": "inFlightReq.amount = 1",
    }, certificate=certificate)

    def curl(host, target, *arguments):
        command = ["curl", "-sS", "--http2", "--cacert", str(authority.cert_file), "-D-", "--resolve",
                   f"{host}:{proxy.port('websecure')}:127.0.0.1", f"https://{host}:{proxy.port('websecure')}{target}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        assert head.startswith("HTTP/2 "), head
        return int(head.split()[1]), head, body

    status, head, _ = curl("a.test", "/api/x")
    assert status == 401 and "www-authenticate: Basic" in head and "x-answer: Yes" in head
    assert curl("a.test", "/api/x", "-u", "jo:no")[0] == 401
    for more in ([], ["--data-binary", "x" * 100000]):  # judged the first time, known the second
        status, head, body = curl("a.test", "/api/echo?q", "-u", "jo:pw", *more)
        sent = fields_of(json.loads(body))
        assert status == 200 and json.loads(body)["target"] == "/echo?q" and sent["x-user"] == "jo" and sent["x-new"] == "new"
        assert "strict-transport-security: max-age=5" in head
    for _ in range(3):  # a stream that ends gives its place back
        assert curl("few.test", "/echo")[0] == 200
