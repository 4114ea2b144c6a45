#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ferrule check` against documented fragments (fixtures/spec) and the tables of bad configurations (cases.py, cases_resolvers.py).

    check_config.py FERRULE     exits 1 and prints what differs
"""

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

import cases
import cases_resolvers

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "spec"
CERTS = FIXTURES.parent / "certs"


def check(ferrule, arguments, folder):
    """(exit code, lines of standard error) of `ferrule check`."""
    result = subprocess.run([ferrule, "check", *arguments], cwd=folder, capture_output=True, text=True)
    return result.returncode, result.stderr.replace(f"{folder}/", "DIR/").replace(str(CERTS), "CERTS").splitlines()


def differences(name, wanted_code, wanted, code, lines):
    if (code, lines) == (wanted_code, wanted):
        return []
    found = [f"--- {name}: exit code {code}, {wanted_code} expected"]
    return found + [line for line in difflib.ndiff(wanted, lines) if not line.startswith("? ")]


def check_fragments(ferrule):
    found, flags = [], (FIXTURES / "flags.txt").read_text().splitlines()
    paths = sorted(FIXTURES.glob("*.toml"))
    for path in paths:
        found += differences(path.name, 0, [], *check(ferrule, ["--fragment", "-c", str(path)], FIXTURES))
    for flag in flags:
        found += differences(flag, 0, [], *check(ferrule, ["--fragment", flag], FIXTURES))
    found += differences("all flags", 0, [], *check(ferrule, ["--fragment", *flags], FIXTURES))
    return found, len(paths) + len(flags) + 1


def check_case(ferrule, case):
    name, files, arguments, wanted_code, wanted = case
    errors = sum(": error: " in line for line in wanted)
    with tempfile.TemporaryDirectory() as folder:
        for file_name, text in files.items():
            path = Path(folder) / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("CERTS", str(CERTS)))
        if "ferrule.toml" in files:
            arguments = ["-c", "ferrule.toml", *arguments]
        summary = [f"{errors} errors"] if errors > 1 else []
        return differences(name, wanted_code, wanted + summary, *check(ferrule, arguments, Path(folder).resolve()))


def main():
    ferrule = str(Path(sys.argv[1]).resolve())
    found, count = check_fragments(ferrule)
    table = cases.CASES + cases_resolvers.CASES
    for case in table:
        found += check_case(ferrule, case)
    print("\n".join(found + [f"{count + len(table)} configurations"]))
    sys.exit(1 if found else 0)


main()
