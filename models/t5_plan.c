#include "models/t5.h"

/* Memory: every size that create allocates is computed here, so that the plan and the load cannot drift apart. */

/* Rows that attention has scratch for at once; calls of more are cut by the op. */
enum { ATTEND_ROWS = 256 };

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Next `bytes` at a boundary of 256, which suits the vectors of every backend. */
static void *take(char *base, size_t *used, int64_t elements, int bytes) {
    void *p = base ? base + *used : NULL;
    *used += ((size_t)elements * (size_t)bytes + 255) / 256 * 256;
    return p;
}

int64_t weir__t5_stage_ints(int64_t n_prompt) { return 3 * weir__stride(n_prompt); }

void weir__t5_arena(const weir_t5_config *c, const t5_bounds *n, void *base, t5_arena *a) {
    const int64_t inner = (int64_t)c->n_head * c->head_dim;
    const int64_t all = max64(n->n_row, n->n_prompt), chunk = max64(n->n_row, n->chunk);
    const int64_t n_page = (n->n_prompt + WEIR_PAGE - 1) / WEIR_PAGE;
    int32_t **const by_row[] = {&a->n_key, &a->n_src, &a->out_slot, &a->out_pos, &a->out_key, &a->out_src};
    size_t used = 0;
    a->x = take(base, &used, all * c->dim, 4);
    a->qkv = take(base, &used, all * 3 * inner, 4);
    a->att = take(base, &used, chunk * inner, 4);
    a->h = take(base, &used, chunk * max64(c->ff_dim, 2 * inner), 4);
    a->x_out = take(base, &used, n->n_row * c->dim, 4);
    a->q_out = take(base, &used, n->n_row * inner, 4);
    a->enc_pool = take(base, &used, n_page * weir_kv_page_elems(1, c->n_head, c->head_dim),
                       weir_dtype_bytes(n->kv_dtype));
    a->prompt = take(base, &used, weir__t5_stage_ints(n->n_prompt), 4);
    a->iota = take(base, &used, n->n_prompt, 4);
    a->zero = take(base, &used, n->n_prompt, 4);
    for (size_t i = 0; i < sizeof by_row / sizeof *by_row; i++) *by_row[i] = take(base, &used, n->n_row, 4);
    a->bytes = used;
}

weir_bytes weir_t5_scratch_bytes(const weir_t5_config *c, const weir_backend *be, weir_dtype kv_dtype,
                                 int64_t n_row, int64_t n_prompt) {
    const t5_bounds n = {n_row, n_prompt, be->chunk, kv_dtype};
    t5_arena a;
    weir__t5_arena(c, &n, NULL, &a);
    return (weir_bytes){.backend = a.bytes,
                        .host = be->device ? 4 * (size_t)weir__t5_stage_ints(n_prompt) : 0};
}

/* A device's products: shapes of both stacks, whose largest call is a prompt's chunk, and the head, which prompts never
 * see. */
static size_t product_floats(const weir_t5_config *c, int64_t chunk) {
    const int64_t dim = c->dim, inner = (int64_t)c->n_head * c->head_dim, ff = c->ff_dim;
    const struct {
        int64_t n, k, chunk;
    } shape[] = {{3 * inner, dim, chunk},                   {dim, inner, chunk}, {inner, dim, chunk}, {2 * inner, dim, chunk},
                 {c->gated ? 2 * ff : ff, dim, chunk},      {dim, ff, chunk},    {c->n_vocab_rows, dim, 0}};
    size_t most = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const size_t one = weir_linear_cuda_scratch_floats(shape[i].n, shape[i].k, shape[i].chunk);
        if (one > most) most = one;
    }
    return most;
}

size_t weir_t5_op_floats(const weir_t5_config *c, const weir_backend *be, int64_t n_row, int64_t n_key) {
    const int64_t inner = (int64_t)c->n_head * c->head_dim;
    if (!be->device) return weir_linear_scratch_floats(max64(max64(c->dim, inner), c->ff_dim));
    const int64_t most = n_row < ATTEND_ROWS ? n_row : ATTEND_ROWS;
    const int64_t keys = (n_key + WEIR_PAGE - 1) / WEIR_PAGE * WEIR_PAGE;
    const size_t product = product_floats(c, be->chunk);
    const size_t attend =
        weir_attention_cuda_scratch_floats(max64(most, be->chunk), c->n_head, c->head_dim, keys, 0);
    return product > attend ? product : attend;
}
