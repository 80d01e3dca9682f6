/* Products of many rows with FRAGMENT weights (bf16): batches of sessions, and prompts of decoder-only
 * models, and groups (linear.h) that have many rows on average. A block keeps ROWS x 64 or 128 outputs, so
 * that a weight is read once for up to 128 rows.
 *
 *   block   8 warps, PANELS panels x a tile of ROWS rows; all slices of the inputs, one segment's, or one
 *   warp    MW panels x NW times 8 rows
 *   chain   a panel's tiles that one warp of fragment_kernel (linear.cu) would take; two at a time (C = 2)
 *           where warps share a panel, one (C = 1) where each has a segment
 *
 *   rows    --x norm, bf16--> scratch --+
 *                                       +--cp.async--> ring of DEPTH stages of STEP tiles --> mma --> sums
 *   weights ----------------------------+                                                              |
 *                                                           chains, slices, segments in order: `sets` -+
 *   sets --> shared --epilogue--> y, or --> scratch (several blocks an output), which merge_kernel finishes
 *
 * A row has the bits of fragment_kernel: the same chains of mma, each from zero, added in the same order; the
 * inputs are rounded, and their squares summed, by the same function. Which of both kernels runs, how many
 * rows a tile has, and how many blocks share an output depend on the number of rows and on the device.
 *
 * Of groups a row tile belongs to one matrix, which a block knows only after grid_wait; the host has launched
 * as many tiles as there may be.
 *
 * Rejected: wgmma with TMA. Its sums over 16 inputs are documented neither to be added in the order of
 * mma.sync nor alike for all its widths, so a row could have other bits in a batch than alone. */
#include "kernels/linear/linear.cuh"

