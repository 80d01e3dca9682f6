/* Ranks as processes of an MPI job. Everything is point to point and non-blocking, tested against the
 * deadline: a collective could not say who is silent. One thread a process calls MPI; abort may come from
 * others, and is then told by the next call of that thread.
 *
 * A reason travels as a message of its own, for which every rank keeps a receive open. When a group has
 * failed, MPI_Finalize would wait for ranks that never come: the process ends by MPI_Abort, which ends the
 * job. */
#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
#include "kernels/comm/module.h"

enum {
    TAG_DATA = 1,
    TAG_COMMAND,
    TAG_REASON,
    SPINS = 2000,            /* tests before the core is offered to others */
    NAP_AFTER = 20000,       /* tests before a rank without work sleeps between two */
    NAP_NANOSECONDS = 200000 /* what a command that comes then waits on average twice over */
};

typedef struct mpi_comm {
    weir_comm base;
    MPI_Comm group;
    void *in; /* what the last gather brought */
    size_t in_cap;
    void *command[2]; /* rank 0: being sent, in turn; others: the last one */
    size_t command_cap[2];
    MPI_Request sending[2][WEIR_RANKS];
    int n_sending[2], turn;
    MPI_Request hearing;
    char heard[sizeof(weir_err)];
    pthread_mutex_t lock;
    weir_err why; /* under the lock */
    atomic_bool broken, untold;
} mpi_comm;

static bool ends_badly; /* at exit: MPI_Abort */

static void at_exit(void) {
    if (ends_badly) (void)MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
}

/* ---- failures ------------------------------------------------------------------------------------------ */

static void break_group(mpi_comm *m, const char *text, bool tell) {
    pthread_mutex_lock(&m->lock);
    if (!atomic_load(&m->broken)) {
        (void)weir_fail(&m->why, WEIR_ECOMM, "%s", text);
        atomic_store(&m->untold, tell);
        atomic_store(&m->broken, true);
        weir__comm_tell(&m->base, true);
    }
    pthread_mutex_unlock(&m->lock);
}

/* Hears of a failure, and tells of one. False: the group is broken. */
static bool is_whole(mpi_comm *m) {
    int come = 0;
    if (!atomic_load(&m->broken) && MPI_Test(&m->hearing, &come, MPI_STATUS_IGNORE) == MPI_SUCCESS && come) {
        m->heard[sizeof m->heard - 1] = '\0';
        break_group(m, m->heard, false);
    }
    if (atomic_load(&m->broken) && atomic_exchange(&m->untold, false)) {
        for (int r = 0; r < m->base.n_rank; r++) {
            MPI_Request sent;
            if (r == m->base.rank) continue;
            if (MPI_Isend(m->why.text, (int)sizeof m->why.text, MPI_CHAR, r, TAG_REASON, m->group, &sent) ==
                MPI_SUCCESS)
                (void)MPI_Request_free(&sent);
        }
    }
    return !atomic_load(&m->broken);
}

static void mpi_abort(weir_comm *c, weir_status why, const char *text) {
    weir_err line;
    (void)weir_fail(&line, why, "rank %d: %s", c->rank, text);
    break_group((mpi_comm *)c, line.text, true);
}

static bool mpi_ended(weir_comm *c) { return atomic_load(&((mpi_comm *)c)->broken); }

static void mpi_watch(weir_comm *c, uint32_t *word) {
    mpi_comm *m = (mpi_comm *)c;
    pthread_mutex_lock(&m->lock);
    c->watched = word;
    weir__comm_tell(c, atomic_load(&m->broken));
    pthread_mutex_unlock(&m->lock);
}

