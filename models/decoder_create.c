/* A decoder's memory: what create takes, in which order, and how it is given back. */
#include <inttypes.h>

#include "kernels/base/mem.h"
#include "models/decoder.h"

static void free_decoder(weir_model *base) {
    decoder_model *m = (decoder_model *)base;
    weir_backend *be = base->be;
    for (int i = 0; m->layer && i < m->c.n_layer; i++) {
        decoder_layer *l = &m->layer[i];
        weir_weight *w[] = {&l->qkv[0], &l->qkv[1], &l->qkv[2], &l->o, &l->gate_up[0], &l->gate_up[1], &l->down};
        for (size_t k = 0; k < sizeof w / sizeof *w; k++) weir_weight_free(be, w[k]);
    }
    weir_weight_free(be, &m->embed);
    weir_weight_free(be, &m->untied_head);
    if (m->vectors) weir_backend_free(be, m->vectors);
    if (m->stage != m->a.prompt) weir_free(m->stage);
    if (m->block) weir_backend_free(be, m->block);
    weir_free(m->layer);
    weir_free(m);
}

static const weir_model_ops decoder_ops = {weir__decoder_prefill, weir__decoder_forward, free_decoder};

/* ---- what may be asked for ------------------------------------------------------------------------------- */

/* Bounds far above any decoder, so that no product below overflows; positions below 2^20 keep rotary angles exact. */
static weir_status check_sizes(const weir_decoder_config *c, int64_t n_row, int64_t n_prompt, weir_err *err) {
    const struct {
        const char *what;
        int64_t v, lo, hi;
    } bound[] = {
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
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
        if (bound[i].v >= bound[i].lo && bound[i].v <= bound[i].hi) continue;
        return weir_fail(err, WEIR_EINVAL, "decoder config: %s is %" PRId64 ", want %" PRId64 " to %" PRId64,
                         bound[i].what, bound[i].v, bound[i].lo, bound[i].hi);
    }
    if (c->n_head % c->n_head_kv == 0) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "decoder config: %d query heads do not divide among %d of keys", (int)c->n_head,
                     (int)c->n_head_kv);
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
    const bool stretched = r->kind != WEIR_ROPE_DEFAULT, trained = r->kind == WEIR_ROPE_LLAMA3 || r->kind == WEIR_ROPE_YARN;
    const char *wrong = NULL;
    if ((int)r->kind < 0 || r->kind > WEIR_ROPE_YARN) wrong = "its kind is unknown";
    else if (r->n_dim < 0 || n_dim > head_dim || n_dim % 2) wrong = "it turns an odd number of dimensions, or more than a head has";
    else if (!(r->theta > 1.0f && r->theta < 1e30f)) wrong = "rope_theta is not above 1";
    else if (stretched && !(r->factor > 0.0f && r->factor < 1e30f)) wrong = "factor is not above 0";
    else if (trained && r->n_ctx_original < 1) wrong = "original_max_position_embeddings is missing";
    else if (r->kind == WEIR_ROPE_LLAMA3 && !(r->low_freq > 0.0f && r->high_freq > r->low_freq))
        wrong = "low_freq_factor and high_freq_factor do not rise from above 0";
    else if (r->kind == WEIR_ROPE_YARN && !(r->beta_slow > 0.0f && r->beta_fast >= r->beta_slow && r->attention_factor >= 0.0f))
        wrong = "beta_slow and beta_fast do not rise from above 0, or attention_factor is below 0";
    return wrong ? weir_fail(err, WEIR_EINVAL, "decoder config: rotary embedding of %s layers: %s", what, wrong) : WEIR_OK;
}

static bool has_sliding(const weir_decoder_config *c) {
    for (int i = 0; i < c->n_layer; i++) {
        if (c->sliding[i]) return true;
    }
    return false;
}

static weir_status check_config(const weir_decoder_config *c, bool device, int64_t n_row, int64_t n_prompt, weir_err *err) {
    WEIR_TRY(check_sizes(c, n_row, n_prompt, err));
    WEIR_TRY(check_numbers(c, err));
    WEIR_TRY(check_rope(&c->rope, c->head_dim, "global", err));
    if (has_sliding(c)) WEIR_TRY(check_rope(&c->rope_sliding, c->head_dim, "sliding", err));
    if (!device || c->head_dim <= WEIR_ATTENTION_CUDA_DIMS) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "decoder config: head_dim is %d, devices serve up to %d", (int)c->head_dim,
                     WEIR_ATTENTION_CUDA_DIMS);
}

/* ---- create ---------------------------------------------------------------------------------------------- */

static weir_epilogue epilogue_of(weir_act act) {
    switch (act) {
    case WEIR_ACT_RELU: return WEIR_EPI_RELU;
    case WEIR_ACT_GELU_TANH: return WEIR_EPI_GELU_TANH;
    case WEIR_ACT_GELU_ERF: return WEIR_EPI_GELU_ERF;
    case WEIR_ACT_SILU: return WEIR_EPI_SILU;
    }
    return WEIR_EPI_STORE;
}

