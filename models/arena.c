/* Where activations are. */
#include "models/arena.h"

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* The next part of a block, at a boundary of 256, which suits the vectors of every backend. */
static void *take(char *base, size_t *used, int64_t elements, int bytes) {
    void *p = base && elements > 0 ? base + *used : NULL;
    *used += ((size_t)elements * (size_t)bytes + 255) / 256 * 256;
    return p;
}

int64_t weir__stage_ints(const model_shape *s, int64_t n_prompt) {
    return (!s->encoder ? 2 : s->enc.window > 0 ? 4 : 3) * weir__stride(n_prompt);
}

/* An encoder counts its keys once; a decoder's prompt counts them by position. */
int64_t weir__iota_ints(const model_shape *s, int64_t n_prompt) {
    return s->encoder ? n_prompt : n_prompt + 1;
}

void weir__model_arena_place(const model_shape *s, const arena_bounds *b, void *base, model_arena *a) {
    const model_shape e = weir__encoder_shape(s); /* zeros without one */
    const int64_t inner = weir__own_inner(s);
    const int64_t rows = b->n_row, chunk = max64(rows, b->chunk);
    const int64_t all = s->encoder ? b->n_prompt : 0, kept = s->encoder ? all : WEIR_PROMPTS_OPEN * b->chunk;
    const int64_t n_page = (all + WEIR_PAGE - 1) / WEIR_PAGE;
    size_t used = 0;
    a->x = take(base, &used, rows * s->dim, 4);
    a->qkv = take(base, &used, (s->encoder ? rows : chunk) * weir__own_width(s), 4);
    a->prompt_x = take(base, &used, kept * (s->encoder ? e.dim : s->dim), 4);
    a->prompt_qkv = take(base, &used, all * weir__width(&e), 4);
    a->att = take(base, &used, chunk * max64(inner, weir__inner(&e)), 4);
    const int64_t cross = s->encoder ? 2 * weir__inner_kv(s) : 0;
    const int64_t each = s->n_used * s->expert_ff * (s->biased ? 2 : 1);
    const int64_t ff = max64(s->dense ? s->own.n_ff : 0, max64(each, s->own.n_shared_ff));
    a->h = take(base, &used, chunk * max64(max64(ff, e.ff_dim), cross), 4);
    a->sub = take(base, &used, s->post_norms ? chunk * max64(s->dim, e.dim) : 0, 4);
    a->router = take(base, &used, chunk * s->n_expert, 4);
    a->entry = take(base, &used, chunk * s->n_used * s->dim, 4);
    a->shared = take(base, &used, s->shared_ff > 0 ? chunk * s->dim : 0, 4);
    a->shared_gate = take(base, &used, s->shared_ff > 0 ? chunk : 0, 4);
    a->expert_weight = take(base, &used, chunk * s->n_used, 4);
    a->expert = take(base, &used, chunk * s->n_used, 4);
    a->expert_place = take(base, &used, chunk * s->n_used, 4);
    a->expert_begin = take(base, &used, s->n_expert > 0 ? s->n_expert + 1 : 0, 4);
    a->expert_row = take(base, &used, chunk * s->n_used, 4);
    a->expert_owner = take(base, &used, chunk * s->n_used, 4);
    a->x_out = take(base, &used, rows * s->dim, 4);
    a->q_out = take(base, &used, rows * inner, 4);
    a->ordered = take(base, &used, chunk * s->ordered, 4);
    a->ordered_norm = take(base, &used, s->ordered, 4);
    a->part = take(base, &used, weir__body_is_shared(s) ? 2 * chunk * s->dim : 0, 4);
    a->logits = take(base, &used, s->place.rank > 0 ? rows * s->own.n_id : 0, 4);
    a->pool = take(base, &used, n_page * weir__kv_page_elems(1, e.n_head_kv, e.head_dim),
                   weir_dtype_bytes(b->kv_dtype));
    a->prompt = take(base, &used, weir__stage_ints(s, b->n_prompt), 4);
    a->iota = take(base, &used, weir__iota_ints(s, b->n_prompt), 4);
    a->zero = take(base, &used, all, 4);
    a->n_key = take(base, &used, rows, 4);
    a->n_src = take(base, &used, s->encoder ? rows : 0, 4);
    a->out_slot = take(base, &used, rows, 4);
    a->out_pos = take(base, &used, rows, 4);
    a->out_key = take(base, &used, rows, 4);
    a->out_src = take(base, &used, s->encoder ? rows : 0, 4);
    a->bytes = used;
}