namespace linear {
namespace {

constexpr int STEP = 4;           /* tiles of a stage */
constexpr int X_BYTES = 32;       /* a row's inputs of a tile */
constexpr int64_t ROUNDS = 2 * 2; /* of fragment_kernel, which has two blocks per SM */
constexpr int MOST_ROWS = 32768;  /* of a launch: grid.y of merge_kernel */

template <int NT> struct form {
    static constexpr int ROWS = 8 * NT, PANELS = NT == 16 ? 8 : 4, OUTPUTS = PANELS * WEIR_TILE;
    static constexpr int WM = NT == 4 ? 4 : 2, WN = WARPS / WM; /* warps along panels and rows */
    static constexpr int MW = PANELS / WM, NW = NT / WN;
    static constexpr int W_STAGE = PANELS * STEP * TILE_BYTES, STAGE = W_STAGE + ROWS * STEP * X_BYTES;
    static constexpr int DEPTH = NT == 16 ? 3 : NT == 8 ? 4 : 6;
    static constexpr int LINE = OUTPUTS + 4; /* floats of a row of sums: lanes store to different banks */
    static constexpr int SET = ROWS * OUTPUTS * static_cast<int>(sizeof(float)); /* bytes */
    static constexpr int RESIDENT = NT == 16 ? 1 : 2;                            /* blocks per SM */
    static_assert(ROWS * LINE * sizeof(float) <= DEPTH * STAGE, "sums take the ring's place");
};

/* Sums that wait in shared memory: of the slices so far, or of segments (at most 3: segments.h). */
constexpr int sets_of(int chains) { return chains == 2 ? 1 : 3; }

template <int NT> constexpr int smem_of(int chains) {
    return form<NT>::DEPTH * form<NT>::STAGE + sets_of(chains) * form<NT>::SET;
}

/* How a launch is divided; the same for all its blocks. */
struct cut {
    weir_linear_tiling p;
    int32_t n_tile;  /* row tiles */
    int32_t n_block; /* blocks of an output: 1, n_part or split, each with what it has of the slices */
    int64_t n_panel;
    const uint16_t *x; /* (n_row, 16 tiles) */
    const float *squares;
    float *record; /* (n_block, n_row, 16 n_panel), if n_block > 1 */
};

/* Tiles of up to two chains: base, base + 1, then the same `share` further. */
struct pass {
    int64_t base;
    int count;
};

template <int C> PTX_FN pass pass_at(const weir_linear_tiling &p, int z, int chain) {
    const slice_tiles s = slice_at(p, z);
    if constexpr (C == 1) return {s.first, s.count};
    const int left = s.count - chain, whole = left > 0 ? left / p.share * 2 : 0;
    const int rest = left > 0 ? left % p.share : 0;
    return {s.first + chain, whole + (rest < 2 ? rest : 2)};
}

/* Slices of a block. */
struct range {
    int begin, end;
};

PTX_FN range slices_of(const cut &c, int part) {
    if (c.n_block > 1 && c.n_block == c.p.split) return {part, part + 1};
    range r = {0, 0};
    for (int i = 0; i < c.p.n_part; i++) {
        if (c.n_block == 1 || i == part) r.end += c.p.part[i].slices;
        if (c.n_block > 1 && i < part) r.begin += c.p.part[i].slices, r.end = r.begin;
    }
    return r;
}

/* This thread's copies, stage after stage: 16 bytes of every second panel, and of every 32nd row. */
template <int NT, int C> struct feed {
    using F = form<NT>;
    const weir_linear_tiling *p;
    const unsigned char *weights, *inputs;
    unsigned char *to_weights, *to_inputs;
    int64_t panel_step, row_step;
    int panels, rows, w_tile, x_tile; /* to copy; tiles of a stage */
    int z, end, chain, at;            /* the next stage; its first tile, of the pass */
    pass now;

    PTX_FN void open(const cut &c, const row_tile &of, const range &slices, int64_t panel0,
                     unsigned char *smem) {
        const int t = threadIdx.x, panel = t / (32 * STEP), row = t / 8, piece = t % 8;
        p = &c.p;
        w_tile = t / 32 % STEP, x_tile = piece / 2;
        panel_step = 2 * c.p.tiles * TILE_BYTES, row_step = 32 * c.p.tiles * X_BYTES;
        weights = of.w + (panel0 + panel) * c.p.tiles * TILE_BYTES + t % 32 * 16;
        inputs = reinterpret_cast<const unsigned char *>(c.x) + (of.row0 + row) * c.p.tiles * X_BYTES +
                 piece % 2 * 16;
        const int64_t more_panels = c.n_panel - panel0 - panel;
        panels = more_panels < F::PANELS ? static_cast<int>(more_panels) : F::PANELS;
        rows = of.rows - row;
        to_weights = smem + t * 16;
        /* four rows' pieces of one tile lie in different banks */
        to_inputs = smem + F::W_STAGE + row * (STEP * X_BYTES) + (piece ^ row % 4 * 2) * 16;
        z = slices.begin, end = slices.end, chain = 0;
        seek();
    }

    /* To a pass that has tiles. */
    PTX_FN void seek() {
        for (at = 0; z < end; leave()) {
            now = pass_at<C>(*p, z, chain);
            if (now.count > 0) return;
        }
    }
    PTX_FN void leave() {
        chain += C;
        if (C == 1 || chain >= p->share) chain = 0, z++;
    }
    PTX_FN void next() {
        at += STEP;
        if (at < now.count || z >= end) return;
        leave();
        seek();
    }
    PTX_FN int64_t tile(int i) const { return C == 1 ? now.base + i : now.base + i / 2 * p->share + i % 2; }
    PTX_FN void fetch_weights(int slot) {
        const int i = at + w_tile;
        if (z >= end || i >= now.count) return;
        const unsigned char *from = weights + tile(i) * TILE_BYTES;
        unsigned char *to = to_weights + slot * F::STAGE;
#pragma unroll
        for (int m = 0; m < F::PANELS; m += 2) {
            if (m < panels) ptx::cp_async16(to + m / 2 * (THREADS * 16), from + m / 2 * panel_step);
        }
    }
    PTX_FN void fetch_inputs(int slot) {
        const int i = at + x_tile;
        if (z >= end || i >= now.count) return;
        const unsigned char *from = inputs + tile(i) * X_BYTES;
        unsigned char *to = to_inputs + slot * F::STAGE;
#pragma unroll
        for (int r = 0; r < F::ROWS; r += 32) {
            if (r < rows) ptx::cp_async16(to + r / 32 * (THREADS * 16), from + r / 32 * row_step);
        }
    }
};

template <int NT, int C> struct sums {
    using F = form<NT>;
    float v[C][F::MW][F::NW][4];
};

/* What the tensor cores take for a tile. */
template <int NT> struct operands {
    using F = form<NT>;
    uint32_t w[F::MW][4], x[F::NW][2];

    /* w, x: this lane's, of the stage */
    PTX_FN void load(const unsigned char *weights, const unsigned char *inputs, int tile) {
        const int g = threadIdx.x % 32 / 4;
#pragma unroll
        for (int m = 0; m < F::MW; m++) {
            const uint4 u = *reinterpret_cast<const uint4 *>(weights + (m * STEP + tile) * TILE_BYTES);
            w[m][0] = u.x, w[m][1] = u.y, w[m][2] = u.z, w[m][3] = u.w;
        }
#pragma unroll
        for (int j = 0; j < F::NW; j++) {
            const uint2 u = *reinterpret_cast<const uint2 *>(inputs + j * (8 * STEP * X_BYTES) +
                                                             (tile ^ g % 4) * X_BYTES);
            x[j][0] = u.x, x[j][1] = u.y;
        }
    }
};

/* The first n tiles of a stage. The operands of the next tile are loaded ahead of this one's products. */
template <int NT, int C>
PTX_FN void multiply(sums<NT, C> &acc, const unsigned char *stage, int wm, int wn, int n) {
    using F = form<NT>;
    const int lane = threadIdx.x % 32;
    const unsigned char *weights = stage + wm * F::MW * (STEP * TILE_BYTES) + lane * 16;
    const unsigned char *inputs =
        stage + F::W_STAGE + (wn * F::NW * 8 + lane / 4) * (STEP * X_BYTES) + lane % 4 * 8;
    operands<NT> o[2];
    o[0].load(weights, inputs, 0);
#pragma unroll
    for (int t = 0; t < STEP; t++) {
        if (t + 1 < STEP) o[(t + 1) % 2].load(weights, inputs, t + 1); /* beyond n: not used */
        if (t >= n) continue;
#pragma unroll
        for (int m = 0; m < F::MW; m++) {
#pragma unroll
            for (int j = 0; j < F::NW; j++) ptx::mma_bf16(acc.v[t % C][m][j], o[t % 2].w[m], o[t % 2].x[j]);
        }
    }
}

/* Adds a pass to the sums so far. Several passes make one slice, or several slices have one pass each. */
template <int NT> PTX_FN void fold(float *set, const sums<NT, 2> &acc, int chain, bool first) {
    using F = form<NT>;
#pragma unroll
    for (int i = 0; i < F::MW * F::NW; i++) {
        float4 &to = reinterpret_cast<float4 *>(set)[i * THREADS + threadIdx.x];
        const float(&a)[4] = acc.v[0][i / F::NW][i % F::NW], (&b)[4] = acc.v[1][i / F::NW][i % F::NW];
        if (chain > 0) {
            to.x += a[0], to.y += a[1], to.z += a[2], to.w += a[3];
            to.x += b[0], to.y += b[1], to.z += b[2], to.w += b[3];
        } else {
            const float4 s = make_float4(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]);
            to = first ? s : make_float4(to.x + s.x, to.y + s.y, to.z + s.z, to.w + s.w);
        }
    }
}

/* Puts a segment's sum upon the `kept` ones, after `merges` of them have been added to it. */
template <int NT> PTX_FN void fold(float *set, const sums<NT, 1> &acc, int kept, int merges) {
    using F = form<NT>;
    constexpr int EACH = F::SET / static_cast<int>(sizeof(float4));
#pragma unroll
    for (int i = 0; i < F::MW * F::NW; i++) {
        float4 *to = reinterpret_cast<float4 *>(set) + i * THREADS + threadIdx.x;
        const float(&a)[4] = acc.v[0][i / F::NW][i % F::NW];
        float4 s = make_float4(a[0], a[1], a[2], a[3]);
        for (int m = 1; m <= merges; m++) {
            const float4 older = to[(kept - m) * EACH];
            s = make_float4(older.x + s.x, older.y + s.y, older.z + s.z, older.w + s.w);
        }
        to[(kept - merges) * EACH] = s;
    }
}

/* out[row][output] from the threads' parts. */
template <int NT> PTX_FN void put_sums(float *out, const float *set, int wm, int wn) {
    using F = form<NT>;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < F::MW * F::NW; i++) {
        const float4 s = reinterpret_cast<const float4 *>(set)[i * THREADS + threadIdx.x];
        float *to =
            out + ((wn * F::NW + i % F::NW) * 8 + 2 * t) * F::LINE + (wm * F::MW + i / F::NW) * WEIR_TILE + g;
        to[0] = s.x, to[F::LINE] = s.y, to[8] = s.z, to[F::LINE + 8] = s.w;
    }
}

