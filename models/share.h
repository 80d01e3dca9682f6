#ifndef WEIR_MODELS_SHARE_H
#define WEIR_MODELS_SHARE_H

#include "models/arena.h"

/* A dimension of a model that ranks share out in whole units (kernels/weight/segments.h): query heads with
 * the inputs of o, or the inner one of the feed-forward or of a mixture's shared expert. */
typedef enum shared_dim { SHARED_NONE, SHARED_HEADS, SHARED_FF, SHARED_EXPERT, SHARED_DIMS } shared_dim;

/* Inputs of a unit, of matrices whose largest block is `block`: neither a head, nor a tile of a device, nor a
 * block is cut. */
int64_t weir__shared_unit(const model_shape *s, shared_dim dim, int block);

/* The vocabulary goes in whole chunks of so many ids, as the row statistics read it. */
enum { WEIR__ID_CHUNK = 1024 };

/* Of a rank; block: of each dimension. Loader and memory plan both ask here. Of a mixture's other experts a
 * rank has some whole: their rows are computed in one place, as on one rank, and blocks of weights, which may
 * be as long as an expert is wide, need not be cut. */
weir_share weir__share_of(const model_shape *s, const int block[SHARED_DIMS], weir_place place);

/* What a whole model has. */
weir_share weir__share_whole(const model_shape *s);

#endif /* WEIR_MODELS_SHARE_H */
