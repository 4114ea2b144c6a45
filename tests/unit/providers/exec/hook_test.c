/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "exec/hook.c"

static struct ferrule_str str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

static struct ferrule_request request(const char *fqdn)
{
    return (struct ferrule_request){.size = sizeof(struct ferrule_request),
                                    .fqdn = str(fqdn),
                                    .value = str("va'lue"),
                                    .domain = str("example.org"),
                                    .token = str("token"),
                                    .key_auth = str("token.thumb")};
}

static struct hook_call call;
static struct ferrule_error error;

static int32_t make(enum hook_mode mode, bool present, const char *fqdn)
{
    struct hook h = {.mode = mode,
                     .program = str("/bin/hook"),
                     .cleanup = str("clean up"),
                     .file = str("/x/dns_y.sh"),
                     .function = "dns_y"};
    struct ferrule_request q = request(fqdn);
    return hook_call_make(&h, &q, present, str("/scratch"), str("printed"), &call, &error);
}

static void expect(const char *const *have, const char *const *want)
{
    size_t i = 0;
    for (; want[i]; i++)
        assert_string_equal(have[i], want[i]);
    assert_null(have[i]);
}

#define EXPECT(have, ...) expect(have, (const char *const[]){__VA_ARGS__, NULL})

static void test_modes(void **state)
{
    enum hook_mode mode;
    assert_true(hook_mode_read(str(""), &mode) && mode == HOOK_DEFAULT);
    assert_true(hook_mode_read(str("raw"), &mode) && mode == HOOK_RAW);
    assert_true(hook_mode_read(str("RAW"), &mode) && mode == HOOK_RAW);
    assert_true(hook_mode_read(str("Acme.SH"), &mode) && mode == HOOK_ACME_SH);
    assert_false(hook_mode_read(str("RAWX"), &mode));
    assert_false(hook_mode_read(str("ra"), &mode));
}

static void test_words(void **state)
{
    const char *name = "_acme-challenge.example.org.";
    assert_int_equal(make(HOOK_DEFAULT, true, name), FERRULE_OK);
    EXPECT(call.argv, "/bin/hook", "present", name, "va'lue");
    assert_int_equal(make(HOOK_RAW, false, name), FERRULE_OK);
    EXPECT(call.argv, "/bin/hook", "cleanup", "--", "example.org", "token", "token.thumb");
    assert_int_equal(make(HOOK_DEHYDRATED, true, name), FERRULE_OK);
    EXPECT(call.argv, "/bin/hook", "deploy_challenge", "example.org", "token", "va'lue");
    assert_int_equal(make(HOOK_DEHYDRATED, false, name), FERRULE_OK);
    EXPECT(call.argv, "/bin/hook", "clean_challenge", "example.org", "token", "va'lue");
    assert_null(call.env[0]);
}

static void test_certbot(void **state)
{
    assert_int_equal(make(HOOK_CERTBOT, false, "_acme-challenge.a.other.test."), FERRULE_OK);
    EXPECT(call.argv, "/bin/sh", "-c", "clean up");
    EXPECT(call.env, "CERTBOT_DOMAIN=a.other.test", "CERTBOT_IDENTIFIER=a.other.test",
           "CERTBOT_ALL_DOMAINS=a.other.test", "CERTBOT_ALL_IDENTIFIERS=a.other.test",
           "CERTBOT_VALIDATION=va'lue", "CERTBOT_REMAINING_CHALLENGES=0",
           "CERTBOT_AUTH_OUTPUT=printed");
    assert_int_equal(make(HOOK_CERTBOT, true, "_acme-challenge.example.org."), FERRULE_OK);
    assert_string_equal(call.argv[2], "/bin/hook");
    assert_null(call.env[6]);
    assert_int_equal(make(HOOK_CERTBOT, true, "a.other.test."), FERRULE_CONFIG);
    assert_non_null(strstr(error.text, "a.other.test, but"));
    assert_int_equal(make(HOOK_CERTBOT, true, "_acme-challenge."), FERRULE_CONFIG);
}

/* Nothing of a name or a value is in the text that the shell evaluates. */
static void test_acme_sh(void **state)
{
    assert_int_equal(make(HOOK_ACME_SH, true, "$(reboot).example.org."), FERRULE_OK);
    EXPECT(call.argv, "/bin/hook", "eval", ACME_SH_COMMAND);
    EXPECT(call.env, "FERRULE_HOOK_FILE=/x/dns_y.sh", "FERRULE_HOOK_FUNCTION=dns_y_add",
           "FERRULE_HOOK_NAME=$(reboot).example.org", "FERRULE_HOOK_VALUE=va'lue",
           "LE_WORKING_DIR=/scratch", "LE_CONFIG_HOME=/scratch", "DOMAIN_PATH=/scratch");
    assert_int_equal(make(HOOK_ACME_SH, false, "a."), FERRULE_OK);
    assert_string_equal(call.env[1], "FERRULE_HOOK_FUNCTION=dns_y_rm");
}

static void test_limits(void **state)
{
    static char large[HOOK_TEXT_BYTES];
    memset(large, 'x', sizeof large);
    struct hook h = {.mode = HOOK_DEFAULT, .program = {large, sizeof large}};
    struct ferrule_request q = request("a.");
    assert_int_equal(hook_call_make(&h, &q, true, str(""), str(""), &call, &error), FERRULE_CONFIG);
    assert_non_null(strstr(error.text, "too long"));
}

UNIT_TESTS(cmocka_unit_test(test_modes), cmocka_unit_test(test_words),
           cmocka_unit_test(test_certbot), cmocka_unit_test(test_acme_sh),
           cmocka_unit_test(test_limits))
