/* The pool's own text under every order of its threads that a few preemptions make. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "kernels/base/pool.h"
#include "tests/kernels/base/pool_points.h"

/* After the macros that make points of its atomics and locks. */
#include "kernels/base/pool.c"

/* ---- the checker itself -------------------------------------------------------------------------------- */

/* A box that one thread fills and another waits for, done wrong in the ways that lose wake-ups. */
static struct {
    atomic_int full, asleep, kind;
    interleave_mutex lock;
    interleave_cond filled;
} box;

enum { RIGHT, FLAG_READ_FIRST, NO_LOCK, NO_LOOP, RELAXED_FLAG };

static void *fill(void *unused) {
    (void)unused;
    bool asleep = false;
    if (box.kind == FLAG_READ_FIRST) asleep = atomic_load(&box.asleep);
    atomic_store(&box.full, 1);
    if (box.kind != FLAG_READ_FIRST) asleep = atomic_load(&box.asleep);
    if (!asleep) return NULL;
    if (box.kind != NO_LOCK) pthread_mutex_lock(&box.lock);
    pthread_cond_signal(&box.filled);
    if (box.kind != NO_LOCK) pthread_mutex_unlock(&box.lock);
    return NULL;
}

static void await(void) {
    box.full = box.asleep = 0;
    const int filler = interleave_create(fill, NULL);
    pthread_mutex_lock(&box.lock);
    if (box.kind == RELAXED_FLAG)
        atomic_store_explicit(&box.asleep, 1, memory_order_relaxed);
    else
        atomic_store(&box.asleep, 1);
    while (!atomic_load(&box.full)) {
        pthread_cond_wait(&box.filled, &box.lock);
        if (box.kind == NO_LOOP) break;
    }
    interleave_check(box.full, "woke up too early");
    pthread_mutex_unlock(&box.lock);
    interleave_join(filler);
}

Test(pool_orders, wake_ups_that_are_lost_are_found) {
    static const char *const why[] = {"", "no thread can go on", "no thread can go on", "woke up too early",
                                      "no thread can go on"};
    for (int kind = RIGHT; kind <= RELAXED_FLAG; kind++) {
        box.kind = kind;
        box.lock.owner = 0;
        const interleave_result r = interleave(await, 2, 1000);
        cr_expect_eq(r.failed, kind != RIGHT, "kind %d: %ld orders\n%s", kind, r.n_order, r.why);
        cr_expect(!r.cut && strncmp(r.why, why[kind], strlen(why[kind])) == 0, "kind %d: %s", kind, r.why);
    }
}

/* ---- the pool ------------------------------------------------------------------------------------------ */

enum { MOST_THREAD = 4, MOST_REGION = 3 };

typedef struct region {
    int number, n_thread, times[MOST_THREAD];
    bool over;
} region;

static int n_thread, n_region, n_spin;

static void part(void *arg, int w, int n_worker) {
    region *r = arg;
    interleave_check(!r->over, "a part of a region that is over");
    interleave_check(w >= 0 && w < n_worker && n_worker == r->n_thread, "a part that is none");
    interleave_point("a part");
    interleave_check(!r->over && r->times[w]++ == 0, "a part twice, or after its region");
}

static void regions(void) {
    weir_pool *p = NULL;
    interleave_check(weir__pool_create(&p, n_thread) == WEIR_OK, "no pool");
    p->spins = n_spin; /* before the first point, and so before any thread looks at it */
    for (int i = 0; i < n_region; i++) {
        region r = {.number = i, .n_thread = n_thread};
        weir__pool_run(p, part, &r);
        for (int w = 0; w < n_thread; w++)
            interleave_check(r.times[w] == 1, "a region returns before its parts are done");
        r.over = true;
    }
    weir__pool_free(p);
}

static void explore(int threads, int n, int spins, int max_preemption) {
    n_thread = threads;
    n_region = n;
    n_spin = spins;
    const interleave_result r = interleave(regions, max_preemption, 20000000);
    printf("%d threads, %d regions, %d spins, %d preemptions: %ld orders, %ld points\n", threads, n, spins,
           max_preemption, r.n_order, r.n_point);
    cr_assert(!r.failed && !r.cut, "%d threads, %d regions, %d spins, order %ld: %s", threads, n, spins,
              r.n_order, r.why);
}

/* A sanitizer finds nothing more here and takes ten times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LESS = 1 };
#else
enum { LESS = 0 };
#endif

Test(pool_orders, one_worker_and_the_caller) { explore(2, 2, 0, 4 - LESS); }
Test(pool_orders, one_worker_that_spins_first) { explore(2, 2, 1, 4 - LESS); }
Test(pool_orders, two_workers) { explore(3, 2, 0, 3 - LESS); }
Test(pool_orders, two_workers_that_spin_first) { explore(3, 2, 1, 2); }
Test(pool_orders, three_workers) { explore(4, 1, 0, 2 - LESS); }