template <int NT>
PTX_FN void put_record(const cut &c, const float *out, int part, int64_t n_row, int64_t row0, int rows,
                       int64_t panel0) {
    using F = form<NT>;
    const int64_t columns = c.n_panel * WEIR_TILE, column0 = panel0 * WEIR_TILE;
    float *record = c.record + (part * n_row + row0) * columns + column0;
    for (int i = threadIdx.x; i < rows * F::OUTPUTS; i += THREADS) {
        const int row = i / F::OUTPUTS, column = i % F::OUTPUTS;
        if (column0 + column < columns) record[row * columns + column] = out[row * F::LINE + column];
    }
}

template <int NT, int C>
__global__ void __launch_bounds__(THREADS, form<NT>::RESIDENT) wide_kernel(const job a, const cut c) {
    using F = form<NT>;
    K_DYN_SHARED(unsigned char, smem);
    float *set = reinterpret_cast<float *>(smem + F::DEPTH * F::STAGE);
    const int warp = threadIdx.x / 32, wm = warp % F::WM, wn = warp / F::WM;
    const int part = blockIdx.x / c.n_tile % c.n_block;
    const int64_t panel0 = static_cast<int64_t>(blockIdx.x / c.n_tile / c.n_block) * F::PANELS;
    const range slices = slices_of(c, part);
    if (a.begin) { /* which weights are read is not known before */
        ptx::grid_launch_dependents();
        ptx::grid_wait();
    }
    const row_tile tile = tile_of<F::ROWS>(a, blockIdx.x % c.n_tile);
    if (tile.rows == 0) return;
    const int64_t row0 = tile.row0;
    const int rows = tile.rows;

    feed<NT, C> next, early;
    next.open(c, tile, slices, panel0, smem);
    early = next;
#pragma unroll
    for (int slot = 0; slot < F::DEPTH - 1; slot++) {
        early.fetch_weights(slot);
        early.next();
    }
    if (!a.begin) {
        ptx::grid_launch_dependents();
        ptx::grid_wait();
    }
#pragma unroll
    for (int slot = 0; slot < F::DEPTH - 1; slot++) {
        next.fetch_inputs(slot);
        ptx::cp_async_commit();
        next.next();
    }

    const bool live = wn * F::NW * 8 < rows; /* some row of the warp's exists */
    int slot = 0, kept = 0;
    for (int z = slices.begin; z < slices.end; z++) {
        for (int chain = 0; chain < (C == 1 ? 1 : c.p.share); chain += C) {
            sums<NT, C> acc = {};
            for (int left = pass_at<C>(c.p, z, chain).count; left > 0; left -= STEP) {
                ptx::cp_async_wait<F::DEPTH - 2>();
                __syncthreads(); /* the stage is there, and the one before has been read */
                const int free = slot == 0 ? F::DEPTH - 1 : slot - 1;
                next.fetch_weights(free);
                next.fetch_inputs(free);
                ptx::cp_async_commit();
                next.next();
                if (live) multiply<NT, C>(acc, smem + slot * F::STAGE, wm, wn, left);
                slot = slot == F::DEPTH - 1 ? 0 : slot + 1;
            }
            if constexpr (C == 2) {
                fold<NT>(set, acc, chain, z == slices.begin);
            } else {
                fold<NT>(set, acc, kept, c.p.part[z].merges);
                kept += 1 - c.p.part[z].merges;
            }
        }
    }
    __syncthreads(); /* the last stage has been read */
    float *out = reinterpret_cast<float *>(smem);
    put_sums<NT>(out, set, wm, wn);
    __syncthreads();
    if (c.n_block > 1) {
        put_record<NT>(c, out, part, a.n_row, row0, rows, panel0);
        return;
    }
#pragma unroll 1
    for (int u = 0; u < F::PANELS / 4; u++) {
        const tile_sums<F::LINE> of = {out + u * 4 * WEIR_TILE, c.squares + row0};
        finish_large(a, of, panel0 / 4 + u, row0, rows);
    }
}

