#ifndef WEIR_HOST_TOKENIZERS_TOKENIZER_H
#define WEIR_HOST_TOKENIZERS_TOKENIZER_H

#include "host/tokenizers/ids.h"
#include "kernels/base/status.h"
#include "kernels/base/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Text to ids and back, behind one vtable (ops.h) for every family. Read-only after open: calls from several
 * threads are safe. Beginning- and end-of-text are never added: that is the engine's. */
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
/* The id of the piece that is spelled so, -1 if there is none. Walks through all: there is no index of names. */
int32_t weir__tokenizer_find(const weir_tokenizer *t, const char *piece, size_t bytes);
/* End-of-text, padding, sentinels. The unknown piece is one where a GGUF file has it (type 2), as in
 * llama.cpp, whose token_to_piece gives no text for it; in a .model it is none, in a tokenizer.json the file
 * says. */
bool weir__tokenizer_is_control(const weir_tokenizer *t, int32_t id);

/* What ends a text by the files of the tokenizer, which T5's classes put after a prompt; -1 where they do not
 * say. */
int32_t weir__tokenizer_end(const weir_tokenizer *t);

/* Plain text: nothing is added, what the vocabulary lacks may become the unknown piece, and what spells a
 * control token is characters ("</s>" in a text is four of them); added tokens that are no control tokens are
 * found. *ids by weir_alloc (weir_free). Invalid UTF-8 is never an error, never a crash: a SentencePiece
 * model's library replaces it or maps it to unknown, the others read it as llama.cpp does (utf8.h). Zero
 * bytes in text are allowed. */
weir_status weir__tokenizer_encode(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                   size_t *n, weir_err *err);
/* A text in which what spells a control token becomes it: a raw prompt. */
weir_status weir__tokenizer_encode_special(const weir_tokenizer *t, const char *text, size_t bytes,
                                           int32_t **ids, size_t *n, weir_err *err);

/* Appends the ids of one run of a longer text. parse_special: what spells a control token becomes it. first:
 * nothing, not even a control token, stands before the run; some tokenizer.json put a space before such a run
 * only (Metaspace, prepend_scheme "first"). After a failure the list may have some of them. */
weir_status weir__tokenizer_append(const weir_tokenizer *t, const char *text, size_t bytes,
                                   bool parse_special, bool first, weir__ids *out, weir_err *err);

/* A stretch of a text; parse_special: what spells a control token in it becomes it. */
typedef struct weir_text_span {
    const char *text;
    size_t bytes;
    bool parse_special;
} weir_text_span;

/* Ids of the spans as one text: words go across their borders, a control token is one where spans that are
 * parsed hold all of it. A chat template's words are such spans, what a message says is not. */
weir_status weir__tokenizer_encode_spans(const weir_tokenizer *t, const weir_text_span *spans, size_t n,
                                         int32_t **ids, size_t *n_ids, weir_err *err);

/* As transformers' decode with skip_special_tokens: control pieces and sentinels vanish. *text by weir_alloc,
 * zero-terminated, UTF-8: bytes that form no character are U+FFFD, so that a text whose last character is
 * incomplete ends in one. EINVAL names the first id outside the vocabulary. Of a T5 .model white space at
 * both ends vanishes too, and unknown pieces show as SentencePiece shows them (" ⁇ "). */
weir_status weir__tokenizer_decode(const weir_tokenizer *t, const int32_t *ids, size_t n, char **text,
                                   size_t *bytes, weir_err *err);
/* The same of a run of ids; first: it is the beginning of an answer, where a decoder may take off a space. */
weir_status weir__tokenizer_decode_run(const weir_tokenizer *t, const int32_t *ids, size_t n, bool first,
                                       char **text, size_t *bytes, weir_err *err);
/* Whether what an answer that ends in this id says may still change by the tokens that follow: a run of byte
 * tokens is valid as a whole or not at all, where a tokenizer.json has ByteFallback. */
bool weir__tokenizer_is_open(const weir_tokenizer *t, int32_t id);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_TOKENIZER_H */
