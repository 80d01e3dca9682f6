/* Products of up to 8 rows with quantised weights, which stay in the file's blocks (linear_quant.cuh).
 *
 *   block   8 warps, P panels of 16 outputs
 *   warp    a piece of the inputs of all of them: rows to bytes, then panel by panel codes to operands, mma,
 *           terms
 *
 * A warp needs nothing of the others until the sums are there, and weights are asked for before the kernel
 * ahead has ended. More panels share the rounding of the rows and their bytes from L2; fewer make more
 * blocks.
 *
 * Rejected: rows rounded by the kernel that makes them, or by one of their own: four launches a layer more,
 * of 0.4 to 0.8 us each, where a layer of a small drafter takes 12; dp4a, whose lanes would split a sum
 * otherwise than tensor cores can, so that a row's bits would depend on how many there are. */
#include "kernels/linear/quant/linear_quant.cuh"

namespace linear {
namespace {

constexpr int AHEAD = 4; /* groups of inputs that are asked for ahead */

template <int S, bool OFFSET>
constexpr int SMEM = WARPS *(quant_form<S, OFFSET>::ROWS + quant_form<S, OFFSET>::PANEL); /* bytes */

/* Sums of the warps' pieces: [piece][P][8 rows][16 outputs], and of squares [piece][8]. */
template <int P> struct piece_sums {
    static constexpr int STEP = P * OCTET * WEIR_TILE;
    static constexpr int FLOATS = WARPS * (STEP + OCTET);
    float *part;
    const weir_linear_tiling *tree;

    PTX_FN void put(const float (&acc)[P][1][4], float square) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        float *to = part + warp * STEP + 2 * t * WEIR_TILE + g;
#pragma unroll
        for (int p = 0; p < P; p++, to += OCTET * WEIR_TILE) {
            to[0] = acc[p][0][0], to[WEIR_TILE] = acc[p][0][1];
            to[8] = acc[p][0][2], to[WEIR_TILE + 8] = acc[p][0][3];
        }
        if (t == 0) part[WARPS * STEP + warp * OCTET + g] = square;
    }
    PTX_FN float at(int row, int column) const {
        const float *from = part + (column / WEIR_TILE * OCTET + row) * WEIR_TILE + column % WEIR_TILE;
        return sum_pieces(from, STEP, *tree);
    }
    PTX_FN float factor(const job &a, int row) const {
        return a.norm ? row_factor(a, sum_squares(part + WARPS * STEP + row, tree->n_part)) : 1.0f;
    }
    PTX_FN float two(const job &a, int row, int column, float (&v)[2]) const {
        v[0] = at(row, column), v[1] = at(row, column + WEIR_TILE);
        return factor(a, row);
    }
};

template <int S, bool OFFSET, int P>
__global__ void __launch_bounds__(THREADS, 2) quant_kernel(const job a, const quant_cut c) {
    using F = quant_form<S, OFFSET>;
    K_DYN_SHARED(unsigned char, smem);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int64_t panel0 = static_cast<int64_t>(blockIdx.x) * P;
    const bool live = warp < a.segments.n;
    const int64_t begin = live ? piece_begin(a.segments, warp) : 0, end = live ? a.segments.end[warp] : 0;
#pragma unroll 1
    for (int i = 0; i < (a.begin ? 0 : P * AHEAD); i++) /* of groups, whose weights are not known yet */
        prefetch(a, c, 0, panel0 + i % P, begin + i / P * GROUP, end);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const row_tile tile = tile_of<OCTET>(a, blockIdx.y);
    if (tile.rows == 0) return;
    const int64_t row0 = tile.row0;
    const int rows = tile.rows;

    const int log2 = rows > 4 ? 3 : rows > 2 ? 2 : rows - 1, r = lane / 4 & ((1 << log2) - 1);
    unsigned char *octet = smem + warp * (F::ROWS + F::PANEL), *panel = octet + F::ROWS;
    float acc[P][1][4] = {}, square = 0.0f;
    for (int64_t at = begin; at < end; at += GROUP) {
        const int units = units_left(at, end);
        const float *x = r < rows ? a.x + (row0 + r) * a.ldx : nullptr;
        quantise<S, OFFSET>(octet, a, x, log2, at, units, &square);
#pragma unroll 1
        for (int p = 0; p < P; p++) {
            decode<S, OFFSET>(panel, a, c, tile.group, panel0 + p, at, units);
            prefetch(a, c, tile.group, panel0 + p, at + AHEAD * GROUP, end);
            __syncwarp();
            /* panel p's sums are in acc[0]: registers have no index, and P copies of the decoder would be
             * many */
            multiply<S, OFFSET, 1>(acc[0], panel, octet, 0, units, 1);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float first = acc[0][0][i];
#pragma unroll
                for (int q = 1; q < P; q++) acc[q - 1][0][i] = acc[q][0][i];
                acc[P - 1][0][i] = first;
            }
            __syncwarp(); /* all lanes have read the panel, and the octet */
        }
    }
    __syncthreads(); /* the sums take the operands' place */
    piece_sums<P> sums = {reinterpret_cast<float *>(smem), &c.tree};
    static_assert(piece_sums<P>::FLOATS * static_cast<int>(sizeof(float)) <= SMEM<S, OFFSET>, "they fit");
    sums.put(acc, square);
    __syncthreads();
    if constexpr (P == 4) {
        finish_large(a, sums, blockIdx.x, row0, rows);
    } else {
        const int columns = (a.gated ? P / 2 : P) * WEIR_TILE;
        for (int i = threadIdx.x; i < rows * columns; i += THREADS) {
            const int row = i / columns, column = i % columns;
            const int64_t n = static_cast<int64_t>(blockIdx.x) * columns + column;
            if (n >= a.n) continue;
            const float factor = sums.factor(a, row);
            const float up = a.gated ? factor * sums.at(row, column + WEIR_TILE) : 0.0f;
            finish(a, factor * sums.at(row, column), up, row0 + row, n);
        }
    }
}

