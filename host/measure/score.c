#include "host/measure/score.h"

#include <math.h>
#include <string.h>

#include "host/deck/deck.h"
#include "kernels/base/mem.h"

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

struct weir_scoring {
    weir_engine *e;
    weir_session *s; /* of the prompt, on its slot; writes nothing */
    int32_t *completion;
    size_t n, done;
    int n_top;
    float *logprobs; /* (n) */
    weir_top *top;   /* (n, n_top), NULL without */
};

void weir_score_end(weir_scoring *g) {
    if (!g) return;
    weir_session_free(g->s);
    weir_free(g->completion);
    weir_free(g->logprobs);
    weir_free(g->top);
    weir_free(g);
}

static bool allocate(weir_scoring *g) {
    g->completion = weir_alloc(g->n, sizeof *g->completion);
    g->logprobs = weir_alloc(g->n, sizeof *g->logprobs);
    if (g->n_top > 0) g->top = weir_alloc(g->n, (size_t)g->n_top * sizeof *g->top);
    return g->completion && g->logprobs && (g->top || g->n_top == 0);
}

weir_status weir_score_begin(weir_engine *e, const int32_t *prompt, size_t n_prompt,
                             const int32_t *completion, size_t n_completion, int n_top, uint64_t cache_salt,
                             weir_scoring **out, weir_err *err) {
    WEIR_TRY(weir__score_check(e, prompt, n_prompt, completion, n_completion, err));
    if (n_top < 0 || n_top > WEIR_N_TOP_MAX)
        return weir_fail(err, WEIR_EINVAL, "n_top %d is outside [0, %d]", n_top, WEIR_N_TOP_MAX);
    weir_session_options opt = weir_session_options_default();
    opt.method = WEIR_METHOD_VERIFIER;
    opt.max_tokens = 0;
    opt.cache_salt = cache_salt;
    weir_scoring *g = weir_calloc(1, sizeof *g);
    if (g) {
        g->e = e;
        g->n = n_completion;
        g->n_top = n_top;
    }
    if (!g || !allocate(g)) {
        weir_score_end(g);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for the scores of %zu tokens", n_completion);
    }
    if (n_completion > 0) memcpy(g->completion, completion, n_completion * sizeof *completion);
    weir_status st = weir_session_create(e, &opt, prompt, n_prompt, NULL, NULL, &g->s, err);
    if (st == WEIR_OK) st = weir__pages_hold(g->s, (int64_t)n_completion, err);
    if (st != WEIR_OK) {
        weir_score_end(g);
        return st;
    }
    *out = g;
    return WEIR_OK;
}

static float logp_of(float logit, const weir_row_stats *st) {
    return (float)((double)logit - (double)st->max - log((double)st->sum));
}

/* Tops of the n rows that follow those that are done. */
static weir_status take_tops(weir_scoring *g, size_t n) {
    const weir_step_buffers *b = &g->e->deck.buf;
    if (g->n_top == 0) return WEIR_OK;
    for (size_t i = 0; i < n; i++) b->top_row[i] = (int32_t)i;
    WEIR_TRY(weir__tops_select(g->e, (int)n, g->n_top));
    for (size_t i = 0; i < n * (size_t)g->n_top; i++) {
        const weir_top_entry *entry = &b->top[i];
        g->top[g->done * (size_t)g->n_top + i] =
            (weir_top){entry->id, logp_of(entry->logit, &b->p_stats[i / (size_t)g->n_top])};
    }
    return WEIR_OK;
}

/* Logits of the next n inputs of the timeline (its first input, then the completion), and the log-probability
 * of what follows each. */
static weir_status score_rows(weir_scoring *g, size_t n) {
    weir_engine *e = g->e;
    weir_step_buffers *b = &e->deck.buf;
    const weir_seat seat = weir__seat_of(g->s);
    weir_rows rows = {0, 0};
    WEIR_TRY(weir__session_room(g->s, WEIR_VERIFIER, (int64_t)(g->done + n)));
    b->law[0] = weir_law_default();
    WEIR_TRY(WEIR_PUT(e, law, 1));
    for (size_t i = g->done; i < g->done + n; i++) {
        b->law_of[rows.n_row] = 0;
        weir__rows_add(e, &rows, &seat, i == 0 ? g->s->timeline[0] : g->completion[i - 1], (int64_t)i, true);
    }
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_VERIFIER, b->p_logits));
    WEIR_TRY(weir__rows_stats(e, WEIR_VERIFIER, b->p_logits, rows.n_out, e->deck.dev.p_stats));
    WEIR_TRY(weir__rows_pick(e, WEIR_VERIFIER, b->p_logits, rows.n_out, g->completion + g->done));
    WEIR_TRY(WEIR_GET(e, p_stats, rows.n_out));
    for (size_t i = 0; i < n; i++) {
        if (isnan(b->p_stats[i].max)) return WEIR_ELOGITS;
        g->logprobs[g->done + i] = logp_of(b->picked[i], &b->p_stats[i]);
    }
    return take_tops(g, n);
}

static weir_status run_rows(weir_scoring *g, int64_t max_rows, weir_err *err) {
    const size_t most = (size_t)g->e->pair.n_row_max, asked = max_rows < 1 ? 1 : (size_t)max_rows;
    size_t n = g->n - g->done;
    if (n > asked) n = asked;
    if (n > most) n = most;
    if (weir__session_given_up(g->s)) return weir_fail(err, WEIR_ECANCELED, "cancelled");
    const weir_status st = score_rows(g, n);
    if (weir__is_lost(st)) return weir__engine_lost(g->e, st, err);
    if (st != WEIR_OK)
        return weir_fail(err, st, "completion token %zu: %s", g->done,
                         st == WEIR_ELOGITS ? "logits are not finite; the checkpoint or its dtype is broken"
                                            : weir_status_str(st));
    g->done += n;
    return WEIR_OK;
}

weir_status weir_score_step(weir_scoring *g, int64_t max_rows, int64_t *left, weir_err *err) {
    int64_t of_prompt = 0;
    if (g->done < g->n) {
        const bool read = g->s->cached[WEIR_VERIFIER] >= 0;
        if (read)
            WEIR_TRY(run_rows(g, max_rows, err));
        else
            WEIR_TRY(weir_session_prefill(g->s, max_rows < 1 ? 1 : max_rows, &of_prompt, err));
        if (g->s->finish != WEIR_RUNNING) return weir_fail(err, WEIR_ECANCELED, "cancelled");
        if (g->done == g->n) weir__session_release(g->s); /* others may have its slot */
    }
    *left = of_prompt + (int64_t)(g->n - g->done);
    return WEIR_OK;
}

bool weir_score_in_part(const weir_scoring *g) { return weir_session_in_part(g->s); }

void weir_score_get(const weir_scoring *g, const float **logprobs, const weir_top **top, size_t *n) {
    *logprobs = g->logprobs;
    *top = g->top;
    *n = g->done;
}

weir_status weir_score(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                       size_t n_completion, float *logprobs, weir_err *err) {
    weir_scoring *g = NULL;
    WEIR_TRY(weir_score_begin(e, prompt, n_prompt, completion, n_completion, 0, 0, &g, err));
    weir_status st = WEIR_OK;
    for (int64_t left = 1; left > 0 && st == WEIR_OK;) st = weir_score_step(g, INT64_MAX, &left, err);
    if (st == WEIR_OK && n_completion > 0) memcpy(logprobs, g->logprobs, n_completion * sizeof *logprobs);
    weir_score_end(g);
    return st;
}