/* y from the records of a product that several blocks made. */
__global__ void __launch_bounds__(THREADS) merge_kernel(const job a, const records r) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t n = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x, row = blockIdx.y;
    if (n >= a.n) return;
    const int64_t columns = r.n_panel * WEIR_TILE, step = a.n_row * columns;
    const float *from = r.record + row * columns + (a.gated ? n / WEIR_TILE * WEIR_TILE + n : n);
    const float factor = row_factor(a, a.norm ? r.squares[row] : 0.0f);
    const float up = a.gated ? factor * sum_slices(from + WEIR_TILE, step, r.p) : 0.0f;
    finish(a, factor * sum_slices(from, step, r.p), up, row, n);
}

/* ---- host ---------------------------------------------------------------------------------------------- */

/* The kernel for a number of rows on a device. */
struct choice {
    int nt, chains, rows, outputs, smem;
    int64_t slots; /* blocks that run at once */
};

template <int NT> choice form_of(const weir_cuda *cu, int chains) {
    choice f = {NT, chains, form<NT>::ROWS, form<NT>::OUTPUTS, smem_of<NT>(chains), 0};
    int64_t resident = (static_cast<int64_t>(cu->smem_optin) + 1024) / (f.smem + 1024);
    if (resident > form<NT>::RESIDENT) resident = form<NT>::RESIDENT;
    f.slots = resident * cu->sm_count;
    return f;
}

