#include <math.h>

#include "host/measure/score.h"
#include "host/deck/deck.h"

weir_status weir__score_check(const weir_engine *e, const int32_t *prompt, size_t n_prompt,
                              const int32_t *completion, size_t n_completion, weir_err *err) {
    if (n_prompt == 0) return weir_fail(err, WEIR_EINVAL, "the prompt has no token");
    const struct {
        const char *name;
        const int32_t *ids;
        size_t n;
    } part[2] = {{"prompt", prompt, n_prompt}, {"completion", completion, n_completion}};
    for (int p = 0; p < 2; p++) {
        if (part[p].n > (size_t)e->pair.ctx_size)
            return weir_fail(err, WEIR_ETOOLONG,
                             "the %s has %zu tokens; the context holds %d (raise it with -c)", part[p].name,
                             part[p].n, e->pair.ctx_size);
        for (size_t i = 0; i < part[p].n; i++)
            if (part[p].ids[i] < 0 || part[p].ids[i] >= e->pair.n_vocab)
                return weir_fail(err, WEIR_EINVAL, "%s token %zu is %d; ids are in [0, %d)", part[p].name, i,
                                 (int)part[p].ids[i], (int)e->pair.n_vocab);
    }
    if (e->pair.facts.encoder_decoder || n_prompt + n_completion <= (size_t)e->pair.ctx_size) return WEIR_OK;
    return weir_fail(err, WEIR_ETOOLONG,
                     "prompt and completion have %zu tokens; the context holds %d (raise it with -c)",
                     n_prompt + n_completion, e->pair.ctx_size);
}

/* Logits of inputs [from, from + n) of the timeline (its first input, then the completion), and the
 * log-probability of what follows. */
static weir_status score_rows(weir_engine *e, const weir_session *s, const int32_t *completion, size_t from,
                              size_t n, float *logprobs) {
    weir_step_buffers *b = &e->deck.buf;
    const weir_seat seat = weir__seat_of(s);
    weir_rows rows = {0, 0};
    for (size_t i = from; i < from + n; i++) {
        b->law_of[rows.n_row] = 0;
        weir__rows_add(e, &rows, &seat, i == 0 ? s->timeline[0] : completion[i - 1], (int64_t)i, true);
    }
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_VERIFIER, b->p_logits));
    WEIR_TRY(weir__rows_stats(e, WEIR_VERIFIER, b->p_logits, rows.n_out, e->deck.dev.p_stats));
    WEIR_TRY(weir__rows_pick(e, WEIR_VERIFIER, b->p_logits, rows.n_out, completion + from));
    WEIR_TRY(WEIR_GET(e, p_stats, rows.n_out));
    for (size_t i = 0; i < n; i++) {
        const weir_row_stats *st = &b->p_stats[i];
        if (isnan(st->max)) return WEIR_ELOGITS;
        logprobs[from + i] = (float)((double)b->picked[i] - (double)st->max - log((double)st->sum));
    }
    return WEIR_OK;
}

static weir_status score_with(weir_engine *e, weir_session *s, const int32_t *completion, size_t n,
                              float *logprobs, weir_err *err) {
    WEIR_TRY(weir__session_admit(s, err));
    WEIR_TRY(weir__session_room(s, WEIR_VERIFIER, (int64_t)n));
    e->deck.buf.law[0] = weir_law_default();
    WEIR_TRY(WEIR_PUT(e, law, 1));
    for (size_t from = 0; from < n;) {
        size_t rows = n - from;
        if (rows > (size_t)e->pair.n_row_max) rows = (size_t)e->pair.n_row_max;
        if (weir__session_given_up(s)) return weir_fail(err, WEIR_ECANCELED, "cancelled");
        const weir_status st = score_rows(e, s, completion, from, rows, logprobs);
        if (st == WEIR_ECUDA) return weir__backend_failure(e->pair.be, err);
        if (st != WEIR_OK)
            return weir_fail(err, st, "completion token %zu: %s", from,
                             st == WEIR_ELOGITS
                                 ? "logits are not finite; the checkpoint or its dtype is broken"
                                 : weir_status_str(st));
        from += rows;
    }
    return WEIR_OK;
}

weir_status weir_score(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                       size_t n_completion, float *logprobs, weir_err *err) {
    WEIR_TRY(weir__score_check(e, prompt, n_prompt, completion, n_completion, err));
    if (n_completion == 0) return WEIR_OK;
    weir_session_options opt = weir_session_options_default();
    opt.method = WEIR_METHOD_VERIFIER;
    opt.max_tokens = 1;
    weir_session *s = NULL;
    WEIR_TRY(weir_session_create(e, &opt, prompt, n_prompt, NULL, NULL, &s, err));
    const weir_status st = score_with(e, s, completion, n_completion, logprobs, err);
    weir_session_free(s);
    return st;
}