/* ---- host ---------------------------------------------------------------------------------------------- */

constexpr int64_t MOST_Y = 32768; /* grid.y */

template <int S, bool OFFSET, int P>
weir_status launch(weir_cuda *cu, const weir_linear *a, job j, const quant_cut &c) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(quant_kernel<S, OFFSET, P>, &asked, cu), "linear: shared memory");
    if (P < 4) j.minmax = nullptr; /* a block's outputs are no span: computed after the product */
    const int64_t tiles = most_tiles(a, OCTET);
    for (; j.tile0 < tiles; j.tile0 += MOST_Y) {
        const int64_t left = tiles - j.tile0, now = left < MOST_Y ? left : MOST_Y;
        const dim3 grid(static_cast<unsigned>((c.n_panel + P - 1) / P), static_cast<unsigned>(now));
        K_LAUNCH_PDL((quant_kernel<S, OFFSET, P>), grid, dim3(THREADS), (SMEM<S, OFFSET>), cu->stream)(j, c);
        WEIR_TRY(launched(cu, "blocks", a));
    }
    return a->minmax && !j.minmax ? minmaxes(cu, a) : WEIR_OK;
}

/* As many panels a block as leave three blocks for four multiprocessors. Of groups each one with rows has
 * blocks. */
struct few_rows {
    weir_cuda *cu;
    const weir_linear *a;

    template <int S, bool OFFSET> weir_status run() const {
        job j = job_of(a);
        j.segments = pieces_of(a->w);
        const quant_cut c = cut_of(a->w, j.segments);
        const int64_t matrices = !a->groups ? 1 : a->groups->n < a->n_row ? a->groups->n : a->n_row;
        const auto fills = [&](int panels) {
            return 4 * c.n_panel * matrices >= 3 * panels * static_cast<int64_t>(cu->sm_count);
        };
        if (fills(4)) return launch<S, OFFSET, 4>(cu, a, j, c);
        return fills(2) || j.gated ? launch<S, OFFSET, 2>(cu, a, j, c) : launch<S, OFFSET, 1>(cu, a, j, c);
    }
};

} // namespace

weir_status quant_rows(weir_cuda *cu, const weir_linear *a) {
    if (a->w->dtype == WEIR_DTYPE_FP8) return quant_float_rows(cu, a);
    if (a->groups ? mean_rows(a) >= OCTET : a->n_row > OCTET) {
        const weir_status wide = quant_wide_rows(cu, a);
        if (wide != WEIR_ENOTSUP) return wide;
    }
    return with_form(a->w->dtype, few_rows{cu, a});
}

} // namespace linear
