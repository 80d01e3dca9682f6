#ifndef WEIR_HOST_FORMATS_FACTS_H
#define WEIR_HOST_FORMATS_FACTS_H

#include "models/model.h"

struct weir_safetensors; /* host/formats/safetensors/safetensors.h */
struct weir_gguf;        /* host/formats/gguf/gguf.h */
struct weir_made;        /* host/formats/checkpoint.c */

/* T5Gemma's tokenizer, template and ids are those of a decoder. */
typedef enum weir_family_kind {
    WEIR_FAMILY_T5 = 0,
    WEIR_FAMILY_DECODER,
    WEIR_FAMILY_T5GEMMA
} weir_family_kind;

/* Rows and columns that share a scale of 8-bit floats; {0, 0}: 128 x 128. */
typedef struct weir_f8_block {
    int32_t rows, cols;
} weir_f8_block;

/* How a file holds matrices of 4-bit codes (safetensors/int4.h). */
typedef enum weir_int4_form {
    WEIR_INT4_NONE = 0,
    WEIR_INT4_GPTQ,    /* zeros are stored less one */
    WEIR_INT4_GPTQ_V2, /* as they are */
    WEIR_INT4_AWQ,
    WEIR_INT4_PACKED, /* compressed-tensors' pack-quantized */
    WEIR_INT4_MXFP4,  /* its mxfp4-pack-quantized */
} weir_int4_form;

typedef struct weir_int4 {
    weir_int4_form form;
    int32_t group; /* inputs that share a scale, a multiple of 32; 0: all of a row */
} weir_int4;

/* What reads the tokenizer. */
typedef enum weir_tokenizer_kind {
    WEIR_TOKENIZER_NONE = 0,
    WEIR_TOKENIZER_SPM,  /* spiece.model, tokenizer.model */
    WEIR_TOKENIZER_JSON, /* tokenizer.json */
    WEIR_TOKENIZER_GPT2, /* vocab.json and merges.txt */
    WEIR_TOKENIZER_GGUF, /* the arrays of the GGUF file */
} weir_tokenizer_kind;

/* Tokens that the files of a tokenizer name by their role: "bos_token" and so on. */
typedef enum weir_special {
    WEIR_SPECIAL_BOS = 0,
    WEIR_SPECIAL_EOS,
    WEIR_SPECIAL_UNK,
    WEIR_SPECIAL_SEP,
    WEIR_SPECIAL_PAD,
    WEIR_SPECIAL_CLS,
    WEIR_SPECIAL_MASK,
    WEIR_SPECIAL_N,
} weir_special;
extern const char *const weir_special_names[WEIR_SPECIAL_N];

/* A checkpoint as the engine needs it: model config, special ids, tensors, and the place of the tokenizer.
 * They come from the JSON files of a directory or from the metadata of a GGUF file. Every config field is
 * honoured, or known not to change the result, or refused by name because it does. Unknown fields are noted
 * in `ignored`. */
typedef struct weir_checkpoint {
    char *dir; /* or the GGUF file */
    weir_family_kind kind;
    weir_t5_config t5;                          /* the config of its kind; the other is zero */
    weir_decoder_config decoder, encoder;       /* encoder: of T5Gemma alone */
    float rope_divisors[2][WEIR_ROPE_DIMS / 2]; /* longrope's short and long ones, from config.json */
    weir_dtype dtype;                           /* of the matrices in the file */
    weir_dtype quantise; /* for its source (models/model.h); the engine's options set it */
    int32_t start_id; /* decoder_start_token_id; else bos_token_id; else, of T5, pad_token_id. Decoders: -1 */
    int32_t bos_id;   /* -1 if none */
    bool add_bos;     /* a prompt's ids begin with bos_id */
    char *special[WEIR_SPECIAL_N]; /* names of tokens by role, by weir_alloc; NULL: in no file, ids count */
    bool lists_added_tokens;       /* tokenizer_config.json has an added_tokens_decoder */
    bool asks_post_processor;      /* tokenizer_config.json leaves add_bos to tokenizer.json */
    int32_t eos[8], n_eos;
    int32_t pad_id; /* -1 if none */
    weir_tokenizer_kind tokenizer;
    char *tokenizer_path;   /* NULL if there is none or it is the GGUF file */
    int32_t extra_ids;      /* T5: sentinels after the pieces, from tokenizer_config.json (absent: 100 for a
                               T5 tokenizer class or without that file, else 0) */
    bool extra_ids_assumed; /* no file says how many */
    char *chat_template;    /* zero-terminated, by weir_alloc; NULL if the checkpoint has none */
    char family[64];        /* "t5 (gated gelu_new, untied head)", "qwen2 (silu, tied head)" */
    char stem[32];          /* decoders: what the file writes for "model." in names of tensors */
    bool strict;            /* unknown fields and tensors are refused, not noted */
    char ignored[512];      /* the unknown: "config.json: a, b; generation_config.json: c; tensors: d" */
    char ignored_place[48]; /* the last of these files */
    int32_t n_ignored_more; /* more of them, for which there was no room */
    struct weir_safetensors *tensors;
    weir_f8_block f8_block;
    weir_int4 int4;
    struct weir_made *made; /* what a model is loading and the file holds in another form; this copy's own */
    struct weir_made *orders; /* of inputs, of matrices that have another than the model; all copies' */
    struct weir_gguf *gguf;   /* instead of tensors */
} weir_checkpoint;

/* Rows of embedding and head, padding included. Ids are below it. */
static inline int32_t weir__checkpoint_rows(const weir_checkpoint *c) {
    return c->kind == WEIR_FAMILY_T5 ? c->t5.n_vocab_rows : c->decoder.n_vocab_rows;
}

#endif /* WEIR_HOST_FORMATS_FACTS_H */
