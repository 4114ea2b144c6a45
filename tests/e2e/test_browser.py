# SPDX-License-Identifier: Apache-2.0
"""A browser as its users have it: a page over TLS and HTTP/2 with its parts, an upload, and a WebSocket on the same
connection (RFC 8441). Certificates are verified."""

import hashlib
import json

import pytest

from lib.browser import Browser
from lib.certs import Authority
from lib.proc import wait_until
from lib.websocket import EchoServer

HOST = "app.example.test"
UPLOAD_BYTES = 3 << 20

PAGE = """<!DOCTYPE html><html><head><title>test</title><link rel="stylesheet" href="/style.css"><link rel="icon" href="data:,">
</head><body><img id="image" src="/image.svg"><script src="/plain.js"></script><script type="module" src="/app.js"></script></body></html>"""
STYLE = "body { background: rgb(1, 2, 3) }"
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="37" height="11"></svg>'
PLAIN = "window.plain = true;"
PART = "export const part = 42;"
APP = """
import {part} from "/part.js";
const result = {part, plain: window.plain === true, secure: window.isSecureContext};

function converse() {
    return new Promise((done) => {
        const socket = new WebSocket(`wss://${location.host}/live?a=b`), got = [];
        socket.binaryType = "arraybuffer";
        socket.onopen = () => { socket.send("hello"); };
        socket.onerror = () => { got.push("error"); };
        socket.onmessage = (event) => {
            got.push(typeof event.data === "string" ? event.data : event.data.byteLength);
            if (got.length === 1) socket.send(new Uint8Array(300000));
            else if (got.length === 2) socket.send("close");
        };
        socket.onclose = (event) => done({got, code: event.code, clean: event.wasClean});
    });
}

async function run() {
    const image = document.getElementById("image");
    await image.decode();
    result.width = image.naturalWidth;
    result.colour = getComputedStyle(document.body).backgroundColor;
    const sizes = [0, 1, 16384, 1000000];
    result.bytes = await Promise.all(sizes.map(async (n) => (await (await fetch(`/bytes/${n}`)).arrayBuffer()).byteLength));
    const body = new Uint8Array(UPLOAD).map((_, i) => i % 251);
    result.upload = await (await fetch("/echo?upload", {method: "POST", body})).json();
    result.missing = (await fetch("/status/404")).status;
    result.socket = await converse();
    const parts = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    result.protocols = Object.fromEntries(parts.map((p) => [new URL(p.name).pathname, p.nextHopProtocol]));
}
run().catch((error) => { result.error = String(error); }).then(() => console.log("RESULT " + JSON.stringify(result)));
""".replace("UPLOAD)", f"{UPLOAD_BYTES})")


def answer(kind, text):
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@pytest.fixture
def echo(nothing_left_running):
    server = EchoServer()
    yield server
    server.stop()


@pytest.fixture
def site(ferrule, origin, echo, authority, folder):
    """A proxy in front of a page's parts and a WebSocket server."""
    origin.answers.update({
        "/": answer("text/html", PAGE), "/style.css": answer("text/css", STYLE), "/image.svg": answer("image/svg+xml", IMAGE),
        "/plain.js": answer("text/javascript", PLAIN), "/app.js": answer("text/javascript", APP),
        "/part.js": answer("text/javascript", PART)})
    return ferrule.https(origin, certificates=[authority.issue(HOST)], rule=f"Host(`{HOST}`)", workers=1, extra=f"""
[http.routers.live]
rule = "Host(`{HOST}`) && Path(`/live`)"
entryPoints = ["websecure"]
service = "live"
tls = {{}}
[[http.services.live.loadBalancer.servers]]
url = "{echo.url}"
[accessLog]
filePath = "{folder}/access.log"
format = "json"
""")


def test_page_upload_and_websocket(site, origin, echo, authority, folder):
    browser = Browser(folder, authority, f"https://{HOST}:{site.port('websecure')}/", [HOST])
    try:
        result = browser.result()
    finally:
        browser.stop()
    assert "error" not in result, result
    assert (result["part"], result["plain"], result["secure"], result["width"]) == (42, True, True, 37)
    assert result["colour"] == "rgb(1, 2, 3)" and result["bytes"] == [0, 1, 16384, 1000000] and result["missing"] == 404
    sent = bytes(i % 251 for i in range(251)) * (UPLOAD_BYTES // 251 + 1)
    assert result["upload"]["method"] == "POST"
    (upload,) = [r for r in origin.requests if r.target == "/echo?upload"]
    assert upload.complete and hashlib.sha256(upload.body).digest() == hashlib.sha256(sent[:UPLOAD_BYTES]).digest()
    assert result["socket"] == {"got": ["hello", 300000], "code": 1000, "clean": True}
    for path in ("/", "/style.css", "/image.svg", "/plain.js", "/app.js", "/part.js", "/bytes/1000000", "/echo"):
        assert result["protocols"][path] == "h2", (path, result["protocols"])

    # Which way the WebSocket took. (Connections without a request may be there: browsers open some in advance.)
    counters = wait_until(lambda: (c := site.counters())["tunnels_now"] == 0 and c["conns_now"] == 0 and c, "all is closed")
    assert (counters["tunnels"], counters["tunnels_h2"]) == (1, 1)
    assert counters["requests_bad"] == 0 and counters["upstream_failed"] == 0 and counters["aborted"] == 0
    fields = echo.heads[0]
    assert fields["Origin"] == f"https://{HOST}:{site.port('websecure')}" and fields["X-Forwarded-Proto"] == "wss"
    assert "permessage-deflate" in fields["Sec-WebSocket-Extensions"]
    entries = [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]
    (live,) = [e for e in entries if e["RequestPath"].startswith("/live")]
    assert (live["RequestMethod"], live["RequestProtocol"], live["DownstreamStatus"], live["OriginStatus"]) == ("GET", "HTTP/2.0", 200, 101)
    assert {e["RequestProtocol"] for e in entries} == {"HTTP/2.0"}


def test_page_whose_certificate_nobody_vouches_for(site, other_authority, folder):
    """The browser refuses it: the test above shows more than that errors are ignored."""
    browser = Browser(folder, other_authority, f"https://{HOST}:{site.port('websecure')}/", [HOST])
    try:
        site.wait_counter("handshakes_failed", 1, timeout_s=120)
        assert "RESULT" not in browser.process.log and site.counters()["requests"] == 0
    finally:
        browser.stop()


@pytest.fixture
def other_authority(folder):
    return Authority(folder / "other")
