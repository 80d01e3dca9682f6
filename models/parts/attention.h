#ifndef WEIR_MODELS_PARTS_ATTENTION_H
#define WEIR_MODELS_PARTS_ATTENTION_H

#include "models/impl.h"

/* Heads of a layer that a rank has: all, or its share. */
typedef struct attention_heads {
    weir_span q, kv; /* of the model's query heads, and of its KV heads */
    int32_t of_kv;   /* query heads of a KV head */
    int32_t head_dim;
} attention_heads;

static inline int64_t weir__heads_inner(const attention_heads *h) { return h->q.own * h->head_dim; }
static inline int64_t weir__heads_inner_kv(const attention_heads *h) { return h->kv.own * h->head_dim; }

/* A layer's self attention: x += post(o·attention(position(qkv·norm(x)))). Matrices: (outputs, inputs). */
typedef struct attention {
    const float *norm, *post; /* (dim) before it, and after it (NULL: none); the family loads them */
    weir_weight
        qkv[WEIR__PARTS]; /* products that make (width, dim): q, k and v, neighbours of one dtype stacked */
    int n_qkv;
    attention_heads heads;
    attention_heads made;         /* those whose q and k they make: heads, or all; v is of heads */
    const float *bias;            /* (width) of q, k, v; or NULL */
    const float *sinks;           /* (all heads of the model) or NULL */
    const float *q_norm, *k_norm; /* (head_dim) of every head, or of all heads together; or NULL */
    weir_weight o;                /* (dim, inner) */
    const float *o_bias;          /* (dim), added to x after it; or NULL */
} attention;

/* What the layers of one kind share: how scores are made, and how positions come in. */
typedef struct attention_kind {
    float scale;           /* of q·k */
    float softcap;         /* of scores; 0: none */
    int32_t window;        /* positions that a row sees, its own counted; 0: all */
    int32_t ahead;         /* of an encoder's: those after its own that it sees too */
    const float *inv_freq; /* (n_dim / 2) rotary frequencies, or NULL */
    float rope_scale;      /* what cos and sin are multiplied by */
    int32_t n_dim;         /* leading elements of a head that turn */
    bool interleaved;      /* pairs (2 i, 2 i + 1), else (i, i + n_dim / 2) */
    const float *bias;     /* (own heads, bias_left + 1 + bias_right) of relative positions, or NULL */
    int32_t bias_left, bias_right;
} attention_kind;

/* Where a layer's keys and values are. */
typedef struct attention_cache {
    const weir_kv_view *kv;
    int32_t layer; /* of the view */
} attention_cache;

typedef struct attention_names {
    const char *prefix;
    const char *q, *k, *v, *o;
    const char *qkv;             /* what the file calls q, k and v in one; NULL: it has three */
    const char *q_norm, *k_norm; /* NULL: none */
    bool bias;                   /* of q, k and v */
    bool o_bias;                 /* of o */
    const char *sinks;           /* one number a head; NULL: none */
} attention_names;

/* A device's scratch: products of a prompt's chunks, and n_row rows over n_key positions. */
size_t weir__attention_floats(const model_shape *s, int64_t chunk, int64_t n_row, int64_t n_key);
size_t weir__cross_floats(const model_shape *s, int64_t chunk); /* of the products that make cross K and V */
weir_status weir__attention_load(weights *w, const model_shape *s, const attention_names *n, weir_use use,
                                 attention *a);
void weir__attention_free(weir_backend *be, attention *a);

/* Two steps, since all keys are appended before any row attends, and rows may be dropped between them: q, k
 * and v of the rows, with biases, norms and rotation, and k and v into the cache; attention and output. An
 * encoder, whose chunks share a cache, goes without one (c.kv NULL) and appends on its own. */
weir_status weir__attention_qkv(weir_model *m, const attention *a, const attention_kind *kind,
                                attention_cache c, const model_rows *r);
weir_status weir__attention_append(weir_model *m, const attention *a, attention_cache c, const model_rows *r);
weir_status weir__attention_output(weir_model *m, const attention *a, const attention_kind *kind,
                                   attention_cache c, const model_rows *r);

/* ---- cross attention: keys and values come from the encoder's output ---- */

typedef struct cross_attention {
    const float *norm, *post; /* (dim) before q, and after o (NULL: none); the family loads them */
    weir_weight q;            /* (inner, dim) */
    weir_weight kv[2];        /* (2 * inner_kv, dim of the encoder): k, v stacked where their dtypes agree;
                                 prompts only, of all heads on every rank */
    int n_kv;
    weir_weight o; /* (dim, inner) */
    attention_heads heads;
} cross_attention;

weir_status weir__cross_load(weights *w, const model_shape *s, const attention_names *n, cross_attention *a);
void weir__cross_free(weir_backend *be, cross_attention *a);
/* K and V of a prompt's rows; norm: the encoder's last. */
weir_status weir__cross_append(weir_model *m, const cross_attention *a, const float *norm, attention_cache c,
                               const model_rows *r);
weir_status weir__cross_output(weir_model *m, const cross_attention *a, const attention_kind *kind,
                               attention_cache c, const model_rows *r);

#endif /* WEIR_MODELS_PARTS_ATTENTION_H */
