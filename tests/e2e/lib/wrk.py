# SPDX-License-Identifier: Apache-2.0
"""wrk in the background: load whose failed requests are counted."""

import re
import signal
import subprocess


class Wrk:
    """wrk in the background against one URL."""

    def __init__(self, url, connections=32, seconds=60, more=()):
        # (Without a limit of its own wrk counts each answer that took two seconds as an error.)
        command = ["setpriv", "--pdeathsig", "KILL", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", *more, url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self):
        """Ends it; returns (requests, text that tells of failures or "")."""
        self.process.send_signal(signal.SIGINT)
        output = self.process.communicate()[0]
        failures = re.findall(r"Non-2xx.*|Socket errors.*", output)
        return int(re.search(r"(\d+) requests in", output).group(1)), "; ".join(failures)
