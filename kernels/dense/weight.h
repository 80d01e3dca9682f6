#ifndef WEIR_KERNELS_DENSE_WEIGHT_H
#define WEIR_KERNELS_DENSE_WEIGHT_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

struct weir_backend;

/* A weight matrix as an op reads it: pointer, dtype, block layout, shape. Quantisation is a dtype,
 * never another op. The CPU keeps matrices in panels of 16 outputs, so that one vector load feeds
 * 16 dot products and none needs a horizontal sum:
 *
 *   16-bit  [n_panel][k_pad / 2][16][2]    output n = 16 * panel + lane, k = 2 * pair + half
 *   32-bit  [n_panel][k_pad][16]
 *
 * n is padded to 16 and k to 2 with zeros. A gated pair (gate, up; same shape) interleaves panels:
 * panel 2j holds gate outputs 16j…16j+15, panel 2j+1 the up outputs of the same indices. */
typedef struct weir_weight {
    void *data; /* backend memory, owned: free with weir_weight_free */
    weir_dtype dtype;
    int64_t n, k;      /* logical outputs and inputs; for a gated pair n is that of one of them */
    int64_t n_panel;   /* ceil(n / 16), twice that when gated */
    int64_t k_pad;     /* k rounded up to 2 */
    bool gated;
} weir_weight;

/* Bytes that weir_weight_pack will take; the memory plan uses the same function. */
size_t weir_weight_bytes(weir_dtype dtype, int64_t n, int64_t k, bool gated);

/* Packs n_part matrices of equal dtype and cols, stacked along the outputs (gated: exactly two of
 * equal shape). WEIR_EINVAL for differing dtypes or shapes, WEIR_ENOMEM. *out untouched on failure. */
weir_status weir_weight_pack(struct weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                             weir_weight *out);
void weir_weight_free(struct weir_backend *be, weir_weight *w); /* NULL data allowed */

/* One element widened to f32: output n, input k, both in range; up: of a gated pair's second matrix. For the
 * portable ops and tests, not for speed. Host memory only. */
float weir_weight_get(const weir_weight *w, int64_t n, int64_t k, bool up);

#endif /* WEIR_KERNELS_DENSE_WEIGHT_H */
