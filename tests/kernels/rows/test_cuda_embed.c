/* Embeddings and norms on a device, against the CPU's portable truth. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rows/cpu.h"
#include "kernels/weight/pack.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { ROWS = 11 };

static void check_embed(weir_backend *be, weir_backend *cpu, weir_dtype dtype, weir_use use, int64_t n,
                        int64_t k, uint64_t *rng) {
    matrix m = matrix_new(dtype, n, k, 1.0f, rng);
    weir_weight there, here;
    cr_assert_eq(weir__weight_pack(be, &m.file, 1, false, use, &there), WEIR_OK);
    cr_assert_eq(weir__weight_pack(cpu, &m.file, 1, false, use, &here), WEIR_OK);
    int32_t token[ROWS];
    for (int i = 0; i < ROWS; i++) token[i] = (int32_t)(rng_u64(rng) % (uint64_t)n);
    token[0] = (int32_t)n - 1;
    const size_t total = (size_t)(ROWS * k);
    float *want = guarded_new(total), *got = guarded_new(total);
    weir_embed a = {.x = want, .table = &here, .token = token, .n_row = ROWS, .scale = 1.75f};
    cr_assert_eq(weir__embed_cpu(cpu, &a), WEIR_OK);
    /* Tokens that are none give rows of zeros on a device. */
    token[4] = -1, token[5] = (int32_t)n, token[6] = INT32_MIN;
    for (int64_t i = 0; i < 3 * k; i++) want[4 * k + i] = 0.0f;
    int32_t *token_there = device_put(be, token, sizeof token);
    float *x_there = device_room(be, total * sizeof(float));
    a.x = x_there, a.table = &there, a.token = token_there;
    cr_assert_eq(be->op.embed(be, &a), WEIR_OK);
    device_get(be, got, x_there, total * sizeof(float));
    assert_same(got, want, total, "embedding");
    weir__backend_free(be, token_there), weir__backend_free(be, x_there);
    guarded_free(want), guarded_free(got);
    weir__weight_free(be, &there), weir__weight_free(cpu, &here);
    matrix_free(&m);
}

Test(cuda_embed, rows_of_every_layout_have_the_bits_of_the_cpu) {
    weir_backend *be = device_open(), *cpu = open_backend(1, WEIR_ISA_PORTABLE);
    uint64_t rng = 3;
    const int64_t edge[] = {1, 15, 16, 17, 33, 200};
    for (int i = 0; i < 36; i++) {
        for (int d = 0; d < 6; d++) {
            check_embed(be, cpu, (weir_dtype)(d % 3), (weir_use)(d / 3), edge[i / 6], edge[i % 6], &rng);
        }
    }
    weir__backend_close(be), weir__backend_close(cpu);
}

Test(cuda_embed, rows_of_blocks_have_the_bits_of_the_cpu) {
    weir_backend *be = device_open(), *cpu = open_backend(1, WEIR_ISA_PORTABLE);
    uint64_t rng = 5;
    for (int t = WEIR_DTYPE_Q4_0; t < WEIR_DTYPE_COUNT; t++) {
        for (int i = 1; i <= 3; i++) {
            const int64_t k = i * i * weir_dtype_block((weir_dtype)t);
            check_embed(be, cpu, (weir_dtype)t, (weir_use)(i % 2), 10 * i + 7, k, &rng);
        }
    }
    weir__backend_close(be), weir__backend_close(cpu);
}

/* Keys of the rows beside their embeddings: what row_keys says of them, with and without an encoder. */
Test(cuda_embed, keys_are_made_beside_the_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 9;
    const weir_dtype dtype[] = {WEIR_DTYPE_BF16, WEIR_DTYPE_F32, WEIR_DTYPE_Q8_0};
    const int32_t token[4] = {3, 0, 31, 7}, slot[4] = {1, -1, 0, 1}, pos[4] = {6, 0, 64, -2},
                  cross[2] = {5, 9};
    int32_t *token_there = device_put(be, token, sizeof token),
            *slot_there = device_put(be, slot, sizeof slot), *pos_there = device_put(be, pos, sizeof pos),
            *cross_there = device_put(be, cross, sizeof cross);
    for (int i = 0; i < 6; i++) {
        matrix m = matrix_new(dtype[i / 2], 32, 64, 1.0f, &rng);
        weir_weight table;
        cr_assert_eq(weir__weight_pack(be, &m.file, 1, false, WEIR_USE_ROWS, &table), WEIR_OK);
        float x[2][4 * 64];
        int32_t keys[2][16];
        for (int beside = 0; beside < 2; beside++) {
            memset(keys[beside], 0xee, sizeof *keys);
            float *x_there = device_room(be, sizeof *x);
            int32_t *out = device_put(be, keys[beside], sizeof *keys);
            weir_row_keys k = {.slot = slot_there,
                               .pos = pos_there,
                               .cross_len = i % 2 ? cross_there : NULL,
                               .n_row = 4,
                               .out_slot = out,
                               .out_pos = out + 4,
                               .n_key = out + 8,
                               .n_src = out + 12};
            weir_embed a = {.x = x_there, .table = &table, .token = token_there, .n_row = 4, .scale = 1.0f};
            a.keys = beside ? &k : NULL;
            cr_assert_eq(be->op.embed(be, &a), WEIR_OK);
            if (!beside) cr_assert_eq(be->op.row_keys(be, &k), WEIR_OK);
            device_get(be, x[beside], x_there, sizeof *x);
            device_get(be, keys[beside], out, sizeof *keys);
            weir__backend_free(be, x_there), weir__backend_free(be, out);
        }
        assert_same(x[1], x[0], 4 * 64, "rows with keys beside them");
        for (int j = 0; j < 16; j++) cr_assert_eq(keys[1][j], keys[0][j], "key %d: %d", j, keys[1][j]);
        weir__weight_free(be, &table);
        matrix_free(&m);
    }
    weir__backend_free(be, token_there), weir__backend_free(be, slot_there);
    weir__backend_free(be, pos_there), weir__backend_free(be, cross_there);
    weir__backend_close(be);
}

