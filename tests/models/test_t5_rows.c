/* A row's logits belong to its slot's timeline alone: bit for bit, whatever shares the call, at any thread
 * count. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/models/t5_fixture.h"
#include "tests/support/compare.h"

enum { N_TOKEN = 70, MAX_VOCAB = 128 };

typedef float matrix[FIX_ROW * MAX_VOCAB];

static void same(const float *got, const float *want, int64_t n, const char *what, const char *name,
                 weir_isa isa) {
    char msg[256];
    cr_expect(same_bits_f32(got, want, (size_t)n, msg, sizeof msg), "%s, %s %s: %s", what, name,
              weir__isa_name(isa), msg);
}

/* Runs body for every model on every instruction set of this machine. */
static void everywhere(void (*body)(const char *name, weir_isa isa)) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        for (int i = 0; golden_names[i]; i++) body(golden_names[i], (weir_isa)isa);
    }
}

/* Prompt and tokens of slot s: other lengths and ids for each. */
static int32_t prompt_of(const fixture *f, int32_t s, int32_t *prompt) {
    static const int32_t len[FIX_SLOT] = {65, 1, 7, 130, 64, 63, 20};
    uint64_t seed = 77 + (uint64_t)s;
    for (int32_t i = 0; i < len[s]; i++) prompt[i] = (int32_t)(rng_u64(&seed) % (uint64_t)f->n_vocab);
    return len[s];
}

static void tokens_of(const fixture *f, int32_t s, int32_t *token) {
    uint64_t seed = 1000 + (uint64_t)s;
    for (int32_t i = 0; i < N_TOKEN; i++) token[i] = (int32_t)(rng_u64(&seed) % (uint64_t)f->n_vocab);
}

static void prefill_slot(fixture *f, int32_t slot, int32_t like) {
    int32_t prompt[FIX_PROMPT];
    const int32_t n = prompt_of(f, like, prompt);
    t5_prefill(f, slot, prompt, n);
}

/* Logits of n rows of the timeline `like` in `slot`, `step` rows a call. */
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

/* gamma + 1 rows in one call, up to 17, against single steps. */
static void steps_body(const char *name, weir_isa isa) {
    static matrix want, got;
    fixture f;
    t5_open_golden(&f, name, isa, 1);
    prefill_slot(&f, 0, 0);
    run(&f, 0, 0, 0, N_TOKEN, 1, want);
    for (int32_t step = 2; step <= 17; step += step < 8 ? 1 : 3) {
        run(&f, 0, 0, 0, N_TOKEN, step, got); /* over the same positions: what lies there is overwritten */
        same(got, want, (int64_t)N_TOKEN * f.n_vocab, "rows a call", name, isa);
    }
    t5_close(&f);
}
Test(t5_rows, many_rows_equal_single_steps) { everywhere(steps_body); }

static void threads_body(const char *name, weir_isa isa) {
    static matrix want, got;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        fixture f;
        t5_open_golden(&f, name, isa, n_thread);
        prefill_slot(&f, 0, 3);
        run(&f, 0, 3, 0, 24, 6, n_thread == 1 ? want : got);
        if (n_thread > 1) same(got, want, (int64_t)24 * f.n_vocab, "threads", name, isa);
        t5_close(&f);
    }
}
Test(t5_rows, thread_count_changes_no_bit) { everywhere(threads_body); }

/* Seven timelines at different positions, rows in one call, slots permuted: each equals itself alone. */
static void batch_body(const char *name, weir_isa isa) {
    static matrix want[FIX_SLOT], got;
    static const int32_t slot_of[FIX_SLOT] = {3, 0, 6, 1, 5, 2, 4};
    fixture f;
    t5_open_golden(&f, name, isa, 1);
    for (int32_t s = 0; s < FIX_SLOT; s++) {
        prefill_slot(&f, 0, s);
        run(&f, 0, s, 0, 40 + s + 4, 1, want[s]);
    }
    for (int32_t s = 0; s < FIX_SLOT; s++) {
        prefill_slot(&f, slot_of[s], s);
        run(&f, slot_of[s], s, 0, 40 + s, 5, got); /* fills the caches up to 40 + s */
    }
    row r[FIX_ROW];
    int32_t n = 0, token[N_TOKEN];
    for (int32_t s = 0; s < FIX_SLOT; s++) { /* 1 to 4 rows of each in one call */
        const int32_t k = s % 4 + 1;
        tokens_of(&f, s, token);
        t5_rows_of(r + n, slot_of[s], 40 + s, k, token);
        n += k;
    }
    cr_assert_eq(t5_forward(&f, r, n, NULL, 0, got), WEIR_OK);
    const float *at = got;
    for (int32_t s = 0; s < FIX_SLOT; s++) {
        const int32_t k = s % 4 + 1;
        same(at, want[s] + (int64_t)(40 + s) * f.n_vocab, (int64_t)k * f.n_vocab, "in a batch", name, isa);
        at += (int64_t)k * f.n_vocab;
    }
    t5_close(&f);
}
Test(t5_rows, sessions_in_a_batch_equal_each_alone) { everywhere(batch_body); }

