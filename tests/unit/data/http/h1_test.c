/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, good and bad, and what the codec makes of them: whole, byte by byte, and cut in two at
 * every place. */
#include "data/http/h1.c"

#include "unit.h"

#include "data/http/h1_transcript.h"

struct row {
    const char *in;
    const char *events;
};

static void check(enum h1_role role, enum http_method method, struct span in, const char *expected,
                  bool eof)
{
    struct buf t = {0};
    size_t each[4096];
    assert_true(in.len < 4096);
    transcript(&t, role, method, in, &in.len, 1, eof);
    if (strcmp(buf_cstr(&t), expected) != 0)
        fail_msg("%.*s\ngives    %s\nexpected %s", SPAN_FMT(in), buf_cstr(&t), expected);
    for (size_t i = 0; i < in.len; i++)
        each[i] = i + 1;
    transcript(&t, role, method, in, each, in.len, eof);
    if (strcmp(buf_cstr(&t), expected) != 0)
        fail_msg("%.*s\nbyte by byte gives %s\nexpected           %s", SPAN_FMT(in), buf_cstr(&t),
                 expected);
    for (size_t cut = 0; cut <= in.len; cut++) {
        size_t cuts[2] = {cut, in.len};
        transcript(&t, role, method, in, cuts, 2, eof);
        if (strcmp(buf_cstr(&t), expected) != 0)
            fail_msg("%.*s\ncut at %zu gives %s\nexpected %s", SPAN_FMT(in), cut, buf_cstr(&t),
                     expected);
    }
    buf_free(&t);
}

#define H "Host: h\r\n"

static void good_requests(void **state)
{
    static const struct row rows[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", "GET / h 1.1 none ka -Host=h END"},
        {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "GET / h 1.1 none ka -Host=h END"},
        {"GET /a?b=c&d HTTP/1.1\r\nhOsT:\t h:8080 \t\r\nX:\r\nY: a b\t \r\n\r\n",
         "GET /a?b=c&d h:8080 1.1 none ka -hOsT=h:8080 X= Y=a b END"},
        {"GET / HTTP/1.0\r\n\r\n", "GET /  1.0 none END"},
        {"GET / HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n",
         "GET / h 1.0 none ka -Host=h -Connection=Keep-Alive END"},
        {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
         "GET / h 1.1 none -Host=h -Connection=close END"},
        {"GET / HTTP/1.1\r\n" H "Connection: keep-alive, CLOSE\r\n\r\n",
         "GET / h 1.1 none -Host=h -Connection=keep-alive, CLOSE END"},
        {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS * h 1.1 none ka -Host=h END"},
        {"GET http://a.test:81/x?y HTTP/1.1\r\n" H "\r\n",
         "GET /x?y a.test:81 1.1 none ka -Host=h END"},
        {"GET HTTPS://a.test HTTP/1.1\r\n" H "\r\n", "GET / a.test 1.1 none ka -Host=h END"},
        {"GET http://a.test:81?x/y HTTP/1.1\r\n" H "\r\n",
         "GET /?x/y a.test:81 1.1 none ka -Host=h END"},
        {"OPTIONS http://a.test?x HTTP/1.1\r\n" H "\r\n",
         "OPTIONS /?x a.test 1.1 none ka -Host=h END"},
        {"OPTIONS http://a.test HTTP/1.1\r\n" H "\r\n", "OPTIONS * a.test 1.1 none ka -Host=h END"},
        {"GET / HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
         "GET / [::1]:443 1.1 none ka -Host=[::1]:443 END"},
        {"PROPFIND /dav HTTP/1.1\r\n" H "\r\n", "PROPFIND /dav h 1.1 none ka -Host=h END"},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
         "POST / h 1.1 length=5 ka -Host=h -Content-Length=5 [hello] END"},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n",
         "POST / h 1.1 length=0 ka -Host=h -Content-Length=0 END"},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n"
         "5\r\nhello\r\n0001;a=\"b\t\";c\r\n!\r\n0\r\n\r\n",
         "POST / h 1.1 chunked ka -Host=h -Transfer-Encoding=Chunked [hello!] END"},
        {"POST / HTTP/1.1\r\n" H "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n"
         "A\r\n0123456789\r\n0;x\r\nX: y\r\nCookie: c\r\nContent_Length: 1\r\n\r\n",
         "POST / h 1.1 chunked ka tr -Host=h Trailer=X -Transfer-Encoding=chunked [0123456789] "
         "trailers X=y -Cookie=c -Content_Length=1 END"},
        {"POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
         "POST / h 1.1 length=1 ka 100 -Host=h -Expect=100-Continue -Content-Length=1 [x] END"},
        {"GET / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n",
         "GET / h 1.1 none ka -Host=h -Expect=100-continue END"},
        {"GET / HTTP/1.1\r\n" H "Connection: Upgrade, x-a\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n",
         "GET / h 1.1 none ka up -Host=h -Connection=Upgrade, x-a -Upgrade=websocket -X-A=1 END"},
        {"GET / HTTP/1.1\r\n" H "Upgrade: h2c\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\n\r\n",
         "GET / h 1.1 none ka -Host=h -Upgrade=h2c -Keep-Alive=5 -Proxy-Connection=close END"},
        {"GET / HTTP/1.1\r\n" H "X-Real-Ip: 1\r\nX-B: 2\r\nConnection: x-real-ip, x-b\r\n\r\n",
         "GET / h 1.1 none ka -Host=h X-Real-Ip=1 -X-B=2 -Connection=x-real-ip, x-b END"},
        {"GET / HTTP/1.1\r\n" H "TE: gzip;q=1, Trailers\r\nConnection: TE\r\n\r\n",
         "GET / h 1.1 none ka -Host=h TE=trailers -Connection=TE END"},
        {"GET / HTTP/1.1\r\n" H "TE: gzip\r\n\r\n", "GET / h 1.1 none ka -Host=h -TE=gzip END"},
        {"GET / HTTP/1.1\r\n" H "X_Forwarded_For: 1\r\nX-Forwarded_Port: 1\r\nX_Other: 2\r\n\r\n",
         "GET / h 1.1 none ka -Host=h -X_Forwarded_For=1 -X-Forwarded_Port=1 X_Other=2 END"},
        {"GET /1 HTTP/1.1\r\n" H "\r\n\r\nPOST /2 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"
         "GET /3 HTTP/1.1\r\n" H "\r\nGET /4",
         "GET /1 h 1.1 none ka -Host=h END POST /2 h 1.1 length=2 ka -Host=h -Content-Length=2 "
         "[hi] END GET /3 h 1.1 none ka -Host=h END"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(H1_SERVER, HTTP_OTHER, span_str(rows[i].in), rows[i].events, false);
}

