#include "models/t5.h"

/* Memory: every size that create allocates is computed here, so that the plan and the load cannot drift apart. */

int64_t weir__t5_vector_stride(int64_t n) { return (n + 15) / 16 * 16; }

size_t weir__t5_vector_floats(const weir_t5_config *c) {
    const int64_t norms = 2 * (int64_t)c->n_enc_layer + 3 * (int64_t)c->n_dec_layer + 2;
    const int64_t enc = (int64_t)c->n_head * (2 * (int64_t)c->max_distance + 1);
    const int64_t dec = (int64_t)c->n_head * ((int64_t)c->max_distance + 1);
    return (size_t)(norms * weir__t5_vector_stride(c->dim) + weir__t5_vector_stride(enc) +
                    weir__t5_vector_stride(dec));
}

void weir_t5_facts(const weir_t5_config *c, weir_dtype dtype, weir_model_facts *out) {
    const int64_t dim = c->dim, inner = (int64_t)c->n_head * c->head_dim, ff = c->ff_dim;
    const int64_t vocab = c->n_vocab_rows, n_table = c->tied ? 1 : 2;
    const size_t self =
        weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, 3 * inner, dim, false) + weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, dim, inner, false);
    const size_t cross_kv = weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, 2 * inner, dim, false); /* prompts only */
    const size_t cross = weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, inner, dim, false) + cross_kv +
                         weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, dim, inner, false);
    const size_t mlp = weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, ff, dim, c->gated) + weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, dim, ff, false);
    const int64_t mlp_param = (c->gated ? 3 : 2) * ff * dim, att_param = 4 * inner * dim;

    *out = (weir_model_facts){
        .n_param = n_table * vocab * dim + c->n_enc_layer * (att_param + mlp_param + 2 * dim) +
                   c->n_dec_layer * (2 * att_param + mlp_param + 3 * dim) + 2 * dim +
                   2 * (int64_t)c->n_bucket * c->n_head,
        .weight_bytes = (size_t)n_table * weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, vocab, dim, false) +
                        (size_t)c->n_enc_layer * (self + mlp) +
                        (size_t)c->n_dec_layer * (self + cross + mlp) + 4 * weir__t5_vector_floats(c),
        .decode_bytes = weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, vocab, dim, false) +
                        (size_t)c->n_dec_layer * (self + cross - cross_kv + mlp),
        .n_vocab_rows = c->n_vocab_rows,
        .n_layer_self = c->n_dec_layer,
        .n_head_kv = c->n_head,
        .head_dim = c->head_dim,
        .n_layer_cross = c->n_dec_layer,
        .encoder_decoder = true,
        .dtype = dtype,
    };
}

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Next `elements` of 4 bytes at a 64-byte boundary. */
static void *take(char *base, size_t *used, int64_t elements) {
    void *p = base ? base + *used : NULL;
    *used += ((size_t)elements * 4 + 63) / 64 * 64;
    return p;
}

void weir__t5_arena(const weir_t5_config *c, int64_t n_row, int64_t n_prompt, void *base, t5_arena *a) {
    const int64_t inner = (int64_t)c->n_head * c->head_dim;
    const int64_t all = max64(n_row, n_prompt), chunk = max64(n_row, WEIR_PAGE);
    const int64_t n_page = (n_prompt + WEIR_PAGE - 1) / WEIR_PAGE;
    size_t used = 0;
    a->x = take(base, &used, all * c->dim);
    a->qkv = take(base, &used, all * 3 * inner);
    a->att = take(base, &used, chunk * inner);
    a->h = take(base, &used, chunk * max64(c->ff_dim, 2 * inner));
    a->enc_pool = take(base, &used, n_page * weir_kv_page_elems(1, c->n_head, c->head_dim));
    a->token = take(base, &used, all);
    a->pos = take(base, &used, all);
    a->slot = take(base, &used, all);
    a->n_key = take(base, &used, all);
    a->n_src = take(base, &used, all);
    a->table = take(base, &used, n_page);
    a->bytes = used;
}

size_t weir__t5_op_scratch_floats(const weir_t5_config *c) {
    const int64_t inner = (int64_t)c->n_head * c->head_dim;
    return weir_linear_scratch_floats(max64(max64(c->dim, inner), c->ff_dim));
}

size_t weir_t5_scratch_bytes(const weir_t5_config *c, int64_t n_row, int64_t n_prompt, int n_thread) {
    t5_arena a;
    weir__t5_arena(c, n_row, n_prompt, NULL, &a);
    const size_t per_worker = (weir__t5_op_scratch_floats(c) + 15) / 16 * 16; /* as the backend rounds it */
    return a.bytes + (size_t)n_thread * per_worker * sizeof(float);
}
