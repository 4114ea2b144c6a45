#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: reads #include lines against the tables below.

A folder may include itself and what its row names. Of bridge, other folders may include only the public
headers. A third-party library belongs to the folders that wrap it.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lintlib

LAYERS = {
    "base": set(),
    "crypto": {"base"},
    "ring": {"base"},
    "bridge": {"base"},
    "data": {"base", "crypto", "ring", "bridge"},
    "control": {"base", "crypto", "config", "bridge", "providers/abi"},
    "config": {"base", "crypto"},
    "boot": {"base", "crypto", "ring", "bridge", "data", "control", "config", "providers/abi"},
    "providers": {"providers/abi"},
    "providers/abi": set(),
}

BRIDGE_PUBLIC = {"publish.h", "report.h", "report.def", "rules.def", "snapshot.h"}

# header prefix -> folders that may include it
LIBRARIES = {
    "liburing": {"src/ring"},
    "wolfssl/": {"src/crypto", "src/data/tls"},
    "llhttp": {"src/data/http"},
    "nghttp2/": {"src/data/http"},
    "urcu": {"src/bridge"},
    "ares": {"src/control"},
    "curl/": {"src/control"},
    "jansson": {"src/control", "providers"},
    "lmdb": {"src/control", "src/data"},
    "toml++/": {"src/config"},
    "re2/": {"src/base", "src/config", "src/data"},
    "systemd/": {"src/boot"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def layer_of(relative):
    """The row of LAYERS that a path belongs to, or None for a path that no rule covers."""
    parts = relative.parts
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else "boot"
    if parts[0] == "providers":
        return "providers/abi" if parts[1] == "abi" else "providers"
    return None


def resolve(root, path, name):
    """The file a quoted include means, or None."""
    for base in (path.parent, root / "src", root, root / "providers", root / "providers" / "abi"):
        candidate = base / name
        if candidate.exists():
            return candidate.resolve()
    return None


def check_quoted(root, path, line, name, report):
    target = resolve(root, path, name)
    if target is None:
        if "/" in name:
            report.add(path, line, f'"{name}" is no file of this repository')
        return  # a generated header
    source, relative = path.relative_to(root), target.relative_to(root)
    own, other = layer_of(source), layer_of(relative)
    if other is None:
        report.add(path, line, f"{source.parts[0]}/ may not include {relative}")
    elif other != own and other not in LAYERS[own]:
        allowed = ", ".join(sorted(LAYERS[own])) or "nothing"
        report.add(path, line, f"{own} may not use {other} (it may use: {allowed})")
    elif other == "bridge" and own != "bridge" and relative.name not in BRIDGE_PUBLIC:
        report.add(path, line, f"{relative} is private to bridge; use {', '.join(sorted(BRIDGE_PUBLIC))}")
    elif own == "providers" and other == "providers" and source.parts[1] != relative.parts[1]:
        report.add(path, line, f"provider {source.parts[1]} may not use provider {relative.parts[1]}")


def check_library(root, path, line, name, report):
    source = path.relative_to(root)
    for prefix, folders in LIBRARIES.items():
        if name.startswith(prefix) and not any(source.is_relative_to(folder) for folder in folders):
            report.add(path, line, f"<{name}> belongs to {', '.join(sorted(folders))}; use the header there")


def main():
    root = lintlib.root_from_arguments(__doc__)
    report = lintlib.Report(root)
    paths = lintlib.files(root, ("src", "providers"), lintlib.C_SUFFIXES + (".def",))
    for path in paths:
        source = path.relative_to(root)
        if layer_of(source) not in LAYERS:
            report.add(path, 1, f"no rule for {source.parent}: add it to tools/check_layers.py")
            continue
        text = lintlib.text_of(path)
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            check = check_quoted if match.group(1) == '"' else check_library
            check(root, path, line, match.group(2), report)
    report.finish(f"{len(paths)} files")


main()
