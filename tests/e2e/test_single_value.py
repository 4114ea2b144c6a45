# SPDX-License-Identifier: Apache-2.0
"""A service whose names hold one value: those of an apex and its wildcard stand at one name, one after the other."""

from lib import config, httpreq
from lib.ferrule import build_folder
from test_acme import wait_certificate, wait_clean

NAME = "_acme-challenge.demo.edge.test"


class Service(httpreq.Server):
    """In front of BIND; what is put at a name takes the place of what was there."""

    def __init__(self, bind):
        super().__init__(self.change)
        self.bind, self.history, self.lost = bind, [], []

    def change(self, what, name, value):
        self.history.append((what, name, value))
        if what == "add":
            others = {record for record in self.records if record[0] == name and record[2] != value}
            self.lost += others
            self.records -= others
            self.bind.nsupdate(f"delete {name}. TXT", f'add {name}. 60 TXT "{value}"')
        else:
            self.bind.nsupdate(f'delete {name}. TXT "{value}"')


def test_one_after_the_other(ferrule, origin, bind, pebble):
    """Two orders have values at one name, one of them two: none is ever put in another one's place."""
    service = Service(bind)
    try:
        names = [("demo.edge.test", ["*.demo.edge.test"]), ("other.edge.test", ["demo.edge.test"])]
        plugins = f"[plugins]\ndirectories = {config.strings([build_folder() / 'tests' / 'plugins'])}\n"
        proxy = ferrule.acme(pebble, bind, origin, domains=names, extra=plugins, resolver={
            "provider": "single", "env": service.env(HTTPREQ_POLLING_INTERVAL="1")})
        for name in ("*.demo.edge.test", "other.edge.test"):
            wait_certificate(proxy, name)
        wait_clean(bind)
    finally:
        service.stop()
    assert pebble.issued() == 2
    added = [value for what, _, value in service.history if what == "add"]
    assert len(set(added)) >= 3 and not service.lost, service.history
    assert not service.records
