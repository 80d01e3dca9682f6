#ifndef WEIR_HOST_FORMATS_GGUF_GGUF_MODEL_H
#define WEIR_HOST_FORMATS_GGUF_GGUF_MODEL_H

#include "host/formats/families.h"
#include "host/formats/gguf/gguf.h"

/* A GGUF file as a model: which architectures, keys and tensors are known. Internal to host/formats. */

const family_row *weir__gguf_family(const weir_gguf *g); /* NULL: unknown */

/* Every key of the architecture is honoured by gguf_model.c, cannot change a result, or has the value that
 * changes nothing. */
weir_status weir__gguf_check_keys(const weir_gguf *g, const family_row *f, weir_err *err);

/* Typed reads of "<architecture>.<name>" and whole keys; *out stays as it is if the key is absent. EFORMAT
 * names key and value. An integer may be an array of equal ones: writers give some of them per layer. */
weir_status weir__gguf_get_int(const weir_gguf *g, const char *key, int64_t lo, int64_t hi, int32_t *out,
                               weir_err *err);
weir_status weir__gguf_get_real(const weir_gguf *g, const char *key, double lo, double hi, double *out,
                                weir_err *err);
const char *weir__gguf_key(const family_row *f, const char *name, char buf[128]);

/* One file and its architecture. A name is that of a key after "ARCHITECTURE.". */
typedef struct gguf_reader {
    const weir_gguf *g;
    const family_row *f;
    weir_err *err;
} gguf_reader;
weir_status weir__gguf_read_int(const gguf_reader *r, const char *name, int64_t lo, int64_t hi, int32_t *out);
weir_status weir__gguf_read_real(const gguf_reader *r, const char *name, double lo, double hi, double *out);
weir_status weir__gguf_need(const gguf_reader *r, const char *name); /* EFORMAT where it is absent */
/* Rows of token_embd.weight, as long as `dim`; not fewer than tokens. */
weir_status weir__gguf_read_rows(const gguf_reader *r, int32_t dim, int32_t *rows);

/* A T5: config, ids and tensors (gguf_t5.c). Everything else is read. */
weir_status weir__gguf_read_t5(const gguf_reader *r, weir_gguf_model *m);

/* An id below n_vocab; *out stays where the key is absent or says -1, also as an unsigned number. */
weir_status weir__gguf_get_id(const weir_gguf *g, const char *key, int32_t n_vocab, int32_t *out,
                              weir_err *err);
/* ENOTSUP where the key is a bool of this value. */
weir_status weir__gguf_refuse_flag(const weir_gguf *g, const char *key, bool value, weir_err *err);

/* Ids, the ends of a text, the chat template. config.n_vocab_rows is known. */
weir_status weir__gguf_read_vocab(const weir_gguf *g, weir_gguf_model *m, weir_err *err);

/* Every tensor is one that the model asks for, or may ignore. Fills in dtype, tied, qkv_bias and gated. */
weir_status weir__gguf_check_tensors(const weir_gguf *g, const family_row *f, weir_gguf_model *m,
                                     weir_err *err);

#endif /* WEIR_HOST_FORMATS_GGUF_GGUF_MODEL_H */
