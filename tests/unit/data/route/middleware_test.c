/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/middleware.c"

#include "data/route/middleware_world.h"
#include "unit.h"

#define M "[http.middlewares.m."

struct row {
    const char *toml, *request, *want;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        static struct world w;
        world_open(&w, "'m'", rows[i].toml);
        const char *got = world_request(&w, rows[i].request);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s\n%s\n-- gives --\n%s\n-- not --\n%s", rows[i].toml, rows[i].request, got,
                     rows[i].want);
        world_close(&w);
    }
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

static void paths(void **state)
{
#define STRIP   M "stripPrefix]\nprefixes = ['/api', '/v1/']\n"
#define STRIP_R M "stripPrefixRegex]\nregex = ['^/u/[a-z]+', '/x/[0-9]+']\n"
#define ADD     M "addPrefix]\nprefix = '/front'\n"
#define REPLACE M "replacePath]\npath = '/the path?'\n"
#define REGEX   M "replacePathRegex]\nregex = '^/user/([^/]+)/(.*)'\nreplacement = '/$2/${1}x'\n"
    static const struct row rows[] = {
        {STRIP, "GET /api/a?b=c", "/a?b=c\nX-Forwarded-Prefix: /api\n"},
        {STRIP, "GET /api", "/\nX-Forwarded-Prefix: /api\n"},
        {STRIP, "GET /api?x", "/?x\nX-Forwarded-Prefix: /api\n"},
        {STRIP, "GET /apifoo", "/foo\nX-Forwarded-Prefix: /api\n"},
        {STRIP, "GET /v1/a", "/a\nX-Forwarded-Prefix: /v1/\n"},
        {STRIP, "GET /%61pi/%2e", "400\n"},
        {STRIP, "GET /%61pi/b", "/b\nX-Forwarded-Prefix: /%61pi\n"},
        {STRIP, "GET /API/b", "/API/b\n"},
        {STRIP, "GET /api../secret", "400\n"},
        {STRIP, "GET /api/../secret", "400\n"},
        {STRIP, "GET /api/a/%2E%2e/b", "400\n"},
        {STRIP, "GET /api//evil.test/", "400\n"},
        {STRIP, "GET /api/a//b/...", "/a//b/...\nX-Forwarded-Prefix: /api\n"},
        {STRIP, "OPTIONS *", "*\n"},
        {STRIP_R, "GET /u/abc/d?e", "/d?e\nX-Forwarded-Prefix: /u/abc\n"},
        {STRIP_R, "GET /u/%61bc/d", "/d\nX-Forwarded-Prefix: /u/%61bc\n"},
        {STRIP_R, "GET /a/x/1", "/a/x/1\n"},
        {STRIP_R, "GET /x/12", "/\nX-Forwarded-Prefix: /x/12\n"},
        {STRIP_R, "GET /u/a%0d%0aX:1/", "/%0d%0aX:1/\nX-Forwarded-Prefix: /u/a\n"},
        {ADD, "GET /a?b", "/front/a?b\n"},
        {REPLACE, "GET /a%20b?c=d\nX-Replaced-Path: /forged",
         "/the%20path%3F?c=d\nX-Replaced-Path: /a%20b\n"},
        {REGEX, "GET /user/jo/a/b?q", "/a/b/jox?q\nX-Replaced-Path: /user/jo/a/b\n"},
        {REGEX, "GET /users", "/users\n"},
        {REGEX, "GET /user/a/../b", "400\n"},
        {REGEX, "GET /user/a//b", "400\n"},
        {M "replacePathRegex]\nregex = 'a'\nreplacement = 'x %'\n", "GET /aba?a",
         "/x%20%25bx%20%25?a\nX-Replaced-Path: /aba\n"},
    };
    CHECK(rows);
}

