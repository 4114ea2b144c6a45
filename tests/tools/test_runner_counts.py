# SPDX-License-Identifier: Apache-2.0
"""The test runner counts what meson and pytest wrote, and never calls an empty run a success."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import test_runner

JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure message="x"/></testcase>
<testcase classname="a" name="bad"><error message="teardown"/></testcase>
<testcase classname="a" name="leaves a process"/>
<testcase classname="a" name="leaves a process"><error message="teardown"/></testcase>
<testcase classname="a" name="skip"><skipped message="why"/></testcase>
</testsuite></testsuites>"""


def test_junit(tmp_path, capsys):
    path = tmp_path / "r.xml"
    path.write_text(JUNIT)
    totals = test_runner.Totals()
    assert test_runner.read_junit("e2e", path, totals) == 4
    assert totals.report() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 2 failed, 1 skipped"
    assert totals.skipped == [("e2e: a.skip", "why")]


def test_meson_log(tmp_path, capsys):
    results = [("good", "OK", ""), ("bad", "FAIL", "broken\n"), ("slow", "TIMEOUT", ""),
               ("none", "SKIP", "noise\nkernel too old\n")]
    path = tmp_path / "log.json"
    path.write_text("".join(json.dumps({"name": f"ferrule:unit / {name}", "result": result, "stdout": output}) + "\n"
                            for name, result, output in results))
    totals = test_runner.Totals()
    assert test_runner.read_meson_log("release", path, totals) == {"good", "bad", "slow", "none"}
    assert totals.skipped == [("release: none", "kernel too old")]
    assert totals.report() == 1
    output = capsys.readouterr().out
    assert "broken" in output and output.splitlines()[-1] == "1 passed, 2 failed, 1 skipped"


def test_empty_run_is_no_success(capsys):
    assert test_runner.Totals().report() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 0 failed, 0 skipped"


def test_good_run(capsys):
    totals = test_runner.Totals()
    totals.passed = 3
    totals.skip("x", "y")
    assert totals.report() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 0 failed, 1 skipped"
