/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "config/check.h"

#include <string.h>

int main(int argc, char **argv)
{
    log_init("ferrule", LOG_LEVEL_INFO);
    if (argc > 1 && strcmp(argv[1], "check") == 0)
        return config_check_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "options") == 0)
        return config_options_main(argc - 1, argv + 1);
    return 2;
}
