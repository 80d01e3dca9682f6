/* T5 and T5Gemma against transformers: values made by tests/golden/make_t5.py. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/encdec/t5.h"
#include "tests/models/t5_fixture.h"

/* Decode rows meet bf16 weights with bf16 inputs on this one ISA: there the golden's own bound holds. */
static double bound_of(const weir_checkpoint *ck, weir_isa isa, const golden_case *c) {
    return isa >= WEIR_ISA_AVX512BF16 && ck->dtype == WEIR_DTYPE_BF16 ? (double)c->bf16_bound : 1e-4;
}

static double worst_of(fixture *f, int32_t slot, const golden_case *c) {
    static float logits[FIX_ROW * 256];
    row r[FIX_ROW];
    double worst = 0.0;
    t5_prefill(f, slot, c->prompt, c->n_prompt);
    t5_rows_of(r, slot, 0, c->n_completion, c->completion);
    cr_assert_eq(t5_forward(f, r, c->n_completion, NULL, 0, logits), WEIR_OK);
    for (int32_t i = 0; i < c->n_completion; i++) {
        const double lp = logprob(logits + i * f->n_vocab, f->n_vocab, c->completion[i]);
        const double d = fabs(lp - (double)c->logprobs[i]);
        if (!(d <= worst)) worst = d; /* NaN is kept */
    }
    return worst;
}

/* log-probability is blind to a shift of a row: the logits themselves too. */
static double worst_logit(fixture *f, int32_t slot, const golden_case *c) {
    float logits[256];
    row r[FIX_ROW];
    double worst = 0.0;
    const int32_t last = c->n_completion - 1;
    t5_rows_of(r, slot, 0, c->n_completion, c->completion);
    cr_assert_eq(t5_forward(f, r, c->n_completion, &last, 1, logits), WEIR_OK);
    for (int32_t v = 0; v < f->n_vocab; v++) {
        const double d = fabs((double)logits[v] - (double)c->last_logits[v]);
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

static void check_model(const char *name, weir_isa isa, int n_thread) {
    fixture f;
    golden *g = t5_golden_read(name);
    t5_open_golden(&f, name, isa, n_thread);
    cr_assert_eq(f.n_vocab, g->n_vocab);
    for (int i = 0; i < g->n_case; i++) {
        const golden_case *c = &g->c[i];
        const double bound = bound_of(&f.ck, isa, c);
        const double lp = worst_of(&f, i, c), lg = worst_logit(&f, i, c);
        printf("%-10s %-10s threads %d  %3d+%-2d  logprob error %.2e  logit error %.2e  bound %.1e\n", name,
               weir__isa_name(isa), n_thread, c->n_prompt, c->n_completion, lp, lg, bound);
        cr_expect(lp <= bound, "%s %s %d+%d: logprob error %g, bound %g", name, weir__isa_name(isa),
                  c->n_prompt, c->n_completion, lp, bound);
        cr_expect(lg <= 2 * bound, "%s %s %d+%d: logit error %g, bound %g", name, weir__isa_name(isa),
                  c->n_prompt, c->n_completion, lg, 2 * bound);
    }
    t5_close(&f);
    free(g);
}

static void check_isa(weir_isa isa) {
    if (isa > weir__isa_best()) cr_skip("this machine has no %s", weir__isa_name(isa));
    for (int i = 0; golden_names[i]; i++) check_model(golden_names[i], isa, 1);
    check_model(golden_names[0], isa, 2);
}

Test(t5_golden, agrees_with_transformers_portable) { check_isa(WEIR_ISA_PORTABLE); }
Test(t5_golden, agrees_with_transformers_avx2) { check_isa(WEIR_ISA_AVX2); }
Test(t5_golden, agrees_with_transformers_avx512) { check_isa(WEIR_ISA_AVX512); }
Test(t5_golden, agrees_with_transformers_avx512bf16) { check_isa(WEIR_ISA_AVX512BF16); }
Test(t5_golden, agrees_with_transformers_amx) { check_isa(WEIR_ISA_AMX); }

/* Every distance up to twice max_distance, for sane and odd settings. */
Test(t5_golden, buckets_are_those_of_transformers) {
    FILE *f = fopen(WEIR_SOURCE_DIR "/tests/golden/t5/buckets.txt", "r");
    cr_assert(f);
    int both, n_bucket, max_distance, n, lines = 0;
    while (fscanf(f, "%d %d %d %d", &both, &n_bucket, &max_distance, &n) == 4) {
        int d = -2 * max_distance, want = -1, next, bucket;
        for (int i = 0; i <= n; i++) {
            if (i < n)
                cr_assert_eq(fscanf(f, "%d %d", &next, &bucket), 2);
            else
                next = 2 * max_distance + 1;
            for (; d < next; d++) {
                const int got = weir__t5_bucket(d, both != 0, n_bucket, max_distance);
                cr_expect_eq(got, want, "n_bucket %d max %d both %d distance %d: got %d, want %d", n_bucket,
                             max_distance, both, d, got, want);
            }
            want = bucket;
        }
        lines++;
    }
    fclose(f);
    cr_assert_eq(lines, 28);
}
