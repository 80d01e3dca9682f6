#ifndef WEIR_HOST_TOKENIZERS_SPM_SPM_CHECK_H
#define WEIR_HOST_TOKENIZERS_SPM_SPM_CHECK_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Refuses what the SentencePiece library takes on trust and would crash on: a normaliser's double array that
 * leads out of its bounds, runs in circles or gives more matches than the library has room for; pieces so
 * long that building the vocabulary's trie overflows the stack; pieces with zero bytes; scores that are not
 * finite. Everything else (no unknown piece, duplicates, missing bytes, broken messages) the library refuses
 * by itself. EFORMAT, ENOMEM. */
weir_status weir__spm_check(const void *model, size_t bytes, const char *label, weir_err *err);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_SPM_SPM_CHECK_H */
