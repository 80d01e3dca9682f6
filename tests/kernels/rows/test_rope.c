/* Rotary embedding: the CPU's builds, the portable truth among them, against the oracle of rope_fixture.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/math/sincos.h"
#include "tests/kernels/rows/rope_fixture.h"
#include "tests/support/compare.h"

static void check_case(weir_backend *be, const rope_case *c, uint64_t *rng) {
    rope_data d = rope_new(c, rng);
    const size_t n = (size_t)(c->n_row * d.ld);
    float *x = guarded_new(n), *one = guarded_new((size_t)d.ld);
    memcpy(x, d.x, n * sizeof *x);
    weir_rope a = rope_args(&d, &d, x, d.slot, d.pos, c->n_row);
    cr_assert_eq(be->op.rope(be, &a), WEIR_OK);
    cr_assert(guarded_intact(x, n));
    rope_assert(&d, x, weir__isa_name(be->isa));
    for (int32_t r = 0; r < c->n_row; r += 5) {
        memcpy(one, d.x + r * d.ld, (size_t)d.ld * sizeof *one);
        a = rope_args(&d, &d, one, d.slot + r, d.pos + r, 1);
        cr_assert_eq(be->op.rope(be, &a), WEIR_OK);
        assert_same(one, x + r * d.ld, (size_t)d.ld, "a row alone");
    }
    guarded_free(x), guarded_free(one);
    rope_free(&d);
}

Test(rope, every_build_is_within_its_bound_and_rows_do_not_see_each_other) {
    uint64_t rng = 7;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (int i = 0; i < ROPE_CASES; i++) {
            const rope_case c = rope_nth(i);
            check_case(be, &c, &rng);
        }
        weir__backend_close(be);
    }
}

/* Rows enough for the pool. */
Test(rope, thread_count_changes_no_bit) {
    uint64_t rng = 9;
    const rope_case c = {.n_head = 16,
                         .n_head_kv = 4,
                         .head_dim = 64,
                         .n_dim = 64,
                         .n_row = ROPE_ROWS,
                         .norm = true,
                         .scale = 1.0f};
    rope_data d = rope_new(&c, &rng);
    const size_t n = (size_t)(c.n_row * d.ld);
    float *want = guarded_new(n), *x = guarded_new(n);
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        for (int n_thread = 1; n_thread <= 3; n_thread++) {
            weir_backend *be = open_backend(n_thread, (weir_isa)isa);
            memcpy(x, d.x, n * sizeof *x);
            weir_rope a = rope_args(&d, &d, x, d.slot, d.pos, c.n_row);
            cr_assert_eq(be->op.rope(be, &a), WEIR_OK);
            if (n_thread == 1) memcpy(want, x, n * sizeof *x);
            assert_same(x, want, n, weir__isa_name((weir_isa)isa));
            weir__backend_close(be);
        }
    }
    guarded_free(want), guarded_free(x);
    rope_free(&d);
}

/* Position 0 turns nothing: without biases and norms every bit stays. */
Test(rope, position_0_is_the_identity) {
    uint64_t rng = 11;
    const rope_case c = {.n_head = 3, .n_head_kv = 1, .head_dim = 22, .n_dim = 22, .n_row = 1, .scale = 1.0f};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        rope_data d = rope_new(&c, &rng);
        float *x = guarded_new((size_t)d.ld);
        memcpy(x, d.x, (size_t)d.ld * sizeof *x);
        weir_rope a = rope_args(&d, &d, x, d.slot, d.pos, 1);
        cr_assert_eq(be->op.rope(be, &a), WEIR_OK);
        assert_same(x, d.x, (size_t)d.ld, weir__isa_name((weir_isa)isa));
        guarded_free(x);
        rope_free(&d);
        weir__backend_close(be);
    }
}

