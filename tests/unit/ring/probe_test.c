/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/probe.c"

#include "unit.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Makes one system call fail in this process, for good. */
static void forbid(unsigned call, unsigned sys)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | sys),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
        _exit(9);
}

/* What ring_probe() says in a child where `call` fails with `sys`. */
static struct why refused_in_child(unsigned call, unsigned sys)
{
    struct why why = {""};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        forbid(call, sys);
        struct result r = ring_probe(&why);
        bool as_promised = r.code == ERR_IO_URING && r.sys == (int)sys;
        (void)!write(fds[1], &why, sizeof why);
        _exit(as_promised ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &why, sizeof why), sizeof why);
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return why;
}

static void assert_says(const struct why *why, const char *text)
{
    if (!strstr(why->text, text))
        fail_msg("\"%s\" does not say \"%s\"", why->text, text);
}

static void seccomp_that_answers_eperm_is_named(void **state)
{
    struct why why = refused_in_child(SYS_io_uring_setup, EPERM);
    assert_says(&why, "a seccomp filter forbids it");
    assert_says(&why, "SystemCallFilter=");
    assert_says(&why, "io_uring_setup: Operation not permitted");
}

static void seccomp_that_answers_enosys_is_named(void **state)
{
    struct why why = refused_in_child(SYS_io_uring_setup, ENOSYS);
    assert_says(&why, "a seccomp filter that answers ENOSYS");
    assert_says(&why, "podman");
    assert_says(&why, "io_uring_setup: Function not implemented");
}

static void the_other_two_calls_are_tried(void **state)
{
    struct why why;
    if (!result_is_ok(ring_probe(&why)))
        skip(); /* the machine forbids the first call already */
    why = refused_in_child(SYS_io_uring_enter, EPERM);
    assert_says(&why, "io_uring_enter: Operation not permitted");
    why = refused_in_child(SYS_io_uring_register, EPERM);
    assert_says(&why, "io_uring_register: Operation not permitted");
}

static void each_cause_has_its_remedy(void **state)
{
    static const struct {
        int sys;
        struct probe_facts facts;
        const char *says[3];
    } rows[] = {
        {EPERM, {.sysctl = 2}, {"kernel.io_uring_disabled = 2", "Set it to 0"}},
        {EPERM, {.sysctl = 1}, {"kernel.io_uring_disabled = 1", "kernel.io_uring_group"}},
        {EPERM, {.sysctl = 0, .seccomp = true}, {"seccomp filter", "@aio", "Docker"}},
        {EACCES, {.sysctl = -1}, {"SELinux"}},
        {ENOSYS, {.sysctl = -1, .release = "4.19.0"}, {"4.19.0 has no io_uring", "6.1"}},
        {EINVAL,
         {.release = "6.0.3", .missing_flags = IORING_SETUP_DEFER_TASKRUN},
         {"6.0.3 is too old", "DEFER_TASKRUN (6.1)", "Linux 6.1 or newer"}},
        {EINVAL,
         {.release = "5.15", .missing_flags = PROBE_SETUP_FLAGS},
         {"5.15 is too old", "SINGLE_ISSUER (6.0)"}},
        {ENOMEM, {.memlock = 65536}, {"64 KB", "LimitMEMLOCK"}},
        {EMFILE, {.sysctl = 0}, {"RLIMIT_NOFILE"}},
        {EIO, {.release = "6.1"}, {"kernel 6.1 refuses"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct why why;
        struct result r = probe_explain("io_uring_setup", rows[i].sys, &rows[i].facts, &why);
        assert_int_equal(r.code, ERR_IO_URING);
        assert_int_equal(r.sys, rows[i].sys);
        for (int n = 0; n < 3 && rows[i].says[n]; n++)
            assert_says(&why, rows[i].says[n]);
        assert_says(&why, strerror(rows[i].sys)); /* the end was not cut off */
    }
}

static void flags_are_peeled_until_a_set_up_succeeds(void **state)
{
    struct why why;
    if (!result_is_ok(ring_probe(&why)))
        skip();
    /* This kernel knows them all, so the first, needlessly left out, is enough. */
    assert_int_equal(probe_missing_flags(), IORING_SETUP_DEFER_TASKRUN);
}

UNIT_TESTS(cmocka_unit_test(seccomp_that_answers_eperm_is_named),
           cmocka_unit_test(seccomp_that_answers_enosys_is_named),
           cmocka_unit_test(the_other_two_calls_are_tried),
           cmocka_unit_test(each_cause_has_its_remedy),
           cmocka_unit_test(flags_are_peeled_until_a_set_up_succeeds))
