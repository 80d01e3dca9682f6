#ifndef WEIR_MODELS_DECODER_DECODER_H
#define WEIR_MODELS_DECODER_DECODER_H

#include "models/parts/attention.h"
#include "models/parts/experts.h"
#include "models/parts/feed_forward.h"

/* The decoder-only families; internal to models/. */

typedef struct decoder_layer {
    attention att;
    feed_forward ff; /* or: */
    experts experts;
    int32_t in_group; /* its place among the layers that slide as it does: its layer in their cache */
} decoder_layer;

typedef struct decoder_model {
    weir_model base;
    weir_decoder_config c;
    attention_kind kind[4]; /* of global and of sliding layers, then of those of them without positions */
    decoder_layer *layer;   /* (n_layer) */
} decoder_model;

static inline bool weir__decoder_mixes(const decoder_model *m, int32_t layer) {
    return m->c.experts.n > 0 && !m->c.dense[layer];
}

static inline const attention_kind *weir__decoder_kind(const decoder_model *m, int32_t layer) {
    return &m->kind[m->c.sliding[layer] + 2 * m->c.no_rope[layer]];
}

/* decoder.c: the order of ops. */
weir_status weir__decoder_append(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
weir_status weir__decoder_rest(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);

weir_status weir__decoder_load(weir_model *m, weights *w); /* decoder_load.c */

/* What T5Gemma's stacks are too. decoder_create.c: whether such a stack can be; its kinds of attention, as in
 * decoder_model, without frequencies. c has a rotation for sliding layers from then on, even if none is. */
weir_status weir__decoder_check(const weir_decoder_config *c, weir_place place, int64_t n_row,
                                int64_t n_prompt, weir_err *err);
void weir__decoder_kinds(weir_decoder_config *c, attention_kind kind[4]);
bool weir__decoder_slides(const weir_decoder_config *c); /* one of its layers does */
/* decoder_load.c: their frequencies. n_prompt: the context. */
weir_status weir__decoder_load_rope(weights *w, const weir_decoder_config *c, int64_t n_prompt,
                                    attention_kind kind[4]);

/* decoder_rope.c: rotary frequencies, as transformers computes them. n_dim: elements of a head that turn;
 * inv_freq (n_dim / 2); returns what cos and sin are multiplied by. */
float weir__rope_table(const weir_rope_config *r, int32_t n_dim, float *inv_freq);

#endif /* WEIR_MODELS_DECODER_DECODER_H */
