# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests; README.md beside this file says how to use them."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lib import proc  # noqa: E402 (the path comes first)
from lib.bind import Bind  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.dnsrelay import DnsRelay  # noqa: E402
from lib.ferrule import Factory  # noqa: E402
from lib.hostile import HOST  # noqa: E402
from lib.named import Named  # noqa: E402
from lib.nginx import Nginx  # noqa: E402
from lib.origin import Origin  # noqa: E402
from lib.pebble import Pebble  # noqa: E402

LOG_TAIL_BYTES = 12000


def pytest_configure(config):
    proc.become_subreaper()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the end of every server's log under a test that failed."""
    report = (yield).get_result()
    if report.failed:
        for process in proc.Process.running:
            if process.log_path.exists():
                report.sections.append((f"log of {process.name} (pid {process.pid})", process.log[-LOG_TAIL_BYTES:]))


@pytest.fixture(autouse=True)
def nothing_left_running():
    """Comes first, so it ends last: whatever still runs then was left behind by the test."""
    proc.Process.running.clear()
    yield
    left = proc.end_leftovers()
    assert not left, f"left running: {left}"


@pytest.fixture
def folder(nothing_left_running):
    """A short-named folder (socket names have a limit), removed after the test."""
    path = Path(tempfile.mkdtemp(prefix="ferrule-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def authority():
    """A certificate authority that clients can trust by authority.cert_file."""
    path = Path(tempfile.mkdtemp(prefix="ferrule-ca-"))
    yield Authority(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def certificate(authority):
    """Of the host that most tests ask for, and of those one label below it."""
    return authority.issue(HOST, "*.example.test")


def _factory(make):
    """A fixture value that makes servers and stops them, the last first."""
    made = []

    def new(*arguments, **options):
        made.append(make(len(made), *arguments, **options))
        return made[-1]

    yield new
    for server in reversed(made):
        server.stop()


@pytest.fixture
def make_bind(folder):
    """make_bind(zones={"edge.test": ""}, nameservers=("127.0.0.1",), port=None, options="")"""
    yield from _factory(lambda n, *a, **o: Bind(folder / f"bind{n}", *a, **o))


@pytest.fixture
def bind(make_bind):
    """BIND with the zone edge.test, which every key of bind.keys may update."""
    return make_bind()


@pytest.fixture
def make_dns_relay(nothing_left_running):
    """make_dns_relay(bind.address, address="127.0.0.2", port=None): see lib/dnsrelay.py."""
    yield from _factory(lambda n, *a, **o: DnsRelay(*a, **o))


@pytest.fixture
def make_pebble(folder, authority):
    """make_pebble(dns="IP:PORT", validity_s=None, eab=None, profiles=None, ...): see lib/pebble.py."""
    yield from _factory(lambda n, *a, **o: Pebble(folder / f"pebble{n}", authority, *a, **o))


@pytest.fixture
def pebble(make_pebble, bind):
    """Pebble that validates at `bind`."""
    return make_pebble(bind.address)


@pytest.fixture
def make_origin(nothing_left_running):
    """make_origin(name, certificate=None, ...): see lib/origin.py."""
    yield from _factory(lambda n, name=None, **o: Origin(name or f"origin{n}", **o))


@pytest.fixture
def origin(make_origin):
    return make_origin("origin")


@pytest.fixture
def make_nginx(folder):
    yield from _factory(lambda n, *a, **o: Nginx(folder / f"nginx{n}", *a, **o))


@pytest.fixture
def nginx(make_nginx):
    return make_nginx()


@pytest.fixture(scope="module")
def shared_origin():
    """An origin for a whole file: for many small cases against one proxy."""
    origin = Origin("shared")
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def shared_ferrule():
    """As `ferrule`, for a whole file: its cases must leave it as they found it."""
    path = Path(tempfile.mkdtemp(prefix="ferrule-test-"))
    factory = Factory(path, kept=proc.kept)
    yield factory
    factory.finish()
    proc.kept.clear()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_named():
    """make_named("a", "b"): servers that answer with their names."""
    made = []

    def make(*names):
        made.extend(Named(name) for name in names)
        return made[-len(names):]
    yield make
    for server in made:
        server.stop()


@pytest.fixture
def ferrule(folder):
    """Starts ferrule: ferrule(text, ports), ferrule.http(origin), ferrule.https(origin, certificates=[...]),
    ferrule.acme(pebble, bind, origin, domains=[...]). All are stopped by SIGTERM and must exit with 0."""
    factory = Factory(folder)
    yield factory
    factory.finish()


@pytest.fixture
def proxy(ferrule, origin, certificate):
    """HTTP at "web" and HTTPS at "websecure" in front of one origin; one worker, so that what harms one connection
    harms all."""
    return ferrule.both(origin, certificates=[certificate], workers=1)


@pytest.fixture(scope="module")
def shared_proxy(shared_ferrule, shared_origin, certificate):
    """The same for a whole file, with its .origin."""
    proxy = shared_ferrule.both(shared_origin, certificates=[certificate], workers=1)
    proxy.origin = shared_origin
    return proxy
