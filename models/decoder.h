#ifndef WEIR_MODELS_DECODER_H
#define WEIR_MODELS_DECODER_H

#include "models/attention.h"
#include "models/feed_forward.h"

/* The decoder-only families; internal to models/. */

typedef struct decoder_layer {
    attention att;
    feed_forward ff;
    int32_t in_group; /* its place among the layers that slide as it does: its layer in their cache */
} decoder_layer;

typedef struct decoder_model {
    weir_model base;
    weir_decoder_config c;
    attention_kind kind[4]; /* of global and of sliding layers, then of those of them without positions */
    decoder_layer *layer;   /* (n_layer) */
} decoder_model;

static inline const attention_kind *weir__decoder_kind(const decoder_model *m, int32_t layer) {
    return &m->kind[m->c.sliding[layer] + 2 * m->c.no_rope[layer]];
}

/* decoder.c: the order of ops. */
weir_status weir__decoder_append(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
weir_status weir__decoder_rest(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);

weir_status weir__decoder_load(weir_model *m, weights *w); /* decoder_load.c */

/* decoder_rope.c: rotary frequencies, as transformers computes them. n_dim: elements of a head that turn;
 * inv_freq (n_dim / 2); returns what cos and sin are multiplied by. */
float weir__rope_table(const weir_rope_config *r, int32_t n_dim, float *inv_freq);

#endif /* WEIR_MODELS_DECODER_H */
