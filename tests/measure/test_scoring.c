/* Scores in steps: the bits of one call, whatever the steps and whoever is stepped between them, and the
 * likeliest tokens at each position. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"

enum { PROMPT = 90, LONG = 60, VOCAB = 67 };

static void fill_text(int32_t prompt[PROMPT], int32_t text[LONG]) {
    for (int i = 0; i < PROMPT; i++) prompt[i] = 3 + (i * 7) % 60;
    for (int i = 0; i < LONG; i++) text[i] = 5 + (i * 13) % 50;
}

static weir_scoring *begin(weir_engine *e, size_t n_prompt, int n_top) {
    int32_t prompt[PROMPT], text[LONG];
    weir_scoring *g = NULL;
    weir_err err = {""};
    fill_text(prompt, text);
    cr_assert(weir_score_begin(e, prompt, n_prompt, text, LONG, n_top, 0, &g, &err) == WEIR_OK, "%s",
              err.text);
    return g;
}

/* In steps of max_rows, or of 1 to 30 if that is 0; each step runs something. Between them s is stepped. */
static void run_in(weir_scoring *g, int64_t max_rows, weir_engine *e, weir_session *s) {
    uint64_t rng = 5;
    weir_err err = {""};
    for (int64_t left = INT64_MAX, before; left > 0;) {
        before = left;
        const int64_t rows = max_rows > 0 ? max_rows : 1 + (int64_t)(rng_u64(&rng) % 30);
        cr_assert(weir_score_step(g, rows, &left, &err) == WEIR_OK, "%s", err.text);
        cr_assert(left < before, "%lld are left", (long long)left);
        if (s) cr_assert(weir_step(e, &s, 1, 1, &err) == WEIR_OK, "%s", err.text);
    }
}

Test(scoring, steps_give_the_bits_of_one_call) {
    static const int64_t steps[] = {INT64_MAX, 1, 7, 0};
    for (int family = 0; family < 2; family++) {
        weir_engine *e =
            family ? demo_open(2, 1, NULL, true) : decoder_open(&decoder_pairs[0], "cpu", 2, 1, 200);
        int32_t prompt[PROMPT], text[LONG];
        float want[LONG];
        fill_text(prompt, text);
        for (size_t n_prompt = 1; n_prompt <= PROMPT; n_prompt += PROMPT - 1) {
            cr_assert(weir_score(e, prompt, n_prompt, text, LONG, want, NULL) == WEIR_OK);
            for (int i = 0; i < 8; i++) {
                const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 100);
                weir_session *s = NULL;
                if (i >= 4) cr_assert(weir_session_create(e, &o, prompt, 5, NULL, NULL, &s, NULL) == WEIR_OK);
                weir_scoring *g = begin(e, n_prompt, i % 3);
                run_in(g, steps[i % 4], e, s);
                const float *got;
                const weir_top *top;
                size_t n;
                weir_score_get(g, &got, &top, &n);
                cr_assert(n == LONG && (top != NULL) == (i % 3 > 0));
                cr_assert(memcmp(got, want, sizeof want) == 0, "family %d, prompt of %zu, case %d", family,
                          n_prompt, i);
                weir_score_end(g);
                weir_session_free(s);
            }
        }
        weir_engine_close(e);
    }
}

/* ---- the likeliest ------------------------------------------------------------------------------------- */

typedef struct rows_kept {
    float p[LONG][VOCAB];
} rows_kept;

static bool keep(void *ud, size_t i, const float *q, const float *p, int32_t n) {
    (void)q;
    cr_assert(n == VOCAB);
    memcpy(((rows_kept *)ud)->p[i], p, sizeof *((rows_kept *)ud)->p);
    return true;
}

/* Ids before place i are likelier, or as likely and smaller. */
static void check_place(const float *p, const weir_top *top, int i) {
    int ahead = 0;
    for (int v = 0; v < VOCAB; v++) ahead += p[v] > p[top[i].id] || (p[v] == p[top[i].id] && v < top[i].id);
    cr_assert(ahead == i, "id %d is at place %d, not at %d", (int)top[i].id, i, ahead);
}

