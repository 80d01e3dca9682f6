/* Products of few rows with FRAGMENT weights (bf16): decode and verify. Bound by the bandwidth of the weights
 * (MODEL.md).
 *
 *   block   8 warps, a row tile (up to 16 rows), a slice of the inputs; units one by one (linear_tiling.h)
 *   warp    one panel of the unit; every S-th tile of 16 x 16 of the slice, in rising order, or (S = 1) all
 *           tiles of one segment
 *   lane    16 bytes of a tile: its operand of mma.m16n8k16, weights as the 16, rows as the 8
 *
 *   ring of D tiles per warp --cp.async--> registers --mma--> 16 x 8 sums --shared--> in warp order --+
 *                                              ^                                                      |
 *   rows --x norm, bf16--> shared -------------+                         epilogue (split = 1) <-------+
 *                                     scratch (split > 1; the last block adds the slices in order) <--+
 *
 * Outputs that are keys and values also go to the cache from there. Where a row's positions lie is looked up
 * before the product: half of the two trips of that are those of the row itself.
 *
 * A lane reads back only what it copied itself, so the ring needs no barrier; it continues across units and
 * is filled before grid_wait, while earlier kernels still run. Where a block has one unit and few tiles, they
 * go to registers instead, with half as many instructions. Of a product of groups (linear.h) a row tile
 * belongs to one matrix, which a block knows only after grid_wait. A row's output is summed as a chain of mma
 * along its warp's tiles, then over warps that share them, then over a segment's slices, then over segments
 * as a tree. The uncut matrix alone determines this order, so neither the number of rows, their tiles nor
 * the grid changes a bit. */
#include "kernels/attention/kv.cuh"
#include "kernels/linear/fragment.cuh"
#include "kernels/linear/linear.cuh"

#include <type_traits>

extern "C" {
#include "kernels/attention/cuda.h"
}

namespace {

using namespace linear;

constexpr int LINE = 20;    /* floats of a row of sums: lanes store to different banks */
constexpr int RESIDENT = 2; /* blocks per SM: leaves each thread 128 registers */
constexpr int HELD = 16;    /* tiles that a warp may hold in registers, 4 each */

/* A cache that outputs [first, first + 2 width) go to: keys, then values. */
struct cache {
    void *pool; /* at the layer; NULL: there is none */
    const int32_t *table, *slot, *pos;
    int64_t table_stride, page_elems;
    int32_t first, width, head_dim;
    uint32_t of_head; /* an index times this, >> 31: its head */
    bool bf16;
};

/* Where a row is in it: slot and position, then the page's first element, -1 for a dead row. */
struct cache_row {
    int64_t page;
    int32_t pos;
};

/* ---- the cache ---- */

/* Loads the row's slot and position, which nobody waits for yet. */
PTX_FN cache_row seek_row(const cache &c, int64_t row) { return {c.slot[row], c.pos[row]}; }

PTX_FN cache_row find_page(const cache &c, const cache_row &at) {
    if (at.page < 0) return at;
    return {c.table[at.page * c.table_stride + at.pos / WEIR_PAGE] * c.page_elems, at.pos % WEIR_PAGE};
}

/* Puts outputs of the tile's rows where they belong. */
struct keeps {
    const cache &c;
    const cache_row *rows;

    PTX_FN void operator()(int row, int n, float x) const {
        const int i = n - c.first;
        if (!c.pool || i < 0 || i >= 2 * c.width) return;
        const cache_row at = rows[row];
        if (at.page < 0) return;
        const int value = i >= c.width, j = i - value * c.width;
        const int head = static_cast<int>(static_cast<uint64_t>(j) * c.of_head >> 31),
                  d = j - head * c.head_dim;
        const int64_t to = at.page + static_cast<int64_t>(2 * head + value) * c.head_dim * WEIR_PAGE +
                           (value ? at.pos * c.head_dim + d : d * WEIR_PAGE + at.pos);
        if (c.bf16)
            store(static_cast<uint16_t *>(c.pool) + to, x);
        else
            store(static_cast<float *>(c.pool) + to, x);
    }
};

/* sums[warp][row][output of the panel] */
template <int NT> PTX_FN void put_sums(float *sums, const float (&acc)[NT][4]) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float *mine = sums + threadIdx.x / 32 * (8 * NT * LINE);
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
#pragma unroll
        for (int i = 0; i < 4; i++) mine[(8 * nt + 2 * t + i % 2) * LINE + g + i / 2 * 8] = acc[nt][i];
    }
}

