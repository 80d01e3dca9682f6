#include "kernels/loop/cpu.h"

#include "kernels/loop/lookup.h"

/* One thread scans. */
typedef struct weir_scan_env weir_scan_env;

static weir_match weir__scan(const weir_scan_env *env, const int32_t *history, int32_t n, int32_t from,
                             int32_t longest) {
    (void)env;
    return weir__match_scan(history, n, from, longest, 0, 1);
}

static void weir__scan_append(const weir_scan_env *env, int32_t *at, int32_t token) {
    (void)env;
    *at = token;
}

#include "kernels/loop/lookup_impl.h"

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

/* Every seat's rows, dead ones too: the shape that a device runs. */
static void draft_rows(const weir_loop_rows *a, int32_t i) {
    const weir_loop *l = a->loop;
    const weir_seat *s = &l->seat[i];
    const int32_t *draft = weir__seat_draft(l, i);
    if (a->step == 0) {
        for (int32_t k = 0; k < 2; k++) put(a, 2 * i + k, weir__seat_draft_row(s, 0, k, draft));
    } else {
        put(a, i, weir__seat_draft_row(s, a->step, 0, draft));
    }
    a->law_of[i] = weir__seat_steps(s, a->step, draft) ? i : -1;
}

/* Those that are needed. A seat whose draft has ended the text keeps a dead row, so that outputs are
 * seats. */
static void needed_draft_rows(weir_loop_rows *a) {
    const weir_loop *l = a->loop;
    int32_t live = 0;
    for (int32_t i = 0; i < l->n_seat; i++)
        if (weir__seat_drafts(&l->seat[i], a->step)) live = i + 1;
    a->n_row = 0;
    for (int32_t i = 0; i < live; i++) {
        const weir_seat *s = &l->seat[i];
        const bool drafts = weir__seat_drafts(s, a->step);
        const int32_t *draft = weir__seat_draft(l, i);
        if (a->step == 0 && s->lacks) put(a, a->n_row++, weir__seat_draft_row(s, 0, 0, draft));
        a->out[i] = a->n_row;
        a->law_of[i] = drafts ? i : -1;
        put(a, a->n_row++,
            drafts ? weir__seat_draft_row(s, a->step, 1, draft) : weir__seat_row_at(s, false, 0, 0));
    }
    a->n_out = live;
}

static void verify_rows(const weir_loop_rows *a, int32_t i) {
    const weir_loop *l = a->loop;
    for (int32_t j = 0; j <= l->gamma; j++) {
        const int32_t at = i * (l->gamma + 1) + j;
        const weir_seat_row r = weir__seat_verify_row(&l->seat[i], j, weir__seat_draft(l, i));
        put(a, at, r);
        a->law_of[at] = r.slot < 0 ? -1 : i;
    }
}

static void needed_verify_rows(weir_loop_rows *a) {
    const weir_loop *l = a->loop;
    a->n_row = 0;
    for (int32_t i = 0; i < l->n_seat; i++) {
        l->first[i] = a->n_row;
        for (int32_t j = 0; j <= l->seat[i].n_draft; j++) {
            a->out[a->n_row] = a->n_row;
            a->law_of[a->n_row] = i;
            put(a, a->n_row++, weir__seat_verify_row(&l->seat[i], j, weir__seat_draft(l, i)));
        }
    }
    a->n_out = a->n_row;
}

weir_status weir__loop_rows_cpu(weir_backend *be, weir_loop_rows *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_rows_check(a));
    const weir_loop *l = a->loop;
    const bool verify = a->step == WEIR_LOOP_VERIFY;
    for (int32_t i = 0; i < l->n_seat; i++) {
        weir_seat *s = &l->seat[i];
        if (!verify)
            weir__seat_begin_step(l, i, a->step);
        else if (l->gamma == 0)
            s->n_draft = 0; /* no drafter step has said so */
        if (verify || a->step == 0) a->law[i] = s->law;
        if (l->first) continue;
        if (verify)
            verify_rows(a, i);
        else
            draft_rows(a, i);
    }
    if (l->first && verify)
        needed_verify_rows(a);
    else if (l->first)
        needed_draft_rows(a);
    return WEIR_OK;
}

