# SPDX-License-Identifier: Apache-2.0
"""More of cases.py: certificate resolvers."""

from cases import BASE, one

CASES = [
    one("several CAs", BASE + """\
[certificatesResolvers.a.acme]
caServer = "https://ca.test/dir"
caServers = ["https://ca.test/dir", "http://other.test/dir"]
caStaging = "staging"
[certificatesResolvers.a.acme.dnsChallenge]
provider = "rfc2136"
""",
        "ferrule.toml:9:1: error: give caServer or caServers, not both",
        "ferrule.toml:10:37: error: \"http://other.test/dir\" is no directory of a CA: a URL beginning with https://",
        "ferrule.toml:11:13: error: \"staging\" is no directory of a CA: a URL beginning with https://"),
    one("propagation", BASE + """\
[certificatesResolvers.a.acme.dnsChallenge]
provider = "rfc2136"
disablePropagationCheck = true
[certificatesResolvers.a.acme.dnsChallenge.propagation]
mode = "wait"
requireAllRNS = false
successes = 0
onTimeout = "pray"
[certificatesResolvers.b.acme.dnsChallenge]
provider = "rfc2136"
propagation.disableANSChecks = true
propagation.mode = "everywhere"
[certificatesResolvers.c.acme.dnsChallenge]
provider = "rfc2136"
propagation.disableANSChecks = true
""",
        "ferrule.toml:10:1: error: give propagation.mode or disablePropagationCheck, not both",
        "ferrule.toml:12:8: error: propagation.mode = \"wait\" needs propagation.delayBeforeChecks: how long to wait",
        "ferrule.toml:13:1: error: give propagation.mode or propagation.requireAllRNS, not both",
        "ferrule.toml:14:13: error: certificatesResolvers.a.acme.dnsChallenge.propagation.successes must be 1 to 10, not 0",
        "ferrule.toml:15:13: error: certificatesResolvers.a.acme.dnsChallenge.propagation.onTimeout must be one of \"fail\", \"try\", not \"pray\"",
        "ferrule.toml:18:13: warning: without the authoritative servers nobody is asked for the TXT value: set propagation.requireAllRNS to ask the resolvers",
        "ferrule.toml:19:20: error: certificatesResolvers.b.acme.dnsChallenge.propagation.mode must be one of \"authoritative\", \"recursive\", \"wait\", \"off\", not \"everywhere\"",
        "ferrule.toml:22:13: warning: without the authoritative servers nobody is asked for the TXT value: set propagation.requireAllRNS to ask the resolvers"),
    one("preflight", BASE + """\
[certificatesResolvers.a.acme]
preflight.address = "always"
preflight.publicAddresses = ["192.0.2.7", "192.0.2.0/24", "edge.test", "2001:db8::7"]
preflight.resolvers = ["a b"]
dnsChallenge.provider = "rfc2136"
""",
        "ferrule.toml:9:21: error: certificatesResolvers.a.acme.preflight.address must be one of \"off\", \"warn\", \"stop\", not \"always\"",
        "ferrule.toml:10:43: error: \"192.0.2.0/24\" is no IP address",
        "ferrule.toml:10:59: error: \"edge.test\" is no IP address",
        "ferrule.toml:11:24: error: certificatesResolvers.a.acme.preflight.resolvers must be a list of servers such as \"192.0.2.53:53\", not \"a b\""),
]
