/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a client of a CA trusts, and how its answers' headers are read; real answers are in the
 * end-to-end tests. */
#include "control/acme/http_client.c"

#include "unit.h"

#include <unistd.h>

static char path[] = "/tmp/ferrule-roots-XXXXXX";

static const char pem[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

static int set_up(void **state)
{
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, pem, sizeof pem - 1), sizeof pem - 1);
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    return unlink(path);
}

static struct http_client *make(const struct http_client_options *o, struct why *why)
{
    struct loop *loop = NULL;
    struct http_client *client = NULL;
    assert_true(result_is_ok(loop_create(&loop, why)));
    if (!result_is_ok(http_client_create(loop, o, &client, why)))
        loop_destroy(loop);
    return client;
}

static void destroy(struct http_client *client)
{
    struct loop *loop = client->loop;
    http_client_destroy(client);
    loop_destroy(loop);
}

static void trusts_files_alone_or_the_system_too(void **state)
{
    const char *files[] = {path};
    struct why why;
    struct http_client_options o = {.ca_files = files, .ca_file_count = 1};
    struct http_client *client = make(&o, &why);
    assert_int_equal(client->roots.len, sizeof pem); /* and a line end */
    destroy(client);
    o.system_pool = true;
    client = make(&o, &why);
    assert_true(client->roots.len > 10 * sizeof pem);
    assert_memory_equal(client->roots.ptr, pem, sizeof pem - 1);
    destroy(client);
    files[0] = pem; /* a text in the configuration */
    o.system_pool = false;
    client = make(&o, &why);
    assert_int_equal(client->roots.len, sizeof pem);
    assert_memory_equal(client->roots.ptr, pem, sizeof pem - 1);
    destroy(client);
    client = make(&(struct http_client_options){0}, &why); /* the library's own */
    assert_int_equal(client->roots.len, 0);
    destroy(client);
}

static void names_a_bad_file(void **state)
{
    const char *files[] = {"/nowhere/at/all.pem"};
    struct why why;
    struct http_client_options o = {.ca_files = files, .ca_file_count = 1};
    assert_null(make(&o, &why));
    assert_non_null(strstr(why.text, files[0]));
    files[0] = "/dev/null";
    assert_null(make(&o, &why));
    assert_non_null(strstr(why.text, "no PEM certificate in /dev/null"));
}

static void keeps_links_to_other_chains_only(void **state)
{
    struct http_call call = {0};
    keep_links(&call,
               SPAN_LITERAL("<https://ca/dir>;rel=\"index\", <https://ca/c/1>;rel=\"alternate\""));
    keep_links(&call, SPAN_LITERAL("<https://ca/c/2>; rel=alternate"));
    keep_links(&call, SPAN_LITERAL("<unfinished"));
    assert_int_equal(call.alternate_count, 2);
    assert_string_equal(call.alternates[0], "https://ca/c/1");
    assert_string_equal(call.alternates[1], "https://ca/c/2");
    forget_headers(&call);
}

UNIT_TESTS(cmocka_unit_test_setup_teardown(trusts_files_alone_or_the_system_too, set_up, tear_down),
           cmocka_unit_test(names_a_bad_file), cmocka_unit_test(keeps_links_to_other_chains_only))
