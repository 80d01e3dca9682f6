/* Checkpoint tensors, by their Hugging Face names, to packed weights on a backend. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "models/t5.h"

/* Walks all tensors of the model: checks names, shapes and dtypes and adds up the bytes; with next_vector it loads
 * them too. One walk, so that measuring and loading cannot drift apart. */
typedef struct loader {
    t5_model *m; /* measuring: enc and dec are NULL */
    const weir_tensor_source *src;
    weir_err *err;
    float *next_vector;    /* in m->vectors; NULL = measure only */
    size_t cross_kv_bytes; /* weights that prompts read and decoder passes do not */
} loader;

enum { PREFIX_CAP = 64, NAME_CAP = 128, MAX_PART = 3 };

static bool find(const loader *ld, const char *name, weir_tensor *t) {
    return ld->src->find(ld->src->ud, name, t);
}

static weir_status want(const loader *ld, const char *name, int64_t rows, int64_t cols, weir_tensor *t) {
    if (!find(ld, name, t)) {
        return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: missing; want (%" PRId64 ", %" PRId64 ")", name,
                         rows, cols);
    }
    if (t->rows != rows || t->cols != cols) {
        return weir_fail(ld->err, WEIR_EFORMAT,
                         "tensor %s: want (%" PRId64 ", %" PRId64 "), file has (%" PRId64 ", %" PRId64 ")",
                         name, rows, cols, t->rows, t->cols);
    }
    return WEIR_OK;
}

static void release(const loader *ld, const char *name) {
    if (ld->src->release) ld->src->release(ld->src->ud, name);
}

static size_t bytes_of(const weir_weight *w) { return weir_weight_bytes(w->layout, w->dtype, w->n, w->k, w->gated); }

/* One packed weight from n_part matrices (rows, cols) called prefix + part[i] + ".weight". */
static weir_status load_weight(const loader *ld, const char *prefix, const char *const *part, int n_part,
                               int64_t rows, int64_t cols, bool gated, weir_weight *out) {
    char name[MAX_PART][NAME_CAP];
    weir_tensor t[MAX_PART] = {0};
    for (int i = 0; i < n_part; i++) {
        (void)snprintf(name[i], NAME_CAP, "%s%s.weight", prefix, part[i]);
        WEIR_TRY(want(ld, name[i], rows, cols, &t[i]));
        if (t[i].dtype != t[0].dtype) {
            return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: %s, but %s is %s; both must agree", name[i],
                             weir_dtype_name(t[i].dtype), name[0], weir_dtype_name(t[0].dtype));
        }
    }
    const weir_weight shape = {
        .dtype = t[0].dtype, .n = gated ? rows : n_part * rows, .k = cols, .gated = gated};
    ld->m->base.facts.weight_bytes += bytes_of(&shape);
    *out = shape;
    if (!ld->next_vector) return WEIR_OK;
    const weir_status s = weir_weight_pack(ld->m->base.be, t, n_part, gated, WEIR_USE_ROWS, out);
    if (s != WEIR_OK) return weir_fail(ld->err, s, "tensor %s: %s", name[0], weir_status_str(s));
    for (int i = 0; i < n_part; i++) release(ld, name[i]);
    return WEIR_OK;
}

static weir_status load_matrix(const loader *ld, const char *prefix, const char *part, int64_t rows,
                               int64_t cols, weir_weight *out) {
    return load_weight(ld, prefix, &part, 1, rows, cols, false, out);
}

static weir_status load_norm(loader *ld, const char *prefix, const char *part, const float **out) {
    char name[NAME_CAP];
    weir_tensor t;
    (void)snprintf(name, sizeof name, "%s%s.weight", prefix, part);
    WEIR_TRY(want(ld, name, 1, ld->m->c.dim, &t));
    if (!ld->next_vector) return WEIR_OK;
    for (int64_t i = 0; i < t.cols; i++) ld->next_vector[i] = weir_tensor_get(&t, 0, i);
    *out = ld->next_vector;
    ld->next_vector += weir__t5_vector_stride(t.cols);
    return WEIR_OK;
}

