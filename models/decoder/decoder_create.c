/* A decoder's memory: what create takes, in which order, and how it is given back. */
#include "kernels/base/mem.h"
#include "models/decoder/decoder.h"
#include "models/parts/product.h"

/* ---- what may be asked for ----------------------------------------------------------------------------- */

/* Bounds far above any decoder, so that no product below overflows; positions below 2^20 keep rotary angles
 * exact. */
static weir_status check_sizes(const weir_decoder_config *c, int64_t n_row, int64_t n_prompt, weir_err *err) {
    const model_bound bound[] = {
        {"hidden_size", c->dim, 1, 1 << 20},
        {"head_dim", c->head_dim, 1, WEIR_ROPE_DIMS},
        {"num_attention_heads", c->n_head, 1, 1 << 14},
        {"num_key_value_heads", c->n_head_kv, 1, c->n_head},
        {"intermediate_size", c->ff_dim, 1, 1 << 22},
        {"num_hidden_layers", c->n_layer, 1, WEIR_DECODER_LAYERS},
        {"vocab_size", c->n_vocab_rows, 1, 1 << 24},
        {"sliding_window", c->window, 0, 1 << 30},
        {"rows a call", n_row, 1, 1 << 20},
        {"prompt length", n_prompt, 1, 1 << 20},
        {"act", (int64_t)c->act, WEIR_ACT_RELU, WEIR_ACT_SILU},
    };
    WEIR_TRY(weir__check_bounds("decoder", bound, sizeof bound / sizeof *bound, err));
    if (c->n_head % c->n_head_kv == 0) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "decoder config: %d query heads do not divide among %d of keys",
                     (int)c->n_head, (int)c->n_head_kv);
}

/* Numbers that only have to be sane: NaN is not. */
static weir_status check_numbers(const weir_decoder_config *c, weir_err *err) {
    const struct {
        const char *what;
        float v;
        bool zero; /* allowed */
    } number[] = {
        {"rms_norm_eps", c->eps, true},
        {"embedding scale", c->embed_scale, false},
        {"attention scale", c->attention_scale, false},
        {"residual scale", c->residual_scale, true},
        {"logit scale", c->logit_scale, true},
        {"attn_logit_softcapping", c->attention_softcap, true},
        {"final_logit_softcapping", c->final_softcap, true},
    };
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        const float v = number[i].v;
        if ((v > 0.0f || (number[i].zero && v >= 0.0f)) && v < 1e30f) continue;
        return weir_fail(err, WEIR_EINVAL, "decoder config: %s is %g, want %s", number[i].what, (double)v,
                         number[i].zero ? "0 or more" : "above 0");
    }
    for (int i = 0; i < c->n_layer; i++) {
        if (c->sliding[i] && c->window == 0) {
            return weir_fail(err, WEIR_EINVAL, "decoder config: layer %d slides, but sliding_window is 0", i);
        }
    }
    return WEIR_OK;
}

static weir_status check_rope(const weir_rope_config *r, int32_t head_dim, const char *what, weir_err *err) {
    const int32_t n_dim = weir__rope_dims(r, head_dim);
    const bool stretched = r->kind != WEIR_ROPE_DEFAULT, trained = stretched && r->kind != WEIR_ROPE_LINEAR;
    const char *wrong = NULL;
    if ((int)r->kind < 0 || r->kind > WEIR_ROPE_LONGROPE)
        wrong = "its kind is unknown";
    else if (r->n_dim < 0 || n_dim > head_dim || n_dim % 2)
        wrong = "it turns an odd number of dimensions, or more than a head has";
    else if (!(r->theta > 1.0f && r->theta < 1e30f))
        wrong = "rope_theta is not above 1";
    else if (stretched && !(r->factor > 0.0f && r->factor < 1e30f))
        wrong = "factor is not above 0";
    else if (trained && r->n_ctx_original < 1)
        wrong = "original_max_position_embeddings is missing";
    else if (r->kind == WEIR_ROPE_LLAMA3 && !(r->low_freq > 0.0f && r->high_freq > r->low_freq))
        wrong = "low_freq_factor and high_freq_factor do not rise from above 0";
    else if (r->kind == WEIR_ROPE_YARN &&
             !(r->beta_slow > 0.0f && r->beta_fast >= r->beta_slow && r->attention_factor >= 0.0f))
        wrong = "beta_slow and beta_fast do not rise from above 0, or attention_factor is below 0";
    else if (r->kind == WEIR_ROPE_LONGROPE && !(r->attention_factor >= 0.0f && r->n_ctx_original > 1))
        wrong = "attention_factor is below 0, or original_max_position_embeddings is below 2";
    return wrong
               ? weir_fail(err, WEIR_EINVAL, "decoder config: rotary embedding of %s layers: %s", what, wrong)
               : WEIR_OK;
}

