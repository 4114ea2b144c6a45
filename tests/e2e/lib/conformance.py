# SPDX-License-Identifier: Apache-2.0
"""Conformance cases: functions named by the section of the RFC that they belong to. A file of cases has one Cases and
one test that is parametrized over it, so that each case stands in the output with its section."""

import pytest


class Cases:
    def __init__(self):
        self.all = {}  # id -> function

    def must(self, name):
        """Declares a case: @must("9112-3.2-host-missing"). It gets a World."""

        def declare(function):
            assert name not in self.all, f"{name} stands twice"
            self.all[name] = function
            return function

        return declare

    def not_run(self, name, reason):
        """A requirement that is not tested here, and why: it shows as skipped, with the reason."""

        def skip(world):
            pytest.skip(reason)

        self.must(name)(skip)

    def run(self, name, world):
        self.all[name](world)
