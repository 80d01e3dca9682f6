#ifndef WEIR_MODELS_DECODER_H
#define WEIR_MODELS_DECODER_H

#include "models/impl.h"

/* The decoder-only families inside models/: weights as the ops read them, and where the activations lie.
 * inner = n_head * head_dim, which need not be dim; inner_kv = n_head_kv * head_dim; width = inner + 2 * inner_kv. Every
 * matrix is (outputs, inputs). */

typedef struct decoder_layer {
    const float *att_norm, *ff_norm; /* (dim) before the sub-layers */
    const float *att_post, *ff_post; /* (dim) behind them; NULL without post_norms */
    const float *bias;               /* (width) of q, k, v; or NULL */
    const float *q_norm, *k_norm;    /* (head_dim) or NULL */
    weir_weight qkv[3];              /* q, k, v; neighbours of one dtype stacked into one: n_qkv products make (width, dim) */
    int n_qkv;
    weir_weight o;                   /* (dim, inner) */
    weir_weight gate_up[2];          /* (ff_dim, dim), gate through the activation, times up: a gated pair, or gate and up where
                                      * their dtypes differ: n_gate_up */
    int n_gate_up;
    weir_weight down;                /* (dim, ff_dim) */
    int32_t in_group;                /* its place among the layers that slide as it does: its layer in their cache */
} decoder_layer;

typedef struct decoder_model {
    weir_model base;
    weir_decoder_config c;
    weir_epilogue act;

    weir_weight embed;            /* (n_vocab_rows, dim) */
    weir_weight untied_head;      /* data NULL when tied */
    const weir_weight *head;      /* the one that makes logits */
    decoder_layer *layer;         /* (n_layer) */
    const float *norm;            /* (dim) final norm */
    const float *inv_freq[2];     /* (n_dim / 2) of global and of sliding layers */
    float rope_scale[2];          /* what cos and sin are multiplied by */
} decoder_model;

/* decoder.c: the order of ops. */
weir_status weir__decoder_forward(weir_model *m, const weir_kv *kv, const weir_batch *b);
weir_status weir__decoder_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n);

weir_status weir__decoder_load(weir_model *m, weights *w); /* decoder_load.c */

/* decoder_rope.c: rotary frequencies, as transformers computes them. n_dim: elements of a head that turn. */
static inline int32_t weir__rope_dims(const weir_rope_config *r, int32_t head_dim) { return r->n_dim > 0 ? r->n_dim : head_dim; }
/* inv_freq (n_dim / 2); returns what cos and sin are multiplied by. */
float weir__rope_table(const weir_rope_config *r, int32_t n_dim, float *inv_freq);

#endif /* WEIR_MODELS_DECODER_H */
