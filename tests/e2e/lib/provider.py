# SPDX-License-Identifier: Apache-2.0
"""Calls plug-ins and the propagation check through build/…/tests/provider/provider_tool."""

import json
import os
import subprocess

from .ferrule import SANITIZER, SANITIZER_ENV, build_folder
from .proc import PATIENCE_S


class Tool:
    """Each method returns what the tool printed as a dictionary; the last log is in `log`."""

    def __init__(self):
        self.log = ""

    def run(self, *arguments, env=None):
        clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "TZ")}
        result = subprocess.run([build_folder() / "tests" / "provider" / "provider_tool", *map(str, arguments)],
                                capture_output=True, text=True, env={**clean, **SANITIZER_ENV, **(env or {})},
                                timeout=4 * PATIENCE_S)
        self.log = result.stderr
        assert not SANITIZER.search(result.stderr), result.stderr
        return json.loads(result.stdout)

    @staticmethod
    def folder_of(code):
        """The template is built, but not among the plug-ins that are installed."""
        folder = build_folder() / "providers"
        return folder / "template" if code == "template" else folder

    def call(self, what, name, value="", env=None, code="rfc2136", zone="", state=""):
        return self.run("call", self.folder_of(code), code, what, name, value, zone, state, env=env)

    def describe(self, env=None, code="rfc2136"):
        return self.run("describe", self.folder_of(code), code, env=env)

    def find(self, name, resolvers, port=53, mode=""):
        return self.run("find", name, env={"RESOLVERS": resolvers, "PORT": str(port), "MODE": mode})

    def check(self, name, zone, *values, resolvers, port, timeout_s=30, successes=1, mode=""):
        """mode: "recursive", "both" or the usual one."""
        env = {"RESOLVERS": resolvers, "PORT": str(port), "TIMEOUT_S": str(timeout_s), "SUCCESSES": str(successes),
               "MODE": mode}
        return self.run("check", name, zone, *values, env=env)
