#ifndef WEIR_KERNELS_ACCEPT_SWEEP_TEAM_CUH
#define WEIR_KERNELS_ACCEPT_SWEEP_TEAM_CUH

/* A team: blocks that work on one item (a row, a session), one after another until the items run out. All
 * teams are resident at once, so the blocks of one may wait for each other. Every thread of a team runs the
 * same scalar code on equal values and takes part in each collective; one thread writes results.
 *
 * Nothing depends on how many blocks a team has or how many teams there are: sums are over whole chunks of
 * stats.h, one warp each, and every block merges the chunks in the order of the tree; minima and integer sums
 * have no order.
 *
 * A pass over the vocabulary: chunk partials to the team's scratch, one barrier, every block merges all
 * partials. The next pass writes to the other buffer. A thread that writes to a buffer again has passed the
 * next pass's barrier, and no thread reaches that barrier before it has read the first buffer. */
#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/accept/sweep/order.h"
#include "kernels/accept/sweep/qp.h"

enum {
    TEAM_THREADS = 256,
    TEAM_WARPS = TEAM_THREADS / 32,
    TEAM_PER_SM = 2, /* resident blocks that the launch bounds guarantee */
    TEAM_CHUNKS = 2, /* chunks that justify a block */
    TEAM_SUMS = 4,   /* at most, of a chunk */
    /* only teams of two or more blocks wait */
    TEAM_COUNTER_STRIDE = WEIR_COUNT_TEAM / (WEIR_TEAM_BLOCKS / 2),
};
#define TEAM_KERNEL __launch_bounds__(TEAM_THREADS, TEAM_PER_SM)

/* A function that contains a pass is called from many places: not inlined, to keep one copy. */
#ifdef __CUDACC__
#define TEAM_CALL static inline __device__ __noinline__
#define TEAM_FN static __device__ __forceinline__
#else
#define TEAM_CALL static inline
#define TEAM_FN static inline
#endif

struct team_shared {
    float sum[TEAM_WARPS][TEAM_SUMS];
    float group[WEIR_VOCAB_MAX / WEIR_CHUNK / TEAM_THREADS][TEAM_SUMS];
    uint64_t least[TEAM_WARPS][2];
    int32_t most;
};

struct team_search_shared; /* truncate.cuh */

/* Device memory of all teams. */
struct team_space {
    uint32_t *barrier;
    float *scratch;
    int64_t per_block; /* floats */
};

struct weir_env {
    team_shared *shared;
    team_search_shared *search; /* NULL in kernels that do not truncate */
    float *kept;                /* shared memory for the weights of a chunk a warp, or NULL */
    uint32_t *barrier;
    float *scratch;        /* two buffers, then the bins of the threshold search */
    int32_t index, n_team; /* this team; index >= n_team: a spare block, which does nothing */
    int32_t rank, size;    /* this block's number in it */
    int32_t n_chunk;
    int32_t buffer;               /* floats of one: a pass's sums of the chunks, or minima of the blocks */
    mutable uint32_t turn, fill;  /* passes; fills of the search's bins */
    mutable const float *weighed; /* logits of the row whose weights are kept, or NULL */
};

/* ---- making teams -------------------------------------------------------------------------------------- */

/* TEAM_SUMS floats a chunk, or two numbers of 64 bits a block: a team in parts has more blocks than a row has
 * chunks for. */
TEAM_FN int32_t team_buffer_floats(int32_t n_chunk, int32_t size) {
    return n_chunk > size ? TEAM_SUMS * n_chunk : TEAM_SUMS * size;
}

TEAM_FN int32_t team_chunks(int32_t n_vocab) { return (n_vocab + WEIR_CHUNK - 1) / WEIR_CHUNK; }

/* of_item: rows of an item that parts of its team (team_part) work on at once. */
TEAM_FN weir_env team_begin(team_shared *shared, team_search_shared *search, const team_space &space,
                            int64_t n_item, int32_t n_vocab, int32_t of_item = 1) {
    ptx::grid_wait(); /* a team that is launched plainly may begin early */
    weir_env t;
    t.shared = shared;
    t.search = search;
    t.kept = nullptr;
    t.weighed = nullptr;
    t.n_chunk = team_chunks(n_vocab);
    const int32_t n_block = static_cast<int32_t>(gridDim.x), block = static_cast<int32_t>(blockIdx.x);
    const int32_t useful = of_item * ((t.n_chunk + TEAM_CHUNKS - 1) / TEAM_CHUNKS);
    const int32_t share = n_item < n_block ? n_block / static_cast<int32_t>(n_item < 1 ? 1 : n_item) : 1;
    t.size = useful < share ? useful : share;
    if (t.size > TEAM_THREADS) t.size = TEAM_THREADS;
    t.buffer = team_buffer_floats(t.n_chunk, t.size);
    t.n_team = n_block / t.size;
    t.index = block / t.size;
    t.rank = block % t.size;
    t.barrier = space.barrier + static_cast<int64_t>(t.index) * TEAM_COUNTER_STRIDE;
    t.scratch = space.scratch + static_cast<int64_t>(t.index) * t.size * space.per_block;
    t.turn = t.fill = 0;
    return t;
}