/* Every 509th float below 2^20, of both signs, and integers times pi / 2 to all sides. */
Test(rope, sines_and_cosines_are_within_their_bound) {
    double worst = 0.0;
    for (int64_t i = 0; i <= wf_bits(0x1p20f); i += i < 1 << 20 ? 65536 : 509) {
        float x = wf_from_bits((int32_t)i), s, c;
        if (i % 2) x = -x;
        wf_sincos(x, &s, &c);
        const double e = fmax(fabs((double)s - sin((double)x)), fabs((double)c - cos((double)x)));
        if (!(e <= worst)) worst = e;
    }
    for (int n = 0; n < 600000; n += 7) {
        float x = (float)(n * M_PI_2), s, c;
        wf_sincos(x, &s, &c);
        const double e = fmax(fabs((double)s - sin((double)x)), fabs((double)c - cos((double)x)));
        if (!(e <= worst)) worst = e;
    }
    printf("largest error %.3f * 2^-24\n", worst * 0x1p24);
    cr_assert(worst <= 0x1p-23, "%g", worst);
    float s, c;
    wf_sincos(NAN, &s, &c);
    cr_assert(isnan(s) && isnan(c));
}

Test(rope, keys_and_values_go_to_the_cache_too) {
    uint64_t rng = 13;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (int i = 0; i < ROPE_CASES; i += 3) {
            const rope_case c = rope_nth(i);
            rope_data d = rope_new(&c, &rng);
            rope_assert_appended(be, &d, &d, WEIR_DTYPE_F32);
            rope_free(&d);
        }
        weir__backend_close(be);
    }
}

Test(rope, refuses_what_its_contract_refuses) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        float x[64] = {0};
        const int32_t zero[1] = {0};
        const weir_rope good = {.q = x,
                                .k = x + 16,
                                .v = x + 24,
                                .ld = 32,
                                .inv_freq = x,
                                .scale = 1.0f,
                                .slot = zero,
                                .pos = zero,
                                .n_row = 1,
                                .n_head = 2,
                                .n_head_kv = 1,
                                .head_dim = 8,
                                .n_dim = 8};
        weir_kv_view kv = {x, 1024, zero, 1, 1, 1, 8, WEIR_DTYPE_F32}, other[2] = {kv, kv};
        other[0].n_head_kv = 2, other[1].head_dim = 4;
        weir_rope bad[21];
        for (int i = 0; i < 21; i++) bad[i] = good;
        bad[0].q = NULL, bad[1].k = NULL, bad[2].slot = NULL, bad[3].pos = NULL, bad[4].inv_freq = NULL;
        bad[5].v = NULL, bad[5].bias = x;
        bad[6].q_norm = x, bad[7].k_norm = x, bad[8].ld = 15, bad[9].n_row = -1, bad[10].n_head = 0,
        bad[11].n_head_kv = 0;
        bad[12].head_dim = 0, bad[13].n_dim = 7, bad[14].n_dim = 10, bad[15].n_dim = -2;
        bad[16].head_dim = 2 * WEIR_ROPE_DIMS, bad[16].n_dim = WEIR_ROPE_DIMS + 2,
        bad[16].ld = 4 * WEIR_ROPE_DIMS;
        bad[17].kv = &other[0], bad[18].kv = &other[1];
        bad[19].kv = &kv, bad[19].layer = 1;
        bad[20].kv = &kv, bad[20].v = NULL;
        for (int i = 0; i < 21; i++) cr_assert_eq(be->op.rope(be, &bad[i]), WEIR_EINVAL, "case %d", i);
        weir_rope ok = good;
        cr_assert_eq(be->op.rope(be, &ok), WEIR_OK);
        ok.v = NULL, ok.n_dim = 0, ok.inv_freq = NULL;
        cr_assert_eq(be->op.rope(be, &ok), WEIR_OK);
        ok.n_row = 0;
        cr_assert_eq(be->op.rope(be, &ok), WEIR_OK);
        weir__backend_close(be);
    }
}
