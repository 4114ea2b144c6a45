# SPDX-License-Identifier: Apache-2.0
"""Fakes of Amazon's services for the route53 plug-in: Route 53 itself, STS and the metadata service (IMDSv2). Every signed
request is verified by signing it again here, from Amazon's description of Signature Version 4."""

import datetime
import hashlib
import hmac
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from . import providerkit
from .httpservice import Answer, HttpService

KEY_ID, SECRET = "AKIDEXAMPLE0123456", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ROLE = "arn:aws:iam::123456789012:role/dns"
NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"


def sign(request, secret, date, region, service, signed_headers):
    """The signature of a request, as hexadecimal text."""
    def mac(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    parts = urlsplit(request.target)
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~"))
                   for name, value in parse_qsl(parts.query, keep_blank_values=True))
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed_headers)
    body = hashlib.sha256(request.body.encode()).hexdigest()
    canonical = "\n".join([request.method, quote(unquote(parts.path), safe="/-_.~"), "&".join("=".join(pair) for pair in pairs),
                           headers, ";".join(signed_headers), body])
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = mac(("AWS4" + secret).encode(), date[:8])
    for word in (region, service, "aws4_request"):
        key = mac(key, word)
    return mac(key, text).hex()


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message

    def answer(self):
        return Answer(self.status, f'<?xml version="1.0"?>\n<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type>'
                      f"<Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
                      "<RequestId>b25f48e8-84fd-11e6-80d9-574e0c4664cb</RequestId></ErrorResponse>", {"Content-Type": "text/xml"})


