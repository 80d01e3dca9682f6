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
 * is filled before grid_wait, while earlier kernels still run. Of a product of groups (linear.h) a row tile
 * belongs to one matrix, which a block knows only after grid_wait. A row's output is summed as a chain of mma
 * along its warp's tiles, then over warps that share them, then over a segment's slices, then over segments
 * as a tree. The uncut matrix alone determines this order, so neither the number of rows, their tiles nor
 * the grid changes a bit. */
#include "kernels/attention/kv.cuh"
#include "kernels/linear/linear.cuh"

extern "C" {
#include "kernels/attention/cuda.h"
}

namespace {

using namespace linear;

constexpr int LINE = 20;    /* floats of a row of sums: lanes store to different banks */
constexpr int RESIDENT = 2; /* blocks per SM: leaves each thread 128 registers */

/* A cache that outputs [first, first + 2 width) go to: keys, then values. */
struct cache {
    void *pool; /* at the layer; NULL: there is none */
    const int32_t *table, *slot, *pos;
    int64_t table_stride, page_elems, first;
    int32_t width, head_dim;
    bool bf16;
};

/* Where a row is in it: slot and position, then the page's first element, -1 for a dead row. */
struct cache_row {
    int64_t page;
    int32_t pos;
};

/* How a launch is divided; the same for all its blocks. */
struct cut {
    weir_linear_tiling p;
    int32_t n_tile; /* row tiles */
    int64_t n_panel;
    int32_t stage, stride; /* inputs of a row in shared memory at once; elements between rows */
    float *partial;        /* (n_tile, split, n_unit) records of ROWS x (64 + 1) */
    uint32_t *counter;     /* (n_tile, n_unit) */
    cache kept;
};

struct place {
    int64_t unit, unit_step;
    int tile, z;
    int panel;         /* of the unit: the warp's */
    int64_t first;     /* tile of the slice's first input */
    int length;        /* tiles of the slice */
    int offset, count; /* the warp's: the first, from the slice's, and how many */
};

template <int P, int S> PTX_FN place place_of(const cut &c) {
    const int warp = threadIdx.x / 32, b = blockIdx.x, of_unit = c.n_tile * c.p.split;
    place p;
    p.tile = b % c.n_tile;
    p.z = b / c.n_tile % c.p.split;
    p.unit = b / of_unit;
    p.unit_step = gridDim.x / of_unit;
    p.panel = warp % P;
    if constexpr (S == 1) {
        const int segment = warp / P;
        const bool some = segment < c.p.n_part;
        p.first = 0;
        p.length = static_cast<int>(c.p.tiles);
        p.offset = some ? static_cast<int>(c.p.part[segment].begin) : 0;
        p.count = some ? static_cast<int>(c.p.part[segment].tiles) : 0;
    } else {
        const slice_tiles s = slice_at(c.p, p.z);
        p.first = s.first, p.length = s.count;
        p.offset = warp / P;
        p.count = p.length > p.offset ? (p.length - p.offset + S - 1) / S : 0;
    }
    return p;
}

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

    PTX_FN void operator()(int row, int64_t n, float x) const {
        if (!c.pool || n < c.first || n >= c.first + 2 * c.width) return;
        const cache_row at = rows[row];
        if (at.page < 0) return;
        const int i = static_cast<int>(n - c.first), value = i >= c.width, j = i - value * c.width;
        const int head = j / c.head_dim, d = j % c.head_dim;
        const int64_t to = at.page + static_cast<int64_t>(2 * head + value) * c.head_dim * WEIR_PAGE +
                           (value ? at.pos * c.head_dim + d : d * WEIR_PAGE + at.pos);
        if (c.bf16)
            store(static_cast<uint16_t *>(c.pool) + to, x);
        else
            store(static_cast<float *>(c.pool) + to, x);
    }
};

