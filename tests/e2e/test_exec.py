# SPDX-License-Identifier: Apache-2.0
"""The exec plug-in in its real child process: programs of every family of hooks change a real BIND by nsupdate, and
programs that misbehave cost an error, never more."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from lib import hooks
from lib.ferrule import run_cli
from lib.proc import is_alive, wait_until
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test."
BARE = NAME.rstrip(".")


@pytest.fixture
def tool():
    return Tool()


@pytest.fixture
def script(folder):
    """script(text, name="hook", mode=0o755): a program; returns its path."""

    def make(text, name="hook", mode=0o755):
        path = folder / name
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        path.chmod(mode)
        return path

    return make


def call(tool, what="present", value="one", state="", name=NAME, **env):
    env = {"DOMAIN": "demo.edge.test", "TOKEN": "the-token", "KEY_AUTH": "the-token.thumb", **{k: str(v) for k, v in env.items()}}
    return tool.call(what, name, value, env=env, code="exec", state=state)


# --- the families ---------------------------------------------------------------------------------------------

@pytest.mark.asan
@pytest.mark.parametrize("family", ["default", "certbot", "dehydrated"])
def test_values_come_and_go(tool, bind, script, family):
    env = hooks.environment(family, bind, script)
    bind.nsupdate(f"add {NAME} 60 TXT foreign")
    states = {}
    for value in ("one", "two"):
        answer = call(tool, "present", value, **env)
        assert answer["verdict"] == "OK", answer
        states[value] = answer["state"]
    assert bind.txt(BARE) == ["foreign", "one", "two"]
    for value in ("one", "one", "two"):
        answer = call(tool, "cleanup", value, state=states[value], **env)
        assert answer["verdict"] == "OK", answer
    assert bind.txt(BARE) == ["foreign"]


@pytest.mark.asan
def test_acme_sh_with_an_unmodified_hook(tool, bind, folder):
    """acme.sh's own dns_nsupdate, which removes every TXT at the name: so its last value alone is looked at."""
    env = hooks.acme_sh_environment(bind, folder)
    for value in ("one", "two"):
        answer = call(tool, "present", value, **env)
        assert answer["verdict"] == "OK", (answer, tool.log)
    assert bind.txt(BARE) == ["one", "two"]
    assert call(tool, "cleanup", "one", **env)["verdict"] == "OK"
    assert bind.txt(BARE) == []
    left = [p for p in Path(env["TMPDIR"]).iterdir()]
    assert left == [], left


def test_acme_sh_with_a_hook_of_ours(tool, folder, script):
    """acme.sh's own functions are there, its folder is kept when asked for, credentials come from the environment."""
    program = hooks.acme_sh()
    hook = script("""#!/usr/bin/env sh
dns_mine_add() {
  MINE_TOKEN="${MINE_TOKEN:-$(_readaccountconf_mutable MINE_TOKEN)}"
  [ "$MINE_TOKEN" ] || { _err "no token"; return 1; }
  _saveaccountconf_mutable MINE_TOKEN "$MINE_TOKEN"
  echo "add $1 $2 $MINE_TOKEN" >>"$MINE_LOG"
}
dns_mine_rm() {
  echo "rm $1 $2 $(_readaccountconf_mutable MINE_TOKEN)" >>"$MINE_LOG"
}
""", "dns_mine.sh", 0o644)
    log, home = folder / "log", folder / "home"
    home.mkdir(mode=0o700)
    env = {"EXEC_MODE": "acme.sh", "EXEC_PATH": hook, "EXEC_ACME_SH": program, "EXEC_ACME_SH_HOME": home, "MINE_LOG": log}
    answer = call(tool, **env)
    assert answer["verdict"] == "RETRY" and "exit status 1" in answer["text"] and "no token" in answer["text"], answer
    assert call(tool, **env, MINE_TOKEN="secret-of-mine")["verdict"] == "OK"
    assert call(tool, "cleanup", **env)["verdict"] == "OK"
    assert log.read_text() == f"add {BARE} one secret-of-mine\nrm {BARE} one secret-of-mine\n"
    assert "secret-of-mine" not in tool.log


def test_default_arguments(tool, folder, script):
    path = script('printf "%s\\n" "$#" "$@" >"$OUT"; pwd >/dev/null')
    for what in ("present", "cleanup"):
        assert call(tool, what, "-v'$(x) y", EXEC_PATH=path, OUT=folder / "out")["verdict"] == "OK"
        assert (folder / "out").read_text().splitlines() == ["3", what, NAME, "-v'$(x) y"]


