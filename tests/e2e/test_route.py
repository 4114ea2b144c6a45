# SPDX-License-Identifier: Apache-2.0
"""Which router takes a request, and which server gets it."""

import pytest

from lib import config
from lib.proc import free_port


def answers(proxy, **asked):
    """The name of the server that answered, or the status when it is not 200."""
    with proxy.connect(entrypoint="web") as client:
        response = client.exchange(**asked)
    return response.status if response.status != 200 else response.body.decode()


@pytest.fixture
def routed(ferrule, make_named):
    """ferrule with one router for each rule; a request is answered with its router's name."""
    def start(rules, more="", lines=None):
        port, text = free_port(), [more]
        text.append(config.entrypoint("web", port))
        for server, rule in zip(make_named(*(f"r{number}" for number in range(len(rules)))), rules):
            text += [config.router(server.name, server.name, rule=rule, more=(lines or {}).get(server.name, "")),
                     config.service(server.name, server.url)]
        return ferrule("\n".join(text), {"web": port}, workers=1)
    return start


@pytest.mark.asan
def test_every_matcher(routed):
    proxy = routed([
        "Host(`a.test`) && Path(`/x`)",
        "HostRegexp(`^[a-z]+[.]b[.]test$`) && !Path(`/no`)",
        "PathRegexp(`[.](png|jpg)$`)",
        "Method(`PUT`) || Method(`DELETE`)",
        "Header(`X-Kind`, `one`)",
        "HeaderRegexp(`X-Kind`, `^t(wo|hree)$`)",
        "Query(`q`, `a b`)",
        "QueryRegexp(`n`, `^[0-9]+$`) && ClientIP(`127.0.0.0/8`)",
        "PathPrefix(`/admin`) && ClientIP(`192.0.2.0/24`, `::1`)",
        "PathPrefix(`/admin`)",
    ])
    assert answers(proxy, host="A.Test:80", target="/x") == "r0"
    assert answers(proxy, host="a.test", target="/%78?y") == "r0"
    assert answers(proxy, host="a.test", target="/y") == 404
    assert answers(proxy, host="any.b.test") == "r1"
    assert answers(proxy, host="any.b.test", target="/no") == 404
    assert answers(proxy, host="1.b.test") == 404
    assert answers(proxy, target="/images/a.png?x") == "r2"
    assert answers(proxy, target="/images/a.pngx") == 404
    assert answers(proxy, method="PUT") == "r3"
    assert answers(proxy, headers=[("x-kind", "one")]) == "r4"
    assert answers(proxy, headers=[("X-Kind", "One")]) == 404
    assert answers(proxy, headers=[("X-Kind", "zero"), ("X-Kind", "two")]) == "r5"
    assert answers(proxy, target="/?q=a+b") == "r6"
    assert answers(proxy, target="/?x=1&q=a%20b&y") == "r6"
    assert answers(proxy, target="/?q=a") == 404
    assert answers(proxy, target="/?n=42") == "r7"
    assert answers(proxy, target="/?n=four") == 404
    assert answers(proxy, target="/admin/x") == "r9"


def test_no_spelling_of_a_path_gets_around_a_router(routed):
    proxy = routed(["PathPrefix(`/`)", "PathPrefix(`/admin`)"])
    for target in ("/admin", "//admin", "/./admin", "/x/../admin", "/%61dmin", "/x/%2e%2E/admin", "/admin/..x"):
        assert answers(proxy, target=target) == "r1", target
    for target in ("/x%2Fadmin", "/xadmin", "/Admin", "/admin/../x"):
        assert answers(proxy, target=target) == "r0", target
    for target in ("/x/..%2fadmin", "/x\\..\\admin", "/%", "/%zz", "/..%5cadmin"):
        assert answers(proxy, target=target) == 400, target


def test_forwarded_fields_of_strangers_choose_no_route(routed):
    rules = ["Header(`X-Forwarded-For`, `10.0.0.1`)", "PathPrefix(`/`)"]
    sent = [("X-Forwarded-For", "10.0.0.1")]
    assert answers(routed(rules), headers=sent) == "r1"
    trusted = '[entryPoints.web.forwardedHeaders]\ntrustedIPs = ["127.0.0.1"]\n'
    assert answers(routed(rules, more=trusted), headers=sent) == "r0"


def test_older_syntax(routed):
    proxy = routed([
        "Headers(`X-Kind`, `one`) && HostRegexp(`{sub:[a-z]+}.a.test`)",
        "Path(`/things/{id:[0-9]+}`)",
        "Query(`a=1`, `b=2`)",
        "Host:c.test,d.test;PathPrefix:/x",
        "Header(`X-Kind`, `new`)",
    ], more='[core]\ndefaultRuleSyntax = "v2"\n', lines={"r4": 'ruleSyntax = "v3"'})
    assert answers(proxy, host="www.a.test", headers=[("X-Kind", "one")]) == "r0"
    assert answers(proxy, host="www.a.test") == 404
    assert answers(proxy, target="/things/42") == "r1"
    assert answers(proxy, target="/things/42/x") == 404
    assert answers(proxy, target="/?a=1&b=2") == "r2"
    assert answers(proxy, target="/?a=1") == 404
    assert answers(proxy, host="d.test", target="/x1") == "r3"
    assert answers(proxy, host="d.test") == 404
    assert answers(proxy, headers=[("X-Kind", "new")]) == "r4"
