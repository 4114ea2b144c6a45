#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""C sources look as clang-format 14 prints them (other versions disagree with it in details)."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

VERSION = 14
FOLDERS = ("src", "providers", "tests", "fuzz", "bench", "tools")


def formatter():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        tool = shutil.which(name)
        if tool:
            output = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
            match = re.search(r"version (\d+)", output)
            if match and int(match.group(1)) == VERSION:
                return tool
    lintlib.skip(f"clang-format {VERSION} is not installed")


def main():
    root = lintlib.root_from_arguments(__doc__)
    paths = lintlib.files(root, FOLDERS, lintlib.C_SUFFIXES)
    tool = formatter()
    if paths:
        result = subprocess.run([tool, "--dry-run", "-Werror", "--style=file", *map(str, paths)], cwd=root,
                                capture_output=True, text=True)
        wrong = sorted({line.split(":")[0] for line in result.stderr.splitlines() if ": error: " in line})
        for path in wrong:
            print(f"{Path(path).relative_to(root)}:1: run clang-format -i on it")
        if result.returncode and not wrong:
            print(result.stderr)
        if result.returncode:
            sys.exit(1)
    print(f"{len(paths)} files checked")


main()
