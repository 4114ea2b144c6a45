# SPDX-License-Identifier: Apache-2.0
"""Runs ferrule: writes its configuration, waits until it is ready, and checks how it ends."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
from pathlib import Path

from . import config, http1, tls
from .proc import PATIENCE_S, HarnessError, Process, command_of, descendants, free_port, is_alive, wait_until

SANITIZER = re.compile(r"ERROR: (?:Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error: |AddressSanitizer:DEADLYSIGNAL")
SANITIZER_ENV = {
    "ASAN_OPTIONS": "exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
}


def build_folder():
    """The build under test: $FERRULE_BUILD, else the first of build/release and build/dev that exists."""
    root = Path(__file__).resolve().parents[3]
    if os.environ.get("FERRULE_BUILD"):
        return Path(os.environ["FERRULE_BUILD"]).resolve()
    for name in ("release", "dev"):
        if (root / "build" / name).exists():
            return root / "build" / name
    raise HarnessError("ferrule has not been built: set FERRULE_BUILD")


def program():
    for path in ("src/boot/ferrule", "src/ferrule"):
        if (build_folder() / path).exists():
            return build_folder() / path
    raise HarnessError(f"no ferrule in {build_folder()}")


def plugin_folders():
    """Every folder of the build that holds a plug-in."""
    return sorted({path.parent for path in (build_folder() / "providers").rglob("*.so")})


def run_cli(*arguments, env=None, timeout_s=PATIENCE_S):
    """Runs a ferrule command to its end; returns a CompletedProcess with text."""
    result = subprocess.run([str(program()), *map(str, arguments)], capture_output=True, text=True, errors="replace",
                            stdin=subprocess.DEVNULL, env={**os.environ, **SANITIZER_ENV, **(env or {})}, timeout=timeout_s)
    assert not SANITIZER.search(result.stderr), result.stderr
    return result


class Ferrule:
    """One running ferrule (supervisor, data, control and provider children).

    text       its TOML; [state], [admin], [plugins] and [workers] are added where it lacks them
    ports      {entry point: port}, for the helpers below
    arguments  more command line
    env        more environment
    wrapper    a command that execs ferrule: its words stand before ferrule's
    pass_fds   descriptors that it inherits
    binary     another program than the built one
    """

    def __init__(self, folder, text, ports=None, arguments=(), env=None, workers=2, wrapper=(), pass_fds=(), binary=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_file = self.folder / "ferrule.toml"
        self.state_folder = self.folder / "state"
        self.admin_socket = self.folder / "admin.sock"
        self.ports = dict(ports or {})
        self.arguments = list(arguments)
        self.env = {**os.environ, **SANITIZER_ENV, **{k: os.environ[k] for k in SANITIZER_ENV if k in os.environ}, **(env or {})}
        self.workers = workers
        self.wrapper, self.pass_fds = list(wrapper), pass_fds
        self.binary = binary or program()
        self.process = None
        self._notify = None
        self.notifications = []
        self.write_config(text)

    # --- life ---------------------------------------------------------------------------------------------

    def write_config(self, text):
        self.state_folder.mkdir(mode=0o700, exist_ok=True)
        own = {
            "state": f'directory = "{self.state_folder}"', "admin": f'socket = "{self.admin_socket}"',
            "plugins": f"directories = {config.strings(plugin_folders())}", "workers": f"count = {self.workers}",
        }
        for table, line in own.items():
            if not re.search(rf"^\[{table}\]", text, re.M):
                text += f"\n[{table}]\n{line}\n"
        self.config_file.write_text(text)

    def start(self, wait=True):
        self._open_notify_socket()
        env = {**self.env, "NOTIFY_SOCKET": str(self.folder / "notify")}
        self.process = Process("ferrule", [*self.wrapper, self.binary, "run", "-c", self.config_file, *self.arguments],
                               self.folder, env=env, pass_fds=self.pass_fds)
        if wait:
            self.wait_ready()
        return self

    def _open_notify_socket(self):
        if self._notify:
            self._notify.close()
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setblocking(False)
        self._notify.bind(str(path))
        self.notifications = []

    def notified(self, message="READY=1"):
        """True once systemd would have got this line."""
        while True:
            try:
                self.notifications += self._notify.recv(4096).decode(errors="replace").splitlines()
            except BlockingIOError:
                return message in self.notifications

    def wait_ready(self, timeout_s=PATIENCE_S):
        self.process.wait_ready(self.notified, "ferrule says READY=1", timeout_s)

    def stop(self, expect=0, timeout_s=PATIENCE_S):
        """SIGTERM; checks the exit code and that no sanitizer reported anything. Safe to call again."""
        if not self.process:
            return
        process, self.process = self.process, None
        family = descendants(process.pid)
        code = process.stop(signal.SIGTERM, timeout_s)
        self._notify.close()
        self.check_log(process.log)
        assert code == expect, f"ferrule ended with {code}, not {expect}\n{process.log[-4000:]}"
        wait_until(lambda: not any(map(is_alive, family)), "every ferrule process has ended")

    def restart(self, text=None):
        """Stops and starts it, with another configuration if given; the state stays."""
        self.stop()
        if text is not None:
            self.write_config(text)
        return self.start()

    def check_log(self, log=None):
        found = SANITIZER.search(self.log if log is None else log)
        assert not found, "a sanitizer reported:\n" + (self.log if log is None else log)[found.start():][:8000]

    # --- looking in ---------------------------------------------------------------------------------------

    @property
    def log(self):
        path = self.folder / "ferrule.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_log(self, text, timeout_s=PATIENCE_S):
        return self.process.wait_log(text, timeout_s)

    def cli(self, *arguments, **options):
        """`ferrule ARGUMENTS -c FILE`."""
        return run_cli(*arguments, "-c", self.config_file, **options)

    def json(self, *arguments):
        """The parsed output of a command with --json; fails if the command fails."""
        result = self.cli(*arguments, "--json")
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout)

    def status(self):
        return self.json("status")

    def counters(self):
        """{name: value} of `ferrule status --json`, added up over the workers. Asked without starting a
        program, because tests wait by it."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(PATIENCE_S)
            admin.connect(str(self.admin_socket))
            admin.sendall(b'{"command":"status"}\n')
            with admin.makefile() as answer:
                return json.load(answer)["counters"]

    def wait_counter(self, name, least, timeout_s=PATIENCE_S):
        """Waits until a counter has reached a value; returns all counters."""
        return wait_until(lambda: (c := self.counters())[name] >= least and c, f"counter {name} >= {least}", timeout_s)

    def resident_kb(self, role="data"):
        """Resident memory of a process of the family, in KB."""
        text = Path(f"/proc/{self.pid_of(role)}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1))

    def processes(self):
        """{pid: command line} of the supervisor's descendants."""
        return {pid: command_of(pid) for pid in descendants(self.process.pid) if is_alive(pid)}

    def pid_of(self, role):
        """The pid of "data", "control" or "provider-run", or None. (The role is a word of the command line
        or the process's name.)"""
        for pid, command in self.processes().items():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if re.search(rf"(?:^|[\s:/-]){role}\b", command) or name.split("-")[-1] == role:
                return pid
        return None

    def kill(self, role, number=signal.SIGKILL):
        """Signals a process of the family by its role; returns its pid."""
        pid = wait_until(lambda: self.pid_of(role), f"a {role} process")
        os.kill(pid, number)
        return pid

    def wait_respawn(self, role, old_pid, timeout_s=PATIENCE_S):
        """Waits for another process of that role; returns its pid."""
        return wait_until(lambda: (pid := self.pid_of(role)) not in (None, old_pid) and pid, f"a new {role} process", timeout_s)

    # --- talking to it ------------------------------------------------------------------------------------

    def port(self, entrypoint=None):
        return self.ports[entrypoint] if entrypoint else next(iter(self.ports.values()))

    def connect(self, entrypoint=None, **options):
        """A raw http1.Connection to an entry point (default: the first)."""
        return http1.connect(self.port(entrypoint), **options)

    def connect_tls(self, server_name="example.test", entrypoint=None, **options):
        """A tls.TlsConnection; options go to tls.connect()."""
        return tls.connect(self.port(entrypoint), server_name, **options)

    def get(self, target="/", host="example.test", entrypoint=None, **options):
        """One request on a connection of its own."""
        with self.connect(entrypoint) as connection:
            return connection.exchange("GET", target, host, **options)

    def get_tls(self, target="/", host="example.test", entrypoint=None, ca_file=None, **options):
        with self.connect_tls(host, entrypoint, ca_file=ca_file) as connection:
            return connection.exchange("GET", target, host, **options)

    def ask(self, command, **more):
        """What the admin socket answers, without the configuration file and without starting a program."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(PATIENCE_S)
            admin.connect(str(self.admin_socket))
            admin.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
            with admin.makefile() as answer:
                return json.load(answer)

    def is_served(self, host, ca_file, entrypoint=None):
        """True when a strict client gets an answer, False when the certificate is not the name's."""
        try:
            return self.get_tls("/bytes/64", host, entrypoint, ca_file=ca_file).status == 200
        except ssl.SSLCertVerificationError:
            return False

    def wait_served(self, host, ca_file, entrypoint=None):
        """Waits for that: the workers have a certificate a moment after control has said so."""
        wait_until(lambda: self.is_served(host, ca_file, entrypoint), f"the workers have the certificate of {host}")


class Factory:
    """The `ferrule` fixture: makes any number of them, all stopped and checked at the end of the test.
    kept: a set that gets the pids of those that are started at once, when they outlive a test."""

    def __init__(self, folder, kept=None):
        self.folder = Path(folder)
        self.made = []
        self.kept = kept

    def __call__(self, text, ports=None, start=True, **options):
        """Writes the configuration and starts ferrule; see class Ferrule."""
        name = "ferrule" + (str(len(self.made)) if self.made else "")
        made = Ferrule(self.folder / name, text, ports, **options)
        self.made.append(made)
        if start:
            made.start()
            if self.kept is not None:
                self.kept.add(made.process.pid)
        return made

    def http(self, *origins, rule="PathPrefix(`/`)", entry="", service="", extra="", **options):
        """One entry point "web", one router, one service over the origins.
        entry, service: more lines of their tables; extra: more TOML."""
        port = free_port()
        text = "\n".join([config.entrypoint("web", port, more=entry), config.router("all", "origins", rule),
                          config.service("origins", *(origin.url for origin in origins), more=service), extra])
        return self(text, {"web": port}, **options)

    def https(self, *origins, certificates=(), rule="PathPrefix(`/`)", entry="", service="", extra="", **options):
        """The same with TLS at an entry point "websecure"."""
        port = free_port()
        text = "\n".join([
            config.entrypoint("websecure", port, more=entry),
            config.router("all", "origins", rule, entrypoints=["websecure"], tls=True),
            config.service("origins", *(origin.url for origin in origins), more=service),
            *map(config.certificate, certificates), extra])
        return self(text, {"websecure": port}, **options)

    def both(self, *origins, certificates=(), rule="PathPrefix(`/`)", entry="", service="", extra="", **options):
        """Plain HTTP at "web" (the first) and TLS at "websecure"; a router each, to the same service.
        entry: more lines of both entry points."""
        ports = {"web": free_port(), "websecure": free_port()}
        text = "\n".join([
            config.entrypoint("web", ports["web"], more=entry),
            config.entrypoint("websecure", ports["websecure"], more=entry),
            config.router("plain", "origins", rule),
            config.router("secure", "origins", rule, entrypoints=["websecure"], tls=True),
            config.service("origins", *(origin.url for origin in origins), more=service),
            *map(config.certificate, certificates), extra])
        return self(text, ports, **options)

    def acme(self, pebble, bind, *origins, domains, extra="", resolver=None, **options):
        """An entry point "websecure" whose router wants certificates by DNS-01 from Pebble through BIND.
        domains: [(main, [sans])]; resolver: keyword arguments of config.resolver()."""
        port = free_port()
        folder = self.folder / f"storage{len(self.made)}"
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join([
            config.entrypoint("websecure", port),
            config.router("all", "origins", entrypoints=["websecure"], resolver="test", domains=domains),
            config.service("origins", *(origin.url for origin in origins)),
            config.resolver(pebble, bind, folder, **(resolver or {})), extra])
        return self(text, {"websecure": port}, **options)

    def finish(self):
        """Stops all; raises the first complaint after all have been stopped."""
        complaints = []
        for made in self.made:
            try:
                made.stop()
            except BaseException as error:
                complaints.append(error)
        if complaints:
            raise complaints[0]
