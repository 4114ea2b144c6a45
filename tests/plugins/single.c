/* SPDX-License-Identifier: Apache-2.0 */
/* The provider httpreq as it would be for a service whose names hold one value. */
#define ferrule_provider_v1 several_values
#include "../../providers/httpreq/httpreq.c"
#undef ferrule_provider_v1

FERRULE_EXPORT struct ferrule_provider ferrule_provider_v1;

__attribute__((constructor)) static void make(void)
{
    ferrule_provider_v1 = several_values;
    ferrule_provider_v1.code = "single";
    ferrule_provider_v1.flags |= FERRULE_SINGLE_VALUE;
}
