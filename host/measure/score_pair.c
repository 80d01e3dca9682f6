#include "host/measure/score.h"
#include "host/deck/deck.h"

/* Both models over one given text: the rows that an accept step would have seen there. */

/* Logits of the inputs [from, from + n) on one side, in backend memory. */
static weir_status run_side(weir_engine *e, const weir_session *s, int side, const int32_t *completion,
                            size_t from, size_t n) {
    const weir_seat seat = weir__seat_of(s);
    weir_rows rows = {0, 0};
    for (size_t i = from; i < from + n; i++)
        weir__rows_add(e, &rows, &seat, i == 0 ? s->timeline[0] : completion[i - 1], (int64_t)i, true);
    return weir__rows_run(e, &rows, side, side == WEIR_DRAFTER ? e->deck.buf.q_logits : e->deck.buf.p_logits);
}

/* Where the host can read one row: the backend's memory itself on the CPU, else `copy`. */
static weir_status row_of(weir_engine *e, int side, size_t i, float *copy, const float **out) {
    const float *logits = side == WEIR_DRAFTER ? e->deck.buf.q_logits : e->deck.buf.p_logits;
    const float *row = logits + i * (size_t)e->pair.side[side].ld;
    *out = e->pair.be->device ? copy : row;
    return e->pair.be->device
               ? weir__backend_download(e->pair.be, copy, row, (size_t)e->pair.n_vocab * sizeof *row)
               : WEIR_OK;
}

static weir_status hand_out(weir_engine *e, size_t from, size_t n, float *copy, weir_rows_fn fn, void *ud,
                            bool *more) {
    for (size_t i = 0; i < n && *more; i++) {
        const float *q, *p;
        WEIR_TRY(row_of(e, WEIR_DRAFTER, i, copy, &q));
        WEIR_TRY(row_of(e, WEIR_VERIFIER, i, copy ? copy + e->pair.n_vocab : NULL, &p));
        *more = fn(ud, from + i, q, p, e->pair.n_vocab);
    }
    return WEIR_OK;
}

static weir_status run_all(weir_engine *e, weir_session *s, const int32_t *completion, size_t n, float *copy,
                           weir_rows_fn fn, void *ud, weir_err *err) {
    WEIR_TRY(weir__pages_hold(s, (int64_t)n, err));
    WEIR_TRY(weir__session_admit(s, err));
    for (int side = 0; side < 2; side++) {
        const weir_status st = weir__session_room(s, side, (int64_t)n);
        if (st != WEIR_OK) return weir_fail(err, st, "completion of %zu tokens: %s", n, weir_status_str(st));
    }
    bool more = true;
    for (size_t from = 0; from < n && more;) {
        const size_t rows = n - from < (size_t)e->pair.n_row_max ? n - from : (size_t)e->pair.n_row_max;
        if (weir__session_given_up(s)) return weir_fail(err, WEIR_ECANCELED, "cancelled");
        weir_status st = run_side(e, s, WEIR_DRAFTER, completion, from, rows);
        if (st == WEIR_OK) st = run_side(e, s, WEIR_VERIFIER, completion, from, rows);
        if (st == WEIR_OK) st = hand_out(e, from, rows, copy, fn, ud, &more);
        if (weir__is_lost(st)) return weir__engine_lost(e, st, err);
        if (st != WEIR_OK) return weir_fail(err, st, "completion token %zu: %s", from, weir_status_str(st));
        from += rows;
    }
    return WEIR_OK;
}

weir_status weir_score_pair(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                            size_t n_completion, weir_rows_fn fn, void *ud, weir_err *err) {
    if (!weir_draft_facts(e->pair.draft)->has_q)
        return weir_fail(err, WEIR_ENOTSUP, "%s has no distribution over the tokens of the text",
                         weir_draft_facts(e->pair.draft)->about);
    WEIR_TRY(weir__score_check(e, prompt, n_prompt, completion, n_completion, err));
    if (n_completion == 0) return WEIR_OK;
    weir_session_options opt = weir_session_options_default();
    opt.max_tokens = opt.n_draft = 1;
    weir_session *s = NULL;
    WEIR_TRY(weir_session_create(e, &opt, prompt, n_prompt, NULL, NULL, &s, err));
    float *copy = e->pair.be->device ? weir_alloc(2 * (size_t)e->pair.n_vocab, sizeof *copy) : NULL;
    const weir_status st = e->pair.be->device && !copy
                               ? weir_fail(err, WEIR_ENOMEM, "out of memory for two rows of logits")
                               : run_all(e, s, completion, n_completion, copy, fn, ud, err);
    weir_free(copy);
    weir_session_free(s);
    return st;
}
