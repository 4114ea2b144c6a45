# SPDX-License-Identifier: Apache-2.0
"""A CA that answers every error of RFC 8555 section 6.7, goes away, or is not a CA at all: what the operator sees, when
the next try is, and that nothing is left in DNS. One ferrule runs all orders of a test side by side."""

import datetime
import time

import pytest

from lib import config
from lib.fakeca import ERRORS, FakeCa
from lib.proc import free_port, wait_until

# The first back-off is one minute; a Retry-After of the CA is longer than that.
BACKOFF_S = 60
RETRY_AFTER_S = 1200


@pytest.fixture
def fake(folder, authority):
    ca = FakeCa(folder, authority)
    yield ca
    ca.stop()


def start(ferrule, origin, bind, fake, names, more="", directory=None):
    """ferrule with one order for each name."""
    port = free_port()
    text = config.resolver(fake, bind, ferrule.folder, more=more)
    return ferrule("\n".join([
        config.entrypoint("websecure", port),
        config.router("all", "s", entrypoints=["websecure"], resolver="test", domains=[(name, []) for name in names]),
        config.service("s", origin.url), text.replace(fake.directory_url, directory or fake.directory_url)]), {"websecure": port})


def wanted(proxy):
    """{name: what `cert show` says}, of all at once."""
    return {w["names"][0]: w for w in proxy.json("cert", "list")["wanted"]}


def ledger(proxy, name):
    return proxy.json("cert", "show", name)["wanted"][0]["ledger"]


def wait_over(proxy, names, timeout_s=120):
    """Until each order has failed or has its certificate, and none is at work."""
    def over():
        now = wanted(proxy)
        return all(now[name]["state"] == "valid" or now[name]["waiting"] for name in names) and \
            proxy.status()["orders"]["running"] == 0
    wait_until(over, "every order to be over", timeout_s)


def assert_told(proxy, name, text):
    """The operator sees why, and when the next try is."""
    entry = ledger(proxy, name)
    assert text.lower() in entry["lastError"].lower(), (name, entry["lastError"])
    assert entry["failures"] >= 1 and entry["notBefore"] >= entry["failedAt"] + BACKOFF_S
    return entry


def test_every_error_of_the_rfc(ferrule, origin, bind, fake):
    """At newOrder, one name each. Rate limits and faults of the CA itself hold everybody: they have a test of their own."""
    names = {error: f"{error}-at-order.edge.test" for error in ERRORS if error not in ("ratelimited", "serverinternal")}
    proxy = start(ferrule, origin, bind, fake, names.values())
    wait_over(proxy, names.values())
    for error, name in names.items():
        entry = assert_told(proxy, name, "says " + ERRORS[error])
        assert entry["problemType"].endswith(":" + ERRORS[error])
        assert wanted(proxy)[name]["next"] == entry["notBefore"]
    assert bind.all_txt() == {} and fake.issued == 0
    # badNonce is repeated a few times, an unknown account registered once more; nothing else is asked twice.
    tries = {error: sum(asked == (name, "order") for asked in fake.asked) for error, name in names.items()}
    assert 2 <= tries.pop("badnonce") <= 10 and tries.pop("accountdoesnotexist") == 2
    assert set(tries.values()) == {1}, tries


@pytest.mark.parametrize("error", ["ratelimited", "serverinternal"])
def test_errors_that_ask_for_patience(ferrule, origin, bind, fake, error):
    fake.retry_after = RETRY_AFTER_S
    name = f"{error}-at-order.edge.test"
    proxy = start(ferrule, origin, bind, fake, [name])
    wait_over(proxy, [name])
    entry = assert_told(proxy, name, "says " + ERRORS[error])
    assert entry["notBefore"] >= entry["failedAt"] + RETRY_AFTER_S
    asked = len(fake.asked)
    proxy.restart()  # a restart does not shorten it
    assert ledger(proxy, name)["notBefore"] == entry["notBefore"]
    plan = proxy.json("cert", "plan")["plan"][0]
    assert plan["at"] == entry["notBefore"] and "next try at" in plan["waiting"]
    assert len(fake.asked) == asked and bind.all_txt() == {}


@pytest.mark.parametrize("step", ["authz", "challenge", "finalize"])
def test_refused_in_the_middle(ferrule, origin, bind, fake, step):
    """After the order is placed the TXT value goes, and what was pending at the CA is given back."""
    names = [f"{error}-at-{step}.edge.test" for error in ("unauthorized", "caa", "rejectedidentifier", "useractionrequired")]
    proxy = start(ferrule, origin, bind, fake, names)
    wait_over(proxy, names)
    for name in names:
        assert_told(proxy, name, "says")
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert fake.issued == 0
    if step == "challenge":
        assert set(fake.given_up) == set(names)


