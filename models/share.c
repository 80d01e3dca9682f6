#include "models/share.h"

static int64_t common_multiple(int64_t a, int64_t b) {
    int64_t x = a, y = b;
    while (y) {
        const int64_t rest = x % y;
        x = y, y = rest;
    }
    return a / x * b;
}

enum {
    TILE = 16,    /* inputs of a tile (kernels/weight/weight.h: FRAGMENT) */
    FF_UNIT = 64, /* of the feed-forward, if they divide it: whole lines of a file's rows */
};

int64_t weir__shared_unit(const model_shape *s, shared_dim dim, int block) {
    const int64_t ff = dim == SHARED_EXPERT ? s->shared_ff : s->ff_dim;
    const int64_t natural = dim == SHARED_HEADS ? s->head_dim : ff % FF_UNIT == 0 ? FF_UNIT : TILE;
    return common_multiple(common_multiple(natural, TILE), block > 0 ? block : 1);
}

weir_share weir__share_whole(const model_shape *s) {
    return (weir_share){.n_head = s->n_head,
                        .n_head_kv = s->n_head_kv,
                        .n_ff = s->ff_dim,
                        .n_expert = s->n_expert,
                        .n_shared_ff = s->shared_ff,
                        .n_id = s->n_vocab_rows};
}

/* Its inputs [*first, *first + *n) of a dimension of m. */
static void take(const model_shape *s, const int *block, weir_place p, shared_dim dim, int64_t m,
                 int64_t *first, int64_t *n) {
    const int64_t unit = weir__shared_unit(s, dim, block[dim]);
    const int each = WEIR_SEGMENTS / p.n_rank;
    *first = weir__segment_begin(m, unit, p.rank * each);
    *n = weir__segment_begin(m, unit, (p.rank + 1) * each) - *first;
}

static void take_heads(const model_shape *s, const int *block, weir_place p, weir_share *h) {
    const int32_t of_kv = s->n_head / s->n_head_kv;
    int64_t first, n;
    take(s, block, p, SHARED_HEADS, weir__inner(s), &first, &n);
    h->head = (int32_t)(first / s->head_dim), h->n_head = (int32_t)(n / s->head_dim);
    h->head_kv = h->n_head > 0 ? h->head / of_kv : 0;
    h->n_head_kv = h->n_head > 0 ? (h->head + h->n_head - 1) / of_kv + 1 - h->head_kv : 0;
}

weir_share weir__share_of(const model_shape *s, const int block[SHARED_DIMS], weir_place p) {
    weir_share h = weir__share_whole(s);
    if (p.n_rank <= 1) return h;
    const int64_t chunks = (s->n_vocab_rows + WEIR__ID_CHUNK - 1) / WEIR__ID_CHUNK;
    const int64_t end = (p.rank + 1) * chunks / p.n_rank * WEIR__ID_CHUNK;
    h.id = p.rank * chunks / p.n_rank * WEIR__ID_CHUNK;
    h.n_id = (end < s->n_vocab_rows ? end : s->n_vocab_rows) - h.id;
    if (p.whole_body) return h;
    take_heads(s, block, p, &h);
    take(s, block, p, SHARED_FF, s->ff_dim, &h.ff, &h.n_ff);
    take(s, block, p, SHARED_EXPERT, s->shared_ff, &h.shared_ff, &h.n_shared_ff);
    h.expert = p.rank * s->n_expert / p.n_rank;
    h.n_expert = (p.rank + 1) * s->n_expert / p.n_rank - h.expert;
    return h;
}
