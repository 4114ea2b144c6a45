/* SPDX-License-Identifier: Apache-2.0 */
/* control/metrics.h - everything that is counted, in Prometheus's text form: Traefik's names, and
 * ferrule's own with ferrule_ in front.
 * Thread: control.   Owns: nothing.
 * Never: names what the present configuration does not have. */
#pragma once

#include "control/admin_answer.h"

/* Appends the whole text. */
void metrics_print(const struct admin_view *view, struct buf *out);
