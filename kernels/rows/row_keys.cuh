#ifndef WEIR_KERNELS_ROWS_ROW_KEYS_CUH
#define WEIR_KERNELS_ROWS_ROW_KEYS_CUH

#include "kernels/cuda/util.cuh"

#include "kernels/cuda/ptx.cuh"

extern "C" {
#include "kernels/rows/gather.h"
}

/* Row i of the result, by one thread, after grid_wait. What no host can refuse in time is dead: a live row
 * with a position below 0, or of a source without keys. */
PTX_FN void make_row_keys(const weir_row_keys &a, int64_t i) {
    const int64_t r = a.index ? a.index[i] : i;
    int32_t slot = a.slot[r], pos = a.pos[r], n_src = 1;
    const int32_t cross = slot >= 0 && a.cross_len ? a.cross_len[slot] : 1;
    if (slot >= 0 && pos >= 0 && cross >= 1) {
        n_src = cross;
    } else {
        slot = -1;
        pos = 0;
    }
    if (a.out_slot) a.out_slot[i] = slot;
    if (a.out_pos) a.out_pos[i] = pos;
    if (a.n_key) a.n_key[i] = pos + 1;
    if (a.n_src && a.cross_len) a.n_src[i] = n_src;
}

#endif /* WEIR_KERNELS_ROWS_ROW_KEYS_CUH */
