/* Checkpoint tensors, by their Hugging Face names, to packed weights on a backend. */
#include <inttypes.h>
#include <stdio.h>

#include "kernels/base/mem.h"
#include "models/decoder.h"

/* Walks all tensors of the model: checks names, shapes and dtypes and adds up the bytes; with vectors it loads
 * them too. One walk, so that measuring and loading cannot drift apart. */
typedef struct loader {
    decoder_model *m; /* measuring: layer is NULL */
    const weir_tensor_source *src;
    bool device;
    weir_err *err;
    float *vectors;   /* host: what becomes m->vectors; NULL = measure only */
    int64_t n_vector; /* floats of it that are taken */
} loader;

enum { PREFIX_CAP = 64, NAME_CAP = 128, MAX_PART = 3 };

static weir_status want(const loader *ld, const char *name, int64_t rows, int64_t cols, weir_tensor *t) {
    if (!ld->src->find(ld->src->ud, name, t)) {
        return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: missing; want (%" PRId64 ", %" PRId64 ")", name, rows, cols);
    }
    if (t->rows != rows || t->cols != cols) {
        return weir_fail(ld->err, WEIR_EFORMAT,
                         "tensor %s: want (%" PRId64 ", %" PRId64 "), file has (%" PRId64 ", %" PRId64 ")", name, rows,
                         cols, t->rows, t->cols);
    }
    return WEIR_OK;
}

static size_t bytes_of(const weir_weight *w) { return weir_weight_bytes(w->layout, w->dtype, w->n, w->k, w->gated); }

/* ---- matrices -------------------------------------------------------------------------------------------- */

/* A matrix of the file under its name. */
typedef struct part {
    char name[NAME_CAP];
    weir_tensor t;
} part;

static weir_status find_part(const loader *ld, const char *prefix, const char *what, int64_t rows, int64_t cols, part *p) {
    (void)snprintf(p->name, NAME_CAP, "%s%s.weight", prefix, what);
    WEIR_TRY(want(ld, p->name, rows, cols, &p->t));
    const int block = weir_dtype_block(p->t.dtype);
    if (cols % block == 0) return WEIR_OK;
    return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: rows of %" PRId64 " are no whole blocks of %d (%s)", p->name, cols,
                     block, weir_dtype_name(p->t.dtype));
}

/* One packed weight from n parts of one dtype, stacked or a gated pair. */
static weir_status pack(const loader *ld, const part *p, int n, bool gated, weir_use use, weir_weight *out) {
    weir_tensor t[MAX_PART] = {{0}};
    int64_t rows = 0;
    for (int i = 0; i < n; i++) {
        t[i] = p[i].t;
        rows += gated && i ? 0 : t[i].rows;
    }
    *out = (weir_weight){.dtype = t[0].dtype, .n = rows, .k = t[0].cols, .gated = gated,
                         .layout = weir_layout_of(ld->device, t[0].dtype, use)};
    ld->m->base.facts.weight_bytes += bytes_of(out);
    if (!ld->vectors) return WEIR_OK;
    const weir_status s = weir_weight_pack(ld->m->base.be, t, n, gated, use, out);
    if (s != WEIR_OK) {
        out->data = NULL;
        return weir_fail(ld->err, s, "tensor %s: %s", p[0].name, weir_status_str(s));
    }
    for (int i = 0; i < n && ld->src->release; i++) ld->src->release(ld->src->ud, p[i].name);
    return WEIR_OK;
}

static weir_status load_matrix(const loader *ld, const char *prefix, const char *what, int64_t rows, int64_t cols,
                               weir_use use, weir_weight *out) {
    part p;
    WEIR_TRY(find_part(ld, prefix, what, rows, cols, &p));
    return pack(ld, &p, 1, false, use, out);
}

/* q, k and v: one product where their dtypes agree, more where a quantiser kept some of them finer. */
static weir_status load_qkv(const loader *ld, const char *prefix, decoder_layer *l) {
    static const char *const what[3] = {"q_proj", "k_proj", "v_proj"};
    const decoder_model *m = ld->m;
    part p[3];
    for (int i = 0; i < 3; i++) WEIR_TRY(find_part(ld, prefix, what[i], i ? m->inner_kv : m->inner, m->c.dim, &p[i]));
    for (int i = 0, n; i < 3; i += n) {
        for (n = 1; i + n < 3 && p[i + n].t.dtype == p[i].t.dtype;) n++;
        WEIR_TRY(pack(ld, p + i, n, false, WEIR_USE_ROWS, &l->qkv[l->n_qkv]));
        l->n_qkv++;
    }
    return WEIR_OK;
}

