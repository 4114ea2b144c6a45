# SPDX-License-Identifier: Apache-2.0
"""Runs a command under a seccomp filter that refuses some system calls:

    python3 seccomp.py ERRNO NUMBER[,NUMBER...] COMMAND...
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000

# The same number on every architecture.
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427


def wrapper(error, *numbers):
    """The words to put in front of a command."""
    return [sys.executable, __file__, str(error), ",".join(map(str, numbers))]


def install(error, numbers):
    program = [(LOAD_WORD, 0, 0, 0)]  # seccomp_data.nr
    for number in numbers:
        program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | error)]
    program.append((RETURN, 0, 0, ALLOW))
    filters = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    argument = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(filters)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(argument), 0, 0)):
        if libc.prctl(arguments[0], *map(ctypes.c_ulong, arguments[1:])):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    install(int(sys.argv[1]), [int(number) for number in sys.argv[2].split(",")])
    os.execv(sys.argv[3], sys.argv[3:])
