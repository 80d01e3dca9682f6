/* Decode and verify rows on CUDA cores, f32 throughout.
 *
 * Launch: grid (splits, n_head_kv, groups x tiles), block 256. Keys are split at multiples of 128 positions;
 * a block takes one KV head, one tile of up to 8 queries (a group's rows x the query heads of that KV head)
 * and every gridDim.x-th split of the group's positions. The grid is sized by the page table's stride,
 * because lengths are in device memory; blocks that find no keys return.
 *
 *   scores   warp: a page (w % 2) and a residue of dimensions; lane: 8 positions x dimensions c mod 16
 *            K [d][64]:  |lane 0: 8 positions|lane 1|...|lane 7|   16 bytes per lane and dimension (bf16)
 *            sums over lanes, then over the 4 warps of a page in shared memory
 *   weights  warp m: query m; max, exp, sum
 *   values   warp w: positions w mod 8; lane: E dimensions, a row of V is one load of the warp
 *            sums over warps in shared memory, rising
 *
 * Staged: all of a split's K and V is copied to shared memory at once, as soon as the table is known and
 * before the queries are loaded; scores begin when K is there, while V is still under way. A block waits for
 * its memory once. For bf16, where lanes take neighbouring dimensions and the split fits (512 head_dim
 * bytes); if only one such block fits on an SM, for small grids: others would rather have two blocks.
 * Else from registers: up to 16 KiB of K in flight at once, then V's first loads before the scores are known.
 *
 * Early: where the kernel ahead has left alone all but q and the rows' own keys (weir_cuda_ahead), facts of
 * rows, the table, and the staged K and V of older positions are fetched before grid_wait, while it runs.
 *
 * A query's arithmetic is the same in every tile and from wherever keys come: it sees only its own positions,
 * each sum is ordered by position and dimension, and products are fmaf.
 *
 * A group with one split writes o directly. Otherwise each block writes (max, sum, o) of its splits to
 * scratch and increments a counter; the last block merges them in rising order of splits, so it does not
 * matter which block that is, and resets the counter to zero. */
#include "kernels/cuda/util.cuh"

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/attention/attention.cuh"
#include "kernels/attention/attention_loads.cuh"

extern "C" {
#include "kernels/attention/cuda.h"
}

namespace {

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    SPLIT = WEIR_ATTENTION_SPLIT,
    KEY_BATCH = 4,     /* loads of K in flight per lane: 64 dimensions of a page and its 4 warps */
    BATCH_WORDS = 16,  /* registers of V in flight per lane */
    MAX_BLOCKS = 8192, /* of a launch where splits can be looped over: more would only queue up */
};
static_assert(SPLIT == 2 * WEIR_PAGE, "a split is two pages, one a half of the warps");

struct split_args {
    attention_rows rows;
    int32_t group, tiles; /* tiles of a group's queries */
    float *part;          /* [row * n_head + head][n_part] {max, sum, o [head_dim]} */
    int32_t n_part;
    int32_t early;     /* rows whose K and V the kernel ahead writes; -1: nothing is read before grid_wait */
    uint32_t *counter; /* [gridDim.z * gridDim.y] */
};

/* One query of the tile. */
struct query {
    int64_t row;
    int32_t head; /* of n_head; -1: none */
    attention_range keys;
};

/* ---- one block ---- */

/* MT queries per tile, E dimensions of V per lane: head_dim <= 32 E. */
template <typename T, int MT, int E, bool VEC, bool STAGED> struct shape {
    static constexpr int DIMS = 32 * E;
    /* 32 KiB of sums at once */
    static constexpr int QUERY_PASS = WARPS * MT * DIMS > 8192 ? 8192 / (WARPS * DIMS) : MT;
    static constexpr int SCORE_FLOATS = 4 * MT * SPLIT, SUM_FLOATS = WARPS * QUERY_PASS * DIMS;
    static constexpr int WORK = SCORE_FLOATS > SUM_FLOATS ? SCORE_FLOATS : SUM_FLOATS;
    static constexpr int VALUE_WORDS = value_chunk<T, E, VEC, STAGED>::WORDS;
    static constexpr int ROUNDS_OF_PAGE = WEIR_PAGE / WARPS;
    static constexpr int VALUE_FIT = VALUE_WORDS >= BATCH_WORDS ? 1 : BATCH_WORDS / VALUE_WORDS;
    static constexpr int VALUE_BATCH = VALUE_FIT < ROUNDS_OF_PAGE ? VALUE_FIT : ROUNDS_OF_PAGE;
    static constexpr int ROUNDS = SPLIT / WARPS;

    struct shared {
        float q[DIMS][MT];
        float work[WORK];        /* scores [4][MT][SPLIT], then sums [WARPS][QUERY_PASS][DIMS] */
        float weight[SPLIT][MT]; /* -1: not a position of this query */
        float max[MT], sum[MT];
        query who[MT];
        const T *page[2];    /* not staged: K of the split's pages, V follows it; NULL: no query needs them */
        attention_range all; /* of the tile */
        uint32_t last;
    };
};

