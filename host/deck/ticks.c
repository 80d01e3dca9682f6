/* The second program over the deck's seats: methods that decide token by token (the drafter alone,
 * TokenCascade, OracleCascade, sequence cascade). A tick gives every seat one token: the drafters' rows, then
 * the rows of those that need the verifier. */
#include <math.h>

#include "host/deck/deck.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"

static bool starts_with_drafter(const weir_session *s) {
    switch (s->opt.method) {
    case WEIR_METHOD_DRAFTER:
    case WEIR_METHOD_TOKEN_CASCADE:
    case WEIR_METHOD_ORACLE_CASCADE: return true;
    case WEIR_METHOD_SEQUENCE_CASCADE: return !s->second_pass;
    default: return false;
    }
}

/* The rows that each session's cache lacks, with the logits of the last. */
static weir_status run_side(weir_engine *e, weir_session **s, const weir_tick_place *t, int n, int side) {
    weir_step_buffers *b = &e->deck.buf;
    weir_rows rows = {0, 0};
    for (int i = 0; i < n; i++) {
        if ((side == WEIR_DRAFTER ? t[i].q : t[i].p) < 0) continue;
        const int32_t before = rows.n_row;
        WEIR_TRY(weir__session_room(s[i], side, s[i]->n + 1));
        b->law_of[rows.n_out] = i;
        weir__rows_catch_up(e, &rows, &b->seat[i], s[i], side, s[i]->n + 1, true);
        weir__rows_book(s[i], side, rows.n_row - before);
    }
    if (rows.n_out == 0) return WEIR_OK;
    float *logits = side == WEIR_DRAFTER ? b->q_logits : b->p_logits;
    WEIR_TRY(weir__rows_run(e, &rows, side, logits));
    WEIR_TRY(weir__rows_stats(e, side, logits, rows.n_out,
                              side == WEIR_DRAFTER ? e->deck.dev.q_stats : e->deck.dev.p_stats));
    return side == WEIR_DRAFTER ? WEIR_GET(e, q_stats, rows.n_out) : WEIR_GET(e, p_stats, rows.n_out);
}

static weir_status draw_drafts(weir_engine *e, const weir_tick_place *t, int n) {
    weir_step_buffers *b = &e->deck.buf;
    int n_row = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].q < 0) continue;
        b->law_of[n_row] = i;
        b->block_row[n_row] = 0;
        b->position[n_row++] = b->seat[i].n;
    }
    return n_row > 0 ? weir__rows_draw(e, b->q_logits, n_row, e->deck.dev.q_stats) : WEIR_OK;
}

static const float *q_logits_of(const weir_engine *e, const weir_tick_place *t) {
    return e->deck.buf.q_logits + (int64_t)t->q * e->pair.side[WEIR_DRAFTER].ld;
}
static const float *p_logits_of(const weir_engine *e, const weir_tick_place *t) {
    return e->deck.buf.p_logits + (int64_t)t->p * e->pair.side[WEIR_VERIFIER].ld;
}

/* Notes r of a session's row as wanted; p may be missing for rules that look at q alone. */
static void ask_gate(weir_engine *e, const weir_session *s, const weir_tick_place *t, int i, int *n_gate) {
    weir_gate_session *g = &e->deck.buf.gate[(*n_gate)++];
    *g = (weir_gate_session){.law = &e->deck.dev.law[i],
                             .q_logits = q_logits_of(e, t),
                             .q_stats = e->deck.dev.q_stats + t->q,
                             .position = (int32_t)s->n};
    if (t->p < 0) return;
    g->p_logits = p_logits_of(e, t);
    g->p_stats = e->deck.dev.p_stats + t->p;
}

