#ifndef WEIR_MODELS_ARENA_H
#define WEIR_MODELS_ARENA_H

#include "models/model.h"

/* What every size of a transformer follows from; n_head_kv divides n_head. */
typedef struct model_shape {
    int64_t dim, ff_dim;
    int32_t n_head, n_head_kv, head_dim;
    int64_t n_vocab_rows;
    bool gated;          /* the feed-forward has two matrices in: gate and up */
    bool post_norms;     /* a norm after each sub-layer, before the residual */
    bool norm_all_heads; /* norms of q and of k span all heads: every rank that has some makes all of both */
    bool encoder;        /* prompts go through a stack of their own, of these sizes: */
    struct {
        int64_t dim, ff_dim;
        int32_t n_head, n_head_kv, head_dim;
        int32_t window; /* of its layers that have one; 0: none has */
    } enc;
    bool dense;               /* some layer has a feed-forward that is no mixture of experts */
    int32_t n_expert, n_used; /* of those that are; 0: there is none */
    int64_t expert_ff, shared_ff;
    bool biased;     /* of experts gate and up are apart until they have their biases */
    int64_t ordered; /* inputs of the widest matrix that has them in an order of its own; 0: none has */
    weir_place place;
    weir_share own; /* of this rank; as `ordered` from the walk over the tensors, or from facts */
} model_shape;

/* Whether partial sums of decoder layers are added over ranks. */
static inline bool weir__body_is_shared(const model_shape *s) {
    return s->place.n_rank > 1 && !s->place.whole_body;
}

/* Words a vector takes in a block: whole 64 bytes. */
static inline int64_t weir__stride(int64_t n) { return (n + 15) / 16 * 16; }

/* Outputs of q, of k (and of v), and of all three: inner need not be dim. */
static inline int64_t weir__inner(const model_shape *s) { return (int64_t)s->n_head * s->head_dim; }
static inline int64_t weir__inner_kv(const model_shape *s) { return (int64_t)s->n_head_kv * s->head_dim; }
static inline int64_t weir__width(const model_shape *s) { return weir__inner(s) + 2 * weir__inner_kv(s); }

/* The encoder's, which is whole on every rank, as a shape. */
static inline model_shape weir__encoder_shape(const model_shape *s) {
    model_shape e = *s;
    e.dim = s->enc.dim, e.ff_dim = s->enc.ff_dim;
    e.n_head = s->enc.n_head, e.n_head_kv = s->enc.n_head_kv, e.head_dim = s->enc.head_dim;
    e.own = (weir_share){
        .n_head = e.n_head, .n_head_kv = e.n_head_kv, .n_ff = e.ff_dim, .id = s->own.id, .n_id = s->own.n_id};
    return e;
}

/* The same of this rank's decoder layers. */
static inline int64_t weir__own_inner(const model_shape *s) { return (int64_t)s->own.n_head * s->head_dim; }
static inline int64_t weir__own_width(const model_shape *s) {
    const int64_t kv = (int64_t)s->own.n_head_kv * s->head_dim;
    return s->norm_all_heads ? weir__inner(s) + weir__inner_kv(s) + kv : weir__own_inner(s) + 2 * kv;
}

/* Where this rank's q begins in such a row. */
static inline int64_t weir__own_q_at(const model_shape *s) {
    return s->norm_all_heads ? (int64_t)s->own.head * s->head_dim : 0;
}

/* Activations of one call, all in one block of backend memory; 0 elements: NULL. C = max(n_row, chunk) rows
 * with the backend's chunk of positions: a prompt goes through a chunk at a time. Prefill and forward share
 * it, but for what a prompt holds from step to step, between which rows may run. */
