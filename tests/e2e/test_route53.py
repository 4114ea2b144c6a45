# SPDX-License-Identifier: Apache-2.0
"""The route53 plug-in in its real child process: what it sends, where its keys come from, and what it makes of Amazon's
answers. The faults that every provider is tried with stand in test_provider_kit.py."""

import pytest

from lib import aws, hooks
from lib.ferrule import run_cli
from lib.moto import Moto
from lib.proc import free_port
from lib.provider import Tool

NAME = "_acme-challenge.demo.edge.test."
VALUE = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
KEYS = {"AWS_ACCESS_KEY_ID": aws.KEY_ID, "AWS_SECRET_ACCESS_KEY": aws.SECRET}


@pytest.fixture
def route53():
    service = aws.Route53()
    yield service
    service.stop()


@pytest.fixture
def sts(route53):
    service = aws.Sts(route53)
    yield service
    service.stop()


@pytest.fixture
def metadata(route53):
    service = aws.Metadata(route53)
    yield service
    service.stop()


@pytest.fixture
def call(route53, folder):
    """call(what, **variables): the answer. No file of this machine and no metadata service is asked."""
    def run(what="present", value=VALUE, state="", keys=True, **env):
        nowhere = f"http://127.0.0.1:{free_port()}"
        base = {"AWS_ENDPOINT_URL": route53.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": nowhere, "HOME": str(folder), **(KEYS if keys else {})}
        answer = run.tool.call(what, NAME, value, env={**base, **env}, code="route53", zone="edge.test.", state=state)
        for secret, token in route53.keys.values():
            assert secret not in run.tool.log + answer["text"] and (not token or token not in run.tool.log + answer["text"])
        return answer

    run.tool = Tool()
    return run


def zone_of(service):
    return next(iter(service.zones))


def the_set(service):
    return service.sets.get((zone_of(service), NAME, "TXT"))


# --- on the wire -------------------------------------------------------------------------------------------------

@pytest.mark.asan
def test_requests(call, route53):
    """Lego's, in lego's order."""
    zone = zone_of(route53)
    answer = call()
    assert answer["verdict"] == "OK", answer
    assert [f"{r.method} {r.target}" for r in route53.requests] == [
        "GET /2013-04-01/hostedzonesbyname?dnsname=edge.test",
        f"GET /2013-04-01/hostedzone/{zone}/rrset?name={NAME}&type=TXT",
        f"POST /2013-04-01/hostedzone/{zone}/rrset/",
    ]
    assert route53.requests[-1].body == (
        '<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes><Change>'
        f"<Action>UPSERT</Action><ResourceRecordSet><Name>{NAME}</Name><ResourceRecords><ResourceRecord><Value>&#34;{VALUE}&#34;"
        "</Value></ResourceRecord></ResourceRecords><TTL>10</TTL><Type>TXT</Type></ResourceRecordSet></Change></Changes>"
        "<Comment>Managed by ferrule</Comment></ChangeBatch></ChangeResourceRecordSetsRequest>")
    assert the_set(route53) == (10, [f'"{VALUE}"'])
    change = next(iter(route53.changes))
    assert answer["state"] == f"1 {zone} {change}"
    assert call("cleanup", state=answer["state"])["verdict"] == "OK"
    assert route53.sets == {}
    assert "<Action>DELETE</Action>" in route53.requests[-1].body


def test_insync(call, route53):
    route53.pending = 2
    state = call()["state"]
    first = call("confirm", state=state)
    assert first["verdict"] == "RETRY" and "has not put the change" in first["text"] and "PENDING" in first["text"]
    assert call("confirm", state=state)["verdict"] == "RETRY"
    assert call("confirm", state=state)["verdict"] == "OK"
    asked = len(route53.requests)
    assert call("confirm", state=state, AWS_WAIT_FOR_RECORD_SETS_CHANGED="false")["verdict"] == "OK"
    assert call("confirm", state="")["verdict"] == "OK" and len(route53.requests) == asked
    assert call("confirm", state="1 ZX CLONGAGO")["verdict"] == "OK"


def test_ttl(call, route53):
    """A set of others keeps its own; a DELETE names the one that is there."""
    key = (zone_of(route53), NAME, "TXT")
    assert call(AWS_TTL="77")["verdict"] == "OK" and route53.sets[key][0] == 77
    assert call("cleanup", AWS_TTL="5")["verdict"] == "OK" and key not in route53.sets
    route53.sets[key] = (300, ['"foreign & <odd>" "second"'])
    assert call()["verdict"] == "OK"
    assert route53.sets[key] == (300, ['"foreign & <odd>" "second"', f'"{VALUE}"'])
    assert call("cleanup")["verdict"] == "OK"
    assert route53.sets[key] == (300, ['"foreign & <odd>" "second"'])


def test_somebody_else_changes_the_set(call, route53):
    """Between the reading and the DELETE: it is read again."""
    state = call()["state"]
    before = []

    def fault(request, serve):
        if request.method == "POST" and not before:
            before.append(request)
            ttl, values = the_set(route53)
            route53.sets[zone_of(route53), NAME, "TXT"] = (ttl, values + ['"of somebody else"'])
        return None

    route53.faults = [fault]
    assert call("cleanup", state=state)["verdict"] == "OK"
    assert the_set(route53) == (10, ['"of somebody else"'])


def test_names_that_look_alike(call, route53):
    route53.lists_all = True
    for name in ("x" + NAME, NAME.replace("demo", "demo2"), "*.edge.test."):
        route53.sets[zone_of(route53), name, "TXT"] = (60, [f'"{VALUE}"'])
    before = dict(route53.sets)
    assert call()["verdict"] == "OK"
    assert call("cleanup")["verdict"] == "OK"
    assert route53.sets == before


# --- zones -------------------------------------------------------------------------------------------------------

def test_private_twin(call, route53):
    public, private = zone_of(route53), route53.add_zone("edge.test.", private=True)
    route53.page_size = 1
    assert call()["verdict"] == "OK"
    assert call(AWS_PRIVATE_ZONE="true")["verdict"] == "OK"
    assert {zone for zone, _, _ in route53.sets} == {public, private}
    route53.zones.pop(public)
    answer = call()
    assert answer["verdict"] == "ZONE" and "one of the other kind (AWS_PRIVATE_ZONE)" in answer["text"]


@pytest.mark.parametrize("form", ["{}", "/hostedzone/{}"])
def test_zone_by_id(call, route53, folder, form):
    other = route53.add_zone("edge.test.")
    path = folder / "zone"
    path.write_text(form.format(other) + "\n")
    assert call(AWS_HOSTED_ZONE_ID_FILE=str(path))["verdict"] == "OK"
    assert [zone for zone, _, _ in route53.sets] == [other]
    assert not any("hostedzonesbyname" in request.target for request in route53.requests)


def test_bad_zone_ids(call, route53):
    answer = call(AWS_HOSTED_ZONE_ID="ZNOSUCH")
    assert answer["verdict"] == "ZONE" and "ZNOSUCH" in answer["text"]
    answer = call(AWS_HOSTED_ZONE_ID="Z1?x=y")
    assert answer["verdict"] == "CONFIG" and "is no zone's id" in answer["text"]


# --- keys --------------------------------------------------------------------------------------------------------

def test_session_token(call, route53):
    route53.keys = {"ASIAX": ("the/secret+", "a-token==/+")}
    env = {"AWS_ACCESS_KEY_ID": "ASIAX", "AWS_SECRET_ACCESS_KEY": "the/secret+", "AWS_SESSION_TOKEN": "a-token==/+"}
    assert call(**env)["verdict"] == "OK"
    assert call(**{**env, "AWS_SESSION_TOKEN": "another"})["verdict"] == "AUTH"


@pytest.mark.asan
def test_assumed_role(call, route53, sts):
    route53.keys.clear()
    env = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_ENDPOINT_URL_ROUTE_53": route53.url, "AWS_ASSUME_ROLE_ARN": aws.ROLE}
    answer = call(**env)
    assert answer["verdict"] == "AUTH" and "sts:AssumeRole" in answer["text"]
    answer = call(**env, AWS_EXTERNAL_ID="the external id")
    assert answer["verdict"] == "OK", answer
    assert sts.count == 1 and len(route53.requests) == 3  # asked once for three requests
    assert dict(pair.split("=") for pair in sts.requests[-1].body.split("&")) == {
        "Action": "AssumeRole", "DurationSeconds": "900", "ExternalId": "the%20external%20id", "Version": "2011-06-15",
        "RoleArn": "arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdns", "RoleSessionName": "ferrule"}


def test_short_lived_keys_are_renewed(call, route53, sts):
    sts.lifetime_s = 30  # less than what is spared for a request
    env = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_ASSUME_ROLE_ARN": aws.ROLE, "AWS_EXTERNAL_ID": "the external id"}
    assert call(**env)["verdict"] == "OK" and sts.count == 3


def test_keys_that_expire_early(call, route53, sts):
    env = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_ASSUME_ROLE_ARN": aws.ROLE, "AWS_EXTERNAL_ID": "the external id"}
    refused = []

    def fault(request, serve):
        if not refused:
            refused.append(request)
            return aws.Refused(403, "ExpiredToken", "The security token included in the request is expired").answer()
        return None

    route53.faults = [fault]
    assert call(**env)["verdict"] == "OK" and sts.count == 2


FILES = {
    "credentials": f"""# keys
[default]
aws_access_key_id = {aws.KEY_ID}
aws_secret_access_key={aws.SECRET}

[half]
aws_access_key_id = x
""",
    "config": """[default]
region = eu-central-1
s3 =
  max_concurrent_requests = 20
[profile taker]
role_arn = arn:aws:iam::123456789012:role/dns
source_profile = default
external_id = the external id
[profile sso]
sso_session = x
[profile instance]
role_arn = arn:aws:iam::123456789012:role/dns
credential_source = Ec2InstanceMetadata
external_id = the external id
""",
}


@pytest.fixture
def files(folder):
    (folder / ".aws").mkdir()
    for name, text in FILES.items():
        (folder / ".aws" / name).write_text(text)
    return folder / ".aws"


def test_profile_files(call, route53, sts, files):
    assert call(keys=False)["verdict"] == "OK"
    # The region of the profile is the one that STS is signed for.
    sts.region, env = "eu-central-1", {"AWS_ENDPOINT_URL_STS": sts.url}
    assert call(keys=False, AWS_PROFILE="taker", AWS_REGION="eu-central-1", **env)["verdict"] == "OK" and sts.count == 1
    moved = files / "elsewhere"
    (files / "credentials").rename(moved)
    assert call(keys=False, AWS_SHARED_CREDENTIALS_FILE=str(moved))["verdict"] == "OK"


@pytest.mark.parametrize("profile, text", [("nosuch", "in neither of the AWS files"), ("half", "but not both"),
                                           ("sso", "single sign-on or credential_process")])
def test_profiles_that_do_not_work(call, route53, files, profile, text):
    answer = call(keys=False, AWS_PROFILE=profile)
    assert answer["verdict"] == "CONFIG" and text in answer["text"], answer
    assert route53.requests == []


def test_unreadable_file(call, folder):
    answer = call(keys=False, AWS_SHARED_CREDENTIALS_FILE=str(folder))
    assert answer["verdict"] == "CONFIG" and "cannot be read" in answer["text"]


@pytest.mark.asan
def test_instance_metadata(call, route53, metadata, sts, files):
    route53.keys.pop(aws.KEY_ID)
    (files / "credentials").unlink()
    env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url}
    assert call(keys=False, **env)["verdict"] == "OK"
    assert metadata.asked() == ["PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/",
                                "GET /latest/meta-data/iam/security-credentials/the-role"]
    sts.keys = route53.keys
    sts.region = "eu-central-1"
    answer = call(keys=False, AWS_PROFILE="instance", AWS_REGION="eu-central-1", AWS_ENDPOINT_URL_STS=sts.url, **env)
    assert answer["verdict"] == "OK" and sts.count == 1
    metadata.role = ""
    answer = call(keys=False, **env)
    assert answer["verdict"] == "AUTH" and "has the instance a role?" in answer["text"]
    answer = call(keys=False, AWS_EC2_METADATA_DISABLED="true", **env)
    assert answer["verdict"] == "CONFIG" and "there are no AWS credentials" in answer["text"]


