#ifndef WEIR_HOST_TOKENIZERS_PIPELINE_ENCODE_H
#define WEIR_HOST_TOKENIZERS_PIPELINE_ENCODE_H

#include "host/tokenizers/ops.h"
#include "host/tokenizers/pipeline/pipeline.h"

/* The flow of a text through a pipeline. */

extern const weir_tokenizer_ops weir__pipeline_ops; /* impl is a weir__pipeline */

weir_status weir__pipeline_finish(weir__pipeline *p,
                                  weir_err *err); /* after all of it, before the first use */

#endif /* WEIR_HOST_TOKENIZERS_PIPELINE_ENCODE_H */
