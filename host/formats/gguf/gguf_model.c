/* The configs of decoder-only models from GGUF metadata. Keys, defaults and rules are llama.cpp's, as its
 * readers of these architectures have them (llama-model.cpp; src/models/qwen2moe.cpp, qwen3moe.cpp,
 * gemma2.cpp, gemma3.cpp, phi3.cpp, olmo2.cpp, granite.cpp, smollm3.cpp). */
#include "host/formats/gguf/gguf_model.h"

#include <math.h>
#include <string.h>

#include "host/formats/config/config.h"
#include "host/formats/gguf/gguf_file.h"
#include "host/formats/json/json_file.h"

/* Bounds: far above any model, and low enough that rows x cols x 4 bytes stays inside int64. */
enum { MAX_DIM = 1 << 20, MAX_CONTEXT = 1 << 30, MAX_VOCAB = 1 << 26 };

const family_row *weir__gguf_family(const weir_gguf *g) {
    const char *name;
    char key[128];
    size_t n;
    int64_t experts = 0;
    if (!weir__gguf_string(g, "general.architecture", &name, &n)) return NULL;
    const family_row *f = weir__family_gguf(name, n, false);
    if (!f || !weir__gguf_int(g, weir__gguf_key(f, "expert_count", key), &experts) || experts <= 0) return f;
    return weir__family_gguf(name, n, true);
}

static bool has(const gguf_reader *r, const char *name) {
    char key[128];
    return weir__gguf_has(r->g, weir__gguf_key(r->f, name, key));
}

weir_status weir__gguf_read_int(const gguf_reader *r, const char *name, int64_t lo, int64_t hi,
                                int32_t *out) {
    char key[128];
    return weir__gguf_get_int(r->g, weir__gguf_key(r->f, name, key), lo, hi, out, r->err);
}

weir_status weir__gguf_read_real(const gguf_reader *r, const char *name, double lo, double hi, double *out) {
    char key[128];
    return weir__gguf_get_real(r->g, weir__gguf_key(r->f, name, key), lo, hi, out, r->err);
}

weir_status weir__gguf_need(const gguf_reader *r, const char *name) {
    char key[128];
    if (weir__gguf_has(r->g, weir__gguf_key(r->f, name, key))) return WEIR_OK;
    return weir_fail(r->err, WEIR_EFORMAT, "%s: no key %s", weir__label(r->g->label), key);
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

static bool is_text(const weir_gguf *g, const char *key, const char *want) {
    const char *text;
    size_t n;
    return weir__gguf_string(g, key, &text, &n) && n == strlen(want) && memcmp(text, want, n) == 0;
}

static weir_status check_file(const weir_gguf *g, const family_row **f, weir_err *err) {
    const char *name = NULL, *label = weir__label(g->label);
    size_t n = 0;
    int64_t no, count;
    char list[160];
    if (weir__gguf_has(g, "general.type") && !is_text(g, "general.type", "model"))
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: general.type is not \"model\": an adapter, a projector or the like", label);
    WEIR_TRY(weir__gguf_place(g, &no, &count, err));
    if (count > 1 && g->n_rest + 1 != (size_t)count)
        return weir_fail(err, WEIR_EFORMAT, "%s: part %lld of %lld of a split file, without the others",
                         label, (long long)no + 1, (long long)count);
    if (!weir__gguf_string(g, "general.architecture", &name, &n))
        return weir_fail(err, WEIR_EFORMAT, "%s: no general.architecture", label);
    *f = weir__gguf_family(g);
    if (!*f)
        return weir_fail(err, WEIR_ENOTSUP, "%s: architecture %.*s is not supported, expected %s", label,
                         n < 60 ? (int)n : 60, name, weir__family_list(FAMILY_GGUF, list));
    if ((*f)->refused)
        return weir_fail(err, WEIR_ENOTSUP, "%s: architecture %s is not supported: %s", label, (*f)->gguf,
                         (*f)->refused);
    return WEIR_OK;
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static weir_status read_heads(const gguf_reader *r, weir_decoder_config *c) {
    const char *label = weir__label(r->g->label);
    int32_t value = 0;
    WEIR_TRY(weir__gguf_need(r, "attention.head_count"));
    WEIR_TRY(weir__gguf_read_int(r, "attention.head_count", 1, MAX_DIM, &c->n_head));
    c->n_head_kv = c->n_head;
    WEIR_TRY(weir__gguf_read_int(r, "attention.head_count_kv", 1, MAX_DIM, &c->n_head_kv));
    if (c->n_head % c->n_head_kv != 0)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %d heads are not a multiple of %d of keys and values",
                         label, c->n_head, c->n_head_kv);
    if (!has(r, "attention.key_length") && c->dim % c->n_head != 0)
        return weir_fail(r->err, WEIR_EFORMAT,
                         "%s: no attention.key_length, and %d heads do not divide the width %d", label,
                         c->n_head, c->dim);
    c->head_dim = c->dim / c->n_head;
    WEIR_TRY(weir__gguf_read_int(r, "attention.key_length", 1, MAX_DIM, &c->head_dim));
    value = c->head_dim;
    WEIR_TRY(weir__gguf_read_int(r, "attention.value_length", 1, MAX_DIM, &value));
    if (value != c->head_dim)
        return weir_fail(r->err, WEIR_ENOTSUP,
                         "%s: attention.value_length = %d differs from key_length = %d: not supported", label,
                         value, c->head_dim);
    if (c->head_dim < 1 || (int64_t)c->n_head * c->head_dim > MAX_DIM)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %d heads of %d elements, expected at most %d together",
                         label, c->n_head, c->head_dim, MAX_DIM);
    return WEIR_OK;
}