/* The team's blocks in n equal parts, each a team of its own, for item `index`; index >= n_team: one of
 * the few blocks that are left over. n is no more than the team's blocks. What parts find is seen by all
 * after team_wait on the team, which then has its scratch again. A part's barrier lies beside those of
 * teams: whole teams have the first word of a stride, and no two parts of two blocks or more begin in one
 * pair of blocks. */
TEAM_FN weir_env team_part(const weir_env &t, const team_space &space, int32_t n) {
    weir_env p = t;
    p.n_team = n;
    p.size = t.size / n;
    p.buffer = team_buffer_floats(p.n_chunk, p.size);
    p.index = t.rank / p.size;
    p.rank = t.rank % p.size;
    const int32_t first = t.index * t.size + p.index * p.size;
    p.barrier = space.barrier + static_cast<int64_t>(first / 2) * TEAM_COUNTER_STRIDE + 1;
    p.scratch = space.scratch + first * space.per_block;
    p.turn = p.fill = 0;
    return p;
}

/* The one thread of a team that writes results. */
TEAM_FN bool team_writes(const weir_env *t) { return t->rank == 0 && threadIdx.x == 0; }

/* ---- waiting ------------------------------------------------------------------------------------------- */

/* Waits until every block of the team has arrived; each then sees what all wrote before. The first block adds
 * 2^31 - (size - 1), the others 1: the top bit flips when the last arrives, and the rest of the word is zero
 * again, for later teams of any size. */
TEAM_FN void team_wait(const weir_env *t) {
    __syncthreads();
    if (t->size == 1) return;
    if (threadIdx.x == 0) {
        const uint32_t top = 0x80000000u;
        const uint32_t add = t->rank == 0 ? top - static_cast<uint32_t>(t->size - 1) : 1u;
        const uint32_t old = ptx::add_release(t->barrier, add);
        while (!((ptx::ld_acquire(t->barrier) ^ old) & top)) ptx::spin();
    }
    __syncthreads();
}

/* ---- chunks -------------------------------------------------------------------------------------------- */

TEAM_FN int32_t team_lane() { return static_cast<int32_t>(threadIdx.x) % 32; }

/* A warp's chunks: for (c = team_first(t); c < t->n_chunk; c += team_stride(t)); neighbouring chunks go to
 * different blocks. */
TEAM_FN int32_t team_first(const weir_env *t) {
    return static_cast<int32_t>(threadIdx.x) / 32 * t->size + t->rank;
}
TEAM_FN int32_t team_stride(const weir_env *t) { return TEAM_WARPS * t->size; }

/* Where this warp keeps the weights of its chunk, a lane those that it loads; NULL where a warp has several
 * chunks, or nothing is kept. */
TEAM_FN float *team_kept(const weir_env *t) {
    if (!t->kept || t->n_chunk > team_stride(t)) return nullptr;
    return t->kept + threadIdx.x / 32 * WEIR_CHUNK + team_lane();
}

/* This pass's buffer. */
TEAM_FN float *team_buffer(const weir_env *t) {
    return t->scratch + static_cast<int64_t>(t->turn % 2) * t->buffer;
}

/* ---- sums in the order of the tree --------------------------------------------------------------------- */

/* Lane 0: the tree over the first n (1 … 32) lanes. */
template <int N> TEAM_FN void team_warp_tree(float (&x)[N], int32_t n) {
    for (int32_t step = 1; step < 32 && step < n; step *= 2) {
        const auto right = ptx::shfl_down(ptx::many_of(x), step);
        for (int i = 0; i < N; i++)
            if (team_lane() + step < n) x[i] = x[i] + right.v[i];
    }
}

/* 256 chunks from `base` on: a subtree, since it is aligned. */
template <int N>
TEAM_FN void team_merge_group(const weir_env *t, const float *partial, int32_t base, float (&out)[N]) {
    const int32_t left = t->n_chunk - base, warp = static_cast<int32_t>(threadIdx.x) / 32;
    const int32_t n_lane = left - 32 * warp, c = base + static_cast<int32_t>(threadIdx.x);
    if (n_lane > 0) {
        float x[N];
        for (int i = 0; i < N; i++) x[i] = c < t->n_chunk ? partial[c * N + i] : 0.0f;
        team_warp_tree(x, n_lane < 32 ? n_lane : 32);
        if (team_lane() == 0)
            for (int i = 0; i < N; i++) t->shared->sum[warp][i] = x[i];
    }
    __syncthreads();
    const int32_t n_warp = (left + 31) / 32;
    for (int i = 0; i < N; i++) {
        float w[TEAM_WARPS];
#pragma unroll
        for (int k = 0; k < TEAM_WARPS; k++) w[k] = k < n_warp ? t->shared->sum[k][i] : 0.0f;
#pragma unroll
        for (int step = 1; step < TEAM_WARPS; step *= 2)
#pragma unroll
            for (int k = 0; k + step < TEAM_WARPS; k += 2 * step)
                if (k + step < n_warp) w[k] = w[k] + w[k + step];
        out[i] = w[0];
    }
}

