/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/hello.h"

#include "base/must.h"

#define RECORD_HEADER    5
#define RECORD_BODY_MAX  16384
#define RECORD_HANDSHAKE 22
#define CLIENT_HELLO     1
#define HANDSHAKE_HEADER 4

#define VERSION_TLS12  0x0303
#define VERSION_TLS13  0x0304
#define EXTENSIONS_MAX 64  /* distinct types above 63 that are remembered; no client has more */
#define HOST_NAME_MAX  253 /* of a DNS name in text without final dot (RFC 1035 section 2.3.4) */
#define HOST_LABEL_MAX 63

enum extension {
    EXT_SERVER_NAME = 0,
    EXT_STATUS_REQUEST = 5,
    EXT_SUPPORTED_GROUPS = 10,
    EXT_SIGNATURE_ALGORITHMS = 13,
    EXT_ALPN = 16,
    EXT_SESSION_TICKET = 35,
    EXT_PRE_SHARED_KEY = 41,
    EXT_EARLY_DATA = 42,
    EXT_SUPPORTED_VERSIONS = 43,
};

/* What is found on the way; turned into answers when the whole hello has been read. */
struct scan {
    struct hello *hello;
    uint16_t legacy_version;
    bool has_versions, has_sigalgs;
    bool suite_tls13, suite_ecdsa, suite_rsa;   /* suites that ferrule could serve */
    bool sig_ecdsa, sig_rsa_pss, sig_rsa_pkcs1; /* signature algorithms likewise */
    uint64_t seen_low;                          /* extension types 0..63 */
    uint16_t seen_high[EXTENSIONS_MAX];         /* the others */
    uint32_t seen_high_count;
};

/* Lower-case form of a byte that may stand in a label, 0 for others. '_' is not a host name's
 * letter but stands in names that people use. */
static const uint8_t name_bytes[256] = {
    ['-'] = '-', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
    ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b',
    ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i',
    ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p',
    ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w',
    ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',
    ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',
    ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y',
    ['Z'] = 'z',
};

/* Reads a list behind its length field of `width` bytes; the list must fill `r` to the end. */
static struct reader list_of(struct reader *r, size_t width)
{
    size_t len = (size_t)reader_be(r, width);
    struct span body = reader_bytes(r, len);
    struct reader list = reader_of(body);
    list.bad = r->bad || r->left != 0;
    return list;
}

/* Copies a host name in lower case and without final dot. False: not a host name. The last label
 * decides about IPv4 literals: no top-level domain is a number; IPv6 has bytes that no name has. */
static bool name_copy(struct span in, struct hello *hello)
{
    size_t len = in.len, label = 0;
    bool digits = true;

    if (len && in.ptr[len - 1] == '.')
        len--;
    if (len == 0 || len > HOST_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = name_bytes[in.ptr[i]];
        if (in.ptr[i] == '.') {
            if (label == 0)
                return false;
            hello->name[i] = '.';
            label = 0;
            digits = true;
            continue;
        }
        if (c == 0 || ++label > HOST_LABEL_MAX)
            return false;
        digits &= c <= '9' && c >= '0';
        hello->name[i] = (char)c;
    }
    if (label == 0 || digits)
        return false;
    hello->name[len] = 0;
    hello->name_len = (uint8_t)len;
    return true;
}

/* RFC 6066 section 3. The only name type ever defined is host_name (0), once. */
static bool scan_server_name(struct scan *s, struct reader r)
{
    struct reader list = list_of(&r, 2);
    uint8_t type = reader_u8(&list);
    struct span name = reader_bytes(&list, reader_u16(&list));

    if (list.bad || list.left != 0 || type != 0 || name.len == 0)
        return false;
    s->hello->name_refused = !name_copy(name, s->hello);
    if (s->hello->name_refused)
        memset(s->hello->name, 0, sizeof s->hello->name);
    return true;
}

/* RFC 8446 section 4.2.7. */
static uint8_t group_of(uint16_t number)
{
    switch (number) {
    case 0x11ec:
        return HELLO_GROUP_X25519MLKEM768;
    case 0x001d:
        return HELLO_GROUP_X25519;
    case 0x0017:
        return HELLO_GROUP_P256;
    case 0x0018:
        return HELLO_GROUP_P384;
    case 0x0019:
        return HELLO_GROUP_P521;
    default:
        return 0;
    }
}

