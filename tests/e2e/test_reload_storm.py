# SPDX-License-Identifier: Apache-2.0
"""Configurations that change while control is busy with everything it does: orders, plans, renewals, revocations, OCSP
questions, health checks, name resolution, changed files, scrapes. Run it against the ASan build: what is looked for is
something of a configuration that is not in use any more."""

import contextlib
import json
import os
import random
import socket
import threading
import time

import pytest

from lib import config
from lib.fakeca import FakeCa
from lib.ocsp import Responder
from lib.proc import free_port, wait_until

NAMES = [f"n{n}.edge.test" for n in range(8)] + ["away.edge.test", "nowhere.edge.test", "unauthorized-at-finalize-1.edge.test",
                                                "gone-at-order-1.edge.test", "error500-at-poll-1.edge.test"]
ZONES = {"edge.test": "* A 127.0.0.1\naway A 192.0.2.7\n_acme-challenge.away TXT none\n"}


class Storm:
    def __init__(self, rng, ferrule, bind, relay, fake, responder, authority, origin):
        self.rng, self.bind, self.relay, self.fake, self.origin, self.folder = rng, bind, relay, fake, origin, ferrule.folder
        self.ports = {name: free_port() for name in ("web", "websecure", "traefik", "more")}
        self.nobody = f"http://127.0.0.1:{free_port()}"
        more = f"authorityInfoAccess=OCSP;URI:{responder.url}\n"
        self.certificates = [[authority.issue(f"f{n}.test", more=more) for _ in range(2)] for n in range(3)]
        self.files = [pair[0] for pair in self.certificates]
        self.stop, self.failures, self.done = threading.Event(), [], {}
        ferrule.folder.mkdir(parents=True, exist_ok=True)
        self.proxy = ferrule(self.text(), {"web": self.ports["web"]}, workers=1)

    def text(self):
        """A configuration by chance; the entry points and resolvers of all are the same."""
        rng = self.rng
        check = ('[http.services.{}.loadBalancer.healthCheck]\npath = "/bytes/1"\ninterval = "1s"\ntimeout = "300ms"\n'
                 'unhealthyInterval = "1s"\n')
        far = f'preflight.resolvers = ["{self.relay.address}:{self.relay.port}"]\npreflight.address = "stop"'
        parts = [config.entrypoint(name, self.ports[name]) for name in ("web", "websecure", "traefik")]
        parts += ["[metrics.prometheus]\n", "[ocsp]\n" if rng.random() < 0.8 else "", f'[log]\nlevel = "{rng.choice(["INFO", "DEBUG"])}"\n']
        parts.append(config.entrypoint("more", self.ports["more"]) if rng.random() < 0.5 else "")
        parts.append(config.resolver(self.fake, self.bind, self.folder, name="dns", storage="dns.json", resolvers=[
            f"{self.relay.address}:{self.relay.port}"], more='preflight.txt = "warn"'))
        parts.append(config.answering_resolver(self.fake, self.folder, "http", name="http", storage="http.json", more=far))
        for n, name in enumerate(rng.sample(NAMES, rng.randint(1, len(NAMES)))):
            resolver = "dns" if name[1:2] in "1357" else "http"
            parts.append(config.router(f"r{n}", f"s{n % 4}", f"Host(`{name}`)", ["websecure"], resolver=resolver, domains=[(name, [])]))
        for n in range(4):
            urls = rng.sample([self.origin.url, self.nobody, f"http://h{n}.edge.test:{self.origin.port}", "http://192.0.2.1:81"], rng.randint(1, 3))
            parts.append(config.service(f"s{n}", *urls) + (check.format(f"s{n}") if rng.random() < 0.7 else ""))
        parts.append(config.router("all", "s0", "PathPrefix(`/`)"))
        parts += [config.certificate(cert) for cert in rng.sample(self.files, rng.randint(0, len(self.files)))]
        return "\n".join(parts)

    def ask(self, command, **more):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(60)
            admin.connect(str(self.proxy.admin_socket))
            admin.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
            if self.rng.random() < 0.1:
                return None  # one that does not wait for the answer
            with admin.makefile() as answer:
                self.done[command] = self.done.get(command, 0) + 1
                return json.load(answer)

    def reload(self):
        whole = self.proxy.config_file.with_suffix(".new")
        whole.write_text(self.own + self.text())
        os.replace(whole, self.proxy.config_file)
        answer = self.ask("reload")
        assert answer is None or "error" not in answer or "already" in answer["error"], answer

    def acts(self):
        """What threads of their own repeat."""
        name = lambda: self.rng.choice(NAMES)  # noqa: E731

        def scrape():
            with contextlib.suppress(OSError, AssertionError):
                self.proxy.ports["traefik"] = self.ports["traefik"]
                self.proxy.get("/metrics", entrypoint="traefik")

        def change_file():
            n = self.rng.randrange(len(self.files))
            cert, other = self.files[n], self.rng.choice(self.certificates[n])
            cert.cert_file.touch()
            if other is not cert:
                other.cert_file.touch()
        return [self.reload, lambda: self.ask("cert-plan"), lambda: self.ask("cert-renew", name=name(), force=True),
                lambda: self.ask("cert-revoke", name=name(), reason="superseded"), lambda: self.ask("cert-list"),
                lambda: self.ask("account-rollover", resolver=self.rng.choice(["dns", "http"])), lambda: self.ask("status"),
                lambda: self.ask("cert-show", name=name()), scrape, change_file]

    def repeat(self, act):
        while not self.stop.is_set():
            try:
                act()
            except BaseException as error:  # noqa: BLE001 (raised by run())
                self.failures.append(error)
                return
            self.stop.wait(self.rng.uniform(0, 0.1))

    def run(self, seconds):
        text = self.proxy.config_file.read_text()
        self.own = text[text.index("\n[state]"):]
        control = self.proxy.pid_of("control")
        threads = [threading.Thread(target=self.repeat, args=(act,)) for act in self.acts()]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        print(self.done, f"{self.fake.issued} certificates")
        if self.failures:
            raise self.failures[0]
        assert self.proxy.pid_of("control") == control, "control was restarted"


@pytest.fixture
def fake(folder, authority):
    ca = FakeCa(folder, authority)
    ca.challenges, ca.caa_identities = ["dns-01", "http-01", "tls-alpn-01"], ["fake.test"]
    ca.http_port, ca.tls_port = free_port(), free_port()
    yield ca
    ca.stop()


@pytest.mark.asan
@pytest.mark.long
def test_reloads_while_control_is_busy(ferrule, make_bind, make_dns_relay, fake, folder, authority, origin):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    bind = make_bind(zones=ZONES)
    relay = make_dns_relay(bind.address)
    rng = random.Random(seed)
    relay.change = lambda query, answer, is_tcp: time.sleep(rng.choice([0, 0.05, 0.5])) or (answer if rng.random() < 0.95 else None)
    fake.dns = bind.address
    responder = Responder(folder, authority)
    try:
        storm = Storm(rng, ferrule, bind, relay, fake, responder, authority, origin)
        storm.run(40)
        wait_until(lambda: storm.ask("status") is not None, "control answers")
    finally:
        responder.stop()
