# SPDX-License-Identifier: Apache-2.0
"""Which server of a service gets a request: by weight, strategy, cookie and health."""

import re
from collections import Counter

import pytest

from lib import config
from lib.proc import free_port, wait_until


@pytest.fixture
def balanced(ferrule, make_named):
    """balanced("ab", services) -> (ferrule, {name: server}): services(servers) is the TOML of [http.services], of
    which "top" gets all requests."""
    def start(names, services):
        servers = dict(zip(names, make_named(*names)))
        port = free_port()
        text = "\n".join([config.entrypoint("web", port), config.router("all", "top"), services(servers)])
        return ferrule(text, {"web": port}, workers=1), servers
    return start


def one_service(more="", weights=None, name="top"):
    def services(servers):
        text = f"[http.services.{name}.loadBalancer]\n{more}\n"
        for server in servers.values():
            weight = (weights or {}).get(server.name, 1)
            text += f'[[http.services.{name}.loadBalancer.servers]]\nurl = "{server.url}"\nweight = {weight}\n'
        return text
    return services


def ask(proxy, cookie=None, times=1, target="/"):
    """Names of the servers that answered (or statuses), each request on a connection of its own."""
    names = []
    for _ in range(times):
        response = proxy.get(target, headers=[("Cookie", cookie)] if cookie else [])
        names.append(response.body.decode() if response.status == 200 else response.status)
    return names


@pytest.mark.asan
def test_weights(balanced):
    proxy, _ = balanced("abc", one_service(weights={"a": 1, "b": 3, "c": 0}))
    assert Counter(ask(proxy, times=40)) == {"a": 10, "b": 30}


@pytest.mark.parametrize("strategy", ["wrr", "p2c", "leasttime"])
def test_strategies_use_every_server(balanced, strategy):
    proxy, servers = balanced("abc", one_service(f'strategy = "{strategy}"'))
    seen = set()
    wait_until(lambda: seen.update(ask(proxy, times=10)) or seen == {"a", "b", "c"}, "an answer of each server")
    servers["b"].stop()
    assert "b" not in ask(proxy, times=20)[1:]


def test_hrw_keeps_a_client_at_its_server(balanced):
    proxy, servers = balanced("abcd", one_service('strategy = "hrw"'))
    names = set(ask(proxy, times=10))
    assert len(names) == 1
    servers[names.pop()].stop()
    names = ask(proxy, times=10)
    assert len(set(names)) == 1 and names[0] != 503


@pytest.mark.asan
def test_sticky_cookie(balanced):
    more = "[http.services.top.loadBalancer.sticky.cookie]\nname = \"here\"\nsecure = true\nhttpOnly = true\nmaxAge = 60\n"
    proxy, servers = balanced("abc", one_service(more))
    first = proxy.get("/")
    cookie = first.header("Set-Cookie")
    assert re.fullmatch("here=[0-9a-f]{16}; Path=/; Max-Age=60; HttpOnly; Secure", cookie)
    cookie, name = cookie.split(";")[0], first.body.decode()
    for _ in range(6):
        again = proxy.get("/", headers=[("Cookie", f"other=1; {cookie}")])
        assert again.body.decode() == name and again.header("Set-Cookie") is None
    assert len(set(ask(proxy, times=6))) == 3  # others are shared out
    servers[name].stop()
    moved = proxy.get("/", headers=[("Cookie", cookie)])
    assert moved.body.decode() != name
    new = moved.header("Set-Cookie").split(";")[0]
    assert new != cookie
    assert set(ask(proxy, cookie=new, times=4)) == {moved.body.decode()}
    assert proxy.get("/", headers=[("Cookie", "here=nonsense")]).header("Set-Cookie")


def test_services_of_services(balanced):
    def services(servers):
        text = "".join(config.service(name, server.url) for name, server in servers.items())
        return text + """
[http.services.top.weighted]
services = [{name = "a", weight = 3}, {name = "inner", weight = 2}]
[http.services.top.weighted.sticky.cookie]
name = "level"
[http.services.inner.weighted]
services = [{name = "b"}, {name = "c"}]
"""
    proxy, servers = balanced("abc", services)
    assert Counter(ask(proxy, times=20)) == {"a": 12, "b": 4, "c": 4}
    cookies = {response.body.decode(): response.header("Set-Cookie").split(";")[0]
               for response in (proxy.get("/") for _ in range(10))}
    assert cookies["b"] == cookies["c"] != cookies["a"]
    assert set(ask(proxy, cookie=cookies["a"], times=5)) == {"a"}
    assert set(ask(proxy, cookie=cookies["b"], times=5)) == {"b", "c"}


def test_failover(balanced):
    def services(servers):
        return "".join(config.service(name, server.url) for name, server in servers.items()) + """
[http.services.top.failover]
service = "a"
fallback = "b"
"""
    proxy, servers = balanced("ab", services)
    assert set(ask(proxy, times=5)) == {"a"}
    servers["a"].stop()
    wait_until(lambda: set(ask(proxy, times=5)) == {"b"}, "the fallback")
    servers["a"].start()
    wait_until(lambda: ask(proxy) == ["a"], "the way back")


def test_passive_health_check(balanced):
    proxy, servers = balanced("ab", one_service(
        '[http.services.top.loadBalancer.passiveHealthCheck]\nfailureWindow = "10s"\nmaxFailedAttempts = 2\n'))
    servers["a"].status = 500
    names = ask(proxy, times=4)
    assert names.count(500) == 2 and names.count("b") == 2
    before = servers["a"].count()
    assert set(ask(proxy, times=6)) == {"b"} and servers["a"].count() == before
    servers["b"].status = 503  # no server is left when it is out as well
    wait_until(lambda: servers["b"].count() and servers["a"].count() == before and ask(proxy) == [503], "503")
    servers["a"].status = servers["b"].status = 200
    wait_until(lambda: {"a", "b"} <= set(ask(proxy, times=4)), "both back")
