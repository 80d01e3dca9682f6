/* What the runner must find, each in a process of its own, with the words that it must say. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/runner/cases.h"
#include "tests/runner/control.h"

#if defined(__SANITIZE_ADDRESS__)
enum { ASAN = 1, TSAN = 0 };
#elif defined(__SANITIZE_THREAD__)
enum { ASAN = 0, TSAN = 1 };
#else
enum { ASAN = 0, TSAN = 0 };
#endif

enum { SAID = 1 << 18 };
static char said[SAID];

/* Runs a case of the program runner_cases; true if it ended badly. What it said is in `said`. A program of
 * its own, because ThreadSanitizer sees nothing in the child of a process that has threads. */
static int ends_badly(const char *name) {
    int pipes[2], status = 0;
    cr_assert_eq(pipe(pipes), 0);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        execl(RUNNER_CASES, RUNNER_CASES, name, (char *)NULL);
        _exit(0);
    }
    close(pipes[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(pipes[0], said + n, SAID - 1 - n)) > 0; n += (size_t)got) continue;
    said[n] = '\0';
    close(pipes[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void is_found(const char *name, const char *const *words) {
    const int bad = ends_badly(name);
    for (int i = 0; words[i]; i++) {
        cr_assert(strstr(said, words[i]) != NULL, "%s: no \"%s\" in:\n%.2000s", name, words[i], said);
    }
    cr_assert(bad, "%s ended well:\n%.2000s", name, said);
}

#define FOUND(name, ...) \
    Test(wrong, name) { is_found("wrong_" #name, (const char *const[]){__VA_ARGS__, NULL}); }
/* Only where a build of this kind can see it. */
#define FOUND_IF(where, name, ...)                                                     \
    Test(wrong, name) {                                                                \
        if (where) is_found("wrong_" #name, (const char *const[]){__VA_ARGS__, NULL}); \
    }
#define RACE(name)                                                                                        \
    Test(race, name) {                                                                                    \
        if (TSAN)                                                                                         \
            is_found("race_" #name, (const char *const[]){"ThreadSanitizer: data race", "cases_", NULL}); \
    }

FOUND(deadlock, "kernel deadlock launched at", "cases_wrong.cu", "deadlock: every thread waits",
      "waits for lanes of its warp")
FOUND(divergent_barrier, "divergent barrier: other threads of the block wait at", "cases_wrong.cu")
FOUND(lane_outside_its_mask, "is not in its own mask 0000ffff")
FOUND(exited_lane, "exited")
FOUND(warp_mismatch, "deadlock")
FOUND(endless_spin, "endless: every thread that can run only spins")
FOUND(endless_block_spin, "endless: every thread that can run only spins")
FOUND(endless_while, "a conditional WHILE node has run 100000 times")
FOUND(alignment, "cp.async from global memory of an address that is not a multiple of 16", "cases_wrong.cu")
FOUND(no_grid_wait, "no thread of the block has called ptx::grid_wait()")
FOUND(trap, "__trap", "cases_wrong.cu")
FOUND(devices_that_wait_for_each_other, "endless: every thread that can run only spins")
FOUND(flag_of_one_device, "a flag that peers use at the scope of one device", "cases_peers.cu")
FOUND_IF(!ASAN, foreign_memory, "touched memory of device", "without peer access")
FOUND_IF(!ASAN, device_overrun, "wrote device memory 0 bytes past the end of an allocation of 40")
FOUND_IF(!ASAN, freed, "kernel device_overrun", "bad address")
FOUND_IF(!ASAN, host_read, "host code touched device memory")
FOUND_IF(!ASAN, stack, "the stack of a thread is full")
FOUND_IF(ASAN, shared_overrun, "heap-buffer-overflow", "cases_wrong.cu")
FOUND_IF(ASAN, dynamic_overrun, "heap-buffer-overflow", "cases_wrong.cu")
FOUND_IF(ASAN, device_overread, "heap-buffer-overflow", "cases_wrong.cu")

static int early(void) {
    const char *mode = getenv("WEIR_RUNNER_CP");
    return mode && strcmp(mode, "early") == 0;
}

Test(wrong, copies_land_when_they_are_waited_for_or_at_once) {
    cr_assert_eq(sees_copy_not_waited_for(), !early());
    if (!early())
        is_found("wrong_exit_with_copies", (const char *const[]){"while its cp.async are under way", NULL});
}

Test(wrong, peers_that_overwrite) { cr_assert_gt(sees_peers_that_overwrite(), 0); }

RACE(missing_barrier)
RACE(shuffle_orders_nothing)
RACE(between_blocks)
RACE(before_grid_wait)
RACE(write_before_grid_wait)
RACE(let_go_before_grid_wait)
RACE(host_does_not_wait)
RACE(pinned_source_reused)
RACE(team_barrier_without_release)
RACE(counted_before_it_is_written)
RACE(peers_without_release)

Test(race, early_copy) {
    if (TSAN && early())
        is_found("race_early_copy", (const char *const[]){"ThreadSanitizer: data race", NULL});
}

/* Numbers of cudaError_t. */
Test(refused, launches) {
    cr_assert_eq(refused_block_size(), 9);
    cr_assert_eq(refused_dynamic_memory(), 1);
    cr_assert_eq(refused_team(), 720);
}

Test(refused, what_a_capture_cannot_hold) {
    cr_assert_eq(refused_malloc_while_capturing(), 900);
    cr_assert_eq(refused_wait_while_capturing(), 900);
    cr_assert_eq(refused_pageable_copy_while_capturing(), 900);
}

Test(refused, copies) {
    cr_assert_eq(refused_copy_past_the_end(), 1);
    cr_assert_eq(refused_direction(), 21);
}

Test(control, failures_come_when_they_are_asked_for) {
    for (int n = 0; n <= 5; n++) cr_assert_eq(first_malloc_that_fails(n), n);
    cr_assert_eq(launches_until_broken(3), 3);
}

Test(control, devices) {
    int n = -7;
    cr_assert_eq(device_count(&n), 0);
    cr_assert_eq(n, 1);
    n = -7;
    runner_devices(0);
    cr_assert_eq(device_count(&n), 100);
    runner_devices(-1);
    cr_assert_eq(device_count(&n), 35);
    cr_assert_eq(n, -7);
    runner_devices(2);
    cr_assert_eq(device_count(&n), 0);
    cr_assert_eq(n, 2);
}

Test(control, calls_are_counted) {
    int n;
    runner_api_reset();
    for (int i = 0; i < 3; i++) device_count(&n);
    cr_assert_eq(runner_api_count("cudaGetDeviceCount"), 3);
    cr_assert_eq(runner_api_count("cudaMalloc"), 0);
}
