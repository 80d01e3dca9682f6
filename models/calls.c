/* The public calls, after their bounds are checked. */
#include "models/impl.h"

const weir_model_facts *weir__model_get_facts(const weir_model *m) { return &m->facts; }

weir_status weir__model_prefill(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                int64_t n) {
    return weir__model_prefill_part(m, kv, slot, token, n, 0, 0, m ? weir__model_prefill_steps(m, n) : 0);
}

int64_t weir__model_prefill_steps(const weir_model *m, int64_t n) {
    return (n + m->be->chunk - 1) / m->be->chunk * m->facts.n_pass;
}

weir_status weir__model_prefill_part(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token,
                                     int64_t n, int32_t place, int64_t from, int64_t upto) {
    if (!m || !kv || slot < 0 || place < 0 || place >= m->facts.n_open || !token || n < 1 || n > m->n_prompt)
        return WEIR_EINVAL;
    if (from < 0 || from >= upto || upto > weir__model_prefill_steps(m, n)) return WEIR_EINVAL;
    if (!m->lead.prefill) return m->ops->prefill(m, kv, slot, token, n, place, from, upto);
    for (int64_t step = from; step < upto; step++) {
        if (weir_interrupted(&m->be->interrupt)) return WEIR_ECANCELED;
        WEIR_TRY(m->lead.prefill(m->lead.ud, kv, slot, token, n, place, step));
        WEIR_TRY(m->ops->prefill(m, kv, slot, token, n, place, step, step + 1));
    }
    return WEIR_OK;
}

void weir__model_set_lead(weir_model *m, weir_model_lead lead) { m->lead = lead; }

/* Where the host can look. */
static bool out_is_rising(const weir_batch *b) {
    for (int32_t i = 0; i < b->n_out; i++) {
        if (b->out[i] < (i ? b->out[i - 1] + 1 : 0) || b->out[i] >= b->n_row) return false;
    }
    return true;
}

weir_status weir__model_forward(weir_model *m, const weir_kv *kv, const weir_batch *b) {
    if (!m || !kv || !b || b->n_row < 0 || b->n_row > m->n_row || b->n_out < 0) return WEIR_EINVAL;
    if (b->n_row == 0) return b->n_out == 0 ? WEIR_OK : WEIR_EINVAL;
    if (!b->token || !b->pos || !b->slot) return WEIR_EINVAL;
    const bool reads = weir__comm_rank(m->be->comm) == 0; /* logits */
    if (b->n_out > b->n_row || (b->n_out > 0 && (!b->out || (reads && !b->logits)))) return WEIR_EINVAL;
    if (!m->be->device && !out_is_rising(b)) return WEIR_EINVAL;
    if (m->lead.forward) WEIR_TRY(m->lead.forward(m->lead.ud, kv, b));
    return weir__stack_forward(m, kv, b);
}