static const struct row bad_request_rows[] = {
    /* lines */
    {"GET / HTTP/1.1\n" H "\r\n", "bare_lf"},
    {"GET / HTTP/1.1\r\nHost: h\n\r\n", "bare_lf"},
    {"GET / HTTP/1.1\r\n" H "\n", "bare_lf"},
    {"\nGET / HTTP/1.1\r\n" H "\r\n", "bare_lf"},
    {"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "bare_cr"},
    {"GET / HTTP/1.1\r" H "\r\n", "bare_cr"},
    {"GET / HTTP/1.1\r\n" H "\r\r\n", "bare_cr"},
    {"GET / HTTP/1.1\r\n" H "X: a\001b\r\n\r\n", "control_byte"},
    {"GET / HTTP/1.1\r\n" H "X: a\177\r\n\r\n", "control_byte"},
    {"\026\003\001\002", "control_byte"},
    {"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "blank_lines"},
    /* first line */
    {"GET  / HTTP/1.1\r\n" H "\r\n", "start_line"},
    {"GET\t/ HTTP/1.1\r\n" H "\r\n", "start_line"},
    {" GET / HTTP/1.1\r\n" H "\r\n", "start_line"},
    {"G@T / HTTP/1.1\r\n" H "\r\n", "start_line"},
    {"garbage\r\n\r\n", "start_line"},
    {"FOO / HTTP/1.1\r\n" H "\r\n", "method_unknown"},
    {"get / HTTP/1.1\r\n" H "\r\n", "method_unknown"},
    {"CONNECT h:443 HTTP/1.1\r\n" H "\r\n", "method_connect"},
    {"GET /a#b HTTP/1.1\r\n" H "\r\n", "target"},
    {"GET * HTTP/1.1\r\n" H "\r\n", "target"},
    {"GET ftp://h/ HTTP/1.1\r\n" H "\r\n", "target"},
    {"GET http:///x HTTP/1.1\r\n" H "\r\n", "target"},
    {"GET a HTTP/1.1\r\n" H "\r\n", "target"},
    {"GET http://?q HTTP/1.1\r\n" H "\r\n", "target"},
    {"GET http://u@h?q HTTP/1.1\r\n" H "\r\n", "host_bad"},
    {"GET http://u@h/ HTTP/1.1\r\n" H "\r\n", "host_bad"},
    {"GET /\r\n\r\n", "version"},
    {"GET / \r\n" H "\r\n", "start_line"},
    {"GET / HTTP/0.9\r\n" H "\r\n", "version"},
    {"GET / HTTP/2.0\r\n" H "\r\n", "version"},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"},
    {"GET / HTTP/1.2\r\n" H "\r\n", "version"},
    {"GET / HTTP/1.10\r\n" H "\r\n", "version"},
    {"GET / http/1.1\r\n" H "\r\n", "start_line"},
    {"GET / HTTP/1.1 \r\n" H "\r\n", "version"},
    {"OPTIONS * RTSP/1.0\r\n" H "\r\n", "version"},
    {"SOURCE / ICE/1.0\r\n" H "\r\n", "version"},
    /* fields */
    {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "space_before_colon"},
    {"GET / HTTP/1.1\r\n" H "X\t: h\r\n\r\n", "space_before_colon"},
    {"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", "folded_field"},
    {"GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n", "folded_field"},
    {"GET / HTTP/1.1\r\n X: a\r\n" H "\r\n", "folded_field"},
    {"GET / HTTP/1.1\r\n" H ": a\r\n\r\n", "field_name"},
    {"GET / HTTP/1.1\r\n" H "X\r\n\r\n", "field_name"},
    {"GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n", "field_name"},
    {"GET / HTTP/1.1\r\n" H "\xc3\xa9: a\r\n\r\n", "field_name"},
    /* Host */
    {"GET / HTTP/1.1\r\n\r\n", "host_missing"},
    {"GET http://h/ HTTP/1.1\r\n\r\n", "host_missing"},
    {"GET / HTTP/1.1\r\n" H H "\r\n", "host_twice"},
    {"GET / HTTP/1.0\r\n" H H "\r\n", "host_twice"},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "host_bad"},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host_bad"},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "host_bad"},
    {"GET http://ok/ HTTP/1.1\r\nHost: u@h\r\n\r\n", "host_bad"},
    /* framing */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "length_twice"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "length_twice"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\nhello", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nhello", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\nhello", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", "length_bad"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     "length_and_coding"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
     "length_and_coding"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", "coding_unknown"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", "coding_unknown"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", "coding_unknown"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", "coding_unknown"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n", "coding_bad"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", "coding_bad"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n", "coding_bad"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", "coding_bad"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     "coding_bad"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
     "coding_twice"},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "coding_in_http10"},
    {"POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", "expectation"},
};

