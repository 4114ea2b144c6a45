/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/trial.h - goes through all that an order does at a DNS provider, without a CA.
 * Thread: main of a process of its own.   Owns: its loop, host and child, within the call.
 * Never: leaves the value it made behind, as far as the provider lets it; prints a secret. */
#pragma once

#include "config/config.h"

/* Prints each step to standard output. resolver (may be NULL) gives the provider's variables and
 * the DNS resolvers. Returns the exit code. */
int trial_run(const struct config *config, const struct config_resolver *resolver, const char *code,
              const char *domain);