/* The products of a unit, from shared memory or scratch: column c is output c % 16 of panel c / 16. */
template <int P, int S, int RT> struct block_sums {
    const float *sums;
    const float (*part)[WARPS];      /* of squares; P = 4: [row][0] is the row's factor */
    const weir_linear_part *segment; /* S = 1 */
    int n_part;

    PTX_FN float at(int row, int column) const {
        const float *p = sums + (column / WEIR_TILE * RT + row) * LINE + column % WEIR_TILE;
        float sum = p[0];
        if constexpr (S == 1) {
            if (all_segments(segment, n_part)) return sum_segments(p, P * RT * LINE);
            kept_sums kept = {};
            for (int s = 1; s < n_part; s++) {
                kept.keep(sum);
                sum = kept.merge(p[s * P * RT * LINE], segment[s].merges);
            }
        } else {
#pragma unroll
            for (int s = 1; s < S; s++) sum += p[s * P * RT * LINE];
        }
        return sum;
    }
    PTX_FN float factor(const job &a, int row) const {
        if (!a.norm) return 1.0f;
        return P == 4 ? part[row][0] : row_factor(a, sum_parts(part[row]));
    }
    PTX_FN float two(const job &a, int row, int column, float (&v)[2]) const {
        v[0] = at(row, column), v[1] = at(row, column + WEIR_TILE);
        return factor(a, row);
    }
};

/* The factors of a warp's rows, once they are known: those of its first unit are those of all. */
template <int RT> struct row_factors {
    float first, second; /* rows after the eighth */
    bool known;

    PTX_FN float at(int row) const { return RT > WARPS && row >= WARPS ? second : first; }
    PTX_FN float set(int row, float f) {
        if (RT > WARPS && row >= WARPS)
            second = f;
        else
            first = f;
        return f;
    }
};

/* A unit's sums over slices, from the records of the first one; squares: of the block's first unit. */
template <int P, int RT> struct slice_sums {
    const float *record, *squares;
    int64_t step;
    const cut &c;
    row_factors<RT> &factors;

    PTX_FN float two(const job &a, int row, int column, float (&v)[2]) {
        const float *from = record + row * (P * WEIR_TILE) + column;
        if (factors.known) {
            const int at[2] = {0, WEIR_TILE};
            sum_slices(v, from, at, step, c.p, c.each);
            return factors.at(row);
        }
        const int at[3] = {0, WEIR_TILE, static_cast<int>(squares + row - from)};
        float all[3];
        sum_slices(all, from, at, step, c.p, c.each);
        v[0] = all[0], v[1] = all[1];
        return factors.set(row, row_factor(a, all[2]));
    }
};

/* What y holds of a unit's outputs, if the epilogue reads it: loaded before the product, for the thread that
 * finishes them. */
template <int P, int RT> struct stored_early {
    static constexpr int EACH = P == 4 ? 2 : 1, TURNS = P == 4 ? RT / 8 : 1;
    float was[TURNS][EACH];

    PTX_FN stored_early(const job &a, int unit, int64_t row0, int rows) : was{} {
        if (!weir__epilogue_reads(a.epilogue)) return;
        constexpr int LANES = P == 4 ? 32 : WEIR_TILE;
        const int first = threadIdx.x / LANES;
        const int n0 = unit * EACH * LANES + (P == 4 ? lane_column() : threadIdx.x % LANES);
#pragma unroll
        for (int t = 0; t < TURNS; t++) {
            const int row = first + WARPS * t;
            const float *y = a.y + (row0 + row) * a.ldy + n0;
#pragma unroll
            for (int h = 0; h < EACH; h++) {
                if (row < rows && n0 + WEIR_TILE * h < static_cast<int>(a.n)) was[t][h] = y[WEIR_TILE * h];
            }
        }
    }
    PTX_FN float at(const job &, int64_t, int row, int h, int) const {
        return row < WARPS ? was[0][h] : was[TURNS - 1][h];
    }
};

