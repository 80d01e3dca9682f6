#ifndef WEIR_MODELS_ENCDEC_T5_H
#define WEIR_MODELS_ENCDEC_T5_H

#include "models/encdec/encdec.h"

/* The T5 family; internal to models/. */

typedef struct t5_model {
    encdec_model m;
    weir_t5_config c;
    attention_kind enc_kind, dec_kind; /* of both stacks without the layer's bias */
} t5_model;

weir_status weir__t5_load(weir_model *m, weights *w); /* t5_load.c */

/* t5_bias.c: bucket of key position minus query position, as transformers computes it. */
int32_t weir__t5_bucket(int64_t distance, bool bidirectional, int32_t n_bucket, int32_t max_distance);
/* out (n_head, left + 1 + right) from w (n_bucket, n_head); bidirectional iff right > 0. */
void weir__t5_bias_table(const weir_tensor *w, int32_t left, int32_t right, int32_t max_distance, float *out);

#endif /* WEIR_MODELS_ENCDEC_T5_H */
