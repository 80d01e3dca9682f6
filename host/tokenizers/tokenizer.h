#ifndef WEIR_HOST_TOKENIZERS_TOKENIZER_H
#define WEIR_HOST_TOKENIZERS_TOKENIZER_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Text to ids and back. One vtable, so that other families (byte-level BPE) can join SentencePiece. Read-only after
 * open: calls from several threads are safe. */
typedef struct weir_tokenizer weir_tokenizer;

/* SentencePiece model file. extra_ids sentinels "<extra_id_k>" take ids n_piece + extra_ids - 1 - k, as transformers
 * gives them, and are recognised in text. EIO, EFORMAT (with the library's words), ENOMEM. */
weir_status weir_tokenizer_open_spm(weir_tokenizer **out, const char *path, int32_t extra_ids, weir_err *err);
/* The same from memory (tests, fuzzing); the bytes are not needed afterwards, label names them in messages. */
weir_status weir_tokenizer_open_spm_bytes(weir_tokenizer **out, const void *model, size_t bytes,
                                          const char *label, int32_t extra_ids, weir_err *err);
void weir_tokenizer_free(weir_tokenizer *t); /* NULL allowed */

int32_t weir_tokenizer_size(const weir_tokenizer *t); /* pieces and sentinels: ids that text can produce */
const char *weir_tokenizer_piece(const weir_tokenizer *t, int32_t id); /* NULL out of range; borrowed */
/* End-of-text, padding, sentinels; the unknown piece is not one. */
bool weir_tokenizer_is_control(const weir_tokenizer *t, int32_t id);

/* Plain text: nothing is added, and "</s>" in a text is five characters. *ids by weir_alloc (weir_free). Invalid UTF-8 goes to the library as it is (it maps to unknown
 * or is replaced), never an error, never a crash; zero bytes in text are allowed. */
weir_status weir_tokenizer_encode(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                  size_t *n, weir_err *err);

/* As transformers' decode with skip_special_tokens: control pieces and sentinels vanish, white space at both ends too; but
 * unknown pieces show as SentencePiece shows them (" ⁇ ") instead of vanishing. *text by weir_alloc, zero-terminated.
 * EINVAL names the first id outside the vocabulary. */
weir_status weir_tokenizer_decode(const weir_tokenizer *t, const int32_t *ids, size_t n, char **text,
                                  size_t *bytes, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_TOKENIZER_H */
