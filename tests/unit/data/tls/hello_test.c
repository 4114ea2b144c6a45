/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/hello.c"

#include "unit.h"

#include <stdlib.h>

/* ---- building hellos ------------------------------------------------------------------------ */

/* A message in the making; lengths are filled in at the end. */
struct build {
    uint8_t mem[40000];
    struct writer w;
    size_t extensions; /* where their length stands */
};

static void put(struct build *b, const char *bytes, size_t n)
{
    writer_bytes(&b->w, bytes, n);
}

#define PUT(b, literal) put(b, literal, sizeof literal - 1)

static void begin(struct build *b, const char *suites, size_t suite_bytes)
{
    b->w = writer_of(b->mem, sizeof b->mem);
    PUT(b, "\x01\0\0\0\x03\x03");
    for (int i = 0; i < 32; i++)
        writer_be(&b->w, 0xa0 + i, 1);
    writer_be(&b->w, 32, 1);
    for (int i = 0; i < 32; i++)
        writer_be(&b->w, i, 1);
    writer_be(&b->w, suite_bytes, 2);
    put(b, suites, suite_bytes);
    PUT(b, "\x01\x00");
    b->extensions = b->w.len;
    writer_be(&b->w, 0, 2);
}

static void extension(struct build *b, uint16_t type, const void *body, size_t n)
{
    writer_be(&b->w, type, 2);
    writer_be(&b->w, n, 2);
    writer_bytes(&b->w, body, n);
}

#define EXTENSION(b, type, literal) extension(b, type, literal, sizeof literal - 1)

static void server_name(struct build *b, const char *name, size_t n)
{
    uint8_t body[1024];
    struct writer w = writer_of(body, sizeof body);
    writer_be(&w, n + 3, 2);
    writer_be(&w, 0, 1);
    writer_be(&w, n, 2);
    writer_bytes(&w, name, n);
    extension(b, EXT_SERVER_NAME, body, w.len);
}

/* Fills in the lengths; the message is in mem[0..w.len). */
static struct span end(struct build *b)
{
    assert_false(b->w.bad);
    size_t n = b->w.len - b->extensions - 2, all = b->w.len - 4;
    b->mem[b->extensions] = (uint8_t)(n >> 8);
    b->mem[b->extensions + 1] = (uint8_t)n;
    b->mem[1] = (uint8_t)(all >> 16);
    b->mem[2] = (uint8_t)(all >> 8);
    b->mem[3] = (uint8_t)all;
    return writer_done(&b->w);
}

#define SUITES_MODERN "\x0a\x0a\x13\x01\x13\x02\xc0\x2b\xc0\x2f"

