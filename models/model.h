#ifndef WEIR_MODELS_MODEL_H
#define WEIR_MODELS_MODEL_H

#include "kernels/backend.h"

/* The vocabulary of this layer: a model is weights on a backend plus the order of its ops. It knows no file
 * format (tensors come by name from a weir_tensor_source) and no request (rows come in a weir_batch). */

/* Finds a tensor by its Hugging Face name. Returns false if there is none. Data stays valid while
 * the source lives; a model copies what it needs. */
typedef struct weir_tensor_source {
    bool (*find)(void *ud, const char *name, weir_tensor *out);
    void (*release)(void *ud, const char *name); /* its bytes are not needed again; may be NULL */
    /* Of a tensor that find gives without data: its bytes, made when a model loads it, until release. NULL:
     * no memory. May be NULL: find gives the data of all. */
    const void *(*data)(void *ud, const char *name);
    void *ud;
    weir_dtype quantise; /* what float matrices of products become as a model loads (kernels/weight/
                            quantise.h); a float dtype: they stay as they are */
} weir_tensor_source;

/* Where a model runs, and which of n_rank shares of it (1, 2, 4, 8; 0 stands for 1, the whole). */
typedef struct weir_place {
    bool device;
    bool whole_body; /* all layers on every rank: of a group, only the vocabulary is shared out */
    int32_t rank, n_rank;
} weir_place;

/* A rank's share of a model (share.c). Of an encoder-decoder the encoder and the products that make cross
 * keys are whole on every rank. */
typedef struct weir_share {
    int32_t head, n_head;           /* its first query head of decoder layers, and how many */
    int32_t head_kv, n_head_kv;     /* the KV heads that these read: other ranks may have some of them too */
    int64_t ff, n_ff;               /* columns of the feed-forward */
    int32_t expert, n_expert;       /* experts of each layer that mixes */
    int64_t shared_ff, n_shared_ff; /* columns of their shared one */
    int64_t id, n_id;               /* rows of the embedding and of the head */
} weir_share;

typedef enum weir_act { WEIR_ACT_RELU, WEIR_ACT_GELU_TANH, WEIR_ACT_GELU_ERF, WEIR_ACT_SILU } weir_act;

typedef struct weir_t5_config {
    int32_t dim;      /* d_model */
    int32_t head_dim; /* d_kv, any */
    int32_t n_head;
    int32_t ff_dim; /* d_ff */
    int32_t n_enc_layer, n_dec_layer;
    int32_t n_vocab_rows;           /* rows of embedding and head, padding included */
    int32_t n_bucket, max_distance; /* relative position buckets */
    float eps;
    weir_act act;
    bool gated;      /* wi_0, wi_1 (v1.1) instead of wi */
    bool layer_bias; /* every layer has a position bias of its own (UMT5), not the first for all */
    bool tied;       /* head = embedding, logits scaled by dim^-0.5 (original T5) */
} weir_t5_config;

/* How rotary embeddings stretch beyond the trained context; names and formulas as in transformers'
 * modeling_rope_utils. */
typedef enum weir_rope_kind {
    WEIR_ROPE_DEFAULT,
    WEIR_ROPE_LINEAR,
    WEIR_ROPE_LLAMA3,
    WEIR_ROPE_YARN,
    WEIR_ROPE_LONGROPE /* arXiv 2402.13753: each frequency has a divisor of its own, in the tensors
                          rope_factors_short.weight and rope_factors_long.weight (n_dim / 2) */
} weir_rope_kind;

typedef struct weir_rope_config {
    weir_rope_kind kind;
    float theta;                /* base of the frequencies */
    float factor;               /* linear, llama3, yarn, longrope: how far it is stretched; 1 = not */
    float low_freq, high_freq;  /* llama3 */
    float beta_fast, beta_slow; /* yarn: 32, 1 */
    float attention_factor;     /* yarn, longrope: what cos and sin are multiplied by; 0 = of yarn 0.1
                                   ln(factor) + 1, of longrope sqrt(1 + ln(factor) / ln(n_ctx_original)) */
    int32_t n_ctx_original;     /* llama3, yarn, longrope: the trained context */
    int32_t n_dim;              /* leading elements of a head that turn; 0 = head_dim */
    bool untruncated;           /* yarn: its ramp does not begin and end at whole dimensions (gpt-oss) */
    bool interleaved;           /* pairs (2 i, 2 i + 1), as GGUF's llama rows are stored; else (i, i + n_dim /
                                   2) */
} weir_rope_config;

/* Elements of a head that turn. */
static inline int32_t weir__rope_dims(const weir_rope_config *r, int32_t head_dim) {
    return r->n_dim > 0 ? r->n_dim : head_dim;
}

enum { WEIR_DECODER_LAYERS = 256 }; /* most that a decoder may have */