def test_raw_arguments(tool, folder, script):
    path = script('printf "%s\\n" "$#" "$@" >"$OUT"')
    env = {"EXEC_PATH": path, "EXEC_MODE": "RAW", "OUT": folder / "out"}
    assert call(tool, "cleanup", **env)["verdict"] == "OK"
    assert (folder / "out").read_text().splitlines() == ["5", "cleanup", "--", "demo.edge.test", "the-token", "the-token.thumb"]
    answer = call(tool, **env, TOKEN="")
    assert answer["verdict"] == "CONFIG" and "the challenge's token" in answer["text"]


def test_certbot_output_travels_to_the_cleanup(tool, folder, script):
    path = script('echo noise >&2; echo "  record 42 "; echo "$CERTBOT_DOMAIN $CERTBOT_VALIDATION '
                  '$CERTBOT_REMAINING_CHALLENGES ${CERTBOT_TOKEN-none}" >"$OUT"')
    clean = script('echo "$1|$CERTBOT_AUTH_OUTPUT|$CERTBOT_IDENTIFIER" >"$OUT"', "clean")
    env = {"EXEC_PATH": path, "EXEC_MODE": "certbot", "EXEC_CLEANUP_PATH": f"{clean} word", "OUT": folder / "out"}
    answer = call(tool, **env)
    assert answer["verdict"] == "OK" and answer["state"] == "1 record 42"
    assert (folder / "out").read_text() == "demo.edge.test one 0 none\n"
    assert call(tool, "cleanup", state=answer["state"], **env)["verdict"] == "OK"
    assert (folder / "out").read_text() == "word|record 42|demo.edge.test\n"
    del env["EXEC_CLEANUP_PATH"]
    assert call(tool, "cleanup", state=answer["state"], **env)["verdict"] == "OK"
    assert "the TXT value stays" in tool.log


@pytest.mark.parametrize("mode", ["certbot", "dehydrated"])
def test_delegated_names(tool, folder, script, mode):
    """The hook is told the domain of the name that the CNAME leads to; it cannot write anywhere else."""
    path = script('echo "$CERTBOT_DOMAIN$2" >"$OUT"')
    env = {"EXEC_PATH": path, "EXEC_MODE": mode, "OUT": folder / "out"}
    assert call(tool, name="_acme-challenge.demo.other.test.", **env)["verdict"] == "OK"
    assert (folder / "out").read_text() == "demo.other.test\n"
    answer = call(tool, name="demo.other.test.", **env)
    assert answer["verdict"] == "CONFIG" and "let the CNAME lead to such a name" in answer["text"]


# --- what the program sees ------------------------------------------------------------------------------------

def environment_of(tool, folder, script, **env):
    path = script('env >"$OUT"; ls /proc/self/fd >"$OUT.fds"; cat >>"$OUT"')
    assert call(tool, EXEC_PATH=path, OUT=folder / "out", **env)["verdict"] == "OK", tool.log
    text = (folder / "out").read_text()
    seen = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return seen, (folder / "out.fds").read_text().split()


def test_the_operators_environment(tool, folder, script):
    seen, descriptors = environment_of(tool, folder, script, MYDNS_TOKEN="from-ferrule", OVERLAY="MYDNS_ZONE=z MYDNS_TOKEN=from-resolver")
    assert seen["MYDNS_TOKEN"] == "from-resolver" and seen["MYDNS_ZONE"] == "z"
    assert seen["HOME"] == os.environ["HOME"] and seen["EXEC_PATH"]
    assert descriptors == ["0", "1", "2", "3"]  # the fourth is the folder that ls reads


@pytest.mark.parametrize("patterns, expected", [("OUT, MYDNS_*", {"MYDNS_TOKEN", "OUT"}), ("OUT", {"OUT"})])
def test_minimal_environment(tool, folder, script, patterns, expected):
    seen, _ = environment_of(tool, folder, script, MYDNS_TOKEN="t", HOME="/nonexistent", EXEC_ENVIRONMENT=patterns)
    shell_made = {"PWD", "_", "SHLVL", "OLDPWD"}
    assert set(seen) - shell_made == expected | {"PATH"}


def test_too_large_an_environment(tool, script):
    """More than the messages between ferrule and the plug-in's process hold."""
    env = {f"HUGE_{n}": "x" * 1000 for n in range(80)}
    answer = call(tool, EXEC_PATH=script("exit 0"), **env)
    assert answer["verdict"] == "CONFIG" and "name fewer" in answer["text"], answer
    assert call(tool, EXEC_PATH=script("exit 0"), EXEC_ENVIRONMENT="HOME", **env)["verdict"] == "OK"


