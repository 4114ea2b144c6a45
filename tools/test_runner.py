#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and tests everything; started by tools/test, which installs what is missing first.

Results come from meson's JSON log and pytest's JUnit file, never from the printed text. The last line is
always "N passed, N failed, N skipped"; the exit code is 0 only if something ran and nothing failed.
"""

import argparse
import ctypes
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
PR_SET_CHILD_SUBREAPER = 36

# kind of build -> options for meson setup. Instrumented code makes gcc warn of what is not there: only the release
# build treats warnings as errors. The release folder may be one that tools/quickstart made, which needs no tests.
BUILDS = {
    "release": ["-Dbuildtype=release", "-Dwerror=true", "-Dtests=true"],
    "asan": ["-Doptimization=1", "-Ddebug=true", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dwerror=false",
             "-Dtest_hooks=true"],
    "tsan": ["-Doptimization=1", "-Ddebug=true", "-Db_sanitize=thread", "-Db_lundef=false", "-Dwerror=false"],
    "cares": ["-Dbuildtype=release", "-Dwerror=true"],  # with the c-ares of tools/deps --cares
}

# kind of build -> what is compiled of it, where that is not everything
PARTS = {"tsan": [], "cares": ["src/boot/ferrule", "providers/rfc2136.so", "tests/provider/provider_tool"]}

SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99:second_deadlock_stack=1",
}

SHOWN_LINES_MAX = 160

STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", flush=True)


class Totals:
    """Counts over all suites, and what to show at the end."""

    def __init__(self):
        self.passed = 0
        self.failed = []  # names
        self.skipped = []  # (name, reason)

    def fail(self, name):
        self.failed.append(name)

    def skip(self, name, reason):
        self.skipped.append((name, reason))

    def report(self):
        for name, reason in self.skipped:
            print(f"skipped: {name}: {reason}")
        for name in self.failed:
            print(f"FAILED: {name}")
        ran = self.passed + len(self.failed)
        if not ran:
            print("nothing was run")
        print(f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped", flush=True)
        return 0 if ran and not self.failed else 1


def run(command, limit_s, env=None, show=None):
    """Runs a command and passes the lines that show() names on with the time; returns (exit code, its output).

    Past limit_s its whole process group is killed and the code is -1.
    """
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    timed_out = threading.Event()

    def stop():
        timed_out.set()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    timer = threading.Timer(limit_s, stop)
    timer.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if show and show(line):
                say("  " + line.rstrip())
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()  # pytest and meson end their tests
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        stop()
        raise
    finally:
        timer.cancel()
    if timed_out.is_set():
        say(f"stopped after {limit_s} s: {' '.join(map(str, command))}")
        code = -1
    return code, "".join(lines)


# --- building ---------------------------------------------------------------------------------------------


def build(kind, deps, jobs, totals):
    """Sets build/KIND up and compiles it; returns its path or None."""
    path = ROOT / "build" / kind
    say(f"building {kind}")
    options = [f"-Ddeps={deps}"] + BUILDS[kind]
    if kind == "cares":
        options.append(f"-Dpkg_config_path={deps / 'cares' / 'lib' / 'pkgconfig'}")
    configured = (path / "meson-private" / "coredata.dat").exists()
    setup = ["meson", "setup", str(path)] + (["--reconfigure"] if configured else []) + options
    code, output = run(setup, 300)
    if code and configured:  # a build folder of another meson or compiler: start afresh
        shutil.rmtree(path)
        code, output = run(["meson", "setup", str(path)] + options, 300)
    parts = PARTS.get(kind)
    if code == 0 and parts != []:
        code, output = run(["ninja", "-C", str(path), f"-j{jobs}"] + (parts or []), 1800)
    if code:
        print(shortened(output))
        say(f"building {kind} failed")
        totals.fail(f"build {kind}")
        return None
    return path


# --- meson suites -----------------------------------------------------------------------------------------


def meson_tests(path):
    """[(name, suites)] of a build folder."""
    output = subprocess.run(["meson", "introspect", "--tests", str(path)], check=True, capture_output=True,
                            text=True).stdout
    tests = []
    for test in json.loads(output):
        suites = {suite.split(":")[-1] for suite in test["suite"]}
        tests.append((test["name"], suites))
    return tests


def last_line(text):
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def run_meson(kind, path, choose, arguments, totals):
    """Runs the meson tests of one build for which choose(suites) is true."""
    names = sorted({name for name, suites in meson_tests(path) if choose(suites) and matches(name, arguments.only)})
    if not names:
        return
    say(f"{kind}: {len(names)} programs")
    log = path / "meson-logs" / "ferrule-long.json"  # meson puts the setup's name behind ours
    log.unlink(missing_ok=True)
    env = dict(os.environ, **SANITIZER_ENV)
    command = ["meson", "test", "-C", str(path), "--logbase", "ferrule", "--setup", "long", "--num-processes", str(arguments.jobs)]
    # The limits are for what hangs; a machine that others share may stall for seconds.
    command += ["--timeout-multiplier", {"asan": "6", "tsan": "8"}.get(kind, "3")]
    code, output = run(command + names, 3600 if arguments.long else 900, env=env)
    failures_before = len(totals.failed)
    seen = read_meson_log(kind, log, totals) if log.exists() else set()
    for name in names:
        if name not in seen:
            totals.fail(f"{kind}: {name} (no result)")
    if code and len(totals.failed) == failures_before:
        totals.fail(f"{kind}: meson test exited with {code}")
    if not seen or code == -1:
        print(output)


def read_meson_log(kind, log, totals):
    seen = set()
    for line in log.read_text(errors="replace").splitlines():
        test = json.loads(line)
        name = test["name"].split(" / ")[-1].split(":")[-1].strip()
        seen.add(name)
        result = test["result"]
        if result in ("OK", "EXPECTEDFAIL"):
            totals.passed += 1
        elif result == "SKIP":
            totals.skip(f"{kind}: {name}", last_line(test.get("stdout") or test.get("stderr")))
        else:
            totals.fail(f"{kind}: {name} ({result})")
            say(f"FAILED {kind}: {name} ({result}), its output:")
            print(shortened((test.get("stdout") or "") + (test.get("stderr") or "")))
    return seen


def shortened(text):
    """A long output without its middle (all of it is in the build folder's meson-logs)."""
    lines = text.splitlines()
    if len(lines) > SHOWN_LINES_MAX:
        half = SHOWN_LINES_MAX // 2
        lines = lines[:half] + [f"... {len(lines) - 2 * half} lines left out ..."] + lines[-half:]
    return "\n".join(lines)


# --- pytest -----------------------------------------------------------------------------------------------


def run_pytest(title, folder, build_path, markers, arguments, totals, limit_s):
    """Runs the pytest files of a folder; markers is a pytest -m expression."""
    results = ROOT / "build" / "test" / f"{title}.xml"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    env = dict(os.environ, **SANITIZER_ENV, PYTHONDONTWRITEBYTECODE="1")
    env["FERRULE_DEPS"] = str(arguments.deps)
    if build_path:
        env["FERRULE_BUILD"] = str(build_path)
    command = [PYTHON, "-m", "pytest", str(folder), "-v", "-p", "no:cacheprovider", "--tb=short", "--color=no",
               f"--junitxml={results}", "-o", "junit_family=xunit2", "-m", markers]
    if arguments.jobs > 1:  # they mostly wait: three for each processor
        command += ["-n", str(3 * arguments.jobs), "--dist", "loadfile"]
    if arguments.only:
        command += ["-k", only_to_pytest(arguments.only)]
    say(f"{title}")
    show_rest = False

    def show(line):  # one line a test, then all from the first failure's report on
        nonlocal show_rest
        show_rest = show_rest or re.match(r"=+ (?:FAILURES|ERRORS|warnings summary|short test summary)", line) is not None
        return show_rest or re.search(r"(?:PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS).*::|::.* (?:PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)", line) is not None

    code, output = run(command, limit_s, env=env, show=show)
    if code not in (0, 1, 5):
        print(output)
    failures_before = len(totals.failed)
    seen = read_junit(title, results, totals) if results.exists() else 0
    # 5: pytest collected nothing, as with --only
    if code not in (0, 5) and len(totals.failed) == failures_before:
        totals.fail(f"{title}: pytest exited with {code} after {seen} results")


def only_to_pytest(pattern):
    """pytest's -k takes words; a glob's wildcards are not part of them."""
    words = [word for word in re.split(r"[^A-Za-z0-9_]+", pattern) if word]
    return " and ".join(words)


def read_junit(title, results, totals):
    """Adds a JUnit file; returns how many cases it holds. A test that fails twice (itself and its
    teardown) is one failure."""
    outcomes = {}
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}".lstrip(".")
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcomes[name] = ("failed", "")
        elif skipped is not None:
            outcomes.setdefault(name, ("skipped", skipped.get("message") or "no reason given"))
        else:
            outcomes.setdefault(name, ("passed", ""))
    for name, (outcome, reason) in outcomes.items():
        if outcome == "failed":
            totals.fail(f"{title}: {name}")
        elif outcome == "skipped":
            totals.skip(f"{title}: {name}", reason)
        else:
            totals.passed += 1
    return len(outcomes)