static void mpi_failure(weir_comm *c, weir_err *err) {
    mpi_comm *m = (mpi_comm *)c;
    pthread_mutex_lock(&m->lock);
    *err = m->why;
    pthread_mutex_unlock(&m->lock);
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

static void relax(long tests, bool may_sleep) {
    if (tests > NAP_AFTER && may_sleep)
        (void)nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
    else if (tests > SPINS)
        (void)sched_yield();
}

/* Until n requests are done; peer[i]: whose the i-th is. */
static weir_status wait_for(mpi_comm *m, MPI_Request *request, const int *peer, int n) {
    const double until = weir_seconds() + m->base.seconds;
    for (long tests = 0;; tests++) {
        int waiting = -1;
        for (int i = 0; i < n; i++) {
            int done = 1;
            if (request[i] != MPI_REQUEST_NULL) (void)MPI_Test(&request[i], &done, MPI_STATUS_IGNORE);
            if (!done && waiting < 0) waiting = i;
        }
        if (waiting < 0) return WEIR_OK;
        if (!is_whole(m)) return WEIR_ECOMM;
        if (tests % 64 == 63 && weir_seconds() > until) {
            weir_err line;
            (void)weir_fail(&line, WEIR_ECOMM, "rank %d silent for %g s, exchange %llu", peer[waiting],
                            m->base.seconds, (unsigned long long)m->base.gathered);
            break_group(m, line.text, true);
        }
        relax(tests, false);
    }
}

/* Messages of whole words may be longer than INT_MAX bytes. */
static bool as_elements(size_t bytes, int *count, MPI_Datatype *type) {
    const bool words = bytes % 4 == 0;
    const size_t n = words ? bytes / 4 : bytes;
    *type = words ? MPI_INT32_T : MPI_BYTE;
    *count = (int)n;
    return n <= INT_MAX;
}

static bool make_room(void **p, size_t *cap, size_t bytes) {
    if (bytes <= *cap) return true;
    void *more = weir_alloc(bytes, 1);
    if (!more) return false;
    weir_free(*p);
    *p = more;
    *cap = bytes;
    return true;
}

static weir_status fail_here(mpi_comm *m, weir_status why) {
    mpi_abort(&m->base, why, weir_status_str(why));
    (void)is_whole(m);
    return WEIR_ECOMM;
}

/* ---- exchanges ----------------------------------------------------------------------------------------- */

static weir_status post(mpi_comm *m, const void *mine, const size_t *bytes, const void **peer,
                        MPI_Request *request, int *who, int *n) {
    char *at = m->in;
    *n = 0;
    for (int r = 0; r < m->base.n_rank; r++) {
        MPI_Datatype type;
        int count;
        peer[r] = bytes[r] == 0 ? NULL : r == m->base.rank ? mine : at;
        if (r == m->base.rank) continue;
        if (bytes[r] > 0) {
            if (!as_elements(bytes[r], &count, &type)) return fail_here(m, WEIR_ENOTSUP);
            if (MPI_Irecv(at, count, type, r, TAG_DATA, m->group, &request[*n]) != MPI_SUCCESS)
                return fail_here(m, WEIR_EIO);
            who[(*n)++] = r;
            at += (bytes[r] + 63) / 64 * 64;
        }
        if (bytes[m->base.rank] == 0) continue;
        if (!as_elements(bytes[m->base.rank], &count, &type)) return fail_here(m, WEIR_ENOTSUP);
        if (MPI_Isend(mine, count, type, r, TAG_DATA, m->group, &request[*n]) != MPI_SUCCESS)
            return fail_here(m, WEIR_EIO);
        who[(*n)++] = r;
    }
    return WEIR_OK;
}

static weir_status mpi_gather(weir_comm *c, const void *mine, const size_t *bytes, const void **peer) {
    mpi_comm *m = (mpi_comm *)c;
    MPI_Request request[2 * WEIR_RANKS];
    int who[2 * WEIR_RANKS], n;
    size_t all = 0;
    if (!is_whole(m)) return WEIR_ECOMM;
    for (int r = 0; r < c->n_rank; r++) all += r == c->rank ? 0 : (bytes[r] + 63) / 64 * 64;
    if (!make_room(&m->in, &m->in_cap, all)) return fail_here(m, WEIR_ENOMEM);
    WEIR_TRY(post(m, mine, bytes, peer, request, who, &n));
    return wait_for(m, request, who, n);
}

/* What was gathered is a copy, and what was given has gone. */
static weir_status mpi_release(weir_comm *c) {
    (void)c;
    return WEIR_OK;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

/* Whom each of rank 0's sends is for. */
static const int everyone[WEIR_RANKS] = {1, 2, 3, 4, 5, 6, 7, 8};

static weir_status give(mpi_comm *m, const void *msg, size_t bytes) {
    const int t = m->turn ^= 1;
    MPI_Datatype type;
    int count;
    WEIR_TRY(wait_for(m, m->sending[t], everyone, m->n_sending[t]));
    m->n_sending[t] = 0;
    if (!as_elements(bytes, &count, &type)) return fail_here(m, WEIR_ENOTSUP);
    if (!make_room(&m->command[t], &m->command_cap[t], bytes)) return fail_here(m, WEIR_ENOMEM);
    memcpy(m->command[t], msg, bytes);
    for (int r = 1; r < m->base.n_rank; r++) {
        if (MPI_Isend(m->command[t], count, type, r, TAG_COMMAND, m->group,
                      &m->sending[t][m->n_sending[t]++]) != MPI_SUCCESS)
            return fail_here(m, WEIR_EIO);
    }
    return WEIR_OK;
}

/* Waits for as long as it takes, at the price of a sleep once nothing comes for a while. */
static weir_status take(mpi_comm *m, const void **msg, size_t *bytes) {
    MPI_Status status;
    int there = 0, n = 0;
    for (long tests = 0; !there; tests++) {
        if (!is_whole(m)) return WEIR_ECOMM;
        if (MPI_Iprobe(0, TAG_COMMAND, m->group, &there, &status) != MPI_SUCCESS)
            return fail_here(m, WEIR_EIO);
        if (!there) relax(tests, true);
    }
    (void)MPI_Get_count(&status, MPI_BYTE, &n);
    if (n < 0 || !make_room(&m->command[0], &m->command_cap[0], (size_t)n)) return fail_here(m, WEIR_ENOMEM);
    if (MPI_Recv(m->command[0], n, MPI_BYTE, 0, TAG_COMMAND, m->group, MPI_STATUS_IGNORE) != MPI_SUCCESS)
        return fail_here(m, WEIR_EIO);
    *msg = m->command[0];
    *bytes = (size_t)n;
    return WEIR_OK;
}

static weir_status mpi_command(weir_comm *c, const void **msg, size_t *bytes) {
    mpi_comm *m = (mpi_comm *)c;
    if (!is_whole(m)) return WEIR_ECOMM;
    return c->rank == 0 ? give(m, *msg, *bytes) : take(m, msg, bytes);
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static void mpi_close(weir_comm *c) {
    mpi_comm *m = (mpi_comm *)c;
    for (int t = 0; t < 2 && is_whole(m); t++) (void)wait_for(m, m->sending[t], everyone, m->n_sending[t]);
    if (!is_whole(m)) { /* requests may be under way: their memory stays until the process ends */
        ends_badly = true;
        return;
    }
    (void)MPI_Cancel(&m->hearing);
    (void)MPI_Wait(&m->hearing, MPI_STATUS_IGNORE);
    (void)MPI_Comm_free(&m->group);
    (void)MPI_Finalize();
    pthread_mutex_destroy(&m->lock);
    weir_free(m->in);
    for (int t = 0; t < 2; t++) weir_free(m->command[t]);
    weir_free(m);
}

static const weir_comm_ops mpi_ops = {.kind = "mpi",
                                      .gather = mpi_gather,
                                      .release = mpi_release,
                                      .command = mpi_command,
                                      .give_up = mpi_abort,
                                      .ended = mpi_ended,
                                      .watch = mpi_watch,
                                      .failure = mpi_failure,
                                      .close = mpi_close};

static weir_status start(mpi_comm *m, weir_err *err) {
    int provided;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
        return weir_fail(err, WEIR_EIO, "MPI does not start");
    (void)MPI_Comm_dup(MPI_COMM_WORLD, &m->group);
    (void)MPI_Comm_set_errhandler(m->group, MPI_ERRORS_RETURN);
    (void)MPI_Comm_rank(m->group, &m->base.rank);
    (void)MPI_Comm_size(m->group, &m->base.n_rank);
    (void)atexit(at_exit);
    if (!weir__comm_is_size(m->base.n_rank)) {
        ends_badly = true;
        return weir_fail(err, WEIR_EINVAL, "an MPI job of %d processes: expected 1, 2, 4 or 8",
                         m->base.n_rank);
    }
    MPI_Comm near;
    m->base.n_near = m->base.n_rank;
    if (MPI_Comm_split_type(m->group, MPI_COMM_TYPE_SHARED, m->base.rank, MPI_INFO_NULL, &near) ==
        MPI_SUCCESS) {
        (void)MPI_Comm_size(near, &m->base.n_near);
        (void)MPI_Comm_free(&near);
    }
    (void)MPI_Irecv(m->heard, (int)sizeof m->heard, MPI_CHAR, MPI_ANY_SOURCE, TAG_REASON, m->group,
                    &m->hearing);
    return WEIR_OK;
}

static weir_status open_mpi(weir_comm **out, double seconds, weir_err *err) {
    mpi_comm *m = weir_calloc(1, sizeof *m);
    if (!m) return weir_fail(err, WEIR_ENOMEM, "out of memory for the ranks");
    m->base = (weir_comm){.op = &mpi_ops, .seconds = seconds};
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        weir_free(m);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for the ranks");
    }
    const weir_status s = start(m, err);
    if (s != WEIR_OK) {
        pthread_mutex_destroy(&m->lock);
        weir_free(m);
        return s;
    }
    *out = &m->base;
    return WEIR_OK;
}

__attribute__((visibility("default"))) extern const weir_comm_module weir_comm_module_entry;
const weir_comm_module weir_comm_module_entry = {WEIR_COMM_MODULE_VERSION, open_mpi};
