#ifndef WEIR_TESTS_KERNELS_BASE_POOL_POINTS_H
#define WEIR_TESTS_KERNELS_BASE_POOL_POINTS_H

/* Makes points of tests/support/interleave.h of what the code below does with C11 atomics and pthreads. The
 * atomic types stay, since one OS thread runs it all. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/support/interleave.h"

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_compare_exchange_strong

#define atomic_load(p) (interleave_load(p, "load " #p), *(p))
#define atomic_load_explicit(p, order) (interleave_load(p, "load " #p), *(p))
#define atomic_store(p, v) atomic_store_explicit(p, v, memory_order_seq_cst)
#define atomic_store_explicit(p, v, order)                                                         \
    do {                                                                                           \
        const __typeof__(((void)0, *(p))) stored = (v);                                            \
        interleave_store(p, &stored, sizeof stored, (order) == memory_order_seq_cst, "store " #p); \
    } while (0)
#define atomic_fetch_add(p, v) POINTS_FETCH(p, +, v, "add to " #p)
#define atomic_fetch_sub(p, v) POINTS_FETCH(p, -, v, "subtract from " #p)
#define POINTS_FETCH(p, op, v, what)                  \
    __extension__({                                   \
        interleave_fence(what);                       \
        const __typeof__(((void)0, *(p))) old = *(p); \
        *(p) = old op(v);                             \
        old;                                          \
    })
#define atomic_compare_exchange_strong(p, expected, v) \
    __extension__({                                    \
        interleave_fence("compare and exchange " #p);  \
        const bool same = *(p) == *(expected);         \
        if (same)                                      \
            *(p) = (v);                                \
        else                                           \
            *(expected) = *(p);                        \
        same;                                          \
    })

#define pthread_t int
#define pthread_mutex_t interleave_mutex
#define pthread_cond_t interleave_cond
#define pthread_mutex_init(m, unused) (*(m) = (interleave_mutex){0}, 0)
#define pthread_mutex_destroy(m) interleave_check((m)->owner == 0, "a mutex that is held is destroyed")
#define pthread_mutex_lock(m) interleave_lock(m, "lock " #m)
#define pthread_mutex_unlock(m) interleave_unlock(m, "unlock " #m)
#define pthread_cond_init(c, unused) (*(c) = (interleave_cond){0}, 0)
#define pthread_cond_destroy(c) ((void)(c))
#define pthread_cond_wait(c, m) interleave_wait(c, m, "wait for " #c)
#define pthread_cond_signal(c) interleave_wake(c, false, "signal " #c)
#define pthread_cond_broadcast(c) interleave_wake(c, true, "broadcast " #c)
#define pthread_create(thread, unused, fn, arg) (*(thread) = interleave_create(fn, arg), 0)
#define pthread_join(thread, unused) interleave_join(thread)

#endif /* WEIR_TESTS_KERNELS_BASE_POOL_POINTS_H */
