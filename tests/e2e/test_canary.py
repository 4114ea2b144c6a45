# SPDX-License-Identifier: Apache-2.0
"""Secrets that stand nowhere else in the world: after orders, good ones and all kinds of bad ones, each is found in the memory
of no process but those that docs/architecture.md says hold it, and in no log, command line, environment or core dump."""

import base64
import json
import os
import signal
import subprocess

import pytest

from lib import config
from lib.cloudflare import Cloudflare
from lib.httpservice import Answer
from lib.memory import forms_of, found_beside, found_in, found_in_memory, private_scalar
from lib.proc import PATIENCE_S, descendants, free_port, wait_until

KEEPERS = {  # secret -> processes that may hold it; a provider's: one child alone, and not the others
    "account key": {"control"},
    "account key 2": {"control"},
    "external account key": {"control"},
    "wrong external account key": {"control"},
    "API token": {"control", "provider"},
    "wrong API token": {"control", "provider"},
    "TSIG key": {"control", "provider"},
    "wrong TSIG key": {"control", "provider"},
    "TLS key": {"control", "data"},
}


def random_token():
    return base64.b64encode(os.urandom(30), b"-_").decode()


def random_key():
    return base64.b64encode(os.urandom(32)).decode()


class World:
    """A CA that wants external accounts, BIND, a service with an API token; a name for each way in which it goes."""

    def __init__(self, ferrule, origin, bind, make_pebble, folder, **options):
        self.secret = {name: random_token() for name in ("API token", "wrong API token")}
        self.secret |= {name: random_key() for name in ("TSIG key", "wrong TSIG key")}
        self.secret |= {name: random_key().translate(str.maketrans("+/", "-_")).rstrip("=")
                        for name in ("external account key", "wrong external account key")}
        bind.keys["hmac-sha256"].secret = self.secret["TSIG key"]
        bind.restart()
        self.bind, self.folder = bind, folder
        self.pebble = make_pebble(bind.address, eab={"kid": self.secret["external account key"]})
        self.api = Cloudflare("edge.test", on_change=lambda what, name, value: bind.nsupdate(
            f'add {name}. 120 TXT "{value}"' if what == "add" else f'delete {name}. TXT "{value}"'))
        self.api.rights = {self.secret["API token"]: {"zone", "dns"}}
        port = free_port()
        tsig = bind.rfc2136_env()
        token = {"CLOUDFLARE_BASE_URL": self.api.base, "CLOUDFLARE_POLLING_INTERVAL": "1"}
        ways = {  # name -> provider, its variables, key of the external account
            "tsig": ("rfc2136", tsig, "external account key"),
            "wrongtsig": ("rfc2136", {**tsig, "RFC2136_TSIG_SECRET": self.secret["wrong TSIG key"]}, "external account key"),
            "token": ("cloudflare", {**token, "CLOUDFLARE_DNS_API_TOKEN": self.secret["API token"]}, "external account key"),
            "wrongtoken": ("cloudflare", {**token, "CLOUDFLARE_DNS_API_TOKEN": self.secret["wrong API token"]}, "external account key"),
            "wrongeab": ("rfc2136", tsig, "wrong external account key"),
        }
        parts = [config.entrypoint("websecure", port), config.service("s", origin.url), '[log]\nlevel = "DEBUG"\n']
        for name, (provider, env, eab) in ways.items():
            parts.append(config.resolver(self.pebble, bind, folder, name=name, storage=f"{name}.json", provider=provider, env=env,
                                         more=f'eab = {{ kid = "kid", hmacEncoded = "{self.secret[eab]}" }}'))
            parts.append(config.router(name, "s", f"Host(`{name}.edge.test`)", ["websecure"], resolver=name))
        self.api.faults = [self.garble_once]
        self.proxy = ferrule("\n".join(parts), {"websecure": port}, workers=1, **options)

    def garble_once(self, request, serve):
        """The first change is answered with a page that holds the token, as a proxy's error page might."""
        if request.method == "POST" and not getattr(self, "garbled", False):
            self.garbled = True
            return Answer(502, f"<html>bad gateway: {dict(request.headers)} {self.secret['API token']}</html>")
        return None

    def stop(self):
        self.api.stop()

    def wait_over(self):
        """Every order has gone its way."""
        def over():
            try:
                now = {w["names"][0].split(".")[0]: w for w in self.proxy.json("cert", "list")["wanted"]}
            except AssertionError:
                return False  # control is being started again
            return all(now[name]["state"] == "valid" for name in ("tsig", "token")) and \
                all(now[name]["waiting"] for name in ("wrongtsig", "wrongtoken", "wrongeab"))
        wait_until(over, "every order to be over", 90)

    def forms(self):
        """{name: forms} of every secret, those of ferrule's making too."""
        all_forms = {name: forms_of(text.encode()) for name, text in self.secret.items()}
        for name in ("TSIG key", "wrong TSIG key", "external account key", "wrong external account key"):
            text = self.secret[name]
            all_forms[name] |= forms_of(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if "external" in name
                                        else base64.b64decode(text))
        for name, file in (("account key", "tsig.json"), ("account key 2", "token.json")):
            stored = json.loads((self.folder / file).read_text())
            (resolver,) = stored.values()
            all_forms[name] = forms_of(private_scalar(base64.b64decode(resolver["Account"]["PrivateKey"])))
            if name == "account key":
                pem = base64.b64decode(resolver["Certificates"][0]["key"]).decode()
                all_forms["TLS key"] = forms_of(private_scalar(base64.b64decode("".join(pem.strip().splitlines()[1:-1]))))
        return all_forms

    def roles(self):
        """{pid: role} of all of ferrule's processes."""
        found = {self.proxy.process.pid: "supervisor"}
        for pid, command in self.proxy.processes().items():
            found[pid] = next((role for role in ("data", "control", "provider") if f"{role}-run" in command), command)
        return found


