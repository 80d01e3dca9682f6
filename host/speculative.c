/* One cascade block for several sessions: gamma drafter steps, one verifier pass over gamma + 1 rows a
 * session, the accept step, the token that closes the block, both caches' lengths. The order of ops is the
 * one that a device graph captures; the host looks at tokens only to end sessions. */
#include <math.h>
#include <string.h>

#include "host/record.h"
#include "kernels/loop/seat.h"

/* Where session i's rows of this block lie. Drafter rows are step-major (step j, session i), so that a draft
 * step writes its logits in one piece; verifier rows are session-major. Logits are backend memory. */
static float *q_row(const weir_engine *e, int n, int j, int i) {
    return e->buf.q_logits + ((int64_t)j * n + i) * e->side[WEIR_DRAFTER].ld;
}
static weir_row_stats *q_stats_of(const weir_engine *e, const weir_step_buffers *b, int i) {
    return b->q_stats + (int64_t)i * (e->max_draft + 1);
}
static int32_t *draft_of(const weir_engine *e, const weir_step_buffers *b, int i) {
    return b->draft + (int64_t)i * e->max_draft;
}
static weir_accept_row *rows_of(const weir_engine *e, const weir_step_buffers *b, int i) {
    return b->row + (int64_t)i * e->max_draft;
}

/* Sessions by falling gamma: those that need fewer drafts then lie at the end of a step's rows. */
static void sort_by_gamma(weir_session **s, int n) {
    for (int i = 1; i < n; i++) {
        weir_session *x = s[i];
        int j = i;
        for (; j > 0 && s[j - 1]->opt.n_draft < x->opt.n_draft; j--) s[j] = s[j - 1];
        s[j] = x;
    }
}

static weir_status make_room(weir_session **s, int n) {
    for (int i = 0; i < n; i++)
        for (int side = 0; side < 2; side++)
            WEIR_TRY(weir__session_room(s[i], side, s[i]->n + s[i]->opt.n_draft + 1));
    return WEIR_OK;
}

/* Draft step j for the first `live` of n sessions. Step 0 also feeds what the drafter's cache lacks: after a
 * fully accepted block it has not seen the last drafted token (trap 4). */
static weir_status draft_step(weir_engine *e, weir_session **s, int n, int live, int j) {
    weir_step_buffers *b = &e->buf;
    weir_rows rows = {0, 0};
    for (int i = 0; i < live; i++) {
        const int32_t before = rows.n_row;
        if (j == 0) {
            weir__rows_catch_up(e, &rows, s[i], WEIR_DRAFTER, s[i]->n + 1, true);
        } else {
            weir__rows_add(e, &rows, s[i], draft_of(e, b, i)[j - 1], s[i]->n + j, true);
            s[i]->cached[WEIR_DRAFTER] = s[i]->n + j + 1;
        }
        weir__rows_book(s[i], WEIR_DRAFTER, rows.n_row - before);
        b->law_of[i] = i;
        b->position[i] = (int32_t)(s[i]->n + j);
        b->block_row[i] = s[i]->law.block_verify ? j : 0;
    }
    float *logits = q_row(e, n, j, 0);
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_DRAFTER, logits));
    WEIR_TRY(weir__rows_stats(e, WEIR_DRAFTER, logits, live, e->dev.call_stats));
    WEIR_TRY(weir__rows_draw(e, logits, live, e->dev.call_stats));
    WEIR_TRY(WEIR_GET(e, call_stats, live));
    for (int i = 0; i < live; i++) {
        q_stats_of(e, b, i)[j] = b->call_stats[i];
        draft_of(e, b, i)[j] = b->drawn[i] < 0 ? 0 : b->drawn[i]; /* unusable row: the accept op reports it */
    }
    return WEIR_OK;
}

/* Drafts for all; n_draft[i] is set to how many count. What would follow a drafted end-of-text can never be
 * emitted (it is accepted and ends the session, or the block ends at or before it), so drafting stops
 * there. */
static weir_status draft(weir_engine *e, weir_session **s, int n, int32_t *n_draft) {
    const weir_step_buffers *b = &e->buf;
    int live = n, going = n;
    for (int i = 0; i < n; i++) n_draft[i] = s[i]->opt.n_draft;
    for (int j = 0; going > 0; j++) {
        while (live > 0 && s[live - 1]->opt.n_draft <= j) live--;
        if (live == 0) break;
        WEIR_TRY(draft_step(e, s, n, live, j));
        going = 0;
        for (int i = 0; i < live; i++) {
            if (n_draft[i] <= j + 1) continue;
            if (weir__session_is_eos(s[i], draft_of(e, b, i)[j]))
                n_draft[i] = j + 1;
            else
                going++;
        }
    }
    return WEIR_OK;
}