Test(cuda_embed, refuses_what_its_contract_refuses) {
    weir_backend *be = device_open();
    static const float file[16];
    const weir_tensor t[2] = {{file, WEIR_DTYPE_F32, 4, 4}, {file, WEIR_DTYPE_F32, 4, 4}};
    weir_weight w, gated;
    cr_assert_eq(weir__weight_pack(be, t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
    cr_assert_eq(weir__weight_pack(be, t, 2, true, WEIR_USE_ROWS, &gated), WEIR_OK);
    weir_weight panels = w;
    panels.layout = WEIR_LAYOUT_PANEL;
    float *x = device_put(be, file, sizeof file);
    const weir_embed good = {.x = x, .table = &w, .token = (const int32_t *)x, .n_row = 1, .scale = 1.0f};
    const weir_row_keys keys = {.slot = good.token, .pos = good.token, .n_row = 1};
    weir_row_keys other[3] = {keys, keys, keys};
    other[0].n_row = 2, other[1].index = good.token, other[2].pos = NULL;
    weir_embed bad[6];
    for (int i = 0; i < 6; i++) bad[i] = good;
    bad[0].x = NULL, bad[1].table = &gated, bad[2].token = NULL, bad[3].n_row = -1, bad[4].table = &panels;
    for (int i = 0; i < 5; i++) cr_assert_eq(be->op.embed(be, &bad[i]), WEIR_EINVAL, "case %d", i);
    for (int i = 0; i < 3; i++) {
        bad[5].keys = &other[i];
        cr_assert_eq(be->op.embed(be, &bad[5]), WEIR_EINVAL, "keys %d", i);
    }
    bad[5].keys = NULL, bad[5].n_row = 0;
    cr_assert_eq(be->op.embed(be, &bad[5]), WEIR_OK);
    weir__backend_free(be, x);
    weir__weight_free(be, &w), weir__weight_free(be, &gated);
    weir__backend_close(be);
}

/* --- RMSNorm --------------------------------------------------------------------------------- */

/* The sum of squares: a chain of dim / 1024 groups of four and 8 steps of trees, each 2^-24, halved by the
 * root; root, division and two products 2.5 more. */
static void check_norm(weir_backend *be, int64_t dim, int64_t n_row, bool in_place, bool add, uint64_t *rng) {
    const size_t total = (size_t)(n_row * dim);
    float *y = floats_normal(total, 2.0f, rng), *x = floats_normal(total, 3.0f, rng),
          *w = floats_normal((size_t)dim, 1.0f, rng), *got = guarded_new(total);
    double *want = malloc(total * sizeof *want), *bound = malloc(total * sizeof *bound);
    const double unit = ((double)(dim / 256 + 12) / 2 + 4) * 0x1p-24;
    for (int64_t r = 0; r < n_row; r++) {
        double sq = 0;
        for (int64_t i = 0; i < dim; i++) sq += (double)x[r * dim + i] * x[r * dim + i];
        for (int64_t i = 0; i < dim; i++) {
            want[r * dim + i] = x[r * dim + i] / sqrt(sq / (double)dim + 1e-6f) * w[i];
            bound[r * dim + i] = unit * fabs(want[r * dim + i]);
            if (!add) continue; /* a rounding more */
            want[r * dim + i] += (double)y[r * dim + i];
            bound[r * dim + i] += 0x1p-24 * fabs(want[r * dim + i]);
        }
    }
    float *x_there = device_put(be, x, total * sizeof *x),
          *w_there = device_put(be, w, (size_t)dim * sizeof *w);
    float *y_there = in_place ? x_there : device_put(be, y, total * sizeof *y);
    weir_rmsnorm a = {
        .y = y_there, .x = x_there, .w = w_there, .n_row = n_row, .dim = dim, .eps = 1e-6f, .add = add};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    device_get(be, got, y_there, total * sizeof *x);
    assert_within(got, want, bound, total, "rmsnorm");

    float *alone = guarded_new((size_t)dim),
          *one_there = device_put(be, x + (n_row - 1) * dim, (size_t)dim * sizeof *x);
    float *sum_there = add ? device_put(be, y + (n_row - 1) * dim, (size_t)dim * sizeof *y) : one_there;
    a = (weir_rmsnorm){
        .y = sum_there, .x = one_there, .w = w_there, .n_row = 1, .dim = dim, .eps = 1e-6f, .add = add};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    device_get(be, alone, sum_there, (size_t)dim * sizeof *x);
    assert_same(alone, got + (n_row - 1) * dim, (size_t)dim, "a row alone");

    weir__backend_free(be, x_there), weir__backend_free(be, w_there), weir__backend_free(be, one_there);
    if (!in_place) weir__backend_free(be, y_there);
    if (add) weir__backend_free(be, sum_there);
    free(want), free(bound);
    guarded_free(x), guarded_free(y), guarded_free(w), guarded_free(got), guarded_free(alone);
}

/* Parts of longer rows, in place: the bits of the dense row where rows are as well aligned, and nothing of
 * what lies between them. */
static void check_part(weir_backend *be, int64_t dim, int64_t ld, uint64_t *rng) {
    enum { N_ROW = 3 };
    const size_t total = (size_t)(N_ROW * ld);
    float *x = floats_normal(total, 3.0f, rng), *w = floats_normal((size_t)dim, 1.0f, rng),
          *got = guarded_new(total), *want = guarded_new((size_t)dim);
    float *x_there = device_put(be, x, total * sizeof *x),
          *w_there = device_put(be, w, (size_t)dim * sizeof *w);
    weir_rmsnorm a = {
        .y = x_there, .x = x_there, .w = w_there, .n_row = N_ROW, .dim = dim, .ld = ld, .eps = 1e-6f};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    device_get(be, got, x_there, total * sizeof *x);
    for (int64_t r = 0; r < N_ROW; r++) {
        float *one_there = device_put(be, x + r * ld, (size_t)dim * sizeof *x);
        a = (weir_rmsnorm){
            .y = one_there, .x = one_there, .w = w_there, .n_row = 1, .dim = dim, .eps = 1e-6f};
        cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
        device_get(be, want, one_there, (size_t)dim * sizeof *x);
        assert_same(got + r * ld, want, (size_t)dim, "part of a row");
        assert_same(got + r * ld + dim, x + r * ld + dim, (size_t)(ld - dim), "between rows");
        weir__backend_free(be, one_there);
    }
    a.ld = dim - 1;
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_EINVAL);
    weir__backend_free(be, x_there), weir__backend_free(be, w_there);
    guarded_free(x), guarded_free(w), guarded_free(got), guarded_free(want);
}

Test(cuda_embed, norms_of_parts_of_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 23;
    check_part(be, 64, 96, &rng);
    check_part(be, 255, 300, &rng);
    check_part(be, 40, 81, &rng); /* every other row begins off a boundary of 16 bytes */
    check_part(be, 4100, 4104, &rng);
    weir__backend_close(be);
}

Test(cuda_embed, norms_are_within_their_bound_and_alone_the_same) {
    weir_backend *be = device_open();
    uint64_t rng = 17;
    const int64_t dim[] = {1, 2, 3, 31, 64, 255, 257, 1024, 1025, 4096, 4100, 9001};
    for (int i = 0; i < 36; i++) check_norm(be, dim[i / 3], 1 + i % 4, i % 3 == 1, i % 3 == 2, &rng);
    const float x[2] = {NAN, 1.0f};
    float *x_there = device_put(be, x, sizeof x),
          *w_there = device_put(be, (const float[1]){1.0f}, sizeof(float)), y[2];
    weir_rmsnorm a = {.y = x_there, .x = x_there, .w = w_there, .n_row = 2, .dim = 1, .eps = 0.0f};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    device_get(be, y, x_there, sizeof y);
    cr_assert(isnan(y[0]) && y[1] == 1.0f, "%g %g", (double)y[0], (double)y[1]);
    a.add = true;
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_EINVAL, "a sum of itself");
    a.add = false, a.dim = 0;
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_EINVAL);
    a.dim = 1, a.n_row = 0;
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    weir__backend_free(be, x_there), weir__backend_free(be, w_there);
    weir__backend_close(be);
}
