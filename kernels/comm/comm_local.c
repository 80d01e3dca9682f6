/* Ranks as threads of one process. An exchange is a barrier: each rank leaves a pointer, and when all have
 * come, each reads the others'. Pointers of one exchange and of the next lie in two arrays: whoever writes an
 * array again has passed the exchange between, which nobody enters before it has copied them.
 *
 * Waiting spins first where every thread has a core, and then sleeps on a condition variable with the
 * deadline. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
#include "kernels/base/relax.h"
#include "kernels/comm/comm.h"

typedef struct group group;

typedef struct local_comm {
    weir_comm base;
    group *g;
    uint64_t heard; /* commands so far */
} local_comm;

struct group {
    _Alignas(64) atomic_uint_least64_t round; /* barriers that everyone has passed */
    _Alignas(64) atomic_int here;             /* ranks that have come to the one in progress */
    atomic_int asleep;
    atomic_bool broken;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    weir_err why;                             /* under the lock */
    const void *pointer[2][WEIR_RANKS];       /* of this exchange and the one before */
    atomic_uint_least64_t passed[WEIR_RANKS]; /* barriers that a rank has come to: who is missing */
    const void *msg; /* rank 0's command, number `commands`: its copy, which stays until the next */
    size_t msg_bytes;
    void *store[2];
    size_t store_cap[2];
    atomic_uint_least64_t commands;
    atomic_int taken; /* followers that have the last one */
    atomic_int open;
    weir_comm *handle[WEIR_RANKS]; /* NULL: closed; under the lock */
    int n_rank, spins;
};

static group *group_of(weir_comm *c) { return ((local_comm *)c)->g; }