/* Wrong drafts stored, rolled back across a page edge, other tokens appended: as if they had never been. */
static void rollback_body(const char *name, weir_isa isa) {
    static matrix want, got;
    fixture f;
    t5_open_golden(&f, name, isa, 1);
    prefill_slot(&f, 0, 0);
    run(&f, 0, 0, 0, N_TOKEN, 7, want);
    prefill_slot(&f, 1, 0);
    run(&f, 1, 0, 0, 61, 1, got);
    run(&f, 1, 5, 61, 8, 8, got); /* another timeline's tokens at 61 ... 68 */
    cr_assert_eq(weir__kv_pool_resize(f.self, 1, 61), WEIR_OK);
    run(&f, 1, 0, 61, N_TOKEN - 61, 3, got);
    same(got, want + (int64_t)61 * f.n_vocab, (int64_t)(N_TOKEN - 61) * f.n_vocab, "after rollback", name,
         isa);
    t5_close(&f);
}
Test(t5_rows, rollback_and_append_equals_fresh) { everywhere(rollback_body); }

/* The same prompt in another slot, after longer and shorter prompts, and twice. */
static void prefill_body(const char *name, weir_isa isa) {
    static matrix want, got;
    fixture f;
    t5_open_golden(&f, name, isa, 2);
    for (int32_t like = 0; like < FIX_SLOT; like++) {
        prefill_slot(&f, 2, like);
        run(&f, 2, like, 0, 3, 3, want);
        prefill_slot(&f, 4, (like + 3) % FIX_SLOT);
        prefill_slot(&f, 5, like);
        run(&f, 5, like, 0, 3, 3, got);
        same(got, want, (int64_t)3 * f.n_vocab, "prefill again", name, isa);
    }
    t5_close(&f);
}
Test(t5_rows, prefill_depends_on_the_prompt_alone) { everywhere(prefill_body); }

/* Every subset of 5 rows wanted, none included: the same bits, and the same cache behind them. */
static void subset_body(const char *name, weir_isa isa) {
    static matrix want, got;
    float next_want[MAX_VOCAB];
    fixture f;
    t5_open_golden(&f, name, isa, 1);
    prefill_slot(&f, 0, 0);
    run(&f, 0, 0, 0, 5, 5, want);
    run(&f, 0, 0, 5, 1, 1, next_want);
    int32_t token[N_TOKEN];
    row r[5];
    tokens_of(&f, 0, token);
    t5_rows_of(r, 0, 0, 5, token);
    for (int mask = 0; mask < 32; mask++) {
        int32_t out[5], n_out = 0;
        for (int32_t i = 0; i < 5; i++) {
            if (mask >> i & 1) out[n_out++] = i;
        }
        const int64_t n = (int64_t)n_out * f.n_vocab;
        got[n] = 123.0f;
        cr_assert_eq(t5_forward(&f, r, 5, out, n_out, n_out ? got : NULL), WEIR_OK);
        for (int32_t i = 0; i < n_out; i++) {
            same(got + (int64_t)i * f.n_vocab, want + (int64_t)out[i] * f.n_vocab, f.n_vocab, "subset", name,
                 isa);
        }
        if (n_out) cr_assert_eq(got[n], 123.0f, "wrote past n_out rows");
        run(&f, 0, 0, 5, 1, 1, got);
        same(got, next_want, f.n_vocab, "cache after a subset", name, isa);
    }
    t5_close(&f);
}
Test(t5_rows, wanted_rows_only) { everywhere(subset_body); }

/* The last row of each of three slots with other prompts and positions, in one call: what a draft step of a
 * batch asks. */
static void subset_slots_body(const char *name, weir_isa isa) {
    static matrix want, got;
    fixture f;
    t5_open_golden(&f, name, isa, 1);
    row r[6];
    const int32_t out[3] = {1, 3, 5};
    for (int32_t s = 0; s < 3; s++) {
        int32_t token[N_TOKEN];
        prefill_slot(&f, s, s);
        run(&f, s, s, 0, 9 * s, 16, got);
        tokens_of(&f, s, token);
        t5_rows_of(r + 2 * s, s, 9 * s, 2, token);
        cr_assert_eq(t5_forward(&f, r + 2 * s, 2, &out[0], 1, want + s * f.n_vocab), WEIR_OK);
    }
    for (f.group = 1; f.group <= 2; f.group++) { /* the wanted rows are no pairs */
        cr_assert_eq(t5_forward(&f, r, 6, out, 3, got), WEIR_OK);
        same(got, want, (int64_t)3 * f.n_vocab, "last rows of three slots", name, isa);
    }
    t5_close(&f);
}
Test(t5_rows, wanted_rows_of_several_slots) { everywhere(subset_slots_body); }

