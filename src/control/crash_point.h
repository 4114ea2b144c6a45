/* SPDX-License-Identifier: Apache-2.0 */
/* control/crash_point.h - places where a test lets the control process die (meson
 * -Dtest_hooks=true). Thread: control.   Owns: nothing. Never: part of a normal build: there the
 * calls are empty. A test writes "STEP:before", "STEP:after" or "STEP:value" into the file
 * `crash-at` in the state directory; the process that reaches this place removes the file and kills
 * itself with SIGKILL. */
#pragma once

#ifdef FERRULE_TEST_HOOKS
void crash_point_init(const char *state_directory);
/* when: "before" = the step is journalled, nothing is done; "after" = done, the next step is not
 * journalled; "value" = one TXT value is done, its answer is not journalled. */
void crash_point(const char *step, const char *when);
#else
static inline void crash_point_init(const char *state_directory)
{
}
static inline void crash_point(const char *step, const char *when)
{
}
#endif