/* Answers what was asked, in the same order. */
static weir_status run_gates(weir_engine *e, int n_gate) {
    weir_gate_args a = {.session = e->deck.dev.gate, .n_session = n_gate, .n_vocab = e->pair.n_vocab};
    if (n_gate == 0) return WEIR_OK;
    WEIR_TRY(WEIR_PUT(e, gate, n_gate));
    WEIR_TRY(e->pair.be->op.gate(e->pair.be, &a));
    WEIR_TRY(WEIR_GET(e, gate, n_gate));
    for (int k = 0; k < n_gate; k++) WEIR_TRY(e->deck.buf.gate[k].status);
    return WEIR_OK;
}

static bool row_is_usable(const weir_row_stats *st) { return !isnan(st->max); }

/* Whose rule decides now: before the verifier has run, or after it. */
static bool gated(const weir_engine *e, const weir_session *s, const weir_tick_place *t, bool verified) {
    if (s->finish != WEIR_RUNNING) return false;
    if (!verified)
        return s->opt.method == WEIR_METHOD_TOKEN_CASCADE && s->run < WEIR_TOKEN_CASCADE_RUN &&
               row_is_usable(&e->deck.buf.q_stats[t->q]);
    return s->opt.method == WEIR_METHOD_ORACLE_CASCADE && row_is_usable(&e->deck.buf.q_stats[t->q]) &&
           row_is_usable(&e->deck.buf.p_stats[t->p]);
}

static weir_status decide(weir_engine *e, weir_session **s, weir_tick_place *t, int n, bool verified) {
    int n_gate = 0;
    for (int i = 0; i < n; i++)
        if (gated(e, s[i], &t[i], verified)) ask_gate(e, s[i], &t[i], i, &n_gate);
    WEIR_TRY(run_gates(e, n_gate));
    for (int i = 0, k = 0; i < n; i++)
        if (gated(e, s[i], &t[i], verified)) t[i].deferred = e->deck.buf.gate[k++].deferred;
    return WEIR_OK;
}

/* Who needs the verifier now: rows are numbered in list order. */
static weir_status choose_verifier_rows(weir_engine *e, weir_session **s, weir_tick_place *t, int n,
                                        weir_err *err) {
    int n_p = 0;
    WEIR_TRY(decide(e, s, t, n, false));
    for (int i = 0; i < n; i++) {
        bool wanted = false;
        switch (s[i]->opt.method) {
        case WEIR_METHOD_VERIFIER:
        case WEIR_METHOD_ORACLE_CASCADE: wanted = true; break;
        case WEIR_METHOD_SEQUENCE_CASCADE: wanted = s[i]->second_pass; break;
        case WEIR_METHOD_TOKEN_CASCADE:
            if (s[i]->run >= WEIR_TOKEN_CASCADE_RUN) t[i].deferred = true;
            wanted = t[i].deferred;
            break;
        default: break;
        }
        if (!wanted) continue;
        const weir_status st = weir__session_prefill(s[i], WEIR_VERIFIER, err);
        if (st == WEIR_ECANCELED)
            weir__session_give_up(s[i]); /* its draft is dropped */
        else if (st != WEIR_OK)
            return st;
        else
            t[i].p = n_p++;
    }
    return WEIR_OK;
}

/* A sequence cascade's confidence is the drafter's log-probability of its own tokens. The verifier's is
 * reported for kept tokens. */
static bool wants_logp(const weir_session *s, const weir_tick_place *t, int side) {
    if (side == WEIR_DRAFTER) return t->q >= 0 && s->opt.method == WEIR_METHOD_SEQUENCE_CASCADE;
    return t->p >= 0 && t->q >= 0 && !t->deferred;
}

/* Raw log-probabilities of the drawn tokens under one side into t[i].log_q or t[i].log_p, where anyone wants
 * them. */
