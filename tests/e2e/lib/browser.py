# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium that trusts a test's authority, as a user's browser trusts the public ones: its certificates are
verified. What a page writes to its console is in the log."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from .proc import HarnessError, Process, descendants, is_alive, wait_until

PATIENCE_S = 120  # a browser starts slowly on a machine that has other things to do
FLAGS = """--headless=new --disable-gpu --disable-dev-shm-usage --no-first-run --no-default-browser-check
--disable-background-networking --disable-component-update --disable-sync --disable-extensions --disable-default-apps
--metrics-recording-only --mute-audio --password-store=basic --enable-logging=stderr --v=0""".split()


class Browser:
    """hosts: names that are this machine's; all others do not exist."""

    def __init__(self, folder, authority, url, hosts):
        program = shutil.which("chromium")
        if not program:
            raise HarnessError("chromium is not installed")
        self.folder = Path(folder)
        self._trust(authority)
        rules = ", ".join([f"MAP {host} 127.0.0.1" for host in hosts] + ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"])
        flags = [*FLAGS, f"--user-data-dir={self.folder}/profile", f"--host-resolver-rules={rules}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # its sandbox is not for root
        self.process = Process("chromium", [program, *flags, url], self.folder, env={
            "HOME": str(self.folder), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self.folder), "TMPDIR": str(self.folder)})

    def _trust(self, authority):
        database = self.folder / ".pki" / "nssdb"
        database.mkdir(parents=True)
        for words in (["-N", "--empty-password"], ["-A", "-n", "test", "-t", "C,,", "-i", str(authority.cert_file)]):
            done = subprocess.run(["certutil", "-d", f"sql:{database}", *words], capture_output=True, text=True)
            if done.returncode:
                raise HarnessError(f"certutil {' '.join(words)}: {done.stderr}")

    def result(self):
        """What the page has written as console.log("RESULT " + JSON)."""
        def found():
            return re.search(r'"RESULT (\{.*\})", source:', self.process.log)
        self.process.wait_ready(found, "the page has a result", PATIENCE_S)
        return json.loads(found().group(1))

    def stop(self):
        family = [self.process.pid, *descendants(self.process.pid)]
        try:
            self.process.stop()
        finally:
            wait_until(lambda: not any(is_alive(pid) for pid in family), "all processes of the browser have ended")
