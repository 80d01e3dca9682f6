#ifndef WEIR_HOST_FORMATS_FAMILIES_H
#define WEIR_HOST_FORMATS_FAMILIES_H

#include "host/formats/facts.h"

struct json_t;

/* The families of models that weir reads, one row each: what config.json and GGUF files call a family, the
 * choices it makes, and the default values of its config. Readers ask a row for a choice, never for its name,
 * so a family made of existing choices is one more row. A parser links without models: what the engine calls
 * for each kind of model is the table of host/pair/family.c. */

/* Choices of decoders. */
enum {
    FAMILY_ADDS_BOS = 1 << 0, /* its tokenizer starts a prompt with bos; tokenizer_config.json wins */
    FAMILY_QKV_BIAS = 1 << 1,
    FAMILY_QK_NORM = 1 << 2,
    FAMILY_POST_NORMS = 1 << 3,     /* norms after attention and feed-forward, before the residual */
    FAMILY_ONE_PLUS = 1 << 4,       /* norms multiply by 1 + w; GGUF files hold the sum */
    FAMILY_EMBED_SCALE = 1 << 5,    /* embeddings times sqrt(hidden_size) */
    FAMILY_QUERY_SCALAR = 1 << 6,   /* query_pre_attn_scalar */
    FAMILY_FINAL_CAP = 1 << 7,      /* final_logit_softcapping; GGUF files may cap scores too */
    FAMILY_SCORE_CAP = 1 << 8,      /* attn_logit_softcapping */
    FAMILY_ACTIVATION = 1 << 9,     /* hidden_activation counts, not hidden_act */
    FAMILY_WINDOW = 1 << 10,        /* layers may slide */
    FAMILY_MAY_SLIDE = 1 << 11,     /* they do if use_sliding_window, from max_window_layers on */
    FAMILY_LAYER_TYPES = 1 << 12,   /* layer_types says which */
    FAMILY_PERIOD = 1 << 13,        /* the last of every `period` layers is global */
    FAMILY_PERIOD_KEY = 1 << 14,    /* sliding_window_pattern sets the period */
    FAMILY_WINDOW_SIZE = 1 << 15,   /* sliding_window_size repeats sliding_window */
    FAMILY_LOCAL_THETA = 1 << 16,   /* sliding layers have a theta of their own and are never stretched */
    FAMILY_INTERLEAVED = 1 << 17,   /* GGUF: neighbouring elements of q and k turn together */
    FAMILY_ROPE_FREQS = 1 << 18,    /* GGUF: a tensor may hold what each frequency is divided by */
    FAMILY_FUSED = 1 << 19,         /* q, k and v are one matrix of the file, gate and up another */
    FAMILY_LONGROPE = 1 << 20,      /* longrope's divisors; partial_rotary_factor; GGUF: all layers slide */
    FAMILY_ONLY_POST = 1 << 21,     /* with POST_NORMS: no norm before a sub-layer */
    FAMILY_WHOLE_NORM = 1 << 22,    /* with QK_NORM: over all heads together */
    FAMILY_MULTIPLIERS = 1 << 23,   /* of embedding, attention, residual and logits */
    FAMILY_NO_ROPE = 1 << 24,       /* some layers have no positions: no_rope_layers */
    FAMILY_LOCAL_EXPERTS = 1 << 25, /* num_local_experts of intermediate_size, in every layer */
    FAMILY_EXPERTS = 1 << 26,       /* num_experts of moe_intermediate_size, in some layers */
    FAMILY_SHARED_EXPERT = 1 << 27, /* with EXPERTS: one more that all rows use; biases of q, k and v if
                                       qkv_bias */
    FAMILY_STACKS = 1 << 28,        /* two stacks, an encoder and a decoder */
    FAMILY_SINKS = 1 << 29,         /* gpt-oss: sinks, biases in attention and experts, a clamped unit */
    FAMILY_MIXES = FAMILY_LOCAL_EXPERTS | FAMILY_EXPERTS,
    FAMILY_ALL = ~0,
};

/* Default values. Heads of keys 0: as many as heads; head_dim 0: dim / n_head; window: of families whose
 * layers slide. */
typedef struct decoder_defaults {
    weir_decoder_config config;
    const char *act;
    double theta, theta_sliding; /* theta_sliding 0: as theta */
    double query_scalar;         /* 0: head_dim */
    int32_t period;
    int32_t no_rope_interval; /* the last of so many layers has no positions */
    int32_t bos, eos, pad;
    int32_t gguf_window;     /* 0: the file says it */
    bool gguf_normed;        /* the weights of a row's experts add up to 1 */
    int32_t gguf_big_layers; /* with so many layers queries are scaled by (dim / n_head)^-0.5 */
} decoder_defaults;

typedef struct family_row family_row;
struct family_row {
    const char *model_type;   /* of config.json */
    const char *architecture; /* of its architectures, in any case */
    const char *gguf;         /* general.architecture; NULL: no GGUF file of it is read */
    const char *refused;      /* why it is not read at all; NULL: it is */
    weir_family_kind kind;
    int32_t features;
    /* A parsed config.json whose model_type this is. Fills in out, half of it on failure. */
    weir_status (*parse)(const family_row *f, struct json_t *root, const char *label, weir_checkpoint *out,
                         weir_err *err);
    weir_t5_config t5; /* of its kind, the other is zero */
    decoder_defaults decoder;
};

/* What `parse` may be: config/t5_config.c, config/decoder_config.c, config/t5gemma_config.c. */
weir_status weir__t5_parse(const family_row *f, struct json_t *root, const char *label, weir_checkpoint *out,
                           weir_err *err);
weir_status weir__decoder_parse(const family_row *f, struct json_t *root, const char *label,
                                weir_checkpoint *out, weir_err *err);
weir_status weir__gemma3_parse(const family_row *f, struct json_t *root, const char *label,
                               weir_checkpoint *out, weir_err *err);

weir_status weir__t5gemma_parse(const family_row *f, struct json_t *root, const char *label,
                                weir_checkpoint *out, weir_err *err);

static inline bool weir__family_has(const family_row *f, int32_t features) {
    return features == FAMILY_ALL || (f->features & features) != 0;
}

/* The choices of a family that are no field of its files. */
void weir__family_choose(const family_row *f, weir_decoder_config *c);

/* NULL: unknown. */
const family_row *weir__family_typed(const char *model_type);
const family_row *weir__family_built(const char *architecture); /* of config.json */
/* mixes: the file has experts. A Mixtral is called llama there. */
const family_row *weir__family_gguf(const char *architecture, size_t n, bool mixes);

/* "t5, mt5 or llama": what the rows that a filter lets through are called. */
typedef enum family_filter { FAMILY_ANY, FAMILY_T5, FAMILY_GGUF } family_filter;
const char *weir__family_list(family_filter filter, char text[160]);

#endif /* WEIR_HOST_FORMATS_FAMILIES_H */
