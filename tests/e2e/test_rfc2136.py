# SPDX-License-Identifier: Apache-2.0
"""The rfc2136 plug-in in its real child process against a real BIND."""

import base64
import os
import re
import struct
import time

import pytest

from lib.ferrule import build_folder
from lib.proc import free_port
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test."
BARE = NAME.rstrip(".")
ALGORITHMS = ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]


@pytest.fixture
def tool():
    return Tool()


@pytest.mark.asan
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_come_and_go_one_by_one(tool, bind, algorithm):
    env = bind.rfc2136_env(algorithm)
    bind.nsupdate(f"add {NAME} 60 TXT foreign", f"add {NAME} 60 HINFO cpu os")
    for value in ("one", "two", "two"):
        answer = tool.call("present", NAME, value, env=env)
        assert answer["verdict"] == "OK", answer
        assert answer["state"] == "1 edge.test."
    assert bind.txt(BARE) == ["foreign", "one", "two"]
    assert "120\tIN\tTXT" in full_answer(bind, BARE)
    for _ in range(2):
        assert tool.call("cleanup", NAME, "one", env=env, state="1 edge.test.")["verdict"] == "OK"
    assert bind.txt(BARE) == ["foreign", "two"]
    assert tool.call("cleanup", NAME, "two", env=env)["verdict"] == "OK"
    assert bind.txt(BARE) == ["foreign"]
    assert bind.dig(BARE, "HINFO") == ['"cpu" "os"']