static void redirects(void **state)
{
#define SCHEME M "redirectScheme]\nscheme = 'https'\n"
#define URL                                                                                        \
    M "redirectRegex]\nregex = '^http://(?P<host>[^/]+)/(.*)'\n"                                   \
      "replacement = 'https://www.${host}/$2$$1'\n"
    static const struct row rows[] = {
        {SCHEME, "GET /a?b\nHost: x.test:80", "302\nLocation: https://x.test/a?b\n"},
        {SCHEME, "GET /\nHost: x.test:8080", "302\nLocation: https://x.test/\n"},
        {SCHEME "permanent = true\nport = '8443'\n", "POST /\nHost: [::1]:80",
         "308\nLocation: https://[::1]:8443/\n"},
        {SCHEME "permanent = true\n", "GET /", "301\nLocation: https://a.test/\n"},
        {SCHEME "port = '443'\n", "POST /", "307\nLocation: https://a.test/\n"},
        {SCHEME, "GETS /a", "/a\n"},
        {SCHEME, "GETS /a\nHost: a.test:443", "/a\nHost: a.test:443\n"},
        {SCHEME, "GETS /a\nHost: a.test:8443", "302\nLocation: https://a.test/a\n"},
        {SCHEME, "GET /a\nX-Forwarded-Proto: wss", "/a\nX-Forwarded-Proto: wss\n"},
        {SCHEME, "GET /a\nHost: ", "400\n"},
        {SCHEME, "GET /\"<b>", "302\nLocation: https://a.test/%22%3Cb%3E\n"},
        {URL, "GET /a?b=c", "302\nLocation: https://www.a.test/a?b=c$1\n"},
        {URL, "GETS /a", "/a\n"},
        {URL "permanent = true\n", "POST /", "308\nLocation: https://www.a.test/$1\n"},
        {M "redirectRegex]\nregex = 'a'\nreplacement = 'a'\n", "GET /a", "/a\n"},
        {M "redirectRegex]\nregex = '(b)|x*'\nreplacement = '<$1$7$0>'\n", "GET /b",
         "302\nLocation: "
         "%3C%3Eh%3C%3Et%3C%3Et%3C%3Ep%3C%3E:%3C%3E/%3C%3E/%3C%3Ea%3C%3E.%3C%3Et%3C%3Ee%3C%3Es%3C"
         "%3Et%3C%3E/%3Cbb%3E\n"},
        {M "redirectRegex]\nregex = '.*\\r'\nreplacement = 'x'\n", "GET /a", "/a\n"},
    };
    CHECK(rows);
}

static void long_paths_are_refused(void **state)
{
    static struct world w;
    static char request[5000];
    memset(request, 'a', sizeof request - 1);
    memcpy(request, "GET /", 5);
    static const char *const list[] = {M "addPrefix]\nprefix = '/p'\n",
                                       M "redirectScheme]\nscheme = 'https'\n",
                                       M "redirectRegex]\nregex = 'a'\nreplacement = 'bb'\n",
                                       M "replacePathRegex]\nregex = 'a'\nreplacement = 'bb'\n",
                                       M "stripPrefixRegex]\nregex = ['/a']\n"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        world_open(&w, "'m'", list[i]);
        assert_string_equal(world_request(&w, request), "414\n");
        world_close(&w);
    }
}

static void custom_fields(void **state)
{
    static struct world w;
    world_open(&w, "'m'",
               M "headers.customRequestHeaders]\nX-New = 'new'\nX-Old = ''\nHost = 'b.test:1'\n"
                 "X-Forwarded-For = ''\n" M "headers.customResponseHeaders]\nServer = ''\n"
                 "X-Frame-Options = 'own'\nVia = 'ferrule'\n" M
                 "headers]\nframeDeny = true\nstsSeconds = 60\nstsPreload = true\n"
                 "stsIncludeSubdomains = true\ncontentTypeNosniff = true\n"
                 "browserXssFilter = true\nreferrerPolicy = 'no-referrer'\n"
                 "contentSecurityPolicy = 'default-src https:'\n");
    assert_string_equal(world_request(&w, "GET /\nx-old: 1\nX-NEW: 2\nX-Old: 3\nAccept: */*\n"
                                          "X-Forwarded-For: 1.1.1.1"),
                        "/\nHost: b.test:1\nAccept: */*\nX-New: new\n");
    assert_true(w.notes.hide_client);
    assert_string_equal(world_response(&w, "server: nginx\nVia: 1.1 a\nVia: 1.1 b\nEtag: x"),
                        "Etag: x\nX-Content-Type-Options: nosniff\nX-XSS-Protection: 1; "
                        "mode=block\nContent-Security-Policy: default-src https:\n"
                        "Referrer-Policy: no-referrer\nX-Frame-Options: own\nVia: ferrule\n");
    world_request(&w, "GETS /");
    assert_non_null(strstr(world_response(&w, ""), "Strict-Transport-Security: max-age=60; "
                                                   "includeSubDomains; preload\n"));
    world_close(&w);
    world_open(&w, "'m'",
               M "headers]\nforceSTSHeader = true\nstsSeconds = 5\ncustomFrameOptionsValue = 'a'\n"
                 "frameDeny = true\ncustomBrowserXSSValue = '0'\nbrowserXssFilter = true\n"
                 "permissionsPolicy = 'p'\ncontentSecurityPolicyReportOnly = 'r'\n");
    world_request(&w, "GET /");
    assert_string_equal(
        world_response(&w, "X-Frame-Options: b"),
        "Strict-Transport-Security: max-age=5\nX-Frame-Options: a\nX-XSS-Protection: 0\n"
        "Content-Security-Policy-Report-Only: r\nPermissions-Policy: p\n");
    world_close(&w);
}

