#ifndef WEIR_MODELS_ENCDEC_T5GEMMA_H
#define WEIR_MODELS_ENCDEC_T5GEMMA_H

#include "models/decoder/decoder.h"
#include "models/encdec/encdec.h"

/* T5Gemma; internal to models/. */

typedef struct t5gemma_model {
    encdec_model m;
    weir_decoder_config enc, dec;
    attention_kind enc_kind[4], dec_kind[4]; /* as in decoder_model; the encoder's see ahead */
} t5gemma_model;

weir_status weir__t5gemma_load(weir_model *m, weights *w); /* t5gemma_load.c */

#endif /* WEIR_MODELS_ENCDEC_T5GEMMA_H */
