#ifndef WEIR_HOST_TOKENIZERS_OPEN_HF_JSON_H
#define WEIR_HOST_TOKENIZERS_OPEN_HF_JSON_H

#include <jansson.h>

#include "host/tokenizers/pipeline/pipeline.h"
#include "host/tokenizers/vocab/tokens.h"

/* Parts of tokenizer.json. Each takes the value of one key (NULL or null: absent). ENOTSUP names anything
 * unknown that could change an id; EFORMAT: not allowed by the format. */

/* An object of tokens and ids; fixed: added tokens, whose ids may be between and after them. */
weir_status weir__hf_vocab(weir__pipeline *p, json_t *vocab, const weir__token *fixed, size_t n,
                           weir_err *err);
weir_status weir__hf_model(weir__pipeline *p, const json_t *model,
                           weir_err *err); /* after the pre-tokenizer */
weir_status weir__hf_normalizer(weir__pipeline *b, const json_t *normalizer, weir_err *err);
weir_status weir__hf_pre_tokenizer(weir__pipeline *b, const json_t *pre_tokenizer, weir_err *err);
weir_status weir__hf_decoder(weir__pipeline *b, const json_t *decoder, weir_err *err);
/* The array "added_tokens", and tokens of the directory's other files. After model and normalizer. */
weir_status weir__hf_added(weir__pipeline *p, const json_t *added, const weir__tokens *tokens, weir_err *err);
weir_status weir__pipeline_add_token(weir__pipeline *p, const weir__token *x,
                                     weir_err *err); /* index: its id */

/* ---- values -------------------------------------------------------------------------------------------- */

/* A key that is absent or null keeps *out; another kind of value: EFORMAT. Strings are borrowed. */
weir_status weir__hf_bool(const json_t *o, const char *key, bool *out, weir_err *err);
weir_status weir__hf_string(const json_t *o, const char *key, const char **out, weir_err *err);
weir_status weir__hf_int(const json_t *o, const char *key, json_int_t *out, weir_err *err);
const char *weir__hf_type(const json_t *o); /* its "type", "" if it has none */

/* Calls one for each element of the array o[key], of an object whose type is Sequence, or for o itself; not
 * at all for null. Sequences may nest a few levels. */
typedef weir_status weir__hf_one(weir__pipeline *b, const json_t *o, weir_err *err);
weir_status weir__hf_each(weir__pipeline *b, const json_t *o, const char *key, int depth, weir__hf_one *one,
                          weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_OPEN_HF_JSON_H */
