/* The decoder-only families on a device: against transformers' values, and a row's bits against the same row
 * in other company. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/models/decoder_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { N_TOKEN = 90 };

/* The runner takes a second where a GPU takes a moment: it gets a sample of what a GPU does whole. */
static bool sampled(const fixture *f) { return device_is_runner(f->be); }

/* ---- values -------------------------------------------------------------------------------------------- */

/* f32 throughout: the bound of the CPU's test. bf16: the golden's bound is for inputs of products that are
 * off by 2^-8; a device's are off by 2^-9 at most, but so are K, V, and queries and weights of a prompt's
 * attention: as much again. */
static double bound_of(const fixture *f, const golden_case *c) {
    return weir__model_get_facts(f->m)->kv_dtype == WEIR_DTYPE_BF16 ? 2.0 * (double)c->bf16_bound : 1e-4;
}

static double larger(double worst, double d) { return !(d <= worst) ? d : worst; } /* NaN is kept */

/* The first k positions by prefill, the others by rows, `step` a call. */
static void check_case(fixture *f, int32_t slot, const golden_case *c, int32_t k, int32_t step) {
    static matrix logits;
    double lp = 0.0, lg = 0.0;
    if (k > 0) fixture_prefill(f, slot, c->token, k);
    fixture_run(f, slot, c->token, k, c->n - k, step, logits);
    for (int32_t i = k; i + 1 < c->n; i++) {
        const double got = logprob(logits + (int64_t)(i - k) * f->n_vocab, f->n_vocab, c->token[i + 1]);
        lp = larger(lp, fabs(got - (double)c->logprobs[i]));
    }
    const float *last = logits + (int64_t)(c->n - 1 - k) * f->n_vocab;
    for (int32_t v = 0; v < f->n_vocab; v++)
        lg = larger(lg, fabs((double)last[v] - (double)c->last_logits[v]));
    const double bound = bound_of(f, c);
    printf("%-11s prefill %3d rows %3d by %-3d  logprob error %.2e  logit error %.2e  bound %.1e\n",
           f->g->name, k, c->n - k, step, lp, lg, bound);
    cr_expect(lp <= bound, "%s %d+%d: logprob error %g, bound %g", f->g->name, k, c->n - k, lp, bound);
    cr_expect(lg <= 2 * bound, "%s %d+%d: logit error %g, bound %g", f->g->name, k, c->n - k, lg, 2 * bound);
}

static void check_golden(bool bf16) {
    for (const golden_model *m = golden_models(); m->name; m++) {
        if (m->bf16 != bf16) continue;
        fixture f;
        golden *g = golden_read(m);
        fixture_open_on(&f, m, device_open());
        const int n = sampled(&f) ? 3 : g->n_case;
        for (int i = sampled(&f) ? 2 : 0; i < n; i++) {
            const golden_case *c = &g->c[i];
            check_case(&f, 0, c, c->n / 2, 6);
            if (!sampled(&f)) check_case(&f, 1, c, 0, c->n), check_case(&f, 2, c, c->n - 1, 1);
        }
        fixture_close(&f);
        free(g);
    }
}

Test(cuda_decoder, logits_are_those_of_transformers_f32) { check_golden(false); }
Test(cuda_decoder, logits_are_those_of_transformers_bf16) { check_golden(true); }

/* ---- bits ---------------------------------------------------------------------------------------------- */

static void same(const float *got, const float *want, int64_t n, const char *what, const fixture *f) {
    char msg[256];
    cr_assert(same_bits_f32(got, want, (size_t)n, msg, sizeof msg), "%s, %s: %s", what, f->g->name, msg);
}

static void tokens_of(const fixture *f, int32_t s, int32_t *token) {
    uint64_t seed = 1000 + (uint64_t)s;
    for (int32_t i = 0; i < N_TOKEN; i++) token[i] = (int32_t)(rng_u64(&seed) % (uint64_t)f->n_vocab);
}

static const char *const bit_models[] = {"gemma2_bf16", "qwen2moe_bf16", "llama_bf16",  "qwen2_f32",
                                         "gemma3_f32",  "qwen2moe_f32",  "gptoss_bf16", NULL};

static void everywhere(void (*body)(fixture *f)) {
    bool enough = false;
    for (int m = 0; bit_models[m] && !enough; m++) {
        fixture f;
        fixture_open_on(&f, golden_find(bit_models[m]), device_open());
        body(&f);
        enough = sampled(&f) && (m == 1 || build_is_tsan());
        fixture_close(&f);
    }
}