# --- main -------------------------------------------------------------------------------------------------


def matches(name, pattern):
    return not pattern or pattern in name or fnmatch.fnmatch(name, pattern)


def kill_leftovers(totals):
    """Whatever a test left behind has become a child of this process: name it, end it, count it."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in map(int, children):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if state != "Z":
                totals.fail(f"left running: {command.strip() or pid}")
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, FileNotFoundError, ChildProcessError):
            pass


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tools/test")
    parser.add_argument("--long", action="store_true", help="the long tests as well (up to an hour)")
    parser.add_argument("--only", metavar="PATTERN", help="only tests whose name holds or matches PATTERN")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers and unit tests at a time")
    parser.add_argument("--deps", type=Path, default=ROOT / "build" / "deps", help="prefix of tools/deps")
    parser.add_argument("--kinds", default="release,asan,tsan", help="builds to use (default: all three)")
    arguments = parser.parse_args()
    arguments.deps = arguments.deps.resolve()
    arguments.kinds = arguments.kinds.split(",") + (["cares"] if arguments.long else [])
    return arguments


def run_build(kind, arguments, totals):
    """Everything that is tested with one build."""
    path = build(kind, arguments.deps, arguments.jobs, totals)
    if not path:
        return
    if kind == "cares":
        run_pytest("e2e-cares", "tests/e2e/test_propagation.py", path, "", arguments, totals, 900)
        return
    long_ones = set() if arguments.long else {"long"}
    if kind == "tsan":
        run_meson(kind, path, lambda suites: "tsan" in suites and not suites & long_ones, arguments, totals)
        return
    left_out = long_ones | ({"lint", "link"} if kind == "asan" else set())
    run_meson(kind, path, lambda suites: not suites & left_out, arguments, totals)
    markers = [] if arguments.long else ["not long"]
    if kind == "asan":
        markers.append("asan")
    run_pytest(f"e2e-{kind}", "tests/e2e", path, " and ".join(markers), arguments, totals,
               3000 if arguments.long else 720)


def interrupt(number, frame):
    raise KeyboardInterrupt


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, interrupt)  # so that what was started is ended
    totals = Totals()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    say("dependencies")
    deps = [str(ROOT / "tools" / "deps"), "--prefix", str(arguments.deps), "--jobs", str(arguments.jobs)]
    optional = ["--tools", "--pebble"] + (["--cares"] if "cares" in arguments.kinds else [])
    code, _ = run(deps + optional, 1200, show=bool)
    if code:
        totals.fail("tools/deps")
    else:
        run_pytest("tools", "tests/tools", None, "not long", arguments, totals, 300)
        for kind in arguments.kinds:
            run_build(kind, arguments, totals)
    kill_leftovers(totals)
    say("finished")
    return totals.report()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        kill_leftovers(Totals())
        sys.exit(130)