/* This lane's part of the warp's tiles, unit after unit, D of them in flight. */
template <int P, int S, int D> struct ring {
    const unsigned char *from, *weights;
    unsigned char *slots;
    int64_t unit, unit_step, n_unit, n_panel, tiles, offset;
    int panel, count, left;

    PTX_FN void seek() {
        int64_t p = unit * P + panel;
        if (p >= n_panel) p = n_panel - 1; /* the last unit may lack panels: their results are not stored */
        from = weights + (p * tiles + offset) * TILE_BYTES;
        left = count;
    }

    PTX_FN void open(const unsigned char *w, const cut &c, const place &at, unsigned char *smem) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        weights = w + lane * 16;
        slots = smem + warp * D * TILE_BYTES + lane * 16;
        unit = at.count > 0 ? at.unit : c.p.n_unit;
        unit_step = at.unit_step, n_unit = c.p.n_unit, n_panel = c.n_panel, tiles = c.p.tiles;
        offset = at.first + at.offset;
        panel = at.panel, count = at.count;
        seek();
    }

    /* Copies the next tile into a free slot; one group, empty after the last tile. */
    PTX_FN void fetch(int slot) {
        if (unit < n_unit) {
            ptx::cp_async16(slots + slot * TILE_BYTES, from);
            from += S * TILE_BYTES;
            if (--left == 0) {
                unit += unit_step;
                seek();
            }
        }
        ptx::cp_async_commit();
    }
};

/* `steps` tiles of the warp against inputs at x: x[nt] is this lane's four of row 8 nt + g. */
template <int P, int S, int NT, int D>
PTX_FN void multiply(float (&acc)[NT][4], ring<P, S, D> &w, int *slot, const uint16_t *const (&x)[NT],
                     int steps) {
#pragma unroll 4
    for (int i = 0, at = 0; i < steps; i++, at += S * WEIR_TILE) {
        ptx::cp_async_wait<D - 1>();
        const uint4 v = *reinterpret_cast<const uint4 *>(w.slots + *slot * TILE_BYTES);
        const uint32_t weight[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int nt = 0; nt < NT; nt++) {
            const uint2 u = *reinterpret_cast<const uint2 *>(x[nt] + at);
            const uint32_t input[2] = {u.x, u.y};
            ptx::mma_bf16(acc[nt], weight, input);
        }
        w.fetch(*slot);
        *slot = (*slot + 1) % D;
    }
}

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
    const float (*part)[WARPS];
    const weir_linear_part *segment; /* S = 1 */
    int n_part;

    PTX_FN float at(int row, int column) const {
        const float *p = sums + (column / WEIR_TILE * RT + row) * LINE + column % WEIR_TILE;
        float sum = p[0];
        if constexpr (S == 1) {
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
    PTX_FN float squares(int row) const { return sum_parts(part[row]); }
};

template <int P, int RT> struct slice_sums {
    const float *record;
    int64_t step;
    const weir_linear_tiling *p;

    PTX_FN float total(int i) const { return sum_slices(record + i, step, *p); }
    PTX_FN float at(int row, int column) const { return total(row * P * WEIR_TILE + column); }
    PTX_FN float squares(int row) const { return total(RT * P * WEIR_TILE + row); }
};

/* y of a unit of 16 outputs. */
template <int P, class Sums>
PTX_FN void finish_small(const job &a, const Sums &sums, int64_t unit, int64_t row0, int rows,
                         const keeps &keep) {
    const int row = threadIdx.x / WEIR_TILE, i = threadIdx.x % WEIR_TILE;
    const int64_t n = unit * WEIR_TILE + i;
    if (row >= rows || n >= a.n) return;
    const float factor = a.norm ? row_factor(a, sums.squares(row)) : 1.0f;
    const float up = P == 2 ? factor * sums.at(row, P / 2 * WEIR_TILE + i) : 0.0f;
    keep(row, n, finish(a, factor * sums.at(row, i), up, row0 + row, n));
}

template <int P, class Sums>
PTX_FN void finish_unit(const job &a, const Sums &sums, int64_t unit, int64_t row0, int rows,
                        const keeps &keep) {
    if constexpr (P == 4) {
        finish_large(a, sums, unit, row0, rows, keep);
    } else {
        finish_small<P>(a, sums, unit, row0, rows, keep);
    }
}

/* Writes this slice's products to scratch; the block that completes the unit finishes it. */
template <int P, int S, int RT>
PTX_FN void merge_slices(const job &a, const cut &c, const place &at, const block_sums<P, S, RT> &mine,
                         int *last, int64_t unit, int64_t row0, int rows, const keeps &keep) {
    constexpr int COLUMNS = P * WEIR_TILE, RECORD = RT * (COLUMNS + 1);
    slice_sums<P, RT> all;
    all.step = c.p.n_unit * RECORD;
    all.p = &c.p;
    float *record = c.partial + at.tile * c.p.split * all.step + unit * RECORD;
    all.record = record;
    record += at.z * all.step;
    for (int i = threadIdx.x; i < rows * COLUMNS; i += THREADS) record[i] = mine.at(i / COLUMNS, i % COLUMNS);
    if (a.norm && static_cast<int>(threadIdx.x) < rows)
        record[RT * COLUMNS + threadIdx.x] = mine.squares(threadIdx.x);
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t *counter = c.counter + at.tile * c.p.n_unit + unit;
        *last = ptx::add_release(counter, 1) + 1 == static_cast<uint32_t>(c.p.split);
        if (*last) *counter = 0;
    }
    __syncthreads();
    if (*last) finish_unit<P>(a, all, unit, row0, rows, keep);
}

