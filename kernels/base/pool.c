/* A region is one number, `epoch`: raising it publishes fn and arg. Part k of the region belongs to whoever
 * moves claim[k] from the last epoch to this one: worker k, or the caller once its own part is done. So a
 * worker that was not scheduled in time costs only its help: on a busy machine the caller never waits for a
 * part that no worker has begun (measured with six busy processes on two cores: a token took 16 ms without
 * claims). Both sides spin first and then sleep on a condition variable.
 *
 *   caller   fn, arg -> epoch + 1 -> (wake sleepers) -> part 0 -> unclaimed parts -> until pending == 0
 *   worker   until epoch changes -> claim its part -> run it -> pending - 1 -> (wake the caller)
 *
 * fn and arg are read only after a claim: a claimed part keeps its region, and so fn and arg, alive.
 *
 * No wake-up is lost: a thread that goes to sleep raises its flag and then reads the number again; a thread
 * that changes the number reads the flag afterwards. All of this is sequentially consistent, so at least one
 * of the two sees the other, and the lock closes the gap between the last read and the wait. */
#include "kernels/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "kernels/base/mem.h"
#include "kernels/base/relax.h"

typedef struct worker {
    _Alignas(64) atomic_uint claim; /* the last epoch in which this worker's part was taken */
    pthread_t thread;
    weir_pool *pool;
    int index;
} worker;

struct weir_pool {
    _Alignas(64) atomic_uint epoch; /* on their own cache lines: spinning threads read them constantly */
    weir_pool_fn fn;
    void *arg;
    _Alignas(64) atomic_int pending;
    _Alignas(64) atomic_int n_asleep; /* workers on `wake` */
    atomic_bool caller_asleep;        /* the caller on `done` */
    atomic_bool stop;
    int n_thread, spins;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    worker *workers; /* (n_thread - 1) */
};

int weir__pool_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n < WEIR_POOL_MOST ? n : WEIR_POOL_MOST;
}

/* Spinning would waste the core that the awaited thread needs. */
static int spins_for(int n_thread) { return weir__pool_cores() >= n_thread ? WEIR_SPINS : 0; }

static unsigned wait_for_work(weir_pool *p, unsigned seen) {
    for (int i = 0; i < p->spins; i++) {
        const unsigned now = atomic_load_explicit(&p->epoch, memory_order_acquire);
        if (now != seen) return now;
        weir__cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1);
    unsigned now;
    while ((now = atomic_load(&p->epoch)) == seen) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->n_asleep, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

/* True for exactly one caller per epoch; also false for a worker that woke up in a later epoch. */
static bool claim_part(worker *w, unsigned epoch) {
    unsigned last = epoch - 1;
    return atomic_compare_exchange_strong(&w->claim, &last, epoch);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    weir_pool *p = w->pool;
    for (unsigned seen = 0;;) {
        seen = wait_for_work(p, seen);
        if (atomic_load(&p->stop)) return NULL;
        if (!claim_part(w, seen)) continue;
        p->fn(p->arg, w->index, p->n_thread);
        if (atomic_fetch_sub(&p->pending, 1) == 1 && atomic_load(&p->caller_asleep)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static unsigned publish(weir_pool *p) {
    const unsigned epoch = atomic_fetch_add(&p->epoch, 1) + 1;
    if (atomic_load(&p->n_asleep) == 0) return epoch;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return epoch;
}

/* Runs the parts that no worker has begun. */
static void help(weir_pool *p, unsigned epoch) {
    for (int i = 0; i < p->n_thread - 1; i++) {
        if (!claim_part(&p->workers[i], epoch)) continue;
        p->fn(p->arg, i + 1, p->n_thread);
        atomic_fetch_sub(&p->pending, 1);
    }
}

static void wait_for_done(weir_pool *p) {
    for (int i = 0; i < p->spins; i++) {
        if (atomic_load_explicit(&p->pending, memory_order_acquire) == 0) return;
        weir__cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_asleep, true);
    while (atomic_load(&p->pending) != 0) pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_asleep, false);
    pthread_mutex_unlock(&p->lock);
}

void weir__pool_run(weir_pool *p, weir_pool_fn fn, void *arg) {
    if (p->n_thread == 1) {
        fn(arg, 0, 1);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    atomic_store_explicit(&p->pending, p->n_thread - 1, memory_order_relaxed);
    const unsigned epoch = publish(p);
    fn(arg, 0, p->n_thread);
    help(p, epoch);
    wait_for_done(p);
}

/* Ends and joins the first n workers, then frees everything. */
static void destroy(weir_pool *p, int n_worker) {
    atomic_store(&p->stop, true);
    (void)publish(p);
    for (int i = 0; i < n_worker; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    weir_free(p->workers);
    weir_free(p);
}

weir_status weir__pool_create(weir_pool **out, int n_thread) {
    if (!out || n_thread < 1 || n_thread > WEIR_POOL_MOST) return WEIR_EINVAL;
    weir_pool *p = weir_calloc(1, sizeof *p);
    if (!p) return WEIR_ENOMEM;
    p->workers = weir_calloc((size_t)n_thread, sizeof *p->workers);
    if (!p->workers) goto fail_workers;
    p->n_thread = n_thread;
    p->spins = spins_for(n_thread);
    atomic_init(&p->epoch, 0);
    atomic_init(&p->pending, 0);
    atomic_init(&p->n_asleep, 0);
    atomic_init(&p->caller_asleep, false);
    atomic_init(&p->stop, false);
    if (pthread_mutex_init(&p->lock, NULL) != 0) goto fail_lock;
    if (pthread_cond_init(&p->wake, NULL) != 0) goto fail_wake;
    if (pthread_cond_init(&p->done, NULL) != 0) goto fail_done;
    for (int i = 0; i < n_thread - 1; i++) {
        p->workers[i].pool = p;
        p->workers[i].index = i + 1;
        atomic_init(&p->workers[i].claim, 0);
        if (pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]) != 0) {
            destroy(p, i);
            return WEIR_ENOMEM;
        }
    }
    *out = p;
    return WEIR_OK;

fail_done:
    pthread_cond_destroy(&p->wake);
fail_wake:
    pthread_mutex_destroy(&p->lock);
fail_lock:
    weir_free(p->workers);
fail_workers:
    weir_free(p);
    return WEIR_ENOMEM;
}

void weir__pool_free(weir_pool *p) {
    if (p) destroy(p, p->n_thread - 1);
}

int weir__pool_size(const weir_pool *p) { return p->n_thread; }

void weir__pool_split(long n, long grain, int worker_index, int n_worker, long *begin, long *end) {
    const long units = (n + grain - 1) / grain;
    const long share = units / n_worker, extra = units % n_worker, w = worker_index;
    const long first = w * share + (w < extra ? w : extra);
    const long last = first + share + (w < extra ? 1 : 0);
    *begin = first * grain < n ? first * grain : n;
    *end = last * grain < n ? last * grain : n;
}
