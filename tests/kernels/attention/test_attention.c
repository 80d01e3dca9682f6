#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/attention/cpu.h"
#include "tests/kernels/attention/attention_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

static att_case shape(int i) {
    static const struct {
        int32_t n_head, n_head_kv, head_dim, n_slot, bias_left, bias_right; /* bias_left < 0: none */
    } of[] = {{4, 4, 64, 2, 20, 0},    {2, 2, 32, 3, 128, 127}, {6, 2, 16, 1, -1, 0},
              {4, 1, 80, 2, 0, 0},     {1, 1, 1, 1, 5, 5},      {3, 3, 7, 1, -1, 0},
              {2, 1, 33, 2, 300, 300}, {2, 2, 128, 1, 63, 1},   {1, 1, 300, 1, -1, 0}};
    _Static_assert(sizeof of / sizeof *of == 9, "SHAPES");
    return (att_case){.n_head = of[i].n_head,
                      .n_head_kv = of[i].n_head_kv,
                      .head_dim = of[i].head_dim,
                      .n_slot = of[i].n_slot,
                      .max_key = ATT_MAX_KEY,
                      .bias = of[i].bias_left >= 0,
                      .bias_left = of[i].bias_left,
                      .bias_right = of[i].bias_right};
}
enum { SHAPES = 9 };

Test(attention, every_shape_and_page_edge_is_within_its_bound) {
    uint64_t rng = 101;
    for (int i = 0; i < SHAPES; i++) {
        const att_case s = shape(i);
        for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
            char what[64];
            weir_backend *be = open_backend(2, (weir_isa)isa);
            att_cache *c = att_cache_new(be, &s, att_full, &rng);
            att_rows r = att_rows_causal(c, &rng);
            for (int32_t j = 0; i % 2 && j < r.n; j++) /* an encoder's see what comes after them */
                r.pos[j] = (int32_t)(rng_u64(&rng) % (uint64_t)r.n_key[j]);
            snprintf(what, sizeof what, "%s shape %d", weir__isa_name(be->isa), i);
            att_check(c, &r, false, what);
            att_rows_free(&r);
            att_cache_free(c);
            weir__backend_close(be);
        }
    }
}

/* The cache holds exactly the keys of the row; everything after them is NaN, or no page. */
Test(attention, stale_positions_behind_a_row_are_never_used) {
    uint64_t rng = 111;
    for (int i = 0; i < SHAPES; i++) {
        for (int j = 0; j < ATT_KEYS; j++) {
            for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
                const att_case s = shape(i);
                const int32_t n_key[4] = {att_keys[j], att_keys[j], att_keys[j], att_keys[j]};
                weir_backend *be = open_backend(1, (weir_isa)isa);
                att_cache *c = att_cache_new(be, &s, n_key, &rng);
                att_rows r = att_rows_groups(c, 1, &rng);
                const size_t n = (size_t)(r.n * s.n_head * s.head_dim);
                float *o = guarded_new(n);
                att_run(c, &r, 0, r.n, o);
                for (size_t d = 0; d < n; d++)
                    cr_assert(isfinite(o[d]), "isa %d shape %d n_key %d", isa, i, att_keys[j]);
                guarded_free(o);
                att_rows_free(&r);
                att_cache_free(c);
                weir__backend_close(be);
            }
        }
    }
}

/* Equal scores: the mean of the values. One key: its value, to the bit. */
Test(attention, closed_forms) {
    uint64_t rng = 121;
    const att_case s = {.n_head = 2, .n_head_kv = 1, .head_dim = 24, .n_slot = 1, .max_key = ATT_MAX_KEY};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        att_cache *c = att_cache_new(be, &s, att_full, &rng);
        att_rows r = att_rows_causal(c, &rng);
        float o[ATT_KEYS * 48];
        cr_assert_eq(r.n_key[0], 1);
        for (int64_t i = r.ld; i < r.n * r.ld; i++) r.q[i] = 0.0f;
        att_run(c, &r, 0, r.n, o);
        for (int i = 0; i < ATT_KEYS * 48; i++) {
            const int32_t n = r.n_key[i / 48];
            double mean = 0;
            for (int32_t t = 0; t < n; t++) mean += (double)c->v[t * 24 + i % 24];
            mean /= n;
            cr_assert(fabs((double)o[i] - mean) <= (n == 1 ? 0.0 : 2e-6), "%s [%d] %.9g",
                      weir__isa_name(be->isa), i, (double)o[i]);
        }
        att_rows_free(&r);
        att_cache_free(c);
        weir__backend_close(be);
    }
}

/* Scores that differ by thousands: the weights are 0 and 1, and the largest may come first or last. */
Test(attention, far_apart_scores_pick_one_value) {
    enum { N = 150 };
    uint64_t rng = 131;
    const att_case s = {.n_head = 1,
                        .n_head_kv = 1,
                        .head_dim = 16,
                        .n_slot = 1,
                        .max_key = ATT_MAX_KEY,
                        .bias = true,
                        .bias_left = ATT_MAX_KEY};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        for (int32_t best = 0; best < N; best += 37) {
            const int32_t n_key = N;
            weir_backend *be = open_backend(1, (weir_isa)isa);
            att_cache *c = att_cache_new(be, &s, &n_key, &rng);
            att_rows r = att_rows_groups(c, 1, &rng);
            for (int32_t t = 0; t < N; t++)
                c->device_bias[t - r.pos[0] + ATT_MAX_KEY] =
                    t == best ? 5000.0f : -5000.0f * (float)(1 + t % 3);
            float o[16];
            att_run(c, &r, 0, 1, o);
            for (int d = 0; d < 16; d++)
                cr_assert_eq(o[d], c->v[best * 16 + d], "%s best %d", weir__isa_name(be->isa), best);
            att_rows_free(&r);
            att_cache_free(c);
            weir__backend_close(be);
        }
    }
}