static void wake_all(group *g) {
    if (atomic_load(&g->asleep) == 0) return;
    pthread_mutex_lock(&g->lock);
    pthread_cond_broadcast(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

/* ---- failures ------------------------------------------------------------------------------------------ */

/* The first reason stands. */
static void break_group(group *g, const weir_err *why) {
    pthread_mutex_lock(&g->lock);
    if (!atomic_load(&g->broken)) {
        g->why = *why;
        atomic_store(&g->broken, true);
        for (int r = 0; r < g->n_rank; r++)
            if (g->handle[r]) weir__comm_tell(g->handle[r], true);
    }
    pthread_cond_broadcast(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

static void local_abort(weir_comm *c, weir_status status, const char *text) {
    weir_err why = {""};
    (void)weir_fail(&why, status, "rank %d: %s", c->rank, text);
    break_group(group_of(c), &why);
}

static bool local_ended(weir_comm *c) { return atomic_load(&group_of(c)->broken); }

static void local_watch(weir_comm *c, uint32_t *word) {
    group *g = group_of(c);
    pthread_mutex_lock(&g->lock);
    c->watched = word;
    weir__comm_tell(c, atomic_load(&g->broken));
    pthread_mutex_unlock(&g->lock);
}

static void local_failure(weir_comm *c, weir_err *err) {
    group *g = group_of(c);
    pthread_mutex_lock(&g->lock);
    *err = g->why;
    pthread_mutex_unlock(&g->lock);
}

/* The deadline is over: whoever has come to the fewest barriers is silent. */
static void note_silence(weir_comm *c) {
    group *g = group_of(c);
    int silent = 0;
    for (int r = 1; r < g->n_rank; r++)
        if (atomic_load(&g->passed[r]) < atomic_load(&g->passed[silent])) silent = r;
    weir_err why = {""};
    (void)weir_fail(&why, WEIR_ECOMM, "rank %d silent for %g s, exchange %llu", silent, c->seconds,
                    (unsigned long long)atomic_load(&g->passed[silent]));
    break_group(g, &why);
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

static bool moved(const group *g, const atomic_uint_least64_t *number, uint64_t from) {
    return atomic_load(number) != from || atomic_load(&g->broken);
}

/* Until *number is no longer `from`; seconds < 0: without a limit. False: the time is over. */
static bool wait_for(group *g, const atomic_uint_least64_t *number, uint64_t from, double seconds) {
    for (int i = 0; i < g->spins; i++) {
        if (moved(g, number, from)) return true;
        weir__cpu_relax();
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const double at = seconds < 0.0 ? 0.0 : (double)until.tv_nsec * 1e-9 + seconds;
    until.tv_sec += (time_t)at;
    until.tv_nsec = (long)((at - (double)(time_t)at) * 1e9);
    bool in_time = true;
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->asleep, 1);
    while (in_time && !moved(g, number, from)) {
        in_time = (seconds < 0.0 ? pthread_cond_wait(&g->wake, &g->lock)
                                 : pthread_cond_timedwait(&g->wake, &g->lock, &until)) != ETIMEDOUT;
    }
    in_time = in_time || moved(g, number, from);
    atomic_fetch_sub(&g->asleep, 1);
    pthread_mutex_unlock(&g->lock);
    return in_time;
}

static weir_status barrier(weir_comm *c) {
    group *g = group_of(c);
    if (atomic_load(&g->broken)) return WEIR_ECOMM;
    const uint64_t round = atomic_load(&g->round);
    atomic_fetch_add(&g->passed[c->rank], 1);
    if (atomic_fetch_add(&g->here, 1) + 1 == g->n_rank) {
        atomic_store(&g->here, 0);
        atomic_store(&g->round, round + 1);
        wake_all(g);
    } else if (!wait_for(g, &g->round, round, c->seconds)) {
        note_silence(c);
    }
    return atomic_load(&g->round) == round ? WEIR_ECOMM : WEIR_OK;
}

/* ---- exchanges ----------------------------------------------------------------------------------------- */

static weir_status local_gather(weir_comm *c, const void *mine, const size_t *bytes, const void **peer) {
    group *g = group_of(c);
    const void **all = g->pointer[c->gathered % 2];
    all[c->rank] = bytes[c->rank] > 0 ? mine : NULL;
    WEIR_TRY(barrier(c));
    memcpy(peer, all, (size_t)g->n_rank * sizeof *peer);
    return WEIR_OK;
}

static weir_status local_release(weir_comm *c) { return barrier(c); }

/* ---- commands ------------------------------------------------------------------------------------------ */

/* A copy, since rank 0 goes on with its own; two in turn, since followers may work with the last one until
 * they ask for the next. All have that, so nobody reads the one before. */
static weir_status keep(group *g, const void *msg, size_t bytes) {
    const size_t which = atomic_load(&g->commands) % 2;
    if (bytes > g->store_cap[which]) {
        void *p = weir_alloc(bytes, 1);
        if (!p) return WEIR_ENOMEM;
        weir_free(g->store[which]);
        g->store[which] = p;
        g->store_cap[which] = bytes;
    }
    memcpy(g->store[which], msg, bytes);
    g->msg = g->store[which];
    g->msg_bytes = bytes;
    return WEIR_OK;
}

static weir_status give(weir_comm *c, const void *msg, size_t bytes) {
    group *g = group_of(c);
    const double until = weir_seconds() + c->seconds;
    while (atomic_load(&g->taken) < g->n_rank - 1 && !atomic_load(&g->broken)) {
        if (weir_seconds() > until) note_silence(c);
        weir__cpu_relax();
    }
    if (atomic_load(&g->broken)) return WEIR_ECOMM;
    const weir_status s = keep(g, msg, bytes);
    if (s != WEIR_OK) {
        local_abort(c, s, weir_status_str(s));
        return WEIR_ECOMM;
    }
    atomic_store(&g->taken, 0);
    atomic_fetch_add(&g->commands, 1);
    wake_all(g);
    return WEIR_OK;
}

static weir_status local_command(weir_comm *c, const void **msg, size_t *bytes) {
    local_comm *l = (local_comm *)c;
    group *g = l->g;
    if (c->rank == 0) return give(c, *msg, *bytes);
    (void)wait_for(g, &g->commands, l->heard, -1.0);
    if (atomic_load(&g->broken)) return WEIR_ECOMM;
    l->heard++;
    *msg = g->msg;
    *bytes = g->msg_bytes;
    atomic_fetch_add(&g->taken, 1);
    return WEIR_OK;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static void free_group(group *g) {
    for (int i = 0; i < 2; i++) weir_free(g->store[i]);
    pthread_cond_destroy(&g->wake);
    pthread_mutex_destroy(&g->lock);
    weir_free(g);
}

static void local_close(weir_comm *c) {
    group *g = group_of(c);
    pthread_mutex_lock(&g->lock);
    g->handle[c->rank] = NULL;
    pthread_mutex_unlock(&g->lock);
    weir_free(c);
    if (atomic_fetch_sub(&g->open, 1) == 1) free_group(g);
}

static const weir_comm_ops local_ops = {.kind = "local",
                                        .gather = local_gather,
                                        .release = local_release,
                                        .command = local_command,
                                        .give_up = local_abort,
                                        .ended = local_ended,
                                        .watch = local_watch,
                                        .failure = local_failure,
                                        .close = local_close};

static group *new_group(int n_rank, bool spin) {
    group *g = weir_calloc(1, sizeof *g);
    if (!g) return NULL;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    const bool lock = pthread_mutex_init(&g->lock, NULL) == 0,
               wake = lock && pthread_cond_init(&g->wake, &clock) == 0;
    pthread_condattr_destroy(&clock);
    if (!wake) {
        if (lock) pthread_mutex_destroy(&g->lock);
        weir_free(g);
        return NULL;
    }
    atomic_init(&g->taken, n_rank - 1);
    atomic_init(&g->open, 0);
    g->n_rank = n_rank;
    g->spins = spin ? WEIR_SPINS : 0;
    return g;
}

/* Handles [0, n_rank) of a group; false: none. */
static bool new_handles(group *g, double seconds, weir_comm **out) {
    for (int r = 0; r < g->n_rank; r++) {
        local_comm *c = weir_calloc(1, sizeof *c);
        if (!c) {
            while (r-- > 0) weir_free(out[r]);
            return false;
        }
        c->base = (weir_comm){
            .op = &local_ops, .rank = r, .n_rank = g->n_rank, .n_near = g->n_rank, .seconds = seconds};
        c->g = g;
        out[r] = g->handle[r] = &c->base;
    }
    return true;
}

weir_status weir__comm_local_open(weir_comm **out, int n_rank, double seconds, bool spin) {
    weir_comm *c[WEIR_RANKS];
    if (!out || !weir__comm_is_size(n_rank) || !(seconds > 0.0)) return WEIR_EINVAL;
    group *g = new_group(n_rank, spin);
    if (!g) return WEIR_ENOMEM;
    if (!new_handles(g, seconds, c)) {
        free_group(g);
        return WEIR_ENOMEM;
    }
    memcpy(out, c, (size_t)n_rank * sizeof *out);
    atomic_store(&g->open, n_rank);
    return WEIR_OK;
}
