/* A row's logits belong to its slot's timeline alone: bit for bit, whatever shares the call, at any thread
 * count. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/models/decoder_fixture.h"
#include "tests/support/compare.h"

enum { N_TOKEN = 90 }; /* past a page and every window */

static void same(const float *got, const float *want, int64_t n, const char *what, const fixture *f) {
    char msg[256];
    cr_expect(same_bits_f32(got, want, (size_t)n, msg, sizeof msg), "%s, %s %s: %s", what, f->g->name,
              weir__isa_name(f->be->isa), msg);
}

/* Runs body for models that have every op between them, on every instruction set of this machine. */
static void everywhere(void (*body)(const golden_model *g, weir_isa isa)) {
    static const char *const name[] = {"llama_f32",  "qwen2_f32",    "gemma2_f32",   "gemma3_f32",
                                       "llama_bf16", "mixtral_bf16", "qwen2moe_f32", "gptoss_f32"};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        for (size_t i = 0; i < sizeof name / sizeof *name; i++) body(golden_find(name[i]), (weir_isa)isa);
    }
}

/* The tokens of timeline s. */
static void tokens_of(const fixture *f, int32_t s, int32_t *token) {
    uint64_t seed = 1000 + (uint64_t)s;
    for (int32_t i = 0; i < N_TOKEN; i++) token[i] = (int32_t)(rng_u64(&seed) % (uint64_t)f->n_vocab);
}

static void steps_body(const golden_model *g, weir_isa isa) {
    static matrix want, got;
    int32_t token[N_TOKEN];
    fixture f;
    fixture_open(&f, g, isa, 1);
    tokens_of(&f, 0, token);
    fixture_run(&f, 0, token, 0, N_TOKEN, 1, want);
    for (int32_t step = 2; step <= N_TOKEN; step += step < 8 ? 1 : step < 17 ? 3 : 73) {
        fixture_run(&f, 1, token, 0, N_TOKEN, step, got); /* over the same positions: what lies there is
                                                             overwritten */
        same(got, want, (int64_t)N_TOKEN * f.n_vocab, "rows a call", &f);
    }
    fixture_close(&f);
}
Test(decoder_rows, many_rows_equal_single_steps) { everywhere(steps_body); }

static void threads_body(const golden_model *g, weir_isa isa) {
    static matrix want, got;
    int32_t token[N_TOKEN];
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        fixture f;
        fixture_open(&f, g, isa, n_thread);
        tokens_of(&f, 3, token);
        fixture_prefill(&f, 0, token, 66);
        fixture_run(&f, 0, token, 66, 24, 6, n_thread == 1 ? want : got);
        if (n_thread > 1) same(got, want, (int64_t)24 * f.n_vocab, "threads", &f);
        fixture_close(&f);
    }
}
Test(decoder_rows, thread_count_changes_no_bit) { everywhere(threads_body); }

/* Timelines at different positions, rows in one call, slots permuted, dead rows between: each equals itself
 * alone. Then the last row of each only. */
static void batch_body(const golden_model *g, weir_isa isa) {
    static matrix want[FIX_SLOT], got;
    static const int32_t slot_of[FIX_SLOT] = {3, 0, 1, 4, 2};
    int32_t token[N_TOKEN], n = 0, last[FIX_SLOT];
    row r[FIX_ROW];
    fixture f;
    fixture_open(&f, g, isa, 1);
    for (int32_t s = 0; s < FIX_SLOT; s++) {
        tokens_of(&f, s, token);
        fixture_run(&f, 0, token, 0, 12 * s + 10 + s + 1, 1, want[s]);
    }
    for (int32_t s = 0; s < FIX_SLOT; s++) {
        tokens_of(&f, s, token);
        fixture_run(&f, slot_of[s], token, 0, 12 * s + 10, 5, got);
        rows_of(r + n, slot_of[s], 12 * s + 10, s + 1, token);
        n += s + 1;
        last[s] = n - 1;
        r[n++] = (row){-1, 0, 0};
    }
    cr_assert_eq(fixture_forward(&f, r, n, NULL, 0, got), WEIR_OK);
    const float *at = got;
    for (int32_t s = 0; s < FIX_SLOT; at += (int64_t)(s + 2) * f.n_vocab, s++) {
        same(at, want[s] + (int64_t)(12 * s + 10) * f.n_vocab, (int64_t)(s + 1) * f.n_vocab, "in a batch",
             &f);
    }
    cr_assert_eq(fixture_forward(&f, r, n, last, FIX_SLOT, got), WEIR_OK);
    for (int32_t s = 0; s < FIX_SLOT; s++) {
        same(got + (int64_t)s * f.n_vocab, want[s] + (int64_t)(13 * s + 10) * f.n_vocab, f.n_vocab,
             "last rows", &f);
    }
    fixture_close(&f);
}
Test(decoder_rows, sessions_in_a_batch_equal_each_alone) { everywhere(batch_body); }

