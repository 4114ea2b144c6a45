#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No file longer than 800 lines, no function longer than 70."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
FOLDERS = ("src", "providers", "tests", "fuzz", "bench", "tools")


def main():
    root = lintlib.root_from_arguments(__doc__)
    report = lintlib.Report(root)
    sources = lintlib.files(root, FOLDERS, lintlib.C_SUFFIXES)
    scripts = lintlib.files(root, FOLDERS, (".py", ".sh", ".def"))
    for path in sources + scripts:
        lines = path.read_bytes().count(b"\n")
        if lines > FILE_LINES_MAX:
            report.add(path, lines, f"{lines} lines, {FILE_LINES_MAX} are allowed: split the module")
    for name, path, first, last in lintlib.ctags(sources, "f"):
        if last - first + 1 > FUNCTION_LINES_MAX:
            report.add(path, first, f"{name}() has {last - first + 1} lines, {FUNCTION_LINES_MAX} are allowed")
    report.finish(f"{len(sources) + len(scripts)} files")


main()