static void bad_requests(void **state)
{
    for (size_t i = 0; i < sizeof bad_request_rows / sizeof *bad_request_rows; i++) {
        char expected[100] = "BAD ";
        strncat(expected, bad_request_rows[i].events, 90);
        check(H1_SERVER, HTTP_OTHER, span_str(bad_request_rows[i].in), expected, false);
    }
    check(H1_SERVER, HTTP_OTHER, SPAN_LITERAL("GET / HTTP/1.1\r\nHost: h\0\r\n\r\n"),
          "BAD control_byte", false);
}

#define CHUNKED      "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_HEAD "POST / h 1.1 chunked ka -Host=h -Transfer-Encoding=chunked "

static void bad_chunks(void **state)
{
    static const struct row rows[] = {
        {CHUNKED "\r\n", "BAD chunk_size"},
        {CHUNKED ";x\r\n", "BAD chunk_size"},
        {CHUNKED "g\r\n", "BAD chunk_size"},
        {CHUNKED "0x1\r\n", "BAD chunk_size"},
        {CHUNKED " 1\r\n", "BAD chunk_size"},
        {CHUNKED "1 \r\n", "BAD chunk_size"},
        {CHUNKED "-1\r\n", "BAD chunk_size"},
        {CHUNKED "1\n", "BAD chunk_size"},
        {CHUNKED "1\rx", "BAD chunk_size"},
        {CHUNKED "0000000000000001\r\n", "BAD chunk_size"},
        {CHUNKED "1;a\nb\r\n", "BAD chunk_extensions"},
        {CHUNKED "1;a\001\r\n", "BAD chunk_extensions"},
        {CHUNKED "1\r\nab", "[a] BAD chunk_end"},
        {CHUNKED "1\r\na\n", "[a] BAD chunk_end"},
        {CHUNKED "1\r\na\rb", "[a] BAD chunk_end"},
        {CHUNKED "1\r\na\r\n0\r\n\rx", "[a] BAD bare_cr"},
        {CHUNKED "0\r\n\n", "BAD bare_lf"},
        {CHUNKED "0\r\nX: y\n\r\n", "BAD bare_lf"},
        {CHUNKED "0\r\nX: y\r\n\rx", "BAD bare_cr"},
        {CHUNKED "0\r\nX : y\r\n\r\n", "BAD space_before_colon"},
        {CHUNKED "0\r\n X: y\r\n\r\n", "BAD folded_field"},
        {CHUNKED "0\r\nX: y\r\n z\r\n\r\n", "BAD folded_field"},
        {CHUNKED "0\r\nX\r\n\r\n", "BAD field_name"},
        {CHUNKED "0\r\nContent-Length: 5\r\n\r\n", "BAD framing_in_trailers"},
        {CHUNKED "0\r\ntransfer-encoding: chunked\r\n\r\n", "BAD framing_in_trailers"},
        {CHUNKED "0\r\nHost: h\r\n\r\n", "BAD framing_in_trailers"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[200] = CHUNKED_HEAD;
        strncat(expected, rows[i].events, 90);
        check(H1_SERVER, HTTP_OTHER, span_str(rows[i].in), expected, false);
    }
}

static void good_responses(void **state)
{
    static const struct row rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
         "200 'OK' 1.1 length=2 ka -Content-Length=2 [hi] END"},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
         "200 '' 1.1 length=0 ka -Content-Length=0 END"},
        {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
         "200 '' 1.1 length=0 ka -Content-Length=0 END"},
        {"HTTP/1.1 404 Not \xc3\xa9 Found\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
         "404 'Not \xc3\xa9 Found' 1.1 length=1 -Connection=close -Content-Length=1 [x] END"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
         "200 'OK' 1.1 chunked ka -Transfer-Encoding=chunked [abc] trailers X=y END"},
        {"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         "204 'No Content' 1.1 none ka END 200 'OK' 1.1 length=0 ka -Content-Length=0 END"},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
         "204 'No Content' 1.1 none ka -Content-Length=0 END"},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
         "304 'Not Modified' 1.1 none ka Content-Length=500 END"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         "100 'Continue' 1.1 none ka END 103 'Early Hints' 1.1 none ka Link=x END "
         "200 'OK' 1.1 length=0 ka -Content-Length=0 END"},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
         "101 'Switching Protocols' 1.1 none ka up -Connection=upgrade -Upgrade=websocket END"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
         "200 'OK' 1.0 length=1 -Content-Length=1 [x] END"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(H1_CLIENT, HTTP_GET, span_str(rows[i].in), rows[i].events, false);
    check(H1_CLIENT, HTTP_GET, SPAN_LITERAL("HTTP/1.1 200 OK\r\n\r\nsome\r\nbytes"),
          "200 'OK' 1.1 to-close [some\r\nbytes] END", true);
    check(H1_CLIENT, HTTP_GET, SPAN_LITERAL("HTTP/1.1 200 OK\r\n\r\n"), "200 'OK' 1.1 to-close END",
          true);
    check(H1_CLIENT, HTTP_HEAD,
          SPAN_LITERAL("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
          "200 'OK' 1.1 none ka Content-Length=7 END 200 'OK' 1.1 none ka "
          "-Transfer-Encoding=chunked END",
          false);
}