/* Like a browser's, about 1.8 KB with an ML-KEM key share. */
static struct span build_modern(struct build *b)
{
    static uint8_t shares[1250];
    begin(b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    EXTENSION(b, 0x3a3a, "");
    server_name(b, "Www.Example.TEST.", 17);
    EXTENSION(b, 23, "");
    EXTENSION(b, 0xff01, "\0");
    EXTENSION(b, EXT_SUPPORTED_GROUPS, "\0\x08\x2a\x2a\x11\xec\0\x1d\0\x17");
    EXTENSION(b, EXT_SESSION_TICKET, "");
    EXTENSION(b, EXT_ALPN, "\0\x0c\x02h2\x08http/1.1");
    EXTENSION(b, EXT_SIGNATURE_ALGORITHMS, "\0\x08\x04\x03\x08\x04\x04\x01\x05\x03");
    extension(b, 51, shares, sizeof shares);
    EXTENSION(b, 45, "\x01\x01");
    EXTENSION(b, EXT_SUPPORTED_VERSIONS, "\x06\x7a\x7a\x03\x04\x03\x03");
    EXTENSION(b, 0x8a8a, "\0");
    return end(b);
}

/* Puts the message into records of at most `part` bytes. */
static struct span records(struct span message, size_t part, struct writer *w)
{
    while (message.len) {
        struct span piece = span_first(message, part);
        writer_bytes(w, "\x16\x03\x01", 3);
        writer_be(w, piece.len, 2);
        writer_span(w, piece);
        message = span_skip(message, piece.len);
    }
    assert_false(w->bad);
    return writer_done(w);
}

static struct result parse(struct span message, struct hello *ret)
{
    static uint8_t mem[40000];
    struct writer w = writer_of(mem, sizeof mem);
    return hello_parse(records(message, RECORD_BODY_MAX, &w), ret);
}

/* Cut into records of any size and joined again, the hello is what it was. */
static void one_record_of_many(void **state)
{
    static uint8_t mem[40000], whole[40000];
    struct build b;
    struct span message = build_modern(&b);
    struct writer expected = writer_of(whole, sizeof whole);
    records(message, RECORD_BODY_MAX, &expected);
    writer_bytes(&expected, "next", 4);
    for (size_t part = 1; part < message.len; part += 1 + part / 3) {
        struct writer w = writer_of(mem, sizeof mem);
        struct hello h;
        assert_int_equal(hello_parse(records(message, part, &w), &h).code, ERR_NONE);
        assert_int_equal(h.records, 2);
        writer_bytes(&w, "next", 4);
        size_t void_bytes = hello_join(mem, w.len);
        assert_int_equal(w.len - void_bytes, expected.len);
        assert_memory_equal(mem + void_bytes, whole, expected.len);
        assert_int_equal(hello_parse(span_of(mem + void_bytes, expected.len), &h).code, ERR_NONE);
        assert_int_equal(h.records, 1);
    }
}

static enum err_code code_of(struct span message)
{
    struct hello h;
    return parse(message, &h).code;
}

static void assert_modern(const struct hello *h)
{
    assert_string_equal(h->name, "www.example.test");
    assert_int_equal(h->name_len, 16);
    assert_false(h->name_refused);
    assert_true(h->tls12 && h->tls13 && h->ecdsa && h->rsa);
    assert_true(h->has_alpn && h->alpn_h2 && h->alpn_http11 && !h->alpn_acme);
    assert_true(h->has_groups && (h->groups & HELLO_GROUP_X25519MLKEM768));
    assert_false(h->has_ticket);
    assert_int_equal(h->ticket_len, 0);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void a_browsers_hello(void **state)
{
    static struct build b;
    struct hello h;
    assert_int_equal(parse(build_modern(&b), &h).code, ERR_NONE);
    assert_modern(&h);
}

static void every_truncation_asks_for_more(void **state)
{
    static struct build b;
    static uint8_t mem[4000], copy[4000];
    struct writer w = writer_of(mem, sizeof mem);
    struct span all = records(build_modern(&b), RECORD_BODY_MAX, &w);
    struct hello h;
    for (size_t n = 0; n < all.len; n++) {
        memcpy(copy + sizeof copy - n, all.ptr, n); /* so that reading on is seen by ASan */
        assert_int_equal(hello_parse(span_of(copy + sizeof copy - n, n), &h).code, ERR_AGAIN);
    }
    assert_int_equal(hello_parse(all, &h).code, ERR_NONE);
}

static void every_split_into_two_records(void **state)
{
    static struct build b;
    static uint8_t mem[4000];
    struct span message = build_modern(&b);
    for (size_t at = 1; at < message.len; at++) {
        struct writer w = writer_of(mem, sizeof mem);
        struct hello h;
        records(span_first(message, at), at, &w);
        struct span all = records(span_skip(message, at), RECORD_BODY_MAX, &w);
        assert_int_equal(hello_parse(all, &h).code, ERR_NONE);
        assert_modern(&h);
        assert_int_equal(hello_parse(span_first(all, at + 7), &h).code, ERR_AGAIN);
        assert_int_equal(hello_parse(span_first(all, all.len - 1), &h).code, ERR_AGAIN);
    }
}

static void small_records_at_every_length(void **state)
{
    static struct build b;
    static uint8_t mem[20000];
    for (size_t part = 1; part < 40; part++) {
        struct writer w = writer_of(mem, sizeof mem);
        struct span all = records(build_modern(&b), part, &w);
        struct hello h;
        assert_int_equal(hello_parse(all, &h).code, ERR_NONE);
        assert_modern(&h);
        for (size_t n = 0; n < all.len; n += 13)
            assert_int_equal(hello_parse(span_first(all, n), &h).code, ERR_AGAIN);
    }
}

static void bytes_behind_the_hello(void **state)
{
    static struct build b;
    static uint8_t mem[4000];
    struct writer w = writer_of(mem, sizeof mem);
    struct hello h;
    records(build_modern(&b), RECORD_BODY_MAX, &w);
    writer_bytes(&w, "\x17\x03\x03\0\x05hello", 10);
    assert_int_equal(hello_parse(writer_done(&w), &h).code, ERR_NONE);
    assert_modern(&h);

    /* ... but not within its record. */
    b.mem[b.w.len] = 0;
    assert_int_equal(code_of(span_of(b.mem, b.w.len + 1)), ERR_FORMAT);
}

static void not_tls_is_said_at_once(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"G", 1},    /* GET / HTTP/1.1 */
        {"\x80", 1}, /* SSL 2.0 */
        {"\x17", 1}, /* application data */
        {"\x15", 1}, /* alert */
        {"\0", 1},
        {"\x16\x02", 2}, /* SSL 2.0 again */
        {"\x16\x03\x05", 3},
        {"\x16\x03\x01\x41", 4}, /* a record of more than 16 KB */
        {"\x16\x03\x01\x40\x01", 5},
        {"\x16\x03\x01\0\0", 5},      /* an empty one */
        {"\x16\x03\x01\0\x80\x02", 6} /* ServerHello */
    };
    struct hello h;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span in = span_of(cases[i].bytes, cases[i].len);
        assert_int_equal(hello_parse(in, &h).code, ERR_PEER_PROTOCOL);
        assert_int_equal(hello_parse(span_first(in, in.len - 1), &h).code, ERR_AGAIN);
    }
    /* The second record of a hello is looked at like the first. */
    struct span in = SPAN_LITERAL("\x16\x03\x01\0\x02\x01\0\x17");
    assert_int_equal(hello_parse(in, &h).code, ERR_PEER_PROTOCOL);
}