/* The rows of the embedding count, not the list of tokens: some files pad the matrix. */
weir_status weir__gguf_read_rows(const gguf_reader *r, int32_t dim, int32_t *n_rows) {
    const weir_gguf *g = r->g;
    weir_err *err = r->err;
    const char *label = weir__label(g->label);
    char key[128];
    weir_entry e;
    size_t n_token = 0;
    int32_t said = 0;
    if (!weir__gguf_find(g, "token_embd.weight", &e))
        return weir_fail(err, WEIR_EFORMAT, "%s: no tensor token_embd.weight", label);
    const int64_t width = e.shape[e.n_dim - 1], rows = e.n_dim > 1 ? e.shape[e.n_dim - 2] : 1;
    if (e.n_dim != 2 || width != dim || rows > MAX_VOCAB)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: tensor token_embd.weight: %d dimensions, (%lld, %lld), expected rows of %d",
                         label, e.n_dim, (long long)rows, (long long)width, dim);
    weir__gguf_key(r->f, "vocab_size", key);
    WEIR_TRY(weir__gguf_get_int(g, key, 1, MAX_VOCAB, &said, err));
    if (weir__gguf_array_length(g, "tokenizer.ggml.tokens", &n_token) && n_token > (size_t)rows)
        return weir_fail(err, WEIR_EFORMAT, "%s: %zu tokens, but token_embd.weight has %lld rows", label,
                         n_token, (long long)rows);
    if (said > rows)
        return weir_fail(err, WEIR_EFORMAT, "%s: %s = %d, but token_embd.weight has %lld rows", label, key,
                         said, (long long)rows);
    *n_rows = (int32_t)rows;
    return WEIR_OK;
}

static weir_status read_sizes(const gguf_reader *r, weir_decoder_config *c) {
    static const char *const needed[] = {"embedding_length", "block_count", "feed_forward_length",
                                         "attention.layer_norm_rms_epsilon"};
    double eps = 0;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) WEIR_TRY(weir__gguf_need(r, needed[i]));
    WEIR_TRY(weir__gguf_read_int(r, "embedding_length", 1, MAX_DIM, &c->dim));
    WEIR_TRY(weir__gguf_read_int(r, "block_count", 1, WEIR_DECODER_LAYERS, &c->n_layer));
    WEIR_TRY(weir__gguf_read_int(r, "feed_forward_length", 1, MAX_DIM, &c->ff_dim));
    WEIR_TRY(weir__gguf_read_int(r, "context_length", 0, MAX_CONTEXT, &c->n_ctx_train));
    WEIR_TRY(weir__gguf_read_real(r, "attention.layer_norm_rms_epsilon", 1e-30, 1, &eps));
    c->eps = (float)eps;
    WEIR_TRY(read_heads(r, c));
    return weir__gguf_read_rows(r, c->dim, &c->n_vocab_rows);
}

/* ---- experts ------------------------------------------------------------------------------------------- */

/* llama.cpp's rules: every layer has experts; widths that are not said follow from feed_forward_length;
 * whether the weights add up to 1 goes by the architecture. */