/* y of a unit of 16 outputs. */
template <int P, int RT, class Sums>
PTX_FN void finish_small(const job &a, const Sums &sums, int unit, int64_t row0, int rows, const keeps &keep,
                         const stored_early<P, RT> &early) {
    const int row = threadIdx.x / WEIR_TILE, i = threadIdx.x % WEIR_TILE, n = unit * WEIR_TILE + i;
    if (row >= rows || n >= static_cast<int>(a.n)) return;
    const float factor = sums.factor(a, row);
    const float up = P == 2 ? factor * sums.at(row, P / 2 * WEIR_TILE + i) : 0.0f;
    keep(row, n, finish(a, factor * sums.at(row, i), up, row0 + row, n, early.was[0][0]));
}

template <int P, int RT, class Sums>
PTX_FN void finish_unit(const job &a, Sums &sums, int unit, int64_t row0, int rows, const keeps &keep,
                        const stored_early<P, RT> &early) {
    if constexpr (P == 4) {
        finish_large(a, sums, unit, row0, rows, keep, early);
    } else {
        finish_small(a, sums, unit, row0, rows, keep, early);
    }
}

/* Records of slices in scratch: a unit's products, and the squares of the rows with the block's first. */
template <int P, int RT> struct unit_records {
    static constexpr int COLUMNS = P * WEIR_TILE, EACH = RT * (COLUMNS + 1);
    const cut &c;
    const place &at;

    PTX_FN float *record(int z, int unit) const {
        const int n_unit = static_cast<int>(c.p.n_unit); /* counters, and so all records, are below 2^31 */
        return c.partial + static_cast<int64_t>((at.tile * c.p.split + z) * n_unit + unit) * EACH;
    }
    PTX_FN float *squares(int z) const { return record(z, at.unit) + RT * COLUMNS; }
    PTX_FN int64_t step() const { return static_cast<int64_t>(static_cast<int>(c.p.n_unit)) * EACH; }
    PTX_FN uint32_t *counter(int unit) const {
        return c.counter + at.tile * static_cast<int>(c.p.n_unit) + unit;
    }
};

/* Writes this slice's products to scratch; the block that completes the unit finishes it. */
template <int P, int S, int RT>
PTX_FN void merge_slices(const job &a, const cut &c, const place &at, const block_sums<P, S, RT> &mine,
                         int *last, int unit, int64_t row0, int rows, const keeps &keep,
                         const stored_early<P, RT> &early, row_factors<RT> &factors) {
    using records = unit_records<P, RT>;
    const records to = {c, at};
    const int row = threadIdx.x / records::COLUMNS, column = threadIdx.x % records::COLUMNS;
    float *record = to.record(at.z, unit) + threadIdx.x;
#pragma unroll
    for (int r = 0; r < RT; r += THREADS / records::COLUMNS) {
        if (row + r >= rows) break;
        record[r * records::COLUMNS] = mine.at(row + r, column);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t *counter = to.counter(unit);
        *last = ptx::add_release(counter, 1) + 1 == static_cast<uint32_t>(c.p.split);
        if (*last) *counter = 0;
    }
    __syncthreads();
    if (!*last) return;
    slice_sums<P, RT> all = {to.record(0, unit), to.squares(0), to.step(), c, factors};
    finish_large(a, all, unit, row0, rows, keep, early);
    factors.known = true;
}