/* Slots 0: none fits into a block's shared memory. */
choice choose(const weir_cuda *cu, int chains, int64_t n_row) {
    choice f = form_of<4>(cu, chains);
    if (n_row > 32 && form_of<8>(cu, chains).slots > 0) f = form_of<8>(cu, chains);
    if (n_row > 64 && chains == 2 && form_of<16>(cu, chains).slots > 0) f = form_of<16>(cu, chains);
    return f;
}

/* Whether it pays: fragment_kernel's units, once for each 16 rows, do not run at once but in several rounds.
 * Below that it is as fast with 32 rows as with 16, and one launch instead of two. Groups of 16 rows on
 * average have many with more. */
bool pays(const weir_cuda *cu, const weir_linear_tiling &p, const weir_linear *a) {
    const int64_t mean = mean_rows(a), each = (mean + WEIR_LINEAR_ROWS - 1) / WEIR_LINEAR_ROWS;
    const int64_t tiles = a->groups ? a->groups->n * each : each;
    if (a->groups ? mean < WEIR_LINEAR_ROWS : tiles < 2) return false;
    return p.n_part > 0 && tiles * p.n_unit * p.split > ROUNDS * cu->sm_count;
}

/* Scratch, in parts aligned to 256 bytes: squares, inputs, records. */
struct room {
    float *squares, *x, *record;
    int64_t rows; /* for so many */
};

room room_of(const weir_cuda *cu, const weir_weight *w, const weir_linear_tiling &p, int64_t n_block,
             int64_t n_row) {
    const int64_t x = p.tiles * WEIR_TILE / 2, records = n_block > 1 ? n_block * w->n_panel * WEIR_TILE : 0;
    const int64_t all = static_cast<int64_t>(cu->base.scratch_floats) - 2 * 64;
    room r = {cu->base.scratch, nullptr, nullptr, all / (x + records + 1)};
    if (r.rows > MOST_ROWS) r.rows = MOST_ROWS;
    if (r.rows > n_row) r.rows = n_row;
    if (r.rows < 1) return r;
    r.x = r.squares + whole_lines(r.rows);
    r.record = r.x + whole_lines(r.rows * x);
    return r;
}

template <int NT, int C>
weir_status launch(weir_cuda *cu, const weir_linear *a, const job &j, const cut &c, const choice &f) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(wide_kernel<NT, C>, &asked, cu), "linear: shared memory");
    const int64_t units = (c.n_panel + form<NT>::PANELS - 1) / form<NT>::PANELS;
    const dim3 grid(static_cast<unsigned>(units * c.n_tile * c.n_block));
    K_LAUNCH_PDL((wide_kernel<NT, C>), grid, dim3(THREADS), static_cast<size_t>(f.smem), cu->stream)(j, c);
    return launched(cu, "many rows", a);
}

