#ifndef WEIR_TESTS_SUPPORT_INTERLEAVE_H
#define WEIR_TESTS_SUPPORT_INTERLEAVE_H

/* Every order in which a few threads can take turns, up to a number of preemptions: a small model checker
 * that runs the C text itself. Threads are fibers on one OS thread. Before a thread does something that
 * others could see it calls interleave_point(), and there another thread may go on instead. interleave() runs
 * `body` once for each order, depth first, until one fails or none is left (Musuvathi and Qadeer, PLDI 2007:
 * few bugs need more than two preemptions). tests/kernels/base/pool_points.h makes points of C11 atomics and
 * pthreads by macros.
 *
 * It finds   deadlocks, lost wake-ups, endless loops, and whatever `body` checks with interleave_check()
 * Memory     sequentially consistent, except that the thread's later loads may pass a store that is not */
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { INTERLEAVE_THREADS = 8 };

typedef struct interleave_result {
    long n_order, n_point; /* orders run, points in all of them */
    bool failed, cut;      /* cut: max_order came first */
    char why[4096];        /* what failed, and the last points that led there */
} interleave_result;

/* A preemption takes the turn from a thread that could go on. A wake-up without a signal counts as one, and
 * so does a store that others see late. */
interleave_result interleave(void (*body)(void), int max_preemption, long max_order);

/* ---- inside body ---- */

void interleave_point(const char *what);
void interleave_check(bool good,
                      const char *what); /* false: this order fails, and the call does not return */

/* A load of p, a store to it (`ordered`: sequentially consistent), and what no earlier store passes. */
void interleave_load(const volatile void *p, const char *what);
void interleave_store(volatile void *p, const void *value, size_t bytes, bool ordered, const char *what);
void interleave_fence(const char *what);

typedef struct interleave_mutex {
    int owner; /* thread + 1; 0: none */
} interleave_mutex;

typedef struct interleave_cond {
    int unused;
} interleave_cond;

int interleave_create(void *(*fn)(void *), void *arg); /* the thread's number */
void interleave_join(int thread);
void interleave_lock(interleave_mutex *m, const char *what);
void interleave_unlock(interleave_mutex *m, const char *what);
void interleave_wait(interleave_cond *c, interleave_mutex *m, const char *what);
void interleave_wake(interleave_cond *c, bool all, const char *what);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_TESTS_SUPPORT_INTERLEAVE_H */