Test(attention, a_row_has_the_same_bits_alone_in_company_and_with_any_threads) {
    uint64_t rng = 141;
    for (int i = 0; i < SHAPES; i++, rng++) {
        const att_case s = shape(i);
        const int64_t width = s.n_head * s.head_dim;
        float *alone = guarded_new((size_t)(ATT_KEYS * width)), *o = guarded_new((size_t)(ATT_KEYS * width));
        for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
            for (int n_thread = 1; n_thread <= 3; n_thread++) {
                uint64_t same = rng;
                weir_backend *be = open_backend(n_thread, (weir_isa)isa);
                att_cache *c = att_cache_new(be, &s, att_full, &same);
                att_rows r = att_rows_causal(c, &same);
                for (int32_t j = 0; n_thread == 1 && j < r.n; j++) att_run(c, &r, j, 1, alone + j * width);
                for (int32_t n = 1; n <= r.n; n += 3) {
                    att_run(c, &r, r.n - n, n, o);
                    assert_same(o, alone + (r.n - n) * width, (size_t)(n * width), weir__isa_name(be->isa));
                }
                att_rows_free(&r);
                att_cache_free(c);
                weir__backend_close(be);
            }
        }
        guarded_free(alone), guarded_free(o);
    }
}

Test(kv_append, writes_its_positions_and_nothing_else) {
    enum { SLOTS = 2, STRIDE = 3, HEADS = 2, DIM = 5, ROW = HEADS * DIM };
    static const int32_t table[SLOTS * STRIDE] = {5, 4, 3, 2, 1, 0}, slot[3] = {1, 0, 1},
                                       pos[3] = {64, 129, 63};
    uint64_t rng = 151;
    const int64_t page = weir__kv_page_elems(ATT_LAYERS, HEADS, DIM);
    const size_t n = (size_t)(page * SLOTS * STRIDE);
    weir_backend *be = open_backend(1, weir__isa_best());
    float *pool = guarded_new(n), *k = floats_normal(3 * ROW, 1.0f, &rng),
          *v = floats_normal(3 * ROW, 1.0f, &rng);
    const weir_kv_view view = {pool, page, table, STRIDE, ATT_LAYERS, HEADS, DIM, WEIR_DTYPE_F32};
    weir_kv_append a = {&view, k, v, ROW, slot, pos, 3, ATT_LAYER};
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK);
    size_t written = 0;
    for (size_t i = 0; i < n; i++) written += !isnan(pool[i]);
    cr_assert_eq(written, 3 * 2 * ROW);
    for (int r = 0; r < 3; r++) {
        for (int i = 0; i < ROW; i++) {
            const float *at = weir__kv_block(&view, slot[r], pos[r], ATT_LAYER, i / DIM),
                        *after = at + DIM * WEIR_PAGE;
            cr_assert_eq(at[i % DIM * WEIR_PAGE + pos[r] % WEIR_PAGE], k[r * ROW + i]);
            cr_assert_eq(after[pos[r] % WEIR_PAGE * DIM + i % DIM], v[r * ROW + i]);
        }
    }
    cr_assert(guarded_intact(pool, n));
    guarded_free(pool), guarded_free(k), guarded_free(v);
    weir__backend_close(be);
}

Test(attention, refuses_what_its_contract_refuses) {
    uint64_t rng = 161;
    const att_case s = {.n_head = 2, .n_head_kv = 2, .head_dim = 4, .n_slot = 1, .max_key = 64};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        att_cache *c = att_cache_new(be, &s, (int32_t[]){64}, &rng);
        float q[8] = {0}, o[8];
        const int32_t zero = 0, one = 1;
        const weir_attention good = {.kv = &c->view,
                                     .q = q,
                                     .ldq = 8,
                                     .o = o,
                                     .ldo = 8,
                                     .slot = &zero,
                                     .pos = &zero,
                                     .n_key = &one,
                                     .n_row = 1,
                                     .layer = 0,
                                     .n_head = 2,
                                     .scale = 1};
        weir_attention bad[11];
        for (int i = 0; i < 11; i++) bad[i] = good;
        bad[0].kv = NULL, bad[1].q = NULL, bad[2].o = NULL, bad[3].slot = NULL, bad[4].pos = NULL,
        bad[5].n_key = NULL;
        bad[6].n_row = -1, bad[7].layer = ATT_LAYERS, bad[8].layer = -1, bad[9].n_head = 3,
        bad[10].n_head = 0;
        for (int i = 0; i < 11; i++)
            cr_assert_eq(be->op.attention(be, &bad[i]), WEIR_EINVAL, "isa %d case %d", isa, i);
        const weir_kv_append ok = {&c->view, q, q, 8, &zero, &zero, 1, 0};
        weir_kv_append no[5] = {ok, ok, ok, ok, ok};
        no[0].ld = 7, no[1].layer = ATT_LAYERS, no[2].k = NULL, no[3].n_row = -1, no[4].kv = NULL;
        for (int i = 0; i < 5; i++)
            cr_assert_eq(be->op.kv_append(be, &no[i]), WEIR_EINVAL, "isa %d append %d", isa, i);
        att_cache_free(c);
        weir__backend_close(be);
    }
}