/* Whether some layer has no experts. */
static bool has_dense(const weir_decoder_config *c) {
    for (int i = 0; i < c->n_layer; i++) {
        if (c->experts.n == 0 || c->dense[i]) return true;
    }
    return false;
}

bool weir__decoder_slides(const weir_decoder_config *c) {
    for (int i = 0; i < c->n_layer; i++) {
        if (c->sliding[i]) return true;
    }
    return false;
}

static weir_status check_experts(const weir_decoder_config *c, weir_err *err) {
    const weir_expert_config *e = &c->experts;
    const model_bound bound[] = {
        {"num_experts", e->n, 0, WEIR_EXPERTS},
        {"num_experts_per_tok", e->n_used, 1, e->n < WEIR_EXPERTS_USED ? e->n : WEIR_EXPERTS_USED},
        {"moe_intermediate_size", e->ff_dim, 1, 1 << 22},
        {"shared_expert_intermediate_size", e->shared_ff, 0, 1 << 22},
        {"expert names", (int64_t)e->names, WEIR_EXPERTS_MLP, WEIR_EXPERTS_ROUTER},
    };
    WEIR_TRY(weir__check_bounds("decoder", bound, e->n == 0 ? 1 : sizeof bound / sizeof *bound, err));
    if (e->n == 0) return WEIR_OK;
    if (c->post_norms || c->residual_scale > 0.0f)
        return weir_fail(err, WEIR_EINVAL, "decoder config: experts with a norm or a scale after them");
    if (e->biased &&
        (e->names < WEIR_EXPERTS_STACKED || e->shared_ff > 0 || !(e->limit > 0.0f && e->limit < 1e30f)))
        return weir_fail(
            err, WEIR_EINVAL,
            "decoder config: experts with biases that are not stacked, share one, or have no limit");
    return WEIR_OK;
}

/* Choices that no family has together. */
static weir_status check_choices(const weir_decoder_config *c, weir_err *err) {
    const char *wrong = NULL;
    if (c->no_pre_norms && !c->post_norms)
        wrong = "no norm before a sub-layer, and none after it";
    else if (c->qk_norm_whole && (!c->qk_norm || c->qkv_bias))
        wrong = "norms over all heads of q and k without qk_norm, or with biases";
    else if (c->residual_scale > 0.0f && c->post_norms)
        wrong = "a residual scale after a norm";
    else if (c->o_bias && (c->residual_scale > 0.0f || c->post_norms))
        wrong = "a norm or a scale after a bias of o";
    return wrong ? weir_fail(err, WEIR_EINVAL, "decoder config: %s", wrong) : WEIR_OK;
}

weir_status weir__decoder_check(const weir_decoder_config *c, weir_place place, int64_t n_row,
                                int64_t n_prompt, weir_err *err) {
    WEIR_TRY(check_sizes(c, n_row, n_prompt, err));
    WEIR_TRY(check_numbers(c, err));
    WEIR_TRY(check_choices(c, err));
    WEIR_TRY(check_experts(c, err));
    WEIR_TRY(check_rope(&c->rope, c->head_dim, "global", err));
    if (weir__decoder_slides(c)) WEIR_TRY(check_rope(&c->rope_sliding, c->head_dim, "sliding", err));
    if (!place.device || c->head_dim <= WEIR_ATTENTION_CUDA_DIMS) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "decoder config: head_dim is %d, devices serve up to %d",
                     (int)c->head_dim, WEIR_ATTENTION_CUDA_DIMS);
}

/* ---- create -------------------------------------------------------------------------------------------- */

static weir_status alloc_layers(weir_model *base) {
    decoder_model *m = (decoder_model *)base;
    m->layer = weir_calloc((size_t)m->c.n_layer, sizeof *m->layer);
    return m->layer ? WEIR_OK : WEIR_ENOMEM;
}

static void free_layers(weir_model *base) {
    decoder_model *m = (decoder_model *)base;
    for (int i = 0; m->layer && i < m->c.n_layer; i++) {
        weir__attention_free(base->be, &m->layer[i].att);
        weir__feed_forward_free(base->be, &m->layer[i].ff);
        weir__experts_free(base->be, &m->layer[i].experts);
    }
    weir_free(m->layer);
}

static const weir_model_ops decoder_ops = {.name = "decoder",
                                           .load = weir__decoder_load,
                                           .alloc_layers = alloc_layers,
                                           .free_layers = free_layers,
                                           .prefill = weir__stack_prefill,
                                           .append = weir__decoder_append,
                                           .rest = weir__decoder_rest};

