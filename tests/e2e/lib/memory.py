# SPDX-License-Identifier: Apache-2.0
"""Looks for secrets in processes: in their memory, their command line and environment, whatever the secret was turned into."""

import base64
import re
import struct
from pathlib import Path

PAGE_BYTES = 4096
STEP_BYTES = 1 << 24
PRESENT = 3 << 62  # in memory, or in swap


def _base64_inner(data):
    """What stands in base64 of anything that holds the data, at each of the three places where it may begin."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data)
        begin = (before * 8 + 5) // 6  # characters that also hold bits of what stands before
        end = (before + len(data)) * 8 // 6  # ... of what comes behind
        yield text[begin:end]


def forms_of(secret):
    """All forms in which a secret (bytes) might stand somewhere: as it is, base64, base64url, hex, and backwards, as numbers
    are kept in memory."""
    forms = {secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode()}
    for text in _base64_inner(secret):
        forms |= {text, text.translate(bytes.maketrans(b"+/", b"-_"))}
    assert all(len(form) >= 16 for form in forms), "too short to be looked for"
    return forms


def private_scalar(der):
    """Of an EC P-256 key (SEC 1 or PKCS #8)."""
    at = der.index(b"\x02\x01\x01\x04\x20") + 5
    return der[at:at + 32]


def _pages(pid, begin, end):
    """(begin, end) of what is there of an area of memory."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(begin // PAGE_BYTES * 8)
        data = pagemap.read((end - begin) // PAGE_BYTES * 8)
    if len(data) < (end - begin) // PAGE_BYTES * 8:
        yield begin, end  # the kernel does not say
        return
    first = None
    for n, (entry,) in enumerate(struct.iter_unpack("=Q", data)):
        if entry & PRESENT and first is None:
            first = n
        elif not entry & PRESENT and first is not None:
            yield begin + first * PAGE_BYTES, begin + n * PAGE_BYTES
            first = None
    if first is not None:
        yield begin + first * PAGE_BYTES, end


def memory_of(pid):
    """All writable memory of a process, in pieces."""
    areas = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw..", Path(f"/proc/{pid}/maps").read_text(), re.M)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for area in areas:
            for begin, end in _pages(pid, *(int(at, 16) for at in area)):
                data = b""
                while begin < end:
                    memory.seek(begin)
                    try:
                        more = memory.read(min(STEP_BYTES, end - begin))
                    except OSError:
                        break  # what belongs to a device
                    if not more:
                        break
                    begin += len(more)
                    data = data[-PAGE_BYTES:] + more
                    yield data


def found_in(data, secrets):
    """Names of those secrets ({name: forms}) that stand in the bytes."""
    return {name for name, forms in secrets.items() if any(form in data for form in forms)}


def found_in_memory(pid, secrets):
    found, read = set(), 0
    for data in memory_of(pid):
        read += len(data)
        found |= found_in(data, {name: forms for name, forms in secrets.items() if name not in found})
    assert read > 100_000, f"nothing of process {pid} could be read"
    return found


def found_beside(pid, secrets):
    """In the command line and the environment."""
    return found_in(b"\n".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")), secrets)