static void too_large(void **state)
{
    static struct build b;
    static uint8_t mem[120000], padding[17000];
    struct hello h;

    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    extension(&b, 21, padding, sizeof padding);
    struct writer w = writer_of(mem, sizeof mem);
    struct span all = records(end(&b), RECORD_BODY_MAX, &w);
    assert_int_equal(hello_parse(all, &h).code, ERR_TOO_LARGE);
    assert_int_equal(hello_parse(span_first(all, 9), &h).code, ERR_TOO_LARGE);
    assert_int_equal(hello_parse(span_first(all, 8), &h).code, ERR_AGAIN);

    /* Small enough, but not with the headers of its many records. */
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    extension(&b, 21, padding, 10000);
    w = writer_of(mem, sizeof mem);
    all = records(end(&b), 1, &w);
    assert_int_equal(hello_parse(all, &h).code, ERR_TOO_LARGE);
    assert_int_equal(hello_parse(span_first(all, HELLO_BYTES_MAX), &h).code, ERR_TOO_LARGE);
    assert_int_equal(hello_parse(span_first(all, HELLO_BYTES_MAX - 1), &h).code, ERR_AGAIN);

    /* The largest that is taken. */
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    extension(&b, 21, padding, HELLO_BYTES_MAX - 2 * RECORD_HEADER - b.w.len - 4);
    w = writer_of(mem, sizeof mem);
    all = records(end(&b), RECORD_BODY_MAX, &w);
    assert_int_equal(all.len, HELLO_BYTES_MAX);
    assert_int_equal(hello_parse(all, &h).code, ERR_NONE);
}