weir_status launch_form(weir_cuda *cu, const weir_linear *a, const job &j, const cut &c, const choice &f) {
    if (f.chains == 1) return f.nt == 4 ? launch<4, 1>(cu, a, j, c, f) : launch<8, 1>(cu, a, j, c, f);
    if (f.nt == 4) return launch<4, 2>(cu, a, j, c, f);
    return f.nt == 8 ? launch<8, 2>(cu, a, j, c, f) : launch<16, 2>(cu, a, j, c, f);
}

weir_status one_pass(weir_cuda *cu, const weir_linear *a, job j, cut c, const choice &f) {
    const int64_t slice = c.p.part[0].slice * WEIR_TILE, ld = c.p.tiles * WEIR_TILE;
    c.n_tile = static_cast<int32_t>(most_tiles(a, f.rows, j.n_row));
    WEIR_TRY(prepare_bf16(cu, a, j, j.n_row, const_cast<uint16_t *>(c.x), ld, j.norm ? slice : ld,
                          const_cast<float *>(c.squares)));
    WEIR_TRY(launch_form(cu, a, j, c, f));
    if (c.n_block == 1) return WEIR_OK;
    if (c.n_block < c.p.split) { /* a segment's slices are one record */
        for (int i = 0; i < c.p.n_part; i++) c.p.part[i].slices = 1;
    }
    return merge_records(cu, a, j, {c.p, c.n_panel, c.squares, c.record});
}

/* Blocks of an output. Fewest records first; slices of their own only if that leaves slots empty. Groups make
 * enough blocks, and a merge would have to leave rows of no group alone. */
int32_t blocks_of(const weir_linear_tiling &p, const choice &f, const weir_linear *a) {
    if (f.chains == 1 || a->groups) return 1;
    const int64_t units = (a->w->n_panel * WEIR_TILE + f.outputs - 1) / f.outputs;
    const int64_t blocks = (a->n_row + f.rows - 1) / f.rows * units * p.n_part;
    return 3 * blocks >= 2 * f.slots ? p.n_part : p.split;
}

} // namespace

weir_status merge_records(weir_cuda *cu, const weir_linear *a, const job &j, const records &r) {
    const dim3 grid(static_cast<unsigned>((j.n + THREADS - 1) / THREADS), static_cast<unsigned>(j.n_row));
    K_LAUNCH_PDL(merge_kernel, grid, dim3(THREADS), 0, cu->stream)(j, r);
    return launched(cu, "merge of many rows", a);
}

weir_status wide_rows(weir_cuda *cu, const weir_linear *a) {
    const weir_linear_tiling p = weir__linear_tiling_of(a->w);
    const choice f = choose(cu, p.share == 1 ? 1 : 2, tall_rows(a));
    if (f.slots < 1 || !pays(cu, p, a)) return WEIR_ENOTSUP;
    cut c = {};
    c.p = p, c.n_panel = a->w->n_panel;
    c.n_block = blocks_of(p, f, a);
    room r = room_of(cu, a->w, p, c.n_block, a->n_row);
    if (r.rows < a->n_row && r.rows < f.rows && c.n_block > p.n_part) {
        c.n_block = p.n_part;
        r = room_of(cu, a->w, p, c.n_block, a->n_row);
    }
    if (r.rows < a->n_row) r.rows = r.rows / f.rows * f.rows;
    if (r.rows < 1) return WEIR_ENOTSUP;
    c.x = reinterpret_cast<const uint16_t *>(r.x), c.squares = r.squares, c.record = r.record;
    job all = job_of(a);
    if (c.n_block > 1) all.minmax = nullptr; /* of the finished outputs, below */
    for (int64_t at = 0; at < a->n_row; at += r.rows)
        WEIR_TRY(one_pass(cu, a, rows_of(all, at, r.rows), c, f));
    return a->minmax && c.n_block > 1 ? minmaxes(cu, a) : WEIR_OK;
}

} // namespace linear