/* Wrong drafts stored, rolled back across a page edge and a window's, other tokens appended: as if they had
 * never been. */
static void rollback_body(const golden_model *g, weir_isa isa) {
    static matrix want, got;
    int32_t token[N_TOKEN], wrong[N_TOKEN];
    fixture f;
    fixture_open(&f, g, isa, 1);
    tokens_of(&f, 0, token);
    tokens_of(&f, 5, wrong);
    fixture_run(&f, 0, token, 0, N_TOKEN, 7, want);
    fixture_run(&f, 1, token, 0, 61, 1, got);
    fixture_run(&f, 1, wrong, 61, 8, 8, got);
    cr_assert_eq(weir__kv_pool_resize(f.self, 1, 61), WEIR_OK);
    fixture_run(&f, 1, token, 61, N_TOKEN - 61, 3, got);
    same(got, want + (int64_t)61 * f.n_vocab, (int64_t)(N_TOKEN - 61) * f.n_vocab, "after rollback", &f);
    fixture_close(&f);
}
Test(decoder_rows, rollback_and_append_equals_fresh) { everywhere(rollback_body); }

/* The same prompt in another slot, after longer and shorter ones: the rows behind it have the same bits. */
static void prefill_body(const golden_model *g, weir_isa isa) {
    static const int32_t length[] = {1, 63, 64, 65, 80};
    static matrix want, got;
    int32_t token[N_TOKEN], other[N_TOKEN];
    fixture f;
    fixture_open(&f, g, isa, 2);
    tokens_of(&f, 0, token);
    tokens_of(&f, 1, other);
    for (int i = 0; i < 5; i++) {
        fixture_prefill(&f, 2, token, length[i]);
        fixture_run(&f, 2, token, length[i], 3, 3, want);
        fixture_prefill(&f, 4, other, length[(i + 2) % 5]);
        fixture_prefill(&f, 3, token, length[i]);
        fixture_run(&f, 3, token, length[i], 3, 1, got);
        same(got, want, (int64_t)3 * f.n_vocab, "prefill again", &f);
    }
    fixture_close(&f);
}
Test(decoder_rows, prefill_depends_on_the_prompt_alone) { everywhere(prefill_body); }

/* A chunk of a prompt begins where those before it end: prefill of a longer prompt leaves the same first
 * positions. */
static void prefix_body(const golden_model *g, weir_isa isa) {
    static matrix want, got;
    int32_t token[N_TOKEN];
    fixture f;
    fixture_open(&f, g, isa, 1);
    tokens_of(&f, 0, token);
    fixture_prefill(&f, 0, token, 64);
    fixture_run(&f, 0, token, 64, 3, 3, want);
    fixture_prefill(&f, 1, token, 80);
    cr_assert_eq(weir__kv_pool_resize(f.self, 1, 64), WEIR_OK);
    fixture_run(&f, 1, token, 64, 3, 3, got);
    same(got, want, (int64_t)3 * f.n_vocab, "a longer prompt, rolled back", &f);
    fixture_close(&f);
}
Test(decoder_rows, whole_chunks_of_a_prompt_may_be_shared) { everywhere(prefix_body); }

/* Every subset of 4 rows wanted, none included: the same bits, and the same cache behind them. */
static void subset_body(const golden_model *g, weir_isa isa) {
    static matrix want, got;
    float next_want[MAX_VOCAB];
    int32_t token[N_TOKEN];
    row r[4];
    fixture f;
    fixture_open(&f, g, isa, 1);
    tokens_of(&f, 0, token);
    fixture_prefill(&f, 0, token, 20);
    fixture_run(&f, 0, token, 20, 4, 4, want);
    fixture_run(&f, 0, token, 24, 1, 1, next_want);
    rows_of(r, 0, 20, 4, token);
    for (int mask = 0; mask < 16; mask++) {
        int32_t out[4], n_out = 0;
        for (int32_t i = 0; i < 4; i++) {
            if (mask >> i & 1) out[n_out++] = i;
        }
        const int64_t n = (int64_t)n_out * f.n_vocab;
        got[n] = 123.0f;
        f.group = mask % 3 ? 4 : 2; /* true of all rows, not of those that are wanted */
        cr_assert_eq(fixture_forward(&f, r, 4, out, n_out, n_out ? got : NULL), WEIR_OK);
        f.group = 0;
        for (int32_t i = 0; i < n_out; i++)
            same(got + (int64_t)i * f.n_vocab, want + (int64_t)out[i] * f.n_vocab, f.n_vocab, "subset", &f);
        if (n_out) cr_assert_eq(got[n], 123.0f, "wrote past n_out rows");
        fixture_run(&f, 0, token, 24, 1, 1, got);
        same(got, next_want, f.n_vocab, "cache after a subset", &f);
    }
    fixture_close(&f);
}
Test(decoder_rows, wanted_rows_only) { everywhere(subset_body); }