/* The tile's queries and the union of their positions; every warp computes the same. A rank's share may begin
 * and end inside a KV head's query heads. */
template <int MT, typename S>
__device__ attention_range find_queries(const split_args &a, int head_kv, S &sh) {
    const int rep = a.rows.heads_of_kv;
    const int lane = static_cast<int>(threadIdx.x) % 32, m = lane % MT;
    const int64_t group = blockIdx.z / static_cast<unsigned>(a.tiles);
    const int at = static_cast<int>(blockIdx.z % static_cast<unsigned>(a.tiles)) * MT + m;
    query mine = {0, -1, attention_nothing()};
    mine.row = group * a.group + at / rep;
    const int head = head_kv * rep + at % rep - a.rows.head0;
    const bool there = at < a.group * rep && mine.row < a.rows.n_row && head >= 0 && head < a.rows.n_head;
    mine.head = there ? head : -1;
    if (there) mine.keys = attention_range_of(a.rows, mine.row);
    if (threadIdx.x < MT) sh.who[m] = mine;
    attention_range all = mine.keys;
    for (int off = MT / 2; off > 0; off /= 2) all = attention_union(all, ptx::shfl_xor(all, off));
    if (threadIdx.x == 0) sh.all = all;
    return all;
}

/* The first position of the slot that the kernel ahead may write: 0 if nothing may be read early. */
PTX_FN int find_fresh(const split_args &a, int32_t slot) {
    if (a.early < 0) return 0;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int fresh = INT_MAX;
    if (lane < a.early && a.rows.slot[lane] == slot) fresh = a.rows.pos[lane];
    return __reduce_min_sync(0xffffffffu, fresh);
}

/* K of page 2 split + half; NULL if no query needs it: its entry in the table may be invalid. */
template <typename T>
__device__ T *find_page(const kv_pool<T> &kv, const attention_range &all, int head_kv, int split, int half) {
    const int page = 2 * split + half;
    const bool seen = page * WEIR_PAGE < all.end && (page + 1) * WEIR_PAGE > all.first;
    return seen ? kv.keys(kv.page(all.slot, page), head_kv) : nullptr;
}

/* Starts copies of what the tile's queries look at: K as one group, V as the next. Half of the warps copy a
 * page; it has the same layout in `stage` as in memory. K is copied 8 positions at a time, V by rows, in
 * whole 16 bytes: those before position `fresh` if `old`, else the others. */
template <typename T>
__device__ void stage_split(const kv_pool<T> &kv, const attention_range &all, int head_kv, int split,
                            T *stage, int fresh = 0, bool old = false) {
    constexpr int PIECE = 16 / sizeof(T), HALF = THREADS / 2;
    const int half = static_cast<int>(threadIdx.x) / HALF, at = static_cast<int>(threadIdx.x) % HALF;
    const int page_elems = WEIR_PAGE * kv.head_dim, t0 = split * SPLIT + half * WEIR_PAGE;
    const T *from = find_page(kv, all, head_kv, split, half);
    T *to = stage + half * 2 * page_elems;
    const int t = t0 + at * PIECE % WEIR_PAGE; /* of all this thread's pieces of K */
    if (from && t < all.end && t + PIECE > all.first && (t + PIECE <= fresh) == old)
        for (int i = at * PIECE; i < page_elems; i += HALF * PIECE) ptx::cp_async16(to + i, from + i);
    ptx::cp_async_commit();
    const int first = all.first > t0 ? all.first - t0 : 0,
              end = all.end - t0 < WEIR_PAGE ? all.end - t0 : WEIR_PAGE;
    const int cut = fresh <= t0 ? 0 : (fresh - t0 < end ? fresh - t0 : end) * kv.head_dim / PIECE * PIECE;
    const int lo = first * kv.head_dim / PIECE * PIECE, from_i = old || lo > cut ? lo : cut,
              upto = old ? cut : end * kv.head_dim;
    if (end > first)
        for (int i = from_i + at * PIECE; i < upto; i += HALF * PIECE)
            ptx::cp_async16(to + page_elems + i, from + page_elems + i);
    ptx::cp_async_commit();
}

