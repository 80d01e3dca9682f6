/* A T5Gemma's memory: what create takes, in which order, and how it is given back. */
#include "kernels/base/mem.h"
#include "models/parts/product.h"
#include "models/encdec/t5gemma.h"

/* ---- what may be asked for ----------------------------------------------------------------------------- */

/* A stack of Gemma 2's kind: what other decoders have, no T5Gemma has. */
static const char *wrong_choice(const weir_decoder_config *c) {
    if (!c->post_norms || c->no_pre_norms) return "norms before and after each sub-layer are needed";
    if (c->qk_norm || c->qk_norm_whole) return "norms of q and k";
    if (c->qkv_bias) return "biases of q, k and v";
    if (c->fused) return "fused matrices";
    if (c->logit_scale > 0.0f) return "a scale of logits";
    for (int i = 0; i < c->n_layer; i++)
        if (c->no_rope[i]) return "layers without positions";
    return NULL;
}

static weir_status check_stack(const char *name, const weir_decoder_config *c, weir_place place,
                               int64_t n_row, int64_t n_prompt, weir_err *err) {
    weir_err why = {""};
    const weir_status s = weir__decoder_check(c, place, n_row, n_prompt, &why);
    if (s != WEIR_OK) return weir_fail(err, s, "t5gemma, %s: %s", name, why.text);
    const char *wrong = wrong_choice(c);
    return wrong ? weir_fail(err, WEIR_EINVAL, "t5gemma config, %s: %s", name, wrong) : WEIR_OK;
}

/* What both stacks read from one place. */
static weir_status check_config(const weir_t5gemma_config *c, weir_place place, int64_t n_row,
                                int64_t n_prompt, weir_err *err) {
    const weir_decoder_config *e = c->enc, *d = c->dec;
    WEIR_TRY(check_stack("encoder", e, place, n_row, n_prompt, err));
    WEIR_TRY(check_stack("decoder", d, place, n_row, n_prompt, err));
    const char *differs = e->n_vocab_rows != d->n_vocab_rows     ? "vocab_size"
                          : e->eps != d->eps                     ? "rms_norm_eps"
                          : e->act != d->act                     ? "hidden_activation"
                          : e->norm_one_plus != d->norm_one_plus ? "norm_one_plus"
                                                                 : NULL;
    if (!differs) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "t5gemma config: %s differs between encoder and decoder", differs);
}

/* ---- create -------------------------------------------------------------------------------------------- */

static const weir_model_ops t5gemma_ops = {.name = "t5gemma",
                                           .load = weir__t5gemma_load,
                                           .alloc_layers = weir__encdec_alloc_layers,
                                           .free_layers = weir__encdec_free_layers,
                                           .prefill = weir__encdec_prefill,
                                           .append = weir__encdec_append,
                                           .rest = weir__encdec_rest};

static model_shape shape_of(const weir_t5gemma_config *c) {
    const weir_decoder_config *e = c->enc, *d = c->dec;
    return (model_shape){.dim = d->dim,
                         .ff_dim = d->ff_dim,
                         .n_head = d->n_head,
                         .n_head_kv = d->n_head_kv,
                         .head_dim = d->head_dim,
                         .n_vocab_rows = d->n_vocab_rows,
                         .gated = true,
                         .dense = true,
                         .post_norms = true,
                         .encoder = true,
                         .enc = {.dim = e->dim,
                                 .ff_dim = e->ff_dim,
                                 .n_head = e->n_head,
                                 .n_head_kv = e->n_head_kv,
                                 .head_dim = e->head_dim,
                                 .window = weir__decoder_slides(e) ? e->window : 0}};
}

weir_bytes weir__t5gemma_scratch_bytes(const weir_t5gemma_config *c, const weir_backend *be,
                                       const weir_model_facts *f, weir_place place, int64_t n_row,
                                       int64_t n_prompt) {
    const model_shape s = weir__shape_of_facts(shape_of(c), place, f);
    return weir__scratch_bytes(&s, be, f->kv_dtype, n_row, n_prompt);
}

size_t weir__t5gemma_op_floats(const weir_t5gemma_config *c, const weir_backend *be, int64_t n_row,
                               int64_t n_key) {
    const model_shape s = shape_of(c);
    return weir__op_floats(&s, be, n_row, n_key);
}

static t5gemma_model model_of(const weir_t5gemma_config *c, weir_backend *be, weir_place place, int64_t n_row,
                              int64_t n_prompt) {
    const weir_decoder_config *e = c->enc, *d = c->dec;
    t5gemma_model t = {.m = {.base = {.ops = &t5gemma_ops,
                                      .be = be,
                                      .shape = weir__shape_at(shape_of(c), place),
                                      .eps = d->eps,
                                      .act = weir__epilogue_of(d->act),
                                      .head = {.embed_scale = d->embed_scale, .softcap = d->final_softcap},
                                      .n_row = n_row,
                                      .n_prompt = n_prompt},
                             .n_enc = e->n_layer,
                             .n_dec = d->n_layer,
                             .cross_kind = {.scale = d->attention_scale, .softcap = d->attention_softcap},
                             .separate = true,
                             .enc_embed_scale = e->embed_scale},
                       .enc = *e,
                       .dec = *d};
    weir__decoder_kinds(&t.enc, t.enc_kind);
    weir__decoder_kinds(&t.dec, t.dec_kind);
    if (t.enc_kind[1].window > 0) t.enc_kind[1].ahead = t.enc_kind[1].window - 1;
    return t;
}

weir_status weir__t5gemma_tensors(const weir_t5gemma_config *c, weir_tensor_visit visit, void *ud) {
    t5gemma_model t = model_of(c, NULL, (weir_place){0}, 1, 1);
    return weir__model_tensors(&t.m.base, visit, ud);
}

weir_status weir__t5gemma_measure(const weir_t5gemma_config *c, const weir_tensor_source *src,
                                  weir_place place, weir_model_facts *out, weir_err *err) {
    if (!c || !c->enc || !c->dec || !src || !src->find || !out)
        return weir_fail(err, WEIR_EINVAL, "t5gemma: NULL argument");
    WEIR_TRY(check_config(c, place, 1, 1, err));
    t5gemma_model t = model_of(c, NULL, place, 1, 1);
    return weir__model_measure(&t.m.base, src, WEIR_DTYPE_F32, out, err);
}

weir_status weir__t5gemma_create(weir_model **out, weir_backend *be, const weir_t5gemma_config *c,
                                 const weir_tensor_source *src, bool whole_body, int64_t n_row,
                                 int64_t n_prompt, weir_err *err) {
    if (!out || !be || !c || !c->enc || !c->dec || !src || !src->find)
        return weir_fail(err, WEIR_EINVAL, "t5gemma: NULL argument");
    const weir_place place = weir__place_of(be, whole_body);
    WEIR_TRY(check_config(c, place, n_row, n_prompt, err));
    t5gemma_model *t = weir_calloc(1, sizeof *t);
    if (!t) return weir_fail(err, WEIR_ENOMEM, "t5gemma: out of host memory");
    *t = model_of(c, be, place, n_row, n_prompt);
    WEIR_TRY(weir__model_create(&t->m.base, src, err));
    *out = &t->m.base;
    return WEIR_OK;
}