/* ONCE: no block has more than one unit, no warp more than D tiles of it, and all inputs fit. */
template <int P, int S, int NT, int D, bool ONCE>
__global__ void __launch_bounds__(THREADS, RESIDENT)
    fragment_kernel(const job a, const cut c, const cache kept) {
    constexpr int RT = 8 * NT;
    K_DYN_SHARED(unsigned char, smem);
    float *sums = reinterpret_cast<float *>(smem + (ONCE ? 0 : WARPS * D * TILE_BYTES));
    float(*part)[WARPS] = reinterpret_cast<float(*)[WARPS]>(sums + WARPS * RT * LINE);
    int *last = reinterpret_cast<int *>(part + RT);
    cache_row *kept_rows = reinterpret_cast<cache_row *>(last + 4);
    uint16_t *xs = reinterpret_cast<uint16_t *>(kept_rows + RT);

    const place at = place_of<P, S>(c);
    if (a.begin) { /* which weights are read is not known before */
        ptx::grid_launch_dependents();
        ptx::grid_wait();
    }
    const row_tile tile = tile_of<RT>(a, at.tile);
    if (tile.rows == 0) return;
    std::conditional_t<ONCE, held<P, S, D>, ring<P, S, D>> weights(c, at, tile.w, smem);
    if (!a.begin) {
        if (!a.settles) ptx::grid_launch_dependents();
        ptx::grid_wait();
        if (a.settles) ptx::grid_launch_dependents();
    }

    const int64_t row0 = tile.row0;
    const int rows = tile.rows, first = at.first * WEIR_TILE, width = at.length * WEIR_TILE;
    const int k = static_cast<int>(a.k), end = first + width < k ? first + width : k;
    const bool whole = ONCE || c.stage >= width;
    const bool looks = threadIdx.x < (kept.pool ? static_cast<unsigned>(rows) : 0u);
    cache_row mine_at = {-1, 0};
    if (looks) mine_at = seek_row(kept, row0 + threadIdx.x);
    if (whole || a.norm)
        take(a, row0, rows, first, width, end, xs, c.stride, part,
             (whole ? INPUTS : 0) | (a.norm ? SQUARES : 0));
    if (looks) kept_rows[threadIdx.x] = find_page(kept, mine_at);
    __syncthreads();
    bool merges = false;
    if constexpr (P == 4) {
        merges = c.p.split > 1;
        if (a.norm && static_cast<int>(threadIdx.x) < rows) { /* read after the next barrier */
            const float squares = sum_parts(part[threadIdx.x]);
            if (merges)
                unit_records<P, RT>{c, at}.squares(at.z)[threadIdx.x] = squares;
            else
                part[threadIdx.x][0] = row_factor(a, squares);
        }
    }

    const int lane = threadIdx.x % 32;
    const uint16_t *x[NT]; /* lanes without a row multiply the last row */
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
        const int row = 8 * nt + lane / 4;
        x[nt] = xs + (row < rows ? row : rows - 1) * c.stride + at.offset * WEIR_TILE + lane % 4 * 4;
    }
    const keeps keep = {kept, kept_rows};
    const block_sums<P, S, RT> mine = {sums, part, c.p.part, c.p.n_part};
    row_factors<RT> factors = {1.0f, 1.0f, !a.norm};
    for (int unit = at.unit;;) {
        const stored_early<P, RT> early(a, unit, row0, rows);
        float acc[NT][4] = {};
        for (int begin = 0, left = at.count;;) {
            int steps = left;
            if (!whole) {
                __syncthreads();
                const int n = width - begin < c.stage ? width - begin : c.stage;
                take<uint16_t, 4>(a, row0, rows, first + begin, n, end, xs, c.stride, part, INPUTS);
                __syncthreads();
                const int most = c.stage / (S * WEIR_TILE);
                steps = left < most ? left : most;
            }
            multiply(acc, weights, x, steps);
            left -= steps, begin += c.stage;
            if (ONCE || begin >= width) break;
        }
        put_sums<NT>(sums, acc);
        __syncthreads();
        if (!merges)
            finish_unit(a, mine, unit, row0, rows, keep, early);
        else if constexpr (P == 4)
            merge_slices<P, S, RT>(a, c, at, mine, last, unit, row0, rows, keep, early, factors);
        unit += at.unit_step;
        if (ONCE || unit >= static_cast<int>(c.p.n_unit)) break;
        __syncthreads(); /* the sums of this unit have been read */
    }
}

