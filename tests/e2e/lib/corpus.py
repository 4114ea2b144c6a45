# SPDX-License-Identifier: Apache-2.0
"""The corpus of HTTP/1 messages in tests/corpus/http1: its README.md says what the columns hold."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "corpus" / "http1"


class Case:
    def __init__(self, line):
        self.name, self.method, self.rule, answers, self.section = line.rstrip("\n").split("\t")
        self.rule = None if self.rule == "-" else self.rule
        self.answers = [] if answers == "-" else [int(a) if a.isdigit() else a for a in answers.split(",")]
        self.data = (FOLDER / self.name).read_bytes()

    @property
    def is_request(self):
        return self.name.startswith("requests/")


def cases():
    lines = (FOLDER / "index.tsv").read_text().splitlines()
    return [Case(line) for line in lines if not line.startswith("#")]