/* K of a page of the split, to be followed by V. */
template <bool STAGED, typename T, typename S>
__device__ const T *page_at(const S &sh, const T *stage, int half, int head_dim) {
    return STAGED ? stage + half * 2 * WEIR_PAGE * head_dim : sh.page[half];
}

template <int MT, typename S> __device__ void load_queries(const split_args &a, int head_dim, S &sh) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    for (int m = warp; m < MT; m += WARPS) {
        const query &w = sh.who[m];
        const bool live = !w.keys.empty();
        const float *q = a.rows.q + w.row * a.rows.ldq + static_cast<int64_t>(w.head) * head_dim;
        for (int d = lane; d < head_dim; d += 32) sh.q[d][m] = live ? q[d] : 0.0f;
        if (live || w.head < 0 || blockIdx.x != 0) continue;
        float *o = a.rows.o + w.row * a.rows.ldo + static_cast<int64_t>(w.head) * head_dim;
        for (int d = lane; d < head_dim; d += 32) o[d] = 0.0f;
    }
}

/* acc[m][j] of this lane's dimensions: query m, position j of its 8. */
template <typename T, int MT, bool STAGED, typename S>
__device__ void dot_keys(const S &sh, const T *keys, int head_dim, int d0, float (&acc)[MT * 8]) {
#pragma unroll 1
    for (int d = d0; d < head_dim; d += 16 * KEY_BATCH) {
        key_chunk<T, STAGED> chunk[KEY_BATCH];
#pragma unroll
        for (int u = 0; u < KEY_BATCH; u++) {
            if (d + 16 * u < head_dim) {
                chunk[u].load(keys + (d + 16 * u) * WEIR_PAGE);
            } else {
                chunk[u].clear();
            }
        }
#pragma unroll
        for (int u = 0; u < KEY_BATCH; u++) {
            if (d + 16 * u >= head_dim) continue;
            float k[8];
            chunk[u].widen(k);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                const float q = sh.q[d + 16 * u][m];
#pragma unroll
                for (int j = 0; j < 8; j++) acc[m * 8 + j] = fmaf(q, k[j], acc[m * 8 + j]);
            }
        }
    }
}

/* Sums over the lanes with the same positions (bits 3 and 4 of the lane); each lane ends with a quarter of
 * them and stores it: each step halves the values, where plain shuffles would move all of them twice. */
template <int MT> __device__ void store_scores(float (&acc)[MT * 8], float *score) {
    constexpr int HALF = MT * 4, QUARTER = MT * 2;
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    float half[HALF], quarter[QUARTER];
    ptx::add_halves<16>(acc, half);
    ptx::add_halves<8>(half, quarter);
    const int from = (lane & 16 ? HALF : 0) + (lane & 8 ? QUARTER : 0);
    float *at = score + static_cast<size_t>(warp / 2) * MT * SPLIT + warp % 2 * WEIR_PAGE + lane % 8 * 8;
#pragma unroll
    for (int i = 0; i < QUARTER; i++) at[(from + i) / 8 * SPLIT + (from + i) % 8] = quarter[i];
}

/* Warp m: scores of query m to weights; positions that are not the query's own get weight -1, a sign that no
 * weight has. */
template <int MT, typename S> __device__ void weigh(const split_args &a, int split, S &sh) {
    const int lane = static_cast<int>(threadIdx.x) % 32, m = static_cast<int>(threadIdx.x) / 32;
    if (m >= MT) return;
    const query who = sh.who[m];
    float s[SPLIT / 32], max = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < SPLIT / 32; i++) {
        const int at = lane + 32 * i, t = split * SPLIT + at;
        const bool own = t >= who.keys.first && t < who.keys.end;
        const float *part = &sh.work[m * SPLIT + at];
        const float dot = (part[0] + part[MT * SPLIT]) + (part[2 * MT * SPLIT] + part[3 * MT * SPLIT]);
        float v = a.rows.score(dot);
        if (own && a.rows.bias) v += a.rows.bias_at(who.head, t - who.keys.pos);
        s[i] = own ? v : -INFINITY;
        max = fmaxf(max, s[i]);
    }
    max = k_warp_max(max);
