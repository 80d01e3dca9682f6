/* Products of many rows with quantised weights: batches of sessions, prompts, and groups (linear.h) that have
 * many rows on average. A weight is decoded once for up to 128 rows.
 *
 *   prepare  rows as bytes in scratch, in the order of operands: an octet a block, a piece of the inputs a
 *            warp
 *   block    8 panels, one a warp, x a tile of up to NT octets; all pieces, or one
 *
 *   rows ----bytes--> scratch --cp.async--> two stages --+
 *                                                        +--mma, terms--> sums of a piece
 *   weights --codes, scales--> the warp's own -----------+
 *
 *   pieces in order --> shared --epilogue--> y, or --> records, which merge_records adds up
 *
 * A row has the bits of quant_kernel (linear_quant.cu): the same bytes, terms, chains and order of pieces.
 * Which of both runs, how many rows a tile has and whether blocks share outputs depend on the rows and on the
 * device. Segments are added as a tree, which would take three more sets of sums: they always are records. Of
 * groups a tile of rows belongs to one matrix, which a block knows only after grid_wait. */
#include "kernels/linear/quant/linear_quant.cuh"

namespace linear {
namespace {

constexpr int AHEAD = 2; /* groups of inputs that are asked for ahead */
constexpr int OUTPUTS = WARPS * WEIR_TILE, LINE = OUTPUTS + 4;
constexpr int MOST_OCTETS = 4096; /* of a launch: grid.y of the merge */

template <int S, bool OFFSET, int NT> struct wide_form {
    using F = quant_form<S, OFFSET>;
    static constexpr int ROWS = NT * OCTET, STAGE = NT * F::ROWS, SMEM = 2 * STAGE + WARPS * F::PANEL;
    static constexpr int RESIDENT = NT == 16 ? 1 : 2; /* blocks per SM */
    static constexpr bool GROUPS = NT != 8; /* a tile of 64 rows has no register left for a group's number */
    static_assert(ROWS * LINE * static_cast<int>(sizeof(float)) <= SMEM, "sums take the operands' place");
};

/* Where a tile's first octet is in scratch. A group's octets begin with it, so there is one more for each. */
PTX_FN int64_t octet_of(const job &a, const row_tile &tile) {
    const int begin = a.begin ? begin_of(a, tile.group) : 0;
    return begin / OCTET + tile.group + (tile.row0 - begin) / OCTET;
}

template <int S, bool OFFSET>
__global__ void __launch_bounds__(THREADS) prepare_kernel(const job a, const quant_cut c) {
    using F = quant_form<S, OFFSET>;
    K_SHARED(part, float[WARPS][OCTET]);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const row_tile octet = tile_of<OCTET>(a, blockIdx.x);
    if (octet.rows == 0) return;
    const float *x = lane / 4 < octet.rows ? a.x + (octet.row0 + lane / 4) * a.ldx : nullptr;
    float square = 0.0f;
    if (warp < a.segments.n) {
        int64_t step = octet_of(a, octet) * c.n_step;
        for (int i = 0; i < warp; i++) step += steps_of(a.segments, i);
        const int64_t end = a.segments.end[warp];
        for (int64_t at = piece_begin(a.segments, warp); at < end; at += GROUP, step++)
            quantise<S, OFFSET>(c.x + step * F::ROWS, a, x, 3, at, units_left(at, end), &square);
    }
    if (!a.norm) return;
    if (lane % 4 == 0) part[warp][lane / 4] = square;
    __syncthreads();
    if (warp == 0 && lane < octet.rows)
        c.squares[octet.row0 + lane] = sum_squares(&part[0][lane], a.segments.n);
}

/* A step of a tile's rows; from: its first octet's first step. */
template <int S, bool OFFSET>
PTX_FN void fetch(unsigned char *to, const unsigned char *from, const quant_cut &c, int step, int octets) {
    constexpr int ROWS = quant_form<S, OFFSET>::ROWS, EACH = ROWS / 16;
    for (int i = threadIdx.x; i < octets * EACH; i += THREADS) {
        const int64_t octet = i / EACH;
        ptx::cp_async16(to + i * 16, from + (octet * c.n_step + step) * ROWS + i % EACH * 16);
    }
}

/* f(row of the tile, output of the panel, sum) of this lane's. */
template <int NT, class F> PTX_FN void each_sum(const float (&sum)[NT][4], const F &f) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int j = 0; j < NT; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) f(j * OCTET + 2 * t + i % 2, g + i / 2 * 8, sum[j][i]);
    }
}

