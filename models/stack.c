/* The order in which rows go through a stack of decoder layers. A layer is two steps of its family: `append`
 * makes K and V and puts them in the cache, `rest` is what comes after. */
#include "models/head.h"
#include "models/rows.h"

weir_status weir__stack_forward(weir_model *m, const weir_kv *kv, const weir_batch *b) {
    const int32_t last = m->facts.n_layer_self - 1;
    model_rows r;
    WEIR_TRY(weir__rows_begin(m, kv, b, &r));
    WEIR_TRY(weir__head_embed(m, b->token, b->n_row, r.x));
    for (int32_t l = 0; l <= last; l++) {
        WEIR_TRY(m->ops->append(m, kv, &r, l));
        if (l == last && b->n_out == 0) return WEIR_OK;
        if (l == last && b->n_out < b->n_row) WEIR_TRY(weir__rows_keep_wanted(m, kv, b, &r));
        WEIR_TRY(m->ops->rest(m, kv, &r, l));
    }
    return weir__head_logits(m, b, &r);
}

weir_status weir__stack_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                int64_t n, int64_t from, int64_t upto) {
    const int32_t last = m->facts.n_layer_self - 1;
    const int64_t chunk = m->be->chunk;
    WEIR_TRY(weir__put_prompt(m, slot, token, n));
    if (from % chunk != 0) return WEIR_EINVAL;
    for (int64_t i = from; i < upto; i += chunk) {
        const model_rows r = {.n = upto - i < chunk ? upto - i : chunk,
                              .x = m->a.x,
                              .q = m->a.qkv,
                              .ldq = weir__width(&m->shape),
                              .slot = weir__prompt_at(m, n, 1) + i,
                              .pos = m->a.iota + i,
                              .n_key = m->a.iota + i + 1,
                              .prefill = true};
        WEIR_TRY(weir__prompt_goes_on(m));
        WEIR_TRY(weir__head_embed(m, weir__prompt_at(m, n, 0) + i, r.n, r.x));
        for (int32_t l = 0; l < last; l++) {
            WEIR_TRY(weir__prompt_goes_on(m));
            WEIR_TRY(m->ops->append(m, kv, &r, l));
            WEIR_TRY(m->ops->rest(m, kv, &r, l));
        }
        WEIR_TRY(m->ops->append(m, kv, &r, last)); /* a prompt's rows have no logits */
    }
    return WEIR_OK;
}