#pragma unroll
    for (int i = 0; i < SPLIT / 32; i++) {
        const int at = lane + 32 * i, t = split * SPLIT + at;
        const bool own = t >= who.keys.first && t < who.keys.end;
        const float p = own ? expf(s[i] - max) : 0.0f;
        sh.weight[at][m] = own ? p : -1.0f;
        sum += p;
    }
    sum = k_warp_sum(sum);
    if (lane == 0) {
        sh.max[m] = max;
        sh.sum[m] = sum;
    }
}

template <typename T, int E, bool VEC, bool STAGED, int B, typename S>
__device__ void load_values(const S &sh, const T *stage, int split, int round, int head_dim,
                            value_chunk<T, E, VEC, STAGED> (&chunk)[B]) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int at = warp + WARPS * round, t = split * SPLIT + at;
    const T *page = page_at<STAGED>(sh, stage, at / WEIR_PAGE, head_dim); /* of all B positions */
    /* Incremented, since B products would be kept across the splits. */
    int row = (WEIR_PAGE + at % WEIR_PAGE) * head_dim;
#pragma unroll
    for (int u = 0; u < B; u++, row += WARPS * head_dim) {
        if (t + WARPS * u >= sh.all.first && t + WARPS * u < sh.all.end) {
            chunk[u].load(page + row, lane, head_dim);
        } else {
            chunk[u].clear();
        }
    }
}

/* acc[m][e] += weight * V over B positions. Positions of weight -1 are skipped: V may hold anything there. */
template <typename T, int MT, int E, bool VEC, bool STAGED, int B, typename S>
__device__ void add_values(const S &sh, int round, const value_chunk<T, E, VEC, STAGED> (&chunk)[B],
                           float (&acc)[MT][E]) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int u = 0; u < B; u++) {
        float v[E];
#pragma unroll
        for (int e = 0; e < E; e++) v[e] = chunk[u].get(e);
#pragma unroll
        for (int m = 0; m < MT; m++) {
            const float p = sh.weight[warp + WARPS * (round + u)][m];
            if (p < 0.0f) continue;
#pragma unroll
            for (int e = 0; e < E; e++) acc[m][e] = fmaf(p, v[e], acc[m][e]);
        }
    }
}

template <typename S>
__device__ float *part_of(const split_args &a, const S &sh, int m, int split, int head_dim) {
    const query &w = sh.who[m];
    const int64_t at = (w.row * a.rows.n_head + w.head) * a.n_part + (split - w.keys.first / SPLIT);
    return a.part + at * (head_dim + 2);
}

/* Sums over warps in rising order; to o if this is the only split, else to scratch. */
template <typename T, int MT, int E, bool VEC, bool STAGED, typename S>
__device__ void finish_split(const split_args &a, int split, bool alone, int head_dim,
                             const float (&acc)[MT][E], S &sh) {
    using sized = shape<T, MT, E, VEC, STAGED>;
    constexpr int PASS = sized::QUERY_PASS, DIMS = sized::DIMS;
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int m0 = 0; m0 < MT; m0 += PASS) {
        if (m0 > 0) __syncthreads();
#pragma unroll
        for (int m = 0; m < PASS; m++) {
#pragma unroll
            for (int e = 0; e < E; e++)
                sh.work[(warp * PASS + m) * DIMS + (VEC ? lane * E + e : lane + 32 * e)] = acc[m0 + m][e];
        }
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < PASS * DIMS; i += THREADS) {
            const int m = m0 + i / DIMS, d = i % DIMS;
            const query &w = sh.who[m];
            if (d >= head_dim || w.keys.empty() || split < w.keys.first / SPLIT ||
                split > (w.keys.end - 1) / SPLIT)
                continue;
            float o = 0.0f;
            for (int j = 0; j < WARPS; j++) o += sh.work[j * PASS * DIMS + i];
            if (alone) {
                a.rows.o[w.row * a.rows.ldo + static_cast<int64_t>(w.head) * head_dim + d] =
                    o / a.rows.with_sink(w.head, sh.sum[m], sh.max[m]);
                continue;
            }
            float *part = part_of(a, sh, m, split, head_dim);
            part[2 + d] = o;
            if (d == 0) part[0] = sh.max[m];
            if (d == 0) part[1] = sh.sum[m];
        }
    }
}

