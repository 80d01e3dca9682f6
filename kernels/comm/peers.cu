/* Joining a group: memory that its devices share, and what becomes of a wait that was given up. */
#include "kernels/comm/peers.cuh"

using comm::agree;
using comm::fault;
using comm::peers;

namespace {

/* A small allocation shares a block with others, and a handle of another process opens the block. */
enum { BLOCK = 2 << 20 };
enum { FLAGS = comm::BLOCKS * WEIR_RANKS, OWN_BYTES = 256, PROBE = 1 << 16 /* floats */ };

size_t slice_bytes(size_t floats) { return (floats * sizeof(float) + 255) / 256 * 256; }

size_t flag_bytes() { return FLAGS * sizeof(uint64_t); }

size_t shared_bytes(int n_rank, size_t floats) {
    const size_t bytes = flag_bytes() + 2 * static_cast<size_t>(n_rank) * slice_bytes(floats);
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* What ranks tell each other. */
struct told {
    int32_t status, device, blocks;
    char *shared;
    cudaIpcMemHandle_t handle; /* of shared, between processes */
    weir_err why;
};
static_assert(sizeof(told) <= WEIR_AGREE_BYTES, "agreed at once");

bool between_processes(const weir_comm *c) { return strcmp(c->op->kind, "local") != 0; }

/* What shows whether peers' memory works: a partial sum of a rank, and the sum. */
struct trial {
    size_t n;
    float *host, *part, *sum;
};

weir_status open_trial(weir_backend *be, size_t floats, trial *t) {
    t->n = floats < PROBE ? floats : static_cast<size_t>(PROBE);
    const size_t bytes = t->n * sizeof *t->host;
    t->host = static_cast<float *>(weir_calloc(t->n, sizeof *t->host));
    t->part = static_cast<float *>(weir__backend_alloc(be, bytes));
    t->sum = static_cast<float *>(weir__backend_alloc(be, bytes));
    return t->host && t->part && t->sum ? WEIR_OK : WEIR_EDEVMEM;
}

void close_trial(weir_backend *be, const trial *t) {
    if (t->sum) weir__backend_free(be, t->sum);
    if (t->part) weir__backend_free(be, t->part);
    weir_free(t->host);
}

weir_status open_memory(weir_cuda *cu, int n_rank, size_t floats) {
    weir_backend *be = &cu->base;
    const size_t shared = shared_bytes(n_rank, floats);
    weir_cuda_peers *p = static_cast<weir_cuda_peers *>(weir_calloc(1, sizeof *p));
    if (!p) return WEIR_ENOMEM;
    cu->peers = p;
    p->floats = slice_bytes(floats) / sizeof(float);
    p->shared = static_cast<char *>(weir__backend_alloc(be, shared));
    p->own = static_cast<uint32_t *>(weir__backend_alloc(be, OWN_BYTES));
    if (!p->shared || !p->own) return cu->broken ? WEIR_ECUDA : WEIR_EDEVMEM;
    WEIR_TRY(weir__backend_zero(be, p->shared, shared)); /* no data may be NaN by chance */
    WEIR_TRY(weir__backend_zero(be, p->own, OWN_BYTES));
    void *seen = nullptr;
    p->mapped = be->stream->alloc_mapped(be, sizeof(fault) + sizeof(uint64_t), &seen);
    if (!p->mapped) return cu->broken ? WEIR_ECUDA : WEIR_ENOMEM;
    p->fault = static_cast<fault *>(p->mapped);
    p->stop = reinterpret_cast<uint32_t *>(p->fault + 1);
    p->of.why = static_cast<fault *>(seen);
    p->of.stop = reinterpret_cast<uint32_t *>(p->of.why + 1);
    p->of.done = reinterpret_cast<uint64_t *>(p->own);
    p->of.left = p->own + 2;
    p->of.broken = p->own + 3;
    p->of.slice = slice_bytes(floats);
    return be->stream->wait(be);
}

/* Access of this device to the one of rank r. */
weir_status reach(weir_cuda *cu, int device, weir_err *why) {
    int can = 0;
    if (device == cu->device) return WEIR_OK;
    WEIR_CUDA_TRY(&cu->base, cudaDeviceCanAccessPeer(&can, cu->device, device), "asking for peer access");
    if (!can) return weir_fail(why, WEIR_ENOTSUP, "%s cannot reach the memory of cuda:%d", cu->name, device);
    const cudaError_t e = cudaDeviceEnablePeerAccess(device, 0);
    if (e != cudaErrorPeerAccessAlreadyEnabled)
        return weir__cuda_check(&cu->base, e, "peer access to cuda:%d", device);
    cudaGetLastError();
    return WEIR_OK;
}

/* The shared memory of rank r, as this device sees it. */
weir_status map_of(weir_cuda *cu, const told *all, int r, char **out, weir_err *why) {
    const weir_comm *c = cu->base.comm;
    *out = all[r].shared;
    if (r == c->rank) return WEIR_OK;
    if (!between_processes(c)) return reach(cu, all[r].device, why);
    void *p = nullptr;
    const cudaError_t e = cudaIpcOpenMemHandle(&p, all[r].handle, cudaIpcMemLazyEnablePeerAccess);
    cudaGetLastError();
    if (e != cudaSuccess)
        return weir_fail(why, WEIR_ENOTSUP, "%s cannot map the memory of rank %d: %s", cu->name, r,
                         cudaGetErrorString(e));
    cu->peers->opened[r] = p;
    *out = static_cast<char *>(p);
    return WEIR_OK;
}

/* What another process opens. */
weir_status export_memory(weir_cuda *cu, cudaIpcMemHandle_t *handle, weir_err *why) {
    const cudaError_t e = cudaIpcGetMemHandle(handle, cu->peers->shared);
    if (e == cudaSuccess) return WEIR_OK;
    cudaGetLastError();
    return weir_fail(why, WEIR_ENOTSUP, "%s: its memory cannot be shared between processes: %s", cu->name,
                     cudaGetErrorString(e));
}

told status_of(const weir_cuda *cu, weir_status s, const weir_err *why) {
    told t = {};
    t.status = s;
    t.device = cu->device;
    t.blocks = weir__cuda_exchange_blocks(cu);
    t.shared = cu->peers ? cu->peers->shared : nullptr;
    if (why->text[0]) {
        t.why = *why;
    } else if (s != WEIR_OK) {
        t.why = cu->base.err;
    }
    return t;
}

/* Some machines say that devices reach each other, and copies are garbage (sharded users' reports, design
 * section 4). Whole numbers, so that their sum is exact. */
weir_status probe(weir_backend *be, const trial *t, weir_err *why) {
    const int n_rank = be->comm->n_rank, rank = be->comm->rank;
    const size_t bytes = t->n * sizeof *t->host;
    weir_reduce a = {};
    a.part = t->part, a.y = t->sum, a.n_row = 1, a.has = (1u << n_rank) - 1;
    a.ldy = a.n = static_cast<int64_t>(t->n);
    for (size_t i = 0; i < t->n; i++) t->host[i] = static_cast<float>((i * 7 + 1) % 1021 << 2 * rank);
    WEIR_TRY(weir__backend_upload(be, t->part, t->host, bytes));
    WEIR_TRY(weir__exchange_cuda.reduce(be, &a));
    WEIR_TRY(weir__backend_download(be, t->host, t->sum, bytes));
    const size_t all = ((static_cast<size_t>(1) << 2 * n_rank) - 1) / 3; /* 1 + 4 + 16 + … */
    for (size_t i = 0; i < t->n; i++) {
        if (t->host[i] != static_cast<float>((i * 7 + 1) % 1021 * all))
            return weir_fail(why, WEIR_ECUDA, "%s reads other values than its peers write",
                             weir__cuda_of(be)->name);
    }
    return WEIR_OK;
}

/* Of every rank's device, shared by the ranks that it has. */
int blocks_of_all(const told *all, int n_rank) {
    int least = comm::BLOCKS;
    for (int r = 0; r < n_rank; r++) {
        int here = 0;
        for (int i = 0; i < n_rank; i++) here += all[i].device == all[r].device;
        const int n = all[r].blocks / here;
        least = n < least ? n : least;
    }
    return least;
}

weir_status connect(weir_cuda *cu, const told *all, weir_err *why) {
    peers *p = &cu->peers->of;
    const weir_comm *c = cu->base.comm;
    p->rank = c->rank;
    p->blocks = blocks_of_all(all, c->n_rank);
    if (p->blocks < 1)
        return weir_fail(why, WEIR_ENOTSUP, "%s has no room for the exchanges of %d ranks", cu->name,
                         c->n_rank);
    for (int r = 0; r < c->n_rank; r++) {
        char *at;
        WEIR_TRY(map_of(cu, all, r, &at, why));
        p->flag[r] = reinterpret_cast<uint64_t *>(at);
        p->data[r] = at + flag_bytes();
    }
    return WEIR_OK;
}

} // namespace

size_t weir__cuda_join_bytes(int n_rank, size_t floats) {
    return n_rank == 1 ? 0 : shared_bytes(n_rank, floats) + OWN_BYTES;
}

/* Steps that all ranks begin once all have ended the one before. */
static weir_status join_group(weir_cuda *cu, weir_comm *comm, size_t floats, trial *t, weir_err *err) {
    weir_backend *be = &cu->base;
    weir_err why = {};
    told all[WEIR_RANKS], last[WEIR_RANKS];
    cudaIpcMemHandle_t handle = {};
    weir_status s = weir__cuda_enter_now(cu, "joining");
    if (s == WEIR_OK && comm->n_near != comm->n_rank)
        s = weir_fail(&why, WEIR_ENOTSUP, "%s: ranks on other machines", cu->name);
    if (s == WEIR_OK) s = open_memory(cu, comm->n_rank, floats);
    if (s == WEIR_OK && between_processes(comm)) s = export_memory(cu, &handle, &why);
    if (s == WEIR_OK) s = open_trial(be, cu->peers->floats, t);
    told mine = status_of(cu, s, &why);
    mine.handle = handle;
    WEIR_TRY(agree(comm, mine, all, err));
    be->comm = comm;
    weir__comm_watch(comm, cu->peers->stop);
    s = connect(cu, all, &why);
    WEIR_TRY(agree(comm, status_of(cu, s, &why), last, err));
    s = probe(be, t, &why);
    return agree(comm, status_of(cu, s, &why), last, err);
}

/* What this rank took for a group that cannot be by peer memory. */
static void drop(weir_backend *be) {
    weir_cuda *cu = weir__cuda_of(be);
    weir_cuda_peers *p = cu->peers;
    if (!p) return;
    if (be->comm) weir__comm_watch(be->comm, nullptr);
    for (void *at : p->opened)
        if (at) cudaIpcCloseMemHandle(at);
    if (p->shared) weir__backend_free(be, p->shared);
    if (p->own) weir__backend_free(be, p->own);
    if (p->mapped) be->stream->free_mapped(be, p->mapped);
    weir_free(p);
    cu->peers = nullptr;
    be->comm = nullptr;
}

weir_status weir__cuda_join(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err) {
    trial t = {};
    weir_err why = {}, nccl = {};
    if (comm->data == WEIR_DATA_NCCL) return weir__cuda_nccl_join(be, comm, floats, err);
    const weir_status s = join_group(weir__cuda_of(be), comm, floats, &t, &why);
    close_trial(be, &t);
    if (s == WEIR_OK) return s;
    if (s != WEIR_ENOTSUP || comm->data != WEIR_DATA_AUTO) return weir_fail(err, s, "%s", why.text);
    drop(be); /* all ranks have the same status, and nobody has stored anything */
    if (weir__cuda_nccl_join(be, comm, floats, &nccl) == WEIR_OK) {
        be->exchange_why = why;
        return WEIR_OK;
    }
    return weir_fail(err, s, "%.200s; and not by NCCL: %.200s", why.text, nccl.text);
}

/* The stream is dry, so all that peers had to store here has come, and once all say so nobody stores anything
 * any more. After a failure some of it may still be on its way: then the memory stays, for as long as the
 * process. Mappings of other processes end before the memory does. */
void weir__cuda_leave(weir_backend *be) {
    weir_cuda *cu = weir__cuda_of(be);
    weir_cuda_peers *p = cu->peers;
    weir_comm *c = be->comm;
    if (!p) return;
    if (c && !cu->broken) (void)be->stream->wait(be);
    if (cu->stuck) return; /* as at the end of the backend */
    for (void *&at : p->opened) {
        if (at) cudaIpcCloseMemHandle(at);
        at = nullptr;
    }
    int32_t here = 0, all[WEIR_RANKS];
    if (c && weir__comm_agree(c, &here, all, sizeof here) != WEIR_OK) p->shared = nullptr;
    drop(be);
}

weir_status weir__cuda_peers_check(weir_cuda *cu, bool waits) {
    const weir_cuda_peers *p = cu->peers;
    weir_comm *c = cu->base.comm;
    if (!p || !c) return weir__cuda_nccl_check(cu, waits);
    if (__atomic_load_n(&p->fault->here, __ATOMIC_ACQUIRE)) {
        weir_err why = {};
        weir_fail(&why, WEIR_ECOMM, "rank %u silent for %g s, exchange %llu", p->fault->rank, c->seconds,
                  static_cast<unsigned long long>(p->fault->exchange));
        weir__comm_abort(c, WEIR_ECOMM, why.text);
    }
    return weir__comm_ended(c) ? WEIR_ECOMM : WEIR_OK;
}
