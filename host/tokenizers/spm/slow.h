#ifndef WEIR_HOST_TOKENIZERS_SPM_SLOW_H
#define WEIR_HOST_TOKENIZERS_SPM_SLOW_H

#include "host/tokenizers/ops.h"
#include "host/tokenizers/pipeline/pipeline.h"
#include "host/tokenizers/spm/spm.h"
#include "host/tokenizers/tokenizer.h"
#include "host/tokenizers/vocab/tokens.h"

/* A .model file with added tokens around it, like transformers' slow classes: the added tokens are cut out of
 * a text first (split.h); the library gets what is between them. */
typedef struct weir__slow weir__slow;
extern const weir_tokenizer_ops weir__slow_ops; /* impl is a weir__slow */

/* Over a model, and the same model for long texts (spm_bpe.h) or NULL. Takes ownership of both, even if it
 * fails. tokens: of the files; extra_ids: T5's sentinels, with ids past the pieces in falling order of their
 * number; strips: white space at both ends of a decoded text is removed (T5). */
weir_status weir__slow_open(weir__slow **out, weir__spm *spm, weir__pipeline *long_texts,
                            const weir__tokens *tokens, int32_t extra_ids, bool strips, weir_err *err);

/* A tokenizer from a model's bytes and such tokens (open/open_spm.c). Messages begin with label. */
weir_status weir__slow_tokenizer(weir_tokenizer **out, const void *model, size_t bytes, const char *label,
                                 const weir__tokens *tokens, int32_t extra_ids, bool strips, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_SPM_SLOW_H */
