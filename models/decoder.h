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

/* Activations of one call, all inside one block of backend memory. C = max(n_row, chunk) rows with the backend's chunk of
 * positions: a prompt goes through all layers a chunk at a time. Prefill and forward never overlap, so they share it. */
typedef struct decoder_arena {
    float *x;           /* (C, dim) residual stream */
    float *qkv;         /* (C, width) */
    float *att;         /* (C, inner) attention output */
    float *h;           /* (C, ff_dim) */
    float *sub;         /* (C, dim) output of a sub-layer before its norm; none without post_norms */
    float *x_out;       /* (n_row, dim) of the rows whose logits are wanted */
    float *q_out;       /* (n_row, inner) */
    int32_t *prompt;    /* (2, n_prompt) token and slot of each position of a prompt */
    int32_t *iota;      /* (n_prompt + 1) 0, 1, 2, …: positions of a prompt, and from 1 on their keys */
    int32_t *n_key;     /* (n_row) */
    int32_t *out_slot, *out_pos, *out_key; /* (n_row) of the wanted rows */
    size_t bytes;       /* of the block */
} decoder_arena;

typedef struct decoder_model {
    weir_model base;
    weir_decoder_config c;
    int64_t inner, inner_kv, width;
    weir_epilogue act;

    weir_weight embed;            /* (n_vocab_rows, dim) */
    weir_weight untied_head;      /* data NULL when tied */
    const weir_weight *head;      /* the one that makes logits */
    decoder_layer *layer;         /* (n_layer) */
    const float *norm;            /* (dim) final norm */
    const float *inv_freq[2];     /* (n_dim / 2) of global and of sliding layers */
    float rope_scale[2];          /* what cos and sin are multiplied by */

    void *block;    /* behind the arena */
    int32_t *stage; /* host: what becomes arena.prompt; that very array on the CPU */
    decoder_arena a;
} decoder_model;

/* decoder.c: the order of ops. */
weir_status weir__decoder_forward(weir_model *m, const weir_kv *kv, const weir_batch *b);
weir_status weir__decoder_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n);

weir_status weir__decoder_load(weir_model *m, weights *w); /* decoder_load.c */

/* decoder_plan.c: sizes. base may be NULL: then only a->bytes is of use. */
typedef struct decoder_bounds {
    int64_t n_row, n_prompt, chunk;
} decoder_bounds;
void weir__decoder_arena(const weir_decoder_config *c, const decoder_bounds *n, void *base, decoder_arena *a);
int64_t weir__decoder_stage_ints(int64_t n_prompt);

/* decoder_rope.c: rotary frequencies, as transformers computes them. n_dim: elements of a head that turn. */
static inline int32_t weir__rope_dims(const weir_rope_config *r, int32_t head_dim) { return r->n_dim > 0 ? r->n_dim : head_dim; }
/* inv_freq (n_dim / 2); returns what cos and sin are multiplied by. */
float weir__rope_table(const weir_rope_config *r, int32_t n_dim, float *inv_freq);

#endif /* WEIR_MODELS_DECODER_H */
