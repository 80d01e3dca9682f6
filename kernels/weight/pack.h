#ifndef WEIR_KERNELS_WEIGHT_PACK_H
#define WEIR_KERNELS_WEIGHT_PACK_H

#include "kernels/backend.h"

/* Packs n_part matrices of equal dtype and cols, stacked along the outputs (gated: exactly two of the same
 * shape) into the backend's layout for `use`, as a weight of dtype `as`: the file's own, or one that floats
 * can become (quantise.h), row by row on the way. WEIR_EINVAL for differing dtypes or shapes, tensors of more
 * than two dimensions, rows that are not whole blocks, or another `as`; WEIR_ENOMEM, WEIR_EDEVMEM. *out
 * untouched on failure. */
weir_status weir__weight_pack_as(weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                                 weir_use use, weir_dtype as, weir_weight *out);
static inline weir_status weir__weight_pack(weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                                            weir_use use, weir_weight *out) {
    if (!part || n_part < 1) return WEIR_EINVAL;
    return weir__weight_pack_as(be, part, n_part, gated, use, part[0].dtype, out);
}
/* The same into memory of the backend, weir__weight_bytes of it, which stays the caller's: one of several
 * alike that lie one after another (weir__weight_at). */
weir_status weir__weight_pack_at(weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                                 weir_use use, weir_dtype as, void *data, weir_weight *out);
void weir__weight_free(weir_backend *be, weir_weight *w); /* NULL data allowed */

#endif /* WEIR_KERNELS_WEIGHT_PACK_H */
