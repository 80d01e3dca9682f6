/* Rows of a prompt on tensor cores: bf16 pools, head_dim a multiple of 16 up to 128.
 *
 * Launch: grid (rows / 64, n_head), block 128. A warp owns 16 rows; the block walks the pages that its rows
 * look at:
 *
 *   S (16 x 64) = Q (16 x head_dim) K (head_dim x 64)     K as stored in the page; Q stays in registers
 *   P = e^(cap(scale S) + bias - max), rounded to bf16    online softmax, f32
 *   O (16 x head_dim) = keep O + P V (64 x head_dim)      V as stored in the page
 *
 * Both right-hand sides are [k][n] in shared memory, so both come through ldmatrix.trans; rows are padded by
 * 16 bytes, an odd number of 16-byte units, so that 8 rows touch all banks once.
 *
 * K and V have a buffer each: V of a page is loaded during its scores, K of the next page during its values.
 *
 *   copy     K0 V0 |      K1 V1 |      K2 V2
 *   compute        S0   O0      S1   O1
 *
 * A row's own pages are merged in order; pages before and after them have weight 0 and change no bit.
 * Positions that no row of the tile looks at are zeros in V, whatever the pool holds there. */
#include "kernels/cuda/util.cuh"

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/attention/attention.cuh"

namespace {

enum {
    ROWS = 64,
    THREADS = 128,
    KEY_STRIDE = WEIR_PAGE + 8, /* bf16 of a row of K in shared memory */
    BIAS_SPAN = 2 * WEIR_PAGE,  /* distances between 64 rows and 64 positions, and one */
};

template <int HD> struct tile {
    uint16_t k[HD][KEY_STRIDE];
    uint16_t v[WEIR_PAGE][HD + 8];
    float bias[BIAS_SPAN];
};

/* The tile's rows. Row i's position is base + i. */
struct tile_rows {
    attention_range all;
    int32_t base;
};

PTX_FN tile_rows find_rows(const attention_rows &a, int64_t row0) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    tile_rows t = {attention_nothing(), INT_MIN};
#pragma unroll
    for (int i = 0; i < ROWS; i += 32) {
        if (row0 + i + lane >= a.n_row) continue;
        const attention_range r = attention_range_of(a, row0 + i + lane);
        if (r.empty()) continue;
        t.all = attention_union(t.all, r);
        t.base = r.pos - i - lane;
    }
    for (int off = 16; off > 0; off /= 2) {
        const auto other = ptx::shfl_xor(t, off);
        t.all = attention_union(t.all, other.all);
        t.base = other.base > t.base ? other.base : t.base;
    }
    return t;
}

/* Rows g and g + 8 of the warp as fragments, rounded. */
template <int HD>
__device__ void load_queries(const attention_rows &a, const int64_t (&row)[2], const bool (&live)[2],
                             int head, int head_dim, uint32_t (&q)[HD / 16][4]) {
    const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < HD / 16; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int half = j % 2, d = 16 * i + 2 * t + j / 2 * 8;
            const bool there = live[half] && d < head_dim;
            const float *p = a.q + row[half] * a.ldq + static_cast<int64_t>(head) * head_dim + d;
            q[i][j] = there ? ptx::bf16x2(p[0], p[1]) : 0u;
        }
    }
}

template <int HD> __device__ void copy_keys(tile<HD> &sh, const uint16_t *keys, int head_dim) {
    for (int i = static_cast<int>(threadIdx.x); i < head_dim * 8; i += THREADS) {
        ptx::cp_async16(&sh.k[i / 8][i % 8 * 8], keys + i / 8 * WEIR_PAGE + i % 8 * 8);
    }
}

/* Zeros at positions of the page that no row looks at, before lo and from hi on; the page starts at
 * `first`. */
template <int HD>
__device__ void copy_values(tile<HD> &sh, const uint16_t *values, int head_dim, int first,
                            const attention_range &all) {
    const int chunks = head_dim / 8;
    for (int i = static_cast<int>(threadIdx.x); i < WEIR_PAGE * chunks; i += THREADS) {
        const int at = i / chunks, c = i % chunks * 8;
        const bool seen = first + at >= all.first && first + at < all.end;
        ptx::cp_async16_zfill(&sh.v[at][c], values + at * head_dim + c, seen ? 16 : 0);
    }
}

