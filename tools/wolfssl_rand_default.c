/* SPDX-License-Identifier: Apache-2.0 */
/* The random source of a program that links wolfSSL and brings none of its own.
 *
 * The private wolfSSL asks ferrule_rand_block() for every random byte, because its own generator
 * costs 13 % of a handshake. tools/deps adds this file to libwolfssl.a: the symbol is weak and in
 * an archive, so a program's own definition always wins, and a unit test or a tool that has none
 * still links.
 *
 * Returns 0, or a negative number when the kernel gives no random bytes. */
#include <sys/random.h>
#include <errno.h>
#include <stddef.h>

__attribute__((weak)) int ferrule_rand_block(unsigned char *output, unsigned int size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = getrandom(output + done, size - done, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        done += (size_t)got;
    }
    return 0;
}
