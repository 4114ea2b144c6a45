/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME         "_acme-challenge.demo." KIT_ZONE
#define VALUE        "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
#define OTHER        "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
#define FOREIGN      "foreign-value-that-must-survive"
#define CALL_NS      (60 * (int64_t)NS_PER_S)
#define FAULT_AT_MAX 12 /* service calls of one operation that are made to fail */
#define LATE_MAX     3  /* service calls after the deadline that are forgiven */

enum operation { PRESENT = 0, CLEANUP, PROBE };
static const char *const operation_names[] = {"present", "cleanup", "probe"};

/* What must be the same before and after a call. */
struct surroundings {
    unsigned descriptors, threads;
    mode_t mask;
    char folder[4096];
    uint64_t environment;
};

struct outcome {
    int32_t status;
    struct ferrule_error error;
    struct buf state;
};

static struct {
    struct kit *k;
    FILE *out;
    int output_fd; /* what the plug-in has for standard output */
    void *instance;
    char problem[1024]; /* the first one of the running case */
    unsigned passed, failed;
} run;

static void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *fmt, ...)
{
    if (run.problem[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(run.problem, sizeof run.problem, fmt, ap);
    va_end(ap);
}

/* --- what a call may not do
 * ---------------------------------------------------------------------------- */

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        count++;
    if (d)
        closedir(d);
    return count;
}

static struct surroundings look_around(void)
{
    struct surroundings s = {0};
    s.descriptors = count_entries("/proc/self/fd");
    s.threads = count_entries("/proc/self/task");
    s.mask = umask(0);
    umask(s.mask);
    if (!getcwd(s.folder, sizeof s.folder))
        s.folder[0] = 0;
    s.environment = 14695981039346656037ull;
    for (char **e = environ; *e; e++)
        for (const char *c = *e; *c; c++)
            s.environment = (s.environment ^ (unsigned char)*c) * 1099511628211ull;
    return s;
}

static void compare_surroundings(const struct surroundings *a, const char *what)
{
    struct surroundings b = look_around();
    if (a->descriptors != b.descriptors)
        complain("%s left %d descriptors open", what, (int)(b.descriptors - a->descriptors));
    if (a->threads != b.threads)
        complain("%s started a thread", what);
    if (a->mask != b.mask)
        complain("%s changed the umask", what);
    if (strcmp(a->folder, b.folder) != 0)
        complain("%s changed the working directory", what);
    if (a->environment != b.environment)
        complain("%s changed the environment", what);
    fflush(stdout);
    if (lseek(run.output_fd, 0, SEEK_END) > 0)
        complain("%s wrote to standard output", what);
    if (ftruncate(run.output_fd, 0) == 0)
        lseek(run.output_fd, 0, SEEK_SET);
}

static bool holds_secret(const void *bytes, size_t len)
{
    for (uint32_t i = 0; len && i < run.k->redact.count; i++)
        if (memmem(bytes, len, run.k->redact.values[i].ptr, run.k->redact.values[i].len))
            return true;
    return false;
}

static void check_outcome(const struct outcome *o, const char *what)
{
    if (o->status < FERRULE_OK || o->status > FERRULE_GONE)
        complain("%s returned %d, which is no status", what, o->status);
    if (!memchr(o->error.text, 0, sizeof o->error.text))
        complain("%s left an error text without an end", what);
    else if (o->status != FERRULE_OK && !o->error.text[0])
        complain("%s failed (status %d) without an error text", what, o->status);
    if (holds_secret(o->error.text, sizeof o->error.text))
        complain("%s wrote a secret into its error text", what);
    if (holds_secret(o->state.ptr, o->state.len))
        complain("%s wrote a secret into its state", what);
    if (holds_secret(run.k->log, sizeof run.k->log))
        complain("%s wrote a secret into the log", what);
    if (run.k->late_calls > LATE_MAX)
        complain("%s went on after its deadline (%u more calls of services)", what,
                 run.k->late_calls);
}

/* --- calls
 * ------------------------------------------------------------------------------------------------
 */

static struct ferrule_str str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

static struct outcome call_at(enum operation operation, const char *name, const char *value,
                              struct span state)
{
    struct kit *k = run.k;
    struct ferrule_request q = {.size = sizeof q, .ttl_s = 120, .operation_id = 1};
    q.fqdn = q.challenge_fqdn = str(name);
    q.zone = str(KIT_ZONE);
    q.label = (struct ferrule_str){name, strlen(name) - strlen(KIT_ZONE) - 1};
    q.value = str(value);
    q.domain = str("demo.example.test");
    q.token = str("token");
    q.key_auth = str("token.thumbprint");
    q.deadline_ns = kit_now_ns(k) + CALL_NS;
    k->request = &q;
    k->calls = k->late_calls = 0;
    k->fault_happened = false;
    k->log[0] = 0;
    struct outcome o = {.error.size = sizeof o.error};
    struct ferrule_buf out = {.bytes_max = FERRULE_STATE_MAX};
    list_init(&out.node);
    struct surroundings before = look_around();
    services_begin(&k->services, q.deadline_ns);
    const struct ferrule_provider *p = k->provider;
    struct ferrule_str in = {(const char *)state.ptr, state.len};
    if (operation == PRESENT)
        o.status = p->present(run.instance, &q, &out, &o.error);
    else if (operation == CLEANUP)
        o.status = p->cleanup(run.instance, &q, in, &o.error);
    else
        o.status = p->probe(run.instance, &q, &o.error);
    services_end(&k->services);
    compare_surroundings(&before, operation_names[operation]);
    o.state = out.data;
    check_outcome(&o, operation_names[operation]);
    k->request = NULL;
    return o;
}

static struct outcome call(enum operation operation, const char *value, struct span state)
{
    return call_at(operation, NAME, value, state);
}

/* A call that must succeed; returns its state. */
static struct buf must_succeed(enum operation operation, const char *value, struct span state)
{
    struct outcome o = call(operation, value, state);
    if (o.status != FERRULE_OK)
        complain("%s failed (status %d): %s", operation_names[operation], o.status, o.error.text);
    return o.state;
}

static void must_hold(const char *value, unsigned expected, const char *when)
{
    unsigned count = world_count(run.k, NAME, value);
    if (count != expected)
        complain("%s the value is there %u times, not %u", when, count, expected);
    if (world_foreign(run.k) != 1)
        complain("%s another value at the name is gone", when);
}

static void open_instance(void)
{
    struct ferrule_error error = {.size = sizeof error};
    struct surroundings before = look_around();
    services_begin(&run.k->services, kit_now_ns(run.k) + CALL_NS);
    int32_t status = run.k->provider->open(&run.k->services.host, &run.instance, &error);
    services_end(&run.k->services);
    compare_surroundings(&before, "open");
    if (status != FERRULE_OK)
        complain("open failed (status %d): %s", status, error.text);
}

static void close_instance(void)
{
    struct surroundings before = look_around();
    run.k->provider->close(run.instance);
    compare_surroundings(&before, "close");
}

/* --- cases
 * -----------------------------------------------------------------------------------------------------
 */

static void present_makes_the_value(void)
{
    struct buf state = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    must_hold(VALUE, 1, "after present");
    buf_free(&state);
}

static void present_twice_makes_it_once(void)
{
    struct buf a = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    struct buf b = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    must_hold(VALUE, 1, "after the second present");
    struct buf c = must_succeed(CLEANUP, VALUE, buf_span(&b));
    must_hold(VALUE, 0, "after cleanup with the second state");
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
}

static void cleanup_twice(void)
{
    struct buf state = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    for (int i = 0; i < 2; i++) {
        struct buf none = must_succeed(CLEANUP, VALUE, buf_span(&state));
        must_hold(VALUE, 0, i ? "after the second cleanup" : "after cleanup");
        buf_free(&none);
    }
    buf_free(&state);
}

static void cleanup_of_nothing(void)
{
    struct buf none = must_succeed(CLEANUP, VALUE, span_of(NULL, 0));
    must_hold(VALUE, 0, "after cleanup of nothing");
    buf_free(&none);
}

static void cleanup_with(struct span state, const char *when)
{
    struct buf made = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    struct buf none = must_succeed(CLEANUP, VALUE, state);
    must_hold(VALUE, 0, when);
    buf_free(&made);
    buf_free(&none);
}

static void cleanup_with_lost_state(void)
{
    cleanup_with(span_of(NULL, 0), "after cleanup without state");
}

static void cleanup_with_damaged_state(void)
{
    static const uint8_t junk[] = "\xff\x00../../junk\n\x01";
    cleanup_with(span_of(junk, sizeof junk), "after cleanup with damaged state");
}

static void cleanup_after_restart(void)
{
    struct buf state = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    close_instance();
    open_instance();
    struct buf none = must_succeed(CLEANUP, VALUE, buf_span(&state));
    must_hold(VALUE, 0, "after a restart and cleanup");
    buf_free(&state);
    buf_free(&none);
}

static void two_values_at_one_name(void)
{
    struct buf a = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    struct buf b = must_succeed(PRESENT, OTHER, span_of(NULL, 0));
    must_hold(VALUE, 1, "with two values at the name");
    must_hold(OTHER, 1, "with two values at the name");
    struct buf none = must_succeed(CLEANUP, VALUE, buf_span(&a));
    must_hold(VALUE, 0, "after its cleanup");
    must_hold(OTHER, 1, "after the cleanup of the other");
    buf_free(&none);
    none = must_succeed(CLEANUP, OTHER, buf_span(&b));
    must_hold(OTHER, 0, "after its cleanup");
    buf_free(&a);
    buf_free(&b);
    buf_free(&none);
}

static void probe_changes_nothing(void)
{
    struct buf none = must_succeed(PROBE, VALUE, span_of(NULL, 0));
    must_hold(VALUE, 0, "after probe");
    buf_free(&none);
}

/* --- faults
 * ---------------------------------------------------------------------------------------------------
 */

#define ALLOW(status) (1u << (status))

/* What may be returned when one service call shows the fault. FERRULE_OK always may, when it is
 * true. */
static const struct {
    const char *name;
    unsigned worlds; /* 1 << enum kit_world */
    unsigned statuses;
} faults[FAULT_COUNT] = {
    [FAULT_SILENT] = {"no answer", 3, ALLOW(FERRULE_TIMEOUT) | ALLOW(FERRULE_RETRY)},
    [FAULT_LOST] = {"answer lost", 3, ALLOW(FERRULE_TIMEOUT) | ALLOW(FERRULE_RETRY)},
    [FAULT_DEADLINE] = {"time over", 3, ALLOW(FERRULE_TIMEOUT) | ALLOW(FERRULE_RETRY)},
    [FAULT_BROKEN] = {"connection refused", 3, ALLOW(FERRULE_TIMEOUT) | ALLOW(FERRULE_RETRY)},
    [FAULT_GARBAGE] = {"answer cut", 3, ALLOW(FERRULE_RETRY) | ALLOW(FERRULE_FAILED)},
    [FAULT_EMPTY] = {"answer empty", 3,
                     ALLOW(FERRULE_RETRY) | ALLOW(FERRULE_FAILED) | ALLOW(FERRULE_ZONE)},
    [FAULT_TRUNCATED] = {"answer truncated", 1, ALLOW(FERRULE_OK)},
    [FAULT_REFUSED] = {"refused", 3,
                       ALLOW(FERRULE_AUTH) | ALLOW(FERRULE_DENIED) | ALLOW(FERRULE_ZONE)},
    [FAULT_SERVFAIL] = {"server error", 3, ALLOW(FERRULE_RETRY) | ALLOW(FERRULE_RATE)},
    [FAULT_AUTH] = {"not authorised", 3,
                    ALLOW(FERRULE_AUTH) | ALLOW(FERRULE_DENIED) | ALLOW(FERRULE_ZONE)},
    [FAULT_RATE] = {"too many requests", 2, ALLOW(FERRULE_RATE)},
};

static void check_fault_outcome(enum kit_fault fault, enum operation operation,
                                const struct outcome *o)
{
    unsigned expected = operation == PRESENT;
    if (o->status == FERRULE_OK) {
        must_hold(VALUE, expected, "after a success in spite of the fault");
        return;
    }
    if (!(faults[fault].statuses & ALLOW((unsigned)o->status)))
        complain("status %d does not fit the fault (text: %s)", o->status, o->error.text);
    if (fault == FAULT_RATE && o->status == FERRULE_RATE && o->error.retry_after_ms < 7000)
        complain("Retry-After: 7 is not passed on (retry_after_ms %u)", o->error.retry_after_ms);
    if (world_count(run.k, NAME, VALUE) > 1)
        complain("the value was made twice");
    if (world_foreign(run.k) != 1)
        complain("another value at the name is gone");
}

/* One operation with its at-th service call going wrong, and then again without. Returns false when
 * the operation has fewer calls. */
static bool with_fault(enum kit_fault fault, enum operation operation, unsigned at)
{
    struct kit *k = run.k;
    struct buf state = {0};
    if (operation == CLEANUP)
        state = must_succeed(PRESENT, VALUE, span_of(NULL, 0));
    k->fault = fault;
    k->fault_at = at;
    struct outcome o = call(operation, VALUE, buf_span(&state));
    bool happened = k->fault_happened;
    k->fault = FAULT_NONE;
    if (happened)
        check_fault_outcome(fault, operation, &o);
    buf_free(&o.state);
    struct buf again = must_succeed(operation, VALUE, buf_span(&state));
    must_hold(VALUE, operation == PRESENT, "after the fault is gone");
    struct span last = operation == PRESENT ? buf_span(&again) : buf_span(&state);
    struct buf none = must_succeed(CLEANUP, VALUE, last);
    must_hold(VALUE, 0, "after the last cleanup");
    buf_free(&state);
    buf_free(&again);
    buf_free(&none);
    return happened;
}

/* --- the run
 * ---------------------------------------------------------------------------------------------------
 */

static void begin_case(void)
{
    run.problem[0] = 0;
    run.k->skew_ns = 0;
    run.k->fault = FAULT_NONE;
    world_reset(run.k);
    world_add_foreign(run.k, NAME, FOREIGN);
    open_instance();
}

static void end_case(const char *name)
{
    if (run.instance)
        close_instance();
    run.instance = NULL;
    services_fini(&run.k->services); /* as in a fresh child: no cache is left */
    bool good = !run.problem[0];
    run.passed += good;
    run.failed += !good;
    fprintf(run.out, "%-4s %s%s%s\n", good ? "ok" : "FAIL", name, good ? "" : ": ", run.problem);
    fflush(run.out);
}

static void run_case(const char *name, void (*body)(void))
{
    begin_case();
    if (run.instance && body)
        body();
    end_case(name);
}

static void run_faults(enum operation operation)
{
    for (unsigned f = FAULT_NONE + 1; f < FAULT_COUNT; f++) {
        if (!(faults[f].worlds & 1u << run.k->world))
            continue;
        for (unsigned at = 1; at <= FAULT_AT_MAX; at++) {
            char name[128];
            snprintf(name, sizeof name, "%s, %s at service call %u", operation_names[operation],
                     faults[f].name, at);
            begin_case();
            bool happened = run.instance && with_fault((enum kit_fault)f, operation, at);
            if (!happened && !run.problem[0]) {
                close_instance();
                run.instance = NULL;
                services_fini(&run.k->services);
                break;
            }
            end_case(name);
        }
    }
}

unsigned cases_run(struct kit *k, FILE *out)
{
    run.k = k;
    run.out = out;
    run.output_fd = memfd_create("output", MFD_CLOEXEC);
    dup2(run.output_fd, STDOUT_FILENO);
    uint32_t flags = k->provider->flags;
    run_case("open and close", NULL);
    if (run.failed)
        return run.failed;
    run_case("present makes the value", present_makes_the_value);
    run_case("cleanup of nothing", cleanup_of_nothing);
    if (FERRULE_HAS(k->provider, probe) && k->provider->probe)
        run_case("probe changes nothing", probe_changes_nothing);
    if (!(flags & FERRULE_NO_CLEANUP)) {
        run_case("present twice makes it once", present_twice_makes_it_once);
        run_case("cleanup twice", cleanup_twice);
        run_case("cleanup with lost state", cleanup_with_lost_state);
        run_case("cleanup with damaged state", cleanup_with_damaged_state);
        run_case("cleanup after a restart", cleanup_after_restart);
        if (!(flags & FERRULE_SINGLE_VALUE))
            run_case("two values at one name", two_values_at_one_name);
        run_faults(CLEANUP);
        run_faults(PRESENT);
    }
    fprintf(out, "%u passed, %u failed\n", run.passed, run.failed);
    return run.failed;
}