template <int S, bool OFFSET, int NT>
__global__ void __launch_bounds__(THREADS, wide_form<S, OFFSET, NT>::RESIDENT)
    quant_wide_kernel(const job a, const quant_cut c) {
    using F = quant_form<S, OFFSET>;
    using W = wide_form<S, OFFSET, NT>;
    K_DYN_SHARED(unsigned char, smem);
    const int warp = threadIdx.x / 32;
    const int part = blockIdx.x / c.n_tile % c.n_block;
    const int panel0 = blockIdx.x / c.n_tile / c.n_block * WARPS, mine = panel0 + warp;
    const bool live = mine < c.n_panel;
    const int first = c.n_block > 1 ? part : 0, last = c.n_block > 1 ? part + 1 : a.segments.n;
    const int stop = static_cast<int>(a.segments.end[last - 1]);
    unsigned char *panel = smem + 2 * W::STAGE + warp * F::PANEL;
    if (W::GROUPS && a.begin) { /* which weights are read is not known before */
        ptx::grid_launch_dependents();
        ptx::grid_wait();
    }
    const int nth = blockIdx.x % c.n_tile;
    const row_tile tile = W::GROUPS ? tile_of<W::ROWS>(a, nth) : matrix_tile<W::ROWS>(a, nth);
    if (tile.rows == 0) return;
#pragma unroll 1
    for (int s = 0; live && s < AHEAD; s++)
        prefetch(a, c, tile.group, mine, piece_begin(a.segments, first) + s * GROUP, stop);
    if (!W::GROUPS || !a.begin) {
        ptx::grid_launch_dependents();
        ptx::grid_wait();
    }

    const int row0 = static_cast<int>(tile.row0), rows = tile.rows, octets = (rows + OCTET - 1) / OCTET;
    const unsigned char *from = c.x + (W::GROUPS ? octet_of(a, tile) : row0 / OCTET) * c.n_step * F::ROWS;
    int step = 0, slot = 0, n_step = 0;
    for (int i = 0; i < last; i++) {
        if (i < first) step += steps_of(a.segments, i);
        n_step += steps_of(a.segments, i);
    }
    fetch<S, OFFSET>(smem, from, c, step, octets);
    ptx::cp_async_commit();

    float total[NT][4] = {};
    for (int piece = first; piece < last; piece++) {
        float acc[NT][4] = {};
        const int end = static_cast<int>(a.segments.end[piece]);
        for (int at = static_cast<int>(piece_begin(a.segments, piece)); at < end; at += GROUP) {
            const int units = units_left(at, end);
            if (live) {
                decode<S, OFFSET>(panel, a, c, tile.group, mine, at, units);
                prefetch(a, c, tile.group, mine, at + AHEAD * GROUP, stop);
            }
            ptx::cp_async_wait<0>();
            __syncthreads(); /* the stage is there, and the one before has been read */
            if (++step < n_step) fetch<S, OFFSET>(smem + (slot ^ 1) * W::STAGE, from, c, step, octets);
            ptx::cp_async_commit();
            if (live) multiply<S, OFFSET, NT>(acc, panel, smem + slot * W::STAGE, F::ROWS, units, octets);
            __syncwarp(); /* all lanes have read the panel */
            slot ^= 1;
        }
        if (c.n_block > 1) {
            if (!live) return;
            const int64_t columns = c.n_panel * WEIR_TILE;
            float *record = c.record + (part * a.n_row + row0) * columns + mine * WEIR_TILE;
            each_sum(acc, [&](int row, int output, float sum) {
                if (row < rows) record[row * columns + output] = sum;
            });
            return;
        }
#pragma unroll
        for (int j = 0; j < NT; j++) {
#pragma unroll
            for (int i = 0; i < 4; i++) total[j][i] = piece == first ? acc[j][i] : total[j][i] + acc[j][i];
        }
    }
    __syncthreads(); /* the last stage has been read */
    float *out = reinterpret_cast<float *>(smem);
    each_sum(total,
             [&](int row, int output, float sum) { out[row * LINE + warp * WEIR_TILE + output] = sum; });
    __syncthreads();
#pragma unroll 1
    for (int u = 0; u < WARPS / 4; u++) {
        const tile_sums<LINE> of = {out + u * 4 * WEIR_TILE, c.squares + row0};
        finish_large(a, of, panel0 / 4 + u, row0, rows);
    }
}

/* ---- host ---------------------------------------------------------------------------------------------- */

/* The kernel for a number of rows on a device. */
struct choice {
    int nt, rows;
    int64_t slots; /* blocks that run at once; 0: its shared memory is too large */
};

template <int S, bool OFFSET, int NT> choice choice_of(const weir_cuda *cu) {
    using W = wide_form<S, OFFSET, NT>;
    int64_t resident = (static_cast<int64_t>(cu->smem_optin) + 1024) / (W::SMEM + 1024);
    if (resident > W::RESIDENT) resident = W::RESIDENT;
    return {NT, W::ROWS, resident * cu->sm_count};
}

template <int S, bool OFFSET> choice choose(const weir_cuda *cu, const weir_linear *a) {
    const int64_t rows = tall_rows(a);
    choice f = choice_of<S, OFFSET, 4>(cu);
    if (rows > 32 && !a->groups && choice_of<S, OFFSET, 8>(cu).slots > 0) f = choice_of<S, OFFSET, 8>(cu);
    if (rows > 64 && choice_of<S, OFFSET, 16>(cu).slots > 0) f = choice_of<S, OFFSET, 16>(cu);
    return f;
}

