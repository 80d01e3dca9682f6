#ifndef WEIR_MODELS_T5_H
#define WEIR_MODELS_T5_H

#include "models/attention.h"
#include "models/feed_forward.h"

/* The T5 family; internal to models/. */

typedef struct t5_enc_layer {
    const float *bias; /* of positions, as a table: the layer's own, or that of the first */
    attention self;
    feed_forward ff;
} t5_enc_layer;

typedef struct t5_dec_layer {
    const float *bias;
    attention self;
    cross_attention cross;
    feed_forward ff;
} t5_dec_layer;

typedef struct t5_model {
    weir_model base;
    weir_t5_config c;
    attention_kind enc_kind, dec_kind, cross_kind; /* of both stacks without the layer's bias */
    t5_enc_layer *enc;                             /* (n_enc_layer) */
    t5_dec_layer *dec;                             /* (n_dec_layer) */
    const float *enc_norm;                         /* (dim) the encoder's last; the decoder's is the head's */
} t5_model;

/* t5.c: the order of ops. */
weir_status weir__t5_append(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
weir_status weir__t5_rest(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
weir_status weir__t5_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n,
                             int32_t place, int64_t from, int64_t upto);

weir_status weir__t5_load(weir_model *m, weights *w); /* t5_load.c */

/* t5_bias.c: bucket of key position minus query position, as transformers computes it. */
int32_t weir__t5_bucket(int64_t distance, bool bidirectional, int32_t n_bucket, int32_t max_distance);
/* out (n_head, left + 1 + right) from w (n_bucket, n_head); bidirectional iff right > 0. */
void weir__t5_bias_table(const weir_tensor *w, int32_t left, int32_t right, int32_t max_distance, float *out);

#endif /* WEIR_MODELS_T5_H */
