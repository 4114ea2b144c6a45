# SPDX-License-Identifier: Apache-2.0
"""An operator's own server for the httpreq provider: Basic authentication, and a set of TXT values."""

import base64

from . import providerkit
from .httpservice import Answer, HttpService

USER, PASSWORD = "ferrule", "a-secret-password"


class Server(HttpService):
    """/base/present and /base/cleanup; records holds (name, type, value)."""

    def __init__(self, on_change=None, user=USER):
        super().__init__()
        self.records, self.on_change = set(), on_change
        self.authorization = "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode() if user else None

    @property
    def endpoint(self):
        return self.url + "/base"

    def serve(self, request):
        if request.headers.get("Authorization") != self.authorization:
            return Answer(401, "who are you?", {"WWW-Authenticate": 'Basic realm="dns"'})
        if request.method != "POST" or request.path not in ("/base/present", "/base/cleanup"):
            return Answer(404, "nothing here")
        body = request.json()
        if "value" not in body:
            return Answer(200)
        adds = request.path.endswith("present")
        record = (body["fqdn"].rstrip("."), "TXT", body["value"])
        (self.records.add if adds else self.records.discard)(record)
        if self.on_change:
            self.on_change("add" if adds else "delete", record[0], record[2])
        return Answer(200)

    def env(self, **more):
        return {"HTTPREQ_ENDPOINT": self.endpoint, "HTTPREQ_USERNAME": USER, "HTTPREQ_PASSWORD": PASSWORD, **more}


class Subject(providerkit.Subject):
    code = "httpreq"
    hurry = {"HTTPREQ_HTTP_TIMEOUT": "2"}
    secrets = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
    lacks = {
        "zone not found": "zones are the server's business: the protocol does not name them",
        "two zones of one name": "zones are the server's business: the protocol does not name them",
        "lists that hold everything": "the protocol has no lists",
        "truncated answer": "the protocol says nothing about the body of an answer",
    }

    def __init__(self):
        self.service = Server()

    def env(self):
        return self.service.env()

    def records(self):
        return self.service.records

    def add(self, name, kind, value):
        self.service.records.add((name, kind, value))

    def refuse(self, status):
        return Answer(status, "a reason")