static weir_status no_memory(const weir_backend *be) { return be->device ? WEIR_EDEVMEM : WEIR_ENOMEM; }

/* Activations, what never changes in them, the place where a prompt's rows are made, and the ops' scratch. */
static weir_status alloc_arena(decoder_model *m) {
    weir_backend *be = m->base.be;
    const decoder_bounds n = {m->base.n_row, m->base.n_prompt, be->chunk};
    weir__decoder_arena(&m->c, &n, NULL, &m->a);
    m->block = weir_backend_alloc(be, m->a.bytes);
    if (!m->block) return no_memory(be);
    weir__decoder_arena(&m->c, &n, m->block, &m->a);
    WEIR_TRY(weir_backend_zero(be, m->block, m->a.bytes)); /* dead rows' activations must not be NaN */
    m->stage = be->device ? weir_calloc((size_t)weir__decoder_stage_ints(n.n_prompt), sizeof *m->stage) : m->a.prompt;
    if (!m->stage) return WEIR_ENOMEM;
    for (int64_t i = 0; i <= n.n_prompt; i++) m->stage[i] = (int32_t)i;
    WEIR_TRY(weir_backend_upload(be, m->a.iota, m->stage, (size_t)(n.n_prompt + 1) * sizeof *m->stage));
    return weir_backend_reserve(be, weir_decoder_op_floats(&m->c, be, n.n_row, n.n_prompt));
}

/* Every weight; norms, biases and frequencies are made in host memory, which on the CPU is where they stay. */
static weir_status load_weights(decoder_model *m, const weir_tensor_source *src, weir_err *err) {
    weir_backend *be = m->base.be;
    const size_t floats = weir__decoder_vector_floats(&m->c);
    m->vectors = weir_backend_alloc(be, 4 * floats);
    if (!m->vectors) return weir_fail(err, no_memory(be), "decoder: %s", weir_status_str(no_memory(be)));
    if (!be->device) return weir__decoder_load(m, src, false, m->vectors, err);
    float *host = weir_calloc(floats, sizeof *host);
    if (!host) return weir_fail(err, WEIR_ENOMEM, "decoder: %s", weir_status_str(WEIR_ENOMEM));
    weir_status s = weir__decoder_load(m, src, true, host, err);
    if (s == WEIR_OK) {
        s = weir_backend_upload(be, m->vectors, host, floats * sizeof *host);
        if (s != WEIR_OK) weir_backend_failure(be, err);
    }
    weir_free(host);
    return s;
}

static void init(decoder_model *m, weir_backend *be, const weir_decoder_config *c, int64_t n_row, int64_t n_prompt) {
    *m = (decoder_model){.base = {.ops = &decoder_ops, .be = be, .n_row = n_row, .n_prompt = n_prompt}, .c = *c};
    m->inner = (int64_t)c->n_head * c->head_dim;
    m->inner_kv = (int64_t)c->n_head_kv * c->head_dim;
    m->width = m->inner + 2 * m->inner_kv;
    m->act = epilogue_of(c->act);
    if (!has_sliding(c)) m->c.rope_sliding = c->rope; /* nobody's: a table all the same */
}

weir_status weir_decoder_measure(const weir_decoder_config *c, const weir_tensor_source *src, bool device,
                                 weir_model_facts *out, weir_err *err) {
    if (!c || !src || !src->find || !out) return weir_fail(err, WEIR_EINVAL, "decoder: NULL argument");
    WEIR_TRY(check_config(c, device, 1, 1, err));
    decoder_model m;
    init(&m, NULL, c, 1, 1);
    WEIR_TRY(weir__decoder_load(&m, src, device, NULL, err));
    *out = m.base.facts;
    return WEIR_OK;
}

weir_status weir_decoder_create(weir_model **out, weir_backend *be, const weir_decoder_config *c,
                                const weir_tensor_source *src, int64_t n_row, int64_t n_prompt, weir_err *err) {
    if (!out || !be || !c || !src || !src->find) return weir_fail(err, WEIR_EINVAL, "decoder: NULL argument");
    WEIR_TRY(check_config(c, be->device, n_row, n_prompt, err));
    decoder_model *m = weir_calloc(1, sizeof *m);
    if (!m) return weir_fail(err, WEIR_ENOMEM, "decoder: out of host memory");
    init(m, be, c, n_row, n_prompt);

    m->layer = weir_calloc((size_t)c->n_layer, sizeof *m->layer);
    weir_status s = m->layer ? WEIR_OK : weir_fail(err, WEIR_ENOMEM, "decoder: out of host memory");
    if (s == WEIR_OK) s = load_weights(m, src, err);
    if (s == WEIR_OK) {
        s = alloc_arena(m);
        if (s == WEIR_ECUDA) weir_backend_failure(be, err);
        else if (s != WEIR_OK) weir_fail(err, s, "decoder: %s", weir_status_str(s));
    }
    if (s != WEIR_OK) {
        free_decoder(&m->base);
        return s;
    }
    *out = &m->base;
    return WEIR_OK;
}