/* ---- host ---------------------------------------------------------------------------------------------- */

/* Shared memory except the rows: ring (depth 0: none), sums, squares, the last-block flag, and rows of a
 * cache. None of it is static, since static memory counts against what a block can request. */
int fixed_bytes(int rt, int depth) {
    return WARPS * depth * TILE_BYTES + WARPS * rt * LINE * 4 + rt * WARPS * 4 + 16 +
           rt * static_cast<int>(sizeof(cache_row));
}

/* Two blocks per SM where there is enough memory (sm_80, sm_90); otherwise all of it for one (sm_86,
 * sm_89). */
int smem_budget(const weir_cuda *cu) {
    const int optin = static_cast<int>(cu->smem_optin), half = (optin + 1024) / 2 - 1024;
    return half >= 72 * 1024 ? half : optin;
}

struct shape {
    int depth, smem; /* depth 0: tiles are held in registers */
};

/* Tiles of the inputs that a block reads. */
int64_t widest(const weir_linear_tiling &p) {
    int64_t most = 0;
    if (p.share == 1) return p.tiles;
    for (int i = 0; i < p.n_part; i++) {
        const weir_linear_part &s = p.part[i];
        const int64_t tiles = s.slice < s.tiles ? s.slice : s.tiles;
        if (tiles > most) most = tiles;
    }
    return most;
}

/* Tiles of a warp, at most. */
int64_t deepest(const weir_linear_tiling &p) {
    int64_t most = 0;
    if (p.share > 1) return (widest(p) + p.share - 1) / p.share;
    for (int i = 0; i < p.n_part; i++) most = p.part[i].tiles > most ? p.part[i].tiles : most;
    return most;
}

/* Slices of every segment, if none is empty and all have as many; or 0. */
int32_t slices_of_each(const weir_linear_tiling &p) {
    const int32_t each = p.part[0].slices;
    if (p.n_part != WEIR_SEGMENTS || p.part[WEIR_SEGMENTS - 1].merges != 3) return 0;
    for (int i = 1; i < WEIR_SEGMENTS; i++) {
        if (p.part[i].slices != each) return 0;
    }
    return each;
}

/* Blocks that are on the device at once. */
int64_t slots_of(const weir_cuda *cu, int smem) {
    const int64_t resident = (static_cast<int64_t>(cu->smem_optin) + 1024) / (smem + 1024);
    return (resident < RESIDENT ? resident : RESIDENT) * cu->sm_count;
}

/* Inputs of `rows` rows that fit in shared memory at once, the ring's depth, and all shared memory. */
shape fit(const weir_cuda *cu, const weir_linear_tiling &p, int rt, int rows, cut *c) {
    const int unit = p.share * WEIR_TILE, budget = smem_budget(cu), row_bytes = 2 * rows;
    const int64_t width = (widest(p) * WEIR_TILE + unit - 1) / unit * unit;
    shape s;
    s.depth = 0, s.smem = fixed_bytes(rt, 0) + row_bytes * static_cast<int>(width + WEIR_TILE);
    const bool once = rt == 8 && deepest(p) <= HELD && s.smem <= budget &&
                      c->n_tile * p.split * p.n_unit <= slots_of(cu, s.smem);
    if (!once)
        s.depth = p.panels == 4 && fixed_bytes(rt, 16) + row_bytes * (width + WEIR_TILE) <= budget ? 16 : 8;
    const int64_t room = (budget - fixed_bytes(rt, s.depth)) / row_bytes - WEIR_TILE;
    c->stage = static_cast<int32_t>(width <= room ? width : room / unit * unit);
    c->stride = (c->stage / WEIR_TILE | 1) * WEIR_TILE; /* an odd number of 32 bytes: other banks */
    s.smem = fixed_bytes(rt, s.depth) + row_bytes * c->stride;
    return s;
}