/* What a file calls the matrices of a layer's experts (all after "model.layers.N."). */
typedef enum weir_expert_names {
    WEIR_EXPERTS_MLP,     /* mlp.gate, mlp.experts.E.gate_proj, …up_proj, …down_proj (Qwen2 and 3) */
    WEIR_EXPERTS_SPARSE,  /* block_sparse_moe.gate, block_sparse_moe.experts.E.w1, …w3, …w2 (Mixtral) */
    WEIR_EXPERTS_STACKED, /* mlp.gate, mlp.experts.gate_proj, …: all experts are one tensor (GGUF) */
    WEIR_EXPERTS_ROUTER,  /* the same with mlp.router for mlp.gate (gpt-oss) */
} weir_expert_names;

/* Mixtures of experts: a layer's feed-forward is the weighted sum of a few of many. */
typedef struct weir_expert_config {
    int32_t n;         /* of a layer; 0: there are none */
    int32_t n_used;    /* by a row */
    int32_t ff_dim;    /* of each */
    int32_t shared_ff; /* of the one that all rows use too, weighted by the sigmoid of its gate; 0: none */
    bool normed;       /* a row's weights add up to 1; else they are shares of the softmax over all experts */
    bool biased;       /* the router and every expert's matrices have biases (".bias" for ".weight"), and a
                          clamped unit stands in the activation's place (kernels/moe/glu.h; gpt-oss) */
    float limit;       /* of that unit */
    weir_expert_names names;
} weir_expert_config;

/* A decoder-only family is a table of choices: Llama, Mistral, Mixtral, Qwen2, Qwen3 and their mixtures of
 * experts, gpt-oss, Gemma 2, Gemma 3, Phi-3, OLMo 2, Granite 3, SmolLM3. */
typedef struct weir_decoder_config {
    int32_t dim, ff_dim, head_dim, n_head, n_head_kv, n_layer;
    int32_t n_vocab_rows; /* rows of embedding and head, padding included */
    float eps;
    weir_act act;          /* of the gated feed-forward: silu or gelu_tanh */
    bool norm_one_plus;    /* norms multiply by 1 + w (Gemma's safetensors; GGUF files hold the sum) */
    bool post_norms;       /* norms after attention and feed-forward, before the residual (Gemma) */
    bool no_pre_norms;     /* those are the only ones (OLMo 2) */
    bool qk_norm;          /* RMSNorm of every head of q and k, before they turn (Qwen3, Gemma 3) */
    bool qk_norm_whole;    /* with it: of all heads of q together, and of all of k (OLMo 2) */
    bool qkv_bias;         /* Qwen2, gpt-oss */
    bool o_bias;           /* gpt-oss */
    bool sinks;            /* a number of each head in its softmax (kernels/attention/attention.h; gpt-oss) */
    bool fused;            /* the file holds q, k and v as one matrix, gate and up as another (Phi-3) */
    bool tied;             /* head = embedding */
    float embed_scale;     /* of looked-up rows: 1, sqrt(dim) (Gemma), or any (Granite) */
    float attention_scale; /* of q·k: head_dim^-0.5, query_pre_attn_scalar^-0.5 (Gemma), or any (Granite) */
    float residual_scale;  /* of what a sub-layer adds (Granite); 0 = 1 */
    float logit_scale;     /* Granite; 0 = 1 */
    float attention_softcap, final_softcap; /* Gemma 2; 0 = none */
    int32_t window; /* positions that a sliding layer sees, its own counted; 0 = no layer slides */
    bool sliding[WEIR_DECODER_LAYERS];
    bool no_rope[WEIR_DECODER_LAYERS];   /* layers without positions (SmolLM3; arXiv 2501.18795) */
    weir_rope_config rope, rope_sliding; /* of global and of sliding layers */
    weir_expert_config experts;
    bool dense[WEIR_DECODER_LAYERS]; /* layers that have a feed-forward of ff_dim instead of experts */
    int32_t n_ctx_train;             /* positions it was trained for; 0 = unknown */
} weir_decoder_config;

/* T5Gemma (arXiv 2504.06225): two stacks of Gemma 2, whose sizes may differ. The encoder sees both ways, in
 * layers that slide as far ahead as back; the decoder's layers have cross attention too, with its heads and
 * scale. Each stack has an embedding; tied: the decoder's is the head. Of enc tied, final_softcap and
 * n_ctx_train are not looked at. */
typedef struct weir_t5gemma_config {
    const weir_decoder_config *enc, *dec; /* borrowed for the call */
} weir_t5gemma_config;

