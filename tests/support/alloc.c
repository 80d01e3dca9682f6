#include "tests/support/alloc.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "kernels/base/mem.h"

static atomic_long count, live;
static atomic_long first_failure, last_failure;

static void *counting_alloc(void *ud, size_t align, size_t bytes) {
    (void)ud;
    const long number = atomic_fetch_add(&count, 1) + 1;
    if (first_failure != 0 && number >= first_failure && number <= last_failure) return NULL;
    void *p = aligned_alloc(align, bytes);
    if (p) atomic_fetch_add(&live, 1);
    return p;
}

static void counting_free(void *ud, void *p) {
    (void)ud;
    atomic_fetch_sub(&live, 1);
    free(p);
}

void alloc_install(long fail_at) {
    atomic_store(&count, 0);
    atomic_store(&live, 0);
    first_failure = fail_at;
    last_failure = LONG_MAX;
    weir_set_allocator(&(weir_allocator){counting_alloc, counting_free, NULL});
}

void alloc_uninstall(void) { weir_set_allocator(NULL); }

void alloc_fail_after(long n) {
    first_failure = n + 1;
    last_failure = LONG_MAX;
}

void alloc_fail_only(long n) { first_failure = last_failure = n + 1; }

long alloc_count(void) { return atomic_load(&count); }

long alloc_live(void) { return atomic_load(&live); }
