# SPDX-License-Identifier: Apache-2.0
"""What the repository checks (tools/check_*.py) share: finding files, reading C, reporting.

A check takes --root DIR (default: this repository), prints "path:line: message" and exits 1 if it found
something, 77 if it could not run (meson counts that as skipped).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SKIP = 77
C_SUFFIXES = (".c", ".h", ".cc", ".cpp", ".hpp")
IGNORED_FOLDERS = {".git", "build", "__pycache__", ".cache", ".pytest_cache", "subprojects"}


def root_from_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    return parser.parse_args().root.resolve()


def files(root, folders=(".",), suffixes=None):
    """Sorted paths below root, as pathlib paths; build folders and hidden state are left out."""
    found = set()
    for folder in folders:
        for path, names, file_names in os.walk(root / folder):
            names[:] = [name for name in names if name not in IGNORED_FOLDERS and not name.startswith("build-")]
            for name in file_names:
                if name != ".git" and (suffixes is None or name.endswith(suffixes)):
                    found.add(Path(path) / name)
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def text_of(path):
    """The text of a file, or None if it is not text (fuzz corpora, certificates in DER)."""
    data = path.read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """C text with comments and the insides of strings blanked; line numbers stay."""

    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + " " * (len(token) - 2) + token[0]
        return re.sub(r"[^\n]", " ", token)

    return _TOKEN.sub(blank, text)


def ctags(paths, kinds):
    """[(name, path, first line, last line)] of the C and C++ symbols of the given kinds."""
    tool = shutil.which("ctags-universal") or shutil.which("ctags")
    if not tool or "Universal" not in subprocess.run([tool, "--version"], capture_output=True, text=True).stdout:
        skip("universal-ctags is not installed")
    command = [tool, "-f", "-", "--fields=+ne", f"--kinds-C={kinds}", f"--kinds-C++={kinds}", "--languages=C,C++",
               "--sort=no", "-L", "-"]
    output = subprocess.run(command, input="\n".join(map(str, paths)), capture_output=True, text=True, check=True).stdout
    symbols = []
    for line in output.splitlines():
        if line.startswith("!_"):
            continue
        fields = line.split("\t")
        numbers = dict(field.split(":", 1) for field in fields[3:] if field.startswith(("line:", "end:")))
        first = int(numbers["line"])
        symbols.append((fields[0], Path(fields[1]), first, int(numbers.get("end", first))))
    return symbols


class Report:
    """Collects findings; finish() prints them and ends the program."""

    def __init__(self, root):
        self.root = root
        self.lines = []

    def add(self, path, line, message):
        self.lines.append(f"{path.relative_to(self.root)}:{line}: {message}")

    def finish(self, checked):
        for line in self.lines:
            print(line)
        if not self.lines:
            print(f"{checked} checked")
        sys.exit(1 if self.lines else 0)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)
