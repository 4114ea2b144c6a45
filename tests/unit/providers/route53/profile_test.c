/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "route53/profile.c"

#include <sys/stat.h>
#include <unistd.h>

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/ferrule-profile-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct profile read_it(const char *name, bool is_config)
{
    struct profile p = {0};
    assert_true(profile_read(path, name, is_config, &p));
    unlink(path);
    return p;
}

static void test_credentials(void **state)
{
    write_file(
        "# x\n; y\n[other]\naws_access_key_id=no\n[ default ]\r\n aws_access_key_id = nested\n"
        "aws_access_key_id = AKID\r\naws_secret_access_key=a=b+/\nsso_session = s\n[x]\nregion = "
        "r\n");
    struct profile p = read_it("default", false);
    assert_true(p.found && p.other);
    assert_string_equal(p.access_key_id, "AKID");
    assert_string_equal(p.secret_access_key, "a=b+/");
    assert_string_equal(p.region, "");
}

static void test_config(void **state)
{
    write_file("[default]\nregion=d\n[profile "
               "a]\nregion=e\nrole_arn=r\n[profileb]\nregion=f\n[c]\nregion=g\n");
    struct profile p = read_it("a", true);
    assert_true(p.found);
    assert_string_equal(p.region, "e");
    assert_string_equal(p.role_arn, "r");
    write_file("[profileb]\nregion=f\n[c]\nregion=g\n[profile \n");
    p = read_it("c", true);
    assert_false(p.found);
    write_file("[default]\nregion=d\n");
    p = read_it("default", true);
    assert_string_equal(p.region, "d");
}

/* What stands already is not replaced: the credentials file comes before the config file. */
static void test_first_wins(void **state)
{
    struct profile p = {.region = "first"};
    write_file("[default]\nregion=second\n");
    assert_true(profile_read(path, "default", true, &p));
    unlink(path);
    assert_string_equal(p.region, "first");
}

static void test_missing(void **state)
{
    struct profile p = {0};
    assert_true(profile_read("/nonexistent/file", "default", false, &p));
    assert_false(p.found);
    assert_false(profile_read("/", "default", false, &p));
}

UNIT_TESTS(cmocka_unit_test(test_credentials), cmocka_unit_test(test_config),
           cmocka_unit_test(test_first_wins), cmocka_unit_test(test_missing))