template <int HD>
__device__ void scores(const tile<HD> &sh, const uint32_t (&q)[HD / 16][4], int head_dim, float (&s)[8][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int n = 0; n < 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
#pragma unroll
    for (int i = 0; i < HD / 16; i++) {
        if (16 * i >= head_dim) continue;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            uint32_t b[4];
            ptx::ldmatrix_x4_trans(b, &sh.k[16 * i + lane % 16][16 * n + lane / 16 * 8]);
            const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
            ptx::mma_bf16(s[2 * n], q[i], left);
            ptx::mma_bf16(s[2 * n + 1], q[i], right);
        }
    }
}

/* Online softmax of one lane's rows; max is the same in the four lanes of a row, sum is this lane's part. */
struct row_state {
    float max[2], sum[2];
};

/* Scores s to weights; keep[half] is the factor for the sums and outputs so far. Positions from `first`
 * on. */
__device__ void weigh(const attention_rows &a, const attention_range (&own)[2], const int (&index)[2],
                      const float *bias, int first, float (&s)[8][4], row_state &st, float (&keep)[2]) {
    const int t4 = static_cast<int>(threadIdx.x) % 4;
    float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < 32; i++) {
        const int half = i % 4 / 2, at = i / 4 * 8 + 2 * t4 + i % 2;
        float v = a.score(s[i / 4][i % 4]);
        if (a.bias) v += bias[at - index[half] + WEIR_PAGE];
        v = first + at >= own[half].first && first + at < own[half].end ? v : -INFINITY;
        s[i / 4][i % 4] = v;
        top[half] = fmaxf(top[half], v);
    }
    float base[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        top[half] = fmaxf(top[half], __shfl_xor_sync(0xffffffffu, top[half], 1));
        top[half] = fmaxf(top[half], __shfl_xor_sync(0xffffffffu, top[half], 2));
        top[half] = fmaxf(top[half], st.max[half]);
        base[half] = top[half] == -INFINITY ? 0.0f : top[half]; /* no position yet: e^(-inf - 0) = 0 */
        keep[half] = expf(st.max[half] - base[half]);
        st.max[half] = top[half];
        st.sum[half] *= keep[half];
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
        const int half = i % 4 / 2;
        const float p = expf(s[i / 4][i % 4] - base[half]);
        s[i / 4][i % 4] = p;
        st.sum[half] += p;
    }
}

template <int HD>
__device__ void add_values(const tile<HD> &sh, const float (&s)[8][4], int head_dim, const float (&keep)[2],
                           float (&o)[HD / 8][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int n = 0; n < HD / 8; n++) {
#pragma unroll
        for (int j = 0; j < 4; j++) o[n][j] *= keep[j / 2];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        /* The scores of two tiles of 8 positions are the left-hand fragment of 16. */
        const uint32_t p[4] = {ptx::bf16x2(s[2 * i][0], s[2 * i][1]), ptx::bf16x2(s[2 * i][2], s[2 * i][3]),
                               ptx::bf16x2(s[2 * i + 1][0], s[2 * i + 1][1]),
                               ptx::bf16x2(s[2 * i + 1][2], s[2 * i + 1][3])};
#pragma unroll
        for (int n = 0; n < HD / 16; n++) {
            if (16 * n >= head_dim) continue;
            uint32_t b[4];
            ptx::ldmatrix_x4_trans(b, &sh.v[16 * i + lane % 16][16 * n + lane / 16 * 8]);
            const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
            ptx::mma_bf16(o[2 * n], p, left);
            ptx::mma_bf16(o[2 * n + 1], p, right);
        }
    }
}

template <int HD>
__device__ void store_rows(const attention_rows &a, const int64_t (&row)[2], const bool (&live)[2], int head,
                           int head_dim, const row_state &st, const float (&o)[HD / 8][4]) {
    const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = st.sum[half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        if (row[half] >= a.n_row) continue;
        if (live[half]) sum = a.with_sink(head, sum, st.max[half]);
        float *out = a.o + row[half] * a.ldo + static_cast<int64_t>(head) * head_dim;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            if (8 * n >= head_dim) continue;
            out[8 * n + 2 * t] = live[half] ? o[n][2 * half] / sum : 0.0f;
            out[8 * n + 2 * t + 1] = live[half] ? o[n][2 * half + 1] / sum : 0.0f;
        }
    }
}