def test_secrets_are_blotted_out(tool, script):
    path = script('echo "using $MYDNS_TOKEN and $OTHER_PASSWORD"; echo "refused: $MYDNS_TOKEN" >&2; exit 1')
    answer = call(tool, EXEC_PATH=path, MYDNS_TOKEN="canary-one-1", OVERLAY="OTHER_PASSWORD=canary-two-2")
    assert answer["verdict"] == "RETRY" and "refused: ***" in answer["text"], answer
    assert "using *** and ***" in tool.log and "canary" not in tool.log


# --- programs that misbehave -----------------------------------------------------------------------------------

@pytest.mark.parametrize("text, verdict, expected", [
    ("echo first; echo the zone is locked >&2; exit 3", "RETRY", "(present) ended with exit status 3: the zone is locked"),
    ("echo only this; exit 1", "RETRY", "exit status 1: only this"),
    ("exit 1", "RETRY", "exit status 1 and printed nothing"),
    ("kill -9 $$", "RETRY", "was ended by signal 9 (Killed)"),
    ("exec /nonexistent/tool", "CONFIG", "the shell cannot run it (exit status 127)"),
    ("#!/nonexistent/interpreter\n", "CONFIG", "is the interpreter there"),
])
def test_failures(tool, script, text, verdict, expected):
    answer = call(tool, EXEC_PATH=script(text))
    assert answer["verdict"] == verdict and expected in answer["text"], answer


@pytest.mark.parametrize("path, expected", [
    ("/nonexistent/program", "No such file"), ("/tmp", "which is a folder"), ("no-such-program", "in no folder of PATH"),
    ("", "set EXEC_PATH"),
])
def test_no_program(tool, path, expected):
    answer = call(tool, EXEC_PATH=path)
    assert answer["verdict"] == "CONFIG" and expected in answer["text"], answer


def test_not_executable(tool, script):
    path = script("exit 0", mode=0o644)
    answer = call(tool, EXEC_PATH=path)
    assert answer["verdict"] == "CONFIG" and f"{path}, which ferrule's user may not execute: chmod +x it" in answer["text"]
    answer = call(tool, EXEC_PATH=path, EXEC_MODE="certbot")
    assert answer["verdict"] == "CONFIG" and "exit status 126" in answer["text"] and "ermission denied" in answer["text"]


def test_found_in_path(tool, script, folder):
    script("exit 0", "my-hook")
    assert call(tool, EXEC_PATH="my-hook", PATH=f"{folder}:{os.environ['PATH']}")["verdict"] == "OK"


def test_unknown_mode(tool, script):
    answer = call(tool, EXEC_PATH=script("exit 0"), EXEC_MODE="certbto")
    assert answer["verdict"] == "CONFIG" and "default, RAW, certbot, dehydrated or acme.sh" in answer["text"]


@pytest.mark.parametrize("hook, expected", [("/nonexistent/dns_x.sh", "cannot be read"), ("dns_nosuch", "cannot be read"),
                                            ("/x/dns x.sh", "is no hook of acme.sh"), ("dns_x;reboot", "is no hook of acme.sh")])
def test_acme_sh_hooks_that_are_none(tool, script, hook, expected):
    answer = call(tool, EXEC_PATH=hook, EXEC_MODE="acme.sh", EXEC_ACME_SH=script("exit 0", "acme.sh"))
    assert answer["verdict"] == "CONFIG" and expected in answer["text"], answer


def test_acme_sh_is_missing(tool):
    answer = call(tool, EXEC_PATH="dns_cf", EXEC_MODE="acme.sh", EXEC_ACME_SH="/nonexistent/acme.sh")
    assert answer["verdict"] == "CONFIG" and "needs the program acme.sh" in answer["text"]


def pids_in(path):
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def wait_gone(pids):
    wait_until(lambda: not any(map(is_alive, pids)), f"{pids} are gone")


@pytest.mark.asan
def test_hanging_program(tool, script, folder):
    path = script('echo asking the service; echo $$ >"$OUT"; setsid sleep 600 & echo $! >>"$OUT"; sleep 600')
    started = time.monotonic()
    answer = call(tool, EXEC_PATH=path, OUT=folder / "out", LIMIT_S="5")
    assert answer["verdict"] == "RETRY" and "did not end in time and was killed" in answer["text"], answer
    assert "its last line: asking the service" in answer["text"]
    assert time.monotonic() - started < 60
    pids = pids_in(folder / "out")
    assert len(pids) == 2
    wait_gone(pids)


def test_deaf_program(tool, script, folder):
    path = script('trap "" TERM HUP INT; echo $$ >"$OUT"; while :; do sleep 1; done')
    assert call(tool, EXEC_PATH=path, OUT=folder / "out", LIMIT_S="2")["verdict"] == "RETRY"
    wait_gone(pids_in(folder / "out"))


