# SPDX-License-Identifier: Apache-2.0
"""`ferrule provider list | show | test`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.ferrule import build_folder, program, run_cli

PROVIDERS = build_folder() / "providers"
ROOT = Path(__file__).resolve().parents[2]


def test_list_and_show():
    result = run_cli("provider", "list", "--directory", PROVIDERS)
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert result.returncode == 0 and "DNS UPDATE" in lines["rfc2136"]
    assert {"cloudflare", "httpreq"} <= set(lines) and "unusable" not in result.stdout
    result = run_cli("provider", "show", "rfc2136", "--directory", PROVIDERS)
    assert result.returncode == 0
    assert "RFC2136_TSIG_SECRET, or DNSUPDATE_TSIG_SECRET  (secret)" in result.stdout
    assert "RFC2136_NAMESERVER, or DNSUPDATE_NAMESERVER  (required)" in result.stdout


def test_bad_plugins_are_listed_with_the_reason():
    result = run_cli("provider", "list", "--directory", build_folder() / "tests" / "plugins")
    assert result.returncode == 0
    assert "wrong_abi        unusable: plug-in" in result.stdout and "provider ABI 2." in result.stdout
    assert "no_symbol        unusable:" in result.stdout


@pytest.mark.parametrize("arguments, code", [((), 2), (("show",), 2), (("test", "rfc2136"), 2), (("list", "x"), 2),
                                             (("show", "nosuch"), 1), (("--help",), 0)])
def test_usage(arguments, code):
    assert run_cli("provider", *arguments, "--directory", PROVIDERS).returncode == code


def config(bind, folder, env):
    path = folder / "ferrule.toml"
    lines = "".join(f'{k} = "{v}"\n' for k, v in env.items())
    path.write_text(f"""
[entryPoints.web]
address = "127.0.0.1:8080"
[plugins]
directories = ["{PROVIDERS}"]
[state]
directory = "{folder}"
[certificatesResolvers.main.acme]
email = "a@edge.test"
storage = "{folder}/acme.json"
[certificatesResolvers.main.acme.dnsChallenge]
provider = "rfc2136"
resolvers = ["{bind.address}"]
[certificatesResolvers.main.acme.dnsChallenge.propagation]
port = {bind.port}
[certificatesResolvers.main.acme.dnsChallenge.env]
{lines}""")
    return path


def test_trial(bind, folder):
    path = config(bind, folder, bind.rfc2136_env(RFC2136_POLLING_INTERVAL="1"))
    result = run_cli("provider", "test", "rfc2136", "--domain", "*.demo.edge.test", "-c", path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("... ok") == 6
    assert bind.all_txt() == {} and bind.key.secret not in result.stdout + result.stderr


def test_trial_with_a_wrong_key(bind, folder):
    path = config(bind, folder, bind.rfc2136_env(RFC2136_TSIG_KEY="stranger"))
    result = run_cli("provider", "test", "rfc2136", "--domain", "demo.edge.test", "-c", path)
    assert result.returncode == 1
    assert "credentials ... FAILED: " in result.stdout and "BADKEY" in result.stdout
    assert bind.all_txt() == {}


def test_first_steps_of_the_manual(folder):
    """The commands of docs/providers.md, as somebody types them who has installed ferrule."""
    page = (ROOT / "docs" / "providers.md").read_text()
    script = re.search(r"\*\*1\. Begin.*?```sh\n(.*?)```", page, re.S)[1]
    prefix, work = folder / "prefix", folder / "work"
    work.mkdir(mode=0o755)
    for source, target in [("providers/abi/ferrule_provider.h", "include"), ("providers/template/template.c", "share/ferrule/provider-template"),
                           ("providers/template/template.json", "share/ferrule/provider-template")]:
        (prefix / target).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, prefix / target)
    path = f"{program().parent}:{build_folder() / 'tests' / 'conformance'}:{os.environ['PATH']}"
    result = subprocess.run(["sh", "-ec", script.replace("PREFIX", str(prefix))], cwd=work, capture_output=True, text=True,
                            env={**os.environ, "PATH": path}, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "warning" not in result.stderr and "HELLO_TOKEN, or HELLO_API_TOKEN  (required)  (secret)" in result.stdout, result.stdout
