# SPDX-License-Identifier: Apache-2.0
"""What every DNS provider must do, whatever its service does. tests/e2e/test_provider_kit.py runs each case with each
provider: through the real plug-in, its real child process and the host's real HTTP.

A provider takes part with a Subject: the fake (or real) service, and how the plug-in reaches it.
"""

from . import conformance
from .httpservice import Answer
from .provider import Tool

ZONE = "edge.test"
NAME = f"_acme-challenge.demo.{ZONE}"
ONE = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
TWO = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
FAULT_AT_MAX = 8  # requests of one call that are made to fail, one at a time


class Subject:
    """One provider before its service. Make one per test; stop() ends it.

    code      the plug-in
    service   an httpservice.HttpService (or what has its `faults` and `requests`), serving zone edge.test
    secrets   what must never be printed
    lacks     {case: why this provider cannot show it}; the case is skipped with that reason
    hurry     variables that let the plug-in give up a slow answer in seconds; LIMIT_S is the deadline of the whole call
    """

    code = ""
    service = None
    secrets = ()
    lacks = {}
    hurry = {"LIMIT_S": "4"}

    def env(self):
        """The variables that the plug-in needs."""
        raise NotImplementedError

    def records(self):
        """The set of (name without final dot, type, value) that the service has."""
        raise NotImplementedError

    def add(self, name, kind, value):
        """Somebody else makes a record."""
        raise NotImplementedError

    def refuse(self, status):
        """The service's documented Answer with this status (401, 403, 429, 500)."""
        return Answer(status, {})

    def lose_zone(self):
        """From now on the service has no zone edge.test."""
        raise NotImplementedError

    def double_zone(self):
        """From now on it has two."""
        raise NotImplementedError

    def list_everything(self):
        """From now on its lists ignore what they are asked for."""
        raise NotImplementedError

    def stop(self):
        self.service.stop()


FOREIGN = [(NAME, "TXT", "foreign-value-that-must-survive"), (NAME, "CAA", '0 issue "ca.test"'),
           (f"other.{ZONE}", "TXT", ONE), (f"_acme-challenge.{ZONE}", "TXT", ONE), (ZONE, "A", "192.0.2.1")]


class World:
    """A subject and its plug-in, with records of others around it."""

    def __init__(self, subject):
        self.subject, self.tool = subject, Tool()
        for record in FOREIGN:
            subject.add(*record)

    def call(self, what, value=ONE, state="", **env):
        """Calls the plug-in in a child process of its own: what it kept in memory is gone each time."""
        answer = self.tool.call(what, f"{NAME}.", value, env={**self.subject.env(), **env}, code=self.subject.code,
                                zone=f"{ZONE}.", state=state)
        for secret in self.subject.secrets:
            assert secret not in str(answer) + self.tool.log, f"{secret} was printed"
        return answer

    def good(self, what, value=ONE, state="", **env):
        """A call that must succeed; returns its state."""
        answer = self.call(what, value, state, **env)
        assert answer["verdict"] == "OK", answer
        return answer.get("state") or ""

    def holds(self, *values):
        """Exactly these values of ours are there, each once, and every other record."""
        expected = sorted(FOREIGN + [(NAME, "TXT", value) for value in values])
        assert sorted(self.subject.records()) == expected

    def fail_request(self, number, make):
        """The request with this number from now on (from 1) gets make(serve) as its answer. Returns a list that is
        true once it happened."""
        seen, happened = [], []

        def fault(request, serve):
            seen.append(request)
            if len(seen) != number:
                return None
            happened.append(request)
            return make(serve)

        self.subject.service.faults = [fault]
        return happened

    def requests_of(self, what):
        """How many requests the call makes when all goes well, FAULT_AT_MAX at the most."""
        states = {}
        for each in ("present", "cleanup"):
            before = len(self.subject.service.requests)
            states[each] = self.good(each, state=states.get("present", ""))
            if each == what:
                made = len(self.subject.service.requests) - before
        return min(made, FAULT_AT_MAX)

    def each_request(self, make, expect, **env):
        """Lets each request of present, then of cleanup, go wrong in turn, and checks what the call then says, that a
        second try heals it, and that nothing of anybody is lost or left. expect(answer): judges a failed answer."""
        ever = False
        for what in ("present", "cleanup"):
            for number in range(1, self.requests_of(what) + 1):
                state = self.good("present") if what == "cleanup" else ""
                happened = self.fail_request(number, make)
                answer = self.call(what, state=state, **env)
                self.subject.service.faults = []
                if answer["verdict"] != "OK":
                    assert happened, answer
                    expect(answer)
                ever |= bool(happened)
                again = self.good(what, state=state)
                self.holds(*([ONE] if what == "present" else []))
                if what == "present":
                    self.good("cleanup", state=again)
                    self.holds()
        assert ever, "no request was made to fail"