def test_container(call, route53, metadata):
    env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.url + "/container"}
    assert call(keys=False, AWS_CONTAINER_AUTHORIZATION_TOKEN="container-authorization", **env)["verdict"] == "OK"
    assert call(keys=False, **env)["verdict"] == "AUTH"


def test_web_identity(call, route53, sts, folder):
    token = folder / "token"
    token.write_text("header.claims.signature\n")
    env = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": aws.ROLE, "AWS_ENDPOINT_URL_STS": sts.url}
    assert call(keys=False, **env)["verdict"] == "OK"
    token.write_text("another")
    answer = call(keys=False, **env)
    assert answer["verdict"] == "CONFIG" and "InvalidIdentityToken" in answer["text"]


def test_nobody_has_keys(call, route53):
    answer = call(keys=False)
    assert answer["verdict"] == "AUTH" and "there are no AWS credentials" in answer["text"], answer
    assert route53.requests == []


# --- refusals ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, verdict, text", [
    ({"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, "AUTH", "knows the access key but not this secret"),
    ({"AWS_ACCESS_KEY_ID": "AKIDSTRANGER"}, "AUTH", "InvalidClientTokenId"),
    ({"AWS_SECRET_ACCESS_KEY": ""}, "CONFIG", "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"),
    ({"AWS_TTL": "soon"}, "CONFIG", 'AWS_TTL is "soon"'),
    ({"AWS_ENDPOINT_URL": "route53"}, "CONFIG", "must begin with https://"),
])
def test_refusals(call, route53, change, verdict, text):
    answer = call(**change)
    assert answer["verdict"] == verdict and text in answer["text"], answer
    assert route53.sets == {}