/* Gate and up: a gated pair where their dtypes agree, else one after the other. */
static weir_status load_gate_up(const loader *ld, const char *prefix, decoder_layer *l) {
    const weir_decoder_config *c = &ld->m->c;
    part p[2];
    WEIR_TRY(find_part(ld, prefix, "gate_proj", c->ff_dim, c->dim, &p[0]));
    WEIR_TRY(find_part(ld, prefix, "up_proj", c->ff_dim, c->dim, &p[1]));
    l->n_gate_up = p[0].t.dtype == p[1].t.dtype ? 1 : 2;
    if (l->n_gate_up == 1) return pack(ld, p, 2, true, WEIR_USE_ROWS, &l->gate_up[0]);
    WEIR_TRY(pack(ld, &p[0], 1, false, WEIR_USE_ROWS, &l->gate_up[0]));
    return pack(ld, &p[1], 1, false, WEIR_USE_ROWS, &l->gate_up[1]);
}

/* ---- vectors --------------------------------------------------------------------------------------------- */

/* Host memory for the next n of the vectors; *out is where they will lie. */
static float *next_vector(loader *ld, int64_t n, const float **out) {
    float *host = ld->vectors + ld->n_vector;
    *out = ld->m->vectors + ld->n_vector;
    ld->n_vector += weir__decoder_stride(n);
    return host;
}

static weir_status want_vector(const loader *ld, const char *name, int64_t n, weir_tensor *t) {
    WEIR_TRY(want(ld, name, 1, n, t));
    if (weir_dtype_is_float(t->dtype)) return WEIR_OK;
    return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: %s, want f32, f16 or bf16", name, weir_dtype_name(t->dtype));
}

/* A norm's weights; families that multiply by 1 + w get the sum. */
static weir_status load_norm(loader *ld, const char *prefix, const char *what, int64_t n, const float **out) {
    char name[NAME_CAP];
    weir_tensor t;
    (void)snprintf(name, sizeof name, "%s%s.weight", prefix, what);
    WEIR_TRY(want_vector(ld, name, n, &t));
    if (!ld->vectors) return WEIR_OK;
    const float plus = ld->m->c.norm_one_plus ? 1.0f : 0.0f;
    float *to = next_vector(ld, n, out);
    for (int64_t i = 0; i < n; i++) to[i] = plus + weir_tensor_get(&t, 0, i);
    return WEIR_OK;
}

static weir_status load_bias(loader *ld, const char *prefix, const float **out) {
    static const char *const what[3] = {"q_proj", "k_proj", "v_proj"};
    float *to = ld->vectors ? next_vector(ld, ld->m->width, out) : NULL;
    for (int p = 0; p < 3; p++) {
        const int64_t n = p ? ld->m->inner_kv : ld->m->inner;
        char name[NAME_CAP];
        weir_tensor t;
        (void)snprintf(name, sizeof name, "%s%s.bias", prefix, what[p]);
        WEIR_TRY(want_vector(ld, name, n, &t));
        for (int64_t i = 0; to && i < n; i++) *to++ = weir_tensor_get(&t, 0, i);
    }
    return WEIR_OK;
}

/* GGUF files of Llama 3 hold the stretch itself: what each frequency is divided by. */
static weir_status rope_factors(const loader *ld, const char *name, int32_t n, float *inv_freq) {
    weir_tensor t;
    WEIR_TRY(want_vector(ld, name, n, &t));
    for (int32_t i = 0; inv_freq && i < n; i++) {
        const float f = weir_tensor_get(&t, 0, i);
        if (!(f > 0.0f)) return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: factor %g, want one above 0", name, (double)f);
        inv_freq[i] /= f;
    }
    return WEIR_OK;
}

/* A step of a position turns by one radian at most: positions stay below 2^20, which is as far as the kernels' sine and cosine
 * are good (kernels/math/sincos.h). */
static weir_status check_angles(const loader *ld, const float *inv_freq, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (inv_freq[i] > 0.0f && inv_freq[i] <= 1.0f) continue;
        return weir_fail(ld->err, WEIR_EFORMAT, "rotary embedding: pair %d turns by %g a position, want above 0 and at most 1", (int)i,
                         (double)inv_freq[i]);
    }
    return WEIR_OK;
}

static weir_status load_rope(loader *ld) {
    static const char name[] = "rope_freqs.weight";
    decoder_model *m = ld->m;
    weir_tensor t;
    const bool given = ld->src->find(ld->src->ud, name, &t);
    for (int i = 0; i < 2; i++) {
        weir_rope_config r = i ? m->c.rope_sliding : m->c.rope;
        const int32_t n = weir__rope_dims(&r, m->c.head_dim);
        float *to = ld->vectors ? next_vector(ld, n / 2, &m->inv_freq[i]) : NULL;
        if (i == 0 && given && r.kind == WEIR_ROPE_LLAMA3) r.kind = WEIR_ROPE_DEFAULT; /* the same, written down */
        if (to) m->rope_scale[i] = weir__rope_table(&r, n, to);
        if (i == 0 && given) WEIR_TRY(rope_factors(ld, name, n / 2, to));
        if (to) WEIR_TRY(check_angles(ld, to, n / 2));
    }
    return WEIR_OK;
}

