#include "tests/deck/tops_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/state.h"

bool tops_note(void *ud, weir_session *s, const weir_token_event *ev) {
    tops_told *k = ud;
    (void)s;
    cr_assert(k->n < TOPS_TOKENS && ev->n_top <= WEIR_N_TOP_MAX);
    k->n_top[k->n] = ev->n_top;
    if (ev->n_top > 0) memcpy(k->top[k->n], ev->top, (size_t)ev->n_top * sizeof *ev->top);
    k->n++;
    return true;
}

/* Against the score of the session's own text: ids the same wherever logits differ by more than the rounding
 * between one row and several. The entry of the token itself has its very log-probability. */
static void check_row(const weir_top *got, const weir_top *want, int n_top, const char *where) {
    for (int k = 0; k < n_top; k++) {
        cr_assert(fabsf(got[k].logprob - want[k].logprob) < 1e-4f, "%s: place %d has %g, scored %g", where, k,
                  (double)got[k].logprob, (double)want[k].logprob);
        if (got[k].id == want[k].id) continue;
        const float before = k > 0 ? want[k - 1].logprob - want[k].logprob : 1.0f;
        const float after = k + 1 < n_top ? want[k].logprob - want[k + 1].logprob : 0.0f;
        cr_assert(before < 1e-4f || after < 1e-4f, "%s: place %d is id %d, scored %d", where, k,
                  (int)got[k].id, (int)want[k].id);
    }
}

static weir_scoring *score(weir_engine *e, const weir_session *s, const weir_session_view *v, int n_top) {
    int32_t text[TOPS_TOKENS + 1];
    weir_scoring *g = NULL;
    memcpy(text, v->ids, v->n * sizeof *text);
    if (v->eos >= 0) text[v->n] = v->eos;
    cr_assert(weir_score_begin(e, s->prompt, s->n_prompt, text, v->n + (v->eos >= 0), n_top, 0, &g, NULL) ==
              WEIR_OK);
    for (int64_t left = 1; left > 0;) cr_assert(weir_score_step(g, INT64_MAX, &left, NULL) == WEIR_OK);
    return g;
}

int tops_check(weir_engine *e, weir_session *s, const tops_told *k, const char *what) {
    weir_session_view v;
    const float *logprobs;
    const weir_top *want;
    size_t n;
    char where[100];
    int seen = 0;
    weir_session_get(s, &v);
    const int n_top = s->opt.n_top;
    cr_assert(k->n == v.n && v.top, "%s", what);
    weir_scoring *g = score(e, s, &v, n_top);
    weir_score_get(g, &logprobs, &want, &n);
    for (size_t i = 0; i < n; i++) {
        const bool end = i == v.n;
        const weir_top *got = end ? v.eos_top : v.top + i * (size_t)n_top;
        const float logprob = end ? v.eos_logprob : v.logprobs[i];
        const int there = end ? v.n_eos_top : k->n_top[i];
        snprintf(where, sizeof where, "%s, token %zu of %zu, %s", what, i, v.n,
                 end ? "eos" : weir_source_name(v.sources[i]));
        cr_assert(there == (isnan(logprob) ? 0 : n_top), "%s: %d entries beside %g", where, there,
                  (double)logprob);
        if (!end)
            cr_assert(memcmp(k->top[i], got, (size_t)there * sizeof *got) == 0, "%s: told other", where);
        if (there == 0) cr_assert(got[0].id == -1 && isnan(got[0].logprob), "%s", where);
        if (there == 0) continue;
        seen++;
        check_row(got, want + i * (size_t)n_top, n_top, where);
        for (int p = 0; p < n_top; p++)
            cr_assert(got[p].id != (end ? v.eos : v.ids[i]) || got[p].logprob == logprob, "%s: %a beside %a",
                      where, (double)got[p].logprob, (double)logprob);
    }
    weir_score_end(g);
    return seen;
}