static void names(void **state)
{
    static const struct {
        const char *sent, *name;
    } cases[] = {
        {"a", "a"},
        {"A.B", "a.b"},
        {"a.b.", "a.b"},
        {"a_b.x-1.test", "a_b.x-1.test"},
        {"xn--bcher-kva.test", "xn--bcher-kva.test"},
        {"1.2.3.4.test", "1.2.3.4.test"},
        {"3com.test", "3com.test"},
        {".", ""},
        {"..", ""},
        {"a..b", ""},
        {".a", ""},
        {"a.b..", ""},
        {"1.2.3.4", ""},
        {"1.2.3.4.", ""},
        {"12", ""},
        {"::1", ""},
        {"[::1]", ""},
        {"*.a.test", ""},
        {"a b", ""},
        {"a/b", ""},
        {"a:443", ""},
        {"b\xc3\xbc"
         "cher.test",
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct build b;
        struct hello h;
        begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
        server_name(&b, cases[i].sent, strlen(cases[i].sent));
        assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
        assert_string_equal(h.name, cases[i].name);
        assert_int_equal(h.name_len, strlen(cases[i].name));
        assert_int_equal(h.name_refused, cases[i].name[0] == 0);
    }
}

static void names_with_odd_bytes_and_lengths(void **state)
{
    static struct build b;
    struct hello h;
    char name[600];

    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    server_name(&b, "a\0b.test", 8);
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.name_refused && h.name_len == 0 && h.name[0] == 0);

    for (size_t n = 1; n < sizeof name; n++) {
        for (size_t i = 0; i < n; i++)
            name[i] = i % 60 == 59 ? '.' : 'x';
        begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
        server_name(&b, name, n);
        assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
        bool good = n <= HOST_NAME_MAX || (n == HOST_NAME_MAX + 1 && name[n - 1] == '.');
        assert_int_equal(h.name_refused, !good);
    }
    for (size_t n = 60; n < 70; n++) {
        memset(name, 'y', n);
        begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
        server_name(&b, name, n);
        assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
        assert_int_equal(h.name_refused, n > HOST_LABEL_MAX);
    }
}

static void malformed_extensions(void **state)
{
    static const struct {
        uint16_t type;
        const char *body;
        size_t len;
    } cases[] = {
        {0, "", 0},
        {0, "\0", 1},
        {0, "\0\0", 2},
        {0, "\0\x03\0\0\0", 5},              /* empty name */
        {0, "\0\x04\0\0\x02x", 6},           /* name longer than its list */
        {0, "\0\x05\0\0\x01x", 6},           /* list longer than the extension */
        {0, "\0\x04\0\0\x01x!", 7},          /* bytes behind the list */
        {0, "\0\x04\x01\0\x01x", 6},         /* other name type */
        {0, "\0\x08\0\0\x01x\0\0\x01y", 10}, /* two names */
        {10, "\0\0", 2},
        {10, "\0\x03\0\x17\0", 5},
        {10, "\0\x04\0\x17", 4},
        {13, "\0\0", 2},
        {13, "\0\x03\x04\x03\x04", 5},
        {13, "\0\x02\x04\x03\x04", 5},
        {16, "", 0},
        {16, "\0\0", 2},
        {16, "\0\x01\0", 3}, /* empty protocol */
        {16, "\0\x04\x02h2\x01", 6},
        {16, "\0\x03\x03h2", 5},
        {43, "", 0},
        {43, "\0", 1},
        {43, "\x03\x03\x04\x03", 4},
        {43, "\x02\x03\x04\x03", 4},
        {43, "\x04\x03\x04\x03", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct build b;
        begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
        extension(&b, cases[i].type, cases[i].body, cases[i].len);
        assert_int_equal(code_of(end(&b)), ERR_FORMAT);
    }
}

static void malformed_frames(void **state)
{
    static struct build b;
    struct span m;

    build_modern(&b);
    b.mem[4] = 2; /* legacy_version 2.3 */
    assert_int_equal(code_of(writer_done(&b.w)), ERR_FORMAT);
    build_modern(&b);
    b.mem[38] = 33; /* session id */
    assert_int_equal(code_of(writer_done(&b.w)), ERR_FORMAT);
    begin(&b, "", 0);
    assert_int_equal(code_of(end(&b)), ERR_FORMAT);
    begin(&b, "\x13\x01\x13", 3);
    assert_int_equal(code_of(end(&b)), ERR_FORMAT);
    m = build_modern(&b);
    b.mem[b.extensions + 1]++; /* extensions longer than the message */
    assert_int_equal(code_of(m), ERR_FORMAT);
    b.mem[b.extensions + 1] -= 2; /* and shorter */
    assert_int_equal(code_of(m), ERR_FORMAT);
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    b.w.len--; /* half a length of the extensions */
    b.extensions -= 2;
    uint8_t low = b.mem[b.extensions], high = b.mem[b.extensions + 1];
    end(&b);
    b.mem[b.extensions] = low;
    b.mem[b.extensions + 1] = high;
    assert_int_equal(code_of(writer_done(&b.w)), ERR_FORMAT);
}

static void repeated_extensions(void **state)
{
    static const uint16_t types[] = {10, 23, 43, 62, 63, 64, 0x3a3a, 0xff01, 0xffff};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        static struct build b;
        struct hello h;
        begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
        for (int n = 0; n < 2; n++) {
            extension(&b, (uint16_t)(types[i] ^ 1024), "", 0);
            extension(&b, types[i], types[i] == 43 ? "\x02\x03\x04" : "\0\x02\0\x17",
                      types[i] == 43 ? 3 : 4);
            assert_int_equal(parse(end(&b), &h).code, n ? ERR_FORMAT : ERR_NONE);
        }
    }
    static struct build b;
    struct hello h;
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    for (int i = 0; i < EXTENSIONS_MAX; i++)
        extension(&b, (uint16_t)(1000 + i), "", 0);
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    extension(&b, 2000, "", 0);
    assert_int_equal(parse(end(&b), &h).code, ERR_FORMAT);
}

