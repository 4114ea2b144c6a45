#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The option tables of docs/configuration.md are what `ferrule options --markdown` prints.

    check_manual.py FERRULE ROOT [--write]      --write brings the file up to date
"""

import subprocess
import sys
from pathlib import Path

BEGIN = "<!-- options: begin; made by `ferrule options --markdown`, see docs/hacking.md -->\n"
END = "<!-- options: end -->\n"


def main():
    ferrule, root = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    printed = subprocess.run([ferrule, "options", "--markdown"], check=True, capture_output=True, text=True).stdout
    path = root / "docs" / "configuration.md"
    text = path.read_text()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    wanted = before + BEGIN + printed + END + after
    if text == wanted:
        return
    if "--write" in sys.argv:
        path.write_text(wanted)
        return
    sys.exit(f"{path} is not up to date: tests/config/check_manual.py {sys.argv[1]} {sys.argv[2]} --write")


main()
