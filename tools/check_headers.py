#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence first; every header says what it is for, which thread uses it, what
it owns and what it never does."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

LICENCE = "SPDX-License-Identifier: Apache-2.0"
FOLDERS = ("src", "providers", "tests", "fuzz", "bench", "tools", "examples", ".ci")
COMMENT = re.compile(r"\s*/\*(.*?)\*/", re.S)


def header_comment(text):
    """The first comment after the licence line."""
    match = COMMENT.match(text.split("\n", 1)[1] if "\n" in text else "")
    return match.group(1) if match else ""


def check_header(root, path, text, report):
    relative = path.relative_to(root)
    name = relative.relative_to("src") if relative.parts[0] == "src" else relative
    comment = header_comment(text)
    if not re.match(rf"\s*\S*{re.escape(name.name)}\s+-\s+\S", comment):
        report.add(path, 2, f"begin with a comment '{name} - what it is for'")
        return
    for word in ("Thread:", "Owns:", "Never:"):
        if word not in comment:
            report.add(path, 2, f"the first comment lacks '{word}'")


def is_script(path, text):
    return path.suffix in (".py", ".sh") or text.startswith("#!")


def main():
    root = lintlib.root_from_arguments(__doc__)
    report = lintlib.Report(root)
    count = 0
    for path in lintlib.files(root, FOLDERS):
        text = lintlib.text_of(path)
        if not text:
            continue
        if path.name.endswith(lintlib.C_SUFFIXES + (".def",)):
            count += 1
            if text.split("\n", 1)[0] not in (f"/* {LICENCE} */", f"// {LICENCE}"):
                report.add(path, 1, f"the first line must be '/* {LICENCE} */'")
            elif path.suffix == ".h" and path.relative_to(root).parts[0] in ("src", "providers"):
                check_header(root, path, text, report)
        elif is_script(path, text):
            count += 1
            if LICENCE not in "\n".join(text.split("\n", 3)[:3]):
                report.add(path, 1, f"the first lines must hold '# {LICENCE}'")
    report.finish(f"{count} files")


main()
