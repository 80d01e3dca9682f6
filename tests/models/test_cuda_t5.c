/* T5 and T5Gemma on a device: against transformers' values, and a row's bits against the same row in other
 * company. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/models/t5_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { N_TOKEN = 24, MAX_VOCAB = 128 };

typedef float matrix[FIX_ROW * MAX_VOCAB];

/* The runner takes a second where a GPU takes a moment: it gets a sample of what a GPU does whole. */
static bool sampled(const fixture *f) { return device_is_runner(f->be); }

/* ---- values -------------------------------------------------------------------------------------------- */

/* f32 throughout: the bound of the CPU's test. bf16: the golden's bound is for inputs of the decoder's
 * products that are off by 2^-8; a device's are off by 2^-9 at most, but so are the encoder's, and K and V of
 * all three caches: as much again. */
static double bound_of(const fixture *f, const golden_case *c) {
    return weir__model_get_facts(f->m)->kv_dtype == WEIR_DTYPE_BF16 ? 2.0 * (double)c->bf16_bound : 1e-4;
}

static double larger(double worst, double d) { return !(d <= worst) ? d : worst; } /* NaN is kept */

static void check_case(fixture *f, const char *name, int32_t slot, const golden_case *c) {
    static float logits[FIX_ROW * 256];
    row r[FIX_ROW];
    double lp = 0.0, lg = 0.0;
    t5_prefill(f, slot, c->prompt, c->n_prompt);
    t5_rows_of(r, slot, 0, c->n_completion, c->completion);
    cr_assert_eq(t5_forward(f, r, c->n_completion, NULL, 0, logits), WEIR_OK);
    for (int32_t i = 0; i < c->n_completion; i++) {
        const double got = logprob(logits + i * f->n_vocab, f->n_vocab, c->completion[i]);
        lp = larger(lp, fabs(got - (double)c->logprobs[i]));
    }
    const float *last = logits + (c->n_completion - 1) * f->n_vocab;
    for (int32_t v = 0; v < f->n_vocab; v++)
        lg = larger(lg, fabs((double)last[v] - (double)c->last_logits[v]));
    const double bound = bound_of(f, c);
    printf("%-10s %3d+%-2d  logprob error %.2e  logit error %.2e  bound %.1e\n", name, c->n_prompt,
           c->n_completion, lp, lg, bound);
    cr_expect(lp <= bound, "%s %d+%d: logprob error %g, bound %g", name, c->n_prompt, c->n_completion, lp,
              bound);
    cr_expect(lg <= 2 * bound, "%s %d+%d: logit error %g, bound %g", name, c->n_prompt, c->n_completion, lg,
              2 * bound);
}

static void check_golden(const char *name) {
    fixture f;
    t5_open_golden_on(&f, name, device_open());
    golden *g = t5_golden_read(name);
    for (int i = 0; i < g->n_case; i++)
        if (!sampled(&f) || i == 1 || i == 3) check_case(&f, name, i % FIX_SLOT, &g->c[i]);
    free(g);
    t5_close(&f);
}

Test(cuda_t5, logits_are_those_of_transformers_f32) {
    check_golden("gated_f32");
    check_golden("relu_f32");
    check_golden("gelu_f32");
    check_golden("silu_f32");
    check_golden("umt5_f32");
}
Test(cuda_t5, logits_are_those_of_transformers_16_bit) {
    check_golden("gated_bf16");
    check_golden("mixed_bf16");
    check_golden("relu_f16");
    check_golden("umt5_tied_bf16");
}

/* Two stacks of two sizes, windows on both sides of the encoder's rows; head_dims with tensor cores and
 * without. */
Test(cuda_t5, logits_of_a_t5gemma_are_those_of_transformers) {
    check_golden("t5gemma_f32");
    check_golden("t5gemma_bf16");
}

/* ---- bits ---------------------------------------------------------------------------------------------- */

static const char *const bit_models[] = {"gated_bf16", "gated_f32", "relu_f16", NULL};

static void same(const float *got, const float *want, int64_t n, const char *what, const char *name) {
    char msg[256];
    cr_assert(same_bits_f32(got, want, (size_t)n, msg, sizeof msg), "%s, %s: %s", what, name, msg);
}

