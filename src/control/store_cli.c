/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store_cli.h"

#include "control/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(void)
{
    fputs(
        "usage: ferrule store copy FROM TO\n\n"
        "Copies accounts and certificates. A path that ends in .json is a file in Traefik's form, "
        "any\nother a directory. What TO has already stays as it is. Run it as the user that "
        "ferrule runs\nas, while no ferrule uses either.\n",
        stderr);
    return 2;
}

/* Opening a place where none is would make one there. */
static struct result check_source(const char *path, struct why *why)
{
    size_t len = strlen(path);
    bool is_file = len >= 5 && strcmp(path + len - 5, ".json") == 0;
    char *content = is_file ? mem_strdup(path) : mem_printf("%s/data.mdb", path);
    bool there = access(content, F_OK) == 0;
    free(content);
    return there ? result_ok()
                 : why_fail(why, ERR_NOT_FOUND,
                            is_file ? "there is no %s" : "there is no store in %s", path);
}

/* A file that somebody else is just writing may be empty for a moment. */
static struct result check_content(struct store *from, const char *path, struct why *why)
{
    return store_cert_count(from) || store_account_name(from, 0)
               ? result_ok()
               : why_fail(why, ERR_NOT_FOUND, "there is nothing in %s", path);
}

static int copy(const char *from_path, const char *to_path)
{
    struct store *from = NULL, *to = NULL;
    struct store_copied copied = {0};
    struct why why = {""};
    struct result r = check_source(from_path, &why);
    if (result_is_ok(r))
        r = store_open(from_path, &from, &why);
    if (result_is_ok(r))
        r = check_content(from, from_path, &why);
    if (result_is_ok(r))
        r = store_open(to_path, &to, &why);
    if (result_is_ok(r))
        r = store_copy(from, to, &copied, &why);
    if (result_is_ok(r))
        printf("%s: %u accounts and %u certificates were copied from %s\n", to_path,
               copied.accounts, copied.certs, from_path);
    else
        fprintf(stderr, "ferrule: %s%s\n", why.text,
                r.code == ERR_PERMISSION && geteuid() == 0
                    ? " (or run this as the user that ferrule runs as)"
                    : "");
    if (copied.left_out)
        fprintf(stderr, "ferrule: %u accounts or certificates cannot be read and were left out\n",
                copied.left_out);
    store_close(from);
    store_close(to);
    return result_is_ok(r) && !copied.left_out ? 0 : 1;
}

int store_cli(int argc, char **argv)
{
    if (argc != 4 || strcmp(argv[1], "copy") != 0 || argv[2][0] == '-' || argv[3][0] == '-')
        return usage();
    return copy(argv[2], argv[3]);
}
