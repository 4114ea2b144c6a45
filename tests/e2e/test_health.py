# SPDX-License-Identifier: Apache-2.0
"""Active health checks: what is asked, what counts as well, and where the requests go meanwhile."""

import threading

import pytest

from lib import config
from lib.proc import free_port, wait_until

CHECK = "[http.services.{name}.loadBalancer.healthCheck]\ninterval = \"1s\"\ntimeout = \"900ms\"\n{more}\n"


def checked(name, *servers, more='path = "/health"'):
    return config.service(name, *(server.url for server in servers)) + CHECK.format(name=name, more=more)


def start(ferrule, *services, workers=1):
    port = free_port()
    text = "\n".join([config.entrypoint("web", port), config.router("all", "top"), *services])
    return ferrule(text, {"web": port}, workers=workers)


def ask(proxy, times=6):
    answers = [proxy.get("/") for _ in range(times)]
    return {answer.body.decode() if answer.status == 200 else answer.status for answer in answers}


def healthy(proxy):
    return {server["url"]: server["healthy"] for server in proxy.status()["servers"]}


@pytest.mark.asan
def test_ill_servers_get_no_requests(ferrule, make_named):
    a, b = make_named("a", "b")
    proxy = start(ferrule, checked("top", a, b), workers=2)
    wait_until(lambda: ask(proxy) == {"a", "b"}, "both are asked")
    a.respond = lambda method, path, headers: (503 if path == "/health" else 200, [])
    wait_until(lambda: healthy(proxy) == {a.url: False, b.url: True}, "a is found ill")
    wait_until(lambda: ask(proxy) == {"b"}, "no request for a")
    # (It says what was seen first: on a machine that stalls that may be no answer in time.)
    said = proxy.cli("status").stdout
    assert "it answers with status 503" in said or "timed out" in said, said
    b.stop()
    wait_until(lambda: ask(proxy) == {503}, "no server is left")
    b.start()
    wait_until(lambda: ask(proxy) == {"b"}, "b is back")
    a.respond = lambda method, path, headers: (204 if path == "/health" else 200, [])
    wait_until(lambda: ask(proxy) == {"a", "b"}, "both are back")
    proxy.wait_log("is well again")


def test_the_question(ferrule, make_named):
    (a,) = make_named("a")
    (other,) = make_named("other")
    more = f"""path = "/health/x?deep=1"
port = {other.port}
method = "OPTIONS"
hostname = "health.test"
status = 418
[http.services.top.loadBalancer.healthCheck.headers]
X-Question = "well?"
"""
    other.status = 418
    proxy = start(ferrule, checked("top", a, more=more))
    wait_until(lambda: other.count("/health/x?deep=1") >= 2, "questions at the other port")
    method, _, headers = other.requests[0]
    assert method == "OPTIONS" and headers["Host"] == "health.test" and headers["X-Question"] == "well?"
    assert a.count() == 0
    wait_until(lambda: ask(proxy) == {"a"}, "it is well")
    other.status = 200  # well, but not the answer that was asked for
    wait_until(lambda: ask(proxy) == {503}, "another status is not good")


def test_redirects(ferrule, make_named):
    a, b = make_named("a", "b")
    a.respond = b.respond = lambda method, path, headers: (
        (302, [("Location", "/ill")]) if path == "/health" else (500 if path == "/ill" else 200, []))
    stays = 'path = "/health"\nfollowRedirects = false'
    proxy = start(ferrule, checked("followed", a), checked("top", b, more=stays))
    wait_until(lambda: healthy(proxy) == {a.url: False, b.url: True}, "followed, and not")
    assert b.count("/ill") == 0


def test_a_silent_server_is_ill(ferrule, make_named):
    a, b = make_named("a", "b")
    a.wait = threading.Event()
    proxy = start(ferrule, checked("top", a, b))
    try:
        wait_until(lambda: healthy(proxy) == {a.url: False, b.url: True}, "a does not answer in time")
        wait_until(lambda: ask(proxy) == {"b"}, "the other is asked")
    finally:
        a.wait.set()


def test_tcp(ferrule, make_named):
    a, b = make_named("a", "b")
    proxy = start(ferrule, checked("top", a, b, more='mode = "tcp"'))
    wait_until(lambda: ask(proxy) == {"a", "b"}, "both are asked")
    asked = a.count()
    a.stop()
    wait_until(lambda: healthy(proxy) == {a.url: False, b.url: True}, "a takes no connections")
    a.start()
    wait_until(lambda: healthy(proxy) == {a.url: True, b.url: True}, "it does again")
    assert a.count() == asked


def test_failover_and_weighted_follow(ferrule, make_named):
    a, b, c = make_named("a", "b", "c")
    proxy = start(ferrule, checked("a", a), config.service("b", b.url), config.service("c", c.url), """
[http.services.top.failover]
service = "both"
fallback = "c"
[http.services.both.weighted]
services = [{name = "a"}, {name = "a"}]
""")
    wait_until(lambda: ask(proxy) == {"a"}, "it is well")
    a.respond = lambda method, path, headers: (500 if path == "/health" else 200, [])
    wait_until(lambda: ask(proxy) == {"c"}, "the fallback")
    a.respond = lambda method, path, headers: (200, [])
    wait_until(lambda: ask(proxy) == {"a"}, "the way back")


def test_state_survives_the_data_process(ferrule, make_named):
    a, b = make_named("a", "b")
    proxy = start(ferrule, checked("top", a, b))
    a.respond = lambda method, path, headers: (500 if path == "/health" else 200, [])
    wait_until(lambda: ask(proxy) == {"b"}, "a is out")
    old = proxy.pid_of("data")
    proxy.kill("data")
    proxy.wait_respawn("data", old)

    def back():
        try:
            return ask(proxy, 1)
        except OSError:
            return None
    wait_until(back, "an answer")
    assert ask(proxy) == {"b"}


def test_https_servers_as_their_transport_says(ferrule, make_nginx, authority):
    cert = authority.issue("up.test")
    good = make_nginx(f"ssl_certificate {cert.cert_file}; ssl_certificate_key {cert.key_file};", tls=True)
    path = 'path = "/64"'
    proxy = start(ferrule, config.service("top", good.url),
                  checked("named", good, more=path).replace("loadBalancer]\n", 'loadBalancer]\nserversTransport = "named"\n', 1),
                  checked("any", good, more=path).replace("loadBalancer]\n", 'loadBalancer]\nserversTransport = "any"\n', 1),
                  checked("strict", good, more=path), f"""
[http.serversTransports.named]
rootCAs = ["{authority.cert_file}"]
serverName = "up.test"
[http.serversTransports.any]
insecureSkipVerify = true
""")

    def states():
        return {server["service"]: server["healthy"] for server in proxy.status()["servers"]}
    wait_until(lambda: states() == {"top": True, "named": True, "any": True, "strict": False}, "the unknown CA is refused")
    proxy.wait_log("service strict: server")


def test_a_reload_forgets_nobody(ferrule, make_named):
    a, b = make_named("a", "b")
    proxy = start(ferrule, checked("top", a, b))
    a.wait = threading.Event()
    try:
        wait_until(lambda: healthy(proxy) == {a.url: False, b.url: True}, "a does not answer in time")
        for _ in range(3):
            assert proxy.cli("reload").returncode == 0
            wait_until(lambda: ask(proxy) == {"b"}, "the other is asked")
    finally:
        a.wait.set()
    a.wait = None
    wait_until(lambda: ask(proxy) == {"a", "b"}, "a is back")