/* A session's block for the accept op; its verifier rows begin at `first`. */
static weir_accept_session block_of(const weir_engine *e, const weir_session *s, int n, int i,
                                    int32_t first) {
    const weir_step_buffers *d = &e->dev;
    return (weir_accept_session){.law = &d->law[i],
                                 .q_logits = q_row(e, n, 0, i),
                                 .q_stats = q_stats_of(e, d, i),
                                 .p_logits = d->p_logits + (int64_t)first * e->side[WEIR_VERIFIER].ld,
                                 .p_stats = d->p_stats + first,
                                 .draft = draft_of(e, d, i),
                                 .n_draft = e->buf.n_draft[i],
                                 .position = (int32_t)s->n,
                                 .row = rows_of(e, d, i),
                                 .note = d->note ? d->note + (int64_t)i * e->max_draft : NULL};
}

/* The verifier's pass over every session's pending input and drafts; fills the sessions' blocks for the
 * accept op. */
static weir_status verify(weir_engine *e, weir_session **s, int n, const int32_t *n_draft) {
    weir_step_buffers *b = &e->buf;
    weir_rows rows = {0, 0};
    for (int i = 0; i < n; i++) {
        const int32_t first = rows.n_out, before = rows.n_row;
        weir__rows_catch_up(e, &rows, s[i], WEIR_VERIFIER, s[i]->n + 1, true);
        for (int j = 0; j < n_draft[i]; j++)
            weir__rows_add(e, &rows, s[i], draft_of(e, b, i)[j], s[i]->n + 1 + j, true);
        s[i]->cached[WEIR_VERIFIER] = s[i]->n + 1 + n_draft[i];
        weir__rows_book(s[i], WEIR_VERIFIER, rows.n_row - before);
        for (int32_t r = first; r < rows.n_out; r++) b->law_of[r] = i;
        b->accept[i] = block_of(e, s[i], n, i, first);
    }
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_VERIFIER, b->p_logits));
    return weir__rows_stats(e, WEIR_VERIFIER, b->p_logits, rows.n_out, e->dev.p_stats);
}

static bool draft_ends_text(const weir_session *s, const weir_accept_session *a) {
    return a->n_draft > 0 && weir__session_is_eos(s, a->draft[a->n_draft - 1]);
}

/* A bonus from pi needs the drafter's distribution one position further (trap 3), unless pi is p there. */
static bool bonus_needs_drafter(const weir_session *s, int32_t position) {
    const weir_law *law = &s->law;
    return law->bonus_pi && law->rule != WEIR_RULE_EXACT && position >= law->exact_first &&
           weir_rule_facts((weir_rule)law->rule)->pi_exists;
}

/* How a session's block closes: false if it ends with an accepted end-of-text or is unusable. verdict: the
 * accept op's, in backend memory. */
static bool plan_emit(weir_session *s, const weir_accept_session *a, const weir_verdict *verdict,
                      int64_t ld_q, int64_t ld_p, weir_emit_session *out) {
    if (a->status != WEIR_OK) return false;
    const int32_t j = a->n_accept;
    const bool full = j == a->n_draft;
    if (full && draft_ends_text(s, a)) return false;
    *out = (weir_emit_session){.law = a->law,
                               .p_logits = a->p_logits + j * ld_p,
                               .p_stats = a->p_stats + j,
                               .position = a->position + j,
                               .block_row = j,
                               .block_p = 1.0f,
                               .draft = -1};
    if (full) {
        out->kind = bonus_needs_drafter(s, out->position) ? WEIR_EMIT_PI : WEIR_EMIT_P;
    } else {
        out->kind = WEIR_EMIT_RESIDUAL;
        out->q_logits = a->q_logits + j * ld_q;
        out->q_stats = a->q_stats + j;
        out->draft = a->draft[j];
        out->block_p = a->block_p;
        out->verdict = verdict;
    }
    return true;
}

/* The extra drafter step of the sessions whose bonus comes from pi; which[k] is the emit entry's session. */
static weir_status bonus_rows(weir_engine *e, weir_session **s, int n, const int32_t *which, int n_emit) {
    weir_step_buffers *b = &e->buf;
    const int last = s[0]->opt.n_draft; /* the largest gamma: rows past every drafted one */
    weir_rows rows = {0, 0};
    for (int k = 0; k < n_emit; k++) {
        if (b->emit[k].kind != WEIR_EMIT_PI) continue;
        weir_session *x = s[which[k]];
        const weir_accept_session *a = &b->accept[which[k]];
        b->emit[k].q_logits = q_row(e, n, last, rows.n_out);
        b->emit[k].q_stats = e->dev.call_stats + rows.n_out;
        b->law_of[rows.n_out] = which[k];
        const int64_t input = x->n + a->n_draft;
        weir__rows_add(e, &rows, x, a->draft[a->n_draft - 1], input, true);
        x->cached[WEIR_DRAFTER] = input + 1;
        weir__rows_book(x, WEIR_DRAFTER, 1);
    }
    if (rows.n_row == 0) return WEIR_OK;
    float *logits = q_row(e, n, last, 0);
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_DRAFTER, logits));
    return weir__rows_stats(e, WEIR_DRAFTER, logits, rows.n_out, e->dev.call_stats);
}