/* The last block of a tile: o = sum of splits e^(max - top) o, over the same of the sums and the sink's. */
template <int MT, typename S> __device__ void merge(const split_args &a, int head_dim, const S &sh) {
    for (int i = static_cast<int>(threadIdx.x); i < MT * head_dim; i += THREADS) {
        const int m = i / head_dim, d = i % head_dim;
        const query &w = sh.who[m];
        if (w.keys.empty()) continue;
        const int lo = w.keys.first / SPLIT, hi = (w.keys.end - 1) / SPLIT;
        const float *part = part_of(a, sh, m, lo, head_dim);
        float top = -INFINITY, sum = 0.0f, o = 0.0f;
        for (int s = 0; s <= hi - lo; s++) top = fmaxf(top, part[s * (head_dim + 2)]);
        for (int s = 0; s <= hi - lo; s++) {
            const float *p = part + static_cast<int64_t>(s) * (head_dim + 2);
            const float keep = expf(p[0] - top);
            sum = fmaf(p[1], keep, sum);
            o = fmaf(p[2 + d], keep, o);
        }
        a.rows.o[w.row * a.rows.ldo + static_cast<int64_t>(w.head) * head_dim + d] =
            o / a.rows.with_sink(w.head, sum, top);
    }
}

/* Dynamic shared memory: where STAGED, a split (2 pages, {K, V}). */
template <typename T, int MT, int E, bool VEC, bool STAGED>
__global__ void __launch_bounds__(THREADS, 2) attend_splits(kv_pool<T> kv, split_args a) {
    using sized = shape<T, MT, E, VEC, STAGED>;
    K_SHARED(sh, typename sized::shared);
    T *stage = nullptr;
    if constexpr (STAGED) {
        K_DYN_SHARED(T, split_memory);
        stage = split_memory;
    }
    ptx::grid_launch_dependents();
    if (a.early < 0) ptx::grid_wait();
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int head_dim = kv.head_dim, head_kv = static_cast<int>(blockIdx.y);
    const attention_range all = find_queries<MT>(a, head_kv, sh);
    const int split_lo = all.empty() ? 0 : all.first / SPLIT,
              split_hi = all.empty() ? 0 : (all.end - 1) / SPLIT + 1;
    const int n_split = split_hi - split_lo, step = static_cast<int>(gridDim.x);
    [[maybe_unused]] int fresh = 0;
    int split = split_lo + static_cast<int>(blockIdx.x);
    if (a.early >= 0) {
        if constexpr (STAGED) fresh = find_fresh(a, all.slot);
        if constexpr (STAGED)
            if (split < split_hi) stage_split(kv, all, head_kv, split, stage, fresh, true);
        ptx::grid_wait();
    }
    if (static_cast<int>(blockIdx.x) >= n_split && blockIdx.x != 0) return;
    if constexpr (STAGED)
        if (split < split_hi) stage_split(kv, all, head_kv, split, stage, fresh);
    __syncthreads();
    load_queries<MT>(a, head_dim, sh);

    for (; split < split_hi; split += step) {
        if constexpr (STAGED)
            ptx::cp_async_wait<1>();
        else if (threadIdx.x < 2)
            sh.page[threadIdx.x] = find_page(kv, all, head_kv, split, static_cast<int>(threadIdx.x));
        __syncthreads(); /* K or pages, and queries, are there; the last round's sums have been read */
        {
            float acc[MT * 8] = {};
            const T *keys = page_at<STAGED>(sh, stage, warp % 2, head_dim);
            if (STAGED || keys)
                dot_keys<T, MT, STAGED>(sh, keys + lane % 8 * 8, head_dim, warp / 2 * 4 + lane / 8, acc);
            store_scores<MT>(acc, sh.work);
        }
        value_chunk<T, E, VEC, STAGED> chunk[sized::VALUE_BATCH];
        if constexpr (STAGED)
            ptx::cp_async_wait<0>();
        else
            load_values(sh, stage, split, 0, head_dim, chunk);
        __syncthreads(); /* scores, and V, are there */
        weigh<MT>(a, split, sh);
        __syncthreads();
        float acc[MT][E] = {};
#pragma unroll 1
        for (int round = 0; round < sized::ROUNDS; round += sized::VALUE_BATCH) {
            if (STAGED || round > 0) load_values(sh, stage, split, round, head_dim, chunk);
            add_values<T, MT, E, VEC>(sh, round, chunk, acc);
        }
        finish_split<T, MT, E, VEC, STAGED>(a, split, n_split == 1, head_dim, acc, sh);
        /* all are past finish_split's barrier, and have read the stage */
        if constexpr (STAGED)
            if (split + step < split_hi) stage_split(kv, all, head_kv, split + step, stage);
    }
    if (n_split <= 1) return;

    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t *counter = a.counter + static_cast<size_t>(blockIdx.z) * gridDim.y + blockIdx.y;
        const int arrivals = n_split < step ? n_split : step;
        sh.last = ptx::add_release(counter, 1) == static_cast<uint32_t>(arrivals - 1);
        if (sh.last) *counter = 0;
    }
    __syncthreads();
    if (sh.last) merge<MT>(a, head_dim, sh);
}