template <int S, bool OFFSET, int NT>
weir_status launch(weir_cuda *cu, const weir_linear *a, const job &j, const quant_cut &c) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(quant_wide_kernel<S, OFFSET, NT>, &asked, cu),
                  "linear: shared memory");
    const int64_t blocks = (c.n_panel + WARPS - 1) / WARPS * c.n_tile * c.n_block;
    K_LAUNCH_PDL((quant_wide_kernel<S, OFFSET, NT>), dim3(static_cast<unsigned>(blocks)), dim3(THREADS),
                 (static_cast<size_t>(wide_form<S, OFFSET, NT>::SMEM)), cu->stream)
    (j, c);
    return launched(cu, "many rows of blocks", a);
}

template <int S, bool OFFSET>
weir_status one_pass(weir_cuda *cu, const weir_linear *a, const job &j, quant_cut c, const choice &f) {
    c.n_tile = static_cast<int32_t>(most_tiles(a, f.rows, j.n_row));
    const dim3 octets(static_cast<unsigned>(most_tiles(a, OCTET, j.n_row)));
    K_LAUNCH_PDL((prepare_kernel<S, OFFSET>), octets, dim3(THREADS), 0, cu->stream)(j, c);
    WEIR_TRY(launched(cu, "rows as bytes", a));
    if (f.nt == 4) WEIR_TRY((launch<S, OFFSET, 4>(cu, a, j, c)));
    if (f.nt == 8) WEIR_TRY((launch<S, OFFSET, 8>(cu, a, j, c)));
    if (f.nt == 16) WEIR_TRY((launch<S, OFFSET, 16>(cu, a, j, c)));
    return c.n_block > 1 ? merge_records(cu, a, j, {c.tree, c.n_panel, c.squares, c.record}) : WEIR_OK;
}

/* Puts rows, squares and records into scratch: for how many rows, whole octets of them unless it is all. */
template <int S, bool OFFSET> int64_t room(weir_cuda *cu, quant_cut *c, const weir_linear *a) {
    const int64_t more = a->groups ? a->groups->n : 0; /* octets: octet_of */
    const int64_t wanted = more + (a->n_row + (a->groups ? 0 : OCTET - 1)) / OCTET;
    const int64_t x = c->n_step * (quant_form<S, OFFSET>::ROWS / static_cast<int>(sizeof(float)));
    const int64_t records = c->n_block > 1 ? c->n_block * c->n_panel * WEIR_TILE * OCTET : 0;
    int64_t octets = (static_cast<int64_t>(cu->base.scratch_floats) - 2 * 64) / (OCTET + x + records);
    if (octets > MOST_OCTETS + more) octets = MOST_OCTETS + more;
    if (octets > wanted) octets = wanted;
    if (octets <= more) return 0;
    c->squares = cu->base.scratch;
    float *at = c->squares + whole_lines(octets * OCTET);
    c->x = reinterpret_cast<unsigned char *>(at);
    c->record = at + whole_lines(octets * x);
    return octets < wanted ? (octets - more) * OCTET : a->n_row;
}

/* Whether an output's pieces are added one after the other. */
bool in_turn(const weir_segments &s) {
    for (int i = 1; i < s.n; i++) {
        if (s.merges[i] != 1) return false;
    }
    return true;
}

struct many_rows {
    weir_cuda *cu;
    const weir_linear *a;

    template <int S, bool OFFSET> weir_status run() const {
        const choice f = choose<S, OFFSET>(cu, a);
        job all = job_of(a);
        all.segments = pieces_of(a->w);
        const weir_segments &pieces = all.segments;
        if (f.slots < 1 || pieces.n < 1) return WEIR_ENOTSUP;
        quant_cut c = cut_of(a->w, pieces);
        const int64_t blocks = (c.n_panel + WARPS - 1) / WARPS * ((a->n_row + f.rows - 1) / f.rows);
        const bool fill = a->groups || 3 * blocks >= 2 * f.slots;
        c.n_block = in_turn(pieces) && fill ? 1 : pieces.n;
        int64_t rows = room<S, OFFSET>(cu, &c, a);
        if (rows < a->n_row && rows < f.rows && c.n_block > 1 && in_turn(pieces)) {
            c.n_block = 1;
            rows = room<S, OFFSET>(cu, &c, a);
        }
        if (rows < 1) return WEIR_ENOTSUP;
        if (rows < a->n_row && rows > f.rows) rows = rows / f.rows * f.rows;
        if (c.n_block > 1) all.minmax = nullptr; /* of the finished outputs, below */
        for (int64_t at = 0; at < a->n_row; at += rows)
            WEIR_TRY((one_pass<S, OFFSET>(cu, a, rows_of(all, at, rows), c, f)));
        return a->minmax && c.n_block > 1 ? minmaxes(cu, a) : WEIR_OK;
    }
};

} // namespace

weir_status quant_wide_rows(weir_cuda *cu, const weir_linear *a) {
    return with_form(a->w->dtype, many_rows{cu, a});
}

} // namespace linear
