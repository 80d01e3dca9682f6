#ifndef WEIR_KERNELS_WEIGHT_PACK_H
#define WEIR_KERNELS_WEIGHT_PACK_H

#include "kernels/backend.h"

/* Packs n_part matrices of equal dtype and cols, stacked along the outputs (gated: exactly two of the same
 * shape) into the backend's layout for `use`. WEIR_EINVAL for differing dtypes or shapes, tensors of more
 * than two dimensions, or rows that are not whole blocks; WEIR_ENOMEM, WEIR_EDEVMEM. *out untouched on
 * failure. */
weir_status weir__weight_pack(weir_backend *be, const weir_tensor *part, int n_part, bool gated, weir_use use,
                              weir_weight *out);
void weir__weight_free(weir_backend *be, weir_weight *w); /* NULL data allowed */

#endif /* WEIR_KERNELS_WEIGHT_PACK_H */
