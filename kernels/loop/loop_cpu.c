#include "kernels/loop/cpu.h"

#include "kernels/accept/cpu.h"
#include "kernels/loop/seat.h"

int32_t weir__seat_bonus_from(const weir_law *law) {
    const weir_rule_info *facts = weir_rule_facts((weir_rule)law->rule);
    const bool pi = law->bonus_pi && law->rule != WEIR_RULE_EXACT && facts && facts->pi_exists;
    return pi ? law->exact_first : INT32_MAX; /* below exact_first pi is p */
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

static void put(const weir_loop_rows *a, int32_t at, weir_seat_row r) {
    a->token[at] = r.token;
    a->pos[at] = r.pos;
    a->slot[at] = r.slot;
}

static void draft_rows(const weir_loop_rows *a, int32_t i) {
    const weir_loop *l = a->loop;
    weir_seat *s = &l->seat[i];
    const int32_t *draft = weir__seat_draft(l, i);
    weir__seat_begin_step(s, a->step, draft);
    if (a->step == 0) {
        a->law[i] = s->law;
        for (int32_t k = 0; k < 2; k++) put(a, 2 * i + k, weir__seat_draft_row(s, 0, k, draft));
    } else {
        put(a, i, weir__seat_draft_row(s, a->step, 0, draft));
    }
    a->law_of[i] = weir__seat_steps(s, a->step, draft) ? i : -1;
}

static void verify_rows(const weir_loop_rows *a, int32_t i) {
    const weir_loop *l = a->loop;
    weir_seat *s = &l->seat[i];
    if (l->gamma == 0) s->n_draft = 0; /* no drafter step has said so */
    a->law[i] = s->law;
    for (int32_t j = 0; j <= l->gamma; j++) {
        const int32_t at = i * (l->gamma + 1) + j;
        const weir_seat_row r = weir__seat_verify_row(s, j, weir__seat_draft(l, i));
        put(a, at, r);
        a->law_of[at] = r.slot < 0 ? -1 : i;
    }
}

weir_status weir__loop_rows_cpu(weir_backend *be, weir_loop_rows *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_rows_check(a));
    for (int32_t i = 0; i < a->loop->n_seat; i++) {
        if (a->step == WEIR_LOOP_VERIFY)
            verify_rows(a, i);
        else
            draft_rows(a, i);
    }
    return WEIR_OK;
}

/* ---- drafts -------------------------------------------------------------------------------------------- */

static weir_status sample_seat(weir_backend *be, const weir_loop *l, int32_t i, int32_t step) {
    const weir_seat *s = &l->seat[i];
    const int32_t law_of = 0, position = s->n + step, block_row = s->law.block_verify ? step : 0;
    const float *logits = weir__seat_q_row(l, i, step);
    weir_row_stats *stats = weir__seat_q_stats(l, i) + step;
    weir_row_stats_args st = {.logits = logits,
                              .ld = l->ld_q,
                              .n_row = 1,
                              .n_vocab = l->n_vocab,
                              .law = &s->law,
                              .law_of = &law_of,
                              .out = stats};
    WEIR_TRY(weir__row_stats_cpu(be, &st));
    if (!weir__seat_drafts(s, step)) return WEIR_OK;
    int32_t token = -1;
    float logp;
    weir_draw_args d = {.logits = logits,
                        .ld = l->ld_q,
                        .n_row = 1,
                        .n_vocab = l->n_vocab,
                        .law = &s->law,
                        .law_of = &law_of,
                        .stats = stats,
                        .position = &position,
                        .block_row = &block_row,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = &token,
                        .logp = &logp};
    WEIR_TRY(weir__draw_cpu(be, &d));
    weir__seat_draft(l, i)[step] = token < 0 ? 0 : token;
    return WEIR_OK;
}

weir_status weir__loop_sample_cpu(weir_backend *be, weir_loop_sample *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_sample_check(a));
    const weir_loop *l = a->loop;
    for (int32_t i = 0; i < l->n_seat; i++)
        if (weir__seat_steps(&l->seat[i], a->step, weir__seat_draft(l, i)))
            WEIR_TRY(sample_seat(be, l, i, a->step));
    return WEIR_OK;
}

/* ---- the end of a block -------------------------------------------------------------------------------- */

/* Accept and emit take seats that run only, one entry each in rising order. */
static weir_status decide(weir_backend *be, const weir_loop *l) {
    weir_accept_args accept = {.session = l->accept,
                               .n_vocab = l->n_vocab,
                               .ld_p = l->ld_p,
                               .ld_q = l->gamma > 0 ? l->n_seat * l->ld_q : l->ld_p};
    for (int32_t i = 0; i < l->n_seat; i++)
        if (weir__seat_runs(&l->seat[i])) weir__seat_block(l, i, &l->seat[i], &l->accept[accept.n_session++]);
    WEIR_TRY(weir__accept_cpu(be, &accept));
    weir_emit_args emit = {.session = l->emit, .n_vocab = l->n_vocab};
    for (int32_t i = 0, k = 0; i < l->n_seat; i++)
        if (weir__seat_runs(&l->seat[i]))
            emit.n_session += weir__seat_plan(l, i, &l->seat[i], &l->accept[k++], &l->emit[emit.n_session]);
    return weir__emit_cpu(be, &emit);
}

static int32_t commit(const weir_loop *l) {
    weir_block_record *ring = l->ring + (int64_t)(l->block[0] % l->depth) * l->n_seat;
    int32_t running = 0, k = 0, e = 0;
    for (int32_t i = 0; i < l->n_seat; i++) {
        weir_seat *s = &l->seat[i];
        if (!weir__seat_runs(s)) {
            ring[i].seat_end = s->end;
            ring[i].live = 0;
            continue;
        }
        weir_emit_session planned;
        const weir_accept_session *a = &l->accept[k++];
        const bool closes = weir__seat_plan(l, i, s, a, &planned);
        weir__block_record_of(a, closes ? &l->emit[e++] : NULL, &ring[i]);
        weir__seat_commit(s, &ring[i]);
        running += weir__seat_runs(s);
    }
    return running;
}

weir_status weir__loop_close_cpu(weir_backend *be, weir_loop_close *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_check(a->loop));
    const weir_loop *l = a->loop;
    WEIR_TRY(decide(be, l));
    const int32_t running = commit(l);
    const int32_t stop = __atomic_load_n(&l->flags->stop, __ATOMIC_RELAXED);
    const bool goes_on = weir__loop_goes_on(l->block[0], l->block[1], running, stop);
    l->block[0]++;
    l->flags->running = running;
    l->flags->over = !goes_on;
    __atomic_store_n(&l->flags->done, l->block[0], __ATOMIC_RELEASE);
    return WEIR_OK;
}
