#ifndef WEIR_MODELS_PARTS_PRODUCT_H
#define WEIR_MODELS_PARTS_PRODUCT_H

#include "models/impl.h"

/* Products over the rows in flight. */

/* y (+)= W·norm(x): eps, rows and (without groups) n_row of `a` are filled in; a scale of 0 stands for 1.
 * The rows are put into the order of W's inputs first, where it has one. */
weir_status weir__product(weir_model *m, const model_rows *r, weir_linear a);

/* The same of a weight that ranks may split along its inputs, with y as wide as the rows: their partial sums
 * are added then; has: bit r, rank r has inputs. */
weir_status weir__summed_product(weir_model *m, const model_rows *r, weir_linear a, uint32_t has);

/* x += residual W·in, or x += norm(W·in) where post, the weights of that norm, is not NULL. has: as
 * above. */
weir_status weir__residual(weir_model *m, const model_rows *r, const weir_weight *w, uint32_t has,
                           const float *in, const float *post);

weir_epilogue weir__epilogue_of(weir_act act);

#endif /* WEIR_MODELS_PARTS_PRODUCT_H */
