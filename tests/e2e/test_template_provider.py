# SPDX-License-Identifier: Apache-2.0
"""The HTTP service of the plug-in ABI: the template provider in its child, against a server that misbehaves."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from lib.proc import free_port
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test."
TOKEN = "a-secret-token"


class Service:
    """The template's service; `before` may answer a request instead: function(handler) -> True when it did."""

    def __init__(self, context=None):
        service = self
        self.records, self.requests, self.times, self.before = {}, [], [], None

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, status, body="", headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                service.requests.append((self.command, self.path, dict(self.headers), body))
                service.times.append(time.monotonic())
                if not (service.before and service.before(self)):
                    service.serve(self, body)

            do_GET = do_POST = do_DELETE = handle_one

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, handler, body):
        path = urlsplit(handler.path)
        name = parse_qs(path.query).get("name", [""])[0]
        if handler.headers["Authorization"] != f"Bearer {TOKEN}":
            handler.reply(401)
        elif handler.command == "POST":
            if (name, body) in self.records.values():
                handler.reply(409)
            else:
                key = str(len(self.requests))
                self.records[key] = (name, body)
                handler.reply(201, key)
        elif handler.command == "GET":
            handler.reply(200, "".join(f"{k} {v}\n" for k, (n, v) in self.records.items() if n == name))
        else:
            handler.reply(204 if self.records.pop(path.path.rsplit("/", 1)[1], None) else 404)

    def methods(self):
        return [request[0] for request in self.requests]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service():
    made = Service()
    yield made
    made.stop()


@pytest.fixture
def call(service):
    tool = Tool()

    def run(what="present", value="one", state="", **env):
        return tool.call(what, NAME, value, env={"TEMPLATE_URL": service.url, "TEMPLATE_TOKEN": TOKEN, **env},
                         code="template", state=state)

    return run


@pytest.mark.asan
def test_values_come_and_go(call, service):
    first = call()
    assert first["verdict"] == "OK" and first["state"].startswith("1 ")
    assert call()["state"] == first["state"]  # 409, then found again
    assert call(value="two")["verdict"] == "OK"
    assert call("cleanup", state=first["state"])["verdict"] == "OK"
    assert call("cleanup", value="two")["verdict"] == "OK"
    assert service.records == {}
    assert service.requests[0][2]["User-Agent"].startswith("ferrule/")


def answer_once(*arguments):
    """A `before` that answers the first request."""
    left = [1]

    def before(handler):
        if not left:
            return False
        left.pop()
        handler.reply(*arguments)
        return True

    return before


@pytest.mark.parametrize("status, headers, verdict, text", [
    (401, (), "AUTH", "does not accept TEMPLATE_TOKEN"),
    (403, (), "AUTH", "may not change"),
    (429, [("Retry-After", "7")], "RATE", "slow down"),
    (500, (), "RETRY", "HTTP 500"),
    (404, (), "ZONE", "has no zone"),
    (302, [("Location", "http://127.0.0.1:1/")], "CONFIG", "HTTP 302"),
])
def test_statuses(call, service, status, headers, verdict, text):
    service.before = answer_once(status, "", headers)
    answer = call()
    assert answer["verdict"] == verdict and text in answer["text"], answer
    assert answer["retry_after_s"] == (7 if status == 429 else 0)
    assert service.methods() == ["POST"]


def test_reading_is_tried_again(call, service):
    """GET is repeated on 503, POST is not."""
    service.before = answer_once(503)
    assert call()["verdict"] == "RETRY" and service.methods() == ["POST"]
    service.requests.clear()
    service.before = answer_once(503)
    assert call("cleanup")["verdict"] == "OK"
    assert service.methods() == ["GET", "GET"]


def test_nobody_there(call):
    answer = call(TEMPLATE_URL=f"http://127.0.0.1:{free_port()}")
    assert answer["verdict"] == "RETRY" and "onnect" in answer["text"]


def test_silent_service(call, service):
    service.before = lambda handler: time.sleep(3) or True
    started = time.monotonic()
    answer = call(TEMPLATE_HTTP_TIMEOUT="1")
    assert answer["verdict"] == "RETRY" and "no HTTP answer in time" in answer["text"]
    assert time.monotonic() - started < 20


def test_cut_answer(call, service):
    def before(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"12 on")
        handler.close_connection = True
        return True

    service.before = before
    assert call("cleanup")["verdict"] == "RETRY"


def test_too_large_an_answer(call, service):
    service.before = lambda handler: handler.reply(200, "x" * (5 << 20)) or True
    answer = call("cleanup")
    assert answer["verdict"] == "CONFIG" and "larger than 4 MiB" in answer["text"]


def test_certificates_are_checked(authority, folder):
    certificate = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    service = Service(context)
    env = {"TEMPLATE_URL": service.url, "TEMPLATE_TOKEN": TOKEN}
    tool = Tool()
    try:
        answer = tool.call("present", NAME, "one", env=env, code="template")
        assert answer["verdict"] == "CONFIG" and "certificate is not trusted" in answer["text"]
        assert service.requests == []
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            bundle = {name: str(authority.cert_file)}
            assert tool.call("present", NAME, "one", env={**env, **bundle}, code="template")["verdict"] == "OK"
        answer = tool.call("present", NAME, "one", env={**env, "SSL_CERT_FILE": "/nonexistent"}, code="template")
        assert answer["verdict"] == "CONFIG" and "CA file" in answer["text"]
    finally:
        service.stop()


def test_requests_are_spaced(call, service):
    """No more than a burst of 10, and 5 per second after that (template.c)."""
    assert set(call(REPEAT="16")["verdicts"]) == {"OK"}
    times = service.times
    assert len(times) == 31  # the value exists from the second call on, so that each is two requests
    for i in range(len(times) - 10):
        assert times[-1] - times[i] >= (len(times) - 1 - i - 10) / 5 - 0.5
    assert sorted(b - a for a, b in zip(times, times[1:]))[8] < 0.1  # nine came without a wait


def test_retry_after_holds_for_all_calls(call, service):
    service.before = answer_once(429, "", [("Retry-After", "2")])
    assert call(REPEAT="2")["verdicts"] == ["RATE", "OK"]
    assert service.times[1] - service.times[0] > 1.9
    service.before = answer_once(429, "", [("Retry-After", "50")])
    answer = call("cleanup", REPEAT="2")
    assert answer["verdicts"] == ["RATE", "RATE"] and 40 <= answer["retry_after_s"] <= 50
    assert "wants no request for" in answer["text"] and service.methods() == ["POST", "POST", "GET"]


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_proxy_of_the_environment(call, service, name):
    seen = []
    proxy = Service()
    proxy.before = lambda handler: seen.append(handler.path) or handler.reply(201, "42") or True
    try:
        answer = call(TEMPLATE_URL="http://api.template.example", **{name: proxy.url})
        assert answer["verdict"] == "OK" and answer["state"] == "1 42"
        assert seen == [f"http://api.template.example/txt?name={NAME}"] and service.requests == []
    finally:
        proxy.stop()


def test_token_is_blotted_out(call, service):
    """libcurl's own error text may hold what the plug-in must not print."""
    answer = call(TEMPLATE_URL=f"http://{TOKEN}.invalid")
    assert answer["verdict"] == "RETRY" and TOKEN not in answer["text"] and "***" in answer["text"]
