# SPDX-License-Identifier: Apache-2.0
"""Bad configurations, each with every line that ferrule must say about it.

A case: (name, files {name: text}, arguments, exit code, lines on standard error). The files stand in one
folder, which is the working directory; `-c ferrule.toml` is added where the first file has that name.
"""

import base64
from pathlib import Path

CERTS = Path(__file__).resolve().parent.parent / "fixtures" / "certs"

BASE = """\
[entryPoints.web]
address = "127.0.0.1:8080"
[http.routers.r]
rule = "PathPrefix(`/`)"
service = "s"
[[http.services.s.loadBalancer.servers]]
url = "http://127.0.0.1:9000"
"""

LATER = "is known, but its feature is not available in this version of ferrule"


def one(name, text, *lines, args=(), code=1):
    return name, {"ferrule.toml": text}, list(args), code, list(lines)


CASES = [
    one("good", BASE, code=0),
    one("empty", "", "ferrule.toml:1:1: error: there is no entry point to listen on: [entryPoints.web] address = \":80\""),
    ("no file", {}, ["-c", "none.toml"], 1, ["none.toml: error: cannot read none.toml: No such file or directory"]),
    ("a folder", {}, ["-c", "."], 1, [".: error: . is a folder, not a file"]),
    ("a word", {}, ["ferrule.toml"], 2, ["ferrule check: \"ferrule.toml\" is not understood here"]),
    ("-c without file", {}, ["-c"], 2, ["ferrule check: -c needs the name of a file"]),
    one("syntax", "[entryPoints.web]\naddress = :80\n",
        "ferrule.toml:2:11: error: this is not TOML: Error while parsing value: could not determine value type"),
    one("unknown keys", BASE + "[entryPoint.x]\na = 1\n[http.router.y]\n[zzz]\n[http.services.s]\nservers = []\n",
        "ferrule.toml:8:2: error: unknown key entryPoint; did you mean entryPoints?",
        "ferrule.toml:10:7: error: unknown key http.router; did you mean routers?",
        "ferrule.toml:11:2: error: unknown key zzz; known here: entryPoints, certificatesResolvers, acme, core, http, "
        "serversTransport, tcp, tls, providers, log, accessLog, metrics, ping, ocsp, workers, control, upgrade, state, cache, plugins, admin",
        "ferrule.toml:13:1: error: unknown key http.services.s.servers; there is http.services.<name>.loadBalancer.servers"),
    one("types", BASE + """\
[workers]
count = "2"
cpus = 5
connections = 3
[log]
level = "LOUD"
[tls]
prefer = ["acme"]
[entryPoints.web.transport.respondingTimeouts]
readTimeout = "10 s"
idleTimeout = -1
writeTimeout = 1979-05-27
headTimeout = "25h"
[entryPoints.web.http]
maxHeaderBytes = 100.5
tls = "yes"
""",
        "ferrule.toml:9:9: error: workers.count must be 1 to 256, not \"2\"",
        "ferrule.toml:10:8: error: workers.cpus must be core numbers such as \"0,2-5\", not 5",
        "ferrule.toml:11:15: error: workers.connections must be 16 to 4194304, not 3",
        "ferrule.toml:13:9: error: log.level must be one of \"ERROR\", \"WARN\", \"INFO\", \"DEBUG\", not \"LOUD\"",
        "ferrule.toml:15:10: error: tls.prefer must be one of \"provided\", \"acme\", not a list",
        "ferrule.toml:17:15: error: entryPoints.web.transport.respondingTimeouts.readTimeout must be a time such as \"10s\", "
        "\"1m30s\" or a number of seconds, 0s to 24h, not \"10 s\"",
        "ferrule.toml:18:15: error: entryPoints.web.transport.respondingTimeouts.idleTimeout must be a time such as \"10s\", "
        "\"1m30s\" or a number of seconds, 0s to 24h, not -1",
        "ferrule.toml:19:16: error: entryPoints.web.transport.respondingTimeouts.writeTimeout must be a time such as \"10s\", "
        "\"1m30s\" or a number of seconds, 0s to 24h, not a date",
        "ferrule.toml:20:15: error: entryPoints.web.transport.respondingTimeouts.headTimeout must be a time such as \"10s\", "
        "\"1m30s\" or a number of seconds, 0s to 24h, not \"25h\"",
        "ferrule.toml:22:18: error: entryPoints.web.http.maxHeaderBytes must be 1024 to 1048576, not 100.5",
        "ferrule.toml:23:7: error: entryPoints.web.http.tls must be a table; known here: certResolver, options, domains"),
    one("addresses", """\
[entryPoints.a]
address = "localhost:80"
[entryPoints.b]
address = ":80/udp"
[entryPoints.c]
address = ":8080/tcp"
[entryPoints.c.forwardedHeaders]
trustedIPs = ["10.0.0.0/8", "10.0.0.0/33", "::1", "host"]
[entryPoints.d]
address = ":8080"
[entryPoints.e]
""",
        "ferrule.toml:2:11: error: entryPoints.a.address must be an address to listen on such as \":443\" or \"192.0.2.1:443\", or a list of them, not \"localhost:80\"",
        "ferrule.toml:4:11: error: entryPoints.b.address: UDP is not proxied",
        "ferrule.toml:8:29: error: entryPoints.c.forwardedHeaders.trustedIPs must be a list of IP addresses or CIDR ranges such as \"10.0.0.0/8\", not \"10.0.0.0/33\"",
        "ferrule.toml:8:51: error: entryPoints.c.forwardedHeaders.trustedIPs must be a list of IP addresses or CIDR ranges such as \"10.0.0.0/8\", not \"host\"",
        "ferrule.toml:10:11: error: entry point c listens on :8080 already",
        "ferrule.toml:11:14: error: entryPoints.e needs address"),
    one("references", BASE + """\
[http.routers.a]
rule = "Host(`a.test`)"
service = "t"
entryPoints = ["wob", "web"]
[http.routers.a.tls]
certResolver = "le"
options = "modern"
[http.routers.b]
rule = "Host(`b.test`)"
service = "s@file"
[http.routers.c]
[http.services.empty]
[http.services.t2.loadBalancer]
serversTransport = "none"
servers = [{url = "http://x"}]
[entryPoints.web.http.redirections.entryPoint]
to = "websecure"
""",
        "ferrule.toml:10:11: error: there is no service \"t\"; there are \"empty\", \"s\", \"t2\"",
        "ferrule.toml:11:16: error: there is no entry point \"wob\"; did you mean \"web\"?",
        "ferrule.toml:13:16: error: there is no certificate resolver \"le\"; there is no certificate resolver at all",
        "ferrule.toml:14:11: error: there is no tls.options \"modern\"; there are \"default\"",
        "ferrule.toml:18:15: error: http.routers.c needs rule",
        "ferrule.toml:18:15: error: http.routers.c needs service",
        "ferrule.toml:19:16: error: http.services.empty needs loadBalancer",
        "ferrule.toml:21:20: error: there is no http.serversTransports.none",
        "ferrule.toml:24:6: error: there is no entry point \"websecure\"; there are \"web\""),
    one("rules", BASE + """\
[http.routers.a]
rule = "Host(`a.test`"
service = "s"
[http.routers.b]
rule = "Hots(`a.test`)"
service = "s"
[http.routers.c]
rule = 'Host("a.test") & Path("/")'
service = "s"
[http.routers.d]
rule = "PathPrefix(`/`) && ClientIP(`10.0.0.0/33`)"
service = "nobody"
[http.routers.e]
rule = "HostRegexp(`^a{3}$`) || PathRegexp(`/a(b`)"
service = "s"
[http.routers.f]
rule = "Headers(`A`, `b`)"
service = "s"
[http.routers.g]
rule = "Header(`A`, `b`)"
ruleSyntax = "v2"
service = "s"
[http.routers.h]
rule = "HostSNI(`a.test`)"
service = "s"
[http.routers.i]
rule = "Host:a.test,b.test;PathPrefix:/x"
service = "s"
""",
        "ferrule.toml:9:22: error: http.routers.a.rule: character 14 of the rule: a comma or a closing parenthesis is expected",
        "ferrule.toml:12:9: error: http.routers.b.rule: character 1 of the rule: there is no matcher Hots; did you mean Host?",
        "ferrule.toml:15:24: error: http.routers.c.rule: character 16 of the rule: &&, || or the end of the rule is expected",
        "ferrule.toml:18:37: error: http.routers.d.rule: character 29 of the rule: an IP address or a CIDR range is expected",
        "ferrule.toml:19:11: error: there is no service \"nobody\"; there are \"s\"",
        "ferrule.toml:21:45: error: http.routers.e.rule: character 37 of the rule: this is no regular expression: missing ): /a(b",
        "ferrule.toml:24:9: error: http.routers.f.rule: character 1 of the rule: Headers is not in the rule language of version 3: write Header",
        "ferrule.toml:27:9: error: http.routers.g.rule: character 1 of the rule: Header is not in the rule language of version 2: write Headers",
        "ferrule.toml:31:9: error: http.routers.h.rule: character 1 of the rule: HostSNI is not in the rule language of version 3: it is for tcp.routers; write Host"),
    one("services", BASE + """\
[http.services.a.weighted]
services = [{name = "b"}, {name = "nobody"}, {weight = 2}]
[http.services.b.failover]
service = "a"
[http.services.c.highestRandomWeight]
[http.services.d]
weighted = {services = [{name = "s"}]}
failover = {service = "s", fallback = "e"}
[http.services.e.failover]
service = "f"
fallback = "s"
[http.services.f.failover]
service = "e"
fallback = "s"
[http.services.g.mirroring]
service = "s"
[http.services.h.loadBalancer]
servers = [{url = "http://127.0.0.1", weight = 0}]
strategy = "random"
[http.services.h.loadBalancer.sticky.cookie]
name = "a b"
path = "/;x"
sameSite = "none"
[http.services.h.loadBalancer.healthCheck]
interval = "2s"
hostname = "a b"
mode = "grpc"
[http.services.h.loadBalancer.healthCheck.headers]
"X A" = "b"
[http.services.i.loadBalancer.healthCheck]
path = "x"
method = "G T"
[http.services.j.loadBalancer.healthCheck]
mode = "tcp"
""",
        'ferrule.toml:9:35: error: there is no service "nobody"',
        "ferrule.toml:9:46: error: http.services.a.weighted.services[2] needs name",
        "ferrule.toml:10:18: error: http.services.b.failover needs fallback",
        "ferrule.toml:12:18: error: http.services.c.highestRandomWeight needs services",
        "ferrule.toml:15:1: error: service d is a weighted already; a service is of one kind",
        "ferrule.toml:19:16: error: service f contains itself, or more than 3 levels of services",
        "ferrule.toml:22:18: error: ferrule does not have Traefik's http.services.g.mirroring: requests are not mirrored",
        'ferrule.toml:26:12: error: http.services.h.loadBalancer.strategy must be one of "wrr", "p2c", "hrw", "leasttime", not "random"',
        'ferrule.toml:27:38: warning: clients take cookies with sameSite = "none" only when secure is set',
        "ferrule.toml:28:8: error: http.services.h.loadBalancer.sticky.cookie.name must be at most 64 characters that a cookie may have",
        "ferrule.toml:29:8: error: http.services.h.loadBalancer.sticky.cookie.path must be at most 255 characters that a cookie may have",
        "ferrule.toml:31:31: error: http.services.h.loadBalancer.healthCheck needs path",
        "ferrule.toml:31:31: warning: the timeout is longer than the interval: a server that does not answer is asked less often",
        "ferrule.toml:33:12: error: this is no host name",
        'ferrule.toml:34:8: error: http.services.h.loadBalancer.healthCheck.mode must be one of "http", "tcp", not "grpc"',
        'ferrule.toml:36:1: error: "X A" is no name of a header field',
        "ferrule.toml:37:16: warning: service i has no servers: it answers 503",
        'ferrule.toml:38:8: error: a path begins with a slash and has no blanks, not "x"',
        "ferrule.toml:39:10: error: this is no method",
        "ferrule.toml:40:16: warning: service j has no servers: it answers 503"),
    one("rules of version 2", BASE + """\
[core]
defaultRuleSyntax = "v2"
[http.routers.a]
rule = "Headers(`A`, `b`) && Path(`/{id:[0-9]+}`)"
service = "s"
[http.routers.b]
rule = "Header(`A`, `b`)"
ruleSyntax = "v3"
service = "s"
[http.routers.b.observability]
accessLogs = false
tracing = false
traceVerbosity = "detailed"
""", code=0),
    one("servers", BASE + """\
[http.services.t.loadBalancer]
servers = [{url = "h2c://a.test"}, {url = "a.test:80"}, {url = "ftp://a.test"}, {url = "http://a.test/x"}, {}]
[http.services.u.loadBalancer]
servers = [{url = "http://a.test", weight = 3}]
[http.services.v.loadBalancer]
passHostHeader = false
""",
        "ferrule.toml:9:43: error: http.services.t.loadBalancer.servers[1].url must be a URL beginning with http://, https://, h2c://, not \"a.test:80\"",
        "ferrule.toml:9:64: error: http.services.t.loadBalancer.servers[2].url must be a URL beginning with http://, https://, h2c://, not \"ftp://a.test\"",
        "ferrule.toml:9:88: error: the URL of a server has no path, not \"/x\"",
        "ferrule.toml:9:108: error: http.services.t.loadBalancer.servers[4] needs url",
        "ferrule.toml:12:16: warning: service v has no servers: it answers 503"),
    one("transports", BASE + """\
[serversTransport]
rootCAs = ["none.pem", "-----BEGIN CERTIFICATE-----", "CERTS/a.crt"]
[http.serversTransports.a]
insecureSkipVerify = true
peerCertURI = "spiffe://a"
[[http.serversTransports.a.certificates]]
certFile = "CERTS/a.crt"
keyFile = "CERTS/other.key"
[[http.serversTransports.a.certificates]]
certFile = "CERTS/a.crt"
[http.services.t.loadBalancer]
serversTransport = "a"
servers = [{url = "https://a.test"}]
""",
        "ferrule.toml:9:12: error: rootCAs: cannot read DIR/none.pem: No such file or directory",
        "ferrule.toml:9:24: error: rootCAs: (in the configuration): PEM block behind certificate 0 is damaged",
        "ferrule.toml:11:22: warning: insecureSkipVerify: rootCAs and peerCertURI have no effect beside it",
        "ferrule.toml:15:11: error: CERTS/other.key for CERTS/a.crt: the private key (EC256) does not belong to the certificate of a.test (EC256)",
        "ferrule.toml:16:1: error: certificates: a transport shows one certificate, not several"),
    one("tcp", BASE + """\
[certificatesResolvers.ca.acme]
email = "a@a.test"
storage = "acme.json"
httpChallenge.entryPoint = "web"
[tcp.routers.all]
rule = "HostSNI(`*`)"
service = "s"
[tcp.services.s.loadBalancer]
serversTransport = "t"
servers = [{address = "a.test:1", tls = true}]
[tcp.services.n.loadBalancer]
serversTransport = "none"
servers = [{address = "a.test:1"}]
[tcp.serversTransports.t.tls]
insecureSkipVerify = true
rootCAs = ["none.pem", "CERTS/a.crt"]
serverName = "a.test"
peerCertURI = "spiffe://a"
""",
        "ferrule.toml:11:28: warning: entry point web does not listen on port 80, where the CA looks for HTTP-01; if something forwards port 80 to it, "
        "say so by httpChallenge.port",
        "ferrule.toml:12:14: warning: TCP router all takes all plain connections of entry point web: the httpChallenge of resolver ca is never answered there",
        "ferrule.toml:19:20: error: there is no tcp.serversTransports.none",
        "ferrule.toml:22:22: warning: insecureSkipVerify: rootCAs have no effect beside it",
        "ferrule.toml:23:12: error: rootCAs: cannot read DIR/none.pem: No such file or directory",
        "ferrule.toml:25:1: error: unknown key tcp.serversTransports.t.tls.peerCertURI; there is http.serversTransports.<name>.peerCertURI"),
    one("foreign and later", BASE + """\
[providers.docker]
endpoint = "unix:///var/run/docker.sock"
[api]
dashboard = true
[tracing.otlp]
[http.middlewares.auth.basicAuth]
users = ["a:b"]
[http.middlewares.auth2.forwardAuth]
address = "x"
[tcp.routers.t]
rule = "HostSNI(`*`)"
service = "x"
[entryPoints.web.http2]
maxConcurrentStreams = 0
[entryPoints.web.http3]
[[http.services.later.loadBalancer.servers]]
url = "http://127.0.0.1"
preservePath = true
""",
        "ferrule.toml:8:12: error: ferrule does not have Traefik's providers.docker: configuration comes from files",
        "ferrule.toml:10:2: error: ferrule does not have Traefik's api: there is no dashboard and no HTTP API: see `ferrule status --json` and `ferrule cert list --json`",
        "ferrule.toml:12:2: error: ferrule does not have Traefik's tracing: there is no tracing",
        "ferrule.toml:14:10: error: http.middlewares.auth.basicAuth.users[0]: the hash of user a is of no known kind; htpasswd -B makes a good one",
        "ferrule.toml:15:25: error: ferrule does not have Traefik's http.middlewares.auth2.forwardAuth: there is basicAuth",
        "ferrule.toml:19:11: error: there is no TCP service \"x\"; there is no TCP service at all",
        "ferrule.toml:21:24: error: entryPoints.web.http2.maxConcurrentStreams must be 1 to 10000, not 0",
        "ferrule.toml:22:18: error: ferrule does not have Traefik's entryPoints.web.http3: there is no HTTP/3",
        f"ferrule.toml:25:1: error: http.services.later.loadBalancer.servers[0].preservePath {LATER}"),
    one("middleware lists", BASE + """\
middlewares = []
[http.routers.m]
rule = "Path(`/m`)"
service = "s"
middlewares = ["strip", "a@file", "stirp", "x@docker"]
[http.middlewares]
strip.stripPrefix.prefixes = ["/x"]
a.chain.middlewares = ["strip", "b"]
b.chain.middlewares = ["c", "nothing"]
c.chain.middlewares = ["a"]
empty = {}
two = {stripPrefix = {prefixes = ["/x"]}, addPrefix = {prefix = "/y"}}
buf.buffering.maxRequestBodyBytes = 5
many.chain.middlewares = ["strip", "strip", "strip", "strip", "strip", "strip", "strip", "strip", "strip", "strip", "strip"]
more.chain.middlewares = ["many", "many", "many"]
f.inFlightReq.amount = 1
[entryPoints.web.http]
middlewares = ["more"]
[entryPoints.b]
address = "127.0.0.1:8081"
http.middlewares = ["f", "f", "f"]
""".replace("middlewares = []\n", "", 1),
        "ferrule.toml:11:35: error: there is no middleware \"stirp\"; did you mean \"strip\"?",
        "ferrule.toml:11:44: error: there is no middleware \"x@docker\"",
        "ferrule.toml:14:1: error: chain a leads back to itself",
        "ferrule.toml:15:29: error: there is no middleware \"nothing\"",
        "ferrule.toml:17:1: error: middleware empty needs a type, such as [http.middlewares.empty.headers]",
        "ferrule.toml:18:43: error: middleware two has one type, and it is stripPrefix: addPrefix needs a middleware of its own, and a chain joins them",
        "ferrule.toml:19:5: error: ferrule does not have Traefik's http.middlewares.buf.buffering: bodies are streamed with back-pressure",
        "ferrule.toml:24:15: error: entryPoints.web.http.middlewares: at most 32 middlewares, those of chains counted",
        "ferrule.toml:27:20: error: entryPoints.b.http.middlewares: at most 2 inFlightReq in one list"),
    one("middlewares", BASE + """\
[http.middlewares]
rs.redirectScheme = {scheme = "ht tps", port = "http"}
rr.redirectRegex = {regex = "(a", replacement = "b"}
rg.redirectRegex = {regex = "(?P<n>a)", replacement = "$n ${m}"}
rh.redirectRegex = {regex = "a", replacement = "x$"}
rp.redirectRegex = {regex = "a"}
sp.stripPrefix.prefixes = ["api", " /ok "]
sn.stripPrefix.prefixes = []
sr.stripPrefixRegex.regex = ["[", "/a"]
ap.addPrefix.prefix = "x"
rl.rateLimit.sourceCriterion = {requestHost = true, requestHeaderName = "X"}
fl.inFlightReq.sourceCriterion.requestHeaderName = "a b"
al.ipAllowList.sourceRange = []
aw.ipWhiteList.sourceRange = ["10.0.0.0/8"]
ad.ipAllowList = {sourceRange = ["10.0.0.0/8"], ipStrategy = {depth = 1, excludedIPs = ["::1"]}}
hd.headers = {}
hn.headers.customRequestHeaders = {"a b" = "x", Connection = "close", Good = "a\\r\\nb", Host = "a b"}
hp.headers.publicKey = "x"
ho.headers.accessControlAllowOriginListRegex = ["("]
ba.basicAuth.users = ["x", ":{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "u:$2y$05$short", "v:plain"]
bn.basicAuth.realm = 'a"b'
bf.basicAuth.usersFile = "none.users"
re.retry.initialInterval = "1s"
""",
        "ferrule.toml:9:31: error: http.middlewares.rs.redirectScheme.scheme must be a scheme such as \"https\"",
        "ferrule.toml:9:48: error: http.middlewares.rs.redirectScheme.port must be a port, 1 to 65535",
        "ferrule.toml:10:29: error: http.middlewares.rr.redirectRegex.regex: missing ): (a",
        "ferrule.toml:11:55: error: http.middlewares.rg.redirectRegex.replacement: the expression has no group \"m\"; groups are $0 to $9, or named by (?P<name>...)",
        "ferrule.toml:12:48: error: http.middlewares.rh.redirectRegex.replacement: a $ begins a group such as $1 or ${name}; the sign itself is $$",
        "ferrule.toml:13:4: error: http.middlewares.rp.redirectRegex needs replacement",
        "ferrule.toml:14:28: error: http.middlewares.sp.stripPrefix.prefixes[0]: a prefix begins with a slash, not \"api\"",
        "ferrule.toml:15:4: error: http.middlewares.sn.stripPrefix.prefixes names none",
        "ferrule.toml:16:30: error: http.middlewares.sr.stripPrefixRegex.regex[0]: missing ]: [",
        "ferrule.toml:17:23: error: http.middlewares.ap.addPrefix.prefix begins with a slash, not \"x\"",
        "ferrule.toml:18:14: error: http.middlewares.rl.rateLimit.sourceCriterion: one of ipStrategy, requestHeaderName and requestHost",
        "ferrule.toml:19:4: error: http.middlewares.fl.inFlightReq needs amount",
        "ferrule.toml:19:32: error: \"a b\" is no name of a header field",
        "ferrule.toml:20:4: error: http.middlewares.al.ipAllowList lets nobody in: sourceRange is empty",
        "ferrule.toml:21:4: warning: ipWhiteList is the older name of ipAllowList",
        "ferrule.toml:22:49: warning: http.middlewares.ad.ipAllowList.ipStrategy: depth is given, excludedIPs is not used",
        "ferrule.toml:23:4: error: http.middlewares.hd.headers sets nothing",
        "ferrule.toml:24:36: error: \"a b\" is no name of a header field",
        "ferrule.toml:24:49: error: Connection belongs to the connection, not to a middleware",
        "ferrule.toml:24:78: error: http.middlewares.hn.headers.customRequestHeaders.Good: a header field holds no control characters",
        "ferrule.toml:24:95: error: http.middlewares.hn.headers.customRequestHeaders.Host must be a host, with or without a port",
        "ferrule.toml:25:12: error: ferrule does not have Traefik's http.middlewares.hp.headers.publicKey: no browser reads Public-Key-Pins any more",
        "ferrule.toml:26:49: error: http.middlewares.ho.headers.accessControlAllowOriginListRegex[0]: missing ): (",
        "ferrule.toml:27:23: error: http.middlewares.ba.basicAuth.users[0]: a user is \"name:hash\" as htpasswd prints it",
        "ferrule.toml:27:28: error: http.middlewares.ba.basicAuth.users[1]: a user is \"name:hash\" as htpasswd prints it",
        "ferrule.toml:27:66: error: http.middlewares.ba.basicAuth.users[2]: the hash of user u is of no known kind; htpasswd -B makes a good one",
        "ferrule.toml:27:84: error: http.middlewares.ba.basicAuth.users[3]: the hash of user v is of no known kind; htpasswd -B makes a good one",
        "ferrule.toml:28:4: error: http.middlewares.bn.basicAuth has no users",
        "ferrule.toml:28:22: error: http.middlewares.bn.basicAuth.realm: no quotes and no backslashes",
        "ferrule.toml:29:26: error: cannot read DIR/none.users: No such file or directory",
        "ferrule.toml:30:4: error: http.middlewares.re.retry needs attempts"),
    one("resolvers", BASE + """\
[certificatesResolvers.a]
[certificatesResolvers.b.acme]
storage = "./"
caServer = "http://ca.test"
keyType = "RSA1024"
caCertificates = ["none.pem", "ferrule.toml"]
[certificatesResolvers.c.acme.dnsChallenge]
resolvers = ["1.1.1.1:53", "a b"]
[certificatesResolvers.d.acme.dnsChallenge]
provider = "RFC 2136"
[certificatesResolvers.d.acme.dnsChallenge.env]
"A-B" = "x"
TOKEN = 5
[certificatesResolvers.e.acme.tlsChallenge]
[certificatesResolvers.f.acme.httpChallenge]
entryPoint = "web"
""",
        "ferrule.toml:8:24: error: resolver a needs an acme part",
        "ferrule.toml:9:26: error: certificatesResolvers.b.acme has no challenge: it needs dnsChallenge, httpChallenge or tlsChallenge",
        "ferrule.toml:10:11: error: storage must be a path of its own: a file that ends in .json, or a directory other than the state directory",
        "ferrule.toml:11:12: error: certificatesResolvers.b.acme.caServer must be a URL beginning with https://, not \"http://ca.test\"",
        "ferrule.toml:12:11: error: certificatesResolvers.b.acme.keyType must be one of \"EC256\", \"EC384\", \"RSA2048\", \"RSA4096\", \"RSA8192\", not \"RSA1024\"",
        "ferrule.toml:13:19: error: caCertificates: cannot read DIR/none.pem: No such file or directory",
        "ferrule.toml:13:31: error: caCertificates: DIR/ferrule.toml: no certificate in the PEM text",
        "ferrule.toml:14:31: error: certificatesResolvers.c.acme.dnsChallenge needs provider",
        "ferrule.toml:15:28: error: certificatesResolvers.c.acme.dnsChallenge.resolvers must be a list of servers such as \"192.0.2.53:53\", not \"a b\"",
        "ferrule.toml:17:12: error: certificatesResolvers.d.acme.dnsChallenge.provider must be a code of lower-case letters, digits and dashes, not \"RFC 2136\"",
        "ferrule.toml:19:1: error: \"A-B\" is not a name of a variable: letters, digits and _",
        "ferrule.toml:20:9: error: certificatesResolvers.d.acme.dnsChallenge.env.TOKEN must be a string, not a number or date",
        "ferrule.toml:21:31: warning: no entry point listens on port 443, where the CA looks for TLS-ALPN-01; if something forwards port 443, say so by tlsChallenge.port",
        "ferrule.toml:23:14: warning: entry point web does not listen on port 80, where the CA looks for HTTP-01; if something forwards port 80 to it, say so by httpChallenge.port"),
    one("roots of a CA as text", BASE + f"""\
[certificatesResolvers.a.acme]
dnsChallenge.provider = "rfc2136"
caCertificates = [
    "CERTS/ca.crt",
    '''{(CERTS / "ca.crt").read_text()}''',
    "{base64.b64encode((CERTS / "ca.crt").read_bytes() + (CERTS / "a.crt").read_bytes()).decode()}",
]
""", code=0),
    one("storage elsewhere, half of an account", BASE + """\
[certificatesResolvers.a.acme]
storage = "s3://bucket.s3.eu-central-1.amazonaws.com/prefix"
eab.kid = "k"
dnsChallenge.provider = "rfc2136"
[certificatesResolvers.b.acme]
eab.hmacEncoded = "aaaa"
dnsChallenge.provider = "rfc2136"
caCertificates = ["-----BEGIN CERTIFICATE-----", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="]
[certificatesResolvers.c.acme]
eab = {kid = "k", hmacEncoded = "a+/="}
dnsChallenge.provider = "rfc2136"
[certificatesResolvers.d.acme]
eab = {kid = "k", hmacEncoded = "abc-hmac-xyz"}
dnsChallenge.provider = "rfc2136"
""",
        "ferrule.toml:9:11: error: \"s3://bucket.s3.eu-central-1.amazonaws.com/prefix\" is a URL: accounts and certificates are kept in a file that ends in .json, or in a directory",
        "ferrule.toml:10:1: error: eab needs kid and hmacEncoded, not one of them",
        "ferrule.toml:13:1: error: eab needs kid and hmacEncoded, not one of them",
        "ferrule.toml:15:19: error: caCertificates: (in the configuration): PEM block behind certificate 0 is damaged",
        "ferrule.toml:15:50: error: caCertificates: (in the configuration): PEM block behind certificate 0 is damaged",
        "ferrule.toml:17:33: error: eab.hmacEncoded must be base64url without padding (letters, digits, - and _) for at least 16 bytes",
        "ferrule.toml:20:33: error: eab.hmacEncoded must be base64url without padding (letters, digits, - and _) for at least 16 bytes"),
    one("what a CA is asked for", BASE + """\
[certificatesResolvers.a.acme]
certificatesDuration = 0
emailAddresses = ["a@b.test", "nobody", "a@b@c"]
clientTimeout = "0s"
[certificatesResolvers.a.acme.dnsChallenge]
provider = "rfc2136"
""",
        "ferrule.toml:9:24: error: certificatesResolvers.a.acme.certificatesDuration must be 1 to 87600, not 0",
        "ferrule.toml:10:31: error: \"nobody\" is no mail address: somebody@example.com, in ASCII",
        "ferrule.toml:10:41: error: \"a@b@c\" is no mail address: somebody@example.com, in ASCII",
        "ferrule.toml:11:17: error: certificatesResolvers.a.acme.clientTimeout must be a time such as \"10s\", \"1m30s\" or a number of seconds, 1s to 1h, not \"0s\""),
    one("domains", BASE + """\
[certificatesResolvers.d.acme.dnsChallenge]
provider = "rfc2136"
[http.routers.a]
rule = "PathPrefix(`/a`)"
service = "s"
tls.certResolver = "d"
[http.routers.b]
rule = "PathPrefix(`/b`)"
service = "s"
[http.routers.b.tls]
certResolver = "d"
domains = [{main = "*.*.a.test"}, {sans = ["a.test"]}, {main = "a..test"}, {}]
""",
        "ferrule.toml:10:15: warning: router a has a certificate resolver, but neither tls.domains nor Host() says for which names",
        "ferrule.toml:19:20: error: http.routers.b.tls.domains[0].main: a wildcard stands for one label, in front: \"*.a.test\", not \"*.*.a.test\"",
        "ferrule.toml:19:64: error: http.routers.b.tls.domains[2].main must be a domain name, not \"a..test\"",
        "ferrule.toml:19:76: error: http.routers.b.tls.domains[3] needs main"),
    one("equal routers", BASE + """\
[http.routers.b]
rule = "Host(`a.test`) && Path(`/`)"
service = "s"
[http.routers.a]
rule = 'Host("A.test")&&Path("/")'
service = "s"
priority = 27
""",
        "ferrule.toml:8:15: warning: routers a and b have the same rule and priority on entry point web: a wins by its name; give one of them a priority",
        code=0),
    one("given twice", BASE + "[http.services.s.loadbalancer]\npassHostHeader = true\n",
        "ferrule.toml:8:18: error: http.services.s.loadbalancer is given twice: also as loadBalancer in line 6"),
    one("tls options", BASE + """\
[tls.options.old]
minVersion = "VersionTLS10"
[tls.options.odd]
minVersion = "versiontls13"
maxVersion = "VersionTLS12"
[tls.stores.other.defaultCertificate]
certFile = "a"
keyFile = "b"
[[tls.certificates]]
certFile = "none.pem"
""",
        "ferrule.toml:9:14: error: tls.options.old.minVersion must be one of \"VersionTLS12\", \"VersionTLS13\", not \"VersionTLS10\"",
        "ferrule.toml:10:14: error: tls.options.odd: minVersion is above maxVersion",
        "ferrule.toml:13:13: error: there is one certificate store, tls.stores.default, not other",
        "ferrule.toml:16:1: error: tls.certificates[0] needs keyFile"),
    one("tls options for suites, groups and protocols", BASE + """\
[tls.options.go]
cipherSuites = ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "tls_ecdhe_ecdsa_with_aes_128_gcm_sha256"]
curvePreferences = ["CurveP384", "x25519"]
alpnProtocols = ["http/1.1", "acme-tls/1"]
preferServerCipherSuites = true
[tls.options.weak]
cipherSuites = ["TLS_RSA_WITH_AES_128_CBC_SHA"]
curvePreferences = ["CurveP224"]
alpnProtocols = ["spdy/3"]
[tls.options.only13]
cipherSuites = ["TLS_AES_256_GCM_SHA384"]
[tls.options.only12]
maxVersion = "VersionTLS12"
cipherSuites = ["TLS_AES_256_GCM_SHA384"]
[tls.options.useless]
minVersion = "VersionTLS13"
cipherSuites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
[tls.options.none]
alpnProtocols = ["acme-tls/1"]
""",
        "ferrule.toml:14:17: error: tls.options.weak.cipherSuites must be a list of strings out of \"TLS_AES_128_GCM_SHA256\", \"TLS_AES_256_GCM_SHA384\", "
        "\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\", \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\", "
        "\"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\", \"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\", "
        "\"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256\", "
        "\"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305\", \"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305\", not \"TLS_RSA_WITH_AES_128_CBC_SHA\"",
        "ferrule.toml:15:21: error: tls.options.weak.curvePreferences must be a list of strings out of \"X25519MLKEM768\", \"X25519\", \"CurveP256\", \"CurveP384\", "
        "\"CurveP521\", \"P-256\", \"P-384\", \"P-521\", \"secp256r1\", \"secp384r1\", \"secp521r1\", not \"CurveP224\"",
        "ferrule.toml:16:18: error: tls.options.weak.alpnProtocols must be a list of strings out of \"h2\", \"http/1.1\", \"acme-tls/1\", not \"spdy/3\"",
        "ferrule.toml:18:16: warning: tls.options.only13: no suite of cipherSuites is of TLS 1.2: clients without TLS 1.3 are refused, as with minVersion = \"VersionTLS13\"",
        "ferrule.toml:21:16: error: tls.options.only12: maxVersion is VersionTLS12, but no suite of cipherSuites is of TLS 1.2",
        "ferrule.toml:24:16: warning: tls.options.useless: cipherSuites names suites of TLS 1.2 only, but minVersion is VersionTLS13: they change nothing",
        "ferrule.toml:26:17: error: tls.options.none: alpnProtocols needs \"h2\" or \"http/1.1\""),
    one("client certificates", BASE + """\
[tls.options.good.clientAuth]
caFiles = ["CERTS/ca.crt"]
[tls.options.none.clientAuth]
clientAuthType = "RequireAndVerifyClientCert"
[tls.options.vain.clientAuth]
caFiles = ["CERTS/ca.crt"]
clientAuthType = "RequestClientCert"
[tls.options.leaf.clientAuth]
caFiles = [
  "CERTS/odd.crt",
  "none.pem",
  "CERTS/a.key"]
[tls.options.odd.clientAuth]
clientAuthType = "Please"
""",
        "ferrule.toml:11:18: error: tls.options.none: RequireAndVerifyClientCert needs clientAuth.caFiles",
        "ferrule.toml:14:18: warning: tls.options.vain: with RequestClientCert nothing is verified against clientAuth.caFiles",
        "ferrule.toml:17:3: error: CERTS/odd.crt: the certificate of \"CN=spare.test\" is not that of an authority (basicConstraints CA:TRUE)",
        "ferrule.toml:17:3: error: CERTS/odd.crt: the certificate of \"CN=odd.test\" is not that of an authority (basicConstraints CA:TRUE)",
        "ferrule.toml:18:3: error: cannot read DIR/none.pem: No such file or directory",
        "ferrule.toml:19:3: error: CERTS/a.key: no certificate in the PEM text",
        "ferrule.toml:21:18: error: tls.options.odd.clientAuth.clientAuthType must be one of \"NoClientCert\", \"RequestClientCert\", "
        "\"RequireAnyClientCert\", \"VerifyClientCertIfGiven\", \"RequireAndVerifyClientCert\", not \"Please\""),
    one("tls options of one host", BASE + """\
[tls.options.strict]
minVersion = "VersionTLS13"
[tls.options.other]
sniStrict = true
[http.routers.a]
rule = "Host(`one.test`) || Host(`two.test`)"
service = "s"
tls.options = "strict"
[http.routers.b]
rule = "Host(`two.test`) && PathPrefix(`/b`)"
service = "s"
tls.options = "other"
[http.routers.c]
rule = "Host(`one.test`) && PathPrefix(`/c`)"
service = "s"
tls.options = "strict"
[http.routers.d]
rule = "PathPrefix(`/d`)"
service = "s"
tls.options = "strict"
""",
        "ferrule.toml:16:15: warning: routers a and b want different tls.options (\"strict\" and \"other\") for the host two.test on entry point web: it gets the default ones",
        "ferrule.toml:24:15: warning: router d has no Host(), so its tls.options \"strict\" are never used: the options of a connection are chosen by the server name, before there is a request",
        code=0),
    one("names and challenges", """\
[entryPoints.web]
address = ":80"
[entryPoints.s]
address = ":443"
[certificatesResolvers.d.acme.dnsChallenge]
provider = "rfc2136"
[certificatesResolvers.h.acme.httpChallenge]
entryPoint = "web"
[certificatesResolvers.t.acme]
tlsChallenge = true
[http.routers.a]
rule = "Host(`192.0.2.1`) || Host(`[2001:DB8:0::1]`)"
service = "s"
tls.certResolver = "d"
[http.routers.b]
rule = "Host(`b.test`)"
service = "s"
tls = { certResolver = "h", domains = [{ main = "*.b.test", sans = ["192.0.2.2"] }] }
[http.routers.c]
rule = "Host(`192.0.2.3`)"
service = "s"
tls.certResolver = "t"
[[http.services.s.loadBalancer.servers]]
url = "http://127.0.0.1:1"
""",
        "ferrule.toml:14:1: error: 192.0.2.1 is an address: it needs HTTP-01 or TLS-ALPN-01, but resolver d has neither httpChallenge nor tlsChallenge",
        "ferrule.toml:14:1: error: 2001:db8::1 is an address: it needs HTTP-01 or TLS-ALPN-01, but resolver d has neither httpChallenge nor tlsChallenge",
        "ferrule.toml:18:1: error: *.b.test needs DNS-01, but resolver h has no dnsChallenge"),
    one("an obtained default certificate", BASE + """\
[certificatesResolvers.h.acme]
email = "a@b.test"
storage = "acme.json"
httpChallenge.entryPoint = "web"
[tls.stores.default.defaultGeneratedCert]
resolver = "h"
domain.main = "*.a.test"
[tls.stores.other.defaultGeneratedCert]
resolver = "h"
domain.main = "a.test"
""",
        "ferrule.toml:11:28: warning: entry point web does not listen on port 80, where the CA looks for HTTP-01; if something forwards port 80 to it, say so by httpChallenge.port",
        "ferrule.toml:14:1: error: *.a.test needs DNS-01, but resolver h has no dnsChallenge",
        "ferrule.toml:15:13: error: there is one certificate store, tls.stores.default, not other"),
    one("a default certificate of nobody's", BASE + """\
[tls.stores.default.defaultGeneratedCert]
resolver = "none"
""",
        "ferrule.toml:8:21: error: tls.stores.default.defaultGeneratedCert needs domain.main",
        "ferrule.toml:9:12: error: there is no certificate resolver \"none\"; there is no certificate resolver at all"),
    one("a chain without its middle", BASE + """\
[[tls.certificates]]
certFile = "CERTS/alone.crt"
keyFile = "CERTS/alone.key"
""",
        "ferrule.toml:9:12: warning: CERTS/alone.crt: the chain is not complete: the certificate of \"CN=Far Authority\", the issuer of alone.test, is "
        "missing, and clients that do not have it will refuse the connection",
        code=0),
    one("certificates and hosts", BASE + """\
[http.routers.a]
rule = "Host(`a.test`) || Host(`x.b.test`)"
service = "s"
tls = true
[[tls.certificates]]
certFile = "CERTS/a.crt"
keyFile = "CERTS/a.key"
[[tls.certificates]]
certFile = "CERTS/odd.crt"
keyFile = "CERTS/odd.key"
""",
        "ferrule.toml:8:15: warning: router a: no certificate is for x.b.test, and no resolver is to obtain one: clients get the default certificate",
        "ferrule.toml:15:1: warning: CERTS/odd.crt: no router with TLS has a host that the certificate of odd.test is for",
        "ferrule.toml:16:12: warning: CERTS/odd.crt: the certificates are served in another order than that of the file: that of odd.test first, each followed by its issuer's",
        "ferrule.toml:16:12: warning: CERTS/odd.crt: the certificate of spare.test is no part of the chain: left out",
        "ferrule.toml:16:12: warning: CERTS/odd.crt: the certificate of odd.test is signed with SHA-1, which clients refuse",
        code=0),
    one("certificate files", BASE + """\
[[tls.certificates]]
certFile = "CERTS/a.crt"
keyFile = "CERTS/a.key"
[[tls.certificates]]
certFile = "CERTS/a.crt"
keyFile = "CERTS/other.key"
[[tls.certificates]]
certFile = "none.crt"
keyFile = "CERTS/a.crt"
[[tls.certificates]]
certFile = "CERTS/a.key"
keyFile = "/"
[[tls.certificates]]
certFile = "CERTS/expired.crt"
keyFile = "CERTS/expired.key"
[[tls.certificates]]
certFile = "CERTS/future.crt"
keyFile = "CERTS/expired.key"
[tls.stores.default.defaultCertificate]
certFile = "CERTS/a.crt"
keyFile = "CERTS/expired.key"
""",
        "ferrule.toml:13:11: error: CERTS/other.key for CERTS/a.crt: the private key (EC256) does not belong to the certificate of a.test (EC256)",
        "ferrule.toml:15:12: error: certFile: cannot read DIR/none.crt: No such file or directory",
        "ferrule.toml:16:11: error: CERTS/a.crt: no private key in the PEM text",
        "ferrule.toml:18:12: error: CERTS/a.key: no certificate in the PEM text",
        "ferrule.toml:19:11: error: keyFile: / is a folder, not a file",
        "ferrule.toml:21:12: warning: CERTS/expired.crt: the certificate of old.test expired on 2020-02-01 00:00:00 UTC",
        "ferrule.toml:24:12: warning: CERTS/future.crt: the certificate of new.test is not valid before 2099-01-01 00:00:00 UTC",
        "ferrule.toml:28:11: error: CERTS/expired.key for CERTS/a.crt: the private key (EC256) does not belong to the certificate of a.test (EC256)",
        code=1),
    one("certificate dates", BASE + """\
[[tls.certificates]]
certFile = "CERTS/expired.crt"
keyFile = "CERTS/expired.key"
[[tls.certificates]]
certFile = "CERTS/future.crt"
keyFile = "CERTS/expired.key"
""",
        "ferrule.toml:9:12: warning: CERTS/expired.crt: the certificate of old.test expired on 2020-02-01 00:00:00 UTC",
        "ferrule.toml:12:12: warning: CERTS/future.crt: the certificate of new.test is not valid before 2099-01-01 00:00:00 UTC",
        code=0),
    one("older section", """\
[entryPoints.web]
address = ":8080"
[acme]
storage = "acme.json"
onDemand = true
[[acme.domains]]
main = "*.a.test"
[acme.tlsChallenge]
[certificatesResolvers.acme.acme.dnsChallenge]
provider = "x"
""",
        "ferrule.toml:5:1: error: ferrule does not have Traefik's acme.onDemand: certificates are not obtained during a handshake",
        "ferrule.toml:6:1: error: *.a.test needs dnsChallenge: wildcards work with DNS-01 only",
        "ferrule.toml:8:7: warning: no entry point listens on port 443, where the CA looks for TLS-ALPN-01; if something forwards port 443, say so by tlsChallenge.port",
        "ferrule.toml:9:24: error: [acme] makes a resolver named acme: give this one another name"),
    one("flags", BASE,
        "--workers.count: error: workers.count must be 1 to 256, not 0",
        "--entryPoints.web.adress: error: unknown key entryPoints.web.adress; did you mean address?",
        "--storage: error: unknown key storage; there is certificatesResolvers.<name>.acme.storage",
        "--workers..cpus: error: an empty or endless part in the path: a flag is --path.to.option=value",
        "--http.routers.r.entryPoints: error: there is no entry point \"wob\"; did you mean \"web\"?",
        "--log.level: error: log.level must be one of \"ERROR\", \"WARN\", \"INFO\", \"DEBUG\", not \"true\"",
        "--certificatesResolvers.c.acme.tlsChallenge: warning: no entry point listens on port 443, where the CA looks for TLS-ALPN-01; if something forwards port 443, say so by tlsChallenge.port",
        "--certificatesResolvers.c.acme.dnsChallenge.env.TOKEN[0]: error: "
        "certificatesResolvers.c.acme.dnsChallenge.env.TOKEN must be a string, not a list",
        "--certificatesResolvers.c.acme.dnsChallenge.env.TOKEN[0]: error: certificatesResolvers.c.acme.dnsChallenge needs provider",
        args=["--workers.count=0", "--entryPoints.web.adress=:80", "--storage=secret", "--workers..cpus=1",
              "--http.routers.r.entryPoints=web,wob", "--log.level", "--certificatesResolvers.c.acme.tlsChallenge=true",
              "--certificatesResolvers.c.acme.dnsChallenge.env.TOKEN[0]=secret"]),
    ("provider files", {
        "ferrule.toml": BASE + "[providers.file]\nfilename = \"more.toml\"\ndirectory = \"parts\"\n",
        "more.toml": "[http.routers.r]\nrule = \"Path(`/x`)\"\nservice = \"s\"\n[log]\nlevel = \"INFO\"\n",
        "parts/b.toml": "[http.routers.b]\nrule = \"Path(`/b`)\"\nservice = \"t\"\n",
        "parts/a.toml": "[http.routers.a]\nrule = 5\nservice = \"s\"\n",
        "parts/c.yml": "",
        "parts/.hidden.toml": "x",
        "parts/sub/d.toml": "[http.services.s2.loadBalancer]\nservers = [\n",
    }, [], 1, [
        "ferrule.toml:10:13: warning: DIR/parts/c.yml is not read: ferrule reads TOML",
        "DIR/more.toml:1:15: error: r is given twice: also at ferrule.toml:3:15",
        "DIR/more.toml:4:2: error: log belongs in the main file; a file of providers.file has http, tcp and tls",
        "DIR/parts/a.toml:2:8: error: http.routers.a.rule must be a rule such as \"Host(`a.test`)\", not 5",
        "DIR/parts/b.toml:3:11: error: there is no service \"t\"; there are \"s\"",
        "DIR/parts/sub/d.toml:2:13: error: this is not TOML: Error while parsing array: encountered end-of-file",
    ]),
    ("no provider files", {"ferrule.toml": BASE + "[providers.file]\nfilename = \"none.toml\"\ndirectory = \"none\"\n"}, [], 1, [
        "ferrule.toml:9:12: error: cannot read DIR/none.toml: No such file or directory",
        "ferrule.toml:10:13: error: cannot read the folder DIR/none: No such file or directory",
    ]),
]