/* Flat rows of one forward call of a decoder. Arrays are backend memory. */
typedef struct weir_batch {
    const int32_t *token; /* (n_row) */
    const int32_t *pos;   /* (n_row) position in the slot's timeline */
    const int32_t *slot;  /* (n_row) index into the page tables; -1: a dead row (kernels/attention/kv.h) */
    int32_t n_row;
    const int32_t *out; /* (n_out) rows whose logits are wanted, rising (checked on the CPU only) */
    int32_t n_out;
    float *logits;       /* (n_out, n_vocab_rows) f32; of a group, only on rank 0 */
    int32_t group;       /* rows r … r + group - 1 share a slot (kernels/attention/attention.h); 0 = 1 */
    weir_minmax *minmax; /* (n_out, weir__minmax_count(minmax_n)) of the logits, where the backend has
                             minmaxes; or NULL */
    int32_t minmax_n;
} weir_batch;

/* Caches of a model's sessions. cross is used by encoder-decoders only. slide: of the layers with a sliding
 * window, in their order; without a pool they lie in self, among the others. */
typedef struct weir_kv {
    weir_kv_view self, cross, slide;
    const int32_t *cross_len; /* (n_slot) source length; backend memory */
} weir_kv;

/* Bytes in the backend's memory and in the host's. On the CPU all of them are `backend`. */
typedef struct weir_bytes {
    size_t backend, host;
} weir_bytes;

typedef struct weir_model weir_model;

enum { WEIR_PROMPTS_OPEN = 4 };

typedef struct weir_model_facts {
    int64_t n_param;
    size_t weight_bytes; /* packed, on the backend */
    size_t decode_bytes; /* of them, what one decoder row with logits reads: of experts those that it uses */
    int32_t n_vocab_rows;
    int32_t n_layer_self, n_head_kv, head_dim; /* decoder self-attention caches; n_head_kv: the share's, 1 at
                                                  least */
    int32_t n_layer_slide, window;             /* of n_layer_self, those with a sliding window, and its
                                                  positions */
    int32_t n_layer_cross;                     /* 0 for decoder-only models */
    int32_t n_pass;                            /* steps of a prompt for each chunk of it */
    int32_t n_open;                            /* prompts that it can be within at once, at most
                                                  WEIR_PROMPTS_OPEN */
    bool encoder_decoder;
    weir_dtype dtype;    /* of the matrices */
    int32_t n_quantised; /* matrices of products that the source wants quantised and that are; and those that
                            stay, for they are blocks already or their rows are no whole blocks */
    int32_t n_left;
    int64_t ordered;     /* inputs of the widest matrix that has them in an order of its own; 0: none has */
    weir_dtype kv_dtype; /* of its caches: bf16 where a device serves bf16 or quantised matrices,
                                     else f32 */
    weir_share share;
    int32_t n_exchange;     /* exchanges that a decoder call's layers make: partial sums, what experts
                               returned; 0 where its body is whole */
    size_t exchange_floats; /* of a row: in the widest of them, dim at least; */
    size_t given_floats;    /* in all, its row of the embedding included */
    size_t embed_floats;    /* of a row of the wider embedding: ranks collect it whole */
} weir_model_facts;

/* The names of all tensors that a model of that config asks for, in the order of its load. `visit` may end
 * the walk with its own status. */
typedef weir_status (*weir_tensor_visit)(void *ud, const char *name);
weir_status weir__t5_tensors(const weir_t5_config *c, weir_tensor_visit visit, void *ud);
weir_status weir__decoder_tensors(const weir_decoder_config *c, weir_tensor_visit visit, void *ud);
weir_status weir__t5gemma_tensors(const weir_t5gemma_config *c, weir_tensor_visit visit, void *ud);

/* What a load would take, from the config and the dtype of its matrices; allocates nothing. */
void weir__t5_facts(const weir_t5_config *c, weir_dtype dtype, weir_place place, weir_model_facts *out);

/* The same from the tensors themselves, each matrix in its own dtype (some checkpoints keep a few in f32);
 * checks every name, shape and dtype as create would. Loads nothing. EINVAL, EFORMAT as in create. */
weir_status weir__t5_measure(const weir_t5_config *c, const weir_tensor_source *src, weir_place place,
                             weir_model_facts *out, weir_err *err);

/* Activations of a model that was measured, for up to n_row rows a decoder call and prompts of n_prompt
 * tokens, and the scratch that its ops ask of the backend (weir__backend_reserve): the memory plan and the
 * model use these functions. Of be only what is known at open is looked at. */
weir_bytes weir__t5_scratch_bytes(const weir_t5_config *c, const weir_backend *be, const weir_model_facts *f,
                                  weir_place place, int64_t n_row, int64_t n_prompt);
size_t weir__t5_op_floats(const weir_t5_config *c, const weir_backend *be, int64_t n_row,
                          int64_t n_key); /* positions of the longest cache; the model itself reserves for
                                            n_prompt */

/* Loads a T5, of a group (weir_backend.comm) the rank's share; body as in weir_place. EFORMAT names the
 * tensor that is missing or has another shape or dtype than expected; ENOMEM; EDEVMEM. n_row, n_prompt: the
 * largest decoder call and prompt it will serve. */
