# SPDX-License-Identifier: Apache-2.0
"""Every fault of tests/faults applies to the tree, says what it is, and names tests that exist. (Whether these notice it
is found out by tests/e2e/test_faults.py, which takes minutes.)"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

NOTICED = re.compile(r"^Noticed by: (?:(unit) (\w+)|(tests/e2e/\w+\.py)::(\w+)(?:\[(.+)\])?)$")


def unit_tests(root):
    folder = root / "tests" / "unit"
    return {str(path.relative_to(folder))[:-len("_test.c")].replace("/", "_") for path in folder.rglob("*_test.c")}


def check_patch(root, path, units, report):
    lines = path.read_text().splitlines()
    if lines[0].startswith(("---", "Noticed")) or not lines[0].endswith("."):
        report.add(path, 1, "the first line is no sentence that says what the fault is")
    noticed = [(n, line) for n, line in enumerate(lines, 1) if line.startswith("Noticed by")]
    if not noticed:
        report.add(path, 2, '"Noticed by:" is missing')
    for number, line in noticed:
        match = NOTICED.match(line)
        if not match:
            report.add(path, number, '"Noticed by: unit PROGRAM" or "Noticed by: tests/e2e/FILE.py::TEST[CASE]" is allowed')
        elif match[1]:
            if match[2] not in units:
                report.add(path, number, f"there is no unit test {match[2]}")
        elif not (root / match[3]).exists() or f"def {match[4]}(" not in (root / match[3]).read_text():
            report.add(path, number, f"there is no test {match[3]}::{match[4]}")
    result = subprocess.run(["patch", "-p1", "--fuzz=0", "--dry-run", "--force", "--quiet", "-i", str(path)], cwd=root,
                            capture_output=True, text=True)
    if result.returncode:
        report.add(path, 1, "does not apply any more, make it anew: " + " ".join((result.stdout + result.stderr).split()))


def main():
    root = lintlib.root_from_arguments(__doc__)
    report = lintlib.Report(root)
    if not shutil.which("patch"):
        lintlib.skip("patch is not installed")
    patches = lintlib.files(root, ("tests/faults",), (".patch",))
    units = unit_tests(root)
    for path in patches:
        check_patch(root, path, units, report)
    report.finish(f"{len(patches)} faults")


main()
