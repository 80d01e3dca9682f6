/* Scores against what a session says of its own tokens, over more rows than one call takes. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "host/state.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/pair_fixture.h"

enum { PROMPT = 5, LONG = 60 };

/* The verifier's own answer, past any end, is scored as its session was told; a call takes 18 rows. */
static void score_own_answer(weir_engine *e, const int32_t *prompt, int n_prompt, int n) {
    weir_session_options o = weir_session_options_default();
    o.method = WEIR_METHOD_VERIFIER;
    o.max_tokens = n;
    o.ignore_eos = true;
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, &o, prompt, (size_t)n_prompt, NULL, NULL, &s, &err) == WEIR_OK, "%s",
              err.text);
    cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
    weir_session_view v;
    weir_session_get(s, &v);
    cr_assert(v.n == (size_t)n && v.n > 3 * (size_t)e->pair.n_row_max);
    float scores[256];
    cr_assert(weir_score(e, prompt, (size_t)n_prompt, v.ids, v.n, scores, &err) == WEIR_OK, "%s", err.text);
    for (size_t i = 0; i < v.n; i++)
        cr_assert(fabsf(scores[i] - v.logprobs[i]) < 1e-4f, "token %zu: %g, its session had %g", i,
                  (double)scores[i], (double)v.logprobs[i]);
    weir_session_free(s);
}

Test(score, of_an_answer_longer_than_a_call) {
    weir_engine *e = demo_open(1, 2, NULL, false);
    score_own_answer(e, (int32_t[]){83, 39, 213, 20, 1}, PROMPT, LONG);
    weir_engine_close(e);
    e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 200);
    score_own_answer(e, (int32_t[]){3, 14, 15, 9, 26}, PROMPT, LONG);
    weir_engine_close(e);
}

/* Both models' rows along a text, in one call and in many: the same. */
typedef struct rows_kept {
    double sum[2];
    size_t n;
} rows_kept;

static bool keep_rows(void *ud, size_t i, const float *q, const float *p, int32_t n) {
    rows_kept *k = ud;
    cr_assert(i == k->n++);
    for (int32_t v = 0; v < n; v++)
        k->sum[0] += (double)q[v] * (1 + v % 7), k->sum[1] += (double)p[v] * (1 + v % 5);
    return true;
}

Test(score, rows_of_both_models_whatever_a_call_takes) {
    int32_t text[LONG];
    for (int i = 0; i < LONG; i++) text[i] = 5 + (i * 13) % 50;
    rows_kept few = {.n = 0}, many = {.n = 0};
    weir_err err = {""};
    for (int all = 0; all < 2; all++) {
        weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", all ? 4 : 1, 1, 200); /* 18 rows a call, 72 */
        cr_assert((e->pair.n_row_max < LONG) == !all);
        rows_kept *k = all ? &many : &few;
        cr_assert(weir_score_pair(e, (int32_t[]){3, 14, 15}, 3, text, LONG, keep_rows, k, &err) == WEIR_OK,
                  "%s", err.text);
        weir_engine_close(e);
    }
    cr_expect(few.n == LONG && many.n == LONG);
    for (int side = 0; side < 2; side++)
        cr_expect(fabs(few.sum[side] - many.sum[side]) < 1e-3 * fabs(many.sum[side]) + 1e-6,
                  "side %d: %g, %g", side, few.sum[side], many.sum[side]);
}
