/* SPDX-License-Identifier: Apache-2.0 */
/* Linking is the test: see meson.build beside this file. */
int main(void)
{
    return 0;
}
