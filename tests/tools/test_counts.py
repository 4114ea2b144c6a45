# SPDX-License-Identifier: Apache-2.0
"""The test of instruction counts sees a case that costs more, one that is new, and one that is gone."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import counts

RECORD = {"parse": 1000, "route": 100}


@pytest.mark.parametrize("now, good", [
    (RECORD, True),
    ({"parse": 1049, "route": 90}, True),
    ({"parse": 1050, "route": 100}, False),
    ({"parse": 1000}, False),
    (RECORD | {"new": 1}, False),
])
def test_compare(now, good):
    assert counts.compare("gcc-12-x86_64", now, RECORD) == good


def test_record_keeps_other_compilers(tmp_path, monkeypatch):
    path = tmp_path / "counts.txt"
    path.write_text("# what this is\ngcc-12-x86_64 parse 7\ngcc-12-x86_64 gone 8\ngcc-14-x86_64 parse 9\n")
    monkeypatch.setattr(counts, "RECORD", path)
    counts.write_record("gcc-12-x86_64", {"parse": 6})
    assert path.read_text() == "# what this is\ngcc-12-x86_64 parse 6\ngcc-14-x86_64 parse 9\n"
    assert counts.read_record() == {("gcc-12-x86_64", "parse"): 6, ("gcc-14-x86_64", "parse"): 9}
