# SPDX-License-Identifier: Apache-2.0
"""Reads DNS UPDATE messages (RFC 2136) as they travel, to compare those of two clients."""

import struct

TYPES = {5: "CNAME", 6: "SOA", 16: "TXT", 250: "TSIG", 255: "ANY"}
CLASSES = {1: "IN", 254: "NONE", 255: "ANY"}


def _name(data, at):
    labels, end = [], None
    while (length := data[at]) != 0:
        if length >= 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | data[at + 1]
        else:
            labels.append(data[at + 1:at + 1 + length].decode("latin-1").lower())
            at += 1 + length
    return ".".join(labels) + ".", end or at + 1


def _texts(data):
    found = []
    while data:
        found.append(data[1:1 + data[0]].decode("latin-1"))
        data = data[1 + data[0]:]
    return found


def update(data):
    """None for another message, else {"zone", "prerequisites", "updates": [(name, type, class, ttl, texts)], "tsig": (key,
    algorithm, fudge)}."""
    flags, zones, prerequisites, updates, extra = struct.unpack(">2xHHHHH", data[:12])
    if flags >> 11 & 15 != 5 or flags & 0x8000:
        return None
    at, found = 12, {"prerequisites": [], "updates": [], "extra": [], "tsig": None}
    for _ in range(zones):
        name, at = _name(data, at)
        kind, klass = struct.unpack(">HH", data[at:at + 4])
        found["zone"], at = (name, TYPES[kind], CLASSES[klass]), at + 4
    for section, count in (("prerequisites", prerequisites), ("updates", updates), ("extra", extra)):
        for _ in range(count):
            name, at = _name(data, at)
            kind, klass, ttl, size = struct.unpack(">HHIH", data[at:at + 10])
            rdata = data[at + 10:at + 10 + size]
            if TYPES.get(kind) == "TSIG":
                algorithm, after = _name(data, at + 10)
                found["tsig"] = (name, algorithm, struct.unpack(">H", data[after + 6:after + 8])[0])
            else:
                found[section].append((name, TYPES.get(kind, kind), CLASSES[klass], ttl, _texts(rdata)))
            at += 10 + size
    return found
