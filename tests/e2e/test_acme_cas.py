# SPDX-License-Identifier: Apache-2.0
"""Several CAs, and what a person asks for: plan, renew, revoke, import, export, another account key; against real CAs."""

import base64
import json
import ssl
import stat
import subprocess
import urllib.request

from lib.fakeca import FakeCa
from lib.ferrule import build_folder
from lib.proc import free_port, wait_until
from test_acme import certificates, wait_certificate, wait_clean

NAMES = [("demo.edge.test", [])]


def stored(proxy):
    return json.loads(next(proxy.folder.parent.glob("storage*/acme.json")).read_text())


def with_servers(ferrule, origin, bind, pebble, servers, **options):
    """ferrule whose resolver has these CAs, all trusted by the same root."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, start=False, **options)
    text = proxy.config_file.read_text()
    old = f'caServer = "{pebble.directory_url}"'
    assert old in text
    proxy.write_config(text.replace(old, "caServers = [" + ", ".join(f'"{url}"' for url in servers) + "]"))
    return proxy.start()


def status_of(pebble, serial):
    """What Pebble says of a certificate."""
    context = ssl.create_default_context(cafile=str(pebble.ca_file))
    with urllib.request.urlopen(f"{pebble.management_url}/cert-status-by-serial/{serial}", context=context, timeout=10) as reply:
        return json.load(reply)["Status"]


def test_the_next_ca_takes_over(ferrule, origin, bind, pebble):
    dead = f"https://127.0.0.1:{free_port()}/dir"
    proxy = with_servers(ferrule, origin, bind, pebble, [dead, pebble.directory_url])
    wait_certificate(proxy)
    wait_clean(bind)
    assert "no answer from the CA" in proxy.log and pebble.issued() == 1
    proxy.wait_served("demo.edge.test", pebble.roots_file())
    accounts = stored(proxy)
    assert f"test (127.0.0.1:{pebble.port})" in accounts
    # The first CA's failure has a back-off of its own; the second one's account is found again.
    assert proxy.json("cert", "show", "demo.edge.test")["wanted"][0]["ledger"]["failures"] == 1
    proxy.restart()
    proxy.wait_served("demo.edge.test", pebble.roots_file())
    assert pebble.issued() == 1


def test_the_ca_comes_back(ferrule, origin, bind, pebble):
    """A new name gets the default certificate while the CA is down, and its own when it is there again: no restart."""
    pebble.stop()
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    proxy.wait_log("no answer from the CA")
    with proxy.connect_tls("demo.edge.test") as client:
        assert client.certificate["names"] == ["ferrule-default.invalid"]
    pebble.restart()
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    pid = proxy.process.pid
    assert proxy.cli("cert", "renew", "demo.edge.test", "--force").returncode == 0  # without it the back-off is a minute
    wait_certificate(proxy)
    proxy.wait_served("demo.edge.test", pebble.roots_file())
    assert proxy.process.pid == pid


def test_rehearsal(ferrule, origin, bind, folder, authority):
    """After two refusals the CA for rehearsals is asked first, up to the point where it would issue. While that fails the CA
    itself is left alone; when it went well the order follows at once. (Back-offs of minutes and hours go by like this: ferrule is
    stopped, and started with a clock that is ahead.)"""
    name = "unauthorized-at-order-2.edge.test"
    (folder / "main").mkdir()
    (folder / "staging").mkdir()
    main, staging = FakeCa(folder / "main", authority), FakeCa(folder / "staging", authority)
    staging.already = 1

    def wanted():
        return proxy.json("cert", "show", name)["wanted"][0]

    def orders():
        return len(main.orders), len(staging.orders)

    try:
        proxy = ferrule.acme(main, bind, origin, domains=[(name, [])], resolver={"more": f'caStaging = "{staging.directory_url}"'})
        proxy.env["LD_PRELOAD"] = str(build_folder() / "tests" / "provider" / "slow_clock.so")
        for failures, asked, later_min in ((1, (1, 0), 2), (2, (2, 0), 20), (3, (2, 1), 180)):  # (both do what the name says)
            wait_until(lambda: wanted()["ledger"]["failures"] == failures and proxy.status()["orders"]["running"] == 0, f"failure {failures}")
            assert orders() == asked
            proxy.env["SLOW_CLOCK_S"] = str(-60 * later_min)
            proxy.restart()
        wait_until(lambda: wanted()["state"] == "valid", "the certificate", 60)
        assert f"the rehearsal at {staging.directory_url} went well: the order itself follows" in proxy.log
        assert orders() == (3, 2) and (main.issued, staging.issued) == (1, 0)
        assert not {"finalize", "cert"} & {step for _, step in staging.asked}
        wait_until(lambda: bind.all_txt() == {}, "no TXT value left")
    finally:
        main.stop()
        staging.stop()


def test_a_failed_order_gives_its_authorizations_up(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", ["demo.nowhere.invalid"])])
    proxy.wait_log("the authorization of demo.edge.test is given up")
    wait_clean(bind)
    assert pebble.issued() == 0


def test_plan_and_budget(ferrule, origin, bind, make_pebble):
    """The second certificate of a budget of one is refused with the reason, and ordered by force."""
    pebble = make_pebble(bind.address)
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES, extra="[control]\nduplicateBudget = 1\n")
    first = wait_certificate(proxy)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    plan = proxy.json("cert", "plan")["plan"]
    assert len(plan) == 1 and plan[0]["names"] == ["demo.edge.test"] and plan[0]["ca"] == pebble.directory_url
    assert (plan[0]["action"], plan[0]["due"], plan[0]["budgetLeft"]) == ("renew", False, 0)
    assert plan[0]["at"] > first["notBefore"] and plan[0]["why"]
    shown = proxy.cli("cert", "plan").stdout
    assert "demo.edge.test" in shown and "because" in shown and "0 more may be" in shown
    refused = proxy.cli("cert", "renew", "demo.edge.test")
    assert refused.returncode == 1 and "1 of 1 certificates" in refused.stderr and "--force" in refused.stderr
    assert pebble.issued() == 1
    assert proxy.cli("cert", "renew", "demo.edge.test", "--force").returncode == 0
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "another certificate", 60)
    wait_clean(bind)
    assert pebble.issued() == 2
    assert proxy.cli("cert", "renew", "nobody.edge.test").returncode == 1
    proxy.restart()  # the budget is on disk
    assert proxy.cli("cert", "renew", "demo.edge.test").returncode == 1


def test_revoke(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    first = wait_certificate(proxy)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    assert proxy.cli("cert", "revoke", "demo.edge.test", "--reason", "because").returncode == 1
    done = proxy.cli("cert", "revoke", "demo.edge.test", "--reason", "superseded")
    assert done.returncode == 0 and "revoked; another certificate is being ordered" in done.stdout, done.stderr
    assert status_of(pebble, first["serial"]) == "Revoked"
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "another certificate", 60)
    assert status_of(pebble, certificates(proxy, "demo.edge.test")[0]["serial"]) == "Valid"
    assert proxy.cli("cert", "revoke", "nobody.edge.test").returncode == 1


def test_another_account_key(ferrule, origin, bind, pebble):
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    first = wait_certificate(proxy)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    before = stored(proxy)["test"]["Account"]
    done = proxy.cli("account", "rollover")
    assert done.returncode == 0 and "has a new key" in done.stdout, done.stderr
    after = stored(proxy)["test"]["Account"]
    assert after["PrivateKey"] != before["PrivateKey"] and "NextPrivateKey" not in after
    assert after["Registration"]["uri"] == before["Registration"]["uri"]
    assert proxy.cli("account", "rollover", "--resolver", "none").returncode == 1
    proxy.restart()
    assert proxy.cli("cert", "renew", "demo.edge.test", "--force").returncode == 0
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "a certificate under the new key", 60)
    assert stored(proxy)["test"]["Account"]["Registration"]["uri"] == before["Registration"]["uri"]


def test_a_change_of_the_key_that_was_cut_off(ferrule, origin, bind, pebble, folder):
    """The CA took the new key, but we died before we knew: the announced key is tried and found to be the account's."""
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    first = wait_certificate(proxy)
    wait_clean(bind)
    wait_until(lambda: proxy.status()["orders"]["running"] == 0, "the order to be over")
    before = stored(proxy)["test"]["Account"]
    assert proxy.cli("account", "rollover").returncode == 0
    proxy.stop()
    file = next(proxy.folder.parent.glob("storage*/acme.json"))
    content = json.loads(file.read_text())
    account = content["test"]["Account"]
    account["NextPrivateKey"], account["PrivateKey"] = account["PrivateKey"], before["PrivateKey"]
    file.write_text(json.dumps(content))
    proxy.start()
    assert proxy.cli("cert", "renew", "demo.edge.test", "--force").returncode == 0
    wait_until(lambda: certificates(proxy, "demo.edge.test")[0]["id"] != first["id"], "a certificate under the new key", 60)
    after = stored(proxy)["test"]["Account"]
    assert after["PrivateKey"] == content["test"]["Account"]["NextPrivateKey"] and "NextPrivateKey" not in after
    assert after["Registration"]["uri"] == before["Registration"]["uri"]