/* Ends a pass that wrote N sums of each chunk c to team_buffer[c * N]: waits, merges, and gives all threads
 * the totals. */
template <int N> TEAM_FN void team_merge(const weir_env *t, float (&out)[N]) {
    const float *partial = team_buffer(t);
    t->turn++;
    team_wait(t);
    team_merge_group(t, partial, 0, out);
    if (t->n_chunk <= TEAM_THREADS) return;
    const int32_t n_group = (t->n_chunk + TEAM_THREADS - 1) / TEAM_THREADS;
    for (int32_t g = 0; g < n_group; g++) {
        if (g > 0) {
            __syncthreads(); /* the previous group's sums have been read */
            team_merge_group(t, partial, g * TEAM_THREADS, out);
        }
        if (threadIdx.x == 0)
            for (int i = 0; i < N; i++) t->shared->group[g][i] = out[i];
    }
    __syncthreads();
    for (int i = 0; i < N; i++) out[i] = team_lane() < n_group ? t->shared->group[team_lane()][i] : 0.0f;
    team_warp_tree(out, n_group);
    const auto all = ptx::shfl(ptx::many_of(out), 0);
    for (int i = 0; i < N; i++) out[i] = all.v[i];
}

/* ---- minima -------------------------------------------------------------------------------------------- */

/* The smallest of a warp's values, for all its lanes. */
TEAM_FN uint64_t team_warp_least(uint64_t key) {
    for (int half = 16; half > 0; half /= 2) {
        const uint64_t other = ptx::shfl_xor(key, half);
        key = other < key ? other : key;
    }
    return key;
}

/* The block's smallest. busy: uniform in a warp, false if none of its lanes has a value (all bits set). */
template <int N> TEAM_FN void team_block_least(const weir_env *t, bool busy, uint64_t (&key)[N]) {
    for (int i = 0; i < N && busy; i++) key[i] = team_warp_least(key[i]);
    if (team_lane() == 0)
        for (int i = 0; i < N; i++) t->shared->least[threadIdx.x / 32][i] = key[i];
    __syncthreads();
    for (int i = 0; i < N; i++)
        for (int k = 0; k < TEAM_WARPS; k++) {
            const uint64_t other = t->shared->least[k][i];
            key[i] = other < key[i] ? other : key[i];
        }
    __syncthreads();
}

/* A separate pass: the team's smallest of each of N values, for all threads. */
template <int N> TEAM_FN void team_least(const weir_env *t, bool busy, uint64_t (&key)[N]) {
    team_block_least(t, busy, key);
    if (t->size == 1) return;
    uint64_t *slot = reinterpret_cast<uint64_t *>(team_buffer(t));
    t->turn++;
    if (threadIdx.x == 0)
        for (int i = 0; i < N; i++) slot[t->rank * N + i] = key[i];
    team_wait(t);
    const int32_t at = static_cast<int32_t>(threadIdx.x);
    for (int i = 0; i < N; i++) key[i] = at < t->size ? slot[at * N + i] : UINT64_MAX;
    team_block_least(t, at / 32 * 32 < t->size, key);
}

/* ---- launching ----------------------------------------------------------------------------------------- */

/* Blocks of kernel K for n_item items, and their memory. All can be resident on a device that does nothing
 * else. WEIR_ENOMEM: the scratch is smaller than
 * weir__accept_cuda_scratch_floats. */
template <auto K>
static inline weir_status team_room(weir_backend *be, int64_t n_item, int32_t n_vocab, unsigned *n_block,
                                    team_space *space) {
    const weir_cuda *cu = weir__cuda_of(be);
    const int64_t n_chunk = weir__team_chunks(n_vocab),
                  useful = n_item * ((n_chunk + TEAM_CHUNKS - 1) / TEAM_CHUNKS);
    int per_sm = 0;
    WEIR_CUDA_TRY(be, k_resident<K>(TEAM_THREADS, &per_sm), "asking how many blocks of a team fit");
    int64_t most = static_cast<int64_t>(per_sm) * cu->sm_count;
    if (most > WEIR_TEAM_BLOCKS) most = WEIR_TEAM_BLOCKS;
    const int64_t n = useful < most ? useful : most;
    space->per_block = weir__team_floats(n_vocab);
    space->barrier = cu->counters;
    space->scratch = be->scratch;
    *n_block = static_cast<unsigned>(n);
    return static_cast<int64_t>(be->scratch_floats) < n * space->per_block ? WEIR_ENOMEM : WEIR_OK;
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_TEAM_CUH */