static void hosts_and_proxies(void **state)
{
    static struct world w;
    world_open(&w, "'m'",
               M "headers]\nallowedHosts = ['A.test', 'c.test']\nhostsProxyHeaders = ['X-Host']\n"
                 "stsSeconds = 5\nsslProxyHeaders = {X-Proto = 'https'}\n");
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_string_equal(world_response(&w, ""), "");
    assert_string_equal(world_request(&w, "GET /\nHost: b.test"), "500\n");
    assert_string_equal(world_request(&w, "GET /\nX-Host: b.test"), "500\n");
    assert_string_equal(world_request(&w, "GET /\nHost: b.test\nX-Host: c.test\nX-Proto: https"),
                        "/\nHost: b.test\nX-Host: c.test\nX-Proto: https\n");
    assert_string_equal(world_response(&w, ""), "Strict-Transport-Security: max-age=5\n");
    world_close(&w);
    world_open(&w, "'m'",
               M "headers]\nallowedHosts = ['b.test']\nisDevelopment = true\n"
                 "stsSeconds = 5\nforceSTSHeader = true\n");
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_string_equal(world_response(&w, ""), "");
    world_close(&w);
}

static void cross_origin(void **state)
{
    static struct world w;
    world_open(&w, "'m'",
               M
               "headers]\naccessControlAllowOriginList = ['https://a.test']\n"
               "accessControlAllowOriginListRegex = ['^https://[a-z]+\\.b\\.test$']\n"
               "accessControlAllowMethods = ['GET', 'PUT']\n"
               "accessControlAllowHeaders = ['X-A']\naccessControlExposeHeaders = ['X-B', 'X-C']\n"
               "accessControlMaxAge = 100\naddVaryHeader = true\n");
#define ASKS "\nAccess-Control-Request-Method: PUT"
    assert_string_equal(
        world_request(&w, "OPTIONS /\nOrigin: https://a.test" ASKS),
        "200\nAccess-Control-Allow-Headers: X-A\nAccess-Control-Allow-Methods: GET,PUT\n"
        "Access-Control-Allow-Origin: https://a.test\nAccess-Control-Max-Age: 100\n"
        "Access-Control-Expose-Headers: X-B,X-C\nVary: Origin\n");
    assert_true(w.run.bare);
    assert_null(strstr(world_request(&w, "OPTIONS /\nOrigin: https://evil.test" ASKS), "Origin: "
                                                                                       "https"));
    assert_string_equal(world_request(&w, "OPTIONS /\nOrigin: https://a.test"),
                        "/\nOrigin: https://a.test\n"); /* asks for no method: no preflight */
    world_request(&w, "GET /\nOrigin: https://x.b.test");
    assert_string_equal(world_response(&w, "Vary: Accept\nAccess-Control-Allow-Origin: *"),
                        "Vary: Accept\nAccess-Control-Allow-Origin: https://x.b.test\n"
                        "Access-Control-Expose-Headers: X-B,X-C\nVary: Origin\n");
    world_request(&w, "GET /\nOrigin: https://x.b.test.evil");
    assert_string_equal(world_response(&w, "Vary: accept , origin"),
                        "Vary: accept , origin\nAccess-Control-Expose-Headers: X-B,X-C\n");
    world_close(&w);
    static const char any[] =
        M "headers]\naccessControlAllowOriginList = ['*']\naccessControlAllowMethods = ['*']\n"
          "accessControlAllowHeaders = ['*']\naccessControlExposeHeaders = ['*']\n";
    world_open(&w, "'m'", any);
    world_request(&w, "GET /");
    assert_string_equal(world_response(&w, ""),
                        "Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: *\n");
    world_close(&w);
    struct buf text = {0};
    buf_printf(&text, "%saccessControlAllowCredentials = true\n", any);
    world_open(&w, "'m'", buf_cstr(&text));
    buf_free(&text);
    world_request(&w, "GET /\nOrigin: http://o");
    assert_string_equal(
        world_response(&w, ""),
        "Access-Control-Allow-Origin: http://o\nAccess-Control-Allow-Credentials: true\n");
    world_request(&w, "GET /");
    assert_string_equal(world_response(&w, ""), "Access-Control-Allow-Credentials: true\n");
    assert_string_equal(
        world_request(&w, "OPTIONS /\nOrigin: http://o\nAccess-Control-Request-Headers: x, y" ASKS),
        "200\nAccess-Control-Allow-Credentials: true\nAccess-Control-Allow-Headers: x, y\n"
        "Access-Control-Allow-Methods: PUT\nAccess-Control-Allow-Origin: http://o\n");
    world_close(&w);
}