def test_import_and_export(ferrule, origin, bind, pebble, authority, folder):
    """An imported certificate serves and saves the order; what is exported is the same again."""
    pebble.stop()
    proxy = ferrule.acme(pebble, bind, origin, domains=NAMES)
    proxy.wait_log("no answer from the CA")
    mine, other = authority.issue("demo.edge.test"), authority.issue("demo.edge.test")
    mixed = proxy.cli("cert", "import", "--cert", mine.cert_file, "--key", other.key_file)
    assert mixed.returncode == 1 and "key" in mixed.stderr
    assert proxy.cli("cert", "import", "--cert", mine.cert_file).returncode == 2
    done = proxy.cli("cert", "import", "--cert", mine.cert_file, "--key", mine.key_file)
    assert done.returncode == 0 and "imported: demo.edge.test" in done.stdout, done.stderr
    proxy.wait_served("demo.edge.test", authority.cert_file)
    assert proxy.json("cert", "show", "demo.edge.test")["wanted"][0]["state"] == "valid"
    cert, key = folder / "out.crt", folder / "out.key"
    assert proxy.cli("cert", "export", "demo.edge.test", "--cert", cert, "--key", key).returncode == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for one, two in ((mine.cert_file, cert), (mine.key_file, key)):
        read = ["openssl", "x509" if two == cert else "pkey", "-outform", "der", "-in"]
        assert subprocess.check_output([*read, str(one)]) == subprocess.check_output([*read, str(two)])
    assert proxy.cli("cert", "export", "nobody.test", "--cert", cert, "--key", key).returncode == 1
    proxy.restart()
    assert proxy.get_tls("/bytes/64", host="demo.edge.test", ca_file=authority.cert_file).status == 200
    assert base64.b64decode(stored(proxy)["test"]["Certificates"][0]["certificate"]).startswith(b"-----BEGIN CERTIFICATE")