static model_shape shape_of(const weir_decoder_config *c) {
    const weir_expert_config *e = &c->experts;
    return (model_shape){.dim = c->dim,
                         .ff_dim = c->ff_dim,
                         .n_head = c->n_head,
                         .n_head_kv = c->n_head_kv,
                         .head_dim = c->head_dim,
                         .n_vocab_rows = c->n_vocab_rows,
                         .gated = true,
                         .post_norms = c->post_norms,
                         .norm_all_heads = c->qk_norm_whole,
                         .dense = has_dense(c),
                         .n_expert = e->n,
                         .n_used = e->n > 0 ? e->n_used : 0,
                         .expert_ff = e->n > 0 ? e->ff_dim : 0,
                         .shared_ff = e->n > 0 ? e->shared_ff : 0,
                         .biased = e->n > 0 && e->biased};
}

weir_bytes weir__decoder_scratch_bytes(const weir_decoder_config *c, const weir_backend *be,
                                       const weir_model_facts *f, weir_place place, int64_t n_row,
                                       int64_t n_prompt) {
    const model_shape s = weir__shape_of_facts(shape_of(c), place, f);
    return weir__scratch_bytes(&s, be, f->kv_dtype, n_row, n_prompt);
}

size_t weir__decoder_op_floats(const weir_decoder_config *c, const weir_backend *be, int64_t n_row,
                               int64_t n_key) {
    const model_shape s = shape_of(c);
    return weir__op_floats(&s, be, n_row, n_key);
}

/* The frequencies come with the weights. */
static attention_kind kind_of(const weir_decoder_config *c, const weir_rope_config *rope, int32_t window) {
    return (attention_kind){.scale = c->attention_scale,
                            .softcap = c->attention_softcap,
                            .window = window,
                            .n_dim = weir__rope_dims(rope, c->head_dim),
                            .interleaved = rope->interleaved};
}

void weir__decoder_kinds(weir_decoder_config *c, attention_kind kind[4]) {
    if (!weir__decoder_slides(c)) c->rope_sliding = c->rope; /* used by no layer: a table all the same */
    kind[0] = kind_of(c, &c->rope, 0);
    kind[1] = kind_of(c, &c->rope_sliding, c->window);
}

static decoder_model model_of(const weir_decoder_config *c, weir_backend *be, weir_place place, int64_t n_row,
                              int64_t n_prompt) {
    decoder_model m = {.base = {.ops = &decoder_ops,
                                .be = be,
                                .shape = weir__shape_at(shape_of(c), place),
                                .eps = c->eps,
                                .act = weir__epilogue_of(c->act),
                                .residual = c->residual_scale,
                                .head = {.embed_scale = c->embed_scale,
                                         .scale = c->logit_scale,
                                         .softcap = c->final_softcap},
                                .n_row = n_row,
                                .n_prompt = n_prompt},
                       .c = *c};
    weir__decoder_kinds(&m.c, m.kind);
    return m;
}

weir_status weir__decoder_tensors(const weir_decoder_config *c, weir_tensor_visit visit, void *ud) {
    decoder_model m = model_of(c, NULL, (weir_place){0}, 1, 1);
    return weir__model_tensors(&m.base, visit, ud);
}

weir_status weir__decoder_measure(const weir_decoder_config *c, const weir_tensor_source *src,
                                  weir_place place, weir_model_facts *out, weir_err *err) {
    if (!c || !src || !src->find || !out) return weir_fail(err, WEIR_EINVAL, "decoder: NULL argument");
    WEIR_TRY(weir__decoder_check(c, place, 1, 1, err));
    decoder_model m = model_of(c, NULL, place, 1, 1);
    return weir__model_measure(&m.base, src, WEIR_DTYPE_F32, out, err);
}

weir_status weir__decoder_create(weir_model **out, weir_backend *be, const weir_decoder_config *c,
                                 const weir_tensor_source *src, bool whole_body, int64_t n_row,
                                 int64_t n_prompt, weir_err *err) {
    if (!out || !be || !c || !src || !src->find) return weir_fail(err, WEIR_EINVAL, "decoder: NULL argument");
    const weir_place place = weir__place_of(be, whole_body);
    WEIR_TRY(weir__decoder_check(c, place, n_row, n_prompt, err));
    decoder_model *m = weir_calloc(1, sizeof *m);
    if (!m) return weir_fail(err, WEIR_ENOMEM, "decoder: out of host memory");
    *m = model_of(c, be, place, n_row, n_prompt);
    WEIR_TRY(weir__model_create(&m->base, src, err));
    *out = &m->base;
    return WEIR_OK;
}