def test_gone_for_a_moment(ferrule, origin, bind, fake):
    """The CA goes away or talks nonsense twice at every step that may be repeated: one order, one certificate each."""
    names = [f"{action}-at-{step}-2.edge.test" for action in ("gone", "html", "error500")
             for step in ("challenge", "poll", "cert") if (action, step) != ("html", "challenge")]
    names += ["gone-at-authz-2.edge.test", "empty-at-poll-2.edge.test", "huge-at-cert-1.edge.test", "type-at-poll-9.edge.test"]
    proxy = start(ferrule, origin, bind, fake, names)
    wait_until(lambda: all(w["state"] == "valid" for w in wanted(proxy).values()), "every certificate", 240)
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    assert fake.issued == len(names)
    assert {name: sum(order["names"][0] == name for order in fake.orders) for name in names} == {name: 1 for name in names}


def test_what_is_no_acme(ferrule, origin, bind, fake):
    names = [f"{action}-at-order.edge.test" for action in ("gone", "html", "huge", "empty", "error500")]
    names += [f"{action}-at-authz.edge.test" for action in ("html", "huge")]
    proxy = start(ferrule, origin, bind, fake, names)
    wait_over(proxy, names)
    texts = {"gone": "no answer from the CA", "html": "", "huge": "larger than 1 MB", "empty": "", "error500": "the CA answered 500"}
    for name in names:
        assert_told(proxy, name, texts[name.split("-")[0]])
    # An order whose answer was lost counts, and is not sent again at once.
    assert sum(asked == ("gone-at-order.edge.test", "order") for asked in fake.asked) == 1
    assert bind.all_txt() == {} and fake.issued == 0


def test_redirects_of_the_directory(ferrule, origin, bind, fake):
    name = "good.edge.test"
    proxy = start(ferrule, origin, bind, fake, [name], directory=f"{fake.url}/redirects/10/dir")
    wait_over(proxy, [name])
    assert_told(proxy, name, "redirects")
    proxy.stop()
    proxy = start(ferrule, origin, bind, fake, [name], directory=f"{fake.url}/redirects/2/dir")
    wait_until(lambda: wanted(proxy)[name]["state"] == "valid", "the certificate", 60)


def test_expired_certificate_of_the_ca(ferrule, origin, bind, folder, authority):
    old = authority.issue("127.0.0.1", starts=datetime.timedelta(days=-9), ends=datetime.timedelta(days=-1))
    fake = FakeCa(folder, authority, old)
    try:
        name = "good.edge.test"
        proxy = start(ferrule, origin, bind, fake, [name])
        wait_over(proxy, [name])
        entry = assert_told(proxy, name, "certificate has expired")
        assert entry["notBefore"] - time.time() < 3600 and bind.all_txt() == {}
    finally:
        fake.stop()


def test_records_that_forbid_the_ca(ferrule, origin, make_bind, fake):
    """CAA is asked before the CA is; other names go on, and wildcards have their own rule."""
    bind = make_bind({"edge.test": 'no CAA 0 issue "other.test"\nyes CAA 0 issue "fake.test"\nyes CAA 0 issuewild ";"\n'})
    fake.caa_identities = ["fake.test"]
    names = ["a.no.edge.test", "yes.edge.test", "*.yes.edge.test"]
    proxy = start(ferrule, origin, bind, fake, names)
    wait_over(proxy, names)
    entry = assert_told(proxy, "a.no.edge.test", "the CAA records of no.edge.test. do not name the CA fake.test")
    assert entry["class"] == "CAA"
    assert_told(proxy, "*.yes.edge.test", "the CAA records of yes.edge.test. do not name")
    assert wanted(proxy)["yes.edge.test"]["state"] == "valid"
    assert [order["names"] for order in fake.orders] == [["yes.edge.test"]]
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")


def test_clock_of_this_machine(ferrule, origin, bind, fake):
    fake.date = "Fri, 01 Jan 2021 00:00:00 GMT"
    name = "good.edge.test"
    proxy = start(ferrule, origin, bind, fake, [name], more='preflight.clock = "stop"')
    wait_over(proxy, [name])
    assert_told(proxy, name, "s ahead of the CA's")
    assert fake.orders == []
    proxy.restart(proxy.config_file.read_text().replace('preflight.clock = "stop"', ""))  # then it only warns
    wait_until(lambda: wanted(proxy)[name]["state"] == "valid", "the certificate", 60)
    assert proxy.log.count("s ahead of the CA's") >= 2