/* ---- drafts -------------------------------------------------------------------------------------------- */

enum { AT_ONCE = 64 };

/* A few rows of drafter logits that follow each other: row k is who[k]'s at draft step `step` of it. */
typedef struct drafter_rows {
    const weir_loop *l;
    const float *logits;
    int32_t n, who[AT_ONCE], step[AT_ONCE], law_of[AT_ONCE];
    weir_law law[AT_ONCE];
    weir_row_stats stats[AT_ONCE];
} drafter_rows;

static void add_row(drafter_rows *r, int32_t who, int32_t step, bool live) {
    r->who[r->n] = who;
    r->step[r->n] = step;
    r->law[r->n] = r->l->seat[who].law;
    r->law_of[r->n] = live ? r->n : -1;
    r->n++;
}

static weir_status row_stats(weir_backend *be, drafter_rows *r) {
    weir_row_stats_args a = {.logits = r->logits,
                             .ld = r->l->ld_q,
                             .n_row = r->n,
                             .n_vocab = r->l->n_vocab,
                             .law = r->law,
                             .law_of = r->law_of,
                             .out = r->stats,
                             .weights = weir__seat_q_weights(r->l, r->logits)};
    WEIR_TRY(be->op.row_stats(be, &a));
    for (int32_t k = 0; k < r->n; k++)
        if (r->law_of[k] >= 0) weir__seat_q_stats(r->l, r->who[k])[r->step[k]] = r->stats[k];
    return WEIR_OK;
}

static weir_status draw(weir_backend *be, drafter_rows *r) {
    int32_t position[AT_ONCE], block_row[AT_ONCE], token[AT_ONCE];
    float logp[AT_ONCE];
    for (int32_t k = 0; k < r->n; k++) {
        const weir_seat *s = &r->l->seat[r->who[k]];
        if (!weir__seat_drafts(s, r->step[k])) r->law_of[k] = -1;
        position[k] = s->n + r->step[k];
        block_row[k] = s->law.block_verify ? r->step[k] : 0;
    }
    weir_draw_args a = {.logits = r->logits,
                        .ld = r->l->ld_q,
                        .n_row = r->n,
                        .n_vocab = r->l->n_vocab,
                        .law = r->law,
                        .law_of = r->law_of,
                        .stats = r->stats,
                        .weights = weir__seat_q_weights(r->l, r->logits),
                        .position = position,
                        .block_row = block_row,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = token,
                        .logp = logp};
    WEIR_TRY(be->op.draw(be, &a));
    for (int32_t k = 0; k < r->n; k++)
        if (r->law_of[k] >= 0) weir__seat_draft(r->l, r->who[k])[r->step[k]] = token[k] < 0 ? 0 : token[k];
    return WEIR_OK;
}

weir_status weir__loop_sample_cpu(weir_backend *be, weir_loop_sample *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_sample_check(a));
    const weir_loop *l = a->loop;
    drafter_rows r;
    for (int32_t i = 0; i < l->n_seat;) {
        r.l = l;
        r.n = 0;
        r.logits = weir__seat_q_row(l, i, a->step);
        bool any = false;
        for (; i < l->n_seat && r.n < AT_ONCE; i++) {
            const bool steps = l->first ? weir__seat_drafts(&l->seat[i], a->step)
                                        : weir__seat_steps(&l->seat[i], a->step, weir__seat_draft(l, i));
            add_row(&r, i, a->step, steps);
            any |= steps;
        }
        if (!any) continue;
        while (r.law_of[r.n - 1] < 0) r.n--; /* rows that may not have been run */
        WEIR_TRY(row_stats(be, &r));
        WEIR_TRY(draw(be, &r));
    }
    return WEIR_OK;
}

/* ---- prompt lookup ------------------------------------------------------------------------------------- */

weir_status weir__loop_lookup_cpu(weir_backend *be, weir_loop_lookup *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_lookup_check(a));
    const weir_loop *l = a->loop;
    for (int32_t i = 0; i < l->n_seat; i++) {
        weir_seat *s = &l->seat[i];
        int32_t token[WEIR_GAMMA_MAX + 1];
        weir__seat_begin_lookup(s);
        const int32_t n = weir__lookup_tokens(NULL, l, s, token);
        for (int32_t j = 0; j < n; j++) weir__lookup_put(l, i, s, j, token[j]);
        weir__lookup_close(s, n);
    }
    return WEIR_OK;
}

