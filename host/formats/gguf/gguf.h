#ifndef WEIR_HOST_FORMATS_GGUF_GGUF_H
#define WEIR_HOST_FORMATS_GGUF_GGUF_H

#include "host/formats/entry.h"
#include "host/formats/facts.h"
#include "models/model.h"

/* A GGUF file, version 3 (and 2, whose layout is the same), little endian, memory-mapped read-only: magic,
 * version, counts, key-value pairs, tensor descriptions, then tensor data at multiples of general.alignment.
 * Malformed files are refused, with one line; README.md of host/formats lists what is. */
typedef struct weir_gguf weir_gguf;

/* The path is that of a file, or of any part of a split one ("NAME-00002-of-00003.gguf"), whose other
 * parts lie beside it. EIO: cannot open or map (with errno's text). EFORMAT; ENOTSUP: another version or byte
 * order. ENOMEM. */
weir_status weir__gguf_open(weir_gguf **out, const char *path, weir_err *err);
/* From memory (tests, fuzzing): bytes are borrowed until close; label names them in messages. */
weir_status weir__gguf_open_bytes(weir_gguf **out, const void *bytes, size_t n, const char *label,
                                  weir_err *err);
/* The n parts of a split file, in order, as one: the metadata of the first, the tensors of all. All parts are
 * taken over, and closed on failure. EFORMAT: parts that say they are others, whose metadata differ, that
 * have a tensor twice, or not as many as the first says. ENOMEM. */
weir_status weir__gguf_join(weir_gguf **out, weir_gguf *const *part, size_t n, weir_err *err);
void weir__gguf_close(weir_gguf *g); /* NULL allowed; all parts of a split file */

/* ---- metadata: false where the key is absent or its value of another kind ------------------------------ */

bool weir__gguf_has(const weir_gguf *g, const char *key);
bool weir__gguf_int(const weir_gguf *g, const char *key, int64_t *out); /* any integer type that fits */
bool weir__gguf_real(const weir_gguf *g, const char *key, double *out); /* f32, f64, or an integer */
bool weir__gguf_bool(const weir_gguf *g, const char *key, bool *out);
/* Borrowed until close; not zero-terminated, may hold any byte. */
bool weir__gguf_string(const weir_gguf *g, const char *key, const char **text, size_t *bytes);
bool weir__gguf_array_length(const weir_gguf *g, const char *key, size_t *n);
/* Element i of an array; false past its end. Strings are found in constant time. Bools count as integers 0
 * and 1. */
bool weir__gguf_array_string(const weir_gguf *g, const char *key, size_t i, const char **text, size_t *bytes);
bool weir__gguf_array_int(const weir_gguf *g, const char *key, size_t i, int64_t *out);
bool weir__gguf_array_real(const weir_gguf *g, const char *key, size_t i, double *out);

/* ---- tensors ------------------------------------------------------------------------------------------- */

size_t weir__gguf_count(const weir_gguf *g);
void weir__gguf_at(const weir_gguf *g, size_t i, weir_entry *out); /* sorted by name */
bool weir__gguf_find(const weir_gguf *g, const char *name, weir_entry *out);
void weir__gguf_release(const weir_gguf *g, const char *name); /* its pages are not needed again */

/* ---- as a checkpoint ----------------------------------------------------------------------------------- */

/* What a model needs to know, from the metadata of an architecture in families.c. Every key that could change
 * a result is honoured or refused by name. */
typedef struct weir_gguf_model {
    weir_family_kind kind;
    weir_decoder_config config; /* the config of its kind; the other is zero */
    weir_t5_config t5;
    int32_t start_id;       /* T5: what the decoder starts with; decoders: -1 */
    int32_t n_sentinel;     /* T5: weir__gguf_pieces */
    weir_dtype dtype;       /* of most matrices */
    int32_t bos_id, pad_id; /* -1 if none */
    int32_t eos[8], n_eos;  /* end of sequence, of turn, of message */
    bool add_bos;
    char architecture[32];
    const char *chat_template; /* borrowed; NULL if none */
    size_t chat_template_bytes;
} weir_gguf_model;

/* Whether a token with this text always ends a text (llama.cpp's list): "<|im_end|>", "<end_of_turn>", … */
bool weir__gguf_is_end_text(const char *text, size_t n);

/* The tokens of a T5 in their order: pieces, "<extra_id_N>" in falling order down to 0, and padding. */
void weir__gguf_pieces(const weir_gguf *g, int32_t *n_piece, int32_t *n_sentinel);

weir_status weir__gguf_read_model(const weir_gguf *g, weir_gguf_model *out, weir_err *err);

/* Tensors by their Hugging Face names ("model.layers.3.self_attn.q_proj.weight"). A llama may also have
 * "rope_freqs.weight", (1, n_dim / 2) f32, positive: what each frequency is divided by (Llama 3's scaling).
 * */
weir_tensor_source weir__gguf_source(weir_gguf *g);

#endif /* WEIR_HOST_FORMATS_GGUF_GGUF_H */