/* stack: "encoder" or "decoder". */
static weir_status load_bias(loader *ld, const char *stack, int32_t left, int32_t right, const float **out) {
    const weir_t5_config *c = &ld->m->c;
    char name[NAME_CAP];
    weir_tensor t;
    (void)snprintf(name, sizeof name, "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                   stack);
    WEIR_TRY(want(ld, name, c->n_bucket, c->n_head, &t));
    if (!ld->next_vector) return WEIR_OK;
    weir__t5_bias_table(&t, left, right, c->max_distance, ld->next_vector);
    *out = ld->next_vector;
    ld->next_vector += weir__t5_vector_stride((int64_t)c->n_head * ((int64_t)left + 1 + right));
    return WEIR_OK;
}

static weir_status load_self(loader *ld, const char *stack, int layer, t5_self *s) {
    static const char *const part[] = {"q", "k", "v"};
    const int64_t dim = ld->m->c.dim, inner = ld->m->inner;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.", stack, layer);
    WEIR_TRY(load_norm(ld, prefix, "layer_norm", &s->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.SelfAttention.", stack, layer);
    WEIR_TRY(load_weight(ld, prefix, part, 3, inner, dim, false, &s->qkv));
    return load_matrix(ld, prefix, "o", dim, inner, &s->o);
}

static weir_status load_cross(loader *ld, int layer, t5_cross *s) {
    static const char *const part[] = {"k", "v"};
    const int64_t dim = ld->m->c.dim, inner = ld->m->inner;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.", layer);
    WEIR_TRY(load_norm(ld, prefix, "layer_norm", &s->norm));
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.EncDecAttention.", layer);
    WEIR_TRY(load_matrix(ld, prefix, "q", inner, dim, &s->q));
    WEIR_TRY(load_weight(ld, prefix, part, 2, inner, dim, false, &s->kv));
    ld->cross_kv_bytes += bytes_of(&s->kv);
    return load_matrix(ld, prefix, "o", dim, inner, &s->o);
}

/* sub: the sub-layer's index in its block, 1 in the encoder, 2 in the decoder. */
static weir_status load_ff(loader *ld, const char *stack, int layer, int sub, t5_ff *f) {
    static const char *const gated[] = {"wi_0", "wi_1"}, *const plain[] = {"wi"};
    const weir_t5_config *c = &ld->m->c;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.", stack, layer, sub);
    WEIR_TRY(load_norm(ld, prefix, "layer_norm", &f->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.DenseReluDense.", stack, layer, sub);
    WEIR_TRY(load_weight(ld, prefix, c->gated ? gated : plain, c->gated ? 2 : 1, c->ff_dim, c->dim, c->gated,
                         &f->wi));
    return load_matrix(ld, prefix, "wo", c->dim, c->ff_dim, &f->wo);
}

static bool same_tensor(const weir_tensor *a, const weir_tensor *b) {
    return a->rows == b->rows && a->cols == b->cols && a->dtype == b->dtype &&
           memcmp(a->data, b->data, (size_t)(a->rows * a->cols * weir_dtype_bytes(a->dtype))) == 0;
}

/* The one table of both stacks: "shared", or, in exports that dropped it, a stack's own copy. */
static weir_status load_embedding(const loader *ld) {
    t5_model *m = ld->m;
    weir_tensor shared, enc, dec;
    const char *name = "shared";
    if (!find(ld, "shared.weight", &shared)) {
        const bool has_enc = find(ld, "encoder.embed_tokens.weight", &enc);
        const bool has_dec = find(ld, "decoder.embed_tokens.weight", &dec);
        if (has_enc && has_dec && !same_tensor(&enc, &dec)) {
            return weir_fail(ld->err, WEIR_EFORMAT,
                             "tensor shared.weight: missing, and encoder.embed_tokens.weight differs from "
                             "decoder.embed_tokens.weight; T5 has one embedding");
        }
        if (has_enc)
            name = "encoder.embed_tokens";
        else if (has_dec)
            name = "decoder.embed_tokens";
    }
    WEIR_TRY(load_matrix(ld, "", name, m->c.n_vocab_rows, m->c.dim, &m->embed));
    m->head = &m->embed;
    if (m->c.tied) return WEIR_OK; /* an lm_head in the file is not used then, as transformers does */
    m->head = &m->untied_head;
    return load_matrix(ld, "", "lm_head", m->c.n_vocab_rows, m->c.dim, &m->untied_head);
}

static weir_status load_encoder(loader *ld) {
    t5_model *m = ld->m;
    t5_enc_layer measured = {0};
    WEIR_TRY(load_bias(ld, "encoder", m->c.max_distance, m->c.max_distance, &m->enc_bias));
    for (int i = 0; i < m->c.n_enc_layer; i++) {
        t5_enc_layer *l = m->enc ? &m->enc[i] : &measured;
        WEIR_TRY(load_self(ld, "encoder", i, &l->self));
        WEIR_TRY(load_ff(ld, "encoder", i, 1, &l->ff));
    }
    return load_norm(ld, "encoder.", "final_layer_norm", &m->enc_norm);
}

static weir_status load_decoder(loader *ld) {
    t5_model *m = ld->m;
    t5_dec_layer measured = {0};
    WEIR_TRY(load_bias(ld, "decoder", m->c.max_distance, 0, &m->dec_bias));
    for (int i = 0; i < m->c.n_dec_layer; i++) {
        t5_dec_layer *l = m->dec ? &m->dec[i] : &measured;
        WEIR_TRY(load_self(ld, "decoder", i, &l->self));
        WEIR_TRY(load_cross(ld, i, &l->cross));
        WEIR_TRY(load_ff(ld, "decoder", i, 2, &l->ff));
    }
    return load_norm(ld, "decoder.", "final_layer_norm", &m->dec_norm);
}

/* Everything, and the facts that depend on the tensors' dtypes. */
static weir_status load_all(loader *ld) {
    t5_model *m = ld->m;
    weir_model_facts *f = &m->base.facts;
    weir_t5_facts(&m->c, WEIR_DTYPE_F32, f);
    f->weight_bytes = 4 * weir__t5_vector_floats(&m->c);
    WEIR_TRY(load_embedding(ld));
    WEIR_TRY(load_encoder(ld));
    const size_t before = f->weight_bytes;
    WEIR_TRY(load_decoder(ld));
    f->decode_bytes = bytes_of(m->head) + (f->weight_bytes - before) - ld->cross_kv_bytes;
    f->dtype = m->head->dtype;
    return WEIR_OK;
}

/* ---- create and free ------------------------------------------------------------------------------------- */

static void free_t5(weir_model *base) {
    t5_model *m = (t5_model *)base;
    weir_backend *be = base->be;
    for (int i = 0; m->enc && i < m->c.n_enc_layer; i++) {
        weir_weight *w[] = {&m->enc[i].self.qkv, &m->enc[i].self.o, &m->enc[i].ff.wi, &m->enc[i].ff.wo};
        for (size_t k = 0; k < sizeof w / sizeof *w; k++) weir_weight_free(be, w[k]);
    }
    for (int i = 0; m->dec && i < m->c.n_dec_layer; i++) {
        t5_dec_layer *d = &m->dec[i];
        weir_weight *w[] = {&d->self.qkv, &d->self.o, &d->cross.q, &d->cross.kv,
                            &d->cross.o,  &d->ff.wi,  &d->ff.wo};
        for (size_t k = 0; k < sizeof w / sizeof *w; k++) weir_weight_free(be, w[k]);
    }
    weir_weight_free(be, &m->embed);
    weir_weight_free(be, &m->untied_head);
    if (m->vectors) weir_backend_free(be, m->vectors);
    if (m->block) weir_backend_free(be, m->block);
    weir_free(m->enc);
    weir_free(m->dec);
    weir_free(m);
}

static const weir_model_ops t5_ops = {weir__t5_prefill, weir__t5_forward, free_t5};

/* Bounds far above any T5, so that no product below overflows; the buckets need two exact ones a
 * direction and a logarithm that grows. */
static weir_status check_config(const weir_t5_config *c, int64_t n_row, int64_t n_prompt, weir_err *err) {
    const struct {
        const char *what;
        int64_t v, lo, hi;
    } bound[] = {
        {"d_model", c->dim, 1, 1 << 20},
        {"d_kv", c->head_dim, 1, 1 << 14},
        {"num_heads", c->n_head, 1, 1 << 14},
        {"d_ff", c->ff_dim, 1, 1 << 22},
        {"num_layers", c->n_enc_layer, 1, 1024},
        {"num_decoder_layers", c->n_dec_layer, 1, 1024},
        {"vocab_size", c->n_vocab_rows, 1, 1 << 24},
        {"relative_attention_num_buckets", c->n_bucket, 4, 1 << 16},
        {"relative_attention_max_distance", c->max_distance, c->n_bucket / 2 + 1, 1 << 20},
        {"rows a call", n_row, 1, 1 << 20},
        {"prompt length", n_prompt, 1, 1 << 24},
        {"act", (int64_t)c->act, WEIR_ACT_RELU, WEIR_ACT_SILU},
    };
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
        if (bound[i].v >= bound[i].lo && bound[i].v <= bound[i].hi) continue;
        return weir_fail(err, WEIR_EINVAL, "t5 config: %s is %" PRId64 ", want %" PRId64 " to %" PRId64,
                         bound[i].what, bound[i].v, bound[i].lo, bound[i].hi);
    }
    if (!(c->eps >= 0.0f)) return weir_fail(err, WEIR_EINVAL, "t5 config: layer_norm_epsilon is negative");
    return WEIR_OK;
}

static weir_epilogue epilogue_of(weir_act act) {
    switch (act) {
    case WEIR_ACT_RELU: return WEIR_EPI_RELU;
    case WEIR_ACT_GELU_TANH: return WEIR_EPI_GELU_TANH;
    case WEIR_ACT_GELU_ERF: return WEIR_EPI_GELU_ERF;
    case WEIR_ACT_SILU: return WEIR_EPI_SILU;
    }
    return WEIR_EPI_STORE;
}

/* Activations, the encoder's own pages and the ops' scratch. Zeroed: a page must not start with NaN. */
static weir_status alloc_arena(t5_model *m) {
    weir_backend *be = m->base.be;
    weir__t5_arena(&m->c, m->base.n_row, m->base.n_prompt, NULL, &m->a);
    m->block = weir_backend_alloc(be, m->a.bytes);
    if (!m->block) return WEIR_ENOMEM;
    memset(m->block, 0, m->a.bytes);
    weir__t5_arena(&m->c, m->base.n_row, m->base.n_prompt, m->block, &m->a);

    const int64_t n_page = (m->base.n_prompt + WEIR_PAGE - 1) / WEIR_PAGE;
    for (int64_t i = 0; i < n_page; i++) m->a.table[i] = (int32_t)i;
    m->enc_kv = (weir_kv_view){.pool = m->a.enc_pool,
                               .table = m->a.table,
                               .table_stride = n_page,
                               .page_elems = weir_kv_page_elems(1, m->c.n_head, m->c.head_dim),
                               .n_layer = 1,
                               .n_head_kv = m->c.n_head,
                               .head_dim = m->c.head_dim};
    return weir_backend_reserve(be, weir__t5_op_scratch_floats(&m->c));
}

static weir_status alloc_weights(t5_model *m) {
    m->enc = weir_calloc((size_t)m->c.n_enc_layer, sizeof *m->enc);
    m->dec = weir_calloc((size_t)m->c.n_dec_layer, sizeof *m->dec);
    m->vectors = weir_backend_alloc(m->base.be, 4 * weir__t5_vector_floats(&m->c));
    if (!m->enc || !m->dec || !m->vectors) return WEIR_ENOMEM;
    return WEIR_OK;
}

static void init(t5_model *m, weir_backend *be, const weir_t5_config *c, int64_t n_row, int64_t n_prompt) {
    *m = (t5_model){.base = {.ops = &t5_ops, .be = be, .n_row = n_row, .n_prompt = n_prompt}, .c = *c};
    m->inner = (int64_t)c->n_head * c->head_dim;
    m->act = epilogue_of(c->act);
}

weir_status weir_t5_measure(const weir_t5_config *c, const weir_tensor_source *src, weir_model_facts *out,
                            weir_err *err) {
    if (!c || !src || !src->find || !out) return weir_fail(err, WEIR_EINVAL, "t5: NULL argument");
    WEIR_TRY(check_config(c, 1, 1, err));
    t5_model m;
    init(&m, NULL, c, 1, 1);
    loader ld = {.m = &m, .src = src, .err = err};
    WEIR_TRY(load_all(&ld));
    *out = m.base.facts;
    return WEIR_OK;
}

weir_status weir_t5_create(weir_model **out, weir_backend *be, const weir_t5_config *c,
                           const weir_tensor_source *src, int64_t n_row, int64_t n_prompt, weir_err *err) {
    if (!out || !be || !c || !src || !src->find) return weir_fail(err, WEIR_EINVAL, "t5: NULL argument");
    WEIR_TRY(check_config(c, n_row, n_prompt, err));
    t5_model *m = weir_calloc(1, sizeof *m);
    if (!m) return weir_fail(err, WEIR_ENOMEM, "t5: out of host memory");
    init(m, be, c, n_row, n_prompt);

    weir_status s = alloc_weights(m);
    if (s == WEIR_OK) s = alloc_arena(m);
    if (s != WEIR_OK) {
        weir_fail(err, s, "t5: %s", weir_status_str(s));
        goto fail;
    }
    loader ld = {.m = m, .src = src, .err = err, .next_vector = m->vectors};
    s = load_all(&ld);
    if (s != WEIR_OK) goto fail;
    *out = &m->base;
    return WEIR_OK;

fail:
    free_t5(&m->base);
    return s;
}
