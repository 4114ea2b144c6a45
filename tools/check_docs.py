#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every file and function that docs/architecture.md names in back-quotes exists in the tree.

`conn.c` or `data/conn.c` must be the end of a path; `conn_close_begin()` must be a function or a macro;
`src/data/` must be a folder.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

DOCUMENT = "docs/architecture.md"
QUOTED = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"^[\w./-]+\.(?:c|h|cc|cpp|hpp|def|py|build)$")
FUNCTION = re.compile(r"^([A-Za-z_]\w*)\(\)$")
FOLDER = re.compile(r"^[\w-]+(?:/[\w-]+)*/$")


def expand(name):
    """`http/{h1,h2}.c` names two files."""
    match = re.search(r"\{([^{}]*)\}", name)
    if not match:
        return [name]
    return [e for part in match.group(1).split(",") for e in expand(name[: match.start()] + part.strip() + name[match.end():])]


def main():
    root = lintlib.root_from_arguments(__doc__)
    document = root / DOCUMENT
    if not document.exists():
        lintlib.skip(f"{DOCUMENT} does not exist")
    report = lintlib.Report(root)
    every = ["/" + str(path.relative_to(root)) for path in lintlib.files(root)]
    folders = {str(Path(path).parent) + "/" for path in every}
    sources = lintlib.files(root, ("src", "providers", "fuzz", "bench", "tests"), lintlib.C_SUFFIXES)
    functions = {name for name, *_ in lintlib.ctags(sources, "fpd")}
    count = 0
    for number, line in enumerate(document.read_text().splitlines(), 1):
        for name in (name for quoted in QUOTED.findall(line) for name in expand(quoted)):
            count += 1
            function = FUNCTION.match(name)
            if FILE.match(name) and not any(path.endswith("/" + name) for path in every):
                report.add(document, number, f"no file ends in {name}")
            elif function and function.group(1) not in functions:
                report.add(document, number, f"there is no function {name}")
            elif FOLDER.match(name) and not any(("/" + name) in folder for folder in folders):
                report.add(document, number, f"there is no folder {name}")
    report.finish(f"{count} names")


main()