static void prefill_slot(fixture *f, int32_t slot, int32_t like) {
    static const int32_t whole[4] = {65, 1, 130, 20}, brief[4] = {17, 1, 33, 20};
    const int32_t *len = build_is_tsan() ? brief : whole;
    int32_t prompt[FIX_PROMPT];
    uint64_t seed = 77 + (uint64_t)like;
    for (int32_t i = 0; i < len[like]; i++) prompt[i] = (int32_t)(rng_u64(&seed) % (uint64_t)f->n_vocab);
    t5_prefill(f, slot, prompt, len[like]);
}

static void tokens_of(const fixture *f, int32_t like, int32_t *token) {
    uint64_t seed = 1000 + (uint64_t)like;
    for (int32_t i = 0; i < N_TOKEN; i++) token[i] = (int32_t)(rng_u64(&seed) % (uint64_t)f->n_vocab);
}

/* Logits of positions [first, first + n) of the timeline `like` in `slot`, `step` rows a call. */
static void run(fixture *f, int32_t slot, int32_t like, int32_t first, int32_t n, int32_t step,
                float *logits) {
    int32_t token[N_TOKEN];
    row r[FIX_ROW];
    tokens_of(f, like, token);
    for (int32_t i = 0; i < n; i += step) {
        const int32_t k = n - i < step ? n - i : step;
        t5_rows_of(r, slot, first + i, k, token);
        cr_assert_eq(t5_forward(f, r, k, NULL, 0, logits + (int64_t)i * f->n_vocab), WEIR_OK);
    }
}

Test(cuda_t5, many_rows_equal_single_steps) {
    static matrix want, got;
    for (int m = 0; bit_models[m]; m++) {
        fixture f;
        t5_open_golden_on(&f, bit_models[m], device_open());
        prefill_slot(&f, 0, 0);
        const int32_t n = build_is_tsan() ? 5 : sampled(&f) ? N_TOKEN / 2 : N_TOKEN;
        run(&f, 0, 0, 0, n, 1, want);
        for (int32_t step = 2; step <= n; step = 2 * step + 1) {
            run(&f, 0, 0, 0, n, step, got);
            same(got, want, (int64_t)n * f.n_vocab, "rows a call", bit_models[m]);
        }
        const bool enough = sampled(&f);
        t5_close(&f);
        if (enough) break;
    }
}

/* Under a window that begins within the rows of a call. */
Test(cuda_t5, many_rows_of_a_t5gemma_equal_single_steps) {
    static matrix want, got;
    fixture f;
    t5_open_golden_on(&f, "t5gemma_f32", device_open());
    prefill_slot(&f, 0, 0);
    run(&f, 0, 0, 0, 12, 1, want);
    run(&f, 0, 0, 0, 12, 5, got);
    same(got, want, (int64_t)12 * f.n_vocab, "rows a call", "t5gemma_f32");
    t5_close(&f);
}

/* Rows that share a slot are a group, which reads keys once: no bit of it shows, nor where the last layer
 * keeps three rows of two slots, which are no group. */
Test(cuda_t5, groups_change_no_bit) {
    static matrix want, got;
    static const int32_t out[] = {1, 2, 5};
    fixture f;
    row r[6];
    t5_open_golden_on(&f, bit_models[0], device_open());
    for (int32_t s = 0; s < 2; s++) {
        int32_t token[N_TOKEN];
        prefill_slot(&f, s, s);
        run(&f, s, s, 0, 5 + s, 5, got);
        run(&f, s, s, 5 + s, 3, 3, want + (int64_t)3 * s * f.n_vocab);
        tokens_of(&f, s, token);
        t5_rows_of(r + 3 * s, s, 5 + s, 3, token);
    }
    f.group = 3;
    cr_assert_eq(t5_forward(&f, r, 6, NULL, 0, got), WEIR_OK);
    same(got, want, (int64_t)6 * f.n_vocab, "groups", bit_models[0]);
    cr_assert_eq(t5_forward(&f, r, 6, out, 3, got), WEIR_OK);
    for (int i = 0; i < 3; i++)
        same(got + (int64_t)i * f.n_vocab, want + (int64_t)out[i] * f.n_vocab, f.n_vocab, "some of them",
             bit_models[0]);
    t5_close(&f);
}

