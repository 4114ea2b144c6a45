# SPDX-License-Identifier: Apache-2.0
"""Runs a command with a small file system of its own in place of a folder, in a mount namespace of its own:

    python3 disk.py FOLDER KILOBYTES|ro|mount COMMAND...

The folder's content is copied into the new file system; "ro" makes the folder itself read-only instead, "mount" makes a
mount point of a folder or a file, with what it holds. Needs root.
"""

import ctypes
import os
import shutil
import sys
import tempfile
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_PRIVATE = 1, 32, 4096, 0x40000
CHUNKS = (65536, 4096, 512, 64, 1)


def wrapper(folder, size):
    """The words to put in front of a command. size: kilobytes, "ro" or "mount"."""
    return [sys.executable, __file__, str(folder), str(size)]


class Disk:
    """The small file system of a running process, seen from outside its mount namespace."""

    def __init__(self, process, folder):
        self.path = Path(f"/proc/{process.pid}/root{folder}")

    def fill(self):
        """Takes all space that is left, down to the last byte."""
        with open(self.path / "filler", "ab", buffering=0) as filler:
            for size in CHUNKS:
                try:
                    while filler.write(b"x" * size) == size:
                        pass
                except OSError:
                    pass

    def free(self):
        (self.path / "filler").unlink()


def mount(source, target, kind, flags, data):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), str(target).encode(), kind, flags, data):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def mount_points():
    """All that can be seen from here, without those that others are mounted over."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in dict.fromkeys(points) if os.path.exists(point)]


def enter(folder, size):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    for point in mount_points():  # in a chroot "/" may be none
        mount("none", point, None, MS_PRIVATE, None)
    if size in ("ro", "mount"):
        mount(folder, folder, None, MS_BIND, None)
    if size == "mount":
        return
    if size == "ro":
        mount("none", folder, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None)
        return
    with tempfile.TemporaryDirectory() as kept:
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        mount("tmpfs", folder, b"tmpfs", 0, f"size={size}k,mode=0700".encode())
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    os.chmod(folder, 0o700)


if __name__ == "__main__":
    enter(sys.argv[1], sys.argv[2])
    os.execv(sys.argv[3], sys.argv[3:])
