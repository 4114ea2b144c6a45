#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Calls and words that have no place here, each with what to use instead.

A line that must do it anyway says why: a comment that begins with "allowed:" on the same line or the line
above. (Third-party headers outside the folder that wraps them: check_layers.py.)
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib


def call(*names):
    """A call of one of the functions, not a method or a longer name."""
    return re.compile(r"(?<![\w.>])(?:" + "|".join(names) + r")\s*\(")


PRODUCT = ("src", "providers")

# What of src/data allocates, opens and closes at start, at the end, or once for a snapshot; the rest never does.
AT_START = ("src/data/data", "src/data/sockets", "src/data/worker", "src/data/listener", "src/data/block", "src/data/policy",
            "src/data/verify", "src/data/log/access_writer", "src/data/log/access_ring",
            "src/data/tls/policy", "src/data/route/bucket", "src/data/route/known", "src/data/route/middleware",
            "src/data/route/router", "src/data/route/tally", "src/data/upstream/pool",
            "src/data/upstream/dialers", "src/data/tls/dialer")

# (folders, folders left out, pattern on code without comments and strings, what to do instead)
CODE_RULES = [
    (PRODUCT, (), call("strcpy", "strcat", "stpcpy", "strncpy", "strncat"), "no bound is checked: use base/buf.h or snprintf"),
    (PRODUCT, (), call("sprintf", "vsprintf"), "use snprintf or base/buf.h"),
    (PRODUCT, (), call("strtok", "strtok_r"), "it changes its input: use a span"),
    (PRODUCT, (), call("atoi", "atol", "atoll", "atof", "sscanf"), "no error is seen: use a checked parser"),
    (PRODUCT, (), call("gets", "alloca", "system", "popen"), "never safe here"),
    (PRODUCT, (), call("rand", "srand", "random", "srandom", "drand48"), "use base/rand.h, or crypto for secrets"),
    (PRODUCT, (), call("signal"), "use sigaction or signalfd"),
    (PRODUCT, (), call("gethostbyname", "getaddrinfo"), "it blocks: control resolves with c-ares"),
    (PRODUCT, (), call("localtime", "gmtime", "ctime", "asctime"), "not safe with threads: use the _r function"),
    (PRODUCT, (), call("sleep", "usleep", "nanosleep"), "wait for a condition with a deadline"),
    (("src",), (), call("assert"), "use must() of base/must.h: it stays on"),
    (("src",), (), call("fork", "vfork"), "use posix_spawn"),
    (PRODUCT + ("tests", "fuzz"), ("src/ring", "tests/unit/ring"), re.compile(r"\bio_uring_\w+"), "only src/ring talks to io_uring"),
    (("src/data",), AT_START, call("close", "malloc", "calloc", "realloc", "free", "strdup", "strndup"),
     "no heap and no close() in the data plane: slabs at start, the ring closes"),
]

# (folders, pattern on the whole text, message)
WORDS = re.compile(r"\b(?:TODO|FIXME|XXX)\b|\bnot (?:yet )?implemented\b|\bstub\b", re.I)
HOSTS = (("deb", "debian"), ("ftp", "debian"), ("snapshot", "debian"), ("archive", "ubuntu"), ("registry", "npmjs"),
         ("registry", "yarnpkg"), ("files", "pythonhosted"), ("proxy", "golang"), ("static", "crates"),
         ("index", "crates"), ("pypi",), ("rubygems",))
# The names are taken apart so that this file does not hold what it looks for.
HOST = re.compile("|".join(re.escape(".".join(host)) + r"\.(?:org|com|io)\b" for host in HOSTS))
TEXT_RULES = [
    (PRODUCT, WORDS, "finish it or leave it out"),
    ((".",), HOST, "no package registry in the repository: use the machine's own apt"),
    ((".",), re.compile(r"(?<![\w./$}])/(?:home|root)/\w"), "a path of somebody's machine"),
]


def is_allowed(lines, number):
    """The line (from 1) or the one above it carries a waiver with a reason."""
    here = lines[number - 1]
    above = lines[number - 2] if number > 1 else ""
    return bool(re.search(r"/[*/]\s*allowed:\s*\S", here) or re.match(r"\s*/[*/]\s*allowed:\s*\S", above))


def below(relative, folders):
    text = relative.as_posix()
    return any(folder == "." or text.startswith(folder + "/") or text.startswith(folder + ".") for folder in folders)


def check_text(path, relative, text, report):
    for folders, pattern, message in TEXT_RULES:
        if below(relative, folders):
            for match in pattern.finditer(text):
                number = text.count("\n", 0, match.start()) + 1
                if not is_allowed(text.splitlines(), number):
                    report.add(path, number, f"'{match.group(0)}': {message}")


def check_code(path, relative, text, report):
    code, lines = lintlib.code_only(text), text.splitlines()
    for folders, left_out, pattern, message in CODE_RULES:
        if not below(relative, folders) or below(relative, left_out):
            continue
        for match in pattern.finditer(code):
            number = code.count("\n", 0, match.start()) + 1
            if not is_allowed(lines, number):
                report.add(path, number, f"{match.group(0).rstrip('( ')}: {message}")


def main():
    root = lintlib.root_from_arguments(__doc__)
    report = lintlib.Report(root)
    count = 0
    for path in lintlib.files(root):
        text = lintlib.text_of(path)
        if text is None:
            continue
        count += 1
        relative = path.relative_to(root)
        check_text(path, relative, text, report)
        if path.name.endswith(lintlib.C_SUFFIXES):
            check_code(path, relative, text, report)
    report.finish(f"{count} files")


main()