/* Four timelines (two under a sanitizer) at other positions, 1 to 4 rows of each in one call, slots permuted;
 * then the last row of each. */
Test(cuda_t5, sessions_in_a_batch_equal_each_alone) {
    static matrix want[4], got;
    static const int32_t slot_of[4] = {3, 0, 6, 1};
    const int32_t n_line = build_is_sanitized() ? 2 : 4;
    for (int m = 0; bit_models[m]; m++) {
        fixture f;
        row r[FIX_ROW];
        int32_t n = 0, token[N_TOKEN], last[4];
        t5_open_golden_on(&f, bit_models[m], device_open());
        for (int32_t s = 0; s < n_line; s++) {
            prefill_slot(&f, 5, s);
            run(&f, 5, s, 0, 10 + 2 * s + 1, 4, want[s]);
        }
        for (int32_t s = 0; s < n_line; s++) {
            prefill_slot(&f, slot_of[s], s);
            run(&f, slot_of[s], s, 0, 10 + s, 3, got);
            tokens_of(&f, s, token);
            t5_rows_of(r + n, slot_of[s], 10 + s, s + 1, token);
            n += s + 1;
            last[s] = n - 1;
        }
        cr_assert_eq(t5_forward(&f, r, n, NULL, 0, got), WEIR_OK);
        const float *at = got;
        for (int32_t s = 0; s < n_line; at += (int64_t)(s + 1) * f.n_vocab, s++)
            same(at, want[s] + (int64_t)(10 + s) * f.n_vocab, (int64_t)(s + 1) * f.n_vocab, "in a batch",
                 bit_models[m]);
        cr_assert_eq(t5_forward(&f, r, n, last, n_line, got), WEIR_OK);
        for (int32_t s = 0; s < n_line; s++)
            same(got + (int64_t)s * f.n_vocab, want[s] + (int64_t)(10 + 2 * s) * f.n_vocab, f.n_vocab,
                 "last rows", bit_models[m]);
        const bool enough = sampled(&f) && (m == 1 || build_is_tsan());
        t5_close(&f);
        if (enough) break;
    }
}

/* Dead rows between live ones change none of them, and nothing in the caches. */
Test(cuda_t5, dead_rows_leave_no_trace) {
    static matrix want, got;
    for (int m = 0; bit_models[m]; m++) {
        fixture f;
        row r[6], mixed[6];
        int32_t token[N_TOKEN];
        t5_open_golden_on(&f, bit_models[m], device_open());
        prefill_slot(&f, 0, 0);
        prefill_slot(&f, 1, 1);
        run(&f, 0, 0, 0, 9, 9, want);
        run(&f, 0, 0, 0, 6, 6, got);
        tokens_of(&f, 0, token);
        t5_rows_of(r, 0, 6, 3, token);
        for (int i = 0; i < 6; i++) mixed[i] = i % 2 ? r[i / 2] : (row){-1, 0, 0};
        cr_assert_eq(t5_forward(&f, mixed, 6, NULL, 0, got), WEIR_OK);
        for (int i = 0; i < 3; i++)
            same(got + (int64_t)(2 * i + 1) * f.n_vocab, want + (int64_t)(6 + i) * f.n_vocab, f.n_vocab,
                 "beside dead rows", bit_models[m]);
        run(&f, 0, 0, 6, 3, 1, got);
        same(got, want + (int64_t)6 * f.n_vocab, (int64_t)3 * f.n_vocab, "after dead rows", bit_models[m]);
        const bool enough = sampled(&f);
        t5_close(&f);
        if (enough) break;
    }
}

/* A device looks up whatever it is given: the host refuses ids that are not in the table. */
Test(cuda_t5, ids_outside_the_embedding_are_refused) {
    fixture f;
    t5_open_golden_on(&f, bit_models[0], device_open());
    const int32_t bad[2][2] = {{5, f.n_vocab}, {-1, 5}};
    prefill_slot(&f, 0, 0); /* the slot has pages */
    for (int i = 0; i < 2; i++) cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, bad[i], 2), WEIR_EINVAL);
    t5_close(&f);
}
