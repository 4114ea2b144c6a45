# SPDX-License-Identifier: Apache-2.0
"""The examples of Traefik's documents (tests/fixtures/spec): as text, and as command-line flags that complete another."""

import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "spec"


def every():
    """The names of all examples."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def text(name):
    return (FOLDER / f"{name}.toml").read_text()


def tree(name):
    return tomllib.loads(text(name))


def flag_lines(first, last):
    """The lines of flags.txt from the one that begins with `first` to the one that begins with `last`."""
    lines = (FOLDER / "flags.txt").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(first))
    return lines[begin:next(i for i, line in enumerate(lines) if line.startswith(last)) + 1]


def flags(value, path="-"):
    """["--a.b=value", ...] of a tree; an empty table is "=true"."""
    if isinstance(value, dict) and value:
        return [flag for name, inner in value.items() for flag in flags(inner, f"{path}-{name}" if path == "-" else f"{path}.{name}")]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [flag for i, inner in enumerate(value) for flag in flags(inner, f"{path}[{i}]")]
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return [f"{path}={'true' if value == {} or value is True else value}"]