def test_clocks_apart(call, route53):
    route53.clock_s = 3600
    answer = call()
    assert answer["verdict"] == "RETRY" and "set this machine's clock" in answer["text"], answer


def test_throttling(call, route53):
    route53.throttle = 2
    assert call()["verdict"] == "OK" and len(route53.requests) == 5
    route53.throttle = 1
    answer = call(value="another", AWS_MAX_RETRIES="1")
    assert answer["verdict"] == "RATE" and "Rate exceeded" in answer["text"], answer


def test_description(call):
    info = call.tool.describe(env=KEYS, code="route53")
    assert (info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"]) == (10, 120, 4)
    info = call.tool.describe(env={**KEYS, "AWS_TTL": "20", "AWS_PROPAGATION_TIMEOUT": "30", "AWS_POLLING_INTERVAL": "1"},
                              code="route53")
    assert (info["ttl_s"], info["propagation_timeout_s"], info["polling_interval_s"]) == (20, 30, 1)


# --- moto, and the whole way -------------------------------------------------------------------------------------

@pytest.fixture
def moto(folder):
    made = Moto(folder / "moto")
    yield made
    made.stop()


def test_moto(moto, folder):
    """Another's idea of Route 53: values merge, foreign ones survive, private twins are told apart."""
    zone, private = moto.add_zone("edge.test"), moto.add_zone("edge.test", private=True)
    tool = Tool()

    def run(what, value, **env):
        env = {**KEYS, "AWS_ENDPOINT_URL": moto.url, "HOME": str(folder), **env}
        answer = tool.call(what, NAME, value, env=env, code="route53", zone="edge.test.", state=env.pop("STATE", ""))
        assert answer["verdict"] == "OK", answer
        return answer["state"]

    run("present", "foreign")
    state = run("present", "one", AWS_TTL="60")
    run("present", "two")
    assert moto.txt(zone) == {NAME.rstrip("."): ["foreign", "one", "two"]}
    run("confirm", "one", STATE=state)
    run("present", "hidden", AWS_PRIVATE_ZONE="true")
    assert moto.txt(private) == {NAME.rstrip("."): ["hidden"]}
    for value in ("one", "one", "two", "foreign"):
        run("cleanup", value)
    assert moto.txt(zone) == {}


@pytest.mark.parametrize("backend", ["fake", "moto"])
def test_order(ferrule, origin, bind, pebble, folder, request, backend):
    """Apex and wildcard from Pebble: Route 53's zone is mirrored into BIND."""
    if backend == "moto":
        service = request.getfixturevalue("moto")
        service.mirrors[service.add_zone("edge.test")] = bind
    else:
        service = request.getfixturevalue("route53")
        service.pending = 1

        def mirror():
            lines = [f"delete {name}. TXT" for name in bind.all_txt()]
            for (_, name, _), (ttl, values) in service.sets.items():
                lines += [f"add {name} {ttl} TXT {value}" for value in values]
            bind.nsupdate(*lines)

        service.on_change = mirror
    env = {**KEYS, "AWS_ENDPOINT_URL": service.url, "AWS_POLLING_INTERVAL": "1", "HOME": str(folder)}
    proxy = ferrule.acme(pebble, bind, origin, domains=[("demo.edge.test", ["*.demo.edge.test"])],
                         resolver={"provider": "route53", "env": env})
    hooks.wait_order(proxy, bind, pebble, "demo.edge.test")
    assert any("/change/" in r.path for r in service.requests) and aws.SECRET not in proxy.log


def test_show():
    result = run_cli("provider", "show", "route53", "--directory", Tool.folder_of("route53"))
    assert result.returncode == 0 and "AWS_SECRET_ACCESS_KEY  (secret)" in result.stdout and "AWS_HOSTED_ZONE_ID" in result.stdout
