#ifndef WEIR_MODELS_PARTS_EXPERTS_H
#define WEIR_MODELS_PARTS_EXPERTS_H

#include "models/impl.h"

/* x += sum over the n_used likeliest experts e of a row: weight_e F_e(norm x), + sigmoid(g·norm x) F(norm x)
 * of a shared one; F as in feed_forward.h, or biased, with the unit of kernels/moe/glu.h; likelihoods from
 * router·norm x (kernels/moe/route.h). Matrices are (outputs, inputs). Of ranks each has some of the
 * experts, all biases, and a share of the shared one's columns. */
typedef struct experts {
    const float *norm;  /* (dim) before it; the family loads it */
    weir_weight router; /* (n_expert, dim) */
    weir_weight in[2];  /* (expert_ff, dim) of every own expert, one after another: a gated pair, or gate and
                           up; biased: (2 expert_ff, dim), gate above up, or both apart */
    int n_in;
    weir_weight out;                                   /* (dim, expert_ff) of every own expert */
    weir_weight shared_in[2], shared_out, shared_gate; /* the last (1, dim) */
    int n_shared_in;                                   /* 0: there is no shared expert */
    bool over_all;                                     /* kernels/moe/route.h; the family sets it */
    const float *router_bias, *in_bias, *out_bias;     /* (n_expert), (n_expert, 2 expert_ff: gate, up),
                                                          (n_expert, dim); or NULL, all of them */
    float limit;                                       /* biased: of the unit; the family sets it */
} experts;

typedef struct expert_names {
    const char *prefix;           /* of the block */
    const char *router;           /* after it */
    const char *gate, *up, *down; /* of one expert, after prefix + "experts.E." */
    bool stacked;                 /* after prefix + "experts.", each of all */
} expert_names;

size_t weir__experts_floats(const model_shape *s, int64_t chunk); /* a device's scratch */
weir_status weir__experts_load(weights *w, const model_shape *s, const expert_names *n, experts *e);
void weir__experts_free(weir_backend *be, experts *e);
weir_status weir__experts(weir_model *m, const experts *e, const model_rows *r);

#endif /* WEIR_MODELS_PARTS_EXPERTS_H */
