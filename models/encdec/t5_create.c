/* A T5's memory: what create takes, in which order, and how it is given back. */
#include <math.h>

#include "kernels/base/mem.h"
#include "models/parts/product.h"
#include "models/encdec/t5.h"

/* Bounds far above any T5, so that no product below overflows; the buckets need two exact ones a
 * direction and a logarithm that grows. */
static weir_status check_config(const weir_t5_config *c, int64_t n_row, int64_t n_prompt, weir_err *err) {
    const model_bound bound[] = {
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
    WEIR_TRY(weir__check_bounds("t5", bound, sizeof bound / sizeof *bound, err));
    if (!(c->eps >= 0.0f)) return weir_fail(err, WEIR_EINVAL, "t5 config: layer_norm_epsilon is negative");
    return WEIR_OK;
}

static const weir_model_ops t5_ops = {.name = "t5",
                                      .load = weir__t5_load,
                                      .alloc_layers = weir__encdec_alloc_layers,
                                      .free_layers = weir__encdec_free_layers,
                                      .prefill = weir__encdec_prefill,
                                      .append = weir__encdec_append,
                                      .rest = weir__encdec_rest};

static model_shape shape_of(const weir_t5_config *c) {
    return (model_shape){.dim = c->dim,
                         .ff_dim = c->ff_dim,
                         .n_head = c->n_head,
                         .n_head_kv = c->n_head,
                         .head_dim = c->head_dim,
                         .n_vocab_rows = c->n_vocab_rows,
                         .gated = c->gated,
                         .dense = true,
                         .encoder = true,
                         .enc = {.dim = c->dim,
                                 .ff_dim = c->ff_dim,
                                 .n_head = c->n_head,
                                 .n_head_kv = c->n_head,
                                 .head_dim = c->head_dim}};
}

weir_bytes weir__t5_scratch_bytes(const weir_t5_config *c, const weir_backend *be, const weir_model_facts *f,
                                  weir_place place, int64_t n_row, int64_t n_prompt) {
    const model_shape s = weir__shape_of_facts(shape_of(c), place, f);
    return weir__scratch_bytes(&s, be, f->kv_dtype, n_row, n_prompt);
}

size_t weir__t5_op_floats(const weir_t5_config *c, const weir_backend *be, int64_t n_row, int64_t n_key) {
    const model_shape s = shape_of(c);
    return weir__op_floats(&s, be, n_row, n_key);
}

static t5_model model_of(const weir_t5_config *c, weir_backend *be, weir_place place, int64_t n_row,
                         int64_t n_prompt) {
    const attention_kind plain = {.scale = 1.0f};
    t5_model t = {.m = {.base = {.ops = &t5_ops,
                                 .be = be,
                                 .shape = weir__shape_at(shape_of(c), place),
                                 .eps = c->eps,
                                 .act = weir__epilogue_of(c->act),
                                 .n_row = n_row,
                                 .n_prompt = n_prompt},
                        .n_enc = c->n_enc_layer,
                        .n_dec = c->n_dec_layer,
                        .cross_kind = plain,
                        .enc_embed_scale = 1.0f},
                  .c = *c,
                  .enc_kind = plain,
                  .dec_kind = plain};
    t.m.base.head = (model_head){.embed_scale = 1.0f, .scale = c->tied ? 1.0f / sqrtf((float)c->dim) : 1.0f};
    t.enc_kind.bias_left = t.enc_kind.bias_right = t.dec_kind.bias_left = c->max_distance;
    return t;
}

weir_status weir__t5_tensors(const weir_t5_config *c, weir_tensor_visit visit, void *ud) {
    t5_model t = model_of(c, NULL, (weir_place){0}, 1, 1);
    return weir__model_tensors(&t.m.base, visit, ud);
}

void weir__t5_facts(const weir_t5_config *c, weir_dtype dtype, weir_place place, weir_model_facts *out) {
    t5_model t = model_of(c, NULL, place, 1, 1);
    (void)weir__model_measure(&t.m.base, NULL, dtype, out, NULL); /* no file: nothing can be missing */
}

weir_status weir__t5_measure(const weir_t5_config *c, const weir_tensor_source *src, weir_place place,
                             weir_model_facts *out, weir_err *err) {
    if (!c || !src || !src->find || !out) return weir_fail(err, WEIR_EINVAL, "t5: NULL argument");
    WEIR_TRY(check_config(c, 1, 1, err));
    t5_model t = model_of(c, NULL, place, 1, 1);
    return weir__model_measure(&t.m.base, src, WEIR_DTYPE_F32, out, err);
}

weir_status weir__t5_create(weir_model **out, weir_backend *be, const weir_t5_config *c,
                            const weir_tensor_source *src, bool whole_body, int64_t n_row, int64_t n_prompt,
                            weir_err *err) {
    if (!out || !be || !c || !src || !src->find) return weir_fail(err, WEIR_EINVAL, "t5: NULL argument");
    WEIR_TRY(check_config(c, n_row, n_prompt, err));
    t5_model *t = weir_calloc(1, sizeof *t);
    if (!t) return weir_fail(err, WEIR_ENOMEM, "t5: out of host memory");
    *t = model_of(c, be, weir__place_of(be, whole_body), n_row, n_prompt);
    WEIR_TRY(weir__model_create(&t->m.base, src, err));
    *out = &t->m.base;
    return WEIR_OK;
}
