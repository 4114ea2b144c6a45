#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The options that docs/checklist.md and docs/pomerium.md name are there, and have the defaults that the first says.

    check_documents.py FERRULE ROOT     exits 1 and prints what differs
"""

import re
import subprocess
import sys
from pathlib import Path

ACME = "certificatesResolvers.<name>.acme"
ROW = re.compile(r"^\| `([^`]+)` \|(.*)$", re.M)
KEY = re.compile(r"`((?:acme|entryPoints|http|tls|ocsp)\b[\w.]*)`")


def options_of(ferrule):
    """{key: (default, may be used)} of `ferrule options --markdown`."""
    printed = subprocess.run([ferrule, "options", "--markdown"], check=True, capture_output=True, text=True).stdout
    found = {}
    for key, rest in ROW.findall(printed):
        default = rest.rstrip("| ").split("|")[1].strip().strip("`") if rest.count("|") > 1 else ""
        found[key] = (default, "not in ferrule" not in rest and "Not available yet" not in rest)
    return found


def section(text, heading):
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def main():
    options, docs = options_of(Path(sys.argv[1]).resolve()), Path(sys.argv[2]) / "docs"
    wrong, count = [], 0
    for name, rest in ROW.findall(section((docs / "checklist.md").read_text(), "Options of a resolver")):
        count += 1
        said = rest.split("|")[0].strip().strip("`")
        default, usable = options.get(f"{ACME}.{name}", (None, False))
        if not usable or default != ("" if said == "(none)" else said):
            wrong.append(f"checklist.md: {name} has the default {default!r}, not {said!r}; usable: {usable}")
    for setting, rest in ROW.findall((docs / "pomerium.md").read_text()):
        keys = KEY.findall(rest)
        count += len(keys)
        if not keys:
            wrong.append(f"pomerium.md: {setting} has no option")
        for key in keys:
            whole = re.sub(r"^acme\b", ACME, key) if key != "ocsp" else key
            whole = re.sub(r"^entryPoints\.\w+", "entryPoints.<name>", whole)
            whole = re.sub(r"^http\.routers\.\w+", "http.routers.<name>", whole)
            if not options.get(whole, (None, False))[1]:
                wrong.append(f"pomerium.md: {setting}: there is no option {key}")
    print("\n".join(wrong + [f"{count} options"]))
    sys.exit(1 if wrong or count < 20 else 0)


main()
