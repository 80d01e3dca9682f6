#ifndef WEIR_HOST_TOKENIZERS_SPM_SPM_BPE_H
#define WEIR_HOST_TOKENIZERS_SPM_SPM_BPE_H

#include "host/tokenizers/pipeline/pipeline.h"

/* A .model file of type BPE as a pipeline, for long texts: the library takes ten seconds for 5 MB. For UTF-8
 * its ids are the library's. *out is NULL if the model needs something that is not supported here: another
 * type, a normaliser, white space that collapses or ends pieces, unused pieces, missing byte pieces. The
 * bytes have passed weir__spm_check. ENOMEM. */
weir_status weir__spm_bpe_open(weir__pipeline **out, const void *model, size_t bytes, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_SPM_SPM_BPE_H */
