#ifndef WEIR_HOST_FORMATS_GGUF_GGUF_MODEL_H
#define WEIR_HOST_FORMATS_GGUF_GGUF_MODEL_H

#include "host/formats/gguf/gguf.h"

/* A GGUF file as a model: which architectures, keys and tensors are known. Internal to host/formats. */

enum {
    GGUF_LLAMA = 1,
    GGUF_QWEN2 = 2,
    GGUF_QWEN3 = 4,
    GGUF_GEMMA2 = 8,
    GGUF_GEMMA3 = 16,
    GGUF_GEMMA = GGUF_GEMMA2 | GGUF_GEMMA3,
    GGUF_ALL = 31,
};

/* What an architecture's name stands for; defaults are llama.cpp's, of keys that a file may leave out. */
typedef struct gguf_family {
    const char *name;
    unsigned bit;
    weir_act act;
    bool interleaved; /* rows of q and k are stored so that neighbours turn together */
    bool gemma;       /* embeddings times sqrt(dim), norms behind attention and feed-forward */
    bool qk_norm;
    double theta;   /* of the global layers */
    int32_t period; /* of sliding and global layers: the last of each `period` is global; 0 = none slides */
    int32_t window; /* 0 = the file says it, or no layer slides */
    int32_t big_layers; /* at this many layers queries are scaled by (dim / n_head)^-0.5 */
    double attention_softcap, final_softcap;
} gguf_family;

const gguf_family *weir__gguf_family(const weir_gguf *g); /* NULL: an architecture that we do not know */

/* Every key of the architecture is honoured by gguf_model.c, cannot change a result, or has the value that
 * changes nothing. */
weir_status weir__gguf_check_keys(const weir_gguf *g, const gguf_family *f, weir_err *err);

/* Typed reads of "<architecture>.<name>" and whole keys; *out stays where the key is absent. EFORMAT names
 * key and value. An integer may be an array of equal ones, as writers give some of them by layer. */
weir_status weir__gguf_get_int(const weir_gguf *g, const char *key, int64_t lo, int64_t hi, int32_t *out,
                               weir_err *err);
weir_status weir__gguf_get_real(const weir_gguf *g, const char *key, double lo, double hi, double *out,
                                weir_err *err);
const char *weir__gguf_key(const gguf_family *f, const char *name, char buf[128]);

/* Ids, the ends of a text, the chat template. config.n_vocab_rows is known. */
weir_status weir__gguf_read_vocab(const weir_gguf *g, weir_gguf_model *m, weir_err *err);

/* Every tensor is one that the model asks for, or one that it may leave; fills dtype, tied and qkv_bias. */
weir_status weir__gguf_check_tensors(const weir_gguf *g, const gguf_family *f, weir_gguf_model *m,
                                     weir_err *err);

#endif /* WEIR_HOST_FORMATS_GGUF_GGUF_MODEL_H */
