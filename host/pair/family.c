#include "host/pair/family.h"

/* ---- T5 ------------------------------------------------------------------------------------------------ */

static weir_status t5_measure(const weir_checkpoint *ck, const weir_tensor_source *src, weir_place place,
                              weir_model_facts *out, weir_err *err) {
    return weir__t5_measure(&ck->t5, src, place, out, err);
}

static weir_bytes t5_scratch_bytes(const weir_checkpoint *ck, const weir_backend *be,
                                   const weir_model_facts *f, weir_place place, int64_t n_row,
                                   int64_t n_prompt) {
    return weir__t5_scratch_bytes(&ck->t5, be, f, place, n_row, n_prompt);
}

static size_t t5_op_floats(const weir_checkpoint *ck, const weir_backend *be, int64_t n_row, int64_t n_key) {
    return weir__t5_op_floats(&ck->t5, be, n_row, n_key);
}

static weir_status t5_create(weir_model **out, weir_backend *be, const weir_checkpoint *ck,
                             const weir_tensor_source *src, bool whole_body, int64_t n_row, int64_t n_prompt,
                             weir_err *err) {
    return weir__t5_create(out, be, &ck->t5, src, whole_body, n_row, n_prompt, err);
}

static void t5_note(const weir_checkpoint *ck, int i, weir_engine_facts *f) {
    f->n_layer_enc[i] = ck->t5.n_enc_layer;
    f->n_layer_dec[i] = ck->t5.n_dec_layer;
    f->dim[i] = ck->t5.dim;
    f->ff_dim[i] = ck->t5.ff_dim;
    f->n_head[i] = f->n_head_kv[i] = ck->t5.n_head;
    f->head_dim[i] = ck->t5.head_dim;
}

static int32_t t5_ctx_default(const weir_checkpoint *ck) {
    (void)ck;
    return 512;
}

/* ---- decoders ------------------------------------------------------------------------------------------ */

static weir_status decoder_measure(const weir_checkpoint *ck, const weir_tensor_source *src, weir_place place,
                                   weir_model_facts *out, weir_err *err) {
    return weir__decoder_measure(&ck->decoder, src, place, out, err);
}

static weir_bytes decoder_scratch_bytes(const weir_checkpoint *ck, const weir_backend *be,
                                        const weir_model_facts *f, weir_place place, int64_t n_row,
                                        int64_t n_prompt) {
    return weir__decoder_scratch_bytes(&ck->decoder, be, f, place, n_row, n_prompt);
}

static size_t decoder_op_floats(const weir_checkpoint *ck, const weir_backend *be, int64_t n_row,
                                int64_t n_key) {
    return weir__decoder_op_floats(&ck->decoder, be, n_row, n_key);
}

static weir_status decoder_create(weir_model **out, weir_backend *be, const weir_checkpoint *ck,
                                  const weir_tensor_source *src, bool whole_body, int64_t n_row,
                                  int64_t n_prompt, weir_err *err) {
    return weir__decoder_create(out, be, &ck->decoder, src, whole_body, n_row, n_prompt, err);
}

/* Which of longrope's divisors count follows from the context, as in models/decoder/decoder_load.c. */
static const char *rope_name(const weir_rope_config *r, int32_t n_ctx) {
    static const char *const names[] = {"plain", "linear", "llama3", "yarn", "longrope, short divisors"};
    return r->kind == WEIR_ROPE_LONGROPE && n_ctx > r->n_ctx_original ? "longrope, long divisors"
                                                                      : names[r->kind];
}

static void decoder_note(const weir_checkpoint *ck, int i, weir_engine_facts *f) {
    const weir_decoder_config *c = &ck->decoder;
    f->n_layer_dec[i] = c->n_layer;
    f->dim[i] = c->dim;
    f->ff_dim[i] = c->ff_dim;
    if (c->experts.n > 0) {
        f->n_expert[i] = c->experts.n;
        f->n_expert_used[i] = c->experts.n_used;
        f->expert_ff[i] = c->experts.ff_dim;
        f->shared_ff[i] = c->experts.shared_ff;
    }
    f->n_head[i] = c->n_head;
    f->n_head_kv[i] = c->n_head_kv;
    f->head_dim[i] = c->head_dim;
    f->window[i] = c->window;
    for (int32_t k = 0; k < c->n_layer; k++) f->n_layer_sliding[i] += c->sliding[k];
    f->n_ctx_train[i] = c->n_ctx_train;
    f->rope[i] = rope_name(&c->rope, f->ctx_size);
    f->rope_theta[i] = c->rope.theta;
    f->rope_factor[i] = c->rope.factor;
    f->rope_theta_sliding[i] = c->window > 0 ? c->rope_sliding.theta : 0.0f;
}

