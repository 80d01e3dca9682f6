#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rows/cpu.h"
#include "kernels/weight/pack.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

Test(backend, every_instruction_set_up_to_the_best_opens_complete) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        cr_assert_str_eq(be->name, "cpu");
        cr_assert_eq(be->isa, (weir_isa)isa);
#define HAS_OP(op_name, args) \
    cr_assert_not_null(be->op.op_name, "%s lacks " #op_name, weir__isa_name(be->isa));
        WEIR_OP_MAP(HAS_OP)
#undef HAS_OP
        weir__backend_close(be);
    }
    weir__backend_close(NULL);
}

Test(backend, what_this_machine_lacks_is_refused_by_name) {
    weir_backend *be = NULL;
    weir_err err;
    cr_assert_eq(weir__backend_cpu_open(&be, 1, (weir_isa)(weir__isa_best() + 1), &err), WEIR_ENOTSUP);
    cr_assert(strstr(err.text, weir__isa_name(weir__isa_best())), "%s", err.text);
    cr_assert_eq(weir__backend_cpu_open(&be, 0, WEIR_ISA_PORTABLE, &err), WEIR_EINVAL);
    cr_assert(strstr(err.text, "0 threads"), "%s", err.text);
    cr_assert_eq(weir__backend_cpu_open(&be, 257, WEIR_ISA_PORTABLE, NULL), WEIR_EINVAL);
    cr_assert_eq(weir__backend_cpu_open(NULL, 1, WEIR_ISA_PORTABLE, NULL), WEIR_EINVAL);
    cr_assert_null(be);
}

Test(backend, failing_allocations_leave_nothing_behind) {
    for (long fail_at = 1;; fail_at++) {
        alloc_install(fail_at);
        weir_backend *be = NULL;
        weir_err err;
        weir_status s = weir__backend_cpu_open(&be, 2, WEIR_ISA_PORTABLE, &err);
        if (s == WEIR_OK) s = weir__backend_reserve(be, be->scratch_floats + 1);
        weir__backend_close(be);
        const long live = alloc_live();
        alloc_uninstall();
        cr_assert_eq(live, 0, "allocation %ld failed: %ld left", fail_at, live);
        if (s == WEIR_OK) break;
        cr_assert_eq(s, WEIR_ENOMEM);
    }
}

Test(backend, scratch_grows_and_never_shrinks) {
    weir_backend *be = open_backend(3, WEIR_ISA_PORTABLE);
    const size_t before = be->scratch_floats;
    cr_assert(before >= weir__linear_scratch_floats(1024));
    cr_assert_eq(weir__backend_reserve(be, 1), WEIR_OK);
    cr_assert_eq(be->scratch_floats, before);
    cr_assert_eq(weir__backend_reserve(be, before + 5), WEIR_OK);
    cr_assert(be->scratch_floats >= before + 5 && (uintptr_t)be->scratch % 64 == 0);
    cr_assert_eq(be->scratch_floats % 16, 0);
    cr_assert_eq(weir__backend_reserve(be, SIZE_MAX), WEIR_ENOMEM);
    cr_assert_eq(weir__backend_reserve(be, SIZE_MAX / 8), WEIR_ENOMEM);
    cr_assert_eq(weir__backend_reserve(NULL, 1), WEIR_EINVAL);
    memset(be->scratch, 0, 3 * be->scratch_floats * sizeof(float));
    weir__backend_close(be);
}

/* --- weights --------------------------------------------------------------------------------- */