CASES = conformance.Cases()


def verdict(name, *words):
    def expect(answer):
        assert answer["verdict"] == name and all(word in answer["text"] for word in words), answer

    return expect


@CASES.must("comes and goes")
def _(world):
    state = world.good("present")
    world.holds(ONE)
    world.good("cleanup", state=state)
    world.holds()


@CASES.must("already exists")
def _(world):
    """By an earlier run that crashed, so that nobody knows the record's id."""
    world.subject.add(NAME, "TXT", ONE)
    state = world.good("present")
    world.holds(ONE)
    world.good("cleanup", state=state)
    world.holds()


@CASES.must("present twice")
def _(world):
    world.good("present")
    state = world.good("present")
    world.holds(ONE)
    world.good("cleanup", state=state)
    world.holds()


@CASES.must("apex and wildcard together")
def _(world):
    first, second = world.good("present", ONE), world.good("present", TWO)
    world.holds(ONE, TWO)
    world.good("cleanup", ONE, first)
    world.holds(TWO)
    world.good("cleanup", TWO, second)
    world.holds()


@CASES.must("clean-up twice")
def _(world):
    state = world.good("present")
    world.good("cleanup", state=state)
    world.good("cleanup", state=state)
    world.holds()


@CASES.must("clean-up without state")
def _(world):
    world.good("present", ONE)
    world.good("present", TWO)
    world.good("cleanup", ONE)
    world.holds(TWO)
    world.good("cleanup", TWO)
    world.good("cleanup", TWO)
    world.holds()


@CASES.must("clean-up with a state of another time")
def _(world):
    """The record was made again since, so the id in the state leads nowhere."""
    old = world.good("present")
    world.good("cleanup", state=old)
    world.good("present")
    world.good("cleanup", state=old)
    world.holds()


@CASES.must("lists that hold everything")
def _(world):
    world.subject.list_everything()
    world.good("present")
    world.holds(ONE)
    world.good("cleanup")
    world.good("cleanup")
    world.holds()


@CASES.must("401")
def _(world):
    world.each_request(lambda serve: world.subject.refuse(401), verdict("AUTH"))


@CASES.must("403")
def _(world):
    world.each_request(lambda serve: world.subject.refuse(403), verdict("AUTH"))


@CASES.must("429 with Retry-After")
def _(world):
    def make(serve):
        answer = world.subject.refuse(429)
        answer.headers["Retry-After"] = "7"
        return answer

    def expect(answer):
        verdict("RATE")(answer)
        assert answer["retry_after_s"] == 7

    world.each_request(make, expect)


@CASES.must("500 then 200")
def _(world):
    world.each_request(lambda serve: world.subject.refuse(500), verdict("RETRY"))


@CASES.must("answer lost")
def _(world):
    """It was done, but nobody hears of it."""
    def make(serve):
        serve()
        return world.subject.refuse(500)

    world.each_request(make, verdict("RETRY"))


@CASES.must("slow body")
def _(world):
    def make(serve):
        answer = serve()
        answer.slow = True
        return answer

    world.each_request(make, verdict("RETRY", "in time"), **world.subject.hurry)


@CASES.must("truncated answer")
def _(world):
    def make(serve):
        answer = serve()
        answer.body = answer.body[:len(answer.body) // 2]
        return answer

    world.each_request(make, verdict("RETRY"))


@CASES.must("zone not found")
def _(world):
    world.subject.lose_zone()
    for what in ("present", "cleanup", "probe"):
        verdict("ZONE", ZONE)(world.call(what))


@CASES.must("two zones of one name")
def _(world):
    world.subject.double_zone()
    verdict("ZONE", "ambiguous")(world.call("present"))
    world.holds()


@CASES.must("probe changes nothing")
def _(world):
    world.good("probe")
    world.holds()