template <int P, int S, int NT, int D>
__global__ void __launch_bounds__(THREADS, RESIDENT) fragment_kernel(const job a, const cut c) {
    constexpr int RT = 8 * NT;
    K_DYN_SHARED(unsigned char, smem);
    float *sums = reinterpret_cast<float *>(smem + WARPS * D * TILE_BYTES);
    float(*part)[WARPS] = reinterpret_cast<float(*)[WARPS]>(sums + WARPS * RT * LINE);
    int *last = reinterpret_cast<int *>(part + RT);
    cache_row *kept = reinterpret_cast<cache_row *>(last + 4);
    uint16_t *xs = reinterpret_cast<uint16_t *>(kept + RT);

    const place at = place_of<P, S>(c);
    if (a.begin) { /* which weights are read is not known before */
        ptx::grid_launch_dependents();
        ptx::grid_wait();
    }
    const row_tile tile = tile_of<RT>(a, at.tile);
    if (tile.rows == 0) return;
    ring<P, S, D> weights;
    weights.open(tile.w, c, at, smem);
#pragma unroll
    for (int slot = 0; slot < D; slot++) weights.fetch(slot);
    if (!a.begin) {
        if (!a.settles) ptx::grid_launch_dependents();
        ptx::grid_wait();
        if (a.settles) ptx::grid_launch_dependents();
    }

    const int64_t row0 = tile.row0, first = at.first * WEIR_TILE;
    const int rows = tile.rows, width = at.length * WEIR_TILE;
    const int64_t end = first + width < a.k ? first + width : a.k;
    const bool whole = c.stage >= width, looks = c.kept.pool && static_cast<int>(threadIdx.x) < rows;
    cache_row mine_at = {-1, 0};
    if (looks) mine_at = seek_row(c.kept, row0 + threadIdx.x);
    if (whole || a.norm)
        take(a, row0, rows, first, width, end, whole ? xs : nullptr, c.stride, a.norm ? part : nullptr);
    if (looks) kept[threadIdx.x] = find_page(c.kept, mine_at);
    __syncthreads();

    const int lane = threadIdx.x % 32;
    const uint16_t *x[NT]; /* lanes without a row multiply the last row */
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
        const int row = 8 * nt + lane / 4;
        x[nt] = xs + (row < rows ? row : rows - 1) * c.stride + at.offset * WEIR_TILE + lane % 4 * 4;
    }
    const keeps keep = {c.kept, kept};
    int slot = 0;
    for (int64_t unit = at.unit; unit < c.p.n_unit; unit += at.unit_step) {
        float acc[NT][4] = {};
        int left = at.count;
        for (int begin = 0; begin < width; begin += c.stage) {
            if (!whole) {
                __syncthreads();
                const int n = width - begin < c.stage ? width - begin : c.stage;
                take<uint16_t>(a, row0, rows, first + begin, n, end, xs, c.stride, nullptr);
                __syncthreads();
            }
            const int most = c.stage / (S * WEIR_TILE), steps = left < most ? left : most;
            multiply<P, S, NT, D>(acc, weights, &slot, x, steps);
            left -= steps;
        }
        __syncthreads(); /* the sums of the unit before have been read */
        put_sums<NT>(sums, acc);
        __syncthreads();
        block_sums<P, S, RT> mine;
        mine.sums = sums;
        mine.part = part;
        mine.segment = c.p.part, mine.n_part = c.p.n_part;
        if constexpr (P == 4) {
            if (c.p.split > 1) {
                merge_slices<P, S, RT>(a, c, at, mine, last, unit, row0, rows, keep);
                continue;
            }
        }
        finish_unit<P>(a, mine, unit, row0, rows, keep);
    }
}