class Signed(HttpService):
    """Checks signatures. keys: {id: (secret, session token or "")}; clock_s: how far its clock is ahead."""

    service, region = "", "us-east-1"

    def __init__(self, keys=None, context=None):
        super().__init__(context)
        self.keys = keys if keys is not None else {KEY_ID: (SECRET, "")}
        self.clock_s = 0

    def serve(self, request):
        try:
            self.verify(request)
            return self.act(request)
        except Refused as refused:
            return refused.answer()

    def verify(self, request):
        match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
                             r"SignedHeaders=([\w;-]+), ?Signature=([0-9a-f]{64})", request.headers.get("Authorization") or "")
        if not match:
            raise Refused(403, "MissingAuthenticationToken", "Missing Authentication Token")
        key_id, day, region, service, names, signature = match.groups()
        if (region, service) != (self.region, self.service):
            raise Refused(403, "SignatureDoesNotMatch", f"Credential should be scoped to {self.region}/{self.service}")
        secret, token = self.keys.get(key_id, (None, None))
        if secret is None:
            raise Refused(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        if (request.headers.get("X-Amz-Security-Token") or "") != token:
            raise Refused(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        date, names = request.headers["X-Amz-Date"], names.split(";")
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.clock_s)
        apart = abs((datetime.datetime.strptime(date + "+0000", "%Y%m%dT%H%M%SZ%z") - now).total_seconds())
        if apart > 300 or date[:8] != day:
            raise Refused(403, "SignatureDoesNotMatch", f"Signature expired: {date} is now earlier than {now:%Y%m%dT%H%M%SZ}")
        if not {"host", "x-amz-date"} <= set(names) or (token and "x-amz-security-token" not in names):
            raise Refused(403, "SignatureDoesNotMatch", "a header that matters is not signed")
        if not hmac.compare_digest(signature, sign(request, secret, date, region, service, names)):
            raise Refused(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")

    def act(self, request):
        raise NotImplementedError


class Route53(Signed):
    """zones: {id: (name with final dot, is private)}; sets: {(zone id, name, type): (ttl, [quoted values])}.

    pending     how many answers of GetChange say PENDING
    on_change   called after each change
    lists_all   lists ignore what they are asked for
    throttle    how many requests to refuse with Throttling
    """

    service = "route53"

    def __init__(self, *zones, keys=None, context=None):
        super().__init__(keys, context)
        self._ids = itertools.count(1)
        self.zones, self.sets, self.changes = {}, {}, {}
        for zone in zones or ("edge.test.",):
            self.add_zone(zone)
        self.pending = self.throttle = 0
        self.on_change, self.lists_all, self.page_size = None, False, 100
        self.content_types = ["application/xml"]

    def add_zone(self, name, private=False):
        self.zones[key := f"Z{next(self._ids):08d}EXAMPLE"] = (name, private)
        return key

    def act(self, request):
        if self.throttle:
            self.throttle -= 1
            raise Refused(400, "Throttling", "Rate exceeded")
        path = request.path.removeprefix("/2013-04-01/")
        if path == "hostedzonesbyname" and request.method == "GET":
            return self.list_zones(request.query)
        match = re.fullmatch(r"hostedzone/(\w+)/rrset" + ("/" if request.method == "POST" else ""), path)
        if match and match[1] not in self.zones:
            raise Refused(404, "NoSuchHostedZone", f"No hosted zone found with ID: {match[1]}")
        if match and request.method == "GET":
            return self.list_sets(match[1], request.query)
        if match and request.method == "POST":
            return self.change(match[1], request)
        match = re.fullmatch(r"change/(\w+)", path)
        if match and match[1] in self.changes:
            return self.get_change(match[1])
        raise Refused(404, "NoSuchChange" if match else "InvalidAction", "nothing is there")

    @staticmethod
    def document(name, inner):
        return Answer(200, f'<?xml version="1.0"?>\n<{name} xmlns="{NAMESPACE}">{inner}</{name}>', {"Content-Type": "text/xml"})

    def list_zones(self, query):
        def order(zone):
            return (list(reversed(zone[1][0].rstrip(".").split("."))), zone[0])

        zones = sorted(self.zones.items(), key=order)
        if not self.lists_all and "dnsname" in query:
            first = (list(reversed(query["dnsname"].rstrip(".").split("."))), query.get("hostedzoneid", ""))
            zones = [zone for zone in zones if order(zone) >= first]
        page, rest = zones[:self.page_size], zones[self.page_size:]
        inner = "".join(f"<HostedZone><Id>/hostedzone/{key}</Id><Name>{name}</Name><CallerReference>x</CallerReference><Config>"
                        f"<Comment>a &amp; b</Comment><PrivateZone>{str(private).lower()}</PrivateZone></Config></HostedZone>"
                        for key, (name, private) in page)
        more = f"<NextDNSName>{rest[0][1][0]}</NextDNSName><NextHostedZoneId>{rest[0][0]}</NextHostedZoneId>" if rest else ""
        return self.document("ListHostedZonesByNameResponse", f"<HostedZones>{inner}</HostedZones><IsTruncated>"
                             f"{str(bool(rest)).lower()}</IsTruncated>{more}<MaxItems>{self.page_size}</MaxItems>")

    def list_sets(self, zone, query):
        found = sorted((name, kind) for key, name, kind in self.sets if key == zone)
        if not self.lists_all:
            found = [each for each in found if each >= (query.get("name", ""), query.get("type", ""))]
        inner = ""
        for name, kind in found:
            ttl, values = self.sets[zone, name, kind]
            records = "".join(f"<ResourceRecord><Value>{escape(value)}</Value></ResourceRecord>" for value in values)
            name = name.replace("*", "\\052")
            inner += (f"<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>{ttl}</TTL><ResourceRecords>{records}"
                      "</ResourceRecords></ResourceRecordSet>")
        return self.document("ListResourceRecordSetsResponse", f"<ResourceRecordSets>{inner}</ResourceRecordSets>"
                             "<IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>")

    def change(self, zone, request):
        if request.headers["Content-Type"] not in self.content_types:
            raise Refused(400, "InvalidInput", "Content-Type")
        space = {"a": NAMESPACE}
        for change in ElementTree.fromstring(request.body).iterfind("a:ChangeBatch/a:Changes/a:Change", space):
            one = change.find("a:ResourceRecordSet", space)
            values = [each.text for each in one.iterfind("a:ResourceRecords/a:ResourceRecord/a:Value", space)]
            key = (zone, one.findtext("a:Name", None, space), one.findtext("a:Type", None, space))
            self.apply(key, change.findtext("a:Action", None, space), int(one.findtext("a:TTL", None, space)), values)
        self.changes[key := f"C{next(self._ids):08d}"] = self.pending
        if self.on_change:
            self.on_change()
        return self.document("ChangeResourceRecordSetsResponse", self.info(key, "PENDING"))

    def apply(self, key, action, ttl, values):
        """As Route 53: an UPSERT replaces, a DELETE must name exactly what is there."""
        if not values or len(set(values)) != len(values) or not all(re.fullmatch(r'("[^"]*"\s*)+', v) for v in values if key[2] == "TXT"):
            raise Refused(400, "InvalidChangeBatch", f"[Invalid Resource Record: {values}]")
        if not key[1].endswith(self.zones[key[0]][0]):
            raise Refused(400, "InvalidChangeBatch", f"[RRSet with DNS name {key[1]} is not permitted in zone {self.zones[key[0]][0]}]")
        if action == "DELETE":
            have = self.sets.get(key)
            if not have or (have[0], sorted(have[1])) != (ttl, sorted(values)):
                raise Refused(400, "InvalidChangeBatch", f"[Tried to delete resource record set [name='{key[1]}', type='{key[2]}'] "
                              "but the values provided do not match the current values]")
            del self.sets[key]
        else:
            self.sets[key] = (ttl, values)

    @staticmethod
    def info(key, status):
        return (f"<ChangeInfo><Id>/change/{key}</Id><Status>{status}</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt>"
                "</ChangeInfo>")

    def get_change(self, key):
        self.changes[key] -= 1
        return self.document("GetChangeResponse", self.info(key, "PENDING" if self.changes[key] >= 0 else "INSYNC"))


class Sts(Signed):
    """Gives keys for roles, which `route53` then takes. externals: {role: external id}."""

    service = "sts"

    def __init__(self, route53, keys=None, lifetime_s=900):
        super().__init__(keys)
        self.route53, self.lifetime_s, self.count = route53, lifetime_s, 0
        self.externals = {ROLE: "the external id"}

    def verify(self, request):
        if "WebIdentityToken=" not in request.body:
            super().verify(request)

    def act(self, request):
        form = dict(parse_qsl(request.body))
        if form["Action"] == "AssumeRoleWithWebIdentity" and form["WebIdentityToken"] != "header.claims.signature":
            raise Refused(400, "InvalidIdentityToken", "the token is not accepted")
        if form["Action"] == "AssumeRole" and form.get("ExternalId") != self.externals.get(form["RoleArn"]):
            raise Refused(403, "AccessDenied", "User is not authorized to perform: sts:AssumeRole")
        self.count += 1
        key, secret, token = f"ASIAROLE{self.count:08d}", f"role/secret+{self.count}", f"role-token//{self.count}=="
        self.route53.keys[key] = (secret, token)
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.lifetime_s)
        name = form["Action"]
        return Answer(200, f'<{name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{name}Result><AssumedRoleUser>'
                      f"<Arn>x</Arn></AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}"
                      f"</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
                      f"</Credentials></{name}Result></{name}Response>")


class Metadata(HttpService):
    """An instance's metadata service, version 2 only, and a container's at /container."""

    def __init__(self, route53):
        super().__init__()
        route53.keys["ASIAINSTANCE0001"] = ("instance/secret", "instance-token==")
        self.role = "the-role"

    def keys(self):
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=6)
        return Answer(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAINSTANCE0001",
                                       "SecretAccessKey": "instance/secret", "Token": "instance-token==",
                                       "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}"}))

    def serve(self, request):
        if request.path == "/container":
            return self.keys() if request.headers.get("Authorization") == "container-authorization" else Answer(401)
        if (request.method, request.path) == ("PUT", "/latest/api/token"):
            return Answer(200, "imds-token==") if request.headers.get("X-aws-ec2-metadata-token-ttl-seconds") == "300" else Answer(400)
        if request.headers.get("X-aws-ec2-metadata-token") != "imds-token==":
            return Answer(401)
        base = "/latest/meta-data/iam/security-credentials/"
        if request.path == base and self.role:
            return Answer(200, self.role)
        return self.keys() if self.role and request.path == base + self.role else Answer(404)


class Subject(providerkit.Subject):
    code = "route53"
    secrets = (SECRET,)

    def __init__(self):
        self.service = Route53()
        self.zone = next(iter(self.service.zones))

    def env(self):
        return {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.service.url}

    def records(self):
        return {(name.rstrip("."), kind, value[1:-1] if kind == "TXT" else value) for (_, name, kind), (_, values) in self.service.sets.items()
                for value in values}

    def add(self, name, kind, value):
        key = (self.zone, name + ".", kind)
        ttl, values = self.service.sets.get(key, (300, []))
        self.service.sets[key] = (ttl, values + [f'"{value}"' if kind == "TXT" else value])

    def refuse(self, status):
        code, message = {401: ("IncompleteSignature", "Authorization header requires 'Credential' parameter."),
                         403: ("AccessDenied", "User is not authorized to perform: route53:ChangeResourceRecordSets"),
                         429: ("TooManyRequestsException", "Rate exceeded"),
                         500: ("InternalFailure", "We encountered an internal error.")}[status]
        return Refused(status, code, message).answer()

    def lose_zone(self):
        self.service.zones.clear()

    def double_zone(self):
        self.service.add_zone("edge.test.")

    def list_everything(self):
        self.service.lists_all = True
