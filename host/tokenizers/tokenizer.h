#ifndef WEIR_HOST_TOKENIZERS_TOKENIZER_H
#define WEIR_HOST_TOKENIZERS_TOKENIZER_H

#include "host/tokenizers/ids.h"
#include "kernels/base/status.h"
#include "kernels/base/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Text to ids and back, through one vtable (ops.h) for every family. Read-only after open: calls from several
 * threads are safe. Never adds beginning or end of text; the engine does. */
typedef struct weir_tokenizer weir_tokenizer;
struct weir_gguf; /* host/formats/gguf/gguf.h */

/* SentencePiece model file. extra_ids sentinels "<extra_id_k>" take ids n_piece + extra_ids - 1 - k, as
 * transformers gives them, and are recognised in text. EIO, EFORMAT (with the library's words), ENOMEM. */
weir_status weir__tokenizer_open_spm(weir_tokenizer **out, const char *path, int32_t extra_ids,
                                     weir_err *err);
/* The same from memory (tests, fuzzing); the bytes are not needed afterwards, label names them in messages.
 * */
weir_status weir__tokenizer_open_spm_bytes(weir_tokenizer **out, const void *model, size_t bytes,
                                           const char *label, int32_t extra_ids, weir_err *err);
/* The same model file for a decoder-only family: no sentinels, and white space at the ends of a decoded text
 * stays. */
weir_status weir__tokenizer_open_spm_plain(weir_tokenizer **out, const char *path, weir_err *err);

/* tokenizer.ggml.* of a GGUF file: models "gpt2" (byte-level BPE, cut into words by tokenizer.ggml.pre) and
 * "llama" (character BPE by scores). Ids are llama.cpp's. g is not needed afterwards. EFORMAT, ENOTSUP with
 * the name of what is not known, ENOMEM. */
weir_status weir__tokenizer_open_gguf(weir_tokenizer **out, const struct weir_gguf *g, weir_err *err);
/* The same for tokenizer.ggml.model "t5": the tokens of a SentencePiece model. */
weir_status weir__tokenizer_open_gguf_pieces(weir_tokenizer **out, const struct weir_gguf *g, weir_err *err);
/* A tokenizer.json of Hugging Face's tokenizers with a model of type BPE. Ids are that package's without its
 * post-processor. EIO, EFORMAT, ENOTSUP with the name of what is not known, ENOMEM. */
weir_status weir__tokenizer_open_json(weir_tokenizer **out, const char *path, weir_err *err);
weir_status weir__tokenizer_open_json_bytes(weir_tokenizer **out, const void *json, size_t bytes,
                                            const char *label, weir_err *err);
/* GPT-2's pair of files: vocab.json and merges.txt. "<|endoftext|>", where there is one, is a control token.
 * */
weir_status weir__tokenizer_open_gpt2(weir_tokenizer **out, const char *vocab_path, const char *merges_path,
                                      weir_err *err);

void weir__tokenizer_free(weir_tokenizer *t); /* NULL allowed */

int32_t weir__tokenizer_size(const weir_tokenizer *t); /* pieces and sentinels: ids that text can produce */
const char *weir__tokenizer_piece(const weir_tokenizer *t, int32_t id); /* NULL out of range; borrowed */
/* The id of the piece with this spelling, or -1. A linear search: there is no index of names. */
int32_t weir__tokenizer_find(const weir_tokenizer *t, const char *piece, size_t bytes);
/* End of text, padding, sentinels. The unknown piece counts too in a GGUF file (type 2), as in llama.cpp,
 * whose token_to_piece gives no text for it; not in a .model; in a tokenizer.json the file decides. */
bool weir__tokenizer_is_control(const weir_tokenizer *t, int32_t id);

/* The end of text according to the tokenizer's files; T5's classes put it after a prompt. -1: not given. */
int32_t weir__tokenizer_end(const weir_tokenizer *t);

/* Plain text. Nothing is added. What the vocabulary lacks may become the unknown piece. The spelling of a
 * control token is just characters ("</s>" is four of them); other added tokens are found. *ids by weir_alloc
 * (weir_free). Invalid UTF-8 is never an error, never a crash: the SentencePiece library replaces it or maps
 * it to unknown, the others read it like llama.cpp (utf8.h). Text may contain zero bytes. */
weir_status weir__tokenizer_encode(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                   size_t *n, weir_err *err);
/* A raw prompt: the spelling of a control token becomes the token. */
weir_status weir__tokenizer_encode_special(const weir_tokenizer *t, const char *text, size_t bytes,
                                           int32_t **ids, size_t *n, weir_err *err);

/* Appends the ids of one run of a longer text. parse_special: the spelling of a control token becomes the
 * token. first: nothing precedes the run, not even a control token; some tokenizer.json put a space only
 * before such a run (Metaspace, prepend_scheme "first"). After a failure the list may have some of the
 * ids. */
weir_status weir__tokenizer_append(const weir_tokenizer *t, const char *text, size_t bytes,
                                   bool parse_special, bool first, weir__ids *out, weir_err *err);

/* A stretch of a text; parse_special: the spelling of a control token becomes the token. */
typedef struct weir_text_span {
    const char *text;
    size_t bytes;
    bool parse_special;
} weir_text_span;

/* Ids of the spans as one text. Words may cross their borders; a control token counts if parsed spans hold
 * all of it. A chat template's text is parsed, a message's is not. */
weir_status weir__tokenizer_encode_spans(const weir_tokenizer *t, const weir_text_span *spans, size_t n,
                                         int32_t **ids, size_t *n_ids, weir_err *err);
/* The same of a run, as weir__tokenizer_append. */
weir_status weir__tokenizer_append_spans(const weir_tokenizer *t, const weir_text_span *spans, size_t n,
                                         bool first, weir__ids *out, weir_err *err);

/* Like transformers' decode with skip_special_tokens: control pieces and sentinels are left out. *text by
 * weir_alloc, zero-terminated, UTF-8: bytes that form no character are U+FFFD, so a text with an incomplete
 * last character ends in one. EINVAL names the first id outside the vocabulary. With a T5 .model, white space
 * at both ends is removed, and unknown pieces look as in SentencePiece (" ⁇ "). */
weir_status weir__tokenizer_decode(const weir_tokenizer *t, const int32_t *ids, size_t n, char **text,
                                   size_t *bytes, weir_err *err);
/* The same for a run of ids. first: it begins an answer, where a decoder may remove a space. */
weir_status weir__tokenizer_decode_run(const weir_tokenizer *t, const int32_t *ids, size_t n, bool first,
                                       char **text, size_t *bytes, weir_err *err);
/* The bytes that one id stands for within a text, perhaps a part of a character; its name, if it is a control
 * token. *bytes by weir_alloc, zero-terminated. EINVAL: outside the vocabulary. */
weir_status weir__tokenizer_bytes(const weir_tokenizer *t, int32_t id, char **bytes, size_t *n,
                                  weir_err *err);
/* Whether later tokens may still change the text of an answer that ends in this id. With ByteFallback in a
 * tokenizer.json, a run of byte tokens is valid as a whole or not at all. */
bool weir__tokenizer_is_open(const weir_tokenizer *t, int32_t id);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_TOKENIZER_H */
