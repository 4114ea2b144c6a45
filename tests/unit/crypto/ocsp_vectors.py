#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes ocsp_vectors.h and the corpus of the fuzz target with the openssl command: ocsp_vectors.py REPOSITORY"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path


def openssl(folder, *arguments):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


def certificate(folder, name, key, extensions, issuer=None):
    (folder / f"{name}.ext").write_text(extensions)
    openssl(folder, "req", "-newkey", *key, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    signer = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"] if issuer else ["-key", f"{name}.key"]
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-days", 36500, "-extfile", f"{name}.ext", "-out", f"{name}.pem",
            *signer)
    openssl(folder, "x509", "-in", f"{name}.pem", "-outform", "DER", "-out", f"{name}.der")


def serial(folder, name):
    text = subprocess.run(["openssl", "x509", "-in", f"{name}.pem", "-noout", "-serial"], cwd=folder, check=True,
                          capture_output=True, text=True).stdout
    return text.strip().split("=")[1]


def response(folder, name, signer, *options, index="V\t21250101000000Z\t\t{serial}\tunknown\t/CN=leaf\n"):
    (folder / "index").write_text(index.format(serial=serial(folder, "leaf")))
    openssl(folder, "ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", f"{signer}.pem", "-rkey", f"{signer}.key",
            "-reqin", "request.der", "-respout", f"{name}.resp", *options)


def literal(name, data):
    lines = [data[i:i + 24] for i in range(0, len(data), 24)]
    text = "\n".join('    "' + "".join(f"\\x{b:02x}" for b in line) + '"' for line in lines)
    return f"static const struct span {name} = SPAN_LITERAL(\n{text});\n"


def main(repository):
    folder = Path(tempfile.mkdtemp())
    ec, rsa = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], ["rsa:2048"]
    ca = "basicConstraints=critical,CA:TRUE\n"
    certificate(folder, "ca", ec, ca)
    certificate(folder, "stranger", ec, ca)
    certificate(folder, "leaf", ec, "authorityInfoAccess=OCSP;URI:http://ocsp.test/\ntlsfeature=status_request\n", "ca")
    certificate(folder, "other", ec, "basicConstraints=CA:FALSE\n", "ca")
    for name, issuer, key in (("delegate", "ca", rsa), ("delegate_ec", "ca", ec), ("false_delegate", "stranger", ec)):
        certificate(folder, name, key, "extendedKeyUsage=OCSPSigning\n", issuer)
    made = int(time.time())
    openssl(folder, "ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-no_nonce", "-reqout", "request.der")
    revoked = "R\t21250101000000Z\t200101000000Z,keyCompromise\t{serial}\tunknown\t/CN=leaf\n"
    week = ["-ndays", 7]
    response(folder, "good", "ca", *week)
    response(folder, "bare", "ca", "-resp_no_certs", *week)
    response(folder, "no_next", "ca")
    response(folder, "revoked", "ca", *week, index=revoked)
    response(folder, "unknown", "ca", *week, index="")
    response(folder, "delegated", "delegate", *week)
    response(folder, "delegated_by_key", "delegate_ec", "-resp_key_id", "-rmd", "sha384", *week)
    response(folder, "sha1", "delegate", "-rmd", "sha1", *week)
    response(folder, "no_purpose", "other", *week)
    response(folder, "false_delegated", "false_delegate", *week)
    response(folder, "strange", "stranger", *week)
    response(folder, "no_certs", "delegate", "-resp_no_certs", *week)
    (folder / "try_later.resp").write_bytes(b"\x30\x03\x0a\x01\x03")
    responses = sorted(folder.glob("*.resp"))
    text = ["/* SPDX-License-Identifier: Apache-2.0 */",
            "/* tests/unit/crypto/ocsp_vectors.h - certificates and answers about one of them, made by",
            " * ocsp_vectors.py.",
            " * Thread: any.   Owns: nothing.   Never: used outside tests. */", "#pragma once", "", '#include "base/span.h"', "",
            "/* clang-format off */", f"#define OCSP_MADE_S {made}ll", ""]
    for name in ("ca", "stranger", "leaf", "other"):
        text.append(literal(f"{name}_der", (folder / f"{name}.der").read_bytes()))
    text.append(literal("request_der", (folder / "request.der").read_bytes()))
    corpus = Path(repository) / "fuzz/corpus/ocsp"
    corpus.mkdir(parents=True, exist_ok=True)
    for path in responses:
        text.append(literal(f"{path.stem}_response", path.read_bytes()))
        (corpus / path.stem).write_bytes(path.read_bytes())
    (corpus / "leaf_der").write_bytes((folder / "leaf.der").read_bytes())
    text.append("/* clang-format on */")
    (Path(repository) / "tests/unit/crypto/ocsp_vectors.h").write_text("\n".join(text) + "\n")


main(sys.argv[1])
