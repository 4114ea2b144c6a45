# SPDX-License-Identifier: Apache-2.0
"""Runs a command as systemd does for socket activation, with inherited descriptors:

    python3 activate.py FD[,FD...] NAME[:NAME...] COMMAND...
"""

import os
import sys

FIRST = 3


def wrapper(names, descriptors):
    """The words to put in front of a command; the descriptors must be inheritable."""
    return [sys.executable, __file__, ",".join(map(str, descriptors)), ":".join(names)]


if __name__ == "__main__":
    given = [os.dup(int(fd)) for fd in sys.argv[1].split(",")]
    high = [os.dup2(fd, 100 + n) for n, fd in enumerate(given)]  # out of the way of the numbers from 3 on
    for n, fd in enumerate(high):
        os.dup2(fd, FIRST + n, inheritable=True)
    os.closerange(FIRST + len(high), 200)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=sys.argv[2])
    os.execv(sys.argv[3], sys.argv[3:])
