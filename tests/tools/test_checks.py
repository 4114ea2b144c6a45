# SPDX-License-Identifier: Apache-2.0
"""Each repository check finds what it is for, in a small tree made for it, and passes a good one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
GOOD_HEADER = LICENCE + "/* base/a.h - nothing.\n * Thread: any.   Owns: nothing.\n * Never: blocks. */\n#pragma once\n"


def check(name, root, tree):
    """Runs tools/check_NAME.py on a tree {path: text}; returns (exit code, output)."""
    for path, text in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    result = subprocess.run([sys.executable, str(ROOT / "tools" / f"check_{name}.py"), "--root", str(root)],
                            capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def include(name):
    return LICENCE + f'#include "{name}"\n'


def program(body, before=""):
    return LICENCE + f"{before}void f(void)\n{{\n{body}\n}}\n"


LAYER_FAULTS = {
    "data uses control": ({"src/data/a.c": include("control/b.h"), "src/control/b.h": ""}, "data may not use control"),
    "control uses ring": ({"src/control/a.c": include("ring/ring.h"), "src/ring/ring.h": ""}, "control may not use ring"),
    "private bridge header": ({"src/data/a.c": include("bridge/table.h"), "src/bridge/table.h": ""}, "private to bridge"),
    "provider uses src": ({"providers/x/x.c": include("base/a.h"), "src/base/a.h": ""}, "providers may not use base"),
    "provider uses provider": ({"providers/x/x.c": include("../y/y.h"), "providers/y/y.h": ""}, "may not use provider y"),
    "library outside its folder": ({"src/data/a.c": LICENCE + "#include <curl/curl.h>\n"}, "belongs to"),
    "unknown folder": ({"src/other/a.c": ""}, "no rule for"),
    "missing header": ({"src/data/a.c": include("base/missing.h")}, "is no file"),
    "tests from src": ({"src/data/a.c": include("../../tests/t.h"), "tests/t.h": ""}, "may not include tests"),
}


@pytest.mark.parametrize("fault", LAYER_FAULTS)
def test_layers_finds(fault, tmp_path):
    tree, message = LAYER_FAULTS[fault]
    code, output = check("layers", tmp_path, tree)
    assert code == 1 and message in output


def test_layers_passes_good_tree(tmp_path):
    tree = {
        "src/data/a.c": include("bridge/publish.h") + '#include "data/a.h"\n#include "version.h"\n',
        "src/data/a.h": "", "src/bridge/publish.h": "", "src/bridge/table.c": include("bridge/table.h"),
        "src/bridge/table.h": "", "src/boot/a.c": include("control/c.h"), "src/control/c.h": include("abi/p.h"),
        "providers/abi/p.h": "", "providers/x/x.c": include("abi/p.h"), "src/main.c": include("data/a.h"),
    }
    assert check("layers", tmp_path, tree)[0] == 0


def test_size_finds_long_file_and_function(tmp_path):
    tree = {"src/base/long.c": "\n" * 801, "src/base/f.c": program("    ;\n" * 69)}
    code, output = check("size", tmp_path, tree)
    assert code == 1 and "801 lines" in output and "f() has" in output
    good = tmp_path / "good"
    good.mkdir()
    assert check("size", good, {"src/base/f.c": program("    ;\n" * 64)})[0] == 0


BANNED = {
    "strcpy": "strcpy(a, b);", "sprintf": "sprintf(a, b);", "strtok": "strtok(a, b);", "atoi": "x = atoi(a);",
    "io_uring": "io_uring_submit(r);", "close": "close(fd);", "malloc": "p = malloc(1);", "assert": "assert(x);",
    "marker": "/* TO" "DO later */", "sleep": "usleep(5);",
}


@pytest.mark.parametrize("what", BANNED)
def test_banned_finds(what, tmp_path):
    code, output = check("banned", tmp_path, {"src/data/a.c": program("    " + BANNED[what])})
    assert code == 1, output


def test_banned_passes_good_tree(tmp_path):
    tree = {
        "src/data/a.c": program('    log("never strcpy(a, b)"); /* nor atoi() */\n    ring->close(fd); conn_close(c);\n'
                                "    free(p); /* allowed: freed once at exit */"),
        "src/ring/r.c": program("    io_uring_submit(r);"),
        "src/control/c.c": program("    close(fd); p = malloc(1);"),
    }
    code, output = check("banned", tmp_path, tree)
    assert code == 0, output


def test_banned_finds_registry_and_machine_paths(tmp_path):
    code, output = check("banned", tmp_path, {"docs/a.md": "see deb.debian" + ".org\n", "tools/x": "cd /ho" + "me/somebody\n"})
    assert code == 1 and output.count("\n") == 2


SEEDED = "Two is one.\nNoticed by: unit data_a\nNoticed by: tests/e2e/test_a.py::test_a[b c]\n" \
    "--- a/src/data/a.c\n+++ b/src/data/a.c\n@@ -1 +1 @@\n-2\n+1\n"
SEEDED_TREE = {"src/data/a.c": "2\n", "tests/unit/data/a_test.c": "", "tests/e2e/test_a.py": "def test_a(b):\n", "tests/faults/f.patch": SEEDED}
SEEDED_FAULTS = {
    "does not apply": ({"src/data/a.c": "3\n"}, "does not apply"),
    "no unit test": ({"tests/faults/f.patch": SEEDED.replace("data_a", "data_b")}, "no unit test data_b"),
    "no case": ({"tests/e2e/test_a.py": "def test_b(b):\n"}, "no test tests/e2e/test_a.py::test_a"),
    "nobody notices": ({"tests/faults/f.patch": SEEDED.replace("Noticed by", "By")}, "is missing"),
    "strange line": ({"tests/faults/f.patch": SEEDED.replace("unit data_a", "data_a")}, "is allowed"),
    "says nothing": ({"tests/faults/f.patch": SEEDED[SEEDED.index("---"):]}, "no sentence"),
}


@pytest.mark.parametrize("fault", SEEDED_FAULTS)
def test_faults_finds(fault, tmp_path):
    tree, message = SEEDED_FAULTS[fault]
    code, output = check("faults", tmp_path, {**SEEDED_TREE, **tree})
    assert code == 1 and message in output, output


def test_faults_passes_good_tree(tmp_path):
    code, output = check("faults", tmp_path, SEEDED_TREE)
    assert code == 0 and "1 faults checked" in output, output


HEADER_FAULTS = {
    "no licence": GOOD_HEADER.replace(LICENCE, ""),
    "no thread": GOOD_HEADER.replace("Thread:", "Threads"),
    "no purpose": LICENCE + "#pragma once\n",
    "other name": GOOD_HEADER.replace("base/a.h", "base/b.h"),
}


@pytest.mark.parametrize("fault", HEADER_FAULTS)
def test_headers_finds(fault, tmp_path):
    assert check("headers", tmp_path, {"src/base/a.h": HEADER_FAULTS[fault]})[0] == 1


def test_headers_passes_good_tree(tmp_path):
    code, output = check("headers", tmp_path, {"src/base/a.h": GOOD_HEADER, "tools/x": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n"})
    assert code == 0, output


def test_docs_finds_missing_names(tmp_path):
    tree = {"docs/architecture.md": "`conn.c` `none.c` `conn_open()` `none()` `src/data/` `src/none/`\n",
            "src/data/conn.c": program("", "void conn_open(void)\n{\n}\n")}
    code, output = check("docs", tmp_path, tree)
    assert code == 1 and output.count("none") == 3 and "conn" not in output.replace("architecture", ""), output


def test_docs_without_document_is_a_skip(tmp_path):
    assert check("docs", tmp_path, {})[0] == 77
