#ifndef WEIR_MODELS_IMPL_H
#define WEIR_MODELS_IMPL_H

#include "models/arena.h"
#include "models/model.h"
#include "models/weights.h"

/* What a model family fills in; seen by models/ only. A family's struct starts with weir_model, so that the
 * public calls dispatch without knowing it. Arguments have been checked against the bounds below. */
typedef struct weir_model_ops {
    const char *name; /* of the family, for messages */
    /* Walks all tensors and fills in the facts that only the family knows: layers, windows, dtype. Without
     * layers it measures. */
    weir_status (*load)(weir_model *m, weights *w);
    weir_status (*alloc_layers)(weir_model *m);
    void (*free_layers)(weir_model *m); /* half-built ones too */
    weir_status (*prefill)(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n,
                           int32_t place, int64_t from, int64_t upto);
    /* The two steps of a decoder layer: K and V of the rows into its cache; what comes after. */
    weir_status (*append)(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
    weir_status (*rest)(weir_model *m, const weir_kv *kv, const model_rows *r, int32_t layer);
} weir_model_ops;

/* Both ends of a model: x = embed_scale * embed[token], and logits = cap(scale * out·norm(x)). */
typedef struct model_head {
    weir_weight embed;      /* (n_vocab_rows, dim) */
    weir_weight untied;     /* (n_vocab_rows, dim); data NULL when tied */
    const weir_weight *out; /* the one of the two that makes logits */
    const float *norm;      /* (dim); the family loads it */
    float embed_scale, scale;
    float softcap; /* 0: none */
} model_head;

struct weir_model {
    const weir_model_ops *ops;
    weir_backend *be; /* NULL: a model that is only measured */
    weir_model_facts facts;
    model_shape shape;
    uint32_t has_heads, has_ff, has_shared_ff; /* bit r: rank r has some of them */
    int64_t first_id[WEIR_RANKS + 1];          /* of each rank's share of the vocabulary, */
    int64_t first_expert[WEIR_RANKS + 1];      /* and of experts */
    uint32_t n_reduced;                        /* partial sums so far: which half of the arena's is next */
    weir_model_lead lead;
    float eps;         /* of its norms */
    float residual;    /* what a sub-layer's output is multiplied by before it is added; 0 = 1 */
    weir_epilogue act; /* of its feed-forward */
    model_head head;
    int64_t n_row, n_prompt; /* largest call and prompt, fixed at create */
    float *vectors;          /* backend: the block of all norms, biases and tables */
    void *memory;            /* backend: the arena's */
    int32_t *stage;          /* host: what becomes a.prompt; that very array on the CPU */
    model_arena a;
};

/* A number of a config, and its bounds, both included. */
typedef struct model_bound {
    const char *what;
    int64_t v, lo, hi;
} model_bound;

/* EINVAL: names the first of n that is out of bounds. family: "t5". */
weir_status weir__check_bounds(const char *family, const model_bound *b, size_t n, weir_err *err);

/* create.c: the life of a model of any family. m: initialised, from weir_calloc; freed on failure. */
weir_status weir__model_create(weir_model *m, const weir_tensor_source *src, weir_err *err);

/* What the walk says: src and dtype as in struct weights; m's shape has the place. m has no layers. */
weir_status weir__model_measure(weir_model *m, const weir_tensor_source *src, weir_dtype dtype,
                                weir_model_facts *out, weir_err *err);

/* The names of the walk. m as there. */
weir_status weir__model_tensors(weir_model *m, weir_tensor_visit visit, void *ud);

/* Of a rank's backend. */
static inline weir_place weir__place_of(const weir_backend *be, bool whole_body) {
    return (weir_place){.device = be->device,
                        .whole_body = whole_body,
                        .rank = weir__comm_rank(be->comm),
                        .n_rank = weir__comm_ranks(be->comm)};
}

/* n_rank 0 is 1. */
static inline model_shape weir__shape_at(model_shape s, weir_place place) {
    s.place = place;
    if (s.place.n_rank == 0) s.place.n_rank = 1;
    return s;
}

/* Of a model that was measured there. */
static inline model_shape weir__shape_of_facts(model_shape s, weir_place place, const weir_model_facts *f) {
    s.place = place, s.own = f->share, s.ordered = f->ordered;
    return s;
}

weir_status weir__backend_no_memory(const weir_backend *be); /* the status of a failed weir__backend_alloc */

/* stack.c: rows through the decoder's layers, by the two steps of ops. */
weir_status weir__stack_forward(weir_model *m, const weir_kv *kv, const weir_batch *b);
/* ops->prefill of decoder-only families: a chunk at a time, counted from position 0, each through all layers
 * before the next. The result depends on nothing else, and needs room for one chunk. */
weir_status weir__stack_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                int64_t n, int32_t place, int64_t from, int64_t upto);

#endif /* WEIR_MODELS_IMPL_H */
