#ifndef WEIR_KERNELS_COMM_COMM_H
#define WEIR_KERNELS_COMM_COMM_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* A group of 1, 2, 4 or 8 ranks that hold shares of the same models. Each rank has a handle of its own, used
 * by one thread at a time (abort: by any). All ranks make the same calls in the same order with the same
 * sizes.
 *
 * A call that waits for others returns ECOMM when one of them is silent for the group's deadline, or when any
 * rank has called abort; from then on every call of every rank returns ECOMM at once, and weir__comm_failure
 * says why. Followers wait for a command without a limit: rank 0 may have nothing to do. */
enum { WEIR_RANKS = 8, WEIR_AGREE_BYTES = 4096 };

typedef struct weir_comm weir_comm;

typedef enum weir_data { WEIR_DATA_AUTO, WEIR_DATA_PEERS, WEIR_DATA_NCCL } weir_data;

/* What an implementation provides. */
typedef struct weir_comm_ops {
    const char *kind; /* "local", "mpi" */
    weir_status (*gather)(weir_comm *c, const void *mine, const size_t *bytes, const void **peer);
    weir_status (*release)(weir_comm *c);
    weir_status (*command)(weir_comm *c, const void **msg, size_t *bytes);
    void (*give_up)(weir_comm *c, weir_status why, const char *text);
    bool (*ended)(weir_comm *c);
    void (*watch)(weir_comm *c, uint32_t *word);
    void (*failure)(weir_comm *c, weir_err *err);
    void (*close)(weir_comm *c);
} weir_comm_ops;

struct weir_comm {
    const weir_comm_ops *op;
    int rank, n_rank;
    int n_near;        /* of them, those that share this machine's memory, this one counted */
    weir_data data;    /* how devices exchange; not used on the CPU */
    double seconds;    /* deadline of this rank's waits; may be changed between them */
    uint64_t gathered; /* gathers so far; other threads read it, and bytes, by weir__comm_counts */
    uint64_t bytes;    /* that this rank sent to each of the others by them */
    uint32_t *watched; /* what watch was given; the implementation's, under its lock */
};

/* Every rank's data: peer[r] points to the bytes[r] bytes that rank r passed as `mine`, NULL where that is 0.
 * They are good until release, or until this rank calls gather again. `mine` must not change until release
 * has returned; without a release, until the next gather has. */
weir_status weir__comm_gather(weir_comm *c, const void *mine, const size_t *bytes, const void **peer);
weir_status weir__comm_release(weir_comm *c);

/* The same for up to WEIR_AGREE_BYTES of each rank, copied: all has room for n_rank times as much. */
weir_status weir__comm_agree(weir_comm *c, const void *mine, void *all, size_t bytes);

/* Rank 0: hands *msg of *bytes to all others. Others: waits for it; good until the next command. */
weir_status weir__comm_command(weir_comm *c, const void **msg, size_t *bytes);

/* Ends the group for the reason given: one line. Does not wait. The first reason stays. */
void weir__comm_abort(weir_comm *c, weir_status why, const char *text);
/* Whether it has ended; any thread may ask. */
bool weir__comm_ended(weir_comm *c);
/* A word that becomes 1 when it ends, at once if it has: for those who wait in a kernel. It must stay until
 * watch(NULL) has returned, or close. */
void weir__comm_watch(weir_comm *c, uint32_t *word);
/* For implementations, under their lock: whether the word is due. */
static inline void weir__comm_tell(const weir_comm *c, bool ended) {
    if (ended && c->watched) __atomic_store_n(c->watched, 1u, __ATOMIC_RELEASE);
}
/* The reason in words, and ECOMM. */
weir_status weir__comm_failure(weir_comm *c, weir_err *err);
void weir__comm_close(weir_comm *c); /* NULL allowed */

/* Of any thread, while the handle is open. */
void weir__comm_counts(const weir_comm *c, uint64_t *gathered, uint64_t *bytes);
/* Of the rank's own thread: an exchange that is not a gather. */
void weir__comm_count(weir_comm *c, size_t bytes);

static inline int weir__comm_rank(const weir_comm *c) { return c ? c->rank : 0; }
static inline int weir__comm_ranks(const weir_comm *c) { return c ? c->n_rank : 1; }

/* Ranks as threads of this process, which hand each other pointers: out has n_rank handles. The group's
 * memory goes with the last close. seconds: the deadline. spin: whether there is a core for every thread
 * that waits. */
weir_status weir__comm_local_open(weir_comm **out, int n_rank, double seconds, bool spin);

/* A number of ranks that there can be: 1, 2, 4, 8. */
static inline bool weir__comm_is_size(int n_rank) {
    return n_rank >= 1 && n_rank <= WEIR_RANKS && (n_rank & (n_rank - 1)) == 0;
}

#endif /* WEIR_KERNELS_COMM_COMM_H */