/* NaN in every cache position that a row may not read: pages are loaded 16 positions at a time. */
static void poison(const weir_kv_view *kv, int32_t slot, int64_t len) {
    const int64_t n_page = kv->table_stride;
    for (int64_t t = len; t < n_page * WEIR_PAGE && (t == len || t % WEIR_PAGE); t++) {
        for (int32_t l = 0; l < kv->n_layer; l++) {
            for (int32_t h = 0; h < kv->n_head_kv; h++) {
                float *k = weir__kv_block(kv, slot, t, l, h), *v = k + kv->head_dim * WEIR_PAGE;
                for (int32_t d = 0; d < kv->head_dim; d++) {
                    k[d * WEIR_PAGE + t % WEIR_PAGE] = NAN;
                    v[t % WEIR_PAGE * kv->head_dim + d] = NAN;
                }
            }
        }
    }
}

static void poison_body(const char *name, weir_isa isa) {
    static matrix want, got;
    fixture f;
    t5_open_golden(&f, name, isa, 1);
    for (int32_t like = 0; like < FIX_SLOT; like++) {
        const int32_t at = 3 + 9 * like; /* first position of the checked rows */
        prefill_slot(&f, 0, like);
        cr_assert_eq(weir__kv_pool_resize(f.self, 0, 0), WEIR_OK);
        run(&f, 0, like, 0, at, 16, got);
        run(&f, 0, like, at, 4, 4, want);
        if (f.cross_len[0] % WEIR_PAGE) poison(&f.kv.cross, 0, f.cross_len[0]);
        poison(&f.kv.self, 0, at);
        run(&f, 0, like, at, 4, 4, got);
        same(got, want, (int64_t)4 * f.n_vocab, "stale NaN", name, isa);
    }
    t5_close(&f);
}
Test(t5_rows, stale_nan_never_leaks) { everywhere(poison_body); }

/* A NaN in the slot beside never crosses over. */
Test(t5_rows, another_slots_nan_stays_there) {
    static matrix want, got;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        fixture f;
        t5_open_golden(&f, "gated_f32", (weir_isa)isa, 2);
        prefill_slot(&f, 0, 0);
        prefill_slot(&f, 1, 1);
        run(&f, 0, 0, 0, 4, 4, want);
        cr_assert_eq(weir__kv_pool_resize(f.self, 1, 1), WEIR_OK);
        poison(&f.kv.cross, 1, 0);
        int32_t token[N_TOKEN];
        row r[8];
        tokens_of(&f, 0, token);
        t5_rows_of(r, 1, 0, 4, token);
        t5_rows_of(r + 4, 0, 0, 4, token);
        cr_assert_eq(t5_forward(&f, r, 8, NULL, 0, got), WEIR_OK);
        cr_assert(isnan(got[0]), "the poison must have worked");
        same(got + (int64_t)4 * f.n_vocab, want, (int64_t)4 * f.n_vocab, "beside NaN", "gated_f32",
             (weir_isa)isa);
        t5_close(&f);
    }
}

Test(t5_rows, bad_calls_are_refused) {
    float logits[4 * MAX_VOCAB];
    fixture f;
    t5_open_golden(&f, "gated_f32", WEIR_ISA_PORTABLE, 1);
    prefill_slot(&f, 0, 0);
    const int32_t prompt[2] = {5, f.n_vocab}, negative[1] = {-1};
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 1, prompt, 0), WEIR_EINVAL);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 1, prompt, FIX_PROMPT + 1), WEIR_EINVAL);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, prompt, 2), WEIR_EINVAL);
    cr_expect_eq(weir__model_prefill(f.m, &f.kv, 0, negative, 1), WEIR_EINVAL);

    const int32_t equal[2] = {1, 1}, falling[2] = {1, 0}, past[1] = {2};
    row r[2] = {{0, 0, 0}, {0, 1, 3}};
    cr_expect_eq(t5_forward(&f, r, 2, equal, 2, logits), WEIR_EINVAL);
    cr_expect_eq(t5_forward(&f, r, 2, falling, 2, logits), WEIR_EINVAL);
    cr_expect_eq(t5_forward(&f, r, 2, past, 1, logits), WEIR_EINVAL);
    cr_expect_eq(t5_forward(&f, r, 2, past, 1, NULL), WEIR_EINVAL);
    r[1].token = f.n_vocab;
    cr_expect_eq(t5_forward(&f, r, 2, NULL, 0, logits), WEIR_EINVAL);
    r[1] = (row){1, 0, 0}; /* a slot that has no prompt */
    cr_expect_eq(t5_forward(&f, r, 2, NULL, 0, logits), WEIR_EINVAL);

    weir_batch b = {.n_row = 0};
    cr_expect_eq(weir__model_forward(f.m, &f.kv, &b), WEIR_OK);
    b.n_row = FIX_ROW + 1;
    cr_expect_eq(weir__model_forward(f.m, &f.kv, &b), WEIR_EINVAL);
    t5_close(&f);
}
