#ifndef WEIR_KERNELS_COMM_PEERS_CUH
#define WEIR_KERNELS_COMM_PEERS_CUH

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"

/* Exchanges of ranks inside kernels. Every rank has memory that all others can write:
 *
 *   data   (2, n_rank, slice)   what each rank gives: set, from rank
 *   flag   (BLOCKS, WEIR_RANKS) of block b, from each rank: the last exchange whose data are here
 *
 * Exchange e, from 1, is one kernel, with as many blocks on every rank:
 *
 *   1. block b stores its part into data[e % 2][own rank] of every other rank
 *   2. after a barrier, flag[b][own rank] of every rank becomes e: stores with release at system scope
 *   3. it waits until its own flag[b][…] are all at e or past it: loads with acquire at system scope
 *   4. after a barrier, it reads what the others have stored for it
 *   5. the last block to come here makes e the number of exchanges so far
 *
 * Two sets are enough: whoever stores for e has ended e - 1, in which it waited for block 0 of every rank;
 * and a rank's kernel e - 1 begins after its kernel e - 2 has read everything. tests/protocol checks it. */
namespace comm {

enum { BLOCKS = 64 };

/* Written by the device, in memory of the host. */
struct fault {
    uint32_t here; /* 1: the rest is valid */
    uint32_t rank; /* that was silent */
    uint64_t exchange;
};

/* A kernel's argument. */
struct peers {
    char *data[WEIR_RANKS]; /* of each rank, as this device sees it */
    uint64_t *flag[WEIR_RANKS];
    uint64_t *done;   /* own: exchanges so far */
    uint32_t *left;   /* own: blocks that have come to the end of this one */
    uint32_t *broken; /* own: 1 after a wait that was given up; then exchanges do nothing */
    fault *why;
    const uint32_t *stop; /* the host's: give up */
    size_t slice;         /* bytes */
    uint64_t ns;          /* deadline of a wait */
    int32_t rank;
    int32_t blocks; /* of a launch at most; the same on all ranks */
};

} // namespace comm

/* What a backend has joined. */
struct weir_cuda_peers {
    comm::peers of;
    char *shared;       /* flags and data */
    uint32_t *own;      /* done, left, broken */
    comm::fault *fault; /* as the host sees it, and after it `stop` */
    uint32_t *stop;
    void *mapped;
    size_t floats;            /* of a slice */
    void *opened[WEIR_RANKS]; /* memory of other processes, mapped here; else NULL */
};
typedef struct weir_cuda_peers weir_cuda_peers;

namespace comm {

/* All ranks' word, which has their status and why: the first failure, with its rank. */
template <class Told> weir_status agree(weir_comm *c, const Told &mine, Told *all, weir_err *err) {
    WEIR_TRY(weir__comm_agree(c, &mine, all, sizeof mine));
    for (int r = 0; r < c->n_rank; r++) {
        const weir_status s = static_cast<weir_status>(all[r].status);
        if (s != WEIR_OK)
            return weir_fail(err, s, "rank %d: %s", r,
                             all[r].why.text[0] ? all[r].why.text : weir_status_str(s));
    }
    return WEIR_OK;
}

} // namespace comm

weir_status weir__cuda_join(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err);
size_t weir__cuda_join_bytes(int n_rank, size_t floats);
weir_status weir__cuda_nccl_join(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err);
void weir__cuda_nccl_leave(weir_backend *be);        /* does nothing where it has not joined by it */
int weir__cuda_exchange_blocks(const weir_cuda *cu); /* that the device runs at once, of any exchange */
void weir__cuda_leave(weir_backend *be);             /* also at the end of the backend */
weir_status weir__cuda_nccl_check(weir_cuda *cu, bool waits); /* as the next; waits: the stream is not dry */
/* WEIR_OK, or ECOMM after the group has ended: looks whether a wait inside a kernel was given up, which ends
 * it. */
weir_status weir__cuda_peers_check(weir_cuda *cu, bool waits);

#endif /* WEIR_KERNELS_COMM_PEERS_CUH */