/* Rows of a tile. A warp that has a segment needs all its inputs at once: 8 rows of the 2048 that it may have
 * fit everywhere. */
int rows_of_tile(const weir_cuda *cu, const weir_linear_tiling &p, int64_t n_row) {
    cut c = {};
    if (n_row <= 8) return 8;
    if (p.share == 1) {
        fit(cu, p, 16, 16, &c);
        if (c.stage < widest(p) * WEIR_TILE) return 8;
    }
    return 16;
}

template <int P, int S, int NT, int D, bool ONCE>
weir_status launch(weir_cuda *cu, const job &j, const cut &c, const cache &kept, int smem) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(fragment_kernel<P, S, NT, D, ONCE>, &asked, cu),
                  "linear: shared memory");
    int64_t groups = slots_of(cu, smem) / (static_cast<int64_t>(c.n_tile) * c.p.split);
    if (groups < 1) groups = 1;
    if (groups > c.p.n_unit) groups = c.p.n_unit;
    const dim3 grid(static_cast<unsigned>(c.n_tile), static_cast<unsigned>(c.p.split),
                    static_cast<unsigned>(groups));
    K_LAUNCH_PDL((fragment_kernel<P, S, NT, D, ONCE>), grid, dim3(THREADS), smem, cu->stream)(j, c, kept);
    return WEIR_OK;
}

template <int P, int S, int NT>
weir_status launch_depth(weir_cuda *cu, const job &j, const cut &c, const cache &kept, const shape &s) {
    if constexpr (NT == 1) {
        if (s.depth == 0) return launch<P, S, 1, HELD, true>(cu, j, c, kept, s.smem);
    }
    if constexpr (P == 4) {
        if (s.depth == 16) return launch<P, S, NT, 16, false>(cu, j, c, kept, s.smem);
    }
    return launch<P, S, NT, 8, false>(cu, j, c, kept, s.smem);
}

template <int NT>
weir_status launch_rows(weir_cuda *cu, const job &j, const cut &c, const cache &kept, const shape &s) {
    if (c.p.share == 1) return launch_depth<1, 1, NT>(cu, j, c, kept, s);
    if (c.p.panels == 1) return launch_depth<1, WARPS, NT>(cu, j, c, kept, s);
    if (c.p.panels == 2) return launch_depth<2, WARPS / 2, NT>(cu, j, c, kept, s);
    return launch_depth<4, WARPS / 4, NT>(cu, j, c, kept, s);
}

/* Row tiles per launch: as many as scratch has room for the records of their slices. 0: not even one. */
int64_t tiles_at_once(const weir_cuda *cu, const weir_linear_tiling &p, int64_t n_tile) {
    int64_t most = 4096;
    if (p.split > 1) {
        const int64_t room =
            static_cast<int64_t>(cu->base.scratch_floats / weir__linear_partial_floats(p.split, p.n_unit));
        const int64_t words = (cu->n_counter - WEIR_COUNT_TEAM) / p.n_unit;
        most = room < most ? room : most;
        most = words < most ? words : most;
    }
    return n_tile < most ? n_tile : most;
}

cache cache_of(const weir_kv_append *p, const float *y) {
    cache c = {};
    if (!p) return c;
    const int32_t width = p->kv->n_head_kv * p->kv->head_dim;
    const int64_t layer = static_cast<int64_t>(p->layer) * 2 * width * WEIR_PAGE;
    c.bf16 = p->kv->dtype == WEIR_DTYPE_BF16;
    c.pool = static_cast<char *>(p->kv->pool) + layer * weir_dtype_bytes(p->kv->dtype);
    c.table = p->kv->table, c.table_stride = p->kv->table_stride, c.page_elems = p->kv->page_elems;
    c.slot = p->slot, c.pos = p->pos;
    c.first = static_cast<int32_t>(p->k - y), c.width = width, c.head_dim = p->kv->head_dim;
    c.of_head = (1u << 31) / static_cast<uint32_t>(c.head_dim) + 1; /* right while width head_dim < 2^31 */
    return c;
}

