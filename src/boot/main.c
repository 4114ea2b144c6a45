/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "boot/cmdline.h"
#include "boot/supervisor.h"
#include "boot/upgrade.h"
#include "config/check.h"
#include "control/cli.h"
#include "control/provider/host.h"
#include "control/provider/provider_cli.h"
#include "control/store_cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* Every command; those without help are what ferrule starts itself as. Exit codes: 0 good, 1 the
 * thing asked about is bad, 2 wrong usage. */
static const struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
    const char *help;
} commands[] = {
    {"run", supervisor_main, "start serving"},
    {"check", config_check_main, "say what is wrong with a configuration"},
    {"status", cli_status, "say how a running ferrule is"},
    {"reload", cli_reload, "have a running ferrule load its configuration again"},
    {"upgrade", cli_upgrade,
     "replace a running ferrule by the installed program: no connection is lost"},
    {"stop", cli_stop, "end a running ferrule: no request is cut off"},
    {"cert", cli_cert, "list, show, explain, plan, renew, revoke, import or export certificates"},
    {"account", cli_account, "give an account at a CA another key"},
    {"store", store_cli, "copy accounts and certificates from one storage to another"},
    {"options", config_options_main, "list every option"},
    {"provider", provider_cli, "list, show or test DNS provider plug-ins"},
    {"upgrade-check", upgrade_check_main, NULL},
    {"data-run", cmdline_data_main, NULL},
    {"control-run", cmdline_control_main, NULL},
    {"provider-run", provider_run, NULL},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out)
{
    fputs("usage: ferrule COMMAND [-c FILE] [--path.to.option=value ...]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].help)
            fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nWithout -c and options, %s is read. COMMAND --help says more.\n",
            CONFIG_DEFAULT_FILE);
}

/* Internal commands are started by way of /proc/self/exe, and ps would show "exe". */
static void name_process(const char *command)
{
    char name[16]; /* all that the kernel keeps */
    snprintf(name, sizeof name, "ferrule-%.*s", (int)strcspn(command, "-"), command);
    prctl(PR_SET_NAME, name);
}

int main(int argc, char **argv)
{
    log_init("ferrule", LOG_LEVEL_INFO);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            if (!commands[i].help)
                name_process(argv[1]);
            return commands[i].run(argc - 1, argv + 1);
        }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        puts("ferrule " FERRULE_VERSION);
        return 0;
    }
    fprintf(stderr, "ferrule: there is no command \"%s\"\n\n", argv[1]);
    print_help(stderr);
    return 2;
}
