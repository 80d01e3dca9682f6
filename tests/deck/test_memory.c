/* What the system leaves this process, on folders that look like /proc and /sys. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "host/deck/plan.h"
#include "tests/support/files.h"

#define MIB (1024ull * 1024)

/* A file of a made system; folders on the way are made too. */
static void put(const char *root, const char *path, const char *text) {
    char full[600];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", full);
}

typedef struct made_file {
    const char *path, *text;
} made_file;

static void expect(const char *what, const made_file *files, unsigned long long mib) {
    char *root = files_temp_dir(), rm[300];
    for (; files->path; files++) put(root, files->path, files->text);
    const size_t got = weir__memory_available(root);
    snprintf(rm, sizeof rm, "rm -r %s", root);
    cr_assert(system(rm) == 0);
    cr_expect(got == mib * MIB, "%s: %zu bytes, want %llu MiB", what, got, mib);
    free(root);
}

/* 4,096 MiB */
#define MEMINFO \
    { "proc/meminfo", "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n" }
#define STAT_OF(inactive, active) "anon 7\nactive_file " active "\ninactive_file " inactive "\nfile 99\n"
#define NO_LIMIT "9223372036854771712\n" /* the first generation's */

Test(memory, nothing_known_is_unknown) {
    expect("an empty system", (made_file[]){{NULL, NULL}}, 0);
    expect("no number", (made_file[]){{"proc/meminfo", "MemTotal: 5 kB\nMemAvailable: much\n"}, {NULL, NULL}},
           0);
    expect("no limit",
           (made_file[]){{"sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT},
                         {"sys/fs/cgroup/memory/memory.usage_in_bytes", "4096\n"},
                         {NULL, NULL}},
           0);
}

Test(memory, the_machine) { expect("alone", (made_file[]){MEMINFO, {NULL, NULL}}, 4096); }

Test(memory, a_second_generation_group_and_all_above_it) {
    const made_file files[] = {MEMINFO,
                               {"proc/self/cgroup", "0::/a/b/c\n"},
                               /* 1,024 MiB, 24 used, 8 of them files */
                               {"sys/fs/cgroup/a/memory.max", "1073741824\n"},
                               {"sys/fs/cgroup/a/memory.current", "25165824\n"},
                               {"sys/fs/cgroup/a/memory.stat", STAT_OF("4194304", "4194304")},
                               {"sys/fs/cgroup/a/b/memory.max", "max\n"},
                               {"sys/fs/cgroup/a/b/memory.current", "0\n"},
                               {"sys/fs/cgroup/a/b/c/memory.max", "4294967296\n"},
                               {"sys/fs/cgroup/a/b/c/memory.current", "0\n"},
                               {NULL, NULL}};
    expect("the limit is two levels up", files, 1024 - 24 + 8);
}

Test(memory, a_limit_that_throttles) {
    const made_file files[] = {MEMINFO,
                               {"proc/self/cgroup", "0::/\n"},
                               {"sys/fs/cgroup/memory.max", "max\n"},
                               {"sys/fs/cgroup/memory.high", "536870912\n"},
                               {"sys/fs/cgroup/memory.current", "1048576\n"},
                               {NULL, NULL}};
    expect("memory.high", files, 511);
}

Test(memory, a_first_generation_group_and_all_above_it) {
    const made_file files[] = {MEMINFO,
                               {"proc/self/cgroup", "5:cpu,cpuacct:/x\n4:hugetlb,memory:/jobs/7\n0::/\n"},
                               {"sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT},
                               {"sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n"},
                               {"sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "2147483648\n"},
                               {"sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "0\n"},
                               {"sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "268435456\n"},
                               {"sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes", "67108864\n"},
                               {"sys/fs/cgroup/memory/jobs/7/memory.stat",
                                "cache 1\ninactive_file 9\ntotal_inactive_file 33554432\n"},
                               {NULL, NULL}};
    expect("256 MiB, 64 used, 32 of them files", files, 256 - 64 + 32);
}

/* A container sees its own group as the root of the mount, but may be told its name outside. */
Test(memory, a_container_whose_group_has_another_name_inside) {
    const made_file files[] = {MEMINFO,
                               {"proc/self/cgroup", "4:memory:/docker/0123456789\n"},
                               {"sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"},
                               {"sys/fs/cgroup/memory/memory.usage_in_bytes", "134217728\n"},
                               {"sys/fs/cgroup/memory/memory.stat", "total_active_file 104857600\n"},
                               {NULL, NULL}};
    expect("full of files", files, 100);
}

Test(memory, a_group_without_proc) {
    const made_file files[] = {
        {"sys/fs/cgroup/memory.max", "67108864\n"}, {"sys/fs/cgroup/memory.current", "0\n"}, {NULL, NULL}};
    expect("the root that a container sees", files, 64);
}

/* statm in pages: all, resident, shared, text, library, data. */
static void limit(int which, unsigned long long bytes) {
    struct rlimit r;
    cr_assert(getrlimit(which, &r) == 0);
    r.rlim_cur = bytes;
    cr_assert(setrlimit(which, &r) == 0);
}

Test(memory, address_space_and_data) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    cr_skip_test("a sanitizer's shadow does not fit any limit");
#endif
    /* 100, 50 MiB */
    const made_file files[] = {MEMINFO, {"proc/self/statm", "25600 1 1 1 0 12800 0\n"}, {NULL, NULL}};
    limit(RLIMIT_AS, 1124 * MIB);
    expect("1,124 MiB of addresses, 100 used", files, 1024);
    limit(RLIMIT_DATA, 562 * MIB);
    expect("562 MiB of data, 50 used", files, 512);
    expect("without /proc the limits themselves", (made_file[]){{NULL, NULL}}, 562);
    const size_t here = weir__memory_available("");
    cr_expect(here > 0 && here < 562 * MIB, "%zu bytes", here);
}
