#ifndef WEIR_HOST_TOKENIZERS_SPM_SPM_BPE_H
#define WEIR_HOST_TOKENIZERS_SPM_SPM_BPE_H

#include "host/tokenizers/pipeline/pipeline.h"

/* A .model file of type BPE as a pipeline, for long texts: the library takes ten seconds for 5 MB. Its ids
 * are the library's for text that is UTF-8. *out is NULL where the model asks for what is not here: another
 * type, a normaliser, white space that collapses or ends pieces, unused pieces, characters that are unknown
 * for want of byte pieces. The bytes have passed weir__spm_check. ENOMEM. */
weir_status weir__spm_bpe_open(weir__pipeline **out, const void *model, size_t bytes, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_SPM_SPM_BPE_H */
