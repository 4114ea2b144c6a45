# SPDX-License-Identifier: Apache-2.0
"""Pieces of ferrule configuration, as TOML text. Join the pieces with newlines; every piece begins with a
table, so their order does not matter."""


def strings(values):
    """A TOML array of strings."""
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def entrypoint(name, port, address="127.0.0.1", more=""):
    return f'[entryPoints.{name}]\naddress = "{address}:{port}"\n{more}\n'


def router(name, service, rule="PathPrefix(`/`)", entrypoints=("web",), priority=None, tls=False, resolver=None, domains=(), more=""):
    """domains: [(main, [sans])]; resolver implies tls."""
    text = f"[http.routers.{name}]\nentryPoints = {strings(entrypoints)}\nrule = '{rule}'\nservice = \"{service}\"\n"
    text += (f"priority = {priority}\n" if priority is not None else "") + more + "\n"
    if tls or resolver:
        text += f"[http.routers.{name}.tls]\n" + (f'certResolver = "{resolver}"\n' if resolver else "")
    for main, sans in domains:
        text += f'[[http.routers.{name}.tls.domains]]\nmain = "{main}"\nsans = {strings(sans)}\n'
    return text


def service(name, *urls, more=""):
    """more: lines of the table [http.services.NAME.loadBalancer]."""
    text = f"[http.services.{name}.loadBalancer]\n{more}\n"
    return text + "".join(f'[[http.services.{name}.loadBalancer.servers]]\nurl = "{url}"\n' for url in urls)


def tcp_router(name, service, rule="HostSNI(`*`)", entrypoints=("tcp",), tls=None, more=""):
    """tls: lines of its tls table; None: it has none."""
    text = f"[tcp.routers.{name}]\nentryPoints = {strings(entrypoints)}\nrule = '{rule}'\nservice = \"{service}\"\n{more}\n"
    return text + (f"[tcp.routers.{name}.tls]\n{tls}\n" if tls is not None else "")


def tcp_service(name, *addresses, more=""):
    """more: lines of the table [tcp.services.NAME.loadBalancer]."""
    text = f"[tcp.services.{name}.loadBalancer]\n{more}\n"
    return text + "".join(f'[[tcp.services.{name}.loadBalancer.servers]]\naddress = "{address}"\n' for address in addresses)


def certificate(cert):
    """A certs.Certificate that ferrule serves."""
    return f'[[tls.certificates]]\ncertFile = "{cert.cert_file}"\nkeyFile = "{cert.key_file}"\n'


def resolver(pebble, bind, folder, name="test", storage="acme.json", algorithm="hmac-sha256", env=None, more="", dns_more="",
             provider="rfc2136", resolvers=None, propagation=""):
    """DNS-01 through a provider, by default rfc2136 at our BIND, against our Pebble. env: over what rfc2136 needs, or
    all that another provider needs."""
    acme = f"certificatesResolvers.{name}.acme"
    variables = bind.rfc2136_env(algorithm, **(env or {})) if provider == "rfc2136" else env
    return "\n".join([
        f"[{acme}]", 'email = "harness@edge.test"', f'caServer = "{pebble.directory_url}"',
        f'caCertificates = ["{pebble.ca_file}"]', f'storage = "{folder / storage}"', more,
        f"[{acme}.dnsChallenge]", f'provider = "{provider}"', f"resolvers = {strings(resolvers or [bind.address])}", dns_more,
        f"[{acme}.dnsChallenge.propagation]", f"port = {bind.port}", propagation,
        f"[{acme}.dnsChallenge.env]", *(f'{key} = "{value}"' for key, value in variables.items()), ""])


def answering_resolver(pebble, folder, challenges="http tls", name="test", storage="acme.json", more=""):
    """A resolver whose challenges the workers answer, at "web" (http) and at entry points with TLS (tls)."""
    acme = f"certificatesResolvers.{name}.acme"
    text = [f"[{acme}]", 'email = "harness@edge.test"', f'caServer = "{pebble.directory_url}"',
            f'caCertificates = ["{pebble.ca_file}"]', f'storage = "{folder / storage}"',
            "" if "preflight.resolvers" in more else f'preflight.resolvers = ["{pebble.dns}"]', more]
    if "http" in challenges:
        text += [f"[{acme}.httpChallenge]", 'entryPoint = "web"', f"port = {pebble.http_port}"]
    if "tls" in challenges:
        text += [f"[{acme}.tlsChallenge]", f"port = {pebble.tls_port}"]
    return "\n".join(text + [""])