static void pre_shared_key_is_last(void **state)
{
    static struct build b;
    struct hello h;
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    EXTENSION(&b, EXT_PRE_SHARED_KEY, "xyz");
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_ticket);
    EXTENSION(&b, 21, "");
    assert_int_equal(parse(end(&b), &h).code, ERR_FORMAT);
}

static void tickets(void **state)
{
    static struct build b;
    struct hello h;
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    static uint8_t ticket[300];
    extension(&b, EXT_SESSION_TICKET, ticket, sizeof ticket);
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_ticket);
    assert_int_equal(h.ticket_len, 300);
    assert_false(h.has_early_data);
    EXTENSION(&b, EXT_EARLY_DATA, "");
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_early_data);
}

static void versions_without_the_extension(void **state)
{
    static const struct {
        uint8_t major, minor;
        bool tls12;
    } cases[] = {{3, 0, false}, {3, 1, false}, {3, 2, false}, {3, 3, true}, {3, 4, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct build b;
        struct hello h;
        begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
        b.w.len -= 2; /* no extensions at all */
        b.mem[3] = (uint8_t)(b.w.len - 4);
        b.mem[4] = cases[i].major;
        b.mem[5] = cases[i].minor;
        assert_int_equal(parse(writer_done(&b.w), &h).code, ERR_NONE);
        assert_int_equal(h.tls12, cases[i].tls12);
        assert_false(h.tls13);
        assert_true(h.ecdsa && h.rsa);
    }
}

static void which_certificates_fit(void **state)
{
    static const struct {
        const char *suites;
        size_t suite_bytes;
        const char *algorithms;
        size_t algorithm_bytes;
        bool tls13, ecdsa, rsa;
    } cases[] = {
        {"\x13\x01", 2, "\0\x02\x04\x03", 4, true, true, false},
        {"\x13\x01", 2, "\0\x02\x08\x04", 4, true, false, true},
        {"\x13\x01", 2, "\0\x02\x04\x01", 4, true, false, false}, /* RSA only as PKCS#1 */
        {"\x13\x01", 2, "\0\x02\x02\x03", 4, true, false, false}, /* SHA-1 */
        {"\x13\x01", 2, "\0\x04\x05\x03\x08\x06", 6, true, true, true},
        {"\xc0\x2f", 2, "\0\x04\x04\x03\x04\x01", 6, false, false, true},
        {"\xc0\x2b", 2, "\0\x04\x04\x03\x04\x01", 6, false, true, false},
        {"\xcc\xa9\xcc\xa8", 4, "\0\x04\x06\x03\x05\x01", 6, false, true, true},
        {"\xcc\xa9\xcc\xa8", 4, "\0\x04\x08\x06\x04\x04", 6, false, false, true},
        {"\x13\x01", 2, "\0\x04\x04\x03\x04\x01", 6, false, false, false}, /* no suite of 1.2 */
        {"\0\x2f", 2, "\0\x04\x04\x03\x04\x01", 6, false, false, false},   /* none of ours */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct build b;
        struct hello h;
        begin(&b, cases[i].suites, cases[i].suite_bytes);
        extension(&b, 13, cases[i].algorithms, cases[i].algorithm_bytes);
        if (cases[i].tls13)
            EXTENSION(&b, 43, "\x02\x03\x04");
        assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
        assert_int_equal(h.tls13, cases[i].tls13);
        assert_int_equal(h.tls12, !cases[i].tls13);
        assert_int_equal(h.ecdsa, cases[i].ecdsa);
        assert_int_equal(h.rsa, cases[i].rsa);
    }
}

static void protocols(void **state)
{
    static struct build b;
    struct hello h;
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    EXTENSION(&b, EXT_ALPN,
              "\0\x0b\x0a"
              "acme-tls/1");
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_alpn && h.alpn_acme && !h.alpn_h2 && !h.alpn_http11);
    /* Beside others it is no CA's (RFC 8737 section 3), wherever it stands. */
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    EXTENSION(&b, EXT_ALPN,
              "\0\x0e\x0a"
              "acme-tls/1\x02h2");
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_alpn && !h.alpn_acme && h.alpn_h2);
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    EXTENSION(&b, EXT_ALPN,
              "\0\x0e\x02h2\x0a"
              "acme-tls/1");
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_alpn && !h.alpn_acme && h.alpn_h2);
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    EXTENSION(&b, EXT_ALPN, "\0\x09\x03h2c\x04spdy");
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.has_alpn && !h.alpn_acme && !h.alpn_h2 && !h.alpn_http11);
    assert_true(span_eq(span_of(h.alpn, h.alpn_len), SPAN_LITERAL("\x03h2c\x04spdy")));
    /* What does not fit is left out, and what follows may fit again. */
    char many[2 + 101 + 101 + 3] = "\0\xcd\x64";
    many[2 + 101] = 0x64;
    memcpy(many + 2 + 202, "\x02h2", 3);
    begin(&b, SUITES_MODERN, sizeof SUITES_MODERN - 1);
    extension(&b, EXT_ALPN, many, sizeof many);
    assert_int_equal(parse(end(&b), &h).code, ERR_NONE);
    assert_true(h.alpn_h2 && h.alpn_len == 101 + 3);
}