def full_answer(bind, name):
    import subprocess

    command = ["dig", "@127.0.0.1", "-p", str(bind.port), "+noall", "+answer", "+norecurse", name, "TXT"]
    return re.sub(r"[ \t]+", "\t", subprocess.run(command, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("change", [
    {"RFC2136_TSIG_ALGORITHM": "HMAC-SHA256"},
    {"RFC2136_TSIG_KEY": "KEY-hmac-SHA256."},
    {"RFC2136_TTL": "77"},
    {"RFC2136_ZONES": "other.test, edge.test, test"},
    {"RFC2136_ZONES": "Edge.Test."},
])
def test_spellings(tool, bind, change):
    assert tool.call("present", NAME.upper(), "x", env=bind.rfc2136_env(**change))["verdict"] == "OK"
    assert bind.txt(BARE) == ["x"]


def test_new_names_and_file(tool, bind, folder):
    secret = folder / "secret"
    secret.write_text(bind.key.secret + "\r\n")
    env = {"DNSUPDATE_NAMESERVER": bind.address, "DNSUPDATE_TSIG_KEY": bind.key.name,
           "DNSUPDATE_TSIG_SECRET_FILE": str(secret), "DNSUPDATE_TSIG_ALGORITHM": "hmac-sha256"}
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    assert bind.txt(BARE) == ["x"]


def test_key_file(tool, bind, folder):
    path = folder / "tsig.key"
    path.write_text(f'# a comment\nkey "{bind.key.name}" {{\n\talgorithm hmac-sha256; // as made\n'
                    f'\tsecret "{bind.key.secret}";\n}};\n')
    env = {"RFC2136_NAMESERVER": bind.address, "RFC2136_TSIG_FILE": str(path)}
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    path.write_text('key "k" { algorithm hmac-md5; secret "AAAA"; };')
    answer = tool.call("present", NAME, "x", env=env)
    assert answer["verdict"] == "CONFIG" and "hmac-md5" in answer["text"] and str(path) in answer["text"]


def test_probe_changes_nothing(tool, bind):
    assert tool.call("probe", NAME, env=bind.rfc2136_env())["verdict"] == "OK"
    assert bind.all_txt() == {}
    answer = tool.call("probe", NAME, env=bind.rfc2136_env(RFC2136_TSIG_KEY="stranger"))
    assert answer["verdict"] == "AUTH" and "BADKEY" in answer["text"]


def test_description(tool, bind):
    info = tool.describe(env=bind.rfc2136_env())
    assert (info["name"], info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"],
            info["sequence_interval_s"]) == ("rfc2136", 120, 60, 2, 60)
    info = tool.describe(env=bind.rfc2136_env(RFC2136_TIMEOUT="90", RFC2136_POLLING_INTERVAL="7", RFC2136_TTL="1m"))
    assert (info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"]) == (60, 90, 7)


def b64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("change, verdict, text", [
    ({"RFC2136_TSIG_SECRET": b64("another secret of some length")}, "AUTH", "BADSIG"),
    ({"RFC2136_TSIG_KEY": "stranger"}, "AUTH", "BADKEY"),
    ({"RFC2136_TSIG_ALGORITHM": "hmac-sha512"}, "AUTH", "BADKEY"),
    ({"RFC2136_TSIG_ALGORITHM": "hmac-md5"}, "CONFIG", "hmac-sha256"),
    ({"RFC2136_TSIG_ALGORITHM": "gss-tsig."}, "CONFIG", "GSS-TSIG is not supported"),
    ({"RFC2136_TSIG_GSS_REALM": "EDGE.TEST"}, "CONFIG", "GSS-TSIG is not supported"),
    ({"RFC2136_TSIG_KEY": ""}, "CONFIG", "RFC2136_TSIG_SECRET is set, but RFC2136_TSIG_KEY is not"),
    ({"RFC2136_TSIG_SECRET": ""}, "CONFIG", "RFC2136_TSIG_KEY is set, but RFC2136_TSIG_SECRET is not"),
    ({"RFC2136_TSIG_SECRET": "!!"}, "CONFIG", "Base64"),
    ({"RFC2136_NAMESERVER": ""}, "CONFIG", "set RFC2136_NAMESERVER"),
    ({"RFC2136_NAMESERVER": "a b:c:d]"}, "CONFIG", "is no server address"),
    ({"RFC2136_TTL": "soon"}, "CONFIG", 'RFC2136_TTL is "soon"'),
    ({"RFC2136_TSIG_SECRET": "", "RFC2136_TSIG_KEY": ""}, "AUTH", "without a signature (REFUSED)"),
    ({"RFC2136_ZONES": "other.test"}, "ZONE", "RFC2136_ZONES names no zone"),
    ({"RFC2136_ZONES": "demo.edge.test"}, "ZONE", "not the primary server of demo.edge.test."),
])
def test_refusals(tool, bind, change, verdict, text):
    env = {k: v for k, v in bind.rfc2136_env(**change).items() if v}
    answer = tool.call("present", NAME, "x", env=env)
    assert answer["verdict"] == verdict and text in answer["text"], answer
    assert bind.all_txt() == {}
    secret = env.get("RFC2136_TSIG_SECRET", bind.key.secret)
    assert len(secret) < 4 or secret not in tool.log + answer["text"]


def test_name_outside_every_zone(tool, bind):
    answer = tool.call("present", "_acme-challenge.elsewhere.example.", "x", env=bind.rfc2136_env())
    assert answer["verdict"] == "ZONE" and "has no zone for _acme-challenge.elsewhere.example." in answer["text"]


def test_key_that_may_not_update_the_zone(tool, make_bind):
    bind = make_bind(zones={"edge.test": ""})
    text = (bind.folder / "named.conf").read_text()
    # The same server with a policy that lets nobody in.
    (bind.folder / "named.conf").write_text(re.sub(r"allow-update \{[^}]*\}", "allow-update { none; }", text))
    bind.process.send_signal(1)
    bind.process.wait_log("reloading zones succeeded")
    answer = tool.call("present", NAME, "x", env=bind.rfc2136_env())
    assert answer["verdict"] == "AUTH" and "update-policy or allow-update" in answer["text"], answer


def test_nobody_there(tool):
    answer = tool.call("present", NAME, "x", env={"RFC2136_NAMESERVER": f"127.0.0.1:{free_port()}"})
    assert answer["verdict"] == "RETRY" and "is a DNS server running there?" in answer["text"]


def test_host_name_as_server(tool, bind):
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"localhost:{bind.port}")
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    assert bind.txt(BARE) == ["x"]


def test_silent_server(tool, bind, make_dns_relay):
    relay = make_dns_relay(bind.address)
    relay.drop = True
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"127.0.0.2:{relay.port}", RFC2136_DNS_TIMEOUT="1")
    answer = tool.call("present", NAME, "x", env=env)
    assert answer["verdict"] == "RETRY" and "did not answer in time" in answer["text"]


def test_tcp_when_udp_is_silent(tool, bind, make_dns_relay):
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: answer if is_tcp else None
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"127.0.0.2:{relay.port}", RFC2136_DNS_TIMEOUT="2")
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    assert bind.txt(BARE) == ["x"]