@pytest.mark.asan
@pytest.mark.parametrize("start", ["sleep 600 &", "setsid sleep 600 &", "(setsid sh -c 'sleep 600 & sleep 600' &) ",
                                   "setsid sleep 600 >/dev/null 2>&1 &"])
def test_children_that_stay(tool, script, folder, start):
    """They hold the output open and flee into sessions of their own: the run ends with the program, and so do they."""
    started = time.monotonic()
    answer = call(tool, EXEC_PATH=script(f"{start}\necho done"), MARK=folder.name)
    assert answer["verdict"] == "OK", answer
    assert time.monotonic() - started < 25
    assert "running: killed" in tool.log
    wait_until(lambda: not marked(folder.name), "nothing of the program runs")


def marked(mark):
    """The processes with this variable."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARK={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("stream", ["1", "2"])
def test_megabytes_of_output(tool, script, stream):
    path = script(f"head -c 5000000 /dev/zero | tr '\\0' x >&{stream}; yes line | head -n 200000 >&{stream}; exit 4")
    answer = call(tool, EXEC_PATH=path)
    assert answer["verdict"] == "RETRY" and "exit status 4" in answer["text"]
    assert len(tool.log) < 200000
    path = script(f"yes line | head -n 1000 >&{stream}", "many")
    assert call(tool, EXEC_PATH=path)["verdict"] == "OK"
    assert "(950 more lines)" in tool.log and tool.log.count(": line\n") <= 60


def test_unprintable_output(tool, script):
    path = script("printf 'a\\033[2J\\000\\377b\\n' >&2; exit 1")
    answer = call(tool, EXEC_PATH=path)
    assert answer["verdict"] == "RETRY" and "\033" not in tool.log + answer["text"]


def test_ferrule_ends_the_program_with_itself(bind, folder, script):
    """`provider test` is interrupted while the program runs: the program ends, too."""
    path = script('echo $$ >"$OUT"; exec sleep 600')
    config = folder / "ferrule.toml"
    config.write_text(f"""
[entryPoints.web]
address = "127.0.0.1:8080"
[plugins]
directories = ["{Tool.folder_of("exec")}"]
[state]
directory = "{folder}"
[certificatesResolvers.main.acme]
email = "a@edge.test"
storage = "{folder}/acme.json"
[certificatesResolvers.main.acme.dnsChallenge]
provider = "exec"
resolvers = ["{bind.address}"]
[certificatesResolvers.main.acme.dnsChallenge.env]
EXEC_PATH = "{path}"
OUT = "{folder / "out"}"
""")
    from lib.ferrule import program

    process = subprocess.Popen([program(), "provider", "test", "exec", "--domain", "demo.edge.test", "-c", config])
    wait_until(lambda: pids_in(folder / "out"), "the program runs")
    process.kill()
    process.wait()
    wait_gone(pids_in(folder / "out"))


# --- the whole way -----------------------------------------------------------------------------------------------

def test_description(tool, script):
    info = tool.describe(env={"EXEC_PATH": str(script("exit 0"))}, code="exec")
    assert (info["name"], info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"],
            info["sequence_interval_s"], info["call_timeout_s"]) == ("exec", 120, 60, 2, 60, 120)
    info = tool.describe(env={"EXEC_PATH": "true", "EXEC_TIMEOUT": "7", "EXEC_PROPAGATION_TIMEOUT": "9"}, code="exec")
    assert (info["call_timeout_s"], info["propagation_timeout_s"]) == (7, 9)


def test_show():
    result = run_cli("provider", "show", "exec", "--directory", Tool.folder_of("exec"))
    assert result.returncode == 0 and "EXEC_PATH  (required)" in result.stdout and "EXEC_ACME_SH_HOME" in result.stdout


@pytest.mark.asan
@pytest.mark.parametrize("family", ["default", "certbot", "dehydrated"])
def test_order(ferrule, origin, bind, pebble, script, family):
    """Apex and wildcard, from Pebble, by a hook."""
    env = hooks.environment(family, bind, script)
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])],
                         resolver={"provider": "exec", "env": env})
    hooks.wait_order(proxy, bind, pebble, "demo.edge.test")
    assert bind.key.secret not in proxy.log


def test_order_by_acme_sh(ferrule, origin, bind, pebble, folder):
    env = hooks.acme_sh_environment(bind, folder)
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])],
                         resolver={"provider": "exec", "env": env})
    hooks.wait_order(proxy, bind, pebble, "demo.edge.test")
