#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every test and every difference that docs/checklist.md names exists, and each of its lines names one.

`tests/e2e/test_x.py::test_y` and `tests/unit/x_test.c::y` are functions, `tests/config/cases.py::y` is a case, any other
path is a file; "difference: y" is the first cell of a row of docs/differences.md.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

DOCUMENT = "docs/checklist.md"
EVIDENCE = re.compile(r"`(tests/[\w./-]+)(?:::([^`]+))?`")
DIFFERENCE = re.compile(r"difference: (.+)")


def rows(text):
    """[(line number, cells, cells of the table's head)]"""
    found, head = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if head is None:
            head = cells
        elif not set(line) <= set("|- "):
            found.append((number, cells, head))
    return found


def missing_of(root, path, name):
    """What is wrong with one piece of evidence, or None."""
    file = root / path
    if not file.is_file():
        return f"there is no file {path}"
    if name is None:
        return None
    text = file.read_text()
    if path.endswith(".c"):
        # It has to be run as well, not only to be there.
        there = re.search(rf"^static void {re.escape(name)}\(", text, re.M) and len(re.findall(rf"\b{re.escape(name)}\b", text)) > 1
    elif path.endswith("cases.py"):
        there = f'"{name}"' in text
    else:
        there = re.search(rf"^def {re.escape(name)}\(", text, re.M)
    return None if there else f"there is no test {path}::{name}"


def main():
    root = lintlib.root_from_arguments(__doc__)
    report, document = lintlib.Report(root), root / DOCUMENT
    differences = {cells[0] for _, cells, _ in rows((root / "docs" / "differences.md").read_text())}
    lines = rows(document.read_text())
    for number, cells, head in lines:
        if head[-1] != "shown by":
            continue
        shown = cells[-1]
        pieces = EVIDENCE.findall(shown)
        # (Only the first cell of a row may be named, so a semicolon parts what is named from the next.)
        named = [match[1] for part in shown.split("; ") if (match := DIFFERENCE.search(part))]
        if not pieces and not named:
            report.add(document, number, "names neither a test nor a difference")
        for path, name in pieces:
            if what := missing_of(root, path, name or None):
                report.add(document, number, what)
        for name in named:
            if name not in differences:
                report.add(document, number, f"docs/differences.md has no row \"{name}\"")
    report.finish(f"{len(lines)} lines")


main()
