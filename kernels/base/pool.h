#ifndef WEIR_KERNELS_BASE_POOL_H
#define WEIR_KERNELS_BASE_POOL_H

#include "kernels/base/status.h"

/* A team of threads for one caller: the calling thread is worker 0, n_thread - 1 others wait for work.
 * Waiting spins for about 0.2 ms, longer than the serial parts of a decode step, and then sleeps: a parallel
 * part is shorter than a wake-up. Not a task queue: one region at a time, from one thread at a time. */
typedef struct weir_pool weir_pool;

/* Called once per worker; must split its work by (worker, n_worker) so that no result depends on the
 * split. */
typedef void (*weir_pool_fn)(void *arg, int worker, int n_worker);

enum { WEIR_POOL_MOST = 256 };

weir_status weir__pool_create(weir_pool **out, int n_thread); /* n_thread in [1, WEIR_POOL_MOST] */
void weir__pool_free(weir_pool *p);                           /* NULL allowed; joins the threads */
int weir__pool_size(const weir_pool *p);
int weir__pool_cores(void); /* that this process may use, in [1, WEIR_POOL_MOST]; 1 if unknown */

/* Runs fn on all workers and returns when the last is done; everything they wrote is visible. */
void weir__pool_run(weir_pool *p, weir_pool_fn fn, void *arg);

/* [begin, end) of `n` items for one worker, in units of `grain`; contiguous, in worker order. */
void weir__pool_split(long n, long grain, int worker, int n_worker, long *begin, long *end);

#endif /* WEIR_KERNELS_BASE_POOL_H */
