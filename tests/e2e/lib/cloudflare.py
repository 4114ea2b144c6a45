# SPDX-License-Identifier: Apache-2.0
"""A fake of Cloudflare's API v4 as it is documented: zones, DNS records, tokens with rights, paging, errors."""

import itertools
import re

from . import providerkit
from .httpservice import Answer, HttpService

DNS_TOKEN = "v1-token-with-zone-dns-edit-0123456789"
ZONE_TOKEN = "v1-token-with-zone-zone-read-0123456789"
EMAIL, API_KEY = "owner@edge.test", "0123456789abcdef0123456789abcdef01234"
PER_PAGE_MAX, PER_PAGE = 5000, 100


def error(status, code, message, chain=(), headers=None):
    entry = {"code": code, "message": message}
    if chain:
        entry["error_chain"] = [{"code": c, "message": m} for c, m in chain]
    return Answer(status, {"success": False, "errors": [entry], "messages": [], "result": None}, headers)


class Cloudflare(HttpService):
    """zones: {id: name}; records: {id: {"zone", "name", "type", "content", "ttl"}}.

    on_change   called with ("add" | "delete", name, value) for each TXT value
    rights      {token: set of "zone", "dns"}
    lists_all   lists ignore their filters
    """

    def __init__(self, *zones, context=None, on_change=None):
        super().__init__(context)
        self._ids = itertools.count(1)
        self.zones, self.records = {}, {}
        for zone in zones or ("edge.test",):
            self.add_zone(zone)
        self.on_change, self.lists_all = on_change, False
        self.rights = {DNS_TOKEN: {"zone", "dns"}, ZONE_TOKEN: {"zone"}}

    @property
    def base(self):
        return self.url + "/client/v4"

    def new_id(self):
        return f"{next(self._ids):032x}"

    def add_zone(self, name):
        self.zones[key := self.new_id()] = name
        return key

    def add(self, name, kind, content):
        """A record made by somebody in the dashboard, who writes no quotes."""
        zone = next(key for key, zone in self.zones.items() if name == zone or name.endswith("." + zone))
        self.records[self.new_id()] = {"zone": zone, "name": name, "type": kind, "content": content, "ttl": 1}

    # --- the API --------------------------------------------------------------------------------------------

    def serve(self, request):
        if request.headers.get("Accept") != "application/json":
            return error(400, 6003, "Invalid request headers", [(6101, "Invalid Accept header")])
        refused = self.check_rights(request)
        path = request.path.removeprefix("/client/v4")
        if refused or path == request.path:
            return refused or error(404, 7000, "No route for that URI")
        if path == "/zones" and request.method == "GET":
            return self.list_zones(request.query)
        match = re.fullmatch(r"/zones/([^/]*)/dns_records(?:/([^/]*))?", path)
        if not match:
            return error(404, 7000, "No route for that URI")
        if match[1] not in self.zones:
            return error(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")
        action = {("GET", False): self.list_records, ("POST", False): self.create,
                  ("DELETE", True): self.delete}.get((request.method, bool(match[2])))
        return action(request, match[1], match[2]) if action else error(405, 10405, "Method not allowed for this URI")

    def check_rights(self, request):
        bearer = request.headers.get("Authorization") or ""
        if not bearer and request.headers.get("X-Auth-Email") is None:
            return error(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
        if not bearer:
            known = (request.headers["X-Auth-Email"], request.headers["X-Auth-Key"]) == (EMAIL, API_KEY)
            return None if known else error(403, 9103, "Unknown X-Auth-Key or X-Auth-Email")
        if not re.fullmatch(r"Bearer [\w-]+", bearer):
            return error(400, 6003, "Invalid request headers", [(6111, "Invalid format for Authorization header")])
        rights = self.rights.get(bearer.removeprefix("Bearer "))
        if rights is None:
            return error(403, 9109, "Invalid access token")
        needed = "dns" if "/dns_records" in request.path else "zone"
        return None if needed in rights else error(403, 10000, "Authentication error")

    def page(self, items, query):
        """One page of a list, as the API cuts it."""
        page, per_page = int(query.get("page", 1)), min(int(query.get("per_page", PER_PAGE)), PER_PAGE_MAX)
        part = items[(page - 1) * per_page:page * per_page]
        info = {"page": page, "per_page": per_page, "count": len(part), "total_count": len(items),
                "total_pages": -(-len(items) // per_page)}
        return Answer(200, {"success": True, "errors": [], "messages": [], "result": part, "result_info": info})

    def list_zones(self, query):
        return self.page([{"id": key, "name": name, "status": "active"} for key, name in self.zones.items()
                          if self.lists_all or query.get("name") in (None, name)], query)

    def show(self, key):
        record = self.records[key]
        return {"id": key, **{field: record[field] for field in ("name", "type", "content", "ttl")}, "proxied": False}

    def list_records(self, request, zone, _):
        query = request.query
        return self.page([self.show(key) for key, record in self.records.items() if record["zone"] == zone and (
            self.lists_all or (query.get("type") in (None, record["type"]) and query.get("name") in (None, record["name"])))],
            query)

    def create(self, request, zone, _):
        if request.headers.get("Content-Type") != "application/json":
            return error(400, 6003, "Invalid request headers", [(6105, "Invalid Content-Type header")])
        body = request.json()
        if body["ttl"] != 1 and body["ttl"] < 60:
            return error(400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")
        if not body["name"].endswith(self.zones[zone]):
            body["name"] += "." + self.zones[zone]
        for record in self.records.values():
            if record["zone"] == zone and record["name"] == body["name"]:
                if record["type"] == "CNAME":
                    return error(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
                if (record["type"], record["content"].strip('"')) == (body["type"], body["content"].strip('"')):
                    return error(400, 81058, "An identical record already exists.")
        key = self.new_id()
        self.records[key] = {"zone": zone, **{field: body[field] for field in ("name", "type", "content", "ttl")}}
        self.changed("add", self.records[key])
        return Answer(200, {"success": True, "errors": [], "messages": [], "result": self.show(key)})

    def delete(self, request, zone, key):
        if self.records.get(key, {}).get("zone") != zone:
            return error(404, 81044, "Record does not exist.")
        self.changed("delete", self.records.pop(key))
        return Answer(200, {"success": True, "errors": [], "messages": [], "result": {"id": key}})

    def changed(self, what, record):
        if self.on_change and record["type"] == "TXT":
            self.on_change(what, record["name"], record["content"].strip('"'))


class Subject(providerkit.Subject):
    code = "cloudflare"
    hurry = {"CLOUDFLARE_HTTP_TIMEOUT": "2"}
    secrets = (DNS_TOKEN,)

    def __init__(self):
        self.service = Cloudflare()

    def env(self):
        return {"CLOUDFLARE_DNS_API_TOKEN": DNS_TOKEN, "CLOUDFLARE_BASE_URL": self.service.base}

    def records(self):
        return [(r["name"], r["type"], r["content"].strip('"') if r["type"] == "TXT" else r["content"])
                for r in self.service.records.values()]

    def add(self, name, kind, value):
        self.service.add(name, kind, value)

    def refuse(self, status):
        return {401: error(401, 10000, "Authentication error"),
                403: error(403, 10000, "Authentication error"),
                429: error(429, 10013, "Rate limited. Please wait and consider throttling your request speed"),
                500: error(500, 1000, "An internal error has occurred.")}[status]

    def lose_zone(self):
        self.service.zones.clear()

    def double_zone(self):
        self.service.add_zone("edge.test")

    def list_everything(self):
        self.service.lists_all = True