static weir_status read_logps(weir_engine *e, weir_session **s, weir_tick_place *t, int n, int side) {
    weir_step_buffers *b = &e->deck.buf;
    int32_t *token = b->position; /* free since the draws */
    int n_row = 0, n_wanted = 0;
    for (int i = 0; i < n; i++) {
        n_wanted += wants_logp(s[i], &t[i], side);
        if ((side == WEIR_DRAFTER ? t[i].q : t[i].p) < 0) continue;
        const int32_t drawn = t[i].q >= 0 ? b->drawn[t[i].q] : 0;
        token[n_row++] = drawn < 0 ? 0 : drawn; /* an unusable row: not read */
    }
    if (n_wanted == 0) return WEIR_OK;
    WEIR_TRY(weir__rows_pick(e, side, side == WEIR_DRAFTER ? b->q_logits : b->p_logits, n_row, token));
    for (int i = 0; i < n; i++) {
        if (side == WEIR_DRAFTER && t[i].q >= 0)
            t[i].log_q = weir__raw_logp(b->picked[t[i].q], &b->q_stats[t[i].q]);
        if (side == WEIR_VERIFIER && t[i].p >= 0)
            t[i].log_p = weir__raw_logp(b->picked[t[i].p], &b->p_stats[t[i].p]);
    }
    return WEIR_OK;
}

/* The likeliest tokens of the verifier's rows, for the sessions that ask. */
static weir_status select_tops(weir_engine *e, weir_session **s, weir_tick_place *t, int n, int n_top) {
    int n_row = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].p < 0 || s[i]->opt.n_top == 0) continue;
        t[i].top = n_row;
        e->deck.buf.top_row[n_row++] = t[i].p;
    }
    return n_row > 0 ? weir__tops_select(e, n_row, n_top) : WEIR_OK;
}

/* The verifier's own draws for the rows that defer (or have no drafter), all at once. */
static weir_status emit_from_p(weir_engine *e, const weir_tick_place *t, int n) {
    weir_step_buffers *b = &e->deck.buf;
    int n_emit = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].p < 0 || (t[i].q >= 0 && !t[i].deferred)) continue;
        b->emit[n_emit++] = (weir_emit_session){.law = &e->deck.dev.law[i],
                                                .kind = WEIR_EMIT_P,
                                                .p_logits = p_logits_of(e, &t[i]),
                                                .p_stats = e->deck.dev.p_stats + t[i].p,
                                                .draft = -1,
                                                .block_p = 1.0f,
                                                .position = b->seat[i].n};
    }
    if (n_emit == 0) return WEIR_OK;
    weir_emit_args a = {.session = e->deck.dev.emit, .n_session = n_emit, .n_vocab = e->pair.n_vocab};
    WEIR_TRY(WEIR_PUT(e, emit, n_emit));
    WEIR_TRY(e->pair.be->op.emit(e->pair.be, &a));
    return WEIR_GET(e, emit, n_emit);
}

static void take_from_drafter(weir_engine *e, weir_session *s, const weir_tick_place *t,
                              const weir_seen *seen) {
    s->seq_logp += s->opt.law.gate_scaled ? (double)e->deck.buf.draft_logp[t->q] : (double)t->log_q;
    s->seq_n++;
    s->run++;
    weir__session_append(s, e->deck.buf.drawn[t->q], WEIR_SOURCE_DRAFTER, t->p >= 0 ? t->log_p : NAN,
                         e->deck.buf.draft_logp[t->q], seen);
}

static weir_status take_token(weir_engine *e, weir_session *s, const weir_tick_place *t, int n_top,
                              const weir_emit_session *emit, weir_err *err) {
    const weir_step_buffers *b = &e->deck.buf;
    weir_seen seen = {.stride = n_top};
    if (t->top >= 0) seen.top = b->top + t->top * n_top, seen.stats = b->p_stats + t->p;
    const bool q_broken = t->q >= 0 && !row_is_usable(&e->deck.buf.q_stats[t->q]);
    const bool p_broken = t->p >= 0 && !row_is_usable(&e->deck.buf.p_stats[t->p]);
    if (q_broken || p_broken || (emit && emit->status != WEIR_OK)) return weir__session_refuse(s, err);
    if (t->q >= 0) {
        s->stats.rows_examined++;
        s->stats.rows_deferred += t->deferred;
    }
    if (emit) {
        s->run = 0;
        weir__session_append(s, emit->token, WEIR_SOURCE_VERIFIER, emit->log_p, emit->log_pi, &seen);
    } else {
        take_from_drafter(e, s, t, &seen);
    }
    return WEIR_OK;
}

