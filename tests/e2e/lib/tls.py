# SPDX-License-Identifier: Apache-2.0
"""TLS clients: Python's ssl over a raw socket, and the openssl command for what Python cannot do."""

import re
import socket
import ssl
import subprocess

from .http1 import TIMEOUT_S, Connection


def context(ca_file=None, minimum=None, maximum=None, alpn=None, ciphers=None):
    """A client context; without ca_file nothing is verified."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # some Pythons set it, and miss that close_notify is missing
    if ca_file:
        made.load_verify_locations(str(ca_file))
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    versions = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
                "1.3": ssl.TLSVersion.TLSv1_3}
    if minimum:
        made.minimum_version = versions[minimum]
    if maximum:
        made.maximum_version = versions[maximum]
    if alpn:
        made.set_alpn_protocols(alpn)
    if ciphers:
        made.set_ciphers(ciphers)
    return made


class TlsConnection(Connection):
    """A Connection over TLS; .sock is the SSLSocket (version(), cipher(), session, session_reused)."""

    @property
    def certificate_der(self):
        return self.sock.getpeercert(binary_form=True)

    @property
    def certificate(self):
        """{"names": [...], "issuer": ..., "serial": ..., "not_after": ...} also without verification."""
        return describe(ssl.DER_cert_to_PEM_cert(self.certificate_der))


def connect(port, server_name="example.test", address="127.0.0.1", tls=None, session=None, timeout_s=TIMEOUT_S, **options):
    """Connects and shakes hands. options go to context(); server_name None sends no SNI.

    suppress_ragged_eofs is off: an end without close_notify is an error, as a cut body must be.
    """
    tls = tls or context(**options)
    if server_name is None:
        tls.check_hostname = False
    raw = socket.create_connection((address, port), timeout=timeout_s)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return TlsConnection(tls.wrap_socket(raw, server_hostname=server_name, session=session, suppress_ragged_eofs=False))
    except BaseException:
        raw.close()
        raise


def describe(pem):
    """Names, issuer, serial and dates of a PEM certificate (the first of the text)."""
    result = subprocess.run(["openssl", "x509", "-noout", "-serial", "-issuer", "-startdate", "-enddate",
                             "-ext", "subjectAltName"], input=pem, capture_output=True, text=True, check=True)
    text = result.stdout

    def field(name):
        match = re.search(rf"^{name}=\s*(.*)$", text, re.M)
        return match.group(1).strip() if match else None

    return {
        "names": sorted(re.findall(r"(?:DNS|IP Address):([^,\s]+)", text)),
        "serial": field("serial"),
        "issuer": field("issuer"),
        "not_before": ssl.cert_time_to_seconds(field("notBefore")),
        "not_after": ssl.cert_time_to_seconds(field("notAfter")),
    }


# How s_client prints the kind of a certificate's key: OpenSSL 3.0, and 3.5.
PRINTED_EC = "a:PKEY: (id-ecPublicKey|EC,)"
PRINTED_RSA = "a:PKEY: (rsaEncryption|RSA,)"


def s_client(port, server_name, *options, address="127.0.0.1", request=None):
    """Runs openssl s_client; returns (exit code, output)."""
    command = ["openssl", "s_client", "-connect", f"{address}:{port}", *options]
    command += ["-servername", server_name] if server_name else ["-noservername"]
    if request:
        command += ["-quiet"]
    result = subprocess.run(command, input=request or "", capture_output=True, text=True, timeout=TIMEOUT_S, errors="replace")
    return result.returncode, result.stdout + result.stderr
