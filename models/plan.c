/* The memory plan and the load use the same functions, so that they cannot drift apart. */
#include "models/impl.h"

weir_bytes weir__scratch_bytes(const model_shape *s, const weir_backend *be, weir_dtype kv_dtype,
                               int64_t n_row, int64_t n_prompt) {
    const arena_bounds b = {n_row, n_prompt, be->chunk, kv_dtype};
    model_arena a;
    weir__arena_place(s, &b, NULL, &a);
    return (weir_bytes){.backend = a.bytes,
                        .host = be->device ? 4 * (size_t)weir__stage_ints(s, n_prompt) : 0};
}

enum {
    ATTEND_ROWS = 256, /* rows that attention has scratch for at once; the op cuts larger calls */
    ATTEND_GROUP = 32, /* of them, what it must have: a block's rows of a slot; larger groups go row by row */
    ATTEND_FLOATS = 16 << 20, /* a decoder's long contexts are cut to fewer rows beyond this many */
};

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* A device's products, whose largest call is a prompt's chunk, and the head, which prompts never see. */
static size_t product_floats(const model_shape *s, int64_t chunk) {
    const int64_t dim = s->dim, inner = weir__inner(s), kv = weir__inner_kv(s);
    const struct {
        int64_t n, k, chunk;
    } shape[] = {{weir__width(s), dim, chunk},
                 {inner + kv, dim, chunk},
                 {inner, dim, chunk},
                 {2 * kv, dim, chunk},
                 {kv, dim, chunk},
                 {dim, inner, chunk},
                 {(s->gated ? 2 : 1) * s->ff_dim, dim, chunk},
                 {dim, s->ff_dim, chunk},
                 {s->n_vocab_rows, dim, 0}};
    size_t most = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const size_t one = weir_linear_cuda_scratch_floats(shape[i].n, shape[i].k, shape[i].chunk);
        if (one > most) most = one;
    }
    return most;
}

static size_t attend_floats(const model_shape *s, int64_t chunk, int64_t n_row, int64_t n_key) {
    const int64_t keys = (n_key + WEIR_PAGE - 1) / WEIR_PAGE * WEIR_PAGE;
    const int64_t most = max64(min64(n_row, ATTEND_ROWS), chunk), few = min64(most, ATTEND_GROUP);
    const size_t all = weir_attention_cuda_scratch_floats(most, s->n_head, s->head_dim, keys, 0);
    const size_t least = weir_attention_cuda_scratch_floats(few, s->n_head, s->head_dim, keys, 0);
    if (all <= ATTEND_FLOATS || s->encoder) return all;
    return least > ATTEND_FLOATS ? least : ATTEND_FLOATS;
}

size_t weir__op_floats(const model_shape *s, const weir_backend *be, int64_t n_row, int64_t n_key) {
    if (!be->device) return weir_linear_scratch_floats(max64(max64(s->dim, weir__inner(s)), s->ff_dim));
    const size_t product = product_floats(s, be->chunk), attend = attend_floats(s, be->chunk, n_row, n_key);
    return product > attend ? product : attend;
}