/* ---- host ---- */

/* Whether a split of `stage` bytes is staged beside `fixed` bytes: no result depends on it. A block alone on
 * its SM computes while nothing is under way: it pays where blocks are too few to fill the device, of which
 * the table's stride is all that is known here. */
bool stages(const weir_cuda *cu, size_t stage, size_t fixed, dim3 grid) {
    const int64_t blocks = static_cast<int64_t>(grid.x) * grid.y * grid.z;
    if (2 * (stage + fixed) <= cu->smem_optin) return true;
    return stage + fixed <= cu->smem_optin && blocks <= 2 * cu->sm_count;
}

template <typename T, int MT, int E, bool VEC>
cudaError_t launch(const weir_cuda *cu, const weir_attention *a, const split_args &s, dim3 grid) {
    const kv_pool<T> kv(a->kv, a->layer);
    if constexpr (VEC && sizeof(T) == 2) {
        /* up to where dynamic shared memory begins (K_DYN_SHARED) */
        constexpr size_t FIXED = (sizeof(typename shape<T, MT, E, VEC, true>::shared) + 127) / 128 * 128;
        const size_t stage = sizeof(T) * 2 * SPLIT * static_cast<size_t>(kv.head_dim);
        if (stages(cu, stage, FIXED, grid)) {
            static std::atomic<uint64_t> asked;
            const cudaError_t e = allow_smem(attend_splits<T, MT, E, VEC, true>, &asked, cu, FIXED);
            if (e != cudaSuccess) return e;
            K_LAUNCH_PDL((attend_splits<T, MT, E, VEC, true>), grid, THREADS, stage, cu->stream)(kv, s);
            return cudaSuccess;
        }
    }
    K_LAUNCH_PDL((attend_splits<T, MT, E, VEC, false>), grid, THREADS, 0, cu->stream)(kv, s);
    return cudaSuccess;
}

template <typename T, int MT>
cudaError_t launch_dims(const weir_cuda *cu, const weir_attention *a, const split_args &s, dim3 grid) {
    const int32_t n = a->kv->head_dim;
    if (n <= 64 && n % 2 == 0) return launch<T, MT, 2, true>(cu, a, s, grid);
    if (n <= 128 && n % 4 == 0) return launch<T, MT, 4, true>(cu, a, s, grid);
    if (n % 8 == 0) return launch<T, MT, 8, true>(cu, a, s, grid);
    return launch<T, MT, 8, false>(cu, a, s, grid);
}

enum { FEW_QUERIES = 2, QUERIES = 8 }; /* of a tile */

cudaError_t launch_slice(const weir_cuda *cu, const weir_attention *a, const split_args &s, int tile,
                         dim3 grid) {
    const bool few = tile == FEW_QUERIES;
    if (a->kv->dtype == WEIR_DTYPE_F32)
        return few ? launch_dims<float, FEW_QUERIES>(cu, a, s, grid)
                   : launch_dims<float, QUERIES>(cu, a, s, grid);
    return few ? launch_dims<uint16_t, FEW_QUERIES>(cu, a, s, grid)
               : launch_dims<uint16_t, QUERIES>(cu, a, s, grid);
}

/* How a call is cut: grids of as many groups as scratch and counters allow. */
struct plan {
    int32_t group, tile, tiles, n_part;
    int64_t groups; /* of a slice */
};

