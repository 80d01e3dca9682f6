#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/engine.h"

double weir_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One number from a one-line file; false for "max", a missing file or anything else. */
static bool read_number(const char *path, unsigned long long *out) {
    FILE *f = fopen(path, "r");
    if (!f) return false;
    const bool ok = fscanf(f, "%llu", out) == 1;
    fclose(f);
    return ok;
}

static size_t meminfo_available(void) {
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return 0;
    char line[128];
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
    }
    fclose(f);
    return (size_t)kib * 1024;
}

/* Both cgroup generations, at the root a container sees. A limit above the machine's memory means none. */
static size_t cgroup_available(void) {
    static const char *const files[][2] = {
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        unsigned long long limit, used;
        if (read_number(files[i][0], &limit) && read_number(files[i][1], &used))
            return limit > used ? (size_t)(limit - used) : 1;
    }
    return 0;
}

size_t weir_plan_available(void) {
    const size_t machine = meminfo_available(), group = cgroup_available();
    if (group == 0) return machine;
    return machine == 0 || group < machine ? group : machine;
}

void weir_plan_format(char *out, size_t cap, size_t bytes) {
    const double mib = (double)bytes / (1024.0 * 1024.0);
    if (mib >= 1024.0) snprintf(out, cap, "%.2f GiB", mib / 1024.0);
    else snprintf(out, cap, "%.1f MiB", mib);
}