static void steps_body(fixture *f) {
    static matrix want, got;
    int32_t token[N_TOKEN];
    const int32_t n = build_is_tsan() ? 5 : sampled(f) ? 10 : 30, first = 58; /* across a page's edge */
    tokens_of(f, 0, token);
    fixture_prefill(f, 0, token, first);
    fixture_run(f, 0, token, first, n, 1, want);
    for (int32_t step = 2; step <= n; step = 2 * step + 1) {
        fixture_run(f, 0, token, first, n, step, got);
        same(got, want, (int64_t)n * f->n_vocab, "rows a call", f);
    }
}
Test(cuda_decoder, many_rows_equal_single_steps) { everywhere(steps_body); }

/* Three timelines at other positions, 1 to 3 rows of each in one call with dead rows between them; then the
 * last row of each. */
static void batch_body(fixture *f) {
    static matrix want[3], got;
    static const int32_t slot_of[3] = {3, 0, 1};
    int32_t token[N_TOKEN], n = 0, last[3];
    row r[FIX_ROW];
    for (int32_t s = 0; s < 3; s++) {
        tokens_of(f, s, token);
        fixture_prefill(f, 4, token, 29 * s + 5);
        fixture_run(f, 4, token, 29 * s + 5, s + 1, 1, want[s]);
        fixture_prefill(f, slot_of[s], token, 29 * s + 5);
        rows_of(r + n, slot_of[s], 29 * s + 5, s + 1, token);
        n += s + 1;
        last[s] = n - 1;
        r[n++] = (row){-1, 0, 0};
    }
    cr_assert_eq(fixture_forward(f, r, n, NULL, 0, got), WEIR_OK);
    const float *at = got;
    for (int32_t s = 0; s < 3; at += (int64_t)(s + 2) * f->n_vocab, s++)
        same(at, want[s], (int64_t)(s + 1) * f->n_vocab, "in a batch", f);
    cr_assert_eq(fixture_forward(f, r, n, last, 3, got), WEIR_OK);
    for (int32_t s = 0; s < 3; s++)
        same(got + (int64_t)s * f->n_vocab, want[s] + (int64_t)s * f->n_vocab, f->n_vocab, "last rows", f);
}
Test(cuda_decoder, sessions_in_a_batch_equal_each_alone) { everywhere(batch_body); }

/* Wrong drafts stored, rolled back, other tokens appended: as if they had never been. */
static void rollback_body(fixture *f) {
    static matrix want, got;
    int32_t token[N_TOKEN], wrong[N_TOKEN];
    tokens_of(f, 0, token);
    tokens_of(f, 5, wrong);
    fixture_prefill(f, 0, token, 60);
    fixture_run(f, 0, token, 60, 9, 9, want);
    fixture_prefill(f, 1, token, 60);
    fixture_run(f, 1, wrong, 60, 8, 8, got);
    cr_assert_eq(weir__kv_pool_resize(f->self, 1, 60), WEIR_OK);
    fixture_run(f, 1, token, 60, 9, 4, got);
    same(got, want, (int64_t)9 * f->n_vocab, "after rollback", f);
}
Test(cuda_decoder, rollback_and_append_equals_fresh) { everywhere(rollback_body); }

/* Rows that share a slot are a group, which reads keys once: no bit of it shows, nor where the last layer
 * keeps three rows of two slots, which are no group. */
static void group_body(fixture *f) {
    static matrix want, got;
    static const int32_t out[] = {1, 2, 5};
    int32_t token[N_TOKEN];
    row r[6];
    tokens_of(f, 0, token);
    for (int32_t s = 0; s < 2; s++) {
        fixture_prefill(f, s, token, 40 + s);
        fixture_run(f, s, token, 40 + s, 3, 3, want + (int64_t)3 * s * f->n_vocab);
        rows_of(r + 3 * s, s, 40 + s, 3, token);
    }
    f->group = 3;
    cr_assert_eq(fixture_forward(f, r, 6, NULL, 0, got), WEIR_OK);
    same(got, want, (int64_t)6 * f->n_vocab, "groups", f);
    cr_assert_eq(fixture_forward(f, r, 6, out, 3, got), WEIR_OK);
    for (int i = 0; i < 3; i++)
        same(got + (int64_t)i * f->n_vocab, want + (int64_t)out[i] * f->n_vocab, f->n_vocab, "some of them",
             f);
}
Test(cuda_decoder, groups_change_no_bit) { everywhere(group_body); }