static bool scan_groups(struct scan *s, struct reader r)
{
    struct reader list = list_of(&r, 2);

    if (list.bad || list.left == 0 || list.left % 2)
        return false;
    s->hello->has_groups = true;
    while (list.left) {
        uint8_t group = group_of(reader_u16(&list));
        s->hello->groups |= group;
        if (s->hello->group32 == 0)
            s->hello->group32 = group & (HELLO_GROUP_X25519 | HELLO_GROUP_P256);
    }
    return true;
}

/* RFC 8446 section 4.2.3. SHA-1 does not count. */
static bool scan_signature_algorithms(struct scan *s, struct reader r)
{
    struct reader list = list_of(&r, 2);

    if (list.bad || list.left == 0 || list.left % 2)
        return false;
    s->has_sigalgs = true;
    while (list.left) {
        switch (reader_u16(&list)) {
        case 0x0403: /* ecdsa_secp256r1_sha256, in TLS 1.2 any curve with SHA-256 */
        case 0x0503:
        case 0x0603:
            s->sig_ecdsa = true;
            break;
        case 0x0804: /* rsa_pss_rsae_sha256 */
        case 0x0805:
        case 0x0806:
            s->sig_rsa_pss = true;
            break;
        case 0x0401: /* rsa_pkcs1_sha256 */
        case 0x0501:
        case 0x0601:
            s->sig_rsa_pkcs1 = true;
            break;
        default:
            break;
        }
    }
    return true;
}

static void keep_protocol(struct hello *h, struct span protocol)
{
    if (protocol.len >= HELLO_ALPN_MAX - (size_t)h->alpn_len)
        return;
    h->alpn[h->alpn_len++] = (uint8_t)protocol.len;
    memcpy(h->alpn + h->alpn_len, protocol.ptr, protocol.len);
    h->alpn_len = (uint8_t)(h->alpn_len + protocol.len);
}

/* RFC 7301 section 3.1. */
static bool scan_alpn(struct scan *s, struct reader r)
{
    struct reader list = list_of(&r, 2);

    if (list.bad || list.left == 0)
        return false;
    s->hello->has_alpn = true;
    for (bool first = true; list.left; first = false) {
        struct span protocol = reader_bytes(&list, reader_u8(&list));
        if (list.bad || protocol.len == 0)
            return false;
        keep_protocol(s->hello, protocol);
        s->hello->alpn_h2 |= span_eq(protocol, SPAN_LITERAL("h2"));
        s->hello->alpn_http11 |= span_eq(protocol, SPAN_LITERAL("http/1.1"));
        s->hello->alpn_acme = first && span_eq(protocol, SPAN_LITERAL("acme-tls/1"));
    }
    return true;
}

static bool scan_versions(struct scan *s, struct reader r)
{
    struct reader list = list_of(&r, 1);

    if (list.bad || list.left == 0 || list.left % 2)
        return false;
    s->has_versions = true;
    while (list.left) {
        uint16_t version = reader_u16(&list);
        s->hello->tls12 |= version == VERSION_TLS12;
        s->hello->tls13 |= version == VERSION_TLS13;
    }
    return true;
}

/* True when this type has been seen before, or when there are too many to remember. */
static bool is_repeated(struct scan *s, uint16_t type)
{
    if (type < 64) {
        bool seen = s->seen_low >> type & 1;
        s->seen_low |= 1ull << type;
        return seen;
    }
    for (uint32_t i = 0; i < s->seen_high_count; i++)
        if (s->seen_high[i] == type)
            return true;
    if (s->seen_high_count == EXTENSIONS_MAX)
        return true;
    s->seen_high[s->seen_high_count++] = type;
    return false;
}

static bool scan_extension(struct scan *s, uint16_t type, struct span body)
{
    struct reader r = reader_of(body);

    switch (type) {
    case EXT_SERVER_NAME:
        return scan_server_name(s, r);
    case EXT_STATUS_REQUEST: /* the only type there is: ocsp */
        s->hello->wants_staple = body.len && body.ptr[0] == 1;
        return true;
    case EXT_SUPPORTED_GROUPS:
        return scan_groups(s, r);
    case EXT_SIGNATURE_ALGORITHMS:
        return scan_signature_algorithms(s, r);
    case EXT_ALPN:
        return scan_alpn(s, r);
    case EXT_SUPPORTED_VERSIONS:
        return scan_versions(s, r);
    case EXT_SESSION_TICKET:
        s->hello->ticket_len = (uint16_t)body.len;
        s->hello->has_ticket |= body.len != 0;
        return true;
    case EXT_PRE_SHARED_KEY:
        s->hello->has_ticket = true;
        return true;
    case EXT_EARLY_DATA:
        s->hello->has_early_data = true;
        return true;
    default: /* unknown ones and GREASE (RFC 8701) */
        return true;
    }
}

