# SPDX-License-Identifier: Apache-2.0
"""Would the tests notice? Every patch of tests/faults is put into a copy of the tree in turn; one of the tests that it
names must then fail (or not end). Only what a fault touches is built again."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lib.proc import end_leftovers

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((ROOT / "tests" / "faults").glob("*.patch"))
NOT_COPIED = {ROOT / "build", ROOT / ".git"}
LIMIT_S = 900
NOTICE_S = 150  # a fault may well show as a wait without end

pytestmark = pytest.mark.long


def run(command, folder, limit_s=LIMIT_S, **env):
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, errors="replace",
                          timeout=limit_s, env={**os.environ, **env})


def noticed_by(patch):
    """(names of unit tests, end-to-end tests) of a patch."""
    words = re.findall(r"^Noticed by: (unit )?(.+)$", patch.read_text(), re.M)
    return [name for unit, name in words if unit], [name for unit, name in words if not unit]


class Tree:
    """A copy of the sources with a build folder."""

    def __init__(self, folder):
        self.folder = folder / "tree"
        shutil.copytree(ROOT, self.folder, symlinks=True,
                        ignore=lambda path, names: [name for name in names if Path(path) / name in NOT_COPIED])
        deps = Path(os.environ.get("FERRULE_DEPS", ROOT / "build" / "deps")).resolve()
        made = run(["meson", "setup", "build", f"-Ddeps={deps}", "-Dwerror=false", "-Doptimization=1"], self.folder)
        assert made.returncode == 0, made.stdout[-4000:] + made.stderr

    def patch(self, patch, *options):
        result = run(["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", *options, "-i", patch], self.folder)
        assert result.returncode == 0, f"{patch.name} does not apply:\n{result.stdout}"

    def build(self, targets):
        """A compiler cache, if there is one, knows the files of a copy by their relative names."""
        return run(["ninja", "-C", "build", "-j2", *targets], self.folder, CCACHE_BASEDIR=str(self.folder), CCACHE_NOHASHDIR="1")

    def complaints(self, units, cases):
        """What unit tests and cases say against the tree: the last lines of each that fails."""
        targets = [f"tests/unit/{name}_test" for name in units]
        built = self.build(targets + ["src/boot/ferrule"] * bool(cases))
        if built.returncode:
            return {"build": built.stdout[-2000:]}
        found = {}
        for target in targets:
            try:
                result = run([self.folder / "build" / target], self.folder / "build", 60)
                if result.returncode:
                    found[target] = (result.stdout + result.stderr)[-2000:]
            except subprocess.TimeoutExpired:
                found[target] = "does not end"
        if cases and not found:
            found.update(self.complaints_of_cases(cases))
        return found

    def complaints_of_cases(self, cases):
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *cases]
        try:
            result = run(command, ROOT, NOTICE_S * max(1, len(cases) // 10), FERRULE_BUILD=str(self.folder / "build"))
        except subprocess.TimeoutExpired:
            end_leftovers(leaving_s=0)
            return {"cases": "do not end"}
        assert result.returncode in (0, 1), f"{cases} cannot run:\n{result.stdout[-3000:]}{result.stderr[-1000:]}"
        return {"cases": result.stdout[-6000:]} if result.returncode else {}


@pytest.fixture(scope="module")
def tree():
    path = Path(tempfile.mkdtemp(prefix="ferrule-faults-"))
    yield Tree(path)
    shutil.rmtree(path, ignore_errors=True)


def test_nothing_is_said_against_the_tree_as_it_is(tree):
    """And there are enough faults to say so."""
    units, cases = (sorted(set(sum(names, []))) for names in zip(*map(noticed_by, PATCHES)))
    assert tree.complaints(units, cases) == {}
    for codec, least in (("h1-", 20), ("h2-", 20), ("h2client-", 12)):
        assert len([patch for patch in PATCHES if patch.name.startswith(codec)]) >= least, codec


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_fault_is_noticed(tree, patch):
    tree.patch(patch)
    try:
        found = tree.complaints(*noticed_by(patch))
    finally:
        tree.patch(patch, "-R")
    assert found, patch.read_text().splitlines()[0]
    assert "build" not in found, f"the fault does not build:\n{found.get('build')}"
