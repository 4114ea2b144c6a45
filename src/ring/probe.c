/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/probe.h"

#include "ring/bufring.h"
#include "ring/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Reads the start of a small file as text; false when there is none. */
static bool read_text(const char *path, char *text, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, cap - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

static struct probe_facts probe_gather(struct utsname *uts, unsigned missing_flags)
{
    struct probe_facts f = {.sysctl = -1, .release = "unknown", .missing_flags = missing_flags};
    char text[4096];
    if (read_text("/proc/sys/kernel/io_uring_disabled", text, sizeof text))
        f.sysctl = (int)strtol(text, NULL, 10);
    if (read_text("/proc/self/status", text, sizeof text)) {
        const char *line = strstr(text, "\nSeccomp:");
        f.seccomp = line && strtol(line + 9, NULL, 10) == 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        f.memlock = (unsigned long)limit.rlim_cur;
    if (uname(uts) == 0)
        f.release = uts->release;
    return f;
}

#define SECCOMP_REMEDY                                                                             \
    "In a container use a profile that allows io_uring_setup, io_uring_enter and "                 \
    "io_uring_register (the default profiles of Docker, containerd and podman do not); in a "      \
    "systemd unit add them to SystemCallFilter= (@aio)"

static struct result explain_permission(const char *call, int sys, const struct probe_facts *f,
                                        struct why *why)
{
    if (f->sysctl == 2)
        return why_fail_sys(why, ERR_IO_URING, sys,
                            "io_uring is switched off for everybody by sysctl "
                            "kernel.io_uring_disabled = 2. Set it to 0 (sysctl -w "
                            "kernel.io_uring_disabled=0). %s",
                            call);
    if (f->sysctl == 1)
        return why_fail_sys(why, ERR_IO_URING, sys,
                            "io_uring is restricted by sysctl kernel.io_uring_disabled = 1. Set it "
                            "to 0, or put ferrule's group id into sysctl kernel.io_uring_group, or "
                            "give it CAP_SYS_ADMIN. %s",
                            call);
    return why_fail_sys(why, ERR_IO_URING, sys,
                        "io_uring is refused although sysctl kernel.io_uring_disabled allows it: "
                        "%s. " SECCOMP_REMEDY ". %s",
                        f->seccomp
                            ? "a seccomp filter forbids it"
                            : "a security module (SELinux class io_uring) or sandbox forbids "
                              "it, no seccomp filter is seen",
                        call);
}

struct result probe_explain(const char *call, int sys, const struct probe_facts *f, struct why *why)
{
    switch (sys) {
    case EPERM:
    case EACCES:
        return explain_permission(call, sys, f, why);
    case ENOSYS:
        if (f->seccomp)
            return why_fail_sys(why, ERR_IO_URING, sys,
                                "a seccomp filter that answers ENOSYS hides io_uring, or kernel %s "
                                "is built without it. " SECCOMP_REMEDY ". %s",
                                f->release, call);
        return why_fail_sys(why, ERR_IO_URING, sys,
                            "kernel %s has no io_uring (older than 5.1, built without "
                            "CONFIG_IO_URING, or emulated as by gVisor). ferrule needs Linux 6.1 "
                            "or newer. %s",
                            f->release, call);
    case EINVAL:
        return why_fail_sys(why, ERR_IO_URING, sys,
                            "kernel %s is too old: its io_uring lacks %s. ferrule needs Linux 6.1 "
                            "or newer. %s",
                            f->release,
                            f->missing_flags & IORING_SETUP_SINGLE_ISSUER   ? "SINGLE_ISSUER (6.0)"
                            : f->missing_flags & IORING_SETUP_DEFER_TASKRUN ? "DEFER_TASKRUN (6.1)"
                                                                            : "a needed feature",
                            call);
    case ENOMEM:
        return why_fail_sys(why, ERR_IO_URING, sys,
                            "no memory for the ring: the limit on locked memory is %lu KB. Raise "
                            "RLIMIT_MEMLOCK (LimitMEMLOCK= in a systemd unit) or the memory limit "
                            "of the control group, or lower workers.connections. %s",
                            f->memlock / 1024, call);
    case EMFILE:
    case ENFILE:
        return why_fail_sys(why, ERR_IO_URING, sys,
                            "no file descriptor left for the ring. Raise RLIMIT_NOFILE "
                            "(LimitNOFILE= in a systemd unit). %s",
                            call);
    default:
        return why_fail_sys(why, ERR_IO_URING, sys, "kernel %s refuses io_uring. %s", f->release,
                            call);
    }
}

struct result probe_refused(const char *call, int sys, unsigned missing_flags, struct why *why)
{
    struct utsname uts;
    struct probe_facts facts = probe_gather(&uts, missing_flags);
    return probe_explain(call, sys, &facts, why);
}

/* Which flags the kernel does not know: leaves them out one after the other, newest first, until
 * a set-up succeeds. Only called after EINVAL. */
static unsigned probe_missing_flags(void)
{
    static const unsigned newest_first[] = {
        IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL,
    };
    unsigned missing = 0;
    for (size_t i = 0; i < sizeof newest_first / sizeof *newest_first; i++) {
        missing |= newest_first[i];
        struct io_uring_params p = {.flags = PROBE_SETUP_FLAGS & ~missing, .cq_entries = 16};
        if (!(missing & IORING_SETUP_TASKRUN_FLAG) && (missing & IORING_SETUP_DEFER_TASKRUN))
            p.flags |= IORING_SETUP_COOP_TASKRUN; /* TASKRUN_FLAG needs one of the two */
        int fd = io_uring_setup(8, &p);
        if (fd >= 0) {
            close(fd);
            return missing;
        }
    }
    return missing;
}

struct result probe_setup(struct io_uring *uring, unsigned sq_entries, unsigned cq_entries,
                          struct why *why)
{
    struct io_uring_params p = {.flags = PROBE_SETUP_FLAGS, .cq_entries = cq_entries};
    int r = io_uring_queue_init_params(sq_entries, uring, &p);
    if (r < 0)
        return probe_refused("io_uring_setup", -r, r == -EINVAL ? probe_missing_flags() : 0, why);
    if (!(p.features & IORING_FEAT_EXT_ARG)) {
        io_uring_queue_exit(uring);
        return probe_refused("io_uring_setup", EINVAL, 0, why);
    }
    return result_ok();
}

/* A no-op through the ring shows that io_uring_enter and io_uring_register are allowed too. */
static struct result probe_round_trip(struct io_uring *uring, struct why *why)
{
    struct bufring group;
    struct result r = bufring_init(&group, uring, 0, 0, 8, 0, 4096);
    if (!result_is_ok(r))
        return probe_refused("io_uring_register", r.sys, 0, why);
    struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
    io_uring_prep_nop(sqe);
    int n = io_uring_submit_and_wait(uring, 1);
    bufring_fini(&group, uring);
    return n < 0 ? probe_refused("io_uring_enter", -n, 0, why) : result_ok();
}

struct result ring_probe(struct why *why)
{
    struct io_uring uring;
    TRY(probe_setup(&uring, 8, 16, why));
    struct result r = probe_round_trip(&uring, why);
    io_uring_queue_exit(&uring);
    return r;
}