static weir_status roll_back(weir_session *s) {
    for (int side = 0; side < 2; side++) WEIR_TRY(weir__session_room(s, side, s->cached[side]));
    return WEIR_OK;
}

/* The accept op over all blocks; what it decided comes back, and small arrays of a block are the host's
 * then. */
static weir_status accept(weir_engine *e, int n, int64_t ld_q, int64_t ld_p) {
    weir_step_buffers *b = &e->buf;
    weir_accept_args a = {
        .session = e->dev.accept, .n_session = n, .ld_q = ld_q, .ld_p = ld_p, .n_vocab = e->n_vocab};
    WEIR_TRY(WEIR_PUT(e, q_stats, (int64_t)n * (e->max_draft + 1)));
    WEIR_TRY(WEIR_PUT(e, draft, (int64_t)n * e->max_draft));
    WEIR_TRY(WEIR_PUT(e, accept, n));
    WEIR_TRY(e->be->op.accept(e->be, &a));
    WEIR_TRY(WEIR_GET(e, accept, n));
    for (int i = 0; i < n; i++) {
        b->accept[i].draft = draft_of(e, b, i);
        b->accept[i].row = rows_of(e, b, i);
    }
    return WEIR_GET(e, row, (int64_t)n * e->max_draft);
}

static weir_status emit(weir_engine *e, int n_emit) {
    weir_emit_args a = {.session = e->dev.emit, .n_session = n_emit, .n_vocab = e->n_vocab};
    WEIR_TRY(WEIR_PUT(e, emit, n_emit));
    WEIR_TRY(e->be->op.emit(e->be, &a));
    return WEIR_GET(e, emit, n_emit);
}

static weir_status close_block(weir_engine *e, weir_session **s, int n, weir_err *err) {
    weir_step_buffers *b = &e->buf;
    const int64_t ld_q = (int64_t)n * e->side[WEIR_DRAFTER].ld, ld_p = e->side[WEIR_VERIFIER].ld;
    WEIR_TRY(accept(e, n, ld_q, ld_p));
    int n_emit = 0;
    int32_t *which = b->drawn; /* free since the last draft step */
    for (int i = 0; i < n; i++)
        if (plan_emit(s[i], &b->accept[i], &e->dev.accept[i].verdict, ld_q, ld_p, &b->emit[n_emit]))
            which[n_emit++] = i;
    WEIR_TRY(bonus_rows(e, s, n, which, n_emit));
    WEIR_TRY(emit(e, n_emit));

    weir_status first = WEIR_OK;
    for (int i = 0, k = 0; i < n; i++) {
        weir_block_record r;
        weir__block_record_of(&b->accept[i], k < n_emit && which[k] == i ? &b->emit[k++] : NULL, &r);
        const weir_status found = weir__record_commit(s[i], &r, first == WEIR_OK ? err : NULL);
        if (first == WEIR_OK) first = found;
        if (s[i]->finish == WEIR_RUNNING) WEIR_TRY(roll_back(s[i]));
    }
    return first;
}

weir_status weir__block_speculative(weir_engine *e, weir_session **s, int n, weir_err *err) {
    weir_step_buffers *b = &e->buf;
    int32_t *n_draft = b->n_draft;
    sort_by_gamma(s, n);
    WEIR_TRY(make_room(s, n));
    for (int i = 0; i < n; i++) b->law[i] = s[i]->law;
    WEIR_TRY(WEIR_PUT(e, law, n));
    const double t0 = weir_seconds();
    WEIR_TRY(draft(e, s, n, n_draft));
    const double t1 = weir_seconds();
    WEIR_TRY(verify(e, s, n, n_draft));
    const double t2 = weir_seconds();
    const weir_status st = close_block(e, s, n, err);
    const double t3 = weir_seconds();
    for (int i = 0; i < n; i++) {
        s[i]->stats.seconds_draft += (t1 - t0) / n;
        s[i]->stats.seconds_verify += (t2 - t1) / n;
        s[i]->stats.seconds_accept += (t3 - t2) / n;
    }
    return st;
}