typedef struct model_arena {
    float *x;          /* (n_row, dim) residual stream */
    float *qkv;        /* (C, own width); with an encoder (n_row, own width) */
    float *prompt_x;   /* (WEIR_PROMPTS_OPEN, chunk, dim) of prompts; an encoder's (n_prompt, enc.dim) of one,
                          since keys of later chunks are read by earlier rows */
    float *prompt_qkv; /* encoder: (n_prompt, its width) */
    float *att;        /* (C, own inner) attention output; an encoder's too */
    float *h;          /* (C, own n_ff) feed-forward; an encoder's too, and cross K and V; of experts
                          (C * n_used, expert_ff; biased: twice that) and (C, own n_shared_ff) */
    float *sub;        /* (C, dim) output of a sub-layer before the norm after it; an encoder's too */
    float *x_out;      /* (n_row, dim) of the rows whose logits are wanted */
    float *q_out;      /* (n_row, own inner) */
    float *router;     /* (C, n_expert) logits of experts */
    float *entry;      /* (C * n_used, dim) rows by expert, then what the experts returned */
    float *shared;     /* (C, dim) what the shared expert returned */
    float *shared_gate;                                /* (C) */
    float *expert_weight;                              /* (C, n_used) */
    int32_t *expert, *expert_place;                    /* (C, n_used) kernels/moe/route.h */
    int32_t *expert_begin, *expert_row, *expert_owner; /* (n_expert + 1), (C * n_used) twice */
    float *ordered;      /* (C, the shape's ordered) rows as the matrix of a product has its inputs, */
    float *ordered_norm; /* (the shape's ordered) and its norm's factors */
    float *part;         /* (2, C, dim) partial sums, in turn: the others may still read the last ones */
    float *logits;       /* (n_row, n_id) of ranks that give theirs to rank 0 */
    void *pool;          /* encoder: pages of n_prompt positions, one layer, used by every layer in turn */
    int32_t *prompt;     /* (2, n_prompt) tokens, slots; encoder: (3, n_prompt), key counts too; with a window
                          (4, n_prompt), those under it */
    int32_t *iota; /* (n_prompt + 1) 0, 1, 2, ...: positions, from 1 on their keys; the pool's page table */
    int32_t *zero; /* (n_prompt) the encoder's one slot */
    int32_t *n_key, *n_src;                          /* (n_row) keys of self and cross attention */
    int32_t *out_slot, *out_pos, *out_key, *out_src; /* (n_row) of the wanted rows */
    size_t bytes;                                    /* of the block */
} model_arena;

/* The largest call and prompt, the backend's chunk, and the dtype of pages. */
typedef struct arena_bounds {
    int64_t n_row, n_prompt, chunk;
    weir_dtype kv_dtype;
} arena_bounds;

/* base may be NULL: then only a->bytes is of use. */
void weir__model_arena_place(const model_shape *s, const arena_bounds *b, void *base, model_arena *a);

/* Integers of the host's copy of a prompt, and of the arena's iota. */
int64_t weir__stage_ints(const model_shape *s, int64_t n_prompt);
int64_t weir__iota_ints(const model_shape *s, int64_t n_prompt);

/* plan.c: what the arena takes, and the scratch that ops ask for, as in model.h. */
weir_bytes weir__scratch_bytes(const model_shape *s, const weir_backend *be, weir_dtype kv_dtype,
                               int64_t n_row, int64_t n_prompt);
size_t weir__op_floats(const model_shape *s, const weir_backend *be, int64_t n_row, int64_t n_key);

/* ---- rows in flight ---- */

/* The rows of a call, or of a chunk of a prompt, on their way through the layers. */
typedef struct model_rows {
    int64_t n;
    float *x;    /* (n, dim) */
    int64_t dim; /* of the stack that they go through */
    float *q; /* (n, own inner) queries, row stride ldq; until rows are dropped they are in rows of all that
                 products make of q, K and V, from weir__own_q_at on */
    int64_t ldq;
    const int32_t *slot, *pos, *n_key, *n_src; /* (n); n_src: encoder-decoders */
    int32_t group;                             /* kernels/attention/attention.h */
    bool prefill;
} model_rows;

#endif /* WEIR_MODELS_ARENA_H */