Test(weight, every_element_is_found_where_the_layout_says) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    const int64_t sizes[][2] = {{1, 1}, {15, 2}, {16, 3}, {17, 16}, {33, 31}, {48, 64}};
    uint64_t rng = 1;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int d = 0; d < 3; d++) {
            for (int gated = 0; gated < 2; gated++) {
                const int64_t n = sizes[s][0], k = sizes[s][1];
                matrix m[2] = {matrix_new((weir_dtype)d, n, k, 1.0f, &rng),
                               matrix_new((weir_dtype)d, n, k, 1.0f, &rng)};
                const weir_tensor part[2] = {m[0].file, m[1].file};
                weir_weight w;
                cr_assert_eq(weir__weight_pack(be, part, 2, gated, WEIR_USE_ROWS, &w), WEIR_OK);
                cr_assert_eq(w.n, gated ? n : 2 * n);
                cr_assert_eq(w.n_panel, gated ? 2 * ((n + 15) / 16) : (2 * n + 15) / 16);
                cr_assert_eq(w.k_pad, k + k % 2);
                for (int64_t i = 0; i < 2 * n * k; i++) {
                    const int64_t r = i / k;
                    const float got = gated ? weir__weight_get(&w, r % n, i % k, r >= n)
                                            : weir__weight_get(&w, r, i % k, false);
                    cr_assert_eq(got, m[r / n].value[r % n * k + i % k], "%s gated %d (%ld, %ld)",
                                 weir_dtype_name((weir_dtype)d), gated, (long)r, (long)(i % k));
                }
                weir__weight_free(be, &w);
                cr_assert_null(w.data);
                weir__weight_free(be, &w);
                for (int i = 0; i < 2; i++) matrix_free(&m[i]);
            }
        }
    }
    weir__backend_close(be);
}

/* Lane and pair of one element by hand, and the padding. */
Test(weight, the_panel_of_16_bit_pairs_is_laid_out_as_drawn) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    const uint16_t rows[3][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
    weir_weight w;
    cr_assert_eq(
        weir__weight_pack(be, &(weir_tensor){rows, WEIR_DTYPE_BF16, 3, 3}, 1, false, WEIR_USE_ROWS, &w),
        WEIR_OK);
    const uint16_t *p = w.data;
    for (int pair = 0; pair < 2; pair++) {
        for (int lane = 0; lane < 16; lane++) {
            for (int half = 0; half < 2; half++) {
                const int k = 2 * pair + half;
                const uint16_t want = lane < 3 && k < 3 ? rows[lane][k] : 0;
                cr_assert_eq(p[(pair * 16 + lane) * 2 + half], want, "pair %d lane %d half %d", pair, lane,
                             half);
            }
        }
    }
    weir__weight_free(be, &w);
    weir__backend_close(be);
}

Test(weight, bytes_are_those_of_the_padded_panels) {
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_BF16, 17, 3, false), 2 * 16 * 4 * 2);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 17, 3, true), 4 * 16 * 4 * 4);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F16, INT64_MAX, 2, false), SIZE_MAX);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F16, INT64_MAX / 8, INT64_MAX / 8, false),
                 SIZE_MAX);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 0, 4, false), SIZE_MAX);
}