weir_status weir__t5_create(weir_model **out, weir_backend *be, const weir_t5_config *c,
                            const weir_tensor_source *src, bool whole_body, int64_t n_row, int64_t n_prompt,
                            weir_err *err);

/* The same for a decoder. Tensors are asked for by their Hugging Face names
 * ("model.layers.0.self_attn.q_proj.weight"). n_prompt is its context: one that exceeds n_ctx_original has
 * longrope's long divisors, for prompts of any length, since cached keys keep their rotation. */
weir_status weir__decoder_measure(const weir_decoder_config *c, const weir_tensor_source *src,
                                  weir_place place, weir_model_facts *out, weir_err *err);
weir_bytes weir__decoder_scratch_bytes(const weir_decoder_config *c, const weir_backend *be,
                                       const weir_model_facts *f, weir_place place, int64_t n_row,
                                       int64_t n_prompt);
size_t weir__decoder_op_floats(const weir_decoder_config *c, const weir_backend *be, int64_t n_row,
                               int64_t n_key);
weir_status weir__decoder_create(weir_model **out, weir_backend *be, const weir_decoder_config *c,
                                 const weir_tensor_source *src, bool whole_body, int64_t n_row,
                                 int64_t n_prompt, weir_err *err);

/* The same for a T5Gemma ("model.encoder.layers.0.self_attn.q_proj.weight"). EINVAL: a stack that is not of
 * Gemma 2's kind. ENOTSUP: stacks that differ in vocabulary, epsilon or activation. */
weir_status weir__t5gemma_measure(const weir_t5gemma_config *c, const weir_tensor_source *src,
                                  weir_place place, weir_model_facts *out, weir_err *err);
weir_bytes weir__t5gemma_scratch_bytes(const weir_t5gemma_config *c, const weir_backend *be,
                                       const weir_model_facts *f, weir_place place, int64_t n_row,
                                       int64_t n_prompt);
size_t weir__t5gemma_op_floats(const weir_t5gemma_config *c, const weir_backend *be, int64_t n_row,
                               int64_t n_key);
weir_status weir__t5gemma_create(weir_model **out, weir_backend *be, const weir_t5gemma_config *c,
                                 const weir_tensor_source *src, bool whole_body, int64_t n_row,
                                 int64_t n_prompt, weir_err *err);

/* Of a group's rank 0: told of every call, after its checks and before its ops, so that the others make it
 * too; a prompt's steps one by one, between which the interrupt is asked. */
typedef struct weir_model_lead {
    weir_status (*forward)(void *ud, const weir_kv *kv, const weir_batch *b);
    weir_status (*prefill)(void *ud, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n,
                           int32_t place, int64_t step);
    void *ud;
} weir_model_lead;
void weir__model_set_lead(weir_model *m, weir_model_lead lead);

void weir__model_free(weir_model *m); /* NULL allowed */
const weir_model_facts *weir__model_get_facts(const weir_model *m);

/* Prompt of one session: runs the encoder and writes the slot's cross cache (encoder-decoders), or writes
 * positions [0, n) of its self cache, without logits (decoders). token: host, n in [1, n_prompt]; pages for n
 * positions are already in the table. The result depends on the prompt alone. EINVAL: n out of range, token
 * id outside the embedding. ECANCELED: the backend's interrupt said so between two chunks of a layer; the
 * slot's cache is then of no use, and the same call may be made again. */
weir_status weir__model_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                int64_t n);
/* A prompt is read in steps: n_pass of the facts for each chunk of the backend. A decoder's step is a layer
 * of a chunk, chunk by chunk: after n_pass steps the first chunk's positions are in the cache, and so on. An
 * encoder sees both ways: its step is a chunk of a pass, and nothing is done before all is. Steps [from,
 * upto) after those before: the same bits as all at once. Rows may run between two steps, and steps of
 * another prompt in another place, 0 … n_open - 1, which keeps what a chunk, or an encoder's prompt, is
 * within. */
int64_t weir__model_prefill_steps(const weir_model *m, int64_t n); /* of a prompt of n tokens */
weir_status weir__model_prefill_part(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                     int64_t n, int32_t place, int64_t from, int64_t upto);

/* Decoder rows: appends each row's K and V at (slot, pos) and writes the wanted logits.
 * Rows of a slot come in rising position, so that later rows see earlier ones of the same call.
 * n_row <= the create-time bound. A row's logits never depend on the other slots' rows. Issues ops only and
 * reads no backend memory, so that a backend can record it (the CPU checks what it is given). */
weir_status weir__model_forward(weir_model *m, const weir_kv *kv, const weir_batch *b);

#endif /* WEIR_MODELS_MODEL_H */