Test(scoring, the_likeliest_are_those_of_the_verifiers_rows) {
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 4, 1, 200);
    static rows_kept rows;
    int32_t prompt[PROMPT], text[LONG];
    int own = 0;
    fill_text(prompt, text);
    cr_assert(weir_score_pair(e, prompt, PROMPT, text, LONG, keep, &rows, NULL) == WEIR_OK);
    for (int n_top = 1; n_top <= WEIR_N_TOP_MAX; n_top += 19) {
        weir_scoring *g = begin(e, PROMPT, n_top);
        run_in(g, 13, NULL, NULL);
        const float *logprobs;
        const weir_top *top;
        size_t n;
        weir_score_get(g, &logprobs, &top, &n);
        for (size_t i = 0; i < n; i++)
            for (int k = 0; k < n_top; k++) {
                const weir_top *row = top + i * (size_t)n_top;
                double sum = 0;
                for (int v = 0; v < VOCAB; v++) sum += exp((double)(rows.p[i][v] - rows.p[i][row[k].id]));
                check_place(rows.p[i], row, k);
                cr_expect_float_eq(row[k].logprob, (float)-log(sum), 1e-5);
                if (row[k].id != text[i]) continue;
                own++;
                cr_expect(row[k].logprob == logprobs[i], "token %zu: %a and %a", i, (double)row[k].logprob,
                          (double)logprobs[i]);
            }
        weir_score_end(g);
    }
    cr_expect(own > 0, "no token of the text was among them");
    weir_engine_close(e);
}

/* ---- edges --------------------------------------------------------------------------------------------- */

Test(scoring, what_is_wrong_is_named) {
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 20);
    const int32_t ids[21] = {3, 4, 5}, bad[2] = {3, VOCAB};
    weir_scoring *g = NULL, *other = NULL;
    weir_err err = {""};
    int64_t left = -7;
    cr_expect(weir_score_begin(e, ids, 1, ids, 3, 21, 0, &g, &err) == WEIR_EINVAL &&
              err_is_line(&err, "[0, 20]"));
    cr_expect(weir_score_begin(e, ids, 1, ids, 3, -1, 0, &g, &err) == WEIR_EINVAL &&
              err_is_line(&err, "n_top -1"));
    cr_expect(weir_score_begin(e, ids, 0, ids, 3, 0, 0, &g, &err) == WEIR_EINVAL);
    cr_expect(weir_score_begin(e, ids, 1, bad, 2, 0, 0, &g, &err) == WEIR_EINVAL);
    cr_expect(weir_score_begin(e, ids, 10, ids, 11, 0, 0, &g, &err) == WEIR_ETOOLONG && !g);
    cr_assert(weir_score_begin(e, ids, 20, ids, 0, 3, 0, &g, &err) == WEIR_OK);
    cr_expect(weir_score_step(g, 5, &left, &err) == WEIR_OK && left == 0); /* nothing to score */
    weir_score_end(g);
    cr_assert(weir_score_begin(e, ids, 2, ids, 3, 0, 0, &g, &err) == WEIR_OK);
    cr_assert(weir_score_begin(e, ids, 2, ids, 3, 0, 0, &other, &err) == WEIR_OK);
    cr_expect(weir_score_step(g, 1, &left, &err) == WEIR_OK && left > 0);
    left = -7;
    cr_expect(weir_score_step(other, 1, &left, &err) == WEIR_EINVAL && err_is_line(&err, "n_parallel"));
    cr_expect(left == -7);
    weir_score_end(g);
    cr_expect(weir_score_step(other, 1, &left, &err) == WEIR_OK);
    weir_score_end(other);
    weir_score_end(NULL);
    weir_engine_close(e);
}

static bool said_so(void *ud) { return *(bool *)ud; }

Test(scoring, an_interrupt_ends_it_in_the_prompt_and_after_it) {
    bool stop = false;
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 200);
    e->deck.interrupt = (weir_interrupt){said_so, &stop};
    for (int after = 0; after < 2; after++) {
        weir_scoring *g = begin(e, PROMPT, 0);
        int64_t left = 0;
        weir_err err = {""};
        do cr_assert(weir_score_step(g, 1, &left, NULL) == WEIR_OK);
        while (after && left >= LONG); /* the prompt's last token is the first row of the text */
        cr_assert((left < LONG) == after, "%d", (int)left);
        stop = true;
        cr_expect(weir_score_step(g, 1, &left, &err) == WEIR_ECANCELED && err_is_line(&err, "cancelled"));
        stop = false;
        weir_score_end(g);
    }
    weir_engine_close(e);
}

Test(scoring, failed_allocations_leave_nothing) {
    const int32_t ids[5] = {3, 4, 5, 6, 7};
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 20);
    weir_status st = WEIR_ENOMEM;
    alloc_install(0);
    for (long allowed = 0; st != WEIR_OK && allowed < 100; allowed++) {
        weir_scoring *g = NULL;
        weir_err err = {""};
        alloc_fail_after(alloc_count() + allowed);
        st = weir_score_begin(e, ids, 2, ids, 5, 4, 0, &g, &err);
        alloc_fail_after(1L << 40);
        cr_assert(st == WEIR_OK || (st == WEIR_ENOMEM && !g && err_is_line(&err, "memory")), "%s", err.text);
        weir_score_end(g);
        cr_assert_eq(alloc_live(), 0, "%ld", allowed);
    }
    cr_expect(st == WEIR_OK);
    alloc_uninstall();
    weir_engine_close(e);
}
