/* How much memory this process may still take: the smallest of what the machine, its cgroups and its resource
 * limits leave. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/deck/plan.h"

enum { PATH = 4096 };
#define NO_LIMIT SIZE_MAX

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* What a limit leaves; never 0, which would be "unknown". */
static size_t left_of(unsigned long long limit, unsigned long long used) {
    return limit > used ? (size_t)(limit - used) : 1;
}

static FILE *open_in(const char *dir, const char *name) {
    char path[PATH];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return NULL;
    return fopen(path, "re");
}

/* The number of a one-line file; false for "max", a missing file or anything else. */
static bool read_number(const char *dir, const char *name, unsigned long long *out) {
    FILE *f = open_in(dir, name);
    if (!f) return false;
    const bool ok = fscanf(f, "%llu", out) == 1;
    fclose(f);
    return ok;
}

/* The sum of the numbers after two words, each at the beginning of a line; 0 where there are none. */
static unsigned long long read_words(const char *dir, const char *name, const char *a, const char *b) {
    FILE *f = open_in(dir, name);
    if (!f) return 0;
    char line[256], word[64];
    unsigned long long sum = 0, x;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%63s %llu", word, &x) == 2 && (strcmp(word, a) == 0 || strcmp(word, b) == 0))
            sum += x;
    fclose(f);
    return sum;
}

static size_t machine(const char *root) {
    const unsigned long long kib = read_words(root, "proc/meminfo", "MemAvailable:", "");
    return kib > 0 ? (size_t)kib * 1024 : NO_LIMIT;
}

/* ---- cgroups ------------------------------------------------------------------------------------------- */

/* One generation's files. What a group holds of files can be reclaimed, as in the kernel's own
 * MemAvailable. */
typedef struct generation {
    const char *mount, *limit[2], *used, *file[2];
} generation;

static const generation generations[2] = {
    {"sys/fs/cgroup/memory",
     {"memory.limit_in_bytes", NULL},
     "memory.usage_in_bytes",
     {"total_active_file", "total_inactive_file"}},
    {"sys/fs/cgroup", {"memory.max", "memory.high"}, "memory.current", {"active_file", "inactive_file"}},
};

static size_t one_group(const generation *g, const char *dir) {
    unsigned long long used, limit;
    size_t left = NO_LIMIT;
    if (!read_number(dir, g->used, &used)) return NO_LIMIT;
    const unsigned long long files = read_words(dir, "memory.stat", g->file[0], g->file[1]);
    used -= files < used ? files : used;
    for (int i = 0; i < 2; i++) {
        if (!g->limit[i] || !read_number(dir, g->limit[i], &limit)) continue;
        if (limit < 1ull << 62)
            left = least(left, left_of(limit, used)); /* the first generation's "no limit" is a number */
    }
    return left;
}

/* A group's limit and those of all above it. Levels that are not there are those outside a container, or the
 * other way round. */
static size_t group_and_above(const char *root, const generation *g, char *group) {
    size_t left = NO_LIMIT;
    for (;;) {
        char dir[PATH];
        if (snprintf(dir, sizeof dir, "%s/%s%s", root, g->mount, group) < (int)sizeof dir)
            left = least(left, one_group(g, dir));
        char *slash = strrchr(group, '/');
        if (!slash) return left;
        *slash = '\0';
    }
}

/* Of a line "5:cpu,memory:/a/b" or "0::/a/b" (the second generation): the group without a slash at its end,
 * or NULL. */
static char *group_of(char *line, int which) {
    char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
    if (!path) return NULL;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/') path[--n] = '\0';
    bool memory = false;
    char *rest = NULL;
    for (char *name = strtok_r(names + 1, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
        memory = memory || strcmp(name, "memory") == 0;
    const bool second = strncmp(line, "0:", 2) == 0 && names[1] == '\0';
    return (which == 0 ? memory : second) ? path : NULL;
}

static size_t cgroups(const char *root, int which) {
    char line[PATH] = "";
    size_t left = group_and_above(root, &generations[which], line); /* the root that a container sees */
    FILE *f = open_in(root, "proc/self/cgroup");
    while (f && fgets(line, sizeof line, f)) {
        char *group = group_of(line, which);
        if (group) left = least(left, group_and_above(root, &generations[which], group));
    }
    if (f) fclose(f);
    return left;
}

/* ---- resource limits ----------------------------------------------------------------------------------- */

static size_t resource_limit(int which, unsigned long long pages) {
    struct rlimit r;
    if (getrlimit(which, &r) != 0 || r.rlim_cur == RLIM_INFINITY) return NO_LIMIT;
    return left_of(r.rlim_cur, pages * (unsigned long long)sysconf(_SC_PAGESIZE));
}

static size_t resource_limits(const char *root) {
    unsigned long long all = 0, data = 0; /* pages; without /proc the limit itself is what is known */
    FILE *f = open_in(root, "proc/self/statm");
    if (f && fscanf(f, "%llu %*u %*u %*u %*u %llu", &all, &data) != 2) all = data = 0;
    if (f) fclose(f);
    return least(resource_limit(RLIMIT_AS, all), resource_limit(RLIMIT_DATA, data));
}

size_t weir__memory_available(const char *root) {
    const size_t group = least(cgroups(root, 0), cgroups(root, 1));
    const size_t left = least(machine(root), least(group, resource_limits(root)));
    return left == NO_LIMIT ? 0 : left;
}
