#include "models/decoder.h"

/* Memory: every size that create allocates is computed here, so that the plan and the load cannot drift apart. */

static int64_t width_of(const weir_decoder_config *c) { return ((int64_t)c->n_head + 2 * c->n_head_kv) * c->head_dim; }

enum {
    ATTEND_ROWS = 256,         /* rows that attention has scratch for at once; calls of more are cut by the op */
    ATTEND_GROUP = 32,         /* of them, what it must have: a block's rows of a slot; a larger group goes row by row */
    ATTEND_FLOATS = 16 << 20,  /* beyond that many, long contexts are cut to fewer rows instead */
};

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Next `bytes` at a boundary of 256, which suits the vectors of every backend. */
static void *take(char *base, size_t *used, int64_t elements) {
    void *p = base ? base + *used : NULL;
    *used += ((size_t)elements * 4 + 255) / 256 * 256;
    return p;
}

int64_t weir__decoder_stage_ints(int64_t n_prompt) { return max64(2 * weir__stride(n_prompt), n_prompt + 1); }

void weir__decoder_arena(const weir_decoder_config *c, const decoder_bounds *n, void *base, decoder_arena *a) {
    const int64_t inner = (int64_t)c->n_head * c->head_dim, rows = max64(n->n_row, n->chunk);
    int32_t **const by_row[] = {&a->n_key, &a->out_slot, &a->out_pos, &a->out_key};
    size_t used = 0;
    a->x = take(base, &used, rows * c->dim);
    a->qkv = take(base, &used, rows * width_of(c));
    a->att = take(base, &used, rows * inner);
    a->h = take(base, &used, rows * c->ff_dim);
    a->sub = take(base, &used, c->post_norms ? rows * c->dim : 0);
    a->x_out = take(base, &used, n->n_row * c->dim);
    a->q_out = take(base, &used, n->n_row * inner);
    a->prompt = take(base, &used, weir__decoder_stage_ints(n->n_prompt));
    a->iota = take(base, &used, n->n_prompt + 1);
    for (size_t i = 0; i < sizeof by_row / sizeof *by_row; i++) *by_row[i] = take(base, &used, n->n_row);
    a->bytes = used;
}

weir_bytes weir_decoder_scratch_bytes(const weir_decoder_config *c, const weir_backend *be, weir_dtype kv_dtype,
                                      int64_t n_row, int64_t n_prompt) {
    (void)kv_dtype; /* no pages of its own */
    const decoder_bounds n = {n_row, n_prompt, be->chunk};
    decoder_arena a;
    weir__decoder_arena(c, &n, NULL, &a);
    return (weir_bytes){.backend = a.bytes, .host = be->device ? 4 * (size_t)weir__decoder_stage_ints(n_prompt) : 0};
}

/* A device's products, whose largest call is a prompt's chunk, and the head, which prompts never see. */
static size_t product_floats(const weir_decoder_config *c, int64_t chunk) {
    const int64_t dim = c->dim, inner = (int64_t)c->n_head * c->head_dim, ff = c->ff_dim;
    const struct {
        int64_t n, k, chunk;
    } shape[] = {{width_of(c), dim, chunk}, {inner, dim, chunk}, {inner + (int64_t)c->n_head_kv * c->head_dim, dim, chunk},
                 {2 * (int64_t)c->n_head_kv * c->head_dim, dim, chunk}, {(int64_t)c->n_head_kv * c->head_dim, dim, chunk},
                 {dim, inner, chunk}, {2 * ff, dim, chunk}, {dim, ff, chunk}, {c->n_vocab_rows, dim, 0}};
    size_t most = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const size_t one = weir_linear_cuda_scratch_floats(shape[i].n, shape[i].k, shape[i].chunk);
        if (one > most) most = one;
    }
    return most;
}

static size_t attend_floats(const weir_decoder_config *c, int64_t n_row, int64_t chunk, int64_t n_key) {
    const int64_t keys = (n_key + WEIR_PAGE - 1) / WEIR_PAGE * WEIR_PAGE, most = max64(min64(n_row, ATTEND_ROWS), chunk);
    const size_t all = weir_attention_cuda_scratch_floats(most, c->n_head, c->head_dim, keys, 0);
    const size_t least = weir_attention_cuda_scratch_floats(min64(most, ATTEND_GROUP), c->n_head, c->head_dim, keys, 0);
    if (all <= ATTEND_FLOATS) return all;
    return least > ATTEND_FLOATS ? least : ATTEND_FLOATS;
}

size_t weir_decoder_op_floats(const weir_decoder_config *c, const weir_backend *be, int64_t n_row, int64_t n_key) {
    const int64_t inner = (int64_t)c->n_head * c->head_dim;
    if (!be->device) return weir_linear_scratch_floats(max64(max64(c->dim, inner), c->ff_dim));
    const size_t product = product_floats(c, be->chunk), attend = attend_floats(c, n_row, be->chunk, n_key);
    return product > attend ? product : attend;
}