/* ---- the model ------------------------------------------------------------------------------------------- */

static weir_status load_norms(loader *ld, const char *prefix, decoder_layer *l) {
    const bool post = ld->m->c.post_norms;
    const int64_t dim = ld->m->c.dim;
    WEIR_TRY(load_norm(ld, prefix, "input_layernorm", dim, &l->att_norm));
    if (!post) return load_norm(ld, prefix, "post_attention_layernorm", dim, &l->ff_norm); /* a name of its time */
    WEIR_TRY(load_norm(ld, prefix, "post_attention_layernorm", dim, &l->att_post));
    WEIR_TRY(load_norm(ld, prefix, "pre_feedforward_layernorm", dim, &l->ff_norm));
    return load_norm(ld, prefix, "post_feedforward_layernorm", dim, &l->ff_post);
}

static weir_status load_layer(loader *ld, int i, decoder_layer *l) {
    const weir_decoder_config *c = &ld->m->c;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.", i);
    WEIR_TRY(load_norms(ld, prefix, l));
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.self_attn.", i);
    if (c->qk_norm) WEIR_TRY(load_norm(ld, prefix, "q_norm", c->head_dim, &l->q_norm));
    if (c->qk_norm) WEIR_TRY(load_norm(ld, prefix, "k_norm", c->head_dim, &l->k_norm));
    if (c->qkv_bias) WEIR_TRY(load_bias(ld, prefix, &l->bias));
    WEIR_TRY(load_qkv(ld, prefix, l));
    WEIR_TRY(load_matrix(ld, prefix, "o_proj", c->dim, ld->m->inner, WEIR_USE_ROWS, &l->o));
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.mlp.", i);
    WEIR_TRY(load_gate_up(ld, prefix, l));
    return load_matrix(ld, prefix, "down_proj", c->dim, c->ff_dim, WEIR_USE_ROWS, &l->down);
}

static weir_status load_embedding(const loader *ld) {
    decoder_model *m = ld->m;
    WEIR_TRY(load_matrix(ld, "", "model.embed_tokens", m->c.n_vocab_rows, m->c.dim,
                         m->c.tied ? WEIR_USE_ROWS : WEIR_USE_PREFILL, &m->embed));
    m->head = &m->embed;
    if (m->c.tied) return WEIR_OK; /* an lm_head in the file is not used then, as transformers does */
    m->head = &m->untied_head;
    return load_matrix(ld, "", "lm_head", m->c.n_vocab_rows, m->c.dim, WEIR_USE_ROWS, &m->untied_head);
}

weir_status weir__decoder_load(decoder_model *m, const weir_tensor_source *src, bool device, float *vectors, weir_err *err) {
    loader ld = {.m = m, .src = src, .device = device, .err = err, .vectors = vectors};
    weir_dtype dtype = WEIR_DTYPE_F32; /* of the bulk: the feed-forward matrices */
    m->base.facts = (weir_model_facts){.n_param = weir__decoder_parameters(&m->c),
                                       .weight_bytes = 4 * weir__decoder_vector_floats(&m->c),
                                       .n_vocab_rows = m->c.n_vocab_rows,
                                       .n_layer_self = m->c.n_layer,
                                       .window = m->c.window,
                                       .n_head_kv = m->c.n_head_kv,
                                       .head_dim = m->c.head_dim};
    weir_model_facts *f = &m->base.facts;
    WEIR_TRY(load_embedding(&ld));
    const size_t before = f->weight_bytes;
    for (int i = 0; i < m->c.n_layer; i++) {
        decoder_layer measured = {0}, *l = m->layer ? &m->layer[i] : &measured;
        WEIR_TRY(load_layer(&ld, i, l));
        if (i == 0) dtype = l->gate_up[0].dtype;
        l->in_group = m->c.sliding[i] ? f->n_layer_slide : i - f->n_layer_slide;
        f->n_layer_slide += m->c.sliding[i];
    }
    WEIR_TRY(load_norm(&ld, "", "model.norm", m->c.dim, &m->norm));
    WEIR_TRY(load_rope(&ld));
    f->decode_bytes = bytes_of(m->head) + f->weight_bytes - before;
    f->dtype = dtype;
    f->kv_dtype = weir__decoder_kv_dtype(device, dtype);
    return WEIR_OK;
}