/* Whatever a byte becomes, the answer is one of the documented ones and nothing is read that is
 * not there (the message stands at the very end of its memory). */
static void any_byte_may_be_wrong(void **state)
{
    static struct build b;
    uint8_t *mem = malloc(4000);
    struct writer w = writer_of(mem, 4000);
    struct span all = records(build_modern(&b), RECORD_BODY_MAX, &w);
    uint8_t *exact = malloc(all.len);
    struct hello h;
    static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x10, 0x02};
    for (size_t at = 0; at < all.len; at++) {
        for (size_t c = 0; c < sizeof changes; c++) {
            memcpy(exact, all.ptr, all.len);
            exact[at] ^= changes[c];
            enum err_code code = hello_parse(span_of(exact, all.len), &h).code;
            assert_true(code == ERR_NONE || code == ERR_AGAIN || code == ERR_FORMAT ||
                        code == ERR_PEER_PROTOCOL || code == ERR_TOO_LARGE);
            if (code == ERR_NONE)
                assert_int_equal(strlen(h.name), h.name_len);
        }
    }
    free(exact);
    free(mem);
}

UNIT_TESTS(cmocka_unit_test(one_record_of_many), cmocka_unit_test(a_browsers_hello),
           cmocka_unit_test(every_truncation_asks_for_more),
           cmocka_unit_test(every_split_into_two_records),
           cmocka_unit_test(small_records_at_every_length),
           cmocka_unit_test(bytes_behind_the_hello), cmocka_unit_test(not_tls_is_said_at_once),
           cmocka_unit_test(too_large), cmocka_unit_test(names),
           cmocka_unit_test(names_with_odd_bytes_and_lengths),
           cmocka_unit_test(malformed_extensions), cmocka_unit_test(malformed_frames),
           cmocka_unit_test(repeated_extensions), cmocka_unit_test(pre_shared_key_is_last),
           cmocka_unit_test(tickets), cmocka_unit_test(versions_without_the_extension),
           cmocka_unit_test(which_certificates_fit), cmocka_unit_test(protocols),
           cmocka_unit_test(any_byte_may_be_wrong))