Test(weight, parts_that_do_not_fit_are_refused_and_nothing_is_written) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    static const float data[64];
    const weir_tensor a = {data, WEIR_DTYPE_F32, 4, 4}, other_dtype = {data, WEIR_DTYPE_BF16, 4, 4},
                      other_cols = {data, WEIR_DTYPE_F32, 4, 5}, other_rows = {data, WEIR_DTYPE_F32, 5, 4},
                      empty = {data, WEIR_DTYPE_F32, 0, 4}, null = {NULL, WEIR_DTYPE_F32, 4, 4},
                      huge = {data, WEIR_DTYPE_F32, INT64_MAX / 4, 4},
                      stack = {data, WEIR_DTYPE_F32, 4, 4, 1, {1}};
    const struct {
        weir_tensor part[2];
        int n;
        bool gated;
    } bad[] = {
        {{a, other_dtype}, 2, false}, {{a, other_cols}, 2, false},
        {{a, other_rows}, 2, true},   {{a, a}, 1, true},
        {{empty, a}, 2, false},       {{a, null}, 2, false},
        {{a, a}, 0, false},           {{a, a}, -1, false},
        {{huge, a}, 2, false},        {{stack}, 1, false},
        {{a, stack}, 2, true},
    };
    weir_weight w = {.n = 42};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(weir__weight_pack(be, bad[i].part, bad[i].n, bad[i].gated, WEIR_USE_ROWS, &w),
                     WEIR_EINVAL, "case %zu", i);
    }
    cr_assert_eq(weir__weight_pack(be, NULL, 1, false, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    cr_assert_eq(weir__weight_pack(NULL, &a, 1, false, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    cr_assert_eq(weir__weight_pack(be, &a, 1, false, WEIR_USE_ROWS, NULL), WEIR_EINVAL);
    cr_assert_eq(w.n, 42);
    weir__backend_close(be);
}

Test(weight, failing_allocations_leave_nothing_behind) {
    static const float data[64];
    alloc_install(0);
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    const long before = alloc_live(), asked = alloc_count();
    alloc_fail_after(asked);
    weir_weight w = {.n = 42};
    cr_assert_eq(
        weir__weight_pack(be, &(weir_tensor){data, WEIR_DTYPE_F32, 8, 8}, 1, false, WEIR_USE_ROWS, &w),
        WEIR_ENOMEM);
    cr_assert_eq(alloc_live(), before);
    cr_assert_eq(w.n, 42);
    weir__backend_close(be);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

/* --- embedding and RMSNorm ------------------------------------------------------------------- */

Test(embed, rows_of_the_table_come_back_scaled) {
    uint64_t rng = 3;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        for (int d = 0; d < 3; d++) {
            for (int64_t dim = 15; dim <= 33; dim += 9) {
                weir_backend *be = open_backend(2, (weir_isa)isa);
                matrix m = matrix_new((weir_dtype)d, 37, dim, 1.0f, &rng);
                weir_weight w;
                cr_assert_eq(weir__weight_pack(be, &m.file, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
                const int32_t token[4] = {0, 36, 17, 17};
                float *x = guarded_new((size_t)(4 * dim));
                weir_embed a = {x, &w, token, 4, 0.25f};
                cr_assert_eq(be->op.embed(be, &a), WEIR_OK);
                for (int64_t i = 0; i < 4 * dim; i++) {
                    cr_assert_eq(x[i], 0.25f * m.value[token[i / dim] * dim + i % dim],
                                 "isa %d dtype %d [%ld]", isa, d, (long)i);
                }
                cr_assert(guarded_intact(x, (size_t)(4 * dim)));
                guarded_free(x);
                weir__weight_free(be, &w);
                matrix_free(&m);
                weir__backend_close(be);
            }
        }
    }
}

Test(embed, a_token_outside_the_table_writes_nothing) {
    weir_backend *be = open_backend(1, weir__isa_best());
    const float table[4] = {1, 2, 3, 4};
    weir_weight w;
    cr_assert_eq(
        weir__weight_pack(be, &(weir_tensor){table, WEIR_DTYPE_F32, 2, 2}, 1, false, WEIR_USE_ROWS, &w),
        WEIR_OK);
    float x[4] = {7, 7, 7, 7};
    const int32_t bad[][2] = {{0, 2}, {0, -1}};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(be->op.embed(be, &(weir_embed){x, &w, bad[i], 2, 1.0f}), WEIR_EINVAL);
        for (int j = 0; j < 4; j++) cr_assert_eq(x[j], 7.0f);
    }
    cr_assert_eq(be->op.embed(be, &(weir_embed){x, &w, bad[0], -1, 1.0f}), WEIR_EINVAL);
    cr_assert_eq(be->op.embed(be, &(weir_embed){NULL, &w, bad[0], 1, 1.0f}), WEIR_EINVAL);
    weir__weight_free(be, &w);
    weir__backend_close(be);
}

/* x = 2, w = 3 everywhere: the mean of squares is 4, so y is 3 without any rounding. */
Test(rmsnorm, constant_rows_are_exact_also_in_place) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (int64_t dim = 1; dim <= 130; dim += dim < 34 ? 1 : 16) {
            float *x = guarded_new((size_t)(3 * dim)), w[130];
            for (int64_t i = 0; i < dim; i++) w[i] = 3.0f;
            for (int64_t i = 0; i < 3 * dim; i++) x[i] = i / dim == 1 ? -2.0f : 2.0f;
            weir_rmsnorm a = {.y = x, .x = x, .w = w, .n_row = 3, .dim = dim};
            cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
            for (int64_t i = 0; i < 3 * dim; i++) {
                cr_assert_eq(x[i], i / dim == 1 ? -3.0f : 3.0f, "%s dim %ld [%ld]", weir__isa_name(be->isa),
                             (long)dim, (long)i);
            }
            cr_assert(guarded_intact(x, (size_t)(3 * dim)));
            guarded_free(x);
        }
        weir__backend_close(be);
    }
}

/* With `add` the norm of x, which is known, comes on top of what is there: one more rounding. */
static void check_added(weir_backend *be, const float *x, const float *w, const float *norm, int64_t n_row,
                        int64_t dim) {
    const size_t n = (size_t)(n_row * dim);
    uint64_t rng = 8;
    float *y = floats_normal(n, 2.0f, &rng);
    double *want = calloc(n, sizeof *want), *bound = calloc(n, sizeof *bound);
    for (size_t i = 0; i < n; i++) {
        want[i] = (double)y[i] + (double)norm[i];
        bound[i] = 0x1p-24 * (fabs(want[i]) + fabs((double)norm[i]));
    }
    weir_rmsnorm a = {.y = y, .x = x, .w = w, .n_row = n_row, .dim = dim, .eps = 1e-6f, .add = true};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    assert_within(y, want, bound, n, "added");
    guarded_free(y);
    free(want), free(bound);
}

Test(rmsnorm, fast_builds_agree_with_the_truth_and_do_not_see_other_rows) {
    uint64_t rng = 5;
    const int64_t dims[] = {1, 7, 16, 63, 64, 65, 256, 1000};
    enum { ROWS = 70 };
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        const int64_t dim = dims[i];
        const size_t n = (size_t)(ROWS * dim);
        float *x = floats_normal(n, 3.0f, &rng), *w = floats_normal((size_t)dim, 1.0f, &rng);
        float *truth = guarded_new(n), *y = guarded_new(n), *one = guarded_new((size_t)dim);
        double *want = calloc(n, sizeof *want), *bound = calloc(n, sizeof *bound);
        cr_assert_eq(
            weir__rmsnorm_cpu(
                NULL, &(weir_rmsnorm){.y = truth, .x = x, .w = w, .n_row = ROWS, .dim = dim, .eps = 1e-6f}),
            WEIR_OK);
        for (size_t j = 0; j < n; j++) {
            want[j] = truth[j];
            /* Half the relative error of the sum's longest chain, the roundings after it, and the truth's
             * own. */
            bound[j] = ((double)dim / 32 + 16) * 0x1p-24 * fabs(want[j]);
        }
        for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
            weir_backend *be = open_backend(2, (weir_isa)isa);
            weir_rmsnorm a = {.y = y, .x = x, .w = w, .n_row = ROWS, .dim = dim, .eps = 1e-6f};
            cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
            assert_within(y, want, bound, n, weir__isa_name(be->isa));
            cr_assert(guarded_intact(y, n));
            for (int64_t r = 0; r < ROWS; r += 23) {
                a = (weir_rmsnorm){.y = one, .x = x + r * dim, .w = w, .n_row = 1, .dim = dim, .eps = 1e-6f};
                cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
                assert_same(one, y + r * dim, (size_t)dim, weir__isa_name(be->isa));
            }
            check_added(be, x, w, y, ROWS, dim);
            weir__backend_close(be);
        }
        guarded_free(x), guarded_free(w), guarded_free(truth), guarded_free(y), guarded_free(one);
        free(want), free(bound);
    }
}

Test(backend, times_lie_between_two_marks_of_the_queue) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    double seconds = -1.0;
    cr_assert_eq(be->stream->elapsed(be, 0, 1, &seconds), WEIR_EINVAL, "nothing was marked yet");
    cr_assert_eq(be->stream->stamp(be, 0), WEIR_OK);
    cr_assert_eq(be->stream->elapsed(be, 0, 1, &seconds), WEIR_EINVAL, "mark 1 was never set");
    cr_assert_eq(be->stream->stamp(be, WEIR_STAMPS - 1), WEIR_OK);
    cr_assert_eq(be->stream->elapsed(be, 0, WEIR_STAMPS - 1, &seconds), WEIR_OK);
    cr_assert(seconds >= 0.0 && seconds < 600.0, "%g s", seconds);
    const int bad[] = {-1, WEIR_STAMPS};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(be->stream->stamp(be, bad[i]), WEIR_EINVAL);
        cr_assert_eq(be->stream->elapsed(be, 0, bad[i], &seconds), WEIR_EINVAL);
        cr_assert_eq(be->stream->elapsed(be, bad[i], 0, &seconds), WEIR_EINVAL);
    }
    weir__backend_close(be);
}