static weir_status read_experts(const gguf_reader *r, weir_decoder_config *c) {
    weir_expert_config *e = &c->experts;
    const bool sinks = weir__family_has(r->f, FAMILY_SINKS);
    *e = (weir_expert_config){.names = sinks ? WEIR_EXPERTS_ROUTER : WEIR_EXPERTS_STACKED,
                              .normed = r->f->decoder.gguf_normed,
                              .limit = r->f->decoder.config.experts.limit};
    if (!weir__family_has(r->f, FAMILY_MIXES)) return WEIR_OK;
    WEIR_TRY(weir__gguf_need(r, "expert_count"));
    WEIR_TRY(weir__gguf_need(r, "expert_used_count"));
    WEIR_TRY(weir__gguf_read_int(r, "expert_count", 1, WEIR_EXPERTS, &e->n));
    const int32_t most = e->n < WEIR_EXPERTS_USED ? e->n : WEIR_EXPERTS_USED;
    WEIR_TRY(weir__gguf_read_int(r, "expert_used_count", 1, most, &e->n_used));
    e->ff_dim = c->ff_dim;
    if (sinks) return weir__gguf_read_int(r, "expert_feed_forward_length", 1, MAX_DIM, &e->ff_dim);
    if (!weir__family_has(r->f, FAMILY_EXPERTS)) return WEIR_OK;
    e->ff_dim = c->ff_dim / e->n_used;
    WEIR_TRY(weir__gguf_read_int(r, "expert_feed_forward_length", 1, MAX_DIM, &e->ff_dim));
    if (!weir__family_has(r->f, FAMILY_SHARED_EXPERT)) return WEIR_OK;
    e->shared_ff = c->ff_dim;
    return weir__gguf_read_int(r, "expert_shared_feed_forward_length", 1, MAX_DIM, &e->shared_ff);
}

/* ---- positions ----------------------------------------------------------------------------------------- */

/* llama.cpp multiplies cos and sin by attn_factor for every kind; here only yarn's formula can. */
static weir_status read_yarn(const gguf_reader *r, const weir_decoder_config *c, double attn,
                             weir_rope_config *rope) {
    double fast = 32, slow = 1;
    rope->n_ctx_original = c->n_ctx_train;
    WEIR_TRY(weir__gguf_read_int(r, "rope.scaling.original_context_length", 1, MAX_CONTEXT,
                                 &rope->n_ctx_original));
    if (rope->n_ctx_original < 1)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: yarn without the context that it stretches",
                         weir__label(r->g->label));
    WEIR_TRY(weir__gguf_read_real(r, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, &fast));
    WEIR_TRY(weir__gguf_read_real(r, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, &slow));
    rope->kind = WEIR_ROPE_YARN;
    rope->untruncated = r->f->decoder.config.rope.untruncated; /* of the model; llama.cpp rounds */
    rope->beta_fast = (float)fast;
    rope->beta_slow = (float)slow;
    if (attn != 1) rope->attention_factor = (float)(attn * (0.1 * log((double)rope->factor) + 1));
    return WEIR_OK;
}

/* Longrope's divisors are tensors, and their presence is the only sign of it. */
static bool has_divisors(const weir_gguf *g) {
    weir_entry e;
    return weir__gguf_find(g, "rope_factors_short.weight", &e) ||
           weir__gguf_find(g, "rope_factors_long.weight", &e);
}

static weir_status read_longrope(const gguf_reader *r, const weir_decoder_config *c, double factor,
                                 double attn, weir_rope_config *rope) {
    rope->kind = WEIR_ROPE_LONGROPE;
    rope->n_ctx_original = c->n_ctx_train;
    rope->attention_factor = (float)attn;
    WEIR_TRY(weir__gguf_read_int(r, "rope.scaling.original_context_length", 1, MAX_CONTEXT,
                                 &rope->n_ctx_original));
    if (rope->n_ctx_original < 2)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: longrope's divisors without the context that was trained",
                         weir__label(r->g->label));
    if (factor > 0 && factor != 1)
        return weir_fail(r->err, WEIR_ENOTSUP,
                         "%s: rope.scaling.factor = %g is not supported with longrope's divisors",
                         weir__label(r->g->label), factor);
    rope->factor = (float)c->n_ctx_train / (float)rope->n_ctx_original;
    return WEIR_OK;
}