static bool scan_extensions(struct scan *s, struct reader *r)
{
    struct reader list = list_of(r, 2);

    while (list.left && !list.bad) {
        uint16_t type = reader_u16(&list);
        struct span body = reader_bytes(&list, reader_u16(&list));
        if (list.bad || is_repeated(s, type) || !scan_extension(s, type, body))
            return false;
        if (type == EXT_PRE_SHARED_KEY && list.left) /* must be last: RFC 8446 section 4.2.11 */
            return false;
    }
    return !list.bad;
}

static bool scan_suites(struct scan *s, struct span suites)
{
    struct reader r = reader_of(suites);

    if (suites.len == 0 || suites.len % 2)
        return false;
    while (r.left) {
        switch (reader_u16(&r)) {
        case 0x1301: /* TLS_AES_128_GCM_SHA256 and its sisters: any certificate */
        case 0x1302:
        case 0x1303:
            s->suite_tls13 = true;
            break;
        case 0xc02b: /* ECDHE_ECDSA with AES-128-GCM, AES-256-GCM, ChaCha20 */
        case 0xc02c:
        case 0xcca9:
            s->suite_ecdsa = true;
            break;
        case 0xc02f: /* ECDHE_RSA likewise */
        case 0xc030:
        case 0xcca8:
            s->suite_rsa = true;
            break;
        default:
            break;
        }
    }
    return true;
}

/* The answers that need more than one field. A TLS 1.3 client verifies RSA only as PSS; a TLS 1.2
 * client without signature_algorithms means SHA-1, and gets whatever its suites allow. */
static void conclude(struct scan *s)
{
    struct hello *h = s->hello;

    if (!s->has_versions)
        h->tls12 = s->legacy_version >= VERSION_TLS12;
    bool any = h->tls13 && s->suite_tls13;
    bool guess = !s->has_sigalgs && !h->tls13;
    bool sig_rsa = s->sig_rsa_pss || (s->sig_rsa_pkcs1 && !h->tls13);
    h->ecdsa = (s->sig_ecdsa || guess) && (any || s->suite_ecdsa);
    h->rsa = (sig_rsa || guess) && (any || s->suite_rsa);
}

/* The body of the message, all of it there. */
static struct result parse_body(struct span body, struct hello *ret)
{
    struct scan s = {.hello = ret};
    struct reader r = reader_of(body);

    memset(ret, 0, sizeof *ret);
    ret->records = 1;
    s.legacy_version = reader_u16(&r);
    reader_bytes(&r, 32); /* random */
    struct span session_id = reader_bytes(&r, reader_u8(&r));
    struct span suites = reader_bytes(&r, reader_u16(&r));
    struct span compressions = reader_bytes(&r, reader_u8(&r));
    if (r.bad || s.legacy_version >> 8 != 3 || session_id.len > 32 || compressions.len == 0)
        return result_fail(ERR_FORMAT);
    if (!scan_suites(&s, suites))
        return result_fail(ERR_FORMAT);
    if (r.left && !scan_extensions(&s, &r))
        return result_fail(ERR_FORMAT);
    conclude(&s);
    return result_ok();
}

/* Checks the header of a record as far as it is there: ERR_AGAIN when it is incomplete. */
static struct result record_header(struct span in, size_t *ret_len)
{
    if (in.len > 0 && in.ptr[0] != RECORD_HANDSHAKE)
        return result_fail(ERR_PEER_PROTOCOL);
    if (in.len > 1 && in.ptr[1] != 3)
        return result_fail(ERR_PEER_PROTOCOL);
    if (in.len > 2 && in.ptr[2] > 4)
        return result_fail(ERR_PEER_PROTOCOL);
    if (in.len > 3 && in.ptr[3] > RECORD_BODY_MAX >> 8)
        return result_fail(ERR_PEER_PROTOCOL);
    if (in.len < RECORD_HEADER)
        return result_fail(ERR_AGAIN);
    *ret_len = (size_t)in.ptr[3] << 8 | in.ptr[4];
    if (*ret_len == 0 || *ret_len > RECORD_BODY_MAX) /* RFC 8446 section 5.1 */
        return result_fail(ERR_PEER_PROTOCOL);
    return result_ok();
}

