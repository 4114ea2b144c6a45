# SPDX-License-Identifier: Apache-2.0
"""gRPC from end to end: clients and servers of python3-grpcio, HTTP/2 on both sides of ferrule."""

import threading
import time
from concurrent import futures

import grpc
import pytest

from lib import config
from lib.origin import body_of
from lib.proc import free_port, wait_until

HOST = "example.test"


def raw(data):
    return data


class Service(grpc.GenericRpcHandler):
    """/test.Echo/METHOD over bytes, without generated code."""

    def __init__(self):
        self.cancelled = threading.Event()
        self.metadata = None

    def service(self, details):
        method = details.method.rsplit("/", 1)[-1]
        made = {
            "Unary": lambda: grpc.unary_unary_rpc_method_handler(self.unary, raw, raw),
            "Fail": lambda: grpc.unary_unary_rpc_method_handler(self.fail, raw, raw),
            "Slow": lambda: grpc.unary_unary_rpc_method_handler(self.slow, raw, raw),
            "Down": lambda: grpc.unary_stream_rpc_method_handler(self.down, raw, raw),
            "Up": lambda: grpc.stream_unary_rpc_method_handler(self.up, raw, raw),
            "Both": lambda: grpc.stream_stream_rpc_method_handler(self.both, raw, raw),
            "Endless": lambda: grpc.unary_stream_rpc_method_handler(self.endless, raw, raw),
        }.get(method)
        return made() if made else None

    def unary(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-initial", "one"),))
        context.set_trailing_metadata((("x-trailing", "two"), ("x-data-bin", b"\0\1\xff")))
        return request

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: ä %")

    def slow(self, request, context):
        time.sleep(5)
        return request

    def down(self, request, context):
        for n in range(int(request)):
            yield body_of(n * 100)

    def up(self, requests, context):
        return str(sum(len(r) for r in requests)).encode()

    def both(self, requests, context):
        for request in requests:
            yield request[::-1]

    def endless(self, request, context):
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield b"x" * 1000
            time.sleep(0.01)


@pytest.fixture
def service():
    return Service()


@pytest.fixture(params=["h2c", "tls"])
def channel(request, ferrule, authority, service):
    """A channel through ferrule to a gRPC server, in the clear or over TLS on both sides."""
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[service])
    certificate = authority.issue(HOST, "127.0.0.1")
    pair = (certificate.key_file.read_bytes(), certificate.cert_file.read_bytes())
    if request.param == "tls":
        upstream = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        upstream = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ports = {"web": free_port(), "websecure": free_port()}
    url = f"{'https' if request.param == 'tls' else 'h2c'}://127.0.0.1:{upstream}"
    ferrule("\n".join([
        config.entrypoint("web", ports["web"]), config.entrypoint("websecure", ports["websecure"]),
        config.router("plain", "s"), config.router("secure", "s", entrypoints=["websecure"], tls=True),
        config.service("s", url), config.certificate(certificate),
        f"[serversTransport]\nrootCAs = {config.strings([authority.cert_file])}\n"]), ports, workers=1)
    if request.param == "tls":
        credentials = grpc.ssl_channel_credentials(authority.cert_file.read_bytes())
        made = grpc.secure_channel(f"127.0.0.1:{ports['websecure']}", credentials,
                                   options=[("grpc.ssl_target_name_override", HOST), ("grpc.default_authority", HOST)])
    else:
        made = grpc.insecure_channel(f"127.0.0.1:{ports['web']}", options=[("grpc.default_authority", HOST)])
    yield made
    made.close()
    server.stop(None).wait()


@pytest.mark.asan
def test_unary_with_metadata_and_trailers(channel, service):
    for size in (0, 1, 5000, 100000, 3000000):
        call = channel.unary_unary("/test.Echo/Unary")
        answer, info = call.with_call(body_of(size), metadata=(("x-mine", "yes"), ("x-more-bin", b"\xff\0")), timeout=30)
        assert answer == body_of(size)
        assert ("x-initial", "one") in info.initial_metadata()
        assert ("x-trailing", "two") in info.trailing_metadata() and ("x-data-bin", b"\0\1\xff") in info.trailing_metadata()
    assert service.metadata["x-mine"] == "yes" and service.metadata["x-more-bin"] == b"\xff\0"


@pytest.mark.asan
def test_errors(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Fail")(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION and caught.value.details() == "not so: ä %"
    assert ("x-why", "because") in caught.value.trailing_metadata()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Nothing")(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.asan
def test_streams(channel):
    answers = channel.unary_stream("/test.Echo/Down")(b"50", timeout=30)
    assert list(answers) == [body_of(n * 100) for n in range(50)]
    total = channel.stream_unary("/test.Echo/Up")(iter([b"x" * 1000] * 500), timeout=30)
    assert total == b"500000"


@pytest.mark.asan
def test_both_directions_at_once(channel):
    """Each message is answered before the next one is sent: nothing may wait for more."""
    turn = threading.Semaphore(1)

    def requests():
        for n in range(30):
            assert turn.acquire(timeout=20)
            yield b"%d" % n
    count = 0
    for answer in channel.stream_stream("/test.Echo/Both")(requests(), timeout=30):
        assert answer == (b"%d" % count)[::-1]
        count += 1
        turn.release()
    assert count == 30


@pytest.mark.asan
def test_deadlines(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Slow")(b"", timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel.unary_unary("/test.Echo/Unary")(b"a", timeout=30) == b"a"


@pytest.mark.asan
def test_cancellation_reaches_the_server(channel, service):
    answers = channel.unary_stream("/test.Echo/Endless")(b"")
    assert next(answers) and next(answers)
    answers.cancel()
    wait_until(service.cancelled.is_set, "the server knows that the call was cancelled")


@pytest.mark.asan
def test_many_calls_at_once(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    started = [call.future(body_of(n * 100), timeout=30) for n in range(60)]
    assert [f.result() for f in started] == [body_of(n * 100) for n in range(60)]
