#ifndef WEIR_MODELS_PARTS_ROWS_H
#define WEIR_MODELS_PARTS_ROWS_H

#include "models/impl.h"

/* Rows on their way into a model's layers, and past the last cache. */

/* A prompt's tokens and slots (and key counts) to where ops read them. EINVAL: a token outside the embedding,
 * which a device could not refuse. */
weir_status weir__put_prompt(weir_model *m, int32_t slot, const int32_t *token, int64_t n);
/* Array i of the prompt of n positions that was put last: 0 tokens, 1 slots, 2 key counts. */
const int32_t *weir__prompt_at(const weir_model *m, int64_t n, int i);

/* The next unit of a prompt, a layer of a chunk, may run; ECANCELED if the caller does not want the rest. */
weir_status weir__prompt_goes_on(const weir_model *m);

/* The rows of a decode or verify call, before their first layer; the key counts that are to be made with x.
 * */
weir_row_keys weir__rows_begin(const weir_model *m, const weir_kv *kv, const weir_batch *b, model_rows *r);

/* After the last append a row serves only its own logits: drops rows whose logits are not wanted. */
weir_status weir__rows_keep_wanted(weir_model *m, const weir_kv *kv, const weir_batch *b, model_rows *r);

#endif /* WEIR_MODELS_PARTS_ROWS_H */