static void huge_origins_are_nobodys(void **state)
{
    static struct world w;
    char request[400] = "GET /\nOrigin: ";
    memset(request + 14, 'a', MIDDLEWARE_ORIGIN_MAX + 1);
    world_open(&w, "'m'",
               M "headers]\naccessControlAllowOriginList = ['*']\n"
                 "accessControlAllowCredentials = true\n");
    world_request(&w, request);
    assert_string_equal(world_response(&w, ""), "Access-Control-Allow-Credentials: true\n");
    world_close(&w);
}

static void allow_lists(void **state)
{
#define ALLOW "ipAllowList]\nsourceRange = ['192.0.2.0/24', '2001:db8::/32', '10.1.2.3']\n"
    static const struct row rows[] = {
        {M ALLOW, "GET /", "/\n"},
        {M ALLOW, "GET /\nX-Forwarded-For: 9.9.9.9", "/\nX-Forwarded-For: 9.9.9.9\n"},
        {M "ipAllowList]\nsourceRange = ['10.0.0.0/8']\n", "GET /\nX-Forwarded-For: 10.0.0.1",
         "403\n"},
        {M "ipAllowList]\nsourceRange = ['10.0.0.0/8']\nrejectStatusCode = 404\n", "GET /",
         "404\n"},
        {M ALLOW "ipStrategy.depth = 2\n", "GET /\nX-Forwarded-For: 10.1.2.3, 9.9.9.9",
         "/\nX-Forwarded-For: 10.1.2.3, 9.9.9.9\n"},
        {M ALLOW "ipStrategy.depth = 2\n",
         "GET /\nX-Forwarded-For: 10.1.2.3\nX-Forwarded-For: 9.9.9.9, 8.8.8.8", "403\n"},
        {M ALLOW "ipStrategy.depth = 1\n", "GET /\nX-Forwarded-For: [2001:db8::5]:443",
         "/\nX-Forwarded-For: [2001:db8::5]:443\n"},
        {M ALLOW "ipStrategy.depth = 1\n", "GET /", "403\n"},
        {M ALLOW "ipStrategy.depth = 3\n", "GET /\nX-Forwarded-For: 10.1.2.3, 10.1.2.3", "403\n"},
        {M ALLOW "ipStrategy.depth = 1\n", "GET /\nX-Forwarded-For: 10.1.2.3,", "403\n"},
        {M ALLOW "ipStrategy.excludedIPs = ['9.0.0.0/8']\n",
         "GET /\nX-Forwarded-For: 8.8.8.8, 10.1.2.3, 9.9.9.9, 9.1.1.1",
         "/\nX-Forwarded-For: 8.8.8.8, 10.1.2.3, 9.9.9.9, 9.1.1.1\n"},
        {M ALLOW "ipStrategy.excludedIPs = ['9.0.0.0/8']\n",
         "GET /\nX-Forwarded-For: 10.1.2.3, unknown, 9.9.9.9", "403\n"},
        {M "ipWhiteList]\nsourceRange = ['192.0.2.7/32']\n", "GET /", "/\n"},
    };
    CHECK(rows);
}

