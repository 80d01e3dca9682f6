#ifndef WEIR_HOST_TOKENIZERS_PIPELINE_BPE_H
#define WEIR_HOST_TOKENIZERS_PIPELINE_BPE_H

#include "host/tokenizers/pipeline/pipeline.h"

/* Byte-pair encoding: merges when a file is opened, words when a text is read. */

/* A merge of two symbols, in falling order of preference; all tokens must be there. n: how many there will
 * be. */
weir_status weir__bpe_merges(weir__pipeline *p, size_t n, weir_err *err);
weir_status weir__bpe_merge(weir__pipeline *p, const char *left, size_t n_left, const char *right,
                            size_t n_right, weir_err *err);
/* "left right" */
weir_status weir__bpe_merge_line(weir__pipeline *p, const char *line, size_t n, weir_err *err);
weir_status weir__bpe_finish(weir__pipeline *p, weir_err *err);

/* Ids of one word, which is not empty. */
weir_status weir__bpe_word(weir__encoder *e, const char *word, size_t n, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_PIPELINE_BPE_H */
