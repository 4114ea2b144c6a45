# SPDX-License-Identifier: Apache-2.0
"""What bench/compare and bench/smoke share: proxies, scenarios, measuring, reporting."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))  # its lib starts, finds and ends processes
os.environ.setdefault("FERRULE_BUILD", str(ROOT / "build" / "release"))


class Unavailable(Exception):
    """A proxy cannot be measured at all; the text says why."""


class CellFailed(Exception):
    """This proxy cannot be measured in this scenario; the text says why."""
