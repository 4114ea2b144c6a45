# SPDX-License-Identifier: Apache-2.0
"""The main job on one machine: ferrule gets a certificate from Pebble by DNS-01 through BIND, and serves it.

Called by tools/quickstart, which installs and builds first. The servers are started by the same code as in the
end-to-end tests (tests/e2e/lib). Everything lives in one temporary folder and ends with this program.
"""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(sys.argv[1])
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
os.environ.setdefault("FERRULE_BUILD", str(ROOT / "build" / "release"))

from lib import proc  # noqa: E402 (the path comes first)
from lib.bind import Bind  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.ferrule import plugin_folders, program  # noqa: E402
from lib.pebble import Pebble  # noqa: E402

ORDER_PATIENCE_S = 120
HOST = "demo.edge.test"


class Demo(http.server.BaseHTTPRequestHandler):
    """The application behind the proxy: says what reached it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"hello from the demo application\nyou asked {self.headers['Host']} for {self.path}\n"
        body += "".join(f"{name}: {value}\n" for name, value in self.headers.items() if name.startswith("X-"))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


class Progress:
    """Lines with the seconds since the start."""

    def __init__(self):
        self.start = time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self.start:6.1f} s] {text}", flush=True)


def start_demo():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Demo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def write_config(folder, bind, pebble, demo_port, ports):
    """examples/quickstart.toml with the ports and paths of this run."""
    text = (ROOT / "examples" / "quickstart.toml").read_text()
    key = bind.key
    (folder / "tsig.secret").write_text(key.secret + "\n")
    (folder / "tsig.secret").chmod(0o600)
    for old, new in (
            ("127.0.0.1:8080", f"127.0.0.1:{ports['web']}"), ("127.0.0.1:8443", f"127.0.0.1:{ports['websecure']}"),
            ("127.0.0.1:8081", f"127.0.0.1:{demo_port}"), ("https://127.0.0.1:14000/dir", pebble.directory_url),
            ("127.0.0.1:5300", bind.address), ("port = 5300", f"port = {bind.port}"),
            ('"pebble.minica.pem"', f'"{pebble.ca_file}"'), ('"quickstart"', f'"{key.name}"'),
            ('"tsig.secret"', f'"{folder / "tsig.secret"}"'), ('"acme.json"', f'"{folder / "acme.json"}"'),
            ('"state"', f'"{folder / "state"}"'), ('"admin.sock"', f'"{folder / "admin.sock"}"')):
        assert old in text, f"examples/quickstart.toml lacks {old}"
        text = text.replace(old, new)
    if "[plugins]" not in text:
        text += "\n[plugins]\ndirectories = [" + ", ".join(f'"{path}"' for path in plugin_folders()) + "]\n"
    path = folder / "quickstart.toml"
    path.write_text(text)
    return path


class Log:
    """Passes on what a process logs, as it comes."""

    def __init__(self, process, progress):
        self.process, self.progress, self.seen = process, progress, 0

    def pass_on(self):
        lines = self.process.log[self.seen:].split("\n")
        for line in lines[:-1]:
            self.seen += len(line) + 1
            parts = line.split(None, 2)  # time, level, "process: text"
            self.progress.say("  " + (parts[2] if len(parts) == 3 else line))


def certificate_is_valid(config):
    """True when ferrule lists a certificate of the resolver for HOST."""
    result = subprocess.run([str(program()), "cert", "list", "--json", "-c", str(config)], capture_output=True, text=True)
    if result.returncode:
        return False
    listed = json.loads(result.stdout)
    return any(HOST in cert["names"] and cert["source"] == "acme" for cert in listed["certificates"])


def curl(roots, port, host, path="/"):
    return ["curl", "--silent", "--show-error", "--cacert", str(roots), "--resolve", f"{host}:{port}:127.0.0.1",
            f"https://{host}:{port}{path}"]


def show_once(roots, port):
    """One verified request to the name and one to a name that only the wildcard covers."""
    for host in (HOST, "anything." + HOST):
        answer = subprocess.run(curl(roots, port, host), capture_output=True, text=True, timeout=30)
        if answer.returncode:
            print(answer.stderr, file=sys.stderr)
            return False
        print(f"\n--- https://{host}:{port}/\n{answer.stdout.rstrip()}")
    shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST, "-CAfile", str(roots),
                            "-verify_return_error"], input="", capture_output=True, text=True, timeout=30)
    text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-issuer", "-dates", "-ext", "subjectAltName"],
                          input=shown.stdout, capture_output=True, text=True, timeout=30)
    print(f"\n--- certificate\n{text.stdout.rstrip()}\n")
    return shown.returncode == 0 and HOST in text.stdout


def show_commands(roots, config, ports):
    print(f"""
It runs until you press Ctrl-C. Configuration: {config}
Try:
  {program()} status -c {config}
  {program()} cert show {HOST} -c {config}
  openssl s_client -connect 127.0.0.1:{ports['websecure']} -servername {HOST} -CAfile {roots} -tls1_2 </dev/null
  curl -i http://127.0.0.1:{ports['web']}/
  {' '.join(curl(roots, ports['websecure'], 'www.' + HOST))}
  {' '.join(curl(roots, ports['websecure'], HOST))}
""", flush=True)


def run(folder, once):
    progress = Progress()
    authority = Authority(folder / "ca", name="Quickstart CA of the ACME server")
    bind = Bind(folder / "bind", zones={"edge.test": ""})
    progress.say(f"BIND serves the zone edge.test at {bind.address}, updates need the TSIG key {bind.key.name}")
    ports = {"web": proc.free_port(), "websecure": proc.free_port()}
    pebble = Pebble(folder / "pebble", authority, bind.address, http_port=ports["web"], tls_port=ports["websecure"])
    progress.say(f"Pebble is the certificate authority at {pebble.directory_url}")
    demo = start_demo()
    progress.say(f"the demo application listens on http://127.0.0.1:{demo.server_port}/")
    config = write_config(folder, bind, pebble, demo.server_port, ports)
    started = time.monotonic()
    ferrule = proc.Process("ferrule", [program(), "run", "-c", config], folder)
    progress.say("ferrule starts; until it has a certificate it serves a self-signed one")
    log = Log(ferrule, progress)

    def has_certificate():
        log.pass_on()
        return certificate_is_valid(config)

    ferrule.wait_ready(has_certificate, f"a certificate for {HOST}", ORDER_PATIENCE_S)
    log.pass_on()
    roots = pebble.roots_file()
    progress.say(f"{HOST} has its certificate, {time.monotonic() - started:.1f} s after ferrule's start")
    good = True
    if once:
        good = show_once(roots, ports["websecure"])
    else:
        show_commands(roots, config, ports)
        while ferrule.exit_code is None:
            log.pass_on()
            time.sleep(0.2)
        progress.say(f"ferrule ended with exit code {ferrule.exit_code}")
        good = False
    code = ferrule.stop()
    log.pass_on()
    demo.shutdown()
    return 0 if good and code == 0 else 1


def main():
    once = "--once" in sys.argv
    folder = Path(tempfile.mkdtemp(prefix="ferrule-quickstart-"))
    proc.become_subreaper()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(folder, once)
    except KeyboardInterrupt:
        print("\nstopping")
        return 0
    except proc.HarnessError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    finally:
        proc.end_leftovers()
        shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
