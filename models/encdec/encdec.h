#ifndef WEIR_MODELS_ENCDEC_ENCDEC_H
#define WEIR_MODELS_ENCDEC_ENCDEC_H

#include "models/parts/attention.h"
#include "models/parts/feed_forward.h"

/* Encoder-decoders; internal to models/. A family gives the shape, the tensors, and each layer's kind of
 * attention. */

typedef struct encdec_enc_layer {
    attention_kind kind; /* window: as many positions on the other side, its own counted in both */
    attention self;
    feed_forward ff;
} encdec_enc_layer;

typedef struct encdec_dec_layer {
    attention_kind kind; /* of its self attention */
    attention self;
    cross_attention cross;
    feed_forward ff;
} encdec_dec_layer;

/* A family's struct starts with it. */
typedef struct encdec_model {
    weir_model base;
    int32_t n_enc, n_dec;
    attention_kind cross_kind;
    encdec_enc_layer *enc; /* (n_enc); NULL: only measured */
    encdec_dec_layer *dec; /* (n_dec); likewise */
    const float *enc_norm; /* (dim of the encoder) its last; the decoder's is the head's */
    weir_weight enc_embed; /* (n_vocab_rows, dim of the encoder); used where separate */
    bool separate;         /* the encoder has an embedding of its own, not the head's */
    float enc_embed_scale; /* of its looked-up rows */
} encdec_model;

/* encdec.c: all that weir_model_ops has but the load. */
weir_status weir__encdec_alloc_layers(weir_model *m);
void weir__encdec_free_layers(weir_model *m);
weir_status weir__encdec_append(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
weir_status weir__encdec_rest(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
weir_status weir__encdec_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                 int64_t n, int32_t place, int64_t from, int64_t upto);

/* The facts that follow from the layers. */
void weir__encdec_note(encdec_model *m);

#endif /* WEIR_MODELS_ENCDEC_ENCDEC_H */
