/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

int main(void)
{
    log_init("ferrule", LOG_LEVEL_INFO);
    return 2;
}
