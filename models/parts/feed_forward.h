#ifndef WEIR_MODELS_PARTS_FEED_FORWARD_H
#define WEIR_MODELS_PARTS_FEED_FORWARD_H

#include "models/impl.h"

/* x += post(out·h), h = act(gate·norm(x)) * (up·norm(x)), or h = act(in·norm(x)) without a gate. Matrices
 * are (outputs, inputs). */
typedef struct feed_forward {
    const float *norm, *post; /* (dim) before it, and after it (NULL: none); the family loads them */
    weir_weight
        in[2];       /* (ff_dim, dim): a gated pair, or gate and up where their dtypes differ; or in alone */
    int n_in;        /* products */
    weir_weight out; /* (dim, ff_dim) */
} feed_forward;

typedef struct feed_forward_names {
    const char *prefix;
    const char *gate, *up; /* up NULL: no gate, `gate` is the matrix in */
    const char *gate_up;   /* what the file calls both in one; NULL: it has two */
    const char *down;
} feed_forward_names;

size_t weir__feed_forward_floats(const model_shape *s, int64_t chunk); /* a device's scratch */
weir_status weir__feed_forward_load(weights *w, const model_shape *s, const feed_forward_names *n,
                                    weir_use use, feed_forward *f);
void weir__feed_forward_free(weir_backend *be, feed_forward *f);
weir_status weir__feed_forward(weir_model *m, const feed_forward *f, const model_rows *r);

#endif /* WEIR_MODELS_PARTS_FEED_FORWARD_H */