static void bad_responses(void **state)
{
    static const struct row rows[] = {
        {"garbage\r\n\r\n", "start_line"},
        {"\r\nHTTP/1.1 200 OK\r\n\r\n", "start_line"},
        {"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "bare_lf"},
        {"HTTP/1.1 200 O\rK\r\n\r\n", "bare_cr"},
        {"HTTP/2.0 200 OK\r\n\r\n", "version"},
        {"HTTP/0.9 200 OK\r\n\r\n", "version"},
        {"RTSP/1.0 200 OK\r\n\r\n", "version"},
        {"HTTP/1.1 20 OK\r\n\r\n", "status_code"},
        {"HTTP/1.1 2000 OK\r\n\r\n", "status_code"},
        {"HTTP/1.1 099 OK\r\n\r\n", "status_code"},
        {"HTTP/1.1  200 OK\r\n\r\n", "status_code"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "length_twice"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "length_and_coding"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "coding_unknown"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "coding_in_http10"},
        {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", "body_forbidden"},
        {"HTTP/1.1 100 No\r\nTransfer-Encoding: chunked\r\n\r\n", "body_forbidden"},
        {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "folded_field"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[100] = "BAD ";
        strncat(expected, rows[i].events, 90);
        check(H1_CLIENT, HTTP_GET, span_str(rows[i].in), expected, false);
    }
}

static void the_end_of_the_transport(void **state)
{
    static const struct row rows[] = {
        {"", ""},
        {"\r\n", ""},
        {"GET", "BAD truncated"},
        {"GET / HTTP/1.1\r\n" H "\r\n", "GET / h 1.1 none ka -Host=h END"},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhell",
         "POST / h 1.1 length=5 ka -Host=h -Content-Length=5 [hell] BAD truncated"},
        {CHUNKED, CHUNKED_HEAD "BAD truncated"},
        {CHUNKED "5\r\nhello\r\n", CHUNKED_HEAD "[hello] BAD truncated"},
        {CHUNKED "5\r\nhello\r\n0\r\n", CHUNKED_HEAD "[hello] BAD truncated"},
        {CHUNKED "5\r\nhello\r\n0\r\n\r", CHUNKED_HEAD "[hello] BAD truncated"},
        {CHUNKED "0\r\nX: y\r\n", CHUNKED_HEAD "BAD truncated"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(H1_SERVER, HTTP_OTHER, span_str(rows[i].in), rows[i].events, true);
}

/* A message with n times `text` between two others, against the limits of 2,048 bytes and 128
 * fields. */
static const char *repeated(const char *before, const char *text, unsigned n, const char *after)
{
    static struct buf in;
    static struct buf out;
    in.len = 0;
    buf_put_str(&in, before);
    while (n--)
        buf_put_str(&in, text);
    buf_put_str(&in, after);
    transcript(&out, H1_SERVER, HTTP_OTHER, buf_span(&in), &in.len, 1, false);
    const char *last = strrchr(buf_cstr(&out), ' ');
    return last ? last + 1 : buf_cstr(&out);
}

static void sizes_are_limited(void **state)
{
    const char *end = " HTTP/1.1\r\n" H "\r\n";
    unsigned rest = (unsigned)strlen("GET /") + (unsigned)strlen(end);
    assert_string_equal(repeated("GET /", "a", 2048 - rest, end), "END");
    assert_string_equal(repeated("GET /", "a", 2049 - rest, end), "head_too_large");
    assert_string_equal(repeated("GET /", "a", 3000, end), "request_line_too_long");
    assert_string_equal(repeated("GET /", "a", 3000, ""), "request_line_too_long");
    assert_string_equal(repeated("GET / HTTP/1.1\r\n" H "X: ", "a", 3000, ""), "head_too_large");
    assert_string_equal(repeated("", "A", 3000, ""), "method_unknown");
    assert_string_equal(repeated("GET http://h?", "a", HTTP_PATH_MADE_MAX - 2, end), "END");
    assert_string_equal(repeated("GET http://h?", "a", HTTP_PATH_MADE_MAX - 1, end),
                        "request_line_too_long");
    assert_string_equal(repeated("GET / HTTP/1.1\r\n" H, "a: b\r\n", 127, "\r\n"), "END");
    assert_string_equal(repeated("GET / HTTP/1.1\r\n" H, "a: b\r\n", 128, "\r\n"),
                        "too_many_fields");
    assert_string_equal(repeated("GET / HTTP/1.1\r\n" H "Connection: a", ", a", 31, "\r\n\r\n"),
                        "END");
    assert_string_equal(repeated("GET / HTTP/1.1\r\n" H "Connection: a", ", a", 32, "\r\n\r\n"),
                        "connection_options");
    assert_string_equal(repeated(CHUNKED "1;", "e", 4096, "\r\nx\r\n0\r\n\r\n"), "END");
    assert_string_equal(repeated(CHUNKED "1;", "e", 4097, "\r\nx\r\n0\r\n\r\n"),
                        "chunk_extensions");
    assert_string_equal(repeated(CHUNKED, "1;e\r\nx\r\n", 4096, "0\r\n\r\n"), "END");
    assert_string_equal(repeated(CHUNKED, "1;e\r\nx\r\n", 4097, "0\r\n\r\n"), "chunk_extensions");
    assert_string_equal(repeated(CHUNKED "0\r\nX: ", "y", 2041, "\r\n\r\n"), "END");
    assert_string_equal(repeated(CHUNKED "0\r\nX: ", "y", 2042, "\r\n\r\n"), "trailers_too_large");
    assert_string_equal(repeated(CHUNKED "0\r\n", "a: b\r\n", 129, "\r\n"), "too_many_fields");
}

/* A slow client costs what it sends, not what it has sent so far. */
static void looking_again_costs_only_what_is_new(void **state)
{
    static uint8_t in[4096];
    static struct http_head head;
    struct h1 h1;
    size_t used;
    h1_init(&h1, H1_SERVER, 2048, &head);
    memcpy(in, "GET /", 5);
    memset(in + 5, 'a', sizeof in - 5);
    assert_int_equal(h1_feed(&h1, span_of(in, 1000), &used).kind, HTTP_EVENT_MORE);
    assert_int_equal(h1.seen, 1000);
    in[500] = '\n'; /* was looked at, is not looked at again */
    assert_int_equal(h1_feed(&h1, span_of(in, 1001), &used).kind, HTTP_EVENT_MORE);
    assert_int_equal(used, 0);
    memcpy(in + 1001, "\r\n\r", 3);
    assert_int_equal(h1_feed(&h1, span_of(in, 1004), &used).kind, HTTP_EVENT_MORE);
    assert_int_equal(h1.seen, 1003);
}

static void a_refusal_stays(void **state)
{
    static struct http_head head;
    struct h1 h1;
    size_t used;
    h1_init(&h1, H1_SERVER, 2048, &head);
    assert_string_equal(h1_feed(&h1, SPAN_LITERAL("\n"), &used).reject->id, "bare_lf");
    struct span good = SPAN_LITERAL("GET / HTTP/1.1\r\n" H "\r\n");
    assert_string_equal(h1_feed(&h1, good, &used).reject->id, "bare_lf");
    assert_int_equal(used, 0);
    assert_string_equal(h1_feed_eof(&h1).reject->id, "bare_lf");
    assert_int_equal(h1.reject->status, 400);
}

static void every_byte_has_its_place(void **state)
{
    /* One odd byte in turn in the target, a name and a value: taken or refused, never misread. */
    struct buf t = {0};
    for (unsigned c = 0; c < 256; c++) {
        char in[100];
        int n = snprintf(in, sizeof in, "GET /aXa HTTP/1.1\r\nHost: h\r\nbXb: cXc\r\n\r\n");
        for (int place = 0; place < 3; place++) {
            char copy[100];
            memcpy(copy, in, (size_t)n);
            *(char *)memchr(copy + (place == 0 ? 0 : place == 1 ? 20 : 31), 'X', 60) = (char)c;
            size_t len = (size_t)n;
            transcript(&t, H1_SERVER, HTTP_OTHER, span_of(copy, len), &len, 1, false);
            bool good = strncmp(buf_cstr(&t), "GET /a", 6) == 0;
            bool token = c > 32 && c < 127 && !strchr("\"(),/:;<=>?@[\\]{}", (int)c);
            if (place == 0 && (c <= 32 || c == 127 || c == '#'))
                assert_false(good);
            if (place == 1)
                assert_int_equal(good, token || c == ':'); /* then the value begins early */
            if (place == 2)
                assert_int_equal(good, (c >= 32 && c != 127) || c == '\t');
        }
    }
    buf_free(&t);
}

UNIT_TESTS(cmocka_unit_test(good_requests), cmocka_unit_test(bad_requests),
           cmocka_unit_test(bad_chunks), cmocka_unit_test(good_responses),
           cmocka_unit_test(bad_responses), cmocka_unit_test(the_end_of_the_transport),
           cmocka_unit_test(sizes_are_limited),
           cmocka_unit_test(looking_again_costs_only_what_is_new),
           cmocka_unit_test(a_refusal_stays), cmocka_unit_test(every_byte_has_its_place))