static weir_status read_scaling(const gguf_reader *r, const weir_decoder_config *c, weir_rope_config *rope) {
    char key[128];
    double factor = 0, attn = 1;
    const char *type;
    size_t n;
    WEIR_TRY(weir__gguf_read_real(
        r, has(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear", 0, 1e6, &factor));
    WEIR_TRY(weir__gguf_read_real(r, "rope.scaling.attn_factor", 1e-3, 1e3, &attn));
    rope->factor = factor > 0 ? (float)factor : 1;
    weir__gguf_key(r->f, "rope.scaling.type", key);
    if (weir__family_has(r->f, FAMILY_LONGROPE) && has_divisors(r->g))
        return read_longrope(r, c, factor, attn, rope);
    if (is_text(r->g, key, "yarn")) return read_yarn(r, c, attn, rope);
    if (attn != 1)
        return weir_fail(r->err, WEIR_ENOTSUP,
                         "%s: rope.scaling.attn_factor = %g is not supported without yarn",
                         weir__label(r->g->label), attn);
    if (is_text(r->g, key, "none")) {
        rope->factor = 1;
    } else if (!weir__gguf_has(r->g, key) || is_text(r->g, key, "linear")) {
        if (rope->factor != 1) rope->kind = WEIR_ROPE_LINEAR;
    } else if (weir__gguf_string(r->g, key, &type, &n)) {
        return weir_fail(r->err, WEIR_ENOTSUP,
                         "%s: %s = \"%.*s\" is not supported, expected none, linear or yarn",
                         weir__label(r->g->label), key, n < 40 ? (int)n : 40, type);
    } else {
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %s is not a string", weir__label(r->g->label), key);
    }
    return WEIR_OK;
}

static weir_status read_rope(const gguf_reader *r, weir_decoder_config *c) {
    const bool own_theta = weir__family_has(r->f, FAMILY_LOCAL_THETA);
    double theta = r->f->decoder.theta, local;
    int32_t n_dim = c->head_dim;
    WEIR_TRY(weir__gguf_read_real(r, has(r, "rope.freq_base") ? "rope.freq_base" : "rope.global.freq_base",
                                  1e-3, 1e12, &theta));
    WEIR_TRY(weir__gguf_read_int(r, "rope.dimension_count", 2, c->head_dim, &n_dim));
    if (n_dim % 2 != 0)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %d elements of a head turn, expected an even number",
                         weir__label(r->g->label), n_dim);
    if (weir__family_has(r->f, FAMILY_INTERLEAVED) && n_dim != c->head_dim)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %s.rope.dimension_count = %d, expected %d as a head has",
                         weir__label(r->g->label), r->f->gguf, n_dim, c->head_dim);
    c->rope = (weir_rope_config){.theta = (float)theta,
                                 .factor = 1,
                                 .n_dim = n_dim == c->head_dim ? 0 : n_dim,
                                 .interleaved = weir__family_has(r->f, FAMILY_INTERLEAVED)};
    c->rope_sliding = c->rope;
    local = own_theta ? r->f->decoder.theta_sliding : theta;
    WEIR_TRY(weir__gguf_read_real(
        r, has(r, "rope.freq_base_swa") ? "rope.freq_base_swa" : "rope.local.freq_base", 1e-3, 1e12, &local));
    WEIR_TRY(read_scaling(r, c, &c->rope));
    if (!own_theta) c->rope_sliding = c->rope;
    c->rope_sliding.theta = (float)local;
    return WEIR_OK;
}

/* Granite's files say with this key that no layer has positions. */
static weir_status check_turning(const gguf_reader *r) {
    char key[128];
    if (!weir__family_has(r->f, FAMILY_MULTIPLIERS)) return WEIR_OK;
    return weir__gguf_refuse_flag(r->g, weir__gguf_key(r->f, "rope.scaling.finetuned", key), false, r->err);
}

/* ---- which layers slide -------------------------------------------------------------------------------- */

static weir_status read_pattern(const gguf_reader *r, weir_decoder_config *c) {
    char key[128];
    size_t n;
    int32_t period = r->f->decoder.period;
    weir__gguf_key(r->f, "attention.sliding_window_pattern", key);
    if (!weir__gguf_array_length(r->g, key, &n)) {
        WEIR_TRY(weir__gguf_read_int(r, "attention.sliding_window_pattern", 0, WEIR_DECODER_LAYERS, &period));
        for (int32_t i = 0; i < c->n_layer; i++) c->sliding[i] = period == 0 || i % period < period - 1;
        return WEIR_OK;
    }
    for (int32_t i = 0; i < c->n_layer; i++) {
        int64_t v;
        if (n != (size_t)c->n_layer || !weir__gguf_array_int(r->g, key, (size_t)i, &v))
            return weir_fail(r->err, WEIR_EFORMAT, "%s: %s is not a list of %d bools",
                             weir__label(r->g->label), key, c->n_layer);
        c->sliding[i] = v != 0;
    }
    return WEIR_OK;
}

static weir_status read_window(const gguf_reader *r, weir_decoder_config *c) {
    const bool all = weir__family_has(r->f, FAMILY_LONGROPE); /* as in Phi-3's config.json */
    c->window = r->f->decoder.gguf_window;
    if (!all && !weir__family_has(r->f, FAMILY_PERIOD)) return WEIR_OK;
    WEIR_TRY(weir__gguf_read_int(r, "attention.sliding_window", 0, MAX_CONTEXT, &c->window));
    if (c->window == 0) return WEIR_OK;
    for (int32_t i = 0; all && i < c->n_layer; i++) c->sliding[i] = true;
    if (!all) WEIR_TRY(read_pattern(r, c));
    bool any = false;
    for (int32_t i = 0; i < c->n_layer; i++) any |= c->sliding[i];
    if (!any) c->window = 0;
    return WEIR_OK;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

/* Granite's. 0 stands for none, as in llama.cpp. */
static weir_status read_multipliers(const gguf_reader *r, weir_decoder_config *c) {
    double embedding = 1, residual = 1, logits = 1;
    if (!weir__family_has(r->f, FAMILY_MULTIPLIERS)) return WEIR_OK;
    WEIR_TRY(weir__gguf_read_real(r, "embedding_scale", 0, 1e9, &embedding));
    WEIR_TRY(weir__gguf_read_real(r, "residual_scale", 0, 1e9, &residual));
    WEIR_TRY(weir__gguf_read_real(r, "logit_scale", 0, 1e9, &logits));
    c->embed_scale = embedding > 0 ? (float)embedding : 1;
    c->residual_scale = residual > 0 ? (float)residual : 1;
    c->logit_scale = logits > 0 ? (float)(1 / logits) : 1;
    return WEIR_OK;
}

static weir_status read_scales(const gguf_reader *r, weir_decoder_config *c) {
    const decoder_defaults *d = &r->f->decoder;
    double scale, attention = d->config.attention_softcap, final = d->config.final_softcap;
    /* The largest Gemmas scale by width over heads, in whole numbers. */
    int32_t scalar =
        d->gguf_big_layers && c->n_layer == d->gguf_big_layers ? c->dim / c->n_head : c->head_dim;
    scale = 1 / sqrt((double)(scalar > 0 ? scalar : 1));
    WEIR_TRY(weir__gguf_read_real(r, "attention.scale", 1e-6, 1e3, &scale));
    WEIR_TRY(weir__gguf_read_real(r, "attn_logit_softcapping", 0, 1e6, &attention));
    WEIR_TRY(weir__gguf_read_real(r, "final_logit_softcapping", 0, 1e6, &final));
    c->attention_scale = (float)scale;
    c->attention_softcap = (float)attention;
    c->final_softcap = (float) final;
    c->embed_scale = weir__family_has(r->f, FAMILY_EMBED_SCALE) ? sqrtf((float)c->dim) : 1;
    return read_multipliers(r, c);
}

static weir_status read_decoder(const gguf_reader *r, weir_gguf_model *m) {
    weir_decoder_config *c = &m->config;
    WEIR_TRY(read_sizes(r, c));
    WEIR_TRY(read_experts(r, c));
    WEIR_TRY(read_rope(r, c));
    WEIR_TRY(check_turning(r));
    WEIR_TRY(read_window(r, c));
    WEIR_TRY(read_scales(r, c));
    (void)weir__parse_act(r->f->decoder.act, &c->act);
    weir__family_choose(r->f, c);
    for (int32_t i = 0, n = r->f->decoder.no_rope_interval; n > 0 && i < c->n_layer; i++)
        c->no_rope[i] = (i + 1) % n == 0;
    WEIR_TRY(weir__gguf_check_tensors(r->g, r->f, m, r->err));
    return weir__gguf_read_vocab(r->g, m, r->err);
}

weir_status weir__gguf_read_model(const weir_gguf *g, weir_gguf_model *out, weir_err *err) {
    weir_gguf_model m = {.start_id = -1, .bos_id = -1, .pad_id = -1};
    gguf_reader r = {.g = g, .err = err};
    WEIR_TRY(check_file(g, &r.f, err));
    WEIR_TRY(weir__gguf_check_keys(g, r.f, err));
    m.kind = r.f->kind;
    memcpy(m.architecture, r.f->gguf, strlen(r.f->gguf) + 1);
    WEIR_TRY(m.kind == WEIR_FAMILY_T5 ? weir__gguf_read_t5(&r, &m) : read_decoder(&r, &m));
    *out = m;
    return WEIR_OK;
}
