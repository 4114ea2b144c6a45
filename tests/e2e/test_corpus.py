# SPDX-License-Identifier: Apache-2.0
"""The published corpus through a running ferrule: what clients get, what reaches the upstream, what is counted."""

import socket

import pytest

from lib.corpus import cases
from lib.hostile import HOST
from lib.http1 import Closed
from lib.origin import body_of, raw_path
from lib.proc import wait_until

pytestmark = pytest.mark.asan

# Behind a refused message goes a request that must never be answered or passed on; behind a good one, a last request.
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
PROBE = f"GET /probe HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


def answers_of(client, method="GET"):
    """The statuses of all answers until the connection ends; "abort" stands for one that was cut.
    method: of the first request."""
    statuses = []
    try:
        while True:
            statuses.append(client.read_response(method if statuses == [] else "GET").status)
    except Closed as closed:
        if closed.got or "a status line" not in str(closed):
            statuses.append("abort")
    return statuses


def send(client, data):
    try:
        client.send(data)
    except OSError:
        pass  # it was refused and closed while the rest was being sent


def counted(before, after):
    """Rules whose counters have grown, with how much."""
    return {name: after[name] - before[name] for name in after
            if "rule_" in name and after[name] != before[name]}


def judge_request(proxy, origin, case):
    """What is wrong with how one request was treated, or None."""
    origin.clear()
    before = proxy.counters()
    with proxy.connect() as client:
        if case.rule == "truncated":
            send(client, case.data)
            client.sock.shutdown(socket.SHUT_WR)
        else:
            send(client, case.data + (SMUGGLED if case.rule else PROBE))
        statuses = answers_of(client, "HEAD" if case.data.startswith(b"HEAD") else "GET")
    allowed = [case.answers] if case.rule else [case.answers, case.answers + [200]]
    if statuses not in allowed:
        return f"answered {statuses}, not {case.answers}"
    passed = [r.target for r in origin.requests if r.complete]
    if len(passed) != statuses.count(200):
        return f"{passed} reached the upstream"
    if any("smuggled" in r.target for r in origin.requests):
        return "the request behind it reached the upstream"
    expected = {f"rule_{case.rule}": 1} if case.rule else {}
    rules = counted(before, proxy.counters())
    return f"counted {rules}" if rules != expected else None


def test_requests(ferrule, origin):
    proxy = ferrule.http(origin, entry="[entryPoints.web.http]\nmaxHeaderBytes = 2048", workers=1)
    wrong, bad = [], proxy.counters()["requests_bad"]
    # HTTP/2's preface is HTTP/2: the codec of HTTP/1 never sees it here.
    some = [case for case in cases() if case.is_request and case.name != "requests/http2-preface"]
    for case in some:
        what = judge_request(proxy, origin, case)
        if what:
            wrong.append(f"{case.name}: {what}")
    assert not wrong, "\n".join(wrong)
    assert proxy.counters()["requests_bad"] - bad == sum(case.rule not in (None, "truncated") for case in some)
    assert proxy.get("/bytes/10").body == body_of(10)


def target_of(origin, case):
    """Where the origin answers with the bytes of a response; it closes behind those that want it."""
    if case.rule == "truncated" or case.name == "responses/to-close":
        origin.answers[f"/{case.name}"] = case.data
        return f"/{case.name}"
    return raw_path(case.data.decode("latin-1")) + "?keep=1"


def judge_response(proxy, origin, case):
    origin.clear()
    before = proxy.counters()
    with proxy.connect() as client:
        client.request(case.method, target_of(origin, case), headers=[("Connection", "close")])
        statuses = answers_of(client, case.method)
    aborted = case.answers[-1:] == ["abort"]
    allowed = [["abort"], []] if aborted else [case.answers]  # (the reset may come before the head is read)
    if statuses not in allowed:
        return f"answered {statuses}, not {case.answers}"
    expected = {f"upstream_rule_{case.rule}": 1} if case.rule else {}
    after = proxy.counters()
    if counted(before, after) != expected or after["aborted"] - before["aborted"] != aborted:
        return f"counted {counted(before, after)}, {after['aborted'] - before['aborted']} aborted"
    answer = proxy.get("/bytes/10")
    if answer.status != 200 or answer.body != body_of(10):
        return f"then {answer}"
    first, second = origin.requests[0], origin.requests[-1]
    if (case.rule or "more-than" in case.name) and first.connection_id == second.connection_id:
        return "its connection was used again"
    return None


def test_responses(ferrule, origin):
    proxy = ferrule.http(origin, workers=1)
    wrong, some = [], [case for case in cases() if not case.is_request]
    for case in some:
        what = judge_response(proxy, origin, case)
        if what:
            wrong.append(f"{case.name}: {what}")
    assert not wrong, "\n".join(wrong)
    assert proxy.counters()["upstream_bad"] == sum(case.rule is not None for case in some)
    wait_until(lambda: origin.open_connections <= proxy.counters()["upconns_now"], "connections of bad answers are closed")