static void rate_limits(void **state)
{
    static struct world w;
    world_open(&w, "'m'", M "rateLimit]\naverage = 2\nburst = 3\n");
    for (int i = 0; i < 3; i++)
        assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_string_equal(world_request(&w, "GET /"), "429\nRetry-After: 1\nX-Retry-In: 500ms\n");
    w.now_ns += 100000000;
    assert_string_equal(world_request(&w, "GET /"), "429\nRetry-After: 1\nX-Retry-In: 400ms\n");
    w.now_ns += 150000000; /* half a token is there: the rest on credit */
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_string_equal(world_request(&w, "GET /"), "429\nRetry-After: 1\nX-Retry-In: 750ms\n");
    w.now_ns += 1000000000ull * 3600;
    for (int i = 0; i < 3; i++)
        assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_true(strncmp(world_request(&w, "GET /"), "429", 3) == 0);
    world_close(&w);
    world_open(&w, "'m'", M "rateLimit]\nburst = 1\n");
    for (int i = 0; i < 10; i++)
        assert_string_equal(world_request(&w, "GET /"), "/\n");
    world_close(&w);
    world_open(&w, "'m'", M "rateLimit]\naverage = 6\nperiod = '1h'\n");
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_string_equal(world_request(&w, "GET /"), "429\nRetry-After: 600\nX-Retry-In: 600s\n");
    world_close(&w);
}

static void sources(void **state)
{
    static struct world w;
    world_open(&w, "'m'",
               M "rateLimit]\naverage = 1\nsourceCriterion.requestHeaderName = 'X-Key'\n");
    assert_string_equal(world_request(&w, "GET /\nx-key: a"), "/\nx-key: a\n");
    assert_true(strncmp(world_request(&w, "GET /\nX-Key: a"), "429", 3) == 0);
    assert_string_equal(world_request(&w, "GET /\nX-Key: b"), "/\nX-Key: b\n");
    world_close(&w);
    world_open(&w, "'m'", M "rateLimit]\naverage = 1\nsourceCriterion.requestHost = true\n");
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_true(strncmp(world_request(&w, "GET /\nHost: A.TEST:80"), "429", 3) == 0);
    assert_string_equal(world_request(&w, "GET /\nHost: b.test"), "/\nHost: b.test\n");
    world_close(&w);
    world_open(&w, "'m'",
               M "rateLimit]\naverage = 1\nsourceCriterion.ipStrategy = {depth = 1, "
                 "ipv6Subnet = 64}\n");
    static const char *const same[] = {"2001:db8::1", "2001:db8::ffff"};
    for (int i = 0; i < 2; i++) {
        struct buf request = {0};
        buf_printf(&request, "GET /\nX-Forwarded-For: %s", same[i]);
        assert_int_equal(strncmp(world_request(&w, buf_cstr(&request)), "429", 3) == 0, i);
        buf_free(&request);
    }
    assert_true(strncmp(world_request(&w, "GET /\nX-Forwarded-For: 2001:db8:1::"), "/", 1) == 0);
    world_close(&w);
}

static void in_flight(void **state)
{
    static struct world w;
    world_open(&w, "'m'", M "inFlightReq]\namount = 2\n");
    struct middleware_notes held[2];
    for (int i = 0; i < 2; i++) {
        assert_string_equal(world_request(&w, "GET /"), "/\n");
        held[i] = w.notes;
        w.notes.in_flight_count = 0; /* it goes on */
    }
    assert_string_equal(world_request(&w, "GET /"), "429\n");
    assert_string_equal(world_request(&w, "GET /\nHost: b.test"), "/\nHost: b.test\n");
    middleware_end(&w.tables, &held[0]);
    middleware_end(&w.tables, &held[0]); /* gives back once */
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    middleware_end(&w.tables, &w.notes);
    middleware_end(&w.tables, &held[1]);
    assert_int_equal(w.tables.tally.used, 0);
    world_close(&w);
}