static int32_t decoder_ctx_default(const weir_checkpoint *ck) {
    const int32_t trained = ck->decoder.n_ctx_train;
    return trained > 0 && trained < 4096 ? trained : 4096;
}

/* ---- T5Gemma ------------------------------------------------------------------------------------------- */

static weir_t5gemma_config stacks_of(const weir_checkpoint *ck) {
    return (weir_t5gemma_config){.enc = &ck->encoder, .dec = &ck->decoder};
}

static weir_status t5gemma_measure(const weir_checkpoint *ck, const weir_tensor_source *src, weir_place place,
                                   weir_model_facts *out, weir_err *err) {
    const weir_t5gemma_config c = stacks_of(ck);
    return weir__t5gemma_measure(&c, src, place, out, err);
}

static weir_bytes t5gemma_scratch_bytes(const weir_checkpoint *ck, const weir_backend *be,
                                        const weir_model_facts *f, weir_place place, int64_t n_row,
                                        int64_t n_prompt) {
    const weir_t5gemma_config c = stacks_of(ck);
    return weir__t5gemma_scratch_bytes(&c, be, f, place, n_row, n_prompt);
}

static size_t t5gemma_op_floats(const weir_checkpoint *ck, const weir_backend *be, int64_t n_row,
                                int64_t n_key) {
    const weir_t5gemma_config c = stacks_of(ck);
    return weir__t5gemma_op_floats(&c, be, n_row, n_key);
}

static weir_status t5gemma_create(weir_model **out, weir_backend *be, const weir_checkpoint *ck,
                                  const weir_tensor_source *src, bool whole_body, int64_t n_row,
                                  int64_t n_prompt, weir_err *err) {
    const weir_t5gemma_config c = stacks_of(ck);
    return weir__t5gemma_create(out, be, &c, src, whole_body, n_row, n_prompt, err);
}

static void t5gemma_note(const weir_checkpoint *ck, int i, weir_engine_facts *f) {
    const weir_decoder_config *e = &ck->encoder;
    decoder_note(ck, i, f);
    f->n_layer_enc[i] = e->n_layer;
    f->dim_enc[i] = e->dim;
    f->ff_dim_enc[i] = e->ff_dim;
    f->n_head_enc[i] = e->n_head;
    f->n_head_kv_enc[i] = e->n_head_kv;
    f->head_dim_enc[i] = e->head_dim;
}

/* Prompt and output have positions of their own: together a decoder's. */
static int32_t t5gemma_ctx_default(const weir_checkpoint *ck) { return decoder_ctx_default(ck) / 2; }

static const weir_family families[] = {
    [WEIR_FAMILY_T5] = {.encoder_decoder = true,
                        .ends_prompts = true,
                        .measure = t5_measure,
                        .scratch_bytes = t5_scratch_bytes,
                        .op_floats = t5_op_floats,
                        .create = t5_create,
                        .note = t5_note,
                        .ctx_default = t5_ctx_default},
    [WEIR_FAMILY_DECODER] = {.encoder_decoder = false,
                             .measure = decoder_measure,
                             .scratch_bytes = decoder_scratch_bytes,
                             .op_floats = decoder_op_floats,
                             .create = decoder_create,
                             .note = decoder_note,
                             .ctx_default = decoder_ctx_default},
    [WEIR_FAMILY_T5GEMMA] = {.encoder_decoder = true,
                             .measure = t5gemma_measure,
                             .scratch_bytes = t5gemma_scratch_bytes,
                             .op_floats = t5gemma_op_floats,
                             .create = t5gemma_create,
                             .note = t5gemma_note,
                             .ctx_default = t5gemma_ctx_default},
};

const weir_family *weir__family_of(const weir_checkpoint *ck) { return &families[ck->kind]; }