/* Rows of which nobody wants logits leave K and V in every layer, the last one too. */
static void unwanted_body(const golden_model *g, weir_isa isa) {
    static matrix want, got, all;
    static const int32_t none[1];
    int32_t token[N_TOKEN];
    row r[4];
    fixture f;
    fixture_open(&f, g, isa, 1);
    tokens_of(&f, 0, token);
    for (int32_t s = 0; s < 2; s++) {
        fixture_prefill(&f, s, token, 20);
        rows_of(r, s, 20, 4, token);
        cr_assert_eq(fixture_forward(&f, r, 4, s ? none : NULL, 0, s ? NULL : all), WEIR_OK);
        fixture_run(&f, s, token, 24, 1, 1, s ? got : want);
    }
    same(got, want, f.n_vocab, "after rows that nobody wants", &f);
    fixture_close(&f);
}
Test(decoder_rows, unwanted_rows_are_appended) { everywhere(unwanted_body); }

/* NaN in every cache position from len on. */
static void poison(const weir_kv_view *kv, int32_t slot, int64_t len) {
    for (int64_t t = len; t < kv->table_stride * WEIR_PAGE && (t == len || t % WEIR_PAGE); t++) {
        for (int32_t i = 0; i < kv->n_layer * kv->n_head_kv; i++) {
            float *k = weir__kv_block(kv, slot, t, i / kv->n_head_kv, i % kv->n_head_kv),
                  *v = k + kv->head_dim * WEIR_PAGE;
            for (int32_t d = 0; d < kv->head_dim; d++) {
                k[d * WEIR_PAGE + t % WEIR_PAGE] = NAN;
                v[t % WEIR_PAGE * kv->head_dim + d] = NAN;
            }
        }
    }
}

static void poison_body(const golden_model *g, weir_isa isa) {
    static matrix want, got;
    int32_t token[N_TOKEN];
    fixture f;
    fixture_open(&f, g, isa, 1);
    tokens_of(&f, 0, token);
    for (int32_t at = 3; at < 80; at += 19) {
        fixture_prefill(&f, 0, token, at);
        fixture_run(&f, 0, token, at, 4, 4, want);
        poison(&f.kv.self, 0, at);
        fixture_run(&f, 0, token, at, 4, 4, got);
        same(got, want, (int64_t)4 * f.n_vocab, "stale NaN", &f);
    }
    fixture_close(&f);
}
Test(decoder_rows, stale_nan_never_leaks) { everywhere(poison_body); }

Test(decoder_rows, bad_calls_are_refused) {
    float logits[4 * MAX_VOCAB];
    fixture f;
    fixture_open(&f, golden_find("llama_f32"), WEIR_ISA_PORTABLE, 1);
    const int32_t good[2] = {5, 6}, prompt[2] = {5, f.n_vocab}, negative[1] = {-1};
    fixture_prefill(&f, 0, good, 2);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, good, 0), WEIR_EINVAL);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, good, FIX_PROMPT + 1), WEIR_EINVAL);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, prompt, 2), WEIR_EINVAL);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, negative, 1), WEIR_EINVAL);
    const int32_t equal[2] = {1, 1}, past[1] = {2};
    row r[2] = {{0, 2, 0}, {0, 3, 3}};
    cr_expect_eq(fixture_forward(&f, r, 2, equal, 2, logits), WEIR_EINVAL);
    cr_expect_eq(fixture_forward(&f, r, 2, past, 1, logits), WEIR_EINVAL);
    r[1].token = f.n_vocab;
    cr_expect_eq(fixture_forward(&f, r, 2, NULL, 0, logits), WEIR_EINVAL);
    weir_batch b = {.n_row = FIX_ROW + 1};
    cr_expect_eq(weir__model_forward(f.m, &f.kv, &b), WEIR_EINVAL);
    fixture_close(&f);
}