/* Whether the op that follows may read, before it waits, what was there before the product: attention does,
 * and what it attends with comes from a product that only stores. The others are followed by products, which
 * read weights early and had better begin at once. */
bool settles(const weir_linear *a) { return a->epilogue == WEIR_EPI_STORE && !a->w->gated && !a->groups; }

weir_status fragment_rows(weir_cuda *cu, const weir_linear *a) {
    const weir_linear_tiling p = weir__linear_tiling_of(a->w);
    const int64_t most = most_rows(a);
    const int rt = rows_of_tile(cu, p, most);
    const int64_t n_tile = most_tiles(a, rt), step = tiles_at_once(cu, p, n_tile);
    if (step < 1) return WEIR_ENOMEM;
    const bool spans = a->minmax && p.panels != 4; /* units are not spans: computed after the product */
    cut c = {};
    c.p = p, c.n_panel = static_cast<int32_t>(a->w->n_panel), c.each = slices_of_each(p);
    c.partial = cu->base.scratch;
    c.counter = cu->counters + WEIR_COUNT_TEAM;
    c.n_tile = static_cast<int32_t>(n_tile < step ? n_tile : step);
    const shape s = fit(cu, p, rt, static_cast<int>(most < rt ? most : rt), &c);
    job j = job_of(a);
    const cache kept = cache_of(a->append, a->y);
    j.settles = settles(a);
    if (spans) j.minmax = nullptr;
    for (; j.tile0 < n_tile; j.tile0 += step) {
        c.n_tile = static_cast<int32_t>(n_tile - j.tile0 < step ? n_tile - j.tile0 : step);
        WEIR_TRY(rt == 8 ? launch_rows<1>(cu, j, c, kept, s) : launch_rows<2>(cu, j, c, kept, s));
        WEIR_TRY(launched(cu, "fragments", a));
    }
    if (spans) return minmaxes(cu, a);
    cu->left = {j.settles, 0, nullptr, nullptr};
    if (a->append) cu->left = {j.settles, a->append->n_row, a->append->slot, a->append->pos};
    return WEIR_OK;
}

/* All products but those of few rows of fragments. ENOTSUP is theirs. */
weir_status other_rows(weir_cuda *cu, const weir_linear *a) {
    if (a->w->layout == WEIR_LAYOUT_FRAGMENT) return linear::wide_rows(cu, a);
    if (a->w->layout != WEIR_LAYOUT_ROWS) return WEIR_EINVAL;
    if (!weir_dtype_is_float(a->w->dtype)) return linear::quant_rows(cu, a);
    if (a->rows || a->groups) return linear::plain_rows(cu, a);
    /* the library chooses its order of sums by the shape that it is given */
    if (a->w->n != a->w->n_whole || a->w->k != a->w->k_whole) return WEIR_ENOTSUP;
    return linear::prefill(cu, a);
}

} // namespace

extern "C" weir_status weir__linear_cuda(weir_backend *be, weir_linear *a) {
    WEIR_TRY(weir__linear_check(a));
    if (a->append && a->append->kv->dtype != WEIR_DTYPE_F32 && a->append->kv->dtype != WEIR_DTYPE_BF16)
        return WEIR_EINVAL;
    if (linear::most_rows(a) == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const weir_status s = other_rows(cu, a);
    if (s == WEIR_ENOTSUP && a->w->layout == WEIR_LAYOUT_FRAGMENT) return fragment_rows(cu, a);
    if (s != WEIR_OK || !a->append) return s;
    weir_kv_append append = *a->append;
    return weir__kv_append_cuda(be, &append);
}
