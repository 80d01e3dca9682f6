#ifndef WEIR_MODELS_T5_H
#define WEIR_MODELS_T5_H

#include "models/impl.h"

/* The T5 family inside models/: weights as the ops read them.
 * inner = n_head * head_dim, which need not be dim. Every matrix is (outputs, inputs). */

typedef struct t5_self {
    const float *norm; /* (dim) backend */
    weir_weight qkv;   /* (3 * inner, dim): q, k, v stacked */
    weir_weight o;     /* (dim, inner) */
} t5_self;

typedef struct t5_cross {
    const float *norm; /* (dim) backend */
    weir_weight q;     /* (inner, dim) */
    weir_weight kv;    /* (2 * inner, dim): k, v stacked; used by prefill only */
    weir_weight o;     /* (dim, inner) */
} t5_cross;

typedef struct t5_ff {
    const float *norm; /* (dim) backend */
    weir_weight wi;    /* (ff_dim, dim), gated: wi_0 through the activation, times wi_1 */
    weir_weight wo;    /* (dim, ff_dim) */
} t5_ff;

typedef struct t5_enc_layer {
    t5_self self;
    t5_ff ff;
} t5_enc_layer;

typedef struct t5_dec_layer {
    t5_self self;
    t5_cross cross;
    t5_ff ff;
} t5_dec_layer;

typedef struct t5_model {
    weir_model base;
    weir_t5_config c;
    weir_epilogue act;

    weir_weight embed;                /* (n_vocab_rows, dim) */
    weir_weight untied_head;          /* data NULL when tied */
    const weir_weight *head;          /* the one that makes logits */
    t5_enc_layer *enc;                /* (n_enc_layer) */
    t5_dec_layer *dec;                /* (n_dec_layer) */
    const float *enc_norm, *dec_norm; /* (dim) final norms */
    const float *enc_bias;            /* (n_head, max_distance + 1 + max_distance) */
    const float *dec_bias;            /* (n_head, max_distance + 1) */
} t5_model;

/* A product over n_row rows: y (+)= W·norm(x); y is dense on outputs where ldy says so. */
typedef struct t5_product {
    const float *x;
    int64_t ldx;
    const float *norm;
    const weir_weight *w;
    float *y;
    int64_t ldy, n_row;
    weir_epilogue epilogue;
    bool rows; /* decode and verify rows, not a prompt's */
} t5_product;

/* t5.c: the order of ops of the decoder, and what both stacks share. */
weir_status weir__t5_product(t5_model *m, t5_product p);
weir_status weir__t5_feed_forward(t5_model *m, const t5_ff *f, float *x, int64_t n_row, bool rows);
weir_status weir__t5_forward(weir_model *m, const weir_kv *kv, const weir_batch *b);

/* t5_encode.c: the order of ops of the encoder. */
weir_status weir__t5_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n);

weir_status weir__t5_load(weir_model *m, weights *w); /* t5_load.c */

/* t5_bias.c: bucket of key position minus query position, as transformers computes it. */
int32_t weir__t5_bucket(int64_t distance, bool bidirectional, int32_t n_bucket, int32_t max_distance);
/* out (n_head, left + 1 + right) from w (n_bucket, n_head); bidirectional iff right > 0. */
void weir__t5_bias_table(const weir_tensor *w, int32_t left, int32_t right, int32_t max_distance, float *out);

#endif /* WEIR_MODELS_T5_H */
