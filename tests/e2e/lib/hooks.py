# SPDX-License-Identifier: Apache-2.0
"""DNS hooks as people have them: scripts that change our BIND by nsupdate, one for each family's way of being called."""

import os
import shutil
from pathlib import Path

import pytest

from .proc import wait_until

UPDATE = """
update() {
    printf 'server 127.0.0.1 %s\\nkey hmac-sha256:%s %s\\nupdate %s\\nsend\\n' "$DNS_PORT" "$DNS_KEY_NAME" "$DNS_SECRET" "$*" |
        nsupdate
}
"""

SCRIPTS = {
    "default": UPDATE + """
case $1 in
present) update add "$2" 60 TXT "$3" ;;
cleanup) update delete "$2" TXT "$3" ;;
*) echo "no such operation: $1" >&2; exit 1 ;;
esac
""",
    "certbot": UPDATE + """
update add "_acme-challenge.$CERTBOT_DOMAIN." 60 TXT "$CERTBOT_VALIDATION" && echo "made $CERTBOT_VALIDATION"
""",
    "certbot-cleanup": UPDATE + """
[ "$CERTBOT_AUTH_OUTPUT" = "made $CERTBOT_VALIDATION" ] || { echo "no output of the first hook" >&2; exit 1; }
update delete "_acme-challenge.$CERTBOT_DOMAIN." TXT "$CERTBOT_VALIDATION"
""",
    "dehydrated": UPDATE + """
deploy_challenge() {
    update add "_acme-challenge.$1." 60 TXT "$3"
}
clean_challenge() {
    update delete "_acme-challenge.$1." TXT "$3"
}
HANDLER="$1"; shift
case $HANDLER in
deploy_challenge|clean_challenge) "$HANDLER" "$@" ;;
esac
""",
}


def environment(family, bind, script):
    """What dnsChallenge.env needs for a hook of this family; `script` makes the file."""
    path = script(SCRIPTS[family], family)
    env = {"EXEC_PATH": str(path), "EXEC_MODE": family, "EXEC_POLLING_INTERVAL": "1", "DNS_PORT": str(bind.port),
           "DNS_KEY_NAME": bind.key.name, "DNS_SECRET": bind.key.secret}
    if family == "certbot":
        env["EXEC_CLEANUP_PATH"] = f"sh {script(SCRIPTS['certbot-cleanup'], 'certbot-cleanup')}"
    return env


def acme_sh():
    """The program acme.sh with its hooks beside it: of the private prefix (tools/deps --tools) or the distribution's."""
    deps = os.environ.get("FERRULE_DEPS") or Path(__file__).resolve().parents[3] / "build" / "deps"
    for path in (Path(deps).resolve() / "share" / "acme.sh" / "acme.sh", Path("/usr/share/acme.sh/acme.sh")):
        if path.exists():
            return path
    pytest.skip("acme.sh is not installed: tools/deps --tools, or Debian's acme.sh")
    return None


def acme_sh_environment(bind, folder):
    """acme.sh's own hook for nsupdate at our BIND."""
    key = folder / "tsig.key"
    key.write_text(f'key "{bind.key.name}" {{ algorithm hmac-sha256; secret "{bind.key.secret}"; }};\n')
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    return {"EXEC_PATH": "dns_nsupdate", "EXEC_MODE": "acme.sh", "EXEC_ACME_SH": str(acme_sh()), "TMPDIR": str(scratch),
            "EXEC_POLLING_INTERVAL": "1", "NSUPDATE_SERVER": "127.0.0.1", "NSUPDATE_SERVER_PORT": str(bind.port),
            "NSUPDATE_KEY": str(key), "NSUPDATE_ZONE": next(iter(bind.zones))}


def wait_order(proxy, bind, pebble, name):
    """Waits for an ACME certificate with this name, and until no value is left in the DNS."""
    def found():
        return [c for c in proxy.json("cert", "list")["certificates"] if c["source"] == "acme" and name in c["names"]]

    wait_until(found, f"a certificate for {name}", 90)
    wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    proxy.wait_served(name, pebble.roots_file())
    assert pebble.issued() == 1
