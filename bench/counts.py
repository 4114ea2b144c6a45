#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of each case of bench/micro against those on record: a test that a change which costs is seen.

    bench/counts.py MICRO COMPILER [--write]

MICRO is the program bench/micro of a release build, COMPILER what made it ("gcc-12-x86_64"). callgrind counts what happens
in its measured(), on fixed inputs, with fixed random numbers and the processor that valgrind shows to programs: two runs
give the same figures, on any machine with AVX2. The test fails when a case takes 5 % more than bench/counts.txt says for this
compiler; --write puts the figures of now there, for a change that is worth what it costs, and for one that saves, so that what it
saved is kept. Other compilers and libraries give other figures, so there is a record for each; without one the test is
skipped (exit code 77), as it is without valgrind.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RECORD = Path(__file__).resolve().with_suffix(".txt")
LIMIT = 1.05
SKIP = 77
ENV = {
    "PATH": os.environ["PATH"],
    "LD_BIND_NOW": "1",  # else the first call of a function of a library costs more
    # rep movsb counts once for each byte, and where it begins depends on the machine's caches.
    "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000",
}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


def measure(micro):
    """{case: instructions of one run}"""
    with tempfile.TemporaryDirectory(prefix="ferrule-counts-") as folder:
        command = ["valgrind", "-q", "--tool=callgrind", "--toggle-collect=measured", "--dump-after=measured",
                   f"--callgrind-out-file={folder}/out", micro, "--count"]
        out = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=True).stdout
        counts = {}
        for number, line in enumerate(out.splitlines(), 1):  # a file for each time that measured() ended
            case, runs = line.split()
            totals = re.search(r"^totals: (\d+)$", Path(folder, f"out.{number}").read_text(), re.M)
            counts[case] = round(int(totals.group(1)) / int(runs))
    return counts


def read_record():
    """{(compiler, case): instructions}"""
    rows = [line.split() for line in RECORD.read_text().splitlines() if line and line[0] != "#"]
    return {(compiler, case): int(count) for compiler, case, count in rows}


def write_record(compiler, counts):
    record = {key: count for key, count in read_record().items() if key[0] != compiler}
    record.update({(compiler, case): count for case, count in counts.items()})
    head = [line for line in RECORD.read_text().splitlines() if line.startswith("#")]
    rows = [f"{compiler} {case} {count}" for (compiler, case), count in sorted(record.items(), key=lambda row: row[0][0])]
    RECORD.write_text("\n".join(head + rows) + "\n")


def compare(compiler, counts, record):
    """Prints all cases. False: some are above the limit or not on record."""
    good = True
    for case in sorted(counts.keys() | record.keys()):
        now, then = counts.get(case), record.get(case)
        ratio = now / then if now and then else None
        bad = ratio is None or ratio >= LIMIT
        note = "" if not bad else "  only in one of both" if ratio is None else f"  ABOVE {LIMIT}"
        if ratio and ratio <= 2 - LIMIT:
            note = "  less: record it, so that it stays"
        print(f"{case:16} {now or '-':>8} {then or '-':>8} on record {f'{ratio:6.3f}' if ratio else '      '}{note}")
        good &= not bad
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("micro", type=Path)
    parser.add_argument("compiler")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    record = {case: count for (compiler, case), count in read_record().items() if compiler == options.compiler}
    if not record and not options.write:
        skip(f"bench/counts.txt has no figures for {options.compiler}: {sys.argv[0]} {options.micro} {options.compiler} --write")
    if not shutil.which("valgrind"):
        skip("valgrind is not installed")
    if "x86_64" in options.compiler and not re.search(r"^flags.*\bavx2\b", Path("/proc/cpuinfo").read_text(), re.M):
        skip("the processor has no AVX2: libraries take other paths than on record")
    counts = measure(options.micro.resolve())
    if options.write:
        write_record(options.compiler, counts)
    elif not compare(options.compiler, counts, record):
        print(f"\nA part of the request's path costs more. If that is worth it:\n"
              f"    {sys.argv[0]} {options.micro} {options.compiler} --write")
        sys.exit(1)


if __name__ == "__main__":
    main()