/* ---- host ---------------------------------------------------------------------------------------------- */

/* Shared memory except the rows: ring, sums, squares, the last-block flag, and rows of a cache. None of it is
 * static, since static memory counts against what a block can request. */
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
    int depth, smem;
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

/* Inputs of `rows` rows that fit in shared memory at once, the ring's depth, and all shared memory. */
shape fit(const weir_cuda *cu, const weir_linear_tiling &p, int rt, int rows, cut *c) {
    const int unit = p.share * WEIR_TILE, budget = smem_budget(cu), row_bytes = 2 * rows;
    const int64_t width = (widest(p) * WEIR_TILE + unit - 1) / unit * unit;
    shape s;
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

template <int P, int S, int NT, int D>
weir_status launch(weir_cuda *cu, const job &j, const cut &c, int smem) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(fragment_kernel<P, S, NT, D>, &asked, cu), "linear: shared memory");
    const int64_t of_unit = static_cast<int64_t>(c.n_tile) * c.p.split;
    int64_t resident = (static_cast<int64_t>(cu->smem_optin) + 1024) / (smem + 1024);
    if (resident > RESIDENT) resident = RESIDENT;
    int64_t groups = resident * cu->sm_count / of_unit;
    if (groups < 1) groups = 1;
    if (groups > c.p.n_unit) groups = c.p.n_unit;
    const dim3 grid(static_cast<unsigned>(groups * of_unit));
    K_LAUNCH_PDL((fragment_kernel<P, S, NT, D>), grid, dim3(THREADS), smem, cu->stream)(j, c);
    return WEIR_OK;
}

template <int NT> weir_status launch_rows(weir_cuda *cu, const job &j, const cut &c, const shape &s) {
    if (c.p.share == 1) return launch<1, 1, NT, 8>(cu, j, c, s.smem);
    if (c.p.panels == 1) return launch<1, WARPS, NT, 8>(cu, j, c, s.smem);
    if (c.p.panels == 2) return launch<2, WARPS / 2, NT, 8>(cu, j, c, s.smem);
    return s.depth == 16 ? launch<4, WARPS / 4, NT, 16>(cu, j, c, s.smem)
                         : launch<4, WARPS / 4, NT, 8>(cu, j, c, s.smem);
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
    c.first = p->k - y, c.width = width, c.head_dim = p->kv->head_dim;
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
    c.p = p, c.n_panel = a->w->n_panel;
    c.partial = cu->base.scratch;
    c.counter = cu->counters + WEIR_COUNT_TEAM;
    const shape s = fit(cu, p, rt, static_cast<int>(most < rt ? most : rt), &c);
    job j = job_of(a);
    c.kept = cache_of(a->append, a->y);
    j.settles = settles(a);
    if (spans) j.minmax = nullptr;
    for (; j.tile0 < n_tile; j.tile0 += step) {
        c.n_tile = static_cast<int32_t>(n_tile - j.tile0 < step ? n_tile - j.tile0 : step);
        WEIR_TRY(rt == 8 ? launch_rows<1>(cu, j, c, s) : launch_rows<2>(cu, j, c, s));
        WEIR_TRY(launched(cu, "fragments", a));
    }
    if (spans) return minmaxes(cu, a);
    cu->left = {j.settles, 0, nullptr, nullptr};
    if (a->append) cu->left = {j.settles, a->append->n_row, a->append->slot, a->append->pos};
    return WEIR_OK;
}

/* All products but those of few rows of fragments. ENOTSUP is theirs. */
weir_status other_rows(weir_cuda *cu, const weir_linear *a) {
    if (a->w->layout == WEIR_LAYOUT_FRAGMENT) return a->groups ? WEIR_ENOTSUP : linear::wide_rows(cu, a);
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
