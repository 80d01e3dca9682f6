/* The methods that decide token by token: one model alone, TokenCascade, OracleCascade, sequence cascade. A tick
 * gives every session of the list one token: the drafters' rows, then the rows of those that need the verifier. */
#include <math.h>

#include "host/engine.h"

static bool starts_with_drafter(const weir_session *s) {
    switch (s->opt.method) {
    case WEIR_METHOD_DRAFTER:
    case WEIR_METHOD_TOKEN_CASCADE:
    case WEIR_METHOD_ORACLE_CASCADE: return true;
    case WEIR_METHOD_SEQUENCE_CASCADE: return !s->second_pass;
    default: return false;
    }
}

/* One row a session: everything its cache lacks, logits of the last. */
static weir_status run_side(weir_engine *e, weir_session **s, const weir_tick_row *t, int n, int side, float *logits,
                            weir_row_stats *stats) {
    weir_step_buffers *b = &e->buf;
    weir_rows rows = {0, 0};
    for (int i = 0; i < n; i++) {
        if ((side == WEIR_DRAFTER ? t[i].q : t[i].p) < 0) continue;
        const int32_t before = rows.n_row;
        WEIR_TRY(weir_kv_pool_resize(e->side[side].self, s[i]->slot, s[i]->n + 1));
        b->law_of[rows.n_out] = i;
        weir_rows_catch_up(e, &rows, s[i], side, s[i]->n + 1, true);
        weir_rows_book(s[i], side, rows.n_row - before);
    }
    if (rows.n_out == 0) return WEIR_OK;
    WEIR_TRY(weir_rows_run(e, &rows, side, logits));
    return weir_rows_stats(e, side, logits, rows.n_out, stats);
}

static weir_status draw_drafts(weir_engine *e, weir_session **s, const weir_tick_row *t, int n) {
    weir_step_buffers *b = &e->buf;
    int n_row = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].q < 0) continue;
        b->law_of[n_row] = i;
        b->block_row[n_row] = 0;
        b->position[n_row++] = (int32_t)s[i]->n;
    }
    return n_row > 0 ? weir_rows_draw(e, b->q_logits, n_row, b->q_stats) : WEIR_OK;
}

static const float *q_logits_of(const weir_engine *e, const weir_tick_row *t) {
    return e->buf.q_logits + (int64_t)t->q * e->side[WEIR_DRAFTER].ld;
}
static const float *p_logits_of(const weir_engine *e, const weir_tick_row *t) {
    return e->buf.p_logits + (int64_t)t->p * e->side[WEIR_VERIFIER].ld;
}

/* r of one row; p may be missing for rules that look at q alone. */
static weir_status gate(weir_engine *e, const weir_session *s, weir_tick_row *t, const weir_law *law) {
    weir_gate_session g = {.law = law, .q_logits = q_logits_of(e, t), .q_stats = e->buf.q_stats + t->q,
                           .position = (int32_t)s->n};
    if (t->p >= 0) {
        g.p_logits = p_logits_of(e, t);
        g.p_stats = e->buf.p_stats + t->p;
    }
    weir_gate_args a = {.session = &g, .n_session = 1, .n_vocab = e->n_vocab};
    WEIR_TRY(e->be->op.gate(e->be, &a));
    WEIR_TRY(g.status);
    t->deferred = g.deferred;
    return WEIR_OK;
}

static bool row_is_usable(const weir_row_stats *st) { return !isnan(st->max); }

/* Who needs the verifier now: rows are numbered in list order. */
static weir_status choose_verifier_rows(weir_engine *e, weir_session **s, weir_tick_row *t, int n, weir_err *err) {
    int n_p = 0;
    for (int i = 0; i < n; i++) {
        bool wanted = false;
        switch (s[i]->opt.method) {
        case WEIR_METHOD_VERIFIER:
        case WEIR_METHOD_ORACLE_CASCADE: wanted = true; break;
        case WEIR_METHOD_SEQUENCE_CASCADE: wanted = s[i]->second_pass; break;
        case WEIR_METHOD_TOKEN_CASCADE:
            if (s[i]->run >= WEIR_TOKEN_CASCADE_RUN) t[i].deferred = true;
            else if (row_is_usable(&e->buf.q_stats[t[i].q])) WEIR_TRY(gate(e, s[i], &t[i], &e->buf.law[i]));
            wanted = t[i].deferred;
            break;
        default: break;
        }
        if (!wanted) continue;
        WEIR_TRY(weir_session_prefill(s[i], WEIR_VERIFIER, err));
        t[i].p = n_p++;
    }
    return WEIR_OK;
}

static float raw_logp(const float *logits, const weir_row_stats *st, int32_t token) {
    return logits[token] - st->max - logf(st->sum);
}

