/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of its corpus, so that they are an ordinary test on every
 * compiler: `replay DIRECTORY|FILE...`. Each file is also cut short at up to 64 places. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FILE_MAX  (1u << 20)
#define CUTS_MAX  64u
#define NAMES_MAX 10000

static unsigned files_run;

/* Runs an exact-size copy, so that a sanitizer sees a read behind the end. */
static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    must(copy);
    if (n)
        memcpy(copy, bytes, n);
    must(LLVMFuzzerTestOneInput(n ? copy : NULL, n) == 0);
    free(copy);
}

static void replay_file(const char *path)
{
    static uint8_t bytes[FILE_MAX];
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    fprintf(stderr, "%s\n", path); /* the last line names the file that fails */
    run(bytes, n);
    size_t step = n / CUTS_MAX + 1;
    for (size_t cut = 0; cut < n; cut += step)
        run(bytes, cut);
    files_run++;
}

static void replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
        replay_file(path);
        return;
    }
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    must(n >= 0 && n < NAMES_MAX);
    for (int i = 0; i < n; i++) {
        char full[4096];
        must(snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name) < (int)sizeof full);
        if (names[i]->d_name[0] != '.')
            replay(full);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    fprintf(stderr, "%u files\n", files_run);
    return files_run ? 0 : 2;
}
