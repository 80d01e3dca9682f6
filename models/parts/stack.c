/* The order in which rows go through a stack of decoder layers. A layer is two steps of its family: `append`
 * makes K and V and puts them in the cache, `rest` is what comes after. */
#include "models/parts/head.h"
#include "models/parts/rows.h"

weir_status weir__stack_forward(weir_model *m, const weir_kv *kv, const weir_batch *b) {
    const int32_t last = m->facts.n_layer_self - 1;
    model_rows r;
    const weir_row_keys keys = weir__rows_begin(m, kv, b, &r);
    WEIR_TRY(weir__embed(m, &m->head.embed, m->head.embed_scale, b->token, &r, &keys));
    for (int32_t l = 0; l <= last; l++) {
        WEIR_TRY(m->ops->append(m, kv, &r, l));
        if (l == last && b->n_out == 0) return WEIR_OK;
        if (l == last && b->n_out < b->n_row) WEIR_TRY(weir__rows_keep_wanted(m, kv, b, &r));
        WEIR_TRY(m->ops->rest(m, kv, &r, l));
    }
    return weir__head_logits(m, b, &r);
}

/* One layer of the chunk that begins at position i. */
static weir_status prompt_step(weir_model *m, const weir_kv *kv, int64_t n, int32_t place, int64_t i,
                               int32_t layer) {
    const int64_t chunk = m->be->chunk;
    const model_rows r = {.n = n - i < chunk ? n - i : chunk,
                          .x = m->a.prompt_x + place * chunk * m->shape.dim,
                          .dim = m->shape.dim,
                          .q = m->a.qkv + weir__own_q_at(&m->shape),
                          .ldq = weir__own_width(&m->shape),
                          .slot = weir__prompt_at(m, n, 1) + i,
                          .pos = m->a.iota + i,
                          .n_key = m->a.iota + i + 1,
                          .prefill = true};
    WEIR_TRY(weir__prompt_goes_on(m));
    if (layer == 0)
        WEIR_TRY(weir__embed(m, &m->head.embed, m->head.embed_scale, weir__prompt_at(m, n, 0) + i, &r, NULL));
    WEIR_TRY(m->ops->append(m, kv, &r, layer));
    const bool last = layer == m->facts.n_layer_self - 1; /* a prompt's rows have no logits */
    return last ? WEIR_OK : m->ops->rest(m, kv, &r, layer);
}

weir_status weir__stack_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                int64_t n, int32_t place, int64_t from, int64_t upto) {
    const int32_t n_pass = m->facts.n_pass;
    WEIR_TRY(weir__put_prompt(m, slot, token, n));
    for (int64_t step = from; step < upto; step++)
        WEIR_TRY(prompt_step(m, kv, n, place, step / n_pass * m->be->chunk, (int32_t)(step % n_pass)));
    return WEIR_OK;
}