template <int HD>
__global__ void __launch_bounds__(THREADS, 2) attend_tiles(kv_pool<uint16_t> kv, attention_rows a) {
    K_SHARED(sh, tile<HD>);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int head_dim = kv.head_dim, head = static_cast<int>(blockIdx.y),
              head_kv = (a.head0 + head) / a.heads_of_kv;
    const int64_t row0 = static_cast<int64_t>(blockIdx.x) * ROWS;
    const tile_rows rows = find_rows(a, row0);

    /* This lane's rows: g and g + 8 of the warp's. */
    const int g = static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
    const int index[2] = {g, g + 8};
    const int64_t row[2] = {row0 + g, row0 + g + 8};
    attention_range own[2];
#pragma unroll
    for (int half = 0; half < 2; half++)
        own[half] = row[half] < a.n_row ? attention_range_of(a, row[half]) : attention_nothing();
    const bool live[2] = {!own[0].empty(), !own[1].empty()};
    uint32_t q[HD / 16][4];
    load_queries<HD>(a, row, live, head, head_dim, q);

    float o[HD / 8][4] = {};
    row_state st = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
    const int page_lo = rows.all.empty() ? 0 : rows.all.first / WEIR_PAGE;
    const int page_hi = rows.all.empty() ? 0 : (rows.all.end - 1) / WEIR_PAGE + 1;
    if (page_lo < page_hi) copy_keys<HD>(sh, kv.keys(kv.page(rows.all.slot, page_lo), head_kv), head_dim);
    ptx::cp_async_commit();
    for (int page = page_lo; page < page_hi; page++) {
        const int first = page * WEIR_PAGE;
        copy_values<HD>(sh, kv.values(kv.page(rows.all.slot, page), head_kv), head_dim, first, rows.all);
        ptx::cp_async_commit();
        if (a.bias)
            sh.bias[threadIdx.x] =
                a.bias_at(head, first - rows.base + static_cast<int>(threadIdx.x) - WEIR_PAGE);
        ptx::cp_async_wait<1>();
        __syncthreads(); /* K and bias have arrived */
        float s[8][4], keep[2];
        scores<HD>(sh, q, head_dim, s);
        __syncthreads(); /* K has been read */
        if (page + 1 < page_hi)
            copy_keys<HD>(sh, kv.keys(kv.page(rows.all.slot, page + 1), head_kv), head_dim);
        ptx::cp_async_commit();
        weigh(a, own, index, sh.bias, first, s, st, keep);
        ptx::cp_async_wait<1>();
        __syncthreads(); /* V has arrived */
        add_values<HD>(sh, s, head_dim, keep, o);
        __syncthreads(); /* V and bias have been read */
    }
    ptx::cp_async_wait<0>();
    store_rows<HD>(a, row, live, head, head_dim, st, o);
}

template <int HD> void launch(const weir_attention *a, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((a->n_row + ROWS - 1) / ROWS), static_cast<unsigned>(a->n_head));
    K_LAUNCH_PDL(attend_tiles<HD>, grid, THREADS, 0, stream)
    (kv_pool<uint16_t>(a->kv, a->layer), attention_rows(a));
}

} // namespace

bool attention_prefill_serves(const weir_attention *a) {
    return a->kv->dtype == WEIR_DTYPE_BF16 && a->kv->head_dim % 16 == 0 && a->kv->head_dim <= 128 &&
           a->n_head <= 65535;
}

weir_status attention_prefill(weir_backend *be, const weir_attention *a) {
    cudaStream_t stream = weir__cuda_of(be)->stream;
    const int32_t n = a->kv->head_dim;
    if (n <= 32) {
        launch<32>(a, stream);
    } else if (n <= 64) {
        launch<64>(a, stream);
    } else if (n <= 96) {
        launch<96>(a, stream);
    } else {
        launch<128>(a, stream);
    }
    return weir__cuda_launched(be, "attention", "prefill n_row %lld n_head %d n_head_kv %d head_dim %d",
                               static_cast<long long>(a->n_row), a->n_head, a->kv->n_head_kv, n);
}