static void order_and_chains(void **state)
{
    static struct world w;
    world_open(&w, "'c', 'q@file'",
               "[http.middlewares]\no.headers.customResponseHeaders = {X = 'outer'}\n"
               "i.headers.customResponseHeaders = {X = 'inner', Y = 'inner'}\n"
               "i.headers.customRequestHeaders = {R = 'inner'}\n"
               "c.chain.middlewares = ['o', 'd']\nd.chain.middlewares = ['i']\n"
               "q.redirectScheme.scheme = 'https'\n");
    assert_int_equal(w.steps.count, 3);
    assert_string_equal(world_request(&w, "GET /"),
                        "302\nLocation: https://a.test/\nY: inner\nX: outer\n");
    assert_string_equal(world_request(&w, "GETS /"), "/\nR: inner\n");
    assert_string_equal(world_response(&w, "Z: 1"), "Z: 1\nY: inner\nX: outer\n");
    world_close(&w);
}

/* user "jo", password "pw"; SHA-1 of it */
#define USERS                                                                                      \
    "users = ['al:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=', 'jo:{SHA}GiF8lbbOvX3NNpFhN8tYX9xV2oI=']\n"
#define JO "Authorization: Basic am86cHc="

static void answer_question(struct world *w, bool good)
{
    known_remember(&w->tables.known, w->run.question.digest, good && !w->run.question.no_user);
}

static void basic_auth(void **state)
{
    static struct world w;
    world_open(&w, "'m'", M "basicAuth]\nheaderField = 'X-User'\nremoveHeader = true\n" USERS);
    static const char denied[] = "401\nWWW-Authenticate: Basic realm=\"traefik\"\n";
    static const char *const bad[] = {
        "GET /",
        "GET /\nAuthorization: Basic",
        "GET /\nAuthorization: Basic am8",
        "GET /\nAuthorization: Basic am8=",
        "GET /\nAuthorization: Basic !!!!",
        "GET /\nAuthorization: Basic am86c===",
        "GET /\nAuthorization: Bearer am86cHc=",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_string_equal(world_request(&w, bad[i]), denied);
    assert_string_equal(world_request(&w, "GET /\n" JO), "wait");
    assert_memory_equal(w.run.question.password, "pw", 2);
    assert_int_equal(w.run.question.password_len, 2);
    assert_false(w.run.question.no_user);
    answer_question(&w, true);
    assert_int_equal(world_go(&w), MIDDLEWARE_PASS);
    assert_string_equal(world_request(&w, "GET /\nX-User: root\n" JO), "/\nX-User: jo\n");
    /* another password, another user: judged anew */
    assert_string_equal(world_request(&w, "GET /\nAuthorization: basic  am86cHg="), "wait");
    answer_question(&w, false);
    assert_string_equal(world_request(&w, "GET /\nAuthorization: basic am86cHg="), denied);
    assert_string_equal(world_request(&w, "GET /\nAuthorization: Basic bm86cHc="), "wait");
    assert_true(w.run.question.no_user);
    answer_question(&w, true); /* the hash of somebody else fits: still nobody */
    assert_string_equal(world_request(&w, "GET /\nAuthorization: Basic bm86cHc="), denied);
    world_close(&w);
}

static void retries(void **state)
{
    static struct world w;
    world_open(&w, "'m'", M "retry]\nattempts = 4\ninitialInterval = '100ms'\n");
    assert_string_equal(world_request(&w, "GET /"), "/\n");
    assert_int_equal(w.notes.attempts, 4);
    assert_int_equal(w.notes.retry_ms, 100);
    world_close(&w);
}

UNIT_TESTS(cmocka_unit_test(paths), cmocka_unit_test(redirects),
           cmocka_unit_test(long_paths_are_refused), cmocka_unit_test(custom_fields),
           cmocka_unit_test(hosts_and_proxies), cmocka_unit_test(cross_origin),
           cmocka_unit_test(huge_origins_are_nobodys), cmocka_unit_test(allow_lists),
           cmocka_unit_test(rate_limits), cmocka_unit_test(sources), cmocka_unit_test(in_flight),
           cmocka_unit_test(order_and_chains), cmocka_unit_test(basic_auth),
           cmocka_unit_test(retries))