/* ---- the end of a block -------------------------------------------------------------------------------- */

/* The drafter's row after the last draft of n seats, and its statistics. */
static weir_status bonus_rows(weir_backend *be, const weir_loop_close *a, int32_t n) {
    const weir_loop *l = a->loop;
    drafter_rows r;
    if (n > 0) WEIR_TRY(a->bonus(a->ud, a->who, n));
    for (int32_t k = 0; k < n;) {
        r.l = l;
        r.n = 0;
        r.logits = weir__seat_q_row(l, k, l->gamma);
        for (; k < n && r.n < AT_ONCE; k++) add_row(&r, a->who[k], l->seat[a->who[k]].n_draft, true);
        WEIR_TRY(row_stats(be, &r));
    }
    return WEIR_OK;
}

/* How every seat's block closes, one entry each in rising order; *n_bonus: bonus rows that are still to be
 * run. */
static int32_t plan(const weir_loop_close *a, int32_t *n_bonus) {
    const weir_loop *l = a->loop;
    int32_t n = 0;
    *n_bonus = 0;
    for (int32_t i = 0, k = 0; i < l->n_seat; i++) {
        weir_emit_session *emit = &l->emit[n];
        if (!weir__seat_runs(&l->seat[i])) continue;
        if (!weir__seat_plan(l, i, &l->seat[i], &l->accept[k++], emit)) continue;
        n++;
        if (!l->first || emit->kind != WEIR_EMIT_PI || l->lookup.history) continue; /* it is there */
        emit->q_logits = weir__seat_q_row(l, *n_bonus, l->gamma);
        a->who[(*n_bonus)++] = i;
    }
    return n;
}

/* Accept and emit take seats that run only, one entry each in rising order. */
static weir_status decide(weir_backend *be, const weir_loop_close *c) {
    const weir_loop *l = c->loop;
    weir_accept_args accept = {.session = l->accept,
                               .n_vocab = l->n_vocab,
                               .ld_p = l->ld_p,
                               .ld_q = l->gamma > 0 ? l->n_seat * l->ld_q : l->ld_p,
                               .make_stats = l->first != NULL};
    for (int32_t i = 0; i < l->n_seat; i++)
        if (weir__seat_runs(&l->seat[i])) weir__seat_block(l, i, &l->seat[i], &l->accept[accept.n_session++]);
    WEIR_TRY(be->op.accept(be, &accept));
    int32_t n_bonus;
    weir_emit_args emit = {.session = l->emit, .n_session = plan(c, &n_bonus), .n_vocab = l->n_vocab};
    WEIR_TRY(bonus_rows(be, c, n_bonus));
    return be->op.emit(be, &emit);
}

static int32_t commit(const weir_loop *l) {
    weir_block_outcome *ring = l->ring + (int64_t)(l->block[0] % l->depth) * l->n_seat;
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
        weir__block_outcome_of(a, closes ? &l->emit[e++] : NULL, &ring[i]);
        weir__seat_commit(l, s, a, &ring[i], weir__seat_history(l, s));
        running += weir__seat_runs(s);
    }
    return running;
}

weir_status weir__loop_close_cpu(weir_backend *be, weir_loop_close *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_close_check(a));
    const weir_loop *l = a->loop;
    if (a->stats) {
        weir_row_stats_args stats = *a->stats;
        WEIR_TRY(be->op.row_stats(be, &stats));
    }
    WEIR_TRY(decide(be, a));
    const int32_t running = commit(l);
    const int32_t stop = __atomic_load_n(&l->flags->stop, __ATOMIC_RELAXED);
    const bool goes_on = weir__loop_goes_on(l->block[0], l->block[1], running, stop);
    l->block[0]++;
    l->flags->running = running;
    l->flags->over = !goes_on;
    __atomic_store_n(&l->flags->done, l->block[0], __ATOMIC_RELEASE);
    return WEIR_OK;
}
