/* Checkpoint tensors, by their Hugging Face names, to packed weights on a backend. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "models/t5.h"

/* Walks all tensors of the model: checks names, shapes and dtypes and adds up the bytes; with vectors it loads
 * them too. One walk, so that measuring and loading cannot drift apart. */
typedef struct loader {
    t5_model *m; /* measuring: enc and dec are NULL */
    const weir_tensor_source *src;
    bool device;
    weir_err *err;
    float *vectors;        /* host: what becomes m->vectors; NULL = measure only */
    int64_t n_vector;      /* floats of it that are taken */
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

/* Which matrices a weight is made of, and what it is for. */
typedef struct weight_parts {
    const char *prefix;
    const char *const *part;
    int n_part;
    int64_t rows, cols; /* of each */
    bool gated;
    weir_use use;
} weight_parts;

/* One packed weight from the matrices called prefix + part[i] + ".weight". */
static weir_status load_weight(const loader *ld, const weight_parts *p, weir_weight *out) {
    char name[MAX_PART][NAME_CAP];
    weir_tensor t[MAX_PART] = {0};
    for (int i = 0; i < p->n_part; i++) {
        (void)snprintf(name[i], NAME_CAP, "%s%s.weight", p->prefix, p->part[i]);
        WEIR_TRY(want(ld, name[i], p->rows, p->cols, &t[i]));
        if (t[i].dtype != t[0].dtype) {
            return weir_fail(ld->err, WEIR_EFORMAT, "tensor %s: %s, but %s is %s; both must agree", name[i],
                             weir_dtype_name(t[i].dtype), name[0], weir_dtype_name(t[0].dtype));
        }
    }
    const weir_weight shape = {.dtype = t[0].dtype, .n = p->gated ? p->rows : p->n_part * p->rows, .k = p->cols,
                               .gated = p->gated, .layout = weir_layout_of(ld->device, t[0].dtype, p->use)};
    ld->m->base.facts.weight_bytes += bytes_of(&shape);
    *out = shape;
    if (!ld->vectors) return WEIR_OK;
    const weir_status s = weir_weight_pack(ld->m->base.be, t, p->n_part, p->gated, p->use, out);
    if (s != WEIR_OK) {
        out->data = NULL;
        return weir_fail(ld->err, s, "tensor %s: %s", name[0], weir_status_str(s));
    }
    for (int i = 0; i < p->n_part; i++) release(ld, name[i]);
    return WEIR_OK;
}

static weir_status load_matrix(const loader *ld, const char *prefix, const char *part, int64_t rows,
                               int64_t cols, weir_use use, weir_weight *out) {
    const weight_parts p = {.prefix = prefix, .part = &part, .n_part = 1, .rows = rows, .cols = cols, .use = use};
    return load_weight(ld, &p, out);
}

/* Host memory for the next n of the vectors; *out is where they will lie. */
static float *next_vector(loader *ld, int64_t n, const float **out) {
    float *host = ld->vectors + ld->n_vector;
    *out = ld->m->vectors + ld->n_vector;
    ld->n_vector += weir__t5_vector_stride(n);
    return host;
}

static weir_status load_norm(loader *ld, const char *prefix, const char *part, const float **out) {
    char name[NAME_CAP];
    weir_tensor t;
    (void)snprintf(name, sizeof name, "%s%s.weight", prefix, part);
    WEIR_TRY(want(ld, name, 1, ld->m->c.dim, &t));
    if (!ld->vectors) return WEIR_OK;
    float *to = next_vector(ld, t.cols, out);
    for (int64_t i = 0; i < t.cols; i++) to[i] = weir_tensor_get(&t, 0, i);
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
    if (!ld->vectors) return WEIR_OK;
    float *to = next_vector(ld, (int64_t)c->n_head * ((int64_t)left + 1 + right), out);
    weir__t5_bias_table(&t, left, right, c->max_distance, to);
    return WEIR_OK;
}

/* A stack's weights serve prompts only (the encoder's) or rows too. */
static weir_use use_of(const char *stack) {
    return strcmp(stack, "encoder") == 0 ? WEIR_USE_PREFILL : WEIR_USE_ROWS;
}

static weir_status load_self(loader *ld, const char *stack, int layer, t5_self *s) {
    static const char *const part[] = {"q", "k", "v"};
    const int64_t dim = ld->m->c.dim, inner = ld->m->inner;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.", stack, layer);
    WEIR_TRY(load_norm(ld, prefix, "layer_norm", &s->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.SelfAttention.", stack, layer);
    const weight_parts qkv = {.prefix = prefix, .part = part, .n_part = 3, .rows = inner, .cols = dim,
                              .use = use_of(stack)};
    WEIR_TRY(load_weight(ld, &qkv, &s->qkv));
    return load_matrix(ld, prefix, "o", dim, inner, use_of(stack), &s->o);
}

static weir_status load_cross(loader *ld, int layer, t5_cross *s) {
    static const char *const part[] = {"k", "v"};
    const int64_t dim = ld->m->c.dim, inner = ld->m->inner;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.", layer);
    WEIR_TRY(load_norm(ld, prefix, "layer_norm", &s->norm));
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.EncDecAttention.", layer);
    const weight_parts kv = {.prefix = prefix, .part = part, .n_part = 2, .rows = inner, .cols = dim,
                             .use = WEIR_USE_PREFILL};
    WEIR_TRY(load_matrix(ld, prefix, "q", inner, dim, WEIR_USE_ROWS, &s->q));
    WEIR_TRY(load_weight(ld, &kv, &s->kv));
    ld->cross_kv_bytes += bytes_of(&s->kv);
    return load_matrix(ld, prefix, "o", dim, inner, WEIR_USE_ROWS, &s->o);
}

/* sub: the sub-layer's index in its block, 1 in the encoder, 2 in the decoder. */
static weir_status load_ff(loader *ld, const char *stack, int layer, int sub, t5_ff *f) {
    static const char *const gated[] = {"wi_0", "wi_1"}, *const plain[] = {"wi"};
    const weir_t5_config *c = &ld->m->c;
    char prefix[PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.", stack, layer, sub);
    WEIR_TRY(load_norm(ld, prefix, "layer_norm", &f->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.DenseReluDense.", stack, layer, sub);
    const weight_parts wi = {.prefix = prefix, .part = c->gated ? gated : plain, .n_part = c->gated ? 2 : 1,
                             .rows = c->ff_dim, .cols = c->dim, .gated = c->gated, .use = use_of(stack)};
    WEIR_TRY(load_weight(ld, &wi, &f->wi));
    return load_matrix(ld, prefix, "wo", c->dim, c->ff_dim, use_of(stack), &f->wo);
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
    WEIR_TRY(load_matrix(ld, "", name, m->c.n_vocab_rows, m->c.dim, m->c.tied ? WEIR_USE_ROWS : WEIR_USE_PREFILL,
                         &m->embed));
    m->head = &m->embed;
    if (m->c.tied) return WEIR_OK; /* an lm_head in the file is not used then, as transformers does */
    m->head = &m->untied_head;
    return load_matrix(ld, "", "lm_head", m->c.n_vocab_rows, m->c.dim, WEIR_USE_ROWS, &m->untied_head);
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

weir_status weir__t5_load(t5_model *m, const weir_tensor_source *src, bool device, float *vectors, weir_err *err) {
    loader ld = {.m = m, .src = src, .device = device, .err = err, .vectors = vectors};
    weir_model_facts *f = &m->base.facts;
    weir_t5_facts(&m->c, WEIR_DTYPE_F32, device, f);
    f->weight_bytes = 4 * weir__t5_vector_floats(&m->c);
    WEIR_TRY(load_embedding(&ld));
    WEIR_TRY(load_encoder(&ld));
    const size_t before = f->weight_bytes;
    WEIR_TRY(load_decoder(&ld));
    f->decode_bytes = bytes_of(m->head) + (f->weight_bytes - before) - ld.cross_kv_bytes;
    f->dtype = m->head->dtype;
    f->kv_dtype = weir__t5_kv_dtype(device, f->dtype);
    return WEIR_OK;
}
