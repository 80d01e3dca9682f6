#ifndef WEIR_KERNELS_LINEAR_FRAGMENT_CUH
#define WEIR_KERNELS_LINEAR_FRAGMENT_CUH

/* How linear.cu's blocks divide a product among them, and how a warp gets its tiles: in registers, all at
 * once, or through a ring in shared memory. */
#include "kernels/linear/slices.cuh"

namespace linear {

/* How a launch is divided; the same for all its blocks. */
struct cut {
    weir_linear_tiling p;
    int32_t n_tile; /* row tiles */
    int32_t n_panel;
    int32_t stage, stride; /* inputs of a row in shared memory at once; elements between rows */
    int32_t each;          /* sum_slices */
    float *partial;        /* (n_tile, split, n_unit) records of ROWS x (64 + 1) */
    uint32_t *counter;     /* (n_tile, n_unit) */
};

/* A block of a grid of (row tiles, slices, units at once). */
struct place {
    int unit, unit_step;
    int tile, z;
    int panel;         /* of the unit: the warp's */
    int first;         /* tile of the slice's first input */
    int length;        /* tiles of the slice */
    int offset, count; /* the warp's: the first, from the slice's, and how many */
};

template <int P, int S> PTX_FN place place_of(const cut &c) {
    const int warp = threadIdx.x / 32;
    place p;
    p.tile = blockIdx.x, p.z = blockIdx.y, p.unit = blockIdx.z;
    p.unit_step = gridDim.z;
    p.panel = warp % P;
    if constexpr (S == 1) {
        const int segment = warp / P;
        const bool some = segment < c.p.n_part;
        p.first = 0;
        p.length = static_cast<int>(c.p.tiles);
        p.offset = some ? static_cast<int>(c.p.part[segment].begin) : 0;
        p.count = some ? static_cast<int>(c.p.part[segment].tiles) : 0;
    } else {
        p.first = 0, p.length = static_cast<int>(c.p.tiles);
        if (c.p.split > 1) {
            const slice_tiles s = slice_at(c.p, p.z);
            p.first = s.first, p.length = s.count;
        }
        p.offset = warp / P;
        p.count = static_cast<int>(static_cast<unsigned>(p.length - p.offset + S - 1) / S); /* share <= S */
    }
    return p;
}

/* ---- tiles ---- */

/* This lane's part of the warp's first tile of a unit. The last unit may lack panels: results of the last one
 * in their place are not stored. */
template <int P>
PTX_FN const unsigned char *first_tile(const cut &c, const place &at, const unsigned char *w, int unit) {
    const int last = c.n_panel - 1, p = unit * P + at.panel, panel = p < last ? p : last;
    const int64_t tile = static_cast<int64_t>(panel) * static_cast<int>(c.p.tiles) + (at.first + at.offset);
    return ptx::opaque(w + tile * TILE_BYTES + threadIdx.x % 32 * 16);
}

/* The warp's tiles of the only unit that its block has, all of them in registers: D at most. */
template <int P, int S, int D> struct held {
    uint4 tile[D];
    int count;

    PTX_FN held(const cut &c, const place &at, const unsigned char *w, unsigned char *) {
        const unsigned char *from = first_tile<P>(c, at, w, at.unit);
        count = at.count;
#pragma unroll
        for (int i = 0; i < D; i++) {
            if (i >= count) break;
            tile[i] = ptx::load_stream16(from + i * S * TILE_BYTES);
        }
    }
};

/* The warp's tiles, unit after unit, D of them in flight. */
template <int P, int S, int D> struct ring {
    static constexpr int STEP = S * TILE_BYTES;
    const cut &c;
    const place &at;
    const unsigned char *weights, *from; /* the matrix; the next tile to copy */
    unsigned char *slots;
    unsigned oldest; /* bytes from slots to the slot whose tile is used next */
    int unit, left;  /* the unit that is being copied, tiles of it that are not yet */

    PTX_FN ring(const cut &cut_, const place &at_, const unsigned char *w, unsigned char *smem)
        : c(cut_), at(at_), weights(w) {
        slots = smem + threadIdx.x / 32 * D * TILE_BYTES + threadIdx.x % 32 * 16;
        oldest = 0, unit = at.unit;
        seek();
        fill();
    }

    PTX_FN void seek() {
        from = first_tile<P>(c, at, weights, unit);
        left = at.count;
    }

    /* Counts n tiles of the unit as copied. */
    PTX_FN void advance(int n) {
        from += n * STEP, left -= n;
        if (left > 0 || unit + at.unit_step >= static_cast<int>(c.p.n_unit)) return;
        unit += at.unit_step;
        seek();
    }

    /* The first D tiles, a group of copies each; empty groups where there are fewer. */
    PTX_FN void fill() {
        if (left >= D) {
#pragma unroll
            for (int slot = 0; slot < D; slot++) {
                ptx::cp_async16(slots + slot * TILE_BYTES, from + slot * STEP);
                ptx::cp_async_commit();
            }
            advance(D);
            return;
        }
        unsigned char *slot = slots;
        int vacant = D;
        while (vacant > 0 && left > 0) { /* unit after unit */
            const int n = left < vacant ? left : vacant;
#pragma unroll 4
            for (int i = 0; i < n; i++, slot += TILE_BYTES) {
                ptx::cp_async16(slot, from + i * STEP);
                ptx::cp_async_commit();
            }
            advance(n);
            vacant -= n;
        }
        for (; vacant > 0; vacant--) ptx::cp_async_commit();
    }
};

/* acc += a tile against inputs at x[nt]: this lane's four of row 8 nt + g. */
template <int NT>
PTX_FN void multiply_tile(float (&acc)[NT][4], const uint4 &v, const uint16_t *const (&x)[NT], int at) {
    const uint32_t weight[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
        const uint2 u = *reinterpret_cast<const uint2 *>(x[nt] + at);
        const uint32_t input[2] = {u.x, u.y};
        ptx::mma_bf16(acc[nt], weight, input);
    }
}

template <int P, int S, int NT, int D>
PTX_FN void multiply(float (&acc)[NT][4], const held<P, S, D> &w, const uint16_t *const (&x)[NT], int) {
#pragma unroll
    for (int i = 0; i < D; i++) {
        if (i >= w.count) break;
        multiply_tile(acc, w.tile[i], x, i * S * WEIR_TILE);
    }
}

/* The warp's next n tiles. COPIES: each makes room for another one of the same unit. */
template <bool COPIES, int P, int S, int NT, int D>
PTX_FN void multiply_some(float (&acc)[NT][4], ring<P, S, D> &w, const uint16_t *(&x)[NT], int n) {
    const unsigned char *from = w.from;
#pragma unroll 4
    for (int i = 0; i < n; i++, from += w.STEP) {
        ptx::cp_async_wait<D - 1>();
        unsigned char *slot = w.slots + w.oldest;
        multiply_tile(acc, *reinterpret_cast<const uint4 *>(slot), x, i * S * WEIR_TILE);
        if (COPIES) ptx::cp_async16(slot, from);
        ptx::cp_async_commit();
        w.oldest = (w.oldest + TILE_BYTES) % (D * TILE_BYTES);
    }
#pragma unroll
    for (int nt = 0; nt < NT; nt++) x[nt] += n * S * WEIR_TILE;
}

template <int P, int S, int NT, int D>
PTX_FN void multiply(float (&acc)[NT][4], ring<P, S, D> &w, const uint16_t *const (&inputs)[NT], int steps) {
    const uint16_t *x[NT];
#pragma unroll
    for (int nt = 0; nt < NT; nt++) x[nt] = inputs[nt];
    while (w.left > 0 && steps > 0) {
        const int n = steps < w.left ? steps : w.left;
        multiply_some<true>(acc, w, x, n);
        w.advance(n);
        steps -= n;
    }
    multiply_some<false>(acc, w, x, steps);
}

} // namespace linear

#endif /* WEIR_KERNELS_LINEAR_FRAGMENT_CUH */
