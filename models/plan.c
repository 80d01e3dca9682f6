/* The memory plan and the load use the same functions, so that they cannot drift apart. */
#include "models/parts/attention.h"
#include "models/parts/experts.h"
#include "models/parts/feed_forward.h"
#include "models/parts/head.h"

weir_bytes weir__scratch_bytes(const model_shape *s, const weir_backend *be, weir_dtype kv_dtype,
                               int64_t n_row, int64_t n_prompt) {
    const arena_bounds b = {n_row, n_prompt, be->chunk, kv_dtype};
    model_arena a;
    weir__model_arena_place(s, &b, NULL, &a);
    return (weir_bytes){.backend = a.bytes,
                        .host = be->device ? 4 * (size_t)weir__stage_ints(s, n_prompt) : 0};
}

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static size_t more(size_t a, size_t b) { return a > b ? a : b; }

static int64_t widest(const model_shape *s) {
    const int64_t ff = max64(s->dense ? s->ff_dim : 0, max64(s->expert_ff, s->shared_ff));
    return max64(max64(s->dim, weir__inner(s)), ff);
}

static size_t layer_floats(const model_shape *s, int64_t chunk, int64_t n_row, int64_t n_key) {
    size_t most = weir__attention_floats(s, chunk, n_row, n_key);
    if (s->dense) most = more(most, weir__feed_forward_floats(s, chunk));
    if (s->n_expert > 0) most = more(most, weir__experts_floats(s, chunk));
    return most;
}

/* A device runs one op at a time: the most that any block asks for. */
size_t weir__op_floats(const model_shape *s, const weir_backend *be, int64_t n_row, int64_t n_key) {
    const model_shape e = weir__encoder_shape(s);
    if (!be->device) return weir__linear_scratch_floats(max64(widest(s), widest(&e)));
    const size_t own = more(layer_floats(s, be->chunk, n_row, n_key), weir__head_floats(s));
    if (!s->encoder) return own;
    return more(own, more(layer_floats(&e, be->chunk, n_row, n_key), weir__cross_floats(s, be->chunk)));
}