/* Sequence cascade: the drafter's answer is complete; keep it, or let the verifier write from the next round
 * on, when its prompt is run. */
static void judge_sequence(weir_session *s) {
    const double n = s->opt.seq_conf_sum ? 1.0 : (double)s->seq_n;
    const double confidence = s->seq_n > 0 ? s->seq_logp / n : 0.0;
    s->mute = false;
    if (!(confidence < -(double)s->opt.law.alpha)) {
        weir__session_tell_all(s);
        return;
    }
    s->second_pass = true;
    s->stats.deferred_sequence = true;
    weir__session_restart(s);
    weir__session_forget(s, WEIR_DRAFTER);
}

/* Tokens of all sessions from what the ops left; the first failure. */
static weir_status take_tokens(weir_engine *e, weir_session **s, const weir_tick_place *t, int n, int n_top,
                               weir_err *err) {
    weir_status first = WEIR_OK;
    for (int i = 0, k = 0; i < n; i++) {
        if (s[i]->finish != WEIR_RUNNING) continue; /* given up before it asked the verifier anything */
        const bool from_p = t[i].p >= 0 && (t[i].q < 0 || t[i].deferred);
        const weir_status found = take_token(e, s[i], &t[i], n_top, from_p ? &e->deck.buf.emit[k++] : NULL,
                                             first == WEIR_OK ? err : NULL);
        if (first == WEIR_OK) first = found;
    }
    return first;
}

weir_status weir__tick_sequential(weir_engine *e, weir_session **s, int n, weir_err *err) {
    weir_step_buffers *b = &e->deck.buf;
    weir_tick_place *t = b->tick;
    const int n_top = weir__tops_asked(s, n);
    int n_q = 0;
    for (int i = 0; i < n; i++) {
        b->who[i] = s[i];
        b->seat[i] = weir__seat_of(s[i]);
        b->law[i] = b->seat[i].law;
        t[i] = (weir_tick_place){.q = starts_with_drafter(s[i]) ? n_q++ : -1, .p = -1, .top = -1};
    }
    WEIR_TRY(WEIR_PUT(e, law, n));
    const double t0 = weir_seconds();
    WEIR_TRY(run_side(e, s, t, n, WEIR_DRAFTER));
    WEIR_TRY(draw_drafts(e, t, n));
    WEIR_TRY(read_logps(e, s, t, n, WEIR_DRAFTER));
    const double t1 = weir_seconds(), prompts = e->deck.prefill_seconds;
    WEIR_TRY(choose_verifier_rows(e, s, t, n, err));
    WEIR_TRY(run_side(e, s, t, n, WEIR_VERIFIER));
    /* those are their sessions' own */
    const double t2 = weir_seconds() - (e->deck.prefill_seconds - prompts);
    WEIR_TRY(decide(e, s, t, n, true));
    WEIR_TRY(emit_from_p(e, t, n));
    WEIR_TRY(read_logps(e, s, t, n, WEIR_VERIFIER));
    WEIR_TRY(select_tops(e, s, t, n, n_top));

    const weir_status first = take_tokens(e, s, t, n, n_top, err);
    const double t3 = weir_seconds();
    for (int i = 0; i < n; i++) {
        weir_session_stats *st = &s[i]->stats;
        if (t[i].q >= 0) st->seconds_draft += (t1 - t0) / n_q;
        if (t[i].p >= 0) st->seconds_verify += (t2 - t1) / n;
        st->seconds_accept += (t3 - t2 - (e->deck.prefill_seconds - prompts)) / n;
        const bool drafted_whole = s[i]->opt.method == WEIR_METHOD_SEQUENCE_CASCADE && !s[i]->second_pass;
        if (drafted_whole && (s[i]->finish == WEIR_FINISH_STOP || s[i]->finish == WEIR_FINISH_LENGTH))
            judge_sequence(s[i]);
    }
    return first;
}