/* Checks the header of the message as far as it is there and gives the message's whole length. */
static struct result message_header(struct span in, size_t *ret_len)
{
    if (in.len > 0 && in.ptr[0] != CLIENT_HELLO)
        return result_fail(ERR_PEER_PROTOCOL);
    if (in.len < HANDSHAKE_HEADER)
        return result_fail(ERR_AGAIN);
    *ret_len = HANDSHAKE_HEADER + ((size_t)in.ptr[1] << 16 | (size_t)in.ptr[2] << 8 | in.ptr[3]);
    if (*ret_len > HELLO_BYTES_MAX - RECORD_HEADER)
        return result_fail(ERR_TOO_LARGE);
    return result_ok();
}

/* A hello in several records is put together first; rare, so out of the way of the usual one.
 * More than one message in a record is not what a client may send before it has an answer. */
static __attribute__((noinline)) struct result parse_fragments(struct span in, struct hello *ret)
{
    uint8_t flat[HELLO_BYTES_MAX];
    size_t have = 0, want = 0, at = 0;
    struct result header = result_fail(ERR_AGAIN);

    in = span_first(in, HELLO_BYTES_MAX);
    while (!result_is_ok(header) || have < want) {
        size_t record = 0;
        struct result r = record_header(span_skip(in, at), &record);
        if (r.code == ERR_AGAIN && in.len == HELLO_BYTES_MAX)
            return result_fail(ERR_TOO_LARGE);
        TRY(r);
        struct span part = span_first(span_skip(in, at + RECORD_HEADER), record);
        must(have + part.len <= sizeof flat);
        memcpy(flat + have, part.ptr, part.len);
        have += part.len;
        at += RECORD_HEADER + record;
        header = message_header(span_of(flat, have), &want);
        if (!result_is_ok(header) && header.code != ERR_AGAIN)
            return header;
        if (result_is_ok(header) && have > want)
            return result_fail(ERR_FORMAT);
        if (part.len < record)
            return result_fail(in.len == HELLO_BYTES_MAX ? ERR_TOO_LARGE : ERR_AGAIN);
    }
    TRY(parse_body(span_of(flat + HANDSHAKE_HEADER, want - HANDSHAKE_HEADER), ret));
    ret->records = 2;
    return result_ok();
}

size_t hello_join(uint8_t *in, size_t len)
{
    uint8_t flat[HELLO_BYTES_MAX];
    size_t have = 0, want = SIZE_MAX, at = 0;

    while (have < want) {
        size_t record = 0;
        must(result_is_ok(record_header(span_of(in + at, len - at), &record)));
        must(record <= len - at - RECORD_HEADER && have + record <= sizeof flat);
        memcpy(flat + have, in + at + RECORD_HEADER, record);
        have += record;
        at += RECORD_HEADER + record;
        if (want == SIZE_MAX)
            (void)result_is_ok(message_header(span_of(flat, have), &want));
    }
    if (want > RECORD_BODY_MAX)
        return 0; /* one record cannot hold it; its first one is large enough then, or is refused */
    size_t start = at - want - RECORD_HEADER;
    uint8_t header[RECORD_HEADER] = {in[0], in[1], in[2], (uint8_t)(want >> 8), (uint8_t)want};
    memcpy(in + start, header, sizeof header);
    memcpy(in + start + RECORD_HEADER, flat, want);
    return start;
}

struct result hello_parse(struct span in, struct hello *ret)
{
    size_t record = 0, message = 0;

    TRY(record_header(in, &record));
    struct span body = span_first(span_skip(in, RECORD_HEADER), record);
    struct result r = message_header(body, &message);
    if (r.code == ERR_AGAIN ? record < HANDSHAKE_HEADER : result_is_ok(r) && record < message)
        return parse_fragments(in, ret);
    TRY(r);
    if (record > message)
        return result_fail(ERR_FORMAT);
    if (body.len < message)
        return result_fail(ERR_AGAIN);
    return parse_body(span_skip(body, HANDSHAKE_HEADER), ret);
}