/* How rows in groups of `group` are cut; groups is 0 if there is no room for one. */
plan plan_of(const weir_cuda *cu, const weir_attention *a, int32_t group) {
    const weir_kv_view *kv = a->kv;
    const int32_t queries = group * weir__attention_heads_of_kv(a);
    plan p;
    p.group = group;
    p.tile = queries <= FEW_QUERIES ? FEW_QUERIES : QUERIES;
    p.tiles = (queries + p.tile - 1) / p.tile;
    const int32_t window = a->window > 0 ? a->window + a->ahead : 0;
    p.n_part = weir__attention_cuda_splits(kv->table_stride * WEIR_PAGE, window);
    const size_t row_floats =
        weir__attention_cuda_scratch_floats(1, a->n_head, kv->head_dim, kv->table_stride * WEIR_PAGE, window);
    p.groups = 65535 / p.tiles;
    const int64_t by_counter =
        (cu->n_counter - WEIR_COUNT_TEAM) / (static_cast<int64_t>(kv->n_head_kv) * p.tiles);
    if (by_counter < p.groups) p.groups = by_counter;
    if (row_floats > 0) {
        const int64_t by_scratch = static_cast<int64_t>(cu->base.scratch_floats / row_floats) / group;
        if (by_scratch < p.groups) p.groups = by_scratch;
    }
    return p;
}

/* If a group is too large for scratch, its rows are taken one by one: they read the keys again and get the
 * same bits. */
weir_status make_plan(const weir_cuda *cu, const weir_attention *a, plan *p) {
    /* rows of a prompt share their slot */
    *p = plan_of(cu, a, a->prefill ? QUERIES : a->group > 1 ? a->group : 1);
    if (p->groups < 1 && !a->prefill) *p = plan_of(cu, a, 1);
    return p->groups < 1 ? WEIR_ENOMEM : WEIR_OK;
}

enum { EARLY_ROWS = 32 }; /* a lane each */

/* split_args.early of the call's first launch, of n_group groups. */
int32_t early_of(const weir_cuda *cu, const weir_attention *a, const plan &p, int64_t n_group) {
    const weir_cuda_ahead &w = cu->ahead;
    if (!w.settled || p.groups < n_group) return -1;
    if (w.n_row == 0) return 0;
    const bool same = w.slot == a->slot && w.pos == a->pos && w.n_row == a->n_row;
    return same && w.n_row <= EARLY_ROWS ? static_cast<int32_t>(w.n_row) : -1;
}

} // namespace

extern "C" weir_status weir__attention_cuda(weir_backend *be, weir_attention *a) {
    WEIR_TRY(weir__attention_check(a));
    const weir_kv_view *kv = a->kv;
    if (kv->dtype != WEIR_DTYPE_F32 && kv->dtype != WEIR_DTYPE_BF16) return WEIR_EINVAL;
    if (kv->head_dim > WEIR_ATTENTION_CUDA_DIMS || kv->n_head_kv > 65535) return WEIR_ENOTSUP;
    if (a->n_row == 0) return WEIR_OK;
    if (a->prefill && attention_prefill_serves(a)) return attention_prefill(be, a);

    const weir_cuda *cu = weir__cuda_of(be);
    plan p;
    WEIR_TRY(make_plan(cu, a, &p));
    const int64_t n_group = (a->n_row + p.group - 1) / p.group;
    for (int64_t g = 0; g < n_group; g += p.groups) {
        const int64_t groups = n_group - g < p.groups ? n_group - g : p.groups, row0 = g * p.group;
        const int64_t rows = a->n_row - row0 < groups * p.group ? a->n_row - row0 : groups * p.group;
        const int64_t others = groups * p.tiles * kv->n_head_kv, most = MAX_BLOCKS / others;
        const int64_t splits = p.n_part < most ? p.n_part : most < 1 ? 1 : most;
        const split_args s = {attention_rows(a, row0, rows),
                              p.group,
                              p.tiles,
                              be->scratch,
                              p.n_part,
                              early_of(cu, a, p, n_group),
                              cu->counters + WEIR_COUNT_TEAM};
        const dim3 grid(static_cast<unsigned>(splits), static_cast<unsigned>(kv->n_head_kv),
                        static_cast<unsigned>(groups * p.tiles));
        WEIR_CUDA_TRY(be, launch_slice(cu, a, s, p.tile, grid), "attention: shared memory");
        WEIR_TRY(weir__cuda_launched(be, "attention",
                                     "n_row %lld n_head %d n_head_kv %d head_dim %d group "
                                     "%d",
                                     static_cast<long long>(rows), a->n_head, kv->n_head_kv, kv->head_dim,
                                     p.group));
    }
    return WEIR_OK;
}