/* The verifier's own draws for the rows that defer (or have no drafter), all at once. */
static weir_status emit_from_p(weir_engine *e, weir_session **s, const weir_tick_row *t, int n) {
    weir_step_buffers *b = &e->buf;
    int n_emit = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].p < 0 || (t[i].q >= 0 && !t[i].deferred)) continue;
        b->emit[n_emit++] = (weir_emit_session){
            .law = &b->law[i], .kind = WEIR_EMIT_P, .p_logits = p_logits_of(e, &t[i]),
            .p_stats = b->p_stats + t[i].p, .draft = -1, .block_p = 1.0f, .position = (int32_t)s[i]->n};
    }
    weir_emit_args a = {.session = b->emit, .n_session = n_emit, .n_vocab = e->n_vocab};
    return n_emit > 0 ? e->be->op.emit(e->be, &a) : WEIR_OK;
}

static void take_from_drafter(weir_engine *e, weir_session *s, const weir_tick_row *t) {
    const int32_t x = e->buf.drawn[t->q];
    const float log_q = raw_logp(q_logits_of(e, t), &e->buf.q_stats[t->q], x);
    s->seq_logp += s->law.gate_scaled ? (double)e->buf.draft_logp[t->q] : (double)log_q;
    s->seq_n++;
    s->run++;
    const float log_p = t->p >= 0 ? raw_logp(p_logits_of(e, t), &e->buf.p_stats[t->p], x) : NAN;
    weir_session_append(s, x, WEIR_SOURCE_DRAFTER, log_p, e->buf.draft_logp[t->q]);
}

static weir_status take_token(weir_engine *e, weir_session *s, const weir_tick_row *t, const weir_emit_session *emit,
                              weir_err *err) {
    const bool q_broken = t->q >= 0 && !row_is_usable(&e->buf.q_stats[t->q]);
    const bool p_broken = t->p >= 0 && !row_is_usable(&e->buf.p_stats[t->p]);
    if (q_broken || p_broken || (emit && emit->status != WEIR_OK)) return weir_session_refuse(s, WEIR_EINVAL, err);
    if (t->q >= 0) {
        s->stats.rows_examined++;
        s->stats.rows_deferred += t->deferred;
    }
    if (emit) {
        s->run = 0;
        weir_session_append(s, emit->token, WEIR_SOURCE_VERIFIER, emit->log_p, emit->log_pi);
    } else {
        take_from_drafter(e, s, t);
    }
    return WEIR_OK;
}

/* Sequence cascade: the drafter's answer is complete; keep it or let the verifier write. */
static weir_status judge_sequence(weir_session *s, weir_err *err) {
    const double n = s->opt.seq_conf_sum ? 1.0 : (double)s->seq_n;
    const double confidence = s->seq_n > 0 ? s->seq_logp / n : 0.0;
    s->mute = false;
    if (!(confidence < -(double)s->law.alpha)) return weir_text_tell_all(s);
    s->second_pass = true;
    s->stats.deferred_sequence = true;
    weir_session_restart(s);
    return weir_session_admit(s, err);
}

weir_status weir_tick_sequential(weir_engine *e, weir_session **s, int n, weir_err *err) {
    weir_step_buffers *b = &e->buf;
    weir_tick_row *t = b->tick;
    int n_q = 0;
    for (int i = 0; i < n; i++) {
        b->law[i] = s[i]->law;
        t[i] = (weir_tick_row){.q = starts_with_drafter(s[i]) ? n_q++ : -1, .p = -1, .deferred = false};
    }
    const double t0 = weir_now();
    WEIR_TRY(run_side(e, s, t, n, WEIR_DRAFTER, b->q_logits, b->q_stats));
    WEIR_TRY(draw_drafts(e, s, t, n));
    const double t1 = weir_now();
    WEIR_TRY(choose_verifier_rows(e, s, t, n, err));
    WEIR_TRY(run_side(e, s, t, n, WEIR_VERIFIER, b->p_logits, b->p_stats));
    const double t2 = weir_now();
    for (int i = 0; i < n; i++) {
        if (s[i]->opt.method != WEIR_METHOD_ORACLE_CASCADE) continue;
        if (row_is_usable(&b->q_stats[t[i].q]) && row_is_usable(&b->p_stats[t[i].p]))
            WEIR_TRY(gate(e, s[i], &t[i], &b->law[i]));
    }
    WEIR_TRY(emit_from_p(e, s, t, n));

    weir_status first = WEIR_OK;
    for (int i = 0, k = 0; i < n; i++) {
        const bool from_p = t[i].p >= 0 && (t[i].q < 0 || t[i].deferred);
        const weir_status found = take_token(e, s[i], &t[i], from_p ? &b->emit[k++] : NULL,
                                             first == WEIR_OK ? err : NULL);
        if (first == WEIR_OK) first = found;
    }
    const double t3 = weir_now();
    for (int i = 0; i < n; i++) {
        weir_session_stats *st = &s[i]->stats;
        if (t[i].q >= 0) st->seconds_draft += (t1 - t0) / n_q;
        if (t[i].p >= 0) st->seconds_verify += (t2 - t1) / n;
        st->seconds_accept += (t3 - t2) / n;
        const bool drafted_whole = s[i]->opt.method == WEIR_METHOD_SEQUENCE_CASCADE && !s[i]->second_pass;
        if (drafted_whole && (s[i]->finish == WEIR_FINISH_STOP || s[i]->finish == WEIR_FINISH_LENGTH))
            WEIR_TRY(judge_sequence(s[i], err));
    }
    return first;
}