def test_tcp_when_udp_is_truncated(tool, bind, make_dns_relay):
    relay = make_dns_relay(bind.address)
    over_tcp = []

    def truncate(query, answer, is_tcp):
        over_tcp.append(is_tcp)
        if is_tcp:
            return answer
        flags = struct.unpack(">H", answer[2:4])[0] | 0x0200
        return answer[:2] + struct.pack(">H", flags) + b"\0\1" + b"\0" * 6 + query[12:query.index(b"\0", 12) + 5]

    relay.change = truncate
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"127.0.0.2:{relay.port}")
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    assert bind.txt(BARE) == ["x"] and True in over_tcp and False in over_tcp


def is_update(query):
    return query[2] >> 3 == 5


@pytest.mark.parametrize("spoil, verdict, text", [
    # One bit of the signature, one of the signed header, no signature at all, another message's id.
    (lambda a: a[:-10] + bytes([a[-10] ^ 1]) + a[-9:], "AUTH", "is not by our TSIG key"),
    (lambda a: a[:3] + bytes([a[3] | 2]) + a[4:], "AUTH", "is not by our TSIG key"),
    (lambda a: a[:10] + b"\0\0" + a[12:a.index(b"\x0fkey-hmac-sha256")], "AUTH", "without a signature"),
    (lambda a: a[:-1], "RETRY", "damaged TSIG record"),
    (lambda a: a[:20], "RETRY", "damaged DNS message"),
])
def test_answers_that_do_not_count(tool, bind, make_dns_relay, spoil, verdict, text):
    relay = make_dns_relay(bind.address)
    relay.change = lambda query, answer, is_tcp: spoil(answer) if is_update(query) else answer
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"127.0.0.2:{relay.port}", RFC2136_DNS_TIMEOUT="6")
    answer = tool.call("present", NAME, "x", env=env)
    assert answer["verdict"] == verdict and text in answer["text"], answer


def test_forged_answer_before_the_real_one(tool, bind, make_dns_relay):
    """It is dropped, and the server's own is waited for: RFC 8945 section 5.3. The update is sent once."""
    relay = make_dns_relay(bind.address)
    updates = []

    def forge(query, answer, is_tcp):
        if not is_update(query):
            return answer
        updates.append(is_tcp)
        refused = answer[:3] + bytes([answer[3] & 0xF0 | 5]) + answer[4:]  # rcode REFUSED: the signature is not good any more
        unsigned = answer[:10] + b"\0\0" + answer[12:answer.index(b"\x0fkey-hmac-sha256")]
        return [refused, unsigned, answer[:14], answer]

    relay.change = forge
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"127.0.0.2:{relay.port}", RFC2136_DNS_TIMEOUT="60")
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    assert bind.txt(BARE) == ["x"] and updates == [False]


def test_clocks_apart(tool, make_bind, monkeypatch):
    """BIND's clock is an hour slow."""
    monkeypatch.setenv("LD_PRELOAD", str(build_folder() / "tests" / "provider" / "slow_clock.so"))
    bind = make_bind()
    monkeypatch.delenv("LD_PRELOAD")
    answer = tool.call("present", NAME, "x", env=bind.rfc2136_env())
    assert answer["verdict"] == "RETRY" and "BADTIME" in answer["text"] and "set the clock" in answer["text"], answer
    apart = int(re.search(r"are (\d+) s apart", answer["text"]).group(1))
    assert abs(apart - 3600) < 120


def test_missing_plugin(tool):
    answer = tool.call("present", NAME, "x", code="nosuch")
    assert "no nosuch.so in" in answer["text"]


def test_secret_is_not_in_the_child(tool, bind, make_dns_relay):
    """Neither argv nor the environment of the child holds a secret."""
    relay = make_dns_relay(bind.address)
    seen = []

    def look(query, answer, is_tcp):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = open(f"/proc/{pid}/cmdline", "rb").read()
                if b"provider-run" in command:
                    seen.append(command + open(f"/proc/{pid}/environ", "rb").read())
            except OSError:
                pass
        return answer

    relay.change = look
    env = bind.rfc2136_env(RFC2136_NAMESERVER=f"127.0.0.2:{relay.port}")
    assert tool.call("present", NAME, "x", env=env)["verdict"] == "OK"
    assert seen and not any(bind.key.secret.encode() in text for text in seen)


def test_many_values_in_one_child_are_quick(tool, bind):
    started = time.monotonic()
    assert tool.call("present", NAME, "x" * 255, env=bind.rfc2136_env())["verdict"] == "OK"
    assert bind.txt(BARE) == ["x" * 255]
    assert time.monotonic() - started < 20
