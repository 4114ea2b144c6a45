# SPDX-License-Identifier: Apache-2.0
"""Would the tests of the codecs notice? Every patch of tests/faults is put into a copy of the tree in turn; some program
of those that stand for its codec must then fail (or not end, or not build)."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((ROOT / "tests" / "faults").glob("*.patch"))
# first word of a patch's name -> test programs of its codec, the corpus among them
PROGRAMS = {"h1": ["data_http_corpus", "data_http_h1", "data_http_rules", "data_http_h1_write"]}
NOT_COPIED = {ROOT / "build", ROOT / ".git"}
LIMIT_S = 900

pytestmark = pytest.mark.long


def run(command, folder, limit_s=LIMIT_S):
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, errors="replace",
                          timeout=limit_s)


class Tree:
    """A copy of the sources with a build folder."""

    def __init__(self, folder):
        self.folder = folder / "tree"
        shutil.copytree(ROOT, self.folder, symlinks=True,
                        ignore=lambda path, names: [name for name in names if Path(path) / name in NOT_COPIED])
        deps = Path(os.environ.get("FERRULE_DEPS", ROOT / "build" / "deps")).resolve()
        made = run(["meson", "setup", "build", f"-Ddeps={deps}", "-Dwerror=false"], self.folder)
        assert made.returncode == 0, made.stdout[-4000:] + made.stderr

    def patch(self, patch, *options):
        result = run(["patch", "-p1", "--no-backup-if-mismatch", *options, "-i", patch], self.folder)
        assert result.returncode == 0, f"{patch.name} does not apply:\n{result.stdout}"

    def complaints(self, programs):
        """What the programs say against the tree: the last lines of each that fails."""
        targets = [f"tests/unit/{name}_test" for name in programs]
        built = run(["ninja", "-C", "build", "-j2", *targets], self.folder)
        if built.returncode:
            return {"build": built.stdout[-2000:]}
        found = {}
        for target in targets:
            try:
                result = run([self.folder / "build" / target], self.folder / "build", 120)
                if result.returncode:
                    found[target] = (result.stdout + result.stderr)[-2000:]
            except subprocess.TimeoutExpired:
                found[target] = "does not end"
        return found


@pytest.fixture(scope="module")
def tree():
    path = Path(tempfile.mkdtemp(prefix="ferrule-faults-"))
    yield Tree(path)
    shutil.rmtree(path, ignore_errors=True)


def test_nothing_is_said_against_the_tree_as_it_is(tree):
    """And there are enough faults to say so."""
    assert tree.complaints(sum(PROGRAMS.values(), [])) == {}
    assert len([patch for patch in PATCHES if patch.name.startswith("h1-")]) >= 12


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_fault_is_noticed(tree, patch):
    programs = PROGRAMS[patch.name.split("-")[0]]
    tree.patch(patch)
    try:
        found = tree.complaints(programs)
    finally:
        tree.patch(patch, "-R")
    assert found, patch.read_text().splitlines()[0]
    assert "build" not in found, f"the fault does not build:\n{found.get('build')}"