@pytest.fixture
def make_world(ferrule, origin, bind, make_pebble, folder):
    made = []

    def make(**options):
        made.append(World(ferrule, origin, bind, make_pebble, folder, **options))
        return made[-1]

    yield make
    for world in made:
        world.stop()


def check_texts(world, forms):
    """The log, what answers people, command lines and environments."""
    texts = {"log": world.proxy.log.encode()}
    for command in (["cert", "list"], ["cert", "plan"], ["status"]):
        texts[" ".join(command)] = world.proxy.cli(*command, "--json").stdout.encode()
    for name, text in texts.items():
        assert found_in(text, forms) == set(), name
    for pid, role in world.roles().items():
        assert found_beside(pid, forms) == set(), role


def check_memory(world, forms):
    if os.geteuid() != 0:
        pytest.skip("only root can read the memory of processes that hide it")
    found = {pid: found_in_memory(pid, forms) for pid in world.roles()}
    roles = world.roles()
    assert found.keys() == roles.keys()
    print({f"{roles[pid]} {pid}": sorted(names) for pid, names in found.items()})
    for pid, names in found.items():
        strange = {name for name in names if roles[pid] not in KEEPERS[name]}
        assert not strange, f"{roles[pid]} (process {pid}) holds {strange}"
    for name, keepers in KEEPERS.items():
        holders = [pid for pid in found if roles[pid] == "provider" and name in found[pid]]
        assert len(holders) <= 1, f"{name}: {holders}"
        # Else the search would find nothing wherever it looked.
        assert any(name in found[pid] for pid in found if roles[pid] in keepers - {"provider"}), f"{name} is nowhere"
    children = [names for pid, names in found.items() if roles[pid] == "provider"]
    assert len(children) == 4 and all(len(names) == 1 for names in children), children


def test_secrets_stay_where_they_belong(make_world):
    world = make_world()
    world.wait_over()
    forms = world.forms()
    check_texts(world, forms)
    check_memory(world, forms)
    world.proxy.cli("reload")
    check_texts(world, forms)
    check_memory(world, forms)


def core_folder(folder):
    """A folder in which this machine leaves the core of a process that wants to leave one."""
    folder.mkdir()
    command = ["prlimit", "--core=unlimited", "sh", "-c", "kill -ABRT $$"]
    subprocess.run(command, cwd=folder, timeout=PATIENCE_S)
    cores = list(folder.iterdir())
    for core in cores:
        core.unlink()
    return folder if cores else None


@pytest.mark.long
def test_no_core_is_left(make_world, folder):
    """Every process is aborted, with an unlimited core size from its parent."""
    if not core_folder(folder / "probe"):
        pytest.skip("this machine writes no core files into the working directory (kernel.core_pattern)")
    world = make_world(wrapper=["prlimit", "--core=unlimited"])
    world.wait_over()
    proxy = world.proxy
    for role in ("data", "control"):
        proxy.wait_respawn(role, proxy.kill(role, signal.SIGABRT))
        proxy.wait_log(f"the {role} process was killed by signal {int(signal.SIGABRT)}")
    world.wait_over()
    proxy.cli("cert", "renew", "tsig.edge.test", "--force")
    proxy.kill("provider-run", signal.SIGABRT)
    family = descendants(proxy.process.pid)
    os.kill(proxy.process.pid, signal.SIGABRT)
    assert proxy.process.wait_exit() == -signal.SIGABRT
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in family), "all have ended")
    proxy.stop(expect=-signal.SIGABRT)
    assert [path for path in proxy.folder.rglob("*core*")] == []
